import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ipv4, type Ipv6, type Mac, parseIpv4, parseIpv6, parseMac } from '../base/addresses.ts';
import { MAX_JUMP_DEPTH } from '../model/chain-steps.ts';
import type { LogicalPort } from '../model/objects.ts';
import type { VlanTag } from '../packet/ethernet.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import type { NdMessage } from '../packet/nd.ts';
import { decodePacket, encodePacket, type Packet } from '../packet/packet.ts';
import { networkOf } from '../pipeline/frames.fixture.ts';
import { type Journey, Network, TUNNEL_OFPORT } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';

// What frames do when the compiled flows are executed, on one host and between two.

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const NO_BYTES = new Uint8Array(0);
const mac = (text: string): Mac => parseMac(text)!;
const ip4 = (text: string): Ipv4 => parseIpv4(text)!;
const ip6 = (text: string): Ipv6 => parseIpv6(text)!;

const h1 = example.host(1);
const h2 = example.host(2, '2001:db8:ffff::2');

interface Site {
  readonly port: LogicalPort;
  readonly on: (typeof h1)[];
  readonly ofport: number;
}

function network(records: readonly InputRecord[], sites: readonly Site[]): Network {
  const common = [example.zone(), h1, h2, ...records, ...sites.map(({ port }) => port)];
  const bindings = sites.filter(({ on }) => on.length > 0).map(({ port, on }) => example.binding(port, ...on));
  const hosts = [h1, h2].map((host) => ({
    id: host.id,
    tunnelAddress: host.tunnelAddress,
    interfaces: new Map(sites.filter(({ on }) => on.includes(host)).map(({ port, ofport }) => [ofport, port.name])),
  }));
  return new Network(hosts, ({ id }) => {
    const host = id === h1.id ? h1 : h2;
    const interfaces = sites.filter(({ on }) => on.includes(host));
    return [
      ...common,
      ...bindings,
      example.self(host, { tunnelPorts: { geneve: TUNNEL_OFPORT }, meters: { packetIn: 1, sample: 2 } }),
      ...interfaces.map(({ port, ofport }) => example.boundInterface(port, ofport)),
    ];
  });
}

function frame(src: string, dst: string, rest: Partial<Packet> & { etherType?: number } = {}): Uint8Array {
  const etherType = rest.etherType ?? (rest.l3?.kind === 'arp' ? 0x0806 : rest.l3?.kind === 'ipv6' ? 0x86dd : 0x0800);
  return encodePacket({ vlans: [], payload: NO_BYTES, ...rest, ethernet: { src: mac(src), dst: mac(dst), etherType } });
}

const udp4 = (src: string, dst: string, ports: [number, number] = [1000, 2000]): Partial<Packet> => ({
  l3: { kind: 'ipv4', ...ipv4Header({ src: ip4(src), dst: ip4(dst), protocol: 17 }) },
  l4: { kind: 'udp', srcPort: ports[0], dstPort: ports[1], noChecksum: false },
});
const tcp4 = (src: string, dst: string, port: number): Partial<Packet> => ({
  l3: { kind: 'ipv4', ...ipv4Header({ src: ip4(src), dst: ip4(dst), protocol: 6 }) },
  l4: {
    kind: 'tcp',
    srcPort: 40_000,
    dstPort: port,
    sequence: 1,
    acknowledgment: 0,
    flags: 2,
    window: 1000,
    urgent: 0,
    options: [],
  } as never,
});
const nd6 = (src: string, dst: string, message: NdMessage): Partial<Packet> => ({
  l3: { kind: 'ipv6', ...ipv6Header({ src: ip6(src), dst: ip6(dst), nextHeader: 58, hopLimit: 255 }) },
  l4: { kind: 'nd', message },
});
const arp = (op: number, sha: string, spa: string, tpa: string): Partial<Packet> => ({
  l3: { kind: 'arp', op, sha: mac(sha), spa: ip4(spa), tha: mac('00:00:00:00:00:00'), tpa: ip4(tpa) },
});
const tag = (vid: number): VlanTag => ({ tpid: 0x8100, vid, pcp: 3, dei: false });
const tagsOf = (bytes: Uint8Array): number[] => decodePacket(bytes).vlans.map(({ vid }) => vid);

