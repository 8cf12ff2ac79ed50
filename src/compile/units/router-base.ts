import type { Ip } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { type Action, type FieldRange, type Masked, type Match, OFPP } from '../../openflow/flow.ts';
import { toAgent } from '../facts.ts';
import {
  IPV4,
  IPV6,
  load,
  match,
  move,
  NEXT_HOP,
  NEXT_HOP_4,
  NOT_LATER_FRAGMENT,
  PROTO,
  REGISTERS,
  set,
} from '../fields.ts';
import { flow } from '../flow-sink.ts';
import type { Reader } from '../inputs.ts';
import { TABLES } from '../tables.ts';
import { ecmpBase } from './ecmp.ts';

/**
 * Flows that all routers share (docs/design/layer3.md, §6): what they ask is in registers, whichever router it is.
 *
 *   lookup, tunnel ─▶ routerIn ─┬─(sourceCheck)────────▶ inChain ─▶ inVerdict ─▶ own ─▶ ttl ─▶ policy ─▶ route ─▶ ecmp
 *                        ▲      └(prefilter)▶ anchor ─▲                            └(answers)─▲    │       │       │
 *                        │                                                                        ▼       ▼       ▼
 *                        └─resubmit(peer)─ leave ◀──────────────────────────── outVerdict ◀── outChain ◀──┴───────┘
 *                                            │
 *                                            ├(outside)─▶ snat ─▶ snatted ─▼
 *                                            └──────────────────────────▶ next ─▶ arrive ─resubmit─▶ lookup (of the next switch)
 *                                                                          └resubmit─▶ resolve
 */

/** Odd ones: of what another host's pre-filters have let through. */
export const ROUTER_IN = { down: 300, usedUp: 200, larger: 160, outside: 150, checked: 120, up: 100 } as const;
export const ANCHOR = { tooBig: 1000, own: 100 } as const;
/** What stands above `address` is asked of packets that came there. */
export const OWN = {
  knownOnly: 600,
  echo: 400,
  agent: 300,
  rest: 200,
  arrived: 170,
  answer: 160,
  address: 100,
} as const;
export const LEAVE = { tooBig: 1000 } as const;
export const TTL = { over: 100 } as const;
export const ARRIVE = { unknown: 300, tag: 200, known: 100 } as const;
const POLICY = { linkLocal: 60_000 } as const;

/** A destination, of either version. */
export function addressedTo(ip: Ip): Match {
  return ip.version === 4 ? { ...IPV4, ip_dst: ip.value } : { ...IPV6, ipv6_dst: ip.value };
}

const WHOLE_IP6 = { from: 0, bits: 128 } as const;
const WHOLE_IP4 = { from: 0, bits: 32 } as const;

/** The IPv4 address in a field becomes the next hop. */
export function nextHopFrom4(field: 'ip_dst' | 'arp_tpa'): Action[] {
  return [set('xxreg2', 0n), move({ field, ...WHOLE_IP4 }, NEXT_HOP_4)];
}

export function nextHopFrom6(field: 'ipv6_dst' | 'nd_target'): Action[] {
  return [move({ field, ...WHOLE_IP6 }, NEXT_HOP)];
}

/** Asks `resolve` for the MAC of the next hop: afterwards the scratch MAC is it, or 0. */
export const askForMac: readonly Action[] = [
  ...load({ scratchMacLow: 0, scratchMacHigh: 0 }),
  { kind: 'resubmit', table: TABLES.resolve.number },
];

/** fe80::/10 (RFC 4291 §2.5.6). */
const LINK_LOCAL: Masked = { value: 0x3fan << 118n, mask: 0x3ffn << 118n };

/** `hops` without its last bit, and without its first. */
const HOPS_BEFORE: FieldRange = { ...REGISTERS.hops, bits: 15 };
const HOPS_AFTER: FieldRange = { ...REGISTERS.hops, from: REGISTERS.hops.from + 1, bits: 15 };

/**
 * One router more. What comes back by the interface that it came from is sent all the same, so the packet forgets that interface; what
 * a router before this one made is from now on a packet like any other.
 */
export function enterRouter(): Action[] {
  return [
    move(HOPS_BEFORE, HOPS_AFTER),
    ...load({ routed: 1, own: 0 }),
    move(REGISTERS.routerPort, REGISTERS.enteredBy),
    { kind: 'load', value: OFPP.any & 0xffff, dst: { field: 'in_port', from: 0, bits: 16 } },
  ];
}

export function routerBase(reader: Reader): Contribution[] {
  return [
    ...inBase(),
    ...ownBase(reader),
    ...routeBase(reader),
    ...ecmpBase(),
    flow('outChain', 0, {}, { goto: 'leave' }),
    ...[IPV4, IPV6].flatMap((ip) => [
      // It is to leave by no port yet.
      flow('anchor', ANCHOR.tooBig, match({ tooBig: 1 }, ip), {
        do: [...load({ routerPort: 0 }), toAgent(reader, 'tooBig')],
        drop: 'too-big',
      }),
      flow('leave', LEAVE.tooBig, match({ tooBig: 1 }, ip), { do: [toAgent(reader, 'tooBig')], drop: 'too-big' }),
    ]),
    flow('snat', 0, {}, { goto: 'next' }),
    flow('snatted', 0, {}, { goto: 'next' }),
    flow('next', 0, {}, { do: askForMac, goto: 'arrive' }),
    ...arriveBase(reader),
  ];
}

