import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import type { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { load } from '../compile/fields.ts';
import { findOpenVswitch } from '../lab/open-vswitch.ts';
import { connectOpenFlow, type OpenFlowConnection, type Refusal } from '../openflow/connection.ts';
import type { Flow } from '../openflow/flow.ts';
import { ALL_TABLES, FLOW_COMMAND } from '../openflow/messages/flow-mod.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import type { AgentEvent, Effect } from './events.ts';
import { Installation } from './installation.ts';
import { Lanes } from './lanes.ts';
import { NO_REGISTERS } from './registers.ts';
import { SwitchLink } from './switch-link.ts';

const found = await findOpenVswitch().catch((error: Error) => error.message);
if (typeof found !== 'string' && found.dir !== undefined) process.env.WEFT_OVS_DIR = found.dir;
const skip = typeof found === 'string' ? found : false;

const MANY = 1_500;
/** Reserved, and nothing (OpenFlow 1.5.1 §4.5). */
const NO_PORT = 0xffff_fff0;

/** What leads from an OpenFlow port to a switch, and what is there; one flow of it may name a port that cannot be. */
function flowsFor(key: number, broken?: number): Flow[] {
  const within = Array.from({ length: MANY }, (_, n): Flow => {
    const common = { table: 3, priority: 1, match: { reg1: key, eth_dst: n }, cookie: BigInt(key) };
    return { ...common, actions: [{ kind: 'output', port: n === broken ? NO_PORT : 1 }] };
  });
  return [
    { table: 0, priority: 1, match: { in_port: key }, cookie: BigInt(key), actions: load({ switch: key }) },
    ...within,
  ];
}

/** Real Open vSwitch takes the parts of a large change by several connections. */
describe('lanes to Open vSwitch', { skip }, () => {
  const stop = new AbortController();
  let ovs: OpenVswitchFixture;
  let watcher: OpenFlowConnection;
  before(async () => {
    ovs = await OpenVswitchFixture.start(1);
    watcher = await connectOpenFlow(ovs.bridge);
  });
  after(async () => {
    stop.abort();
    watcher?.close();
    await ovs?.stop();
  });
  const cookies = async (): Promise<Map<bigint, number>> => {
    const { flows } = await watcher.multipart({ kind: 'flow', table: ALL_TABLES, match: {} });
    const counts = new Map<bigint, number>();
    for (const { cookie } of flows) counts.set(cookie, (counts.get(cookie) ?? 0) + 1);
    return counts;
  };

  test('a flow that the switch refuses is named by its place among all, and the others are in', async () => {
    const broken = 1_234;
    const mods = flowsFor(5, broken).map((flow) => ({ ...flow, kind: 'flowMod', command: FLOW_COMMAND.add }) as const);
    const lanes = new Lanes(ovs.bridge, mods.length, { log: silentLog, signal: stop.signal });
    await assert.rejects(lanes.carry(mods), (error: WeftError) => {
      assert.equal(error.code, 'refused');
      assert.equal((error.details as Refusal).index, 1 + broken);
      return true;
    });
    assert.equal((await cookies()).get(5n), MANY);
    await lanes.carry(mods.map((mod) => ({ ...mod, command: FLOW_COMMAND.deleteStrict, actions: [] })));
    lanes.close();
    assert.equal((await cookies()).size, 0);
  });

  test('the agent installs large changes so, over what is there, and takes them away', async () => {
    let desired: readonly Flow[] = [];
    let whenInstalled: (() => void) | undefined;
    const carried: Extract<Effect, { kind: 'install' }>[] = [];
    const installation = new Installation(() => desired);
    const perform = (effects: readonly Effect[]): void => {
      for (const effect of effects) {
        if (effect.kind !== 'install') continue;
        carried.push(effect);
        link.perform(effect);
      }
    };
    const connected = Promise.withResolvers<void>();
    const link = new SwitchLink({
      ...{ address: ovs.bridge, meters: [], readRegisters: () => NO_REGISTERS },
      ...{ clock: systemClock, log: silentLog, signal: stop.signal },
      emit: (event: AgentEvent) => {
        if (event.kind === 'switchConnected') connected.resolve();
        if (event.kind === 'refused') perform(installation.refusedBundle(event.id, event.error, event.index));
        if (event.kind === 'installed') perform(installation.installed(event.id));
        if (installation.idle) whenInstalled?.();
      },
    });
    void link.run();
    await connected.promise;
    const want = async (flows: readonly Flow[], change: () => readonly Effect[]): Promise<Map<bigint, number>> => {
      desired = flows;
      await new Promise<void>((resolve) => {
        whenInstalled = resolve;
        perform(change());
      });
      return cookies();
    };
    const [five, six] = [flowsFor(5), flowsFor(6, 700)];
    assert.deepEqual(await want(five, () => installation.readBack([], five)), new Map([[5n, MANY + 1]]));
    // One flow is refused on the way, and stays out.
    assert.deepEqual(
      await want([...five, ...six], () => installation.change(six, [], [])),
      new Map([
        [5n, MANY + 1],
        [6n, MANY],
      ]),
    );
    assert.deepEqual(
      [...installation.refused.values()].map(({ flow }) => flow),
      [six[701]],
    );
    assert.deepEqual(await want(six, () => installation.change([], five, [])), new Map([[6n, MANY]]));
    assert.deepEqual(await want([], () => installation.change([], six, [])), new Map());
    const parts = carried.map(({ ahead, add, remove, behind }) => [
      ...[ahead.add.length, ahead.remove.length],
      ...[add.length, remove.length],
      ...[behind.add.length, behind.remove.length],
    ]);
    assert.deepEqual(parts, [
      [MANY, 0, 0, 0, 1, 0],
      [MANY, 0, 0, 0, 1, 0],
      [0, 0, MANY, 0, 0, 0],
      [0, 1, 0, 0, 0, MANY],
      [0, 1, 0, 0, 0, MANY],
    ]);
  });
});
