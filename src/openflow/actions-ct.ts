import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import type { Nested } from './actions-nicira.ts';
import type { Action, FieldRange, FieldValue, Nat } from './flow.ts';
import { readFieldHeader } from './oxm.ts';
import { closeAction, NX_VENDOR, openNicira, packRange, rangeOf, unpackRange, writeRangeHeader } from './subfield.ts';

/**
 * Connection tracking: NXAST_CT with NXAST_NAT as the first of its nested actions (`ovs-actions(7)`, "ct").
 *
 *   after the ten bytes of every Nicira action:
 *  +-------------------------------+
 *  |             flags             |  1: commit, 2: force
 *  +-------------------------------+-------------------------------+
 *  |  zone source: an NXM header, or 0                             |
 *  +-------------------------------+---------------+---------------+
 *  |  zone, or its range's bits    | recirc table  |  0            |
 *  +-------------------------------+---------------+---------------+
 *  |  0                            |  alg: 21 ftp, 69 tftp         |
 *  +-------------------------------+-------------------------------+
 *  |  nested actions …
 */
const NXAST_CT = 35;
const NXAST_NAT = 36;
const CT_COMMIT = 1;
const CT_FORCE = 2;
const NO_TABLE = 0xff;

type Ct = Extract<Action, { kind: 'ct' }>;

export function readCt(reader: ByteReader, nested: Nested): Action | undefined {
  const flags = reader.u16('ct flags');
  if (flags > 3) return undefined;
  const zone = readZone(reader);
  if (zone === undefined) return undefined;
  const table = reader.u8('ct table');
  reader.skip(3, 'padding');
  const alg = reader.u16('ct alg');
  const nat = startsWithNat(reader) ? readNat(reader) : undefined;
  const exec = nested.read(reader);
  return {
    kind: 'ct',
    ...(flags & CT_COMMIT ? { commit: true } : {}),
    ...(flags & CT_FORCE ? { force: true } : {}),
    ...(zone === 0 ? {} : { zone }),
    ...(table === NO_TABLE ? {} : { table }),
    ...(alg === 0 ? {} : { alg }),
    ...(nat ? { nat } : {}),
    ...(exec.length > 0 ? { exec } : {}),
  };
}

function readZone(reader: ByteReader): number | FieldRange | undefined {
  const source = reader.u32('zone source');
  if (source === 0) return reader.u16('zone');
  reader.offset -= 4;
  const field = readFieldHeader(reader);
  return rangeOf(field, unpackRange(reader.u16('zone range')));
}

/** Looks ahead: is the next action a NAT that we can read? (One that we cannot stays with `exec`, as bytes.) */
function startsWithNat(reader: ByteReader): boolean {
  const start = reader.offset;
  if (reader.remaining < 16) return false;
  const type = reader.u16('nat');
  reader.skip(2, 'nat');
  const isNat = type === 0xffff && reader.u32('nat') === NX_VENDOR && reader.u16('nat') === NXAST_NAT;
  reader.offset = start;
  return isNat;
}

/**
 *  +-------------------------------+
 *  |               0               |
 *  +-------------------------------+-------------------------------+
 *  |  flags                        |  which of the following are there
 *  +-------------------------------+-------------------------------+
 *  |  IPv4 min, max (4 each), IPv6 min, max (16 each), port min, max (2 each), padding to 8
 */
const NAT = { src: 1, dst: 2, persistent: 4, hash: 8, random: 16 } as const;
const PRESENT = { ipv4Min: 1, ipv4Max: 2, ipv6Min: 4, ipv6Max: 8, portMin: 16, portMax: 32 } as const;

function readNat(outer: ByteReader): Nat {
  outer.skip(2, 'nat type');
  const length = outer.u16('nat length');
  if (length < 16 || length % 8 !== 0) outer.fail('bad-length', 'nat', `${length}`);
  const r = outer.sub(length - 4, 'nat');
  r.skip(8, 'nat header');
  const flags = r.u16('nat flags');
  const present = r.u16('nat ranges');
  const ipMin: FieldValue | undefined = present & PRESENT.ipv4Min ? r.u32('nat address') : undefined;
  const ipMax: FieldValue | undefined = present & PRESENT.ipv4Max ? r.u32('nat address') : undefined;
  const ip6Min = present & PRESENT.ipv6Min ? r.u128('nat address') : undefined;
  const ip6Max = present & PRESENT.ipv6Max ? r.u128('nat address') : undefined;
  const portMin = present & PRESENT.portMin ? r.u16('nat port') : undefined;
  const portMax = present & PRESENT.portMax ? r.u16('nat port') : undefined;
  const first = ipMin ?? ip6Min;
  const last = ipMax ?? ip6Max;
  return {
    ...(flags & NAT.src ? { kind: 'src' } : flags & NAT.dst ? { kind: 'dst' } : {}),
    ...(first === undefined ? {} : { ipMin: first }),
    ...(last === undefined ? {} : { ipMax: last }),
    ...(portMin === undefined ? {} : { portMin }),
    ...(portMax === undefined ? {} : { portMax }),
    ...(flags & NAT.persistent ? { persistent: true } : {}),
    ...(flags & NAT.hash ? { protocol: 'hash' } : flags & NAT.random ? { protocol: 'random' } : {}),
  };
}

export function writeCt(writer: ByteWriter, action: Ct, nested: Nested): void {
  const start = writer.length;
  openNicira(writer, NXAST_CT, 0).u16((action.commit ? CT_COMMIT : 0) | (action.force ? CT_FORCE : 0));
  if (typeof action.zone === 'object') {
    writeRangeHeader(writer, action.zone);
    writer.u16(packRange(action.zone));
  } else writer.u32(0).u16(action.zone ?? 0);
  writer.u8(action.table ?? NO_TABLE).zeros(3);
  writer.u16(action.alg ?? 0);
  if (action.nat) writeNat(writer, action.nat);
  if (action.exec) nested.write(writer, action.exec);
  closeAction(writer, start);
}

function writeNat(writer: ByteWriter, nat: Nat): void {
  const start = writer.length;
  const flags =
    (nat.kind === 'src' ? NAT.src : nat.kind === 'dst' ? NAT.dst : 0) |
    (nat.persistent ? NAT.persistent : 0) |
    (nat.protocol === 'hash' ? NAT.hash : nat.protocol === 'random' ? NAT.random : 0);
  openNicira(writer, NXAST_NAT, 0).u16(0).u16(flags).u16(0);
  let present = writeAddress(writer, nat.ipMin, PRESENT.ipv4Min, PRESENT.ipv6Min);
  present |= writeAddress(writer, nat.ipMax, PRESENT.ipv4Max, PRESENT.ipv6Max);
  if (nat.portMin !== undefined) {
    writer.u16(nat.portMin);
    present |= PRESENT.portMin;
  }
  if (nat.portMax !== undefined) {
    writer.u16(nat.portMax);
    present |= PRESENT.portMax;
  }
  writer.patchU16(start + 14, present);
  closeAction(writer, start);
}

/** Writes an address, if any; the bit that says that it is there. */
function writeAddress(writer: ByteWriter, ip: FieldValue | undefined, v4: number, v6: number): number {
  if (ip === undefined) return 0;
  if (typeof ip === 'number') {
    writer.u32(ip);
    return v4;
  }
  writer.u128(ip);
  return v6;
}
