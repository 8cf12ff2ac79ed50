import { formatIp, linkLocalOf } from '../../base/addresses.ts';
import type { NdMessage } from '../../packet/nd.ts';
import type { Layer4, Packet } from '../../packet/packet.ts';
import { arp, frame, ip, ip6, mac, tcp, udp } from '../../pipeline/frames.fixture.ts';
import * as example from './example.ts';
import * as ups from './uplinks.fixture.ts';

/** What comes by the wire, what the BGP daemon says, and what others try (docs/design/gateways.md, §3). */

export const h1 = example.host(1);
export const h2 = example.host(2);
/** Interfaces of the gateway h1. The tunnel is 12. */
export const OFPORT = { wire: 1, a: 2, b: 3, speaker: 8 } as const;
const UPSTREAM = '02:ee:00:00:00:01';
const own = ups.uplink.mac;
const linkLocal = formatIp({ version: 6, value: linkLocalOf(mac(own)) });

/** Of these the daemon hears: of `ups.world` 192.0.2.1, and more here. */
const FAR = '198.51.100.9';
const FAR6 = '2001:db8:9::9';
const QUIET = '192.0.2.5';
const PROBED = '192.0.2.6';
const PROBED6 = '2001:db8:f::6';
const probed = (to: string, via: string) =>
  example.route(to, { via, probe: { type: 'bfd', intervalMs: 150, failures: 3, recoveries: 3 } });
const core = { ...ups.core, routes: [probed('203.0.113.0/24', PROBED), probed('2001:db8:a::/48', PROBED6)] };
export const morePeers = [
  ups.peer(2, ups.uplink, '2001:db8:f::1'),
  ups.peer(3, ups.uplink, FAR, { multihop: 3 }),
  ups.peer(4, ups.uplink, FAR6, { multihop: 3 }),
  ups.peer(5, ups.uplink, QUIET, { bfd: false, adminUp: false }),
  ups.peer(6, ups.secondUplink, '198.51.100.10', { multihop: 3 }),
];

export const gateway = [
  ...[example.zone(), h1, h2, core, ...ups.world, ...morePeers],
  ...[ups.wire, ups.a, ups.b].map((port) => example.binding(port, h1)),
  example.binding(ups.secondWire, h2),
  example.self(h1, { tunnelPorts: { geneve: 12 } }),
  example.boundInterface(ups.wire, OFPORT.wire),
  example.boundInterface(ups.a, OFPORT.a),
  example.boundInterface(ups.b, OFPORT.b),
  { kind: 'speaker', id: ups.uplink.id, ofport: OFPORT.speaker } as const,
];

type Way = keyof typeof OFPORT;
/** `to`: who gets it; `agent`: somebody asks the agent, whatever for. */
export interface Said {
  readonly what: string;
  readonly by: Way;
  readonly bytes: Uint8Array;
  readonly to: readonly Way[];
}

const nd = (src: string, dst: string, message: NdMessage): Partial<Packet> =>
  ip(src, dst, { kind: 'nd', message }, 255);
const solicit = (src: string, target: string, sll: string): Partial<Packet> =>
  nd(src, 'ff02::1:ff00:1', {
    ...{ kind: 'neighborSolicit', target: ip6(target) },
    options: [{ kind: 'sourceLinkLayer', mac: mac(sll) }],
  });
const advert = (src: string, dst: string, target: string, tll: string): Partial<Packet> =>
  nd(src, dst, {
    ...{ kind: 'neighborAdvert', flags: 0x6000_0000, target: ip6(target) },
    options: [{ kind: 'targetLinkLayer', mac: mac(tll) }],
  });

const SESSIONS: readonly (readonly [string, Layer4, ...(readonly Heard[])])[] = [
  ['BGP to us', tcp(40_000, 179), 'neighbour', 'far', 'quiet'],
  ['BGP from its server', tcp(179, 40_000), 'neighbour', 'far', 'quiet'],
  ['BFD', udp(49_152, 3784), 'neighbour', 'far', 'probed'],
  ['BFD echo', udp(49_152, 3785), 'neighbour', 'far', 'probed'],
  ['multihop BFD', udp(49_152, 4784), 'far'],
];
/** Who says it by the wire, with the addresses of either version; the last are of no peer of this router port. */
const SOURCES = {
  neighbour: ['192.0.2.1', '2001:db8:f::1'],
  far: [FAR, FAR6],
  quiet: [QUIET],
  probed: [PROBED, PROBED6],
  stranger: ['198.51.100.200', '2001:db8:9::200', '192.0.2.3', '2001:db8:f::3', '198.51.100.10'],
} as const;
type Heard = keyof typeof SOURCES;
export const fromWire = (packet: Partial<Packet>): Uint8Array => frame(UPSTREAM, own, packet);
const fromSpeaker = (packet: Partial<Packet>, as = own): Uint8Array => frame(as, UPSTREAM, packet);
const tag = { vlans: [{ tpid: 0x8100, vid: 7, pcp: 0, dei: false }] };

