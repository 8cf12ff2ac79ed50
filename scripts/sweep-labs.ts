/**
 * Removes what labs of tests left: those of test runs whose process has ended, and those of the run named by an
 * argument (its process id). A person's labs, and those of tests that still run, are not touched.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { removeLab } from '../src/lab/lab.ts';
import { startTicksOf } from '../src/lab/namespaces.ts';
import { listLabs } from '../src/lab/state.ts';

const runs = '/run/weft-test';
const own = process.argv[2];
for (const run of existsSync(runs) ? readdirSync(runs) : []) {
  if (run !== own && startTicksOf(Number(run)) !== undefined) continue;
  process.env.WEFT_LAB_DIR = join(runs, run);
  for (const lab of listLabs()) {
    console.error(`removing the lab ${lab} that a test left`);
    await removeLab(lab);
  }
  rmSync(join(runs, run), { recursive: true, force: true });
}
