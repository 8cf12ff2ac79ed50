import { readFileSync } from 'node:fs';
import { WeftError } from '../base/errors.ts';

/** Where a Redis or Valkey is, and how to get in. Plain values: they go to another thread. */
export interface RedisSettings {
  readonly host: string;
  readonly port: number;
  readonly database: number;
  readonly isTls: boolean;
  readonly user?: string;
  /** From the URL; else `passwordFile`. */
  readonly password?: string;
  /** Read at each connection, so that it may change. */
  readonly passwordFile?: string;
  /** PEM files, for TLS: whom to trust instead of the machine's authorities, and who we are. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export type RedisFiles = {
  readonly [K in 'passwordFile' | 'caFile' | 'certFile' | 'keyFile']?: string | undefined;
};

const SCHEMES: Readonly<Record<string, boolean>> = {
  'redis:': false,
  'valkey:': false,
  'rediss:': true,
  'valkeys:': true,
};
export const REDIS_URL_EXAMPLE = 'redis://[user@]host[:6379][/database], or rediss:// for TLS';

/**
 * `redis[s]://[user[:password]@]host[:port][/database]` (as registered with IANA), `valkey[s]://` for the same. Errors: `invalid`, without the
 * password in their text.
 */
export function parseRedisUrl(text: string, files: RedisFiles = {}): RedisSettings {
  const refuse = (why: string): WeftError =>
    new WeftError('invalid', `flow database ${withoutPassword(text)}: ${why}; it looks like ${REDIS_URL_EXAMPLE}`);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isTls = url && SCHEMES[url.protocol];
  if (!url || isTls === undefined) throw refuse('no URL of a Redis or Valkey');
  if (url.hostname === '') throw refuse('a host is missing');
  const database = /^\/?(\d{0,5})$/.exec(url.pathname)?.[1];
  if (database === undefined) throw refuse('the database, behind the host, is no number');
  if (url.search !== '' || url.hash !== '') throw refuse('? and # mean nothing here');
  if (!isTls && (files.caFile ?? files.certFile ?? files.keyFile) !== undefined)
    throw refuse('certificates are given, but rediss:// is not');
  if ((files.certFile === undefined) !== (files.keyFile === undefined))
    throw refuse('a certificate and its key go together');
  if (url.password !== '' && files.passwordFile !== undefined)
    throw refuse('the password is in the URL and in a file: one of both is enough');
  for (const file of Object.values(files)) if (file !== undefined) readable(file);
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    ...{ port: Number(url.port || 6379), database: Number(database), isTls },
    ...(url.username === '' ? {} : { user: decoded(url.username, refuse) }),
    ...(url.password === '' ? {} : { password: decoded(url.password, refuse) }),
    ...Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined)),
  };
}

/** For logs, messages and people. Also of what is no URL, whatever stands in it where a password might. */
export function withoutPassword(url: string): string {
  return url.replace(/^([a-z]+:\/*[^:@/]*:).*@/i, '$1…@').replace(/^([a-z]+:)(?!\/).*@/i, '$1…@');
}

export function hasPassword(url: string): boolean {
  return withoutPassword(url) !== url;
}

/** `10.0.0.5:6379`. */
export function endOf({ host, port }: RedisSettings): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The text of a file without its last newline. Errors: `invalid`. */
export function readable(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    throw new WeftError('invalid', `flow database: ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function decoded(text: string, refuse: (why: string) => WeftError): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse('user and password are written as in URLs (%40 for @)');
  }
}
