import { LARGE } from './agent-start.ts';
import { type Bench, type BenchContext, bounded, type Figure, median, plain, quantile } from './bench.ts';
import { FlowCount, lastChange } from './flow-count.ts';
import { type PlannedPort, planPort, planPorts, portObject } from './network.ts';
import { plugInternal, startWeft } from './weft.ts';

/** From the write to the API to the last flow in every switch that the port concerns. */
export const portAdd: Bench = {
  name: 'port-add',
  about:
    'one more port among 10,000: API write to flows in the switches of both hosts, the interface being there already',
  needsRoot: true,
  run,
};

/** Places on a switch that the plan leaves free. */
const FREE_PLACE = 1_000;
const BAR_MS = 10;

async function run(context: BenchContext): Promise<Figure[]> {
  const rounds = context.quick ? 8 : 40;
  const weft = await startWeft(context, { size: LARGE });
  const local = planPorts(LARGE).filter((port) => port.host === 0);
  // The second host has a port on each of the switches, or nothing would have to change there.
  const beyond = Array.from({ length: LARGE.localSwitches }, (_, s) => planPort(s, FREE_PLACE, 1));
  const added = Array.from({ length: rounds }, (_, i) => planPort(i % LARGE.localSwitches, FREE_PLACE + 1 + i, 0));
  context.progress('plugging interfaces');
  await weft.client.post('/v1/apply', { objects: beyond.map(portObject) });
  await plugInternal(weft.lab, 'one', [...local, ...added]);
  await plugInternal(weft.lab, 'two', beyond);
  const switches = [await FlowCount.of(context, weft.lab, 'one'), await FlowCount.of(context, weft.lab, 'two')];
  await context.until('an end of the changes', () => isQuiet(context, switches), { timeoutMs: 60_000 });

  const times: number[] = [];
  const answered: number[] = [];
  for (const [i, port] of added.entries()) {
    const watching = lastChange(context, switches, { quietMs: 150 });
    await context.sleep(20);
    const from = performance.now();
    await weft.client.post('/v1/ports', withoutKind(port));
    answered.push(performance.now() - from);
    times.push((await watching).atMs - from);
    if (i % 10 === 9) context.progress(`${i + 1} of ${rounds}: median ${median(times).toFixed(1)} ms`);
  }
  return [
    bounded('API write to flows in both switches, median', median(times), 'ms', BAR_MS),
    plain('the same, of 100 the 95th', quantile(times, 0.95), 'ms'),
    plain("the API's own answer, median", median(answered), 'ms'),
  ];
}

function withoutKind(port: PlannedPort): Record<string, unknown> {
  const { kind: _, ...fields } = portObject(port);
  return fields;
}

/** True once nothing has changed for a second. */
async function isQuiet(context: BenchContext, switches: readonly FlowCount[]): Promise<true | undefined> {
  const before = await Promise.all(switches.map((s) => s.now()));
  await context.sleep(1_000);
  const after = await Promise.all(switches.map((s) => s.now()));
  return before.every((count, i) => count === after[i] && count > 0) ? true : undefined;
}