const to = ({ delivered }: Journey): string[] => delivered.map(({ port }) => port).sort();
const classes = ({ packetIns }: Journey): number[] => packetIns.map(({ userdata }) => userdata[0]!);

const net = example.logicalSwitch(1, {
  subnets: [example.subnet('10.0.0.0/24'), example.subnet('2001:db8::/64', { ipv6Mode: 'slaac' })],
});
const p1 = example.port(1, net, { addresses: ['10.0.0.1', '2001:db8::1'] });
const p2 = example.port(2, net, { addresses: ['10.0.0.2', '2001:db8::2'] });
const p3 = example.port(3, net, { addresses: ['10.0.0.3', '2001:db8::3'] });
const p4 = example.port(4, net, { addresses: ['10.0.0.4'] });
const plainSites: Site[] = [
  { port: p1, on: [h1], ofport: 1 },
  { port: p2, on: [h1], ofport: 2 },
  { port: p3, on: [h2], ofport: 3 },
  { port: p4, on: [], ofport: 4 },
];
const plain = network([net], plainSites);

test('a unicast frame reaches its port here, and elsewhere by one tunnel packet with the key of the port', () => {
  assert.deepEqual(to(plain.send(h1.id, 1, frame(p1.mac, p2.mac, udp4('10.0.0.1', '10.0.0.2')))), ['p2']);
  const away = plain.send(h1.id, 1, frame(p1.mac, p3.mac, udp4('10.0.0.1', '10.0.0.3')));
  assert.deepEqual(to(away), ['p3']);
  const [output] = away.results[0]!.result.outputs;
  assert.equal(output!.tunnel.id, BigInt(p3.key));
  assert.equal(output!.tunnel.dst, ip6('2001:db8:ffff::2'));
});

test('a flood reaches every other port with one copy per remote host', () => {
  const sent = plain.send(h1.id, 1, frame(p1.mac, BROADCAST, udp4('10.0.0.1', '10.0.0.255')));
  assert.deepEqual(to(sent), ['p2', 'p3']);
  assert.equal(sent.results.length, 2);
});

test('a destination that is nowhere, on no host, or oneself is dropped for that reason', () => {
  const reasons = (dst: string): readonly string[] => {
    const { reasons: found, delivered } = plain.send(h1.id, 1, frame(p1.mac, dst, udp4('10.0.0.1', '10.0.0.9')));
    assert.deepEqual(delivered, []);
    return found;
  };
  assert.deepEqual(reasons('02:00:00:00:00:99'), ['unknown-mac']);
  assert.deepEqual(reasons('02:00:00:00:00:05'), ['unknown-mac']);
  assert.deepEqual(reasons(p4.mac), ['not-bound']);
  assert.deepEqual(reasons(p1.mac), ['hairpin']);
});

