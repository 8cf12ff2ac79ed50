import type { Ip, Mac } from '../../base/addresses.ts';
import { ByteWriter } from '../../base/bytes.ts';
import { pseudoHeader6 } from '../../packet/checksum.ts';
import { ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import { encodeIcmp, ICMP_TYPE, ICMP_UNREACHABLE } from '../../packet/icmp.ts';
import { encodeIcmpv6, ICMPV6_TYPE, ICMPV6_UNREACHABLE } from '../../packet/icmpv6.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { encodeIpv4, IPV4_HEADER_LENGTH, ipv4Header } from '../../packet/ipv4.ts';
import { encodeIpv6, IPV6_HEADER_LENGTH, ipv6Header } from '../../packet/ipv6.ts';
import type { Offender } from './offender.ts';

/** What is said about a packet that does not go on. */
export type IcmpComplaint =
  | { readonly about: 'no-route' | 'no-neighbour' | 'no-port' | 'prohibited' | 'ttl' }
  /** `mtu`: the largest packet that would go on, in bytes. */
  | { readonly about: 'too-big'; readonly mtu: number };

/** Errors go as internetwork control (RFC 1812 §4.3.2.5, precedence 6). */
const INTERNETWORK_CONTROL = 0xc0;
const ICMP_HEADER_LENGTH = 8;
/** As much of the packet as keeps the error below these sizes (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c)). */
const LARGEST_4 = 576;
const LARGEST_6 = 1280;

/**
 * The frame with the ICMP error about a packet (RFC 792, RFC 1191, RFC 4443 §3), from `source` to the packet's sender; Ethernet addresses and
 * tags are those of the packet's frame, turned around. `source` is of the packet's IP version.
 */
export function icmpErrorFrame(offender: Offender, complaint: IcmpComplaint, source: Ip, hops = 64): Uint8Array {
  const writer = new ByteWriter(LARGEST_6 + 14);
  const ethernet = { dst: offender.srcMac as Mac, src: offender.dstMac as Mac };
  const { vlans } = offender;
  if (offender.src.version === 4 && source.version === 4) {
    const [type, code, rest] = icmp4(complaint);
    const quoted = offender.packet.subarray(0, LARGEST_4 - IPV4_HEADER_LENGTH - ICMP_HEADER_LENGTH);
    const ends = { src: source.value, dst: offender.src.value };
    encodeEthernet({ ethernet: { ...ethernet, etherType: ETHER_TYPE.ipv4 }, vlans }, writer);
    const header = ipv4Header({ ...ends, protocol: IP_PROTO.icmp, tos: INTERNETWORK_CONTROL, ttl: hops });
    encodeIpv4(header, ICMP_HEADER_LENGTH + quoted.length, writer);
    encodeIcmp({ type, code, rest }, quoted, writer);
    return writer.finish();
  }
  if (offender.src.version !== 6 || source.version !== 6)
    throw new TypeError('packet and source of different IP versions');
  const [type, code, rest] = icmp6(complaint);
  const quoted = offender.packet.subarray(0, LARGEST_6 - IPV6_HEADER_LENGTH - ICMP_HEADER_LENGTH);
  const ends = { src: source.value, dst: offender.src.value };
  encodeEthernet({ ethernet: { ...ethernet, etherType: ETHER_TYPE.ipv6 }, vlans }, writer);
  const header = ipv6Header({
    ...ends,
    nextHeader: IP_PROTO.icmpv6,
    trafficClass: INTERNETWORK_CONTROL,
    hopLimit: hops,
  });
  encodeIpv6(header, ICMP_HEADER_LENGTH + quoted.length, writer);
  encodeIcmpv6({ type, code, rest }, quoted, (n) => pseudoHeader6(ends.src, ends.dst, IP_PROTO.icmpv6, n), writer);
  return writer.finish();
}

type TypeCodeRest = readonly [type: number, code: number, rest: number];

function icmp4(complaint: IcmpComplaint): TypeCodeRest {
  switch (complaint.about) {
    case 'no-route':
      return [ICMP_TYPE.unreachable, ICMP_UNREACHABLE.net, 0];
    case 'no-neighbour':
      return [ICMP_TYPE.unreachable, ICMP_UNREACHABLE.host, 0];
    case 'no-port':
      return [ICMP_TYPE.unreachable, ICMP_UNREACHABLE.port, 0];
    case 'prohibited':
      return [ICMP_TYPE.unreachable, ICMP_UNREACHABLE.prohibited, 0];
    case 'ttl':
      return [ICMP_TYPE.timeExceeded, 0, 0];
    case 'too-big':
      return [ICMP_TYPE.unreachable, ICMP_UNREACHABLE.fragmentationNeeded, Math.min(complaint.mtu, 0xffff)];
  }
}

function icmp6(complaint: IcmpComplaint): TypeCodeRest {
  switch (complaint.about) {
    case 'no-route':
      return [ICMPV6_TYPE.unreachable, ICMPV6_UNREACHABLE.noRoute, 0];
    case 'no-neighbour':
      return [ICMPV6_TYPE.unreachable, ICMPV6_UNREACHABLE.address, 0];
    case 'no-port':
      return [ICMPV6_TYPE.unreachable, ICMPV6_UNREACHABLE.port, 0];
    case 'prohibited':
      return [ICMPV6_TYPE.unreachable, ICMPV6_UNREACHABLE.prohibited, 0];
    case 'ttl':
      return [ICMPV6_TYPE.timeExceeded, 0, 0];
    case 'too-big':
      // No link may be smaller (RFC 8200 §5), and hosts ignore what is said to be (RFC 8201 §4).
      return [ICMPV6_TYPE.packetTooBig, 0, Math.max(complaint.mtu, 1280)];
  }
}
