import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ScenarioSketch } from './scenario.ts';

const FOLDER = join(import.meta.dirname, 'regressions');

/** Cases that once went wrong, by file name; every run tries them. */
export const regressions: readonly (readonly [string, ScenarioSketch])[] = globSync('*.json', { cwd: FOLDER })
  .sort()
  .map((name) => [name, JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as ScenarioSketch]);
