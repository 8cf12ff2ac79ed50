import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import { compiledFlows, goldenLines } from './testing/golden.ts';
import * as world from './testing/outside-world.fixture.ts';
import { pipelineDocument } from './testing/pipeline-document.ts';
import * as ups from './testing/uplinks.fixture.ts';

// The product's output, for review: run with WEFT_GOLDEN=write to accept what has changed.

const h1 = example.host(1);
const h2 = example.host(2, '2001:db8:ffff::2');
const base = [example.zone(), h1, h2, example.self(h1, { meters: { packetIn: 1, sample: 2, handOff: 6 } })];
const net = example.logicalSwitch(1, {
  subnets: [example.subnet('10.0.0.0/24'), example.subnet('2001:db8::/64', { ipv6Mode: 'slaac' })],
});
const bare = example.logicalSwitch(2);
const aware = example.logicalSwitch(3, { vlanAware: true });
const [main, sub] = [example.chain(1), example.chain(2, 'drop')];

type PortOptions = Parameters<typeof example.port>[2];

const friends = example.addressSet(1, ['10.0.0.4', '10.0.1.0/24', '2001:db8::4']);
const web = example.securityGroup(1);
const db = example.securityGroup(2, {
  ingress: [
    { protocol: 'tcp', ports: '5432-5433', group: web.id },
    { protocol: 'icmp', icmpType: 8 },
    { addressSet: friends.id },
    { ipVersion: 4, cidr: '192.0.2.0/24' },
  ],
  egress: [{ protocol: 'udp', ports: '53', cidr: '10.0.0.53' }, { group: web.id }],
});

/** A port here, on interface 1. */
function here(onSwitch: typeof net, options: PortOptions, ...claims: (typeof h1)[]): InputRecord[] {
  const port = example.port(1, onSwitch, options);
  return [
    onSwitch,
    port,
    example.binding(port, ...(claims.length > 0 ? claims : [h1])),
    example.boundInterface(port, 1),
  ];
}

/** The L2 gateway of the port here. */
function outsideOf(...hosts: (typeof h1)[]): InputRecord {
  return example.l2Gateway(1, example.port(1, bare), hosts);
}

/** With a conntrack zone. */
function zoned(record: InputRecord): InputRecord {
  return record.kind === 'interface' ? { ...record, zone: 4 } : record;
}

function there(onSwitch: typeof net, number: number, options: PortOptions = {}): InputRecord[] {
  const port = example.port(number, onSwitch, options);
  return [port, example.binding(port, h2)];
}

const pairs = { allowedPairs: [{ address: '10.0.0.100' }, { mac: '00:00:5e:00:01:01', address: '10.0.0.0/24' }] };
const own = { addresses: ['10.0.0.1', '2001:db8::1'] };
const guest = { portSecurity: false, addresses: ['10.0.0.1'] };
const learned: InputRecord = {
  kind: 'learned',
  id: `${bare.id}/0/02:aa:00:00:00:01`,
  revision: 1,
  switch: bare.id,
  port: example.idOf('port', 1),
  host: h1.id,
  mac: '02:aa:00:00:00:01',
  vlan: 0,
};

