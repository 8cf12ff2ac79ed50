/** Protocol numbers of IPv4's protocol and IPv6's next-header fields (IANA registry) that some part of Weft names. */
export const IP_PROTO = {
  hopByHop: 0,
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  routing: 43,
  fragment: 44,
  gre: 47,
  esp: 50,
  authentication: 51,
  icmpv6: 58,
  noNext: 59,
  destination: 60,
  sctp: 132,
} as const;
