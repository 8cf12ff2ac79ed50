import type { Ipv6, Mac } from '../base/addresses.ts';
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { decodeDomainName, encodeDomainName } from './domain-name.ts';

/** Bits of a prefix option's flags (RFC 4861 §4.6.2, RFC 6275 §7.2). */
export const PREFIX_FLAG = { onLink: 0x80, autonomous: 0x40, routerAddress: 0x20 } as const;

/** `lifetimeS` of something that does not end. */
export const INFINITE_LIFETIME_S = 0xffff_ffff;

/** Options of neighbour discovery (RFC 4861 §4.6, RFC 4191 §2.3, RFC 8106 §5). */
export type NdOption =
  | { readonly kind: 'sourceLinkLayer' | 'targetLinkLayer'; readonly mac: Mac }
  | {
      readonly kind: 'prefix';
      readonly prefix: Ipv6;
      readonly prefixLength: number;
      /** Of `PREFIX_FLAG`. */
      readonly flags: number;
      readonly validS: number;
      readonly preferredS: number;
    }
  /** The start of the packet that was redirected: a multiple of 8 bytes. */
  | { readonly kind: 'redirected'; readonly packet: Uint8Array }
  | { readonly kind: 'mtu'; readonly mtu: number }
  | {
      readonly kind: 'route';
      /** Bits beyond the prefix length are not sent beyond the next multiple of 64. */
      readonly prefix: Ipv6;
      readonly prefixLength: number;
      /** RFC 4191 §2.1: 1 high, 0 medium, 3 low. */
      readonly preference: number;
      readonly lifetimeS: number;
    }
  | { readonly kind: 'dnsServers'; readonly lifetimeS: number; readonly servers: readonly Ipv6[] }
  | { readonly kind: 'dnsSearch'; readonly lifetimeS: number; readonly domains: readonly string[] }
  /** Any other, also a link-layer address that is not Ethernet's. `data` after type and length: 6, 14, 22 … bytes. */
  | { readonly kind: 'unknown'; readonly code: number; readonly data: Uint8Array };

const CODE = {
  sourceLinkLayer: 1,
  targetLinkLayer: 2,
  prefix: 3,
  redirected: 4,
  mtu: 5,
  route: 24,
  dnsServers: 25,
  dnsSearch: 31,
} as const;

/**
 * All options up to the end of the reader.
 *
 *      0        8       16
 *     +--------+--------+--------------- - -
 *     |  type  | length | data                length in units of 8 bytes, type and length counted
 *     +--------+--------+--------------- - -
 *
 * Errors: `truncated`, `bad-length` (zero, or not that of the type: RFC 4861 §4.6 has the whole packet discarded).
 */
export function decodeNdOptions(reader: ByteReader): NdOption[] {
  const options: NdOption[] = [];
  while (reader.remaining > 0) {
    const code = reader.u8('nd.option.type');
    const units = reader.u8('nd.option.length');
    if (units === 0) reader.fail('bad-length', 'nd.option.length', '0');
    options.push(decodeNdOption(code, units, reader.sub(units * 8 - 2, 'nd.option.data')));
  }
  return options;
}

function decodeNdOption(code: number, units: number, data: ByteReader): NdOption {
  switch (code) {
    case CODE.sourceLinkLayer:
    case CODE.targetLinkLayer:
      if (units !== 1) break;
      return {
        kind: code === CODE.sourceLinkLayer ? 'sourceLinkLayer' : 'targetLinkLayer',
        mac: data.u48('nd.option.mac') as Mac,
      };
    case CODE.prefix:
      return decodePrefix(units, data);
    case CODE.redirected:
      data.skip(6, 'nd.option.reserved');
      return { kind: 'redirected', packet: data.rest() };
    case CODE.mtu:
      if (units !== 1) data.fail('bad-length', 'nd.option.mtu', `${units} units`);
      data.skip(2, 'nd.option.reserved');
      return { kind: 'mtu', mtu: data.u32('nd.option.mtu') };
    case CODE.route:
      return decodeRoute(units, data);
    case CODE.dnsServers:
      return decodeDnsServers(units, data);
    case CODE.dnsSearch:
      return decodeDnsSearch(units, data);
  }
  return { kind: 'unknown', code, data: data.rest() };
}

/**
 * RFC 4861 §4.6.2.
 *
 *      0        8       16       24     31
 *     +--------+--------+--------+--------+
 *     |   3    |   4    | prefix |L|A|R   |
 *     +--------+--------+ length +--------+
 *     |          valid lifetime           |
 *     +-----------------------------------+
 *     |        preferred lifetime         |
 *     +-----------------------------------+
 *     |     reserved, then the prefix     |
 *     +-----------------------------------+
 */
function decodePrefix(units: number, data: ByteReader): NdOption {
  if (units !== 4) data.fail('bad-length', 'nd.option.prefix', `${units} units`);
  const prefixLength = data.u8('nd.option.prefixLength');
  if (prefixLength > 128) data.fail('bad-value', 'nd.option.prefixLength', `${prefixLength}`);
  const flags = data.u8('nd.option.flags');
  const validS = data.u32('nd.option.valid');
  const preferredS = data.u32('nd.option.preferred');
  data.skip(4, 'nd.option.reserved');
  return { kind: 'prefix', prefix: data.u128('nd.option.prefix') as Ipv6, prefixLength, flags, validS, preferredS };
}

