import type { Ipv6 } from '../base/addresses.ts';
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { type Dhcpv6Option, decodeDhcpv6Options, encodeDhcpv6Options } from './dhcpv6-option.ts';
import { type Input, readerOf } from './input.ts';

/*
 * DHCP for IPv6 (RFC 8415): the payload of UDP from port 546 to 547 and back.
 */

/** RFC 8415 §7.3. */
export const DHCPV6_MESSAGE = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  informationRequest: 11,
  relayForward: 12,
  relayReply: 13,
} as const;

/** Values of option `statusCode` (RFC 8415 §21.13). */
export const DHCPV6_STATUS = {
  success: 0,
  unspecFail: 1,
  noAddrsAvail: 2,
  noBinding: 3,
  notOnLink: 4,
  useMulticast: 5,
  noPrefixAvail: 6,
} as const;

/** What a client or server says. */
export interface Dhcpv6ClientMessage {
  readonly kind: 'message';
  /** Of `DHCPV6_MESSAGE`, without the relay forms. */
  readonly type: number;
  /** 24 bits. */
  readonly transactionId: number;
  readonly options: readonly Dhcpv6Option[];
}

/** What relays put around it, in option `relayMessage` (RFC 8415 §9). */
export interface Dhcpv6RelayMessage {
  readonly kind: 'relay';
  /** `relayForward` or `relayReply`. */
  readonly type: number;
  readonly hopCount: number;
  readonly linkAddress: Ipv6;
  readonly peerAddress: Ipv6;
  readonly options: readonly Dhcpv6Option[];
}

export type Dhcpv6Message = Dhcpv6ClientMessage | Dhcpv6RelayMessage;

/** The first option of this kind. */
export function dhcpv6Option<K extends Dhcpv6Option['kind']>(
  options: readonly Dhcpv6Option[],
  kind: K,
): (Dhcpv6Option & { readonly kind: K }) | undefined {
  return options.find((option): option is Dhcpv6Option & { readonly kind: K } => option.kind === kind);
}

/**
 * RFC 8415 §8, §9.
 *
 *      0        8                      31          0        8        16
 *     +--------+------------------------+         +--------+--------+------------ - -
 *     |  type  |     transaction id     |         | 12, 13 |  hops  | link address (16)
 *     +--------+------------------------+         +--------+--------+------------ - -
 *     |  options                        |         | peer address (16)
 *     +---------------------------------+         +---------------------------- - -
 *                                                 |  options
 *                                                 +---------------------------- - -
 *
 * A relayed message stays bytes in its option; `decodeDhcpv6` reads it in turn.
 * Errors: `truncated`, `bad-length`, `bad-value`, `too-deep`.
 */
export function decodeDhcpv6(input: Input): Dhcpv6Message {
  const reader = readerOf(input);
  const type = reader.u8('dhcpv6.type');
  if (type !== DHCPV6_MESSAGE.relayForward && type !== DHCPV6_MESSAGE.relayReply) {
    const transactionId = reader.u24('dhcpv6.transactionId');
    return { kind: 'message', type, transactionId, options: decodeDhcpv6Options(reader) };
  }
  return {
    kind: 'relay',
    type,
    hopCount: reader.u8('dhcpv6.hopCount'),
    linkAddress: reader.u128('dhcpv6.linkAddress') as Ipv6,
    peerAddress: reader.u128('dhcpv6.peerAddress') as Ipv6,
    options: decodeDhcpv6Options(reader),
  };
}

export function encodeDhcpv6(message: Dhcpv6Message, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  writer.u8(message.type);
  if (message.kind === 'message') writer.u24(message.transactionId);
  else writer.u8(message.hopCount).u128(message.linkAddress).u128(message.peerAddress);
  encodeDhcpv6Options(message.options, writer);
  return writer.view(from);
}

/** Unique identifiers of clients and servers (RFC 8415 §11, RFC 6355). They are compared as bytes. */
export type Duid =
  /** `timeS` counts seconds from 2000 on, modulo 2^32. */
  | { readonly kind: 'linkLayerTime'; readonly hardware: number; readonly timeS: number; readonly address: Uint8Array }
  | { readonly kind: 'enterprise'; readonly enterprise: number; readonly id: Uint8Array }
  | { readonly kind: 'linkLayer'; readonly hardware: number; readonly address: Uint8Array }
  | { readonly kind: 'uuid'; readonly uuid: Uint8Array }
  | { readonly kind: 'unknown'; readonly type: number; readonly data: Uint8Array };

/**
 * RFC 8415 §11.2 to §11.5.
 *
 *      0                 16                31
 *     +-----------------+------------------+--------------- - -
 *     | 1 LLT           | hardware type    | time (4), address
 *     | 2 EN            | enterprise (4), identifier
 *     | 3 LL            | hardware type    | address
 *     | 4 UUID          | 16 bytes
 *     +-----------------+------------------+--------------- - -
 *
 * Errors: `truncated`, `bad-length` (a UUID that is not 16 bytes).
 */
export function decodeDuid(input: Input): Duid {
  const reader = readerOf(input);
  const type = reader.u16('duid.type');
  if (type === 1)
    return {
      kind: 'linkLayerTime',
      hardware: reader.u16('duid.hardware'),
      timeS: reader.u32('duid.time'),
      address: reader.rest(),
    };
  if (type === 2) return { kind: 'enterprise', enterprise: reader.u32('duid.enterprise'), id: reader.rest() };
  if (type === 3) return { kind: 'linkLayer', hardware: reader.u16('duid.hardware'), address: reader.rest() };
  if (type === 4) return { kind: 'uuid', uuid: uuidOf(reader) };
  return { kind: 'unknown', type, data: reader.rest() };
}

function uuidOf(reader: ByteReader): Uint8Array {
  if (reader.remaining > 16) reader.fail('bad-length', 'duid.uuid', `${reader.remaining} bytes`);
  return reader.take(16, 'duid.uuid');
}

export function encodeDuid(duid: Duid, writer = new ByteWriter(32)): Uint8Array {
  const from = writer.length;
  switch (duid.kind) {
    case 'linkLayerTime':
      writer.u16(1).u16(duid.hardware).u32(duid.timeS).raw(duid.address);
      break;
    case 'enterprise':
      writer.u16(2).u32(duid.enterprise).raw(duid.id);
      break;
    case 'linkLayer':
      writer.u16(3).u16(duid.hardware).raw(duid.address);
      break;
    case 'uuid':
      writer.u16(4).raw(duid.uuid);
      break;
    case 'unknown':
      writer.u16(duid.type).raw(duid.data);
      break;
  }
  return writer.view(from);
}
