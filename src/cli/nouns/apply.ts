import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { applyObjects } from '../applying.ts';
import { readObjects } from '../documents.ts';
import { UsageError } from '../exit-codes.ts';
import { outputOption, print, printJson, say } from '../output.ts';
import { formatDiff, formatResult, hasDifferences, type Plan, summaryOf } from '../plan.ts';
import { type Session, withSession } from '../session.ts';

interface ApplyOptions {
  readonly file: string[];
  readonly diff?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly set?: string;
  readonly prune?: boolean;
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('apply')
    .description('make the desired state be what YAML files say')
    .requiredOption('-f, --file <path>', 'a file, a folder, or - for standard input; may be repeated', collect)
    .option('--diff', 'show what would change, and ask (without a terminal: show and stop)')
    .option('-y, --yes', 'with --diff: show, and do it without asking')
    .option('--dry-run', 'check everything and show what would change; write nothing')
    .option('--set <name>', 'the apply set that the objects belong to')
    .option('--prune', 'with --set: delete what is in the set and no longer in the files')
    .option('-t, --tenant <name>', 'tenant of objects that name none')
    .addOption(outputOption(['text', 'json']))
    .addHelpText(
      'after',
      '\nAll or nothing: where anything is wrong, every problem is named by file and line, and nothing is written.\n\nExamples:\n  weft apply -f network.yaml\n  weft apply -f network/ --set prod --prune --diff\n',
    )
    .action((options: ApplyOptions, command: Command) => withSession(command, (session) => apply(options, session)));
}

/** For options that may be repeated. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

async function apply(options: ApplyOptions, session: Session): Promise<void> {
  if (options.prune && options.set === undefined)
    throw new UsageError('--prune needs --set NAME: only objects of the same apply set are ever deleted');
  const sources = readObjects(options.file);
  const request = {
    ...(options.set === undefined ? {} : { applySet: options.set }),
    ...(options.prune ? { prune: true } : {}),
  };
  if (options.diff || options.dryRun) {
    const plan = await applyObjects(session, sources, { ...request, dryRun: true });
    show(plan, options, formatDiff);
    if (options.dryRun) return say(`dry run: ${summaryOf(plan)}; nothing was written`);
    if (!hasDifferences(plan)) return say('everything is as the files say');
    if (!options.yes && !(await confirmed(`Apply (${summaryOf(plan)})?`))) return say('nothing was written');
  }
  const plan = await applyObjects(session, sources, request);
  show(plan, options, formatResult);
  say(summaryOf(plan) + (hasDifferences(plan) ? `; 'weft sync --wait' waits until every host has it` : ''));
}

function show(plan: Plan, options: ApplyOptions, format: (plan: Plan) => string): void {
  if (options.output === 'json') return printJson(plan);
  const text = format(plan);
  if (text !== '') print(text);
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    say('not on a terminal: --yes applies it');
    return false;
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}
