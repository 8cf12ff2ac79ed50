import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Datacentre } from './datacentre.ts';

export const WEFT = resolve('bin/weft');

/** Runs `weft` as a person of the datacentre would. */
export async function weft(
  { weft: { files } }: Pick<Datacentre, 'weft'>,
  ...words: string[]
): Promise<{ readonly code: number; readonly out: string }> {
  const env = { ...process.env, WEFT_SERVER: files.serverUrl, NO_COLOR: '1' };
  try {
    return { code: 0, out: (await promisify(execFile)(WEFT, words, { env })).stdout };
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string };
    return { code, out: stdout };
  }
}
