import { type Contribution, contribute, defineSink } from '../incremental/definitions.ts';
import type { Action } from '../openflow/flow.ts';
import { limitedByHashIndex, limitHash, type Reader } from './inputs.ts';
import { reportProblem } from './problem-sink.ts';

/** Meters of this host's limits (docs/design/layer3.md, §11). The agent sees to it that they are there before the flows that name them. */
export interface Meter {
  readonly meter: number;
  readonly unit: 'kbps' | 'packets';
  /** Kilobits (1,000 bits) or packets a second. */
  readonly rate: number;
  /** Kilobits or packets. */
  readonly burst: number;
  /** Whose limit it is, where what is above is counted for people. */
  readonly of?: { readonly kind: string; readonly id: string };
}

/**
 * Ids follow from the conntrack zone of the port, a multiple of 4 up to 65,532 that OVSDB keeps: four for the port's own limits, and eight in two
 * further blocks for floating addresses that lead to it. Below are the agent's own. Open vSwitch has room for 200,000 (kernel datapath) and more.
 */
export const FIRST_LIMIT_METER = 16;
const BLOCK = 0x1_0000;

export const PORT_METER = { sendKbps: 0, sendPps: 1, receiveKbps: 2, receivePps: 3 } as const;

/** How many limited floating addresses of a port have meters (the model allows no more). */
export const MOST_FLOATING = 4;

/** `rank`: which of the limited floating addresses of the port, from 0 to 3. */
export const FLOATING_METER = { in: 0, out: 1 } as const;

function portMeter(zone: number, limit: keyof typeof PORT_METER): number {
  return FIRST_LIMIT_METER + zone + PORT_METER[limit];
}

function floatingMeter(zone: number, rank: number, way: keyof typeof FLOATING_METER): number {
  const place = 2 * rank + FLOATING_METER[way];
  return FIRST_LIMIT_METER + BLOCK * (1 + (place >> 2)) + zone + (place & 3);
}

export const meterSink = defineSink<Meter, Meter>({
  name: 'meter',
  merge: (contributions) => contributions[0]!.value,
});

/** What holds a limit: the meters, and the actions that packets pass them by. */
export interface Limit {
  readonly meters: readonly Contribution[];
  readonly pass: readonly Action[];
}

export const NO_LIMIT: Limit = { meters: [], pass: [] };

/**
 * What comes in from outside is limited where no port is, so these ids follow from the object: a hash, its rank among those that have the same,
 * and which of its limits it is. Open vSwitch takes ids up to 0xffff_0000, however few meters there are.
 */
const FIRST_INBOUND_METER = 0x4000_0000;
const MOST_ALIKE = 16;
const INBOUND_METER = { kbps: 0, pps: 1, newPerSecond: 2 } as const;

/** What all packets pass, and what those that begin a connection do. */
export interface InboundLimit extends Limit {
  readonly begin: Limit;
}

export const NO_INBOUND_LIMIT: InboundLimit = { ...NO_LIMIT, begin: NO_LIMIT };

export function inboundLimit(
  reader: Reader,
  kind: 'tenant' | 'router' | 'floatingAddress' | 'loadBalancer',
  id: string,
): InboundLimit {
  const wanted = reader.pick(kind, id, 'inboundLimit');
  if (wanted === undefined) return NO_INBOUND_LIMIT;
  const hash = limitHash(id);
  const rank = [...reader.members(limitedByHashIndex, `${hash}`)].sort().indexOf(id);
  if (rank < 0 || rank >= MOST_ALIKE)
    return { ...NO_INBOUND_LIMIT, meters: [reportProblem(id, 'no meter is free: it is not limited')] };
  const meterOf = (which: keyof typeof INBOUND_METER): Meter[] => {
    const rate = wanted[which];
    const number = FIRST_INBOUND_METER + ((hash * MOST_ALIKE + rank) << 2) + INBOUND_METER[which];
    return rate === undefined
      ? []
      : [{ ...meter(number, which === 'kbps' ? 'kbps' : 'packets', rate), of: { kind, id } }];
  };
  return { ...limitBy([...meterOf('kbps'), ...meterOf('pps')]), begin: limitBy(meterOf('newPerSecond')) };
}

