import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelOf } from '../model/model-index.ts';
import type { Router } from '../model/objects.ts';
import type { LearnedRoute } from '../model/view.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { frame, ip, udp } from '../pipeline/frames.fixture.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { simulateFrame } from '../simulate/simulate.ts';
import { type Compiler, createCompiler } from './compiler.ts';
import { hopSetId } from './learned-routes.ts';
import * as example from './testing/example.ts';
import * as ups from './testing/uplinks.fixture.ts';

// Routes that gateways learned (docs/design/gateways.md, §2): the view of h1, where all interfaces are.

const h1 = example.host(1);
const h2 = example.host(2);
const [w1, w2] = ['192.0.2.1', '192.0.2.9'];
/** The upstreams, as their wires heard them. */
const w6 = '2001:db8:f::1';
const upstreams = [
  { of: ups.up, port: ups.wire, address: w6, mac: '02:ee:00:00:00:01' },
  { of: ups.up, port: ups.wire, address: w1, mac: '02:ee:00:00:00:01' },
  { of: ups.second, port: ups.secondWire, address: w2, mac: '02:ee:00:00:00:02' },
].flatMap(({ of, port, address, mac }) => [
  {
    kind: 'neighbour',
    id: `${of.id}/${address}`,
    revision: 1,
    switch: of.id,
    address,
    mac,
    port: port.id,
    host: h1.id,
  } as const,
  {
    kind: 'learned',
    id: `${of.id}/0/${mac}`,
    revision: 1,
    switch: of.id,
    port: port.id,
    host: h1.id,
    mac,
    vlan: 0,
  } as const,
]);
const records = [
  ...[example.zone(), h1, h2, ...ups.world, ...upstreams],
  ...[ups.wire, ups.a, ups.b, ups.secondWire].map((port) => example.binding(port, h1)),
];
const OFPORTS = [ups.wire, ups.a, ups.b, ups.secondWire];
const facts = [
  example.self(h1, { tunnelPorts: { geneve: 12 } }),
  ...OFPORTS.map((port, i) => example.boundInterface(port, i + 1)),
];

function compiled(router: Router, routes: readonly LearnedRoute[]): Compiler {
  const compiler = createCompiler();
  compiler.update([...records, ...facts, router, ...ups.records(routes)].map((record) => ({ op: 'put', record })));
  return compiler;
}

const toFar = (last: number): Uint8Array =>
  frame(ups.a.mac, ups.toInside.mac, ip('10.0.1.11', `198.51.100.${last}`, udp(1, 2)));

/** By which wire each of 256 destinations leaves; `-`: by none. */
function executed(compiler: Compiler): string[] {
  const pipeline = createPipeline({ flows: compiler.flows(), ports: [1, 2, 3, 4] });
  return Array.from({ length: 256 }, (_, n) => {
    const [first] = pipeline.run({ inPort: 2, bytes: toFar(n) }).outputs;
    return first === undefined ? '-' : first.port === 1 ? 'first' : 'second';
  });
}

/** Its routes are those from now on. */
function relearn(compiler: Compiler, before: readonly LearnedRoute[], after: readonly LearnedRoute[]) {
  const now = ups.records(after);
  const left = ups.records(before).filter(({ kind, id }) => !now.some((each) => each.kind === kind && each.id === id));
  return compiler.update([
    ...now.map((record) => ({ op: 'put', record }) as const),
    ...left.map((record) => ({ op: 'delete', record }) as const),
  ]);
}

function simulated(router: Router, routes: readonly LearnedRoute[]): string[] {
  const model = modelOf([...records, router, ...ups.records(routes)]);
  return Array.from({ length: 256 }, (_, n) => {
    const [first] = simulateFrame(model, { port: ups.a.id, host: h1.id, bytes: toFar(n) }).deliveries;
    return first === undefined ? '-' : first.port === ups.wire.id ? 'first' : 'second';
  });
}

