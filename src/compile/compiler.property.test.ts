import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { flowKey } from '../agent/flow-key.ts';
import type { GeneratedModel } from '../model/generate-build.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { type Compiler, type CompilerChange, createCompiler } from './compiler.ts';
import { wayIn } from './dormant.ts';
import type { InputRecord } from './inputs.ts';
import { TABLES } from './tables.ts';
import { hostsOf, inputsOf, portsOf, randomModel } from './testing/inputs-of.ts';

const RUNS = process.env.WEFT_CAMPAIGN ? 3000 : 60;
/** A usual run is the same every time; WEFT_SEED=… runs another. */
const USUAL_SEED = 1;
const SEED = Number(process.env.WEFT_SEED ?? USUAL_SEED);

const IN: ReadonlySet<number> = new Set([TABLES.classify.number, TABLES.tunnel.number]);

const keyOf = ({ kind, id }: { kind: string; id: string }): string => `${kind}/${id}`;

/** What leads from one set of records to the other. */
function changesBetween(before: readonly InputRecord[], after: readonly InputRecord[]): CompilerChange[] {
  const kept = new Set(after.map(keyOf));
  return [
    ...before
      .filter((record) => !kept.has(keyOf(record)))
      .map(({ kind, id }): CompilerChange => ({ op: 'delete', kind, id })),
    ...after.map((record): CompilerChange => ({ op: 'put', record })),
  ];
}

function flowsOf(compiler: Compiler): string[] {
  return [...compiler.flows()].map(formatFlow).sort();
}

function fresh(records: readonly InputRecord[]): Compiler {
  const compiler = createCompiler();
  compiler.update(records.map((record) => ({ op: 'put', record })));
  return compiler;
}

function shutOffs(model: GeneratedModel, bits: number): InputRecord[] {
  return portsOf(model).flatMap(({ id }, i): InputRecord[] => ((bits >> i) & 1 ? [{ kind: 'shutOff', id }] : []));
}

/** Sets of groups that ports had a moment ago: those of other ports. */
function formerGroups(model: GeneratedModel, bits: number): InputRecord[] {
  const ports = portsOf(model);
  return ports.flatMap(({ id }, i): InputRecord[] => {
    const groups = ports[(i + 1) % ports.length]!.groups;
    return (bits >> i) & 1 && groups.length > 0 ? [{ kind: 'formerGroups', id, sets: [groups] }] : [];
  });
}

/** All hosts but the first, which is the one that compiles. */
function lostHosts(model: GeneratedModel, bits: number): InputRecord[] {
  return hostsOf(model)
    .slice(1)
    .flatMap(({ id }, i): InputRecord[] => ((bits >> i) & 1 ? [{ kind: 'hostLost', id }] : []));
}

test('after any sequence of changes the flows equal a fresh compile', () => {
  const steps = fc.array(
    fc.record({
      ...{ model: randomModel, shut: fc.nat({ max: 3 }), lost: fc.nat({ max: 3 }), former: fc.nat({ max: 15 }) },
      chunk: fc.integer({ min: 1, max: 30 }),
    }),
    {
      minLength: 1,
      maxLength: 4,
    },
  );
  fc.assert(
    fc.property(steps, (sequence) => {
      const compiler = createCompiler();
      const installed = new Map<string, string>();
      let records: InputRecord[] = [];
      for (const { model, shut, lost, former, chunk } of sequence) {
        const host = hostsOf(model)[0]!.id;
        const facts = [...shutOffs(model, shut), ...lostHosts(model, lost), ...formerGroups(model, former)];
        const next = [...inputsOf(model, host), ...facts];
        const changes = changesBetween(records, next);
        for (let at = 0; at < changes.length; at += chunk) {
          const { add, remove } = compiler.update(changes.slice(at, at + chunk));
          // A switch that is told of the differences only ends up with the same flows.
          for (const flow of remove) assert.ok(installed.delete(flowKey(flow)), 'removes what is there');
          for (const flow of add) installed.set(flowKey(flow), formatFlow(flow));
        }
        records = next;
      }
      const expected = flowsOf(fresh(records));
      assert.deepEqual(flowsOf(compiler), expected);
      assert.deepEqual([...installed.values()].sort(), expected);
      assert.equal(compiler.flowCount, expected.length);
    }),
    { numRuns: RUNS, seed: SEED },
  );
});

test('a model that keeps the rules compiles without problems on every host', () => {
  fc.assert(
    fc.property(randomModel, (model) => {
      for (const host of hostsOf(model)) {
        const compiler = createCompiler();
        const { problems } = compiler.update(inputsOf(model, host.id).map((record) => ({ op: 'put', record })));
        assert.deepEqual(problems, []);
        const identities = new Set([...compiler.flows()].map(flowKey));
        assert.equal(identities.size, compiler.flowCount, 'no two flows with one table, priority and match');
        // What `WaysIn` counts on: what asks for no port or key leads on to nothing, but to the agent.
        const unasked = [...compiler.flows()].filter((flow) => IN.has(flow.table) && wayIn(flow) === undefined);
        for (const flow of unasked)
          assert.ok(
            flow.actions.every(({ kind }) => kind === 'controller'),
            formatFlow(flow),
          );
        assert.ok(unasked.length > 0);
        for (const { cookie, units } of compiler.compiled()) assert.deepEqual(compiler.explain(cookie).units, units);
      }
    }),
    { numRuns: RUNS, seed: SEED },
  );
});