const far = example.logicalSwitch(4, { subnets: [example.subnet('10.4.0.0/24')], mtu: 1400 });
const core = example.router(1, {
  routes: [
    example.route('0.0.0.0/0', { via: '10.4.0.2' }),
    example.route('0.0.0.0/0', { via: '10.4.0.3', weight: 3 }),
    example.route('100.64.0.0/10', { via: '10.4.0.2', weight: 32 }),
    example.route('100.64.0.0/10', { via: '10.4.0.3' }),
    example.route('192.0.2.0/24', { via: '10.4.0.2', metric: 10 }),
    example.route('192.0.2.0/24', { via: '10.4.0.3' }),
    example.route('192.0.2.0/24', { from: '10.0.0.0/25', action: 'blackhole' }),
    example.route('198.51.100.0/24', { action: 'reject' }),
    example.route('203.0.113.0/24', { via: '10.9.9.9' }),
    example.route('2001:db8:1::/48', { via: 'fd00::2' }),
  ],
  policies: [
    { position: 10, match: { protocol: 'tcp', dstPorts: '25' }, action: 'drop' },
    { position: 20, match: { src: '10.0.0.64/26' }, action: 'reroute', via: '10.4.0.3' },
    { position: 30, match: { dst: '192.0.2.1' }, action: 'allow' },
  ],
});
const edge = example.router(2, { adminUp: false });
const corePorts = [
  example.routerPort(1, core, { switch: net.id, addresses: ['10.0.0.254/24', '2001:db8::fe/64'], inChain: main.id }),
  example.routerPort(2, core, { switch: far.id, addresses: ['10.4.0.1/24'], outChain: sub.id, outside: true }),
  example.routerPort(3, core, { addresses: ['fd00::1/64'] }),
];
const edgePort = example.routerPort(4, edge, { addresses: ['fd00::2/64'], peer: corePorts[2]!.id });
const routed: InputRecord[] = [net, far, core, edge, main, sub, ...corePorts, edgePort];
const awareNet = example.logicalSwitch(5, {
  vlanAware: true,
  subnets: [example.subnet('10.5.0.0/24', { vlan: 5 }), example.subnet('10.6.0.0/24', { vlan: 6 })],
});

/** a here, c on the other host. */
const translated: InputRecord[] = [
  ...world.world,
  world.plain,
  ...[world.a, world.b, world.c, world.x],
  ...[example.binding(world.a, h1), example.binding(world.b, h1), example.binding(world.c, h2)],
  ...[example.boundInterface(world.a, 1), example.boundInterface(world.b, 2)].map((one, i) => ({
    ...one,
    zone: 4 + 4 * i,
  })),
];
const floating = [world.a, world.c, world.x].map((to, i) =>
  example.floatingAddress(1 + i, `203.0.113.${10 + i}`, world.plain, to),
);
const transfers = example.securityGroup(7, {
  ingress: [{ protocol: 'tcp', ports: '21', helper: 'ftp' }],
  egress: [{ protocol: 'tcp', ports: '2100-2101', helper: 'ftp' }],
});
const snat = world.middle({ snat: [{ from: '10.0.1.0/24', to: '203.0.113.1' }] });
/** Eight sources, three addresses, of which this host has ports of one. */
const pooled = world.middle({ snat: [{ from: '10.0.1.8/29', to: '203.0.113.2-203.0.113.4' }] });
const leases = [
  example.natLease(snat, '203.0.113.1', h1, [10240, 64], [4096, 32]),
  example.natLease(snat, '203.0.113.1', h2, [20480, 64]),
];
const listeners = [
  { protocol: 'tcp', port: 80, memberPort: 8080 },
  { protocol: 'udp', port: 53 },
] as const;
const inner = example.loadBalancer(1, '10.0.1.99', [world.b, world.c], {
  ...{ router: world.plain.id, slots: 16 },
  listeners: [...listeners],
});
const outer = example.loadBalancer(1, '203.0.113.80', [world.b, world.c], {
  ...{ router: world.plain.id, slots: 16, sticky: 'source', onEmpty: 'drop' },
});

const health = { intervalMs: 1000, timeoutMs: 500, rise: 2, fall: 3, path: '/' } as const;
const probe = { intervalMs: 1000, failures: 3, recoveries: 3 } as const;

function moved(port: typeof world.a, ...connections: string[]): InputRecord {
  return {
    ...{ kind: 'natMove', id: `${snat.id}/203.0.113.1/${port.id}`, revision: 1, router: snat.id },
    ...{ address: '203.0.113.1', port: port.id, connections },
  };
}

function keptAt(host: typeof h1, member: typeof world.a, clients: Record<string, number>): InputRecord {
  return {
    ...{ kind: 'keptClients', id: `${outer.id}/${host.id}`, revision: 1, loadBalancer: outer.id, host: host.id },
    members: [{ port: member.id, clients }],
  };
}

