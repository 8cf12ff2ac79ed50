/**
 * Runs the integration tests (`*.test.ts` under tests/), or those whose path contains an argument; with WEFT_CAMPAIGN (`./test --all`) campaigns
 * (`*.campaign.ts`) and every scenario as well. Each file is a process of its own. Its first line may say how it is run:
 *
 *     // Measures: runs alone.             it loads the machine itself, or counts packets or time that must not be lost to others
 *     // Measures: runs in pairs.          it counts time, and is well with little load beside it
 *     // Takes a minute: runs first.       so that it is not what the others are waited for with in the end; also `in pairs, first`
 *     // A scenario: runs by --all.        or where it is asked for: the gate has a shorter test of what it is about; also `alone, by --all`
 *
 * With WEFT_TEST_COUNTS it writes TAP to files in that folder as well, for whoever adds up.
 */
import { createWriteStream, globSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec, tap } from 'node:test/reporters';
import './compile-cache.ts';

/** How many at a time, by what their first lines end with. Those that say nothing of it wait most of the time. */
const AT_A_TIME = { together: 3, 'in pairs': 2, alone: 1 } as const;
const FIRST = 'first';
const SCENARIO = 'by --all';
const MANNERS = [FIRST, SCENARIO];
const SHOWN = 10;
const isCampaign = Boolean(process.env.WEFT_CAMPAIGN);
const wanted = process.argv.slice(2);
const took: { readonly file: string; readonly ms: number }[] = [];

const files = globSync(['tests/**/*.test.ts', ...(isCampaign ? ['tests/**/*.campaign.ts'] : [])])
  .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)))
  .sort()
  .map((path) => ({ path, how: /^\/\/ .*: runs (.*)\.\n/.exec(readFileSync(path, 'utf8'))?.[1]?.split(', ') ?? [] }))
  .filter(({ how }) => isCampaign || wanted.length > 0 || !how.includes(SCENARIO));
if (files.length === 0) {
  console.error(`no integration test matches ${wanted.join(', ')}`);
  process.exit(2);
}
const strange = files.find(({ how }) => how.some((word) => !MANNERS.includes(word) && !(word in AT_A_TIME)));
if (strange) throw new Error(`${strange.path}: runs how?`);
for (const [way, atATime] of Object.entries(AT_A_TIME)) {
  const those = files.filter(({ how }) => (how.find((word) => word in AT_A_TIME) ?? 'together') === way);
  those.sort((a, b) => Number(b.how.includes(FIRST)) - Number(a.how.includes(FIRST)));
  await lane(
    way,
    atATime,
    those.map(({ path }) => path),
  );
}
took.sort((a, b) => b.ms - a.ms);
console.log(`\nof ${took.length} files these took longest:`);
for (const { file, ms } of took.slice(0, SHOWN)) console.log(`${`${Math.round(ms / 1000)}`.padStart(6)} s  ${file}`);

/** Runs test files in this order, so many at a time (`node --test` sorts them). */
async function lane(name: string, concurrency: number, paths: readonly string[]): Promise<void> {
  if (paths.length === 0) return;
  const tests = run({ files: paths, concurrency, timeout: isCampaign ? 3_600_000 : 900_000 });
  tests.on('test:fail', () => {
    process.exitCode = 1;
  });
  tests.on('test:summary', ({ file, duration_ms }) => {
    if (file !== undefined) took.push({ file: relative('.', file), ms: duration_ms });
  });
  tests.compose(new spec()).pipe(process.stdout);
  const counts = process.env.WEFT_TEST_COUNTS;
  if (counts) await finished(tests.compose(tap).pipe(createWriteStream(join(counts, `${name}.tap`))));
  else await finished(tests.resume());
}
