import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { checksum, type PseudoHeader } from './checksum.ts';
import { type Input, readerOf } from './input.ts';

/** Well-known ports that some part of Weft names. */
export const UDP_PORT = {
  dhcpServer: 67,
  dhcpClient: 68,
  dhcpv6Client: 546,
  dhcpv6Server: 547,
  vxlan: 4789,
  geneve: 6081,
} as const;

export interface UdpHeader {
  readonly srcPort: number;
  readonly dstPort: number;
  /** The sender left the checksum out (zero on the wire): usual in tunnels over IPv4, forbidden over IPv6 but for those. */
  readonly noChecksum: boolean;
}

export const UDP_HEADER_LENGTH = 8;

/**
 * RFC 768. `pseudo` gives the pseudo header; decoding verifies the checksum only when it is there.
 *
 *      0                              16                            31
 *     +------------------------------+------------------------------+
 *     |         source port          |       destination port       |
 *     +------------------------------+------------------------------+
 *     |     length (with header)     |           checksum           |
 *     +------------------------------+------------------------------+
 *
 * `body` is as long as the length says; bytes of the packet beyond it are left in the reader.
 * Errors: `truncated`, `bad-length`; `bad-checksum` only with `pseudo`.
 */
export function decodeUdp(
  input: Input,
  pseudo?: PseudoHeader,
): { readonly header: UdpHeader; readonly body: ByteReader } {
  const reader = readerOf(input);
  const start = reader.offset;
  const srcPort = reader.u16('udp.srcPort');
  const dstPort = reader.u16('udp.dstPort');
  const length = reader.u16('udp.length');
  const noChecksum = reader.u16('udp.checksum') === 0;
  if (length < UDP_HEADER_LENGTH) reader.fail('bad-length', 'udp.length', `${length}`);
  const body = reader.sub(length - UDP_HEADER_LENGTH, 'udp.payload');
  if (
    pseudo !== undefined &&
    !noChecksum &&
    checksum(reader.bytes.subarray(start, reader.offset), pseudo(length)) !== 0
  )
    reader.fail('bad-checksum', 'udp.checksum');
  return { header: { srcPort, dstPort, noChecksum }, body };
}

export function encodeUdp(
  header: UdpHeader,
  payload: Uint8Array,
  pseudo: PseudoHeader,
  writer = new ByteWriter(),
): Uint8Array {
  const from = writer.length;
  const length = UDP_HEADER_LENGTH + payload.length;
  if (length > 0xffff) throw new RangeError(`UDP payload of ${payload.length} bytes is too long`);
  writer.u16(header.srcPort).u16(header.dstPort).u16(length).u16(0).raw(payload);
  // A sum of zero is sent as all ones: zero means that there is none.
  if (!header.noChecksum) writer.patchU16(from + 6, checksum(writer.view(from), pseudo(length)) || 0xffff);
  return writer.view(from);
}