/** What begins a connection to an address of a router passes the meters of the address, its router and its tenant, the narrowest first. */
export function beginLimit(
  reader: Reader,
  router: string,
  kind: 'floatingAddress' | 'loadBalancer',
  id: string,
): Limit {
  const tenant = reader.pick('router', router, 'tenant');
  const limits = [
    inboundLimit(reader, kind, id).begin,
    inboundLimit(reader, 'router', router).begin,
    ...(tenant === undefined ? [] : [inboundLimit(reader, 'tenant', tenant).begin]),
  ];
  return { meters: limits.flatMap(({ meters }) => meters), pass: limits.flatMap(({ pass }) => pass) };
}

function limitBy(meters: readonly Meter[]): Limit {
  return {
    meters: meters.map((each) => contribute(meterSink, `${each.meter}`, each)),
    pass: meters.map((each): Action => ({ kind: 'meter', meter: each.meter })),
  };
}

/**
 * What a gateway's daemon hears of BFD (units/speaker.ts): two for a router port, by its key, so that who forges packets of peers further away takes
 * nothing of those that are near. A session has 20 packets a second at most. BGP has none: of it the daemon gets what connections bring, whose other end it
 * has heard of, and what is forged ends in the kernel; a meter would drop both alike, and so a smaller flood would end the session.
 */
const FIRST_BFD_METER = 0x8000_0000;
const BFD_METER = { neighbour: 0, multihop: 1 } as const;
const BFD_PER_SECOND = 10_000;

export function bfdLimit(routerPort: number, from: keyof typeof BFD_METER): Limit {
  return limitBy([meter(FIRST_BFD_METER + 2 * routerPort + BFD_METER[from], 'packets', BFD_PER_SECOND)]);
}

/** A fifth of a second, and at least one segment of 64 KB as the kernel datapath has them before they are cut. */
const SHARE_OF_SECOND = 5;
const LEAST_BURST = { kbps: 600, packets: 20 } as const;

export function portLimit(reader: Reader, id: string, way: 'send' | 'receive'): Limit {
  const limits = reader.pick('port', id, 'limits');
  if (limits === undefined) return NO_LIMIT;
  const [kbps, pps] = [limits[`${way}Kbps`], limits[`${way}Pps`]];
  if (kbps === undefined && pps === undefined) return NO_LIMIT;
  return withZone(reader, id, (zone) => [
    ...(kbps === undefined ? [] : [meter(portMeter(zone, `${way}Kbps`), 'kbps', kbps, limits.burstKb)]),
    ...(pps === undefined ? [] : [meter(portMeter(zone, `${way}Pps`), 'packets', pps)]),
  ]);
}

export function floatingLimit(
  reader: Reader,
  port: string,
  rank: number,
  way: keyof typeof FLOATING_METER,
  kbps: number,
): Limit {
  return withZone(reader, port, (zone) => [meter(floatingMeter(zone, rank, way), 'kbps', kbps)]);
}

function meter(id: number, unit: Meter['unit'], rate: number, burst?: number): Meter {
  const usual = Math.max(Math.ceil(rate / SHARE_OF_SECOND), LEAST_BURST[unit]);
  return { meter: id, unit, rate, burst: burst ?? usual };
}

function withZone(reader: Reader, port: string, metersIn: (zone: number) => readonly Meter[]): Limit {
  const zone = reader.pick('interface', port, 'zone');
  if (zone === undefined)
    return { meters: [reportProblem(port, 'no conntrack zone is free, and so no meter: it is not limited')], pass: [] };
  return limitBy(metersIn(zone));
}