test('the guard names what it drops', () => {
  const ndOf = (message: Partial<NdMessage>, src = '2001:db8::1'): Uint8Array =>
    frame(p1.mac, p2.mac, nd6(src, '2001:db8::2', message as NdMessage));
  const llOf = (kind: 'sourceLinkLayer' | 'targetLinkLayer', of: string): NdMessage['options'] => [
    { kind, mac: mac(of) },
  ];
  const cases: [string, Uint8Array][] = [
    ['spoofed-mac', frame(p2.mac, p2.mac, udp4('10.0.0.1', '10.0.0.2'))],
    ['spoofed-mac', frame('8e:12:34:56:78:01', p2.mac, udp4('10.0.0.1', '10.0.0.2'))],
    ['tagged', frame(p1.mac, p2.mac, { ...udp4('10.0.0.1', '10.0.0.2'), vlans: [tag(5)] })],
    ['spoofed-ip', frame(p1.mac, p2.mac, udp4('10.0.0.2', '10.0.0.2'))],
    ['spoofed-ip', frame(p1.mac, BROADCAST, udp4('0.0.0.0', '255.255.255.255', [68, 69]))],
    ['dhcp-server', frame(p1.mac, p2.mac, udp4('10.0.0.1', '10.0.0.2', [67, 68]))],
    ['dhcp-server', frame(p1.mac, p2.mac, udp4('10.0.0.1', '10.0.0.2', [1067, 68]))],
    ['spoofed-arp', frame(p1.mac, BROADCAST, arp(1, p1.mac, '10.0.0.2', '10.0.0.2'))],
    ['spoofed-arp', frame(p1.mac, BROADCAST, arp(2, p2.mac, '10.0.0.1', '10.0.0.2'))],
    ['probe', frame(p1.mac, BROADCAST, arp(1, p1.mac, '0.0.0.0', '10.0.0.1'))],
    ['spoofed-ip', ndOf({ kind: 'neighborSolicit', target: ip6('2001:db8::2'), options: [] }, '2001:db8::2')],
    ['probe', ndOf({ kind: 'neighborSolicit', target: ip6('2001:db8::1'), options: [] }, '::')],
    [
      'spoofed-nd',
      ndOf({ kind: 'neighborSolicit', target: ip6('2001:db8::2'), options: llOf('sourceLinkLayer', p2.mac) }),
    ],
    ['spoofed-nd', ndOf({ kind: 'neighborAdvert', flags: 0, target: ip6('2001:db8::2'), options: [] })],
    [
      'spoofed-nd',
      ndOf({ kind: 'neighborAdvert', flags: 0, target: ip6('2001:db8::1'), options: llOf('targetLinkLayer', p3.mac) }),
    ],
    [
      'router',
      ndOf({
        kind: 'routerAdvert',
        hopLimit: 64,
        flags: 0,
        lifetimeS: 1,
        reachableMs: 0,
        retransmitMs: 0,
        options: [],
      }),
    ],
  ];
  for (const [reason, bytes] of cases) {
    const { reasons, delivered } = plain.send(h1.id, 1, bytes);
    assert.deepEqual([reasons, delivered], [[reason], []]);
  }
});

test('honest ARP and ND pass the guard', () => {
  const na = (target: string, options: NdMessage['options']): Uint8Array =>
    frame(
      p1.mac,
      p2.mac,
      nd6('2001:db8::1', '2001:db8::2', { kind: 'neighborAdvert', flags: 0x6000_0000, target: ip6(target), options }),
    );
  const own: NdMessage['options'] = [{ kind: 'targetLinkLayer', mac: mac(p1.mac) }];
  for (const bytes of [
    na('2001:db8::1', []),
    na('2001:db8::1', own),
    na('fe80::ff:fe00:1', own),
    frame(p1.mac, p2.mac, arp(2, p1.mac, '10.0.0.1', '10.0.0.2')),
  ])
    assert.deepEqual(to(plain.send(h1.id, 1, bytes)), ['p2']);
});

test('ARP for a known address is answered on the host', () => {
  const { answered, delivered, reasons } = plain.send(
    h1.id,
    1,
    frame(p1.mac, BROADCAST, arp(1, p1.mac, '10.0.0.1', '10.0.0.3')),
  );
  assert.deepEqual([delivered, reasons], [[], ['answered']]);
  const { ethernet, l3 } = decodePacket(answered[0]!);
  assert.deepEqual([ethernet.src, ethernet.dst], [mac(p3.mac), mac(p1.mac)]);
  assert.deepEqual(l3, {
    kind: 'arp',
    op: 2,
    sha: mac(p3.mac),
    spa: ip4('10.0.0.3'),
    tha: mac(p1.mac),
    tpa: ip4('10.0.0.1'),
  });
});

test('a neighbour solicitation for a known address is answered with a right advertisement', () => {
  const ns: NdMessage = {
    kind: 'neighborSolicit',
    target: ip6('2001:db8::3'),
    options: [{ kind: 'sourceLinkLayer', mac: mac(p1.mac) }],
  };
  const { answered } = plain.send(
    h1.id,
    1,
    frame(p1.mac, '33:33:ff:00:00:03', nd6('2001:db8::1', 'ff02::1:ff00:3', ns)),
  );
  const { ethernet, l3, l4 } = decodePacket(answered[0]!, { verifyChecksums: true });
  assert.deepEqual([ethernet.src, ethernet.dst], [mac(p3.mac), mac(p1.mac)]);
  assert.ok(
    l3?.kind === 'ipv6' && l3.src === ip6('2001:db8::3') && l3.dst === ip6('2001:db8::1') && l3.hopLimit === 255,
  );
  assert.deepEqual(l4, {
    kind: 'nd',
    message: {
      kind: 'neighborAdvert',
      flags: 0x6000_0000,
      target: ip6('2001:db8::3'),
      options: [{ kind: 'targetLinkLayer', mac: mac(p3.mac) }],
    },
  });
});

