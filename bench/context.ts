import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WeftError } from '../src/base/errors.ts';
import { Lab, removeLab } from '../src/lab/lab.ts';
import { startTicksOf } from '../src/lab/namespaces.ts';
import { listLabs } from '../src/lab/state.ts';
import type { BenchContext } from './bench.ts';

/** Labs of benches live beside those of people and tests, in a folder named by the process. */
const RUNS = '/run/weft-bench';
process.env.WEFT_LAB_DIR ??= join(RUNS, String(process.pid));

let labs = 0;

/** A context and the way to take away what was started in it. */
export function createContext(options: {
  readonly quick: boolean;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
}): { readonly context: BenchContext; clean(): Promise<void> } {
  const { quick, signal, progress } = options;
  const deferred: (() => Promise<unknown> | unknown)[] = [];
  const context: BenchContext = {
    quick,
    signal,
    progress,
    defer: (clean) => void deferred.push(clean),
    async lab(spec) {
      const name = `b${process.pid % 10_000_000}x${++labs % 1000}`;
      deferred.push(() => removeLab(name));
      // As on hosts of both: OVN's tunnels have a `local_ip`, which needs the kernel's routes.
      return Lab.start({ ...spec, underlay: { ...spec.underlay, routes: 'kernel' }, name });
    },
    sleep: (ms) => delay(ms, undefined, { signal }),
    async until(what, ask, { timeoutMs = 30_000, everyMs = 5 } = {}) {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const answer = await ask();
        if (answer !== undefined) return answer;
        if (performance.now() > deadline) throw new WeftError('timeout', `no ${what} within ${timeoutMs} ms`);
        await delay(everyMs, undefined, { signal });
      }
    },
  };
  return {
    context,
    async clean() {
      for (const clean of deferred.splice(0).reverse())
        await Promise.resolve(clean()).catch((error: unknown) => progress(`left behind: ${String(error)}`));
    },
  };
}

/** Removes the labs of earlier runs that were killed before they could. */
export async function sweepRuns(): Promise<void> {
  const own = process.env.WEFT_LAB_DIR;
  for (const run of existsSync(RUNS) ? readdirSync(RUNS) : []) {
    if (startTicksOf(Number(run)) !== undefined) continue;
    process.env.WEFT_LAB_DIR = join(RUNS, run);
    for (const lab of listLabs()) await removeLab(lab);
    rmSync(join(RUNS, run), { recursive: true, force: true });
  }
  process.env.WEFT_LAB_DIR = own;
}

/** Removes this run's own folder, which is empty by now. */
export function removeRunFolder(): void {
  rmSync(join(RUNS, String(process.pid)), { recursive: true, force: true });
}
