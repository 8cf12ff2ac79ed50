import type { Command } from 'commander';
import { KINDS } from '../../model/kinds.ts';
import { type FieldFlag, fieldValue, flagsOf, labelOf } from '../fields.ts';
import { CLI_KINDS, type CliKind, singularOf } from '../kinds.ts';
import { checkFormat, print, printJson, say } from '../output.ts';
import { type Session, type ShownObject, titleOf, withSession } from '../session.ts';
import { printYaml } from '../yaml-output.ts';
import { collect } from './apply.ts';

type Typed = Readonly<Record<string, string | string[] | boolean | undefined>>;

/** `weft create <kind> <name> --field value`: one command per kind, its flags from the kind's schema. */
export function register(program: Command): void {
  const create = program.command('create').description('create one object');
  for (const kind of CLI_KINDS) {
    const flags = flagsOf(KINDS[kind.kind].schema);
    const name = singularOf(kind);
    const command = create
      .command(name)
      .aliases([...new Set([kind.kind, kind.plural, ...kind.short])].filter((word) => word !== name))
      .description(KINDS[kind.kind].about)
      .argument('<name>', kind.tenantOwned ? 'its name, or tenant/name' : 'its name')
      .option('--id <uuid>', 'its id, where another system has chosen one')
      .option('--label <key=value>', 'a label; may be repeated', collect)
      .option('-o, --output <format>', 'table (one line), json, yaml or name', 'table');
    if (kind.tenantOwned) command.option('-t, --tenant <name>', 'the tenant that owns it');
    for (const flag of flags) addFlag(command, flag);
    command.action((name: string, options: Typed, self: Command) =>
      withSession(self, (session) => createOne(kind, flags, name, options, session)),
    );
  }
}

function addFlag(command: Command, flag: FieldFlag): void {
  if (flag.isBoolean) command.option(`--${flag.flag}`, flag.about).option(`--no-${flag.flag}`, `not ${flag.flag}`);
  else if (flag.isList) command.option(`--${flag.flag} <list>`, flag.about, collect);
  else command.option(`--${flag.flag} <value>`, flag.about);
}

async function createOne(
  kind: CliKind,
  flags: readonly FieldFlag[],
  typedName: string,
  options: Typed,
  session: Session,
): Promise<void> {
  const format = checkFormat(options.output as string);
  const slash = kind.tenantOwned ? typedName.indexOf('/') : -1;
  const tenant = slash > 0 ? typedName.slice(0, slash) : session.tenant;
  const labels = Object.fromEntries(((options.label ?? []) as string[]).map((text) => labelOf(text, '--label')));
  const body: Record<string, unknown> = {
    name: typedName.slice(slash + 1),
    ...(kind.tenantOwned && tenant !== undefined ? { tenant } : {}),
    ...(options.id === undefined ? {} : { id: options.id }),
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
  };
  for (const flag of flags) {
    const typed = options[flag.field];
    if (typed !== undefined) body[flag.field] = fieldValue(flag, typed);
  }
  const { body: created } = await session.client.request<ShownObject>('POST', `/v1/${kind.plural}`, {
    body,
    query: { names: true },
  });
  if (format === 'json') printJson(created);
  else if (format === 'yaml') printYaml(created);
  else if (format === 'name') print(titleOf(created).replace(' ', '/'));
  else print(`${titleOf(created)} created`);
  if (kind.kind === 'port')
    say(
      `plug its interface in with external_ids:iface-id=${created.id}; 'weft describe port ${typedName}' shows where it is`,
    );
}
