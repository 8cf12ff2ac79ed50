import type { Command } from 'commander';
import { EXIT, UsageError } from '../exit-codes.ts';
import { outputOption, print, printJson, say } from '../output.ts';
import { type Session, withSession } from '../session.ts';
import { parseDuration } from '../times.ts';

interface SyncOptions {
  readonly wait?: boolean;
  readonly timeout: string;
  readonly revision?: string;
  readonly output: string;
}

/** What `GET /v1/sync` answers. */
interface SyncAnswer {
  readonly revision: number;
  readonly isSynced: boolean;
  readonly waitingFor: readonly string[];
}

export function register(program: Command): void {
  program
    .command('sync')
    .description('has every live host applied what was written? (--wait: until it has)')
    .option('--wait', 'wait until it has')
    .option('--timeout <time>', 'how long at most: 30s, 2m, 500ms', '30s')
    .option('--revision <number>', 'up to this revision instead of the newest')
    .addOption(outputOption(['text', 'json']))
    .addHelpText('after', '\nExit 124 when --wait takes too long, 7 when without it hosts are behind.\n')
    .action((options: SyncOptions, command: Command) => withSession(command, (session) => sync(options, session)));
}

async function sync(options: SyncOptions, session: Session): Promise<void> {
  const limitMs = parseDuration(options.timeout);
  if (limitMs === undefined) throw new UsageError(`--timeout ${options.timeout}: 30s, 2m or 500ms is wanted`);
  const timeoutMs = options.wait ? limitMs : 0;
  const note = options.wait
    ? setTimeout(() => say(`waiting for hosts, ${options.timeout} at most …`), 1_000)
    : undefined;
  const answer = await session.client
    .get<SyncAnswer>('/v1/sync', {
      query: { timeoutMs, ...(options.revision === undefined ? {} : { revision: options.revision }) },
      timeoutMs: timeoutMs + 10_000,
    })
    .finally(() => clearTimeout(note));
  process.exitCode = answer.isSynced ? EXIT.ok : options.wait ? EXIT.timeout : EXIT.degraded;
  if (options.output === 'json') return printJson(answer);
  if (answer.isSynced) return print(`every live host has applied revision ${answer.revision}`);
  print(`revision ${answer.revision} is not applied on ${answer.waitingFor.join(', ')}`);
  say("next: 'weft status' shows how those hosts are");
}
