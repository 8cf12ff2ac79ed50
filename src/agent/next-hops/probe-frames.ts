import type { Ip, Mac } from '../../base/addresses.ts';
import { DecodeError } from '../../base/errors.ts';
import { decodeEthernet, ETHER_TYPE } from '../../packet/ethernet.ts';
import { decodeIcmp, echoOf, ICMP_TYPE } from '../../packet/icmp.ts';
import { decodeIcmpv6, ICMPV6_TYPE } from '../../packet/icmpv6.ts';
import { readerOf } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { decodeIpv4, isFragment } from '../../packet/ipv4.ts';
import { decodeIpv6, fragmentOf } from '../../packet/ipv6.ts';
import { neighbourSaid } from '../packet-in/neighbour-frames.ts';

/** What a next hop said to the router port with the MAC `to`; `echo`: identifier and sequence of the ping that it answers. */
export interface NextHopSaid {
  readonly to: Mac;
  readonly from: Ip;
  readonly echo?: { readonly id: number; readonly sequence: number };
}

/** Undefined for what answers no probe. */
export function readNextHop(frame: Uint8Array): NextHopSaid | undefined {
  try {
    const reader = readerOf(frame);
    const { ethernet } = decodeEthernet(reader);
    const to = ethernet.dst;
    if (ethernet.etherType === ETHER_TYPE.ipv4) {
      const { header, body } = decodeIpv4(reader);
      if (header.protocol !== IP_PROTO.icmp || isFragment(header)) return undefined;
      const { header: icmp } = decodeIcmp(body.rest());
      if (icmp.type !== ICMP_TYPE.echoReply) return undefined;
      return { to, from: { version: 4, value: header.src }, echo: echoOf(icmp) };
    }
    if (ethernet.etherType === ETHER_TYPE.ipv6) {
      const { header, body } = decodeIpv6(reader);
      if (header.nextHeader !== IP_PROTO.icmpv6 || fragmentOf(header)) return undefined;
      const { header: icmp } = decodeIcmpv6(body.rest());
      if (icmp.type === ICMPV6_TYPE.echoReply)
        return { to, from: { version: 6, value: header.src }, echo: echoOf(icmp) };
    }
    const said = neighbourSaid(frame);
    return said && { to, from: said.ip };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
