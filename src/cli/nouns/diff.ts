import type { Command } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { applyFiles } from '../applying.ts';
import { EXIT, exitCodeOf } from '../exit-codes.ts';
import { outputOption, print, printJson, say } from '../output.ts';
import { formatDiff, hasDifferences, summaryOf } from '../plan.ts';
import { withSession } from '../session.ts';
import { collect } from './apply.ts';

interface DiffOptions {
  readonly file: string[];
  readonly set?: string;
  readonly prune?: boolean;
  readonly output: string;
}

export function register(program: Command): void {
  program
    .command('diff')
    .description('what apply would change')
    .requiredOption('-f, --file <path>', 'a file, a folder, or - for standard input; may be repeated', collect)
    .option('--set <name>', 'the apply set that the objects belong to')
    .option('--prune', 'with --set: show also what would be deleted')
    .option('-t, --tenant <name>', 'tenant of objects that name none')
    .addOption(outputOption(['text', 'json']))
    .addHelpText(
      'after',
      '\nAs diff(1): exit 0 when nothing would change, 1 when something would, more in case of trouble.\n',
    )
    .action((options: DiffOptions, command: Command) => diff(options, command));
}

async function diff(options: DiffOptions, command: Command): Promise<void> {
  try {
    await withSession(command, async (session) => {
      const plan = await applyFiles(session, {
        files: options.file,
        dryRun: true,
        ...(options.set === undefined ? {} : { applySet: options.set }),
        ...(options.prune ? { prune: true } : {}),
      });
      const isDifferent = hasDifferences(plan);
      if (options.output === 'json') printJson(plan);
      else if (isDifferent) print(formatDiff(plan));
      say(isDifferent ? `${summaryOf(plan)}; 'weft apply' with the same options does it` : 'no differences');
      process.exitCode = isDifferent ? EXIT.failure : EXIT.ok;
    });
  } catch (error) {
    // 1 means "different" here: what would otherwise be a plain failure is trouble of the second kind.
    if (exitCodeOf(error) !== EXIT.failure || !(error instanceof WeftError)) throw error;
    say(`error: ${error.message}`);
    process.exitCode = EXIT.usage;
  }
}
