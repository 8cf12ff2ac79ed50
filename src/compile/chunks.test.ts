import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host, LoadBalancer, LogicalPort } from '../model/objects.ts';
import type { Layer4 } from '../packet/packet.ts';
import { frame, ip, ip6, tcp, udp } from '../pipeline/frames.fixture.ts';
import { type Journey, Network, TUNNEL_OFPORT } from '../pipeline/network.fixture.ts';
import { COPIES_PER_FLOW } from './chunks.ts';
import type { InputRecord } from './inputs.ts';
import { TABLES } from './tables.ts';
import * as example from './testing/example.ts';
import { isMessage } from './testing/messages.ts';
import { outside, plain, story, uplink, x } from './testing/outside-world.fixture.ts';

// Lists of copies that are longer than a flow, executed, and each flow measured as it goes to the switch.

const SYN = 2;
const ACK = 16;
/** Of ICMP what begins something, and is no echo. */
const TIMESTAMP: Layer4 = { kind: 'icmp', type: 13, code: 0, rest: 0 };
const VIP = '203.0.113.80';
const CLIENT = '198.51.100.1';

/** With tunnels over IPv6, whose copies are the longest. */
const hostAt = (n: number): Host => example.host(n, `2001:db8:ffff::${n.toString(16)}`);
const here = hostAt(1);
const there = Array.from({ length: COPIES_PER_FLOW + 300 }, (_, i) => hostAt(i + 2));

