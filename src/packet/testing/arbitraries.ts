import fc from 'fast-check';
import type { Ipv4, Ipv6, Mac } from '../../base/addresses.ts';
import type { Arp } from '../arp.ts';
import { ETHER_TYPE, type EthernetStart, type VlanTag } from '../ethernet.ts';
import type { IcmpHeader } from '../icmp.ts';
import type { Icmpv6Header } from '../icmpv6.ts';
import { IP_PROTO } from '../ip-protocol.ts';
import type { Ipv4Header } from '../ipv4.ts';
import type { Ipv6Extension, Ipv6Header } from '../ipv6.ts';
import { isNd, type NdMessage } from '../nd.ts';
import type { NdOption } from '../nd-option.ts';
import type { Layer3, Layer4, Packet } from '../packet.ts';
import type { TcpHeader } from '../tcp.ts';
import type { UdpHeader } from '../udp.ts';

/* Values as decoders give them, for property tests. */

export const u8 = fc.integer({ min: 0, max: 0xff });
export const u16 = fc.integer({ min: 0, max: 0xffff });
export const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
export const flag = fc.boolean();
export const mac = fc.integer({ min: 0, max: 0xffff_ffff_ffff }) as fc.Arbitrary<Mac>;
export const ipv4 = u32 as fc.Arbitrary<Ipv4>;
export const ipv6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }) as fc.Arbitrary<Ipv6>;

export function bytes(maxLength: number, minLength = 0): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength, maxLength });
}

/** `first`, `first` + `unit` … bytes. */
export function steppedBytes(first: number, unit: number, steps: number): fc.Arbitrary<Uint8Array> {
  return fc.integer({ min: 0, max: steps }).chain((n) => bytes(first + n * unit, first + n * unit));
}

/** One character a byte. */
export function latin1(maxLength: number, minCode = 0): fc.Arbitrary<string> {
  return fc.array(fc.integer({ min: minCode, max: 0xff }), { maxLength }).map((codes) => String.fromCharCode(...codes));
}

const label = fc.stringMatching(/^[a-z0-9_-]{1,20}$/);
export const domainName = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));

export const vlanTag: fc.Arbitrary<VlanTag> = fc.record({
  tpid: fc.constantFrom(ETHER_TYPE.vlan, ETHER_TYPE.serviceVlan),
  vid: fc.integer({ min: 0, max: 0xfff }),
  pcp: fc.integer({ min: 0, max: 7 }),
  dei: flag,
});

export function ethernetStart(etherType: fc.Arbitrary<number>): fc.Arbitrary<EthernetStart> {
  return fc.record({
    ethernet: fc.record({ dst: mac, src: mac, etherType }),
    vlans: fc.array(vlanTag, { maxLength: 3 }),
  });
}

export const arp: fc.Arbitrary<Arp> = fc.record({ op: u16, sha: mac, spa: ipv4, tha: mac, tpa: ipv4 });

export const ipv4Header: fc.Arbitrary<Ipv4Header> = fc.record({
  tos: u8,
  id: u16,
  dontFragment: flag,
  moreFragments: flag,
  fragmentOffset: fc.integer({ min: 0, max: 0x1fff }).map((n) => n * 8),
  ttl: u8,
  protocol: u8,
  src: ipv4,
  dst: ipv4,
  options: steppedBytes(0, 4, 10),
});

const fragment: fc.Arbitrary<Ipv6Extension> = fc.record({
  kind: fc.constant('fragment'),
  offset: fc.integer({ min: 0, max: 0x1fff }).map((n) => n * 8),
  more: flag,
  id: u32,
});

const otherExtension: fc.Arbitrary<Ipv6Extension> = fc.oneof(
  fc.record({ kind: fc.constantFrom('hopByHop', 'destination'), data: steppedBytes(6, 8, 4) }),
  fc.record({ kind: fc.constant('routing'), routingType: u8, segmentsLeft: u8, data: steppedBytes(4, 8, 6) }),
  fc.record({ kind: fc.constant('authentication'), data: steppedBytes(6, 4, 6) }),
);

