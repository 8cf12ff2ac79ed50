import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { OFPP } from '../../openflow/flow.ts';
import { areSlotsShared, type BalancerFacts, balancerFacts, clientSwitches } from '../balancers.ts';
import { localSwitch, toAgent } from '../facts.ts';
import {
  CT_FLAGS,
  load,
  match,
  move,
  moveMacToScratch,
  moveScratchToMac,
  PROTO,
  REGISTERS,
  type Registers,
  set,
  TRACKED_FLAGS,
} from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { atMembers, type Listener, type MemberPort, TRANSPORT } from '../listeners.ts';
import { destinationUnknown, KNOWN, later, loose, track, zoneOf } from '../translation.ts';
import { addressedTo, nextHopFrom4, nextHopFrom6 } from './router-base.ts';
import { DHCP, TRACKED } from './track.ts';

/**
 * Virtual addresses as clients on the inside reach them (docs/design/layer3.md, §3.1): translated in a zone of the client's port.
 *
 *   vip ─▶ slot ─▶ member ─ct─▶ vip (viaVip) ─▶ resolve ─▶ track …                      … toCommit ─▶ fromVip ─ct─▶ deliver
 */
export const VIP = {
  emptyIcmp: 951,
  empty: 950,
  selfCall: 940,
  untouched: 910,
  translated: 900,
  dhcp: 430,
  selfAsk: 420,
  selfAnswer: 410,
  loose: 400,
  later: 320,
  echo: 350,
  listener: 300,
  icmp: 200,
} as const;

/**
 * Bits of a packet that choose its slot: of the source port all but the lowest (many clients count in twos), or of the source address, which is
 * all that later fragments have. Where all slots are one member's none are looked at: each value of them would be a megaflow.
 */
export function chooseSlot(
  reader: Reader,
  id: string,
  balancer: BalancerFacts,
  listener: Listener | undefined,
): Action[] {
  if (!reader.derive(areSlotsShared, id)) return [];
  const bits = balancer.slotBits;
  const slot = { ...REGISTERS.slot, bits };
  if (balancer.sticky === 'source' || listener === undefined)
    return [move({ field: balancer.vip.version === 4 ? 'ip_src' : 'ipv6_src', from: 0, bits }, slot)];
  return [move({ field: TRANSPORT[listener.protocol].src, from: 1, bits }, slot)];
}

export function forListener({ vip }: BalancerFacts, { protocol, port }: Listener): Match {
  const { proto, dst } = TRANSPORT[protocol];
  return { ...addressedTo(vip), ip_proto: proto, [dst]: port };
}

export function echoRequest(version: 4 | 6): Match {
  return version === 4
    ? { ip_proto: PROTO.icmp, ip_frag: 0, icmp_type: 8 }
    : { ip_proto: PROTO.icmpv6, ip_frag: 0, icmpv6_type: 128 };
}

export const vipUnit = define.unit({
  name: 'vip',
  over: 'loadBalancer',
  run(reader, id) {
    const balancer = reader.derive(balancerFacts, id);
    if (balancer === undefined) return [];
    const keys = clientSwitches(reader, balancer).flatMap((id) => reader.derive(localSwitch, id)?.key ?? []);
    if (keys.length === 0) return [];
    return [...keys.flatMap((key) => fromSwitch(reader, id, balancer, key)), untranslated(balancer)];
  },
});

/** Behind `tracked`: conntrack made nothing of it in the zone of VIPs, so it is for the VIP still. */
function untranslated({ key, vip }: BalancerFacts): Contribution {
  const left = match({ viaVip: 1, balancer: key }, addressedTo(vip));
  return flow('tracked', TRACKED.untouched, left, {
    do: [...load({ viaVip: 0 }), move(CT_FLAGS, TRACKED_FLAGS)],
    goto: 'fromGroup',
  });
}

