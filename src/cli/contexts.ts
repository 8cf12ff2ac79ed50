import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { WeftError } from '../base/errors.ts';

/** Which server the CLI talks to: `~/.config/weft/config.yaml`, or WEFT_SERVER, WEFT_TOKEN_FILE and WEFT_CA_FILE, or `--server`. */
export interface Context {
  /** `unix:/path`, `http://127.0.0.1:port` or `https://host:port`. */
  readonly server: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  /** Tenant used where a command names none. */
  readonly tenant?: string;
}

interface ContextFile {
  current?: string;
  contexts: Record<string, Context>;
}

export const DEFAULT_SERVER = 'unix:/run/weft/server.sock';

export function contextFilePath(): string {
  return (
    process.env.WEFT_CONFIG ?? join(process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'weft', 'config.yaml')
  );
}

export function readContexts(): ContextFile {
  const path = contextFilePath();
  if (!existsSync(path)) return { contexts: {} };
  let value: unknown;
  try {
    value = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new WeftError('invalid', `${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const file = value as Partial<ContextFile> | null;
  if (file !== null && (typeof file !== 'object' || (file.contexts !== undefined && typeof file.contexts !== 'object')))
    throw new WeftError('invalid', `${path}: 'contexts' should map names to {server, tokenFile, caFile, tenant}`);
  return { ...(file?.current === undefined ? {} : { current: file.current }), contexts: file?.contexts ?? {} };
}

export function writeContexts(file: ContextFile): void {
  const path = contextFilePath();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, stringify(file), { mode: 0o600 });
}

/** The context in force: `--context` or the current one, with the environment and `--server` on top. */
export function currentContext(options: { readonly context?: string; readonly server?: string }): Context {
  const file = readContexts();
  const name = options.context ?? process.env.WEFT_CONTEXT ?? file.current;
  const chosen = name === undefined ? undefined : file.contexts[name];
  if (name !== undefined && !chosen) {
    const known = Object.keys(file.contexts);
    throw new WeftError(
      'not-found',
      `there is no context ${name} in ${contextFilePath()}${known.length > 0 ? `; it has ${known.join(', ')}` : ''}`,
    );
  }
  const tokenFile = process.env.WEFT_TOKEN_FILE ?? chosen?.tokenFile;
  const caFile = process.env.WEFT_CA_FILE ?? chosen?.caFile;
  const tenant = process.env.WEFT_TENANT ?? chosen?.tenant;
  return {
    server: options.server ?? process.env.WEFT_SERVER ?? chosen?.server ?? DEFAULT_SERVER,
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(tenant === undefined ? {} : { tenant }),
  };
}
