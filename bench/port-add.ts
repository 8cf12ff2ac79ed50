import { waitForPorts } from '../src/lab/weft.ts';
import { LARGE } from './agent-start.ts';
import { type Bench, type BenchContext, bounded, type Figure, median, plain, quantile } from './bench.ts';
import { FlowWatch } from './flow-watch.ts';
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
  const [warmUps, rounds] = context.quick ? [5, 10] : [40, 100];
  const weft = await startWeft(context, { size: LARGE });
  const local = planPorts(LARGE).filter((port) => port.host === 0);
  // The second host has a port on each of the switches, or nothing would have to change there.
  const beyond = Array.from({ length: LARGE.localSwitches }, (_, s) => planPort(s, FREE_PLACE, 1));
  const added = Array.from({ length: warmUps + rounds }, (_, i) =>
    planPort(i % LARGE.localSwitches, FREE_PLACE + 1 + i, 0),
  );
  context.progress('plugging interfaces');
  await weft.client.post('/v1/apply', { objects: beyond.map(portObject) });
  await plugInternal(weft.lab, 'one', [...local, ...added]);
  await plugInternal(weft.lab, 'two', beyond);
  const bound = [...local, ...beyond].map((port) => port.id);
  await waitForPorts(weft.client, bound, 60_000);
  const watches = [await FlowWatch.of(context, weft.lab, 'one'), await FlowWatch.of(context, weft.lab, 'two')];

  const times: number[] = [];
  const answered: number[] = [];
  for (const [i, port] of added.entries()) {
    for (const watch of watches) watch.reset();
    const from = performance.now();
    await weft.client.post('/v1/ports', withoutKind(port));
    const answeredMs = performance.now() - from;
    const lastMs = await context.until('flows of the new port', () => settledMs(watches));
    if (i % 20 === 19) context.progress(`${i + 1} of ${added.length}: ${(lastMs - from).toFixed(1)} ms`);
    if (i < warmUps) continue; // a server and agents that have done this before, as in operation
    answered.push(answeredMs);
    times.push(lastMs - from);
  }
  return [
    bounded('API write to flows in both switches, median', median(times), 'ms', BAR_MS),
    plain('the same, of 100 the 95th', quantile(times, 0.95), 'ms'),
    plain("the API's own answer, median", median(answered), 'ms'),
  ];
}

const QUIET_MS = 60;

/** When the last flow was heard of, once every switch has changed and none has for a while. */
function settledMs(watches: readonly FlowWatch[]): number | undefined {
  const lastMs = Math.max(...watches.map((watch) => watch.lastMs));
  const isSettled = watches.every((watch) => watch.changes > 0) && performance.now() - lastMs >= QUIET_MS;
  return isSettled ? lastMs : undefined;
}

function withoutKind(port: PlannedPort): Record<string, unknown> {
  const { kind: _, ...fields } = portObject(port);
  return fields;
}
