/** Runs the unit tests beside the sources (`src/**/*.test.ts`), or those whose path contains an argument. */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

const wanted = process.argv.slice(2);
const files = globSync('src/**/*.test.ts')
  .filter((file) => wanted.length === 0 || wanted.some((w) => file.includes(w)))
  .sort();
if (files.length === 0) {
  console.error(`no unit test matches ${wanted.join(', ')}`);
  process.exit(2);
}
const run = spawnSync(process.execPath, ['--test', '--test-reporter=dot', '--test-concurrency=2', ...files], { stdio: 'inherit' });
process.exit(run.status ?? 1);
