import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Compiler, createCompiler } from '../../src/compile/compiler.ts';
import type { InputRecord } from '../../src/compile/inputs.ts';
import { type ModelSketch, modelSketch } from '../../src/model/generate.ts';
import { buildModel } from '../../src/model/generate-build.ts';
import { routedModelSketch } from '../../src/model/generate-routed.ts';
import { generatedId, peersAt } from '../../src/model/generated.ts';
import { ModelIndex } from '../../src/model/model-index.ts';
import type { ScopeRecord } from '../../src/model/objects.ts';
import { formatFlow } from '../../src/openflow/text/flow.ts';
import type { RecordChange } from '../../src/server/desired-state.ts';
import { ScopeIndex } from '../../src/server/scope.ts';
import { TUNNEL_PORTS } from './scenario.ts';

/**
 * DESIGN invariant 4, from the store's transaction on: the scopes that the server works out step by step are those that it would work
 * out from scratch, and flows compiled from the steps are those compiled afresh.
 */
const RUNS = process.env.WEFT_CAMPAIGN === undefined ? 60 : 3000;
const SEED = Number(process.env.WEFT_SEED ?? 1);
const HOST = generatedId('host', 0);
const NAT_ZONES = [0, 1, 2, 3].map(
  (n): InputRecord => ({ kind: 'natZone', id: generatedId('router', n), zone: 400 + 4 * n, isTight: n % 2 === 0 }),
);

/** A model as it changes: each next one is another, or the one before with some switches, ports, chains, routers or hosts of another. */
const history = fc.array(
  fc.record({
    model: fc.oneof(modelSketch, routedModelSketch),
    keep: fc.nat({ max: 15 }),
    chunk: fc.integer({ min: 1, max: 20 }),
  }),
  {
    minLength: 2,
    maxLength: 4,
  },
);

function mixed(before: ModelSketch | undefined, next: ModelSketch, keep: number): ModelSketch {
  if (!before) return next;
  return {
    ...next,
    encaps: keep & 1 ? before.encaps : next.encaps,
    hosts: keep & 1 ? before.hosts : next.hosts,
    chains: keep & 2 ? before.chains : next.chains,
    ...(keep & 8 && before.network ? { network: before.network } : {}),
    switches: keep & 4 ? [...before.switches.slice(0, 1), ...next.switches.slice(1)] : next.switches,
  };
}

const keyOf = ({ kind, id }: { readonly kind: string; readonly id: string }): string => `${kind}/${id}`;

/** What leads from the index to these records, as transactions of at most `chunk` changes. */
function* transactions(
  index: ModelIndex,
  before: Map<string, ScopeRecord>,
  after: readonly ScopeRecord[],
  chunk: number,
): Iterable<RecordChange[]> {
  const wanted = new Map(after.map((record) => [keyOf(record), record]));
  const [added, changed, deleted]: [RecordChange[], RecordChange[], RecordChange[]] = [[], [], []];
  for (const [key, record] of wanted) {
    const known = before.get(key);
    const { kind, id } = record;
    if (!known) added.push({ kind, id, after: record });
    else if (JSON.stringify(known) !== JSON.stringify(record)) changed.push({ kind, id, before: known, after: record });
  }
  for (const [key, record] of before)
    if (!wanted.has(key)) deleted.push({ kind: record.kind, id: record.id, before: record });
  // What is referred to comes before what refers to it, and goes after it.
  deleted.sort((a, b) => DELETED_FIRST.indexOf(a.kind) - DELETED_FIRST.indexOf(b.kind));
  const changes = [...added, ...changed, ...deleted];
  for (let from = 0; from < changes.length; from += chunk) {
    const some = changes.slice(from, from + chunk);
    for (const { kind, id, after: record } of some) {
      if (record) before.set(keyOf(record), record);
      else before.delete(keyOf({ kind, id }));
      if (record) index.put(record);
      else index.delete(kind, id);
    }
    yield some;
  }
}

const DELETED_FIRST = [
  ...[
    'vtepBinding',
    'vtep',
    'l2Gateway',
    'learnedRoutes',
    'learnedSet',
    'memberHealth',
    'keptClients',
    'natLease',
    'neighbour',
    'learned',
    'loadBalancer',
    'floatingAddress',
    'routerPort',
    'router',
  ],
  ...['binding', 'port', 'rule', 'chain', 'securityGroup', 'addressSet', 'switch', 'host', 'tunnelZone', 'tenant'],
];

function flowsOf(compiler: Compiler): string[] {
  return [...compiler.flows()].map(formatFlow).sort();
}

function compileAll(records: readonly InputRecord[]): Compiler {
  const compiler = createCompiler();
  compiler.update(records.map((record) => ({ op: 'put', record })));
  return compiler;
}

test('scopes and flows after any history are as fresh ones', () => {
  const property = fc.property(history, (steps) => {
    const index = new ModelIndex();
    const scopes = new ScopeIndex(index);
    const scope = scopes.attach(HOST);
    const self: InputRecord = { kind: 'self', id: 'self', host: HOST, tunnelPorts: TUNNEL_PORTS };
    const compiler = compileAll([self, ...NAT_ZONES, ...scope.records()]);
    const held = new Map<string, InputRecord>([...scope.records()].map((record) => [keyOf(record), record]));
    const stored = new Map<string, ScopeRecord>();
    let plugged: InputRecord[] = [];
    let sketch: ModelSketch | undefined;
    for (const { model, keep, chunk } of steps) {
      sketch = mixed(sketch, model, keep);
      const { records: built, interfaces } = buildModel(sketch);
      const records = [...built, ...built.flatMap(peersAt)];
      const now = interfaces
        .filter(({ host, early }) => host === HOST && !early)
        .map(
          ({ port }, i): InputRecord => ({
            kind: 'interface',
            id: port,
            ofport: 10 + i,
            name: `if${i}`,
            zone: 4 + 4 * i,
          }),
        );
      compiler.update([
        ...plugged.map((record) => ({ op: 'delete', record }) as const),
        ...now.map((record) => ({ op: 'put', record }) as const),
      ]);
      plugged = now;
      for (const transaction of transactions(index, stored, records, chunk)) {
        const own = scopes.apply(transaction).get(scope) ?? [];
        for (const step of own) {
          if (step.type === 'put') held.set(keyOf(step.record), step.record);
          else assert.ok(held.delete(keyOf(step)), `${keyOf(step)} leaves that was there`);
        }
        compiler.update(
          own.map((step) =>
            step.type === 'put' ? { op: 'put', record: step.record } : { op: 'delete', kind: step.kind, id: step.id },
          ),
        );
      }
      const fresh = [...new ScopeIndex(index).attach(HOST).records()];
      assert.deepEqual([...held.keys()].sort(), fresh.map(keyOf).sort(), 'the scope');
      for (const record of fresh) assert.deepEqual(held.get(keyOf(record)), record);
      assert.deepEqual(flowsOf(compiler), flowsOf(compileAll([self, ...NAT_ZONES, ...fresh, ...plugged])), 'the flows');
    }
  });
  fc.assert(property, { numRuns: RUNS, seed: SEED, interruptAfterTimeLimit: 300_000 });
});
