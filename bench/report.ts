import { appendFileSync, mkdirSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { type Figure, ratioOf, reaches } from './bench.ts';

/** How figures are shown and kept. */

export interface Result {
  readonly bench: string;
  readonly figure: Figure;
}

const COLUMNS = ['bench', 'metric', 'value', 'unit', 'peer or bound', 'its value', 'ratio', '95 %', ''] as const;
/** Wide enough for what the benches say; a longer cell moves its line only. */
const WIDTHS = [14, 46, 10, 10, 22, 10, 6, 11, 0] as const;
const NUMERIC = new Set([2, 5, 6]);

export function headerLine(): string {
  return line(COLUMNS);
}

/** One figure: the last column is the verdict, with the bar where it is a ratio. */
export function figureLine({ bench, figure }: Result): string {
  const { reference } = figure;
  const ratio = ratioOf(figure);
  return line([
    bench,
    figure.metric,
    formatNumber(figure.value),
    figure.unit,
    reference?.name ?? '',
    reference ? formatNumber(reference.value) : '',
    ratio === undefined ? '' : ratio.toFixed(2),
    figure.interval?.map((end) => end.toFixed(2)).join(' - ') ?? '',
    verdictOf(figure),
  ]);
}

export function verdictOf(figure: Figure): string {
  const reached = reaches(figure);
  if (reached === undefined) return '';
  const { atLeast, atMost, name } = figure.reference!;
  const bar = name === 'at most' ? '' : atLeast !== undefined ? ` (at least ${atLeast})` : ` (at most ${atMost})`;
  return `${reached ? 'reached' : isOpen(figure) ? 'MISSED, or level' : 'MISSED'}${bar}`;
}

/** Whether the rounds do not tell on which side of its bar the figure is. */
export function isOpen({ interval, reference }: Figure): boolean {
  const bar = reference?.atLeast ?? reference?.atMost;
  return interval !== undefined && bar !== undefined && interval[0] <= bar && bar <= interval[1];
}

/** What `--json` writes and `bench/results/` keeps: the columns of the table by name. */
export function figureRecord({ bench, figure }: Result): Record<string, unknown> {
  const { metric, value, unit, reference } = figure;
  return {
    bench,
    metric,
    value: rounded(value),
    unit,
    peerOrBound: reference?.name ?? null,
    itsValue: reference ? rounded(reference.value) : null,
    ratio: roundedOrNull(ratioOf(figure)),
    interval: figure.interval?.map(rounded) ?? null,
    wantedRatio: reference?.atLeast ?? reference?.atMost ?? null,
    reached: reaches(figure) ?? null,
  };
}

/** Appends a run to `bench/results/`, one line of JSON per figure, with when and where it was; returns the file. */
export function keepResults(results: readonly Result[], { quick }: { readonly quick: boolean }): string {
  const machine = { cpus: cpus().length, cpu: cpus()[0]?.model ?? 'unknown', kernel: release() };
  const run = { at: new Date().toISOString(), quick, node: process.version, ...machine };
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'results.jsonl');
  const lines = results.map((result) => `${JSON.stringify({ ...run, ...figureRecord(result) })}\n`);
  appendFileSync(file, lines.join(''));
  return file;
}

function line(cells: readonly string[]): string {
  const padded = cells.map((cell, i) => (NUMERIC.has(i) ? cell.padStart(WIDTHS[i]!) : cell.padEnd(WIDTHS[i]!)));
  return padded.join('  ').trimEnd();
}

/** Three significant digits, or whole and grouped where it is large. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}

function rounded(value: number): number {
  return Number(value.toPrecision(6));
}

function roundedOrNull(value: number | undefined): number | null {
  return value === undefined ? null : rounded(value);
}
