import type { Ipv6, Mac } from '../base/addresses.ts';
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { checksum, type PseudoHeader } from './checksum.ts';
import { ICMPV6_TYPE } from './icmpv6.ts';
import { type Input, readerOf } from './input.ts';
import { decodeNdOptions, encodeNdOptions, type NdOption } from './nd-option.ts';

/*
 * Neighbour discovery (RFC 4861 §4): the ICMPv6 messages 133 to 137. Reserved bits are sent as zero and not kept.
 */

/** Bits of a router advertisement's flags; the preference (RFC 4191 §2.2) is the two bits of `preferenceMask`. */
export const RA_FLAG = { managed: 0x80, other: 0x40, homeAgent: 0x20, preferenceMask: 0x18 } as const;
/** Bits of a neighbour advertisement's 32-bit flags. */
export const NA_FLAG = { router: 0x8000_0000, solicited: 0x4000_0000, override: 0x2000_0000 } as const;

/** Lifetimes in seconds, times in milliseconds, as the unit of each field says. */
export type NdMessage =
  | { readonly kind: 'routerSolicit'; readonly options: readonly NdOption[] }
  | {
      readonly kind: 'routerAdvert';
      /** What hosts should send with; 0: unspecified. */
      readonly hopLimit: number;
      /** Of `RA_FLAG`. */
      readonly flags: number;
      /** 0: not a default router. */
      readonly lifetimeS: number;
      readonly reachableMs: number;
      readonly retransmitMs: number;
      readonly options: readonly NdOption[];
    }
  | { readonly kind: 'neighborSolicit'; readonly target: Ipv6; readonly options: readonly NdOption[] }
  | {
      readonly kind: 'neighborAdvert';
      /** Of `NA_FLAG`. */
      readonly flags: number;
      readonly target: Ipv6;
      readonly options: readonly NdOption[];
    }
  | {
      readonly kind: 'redirect';
      readonly target: Ipv6;
      readonly destination: Ipv6;
      readonly options: readonly NdOption[];
    };

/** Whether an ICMPv6 message of this type and code is neighbour discovery. */
export function isNd(type: number, code: number): boolean {
  return type >= ICMPV6_TYPE.routerSolicit && type <= ICMPV6_TYPE.redirect && code === 0;
}

/** The address of the first source or target link-layer option. */
export function linkLayerOf(message: NdMessage, kind: 'sourceLinkLayer' | 'targetLinkLayer'): Mac | undefined {
  for (const option of message.options) if (option.kind === kind) return option.mac;
  return undefined;
}

/**
 * From the ICMPv6 type on, to the end of the input. RFC 4861 §4.1 to §4.5.
 *
 *      0             8             16                            31
 *     +-------------+-------------+-------------------------------+
 *     | type 133 …  |   code 0    |           checksum            |
 *     +-------------+-------------+-------------------------------+
 *     | RA: hop lim.| M|O|H|Prf   |  RA: router lifetime (s)      |
 *     | NA: R|S|O and reserved bits; others: reserved             |
 *     +-----------------------------------------------------------+
 *     | RA: reachable time (ms), retransmit timer (ms), 4 bytes   |
 *     | each; NS, NA, redirect: target (16 bytes)                 |
 *     +-----------------------------------------------------------+
 *     | redirect: destination (16 bytes)                          |
 *     +-----------------------------------------------------------+
 *     | options                                                   |
 *     +-----------------------------------------------------------+
 *
 * The checksum is verified only when `pseudo` gives the pseudo header.
 * Errors: `truncated`, `bad-length` (option), `bad-type` (no neighbour discovery message), `bad-checksum`.
 */
export function decodeNd(input: Input, pseudo?: PseudoHeader): NdMessage {
  const reader = readerOf(input);
  const start = reader.offset;
  const type = reader.u8('nd.type');
  const code = reader.u8('nd.code');
  if (!isNd(type, code)) reader.fail('bad-type', 'nd.type', `type ${type} code ${code}`);
  reader.skip(2, 'nd.checksum');
  if (pseudo !== undefined && checksum(reader.bytes.subarray(start), pseudo(reader.length - start)) !== 0)
    reader.fail('bad-checksum', 'nd.checksum');
  return decodeBody(type, reader);
}

function decodeBody(type: number, reader: ByteReader): NdMessage {
  if (type === ICMPV6_TYPE.routerAdvert)
    return {
      kind: 'routerAdvert',
      hopLimit: reader.u8('nd.hopLimit'),
      flags: reader.u8('nd.flags'),
      lifetimeS: reader.u16('nd.lifetime'),
      reachableMs: reader.u32('nd.reachable'),
      retransmitMs: reader.u32('nd.retransmit'),
      options: decodeNdOptions(reader),
    };
  const flags = reader.u32('nd.flags');
  if (type === ICMPV6_TYPE.routerSolicit) return { kind: 'routerSolicit', options: decodeNdOptions(reader) };
  const target = reader.u128('nd.target') as Ipv6;
  if (type === ICMPV6_TYPE.neighborSolicit)
    return { kind: 'neighborSolicit', target, options: decodeNdOptions(reader) };
  if (type === ICMPV6_TYPE.neighborAdvert)
    return {
      kind: 'neighborAdvert',
      flags: (flags & 0xe000_0000) >>> 0,
      target,
      options: decodeNdOptions(reader),
    };
  const destination = reader.u128('nd.destination') as Ipv6;
  return { kind: 'redirect', target, destination, options: decodeNdOptions(reader) };
}

/** The whole ICMPv6 message with its checksum. */
export function encodeNd(message: NdMessage, pseudo: PseudoHeader, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  writer.u8(ICMPV6_TYPE[message.kind]).u8(0).u16(0);
  switch (message.kind) {
    case 'routerSolicit':
      writer.u32(0);
      break;
    case 'routerAdvert':
      writer.u8(message.hopLimit).u8(message.flags).u16(message.lifetimeS);
      writer.u32(message.reachableMs).u32(message.retransmitMs);
      break;
    case 'neighborSolicit':
      writer.u32(0).u128(message.target);
      break;
    case 'neighborAdvert':
      writer.u32(message.flags).u128(message.target);
      break;
    case 'redirect':
      writer.u32(0).u128(message.target).u128(message.destination);
      break;
  }
  encodeNdOptions(message.options, writer);
  writer.patchU16(from + 2, checksum(writer.view(from), pseudo(writer.length - from)));
  return writer.view(from);
}
