import type { Mac } from '../../base/addresses.ts';
import { ByteWriter } from '../../base/bytes.ts';
import { DecodeError } from '../../base/errors.ts';
import { pseudoHeader4, pseudoHeader6 } from '../../packet/checksum.ts';
import { ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import { NO_BYTES } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { encodeIpv4, ipv4Header } from '../../packet/ipv4.ts';
import { encodeIpv6, ipv6Header } from '../../packet/ipv6.ts';
import { decodeTcp, encodeTcp, TCP_FLAG, TCP_HEADER_LENGTH, type TcpHeader } from '../../packet/tcp.ts';
import type { Offender } from './offender.ts';

/**
 * The frame that refuses a segment as a closed port does (RFC 9293 §3.10.7.1), from whom the segment was for. Undefined for a
 * segment that is a reset itself, and for what is no TCP.
 */
export function tcpResetFrame(offender: Offender, hops = 64): Uint8Array | undefined {
  const reset = offender.protocol === IP_PROTO.tcp ? resetOf(offender.payload) : undefined;
  if (!reset) return undefined;
  const { src: to, dst: from } = offender;
  const writer = new ByteWriter(96);
  const ethernet = { dst: offender.srcMac as Mac, src: offender.dstMac as Mac };
  const { vlans } = offender;
  if (from.version === 4 && to.version === 4) {
    const ends = { src: from.value, dst: to.value };
    encodeEthernet({ ethernet: { ...ethernet, etherType: ETHER_TYPE.ipv4 }, vlans }, writer);
    encodeIpv4(
      ipv4Header({ ...ends, protocol: IP_PROTO.tcp, dontFragment: true, ttl: hops }),
      TCP_HEADER_LENGTH,
      writer,
    );
    encodeTcp(reset, NO_BYTES, (n) => pseudoHeader4(ends.src, ends.dst, IP_PROTO.tcp, n), writer);
  } else if (from.version === 6 && to.version === 6) {
    const ends = { src: from.value, dst: to.value };
    encodeEthernet({ ethernet: { ...ethernet, etherType: ETHER_TYPE.ipv6 }, vlans }, writer);
    encodeIpv6(ipv6Header({ ...ends, nextHeader: IP_PROTO.tcp, hopLimit: hops }), TCP_HEADER_LENGTH, writer);
    encodeTcp(reset, NO_BYTES, (n) => pseudoHeader6(ends.src, ends.dst, IP_PROTO.tcp, n), writer);
  }
  return writer.finish();
}

function resetOf(segment: Uint8Array): TcpHeader | undefined {
  try {
    const { header, body } = decodeTcp(segment);
    const { flags } = header;
    if ((flags & TCP_FLAG.rst) !== 0) return undefined;
    const common = { srcPort: header.dstPort, dstPort: header.srcPort, window: 0, urgent: 0, options: NO_BYTES };
    if ((flags & TCP_FLAG.ack) !== 0)
      return { ...common, sequence: header.acknowledgement, acknowledgement: 0, flags: TCP_FLAG.rst };
    const length = body.length + ((flags & TCP_FLAG.syn) === 0 ? 0 : 1) + ((flags & TCP_FLAG.fin) === 0 ? 0 : 1);
    const acknowledgement = (header.sequence + length) >>> 0;
    return { ...common, sequence: 0, acknowledgement, flags: TCP_FLAG.rst | TCP_FLAG.ack };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
