import type { Ipv4 } from '../base/addresses.ts';
import { ByteReader, ByteWriter } from '../base/bytes.ts';

/*
 * DHCPv4 options: one table per shape of value, by name (RFC 2132 and the RFCs named). Codes that stand in none of them
 * are kept as they are.
 */

const ADDRESS = { subnetMask: 1, broadcastAddress: 28, requestedAddress: 50, serverId: 54 } as const;
const ADDRESSES = { routers: 3, dnsServers: 6, ntpServers: 42 } as const;
/** One byte a character (ISO 8859-1), so that whatever a client sends survives. */
const TEXT = { hostName: 12, domainName: 15, message: 56, vendorClass: 60 } as const;
const BYTE = { messageType: 53 } as const;
const WORD = { mtu: 26, maxMessageSize: 57 } as const;
const SECONDS = { leaseTimeS: 51, renewalTimeS: 58, rebindingTimeS: 59 } as const;
const BYTES = { parameterList: 55, clientId: 61 } as const;
const ROUTES = { staticRoutes: 121 } as const;
const SUB_OPTIONS = { relayAgent: 82 } as const;
const CODES = {
  ...ADDRESS,
  ...ADDRESSES,
  ...TEXT,
  ...BYTE,
  ...WORD,
  ...SECONDS,
  ...BYTES,
  ...ROUTES,
  ...SUB_OPTIONS,
} as const;

/** RFC 3442. A gateway of 0.0.0.0 means that the destination is on the link. */
export interface DhcpRoute {
  readonly destination: Ipv4;
  readonly prefixLength: number;
  readonly gateway: Ipv4;
}

/** RFC 3046: 1 is the circuit id, 2 the remote id. */
export interface DhcpSubOption {
  readonly code: number;
  readonly value: Uint8Array;
}

export type DhcpOption =
  | { readonly kind: keyof typeof ADDRESS; readonly value: Ipv4 }
  | { readonly kind: keyof typeof ADDRESSES; readonly value: readonly Ipv4[] }
  | { readonly kind: keyof typeof TEXT; readonly value: string }
  | { readonly kind: keyof typeof BYTE; readonly value: number }
  | { readonly kind: keyof typeof WORD; readonly value: number }
  | { readonly kind: keyof typeof SECONDS; readonly value: number }
  | { readonly kind: keyof typeof BYTES; readonly value: Uint8Array }
  | { readonly kind: keyof typeof ROUTES; readonly value: readonly DhcpRoute[] }
  | { readonly kind: keyof typeof SUB_OPTIONS; readonly value: readonly DhcpSubOption[] }
  | { readonly kind: 'unknown'; readonly code: number; readonly value: Uint8Array };

/** What `value` is for an option of that kind. */
export type DhcpOptionValue<K extends DhcpOption['kind']> = (DhcpOption & { readonly kind: K })['value'];

/** The code of an option by name, as a parameter request list has it. */
export const DHCP_OPTION_CODE = CODES;

const PAD = 0;
const END = 255;
const OVERLOAD = 52;

/** An option's bytes, gathered from wherever parts of it stand, with the offset of the first in the whole message. */
interface Field {
  readonly code: number;
  readonly position: number;
  parts: Uint8Array[];
}

/** The options of a message as they are gathered from its fields: each code once, in the order of appearance. */
export class OptionFields {
  readonly #byCode = new Map<number, Field>();
  /** Which of the file (1) and server name (2) fields hold options too (RFC 2132 §9.3). */
  overload = 0;

  /**
   * Reads options up to the end mark, or the end of the reader.
   *
   *      0        8        16
   *     +--------+--------+---------- - -
   *     |  code  | length | value               0 pads and 255 ends: both a single byte
   *     +--------+--------+---------- - -
   */
  add(reader: ByteReader): void {
    while (reader.remaining > 0) {
      const code = reader.u8('dhcp.option.code');
      if (code === END) return;
      if (code === PAD) continue;
      const length = reader.u8('dhcp.option.length');
      const position = reader.position;
      const value = reader.take(length, 'dhcp.option.value');
      if (code === OVERLOAD) {
        if (length !== 1 || value[0]! > 3) reader.fail('bad-value', 'dhcp.option.overload');
        this.overload |= value[0]!;
        continue;
      }
      const field = this.#byCode.get(code);
      if (field) field.parts.push(value);
      else this.#byCode.set(code, { code, position, parts: [value] });
    }
  }

  *[Symbol.iterator](): Generator<Field> {
    yield* this.#byCode.values();
  }
}

export function readOptionFields(reader: ByteReader): OptionFields {
  const fields = new OptionFields();
  fields.add(reader);
  return fields;
}

/** Errors: `bad-length` where a value is not as long as its code wants, `truncated` within one. */
export function decodeDhcpOptions(fields: OptionFields): DhcpOption[] {
  const options: DhcpOption[] = [];
  for (const { code, position, parts } of fields) {
    const bytes = parts.length === 1 ? parts[0]! : new Uint8Array(Buffer.concat(parts));
    const decode = DECODERS.get(code);
    if (!decode) {
      options.push({ kind: 'unknown', code, value: bytes });
      continue;
    }
    const reader = new ByteReader(bytes, position);
    options.push(decode(reader));
    if (reader.remaining > 0) reader.fail('bad-length', `dhcp.option.${code}`, `${bytes.length} bytes`);
  }
  return options;
}

const DECODERS: ReadonlyMap<number, (reader: ByteReader) => DhcpOption> = decoders();

