import { resolve } from 'node:path';
import type { Command } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { parseServerUrl } from '../../server/url.ts';
import { type Context, contextFilePath, currentContext, readContexts, writeContexts } from '../contexts.ts';
import { UsageError } from '../exit-codes.ts';
import { formatTable, green, print, say } from '../output.ts';

interface SetOptions {
  readonly url?: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly tenant?: string;
  readonly use?: boolean;
}

export function register(program: Command): void {
  const context = program.command('context').description('which server the commands talk to');
  context.command('list', { isDefault: true }).description('contexts, the current one marked').action(list);
  context.command('use').argument('<name>').description('make a context the current one').action(use);
  context
    .command('set')
    .argument('<name>')
    .description('add or change a context')
    .option('--url <url>', 'unix:/path, http://127.0.0.1:port or https://host:port')
    .option('--token-file <path>', 'file with the bearer token')
    .option('--ca-file <path>', "PEM file with the certificate that the server's is signed by")
    .option('-t, --tenant <name>', 'tenant where a command names none')
    .option('--use', 'make it the current one')
    .action(set);
  context.command('delete').argument('<name>').description('forget a context').action(remove);
  context
    .command('show')
    .description('the context in force, the environment included')
    .action((_options: unknown, command: Command) => {
      const { server, tokenFile, caFile, tenant } = currentContext(command.optsWithGlobals());
      const rows = Object.entries({ server, tokenFile, caFile, tenant }).flatMap(([key, value]) =>
        value === undefined ? [] : [[key, value]],
      );
      print(formatTable(['SETTING', 'VALUE'], rows));
    });
}

function list(): void {
  const { current, contexts } = readContexts();
  const rows = Object.entries(contexts).map(([name, context]) => [
    name === current ? green('*') : '',
    name,
    context.server,
    context.tenant ?? '-',
  ]);
  if (rows.length === 0)
    return say(
      `no contexts in ${contextFilePath()}; 'weft context set NAME --url https://host:7443 --token-file FILE --use' adds one`,
    );
  print(formatTable(['', 'NAME', 'SERVER', 'TENANT'], rows));
}

function use(name: string): void {
  const file = readContexts();
  if (!file.contexts[name]) throw unknown(name, Object.keys(file.contexts));
  writeContexts({ ...file, current: name });
  say(`commands now go to ${file.contexts[name].server}`);
}

function set(name: string, options: SetOptions): void {
  const file = readContexts();
  const before = file.contexts[name];
  const server = options.url ?? before?.server;
  if (server === undefined) throw new UsageError(`the context ${name} is new: give its --url`);
  parseServerUrl(server);
  const context: Context = {
    ...before,
    server,
    ...(options.tokenFile === undefined ? {} : { tokenFile: resolve(options.tokenFile) }),
    ...(options.caFile === undefined ? {} : { caFile: resolve(options.caFile) }),
    ...(options.tenant === undefined ? {} : { tenant: options.tenant }),
  };
  const isCurrent = options.use === true || file.current === undefined;
  writeContexts({ ...file, contexts: { ...file.contexts, [name]: context }, ...(isCurrent ? { current: name } : {}) });
  say(
    `context ${name}: ${server}${isCurrent ? ' (the current one)' : `; 'weft context use ${name}' makes it the current one`}`,
  );
}

function remove(name: string): void {
  const { current, contexts } = readContexts();
  if (!contexts[name]) throw unknown(name, Object.keys(contexts));
  const { [name]: _removed, ...rest } = contexts;
  writeContexts({ ...(current === undefined || current === name ? {} : { current }), contexts: rest });
  say(`context ${name} is forgotten${current === name ? '; no context is the current one now' : ''}`);
}

function unknown(name: string, known: readonly string[]): WeftError {
  return new WeftError(
    'not-found',
    `there is no context ${name}${known.length > 0 ? `; there are ${known.join(', ')}` : ''}`,
  );
}
