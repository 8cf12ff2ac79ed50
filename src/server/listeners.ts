import { chmodSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect } from 'node:net';
import { WeftError } from '../base/errors.ts';
import { createServer as createHttpServer } from '../base/http.ts';
import type { Log } from '../base/log.ts';
import { type AuthScope, authenticate, type Token, Tokens, TRUSTED } from './auth.ts';
import { formatServerUrl, isLoopback, parseServerUrl, type ServerUrl } from './url.ts';

export interface ListenSettings {
  /** `unix:/path`, `tcp:127.0.0.1:7070`, `tls:0.0.0.0:7443`. */
  readonly listen: readonly string[];
  /** PEM files; needed for `tls:`. */
  readonly tlsCertFile?: string;
  readonly tlsKeyFile?: string;
  /** See `auth.ts`; needed for `tls:`, and asked on `tcp:` where given. */
  readonly tokenFile?: string;
  /** Of unix sockets: who may open them may do everything. Default 0o660. */
  readonly socketMode?: number;
}

/** Streams of a revoked token end within this time, also where nobody asks anything. */
const REFRESH_MS = 1_000;

/** Where the server listens, and who is trusted there. */
export class Listeners {
  readonly #settings: ListenSettings;
  readonly #log: Log;
  readonly #urls: readonly ServerUrl[];
  #tokens: Tokens | undefined;
  /** When the token file was last changed, as far as we have read it. */
  #tokensOfMs = 0;
  readonly #tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly #servers: { readonly url: ServerUrl; readonly server: Server }[] = [];
  /** Requests that came in where nobody has to show a token. */
  readonly #trusted = new WeakSet<IncomingMessage>();
  /** Requests that are not answered to the end, streams among them, and the tokens that they showed. */
  readonly #running = new Map<IncomingMessage, Token>();
  #refreshing: NodeJS.Timeout | undefined;

  /** Throws `denied` or `invalid` for settings that would let strangers in, before anything listens. */
  constructor(settings: ListenSettings, log: Log) {
    this.#settings = settings;
    this.#log = log;
    if (settings.listen.length === 0) throw new WeftError('invalid', 'the server listens nowhere: give unix:/path');
    this.#urls = settings.listen.map(parseServerUrl);
    for (const url of this.#urls) checkExposure(url, settings);
    this.#refreshTokens();
    const { tlsCertFile, tlsKeyFile } = settings;
    if (tlsCertFile !== undefined && tlsKeyFile !== undefined)
      this.#tls = { cert: readPem(tlsCertFile), key: readPem(tlsKeyFile) };
  }

  /** Who sent the request. Throws `denied`. */
  scopeOf(request: IncomingMessage): AuthScope {
    if (this.#trusted.has(request)) return TRUSTED;
    this.#refreshTokens();
    if (!this.#tokens) return TRUSTED;
    const token = authenticate(request, this.#tokens);
    this.#running.set(request, token);
    return token.scope;
  }

  /**
   * A token that is made or revoked counts at once; what runs by one that is revoked is cut off. A file that is not one
   * of tokens leaves what was read before.
   */
  #refreshTokens(): void {
    const { tokenFile } = this.#settings;
    if (tokenFile === undefined) return;
    const changedMs = statSync(tokenFile, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (this.#tokens && changedMs === this.#tokensOfMs) return;
    if (this.#tokens) this.#readAgain(tokenFile);
    else this.#tokens = Tokens.read(tokenFile);
    this.#tokensOfMs = changedMs;
  }

  #readAgain(tokenFile: string): void {
    try {
      const tokens = Tokens.readAgain(tokenFile);
      this.#tokens = tokens;
      for (const [request, token] of this.#running) if (!tokens.has(token)) request.socket.destroy();
    } catch (error) {
      this.#log.error('the token file does not read: those go on to count that were read before', { error });
    }
  }

  async open(handle: RequestListener): Promise<readonly string[]> {
    this.#refreshing = setInterval(() => this.#refreshTokens(), REFRESH_MS);
    this.#refreshing.unref();
    const opened: string[] = [];
    for (const url of this.#urls) {
      const listener: RequestListener = (request, response) => {
        if (url.scheme === 'unix') this.#trusted.add(request);
        response.on('close', () => this.#running.delete(request));
        handle(request, response);
      };
      // No limit on the length of a request: an agent's answer may be a capture that goes on for hours.
      const timeouts = { requestTimeout: 0, headersTimeout: 20_000, keepAliveTimeout: 60_000, noDelay: true };
      const server: Server =
        url.scheme === 'tls'
          ? createHttpsServer({ ...timeouts, ...this.#tls }, listener)
          : createHttpServer(timeouts, listener);
      if (url.scheme === 'unix') await removeStaleSocket(url.path);
      await listen(server, url);
      if (url.scheme === 'unix') chmodSync(url.path, this.#settings.socketMode ?? 0o660);
      this.#servers.push({ url, server });
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      opened.push(formatServerUrl(url.scheme === 'unix' ? url : { ...url, port }));
    }
    return opened;
  }

  async close(): Promise<void> {
    clearInterval(this.#refreshing);
    for (const { url, server } of this.#servers.splice(0)) {
      const ended = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await ended;
      if (url.scheme === 'unix') rmSync(url.path, { force: true });
    }
  }
}

function checkExposure(url: ServerUrl, settings: ListenSettings): void {
  const { tlsCertFile, tlsKeyFile, tokenFile } = settings;
  if (url.scheme === 'unix') return;
  const text = formatServerUrl(url);
  if (url.scheme === 'tcp') {
    if (isLoopback(url.host)) return;
    throw new WeftError(
      'denied',
      `${text} can be reached from other machines, and would be neither encrypted nor guarded: use tls:${url.host}:${url.port} with a certificate, its key and a token file`,
    );
  }
  const missing = [
    tlsCertFile === undefined ? 'a certificate (tlsCertFile)' : '',
    tlsKeyFile === undefined ? 'its key (tlsKeyFile)' : '',
    tokenFile === undefined ? 'a token file (tokenFile)' : '',
  ].filter((text) => text !== '');
  if (missing.length > 0) throw new WeftError('denied', `${text} needs ${missing.join(', ')}`);
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new WeftError('not-found', `${path} cannot be read`, { cause });
  }
}

/** A socket that nobody listens on is left over from a server that was killed. */
async function removeStaleSocket(path: string): Promise<void> {
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (isAlive) throw new WeftError('busy', `another server listens on unix:${path}`);
  rmSync(path, { force: true });
}

function listen(server: Server, url: ServerUrl): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      const code = error.code === 'EADDRINUSE' ? 'busy' : error.code === 'EACCES' ? 'denied' : 'invalid';
      reject(new WeftError(code, `cannot listen on ${formatServerUrl(url)}: ${error.message}`, { cause: error }));
    };
    server.once('error', fail);
    server.listen(url.scheme === 'unix' ? { path: url.path } : { host: url.host, port: url.port }, () => {
      server.off('error', fail);
      resolve();
    });
  });
}
