import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogicalPort, SecurityGroup } from '../model/objects.ts';
import { createCompiler } from './compiler.ts';
import { nameOf } from './flow-sink.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import { ACK, SYN_ACK, tcp, udp } from './testing/frames.ts';
import { HOSTS, type Site, siteInputs, siteNetwork } from './testing/sites.fixture.ts';

// Helpers of connection tracking, executed: what begins beside a control connection, who may have it, and what cuts it.

const net = example.logicalSwitch(1, { subnets: [example.subnet('10.0.0.0/24'), example.subnet('2001:db8::/64')] });
const friends = example.addressSet(1, ['10.0.0.1', '2001:db8::1']);
const nothing: SecurityGroup['egress'] = [{ protocol: 'udp', ports: '53' }];
const server = example.securityGroup(1, {
  ingress: [
    { protocol: 'tcp', ports: '21', helper: 'ftp' },
    { protocol: 'udp', ports: '69', helper: 'tftp' },
    { protocol: 'tcp', ports: '2121' },
    { protocol: 'tcp', ports: '2121', addressSet: friends.id, helper: 'ftp' },
  ],
  egress: nothing,
});
const client = example.securityGroup(2, {
  egress: [
    { protocol: 'tcp', ports: '21', helper: 'ftp' },
    { protocol: 'tcp', ports: '2121', helper: 'ftp' },
    { protocol: 'udp', ports: '69', helper: 'tftp' },
  ],
});
const guard = example.chain(1, 'drop');
const guardRules = [
  example.rule(1, guard, 10, 'accept', { state: ['established', 'related'] }),
  {
    ...example.rule(2, guard, 20, 'accept', { protocol: 'tcp', dstPorts: '21', state: ['new'] }),
    helper: 'ftp',
  } as const,
];

const port = (number: number, more: object): LogicalPort =>
  example.port(number, net, { addresses: [`10.0.0.${number}`, `2001:db8::${number}`], ...more });
const [c1, c2, s1, s2] = [
  port(1, { groups: [client.id] }),
  port(2, { groups: [client.id] }),
  port(3, { groups: [server.id] }),
  port(4, { toChain: guard.id }),
];
const sites: readonly Site[] = [
  { port: c1, on: 0, ofport: 1 },
  { port: c2, on: 1, ofport: 2 },
  { port: s1, on: 1, ofport: 3 },
  { port: s2, on: 0, ofport: 4 },
];
const RECORDS: readonly InputRecord[] = [net, friends, server, client, guard, ...guardRules];

type Net = ReturnType<typeof siteNetwork>;
function outcome(network: Net, from: LogicalPort, bytes: Uint8Array): string {
  const { on, ofport } = sites.find(({ port: one }) => one.id === from.id)!;
  const { delivered, reasons } = network.send(HOSTS[on].id, ofport, bytes);
  return delivered.map((one) => one.port).join() || (reasons.at(-1) ?? 'nothing');
}

/** A control connection, begun and answered. */
function control(network: Net, from: LogicalPort, to: LogicalPort, dstPort = 21, version: 4 | 6 = 4): void {
  assert.equal(outcome(network, from, tcp([from, to], 1000, dstPort, undefined, { version })), to.name);
  assert.equal(outcome(network, to, tcp([to, from], dstPort, 1000, SYN_ACK, { version })), from.name);
}

/** Helpers hear on both hosts that the server (a reply), or the client, waits at this port. */
function hear(network: Net, who: 'server' | 'client', at: number): void {
  for (const { id } of HOSTS) network.hear(id, who === 'server', at);
}

for (const version of [4, 6] as const) {
  test(`the data connections that a helper heard of pass both ways, no other: IPv${version}`, () => {
    for (const from of [c1, c2]) {
      const network = siteNetwork(RECORDS, sites);
      control(network, from, s1, 21, version);
      const passive = tcp([from, s1], 3000, 40_000, undefined, { version });
      assert.equal(outcome(network, from, passive), 'group');
      hear(network, 'server', 40_000);
      assert.equal(outcome(network, from, tcp([from, s1], 3000, 40_001, undefined, { version })), 'group');
      assert.equal(outcome(network, from, passive), 'p3');
      assert.equal(outcome(network, s1, tcp([s1, from], 40_000, 3000, SYN_ACK, { version })), from.name);
      assert.equal(outcome(network, from, tcp([from, s1], 3000, 40_000, ACK, { version })), 'p3');

      const active = tcp([s1, from], 20, 50_000, undefined, { version });
      assert.equal(outcome(network, s1, active), 'group');
      hear(network, 'client', 50_000);
      assert.equal(outcome(network, s1, active), from.name);
      assert.equal(outcome(network, from, tcp([from, s1], 50_000, 20, SYN_ACK, { version })), 'p3');
      assert.equal(outcome(network, s1, tcp([s1, from], 20, 50_000, ACK, { version })), from.name);
    }
  });

  test(`TFTP answers from a port of its own: IPv${version}`, () => {
    const network = siteNetwork(RECORDS, sites);
    assert.equal(outcome(network, s1, udp([s1, c1], 5000, 1000, { version })), 'group');
    assert.equal(outcome(network, c1, udp([c1, s1], 1000, 69, { version })), 'p3');
    assert.equal(outcome(network, s1, udp([s1, c1], 5000, 1001, { version })), 'group');
    assert.equal(outcome(network, s1, udp([s1, c1], 5000, 1000, { version })), 'p1');
    assert.equal(outcome(network, c1, udp([c1, s1], 1000, 5000, { version })), 'p3');
  });
}

