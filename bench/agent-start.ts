import { type Bench, type BenchContext, bounded, type Figure, median, plain } from './bench.ts';
import { FlowCount, lastChange } from './flow-count.ts';
import { type NetworkSize, planPorts } from './network.ts';
import { processorSeconds, residentMegabytes } from './process-usage.ts';
import { makeCold, plugInternal, startWeft } from './weft.ts';

/** From the start of the agent's process, with nothing remembered and an empty switch, to its last flow. */
export const agentStart: Bench = {
  name: 'agent-start',
  about:
    'cold start of an agent with 1,000 and 10,000 ports in 500 switches, 200 of them local; memory of agent and server',
  needsRoot: true,
  run,
};

/** Of the issue: 10,000 ports in 500 switches, 200 of them local, spread over 40 switches. */
export const LARGE: NetworkSize = { switches: 500, ports: 10_000, localPorts: 200, localSwitches: 40 };
/** With two ports a switch, 200 local ones spread over as many switches. */
const SMALL: NetworkSize = { switches: 500, ports: 1_000, localPorts: 200, localSwitches: 200 };

/** Memory is looked at when a process has had time to give back what a burst of work took. */
const SETTLE_MS = 6_000;
const [BAR_START_S, BAR_AGENT_MB, BAR_SERVER_MB] = [2, 120, 250];

async function run(context: BenchContext): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const size of [SMALL, LARGE]) figures.push(...(await measure(context, size, size === LARGE)));
  return figures;
}

async function measure(context: BenchContext, size: NetworkSize, hasBars: boolean): Promise<Figure[]> {
  const what = `${size.ports.toLocaleString('en-US')} ports`;
  const weft = await startWeft(context, { size });
  const local = planPorts(size).filter((port) => port.host === 0);
  context.progress(`${what}: plugging ${local.length} interfaces`);
  await plugInternal(weft.lab, 'one', local);
  const flows = await FlowCount.of(context, weft.lab, 'one');
  await lastChange(context, [flows], { quietMs: 500 }).catch(() => undefined); // perhaps all are in already
  const [times, processor]: [number[], number[]] = [[], []];
  let count = 0;
  for (let round = 0; round < (context.quick ? 2 : 5); round++) {
    await makeCold(weft, 'one', local);
    const from = performance.now();
    const watching = lastChange(context, [flows], { quietMs: 1_000 });
    const [{ atMs, counts }] = await Promise.all([watching, weft.agent('one').start()]);
    times.push((atMs - from) / 1000);
    count = counts[0]!;
    processor.push(processorSeconds(weft.agent('one')));
    context.progress(`${what}: start ${round + 1}: ${times.at(-1)!.toFixed(2)} s to ${count} flows`);
  }
  context.progress(`${what}: letting both come to rest`);
  await context.sleep(SETTLE_MS);
  const [agent, server] = [residentMegabytes(weft.agent('one')), residentMegabytes(weft.server)];
  const figure = (metric: string, value: number, unit: string, bar: number): Figure =>
    hasBars ? bounded(metric, value, unit, bar) : plain(metric, value, unit);
  await weft.lab.down();
  return [
    figure(`${what}, 200 local: cold start to the last flow`, median(times), 's', BAR_START_S),
    plain(`${what}, 200 local: processor time of the agent for it`, median(processor), 's'),
    plain(`${what}, 200 local: flows`, count, 'flows'),
    figure(`${what}, 200 local: agent's memory (RSS)`, agent.now, 'MB', BAR_AGENT_MB),
    plain(`${what}, 200 local: the same at its largest`, agent.most, 'MB'),
    figure(`${what}, 200 local: server's memory (RSS)`, server.now, 'MB', BAR_SERVER_MB),
    plain(`${what}, 200 local: the same at its largest`, server.most, 'MB'),
  ];
}
