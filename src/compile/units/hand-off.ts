import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { OFPP } from '../../openflow/flow.ts';
import { type BalancerFacts, balancerFacts, memberAddress } from '../balancers.ts';
import { type Copies, chunked } from '../chunks.ts';
import { wayTo } from '../facts.ts';
import { HAND_OFF, ipOf, load, match, NOT_LATER_FRAGMENT, PROTO, set } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { TRANSPORT } from '../listeners.ts';
import { TABLES } from '../tables.ts';
import { anchorOf, destinationUntouched, KNOWN, portsFacing, track, ZONE_KIND } from '../translation.ts';
import { ANCHOR, ANCHORED, outsideKey, through } from './anchor.ts';
import { TUNNEL } from './tunnel.ts';
import { forListener } from './vip.ts';

/**
 * TCP from outside in mid-connection, to a VIP whose slots have moved (docs/design/layer3.md, §8): who knows the connection has it.
 *
 *   slot ─▶ member ─ct─▶ anchored ─┬─▶ inChain                                       known
 *                                  ├─▶ member ─ct─▶ anchored ─▶ inChain              by another member here
 *                                  └─▶ tunnelOut ══▶ tunnel ─▶ … anchor ─▶ member …  by one elsewhere
 */

const SLOT = { handOff: 300 } as const;
const MEMBER = { handedOn: 310, handOff: 300 } as const;

/** Has begun before: of TCP anything but the SYN that begins. */
const IN_MID_CONNECTION = [
  { value: 0, mask: 0x002 },
  { value: 0x012, mask: 0x012 },
] as const;

function inMidConnection(version: 4 | 6): Match[] {
  const ip = ipOf(version);
  return IN_MID_CONNECTION.map((flags) => ({ ...ip, ip_proto: PROTO.tcp, tcp_flags: flags, ...NOT_LATER_FRAGMENT }));
}

/** The inner destination of what is handed to a host: 02:4e and the key of the balancer. */
function handOffMarker(key: number): number {
  return 0x024e * 0x1_0000_0000 + key;
}

function hasTcp({ listeners }: BalancerFacts): boolean {
  return listeners.some(({ protocol }) => protocol === 'tcp');
}

interface Members {
  /** Keys of those that are here. */
  readonly here: readonly number[];
  /** Those elsewhere: how to get to each of their hosts. */
  readonly ways: readonly Action[];
  /** How many have an address, wherever they are. */
  readonly count: number;
}

/** All members with an address, whether they serve or not. */
const membersOf = define.cell<Members>({
  name: 'membersOf',
  run: (reader, id) => {
    const balancer = reader.derive(balancerFacts, id);
    const here: number[] = [];
    const ways = new Map<string, Action>();
    let count = 0;
    for (const { port } of reader.pick('loadBalancer', id, 'members') ?? []) {
      const key = reader.pick('port', port, 'key');
      if (balancer === undefined || key === undefined) continue;
      if (memberAddress(reader, port, balancer.vip.version) === undefined) continue;
      count++;
      const host = anchorOf(reader, port);
      const way = host === undefined ? undefined : reader.derive(wayTo, host);
      if (way === 'here') here.push(key);
      else if (way !== undefined) ways.set(host!, way);
    }
    return { here, ways: [...ways.values()], count };
  },
});

function meterOf(reader: Reader): number | undefined {
  return reader.pick('self', 'self', 'meters')?.handOff;
}

/** Is there anyone beside the member that has the slot who may know the connection, and who may be asked? */
const handsOn = define.cell<boolean>({
  name: 'handsOn',
  run: (reader, id) => meterOf(reader) !== undefined && reader.derive(membersOf, id).count > 1,
});

/** Through the meter, to these members here, and to all elsewhere. */
function handOn(meter: number, balancer: BalancerFacts, here: readonly number[], ways: readonly Action[]): Copies {
  const copies = [...here.map(askHere), ...ways.map((way) => handOver(balancer, way))];
  if (copies.length === 0) return { copies: [], last: { drop: 'unknown-connection' } };
  return { first: [{ kind: 'meter', meter }], copies: copies.map((copy) => [copy]) };
}

function askHere(member: number): Action {
  const asked = load({ memberVip: 1, handOff: HAND_OFF.was, member });
  return { kind: 'clone', actions: [...asked, { kind: 'resubmit', table: TABLES.member.number }] };
}

/** The one way from a tunnel into a tunnel: what comes out of it with this marker goes into none. */
function handOver({ key }: BalancerFacts, way: Action): Action {
  const actions: Action[] = [
    ...load({ fromTunnel: 0 }),
    { kind: 'load', value: OFPP.any & 0xffff, dst: { field: 'in_port', from: 0, bits: 16 } },
    set('eth_dst', handOffMarker(key)),
    ...through(way),
    { kind: 'resubmit', table: TABLES.tunnelOut.number },
  ];
  return { kind: 'clone', actions };
}