test('the rules of the port that keeps the control connection let in what it begins itself, with no other rule on its host', () => {
  const network = siteNetwork(
    [...RECORDS.filter((record) => record !== guardRules[1])],
    [
      { port: { ...c1, groups: [] }, on: 0, ofport: 1 },
      { port: s1, on: 1, ofport: 3 },
    ],
  );
  control(network, c1, s1);
  assert.equal(outcome(network, s1, tcp([s1, c1], 20, 50_000)), 'group');
  hear(network, 'client', 50_000);
  assert.equal(outcome(network, s1, tcp([s1, c1], 20, 50_000)), 'p1');
});

test('a rule that is gone cuts the data connections with their control connection', () => {
  for (const [group, more] of [
    [server, { ingress: nothing }],
    [client, { egress: nothing }],
  ] as const) {
    const network = siteNetwork(RECORDS, sites);
    control(network, c1, s1);
    hear(network, 'server', 40_000);
    hear(network, 'client', 50_000);
    assert.equal(outcome(network, c1, tcp([c1, s1], 3000, 40_000)), 'p3');
    assert.equal(outcome(network, s1, tcp([s1, c1], 20, 50_000)), 'p1');
    network.change({ ...group, ...more });
    for (const [from, frame] of [
      [c1, tcp([c1, s1], 1000, 21, ACK)],
      [c1, tcp([c1, s1], 3000, 40_000, ACK)],
      [s1, tcp([s1, c1], 40_000, 3000, SYN_ACK)],
      [s1, tcp([s1, c1], 20, 50_000)],
      [c1, tcp([c1, s1], 50_000, 20, SYN_ACK)],
    ] as const)
      assert.equal(outcome(network, from, frame), 'group');
    network.change(group);
    assert.equal(outcome(network, c1, tcp([c1, s1], 3000, 40_000, ACK)), 'p3');
  }
});

test('a rule for a set of addresses gives its helper to these alone, also where another rule allows more', () => {
  for (const [from, wanted] of [
    [c1, 'p3'],
    [c2, 'group'],
  ] as const) {
    const network = siteNetwork(RECORDS, sites);
    control(network, from, s1, 2121);
    hear(network, 'server', 40_000);
    assert.equal(outcome(network, from, tcp([from, s1], 3000, 40_000)), wanted);
  }
});

test('a chain lets related connections in where a rule of it has the helper', () => {
  const network = siteNetwork(RECORDS, sites);
  control(network, c1, s2);
  assert.equal(outcome(network, c1, tcp([c1, s2], 3000, 40_000)), 'group');
  hear(network, 'server', 40_000);
  assert.equal(outcome(network, c1, tcp([c1, s2], 3000, 40_000)), 'p4');
  assert.equal(outcome(network, s2, tcp([s2, c1], 40_000, 3000, SYN_ACK)), 'p1');
  const without = siteNetwork(
    [...RECORDS.slice(0, -1), { ...guardRules[1]!, helper: undefined } as InputRecord],
    sites,
  );
  control(without, c1, s2);
  hear(without, 'server', 40_000);
  assert.equal(outcome(without, c1, tcp([c1, s2], 3000, 40_000)), 'policy', 'the client alone heard of it');
});

test('costs flows only where a rule has a helper', () => {
  const flows = (helper?: 'ftp'): Set<string> => {
    const rule = { protocol: 'tcp', ports: '21', ...(helper === undefined ? {} : { helper }) } as const;
    const records = [net, { ...server, ingress: [rule] }, { ...client, egress: nothing }];
    const compiler = createCompiler();
    compiler.update(siteInputs(records, sites, 1).map((record) => ({ op: 'put', record })));
    return new Set([...compiler.flows()].map(nameOf));
  };
  const [without, withHelper] = [flows(), flows('ftp')];
  assert.deepEqual(
    [...without].filter((one) => !withHelper.has(one)),
    [],
    'all others stay',
  );
  // For both versions of IP: whether there is a helper, the rule once more, the commit; and which rules what is related is asked of, both ways.
  assert.equal(withHelper.size - without.size, 2 + 2 + 2 + 4);
});
