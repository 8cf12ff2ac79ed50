import type { PacketInMeter } from './switch-link.ts';

/**
 * What may reach the agent in packets a second: a first fence for the whole host, before the budget of each port. The
 * classes have meters of their own, so that a spray of one kind does not stop the answers of another.
 */
export const PACKET_IN_METERS: readonly PacketInMeter[] = [
  { meter: 1, packetsPerSecond: 1000, burst: 1000 },
  { meter: 2, packetsPerSecond: 2000, burst: 2000 },
  { meter: 3, packetsPerSecond: 200, burst: 200 },
  { meter: 4, packetsPerSecond: 100, burst: 100 },
];
