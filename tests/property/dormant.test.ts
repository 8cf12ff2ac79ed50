import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Loads } from '../../src/compile/dormant.ts';
import { REGISTERS } from '../../src/compile/fields.ts';
import type { Action, Flow } from '../../src/openflow/flow.ts';
import { formatFlow } from '../../src/openflow/text/flow.ts';
import { Conversation, conversationSketch, isMessage } from './conversation.ts';
import { pipelineNetwork } from './in-pipeline.ts';

/**
 * What goes into a switch ahead of a change, and out of it behind one (src/compile/dormant.ts), is met by no packet:
 * of random models one key, or one load of it into one register, is taken away, and no packet of a conversation meets a flow that is dormant then.
 */
const RUNS = process.env.WEFT_CAMPAIGN === undefined ? 150 : 3_000;
const USUAL_SEED = 1;
const SEED = Number(process.env.WEFT_SEED ?? USUAL_SEED);
const KEYED = [REGISTERS.inPort.field, REGISTERS.switch.field, REGISTERS.outPort.field, REGISTERS.routerPort.field];

/** What flows load into which of these registers: `register key`, and the key alone. */
function* loadsOf(actions: readonly Action[]): Iterable<string> {
  for (const action of actions) {
    if (action.kind === 'clone') yield* loadsOf(action.actions);
    if (action.kind !== 'setField' || action.mask !== undefined) continue;
    if (KEYED.some((field) => field === action.field)) yield* [`${action.field} ${action.value}`, `${action.value}`];
  }
}

test('packets do not meet dormant flows', () => {
  const seen = { dormant: 0, packets: 0, arrived: 0 };
  fc.assert(
    fc.property(conversationSketch({ least: 5, most: 15 }), fc.nat({ max: 10_000 }), (sketch, among) => {
      const conversation = new Conversation(sketch);
      const dormant = new Set<Flow>();
      const network = pipelineNetwork(conversation.scenario, (flows) => {
        const loaded = [...new Set(flows.flatMap(({ actions }) => [...loadsOf(actions)]))];
        const missing = loaded[among % loaded.length]!;
        const before = flows.filter(({ actions }) => ![...loadsOf(actions)].includes(missing));
        const loads = new Loads(before);
        const isThere = new Set(before);
        for (const flow of flows) if (loads.areStrangeTo(flow)) dormant.add(flow);
        return flows.filter((flow) => isThere.has(flow) || dormant.has(flow));
      });
      seen.dormant += dormant.size;
      for (const step of sketch.steps) {
        const done = conversation.do(step);
        // Changes of the model are those of other tests.
        if (!done || !isMessage(done)) continue;
        const { host, ofport, bytes } = done.entry;
        const journey = network.send(host, ofport, bytes);
        for (const { flow } of journey.steps)
          assert.ok(flow === undefined || !dormant.has(flow), `met: ${flow ? formatFlow(flow) : ''}`);
        seen.packets++;
        if (journey.deliveries.length > 0) seen.arrived++;
      }
    }),
    { numRuns: RUNS, seed: SEED },
  );
  // Else nothing is shown.
  assert.ok(seen.dormant > 20 * RUNS, JSON.stringify(seen));
  assert.ok(seen.arrived > seen.packets / 10, JSON.stringify(seen));
});
