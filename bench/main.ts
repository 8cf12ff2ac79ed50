import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Bench, reaches } from './bench.ts';
import { CATALOGUE } from './catalogue.ts';
import { createContext, removeRunFolder, sweepRuns } from './context.ts';
import { figureLine, figureRecord, headerLine, isOpen, keepResults, type Result } from './report.ts';

const USAGE = `npm run bench [-- OPTION…]
  --list         what there is
  --only NAME    this bench (or those whose names begin so); may be given several times. Long ones run only so.
  --json FILE    writes the figures there, one JSON object per figure in an array
  --quick        fewer rounds and shorter waits: shows that the benches work, not how fast Weft is

The table goes to standard output, progress to standard error; figures are appended to bench/results/.
NODE_OPTIONS='--cpu-prof --cpu-prof-dir=DIR' in the environment profiles the bench, the agents and the server.
Most benches make network namespaces and need root. Exit status: 0, or 1 when a bench could not run.
`;

interface Options {
  readonly benches: readonly Bench[];
  readonly json: string | undefined;
  readonly quick: boolean;
}

/** Reads the command line; ends the process where there is nothing to run. */
function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      list: { type: 'boolean' },
      only: { type: 'string', multiple: true },
      json: { type: 'string' },
      quick: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  if (values.list) {
    for (const { name, about } of CATALOGUE) process.stdout.write(`${name.padEnd(14)}  ${about}\n`);
    process.exit(0);
  }
  const { only } = values;
  const chosen = (bench: Bench): boolean => only!.some((name) => bench.name === name || bench.name.startsWith(name));
  const benches = CATALOGUE.filter(only === undefined ? (bench) => !bench.isLong : chosen);
  if (benches.length === 0) {
    process.stderr.write(`no bench is called ${only?.join(', ')}; --list shows them\n`);
    process.exit(2);
  }
  return { benches, json: values.json, quick: values.quick ?? false };
}

/** Progress: one line that is written over on a terminal, a line each elsewhere. */
function showProgress(bench: string, text: string): void {
  const [begin, end] = process.stderr.isTTY ? ['\r\x1b[K', ''] : ['', '\n'];
  process.stderr.write(`${begin}${bench}: ${text}${end}`);
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

/** Runs one bench and takes away what it started. Undefined when it could not run. */
async function runBench(bench: Bench, options: Options, signal: AbortSignal): Promise<readonly Result[] | undefined> {
  if (bench.needsRoot && process.getuid?.() !== 0) {
    process.stderr.write(`${bench.name}: left out, it makes network namespaces: run this as root\n`);
    return [];
  }
  const progress = (text: string): void => showProgress(bench.name, text);
  const { context, clean } = createContext({ quick: options.quick, signal, progress });
  try {
    const figures = await bench.run(context);
    return figures.map((figure) => ({ bench: bench.name, figure }));
  } catch (error) {
    clearProgress();
    if (!signal.aborted)
      process.stderr.write(`${bench.name}: could not run: ${error instanceof Error ? error.stack : String(error)}\n`);
    return undefined;
  } finally {
    await clean();
    clearProgress();
  }
}

async function main(): Promise<void> {
  const options = readOptions();
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => interrupted.abort(new Error(`interrupted by ${signal}`)));
  if (process.getuid?.() === 0) await sweepRuns();
  const results: Result[] = [];
  let failed = 0;
  process.stdout.write(`${headerLine()}\n`);
  for (const bench of options.benches) {
    if (interrupted.signal.aborted) break;
    const own = await runBench(bench, options, interrupted.signal);
    if (own === undefined) failed++;
    for (const result of own ?? []) process.stdout.write(`${figureLine(result)}\n`);
    results.push(...(own ?? []));
  }
  removeRunFolder();
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify(results.map(figureRecord), null, 2)}\n`);
  if (results.length > 0) process.stderr.write(`kept in ${keepResults(results, { quick: options.quick })}\n`);
  const missed = results.map(({ figure }) => figure).filter((figure) => reaches(figure) === false);
  const open = missed.filter(isOpen).length;
  const counts = [
    `${results.length} figures`,
    `${missed.length} missed${open > 0 ? ` (${open} by less than the rounds tell apart)` : ''}`,
    ...(failed > 0 ? [`${failed} not run`] : []),
  ];
  process.stderr.write(`${counts.join(', ')}\n`);
  process.exit(interrupted.signal.aborted ? 130 : failed > 0 ? 1 : 0);
}

await main();
