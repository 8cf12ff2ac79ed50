import type { Command } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { problemsOf } from '../../server/problem.ts';
import { readObjects, type SourceObject } from '../documents.ts';
import { UsageError } from '../exit-codes.ts';
import { CLI_KINDS, type CliKind, entryOf, kindOf, plurals, requireKind } from '../kinds.ts';
import { print, say } from '../output.ts';
import { fetchObject, fetchToChange } from '../requests.ts';
import { type Session, titleOf, withSession } from '../session.ts';
import { collect } from './apply.ts';

interface DeleteOptions {
  readonly file: string[];
  readonly ignoreNotFound?: boolean;
}

export function register(program: Command): void {
  program
    .command('delete')
    .alias('rm')
    .description('delete objects')
    .argument('[objects...]', `kind and names ('port web-1 web-2'), or kind/name words; kinds: ${plurals()}`)
    .option('-f, --file <path>', 'delete the objects that files name; may be repeated', collect, [])
    .option('-t, --tenant <name>', 'tenant of objects named without one')
    .option('--ignore-not-found', 'what is not there counts as deleted')
    .addHelpText('after', '\nAn object that others refer to is not deleted; they are named.\n')
    .action((words: string[], options: DeleteOptions, command: Command) =>
      withSession(command, (session) => remove(words, options, session)),
    );
}

/** Exported for its test. */
export async function remove(words: readonly string[], options: DeleteOptions, session: Session): Promise<void> {
  const wanted = [...fromWords(words), ...fromFiles(options.file)];
  if (wanted.length === 0) throw new UsageError("name what to delete: 'weft delete port web-1' or -f FILE");
  // Those that refer go before those they refer to.
  const order = (kind: CliKind): number => CLI_KINDS.indexOf(kind);
  let deleted = 0;
  for (const { kind, name, isOfFile } of wanted.toSorted((a, b) => order(b.kind) - order(a.kind))) {
    try {
      const object = await (isOfFile
        ? fetchObject(session, kind, name, { whole: true })
        : fetchToChange(session, kind, name));
      await session.client.request('DELETE', `/v1/${kind.plural}/${object.id}`);
      print(`${titleOf(object)} deleted`);
      deleted++;
    } catch (error) {
      if (error instanceof WeftError && error.code === 'not-found' && options.ignoreNotFound) continue;
      throw inUse(error, deleted);
    }
  }
  if (deleted > 0) say("'weft sync --wait' waits until every host has let go");
}

interface Wanted {
  readonly kind: CliKind;
  readonly name: string;
  /** Nobody typed it: no beginnings of ids. */
  readonly isOfFile?: true;
}

function fromWords(words: readonly string[]): Wanted[] {
  const [first, ...rest] = words;
  if (first === undefined) return [];
  if (rest.length > 0 && kindOf(first)) return rest.map((name) => ({ kind: requireKind(first), name }));
  return words.map((word) => {
    const slash = word.indexOf('/');
    const kind = slash < 0 ? kindOf(word) : undefined;
    if (kind) throw new UsageError(`which ${kind.kind}? 'weft get ${kind.plural}' lists them`);
    if (slash < 0) throw new UsageError(`${word}: write the kind too, as 'weft delete port ${word}' or port/${word}`);
    return { kind: requireKind(word.slice(0, slash)), name: word.slice(slash + 1) };
  });
}

function fromFiles(files: readonly string[]): Wanted[] {
  if (files.length === 0) return [];
  return readObjects(files).map(({ object, position }) => {
    const kind = entryOf(object.kind);
    return { kind, name: nameInFile(kind, object, position), isOfFile: true };
  });
}

/** The id, where it has one; else `tenant/name`, or `tenant/container/name`, each as far as the file says it. */
function nameInFile(kind: CliKind, object: SourceObject['object'], position: SourceObject['position']): string {
  if (typeof object.id === 'string') return object.id;
  const tenant = kind.tenantOwned && typeof object.tenant === 'string' ? `${object.tenant}/` : '';
  if (kind.nameWithin === undefined) return `${tenant}${object.name}`;
  const container = object[kind.nameWithin];
  if (typeof container !== 'string')
    throw new UsageError(`${position('')}: ${kind.kind} ${object.name} says no ${kind.nameWithin}`);
  // Files may write a container with its tenant.
  return container.includes('/') ? `${container}/${object.name}` : `${tenant}${container}/${object.name}`;
}

/** A refusal names who still refers; what went before it is said too. */
function inUse(error: unknown, deleted: number): unknown {
  if (!(error instanceof WeftError)) return error;
  const problems = problemsOf(error);
  const text = problems.length > 0 ? problems.map((p) => `${p.object}: ${p.message}`).join('\n  ') : error.message;
  const before = deleted > 0 ? ` (${deleted} deleted before it)` : '';
  return new WeftError(error.code, `${text}${before}`, { cause: error, details: error.details });
}
