import type { Ip, Mac } from '../../base/addresses.ts';
import { ByteWriter } from '../../base/bytes.ts';
import { DecodeError } from '../../base/errors.ts';
import { type PseudoHeader, pseudoHeader4, pseudoHeader6 } from '../../packet/checksum.ts';
import { decodeEthernet, ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import { decodeIcmp, echoOf, echoRest, encodeIcmp, ICMP_TYPE } from '../../packet/icmp.ts';
import { decodeIcmpv6, encodeIcmpv6, ICMPV6_TYPE } from '../../packet/icmpv6.ts';
import { NO_BYTES, readerOf } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { decodeIpv4, encodeIpv4, ipv4Header, isFragment } from '../../packet/ipv4.ts';
import { decodeIpv6, encodeIpv6, fragmentOf, ipv6Header } from '../../packet/ipv6.ts';
import {
  decodeTcp,
  encodeTcp,
  encodeTcpOptions,
  TCP_FLAG,
  TCP_HEADER_LENGTH,
  type TcpHeader,
} from '../../packet/tcp.ts';
import { decodeUdp, encodeUdp, UDP_HEADER_LENGTH } from '../../packet/udp.ts';

/** Both ends of a probe. The addresses are of one IP version; `tag` is the VLAN tag that the member expects, 0 for none. */
export interface ProbeEnds {
  readonly srcMac: Mac;
  readonly dstMac: Mac;
  readonly src: Ip;
  readonly dst: Ip;
  readonly tag: number;
  /** Of TCP and UDP; of ICMP `srcPort` is the identifier. */
  readonly srcPort: number;
  readonly dstPort: number;
}

/** What a member said to one of our probes; `port` is that probe's source port (of ICMP the identifier). */
export type ProbeAnswer =
  | { readonly kind: 'tcp'; readonly port: number; readonly header: TcpHeader; readonly payload: Uint8Array }
  | { readonly kind: 'udp' | 'echo' | 'closed'; readonly port: number };

/** Ours is the only segment that could be larger, and it is not. */
const SEGMENT_SIZE = 1220;

/** A segment without data, or with. A SYN says how large segments we take. */
export function tcpProbe(
  ends: ProbeEnds,
  segment: Pick<TcpHeader, 'sequence' | 'acknowledgement' | 'flags'>,
  payload: Uint8Array = NO_BYTES,
): Uint8Array {
  const isSyn = (segment.flags & TCP_FLAG.syn) !== 0;
  const options = isSyn ? encodeTcpOptions([{ kind: 'maxSegmentSize', bytes: SEGMENT_SIZE }]) : NO_BYTES;
  const header = { ...segment, srcPort: ends.srcPort, dstPort: ends.dstPort, window: 0xffff, urgent: 0, options };
  const length = TCP_HEADER_LENGTH + options.length + payload.length;
  return frame(ends, IP_PROTO.tcp, length, (writer, pseudo) => encodeTcp(header, payload, pseudo, writer));
}

/** A datagram without data: services that do not know it ignore it. */
export function udpProbe(ends: ProbeEnds): Uint8Array {
  const header = { srcPort: ends.srcPort, dstPort: ends.dstPort, noChecksum: false };
  return frame(ends, IP_PROTO.udp, UDP_HEADER_LENGTH, (writer, pseudo) => encodeUdp(header, NO_BYTES, pseudo, writer));
}

export function echoProbe(ends: ProbeEnds, sequence = 1): Uint8Array {
  const rest = echoRest(ends.srcPort, sequence);
  if (ends.dst.version === 4)
    return frame(ends, IP_PROTO.icmp, 8, (writer) =>
      encodeIcmp({ type: ICMP_TYPE.echoRequest, code: 0, rest }, NO_BYTES, writer),
    );
  return frame(ends, IP_PROTO.icmpv6, 8, (writer, pseudo) =>
    encodeIcmpv6({ type: ICMPV6_TYPE.echoRequest, code: 0, rest }, NO_BYTES, pseudo, writer),
  );
}

function frame(
  { srcMac, dstMac, src, dst, tag }: ProbeEnds,
  protocol: number,
  length: number,
  body: (writer: ByteWriter, pseudo: PseudoHeader) => void,
): Uint8Array {
  const writer = new ByteWriter(128);
  const vlans = tag === 0 ? [] : [{ tpid: ETHER_TYPE.vlan, vid: tag, pcp: 0, dei: false }];
  const etherType = dst.version === 4 ? ETHER_TYPE.ipv4 : ETHER_TYPE.ipv6;
  encodeEthernet({ ethernet: { src: srcMac, dst: dstMac, etherType }, vlans }, writer);
  if (src.version === 4 && dst.version === 4) {
    encodeIpv4(ipv4Header({ src: src.value, dst: dst.value, protocol }), length, writer);
    body(writer, (n) => pseudoHeader4(src.value, dst.value, protocol, n));
  } else if (src.version === 6 && dst.version === 6) {
    encodeIpv6(ipv6Header({ src: src.value, dst: dst.value, nextHeader: protocol }), length, writer);
    body(writer, (n) => pseudoHeader6(src.value, dst.value, protocol, n));
  } else throw new TypeError('a probe between different IP versions');
  return writer.finish();
}

/** Reads what a member sent to the agent; undefined for what answers no probe. */
export function readProbeAnswer(bytes: Uint8Array): ProbeAnswer | undefined {
  try {
    const reader = readerOf(bytes);
    const { ethernet } = decodeEthernet(reader);
    if (ethernet.etherType === ETHER_TYPE.ipv4) {
      const { header, body } = decodeIpv4(reader);
      return isFragment(header) ? undefined : readUpper(header.protocol, body.rest());
    }
    if (ethernet.etherType !== ETHER_TYPE.ipv6) return undefined;
    const { header, body } = decodeIpv6(reader);
    return fragmentOf(header) ? undefined : readUpper(header.nextHeader, body.rest());
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

function readUpper(protocol: number, bytes: Uint8Array): ProbeAnswer | undefined {
  switch (protocol) {
    case IP_PROTO.tcp: {
      const { header, body } = decodeTcp(bytes);
      return { kind: 'tcp', port: header.dstPort, header, payload: body.rest() };
    }
    case IP_PROTO.udp:
      return { kind: 'udp', port: decodeUdp(bytes).header.dstPort };
    case IP_PROTO.icmp: {
      const { header, body } = decodeIcmp(bytes);
      if (header.type === ICMP_TYPE.echoReply) return { kind: 'echo', port: echoOf(header).id };
      return header.type === ICMP_TYPE.unreachable ? refused(decodeIpv4Start(body.rest())) : undefined;
    }
    case IP_PROTO.icmpv6: {
      const { header, body } = decodeIcmpv6(bytes);
      if (header.type === ICMPV6_TYPE.echoReply) return { kind: 'echo', port: echoOf(header).id };
      return header.type === ICMPV6_TYPE.unreachable ? refused(body.rest().subarray(40)) : undefined;
    }
    default:
      return undefined;
  }
}

/** Behind the header of the quoted packet, which may be cut. */
function decodeIpv4Start(quoted: Uint8Array): Uint8Array {
  return quoted.subarray(((quoted[0] ?? 0) & 0xf) * 4);
}

/** The quoted datagram was ours: its source port says which. */
function refused(datagram: Uint8Array): ProbeAnswer | undefined {
  return datagram.length < 2 ? undefined : { kind: 'closed', port: (datagram[0]! << 8) | datagram[1]! };
}
