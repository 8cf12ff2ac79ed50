import { type Cidr, cidrContains, type Ip, parseCidr } from '../base/addresses.ts';
import type { Action, Masked, Match, Nat } from '../openflow/flow.ts';
import { narrow, prefixMatch } from './bits.ts';
import { selfHost } from './facts.ts';
import { CT_MARK, CT_STATE, IPV4, IPV6, load, move, REGISTERS, type Registers, set } from './fields.ts';
import { define, floatingIndex, leasesIndex, portsOfRouterIndex, type Reader } from './inputs.ts';
import { TABLES, type TableName } from './tables.ts';

/** What address translation is written in: zones, `ct` actions, and what units ask about it (docs/design/layer3.md, §7 and §8). */

/**
 * What each zone of an owner (a port, a router) is for; owners' zones are multiples of four. In the last one nothing is ever
 * remembered: it puts fragments together before ports are asked for, without mixing those of two owners.
 */
export const ZONE_KIND = { own: 0, vip: 1, selfCall: 2, fragments: 3 } as const;

/** Bits of `ct_state` beside those of `CT_STATE`: it was translated. */
const TRANSLATED = { source: 0x40, destination: 0x80 } as const;
const { tracked } = CT_STATE;

/** After a `ct` with `nat`: was the source (the destination) translated, now or as that of a known connection? */
export const sourceTranslated: Match = {
  ct_state: { value: tracked | TRANSLATED.source, mask: tracked | TRANSLATED.source },
};
export const sourceUntouched: Match = { ct_state: { value: tracked, mask: tracked | TRANSLATED.source } };
export const destinationTranslated: Match = {
  ct_state: { value: tracked | TRANSLATED.destination, mask: tracked | TRANSLATED.destination },
};
/** It could be translated, but was not: it is of no known connection. */
export const destinationUnknown: Match = {
  ct_state: { value: tracked, mask: tracked | CT_STATE.invalid | TRANSLATED.destination },
};
/** As `destinationUnknown`, or not to be made sense of: packets in mid-connection can be either. */
export const destinationUntouched: Match = {
  ct_state: { value: tracked, mask: tracked | TRANSLATED.destination },
};
export const untouched: Match = {
  ct_state: { value: tracked, mask: tracked | TRANSLATED.source | TRANSLATED.destination },
};

/** No zone was asked yet. */
export const untracked: Match = { ct_state: { value: 0, mask: tracked } };
/** Of the reply direction of a known connection. */
export const answering: Match = {
  ct_state: { value: tracked | CT_STATE.reply, mask: tracked | CT_STATE.reply | CT_STATE.invalid },
};

/**
 * Fragments that were not put together yet. Conntrack lets them go on when all are there: of the kernel as the whole packet that they were, of
 * the userspace datapath one by one again, first to last, and then those after the first have no ports, not even in `ct_tp_dst`. What the
 * last of them meets is done to all.
 */
export const loose: Match = { ip_frag: { value: 1, mask: 1 }, ...untracked };
/** Fragments after the first, with no more than addresses and a protocol (over IPv6 not even that). */
export const later: Match = { ip_frag: 3 };

/** `natZone` becomes a zone of the sender's (receiver's) port; other registers that are loaded go along. */
export function zoneOf(of: 'inZone' | 'outZone', kind: keyof typeof ZONE_KIND, more: Registers = {}): Action[] {
  return [move(REGISTERS[of], REGISTERS.natZone), ...load({ ...more, natZoneKind: ZONE_KIND[kind] })];
}

/** Asks a zone, and goes on at a table. Without `zone` the one in `natZone`. */
export function track(table: TableName, zone?: number, nat?: Nat): Action {
  return {
    kind: 'ct',
    zone: zone ?? REGISTERS.natZone,
    table: TABLES[table].number,
    ...(nat === undefined ? {} : { nat }),
  };
}

/** The packet is of a known connection of the zone, or not; if so it is translated as that is. */
export const KNOWN: Nat = {};

/** Translates: known connections as they are, others as `nat` says. Open vSwitch forgets what another pass through a zone has told. */
export function translate(table: TableName, zone: number | undefined, nat: Nat, mark?: number): Action[] {
  return [
    { kind: 'ctClear' },
    {
      ...(track(table, zone, nat) as Extract<Action, { kind: 'ct' }>),
      commit: true,
      ...(mark === undefined ? {} : { exec: [set('ct_mark', mark)] }),
    },
  ];
}

/**
 * Translates without a pass of its own: what follows in the same flow meets the packet as it is then, but no flow may match what the
 * translation changed before another pass.
 */
export function translateInPlace(nat: Nat, commit = false): Action {
  return { kind: 'ct', zone: REGISTERS.natZone, nat, ...(commit ? { commit } : {}) };
}

export function natTo(kind: 'src' | 'dst', ip: Ip, portMin?: number, portMax?: number): Nat {
  return {
    kind,
    ipMin: ip.value,
    ...(portMin === undefined ? {} : { portMin }),
    ...(portMax === undefined ? {} : { portMax }),
  };
}

/** A match on one bit of the mark of a connection. */
export function marked(mark: keyof typeof CT_MARK): Match {
  return { ct_mark: { value: CT_MARK[mark], mask: CT_MARK[mark] } };
}

