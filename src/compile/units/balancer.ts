import type { Ip } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Masked, Match, Nat } from '../../openflow/flow.ts';
import {
  type BalancerFacts,
  balancerFacts,
  clientSwitches,
  keptClients,
  memberAddress,
  sharersOf,
  slotsOf,
} from '../balancers.ts';
import { setCover } from '../bits.ts';
import { localSwitch, wayTo } from '../facts.ts';
import { CT_MARK, ipOf, load, match, move, PROTO, REGISTERS, type Registers, set } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, membershipIndex, type Reader } from '../inputs.ts';
import { atMembers, type MemberPort, TRANSPORT } from '../listeners.ts';
import { beginLimit, type Limit } from '../meters.ts';
import { macOf } from '../owned.ts';
import { TABLES } from '../tables.ts';
import { meetsKnownOnly } from '../tracking.ts';
import {
  anchorOf,
  answering,
  destinationTranslated,
  destinationUnknown,
  fromAddress,
  KNOWN,
  natTo,
  portsFacing,
  track,
  translate,
  translateInPlace,
  untracked,
  ZONE_KIND,
  zoneOf,
} from '../translation.ts';
import { ANCHORED, isFull } from './anchor.ts';
import { handOnFromMember, handOnFromSlot } from './hand-off.ts';
import { addressedTo } from './router-base.ts';
import { TRACKED } from './track.ts';
import { TUNNEL } from './tunnel.ts';
import { backToSender, refuse, refuseUnknown, VIP } from './vip.ts';

/** Which member has a slot, and how its packets get there (docs/design/layer3.md, §8): the same flows for clients inside and outside. */
const SLOT = { kept: 400, some: 200, knownOnly: 150, rest: 100 } as const;
export const MEMBER = { closed: 300, knownOnly: 220, udp: 210, asked: 205, here: 200, elsewhere: 100 } as const;

/**
 * Slots that differ in their last bits only and lead to one member are one flow; the member with the most such flows has one for all the
 * slots that no other has.
 */
export const slotsUnit = define.unit({
  name: 'slots',
  over: 'loadBalancer',
  run(reader, id) {
    const balancer = reader.derive(balancerFacts, id);
    if (balancer === undefined) return [];
    const of = { balancer: balancer.key };
    const slots = reader.derive(slotsOf, id);
    if (slots.length === 0) return [...nobody(reader, balancer), ...handOnFromSlot(reader, id, balancer)];
    const byMember = new Map<number, number[]>();
    for (const [slot, member] of slots.entries()) {
      const own = byMember.get(member);
      if (own === undefined) byMember.set(member, [slot]);
      else own.push(slot);
    }
    const covers = [...byMember].map(([member, own]) => ({ member, blocks: setCover(own, balancer.slotBits) }));
    const rest = covers.reduce((most, one) => (one.blocks.length > most.blocks.length ? one : most));
    const flows = [flow('slot', SLOT.rest, match(of), { do: load({ member: rest.member }), goto: 'member' })];
    for (const { member, blocks } of covers) {
      if (member === rest.member) continue;
      for (const block of blocks)
        flows.push(
          flow('slot', SLOT.some, match({ ...of, slot: block as Masked }), { do: load({ member }), goto: 'member' }),
        );
    }
    return flows;
  },
});

/** Clients whose slots lead elsewhere than to the member that they keep: before the slots are asked, and before the hand-off where nobody has any. */
export const keptClientsUnit = define.unit({
  name: 'keptClients',
  over: 'loadBalancer',
  run(reader, id) {
    const balancer = reader.derive(balancerFacts, id);
    if (balancer === undefined) return [];
    return reader.derive(keptClients, id).map(({ address, member }) =>
      flow('slot', SLOT.kept, match({ balancer: balancer.key }, fromAddress(address)), {
        do: load({ member }),
        goto: 'member',
      }),
    );
  },
});