const EXTENSIONS: readonly number[] = [
  IP_PROTO.hopByHop,
  IP_PROTO.routing,
  IP_PROTO.fragment,
  IP_PROTO.authentication,
  IP_PROTO.destination,
];

export const ipv6Header: fc.Arbitrary<Ipv6Header> = fc.record({
  trafficClass: u8,
  flowLabel: fc.integer({ min: 0, max: 0xf_ffff }),
  hopLimit: u8,
  src: ipv6,
  dst: ipv6,
  extensions: fc
    .tuple(fc.array(otherExtension, { maxLength: 3 }), fc.option(fragment, { nil: undefined }))
    .map(([others, last]) => (last ? [...others, last] : others)),
  nextHeader: u8.filter((n) => !EXTENSIONS.includes(n)),
});

export const icmpHeader: fc.Arbitrary<IcmpHeader> = fc.record({ type: u8, code: u8, rest: u32 });
export const icmpv6Header: fc.Arbitrary<Icmpv6Header> = icmpHeader.filter((h) => !isNd(h.type, h.code));
export const udpHeader: fc.Arbitrary<UdpHeader> = fc.record({ srcPort: u16, dstPort: u16, noChecksum: flag });
export const tcpHeader: fc.Arbitrary<TcpHeader> = fc.record({
  srcPort: u16,
  dstPort: u16,
  sequence: u32,
  acknowledgement: u32,
  flags: fc.integer({ min: 0, max: 0xfff }),
  window: u16,
  urgent: u16,
  options: steppedBytes(0, 4, 10),
});

const ND_KNOWN = [1, 2, 3, 4, 5, 24, 25, 31];

/** A prefix without bits that its short forms would not carry. */
const routeOption: fc.Arbitrary<NdOption> = fc
  .record({
    kind: fc.constant('route' as const),
    prefix: ipv6,
    prefixLength: fc.integer({ min: 0, max: 128 }),
    preference: fc.integer({ min: 0, max: 3 }),
    lifetimeS: u32,
  })
  .map((route) => {
    const kept = route.prefixLength === 0 ? 128n : route.prefixLength <= 64 ? 64n : 0n;
    return { ...route, prefix: ((route.prefix >> kept) << kept) as Ipv6 };
  });

export const ndOption: fc.Arbitrary<NdOption> = fc.oneof(
  fc.record({ kind: fc.constantFrom('sourceLinkLayer', 'targetLinkLayer'), mac }),
  fc.record({
    kind: fc.constant('prefix'),
    prefix: ipv6,
    prefixLength: fc.integer({ min: 0, max: 128 }),
    flags: u8,
    validS: u32,
    preferredS: u32,
  }),
  fc.record({ kind: fc.constant('redirected'), packet: steppedBytes(0, 8, 10) }),
  fc.record({ kind: fc.constant('mtu'), mtu: u32 }),
  routeOption,
  fc.record({
    kind: fc.constant('dnsServers'),
    lifetimeS: u32,
    servers: fc.array(ipv6, { minLength: 1, maxLength: 4 }),
  }),
  fc.record({ kind: fc.constant('dnsSearch'), lifetimeS: u32, domains: fc.array(domainName, { maxLength: 4 }) }),
  fc.record({
    kind: fc.constant('unknown'),
    code: u8.filter((n) => !ND_KNOWN.includes(n)),
    data: steppedBytes(6, 8, 4),
  }),
);

const ndOptions = fc.array(ndOption, { maxLength: 5 });

export const ndMessage: fc.Arbitrary<NdMessage> = fc.oneof(
  fc.record({ kind: fc.constant('routerSolicit'), options: ndOptions }),
  fc.record({
    kind: fc.constant('routerAdvert'),
    hopLimit: u8,
    flags: u8,
    lifetimeS: u16,
    reachableMs: u32,
    retransmitMs: u32,
    options: ndOptions,
  }),
  fc.record({ kind: fc.constant('neighborSolicit'), target: ipv6, options: ndOptions }),
  fc.record({
    kind: fc.constant('neighborAdvert'),
    flags: fc.integer({ min: 0, max: 7 }).map((n) => (n << 29) >>> 0),
    target: ipv6,
    options: ndOptions,
  }),
  fc.record({ kind: fc.constant('redirect'), target: ipv6, destination: ipv6, options: ndOptions }),
);

