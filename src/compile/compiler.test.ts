import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_JUMP_DEPTH } from '../model/chain-steps.ts';
import type { RuleMatch } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { COPIES_PER_FLOW } from './chunks.ts';
import { createCompiler } from './compiler.ts';
import { cookieOf } from './cookie.ts';
import type { CompiledFlow } from './flow-sink.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN, TABLES, tableName } from './tables.ts';
import * as example from './testing/example.ts';
import { largeModel, largePort } from './testing/large.ts';

const put = (record: InputRecord): { op: 'put'; record: InputRecord } => ({ op: 'put', record });
const compile = (records: readonly InputRecord[]): ReturnType<typeof createCompiler> => {
  const compiler = createCompiler();
  compiler.update(records.map(put));
  return compiler;
};

/** Flows that forward or answer; those that only drop keep drops wide, or name them, and do not count (layer2.md, Cost). */
const counts = ({ reason }: CompiledFlow): boolean =>
  reason === undefined || reason === 'answered' || reason === 'agent';
const counted = (flows: Iterable<CompiledFlow>): number => [...flows].filter(counts).length;

test('a dual-stack port here costs at most 12 flows, a remote address at most 3', () => {
  const before = compile(largeModel({ switches: 1, portsPerSwitch: 4, localPorts: 2 }));
  const added = largePort(77, example.idOf('switch', 1), 77);
  const host = (number: number): InputRecord => example.binding(added, example.host(number));
  const start = counted(before.compiled());
  before.update([put(added), put(host(2))]);
  const withRemote = counted(before.compiled());
  assert.ok(withRemote - start <= 3 * added.addresses.length, `${withRemote - start} for ${added.addresses.length}`);
  assert.equal(withRemote - start, 3);
  before.update([put(host(1)), put(example.boundInterface(added, 500))]);
  assert.ok(counted(before.compiled()) - start <= 12, `${counted(before.compiled()) - start} flows`);
});

test('a port with IPv4 alone and a security group costs at most 7 flows here, wide ones included, and 2 elsewhere', () => {
  const group = example.securityGroup(1, { ingress: [{ group: example.idOf('securityGroup', 1) }] });
  const net = example.logicalSwitch(1, { key: 1, subnets: [example.subnet('10.0.0.0/16')] });
  const member = (number: number): ReturnType<typeof example.port> => ({
    ...largePort(number, net.id, number),
    addresses: [`10.0.0.${number}`],
    groups: [group.id],
  });
  const here = (number: number): InputRecord[] => [
    member(number),
    example.binding(member(number), example.host(1)),
    { ...example.boundInterface(member(number), 200 + number), zone: 4 * number },
  ];
  const there = (number: number): InputRecord[] => [member(number), example.binding(member(number), example.host(2))];
  const self = example.self(example.host(1), { meters: { packetIn: 1, sample: 2 } });
  const compiler = compile([
    example.zone(),
    example.host(1),
    example.host(2),
    self,
    net,
    group,
    ...here(1),
    ...there(2),
  ]);
  // One more for the member's address in the group, whoever asks.
  const cost = (records: readonly InputRecord[]): number => {
    const before = compiler.flowCount;
    compiler.update(records.map(put));
    return compiler.flowCount - before - 1;
  };
  assert.equal(cost(here(3)), 7);
  assert.equal(cost(there(4)), 2);
});

