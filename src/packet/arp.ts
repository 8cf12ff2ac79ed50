import type { Ipv4, Mac } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { ETHER_TYPE } from './ethernet.ts';
import { type Input, readerOf } from './input.ts';

/** Operations (RFC 826; 3 and 4 RFC 903). Live migration of QEMU announces itself with `rarpRequest`. */
export const ARP_OP = { request: 1, reply: 2, rarpRequest: 3, rarpReply: 4 } as const;

/** ARP or RARP between Ethernet and IPv4 addresses. */
export interface Arp {
  readonly op: number;
  /** Sender's and target's hardware and protocol addresses. */
  readonly sha: Mac;
  readonly spa: Ipv4;
  readonly tha: Mac;
  readonly tpa: Ipv4;
}

const HARDWARE_ETHERNET = 1;
const ARP_LENGTH = 28;

/** Whether the bytes are ARP for addresses other than Ethernet and IPv4, which `decodeArp` does not read. */
export function isForeignArp(bytes: Uint8Array): boolean {
  if (bytes.length < 6) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return (
    view.getUint16(0) !== HARDWARE_ETHERNET || view.getUint16(2) !== ETHER_TYPE.ipv4 || view.getUint16(4) !== 0x0604
  );
}

/**
 * RFC 826.
 *
 *      0                   2                   4         5         6
 *     +-------------------+-------------------+---------+---------+-------------------+
 *     | hardware type  1  | protocol type 800 | hlen  6 | plen  4 |     operation     |
 *     +-------------------+-------------------+---------+---------+-------------------+
 *      8                             14                  18                            24                  28
 *     +-----------------------------+-------------------+-----------------------------+-------------------+
 *     |   sender hardware address   | sender IPv4       |   target hardware address   | target IPv4       |
 *     +-----------------------------+-------------------+-----------------------------+-------------------+
 *
 * Errors: `truncated`, `bad-type` for other address families, `bad-length` for address lengths that contradict them.
 */
export function decodeArp(input: Input): Arp {
  const reader = readerOf(input);
  if (reader.u16('arp.hardware') !== HARDWARE_ETHERNET) reader.fail('bad-type', 'arp.hardware');
  if (reader.u16('arp.protocol') !== ETHER_TYPE.ipv4) reader.fail('bad-type', 'arp.protocol');
  if (reader.u16('arp.lengths') !== 0x0604) reader.fail('bad-length', 'arp.lengths');
  return {
    op: reader.u16('arp.op'),
    sha: reader.u48('arp.sha') as Mac,
    spa: reader.u32('arp.spa') as Ipv4,
    tha: reader.u48('arp.tha') as Mac,
    tpa: reader.u32('arp.tpa') as Ipv4,
  };
}

export function encodeArp(arp: Arp, writer = new ByteWriter(ARP_LENGTH)): Uint8Array {
  const from = writer.length;
  writer.u16(HARDWARE_ETHERNET).u16(ETHER_TYPE.ipv4).u16(0x0604).u16(arp.op);
  writer.u48(arp.sha).u32(arp.spa).u48(arp.tha).u32(arp.tpa);
  return writer.view(from);
}
