import type { Command } from 'commander';
import { UsageError } from '../exit-codes.ts';
import { type CliKind, type Column, plurals, requireKind } from '../kinds.ts';
import { checkFormat, formatTable, type OutputFormat, print, printJson, say } from '../output.ts';
import { cellText, valueAt } from '../paths.ts';
import { fetchObject, listObjects } from '../requests.ts';
import { type Session, type ShownObject, titleOf, withSession } from '../session.ts';
import { printYaml } from '../yaml-output.ts';

interface GetOptions {
  readonly output: string;
  readonly selector?: string;
  readonly all?: boolean;
}

export function register(program: Command): void {
  program
    .command('get')
    .description('list objects of a kind, or some of them by name')
    .argument('<kind>', `one of ${plurals()} (or a short form), several with commas, or 'all'`)
    .argument('[names...]', 'name, tenant/name, id or the beginning of an id')
    .option('-o, --output <format>', 'table, wide, json, yaml or name', 'table')
    .option('-l, --selector <labels>', 'only objects with these labels: key=value,key2 (of any value)')
    .option('-t, --tenant <name>', 'only objects of this tenant')
    .option('-A, --all', 'of all tenants, whatever the context says')
    .addHelpText(
      'after',
      '\nExamples:\n  weft get ports\n  weft get sw,ports -t acme -o wide\n  weft get port web-1 -o yaml\n',
    )
    .action((kinds: string, names: string[], options: GetOptions, command: Command) =>
      withSession(command, (session) =>
        get(kinds, names, options, options.all ? { ...session, tenant: undefined } : session),
      ),
    );
}

async function get(words: string, names: readonly string[], options: GetOptions, session: Session): Promise<void> {
  const format = checkFormat(options.output);
  if (options.selector?.split(',').some((label) => label === '' || label.startsWith('=')))
    throw new UsageError(`-l ${options.selector}: key=value,key2=value2 is wanted, or a key alone for any value`);
  const kinds = (words === 'all' ? plurals().split(', ') : words.split(',')).map(requireKind);
  const lists: { readonly kind: CliKind; readonly objects: ShownObject[] }[] = [];
  for (const kind of kinds) {
    const objects =
      names.length === 0
        ? await listObjects(session, kind, options.selector === undefined ? {} : { label: options.selector })
        : await Promise.all(names.map((name) => fetchObject(session, kind, name)));
    lists.push({ kind, objects });
  }
  await printObjects(lists, format, session, names.length > 0 && words !== 'all');
}

async function printObjects(
  lists: readonly { readonly kind: CliKind; readonly objects: readonly ShownObject[] }[],
  format: OutputFormat,
  session: Session,
  isNamed: boolean,
): Promise<void> {
  const objects = lists.flatMap((list) => list.objects);
  if (format === 'json') return printJson(isNamed && objects.length === 1 ? objects[0] : objects);
  if (format === 'yaml') return objects.length === 0 ? undefined : printYaml(...objects.map(asWritten));
  if (format === 'name')
    return objects.length === 0
      ? undefined
      : print(
          objects
            .map(titleOf)
            .map((t) => t.replace(' ', '/'))
            .join('\n'),
        );
  if (objects.length === 0)
    return say(
      `no ${lists.map(({ kind }) => kind.plural).join(' and no ')}${session.tenant ? ` of tenant ${session.tenant}` : ''}`,
    );
  const filled = lists.filter((list) => list.objects.length > 0);
  print(
    filled.map(({ kind, objects: rows }) => tableOf(kind, rows, format === 'wide', filled.length > 1)).join('\n\n'),
  );
}

/** Exported for its test. */
export function tableOf(kind: CliKind, objects: readonly ShownObject[], isWide: boolean, hasKind = false): string {
  const columns: Column[] = [
    ...(kind.tenantOwned ? [{ title: 'TENANT', path: 'tenant' }] : []),
    { title: hasKind ? kind.kind.toUpperCase() : 'NAME', path: 'name' },
    ...kind.columns.filter((column) => isWide || !column.wide),
    ...(isWide
      ? [
          { title: 'ID', path: 'id' },
          { title: 'LABELS', path: 'labels' },
        ]
      : []),
  ];
  const rows = objects.map((object) => columns.map((column) => cellText(valueAt(object, column.path))));
  return formatTable(
    columns.map((column) => column.title),
    rows,
  );
}

/** As `weft apply` takes it: without what the server adds, so that what is printed can be written again. */
function asWritten(object: ShownObject): Record<string, unknown> {
  const {
    kind,
    tenant,
    name,
    labels,
    status: _status,
    revision: _revision,
    id,
    applySet: _applySet,
    ...fields
  } = object;
  return {
    kind,
    ...(tenant === undefined ? {} : { tenant }),
    name,
    id,
    ...(labels === undefined ? {} : { labels }),
    ...fields,
  };
}
