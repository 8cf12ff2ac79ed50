import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ByteWriter } from '../../base/bytes.ts';

/** Writes frames to a capture file (draft-ietf-opsawg-pcap, microseconds, Ethernet) and removes it after `use`. */
export function withCaptureFile<T>(frames: readonly Uint8Array[], use: (path: string) => T): T {
  const writer = new ByteWriter(1 << 16);
  writer.u32(0xa1b2_c3d4).u16(2).u16(4).zeros(8).u32(0x4_0000).u32(1);
  for (const frame of frames) writer.zeros(8).u32(frame.length).u32(frame.length).raw(frame);
  const folder = mkdtempSync(join(tmpdir(), 'weft-packet-'));
  try {
    const path = join(folder, 'frames.pcap');
    writeFileSync(path, writer.view());
    return use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
