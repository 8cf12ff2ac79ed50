import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { flushCompileCache } from 'node:module';
import { dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { createLog, LOG_LEVELS, type LogLevel } from '../../base/log.ts';
import {
  hasPassword,
  parseRedisUrl,
  REDIS_URL_EXAMPLE,
  type RedisSettings,
  withoutPassword,
} from '../../flow-database/redis-settings.ts';
import { DEFAULT_SERVER } from '../contexts.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import { formatTable, print, say } from '../output.ts';
import { collect } from './apply.ts';

interface RunOptions {
  readonly stateDir: string;
  readonly listen: string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tokens?: string;
  readonly socketMode: string;
  readonly flowDatabase?: string;
  readonly flowDatabasePasswordFile?: string;
  readonly flowDatabaseCaFile?: string;
  readonly flowDatabaseCert?: string;
  readonly flowDatabaseKey?: string;
  readonly logLevel: LogLevel;
}

/** In the environment: instead of the option, and then with a password where it likes. */
const FLOW_DATABASE = 'WEFT_FLOW_DATABASE';
const DEFAULT_TOKENS = '/var/lib/weft/server/tokens';

export function register(program: Command): void {
  const server = program.command('server').description('run the server, and what it needs: tokens, a certificate');
  server
    .command('run')
    .description('run the server in the foreground')
    .option('--state-dir <path>', 'where it keeps the desired state', '/var/lib/weft/server')
    .option(
      '--listen <url>',
      `unix:/path, tcp:127.0.0.1:port or tls:host:port; may be repeated (default ${DEFAULT_SERVER})`,
      collect,
      [],
    )
    .option('--tls-cert <file>', 'certificate in PEM, for tls: (weft server cert makes one)')
    .option('--tls-key <file>', 'its key')
    .option('--tokens <file>', "who may connect by tls: ('weft server token create' adds to it)")
    .option('--socket-mode <octal>', 'who may open unix sockets, and so do everything', '660')
    .addOption(
      new Option('--flow-database <url>', `Redis or Valkey that has the connections: ${REDIS_URL_EXAMPLE}`).env(
        FLOW_DATABASE,
      ),
    )
    .option('--flow-database-password-file <file>', 'its password; read again at each connection')
    .option('--flow-database-ca-file <file>', 'whom to trust with rediss:// (default: the authorities of this machine)')
    .option('--flow-database-cert <file>', 'our certificate in PEM, where it wants one')
    .option('--flow-database-key <file>', 'its key')
    .option('--log-level <level>', LOG_LEVELS.join(', '), 'info')
    .addHelpText(
      'after',
      `\nNothing listens beyond unix sockets and loopback without a certificate and tokens.\nThe flow database is in the state directory, where --flow-database does not say otherwise.\n`,
    )
    .action((options: RunOptions) => run(options));
  registerTokens(server.command('token').description('who may connect: one token per person or host'));
  server
    .command('cert')
    .description('make a self-signed certificate for the names and addresses at which the server is reached')
    .argument('<names...>', 'DNS names and IP addresses')
    .option('--dir <path>', 'where server.crt and server.key go', '/var/lib/weft/server')
    .action(makeCertificate);
}

async function run(options: RunOptions): Promise<void> {
  const { startServer } = await import('../../server/server.ts');
  if (!/^[0-7]{3}$/.test(options.socketMode))
    throw new UsageError(`--socket-mode ${options.socketMode}: three octal digits are wanted, as 660`);
  const listen = options.listen.length > 0 ? options.listen : [DEFAULT_SERVER];
  for (const url of listen) if (url.startsWith('unix:/')) mkdirSync(dirname(url.slice(5)), { recursive: true });
  const log = createLog(options.logLevel);
  const server = await startServer({
    stateDir: options.stateDir,
    listen,
    ...(options.tlsCert === undefined ? {} : { tlsCertFile: options.tlsCert }),
    ...(options.tlsKey === undefined ? {} : { tlsKeyFile: options.tlsKey }),
    ...(options.tokens === undefined ? {} : { tokenFile: options.tokens }),
    socketMode: Number.parseInt(options.socketMode, 8),
    ...flowDatabaseOf(options),
    log,
  });
  flushCompileCache(); // not only at the end: what starts from sources is slow, and 30 MB larger
  const stopped = new Promise<undefined>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(undefined));
  });
  const failure = await Promise.race([stopped, server.failure]);
  if (failure) log.error('ending: the store failed', { error: failure });
  await server.close();
  process.exit(failure ? EXIT.failure : EXIT.ok);
}

function flowDatabaseOf(options: RunOptions): { readonly flowDatabase?: RedisSettings } {
  const { flowDatabase: url } = options;
  const files = {
    ...{ passwordFile: options.flowDatabasePasswordFile, caFile: options.flowDatabaseCaFile },
    ...{ certFile: options.flowDatabaseCert, keyFile: options.flowDatabaseKey },
  };
  if (url === undefined || url === '') {
    if (Object.values(files).some((file) => file !== undefined))
      throw new UsageError('--flow-database-…-file, -cert and -key are about --flow-database');
    return {};
  }
  if (hasPassword(url) && process.env[FLOW_DATABASE] !== url)
    throw new UsageError(
      `--flow-database ${withoutPassword(url)}: everybody on this machine would see the password; --flow-database-password-file FILE, or the URL in the environment (${FLOW_DATABASE})`,
    );
  return { flowDatabase: parseRedisUrl(url, files) };
}

