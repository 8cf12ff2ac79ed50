import { createHash, timingSafeEqual } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
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

export interface Token {
  /** SHA-256. */
  readonly digest: Buffer;
  readonly scope: AuthScope;
}

export class Tokens {
  readonly #tokens: readonly Token[];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** Throws `invalid` with the line, or also where there is no token, or `not-found`. */
  static read(path: string): Tokens {
    const tokens = Tokens.#parse(path);
    if (tokens.length === 0) throw new WeftError('invalid', `token file ${path} holds no token`);
    return new Tokens(tokens);
  }

  /** The same while the server runs: without a token, or a file, nobody has one any more. */
  static readAgain(path: string): Tokens {
    return new Tokens(existsSync(path) ? Tokens.#parse(path) : []);
  }

  static #parse(path: string): readonly Token[] {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      throw new WeftError('not-found', `token file ${path} cannot be read`, { cause });
    }
    return text.split('\n').flatMap((raw, at) => {
      const line = raw.replace(/#.*/, '').trim();
      if (line === '') return [];
      const match = /^([0-9a-f]{64})\s+(?:(admin)|host:(\S+))$/.exec(line);
      if (!match)
        throw new WeftError('invalid', `${path} line ${at + 1}: wanted are a SHA-256 in hex and admin or host:<name>`);
      const scope: AuthScope = match[2] ? TRUSTED : { type: 'host', host: match[3]! };
      return [{ digest: Buffer.from(match[1]!, 'hex'), scope }];
    });
  }

  /** Takes as long for a wrong token as for a right one. */
  find(token: string): Token | undefined {
    const digest = createHash('sha256').update(token).digest();
    let found: Token | undefined;
    for (const known of this.#tokens) if (timingSafeEqual(known.digest, digest)) found = known;
    return found;
  }

  /** Does a token of an earlier reading still count, for the same? */
  has({ digest, scope }: Token): boolean {
    return this.#tokens.some((known) => known.digest.equals(digest) && isDeepStrictEqual(known.scope, scope));
  }
}

/** Throws `denied` when the request shows no token, or not one we know. */
export function authenticate(request: IncomingMessage, tokens: Tokens): Token {
  const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) throw new WeftError('denied', 'a bearer token is needed here', { details: { status: 401 } });
  const known = tokens.find(token);
  if (!known) throw new WeftError('denied', 'the bearer token is not known', { details: { status: 401 } });
  return known;
}