function decoders(): Map<number, (reader: ByteReader) => DhcpOption> {
  const map = new Map<number, (reader: ByteReader) => DhcpOption>();
  for (const kind of kindsOf(ADDRESS))
    map.set(ADDRESS[kind], (r) => ({ kind, value: r.u32(`dhcp.option.${kind}`) as Ipv4 }));
  for (const kind of kindsOf(ADDRESSES)) map.set(ADDRESSES[kind], (r) => ({ kind, value: decodeAddresses(r, kind) }));
  for (const kind of kindsOf(TEXT))
    map.set(TEXT[kind], (r) => ({ kind, value: Buffer.from(r.rest()).toString('latin1') }));
  for (const kind of kindsOf(BYTE)) map.set(BYTE[kind], (r) => ({ kind, value: r.u8(`dhcp.option.${kind}`) }));
  for (const kind of kindsOf(WORD)) map.set(WORD[kind], (r) => ({ kind, value: r.u16(`dhcp.option.${kind}`) }));
  for (const kind of kindsOf(SECONDS)) map.set(SECONDS[kind], (r) => ({ kind, value: r.u32(`dhcp.option.${kind}`) }));
  for (const kind of kindsOf(BYTES)) map.set(BYTES[kind], (r) => ({ kind, value: r.rest() }));
  map.set(ROUTES.staticRoutes, (r) => ({ kind: 'staticRoutes', value: decodeRoutes(r) }));
  map.set(SUB_OPTIONS.relayAgent, (r) => ({ kind: 'relayAgent', value: decodeSubOptions(r) }));
  return map;
}

function kindsOf<K extends string>(table: Readonly<Record<K, number>>): K[] {
  return Object.keys(table) as K[];
}

function decodeAddresses(reader: ByteReader, kind: string): Ipv4[] {
  const addresses: Ipv4[] = [];
  while (reader.remaining > 0) addresses.push(reader.u32(`dhcp.option.${kind}`) as Ipv4);
  return addresses;
}

/**
 * RFC 3442: of the destination only as many bytes as the prefix has.
 *
 *     +---------------+----------------------+-----------------+
 *     | prefix length | 0 to 4 bytes         | gateway (4)     |  repeated
 *     +---------------+----------------------+-----------------+
 */
function decodeRoutes(reader: ByteReader): DhcpRoute[] {
  const routes: DhcpRoute[] = [];
  while (reader.remaining > 0) {
    const prefixLength = reader.u8('dhcp.option.staticRoutes');
    if (prefixLength > 32) reader.fail('bad-value', 'dhcp.option.staticRoutes', `prefix length ${prefixLength}`);
    const significant = Math.ceil(prefixLength / 8);
    let destination = 0;
    for (let i = 0; i < 4; i++)
      destination = destination * 256 + (i < significant ? reader.u8('dhcp.option.staticRoutes') : 0);
    const gateway = reader.u32('dhcp.option.staticRoutes') as Ipv4;
    routes.push({ destination: destination as Ipv4, prefixLength, gateway });
  }
  return routes;
}

function decodeSubOptions(reader: ByteReader): DhcpSubOption[] {
  const options: DhcpSubOption[] = [];
  while (reader.remaining > 0) {
    const code = reader.u8('dhcp.option.relayAgent');
    const length = reader.u8('dhcp.option.relayAgent');
    options.push({ code, value: reader.take(length, 'dhcp.option.relayAgent') });
  }
  return options;
}

/** With the end mark. Error: `RangeError` for a relay sub-option of more than 255 bytes. */
export function encodeDhcpOptions(options: readonly DhcpOption[], writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  const scratch = new ByteWriter(64);
  for (const option of options) {
    scratch.reset();
    encodeValue(option, scratch);
    const value = scratch.view();
    const code = option.kind === 'unknown' ? option.code : CODES[option.kind];
    for (let at = 0; at === 0 || at < value.length; at += 255) {
      const part = value.subarray(at, at + 255);
      writer.u8(code).u8(part.length).raw(part);
    }
  }
  writer.u8(END);
  return writer.view(from);
}

function encodeValue(option: DhcpOption, writer: ByteWriter): void {
  switch (option.kind) {
    case 'subnetMask':
    case 'broadcastAddress':
    case 'requestedAddress':
    case 'serverId':
    case 'leaseTimeS':
    case 'renewalTimeS':
    case 'rebindingTimeS':
      writer.u32(option.value);
      break;
    case 'routers':
    case 'dnsServers':
    case 'ntpServers':
      for (const address of option.value) writer.u32(address);
      break;
    case 'hostName':
    case 'domainName':
    case 'message':
    case 'vendorClass':
      writer.raw(Buffer.from(option.value, 'latin1'));
      break;
    case 'messageType':
      writer.u8(option.value);
      break;
    case 'mtu':
    case 'maxMessageSize':
      writer.u16(option.value);
      break;
    case 'staticRoutes':
      for (const { destination, prefixLength, gateway } of option.value) {
        writer.u8(prefixLength);
        for (let i = 0; i < Math.ceil(prefixLength / 8); i++) writer.u8(destination >>> (24 - 8 * i));
        writer.u32(gateway);
      }
      break;
    case 'relayAgent':
      for (const { code, value } of option.value) {
        if (value.length > 255) throw new RangeError(`a DHCP relay sub-option of ${value.length} bytes: at most 255`);
        writer.u8(code).u8(value.length).raw(value);
      }
      break;
    case 'parameterList':
    case 'clientId':
    case 'unknown':
      writer.raw(option.value);
      break;
  }
}
