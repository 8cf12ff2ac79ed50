import { closeSync, copyFileSync, existsSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';

/** A log that is larger begins anew. */
export const LOG_BYTES = 4 << 20;
/** Of what was logged since the last look, the end. */
const READ_BYTES = 64 << 10;

/**
 * What the daemon has logged since `from` (bytes), the end of it, and where the log ends now. One that is too large begins anew, as the daemon
 * only appends; what was there is kept beside it once, where there is room. Of a log that cannot be read there is nothing new: sessions go on without it.
 */
export function readLog(path: string, from: number): { readonly text: string; readonly end: number } {
  if (!existsSync(path)) return { text: '', end: 0 };
  try {
    return readNews(path, from);
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    return { text: '', end: from };
  }
}

function readNews(path: string, from: number): { readonly text: string; readonly end: number } {
  const file = openSync(path, 'r+');
  try {
    const { size } = fstatSync(file);
    const at = Math.max(size < from ? 0 : from, size - READ_BYTES);
    const bytes = Buffer.alloc(size - at);
    const read = readSync(file, bytes, 0, bytes.length, at);
    if (size <= LOG_BYTES) return { text: bytes.toString('latin1', 0, read), end: at + read };
    try {
      copyFileSync(path, `${path}.1`);
    } catch {
      // a full disk: all the more it must not grow
    }
    ftruncateSync(file, 0);
    return { text: bytes.toString('latin1', 0, read), end: 0 };
  } finally {
    closeSync(file);
  }
}