test('one more address in a set of 10,000 is one flow, wherever the set is asked for, and one unit', () => {
  const set = example.addressSet(
    1,
    Array.from({ length: 10_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`),
  );
  const group = example.securityGroup(1, {
    ingress: [{ addressSet: set.id }, { protocol: 'udp', addressSet: set.id }],
  });
  const other = example.securityGroup(2, { ingress: [{ protocol: 'tcp', ports: '1-1000', addressSet: set.id }] });
  const [p1, p2] = [group, other].map((one, i) => ({
    ...largePort(i + 1, example.idOf('switch', 1), i + 1),
    groups: [one.id],
  }));
  const records = largeModel({ switches: 1, portsPerSwitch: 2, localPorts: 2 });
  const compiler = compile([...records, set, group, other, p1!, p2!]);
  const { add, remove } = compiler.update([put({ ...set, addresses: [...set.addresses, '192.0.2.1'] })]);
  assert.deepEqual([add.map(formatFlow).length, remove], [1, []]);
  const gone = compiler.update([put(set)]);
  assert.deepEqual([gone.add, gone.remove.length], [[], 1]);
});

test('an agent that starts again gives the same numbers to profiles and conjunctions, in whatever order it learns of them', () => {
  const groups = Array.from({ length: 40 }, (_, i) =>
    example.securityGroup(i + 1, { ingress: [{ group: example.idOf('securityGroup', ((i + 1) % 40) + 1) }] }),
  );
  const records = largeModel({ switches: 1, portsPerSwitch: 40, localPorts: 40 }).map((record, i) =>
    record.kind === 'port' ? { ...record, groups: [groups[i % 40]!.id, groups[(i * 7) % 40]!.id] } : record,
  );
  const texts = (of: readonly InputRecord[]): string[] => [...compile(of).flows()].map(formatFlow);
  assert.deepEqual(texts([...groups, ...records].reverse()), texts([...records, ...groups]));
});

test('a port without port security makes every MAC of the switch cost one flow more, and no address more than 3', () => {
  const records = largeModel({ switches: 1, portsPerSwitch: 4, localPorts: 2 });
  const open = { ...largePort(50, example.idOf('switch', 1), 50), portSecurity: false, addresses: [] };
  const compiler = compile([...records, open, example.boundInterface(open, 600)]);
  const start = counted(compiler.compiled());
  const added = { ...largePort(77, example.idOf('switch', 1), 77), addresses: ['10.0.0.77'] };
  compiler.update([put(added), put(example.binding(added, example.host(2)))]);
  assert.equal(counted(compiler.compiled()) - start, 3);
});

test('a change touches only the flows that it is about', () => {
  const compiler = compile(largeModel({ switches: 3, portsPerSwitch: 50, localPorts: 6 }));
  const moved = largePort(9, example.idOf('switch', 1), 9);
  const { add, remove } = compiler.update([put(example.binding(moved, example.host(5)))]);
  assert.deepEqual([add.map(({ table }) => tableName(table)), remove], [['lookup'], []]);
  assert.deepEqual(compiler.update([put({ ...moved, revision: 99, labels: { a: 'b' } })]).add, []);
});

test('an agent that starts again computes the same cookies, and each leads to its objects', () => {
  const [one, two] = [compile(example.twoHosts()), compile(example.twoHosts().reverse())];
  assert.deepEqual([...two.flows()].map(formatFlow), [...one.flows()].map(formatFlow));
  for (const { cookie, units, reason } of one.compiled()) {
    const explained = one.explain(cookie);
    assert.deepEqual(explained.units, units);
    assert.equal(explained.reason, reason);
    if (units.some((unit) => unit.startsWith('classify/'))) assert.equal(explained.objects[0]?.kind, 'port');
  }
  assert.deepEqual(one.explain(123n), { units: [], objects: [] });
  assert.notEqual(cookieOf(['a/b', 'c'], undefined), cookieOf(['a/bc'], undefined));
});

test('a switch without a port here costs nothing, whatever it has elsewhere', () => {
  const none = compile(largeModel({ switches: 2, portsPerSwitch: 50, localPorts: 0, localSwitches: 1 }));
  const bare = compile(largeModel({ switches: 0, portsPerSwitch: 0, localPorts: 0 }));
  assert.equal(none.flowCount, bare.flowCount);
});

test('a flood of many ports is cut into flows of many copies', () => {
  const ports = COPIES_PER_FLOW * 2 + 10;
  const compiler = compile(largeModel({ switches: 1, portsPerSwitch: ports, localPorts: ports }));
  const floods = [...compiler.flows()].filter(({ table }) => table === TABLES.floodLocal.number);
  const copies = floods.map(({ actions }) => actions.filter(({ kind }) => kind === 'output').length);
  assert.deepEqual(
    copies.filter((n) => n > 0).sort((a, b) => a - b),
    [10, COPIES_PER_FLOW, COPIES_PER_FLOW],
  );
  for (const flow of floods) assert.ok(formatFlow(flow).length < 60_000);
});

test('jumps that are too deep or lead back drop, and are reported with their rule', () => {
  const chains = Array.from({ length: MAX_JUMP_DEPTH + 3 }, (_, i) => example.chain(i + 1));
  const jumps = chains.slice(1).map((to, i) => example.rule(i + 1, chains[i]!, 1, 'jump', {}, to));
  const deep = createCompiler().update([...chains, ...jumps].map(put));
  assert.deepEqual(
    deep.problems.map(({ objects }) => objects),
    [[{ kind: 'rule', id: jumps[0]!.id }]],
  );
  const back = example.rule(99, chains[1]!, 2, 'jump', {}, chains[0]);
  const circle = createCompiler().update([chains[0]!, chains[1]!, jumps[0]!, back].map(put));
  assert.equal(circle.problems.length, 2);
  assert.match(circle.problems[0]!.message, /lead back/);
  const drops = circle.add.filter(({ cookie }) => circle.add.length > 0 && cookie !== 0n && true);
  assert.ok(drops.length > 0);
});

test('a rule that this agent does not understand in full drops everything from there on, and is reported', () => {
  const chain = example.chain(1);
  const wrong: object[] = [{ tcpFlags: 'syn' }, { etherType: 'mpls' }, { protocol: 'gre' }, { src: 'set:web' }];
  for (const match of wrong) {
    const rule = example.rule(1, chain, 1, 'accept', match as RuleMatch);
    const { add, problems } = createCompiler().update([put(chain), put(rule)]);
    const decided = add.filter(({ table }) => table === TABLES.chain.number).map(formatFlow);
    assert.equal(decided.length, 1, JSON.stringify(match));
    assert.deepEqual(
      problems.map(({ objects }) => objects),
      [[{ kind: 'rule', id: rule.id }]],
    );
    assert.match(problems[0]!.message, /drops everything/);
    const dropped = createCompiler().update([put(chain), put(example.rule(1, chain, 1, 'drop'))]).add;
    assert.deepEqual(decided, dropped.filter(({ table }) => table === TABLES.chain.number).map(formatFlow));
  }
});

test('two ports with one address are a problem that names both', () => {
  const records = example.twoHosts();
  const rival = records.find((record) => record.kind === 'port' && record.name === 'p3') as ReturnType<
    typeof example.port
  >;
  const compiler = createCompiler();
  const { problems } = compiler.update([...records, { ...rival, addresses: ['10.0.0.2'] }].map(put));
  assert.deepEqual(
    problems.map(({ objects }) => objects.map(({ id }) => id)),
    [[example.idOf('port', 2), example.idOf('port', 3)]],
  );
  assert.deepEqual(compiler.update([put(rival)]).problems, []);
});

test('without a meter for samples no frame is sampled', () => {
  const samples: readonly number[] = [PACKET_IN.guard, PACKET_IN.stray];
  for (const { actions } of compile(example.twoHosts()).flows())
    for (const action of actions) assert.ok(action.kind !== 'controller' || !samples.includes(action.userdata![0]!));
});

test('tables go up, and every goto leads to a later one', () => {
  const numbers = Object.values(TABLES).map(({ number }) => number);
  assert.deepEqual(
    numbers,
    [...numbers].sort((a, b) => a - b),
  );
  for (const { table, gotoTable } of compile(example.twoHosts()).flows())
    assert.ok(gotoTable === undefined || (gotoTable > table && tableName(gotoTable) !== undefined));
});

test('the dependency graph is drawn', () => {
  const compiler = compile(example.twoHosts());
  assert.match(compiler.toDot(), /^digraph/);
  assert.match(compiler.toDot({ unit: `classify/${example.idOf('port', 1)}` }), /classify/);
});
