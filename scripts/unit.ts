/**
 * Runs the unit tests beside the sources (all `*.test.ts` under src/), or those whose path contains an argument.
 * With WEFT_TEST_COUNTS it writes TAP to that file as well, for whoever adds up.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import './compile-cache.ts';

const wanted = process.argv.slice(2);
const files = globSync('src/**/*.test.ts')
  .filter((file) => wanted.length === 0 || wanted.some((w) => file.includes(w)))
  .sort();
if (files.length === 0) {
  console.error(`no unit test matches ${wanted.join(', ')}`);
  process.exit(2);
}
const counts = process.env.WEFT_TEST_COUNTS;
const reporters = ['--test-reporter=dot', '--test-reporter-destination=stdout'];
if (counts) reporters.push('--test-reporter=tap', `--test-reporter-destination=${counts}`);
// A test that hangs must not hold the gate up; campaigns take their time.
const timeoutMs = process.env.WEFT_CAMPAIGN ? 3_600_000 : 90_000;
const limits = ['--test-concurrency=4', `--test-timeout=${timeoutMs}`];
// Real Open vSwitch, as the labs have it: an old installed one aborts in its connection tracking. Empty: the installed one will do.
const ovsDir = execFileSync('scripts/setup.sh', ['ovs-dir'], { encoding: 'utf8' }).trim();
const env = { ...process.env, ...(ovsDir === '' ? {} : { WEFT_OVS_DIR: ovsDir }) };
const run = spawnSync(process.execPath, ['--test', ...reporters, ...limits, ...files], { stdio: 'inherit', env });
process.exit(run.status ?? 1);
