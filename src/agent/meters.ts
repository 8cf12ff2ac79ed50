/**
 * What may reach the agent in packets a second: a first fence for the whole host, before the budget of each port. What
 * does not want an answer has meters of its own, so that a spray of it does not take the share of what does.
 */
export const PACKET_IN_METER = { packetIn: 1, sample: 2, notice: 3, error: 4, log: 5 } as const;

export const PACKET_IN_METERS = [
  { meter: PACKET_IN_METER.packetIn, packetsPerSecond: 2000, burst: 2000 },
  { meter: PACKET_IN_METER.sample, packetsPerSecond: 200, burst: 200 },
  { meter: PACKET_IN_METER.notice, packetsPerSecond: 2000, burst: 2000 },
  { meter: PACKET_IN_METER.error, packetsPerSecond: 2000, burst: 2000 },
  { meter: PACKET_IN_METER.log, packetsPerSecond: 2000, burst: 2000 },
] as const;