/** A match on connections without one bit of the mark. */
export function unmarked(mark: keyof typeof CT_MARK): Match {
  return { ct_mark: { value: 0, mask: CT_MARK[mark] } };
}

/** Where `hold` goes back to (units/hold.ts), in the register of segments: no chain is run meanwhile. */
export const HELD_BACK = { answer: 1, snatted: 2, anchored: 3 } as const satisfies Partial<Record<TableName, number>>;

/** Beside it: the packet waits there, if it is a first reply. */
const HELD_PAUSE = 4;

/** For `hold`: where to go back to. */
export function heldSegment(back: keyof typeof HELD_BACK, isPaused: boolean): number {
  return HELD_BACK[back] + (isPaused ? HELD_PAUSE : 0);
}

/** Asks the zone of a router, and goes on behind `hold` for the port of an L2 gateway of whose connections another host is told. */
export function trackHeld(
  reader: Reader,
  port: string | undefined,
  back: 'snatted' | 'anchored',
  zone: number,
): Action[] {
  return [...noteHeld(reader, port, back, zone), { kind: 'ctClear' }, track(behind(reader, port, back), zone, KNOWN)];
}

/** Where what was asked goes on: at `back`, or there by way of `hold`. */
export function behind(reader: Reader, port: string | undefined, back: 'snatted' | 'anchored'): TableName {
  return port === undefined || reader.get('held', port) === undefined ? back : 'hold';
}

export function noteHeld(
  reader: Reader,
  port: string | undefined,
  back: 'snatted' | 'anchored',
  zone: number,
): Action[] {
  const isPaused = port === undefined ? undefined : reader.pick('held', port, 'isPaused');
  return isPaused === undefined ? [] : load({ segment: heldSegment(back, isPaused), natZone: zone });
}

export function from({ ip, prefix }: Cidr): Match {
  const source = prefixMatch(ip.value, prefix, ip.version === 4 ? 32 : 128);
  if (ip.version === 4) return source === undefined ? IPV4 : { ...IPV4, ip_src: source };
  return source === undefined ? IPV6 : { ...IPV6, ipv6_src: source };
}

/** Of these addresses those with such low bits; undefined where there are none. */
export function fromSome({ ip, prefix }: Cidr, low: Masked): Match | undefined {
  const all = 2n ** (ip.version === 4 ? 32n : 128n) - 1n;
  const ofNetwork = all ^ (all >> BigInt(prefix));
  const [value, mask] = [BigInt(low.value), BigInt(low.mask)];
  if (((BigInt(ip.value) ^ value) & ofNetwork & mask) !== 0n) return undefined;
  const fixed = { value: BigInt(ip.value) | value, mask: ofNetwork | mask };
  if (fixed.mask === ofNetwork) return from({ ip, prefix });
  if (ip.version === 6) return { ...IPV6, ipv6_src: fixed.mask === all ? fixed.value : fixed };
  return { ...IPV4, ip_src: fixed.mask === all ? Number(fixed.value) : narrow(fixed) };
}

export function fromAddress(ip: Ip): Match {
  return from({ ip, prefix: ip.version === 4 ? 32 : 128 });
}

/** The host where a port is active: it keeps the connections of the port. Undefined for a port that is nowhere. */
export function anchorOf(reader: Reader, port: string): string | undefined {
  const active = reader.pick('binding', port, 'active');
  if (active !== undefined) return active;
  return reader.pick('interface', port, 'ofport') === undefined ? undefined : selfHost(reader);
}

/** Does the router translate addresses, load balancers aside? */
export const translates = define.cell<boolean>({
  name: 'translates',
  run: (reader, router) =>
    (reader.pick('router', router, 'snat') ?? []).length > 0 ||
    reader.ids(floatingIndex, router).length > 0 ||
    reader.ids(leasesIndex, router).length > 0,
});

export interface OutsidePort {
  readonly id: string;
  readonly key: number;
  readonly mac: string;
  readonly switch: string | undefined;
  readonly networks: readonly Cidr[];
}

/** Ports of a router that face the outside (or those that do not), sorted by id. */
export const portsFacing = define.cell<{
  readonly outside: readonly OutsidePort[];
  readonly inside: readonly OutsidePort[];
}>({
  name: 'portsFacing',
  run: (reader, router) => {
    const outside: OutsidePort[] = [];
    const inside: OutsidePort[] = [];
    for (const id of reader.ids(portsOfRouterIndex, router)) {
      const port = {
        id,
        key: reader.pick('routerPort', id, 'key')!,
        mac: reader.pick('routerPort', id, 'mac')!,
        switch: reader.pick('routerPort', id, 'switch'),
        networks: reader.pick('routerPort', id, 'addresses')!.map((text) => parseCidr(text)!),
      };
      (reader.pick('routerPort', id, 'outside') ? outside : inside).push(port);
    }
    return { outside, inside };
  },
});

/** Of each switch the first of these ports whose network holds the address: there it answers for it. */
export function portsHolding(ports: readonly OutsidePort[], ip: Ip): readonly OutsidePort[] {
  const bySwitch = new Map<string, OutsidePort>();
  for (const port of ports)
    if (
      port.switch !== undefined &&
      !bySwitch.has(port.switch) &&
      port.networks.some((network) => cidrContains(network, ip))
    )
      bySwitch.set(port.switch, port);
  return [...bySwitch.values()];
}
