/** First byte of a packet-in's userdata: what the flow that sent it wants (docs/design/layer2.md, Packet-ins). */
export const PACKET_IN_CLASS = {
  dhcp: 1,
  dhcp6: 2,
  routerSolicit: 3,
  learn: 4,
  announce: 5,
  log: 6,
  guard: 7,
} as const;