function fromSwitch(reader: Reader, id: string, balancer: BalancerFacts, key: number): Contribution[] {
  const at = { switch: key, inTracked: 1 };
  const { version } = balancer.vip;
  const isIcmp = icmpOf(version);
  const choose = (memberPort: MemberPort, listener?: Listener): FlowTarget => ({
    do: [
      ...zoneOf('inZone', 'vip', { viaVip: 1, balancer: balancer.key, ...atMembers(memberPort) }),
      ...chooseSlot(reader, id, balancer, listener),
    ],
    goto: 'slot',
  });
  const ask = (more: Registers = {}): FlowTarget => ({
    do: [...zoneOf('inZone', 'vip', { viaVip: 1, ...more }), track('vip', undefined, KNOWN)],
  });
  const { onlyMemberPort: only } = balancer;
  return [
    flow('vip', VIP.loose, match(at, { ...addressedTo(balancer.vip), ...loose }), {
      do: [...zoneOf('inZone', 'fragments'), track('vip')],
    }),
    flow('vip', VIP.echo, match({ switch: key }, { ...addressedTo(balancer.vip), ...echoRequest(version) }), {
      do: echoReply(version),
      drop: 'answered',
    }),
    ...balancer.listeners.map((listener) =>
      flow('vip', VIP.listener, match(at, forListener(balancer, listener)), choose(listener.memberPort, listener)),
    ),
    ...(takesDhcp(balancer)
      ? [flow('vip', VIP.dhcp, match(at, { ...addressedTo(balancer.vip), ...DHCP[version] }), { goto: 'track' })]
      : []),
    flow(
      'vip',
      VIP.later,
      match(at, { ...addressedTo(balancer.vip), ...later }),
      only === undefined ? ask() : choose(only),
    ),
    // Errors about connections, also those of a member with itself; whatever else it may be is left as it was.
    flow(
      'vip',
      VIP.icmp,
      match(at, { ...addressedTo(balancer.vip), ...isIcmp }),
      ask({ balancer: balancer.speakerKey }),
    ),
  ];
}

/** Does a listener take what conntrack is not asked about, and what therefore is not translated? */
function takesDhcp({ vip: { version }, listeners }: BalancerFacts): boolean {
  const server = DHCP[version].udp_dst;
  return listeners.some(({ protocol, port }) => {
    const { value, mask } = typeof port === 'number' ? { value: port, mask: 0xffff } : port;
    return protocol === 'udp' && (server & Number(mask)) === Number(value);
  });
}

/** The request becomes its reply and goes back where it came from (RFC 792, RFC 4443 §4.2). */
function echoReply(version: 4 | 6): Action[] {
  const mac = { from: 0, bits: 48 } as const;
  const ip = { from: 0, bits: version === 4 ? 32 : 128 } as const;
  const [src, dst] = version === 4 ? (['ip_src', 'ip_dst'] as const) : (['ipv6_src', 'ipv6_dst'] as const);
  const keep = version === 4 ? nextHopFrom4('ip_dst') : nextHopFrom6('ipv6_dst');
  const kept = version === 4 ? ({ field: 'reg11', ...ip } as const) : ({ field: 'xxreg2', ...ip } as const);
  return [
    ...moveMacToScratch('eth_dst'),
    move({ field: 'eth_src', ...mac }, { field: 'eth_dst', ...mac }),
    ...moveScratchToMac('eth_src'),
    ...keep,
    move({ field: src, ...ip }, { field: dst, ...ip }),
    move(kept, { field: src, ...ip }),
    version === 4 ? set('icmp_type', 0) : set('icmpv6_type', 129),
    set('ip_ttl', 64),
    { kind: 'output', port: OFPP.inPort },
  ];
}

/** What a balancer without members says: known connections still have theirs. */
export function refuse(reader: Reader, { onEmpty }: Pick<BalancerFacts, 'onEmpty'>): FlowTarget {
  return onEmpty === 'drop' ? { drop: 'no-member' } : { do: [toAgent(reader, 'reject')], drop: 'rejected' };
}

/** In `vip`, after the zone was asked and the balancer had no member to offer. ICMP asks for none. */
export function refuseUnknown(reader: Reader, { key, vip, onEmpty }: BalancerFacts): Contribution[] {
  const unknown = match({ viaVip: 1, balancer: key }, { ...addressedTo(vip), ...destinationUnknown });
  return [
    flow('vip', VIP.empty, unknown, refuse(reader, { onEmpty })),
    flow('vip', VIP.emptyIcmp, { ...unknown, ...icmpOf(vip.version) }, { do: load({ viaVip: 0 }), goto: 'track' }),
  ];
}

function icmpOf(version: 4 | 6): Match {
  return { ip_proto: version === 4 ? PROTO.icmp : PROTO.icmpv6 };
}

/**
 * The packet goes straight to the port that it came from: `lookup` asks nothing of it (`LOOKUP.self`), since others may use that port's MAC
 * too. As one that a router has sent it may leave by the interface by which it came in.
 */
export const backToSender: readonly Action[] = [
  move({ field: 'in_port', from: 0, bits: 16 }, REGISTERS.outOfport),
  move(REGISTERS.inPort, REGISTERS.outPort),
  move(REGISTERS.inZone, REGISTERS.outZone),
  ...load({ outTracked: 1, routed: 1 }),
  { kind: 'load', value: OFPP.any & 0xffff, dst: { field: 'in_port', from: 0, bits: 16 } },
];
