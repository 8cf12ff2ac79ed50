import type { Mac } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { type Input, readerOf } from './input.ts';

/** IEEE 802 local experimental EtherType 1 (RFC 9542 §3). */
export const HELLO_ETHER_TYPE = 0x88b5;

/** What an attachment of an L2 gateway says of itself outside, once a second (docs/design/l2-gateways.md, §3). */
export interface AttachmentHello {
  /** Tunnel keys of the switch and of the port that the outside is. */
  readonly switch: number;
  readonly port: number;
  /** Which of the gateway's places it comes from. */
  readonly place: number;
  /** When the port first was somewhere, in milliseconds since the epoch: where two lead to one segment, the older stays. */
  readonly sinceMs: number;
}

const MAGIC = 0x5745_4654;
const VERSION = 1;
const GROUP = 0x0357_0000_0000;
const UNICAST = 0x0e57_0000_0000;

/** Of all that an attachment's MAC is but the place. */
export const PLACES_MASK = 0xffff_ffff_ff00;

/** Where hellos of a switch's gateways go: a group address with the switch's tunnel key. */
export function helloGroup(switchKey: number): Mac {
  return (GROUP + switchKey * 0x100) as Mac;
}

/** Of one place of the gateway whose port has this tunnel key; without a place that of all, under `PLACES_MASK`. */
export function attachmentMac(portKey: number, place = 0): Mac {
  return (UNICAST + portKey * 0x100 + place) as Mac;
}

/**
 *      0              4     5     6      8               12              16              24
 *     +--------------+-----+-----+------+---------------+---------------+---------------+
 *     | "WEFT"       |  1  |place|  0   | switch's key  | port's key    | since (ms)    |
 *     +--------------+-----+-----+------+---------------+---------------+---------------+
 *
 * Errors: `truncated`, `bad-type` for what is no hello, `bad-version`.
 */
export function decodeHello(input: Input): AttachmentHello {
  const reader = readerOf(input);
  if (reader.u32('hello.magic') !== MAGIC) reader.fail('bad-type', 'hello.magic');
  if (reader.u8('hello.version') !== VERSION) reader.fail('bad-version', 'hello.version');
  const place = reader.u8('hello.place');
  reader.skip(2, 'hello.reserved');
  const keys = { switch: reader.u32('hello.switch'), port: reader.u32('hello.port') };
  return { place, ...keys, sinceMs: Number(reader.u64('hello.since')) };
}

export function encodeHello(hello: AttachmentHello, writer = new ByteWriter(24)): Uint8Array {
  const from = writer.length;
  writer.u32(MAGIC).u8(VERSION).u8(hello.place).u16(0).u32(hello.switch).u32(hello.port).u64(BigInt(hello.sinceMs));
  return writer.view(from);
}