test('DHCP, DHCPv6 and router solicitations go to the agent, and no further', () => {
  const dhcp = plain.send(h1.id, 1, frame(p1.mac, BROADCAST, udp4('0.0.0.0', '255.255.255.255', [68, 67])));
  assert.deepEqual([classes(dhcp), dhcp.delivered], [[PACKET_IN.dhcp], []]);
  assert.equal(dhcp.packetIns[0]!.meter, 1);
  const solicit = nd6('::', 'ff02::2', { kind: 'routerSolicit', options: [] });
  assert.deepEqual(classes(plain.send(h1.id, 1, frame(p1.mac, '33:33:00:00:00:02', solicit))), [
    PACKET_IN.routerSolicit,
  ]);
  const dhcp6: Partial<Packet> = {
    l3: { kind: 'ipv6', ...ipv6Header({ src: ip6('fe80::ff:fe00:1'), dst: ip6('ff02::1:2'), nextHeader: 17 }) },
    l4: { kind: 'udp', srcPort: 546, dstPort: 547, noChecksum: false },
  };
  assert.deepEqual(classes(plain.send(h1.id, 1, frame(p1.mac, '33:33:00:01:00:02', dhcp6))), [PACKET_IN.dhcp6]);
});

test('a tunnel packet from a stranger, to another address of the host, with a foreign key, or that does not fit its key is dropped', () => {
  const arrives = (src: string, id: number, dst: string, at = h1.tunnelAddress): readonly string[] => {
    const bytes = frame(p3.mac, dst, udp4('10.0.0.3', '10.0.0.1'));
    const journey = plain.arrive(h1.id, { id: BigInt(id), src: ip6(src), dst: ip4(at) }, bytes);
    return [...journey.reasons, ...to(journey)];
  };
  assert.deepEqual(arrives('2001:db8:ffff::2', p1.key, p1.mac), ['p1']);
  assert.deepEqual(arrives('2001:db8:ffff::3', p1.key, p1.mac), ['tunnel-source']);
  assert.deepEqual(arrives('2001:db8:ffff::2', p1.key, p1.mac, '192.0.2.101'), ['tunnel-source']);
  assert.deepEqual(arrives('2001:db8:ffff::2', 0x7777, p1.mac), ['tunnel-key']);
  assert.deepEqual(arrives('2001:db8:ffff::2', p1.key, p2.mac), ['tunnel-key']);
  assert.deepEqual(arrives('2001:db8:ffff::2', net.key, p3.mac), ['tunnel-loop']);
});

test('a port without port security learns, floods what is unknown, and answers nothing for itself', () => {
  const open = example.port(5, net, { portSecurity: false, addresses: ['10.0.0.5'] });
  const away = example.port(6, net, { portSecurity: false });
  const learned = {
    kind: 'learned',
    id: `${net.id}/0/02:aa:00:00:00:01`,
    revision: 1,
    switch: net.id,
    port: open.id,
    host: h1.id,
    mac: '02:aa:00:00:00:01',
    vlan: 0,
  } as const;
  const sites: Site[] = [...plainSites, { port: open, on: [h1], ofport: 5 }, { port: away, on: [h2], ofport: 6 }];
  const both = network([net, learned], sites);
  const guest = (src: string, dst: string): Journey =>
    both.send(h1.id, 5, frame(src, dst, udp4('10.0.0.77', '10.0.0.1')));
  assert.deepEqual(classes(guest('02:aa:00:00:00:02', p1.mac)), [PACKET_IN.learn]);
  assert.deepEqual(classes(guest('02:aa:00:00:00:01', p1.mac)), []);
  assert.deepEqual(classes(guest(p2.mac, p1.mac)), [], 'what another port owns is not learned');
  assert.deepEqual(to(guest('02:aa:00:00:00:01', '02:cc:00:00:00:07')), ['p6']);
  const unknown = both.send(h1.id, 1, frame(p1.mac, '02:cc:00:00:00:07', udp4('10.0.0.1', '10.0.0.2')));
  assert.deepEqual(to(unknown), ['p5', 'p6']);
  assert.deepEqual(to(both.send(h2.id, 3, frame(p3.mac, '02:aa:00:00:00:01', udp4('10.0.0.3', '10.0.0.2')))), ['p5']);
  const probe = both.send(h1.id, 5, frame(open.mac, BROADCAST, arp(1, open.mac, '0.0.0.0', '10.0.0.5')));
  assert.deepEqual([to(probe), probe.answered], [['p1', 'p2', 'p3', 'p6'], []]);
});

