/**
 * What may reach the agent in packets a second: a first fence for the whole host, before the budget of each port. What
 * only tells of a spray has a meter of its own, so that it does not take the share of what wants an answer.
 */
export const PACKET_IN_METER = { packetIn: 1, sample: 2 } as const;

export const PACKET_IN_METERS = [
  { meter: PACKET_IN_METER.packetIn, packetsPerSecond: 2000, burst: 2000 },
  { meter: PACKET_IN_METER.sample, packetsPerSecond: 200, burst: 200 },
] as const;
