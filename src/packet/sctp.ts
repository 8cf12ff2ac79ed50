import { ByteWriter } from '../base/bytes.ts';
import { crc32c } from './crc32c.ts';

/** Types of chunks (RFC 9260 §3.2) that an association begins, goes on and ends with. */
export const SCTP_CHUNK = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
} as const;

export interface SctpHeader {
  readonly srcPort: number;
  readonly dstPort: number;
  /** The other end's verification tag; 0 with an INIT. */
  readonly tag: number;
}

export interface SctpChunk {
  readonly type: number;
  readonly flags?: number;
  readonly value: Uint8Array;
}

/**
 * RFC 9260 §3. Nothing here reads it: conntrack asks for the ports, chunks whose lengths fill the packet, and the checksum.
 *
 *      0                              16                            31
 *     +------------------------------+------------------------------+
 *     |         source port          |       destination port       |
 *     +------------------------------+------------------------------+
 *     |                      verification tag                       |
 *     +-------------------------------------------------------------+
 *     |        checksum: CRC-32C of all, lowest byte first          |
 *     +--------------+---------------+------------------------------+
 *     |  chunk type  |     flags     |  length (without padding)    |
 *     +--------------+---------------+------------------------------+
 *     |  value, padded to four bytes; and so on                     |
 */
export function encodeSctp({ srcPort, dstPort, tag }: SctpHeader, chunks: readonly SctpChunk[]): Uint8Array {
  const writer = new ByteWriter().u16(srcPort).u16(dstPort).u32(tag).u32(0);
  for (const { type, flags = 0, value } of chunks) {
    writer
      .u8(type)
      .u8(flags)
      .u16(4 + value.length);
    writer.raw(value).zeros(-value.length & 3);
  }
  return withSctpChecksum(writer.finish());
}

/** The packet with its checksum renewed. */
export function withSctpChecksum(packet: Uint8Array): Uint8Array {
  const fresh = packet.slice();
  const view = new DataView(fresh.buffer);
  view.setUint32(CHECKSUM, 0);
  view.setUint32(CHECKSUM, crc32c(fresh), true);
  return fresh;
}

const CHECKSUM = 8;

/** Of an end with one address and one stream each way (RFC 9260 §3.3.2): the value of INIT, and with a cookie behind it of INIT ACK. */
export function sctpInit(tag: number, cookie?: Uint8Array): Uint8Array {
  const writer = new ByteWriter().u32(tag).u32(0x1_0000).u16(1).u16(1).u32(1);
  return (
    cookie === undefined
      ? writer
      : writer
          .u16(STATE_COOKIE)
          .u16(4 + cookie.length)
          .raw(cookie)
  ).finish();
}

const STATE_COOKIE = 7;
