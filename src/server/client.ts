import type { IncomingMessage, RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { ERROR_CODES, type ErrorCode, WeftError } from '../base/errors.ts';
import { Agent as HttpAgent, request as httpRequest } from '../base/http.ts';
import { parseServerUrl, type ServerUrl } from './url.ts';

/**
 * A client of the server's REST API over a unix socket, TCP or TLS: what the CLI, the agent and the tests use.
 * Connections are kept alive. Problem details (RFC 9457) come back as `WeftError`: the code is the server's, `details`
 * is the whole `ProblemDetails` (with `problems`). No connection: `unreachable`; cut off: `closed`; too slow: `timeout`.
 *
 * ```ts
 * const client = createClient({ url: 'unix:/run/weft/weft.sock' });
 * const port = await client.get<LogicalPort>('/v1/ports/web-1', { query: { tenant: 'acme' } });
 * for await (const event of client.stream<WatchMessage>('POST', path, { body, idleTimeoutMs: 15_000 })) …
 * await client.close();
 * ```
 */
export interface Client {
  /** Any method; resolves for every 2xx. The body is parsed where the answer is JSON. */
  request<T>(method: string, path: string, options?: RequestSettings): Promise<Answer<T>>;
  get<T>(path: string, options?: RequestSettings): Promise<T>;
  post<T>(path: string, body: unknown, options?: RequestSettings): Promise<T>;
  /** JSON lines as they arrive, until the server ends the answer. Leaving the loop closes the connection. */
  stream<T>(method: string, path: string, options?: StreamSettings): AsyncGenerator<T, void, void>;
  /** Bytes as they arrive, over a connection of their own. Leaving the loop over `body` closes it. */
  download(method: string, path: string, options?: RequestSettings): Promise<RawAnswer>;
  /** Sends an answer to a `RelayedRequest` as its bytes come; ends early, without an error, when nobody wants it any more. */
  upload(path: string, answer: UploadedAnswer, signal?: AbortSignal): Promise<void>;
  close(): void;
}

export interface ClientSettings {
  /** `unix:/path`, `tcp:host:port` (or `http://host:port`), `tls:host:port` (or `https://…`). */
  readonly url: string;
  /** Bearer token; needed beyond unix sockets. */
  readonly token?: string;
  /** PEM certificate(s) to trust instead of the system's. */
  readonly ca?: string;
  /** For each request that gives none; default 30 s. */
  readonly timeoutMs?: number;
}

export interface RequestSettings {
  readonly body?: unknown;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** The revision that the object must still have. */
  readonly ifMatch?: number;
  /** From sending to the end of the answer. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly contentType?: string;
}

export interface StreamSettings extends RequestSettings {
  /** Ends with `timeout` when nothing arrives for so long (the server sends a heartbeat every 5 s). */
  readonly idleTimeoutMs?: number;
  /** Called once the server has answered, before the first line. */
  readonly onOpen?: () => void;
}

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
  /** From the ETag, where the answer is one object. */
  readonly revision?: number;
}

/** An answer that is not JSON, or not one to wait for the end of. */
export interface RawAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface UploadedAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string | AsyncIterable<Uint8Array>;
}

/** Longest line of a stream: a record is a few kilobytes. */
const MAX_LINE_LENGTH = 64 * 1024 * 1024;

export function createClient(settings: ClientSettings): Client {
  const url = parseServerUrl(settings.url);
  const agent =
    url.scheme === 'tls'
      ? new HttpsAgent({ keepAlive: true, ...(settings.ca === undefined ? {} : { ca: settings.ca }) })
      : new HttpAgent({ keepAlive: true });
  // A stream holds its connection for hours: it gets one of its own, closed with it.
  const context = { settings, url, agent };

  const client: Client = {
    async request<T>(method: string, path: string, options: RequestSettings = {}): Promise<Answer<T>> {
      const timeoutMs = options.timeoutMs ?? settings.timeoutMs ?? 30_000;
      const deadline = AbortSignal.timeout(timeoutMs);
      const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
      try {
        const response = await open(context, method, path, { ...options, signal });
        const text = await readAll(response);
        if ((response.statusCode ?? 0) >= 300) throw errorOf(response, text);
        const etag = /^"(\d+)"$/.exec(response.headers.etag ?? '')?.[1];
        return {
          status: response.statusCode ?? 0,
          body: (text === '' ? undefined : JSON.parse(text)) as T,
          ...(etag === undefined ? {} : { revision: Number(etag) }),
        };
      } catch (error) {
        if (deadline.aborted && !options.signal?.aborted)
          throw new WeftError('timeout', `no answer from ${settings.url} within ${timeoutMs} ms`, { cause: error });
        throw operational(error, settings.url);
      }
    },
    get: async <T>(path: string, options?: RequestSettings) => (await client.request<T>('GET', path, options)).body,
    post: async <T>(path: string, body: unknown, options?: RequestSettings) =>
      (await client.request<T>('POST', path, { ...options, body })).body,
    stream: (method, path, options) => streamLines(context, method, path, options ?? {}),
    download: (method, path, options) => download(context, method, path, options ?? {}),
    upload: (path, answer, signal) => upload(context, path, answer, signal),
    close: () => agent.destroy(),
  };
  return client;
}

interface Context {
  readonly settings: ClientSettings;
  readonly url: ServerUrl;
  readonly agent: InstanceType<typeof HttpAgent> | HttpsAgent;
}

