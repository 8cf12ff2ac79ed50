import { ICMP_TYPE } from '../packet/icmp.ts';
import { ICMPV6_TYPE } from '../packet/icmpv6.ts';
import type { Frame } from './frame.ts';

/** Pings that a router or a VIP answers by itself (docs/design/layer3.md, §6.4). */
export function isEchoRequest({ ip, icmp }: Frame): boolean {
  return icmp !== undefined && icmp.type === (ip!.version === 4 ? ICMP_TYPE.echoRequest : ICMPV6_TYPE.echoRequest);
}

/** The same packet turned round, with a fresh TTL. */
export function echoReply(frame: Frame): Frame {
  const ip = frame.ip!;
  const type = ip.version === 4 ? ICMP_TYPE.echoReply : ICMPV6_TYPE.echoReply;
  return {
    ...frame,
    src: frame.dst,
    dst: frame.src,
    ip: { ...ip, src: ip.dst, dst: ip.src, ttl: 64 },
    icmp: { ...frame.icmp!, type },
  };
}
