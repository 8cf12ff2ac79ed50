/**
 * Writes docs/pipeline.md: the tables and registers as declared in src/compile, and the flows of the two-host example
 * (src/compile/testing/example.ts). `node scripts/pipeline-doc.ts` writes it, `--check` says whether it is up to date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipelineDocument } from '../src/compile/testing/pipeline-document.ts';

const path = join(import.meta.dirname, '..', 'docs', 'pipeline.md');
const document = pipelineDocument();
if (!process.argv.includes('--check')) writeFileSync(path, document);
else if (readFileSync(path, 'utf8') !== document) {
  console.error(
    'docs/pipeline.md is not what src/compile says: run node scripts/pipeline-doc.ts and review the difference',
  );
  process.exit(1);
}
