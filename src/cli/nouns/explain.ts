import type { Command } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { askLocalAgent, DEFAULT_CONTROL_SOCKET } from '../control.ts';
import { UsageError } from '../exit-codes.ts';
import { requireKind } from '../kinds.ts';
import { formatTable, outputOption, print, printJson, say } from '../output.ts';
import { fetchObject } from '../requests.ts';
import { hostAgentPath, type Session, titleOf, withSession } from '../session.ts';

interface ExplainOptions {
  readonly host?: string;
  readonly control: string;
  readonly output: string;
}

interface Explained {
  readonly units?: readonly string[];
  readonly objects?: readonly { readonly kind: string; readonly id: string }[];
}

export function register(program: Command): void {
  program
    .command('explain')
    .description('which objects a flow (its cookie) comes from')
    .argument('<cookie>', 'as ovs-ofctl prints it: 0x1f, or 31')
    .option('--host <name>', "a host's agent, through the server; without it the agent of this host")
    .option('--control <path>', "control socket of this host's agent", DEFAULT_CONTROL_SOCKET)
    .addOption(outputOption(['table', 'json']))
    .action((cookie: string, options: ExplainOptions, command: Command) => explain(cookie, options, command));
}

async function explain(cookie: string, options: ExplainOptions, command: Command): Promise<void> {
  if (!/^(0x[0-9a-fA-F]{1,16}|\d{1,20})$/.test(cookie))
    throw new UsageError(`${cookie}: a cookie is a number, as 0x1f or 31`);
  const path = `/explain?cookie=${cookie}`;
  const found =
    options.host === undefined
      ? await askLocalAgent<Explained>(options.control, path)
      : await withSession(command, (session) => session.client.get<Explained>(hostAgentPath(options.host!, path)));
  if (options.output === 'json') return printJson(found);
  const objects = found.objects ?? [];
  if ((found.units ?? []).length === 0 && objects.length === 0)
    throw new WeftError('not-found', `no flow of this host has the cookie ${cookie}`);
  const names = await withSession(command, (session) => Promise.all(objects.map((o) => nameOf(session, o)))).catch(() =>
    objects.map((o) => `${o.kind} ${o.id}`),
  );
  print(
    formatTable(
      ['FROM', 'WHAT'],
      [...(found.units ?? []).map((unit) => ['unit', unit]), ...names.map((name) => ['object', name])],
    ),
  );
  say("'weft agent flows --match' finds its flows on the host");
}

async function nameOf(session: Session, ref: { readonly kind: string; readonly id: string }): Promise<string> {
  return titleOf(await fetchObject(session, requireKind(ref.kind), ref.id));
}
