import type { Ipv6 } from '../base/addresses.ts';
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { decodeDomainName, decodeDomainNames, encodeDomainName } from './domain-name.ts';

/** Of RFC 8415 §21, RFC 3646 (DNS), RFC 5908 (NTP). Lifetimes and times in seconds. */
export type Dhcpv6Option =
  /** A DUID as bytes, for comparing; `decodeDuid` reads it. */
  | { readonly kind: 'clientId' | 'serverId'; readonly duid: Uint8Array }
  | {
      /** Addresses (IA_NA) or delegated prefixes (IA_PD). `t1S`, `t2S`: when to renew and to rebind; 0: the client's choice. */
      readonly kind: 'addresses' | 'prefixes';
      readonly iaid: number;
      readonly t1S: number;
      readonly t2S: number;
      readonly options: readonly Dhcpv6Option[];
    }
  /** Temporary addresses (IA_TA). */
  | { readonly kind: 'temporaryAddresses'; readonly iaid: number; readonly options: readonly Dhcpv6Option[] }
  | {
      /** Within `addresses`. */
      readonly kind: 'address';
      readonly address: Ipv6;
      readonly preferredS: number;
      readonly validS: number;
      readonly options: readonly Dhcpv6Option[];
    }
  | {
      /** Within `prefixes`. */
      readonly kind: 'prefix';
      readonly prefix: Ipv6;
      readonly prefixLength: number;
      readonly preferredS: number;
      readonly validS: number;
      readonly options: readonly Dhcpv6Option[];
    }
  /** The codes that a client asks for (ORO). */
  | { readonly kind: 'optionRequest'; readonly codes: readonly number[] }
  | { readonly kind: 'preference'; readonly value: number }
  /** In hundredths of a second. */
  | { readonly kind: 'elapsedTime'; readonly centiseconds: number }
  | { readonly kind: 'relayMessage'; readonly message: Uint8Array }
  | { readonly kind: 'statusCode'; readonly status: number; readonly text: string }
  | { readonly kind: 'rapidCommit' }
  | { readonly kind: 'interfaceId'; readonly id: Uint8Array }
  | { readonly kind: 'dnsServers'; readonly servers: readonly Ipv6[] }
  | { readonly kind: 'domainSearch'; readonly domains: readonly string[] }
  | { readonly kind: 'ntpServers'; readonly servers: readonly NtpServer[] }
  | { readonly kind: 'informationRefreshTime' | 'solMaxRt' | 'infMaxRt'; readonly seconds: number }
  | { readonly kind: 'unknown'; readonly code: number; readonly data: Uint8Array };

/** Sub-options of RFC 5908 §4. */
export type NtpServer =
  | { readonly kind: 'address' | 'multicast'; readonly address: Ipv6 }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'unknown'; readonly code: number; readonly data: Uint8Array };

/** Codes by name, as an option request has them (IANA registry). */
export const DHCPV6_OPTION_CODE = {
  clientId: 1,
  serverId: 2,
  addresses: 3,
  temporaryAddresses: 4,
  address: 5,
  optionRequest: 6,
  preference: 7,
  elapsedTime: 8,
  relayMessage: 9,
  statusCode: 13,
  rapidCommit: 14,
  interfaceId: 18,
  dnsServers: 23,
  domainSearch: 24,
  prefixes: 25,
  prefix: 26,
  informationRefreshTime: 32,
  ntpServers: 56,
  solMaxRt: 82,
  infMaxRt: 83,
} as const;

const NAME_OF = new Map<number, keyof typeof DHCPV6_OPTION_CODE>(
  Object.entries(DHCPV6_OPTION_CODE).map(([name, code]) => [code, name as keyof typeof DHCPV6_OPTION_CODE]),
);
const NTP_CODE = { address: 1, multicast: 2, name: 3 } as const;
/** IA within a message, address within the IA, status within the address: three. */
const DEPTH_MAX = 8;

/**
 * All options up to the end of the reader.
 *
 *      0                 16                31
 *     +-----------------+------------------+------------ - -
 *     |      code       |      length      | data
 *     +-----------------+------------------+------------ - -
 *
 * Errors: `truncated`, `bad-length`, `bad-value`, `too-deep`.
 */