const WHOLE = { moreFragments: false, fragmentOffset: 0 } as const;

/** A layer 4 with the number that the layer below says it by. */
const upper4: fc.Arbitrary<readonly [number, Layer4]> = fc.oneof(
  icmpHeader.map((h) => [IP_PROTO.icmp, { kind: 'icmp', ...h }] as const),
  tcpHeader.map((h) => [IP_PROTO.tcp, { kind: 'tcp', ...h }] as const),
  udpHeader.map((h) => [IP_PROTO.udp, { kind: 'udp', ...h }] as const),
);
const upper6: fc.Arbitrary<readonly [number, Layer4]> = fc.oneof(
  icmpv6Header.map((h) => [IP_PROTO.icmpv6, { kind: 'icmpv6', ...h }] as const),
  ndMessage.map((message) => [IP_PROTO.icmpv6, { kind: 'nd', message }] as const),
  tcpHeader.map((h) => [IP_PROTO.tcp, { kind: 'tcp', ...h }] as const),
  udpHeader.map((h) => [IP_PROTO.udp, { kind: 'udp', ...h }] as const),
);

const payload = bytes(80);
const unread4 = u8.filter((n) => n !== IP_PROTO.icmp && n !== IP_PROTO.tcp && n !== IP_PROTO.udp);

function frame(etherType: number, l3: Layer3, l4: Layer4 | undefined, data: Uint8Array): fc.Arbitrary<Packet> {
  const trailer = fc.option(bytes(20, 1), { nil: undefined, freq: 3 });
  const rest = { l3, ...(l4 && { l4 }), payload: l4?.kind === 'nd' || l3.kind === 'arp' ? new Uint8Array(0) : data };
  return fc
    .tuple(ethernetStart(fc.constant(etherType)), trailer)
    .map(([start, tail]) => ({ ...start, ...rest, ...(tail && { trailer: tail }) }));
}

/** Whole frames of every kind that `decodePacket` opens, fragments and unknown protocols among them. */
export const packet: fc.Arbitrary<Packet> = fc.oneof(
  fc
    .tuple(fc.constantFrom(ETHER_TYPE.arp, ETHER_TYPE.rarp), arp)
    .chain(([type, a]) => frame(type, { kind: 'arp', ...a }, undefined, new Uint8Array(0))),
  fc
    .tuple(ipv4Header, upper4, payload)
    .chain(([h, [protocol, l4], data]) => frame(ETHER_TYPE.ipv4, { kind: 'ipv4', ...h, ...WHOLE, protocol }, l4, data)),
  fc
    .tuple(ipv4Header, payload)
    .chain(([h, data]) => frame(ETHER_TYPE.ipv4, { kind: 'ipv4', ...h, moreFragments: true }, undefined, data)),
  fc
    .tuple(ipv4Header, unread4, payload)
    .chain(([h, protocol, data]) => frame(ETHER_TYPE.ipv4, { kind: 'ipv4', ...h, protocol }, undefined, data)),
  fc.tuple(ipv6Header, upper6, payload).chain(([h, [nextHeader, l4], data]) => {
    const extensions = h.extensions.filter((extension) => extension.kind !== 'fragment');
    return frame(ETHER_TYPE.ipv6, { kind: 'ipv6', ...h, extensions, nextHeader }, l4, data);
  }),
  fc.tuple(ipv6Header, fragment, payload).chain(([h, last, data]) => {
    const extensions = [...h.extensions.filter((e) => e.kind !== 'fragment'), { ...last, more: true } as Ipv6Extension];
    return frame(ETHER_TYPE.ipv6, { kind: 'ipv6', ...h, extensions }, undefined, data);
  }),
  fc
    .tuple(ethernetStart(u16.filter((n) => !Object.values<number>(ETHER_TYPE).includes(n))), payload)
    .map(([start, data]) => ({ ...start, payload: data })),
);