function nobody(reader: Reader, balancer: BalancerFacts): Contribution[] {
  const of = { balancer: balancer.key };
  return [
    flow('slot', SLOT.some, match({ ...of, viaVip: 1, memberVip: 0 }, ipOf(balancer.vip.version)), {
      do: [...(keepsPort(balancer) ? load({ keepPort: 0 }) : []), track('vip', undefined, KNOWN)],
    }),
    ...refuseUnknown(reader, balancer),
    ...(meetsKnownOnly(reader)
      ? [flow('slot', SLOT.knownOnly, match({ ...of, knownOnly: 1 }), { goto: 'unknown' })]
      : []),
    flow('slot', SLOT.rest, match(of), refuse(reader, balancer)),
  ];
}

function keepsPort({ listeners }: BalancerFacts): boolean {
  return listeners.some(({ memberPort }) => memberPort === 'asked');
}

/** The inner destination of a packet for a member whose host is another: 02:4d and the key of its port. */
export function markerOf(key: number): number {
  return 0x024d * 0x1_0000_0000 + key;
}

/** A balancer and one of its members. */
export const memberUnit = define.unit({
  name: 'member',
  over: membershipIndex,
  run(reader, membership) {
    const slash = membership.indexOf('/');
    const [id, port] = [membership.slice(0, slash), membership.slice(slash + 1)];
    const balancer = reader.derive(balancerFacts, id);
    const member = reader.pick('port', port, 'key');
    const address = balancer && memberAddress(reader, port, balancer.vip.version);
    if (balancer === undefined || member === undefined || address === undefined) return [];
    const memberPorts = [...new Set(balancer.listeners.map(({ memberPort }) => memberPort))];
    return [
      ...fromInside(reader, balancer, member, address, memberPorts),
      ...selfCall(reader, balancer, port, member, address),
      ...selfAnswer(reader, { ...balancer, id }, port, member),
      ...fromOutside(reader, { ...balancer, id }, port, member, address, memberPorts),
    ];
  },
});

function fromInside(
  reader: Reader,
  balancer: BalancerFacts,
  member: number,
  address: Ip,
  memberPorts: readonly MemberPort[],
): Contribution[] {
  if (!clientSwitches(reader, balancer).some((id) => reader.derive(localSwitch, id) !== undefined)) return [];
  return memberPorts.map((memberPort) => {
    const chosen = match({ viaVip: 1, memberVip: 0, member, ...atMembers(memberPort) }, ipOf(address.version));
    return flow('member', MEMBER.here, chosen, { do: translateAndTrack(toMember(address, memberPort), memberPort) });
  });
}

/** Without a port conntrack keeps the one that was asked for. */
function toMember(address: Ip, memberPort: MemberPort): Nat {
  return memberPort === 'asked' ? natTo('dst', address) : natTo('dst', address, memberPort);
}

/**
 * The member's address, and then what the zone of the client's port knows of the connection to the member, in one pass. How the member was
 * found is forgotten before: megaflows behind it are the same for all slots.
 */
function translateAndTrack(nat: Nat, memberPort: MemberPort): Action[] {
  return [
    { kind: 'ctClear' },
    translateInPlace(nat, true),
    ...load({ slot: 0, natZone: 0, member: 0, ...nowhere(memberPort) }),
    { kind: 'ct', zone: REGISTERS.inZone, table: TABLES.tracked.number },
  ];
}

/** The registers of a member's port when they have served. */
function nowhere(memberPort: MemberPort): Registers {
  return memberPort === 'asked' ? { memberPort: 0, keepPort: 0 } : { memberPort: 0 };
}

/** Is the member here, where its VIP is translated for it? */
function maySelfCall(reader: Reader, balancer: BalancerFacts, port: string): boolean {
  if (reader.pick('interface', port, 'ofport') === undefined) return false;
  return clientSwitches(reader, balancer).includes(reader.pick('port', port, 'switch')!);
}

