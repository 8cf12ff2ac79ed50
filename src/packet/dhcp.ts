import type { Ipv4, Mac } from '../base/addresses.ts';
import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import {
  type DhcpOption,
  type DhcpOptionValue,
  decodeDhcpOptions,
  encodeDhcpOptions,
  readOptionFields,
} from './dhcp-option.ts';
import { type Input, readerOf } from './input.ts';

/*
 * DHCP for IPv4 (RFC 2131, options RFC 2132) between Ethernet clients: the payload of UDP from port 68 to 67 and back.
 */

export const DHCP_OP = { request: 1, reply: 2 } as const;

/** Values of option `messageType` (RFC 2132 §9.6). */
export const DHCP_MESSAGE = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

export const DHCP_FLAG = { broadcast: 0x8000 } as const;

export interface DhcpMessage {
  readonly op: number;
  readonly hops: number;
  readonly transactionId: number;
  /** Seconds since the client began. */
  readonly secs: number;
  /** Of `DHCP_FLAG`. */
  readonly flags: number;
  /** The client's own address, if it has one. */
  readonly clientAddress: Ipv4;
  /** "Your" address: what the server gives. */
  readonly yourAddress: Ipv4;
  /** The next server, to boot from. */
  readonly serverAddress: Ipv4;
  readonly relayAddress: Ipv4;
  readonly clientMac: Mac;
  /** Up to 64 and 128 characters of one byte each; empty when not given. */
  readonly serverName: string;
  readonly bootFile: string;
  /** In the order of the wire, each code once. */
  readonly options: readonly DhcpOption[];
}

const HARDWARE_ETHERNET = 1;
const MAGIC_COOKIE = 0x6382_5363;
const SERVER_NAME_LENGTH = 64;
const BOOT_FILE_LENGTH = 128;
/** Old relays and clients drop anything shorter (RFC 1542 §2.1). */
const MESSAGE_MIN = 300;
const OVERLOAD_FILE = 1;
const OVERLOAD_NAME = 2;

/** The value of the option of this kind, if the message has it. */
export function dhcpOption<K extends Exclude<DhcpOption['kind'], 'unknown'>>(
  message: DhcpMessage,
  kind: K,
): DhcpOptionValue<K> | undefined {
  const option = message.options.find((candidate) => candidate.kind === kind);
  return option?.value as DhcpOptionValue<K> | undefined;
}

/**
 * RFC 2131 §2.
 *
 *      0        8        16       24     31
 *     +--------+--------+--------+--------+
 *     |   op   | htype 1| hlen 6 |  hops  |
 *     +--------+--------+--------+--------+
 *     |          transaction id           |
 *     +-----------------+-----------------+
 *     |      secs       |      flags      |
 *     +-----------------+-----------------+
 *     |  client, your, next server, relay |  4 bytes each
 *     +-----------------------------------+
 *     |  client hardware address (16)     |
 *     |  server name (64), boot file (128)|
 *     +-----------------------------------+
 *     |  magic cookie 63 82 53 63         |
 *     +-----------------------------------+
 *     |  options                          |
 *     +-----------------------------------+
 *
 * Options of one code that stand apart are joined (RFC 3396); those in the name and file fields (option 52) are read
 * after the others, and written among them.
 * Errors: `truncated`, `bad-length`, `bad-type` (not Ethernet), `bad-value` (no cookie: BOOTP).
 */
export function decodeDhcp(input: Input): DhcpMessage {
  const reader = readerOf(input);
  const op = reader.u8('dhcp.op');
  if (reader.u8('dhcp.htype') !== HARDWARE_ETHERNET) reader.fail('bad-type', 'dhcp.htype');
  if (reader.u8('dhcp.hlen') !== 6) reader.fail('bad-length', 'dhcp.hlen');
  const hops = reader.u8('dhcp.hops');
  const transactionId = reader.u32('dhcp.transactionId');
  const secs = reader.u16('dhcp.secs');
  const flags = reader.u16('dhcp.flags');
  const clientAddress = reader.u32('dhcp.clientAddress') as Ipv4;
  const yourAddress = reader.u32('dhcp.yourAddress') as Ipv4;
  const serverAddress = reader.u32('dhcp.serverAddress') as Ipv4;
  const relayAddress = reader.u32('dhcp.relayAddress') as Ipv4;
  const clientMac = reader.u48('dhcp.clientMac') as Mac;
  reader.skip(10, 'dhcp.clientMac');
  const name = reader.sub(SERVER_NAME_LENGTH, 'dhcp.serverName');
  const file = reader.sub(BOOT_FILE_LENGTH, 'dhcp.bootFile');
  if (reader.u32('dhcp.cookie') !== MAGIC_COOKIE) reader.fail('bad-value', 'dhcp.cookie');

  const fields = readOptionFields(reader);
  const overload = fields.overload;
  if (overload & OVERLOAD_FILE) fields.add(file);
  if (overload & OVERLOAD_NAME) fields.add(name);
  return {
    op,
    hops,
    transactionId,
    secs,
    flags,
    clientAddress,
    yourAddress,
    serverAddress,
    relayAddress,
    clientMac,
    serverName: overload & OVERLOAD_NAME ? '' : textOf(name),
    bootFile: overload & OVERLOAD_FILE ? '' : textOf(file),
    options: decodeDhcpOptions(fields),
  };
}

/** Up to the first zero. */
function textOf(field: ByteReader): string {
  const bytes = field.bytes;
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1');
}

/** Filled with zeros to 300 bytes. Options longer than 255 bytes are split (RFC 3396). */
export function encodeDhcp(message: DhcpMessage, writer = new ByteWriter(MESSAGE_MIN)): Uint8Array {
  const from = writer.length;
  writer.u8(message.op).u8(HARDWARE_ETHERNET).u8(6).u8(message.hops);
  writer.u32(message.transactionId).u16(message.secs).u16(message.flags);
  writer.u32(message.clientAddress).u32(message.yourAddress).u32(message.serverAddress).u32(message.relayAddress);
  writer.u48(message.clientMac).zeros(10);
  encodeText(message.serverName, SERVER_NAME_LENGTH, writer);
  encodeText(message.bootFile, BOOT_FILE_LENGTH, writer);
  writer.u32(MAGIC_COOKIE);
  encodeDhcpOptions(message.options, writer);
  const missing = MESSAGE_MIN - (writer.length - from);
  if (missing > 0) writer.zeros(missing);
  return writer.view(from);
}

function encodeText(text: string, length: number, writer: ByteWriter): void {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length > length) throw new RangeError(`DHCP name or file of ${bytes.length} bytes: at most ${length}`);
  writer.raw(bytes).zeros(length - bytes.length);
}