const wide = example.logicalSwitch(4, { subnets: [example.subnet('10.4.0.0/16')] });
const toWide = example.routerPort(4, plain, { switch: wide.id, addresses: ['10.4.255.254/16'] });
const memberAt = (n: number): LogicalPort =>
  example.port(100 + n, wide, {
    mac: `02:44:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
    addresses: [`10.4.${n >> 8}.${n & 255}`],
  });

/** One host of a cloud; the others are records alone. `x` is the way out, at OpenFlow port 4. */
function hostWith(
  records: readonly InputRecord[],
  local: readonly LogicalPort[],
  handOff?: { handOff: number },
): Network {
  const own = [{ port: x, ofport: 4 }, ...local.map((port, i) => ({ port, ofport: 200 + i }))];
  const interfaces = new Map(own.map(({ port, ofport }) => [ofport, port.name]));
  const meters = { packetIn: 1, sample: 2, ...handOff };
  return new Network([{ id: here.id, tunnelAddress: here.tunnelAddress, interfaces }], () => [
    ...[example.zone(), here, ...there, plain, uplink, toWide, outside, wide, example.natZone(plain, 400), ...records],
    example.self(here, { tunnelPorts: { geneve: TUNNEL_OFPORT }, meters }),
    ...own.flatMap(({ port, ofport }) => [
      ...[port, example.binding(port, here)],
      { ...example.boundInterface(port, ofport), zone: 4 * ofport },
    ]),
  ]);
}

function assertFit(net: Network): void {
  for (const flow of net.compilerOf(here.id).flows()) assert.ok(isMessage(flow), `a flow of table ${flow.table}`);
}

/** How many different hosts got a copy, and that none got two. */
function hostsAsked({ results }: Journey): number {
  const asked = results.flatMap(({ result }) => {
    assert.equal(result.error, undefined);
    return result.outputs.filter(({ port }) => port === TUNNEL_OFPORT).map(({ tunnel }) => tunnel.dst);
  });
  assert.equal(new Set(asked).size, asked.length);
  return asked.length;
}

function vip(serving: readonly LogicalPort[], drained: readonly LogicalPort[]): LoadBalancer {
  const member = (port: LogicalPort, drain: boolean) => ({ port: port.id, weight: 1, drain, adminUp: true });
  const members = [...serving.map((port) => member(port, false)), ...drained.map((port) => member(port, true))];
  return example.loadBalancer(1, VIP, [], { router: plain.id, members });
}

const fromClient = (l4: Layer4): Uint8Array => frame(x.mac, uplink.mac, ip(CLIENT, VIP, l4));
const elsewhere = there.map((_, i) => memberAt(i + 1));
const placed = elsewhere.flatMap((port, i) => [port, example.binding(port, there[i]!)]);

test('a hand-off where no member serves reaches the hosts of all members, however many', () => {
  const net = hostWith([...placed, vip([], elsewhere)], [], { handOff: 6 });
  assertFit(net);
  assert.equal(hostsAsked(net.send(here.id, 4, fromClient(tcp(5000, 80, ACK)))), there.length);
});

test('a hand-off of a member that does not know the connection reaches the hosts of all others, however many', () => {
  const own = memberAt(900);
  const net = hostWith([...placed, vip([own], elsewhere)], [own], { handOff: 6 });
  assertFit(net);
  assert.equal(hostsAsked(net.send(here.id, 4, fromClient(tcp(5000, 80, ACK)))), there.length);
});

test('what has no port to choose a member by reaches the hosts of all members, however many', () => {
  const net = hostWith([...placed, vip(elsewhere, [])], []);
  assertFit(net);
  assert.equal(hostsAsked(net.send(here.id, 4, fromClient(TIMESTAMP))), there.length);
});

test('a hand-off from elsewhere finds the one of a thousand members here that knows the connection', () => {
  const members = Array.from({ length: 1000 }, (_, i) => memberAt(i + 1));
  const knowing = members[COPIES_PER_FLOW + 50]!;
  const net = hostWith([vip([knowing], [])], members);
  const delivered = `${knowing.name}: ${CLIENT}:5000 > ${knowing.addresses[0]}:80`;
  assert.equal(story(net.send(here.id, 4, fromClient(tcp(5000, 80, SYN)))), delivered);
  net.change(vip(members.slice(0, 500), members.slice(500)));
  assertFit(net);
  const marked = frame(x.mac, '02:4e:00:00:05:01', ip(CLIENT, VIP, tcp(5000, 80, ACK)));
  const tunnel = { id: BigInt(uplink.key), src: ip6(there[0]!.tunnelAddress), dst: ip6(here.tunnelAddress) };
  const journey = net.arrive(here.id, tunnel, marked);
  assert.equal(journey.results[0]!.result.error, undefined);
  assert.equal(story({ ...journey, reasons: [] }), delivered);
});

test('the members of one host have one list of whom to ask for a hand-off, not one each', () => {
  const members = Array.from({ length: 200 }, (_, i) => memberAt(i + 1));
  const [first, ...others] = members as [LogicalPort, ...LogicalPort[]];
  const net = hostWith([vip([first], others)], members, { handOff: 6 });
  const copies = [...net.compilerOf(here.id).flows()]
    .filter(({ table }) => table === TABLES.anchored.number)
    .flatMap(({ actions }) => actions.filter(({ kind }) => kind === 'clone'));
  assert.equal(copies.length, members.length);
  const delivered = `${first.name}: ${CLIENT}:5000 > ${first.addresses[0]}:80`;
  assert.equal(story(net.send(here.id, 4, fromClient(tcp(5000, 80, SYN)))), delivered);
  net.change(vip(others, [first]));
  const journey = net.send(here.id, 4, fromClient(tcp(5000, 80, ACK)));
  assert.equal(story({ ...journey, reasons: [] }), delivered);
});

test('a MAC that a thousand ports hold leads to each of them, here and elsewhere', () => {
  const chain = example.chain(1, 'drop');
  const accept = example.rule(1, chain, 1, 'accept', { protocol: 'udp' });
  const virtual = '02:77:00:00:00:01';
  const holds = (port: LogicalPort, more: Partial<LogicalPort> = {}): LogicalPort => ({
    ...port,
    allowedPairs: [{ mac: virtual, address: '10.4.200.1' }],
    ...more,
  });
  const near = Array.from({ length: 700 }, (_, i) => holds(memberAt(1000 + i), i === 600 ? { toChain: chain.id } : {}));
  const far = elsewhere.map((port) => holds(port));
  const sender = memberAt(2000);
  const bindings = far.flatMap((port, i) => [port, example.binding(port, there[i]!)]);
  const net = hostWith([chain, accept, ...bindings], [sender, ...near]);
  assertFit(net);
  const journey = net.send(here.id, 200, frame(sender.mac, virtual, ip(sender.addresses[0]!, '10.4.200.1', udp(1, 2))));
  assert.equal(hostsAsked(journey), far.length);
  assert.deepEqual(journey.delivered.map(({ port }) => port).toSorted(), near.map(({ name }) => name).toSorted());
});