function inBase(): Contribution[] {
  return [IPV4, IPV6].flatMap((ip) => [
    flow('routerIn', ROUTER_IN.usedUp, match({ hopsUsedUp: 1 }, ip), { drop: 'too-many-hops' }),
    flow('routerIn', ROUTER_IN.up, ip, { do: enterRouter(), goto: 'inChain' }),
  ]);
}

const ECHO_HOPS = 64;

/** Answers to those who ask the router itself (RFC 792, RFC 4443 §4). */
function ownBase(reader: Reader): Contribution[] {
  const own = { forRouter: 1 };
  const swap4 = [
    move({ field: 'ip_src', ...WHOLE_IP4 }, NEXT_HOP_4),
    move({ field: 'ip_dst', ...WHOLE_IP4 }, { field: 'ip_src', ...WHOLE_IP4 }),
    move(NEXT_HOP_4, { field: 'ip_dst', ...WHOLE_IP4 }),
  ];
  const swap6 = [
    move({ field: 'ipv6_src', ...WHOLE_IP6 }, NEXT_HOP),
    move({ field: 'ipv6_dst', ...WHOLE_IP6 }, { field: 'ipv6_src', ...WHOLE_IP6 }),
    move(NEXT_HOP, { field: 'ipv6_dst', ...WHOLE_IP6 }),
  ];
  const ttl = set('ip_ttl', ECHO_HOPS);
  // No conntrack has seen the answer: rules that ask for a state do not fit it.
  const isOwn = load({ own: 1, forRouter: 0, isNew: 0, isEstablished: 0, isRelated: 0, isReply: 0 });
  const echo4: Match = { ...IPV4, ip_proto: PROTO.icmp, ...NOT_LATER_FRAGMENT, icmp_type: 8 };
  const echo6: Match = { ...IPV6, ip_proto: PROTO.icmpv6, ...NOT_LATER_FRAGMENT, icmpv6_type: 128 };
  return [
    flow('own', OWN.echo, match(own, echo4), { do: [...swap4, set('icmp_type', 0), ttl, ...isOwn], goto: 'policy' }),
    flow('own', OWN.echo, match(own, echo6), {
      do: [...swap6, set('icmpv6_type', 129), ttl, ...isOwn],
      goto: 'policy',
    }),
    ...[IPV4, IPV6].flatMap((ip) => [
      flow('own', OWN.agent, match(own, { ...ip, ip_proto: PROTO.udp }), {
        do: [toAgent(reader, 'portUnreachable')],
        drop: 'own',
      }),
      flow('own', OWN.agent, match(own, { ...ip, ip_proto: PROTO.tcp }), {
        do: [toAgent(reader, 'reset')],
        drop: 'own',
      }),
    ]),
    flow('own', OWN.rest, match(own), { drop: 'own' }),
    flow('own', 0, {}, { goto: 'ttl' }),
    ...[IPV4, IPV6].flatMap((ip) =>
      [0, 1].map((hops) =>
        flow('ttl', TTL.over, { ...ip, ip_ttl: hops }, { do: [toAgent(reader, 'ttl')], drop: 'ttl' }),
      ),
    ),
    // The decrement asks for a match that says that it is IP: so it stands here and not with the port by which it leaves.
    ...[IPV4, IPV6].map((ip) => flow('ttl', 10, ip, { do: [{ kind: 'decTtl' }], goto: 'policy' })),
    flow('ttl', 0, {}, { goto: 'policy' }),
  ];
}

function routeBase(reader: Reader): Contribution[] {
  return [
    flow('inChain', 0, {}, { goto: 'own' }),
    flow('anchor', 0, {}, { drop: 'not-translated' }),
    // Only answers of the router itself go to such an address, by the way that the question came.
    flow(
      'policy',
      POLICY.linkLocal,
      { ...IPV6, ipv6_dst: LINK_LOCAL },
      { do: nextHopFrom6('ipv6_dst'), goto: 'outChain' },
    ),
    flow('policy', 0, {}, { goto: 'route' }),
    flow('route', 0, match({ reverse: 0, noErrors: 0 }), { do: [toAgent(reader, 'unreachable')], drop: 'no-route' }),
  ];
}

/** The next hop's MAC is known, or the agent asks for it while the packet waits. */
function arriveBase(reader: Reader): Contribution[] {
  const to: Action[] = [
    move(REGISTERS.scratchMacLow, { field: 'eth_dst', from: 0, bits: 32 }),
    move(REGISTERS.scratchMacHigh, { field: 'eth_dst', from: 32, bits: 16 }),
  ];
  const go = (table: 'tag' | 'lookup'): Action => ({ kind: 'resubmit', table: TABLES[table].number });
  return [
    flow('arrive', ARRIVE.unknown, match({ scratchMacLow: 0, scratchMacHigh: 0 }), {
      do: [toAgent(reader, 'resolve')],
      drop: 'no-neighbour',
    }),
    flow('arrive', ARRIVE.tag, match({ addTag: 1 }), { do: [...to, go('tag')] }),
    flow('arrive', ARRIVE.known, {}, { do: [...to, go('lookup')] }),
  ];
}
