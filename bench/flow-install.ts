import { join } from 'node:path';
import type { AgentEvent, Effect } from '../src/agent/events.ts';
import { Installation } from '../src/agent/installation.ts';
import { NO_REGISTERS } from '../src/agent/registers.ts';
import { SwitchLink } from '../src/agent/switch-link.ts';
import { systemClock } from '../src/base/clock.ts';
import { silentLog } from '../src/base/log.ts';
import type { Lab } from '../src/lab/lab.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import type { Flow } from '../src/openflow/flow.ts';
import { BareWriter, encodeFlows } from './bare-writer.ts';
import { alternate, type Bench, type BenchContext, comparedRounds, type Figure, plain } from './bench.ts';
import { compileNetwork } from './compiled.ts';

/**
 * How fast the agent's path (differences, one atomic bundle, errors by flow) installs flows, against a writer that
 * sends the same flows as bytes prepared beforehand, without a bundle, into the same Open vSwitch.
 */
export const flowInstall: Bench = {
  name: 'flow-install',
  about: "100,000 flows compiled from a model, installed by the agent's path; against a bare writer on the same switch",
  needsRoot: true,
  run,
};

const FLOWS = 100_000;

async function run(context: BenchContext): Promise<Figure[]> {
  const count = context.quick ? FLOWS / 10 : FLOWS;
  context.progress(`compiling ${count} flows`);
  const switches = Math.ceil(count / 1000);
  const size = { switches, ports: switches * 335, localPorts: switches * 4, localSwitches: switches };
  const { compiler, elapsedMs } = compileNetwork(size);
  const flows = [...compiler.flows()].slice(0, count);
  const lab = await context.lab({ hosts: [{ name: 'switch' }], datapath: 'netdev' });
  const socket = join(lab.switchOf('switch').dir, `${INTEGRATION_BRIDGE}.mgmt`);
  const chunks = encodeFlows(flows);
  const writer = await BareWriter.connect(socket);
  context.defer(() => writer.close());
  const agent = await installer(context, socket, flows);

  let run = 0;
  const measured = (once: () => Promise<number>, name: string) => async (): Promise<number> => {
    const ms = await once();
    const rate = (flows.length / ms) * 1000;
    context.progress(`run ${++run}: ${name}: ${Math.round(rate)} flows/s`);
    await emptied(context, lab);
    return rate;
  };
  const ours = measured(agent, 'agent');
  const peers = measured(() => writer.write(chunks), 'bare writer');
  await peers();
  await ours();
  const rounds = await alternate(context, context.quick ? 1 : 6, ours, peers);
  const metric = `${flows.length.toLocaleString('en-US')} flows installed`;
  return [
    comparedRounds(metric, 'flows/s', 'bare writer', rounds, { atLeast: 0.7 }),
    plain('compiled, one thread, from nothing', (compiler.flowCount / elapsedMs) * 1000, 'flows/s'),
  ];
}

/** The agent's own parts around one list of desired flows. Each call installs them into an empty switch and gives the time. */
async function installer(
  context: BenchContext,
  socket: string,
  desired: readonly Flow[],
): Promise<() => Promise<number>> {
  const stop = new AbortController();
  context.defer(() => stop.abort());
  let notify: (event: AgentEvent) => void = () => {};
  const link = new SwitchLink({
    address: `unix:${socket}`,
    meters: [],
    readRegisters: () => NO_REGISTERS,
    emit: (event) => notify(event),
    clock: systemClock,
    log: silentLog,
    signal: stop.signal,
  });
  const connected = new Promise<void>((resolve) => {
    notify = (event) => event.kind === 'switchConnected' && resolve();
  });
  void link.run();
  await connected;
  return () =>
    new Promise((resolve, reject) => {
      const installation = new Installation();
      let from = 0;
      const perform = (effects: readonly Effect[]): void => {
        for (const effect of effects) {
          if (effect.kind === 'install') link.perform(effect);
          if (effect.kind === 'log') reject(new Error(`${effect.message}: ${JSON.stringify(effect.fields)}`));
        }
      };
      notify = (event) => {
        if (event.kind === 'readBack') {
          from = performance.now();
          perform(installation.readBack(event.flows, desired));
        } else if (event.kind === 'installed') {
          installation.installed(event.id);
          resolve(performance.now() - from);
        } else if (event.kind === 'refused') perform(installation.refusedBundle(event.id, event.error, event.index));
        else if (event.kind === 'switchLost') reject(new Error(event.reason));
      };
      link.perform({ kind: 'readBack' });
    });
}

/** Deletes all flows and waits until the switch has let go of them, so that the next run finds it as the last one did. */
async function emptied(context: BenchContext, lab: Lab): Promise<void> {
  const ovs = lab.switchOf('switch');
  await ovs.ofctl('del-flows', INTEGRATION_BRIDGE);
  await ovs.appctl('revalidator/wait');
  await context.sleep(context.quick ? 100 : 500);
}
