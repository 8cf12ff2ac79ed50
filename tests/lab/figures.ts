import type { TestContext } from 'node:test';
import { bounded } from '../../bench/bench.ts';
import { figureLine, keepResults, type Result } from '../../bench/report.ts';

/** A figure of a campaign that has a bar, as a line of the benches' table, kept beside theirs in bench/results/. It is for the test to hold it to the bar. */
export function tellFigure(t: TestContext, metric: string, value: number, unit: string, limit: number): void {
  const result: Result = { bench: 'campaign', figure: bounded(metric, value, unit, limit) };
  t.diagnostic(figureLine(result));
  keepResults([result], { quick: false });
}
