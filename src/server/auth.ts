import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { WeftError } from '../base/errors.ts';

/**
 * Who may do what. Whoever can open the server's unix socket is trusted (its mode says who can), and so is loopback
 * without a token file; everybody else shows a bearer token.
 *
 * The token file has one line per token: SHA-256 of the token in hex, blank, scope; `#` begins a comment. The server
 * never holds the tokens themselves.
 *
 * ```
 * 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 admin
 * 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae host:h1
 * ```
 */
export type AuthScope =
  | { readonly type: 'admin' }
  /** The agent of one host: its watch, reports and answers, and nothing else. */
  | { readonly type: 'host'; readonly host: string };

export const TRUSTED: AuthScope = { type: 'admin' };

interface Token {
  readonly digest: Buffer;
  readonly scope: AuthScope;
}

export class Tokens {
  readonly #tokens: readonly Token[];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** Throws `invalid` with the line, or `not-found`. */
  static read(path: string): Tokens {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      throw new WeftError('not-found', `token file ${path} cannot be read`, { cause });
    }
    const tokens = text.split('\n').flatMap((raw, at) => {
      const line = raw.replace(/#.*/, '').trim();
      if (line === '') return [];
      const match = /^([0-9a-f]{64})\s+(?:(admin)|host:(\S+))$/.exec(line);
      if (!match)
        throw new WeftError('invalid', `${path} line ${at + 1}: wanted are a SHA-256 in hex and admin or host:<name>`);
      const scope: AuthScope = match[2] ? TRUSTED : { type: 'host', host: match[3]! };
      return [{ digest: Buffer.from(match[1]!, 'hex'), scope }];
    });
    if (tokens.length === 0) throw new WeftError('invalid', `token file ${path} holds no token`);
    return new Tokens(tokens);
  }

  /** Takes as long for a wrong token as for a right one. */
  scopeOf(token: string): AuthScope | undefined {
    const digest = createHash('sha256').update(token).digest();
    let found: AuthScope | undefined;
    for (const known of this.#tokens) if (timingSafeEqual(known.digest, digest)) found = known.scope;
    return found;
  }
}

/** Throws `denied` when the request shows no token, or not one we know. */
export function authenticate(request: IncomingMessage, tokens: Tokens): AuthScope {
  const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) throw new WeftError('denied', 'a bearer token is needed here', { details: { status: 401 } });
  const scope = tokens.scopeOf(token);
  if (!scope) throw new WeftError('denied', 'the bearer token is not known', { details: { status: 401 } });
  return scope;
}
