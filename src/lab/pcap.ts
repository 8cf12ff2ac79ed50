import { DecodeError } from '../base/errors.ts';

/** A frame as a capture saw it. `timeMs` counts from the epoch; `originalLength` is more than `bytes` holds where it was cut. */
export type CapturedFrame = { readonly timeMs: number; readonly bytes: Uint8Array; readonly originalLength: number };

/*
 * The classic capture file (draft-ietf-opsawg-pcap), in the byte order of whoever wrote it:
 *
 *      0                   4          6          8                  16          20          24
 *     +-------------------+----------+----------+-------------------+-----------+-----------+
 *     | magic a1b2c3d4    | major 2  | minor 4  | reserved          | snap      | link type |
 *     +-------------------+----------+----------+-------------------+-----------+-----------+
 *
 * then for each frame:
 *
 *      0           4              8           12                16
 *     +-----------+--------------+-----------+-----------------+----------- - -
 *     | seconds   | microseconds | captured  | original length | bytes
 *     +-----------+--------------+-----------+-----------------+----------- - -
 */
const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const FILE_HEADER = 24;
const FRAME_HEADER = 16;
const LINK_TYPE_ETHERNET = 1;
const SNAP_LENGTH = 262_144;

/** Frames as the bytes of a capture file. Times are zero: what is replayed has a rate of its own. */
export function encodePcap(frames: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(FILE_HEADER + frames.reduce((sum, frame) => sum + FRAME_HEADER + frame.length, 0));
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC_MICROSECONDS, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, SNAP_LENGTH, true);
  view.setUint32(20, LINK_TYPE_ETHERNET, true);
  let at = FILE_HEADER;
  for (const frame of frames) {
    view.setUint32(at + 8, frame.length, true);
    view.setUint32(at + 12, frame.length, true);
    out.set(frame, at + FRAME_HEADER);
    at += FRAME_HEADER + frame.length;
  }
  return out;
}

/**
 * The frames of a capture file. A last frame that is not there whole is left out: a capture may be read while it is
 * written. Error: `DecodeError` for anything that is not a capture of Ethernet frames.
 */
export function decodePcap(file: Uint8Array): CapturedFrame[] {
  // A Buffer's own `slice` would share the whole file's memory with every frame.
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.length < FILE_HEADER) throw new DecodeError('truncated', bytes.length, 'pcap.header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isMagic = (value: number) => value === MAGIC_MICROSECONDS || value === MAGIC_NANOSECONDS;
  const little = isMagic(view.getUint32(0, true));
  if (!little && !isMagic(view.getUint32(0, false))) throw new DecodeError('bad-type', 0, 'pcap.magic');
  const ticksPerMs = view.getUint32(0, little) === MAGIC_NANOSECONDS ? 1_000_000 : 1_000;
  const linkType = view.getUint32(20, little) & 0xffff;
  if (linkType !== LINK_TYPE_ETHERNET) throw new DecodeError('bad-type', 20, 'pcap.linkType', `${linkType}`);
  const frames: CapturedFrame[] = [];
  let at = FILE_HEADER;
  while (at + FRAME_HEADER <= bytes.length) {
    const length = view.getUint32(at + 8, little);
    if (length > SNAP_LENGTH) throw new DecodeError('bad-length', at + 8, 'pcap.captured', `${length}`);
    const end = at + FRAME_HEADER + length;
    if (end > bytes.length) break;
    const timeMs = view.getUint32(at, little) * 1_000 + view.getUint32(at + 4, little) / ticksPerMs;
    frames.push({
      timeMs,
      bytes: bytes.slice(at + FRAME_HEADER, end),
      originalLength: view.getUint32(at + 12, little),
    });
    at = end;
  }
  return frames;
}