const shareOf = (ways: readonly string[], name: string): number =>
  ways.filter((way) => way === name).length / ways.length;
const via = (address: string, options: object = {}) => example.route('198.51.100.0/24', { via: address, ...options });
const learned = (to: string, host: typeof h1, ...hops: string[]): LearnedRoute =>
  ups.learned(ups.core, to, host, ...hops);
const FAR = '198.51.100.0/24';

const CASES: readonly (readonly [string, Router, readonly LearnedRoute[], Readonly<Record<string, number>>])[] = [
  ['one route', ups.core, [learned(FAR, h1, w1)], { first: 1 }],
  ['equal ones of two hosts', ups.core, [learned(FAR, h1, w1), learned(FAR, h2, w2)], { first: 0.5, second: 0.5 }],
  ['weights', ups.core, [learned(FAR, h1, `${w1} 3`, `${w2} 1`)], { first: 0.75, second: 0.25 }],
  ['weights far apart', ups.core, [learned(FAR, h1, `${w1} 1`, `${w2} 32`)], { first: 8 / 256, second: 248 / 256 }],
  [
    'weights far apart, beside a route with the usual slots',
    ups.core,
    [learned(FAR, h1, `${w1} 1`, `${w2} 32`), learned('198.51.100.128/25', h1, w1, w2)],
    { first: (4 + 64) / 256, second: (124 + 64) / 256 },
  ],
  [
    'weights far apart of static routes, and within these learned ones with the usual slots',
    { ...ups.core, routes: [via(w1), via(w2, { weight: 100 })] },
    [learned('198.51.100.128/25', h1, w1, w2)],
    { first: (2 + 64) / 256, second: (126 + 64) / 256 },
  ],
  [
    'one next hop of two hosts',
    ups.core,
    [learned(FAR, h1, `${w1} 1`, w2), learned(FAR, h2, `${w1} 3`)],
    { first: 0.75, second: 0.25 },
  ],
  [
    'a longer one',
    ups.core,
    [learned('0.0.0.0/0', h1, w1), learned('198.51.100.128/25', h2, w2)],
    { first: 0.5, second: 0.5 },
  ],
  ['a void one', ups.core, [learned(FAR, h1, '203.0.113.7'), learned('0.0.0.0/0', h1, w2)], { second: 1 }],
  ['a void next hop', ups.core, [learned(FAR, h1, '203.0.113.7', w2)], { second: 1 }],
  ['IPv4 by an IPv6 next hop (RFC 8950)', ups.core, [learned(FAR, h1, w6)], { first: 1 }],
  ['IPv4 by next hops of both versions', ups.core, [learned(FAR, h1, w6, w2)], { first: 0.5, second: 0.5 }],
  ['IPv4 by a written IPv6 next hop', { ...ups.core, routes: [via(w6), via(w2)] }, [], { first: 0.5, second: 0.5 }],
  ['over a static one', { ...ups.core, routes: [via(w2)] }, [learned(FAR, h1, w1)], { first: 1 }],
  [
    'under a better static one',
    { ...ups.core, routes: [via(w2, { metric: 19 })] },
    [learned(FAR, h1, w1)],
    { second: 1 },
  ],
  [
    'beside an equal static one',
    { ...ups.core, routes: [via(w2, { metric: 20 })] },
    [learned(FAR, h1, w1)],
    { first: 0.5, second: 0.5 },
  ],
  [
    'under an equal static blackhole',
    { ...ups.core, routes: [example.route(FAR, { action: 'blackhole', metric: 20 })] },
    [learned(FAR, h1, w1)],
    { '-': 1 },
  ],
  ['void, over a static one', { ...ups.core, routes: [via(w2)] }, [learned(FAR, h1, '203.0.113.7')], { second: 1 }],
  [
    'under a static one for the source',
    { ...ups.core, routes: [via(w2, { from: '10.0.1.0/24' })] },
    [learned(FAR, h1, w1)],
    { second: 1 },
  ],
  ['under a connected one', ups.core, [learned('10.0.1.0/24', h1, w1), learned(FAR, h1, w2)], { second: 1 }],
];

