import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { Datacentre } from './datacentre.ts';

const WEFT = resolve('bin/weft');

/** Runs `weft` as a person of the datacentre would. */
export async function weft(
  { weft: { files } }: Pick<Datacentre, 'weft'>,
  ...words: string[]
): Promise<{ readonly code: number; readonly out: string }> {
  try {
    return { code: 0, out: (await promisify(execFile)(WEFT, words, { env: environment(files) })).stdout };
  } catch (error) {
    const { code, stdout } = error as { code: number; stdout: string };
    return { code, out: stdout };
  }
}

/** A command that goes on until it is interrupted, and its lines so far. */
export interface FollowingCommand {
  readonly lines: readonly string[];
  /** As by Ctrl-C; resolves with the exit code. */
  stop(): Promise<number | null>;
}

export function followWeft({ weft: { files } }: Pick<Datacentre, 'weft'>, ...words: string[]): FollowingCommand {
  const command = spawn(WEFT, words, { env: environment(files), stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface({ input: command.stdout }).on('line', (line) => lines.push(line));
  return {
    lines,
    async stop() {
      const ended = once(command, 'exit');
      command.kill('SIGINT');
      return ((await ended) as [number | null])[0];
    },
  };
}

function environment(files: Datacentre['weft']['files']): NodeJS.ProcessEnv {
  return { ...process.env, WEFT_SERVER: files.serverUrl, NO_COLOR: '1' };
}
