import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogicalPort } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import type { Journey } from '../pipeline/network.fixture.ts';
import { createCompiler } from './compiler.ts';
import type { InputRecord } from './inputs.ts';
import { TABLES } from './tables.ts';
import * as example from './testing/example.ts';
import { ACK, icmp, quote, SYN_ACK, tcp, udp } from './testing/frames.ts';
import { HOSTS, type Site, siteInputs, siteNetwork } from './testing/sites.fixture.ts';

// Security groups, executed: who may begin what, what replies and errors may do, and what cuts them.

const net = example.logicalSwitch(1, { subnets: [example.subnet('10.0.0.0/24'), example.subnet('2001:db8::/64')] });
const web = example.securityGroup(1, {
  ingress: [
    { protocol: 'tcp', ports: '80' },
    { protocol: 'icmp', icmpType: 8 },
    { protocol: 'icmpv6', icmpType: 128 },
  ],
});
const db = example.securityGroup(2, { ingress: [{ protocol: 'tcp', ports: '5432-5433', group: web.id }] });

const port = (number: number, groups: readonly string[]): LogicalPort =>
  example.port(number, net, { addresses: [`10.0.0.${number}`, `2001:db8::${number}`], groups: [...groups] });
const client = port(1, []);
const web1 = port(2, [web.id]);
const web2 = port(3, [web.id]);
const db1 = port(4, [db.id, web.id]);
const sites: readonly Site[] = [
  { port: client, on: 0, ofport: 1 },
  { port: web1, on: 0, ofport: 2 },
  { port: web2, on: 1, ofport: 3 },
  { port: db1, on: 1, ofport: 4 },
];

type Net = ReturnType<typeof siteNetwork>;
const start = (records: readonly InputRecord[] = [], at = sites): Net => siteNetwork([net, web, db, ...records], at);
const siteOf = (of: LogicalPort): Site => sites.find(({ port: one }) => one.id === of.id)!;
const send = (network: Net, from: LogicalPort, bytes: Uint8Array): Journey =>
  network.send(HOSTS[siteOf(from).on].id, siteOf(from).ofport, bytes);
/** Who got it, or why nobody did. */
const outcome = (network: Net, from: LogicalPort, bytes: Uint8Array): string => {
  const { delivered, reasons } = send(network, from, bytes);
  return delivered.map((one) => one.port).join() || (reasons.at(-1) ?? 'nothing');
};

test('a new connection passes where a rule of the group says so, its replies pass, everything else is refused', () => {
  for (const server of [web1, web2]) {
    const network = start();
    assert.equal(outcome(network, client, tcp([client, server], 1000, 22)), 'group');
    assert.equal(outcome(network, client, udp([client, server], 1000, 80)), 'group');
    assert.equal(outcome(network, client, tcp([client, server], 1000, 80)), server.name);
    assert.equal(outcome(network, server, tcp([server, client], 80, 1000, SYN_ACK)), 'p1');
    assert.equal(outcome(network, client, tcp([client, server], 1000, 80, ACK)), server.name);
    assert.equal(outcome(network, client, tcp([client, server], 1001, 80, 0, { version: 6 })), 'invalid');
    assert.equal(outcome(network, client, tcp([client, server], 1001, 80, 2, { version: 6 })), server.name);
  }
});

test('what a member begins is asked of egress, of its peer of ingress', () => {
  const network = start();
  assert.equal(outcome(network, web1, tcp([web1, client], 1000, 22)), 'p1');
  assert.equal(outcome(network, client, tcp([client, web1], 22, 1000, SYN_ACK)), 'p2');
  assert.equal(outcome(network, web1, tcp([web1, web2], 1000, 22)), 'group');
  const closed = start([{ ...web, egress: [] }]);
  assert.equal(outcome(closed, web1, tcp([web1, client], 1000, 22)), 'group');
  assert.equal(outcome(closed, client, tcp([client, web1], 1000, 80)), 'p2');
  assert.equal(outcome(closed, web1, tcp([web1, client], 80, 1000, SYN_ACK)), 'p1');
});

test('a rule that names a group fits addresses of its ports only, and port ranges are whole', () => {
  const network = start();
  assert.equal(outcome(network, web1, tcp([web1, db1], 1000, 5432)), 'p4');
  assert.equal(outcome(network, web1, tcp([web1, db1], 1000, 5433)), 'p4');
  assert.equal(outcome(network, web1, tcp([web1, db1], 1000, 5434)), 'group');
  assert.equal(outcome(network, client, tcp([client, db1], 1000, 5432)), 'group');
  assert.equal(outcome(network, client, tcp([client, db1], 1000, 80)), 'p4', 'any rule of any group of the port');
  assert.equal(outcome(network, web2, tcp([web2, db1], 1000, 5433, 2, { version: 6 })), 'p4');
});

test('an echo is answered, an error about a connection passes, and one about nothing is invalid', () => {
  const network = start();
  assert.equal(outcome(network, client, icmp([client, web2], 8)), 'p3');
  assert.equal(outcome(network, web2, icmp([web2, client], 0)), 'p1');
  assert.equal(outcome(network, client, icmp([client, web2], 13)), 'group');
  assert.equal(outcome(network, client, icmp([client, web2], 128, 0, 1, { version: 6 })), 'p3');
  const syn = tcp([client, web2], 1000, 80);
  const error = icmp([web2, client], 3, 3, 0, { payload: quote(syn) });
  assert.equal(outcome(network, web2, error), 'invalid');
  assert.equal(outcome(network, client, syn), 'p3');
  assert.equal(outcome(network, web2, error), 'p1');
  const back = icmp([client, web2], 3, 4, 0, { payload: quote(tcp([web2, client], 80, 1000, SYN_ACK)) });
  assert.equal(outcome(network, client, back), 'p3');
});

test('rules of groups that a port had a moment ago stay, and nobody comes to them anew', () => {
  const flowsWith = (...facts: InputRecord[]): ReadonlySet<string> => {
    const compiler = createCompiler();
    const records = [...siteInputs([net, web, db], sites, 0), ...facts];
    compiler.update(records.map((record) => ({ op: 'put', record })));
    return new Set([...compiler.flows()].map(formatFlow));
  };
  const now = flowsWith();
  const then = flowsWith({ kind: 'formerGroups', id: web1.id, sets: [[db.id]] });
  assert.deepEqual(
    [...now].filter((flow) => !then.has(flow)),
    [],
  );
  const more = [...then].filter((flow) => !now.has(flow));
  assert.ok(more.length > 0);
  for (const flow of more) assert.match(flow, new RegExp(`table=${TABLES.group.number},`));
});

test('a tracked port that has no zone yet lets no IP pass, and everything else', () => {
  const pending = { ...web2, id: example.idOf('port', 9), name: 'p9', key: 0x1009, mac: '02:00:00:00:00:09' };
  const records = [pending, example.binding(pending, HOSTS[0]), example.boundInterface(pending, 9)];
  const network = start(records);
  assert.equal(outcome(network, client, tcp([client, pending], 1000, 80)), 'invalid');
  assert.deepEqual(network.send(HOSTS[0].id, 9, tcp([pending, client], 1000, 80)).reasons, ['invalid']);
  const arp = `${'02:00:00:00:00:01'.replaceAll(':', '')}02000000000908060001080006040002020000000009${'0a000003'}${'020000000001'}${'0a000001'}`;
  assert.equal(network.send(HOSTS[0].id, 9, Uint8Array.from(Buffer.from(arp, 'hex'))).delivered[0]?.port, 'p1');
});
