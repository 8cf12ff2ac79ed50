import { type Cidr, type Ipv4, networkOf, parseCidr, parseIpv4 } from '../../src/base/addresses.ts';
import { ByteWriter } from '../../src/base/bytes.ts';
import { seededRandom } from '../../src/base/random.ts';

/** BGP messages (RFC 4271 §4), also such as no speaker should send. */
export const Type = { open: 1, update: 2, notification: 3, keepalive: 4, routeRefresh: 5 } as const;
/** Of path attributes (§4.3, §5.1). */
export const Attribute = { origin: 1, asPath: 2, nextHop: 3, med: 4, community: 8, mpReach: 14 } as const;
const OPTIONAL = 0x80;
const WELL_KNOWN = 0x40;
const EXTENDED_LENGTH = 0x10;
/** Of a message with its header of 19 bytes. */
const LONGEST = 4_096;

/** `length`: what the header says, where that is not the truth. */
export function message(type: number, body: Uint8Array = new Uint8Array(), length = 19 + body.length): Uint8Array {
  const out = new ByteWriter(LONGEST);
  for (let i = 0; i < 16; i++) out.u8(0xff);
  return out.u16(length).u8(type).raw(body).finish();
}

export const keepalive = message(Type.keepalive);
/** What ends a table that was told (RFC 4724 §2). */
export const endOfTable = message(Type.update, new Uint8Array(4));

/** Version 4, hold time 90 s, one capability: four-octet AS numbers (RFC 6793). */
export function open(asn: number, routerId: string): Uint8Array {
  const out = new ByteWriter(64);
  out.u8(4).u16(asn > 65_535 ? 23_456 : asn);
  out.u16(90).u32(parseIpv4(routerId)!);
  out.u8(8).u8(2).u8(6).u8(65).u8(4).u32(asn);
  return message(Type.open, out.finish());
}

export function attribute(type: number, value: Uint8Array, flags = flagsOf(type)): Uint8Array {
  const out = new ByteWriter(value.length + 4);
  if (value.length > 255)
    return out
      .u8(flags | EXTENDED_LENGTH)
      .u8(type)
      .u16(value.length)
      .raw(value)
      .finish();
  return out.u8(flags).u8(type).u8(value.length).raw(value).finish();
}

function flagsOf(type: number): number {
  return type > Attribute.nextHop ? OPTIONAL : WELL_KNOWN;
}

/** One sequence of AS numbers, of four octets each. */
export function asPath(...path: readonly number[]): Uint8Array {
  const out = new ByteWriter(2 + 4 * path.length);
  // A segment has at most 255.
  for (let at = 0; at < path.length; at += 255) {
    const segment = path.slice(at, at + 255);
    out.u8(2).u8(segment.length);
    for (const asn of segment) out.u32(asn);
  }
  return out.finish();
}

export function ipv4(text: string): Uint8Array {
  return new ByteWriter(4).u32(parseIpv4(text)!).finish();
}

/** ORIGIN IGP, AS_PATH, NEXT_HOP. */
export function usualAttributes(path: readonly number[], nextHop: string): Uint8Array[] {
  return [
    attribute(Attribute.origin, Uint8Array.of(0)),
    attribute(Attribute.asPath, asPath(...path)),
    attribute(Attribute.nextHop, ipv4(nextHop)),
  ];
}

/** §4.3: `length` bits of each prefix, in as few bytes as hold them. */
export function nlri(prefixes: readonly Cidr[]): Uint8Array {
  const out = new ByteWriter(5 * prefixes.length);
  for (const { ip, prefix } of prefixes) {
    out.u8(prefix);
    for (let at = 0; at < prefix; at += 8) out.u8((Number(ip.value) >>> (24 - at)) & 0xff);
  }
  return out.finish();
}

/** `attributesLength`: what the message says, where that is not the truth. */
export function update(
  {
    withdrawn = new Uint8Array(),
    attributes = [],
    announced = new Uint8Array(),
  }: {
    readonly withdrawn?: Uint8Array;
    readonly attributes?: readonly Uint8Array[];
    readonly announced?: Uint8Array;
  },
  attributesLength?: number,
): Uint8Array {
  const length = attributes.reduce((sum, { length: own }) => sum + own, 0);
  const out = new ByteWriter(LONGEST);
  out.u16(withdrawn.length).raw(withdrawn);
  out.u16(attributesLength ?? length);
  for (const each of attributes) out.raw(each);
  return message(Type.update, out.raw(announced).finish());
}

export const network = (text: string): Cidr => networkOf(parseCidr(text)!);

/** UPDATEs that announce, or withdraw without a path, as full as can be. */
export function* updates(prefixes: readonly Cidr[], path: readonly number[] | undefined, nextHop: string) {
  const perMessage = 780; // of 5 bytes each, beside the attributes
  for (let at = 0; at < prefixes.length; at += perMessage) {
    const part = nlri(prefixes.slice(at, at + perMessage));
    if (path === undefined) yield update({ withdrawn: part });
    else yield update({ attributes: usualAttributes(path, nextHop), announced: part });
  }
}

/** Sets of very many prefixes, the same each time. */
export type Pattern =
  /** /24s one behind the other, from 1.0.0.0 on: all of them can be put together. */
  | 'beside'
  /** Every second /24 from 20.0.0.0 on: none can. */
  | 'apart'
  /** As of full tables: most of 24 bits, the rest shorter; half of them near to others. */
  | 'mixed';

const LENGTHS = [24, 24, 24, 24, 24, 24, 24, 23, 22, 22, 22, 21, 20, 19, 18, 16];

export function manyPrefixes(pattern: Pattern, count: number): Cidr[] {
  if (pattern !== 'mixed')
    return Array.from({ length: count }, (_, i) =>
      v4(pattern === 'beside' ? 0x100_0000 + i * 256 : 20 * 2 ** 24 + i * 512, 24),
    );
  const random = seededRandom(24);
  const found = new Map<number, Cidr>();
  while (found.size < count) {
    const prefix = LENGTHS[random.below(LENGTHS.length)]!;
    const low = random.below(2) ? random.below(2 ** 24) : random.below(2 ** 24) & 0x3f_ff00;
    // Not 10.0.0.0/8, nor what is used in the labs.
    const to = networkOf(v4((11 + random.below(150)) * 2 ** 24 + low, prefix));
    found.set(Number(to.ip.value) * 64 + prefix, to);
  }
  return [...found.values()];
}

function v4(value: number, prefix: number): Cidr {
  return { ip: { version: 4, value: value as Ipv4 }, prefix };
}