/**
 * RFC 4191 §2.3. The prefix takes 0, 8 or 16 bytes; we send the fewest that hold the prefix length.
 *
 *      0        8       16       24 27 29 31
 *     +--------+--------+--------+---+--+--+
 *     |   24   | 1 to 3 | prefix |   |Prf|  |
 *     +--------+--------+ length +---+--+--+
 *     |              lifetime              |
 *     +------------------------------------+
 *     |      prefix (0, 8 or 16 bytes)     |
 *     +------------------------------------+
 */
function decodeRoute(units: number, data: ByteReader): NdOption {
  const prefixLength = data.u8('nd.option.prefixLength');
  if (units > 3) data.fail('bad-length', 'nd.option.route', `${units} units`);
  if (prefixLength > (units - 1) * 64) data.fail('bad-value', 'nd.option.prefixLength', `${prefixLength}`);
  const preference = (data.u8('nd.option.preference') >> 3) & 3;
  const lifetimeS = data.u32('nd.option.lifetime');
  let prefix = 0n;
  if (units === 3) prefix = data.u128('nd.option.prefix');
  else if (units === 2) prefix = data.u64('nd.option.prefix') << 64n;
  // Bits that a shorter form would not carry do not belong to the prefix (RFC 4191 §2.3: ignored by the receiver).
  if (prefixLength === 0) prefix = 0n;
  else if (prefixLength <= 64) prefix = (prefix >> 64n) << 64n;
  return { kind: 'route', prefix: prefix as Ipv6, prefixLength, preference, lifetimeS };
}

/** RFC 8106 §5.1: reserved (2 bytes), lifetime (4), addresses. */
function decodeDnsServers(units: number, data: ByteReader): NdOption {
  if (units < 3 || units % 2 === 0) data.fail('bad-length', 'nd.option.dnsServers', `${units} units`);
  data.skip(2, 'nd.option.reserved');
  const lifetimeS = data.u32('nd.option.lifetime');
  const servers: Ipv6[] = [];
  while (data.remaining > 0) servers.push(data.u128('nd.option.server') as Ipv6);
  return { kind: 'dnsServers', lifetimeS, servers };
}

/** RFC 8106 §5.2: reserved (2 bytes), lifetime (4), names one after the other, zeros to the end. */
function decodeDnsSearch(units: number, data: ByteReader): NdOption {
  if (units < 2) data.fail('bad-length', 'nd.option.dnsSearch', `${units} units`);
  data.skip(2, 'nd.option.reserved');
  const lifetimeS = data.u32('nd.option.lifetime');
  const domains: string[] = [];
  while (data.remaining > 0) {
    if (data.bytes[data.offset] === 0) {
      if (data.rest().some((byte) => byte !== 0)) data.fail('bad-padding', 'nd.option.domain');
      break;
    }
    domains.push(decodeDomainName(data, 'nd.option.domain'));
  }
  return { kind: 'dnsSearch', lifetimeS, domains };
}

/** Options are filled with zeros to a multiple of 8 bytes. Error: `RangeError` for more than 2040 bytes in one. */
export function encodeNdOptions(options: readonly NdOption[], writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  for (const option of options) {
    const start = writer.length;
    writer.u8(option.kind === 'unknown' ? option.code : CODE[option.kind]).u8(0);
    encodeData(option, writer);
    writer.align(8, start);
    const units = (writer.length - start) / 8;
    if (units > 255) throw new RangeError(`a neighbour discovery option of ${units * 8} bytes is too long`);
    writer.patchU8(start + 1, units);
  }
  return writer.view(from);
}

function encodeData(option: NdOption, writer: ByteWriter): void {
  switch (option.kind) {
    case 'sourceLinkLayer':
    case 'targetLinkLayer':
      writer.u48(option.mac);
      break;
    case 'prefix':
      writer.u8(option.prefixLength).u8(option.flags).u32(option.validS).u32(option.preferredS).u32(0);
      writer.u128(option.prefix);
      break;
    case 'redirected':
      writer.zeros(6).raw(option.packet);
      break;
    case 'mtu':
      writer.u16(0).u32(option.mtu);
      break;
    case 'route':
      writer.u8(option.prefixLength).u8(option.preference << 3);
      writer.u32(option.lifetimeS);
      if (option.prefixLength > 64) writer.u128(option.prefix);
      else if (option.prefixLength > 0) writer.u64(option.prefix >> 64n);
      break;
    case 'dnsServers':
      writer.u16(0).u32(option.lifetimeS);
      for (const server of option.servers) writer.u128(server);
      break;
    case 'dnsSearch':
      writer.u16(0).u32(option.lifetimeS);
      for (const domain of option.domains) encodeDomainName(domain, writer);
      // The shortest form that is allowed is two units, also without a name.
      if (option.domains.length === 0) writer.zeros(8);
      break;
    case 'unknown':
      writer.raw(option.data);
      break;
  }
}
