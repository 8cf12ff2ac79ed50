import type { Compiler } from '../compile/compiler.ts';
import { FIRST_LIMIT_METER, type Meter } from '../compile/meters.ts';
import { BAND_TYPE, METER_FLAG, type MeterMod } from '../openflow/messages/meter.ts';
import type { Effect, InstalledMeter } from './events.ts';
import type { Installation } from './installation.ts';

/**
 * What may reach the agent in packets a second: a first fence for the whole host, before the budget of each port. What
 * does not want an answer has meters of its own, so that a spray of it does not take the share of what does; `wanted` is what
 * waits for a next hop's MAC or for ports, `nextHop` what answers the probes of one, from the wire only, `probe` what members answer to theirs, `neighbour` who says where an address is, `dns` questions for names, `learn` MACs of ports that may have any. `handOff`
 * is not about packet-ins: it bounds what one host makes others look for among the members of balancers.
 */
export const HOST_METER = {
  packetIn: 1,
  sample: 2,
  notice: 3,
  error: 4,
  log: 5,
  handOff: 6,
  wanted: 7,
  nextHop: 8,
  learn: 9,
  probe: 10,
  neighbour: 11,
  dns: 12,
} as const;

/**
 * Of packet-ins that wait to be sent Open vSwitch keeps a few hundred for all (`BridgeLink`) and drops what is beyond: larger bursts of
 * what nobody waits for would push out a neighbour's DHCP. MACs of a sprayer come fast and cost the agent most, so they may be fewer: one that
 * is not learned from one packet is from its next.
 */
export const HOST_METERS = [
  { meter: HOST_METER.packetIn, packetsPerSecond: 2000, burst: 2000 },
  { meter: HOST_METER.sample, packetsPerSecond: 200, burst: 200 },
  { meter: HOST_METER.notice, packetsPerSecond: 2000, burst: 2000 },
  { meter: HOST_METER.error, packetsPerSecond: 2000, burst: 200 },
  { meter: HOST_METER.log, packetsPerSecond: 2000, burst: 200 },
  { meter: HOST_METER.handOff, packetsPerSecond: 20_000, burst: 4000 },
  { meter: HOST_METER.wanted, packetsPerSecond: 2000, burst: 2000 },
  { meter: HOST_METER.nextHop, packetsPerSecond: 2000, burst: 2000 },
  { meter: HOST_METER.probe, packetsPerSecond: 5000, burst: 5000 },
  { meter: HOST_METER.neighbour, packetsPerSecond: 2000, burst: 2000 },
  { meter: HOST_METER.dns, packetsPerSecond: 2000, burst: 500 },
  { meter: HOST_METER.learn, packetsPerSecond: 1000, burst: 80 },
] as const;

/** A limit of the model as the switch wants it told. */
export function meterConfig({ meter, unit, rate, burst }: Meter): Pick<MeterMod, 'flags' | 'meter' | 'bands'> {
  return {
    flags: METER_FLAG[unit] | METER_FLAG.burst | METER_FLAG.stats,
    meter,
    bands: [{ type: BAND_TYPE.drop, rate, burst }],
  };
}

/** A meter that is deleted takes its flows with it: so it goes behind them, and not if it was given anew meanwhile. */
export function takeMeters(
  installation: Installation,
  compiler: Pick<Compiler, 'meters'>,
  meters: readonly number[],
): Effect[] {
  if (meters.length === 0) return [];
  return installation.whenInstalled(() => {
    const gone = meters.filter((meter) => !compiler.meters().has(meter));
    return gone.length === 0 ? [] : [{ kind: 'setMeters', put: [], gone }];
  });
}

/** What to set and what to take away, so that the switch has the wanted limits. Those that are right stay as full as they are. */
export function differingMeters(
  wanted: ReadonlyMap<number, Meter>,
  installed: readonly InstalledMeter[],
): { readonly put: Meter[]; readonly gone: number[] } {
  const have = new Map(installed.map((entry) => [entry.meter, entry]));
  const put = [...wanted.values()].filter((meter) => {
    const entry = have.get(meter.meter);
    return entry === undefined || !isSame(entry, meterConfig(meter));
  });
  // Open vSwitch's own, for controllers and the slow path, stand above the last.
  const gone = [...have.keys()].filter((id) => id >= FIRST_LIMIT_METER && id <= LAST_METER && !wanted.has(id));
  return { put, gone };
}

/** OFPM_MAX (OpenFlow 1.5.1 §7.3.4.5). */
const LAST_METER = 0xffff_0000;

function isSame(a: InstalledMeter, b: ReturnType<typeof meterConfig>): boolean {
  const [band, wanted] = [a.bands[0], b.bands[0]!];
  return (
    a.flags === b.flags &&
    a.bands.length === 1 &&
    band?.type === wanted.type &&
    band.rate === wanted.rate &&
    band.burst === wanted.burst
  );
}