export function decodeDhcpv6Options(reader: ByteReader, depth = 0): Dhcpv6Option[] {
  if (depth > DEPTH_MAX) reader.fail('too-deep', 'dhcpv6.options');
  const options: Dhcpv6Option[] = [];
  while (reader.remaining > 0) {
    const code = reader.u16('dhcpv6.option.code');
    const data = reader.sub(reader.u16('dhcpv6.option.length'), 'dhcpv6.option.data');
    options.push(decodeOption(code, data, depth));
    if (data.remaining > 0) data.fail('bad-length', `dhcpv6.option.${code}`, `${data.length} bytes`);
  }
  return options;
}

function decodeOption(code: number, data: ByteReader, depth: number): Dhcpv6Option {
  const kind = NAME_OF.get(code);
  const field = `dhcpv6.option.${kind}`;
  switch (kind) {
    case 'clientId':
    case 'serverId':
      return { kind, duid: data.rest() };
    case 'addresses':
    case 'prefixes':
    case 'temporaryAddresses':
    case 'address':
    case 'prefix':
      return decodeAssociation(kind, data, depth);
    case 'optionRequest':
      return { kind, codes: repeated(data, () => data.u16(field)) };
    case 'preference':
      return { kind, value: data.u8(field) };
    case 'elapsedTime':
      return { kind, centiseconds: data.u16(field) };
    case 'relayMessage':
      return { kind, message: data.rest() };
    case 'statusCode':
      return { kind, status: data.u16(field), text: Buffer.from(data.rest()).toString('latin1') };
    case 'rapidCommit':
      return { kind };
    case 'interfaceId':
      return { kind, id: data.rest() };
    case 'dnsServers':
      return { kind, servers: repeated(data, () => data.u128(field) as Ipv6) };
    case 'domainSearch':
      return { kind, domains: decodeDomainNames(data, field) };
    case 'ntpServers':
      return { kind, servers: repeated(data, () => decodeNtpServer(data)) };
    case 'informationRefreshTime':
    case 'solMaxRt':
    case 'infMaxRt':
      return { kind, seconds: data.u32(field) };
    case undefined:
      return { kind: 'unknown', code, data: data.rest() };
  }
}

/**
 * RFC 8415 §21.4 to §21.6, §21.21, §21.22: what carries options of its own.
 *
 *     addresses, prefixes    IAID (4) | T1 (4)        | T2 (4)                                  | options
 *     temporaryAddresses     IAID (4)                                                           | options
 *     address                address (16)             | preferred (4)     | valid (4)           | options
 *     prefix                 preferred (4) | valid (4) | prefix length (1) | prefix (16)        | options
 */
function decodeAssociation(
  kind: 'addresses' | 'prefixes' | 'temporaryAddresses' | 'address' | 'prefix',
  data: ByteReader,
  depth: number,
): Dhcpv6Option {
  const field = `dhcpv6.option.${kind}`;
  const nested = () => decodeDhcpv6Options(data, depth + 1);
  switch (kind) {
    case 'addresses':
    case 'prefixes':
      return { kind, iaid: data.u32(field), t1S: data.u32(field), t2S: data.u32(field), options: nested() };
    case 'temporaryAddresses':
      return { kind, iaid: data.u32(field), options: nested() };
    case 'address': {
      const address = data.u128(field) as Ipv6;
      return { kind, address, preferredS: data.u32(field), validS: data.u32(field), options: nested() };
    }
    case 'prefix': {
      const preferredS = data.u32(field);
      const validS = data.u32(field);
      const prefixLength = data.u8(field);
      if (prefixLength > 128) data.fail('bad-value', field, `prefix length ${prefixLength}`);
      return { kind, prefix: data.u128(field) as Ipv6, prefixLength, preferredS, validS, options: nested() };
    }
  }
}

