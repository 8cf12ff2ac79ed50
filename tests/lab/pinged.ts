import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Lab } from '../../src/lab/lab.ts';
import { countingDrops } from '../../src/lab/machine-drops.ts';
import { eventually, sleep } from './datacentre.ts';

/** What pings to some targets, in their order, had to suffer. */
export interface Pinged {
  /** The longest silence of each in milliseconds. */
  readonly gapsMs: readonly number[];
  /** How many of each went unanswered. */
  readonly lost: readonly number[];
  /** What full sockets and queues of the machine dropped meanwhile, of whatever. */
  readonly drops: number;
}

/** Pings all targets from a workload 20 times a second each while `during` runs, and for a second more. */
export async function pinged(
  lab: Lab,
  from: string,
  targets: readonly string[],
  during: () => Promise<unknown>,
): Promise<Pinged> {
  const drops = await countingDrops(lab);
  const runs = targets.map((target) => {
    const child = lab.spawn(from, ['ping', '-n', '-D', '-i', '0.05', target]);
    const said = { out: '', err: '' };
    child.stdout?.on('data', (chunk) => (said.out += chunk));
    child.stderr?.on('data', (chunk) => (said.err += chunk));
    // Behind its exit: then all that it said is read.
    return { child, said, closed: once(child, 'close') };
  });
  for (const { said } of runs) await eventually('an answer', 20_000, async () => said.out.includes(' bytes from '));
  await sleep(200);
  await during();
  await sleep(1_000);
  const ends = await Promise.all(
    runs.map(async ({ child, said }) => {
      // It tells how many it has sent so far, `11/12 packets, 8% loss, …`, and goes on.
      child.kill('SIGQUIT');
      const sent = await eventually('its count', 20_000, async () => /\d+\/(\d+) packets/.exec(said.err)?.[1]);
      return { sent: Number(sent), ms: Date.now() };
    }),
  );
  await sleep(1_000); // for answers that are on their way
  const each = await Promise.all(
    runs.map(async ({ child, said, closed }, i) => {
      child.kill('SIGINT');
      await closed;
      const { sent, ms: endMs } = ends[i]!;
      // Of answers alone: a router that says that it has no way says `icmp_seq` too.
      const answers = [...said.out.matchAll(/^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=(\d+)/gm)];
      const times = answers.map((match) => Number(match[1]) * 1000).filter((time) => time < endMs);
      const numbers = new Set(answers.map((match) => Number(match[2])).filter((n) => n <= sent));
      // Who answers no more is silent up to the end.
      const gapsMs = [...times.slice(1), endMs].map((time, n) => time - times[n]!);
      return { gapMs: Math.round(Math.max(...gapsMs)), lost: sent - numbers.size };
    }),
  );
  return {
    gapsMs: each.map(({ gapMs }) => gapMs),
    lost: each.map(({ lost }) => lost),
    drops: await drops(),
  };
}

/** Fails where an answer is missing that no full socket or queue accounts for. */
export function noneLost({ lost, drops }: Pinged): void {
  assert.ok(lost.reduce((sum, n) => sum + n, 0) <= drops, `lost: ${lost}; the machine dropped ${drops}`);
}

/** Two pings are 50 ms apart. A least silence longer than that is the machine's: it comes to those too that went another way. */
const APART_MS = 50;
/** Nobody finds a silence sooner: a target that was silent for less did not go where it was silent. */
const NOT_CONCERNED_MS = 300;

/** The longest silence of the targets that went by what fell silent, less the machine's own; some went another way. */
export function awayMs(gapsMs: readonly number[]): number {
  const leastMs = Math.min(...gapsMs);
  assert.ok(leastMs < NOT_CONCERNED_MS, `all were concerned: ${gapsMs}`);
  return Math.max(...gapsMs) - Math.max(0, leastMs - APART_MS);
}