/** A member that calls itself would see its own address as the source, and answer past us. */
function selfCall(reader: Reader, balancer: BalancerFacts, port: string, member: number, address: Ip): Contribution[] {
  if (!maySelfCall(reader, balancer, port)) return [];
  const who = { viaVip: 1, inPort: member };
  // Errors about such calls are asked for in the name of all that share the VIP.
  const keys = [...new Set([balancer.key, balancer.speakerKey])];
  const target = {
    do: [
      set('eth_dst', macOf(reader.pick('port', port, 'mac')!)),
      ...zoneOf('inZone', 'selfCall'),
      ...backToSender,
      ...translate('vip', undefined, natTo('src', balancer.vip), CT_MARK.viaVip),
    ],
  };
  return [
    ...keys.map((key) =>
      flow(
        'vip',
        VIP.selfCall,
        match({ ...who, balancer: key }, { ...addressedTo(address), ...destinationTranslated }),
        target,
      ),
    ),
    // `routed`: it has been here before.
    flow(
      'tracked',
      TRACKED.selfCall,
      match({ ...who, balancer: balancer.key, routed: 0 }, addressedTo(address)),
      target,
    ),
  ];
}

/**
 * The answer of a member to itself is for the VIP, at a port that a range may have: the zone of the member's port is asked whether it is one, before it is
 * taken for a call.
 */
function selfAnswer(
  reader: Reader,
  balancer: BalancerFacts & { readonly id: string },
  port: string,
  member: number,
): Contribution[] {
  if (!maySelfCall(reader, balancer, port)) return [];
  const sharers = reader.derive(sharersOf, balancer.id);
  const ranged = new Set(sharers.flatMap((id) => [...(reader.derive(balancerFacts, id)?.rangedProtocols ?? [])]));
  const who = match({ inPort: member, inTracked: 1, viaVip: 0 });
  return [...ranged].flatMap((protocol) => {
    const to: Match = { ...who, ...addressedTo(balancer.vip), ip_proto: TRANSPORT[protocol].proto, ip_frag: 0 };
    return [
      flow('vip', VIP.selfAsk, { ...to, ...untracked }, { do: [...zoneOf('inZone', 'own'), track('vip')] }),
      flow('vip', VIP.selfAnswer, { ...to, ...answering }, { do: load({ natZone: 0 }), goto: 'tracked' }),
    ];
  });
}

/** Clients outside: the member's host keeps their connections, in the member's own zone. */
function fromOutside(
  reader: Reader,
  balancer: BalancerFacts & { readonly id: string },
  port: string,
  member: number,
  address: Ip,
  memberPorts: readonly MemberPort[],
): Contribution[] {
  const router = balancer.router === undefined ? undefined : reader.pick('router', balancer.router, 'key');
  if (router === undefined) return [];
  const { outside } = reader.derive(portsFacing, balancer.router!);
  if (outside.length === 0) return [];
  const to = { memberVip: 1, member };
  const host = anchorOf(reader, port);
  if (host === undefined) return [flow('member', MEMBER.elsewhere, match(to), { drop: 'not-bound' })];
  const way = reader.derive(wayTo, host);
  if (way === undefined) return [flow('member', MEMBER.elsewhere, match(to), { drop: 'no-tunnel' })];
  if (way !== 'here') {
    const key = { ...REGISTERS.routerPort, bits: 32 };
    return [
      flow('member', MEMBER.elsewhere, match(to), {
        do: [set('eth_dst', markerOf(member)), move(key, { field: 'tun_id', from: 0, bits: 32 }), way],
        goto: 'tunnelOut',
      }),
    ];
  }
  const zone = reader.pick('interface', port, 'zone');
  return [
    ...(zone === undefined ? [] : handOnFromMember(reader, balancer.id, balancer, member, zone)),
    ...(zone === undefined || !meetsKnownOnly(reader)
      ? []
      : [flow('member', MEMBER.knownOnly, match({ ...to, knownOnly: 1 }, ipOf(address.version)), { do: ask(zone) })]),
    flow(
      'member',
      MEMBER.here,
      match({ ...to, memberPort: KNOWN_ONLY }, ipOf(address.version)),
      zone === undefined ? { drop: 'not-translated' } : { do: ask(zone) },
    ),
    ...memberPorts.flatMap((memberPort) => begins(reader, balancer, member, memberPort, address, zone)),
    ...outside.map(({ key }) =>
      flow(
        'tunnel',
        TUNNEL.fits,
        { tun_id: BigInt(key), eth_dst: markerOf(member) },
        {
          do: load({ fromTunnel: 1, router, routerPort: key, member }),
          goto: 'routerIn',
        },
      ),
    ),
  ];
}