async function* streamLines<T>(
  context: Context,
  method: string,
  path: string,
  options: StreamSettings,
): AsyncGenerator<T, void, void> {
  let response: IncomingMessage | undefined;
  try {
    response = await open(context, method, path, options, false);
    if ((response.statusCode ?? 0) >= 300) throw errorOf(response, await readAll(response));
    options.onOpen?.();
    const idleMs = options.idleTimeoutMs;
    if (idleMs !== undefined)
      response.setTimeout(idleMs, () =>
        response?.destroy(new WeftError('timeout', `nothing from ${context.settings.url} for ${idleMs} ms`)),
      );
    response.setEncoding('utf8');
    let rest = '';
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      if (rest.length > MAX_LINE_LENGTH) throw new WeftError('protocol', 'a line of the stream is too long');
      for (const line of lines) if (line !== '') yield parseLine<T>(line);
    }
    if (rest !== '') throw new WeftError('closed', 'the stream broke off within a line');
  } catch (error) {
    throw operational(error, context.settings.url);
  } finally {
    response?.destroy();
  }
}

async function download(context: Context, method: string, path: string, options: RequestSettings): Promise<RawAnswer> {
  try {
    const response = await open(context, method, path, options, false);
    if ((response.statusCode ?? 0) >= 300) throw errorOf(response, await readAll(response));
    return {
      status: response.statusCode ?? 0,
      type: response.headers['content-type'] ?? '',
      body: response as AsyncIterable<Uint8Array>,
    };
  } catch (error) {
    throw operational(error, context.settings.url);
  }
}

function upload(context: Context, path: string, answer: UploadedAnswer, signal?: AbortSignal): Promise<void> {
  const { settings, url } = context;
  return new Promise((resolve, reject) => {
    const sent = (url.scheme === 'tls' ? httpsRequest : httpRequest)({
      method: 'POST',
      path,
      agent: false,
      headers: {
        'content-type': 'application/octet-stream',
        'x-weft-status': answer.status,
        'x-weft-type': answer.type,
        ...(settings.token === undefined ? {} : { authorization: `Bearer ${settings.token}` }),
      },
      ...(signal ? { signal } : {}),
      ...(url.scheme === 'unix' ? { socketPath: url.path } : { host: url.host, port: url.port }),
      ...(url.scheme === 'tls' && settings.ca !== undefined ? { ca: settings.ca } : {}),
    });
    const body = Readable.from(typeof answer.body === 'string' ? [Buffer.from(answer.body)] : answer.body);
    sent.on('response', (response) => {
      response.resume();
      response.on('close', () => {
        body.destroy();
        if ((response.statusCode ?? 0) < 500) resolve();
        else reject(new WeftError('refused', `the server answered ${response.statusCode} to an answer`));
      });
    });
    sent.on('error', (error: NodeJS.ErrnoException) => {
      body.destroy();
      // Closed by the server: whoever asked has gone.
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve();
      else reject(operational(error, settings.url) as Error);
    });
    body.on('error', () => sent.destroy());
    body.pipe(sent);
  });
}

function parseLine<T>(line: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (cause) {
    throw new WeftError('protocol', 'a line of the stream is not JSON', { cause });
  }
}

/** Sends the request and resolves with the answer's head. */
function open(
  { settings, url, agent }: Context,
  method: string,
  path: string,
  options: RequestSettings,
  pooled = true,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    const headers: Record<string, string | number> = { accept: 'application/json, application/problem+json' };
    if (body !== undefined) {
      headers['content-type'] =
        options.contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json');
      headers['content-length'] = Buffer.byteLength(body);
    }
    if (settings.token !== undefined) headers.authorization = `Bearer ${settings.token}`;
    if (options.ifMatch !== undefined) headers['if-match'] = `"${options.ifMatch}"`;
    const request: RequestOptions = {
      method,
      path: path + queryText(options.query),
      headers,
      agent: pooled ? agent : false,
      ...(options.signal ? { signal: options.signal } : {}),
      ...(url.scheme === 'unix' ? { socketPath: url.path } : { host: url.host, port: url.port }),
    };
    const sent =
      url.scheme === 'tls'
        ? httpsRequest({ ...request, ...(settings.ca === undefined ? {} : { ca: settings.ca }) })
        : httpRequest(request);
    sent.on('response', resolve);
    sent.on('error', reject);
    sent.end(body);
  });
}

function queryText(query: RequestSettings['query']): string {
  const given = Object.entries(query ?? {}).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, String(value)]],
  );
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function errorOf(response: IncomingMessage, text: string): WeftError {
  const status = response.statusCode ?? 0;
  try {
    const details: unknown = JSON.parse(text);
    if (typeof details === 'object' && details !== null && 'code' in details && 'detail' in details) {
      const code = String(details.code);
      return new WeftError(code in ERROR_CODES ? (code as ErrorCode) : codeOfStatus(status), String(details.detail), {
        details,
      });
    }
  } catch {
    // Not from our server (a proxy, another program): the status is all there is.
  }
  return new WeftError(codeOfStatus(status), `the server answered ${status}`, { details: { status } });
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'denied';
  if (status === 404) return 'not-found';
  if (status === 409 || status === 412) return 'conflict';
  if (status === 503 || status === 429) return 'busy';
  return status >= 500 ? 'refused' : 'invalid';
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOENT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EACCES']);

function operational(error: unknown, where: string): unknown {
  if (error instanceof WeftError || !(error instanceof Error)) return error;
  const code = 'code' in error ? String(error.code) : '';
  if (error.name === 'AbortError' || code === 'ABORT_ERR')
    return new WeftError('aborted', 'the caller gave up', { cause: error });
  if (UNREACHABLE.has(code)) return new WeftError('unreachable', `no server at ${where} (${code})`, { cause: error });
  if (code.startsWith('E')) return new WeftError('closed', `connection to ${where}: ${code}`, { cause: error });
  return new WeftError('unreachable', `${where}: ${error.message}`, { cause: error });
}
