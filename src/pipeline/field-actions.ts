import type { FieldName } from '../openflow/fields.ts';
import type { FieldRange, FieldValue } from '../openflow/flow.ts';
import { copyBits, type Place, placeOf, readBits, readField, writeBits, writeField, writeWide } from './layout.ts';
import { type PacketState, readPort, writePort } from './packet-state.ts';
import { hasField, isReadable } from './prerequisites.ts';

/** Actions that set fields. On a header field that the packet does not have they do nothing. */

/** `load`, and what `pop`, `multipath` and others do with their result. */
export function loadBits(packet: PacketState, dst: FieldRange, value: FieldValue): void {
  const { key } = packet;
  const place = placeOf(dst.field);
  if (place.header && !hasField(key, dst.field)) return;
  if (dst.bits <= 32) writeBits(key, place, dst.from, dst.bits, Number(value));
  else writeWide(key, place, dst.from, dst.bits, value);
  changed(packet, place);
}

export function setField(packet: PacketState, name: FieldName, value: FieldValue, mask?: FieldValue): void {
  const { key } = packet;
  const place = placeOf(name);
  if (place.header && !hasField(key, name)) return;
  if (mask === undefined) writeField(key, place, value);
  else {
    const old = BigInt(readField(key, place));
    const wide = (old & ~BigInt(mask)) | (BigInt(value) & BigInt(mask));
    writeField(key, place, place.bits <= 48 ? Number(wide) : wide);
  }
  changed(packet, place);
}

export function moveBits(packet: PacketState, src: FieldRange, dst: FieldRange): void {
  const { key } = packet;
  const [from, to] = [placeOf(src.field), placeOf(dst.field)];
  if (!isReadable(key, from)) return;
  if (to.header && !hasField(key, dst.field)) return;
  copyBits(key, from, src.from, to, dst.from, src.bits);
  changed(packet, to);
}

function changed(packet: PacketState, place: Place): void {
  if (place.header) packet.headerChanged(place.name);
  else if (place.name === 'in_port') writePort(packet.key, widePort(readPort(packet.key) & 0xffff));
}

/** Ports have 16 bits in fields: the reserved ones keep their meaning. */
export function widePort(port: number): number {
  return port >= 0xff00 && port <= 0xffff ? port + 0xffff_0000 : port;
}

export function readRange(key: Uint32Array, range: FieldRange): bigint {
  const place = placeOf(range.field);
  let value = 0n;
  for (let done = 0; done < range.bits; done += 32)
    value |= BigInt(readBits(key, place, range.from + done, Math.min(32, range.bits - done))) << BigInt(done);
  return value;
}