interface TokenOptions {
  readonly file: string;
  readonly host?: string;
  readonly admin?: boolean;
  readonly note?: string;
}

function registerTokens(token: Command): void {
  const withFile = (command: Command): Command =>
    command.option('--file <path>', "the server's token file", DEFAULT_TOKENS);
  withFile(token.command('create').description('make a token and print it; only its digest is kept'))
    .option('--host <name>', 'for the agent of this host, which may do nothing else')
    .option('--admin', 'for people and tools: may do everything')
    .option('--note <text>', 'whose it is')
    .action(createToken);
  withFile(token.command('list').description('tokens, without their secrets')).action(listTokens);
  withFile(
    token.command('revoke').description('a token no longer counts').argument('<id>', "as 'list' shows it"),
  ).action(revokeToken);
}

/** One line of the token file (src/server/auth.ts). */
interface TokenLine {
  readonly digest: string;
  readonly scope: string;
  readonly note: string;
}

function readTokenLines(path: string): TokenLine[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]{64})\s+(\S+)\s*(?:#\s*(.*))?$/.exec(line);
      return match ? [{ digest: match[1]!, scope: match[2]!, note: match[3] ?? '' }] : [];
    });
}

/** By renaming: the server reads the whole file or the one before. It keeps its mode and its owner, who may be the server's. */
function writeTokenLines(path: string, lines: readonly TokenLine[]): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const text = lines.map(({ digest, scope, note }) => `${digest} ${scope}${note ? ` # ${note}` : ''}\n`).join('');
  const target = existsSync(path) ? realpathSync(path) : path;
  const before = statSync(target, { throwIfNoEntry: false });
  const written = `${target}.${process.pid}.new`;
  const flags = { mode: 0o600, flag: 'wx', flush: true };
  writeFileSync(written, `# Tokens of the Weft server: SHA-256 and scope.\n${text}`, flags);
  try {
    if (before) {
      const { uid, gid } = statSync(written);
      if (before.uid !== uid || before.gid !== gid) chownSync(written, before.uid, before.gid);
      chmodSync(written, before.mode & 0o777);
    }
    renameSync(written, target);
  } catch (error) {
    rmSync(written, { force: true });
    throw error;
  }
}

/** A new token in the file; returns the secret, which is nowhere else. */
export function addToken(path: string, scope: 'admin' | `host:${string}`, note: string): string {
  const secret = `weft_${randomBytes(32).toString('base64url')}`;
  const digest = createHash('sha256').update(secret).digest('hex');
  writeTokenLines(path, [...readTokenLines(path), { digest, scope, note: note.replaceAll(/[\n#]/g, ' ') }]);
  return secret;
}

/** Exported for its test, as `revokeToken`. */
export async function createToken(options: TokenOptions): Promise<void> {
  if ((options.host === undefined) === (options.admin !== true))
    throw new UsageError('whose is it? --host NAME for an agent, or --admin');
  if (options.host !== undefined) {
    const { nameSchema } = await import('../../model/kinds/common.ts'); // not for every command: it loads schemas
    const { error } = nameSchema.safeParse(options.host);
    if (error) throw new UsageError(`--host "${options.host}": ${error.issues[0]!.message}`);
  }
  const scope = options.host === undefined ? 'admin' : (`host:${options.host}` as const);
  print(addToken(options.file, scope, options.note ?? new Date().toISOString().slice(0, 10)));
  say(
    `kept in ${options.file} as a digest; write the token into a file of mode 600, for --token-file; a running server takes it at once`,
  );
}

function listTokens(options: TokenOptions): void {
  const lines = readTokenLines(options.file);
  if (lines.length === 0) return say(`no tokens in ${options.file}`);
  print(
    formatTable(
      ['ID', 'FOR', 'NOTE'],
      lines.map(({ digest, scope, note }) => [digest.slice(0, 8), scope, note]),
    ),
  );
}

export function revokeToken(id: string, options: TokenOptions): void {
  const lines = readTokenLines(options.file);
  const found = lines.filter(({ digest }) => digest.startsWith(id));
  if (found.length !== 1)
    throw new WeftError(
      'not-found',
      found.length === 0
        ? `no token ${id} in ${options.file}`
        : `${id} begins ${found.length} tokens: write more of it`,
    );
  writeTokenLines(
    options.file,
    lines.filter((line) => line !== found[0]),
  );
  say(`token ${found[0]!.digest.slice(0, 8)} (${found[0]!.scope}) is revoked; a running server forgets it at once`);
}

async function makeCertificate(names: readonly string[], options: { readonly dir: string }): Promise<void> {
  const { createCertificate } = await import('../../server/certificate.ts');
  const { cert, key } = createCertificate({ names });
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  const [certFile, keyFile] = [join(options.dir, 'server.crt'), join(options.dir, 'server.key')];
  writeFileSync(keyFile, key, { mode: 0o600 });
  chmodSync(keyFile, 0o600);
  writeFileSync(certFile, cert);
  print(certFile);
  say(
    `weft server run --tls-cert ${certFile} --tls-key ${keyFile} …; whoever connects trusts it with --ca-file ${certFile}`,
  );
}
