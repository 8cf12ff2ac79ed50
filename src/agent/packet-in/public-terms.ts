import type { Ip } from '../../base/addresses.ts';
import { ByteWriter } from '../../base/bytes.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import type { Offender } from './offender.ts';

/**
 * The packet as its sender sent it, where its destination (and port) were translated on the way: what is said about it has to quote
 * it so (RFC 5508 §4). Checksums are updated as they are, right or wrong (RFC 1624).
 */
export function inTermsOf(offender: Offender, dst: Ip, port?: number): Offender {
  const packet = retold(offender, dst.version === 4 ? 16 : 24, dst, 2, port);
  return { ...offender, dst, ...packet };
}

/** As `inTermsOf`, where its source and port were. */
export function inTermsOfSource(offender: Offender, src: Ip, port: number): Offender {
  const packet = retold(offender, src.version === 4 ? 12 : 8, src, 0, port);
  return { ...offender, src, ...packet };
}

/** With another address, and another port, there; `portAt` counts from the upper layer's header. */
function retold(
  offender: Offender,
  addressAt: number,
  address: Ip,
  portAt: number,
  port: number | undefined,
): Pick<Offender, 'packet' | 'payload'> {
  const packet = offender.packet.slice();
  const upper = packet.length - offender.payload.length;
  const changes: Change[] = [replace(packet, addressAt, bytesOf(address))];
  if (address.version === 4) updateChecksum(packet, 10, changes);
  const checksumAt = upper + (CHECKSUM_AT[offender.protocol] ?? Number.POSITIVE_INFINITY);
  if (port !== undefined && HAS_PORTS.has(offender.protocol) && packet.length >= upper + 4)
    changes.push(replace(packet, upper + portAt, Uint8Array.of(port >> 8, port & 0xff)));
  const isLeftOut = offender.protocol === IP_PROTO.udp && packet[checksumAt] === 0 && packet[checksumAt + 1] === 0;
  if (packet.length >= checksumAt + 2 && !isLeftOut) updateChecksum(packet, checksumAt, changes);
  return { packet, payload: packet.subarray(upper) };
}

const HAS_PORTS: ReadonlySet<number> = new Set([IP_PROTO.tcp, IP_PROTO.udp, IP_PROTO.sctp]);
/** Behind the IP header, of protocols whose checksum covers addresses. */
const CHECKSUM_AT: Readonly<Record<number, number>> = {
  [IP_PROTO.tcp]: 16,
  [IP_PROTO.udp]: 6,
  [IP_PROTO.icmpv6]: 2,
};

interface Change {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

function replace(packet: Uint8Array, at: number, after: Uint8Array): Change {
  const before = packet.slice(at, at + after.length);
  packet.set(after, at);
  return { before, after };
}

/** RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). */
function updateChecksum(packet: Uint8Array, at: number, changes: readonly Change[]): void {
  let sum = ~((packet[at]! << 8) | packet[at + 1]!) & 0xffff;
  for (const { before, after } of changes)
    for (let i = 0; i < before.length; i += 2)
      sum += (~((before[i]! << 8) | before[i + 1]!) & 0xffff) + ((after[i]! << 8) | after[i + 1]!);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet[at] = (~sum >> 8) & 0xff;
  packet[at + 1] = ~sum & 0xff;
}

function bytesOf(ip: Ip): Uint8Array {
  return ip.version === 4 ? new ByteWriter(4).u32(ip.value).finish() : new ByteWriter(16).u128(ip.value).finish();
}