test('VLANs: access ports have no tag, trunks keep it, and nobody else hears', () => {
  const aware = example.logicalSwitch(2, { vlanAware: true });
  const vlans = [{ access: 5 }, { trunk: [5, 6], native: 7 }, { trunk: 'all' as const }, { access: 6 }, { access: 5 }];
  const ports = vlans.map((vlan, i) => example.port(i + 1, aware, { vlan }));
  const sites = ports.map((port, i): Site => ({ port, on: [i === 4 ? h2 : h1], ofport: i + 1 }));
  const vlanNet = network([aware], sites);
  const broadcast = (from: number, vlan?: number): Journey =>
    vlanNet.send(
      from === 5 ? h2.id : h1.id,
      from,
      frame(ports[from - 1]!.mac, BROADCAST, {
        ...udp4('10.0.0.1', '10.0.0.2'),
        vlans: vlan === undefined ? [] : [tag(vlan)],
      }),
    );
  const heard = (journey: Journey): Record<string, number[]> =>
    Object.fromEntries(journey.delivered.map(({ port, bytes }) => [port, tagsOf(bytes)]).sort());
  assert.deepEqual(heard(broadcast(1)), { p2: [5], p3: [5], p5: [] });
  assert.deepEqual(broadcast(1, 5).reasons, ['tagged']);
  assert.deepEqual(heard(broadcast(2)), { p3: [7] });
  assert.deepEqual(heard(broadcast(2, 6)), { p3: [6], p4: [] });
  assert.deepEqual(broadcast(2, 8).reasons, ['vlan']);
  assert.deepEqual(heard(broadcast(3)), {});
  assert.deepEqual(heard(broadcast(3, 7)), { p2: [] });
  assert.deepEqual(broadcast(3, 0).reasons, ['vlan']);
  assert.deepEqual(heard(broadcast(5)), { p1: [], p2: [5], p3: [5] });
});

test('two VLANs of a switch without subnets may have one address each: nobody answers for it, its owner hears of it', () => {
  const aware = example.logicalSwitch(2, { vlanAware: true, subnets: [] });
  const vlans = [5, 5, 6, 6];
  const ports = vlans.map((access, i) =>
    example.port(i + 1, aware, { vlan: { access }, addresses: [`10.0.0.${(i % 2) + 1}`] }),
  );
  const net = networkOf(
    [h1],
    [aware],
    ports.map((port, i) => ({ port, on: [h1], ofport: i + 1 })),
  );
  assert.deepEqual(net.compilerOf(h1.id).update([]).problems, []);
  for (const [owner, asks] of [
    [1, 2],
    [3, 4],
  ] as const) {
    const question = frame(ports[asks - 1]!.mac, BROADCAST, arp(1, ports[asks - 1]!.mac, '10.0.0.2', '10.0.0.1'));
    const { delivered, answered } = net.send(h1.id, asks, question);
    assert.deepEqual([delivered.map(({ port }) => port), answered], [[`p${owner}`], []]);
  }
});