/** Where no member serves: known connections have theirs still. */
export function handOnFromSlot(reader: Reader, id: string, balancer: BalancerFacts): Contribution[] {
  if (!hasTcp(balancer) || balancer.router === undefined) return [];
  const { here, ways, count } = reader.derive(membersOf, id);
  const meter = meterOf(reader);
  if (meter === undefined || count === 0) return [];
  const of = { balancer: balancer.key, memberVip: 1 };
  const copies = handOn(meter, balancer, here, ways);
  return inMidConnection(balancer.vip.version).flatMap((fields) =>
    chunked('slot', SLOT.handOff, match(of, fields), copies),
  );
}

/** At the host of a member: its zone is asked; what that does not know is for `toOthers`. */
export function handOnFromMember(
  reader: Reader,
  id: string,
  balancer: BalancerFacts,
  member: number,
  zone: number,
): Contribution[] {
  if (!hasTcp(balancer)) return [];
  const to = { memberVip: 1, member };
  const ask: Action[] = [{ kind: 'ctClear' }, track('anchored', zone + ZONE_KIND.vip, KNOWN)];
  const ip = ipOf(balancer.vip.version);
  const handedOn = flow('member', MEMBER.handedOn, match({ ...to, handOff: HAND_OFF.was }, ip), { do: ask });
  if (!reader.derive(handsOn, id)) return [handedOn];
  const of = { ...to, balancer: balancer.key, handOff: 0 };
  return [
    handedOn,
    ...inMidConnection(balancer.vip.version).map((fields) =>
      flow('member', MEMBER.handOff, match(of, fields), { do: [...load({ handOff: HAND_OFF.may }), ...ask] }),
    ),
  ];
}

/** One list for all members here, not one for each without itself: these were n lists of n. So the one that does not know it is asked once more, if it is not alone. */
function toOthers(reader: Reader, id: string, balancer: BalancerFacts): Contribution[] {
  const meter = meterOf(reader);
  if (meter === undefined || !reader.derive(handsOn, id)) return [];
  const { here, ways } = reader.derive(membersOf, id);
  return chunked(
    'anchored',
    ANCHORED.handOff,
    match(
      { memberVip: 1, balancer: balancer.key, handOff: HAND_OFF.may },
      { ...ipOf(balancer.vip.version), ...destinationUntouched },
    ),
    handOn(meter, balancer, here.length === 1 ? [] : here, ways),
  );
}

/** What members here do not know is handed on; of what another host has handed on every member here is asked. */
export const handOffUnit = define.unit({
  name: 'handOff',
  over: 'loadBalancer',
  run(reader, id) {
    const balancer = reader.derive(balancerFacts, id);
    const router = balancer?.router === undefined ? undefined : outsideKey(reader, balancer.router);
    if (balancer === undefined || router === undefined) return [];
    const { here } = reader.derive(membersOf, id);
    if (here.length === 0 || !hasTcp(balancer)) return [];
    const { outside } = reader.derive(portsFacing, balancer.router!);
    const entrances = outside.map(({ key }) =>
      flow(
        'tunnel',
        TUNNEL.fits,
        { tun_id: BigInt(key), eth_dst: handOffMarker(balancer.key) },
        { do: load({ fromTunnel: 1, handOff: HAND_OFF.was, router, routerPort: key }), goto: 'routerIn' },
      ),
    );
    const asked = balancer.listeners.flatMap((listener) => {
      const { proto } = TRANSPORT[listener.protocol];
      if (proto !== PROTO.tcp) return [];
      return IN_MID_CONNECTION.flatMap((flags) =>
        chunked(
          'anchor',
          ANCHOR.handedOn,
          match(
            { router, handOff: HAND_OFF.was },
            { ...forListener(balancer, listener), tcp_flags: flags, ...NOT_LATER_FRAGMENT },
          ),
          { copies: here.map((key) => [askHere(key)]) },
        ),
      );
    });
    return [...toOthers(reader, id, balancer), ...entrances, ...asked];
  },
});

/** Packets with the marker that are not what it is for; and of those that are, what a member does not know. */
export function handOffBase(): Contribution[] {
  const handedOn = match({ handOff: HAND_OFF.was });
  return [
    flow('anchor', ANCHOR.strayed, handedOn, { drop: 'unknown-connection' }),
    flow('anchored', ANCHORED.handOff, { ...handedOn, ...destinationUntouched }, { drop: 'unknown-connection' }),
  ];
}
