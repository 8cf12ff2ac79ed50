import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisClientType } from '@redis/client';
import { WeftError } from '../base/errors.ts';
import type { TroubleListener } from './flow-store.ts';
import { SCRIPTS, type ScriptName } from './redis-scripts.ts';
import { endOf, type RedisSettings, readable } from './redis-settings.ts';

interface RedisLinkOptions {
  readonly settings: RedisSettings;
  /** Of every key. */
  readonly prefix: string;
  readonly onTrouble: TroubleListener;
}

/** A Redis that answers no command for so long is taken for stopped. */
const ANSWER_MS = 3_000;
const CONNECT_MS = 5_000;
const PING_MS = 5_000;
const FIRST_REST_MS = 250;
const LONGEST_REST_MS = 15_000;
/** Well for so long: the next failure is a first one again. */
const STEADY_MS = 60_000;

type Argument = string | number;

/**
 * One connection to a Redis or Valkey, kept up with a growing pause between attempts. Well is one that takes writes: each connection begins with
 * one, so that a replica, a full memory or a wrong password are told apart from a Redis that is not there. While it is not well every command
 * fails at once: nothing queues up here.
 */
export class RedisLink {
  readonly #options: RedisLinkOptions;
  readonly #closing = new AbortController();
  readonly #shas = new Map<ScriptName, string>();
  readonly #done: Promise<void>;
  #client: RedisClientType | undefined;
  #trouble: string | undefined = 'has not answered yet';
  #fail: (error: unknown) => void = () => {};

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    this.#done = this.#keep();
  }

  /** What a command answers. Errors: `WeftError`, of which it is not known whether the command was done. */
  async command(...words: readonly Argument[]): Promise<unknown> {
    const client = this.#client;
    if (!client) throw new WeftError('unreachable', this.#text(this.#trouble ?? 'is not connected'));
    try {
      return await inTime(client.sendCommand(words.map(String)), ANSWER_MS);
    } catch (error) {
      if (this.#client === client) this.#fail(error);
      throw operational(error, this.#text(reasonOf(error)));
    }
  }

  /** As `command`. Scripts are loaded at each connection. */
  script(name: ScriptName, ...words: readonly Argument[]): Promise<unknown> {
    return this.command('EVALSHA', this.#shas.get(name) ?? '', 0, this.#options.prefix, ...words);
  }

  key(name: string): string {
    return this.#options.prefix + name;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#fail(new Error('closed'));
    await this.#done;
  }

  #text(reason: string): string {
    return `Redis at ${endOf(this.#options.settings)} ${reason}`;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#closing;
    let restMs = FIRST_REST_MS;
    while (!signal.aborted) {
      const begunMs = performance.now();
      try {
        await this.#live();
      } catch (error) {
        if (signal.aborted) return;
        this.#trouble = reasonOf(error);
        this.#options.onTrouble(this.#text(this.#trouble));
      }
      if (performance.now() - begunMs >= STEADY_MS) restMs = FIRST_REST_MS;
      await sleep(restMs * (0.8 + 0.4 * Math.random()), undefined, { signal, ref: false }).catch(() => {});
      restMs = Math.min(LONGEST_REST_MS, 2 * restMs);
    }
  }

  /** One connection from its beginning to its end, which is always an error. */
  async #live(): Promise<never> {
    const { promise: failed, reject: fail } = Promise.withResolvers<never>();
    failed.catch(() => {});
    this.#fail = fail;
    const client = await createClient(this.#options.settings);
    client.on('error', fail);
    client.on('end', () => fail(new WeftError('closed', 'closed the connection')));
    let pings: NodeJS.Timeout | undefined;
    try {
      await Promise.race([failed, inTime(client.connect(), CONNECT_MS)]);
      await inTime(client.sendCommand(['SET', this.key('probe'), '1', 'PX', '1000']), ANSWER_MS);
      for (const [name, text] of Object.entries(SCRIPTS))
        this.#shas.set(
          name as ScriptName,
          String(await inTime(client.sendCommand(['SCRIPT', 'LOAD', text]), ANSWER_MS)),
        );
      this.#client = client;
      this.#trouble = undefined;
      this.#options.onTrouble(undefined);
      pings = setInterval(() => void inTime(client.sendCommand(['PING']), ANSWER_MS).catch(fail), PING_MS).unref();
      return await failed;
    } finally {
      clearInterval(pings);
      this.#client = undefined;
      client.destroy();
    }
  }
}

/** The library is loaded by who needs it: it takes 30 MB. */
async function createClient(settings: RedisSettings): Promise<RedisClientType> {
  const { createClient: create } = await import('@redis/client');
  const { host, port, database, isTls, user, passwordFile, caFile, certFile, keyFile } = settings;
  const password = settings.password ?? (passwordFile === undefined ? undefined : readable(passwordFile));
  const file = (name: 'ca' | 'cert' | 'key', path: string | undefined): object =>
    path === undefined ? {} : { [name]: readable(path) };
  const common = { host, port, connectTimeout: CONNECT_MS, reconnectStrategy: false } as const;
  const socket = isTls
    ? ({
        ...common,
        tls: true,
        ...file('ca', caFile),
        ...file('cert', certFile),
        ...file('key', keyFile),
      } as const)
    : common;
  return create({
    ...{ socket, database, name: 'weft', disableOfflineQueue: true, maintNotifications: 'disabled', RESP: 2 },
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
  }) as unknown as RedisClientType;
}

/** Of an answer that does not come it is not known any more whether it will. */
async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  work.catch(() => {});
  const stop = new AbortController();
  const late = sleep(ms, undefined, { signal: stop.signal }).then(() => {
    throw new WeftError('timeout', `does not answer within ${ms / 1000} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    stop.abort();
  }
}

/** Redis's error replies have a word in capitals. */
const REPLIES: Readonly<Record<string, string>> = {
  OOM: 'is out of memory (its maxmemory): give it more, or let Weft have one of its own',
  READONLY: 'is a read-only replica: the flow database needs the primary',
  NOAUTH: 'wants a password: --flow-database-password-file',
  WRONGPASS: 'refuses user or password',
  NOPERM: 'does not allow its user what the flow database needs (read, write, connection, scripting on keys weft:*)',
  LOADING: 'is loading its data',
  MASTERDOWN: 'is a replica without its primary',
  MISCONF: 'takes no writes because it cannot save its data (MISCONF)',
  BUSY: 'is busy with a script',
  MOVED: 'is a cluster: the flow database needs a single Redis, or a primary with replicas',
  CLUSTERDOWN: 'is a cluster, and down',
  NOSCRIPT: 'has lost its scripts',
};

/** The first that means something here: before Redis 7 those of what scripts do come behind another (`ERR Error running script … -OOM …`). */
function wordOf(message: string): string | undefined {
  return message.match(/\b[A-Z]{3,}\b/g)?.find((word) => Object.hasOwn(REPLIES, word));
}

/** For people, behind "Redis at …". */
function reasonOf(error: unknown): string {
  if (error instanceof WeftError) return error.message;
  const { message, code } = error as Error & { code?: string };
  const word = wordOf(message);
  if (word !== undefined) return REPLIES[word]!;
  if (/invalid password|without any password configured/i.test(message)) return REPLIES.WRONGPASS!;
  if (code !== undefined || /closed|timeout/i.test(message)) return `cannot be reached: ${message || code}`;
  return `refuses: ${message}`;
}

const CODES = { OOM: 'busy', READONLY: 'refused', NOPERM: 'denied', NOAUTH: 'denied', WRONGPASS: 'denied' } as const;

function operational(error: unknown, message: string): WeftError {
  if (error instanceof WeftError) return new WeftError(error.code, message, { cause: error });
  const word = wordOf((error as Error).message);
  return new WeftError(CODES[word as keyof typeof CODES] ?? 'unreachable', message, { cause: error });
}