/** At the host of a member: known connections, and new ones as far as there may be any. */
function begins(
  reader: Reader,
  balancer: BalancerFacts & { readonly id: string },
  member: number,
  memberPort: MemberPort,
  address: Ip,
  zone: number | undefined,
): Contribution[] {
  // A member of several balancers may have limits by one of them.
  const to = { memberVip: 1, balancer: balancer.key, member, ...atMembers(memberPort) };
  const here = match(to, ipOf(address.version));
  // Above what is `KNOWN_ONLY`, which looks alike but for `keepPort`.
  const priority = memberPort === 'asked' ? MEMBER.asked : MEMBER.here;
  if (zone === undefined) return [flow('member', priority, here, { drop: 'not-translated' })];
  const forget = load({ slot: 0 });
  const received = receive(reader, balancer, memberPort, address, zone);
  if (received === undefined) return [flow('member', priority, here, { do: [...forget, ...ask(zone)] })];
  const { translated, udpLimit } = received;
  const udp = { ...ipOf(address.version), ip_proto: PROTO.udp };
  return [
    flow('member', priority, here, { do: [...forget, ...translated] }),
    // As for a floating address (units/anchor.ts).
    ...(udpLimit === undefined
      ? []
      : [
          ...udpLimit.meters,
          flow('member', MEMBER.udp, match({ ...to, admitted: 0 }, udp), { do: [...forget, ...ask(zone)] }),
          flow('anchored', ANCHORED.udp, match({ ...to, admitted: 0 }, { ...udp, ...destinationUnknown }), {
            do: [...udpLimit.pass, ...load({ admitted: 1 }), ...translated],
          }),
        ]),
  ];
}

/** How the zone of a member's port takes what may begin a connection; `udpLimit`: of UDP only what the limit lets pass, so what is known is asked for before. */
interface Received {
  readonly translated: Action[];
  readonly udpLimit: Limit | undefined;
}

/** Undefined where only known connections go on, since the zone is full. */
function receive(
  reader: Reader,
  balancer: BalancerFacts & { readonly id: string },
  memberPort: MemberPort,
  address: Ip,
  zone: number,
): Received | undefined {
  if (isFull(reader, balancer.id)) return undefined;
  const limit = beginLimit(reader, balancer.router!, 'loadBalancer', reader.derive(sharersOf, balancer.id)[0]!);
  const servesUdp = balancer.listeners.some((each) => each.protocol === 'udp' && each.memberPort === memberPort);
  return {
    translated: translate('anchored', zone + ZONE_KIND.vip, toMember(address, memberPort)),
    udpLimit: limit.pass.length > 0 && servesUdp ? limit : undefined,
  };
}

/**
 * What is done to a later fragment at a member here, known or not: as the flows of `member` say. Each member has a copy, which is tracked within its
 * `clone`: of one that only resubmits Open vSwitch makes no copy, and the zone of the next member would be asked of what the zone before has
 * left, which is nothing while it waits for others, and translated when it is its own.
 */
export function laterAt(
  reader: Reader,
  balancer: BalancerFacts & { readonly id: string },
  port: string,
  memberPort: MemberPort | undefined,
): readonly Action[] | undefined {
  const zone = reader.pick('interface', port, 'zone');
  const address = memberAddress(reader, port, balancer.vip.version);
  if (zone === undefined || address === undefined) return undefined;
  const received = memberPort === undefined ? undefined : receive(reader, balancer, memberPort, address, zone);
  // Over IPv6 a later fragment does not say its protocol, and no limit asks it.
  const isAsked = received?.udpLimit !== undefined && address.version === 4;
  return received === undefined || isAsked ? ask(zone) : received.translated;
}

/** What is known of connections to VIPs in the zones of a port. */
function ask(zone: number): Action[] {
  return [{ kind: 'ctClear' }, track('anchored', zone + ZONE_KIND.vip, KNOWN)];
}

/** As `memberPort`: there is none, only known connections go on. */
export const KNOWN_ONLY = 0;

/** Any marker. */
export const MARKED = { value: markerOf(0), mask: 0xffff_0000_0000 } as const;