test('what a second VLAN tag hides passes no guard, and no groups of who would get it', () => {
  const aware = example.logicalSwitch(2, { vlanAware: true });
  const open = example.port(1, aware, { vlan: { trunk: [5] }, portSecurity: false });
  const guarded = example.port(2, aware, { vlan: { trunk: [5] } });
  const group = example.securityGroup(1);
  const grouped = example.port(3, aware, { vlan: { access: 5 }, groups: [group.id] });
  const plainPort = example.port(4, aware, { vlan: { access: 5 } });
  const ports = [open, guarded, grouped, plainPort];
  const sites = ports.map((port, i) => ({ port, on: [h1], ofport: i + 1, zone: 4 * (i + 1) }));
  const net = networkOf([h1], [aware, group], sites);
  const twice = (from: number): Journey => {
    const forged = { ...udp4('10.0.0.99', '10.0.0.2'), vlans: [tag(5), tag(0)] };
    return net.send(h1.id, from, frame(ports[from - 1]!.mac, BROADCAST, forged));
  };
  assert.deepEqual([twice(2).reasons, twice(2).delivered], [['tagged'], []]);
  const { delivered, reasons } = twice(1);
  assert.deepEqual(delivered.map(({ port }) => port).sort(), ['p2', 'p4']);
  assert.ok(reasons.includes('tagged'));
});

test('chains decide by the first rule that fits, through jumps, returns and logs', () => {
  const [main, sub] = [example.chain(1), example.chain(2, 'drop')];
  const records = [
    main,
    sub,
    example.rule(1, main, 10, 'accept', { protocol: 'tcp', dstPorts: '80' }),
    example.rule(2, main, 20, 'jump', { protocol: 'tcp' }, sub),
    example.rule(3, main, 30, 'log', { protocol: 'tcp' }),
    example.rule(4, main, 40, 'drop', { protocol: 'tcp', dstPorts: '8000-8099' }),
    example.rule(5, sub, 10, 'return', { dstPorts: '8080', protocol: 'tcp' }),
    example.rule(6, sub, 20, 'drop', { dstPorts: '22', protocol: 'tcp' }),
    example.rule(7, sub, 30, 'accept', { dstPorts: '8081', protocol: 'tcp' }),
  ];
  for (const direction of ['fromChain', 'toChain'] as const) {
    const sender = direction === 'fromChain' ? { ...p1, fromChain: main.id } : p1;
    const receiver = direction === 'toChain' ? { ...p3, toChain: main.id } : p3;
    const sites: Site[] = [
      { port: sender, on: [h1], ofport: 1 },
      { port: receiver, on: [h2], ofport: 3 },
    ];
    const filtered = network([net, ...records], sites);
    const send = (port: number): Journey =>
      filtered.send(h1.id, 1, frame(p1.mac, p3.mac, tcp4('10.0.0.1', '10.0.0.3', port)));
    assert.deepEqual([to(send(80)), classes(send(80))], [['p3'], []]);
    assert.deepEqual([to(send(22)), send(22).reasons.at(-1)], [[], 'rule']);
    assert.deepEqual([to(send(8080)), send(8080).reasons.at(-1), classes(send(8080))], [[], 'rule', [PACKET_IN.log]]);
    assert.deepEqual([to(send(8081)), classes(send(8081))], [['p3'], []]);
    assert.deepEqual([to(send(9000)), classes(send(9000))], [['p3'], [PACKET_IN.log]]);
    const { cookie, host } = send(9000).packetIns[0]!;
    const { objects } = filtered.compilerOf(host).explain(cookie);
    assert.deepEqual(objects, [{ kind: 'rule', id: example.idOf('rule', 3) }]);
  }
});

test('jumps nested as deep as they may be are followed, in a flood too', () => {
  const chains = Array.from({ length: MAX_JUMP_DEPTH + 1 }, (_, i) => example.chain(i + 1, 'drop'));
  const jumps = chains.slice(1).map((next, i) => example.rule(i + 1, chains[i]!, 1, 'jump', {}, next));
  const last = example.rule(90, chains.at(-1)!, 1, 'accept', { protocol: 'udp' });
  const sites: Site[] = [
    { port: { ...p1, fromChain: chains[0]!.id }, on: [h1], ofport: 1 },
    { port: { ...p2, toChain: chains[0]!.id }, on: [h1], ofport: 2 },
    { port: { ...p3, toChain: chains[0]!.id }, on: [h1], ofport: 3 },
  ];
  const nested = network([net, ...chains, ...jumps, last], sites);
  const sent = nested.send(h1.id, 1, frame(p1.mac, BROADCAST, udp4('10.0.0.1', '10.0.0.255')));
  assert.deepEqual(to(sent), ['p2', 'p3']);
  assert.equal(sent.results[0]!.result.error, undefined);
});

