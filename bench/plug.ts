import { join } from 'node:path';
import { silentLog } from '../src/base/log.ts';
import type { Lab } from '../src/lab/lab.ts';
import { scriptIn } from '../src/lab/namespaces.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import { waitForPorts } from '../src/lab/weft.ts';
import { connectOvsdb, type OvsdbClient } from '../src/ovsdb/client.ts';
import { Bridge, Interface, OPEN_VSWITCH_DB, Port } from '../src/ovsdb/open-vswitch-tables.ts';
import { insert, mutate } from '../src/ovsdb/operations.ts';
import { watch } from '../src/ovsdb/replica.ts';
import { named } from '../src/ovsdb/values.ts';
import { alternate, type Bench, type BenchContext, bounded, type Figure, median, plain } from './bench.ts';
import { planPorts } from './network.ts';
import { plugInternal, startWeft } from './weft.ts';

/**
 * From an interface's plugging to `weft-installed`, less what Open vSwitch itself takes to give an interface a number:
 * that is measured in turns, with interfaces that name no port.
 */
export const plug: Bench = {
  name: 'plug',
  about:
    "interface plugged to weft-installed with 250 ports on the bridge; against Open vSwitch's own time for a number",
  needsRoot: true,
  run,
};

const PORTS = 250;
const BAR_MS = 10;

async function run(context: BenchContext): Promise<Figure[]> {
  const rounds = context.quick ? 5 : 25;
  const switches = 40;
  const size = { switches, ports: PORTS + rounds + 100, localPorts: PORTS + rounds, localSwitches: switches };
  const weft = await startWeft(context, { size });
  const { lab } = weft;
  const local = planPorts(size).filter((port) => port.host === 0);
  const plugged = local.slice(0, PORTS);
  context.progress(`plugging ${PORTS} interfaces`);
  await plugInternal(lab, 'one', plugged);
  await waitForPorts(
    weft.client,
    plugged.map((port) => port.id),
  );
  const fresh = local.slice(PORTS);
  await makeLinks(lab, rounds);
  const plugs = await Plugs.open(context, lab);

  let [ours, peers] = [0, 0];
  context.progress(`plugging ${2 * rounds} more, one after the other`);
  const times = await alternate(
    context,
    rounds,
    () => plugs.plug(`ours${ours}`, fresh[ours++]!.id),
    () => plugs.plug(`peer${peers++}`),
  );
  const [weftMs, ovsMs] = [median(times.ours), median(times.peers)];
  return [
    bounded('weft-installed, beyond the time for a number', weftMs - ovsMs, 'ms', BAR_MS),
    plain('plugged to weft-installed, median', weftMs, 'ms'),
    plain("plugged to Open vSwitch's number, median", ovsMs, 'ms'),
  ];
}

/** Links with both ends in the host's namespace: interfaces that are there before they are plugged, as a hypervisor's are. */
async function makeLinks(lab: Lab, count: number): Promise<void> {
  const names = Array.from({ length: count }, (_, i) => [`ours${i}`, `peer${i}`]).flat();
  const lines = names.flatMap((name) => [
    `ip link add ${name} type veth peer name ${name}-x`,
    `ip link set ${name} up`,
    `ip link set ${name}-x up`,
  ]);
  await scriptIn(lab.namespace('one'), lines);
}

/** Plugs interfaces over a connection of its own to the database, and sees there what becomes of them. */
class Plugs {
  readonly #client: OvsdbClient;
  #awaited: { readonly name: string; readonly isOurs: boolean; readonly done: () => void } | undefined;

  private constructor(client: OvsdbClient) {
    this.#client = client;
  }

  static async open(context: BenchContext, lab: Lab): Promise<Plugs> {
    const client = connectOvsdb(`unix:${join(lab.switchOf('one').dir, 'db.sock')}`, { log: silentLog });
    context.defer(() => client.close());
    const plugs = new Plugs(client);
    const watched = [watch(Interface, ['name', 'ofport', 'external_ids'])] as const;
    await client.monitor(OPEN_VSWITCH_DB, watched, (batch) => {
      for (const change of batch.changes)
        if (change.kind !== 'delete') plugs.#seen(change.row.name, change.row.ofport, change.row.external_ids);
    });
    return plugs;
  }

  /** Milliseconds from the transaction to the port number, or with a port's id to the mark that its flows are in. */
  plug(name: string, portId?: string): Promise<number> {
    const ids = new Map(portId === undefined ? [] : [['iface-id', portId]]);
    const from = performance.now();
    const done = new Promise<number>((resolve) => {
      this.#awaited = { name, isOurs: portId !== undefined, done: () => resolve(performance.now() - from) };
    });
    const transaction = this.#client.transact(OPEN_VSWITCH_DB, [
      insert(Interface, { name, external_ids: ids }, { name: 'interface' }),
      insert(Port, { name, interfaces: [named('interface')] }, { name: 'port' }),
      mutate(Bridge, [['name', '==', INTEGRATION_BRIDGE]], [['ports', 'insert', [named('port')]]]),
    ]);
    return transaction.then(() => done);
  }

  #seen(name: string, ofport: number | undefined, ids: ReadonlyMap<string, string>): void {
    const awaited = this.#awaited;
    if (awaited?.name !== name || ofport === undefined || ofport <= 0) return;
    if (awaited.isOurs && ids.get('weft-installed') !== 'true') return;
    this.#awaited = undefined;
    awaited.done();
  }
}