function decodeNtpServer(reader: ByteReader): NtpServer {
  const code = reader.u16('dhcpv6.ntp.code');
  const data = reader.sub(reader.u16('dhcpv6.ntp.length'), 'dhcpv6.ntp.data');
  const server = decodeNtpData(code, data);
  if (data.remaining > 0) data.fail('bad-length', 'dhcpv6.ntp.length', `${data.length} bytes`);
  return server;
}

function decodeNtpData(code: number, data: ByteReader): NtpServer {
  if (code === NTP_CODE.address) return { kind: 'address', address: data.u128('dhcpv6.ntp.address') as Ipv6 };
  if (code === NTP_CODE.multicast) return { kind: 'multicast', address: data.u128('dhcpv6.ntp.address') as Ipv6 };
  if (code === NTP_CODE.name) return { kind: 'name', name: decodeDomainName(data, 'dhcpv6.ntp.name') };
  return { kind: 'unknown', code, data: data.rest() };
}

function repeated<T>(reader: ByteReader, one: () => T): T[] {
  const values: T[] = [];
  while (reader.remaining > 0) values.push(one());
  return values;
}

export function encodeDhcpv6Options(options: readonly Dhcpv6Option[], writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  for (const option of options) {
    writer.u16(option.kind === 'unknown' ? option.code : DHCPV6_OPTION_CODE[option.kind]);
    sized(writer, () => encodeData(option, writer));
  }
  return writer.view(from);
}

/** A 16-bit length before what `body` writes. */
function sized(writer: ByteWriter, body: () => void): void {
  const at = writer.length;
  writer.u16(0);
  body();
  const length = writer.length - at - 2;
  if (length > 0xffff) throw new RangeError(`a DHCPv6 option of ${length} bytes is too long`);
  writer.patchU16(at, length);
}

function encodeData(option: Dhcpv6Option, writer: ByteWriter): void {
  switch (option.kind) {
    case 'clientId':
    case 'serverId':
      writer.raw(option.duid);
      break;
    case 'addresses':
    case 'prefixes':
      writer.u32(option.iaid).u32(option.t1S).u32(option.t2S);
      encodeDhcpv6Options(option.options, writer);
      break;
    case 'temporaryAddresses':
      writer.u32(option.iaid);
      encodeDhcpv6Options(option.options, writer);
      break;
    case 'address':
      writer.u128(option.address).u32(option.preferredS).u32(option.validS);
      encodeDhcpv6Options(option.options, writer);
      break;
    case 'prefix':
      writer.u32(option.preferredS).u32(option.validS).u8(option.prefixLength).u128(option.prefix);
      encodeDhcpv6Options(option.options, writer);
      break;
    case 'optionRequest':
      for (const code of option.codes) writer.u16(code);
      break;
    case 'preference':
      writer.u8(option.value);
      break;
    case 'elapsedTime':
      writer.u16(option.centiseconds);
      break;
    case 'relayMessage':
      writer.raw(option.message);
      break;
    case 'statusCode':
      writer.u16(option.status).raw(Buffer.from(option.text, 'latin1'));
      break;
    case 'rapidCommit':
      break;
    case 'interfaceId':
      writer.raw(option.id);
      break;
    case 'dnsServers':
      for (const server of option.servers) writer.u128(server);
      break;
    case 'domainSearch':
      for (const domain of option.domains) encodeDomainName(domain, writer);
      break;
    case 'ntpServers':
      for (const server of option.servers) encodeNtpServer(server, writer);
      break;
    case 'informationRefreshTime':
    case 'solMaxRt':
    case 'infMaxRt':
      writer.u32(option.seconds);
      break;
    case 'unknown':
      writer.raw(option.data);
      break;
  }
}

function encodeNtpServer(server: NtpServer, writer: ByteWriter): void {
  writer.u16(server.kind === 'unknown' ? server.code : NTP_CODE[server.kind]);
  sized(writer, () => {
    switch (server.kind) {
      case 'address':
      case 'multicast':
        writer.u128(server.address);
        break;
      case 'name':
        encodeDomainName(server.name, writer);
        break;
      case 'unknown':
        writer.raw(server.data);
        break;
    }
  });
}