for (const [name, router, routes, shares] of CASES)
  test(`learned: ${name}`, () => {
    const ways = executed(compiled(router, routes));
    assert.deepEqual(ways, simulated(router, routes));
    for (const way of ['first', 'second', '-']) assert.equal(shareOf(ways, way), shares[way] ?? 0, way);
  });

test('a lost host takes its next hops with it where there are others, and brings them back', () => {
  const routes = [learned(FAR, h1, w1), learned(FAR, h2, w2), learned('198.51.100.7/32', h2, w2)];
  const compiler = compiled(ups.core, routes);
  const heard = upstreams.find((each) => each.kind === 'neighbour' && each.address === w2)!;
  compiler.update([{ op: 'put', record: { ...heard, host: h2.id } }]);
  const before = executed(compiler);
  const { add, remove } = compiler.update([{ op: 'put', record: { kind: 'hostLost', id: h2.id } }]);
  assert.deepEqual(executed(compiler), executed(compiled(ups.core, [learned(FAR, h1, w1), ...routes.slice(2)])));
  // The 16 slots of the set that both have; the one route that has no other keeps its.
  assert.ok(add.length + remove.length <= 20, `${add.length} and ${remove.length} flows`);
  compiler.update([{ op: 'delete', kind: 'hostLost', id: h2.id }]);
  assert.deepEqual(executed(compiler), before);
});

/** With a gap behind each, so that they cannot be put together; both gateways learned them. */
const many = Array.from({ length: 1000 }, (_, n) => `20.${n >> 7}.${(2 * n) & 255}.0/24`).flatMap((to) => [
  learned(to, h1, w1),
  learned(to, h2, w2),
]);
const lines = (each: Compiler): string[] => [...each.flows()].map(formatFlow).sort();

test('a thousand learned routes are a thousand flows and one set; one more is one more', () => {
  const none = compiled(ups.core, []).flowCount;
  const compiler = compiled(ups.core, many);
  const set = compiler.flowCount - none - 1000;
  assert.ok(set > 0 && set <= 16, `${set} flows for the set`);
  const more = [...many, learned(FAR, h1, w1), learned(FAR, h2, w2)];
  const { add, remove } = relearn(compiler, many, more);
  assert.deepEqual([add.length, remove.length], [1, 0]);
  const gone = relearn(compiler, more, more.slice(0, -1));
  // The flow that names another set, and that set's.
  assert.deepEqual([gone.add.length, gone.remove.length], [2, 0]);
  assert.deepEqual(lines(compiler), lines(compiled(ups.core, [...many, learned(FAR, h1, w1)])));
});

test('routes that change no decision are no flows, but beside other routes of their router', () => {
  const whole = [learned('20.0.0.0/8', h1, w1), learned('20.0.0.0/8', h2, w2)];
  const plain = compiled(ups.core, whole).flowCount;
  const compiler = compiled(ups.core, [...whole, ...many]);
  assert.equal(compiler.flowCount, plain);
  // A static route for one of them: that one is for itself, and so is what was learned for just its network.
  const router = { ...ups.core, routes: [example.route('20.1.0.0/24', { via: w2, metric: 200 })] };
  compiler.update([{ op: 'put', record: router }]);
  assert.deepEqual(lines(compiler), lines(compiled(router, [...whole, ...many])));
  // Its own next hops by slots, where there was one.
  const more = compiler.flowCount - compiled(router, whole).flowCount;
  assert.ok(more > 0 && more <= 16, `${more} flows more`);
  compiler.update([{ op: 'put', record: ups.core }]);
  assert.equal(compiler.flowCount, plain);
  relearn(compiler, [...whole, ...many], []);
  assert.deepEqual(lines(compiler), lines(compiled(ups.core, [])));
});