/** Golden file → the records, and the unit families whose flows are shown. */
const CASES: Readonly<Record<string, readonly [families: readonly string[], records: readonly InputRecord[]]>> = {
  'port-plain': [
    ['classify', 'guard', 'tunnelToPort', 'portAddresses', 'holders', 'hairpin', 'toPort'],
    here(net, own),
  ],
  'port-pairs': [['classify', 'guard', 'tunnelToPort', 'holders'], here(net, { ...own, ...pairs })],
  'limits-and-marks': [
    ['classify', 'mark', 'entry', 'toPort', 'hairpin'],
    here(net, { ...own, dscp: 46, limits: { sendKbps: 2000, sendPps: 500, receiveKbps: 8000, burstKb: 1000 } }).map(
      zoned,
    ),
  ],
  mirrors: [
    ['entry', 'mirror', 'toPort', 'hairpin'],
    [
      ...here(aware, { ...own, vlan: { access: 5 } }).map(zoned),
      ...there(aware, 2),
      example.mirror(1, [example.port(1, aware)], { port: example.idOf('port', 2) }),
      example.mirror(2, [example.port(2, aware)], { port: example.idOf('port', 1) }),
      example.mirror(
        3,
        [],
        { collector: { address: '192.0.2.9', key: 77 } },
        {
          ...{ switch: aware.id, direction: 'from', match: { protocol: 'tcp', dstPorts: '80-81' } },
        },
      ),
    ],
  ],
  'port-bare-network': [['classify', 'guard'], here(bare, {})],
  'port-without-security': [
    [
      'classify',
      'learn',
      'learned',
      'learnedLookup',
      'ownProbes',
      'holders',
      'unknown',
      'tunnelToPort',
      'floodRemote',
      'floodLocal',
    ],
    [...here(bare, guest), learned, ...there(bare, 2), ...there(bare, 3, { portSecurity: false })],
  ],
  'port-down': [['classify', 'toPort'], here(net, { ...own, adminUp: false })],
  'port-shut-off': [['classify'], [...here(net, own), { kind: 'shutOff', id: example.idOf('port', 1) }]],
  'port-active-elsewhere': [['classify', 'vlan', 'holders', 'tunnelToPort'], here(net, own, h2, h1)],
  'port-moving-here': [['classify', 'vlan', 'holders', 'tunnelToPort'], here(net, { ...own, host: h1.id }, h2, h1)],
  'vlan-access': [
    ['classify', 'vlan', 'holders', 'floodLocal', 'toPort', 'tunnelToPort'],
    here(aware, { vlan: { access: 5 } }),
  ],
  'vlan-trunk': [
    ['vlan', 'holders', 'floodLocal', 'toPort'],
    here(aware, { vlan: { trunk: [4, 5, 6, 7, 9], native: 9 } }),
  ],
  'vlan-all': [['vlan', 'holders', 'floodLocal', 'toPort'], here(aware, { vlan: { trunk: 'all', native: 9 } })],
  remote: [
    ['portAddresses', 'holders', 'floodRemote', 'tunnelSources', 'tunnelToSwitch', 'agentAnswers'],
    [...here(net, own), ...there(net, 2, { addresses: ['10.0.0.2', '2001:db8::2'] })],
  ],
  chains: [
    ['fromChain', 'toPort', 'chain', 'rule'],
    [
      ...here(net, { ...own, fromChain: main.id, toChain: sub.id }),
      main,
      sub,
      example.rule(1, main, 10, 'accept', { protocol: 'tcp', dstPorts: '8000-8010' }),
      example.rule(2, main, 20, 'jump', { etherType: 'ipv4' }, sub),
      example.rule(3, main, 30, 'log', { etherType: 'arp' }),
      example.rule(4, main, 40, 'drop', { vlan: 7 }),
      example.rule(5, sub, 10, 'return', { src: '10.0.0.0/8' }),
      example.rule(6, sub, 20, 'drop'),
    ],
  ],
  names: [
    ['dns'],
    [
      ...here({ ...net, dns: true }, own),
      ...routed.filter((record) => record !== net),
      {
        ...awareNet,
        dns: true,
        subnets: awareNet.subnets.map((each) => ({ ...each, gateway: each.cidr.replace('0/24', '9') })),
      },
      example.port(2, awareNet),
      example.binding(example.port(2, awareNet), h1),
      example.boundInterface(example.port(2, awareNet), 2),
    ],
  ],
  'router-in': [['routerMac', 'tunnelToRouter', 'routerIn', 'own', 'unknown'], routed],
  'router-routes': [['policies', 'routes'], routed],
  'learned-routes': [
    ['routes', 'learnedRoute', 'hopSet'],
    [
      { ...ups.core, routes: [example.route('198.51.100.0/24', { via: '192.0.2.3' })] },
      ...ups.world,
      ...[example.binding(ups.wire, h1), example.boundInterface(ups.wire, 1), example.binding(ups.secondWire, h2)],
      ...ups.records([
        ups.learned(ups.core, '0.0.0.0/0', h1, '192.0.2.1'),
        ups.learned(ups.core, '0.0.0.0/0', h2, '192.0.2.9 3'),
        ups.learned(ups.core, '198.51.100.0/24', h1, '192.0.2.1'),
        ups.learned(ups.core, '203.0.113.128/25', h1, '192.0.2.1'),
        ups.learned(ups.core, '203.0.113.0/25', h1, '192.0.2.1 1', '192.0.2.9 32'),
        ups.learned(ups.core, '2001:db8:9000::/36', h1, '2001:db8:f::1'),
      ]),
    ],
  ],
  speaker: [
    ['speaker'],
    [
      ...[ups.core, ...ups.world, example.binding(ups.wire, h1), example.boundInterface(ups.wire, 1)],
      { kind: 'speaker', id: ups.uplink.id, ofport: 8 },
    ],
  ],
  'stateful-uplinks': [
    ['uplink', 'knownOnly', 'rule', 'quietRule', 'classify'],
    [
      ...[ups.core, ...ups.world, { ...ups.secondUplink, inChain: main.id }, main],
      ...[example.binding(ups.secondWire, h1), example.boundInterface(ups.secondWire, 1)],
      example.rule(1, main, 10, 'accept', { state: ['established', 'related'] }),
      example.rule(2, main, 20, 'accept', { protocol: 'tcp', dstPorts: '443' }),
      example.rule(3, main, 30, 'log'),
      example.rule(4, main, 40, 'drop'),
    ],
  ],
  'source-check': [
    ['routerIn', 'sourceCheck', 'routes', 'hopSet'],
    [
      ...[{ ...ups.core, routes: [example.route('198.18.0.0/15', { via: '10.0.1.11' })] }, ...ups.world],
      { ...ups.uplink, sourceCheck: 'strict' },
      { ...ups.secondUplink, sourceCheck: 'own' },
      ...ups.records([ups.learned(ups.core, '0.0.0.0/0', h1, '192.0.2.1', '192.0.2.9')]),
    ],
  ],
  prefilters: [
    ['routerIn', 'switchPrefilter', 'routerPrefilter', 'floatingPrefilter', 'balancerPrefilter', 'inboundLimit'],
    [
      ...[main, sub, ...world.world],
      { ...world.outside, prefilter: main.id },
      { ...world.plain, prefilter: sub.id, inboundLimit: { pps: 10_000 } },
      { ...example.floatingAddress(1, '203.0.113.50', world.plain, world.a), prefilter: sub.id },
      { ...outer, prefilter: main.id, inboundLimit: { kbps: 5000, newPerSecond: 50 } },
    ],
  ],
  'router-out': [['outChain', 'leave'], routed],
  'router-vlans': [
    ['routerMac', 'leave', 'routerAddresses'],
    [awareNet, core, example.routerPort(5, core, { switch: awareNet.id, addresses: ['10.5.0.1/24', '10.6.0.1/24'] })],
  ],
  resolution: [
    ['portAddresses', 'routerAddresses', 'neighbours', 'neighbourMoves'],
    [
      ...routed,
      ...here(net, own),
      ...there(net, 2, { addresses: ['10.0.0.2', '2001:db8::2'] }),
      {
        ...{ kind: 'neighbour', id: `${net.id}/10.0.0.9`, revision: 1, switch: net.id, address: '10.0.0.9' },
        ...{ mac: '02:aa:00:00:00:09', port: example.idOf('port', 1), host: h1.id },
      },
    ],
  ],
  tracked: [['track'], []],
  groups: [
    ['classify', 'holders', 'tunnelToPort', 'hairpin', 'groupRules', 'groupMember', 'setMember'],
    [
      web,
      db,
      friends,
      ...here(net, { ...own, groups: [db.id] }).map(zoned),
      ...there(net, 2, { addresses: ['10.0.0.2'], groups: [web.id] }),
    ],
  ],
  'rules-by-state': [
    ['rule', 'fromChain'],
    [
      ...here(net, { ...own, fromChain: main.id }).map(zoned),
      main,
      example.rule(1, main, 10, 'accept', { state: ['established', 'related'] }),
      example.rule(2, main, 20, 'drop', { state: ['invalid'] }),
      example.rule(3, main, 30, 'reject', { protocol: 'tcp', state: ['new'] }),
    ],
  ],
  'groups-with-helpers': [
    ['groupRules'],
    [
      friends,
      example.securityGroup(1, {
        ingress: [
          { protocol: 'tcp', ports: '21', helper: 'ftp' },
          { protocol: 'tcp', ports: '21', addressSet: friends.id, helper: 'ftp' },
        ],
        egress: [{ protocol: 'udp', ports: '69', cidr: '192.0.2.0/24', helper: 'tftp' }],
      }),
      ...here(net, { ...own, groups: [web.id] }).map(zoned),
    ],
  ],
  'rules-with-helpers': [
    ['rule'],
    [
      main,
      example.rule(1, main, 10, 'accept', { state: ['established', 'related'] }),
      {
        ...example.rule(2, main, 20, 'accept', { protocol: 'tcp', dstPorts: '21', state: ['new'] }),
        helper: 'ftp',
      },
    ],
  ],
  'rules-by-set': [
    ['rule', 'chain', 'groupMember', 'setMember'],
    [
      friends,
      web,
      ...here(net, { ...own, groups: [web.id] }).map(zoned),
      main,
      example.rule(1, main, 10, 'accept', { srcSet: friends.id }),
      example.rule(2, main, 20, 'drop', { protocol: 'tcp', dstPorts: '80', srcSet: friends.id, dstGroup: web.id }),
      example.rule(3, main, 30, 'drop', { srcSet: friends.id, not: ['srcSet'] }),
    ],
  ],
  'rules-by-address': [
    ['rule'],
    [
      main,
      example.rule(1, main, 10, 'drop', { srcMac: '02:00:00:00:00:00/ff:00:00:00:00:00' }),
      example.rule(2, main, 20, 'accept', {
        srcMac: '02:00:00:00:00:01',
        dstMac: '01:00:00:00:00:00/01:00:00:00:00:00',
      }),
      example.rule(3, main, 30, 'accept', { protocol: 'icmp', icmpType: 8, icmpCode: 0, src: '10.0.0.0/24' }),
      example.rule(4, main, 40, 'accept', { protocol: 'icmpv6', icmpType: 128 }),
      example.rule(5, main, 50, 'accept', { arpOp: 1, arpSender: '10.0.0.1', arpTarget: '10.0.0.2' }),
      example.rule(6, main, 60, 'drop', { arpTarget: '10.0.0.2', not: ['arpTarget'] }),
    ],
  ],
  'rules-inverted': [
    ['rule', 'chain'],
    [
      main,
      example.rule(1, main, 10, 'accept', { protocol: 'tcp', dstPorts: '80-81', not: ['dstPorts'] }),
      example.rule(2, main, 11, 'drop', { src: '10.0.0.0/8', vlan: 7, not: ['src', 'vlan'] }),
      example.rule(3, main, 12, 'accept', { state: ['new'], not: ['state'] }),
    ],
  ],
  'rules-by-header': [
    ['rule'],
    [
      main,
      example.rule(1, main, 10, 'drop', { protocol: 'tcp', etherType: 'ipv4', tcpFlags: '+syn-ack' }),
      example.rule(2, main, 20, 'drop', { fragment: 'later' }),
      example.rule(3, main, 30, 'drop', { dscp: 46 }),
    ],
  ],
  translation: [['translation'], []],
  'floating-addresses-with-helpers': [
    ['floatingIn', 'floatingOut'],
    [...translated, { ...world.a, groups: [transfers.id] }, transfers, floating[0]!],
  ],
  'floating-addresses': [
    ['floatingIn', 'floatingOut', 'floatingAddresses'],
    [...translated, ...floating],
  ],
  'source-translation': [
    ['leaseIn', 'leasedAddresses', 'snat', 'snatReplies', 'answersToSnat', 'snatAddresses'],
    [...translated.filter(({ kind }) => kind !== 'router'), snat, ...leases],
  ],
  'source-translation-to-a-pool': [
    ['leaseIn', 'leasedAddresses', 'snat', 'snatAddresses'],
    [
      ...translated.filter(({ kind }) => kind !== 'router'),
      pooled,
      example.natLease(pooled, '203.0.113.4', h1, [10240, 64]),
    ],
  ],
  'a-tight-zone': [
    ['admission', 'floatingIn'],
    [...translated, ...floating, example.natZone(core, 400, true)],
  ],
  'vip-inside': [
    ['vip', 'slots', 'member', 'vipAddresses'],
    [...translated, inner],
  ],
  'vip-outside': [
    ['vipIn', 'handOff', 'slots', 'member', 'vipAddresses', 'vipReplies'],
    [...translated.filter(({ kind }) => kind !== 'router'), snat, outer],
  ],
  'vip-shared': [
    ['vip', 'vipIn', 'member', 'vipAddresses', 'balancerPrefilter'],
    [
      ...translated,
      main,
      { ...outer, prefilter: main.id },
      {
        ...example.loadBalancer(2, outer.address, [world.b], { router: world.plain.id, slots: 16, prefilter: main.id }),
        listeners: [{ protocol: 'tcp', port: 2222, memberPort: 22 }],
      },
    ],
  ],
  'vip-ranges': [
    ['vip', 'vipIn', 'member', 'vipReplies', 'handOff'],
    [
      ...[...translated.filter(({ kind }) => kind !== 'router'), snat, ...leases],
      {
        ...outer,
        members: outer.members.slice(0, 1),
        listeners: [
          { protocol: 'tcp', port: '8000-8099' },
          { protocol: 'tcp', port: '6000-6003', memberPort: 22 },
          { protocol: 'udp', port: '500-501', memberPort: '1500-1501' },
        ],
      },
    ],
  ],
  'full-addresses': [
    ['floatingIn', 'vipIn', 'member'],
    [
      ...[...translated, floating[0]!, outer],
      ...[floating[0]!, outer].map(({ id }): InputRecord => ({ kind: 'fullAddress', id })),
    ],
  ],
  'new-connections': [
    ['floatingIn', 'member'],
    [
      ...translated,
      { ...floating[0]!, inboundLimit: { newPerSecond: 50 } },
      { ...outer, listeners: [{ protocol: 'udp', port: 53 }], inboundLimit: { newPerSecond: 100 } },
    ],
  ],
  'kept-clients': [
    ['slots', 'keptClients'],
    [
      ...translated,
      { ...outer, stickyS: 60 },
      keptAt(h1, world.b, { '198.51.100.7': 1_000, '198.51.100.8': 1_000 }),
      keptAt(h2, world.c, { '198.51.100.8': 1_001 }),
    ],
  ],
  'vip-without-members': [['slots'], [...translated, { ...inner, members: [] }]],
  'health-probes': [
    ['probe'],
    [
      ...translated,
      { ...inner, health: { ...health, type: 'http' } },
      ...(['udp', 'icmp'] as const).map((type, i) =>
        example.loadBalancer(2 + i, `10.0.1.9${i}`, [world.a], { router: world.plain.id, health: { ...health, type } }),
      ),
    ],
  ],
  'next-hop-probes': [
    ['nextHopProbe'],
    [
      ...translated.filter(({ kind }) => kind !== 'router'),
      world.middle({
        routes: [
          example.route('0.0.0.0/0', { via: '203.0.113.254', probe: { ...probe, type: 'ping' } }),
          example.route('0.0.0.0/0', { via: '203.0.113.253', probe: { ...probe, type: 'arp' } }),
          example.route('::/0', { via: '2001:db8:ffff::254', probe: { ...probe, type: 'arp' } }),
        ],
      }),
      ...[example.binding(world.x, h1), example.boundInterface(world.x, 3)],
    ],
  ],
  'connections-that-moved': [
    ['natMove', 'movedPort', 'leaseIn', 'leasedAddresses', 'snatReplies'],
    [
      ...translated.filter(({ kind }) => kind !== 'router'),
      ...[snat, ...leases, moved(world.a, 'tcp/20500/198.51.100.1/443'), moved(world.c, 'udp/10300/198.51.100.1/53')],
    ],
  ],
  'connections-on-their-way': [['importing'], [...translated, floating[0]!, { kind: 'importing', id: world.a.id }]],
  'connections-told-of': [
    ['hold'],
    [
      ...translated.filter(({ kind }) => kind !== 'router'),
      ...[snat, ...leases, example.l2Gateway(1, world.a, [h1, h2])],
      { kind: 'held', id: world.a.id, isPaused: true },
    ],
  ],
  'held-back': [
    ['heldBack', 'classify'],
    [...here(net, own), { kind: 'heldBack', id: example.idOf('port', 1), errors: true, hops: true, talk: false }],
  ],
  'held-talk': [
    ['heldTalk'],
    [...here(net, own), { kind: 'heldBack', id: example.idOf('port', 1), errors: false, hops: false, talk: true }],
  ],
  wide: [
    ['wide', 'wideAddresses'],
    [...here(net, own), ...there(net, 2, { addresses: ['10.0.0.2'] })],
  ],
  'l2-gateway': [
    ['l2Gateway', 'classify'],
    [...here(bare, { portSecurity: false }, h2, h1), outsideOf(h1, h2)],
  ],
  'l2-gateway-cut': [
    ['l2Gateway', 'classify', 'toPort', 'floodLocal'],
    [...here(bare, { portSecurity: false }), outsideOf(h1, h2), { kind: 'cut', id: example.idOf('port', 1) }],
  ],
  base: [['base'], []],
};

const folder = join(import.meta.dirname, 'golden');

for (const [name, [families, records]] of Object.entries(CASES)) {
  test(`the flows of ${name} are the golden ones`, () => {
    const text = `${goldenLines(compiledFlows([...base, ...records], families)).join('\n')}\n`;
    assert.notEqual(text, '\n', 'it has flows');
    const path = join(folder, `${name}.golden`);
    if (process.env.WEFT_GOLDEN === 'write') {
      mkdirSync(folder, { recursive: true });
      writeFileSync(path, text);
    }
    assert.equal(text, readFileSync(path, 'utf8'));
  });
}

test('docs/pipeline.md is what the tables and the example say', () => {
  const path = join(import.meta.dirname, '../../docs/pipeline.md');
  assert.equal(
    readFileSync(path, 'utf8'),
    pipelineDocument(),
    'run node scripts/pipeline-doc.ts and review the difference',
  );
});