export const SAID: readonly Said[] = [
  ...SESSIONS.flatMap(([what, l4, ...heardOf]): Said[] => [
    ...Object.entries(SOURCES).flatMap(([who, sources]) =>
      sources.flatMap((src) => {
        const to = src.includes(':') ? '2001:db8:f::2' : '192.0.2.2';
        const isHeard = heardOf.includes(who as Heard);
        return [255, 254].map(
          (ttl): Said => ({
            ...{ what: `${what} of ${who} ${src}, TTL ${ttl}`, by: 'wire', bytes: fromWire(ip(src, to, l4, ttl)) },
            to: isHeard && (ttl === 255 || !/^BFD/.test(what)) ? ['speaker'] : [],
          }),
        );
      }),
    ),
    { what: `${what}, said`, by: 'speaker', bytes: fromSpeaker(ip('192.0.2.2', '192.0.2.1', l4)), to: ['wire'] },
    {
      what: `${what}, said, IPv6`,
      by: 'speaker',
      bytes: fromSpeaker(ip('2001:db8:f::2', '2001:db8:f::1', l4)),
      to: ['wire'],
    },
    { what: `${what} as another`, by: 'speaker', bytes: fromSpeaker(ip('192.0.2.4', '192.0.2.1', l4)), to: [] },
    {
      what: `${what} by another MAC`,
      by: 'speaker',
      bytes: fromSpeaker(ip('192.0.2.2', '192.0.2.1', l4), UPSTREAM),
      to: [],
    },
    { what: `${what} tagged`, by: 'wire', bytes: fromWire({ ...ip('192.0.2.1', '192.0.2.2', l4), ...tag }), to: [] },
    { what: `${what} to another address`, by: 'wire', bytes: fromWire(ip('192.0.2.1', '10.0.1.1', l4)), to: [] },
    { what: `${what} through the router`, by: 'wire', bytes: fromWire(ip('192.0.2.1', '10.0.1.11', l4)), to: ['a'] },
    {
      ...{ what: `${what} of a workload inside`, by: 'a', to: [] },
      bytes: frame(ups.a.mac, ups.toInside.mac, ip('10.0.1.11', '192.0.2.2', l4)),
    },
    {
      ...{ what: `${what} of a workload on the uplink`, by: 'b', to: [] },
      bytes: frame(ups.b.mac, own, ip('192.0.2.4', '192.0.2.2', l4)),
    },
  ]),
  {
    what: 'BGP to the link-local address',
    by: 'wire',
    bytes: fromWire(ip('fe80::1', linkLocal, tcp(1, 179))),
    to: [],
  },
  {
    what: 'BGP of a peer to the link-local address',
    by: 'wire',
    bytes: fromWire(ip('2001:db8:f::1', linkLocal, tcp(1, 179))),
    to: ['speaker'],
  },
  { what: 'other TCP', by: 'wire', bytes: fromWire(ip('192.0.2.1', '192.0.2.2', tcp(1, 22))), to: [] },
  { what: 'other UDP', by: 'wire', bytes: fromWire(ip('192.0.2.1', '192.0.2.2', udp(3784, 53))), to: [] },
  { what: 'an ARP reply', by: 'wire', bytes: fromWire(arp(2, UPSTREAM, '192.0.2.1', '192.0.2.2')), to: ['speaker'] },
  { what: 'an ARP request', by: 'wire', bytes: fromWire(arp(1, UPSTREAM, '192.0.2.1', '192.0.2.2')), to: ['wire'] },
  {
    ...{ what: 'a neighbour advertisement', by: 'wire', to: ['speaker'] },
    bytes: fromWire(advert('2001:db8:f::1', '2001:db8:f::2', '2001:db8:f::1', UPSTREAM)),
  },
  {
    ...{ what: 'an ARP reply of a workload', by: 'b', to: [] },
    bytes: frame(ups.b.mac, own, arp(2, ups.b.mac, '192.0.2.4', '192.0.2.2')),
  },
  { what: 'ARP, said', by: 'speaker', bytes: fromSpeaker(arp(1, own, '192.0.2.2', '192.0.2.1')), to: ['wire'] },
  { what: 'ARP as another', by: 'speaker', bytes: fromSpeaker(arp(1, own, '192.0.2.4', '192.0.2.1')), to: [] },
  { what: 'ARP of another MAC', by: 'speaker', bytes: fromSpeaker(arp(1, UPSTREAM, '192.0.2.2', '192.0.2.1')), to: [] },
  {
    ...{ what: 'a neighbour solicitation, said', by: 'speaker', to: ['wire'] },
    bytes: fromSpeaker(solicit('2001:db8:f::2', '2001:db8:f::1', own)),
  },
  {
    ...{ what: 'a neighbour solicitation as another', by: 'speaker', to: [] },
    bytes: fromSpeaker(solicit('2001:db8:f::4', '2001:db8:f::1', own)),
  },
  {
    ...{ what: 'a neighbour advertisement, said', by: 'speaker', to: ['wire'] },
    bytes: fromSpeaker(advert('2001:db8:f::2', '2001:db8:f::1', '2001:db8:f::2', own)),
  },
  {
    ...{ what: 'a neighbour advertisement about another', by: 'speaker', to: [] },
    bytes: fromSpeaker(advert('2001:db8:f::2', '2001:db8:f::1', '2001:db8:f::4', own)),
  },
  {
    what: 'DNS of the daemon',
    by: 'speaker',
    bytes: fromSpeaker(ip('192.0.2.2', '192.0.2.1', udp(40_000, 53))),
    to: [],
  },
];
