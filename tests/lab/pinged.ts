import { once } from 'node:events';
import type { Lab } from '../../src/lab/lab.ts';
import { eventually, sleep } from './datacentre.ts';

/** Pings all targets from a workload 20 times a second each while `during` runs; the longest silence of each in milliseconds, and how many went unanswered. */
export async function pinged(
  lab: Lab,
  from: string,
  targets: readonly string[],
  during: () => Promise<unknown>,
): Promise<{ gapMs: number; lost: number }[]> {
  const runs = targets.map((target) => {
    const child = lab.spawn(from, ['ping', '-n', '-D', '-i', '0.05', target]);
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
    });
    // Behind its exit: then all that it said is read.
    return { child, text: () => text, closed: once(child, 'close') };
  });
  for (const { text } of runs) await eventually('an answer', 5_000, async () => text().includes('icmp_seq'));
  await sleep(200);
  await during();
  await sleep(1_000);
  const endMs = Date.now();
  return Promise.all(
    runs.map(async ({ child, text, closed }) => {
      child.kill('SIGINT');
      await closed;
      const times = [...text().matchAll(/^\[(\d+\.\d+)\].*icmp_seq/gm)].map((match) => Number(match[1]) * 1000);
      // Who answers no more is silent up to the end.
      const gaps = [...times.slice(1), endMs].map((time, i) => time - times[i]!);
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text()) ?? [];
      // The last one may be on its way.
      return { gapMs: Math.max(...gaps), lost: Math.max(0, Number(sent) - Number(received) - 1) };
    }),
  );
}