test('a change of a static route does not run learned ones', () => {
  const compiler = compiled(ups.core, [learned(FAR, h1, w1)]);
  const before = [...compiler.flows()].length;
  const { add } = compiler.update([
    { op: 'put', record: { ...ups.core, routes: [example.route('203.0.113.0/24', { via: w1 })] } },
  ]);
  // The route, and that its sources are known at the uplink.
  assert.deepEqual([add.length, compiler.flowCount], [2, before + 2]);
});

test('the number of a set begins as no next hop does, and is another for another', () => {
  const [one, other] = [hopSetId('r,4,h/1'), hopSetId('r,4,h/2')];
  assert.equal(one >> 120n, 0xffn);
  assert.notEqual(one, other);
});

test('what lies below a route that becomes void shows again, though it was aggregated away', () => {
  const routes = [
    learned('198.51.100.0/25', h1, w1),
    learned('198.51.100.128/25', h1, w1),
    learned(FAR, h2, w2),
    learned('0.0.0.0/0', h2, w2),
  ];
  const compiler = compiled(ups.core, routes);
  assert.equal(shareOf(executed(compiler), 'first'), 1);
  compiler.update([{ op: 'put', record: { ...ups.uplink, adminUp: false } }]);
  assert.equal(shareOf(executed(compiler), 'second'), 1);
  compiler.update([{ op: 'put', record: ups.uplink }]);
  assert.equal(shareOf(executed(compiler), 'first'), 1);
  assert.deepEqual(lines(compiler), lines(compiled(ups.core, routes)));
});

test('next hops whose sessions ended are out of all routes at the cost of their set, and back so', () => {
  const routes = [
    ...many.filter(({ host }) => host === h1.id).map(({ to }) => learned(to, h1, w1, w2)),
    learned(FAR, h1, w1),
  ];
  const world = [...routes, learned('198.51.0.0/16', h1, w2)];
  const compiler = compiled(ups.core, world);
  const before = lines(compiler);
  const sets = ups.records(world).filter((record) => record.kind === 'learnedSet');
  const ended = sets.map((record) =>
    record.via.some(({ address }) => address === w1) ? { ...record, ended: [w1] } : record,
  );
  const { add, remove } = compiler.update(ended.map((record) => ({ op: 'put', record })));
  // Slots of the set that both are in; and the one route by the one alone, which is as though it were not there.
  assert.ok(add.length + remove.length <= 20, `${add.length} and ${remove.length} flows`);
  const blocks = ups.records(world).filter((record) => record.kind === 'learnedRoutes');
  const model = modelOf([...records, ups.core, ...blocks, ...ended]);
  const ways = executed(compiler);
  assert.ok(
    ways.every((way) => way === 'second'),
    'the covering one shows',
  );
  const [first] = simulateFrame(model, { port: ups.a.id, host: h1.id, bytes: toFar(7) }).deliveries;
  assert.equal(first?.port, ups.secondWire.id);
  const fresh = createCompiler();
  fresh.update([...records, ...facts, ups.core, ...blocks, ...ended].map((record) => ({ op: 'put', record })));
  assert.deepEqual(lines(compiler), lines(fresh));
  compiler.update(sets.map((record) => ({ op: 'put', record })));
  assert.deepEqual(lines(compiler), before);
});

test('a void route is as though it were not there, also where it parts those that are', () => {
  const others = [learned('198.51.100.0/28', h1, w1), learned('198.51.100.128/28', h1, w2)];
  const compiler = compiled(ups.core, others);
  const before = executed(compiler);
  const all = [
    ...others,
    learned('198.51.100.64/28', h1, '203.0.113.7'),
    learned('198.51.100.0/25', h1, '203.0.113.7'),
  ];
  relearn(compiler, others, all);
  assert.deepEqual(executed(compiler), before);
  assert.deepEqual(executed(compiled(ups.core, all)), before);
  assert.deepEqual(executed(compiled(ups.core, all.toReversed())), before);
  relearn(compiler, all, []);
  assert.deepEqual(lines(compiler), lines(compiled(ups.core, [])));
});