test('what no rule decided goes by the policy of the chain on the port', () => {
  const closed = example.chain(3, 'drop');
  const sites: Site[] = [
    { port: { ...p1, fromChain: closed.id }, on: [h1], ofport: 1 },
    { port: p2, on: [h1], ofport: 2 },
  ];
  const records = [net, closed, example.rule(1, closed, 1, 'accept', { etherType: 'arp' })];
  const filtered = network(records, sites);
  const { reasons, delivered } = filtered.send(h1.id, 1, frame(p1.mac, p2.mac, udp4('10.0.0.1', '10.0.0.2')));
  assert.deepEqual([reasons, delivered], [['policy'], []]);
  assert.deepEqual(to(filtered.send(h1.id, 1, frame(p1.mac, p2.mac, arp(2, p1.mac, '10.0.0.1', '10.0.0.2')))), ['p2']);
});

test('a port that is claimed twice sends where it is active, and announces where it is not', () => {
  const sites = (port: LogicalPort): Site[] => [
    { port, on: [h2, h1], ofport: 1 },
    { port: p2, on: [h1], ofport: 2 },
  ];
  const mistake = network([net], sites(p1));
  const talk = frame(p1.mac, p2.mac, udp4('10.0.0.1', '10.0.0.2'));
  assert.deepEqual(to(mistake.send(h2.id, 1, talk)), ['p2']);
  const elsewhere = mistake.send(h1.id, 1, talk);
  assert.deepEqual([to(elsewhere), elsewhere.reasons], [[], ['not-active']]);
  const rarp = frame(p1.mac, BROADCAST, { ...arp(3, p1.mac, '0.0.0.0', '0.0.0.0'), etherType: 0x8035 });
  assert.deepEqual(classes(mistake.send(h1.id, 1, rarp)), [PACKET_IN.announce]);
  const garp = frame(p1.mac, BROADCAST, arp(1, p1.mac, '10.0.0.1', '10.0.0.1'));
  assert.deepEqual(classes(mistake.send(h1.id, 1, garp)), [PACKET_IN.announce]);
  const moving = network([net], sites({ ...p1, host: h1.id }));
  assert.deepEqual(to(moving.send(h1.id, 1, talk)), ['p2']);
  const back = moving.send(h1.id, 2, frame(p2.mac, p1.mac, udp4('10.0.0.2', '10.0.0.1')));
  assert.deepEqual(
    back.delivered.map(({ host, port }) => [host, port]).sort(),
    [
      [h1.id, 'p1'],
      [h2.id, 'p1'],
    ].sort(),
  );
});

test('ports and switches that are down, and ports that are shut off, are silent', () => {
  const down: Site[] = [{ port: { ...p1, adminUp: false }, on: [h1], ofport: 1 }, ...plainSites.slice(1)];
  const half = network([net], down);
  const talk = frame(p1.mac, p2.mac, udp4('10.0.0.1', '10.0.0.2'));
  assert.deepEqual(half.send(h1.id, 1, talk).reasons, ['port-down']);
  assert.deepEqual(half.send(h2.id, 3, frame(p3.mac, p1.mac, udp4('10.0.0.3', '10.0.0.1'))).reasons, ['port-down']);
  const off = network([{ ...net, adminUp: false }], plainSites);
  assert.deepEqual(off.send(h1.id, 1, talk).reasons, ['switch-down']);
  const shut = network([net, { kind: 'shutOff', id: p1.id }], plainSites);
  assert.deepEqual(shut.send(h1.id, 1, talk).reasons, ['shut-off']);
});

test('spoofed frames are sampled through their own meter', () => {
  const { packetIns } = plain.send(h1.id, 1, frame('8e:00:00:00:00:01', p2.mac, udp4('10.0.0.1', '10.0.0.2')));
  assert.deepEqual(
    packetIns.map(({ userdata, meter }) => [userdata[0], meter]),
    [[PACKET_IN.guard, 2]],
  );
});
