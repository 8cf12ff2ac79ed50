import type { Command } from 'commander';
import type { KindName } from '../../model/kind.ts';
import { plurals, requireKind } from '../kinds.ts';
import { dim, green, outputOption, print, red, say, yellow } from '../output.ts';
import { inlineText } from '../paths.ts';
import { type Session, type ShownObject, titleOf, withSession } from '../session.ts';
import { clockText } from '../times.ts';

interface WatchOptions {
  readonly output: string;
  readonly initial?: boolean;
}

/** A line of `GET /v1/watch`. */
type Message =
  | { readonly type: 'put'; readonly revision: number; readonly object: ShownObject }
  | {
      readonly type: 'delete';
      readonly revision: number;
      readonly kind: KindName;
      readonly id: string;
      readonly name?: string;
    }
  | { readonly type: 'revision'; readonly revision: number };

export function register(program: Command): void {
  program
    .command('watch')
    .description('follow changes as they happen, until ^C')
    .argument('[kinds]', `of these kinds, with commas: ${plurals()}`)
    .option('-t, --tenant <name>', 'only objects of this tenant')
    .option('--initial', 'begin with all objects as they are')
    .addOption(outputOption(['text', 'json'], 'text, or json (a line each)'))
    .action((kinds: string | undefined, options: WatchOptions, command: Command) =>
      withSession(command, (session) => watch(kinds, options, session)),
    );
}

/** The server says something every 5 s. */
const SILENCE_MS = 20_000;

async function watch(words: string | undefined, options: WatchOptions, session: Session): Promise<void> {
  const kinds = words?.split(',').map((word) => requireKind(word).kind);
  const query = { ...(kinds === undefined ? {} : { kinds: kinds.join(',') }) };
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const known = new Map<string, ShownObject>();
  let isReady = false;
  try {
    for await (const message of session.client.stream<Message>('GET', '/v1/watch', {
      query,
      signal: stop.signal,
      idleTimeoutMs: SILENCE_MS,
    })) {
      if (message.type === 'revision') {
        if (!isReady) say(`watching from revision ${message.revision}; ^C ends it`);
        isReady = true;
        continue;
      }
      const before = known.get(idOf(message));
      remember(known, message);
      if (!isReady && !options.initial) continue;
      if (session.tenant !== undefined && tenantOf(message, before) !== session.tenant) continue;
      if (options.output === 'json') print(JSON.stringify(message));
      else for (const line of describeChange(message, before)) print(line);
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}

type Change = Exclude<Message, { type: 'revision' }>;

const idOf = (message: Change): string => (message.type === 'put' ? message.object.id : message.id);

const tenantOf = (message: Change, before: ShownObject | undefined): unknown =>
  message.type === 'put' ? message.object.tenant : before?.tenant;

function remember(known: Map<string, ShownObject>, message: Change): void {
  if (message.type === 'put') known.set(message.object.id, message.object);
  else known.delete(message.id);
}

const QUIET = new Set(['revision', 'status']);

/** Exported for its test. */
export function describeChange(message: Change, before: ShownObject | undefined, nowMs = Date.now()): string[] {
  const time = dim(clockText(nowMs, nowMs));
  if (message.type === 'delete')
    return [`${time}  ${red('-')} ${before ? titleOf(before) : `${message.kind} ${message.name ?? message.id}`}`];
  const { object } = message;
  if (!before) return [`${time}  ${green('+')} ${titleOf(object)}`];
  const fields = new Set([...Object.keys(before), ...Object.keys(object)]);
  const changes = [...fields]
    .filter((field) => !QUIET.has(field) && inlineText(before[field]) !== inlineText(object[field]))
    .map((field) => `${field}: ${inlineText(before[field])} → ${inlineText(object[field])}`);
  return [`${time}  ${yellow('~')} ${titleOf(object)}  ${changes.join('; ')}`];
}
