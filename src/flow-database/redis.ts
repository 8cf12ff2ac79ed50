import { WeftError } from '../base/errors.ts';
import {
  type ConnectionBatch,
  type ConnectionFilter,
  type ConnectionStore,
  fits,
  heldBy,
  SILENCE_MS,
  type StoredConnection,
  type TroubleListener,
  type Written,
} from './flow-store.ts';
import { RedisLink } from './redis-link.ts';
import type { RedisSettings } from './redis-settings.ts';

export interface RedisOptions {
  readonly settings: RedisSettings;
  readonly onTrouble?: TroubleListener;
  readonly mostConnections?: number;
  /** Of every key, for who shares a database. */
  readonly prefix?: string;
}

/** Of one port's connections in one step: a millisecond of Redis's time. */
const SLICE = 500;
/** Ports asked at once. */
const ABREAST = 32;
/** Keys expire by themselves where no server is left to say so. */
const TTL_MS = SILENCE_MS + 30_000;

/**
 * Connections in a Redis or Valkey (keys: `redis-scripts.ts`). At once there, whatever that is: it connects beside. Errors of every call while
 * it is not well: `unreachable`, `timeout`, `denied`, `refused`, `busy`; `full`: it holds as many as it may.
 */
export class RedisConnections implements ConnectionStore {
  readonly #link: RedisLink;
  readonly #most: number;
  /** Host → its last epoch of which something is not in Redis. */
  readonly #missed = new Map<string, number>();

  constructor({ settings, onTrouble = () => {}, mostConnections = 1_000_000, prefix = 'weft:' }: RedisOptions) {
    this.#link = new RedisLink({ settings, prefix, onTrouble });
    this.#most = mostConnections;
  }

  async write(batch: ConnectionBatch): Promise<Written> {
    const { host, epoch } = batch;
    try {
      const whole = await this.#write(batch);
      return whole === String(epoch) ? {} : { isAgain: true };
    } catch (error) {
      this.#missed.set(host, epoch);
      throw error;
    }
  }

  /** Gives the epoch that is whole now. */
  async #write({ host, epoch, atMs, put, gone, isWhole }: ConnectionBatch): Promise<string> {
    const isMissed = (this.#missed.get(host) ?? Number.NEGATIVE_INFINITY) >= epoch;
    const tell = async (mark: string, items: readonly StoredConnection[], ended: readonly string[]) => {
      const words = items.flatMap((item) => [
        ...[item.key, item.port, item.tenant, item.sinceMs, JSON.stringify(heldBy(item)), JSON.stringify(item)],
      ]);
      const answer = await this.#link.script(
        'write',
        ...[host, epoch, atMs, TTL_MS, this.#most, mark, ended.length, ...ended, ...words],
      );
      if (answer !== -1) return String(answer);
      throw new WeftError('full', `the flow database holds ${this.#most} connections and takes no more`);
    };
    if (!isWhole || isMissed) return await tell(isMissed ? 'missed' : '', put, gone);
    await tell('', put, gone);
    for (const port of await this.#portsOf(host)) await this.#sweep(host, port, epoch);
    const whole = await tell('whole', [], []);
    this.#missed.delete(host);
    return whole;
  }

  async #portsOf(host: string): Promise<readonly string[]> {
    return (await this.#link.command('HKEYS', this.#link.key(`ports:${host}`))) as string[];
  }

  async #sweep(host: string, port: string, epoch: number): Promise<void> {
    let cursor = '0';
    do cursor = String(await this.#link.script('sweep', host, epoch, port, cursor, SLICE));
    while (cursor !== '0');
  }

  async list(filter: ConnectionFilter, limit: number): Promise<readonly StoredConnection[]> {
    const needles = needlesOf(filter);
    const found = new Map<string, StoredConnection>();
    const due = (await this.#places(filter)).map((place) => ({ ...place, cursor: '0' }));
    while (due.length > 0 && found.size < limit) {
      const now = due.splice(0, ABREAST);
      const answers = await Promise.all(
        now.map(({ host, port, cursor }) => this.#link.script('pick', host, port, cursor, SLICE, ...needles)),
      );
      for (const [n, answer] of (answers as string[][]).entries()) {
        const [cursor = '0', ...values] = answer;
        if (cursor !== '0') due.unshift({ ...now[n]!, cursor });
        for (const value of values) {
          const connection = connectionOf(value);
          // A walk may meet the same one twice.
          if (fits(connection, filter)) found.set(`${connection.host} ${connection.key}`, connection);
        }
      }
    }
    return [...found.values()].slice(0, limit);
  }

  /** Where connections that fit can be. */
  async #places({ host, port, tenant }: ConnectionFilter): Promise<readonly { host: string; port: string }[]> {
    const hosts =
      host === undefined ? ((await this.#link.command('ZRANGE', this.#link.key('hosts'), 0, -1)) as string[]) : [host];
    const places: { host: string; port: string }[] = [];
    while (hosts.length > 0) {
      const now = hosts.splice(0, ABREAST);
      const answers = await Promise.all(
        now.map((name) => this.#link.command('HGETALL', this.#link.key(`ports:${name}`))),
      );
      for (const [n, words] of (answers as string[][]).entries())
        for (let at = 0; at < words.length; at += 2)
          if ((port ?? words[at]) === words[at] && (tenant ?? words[at + 1]) === words[at + 1])
            places.push({ host: now[n]!, port: words[at]! });
    }
    return places;
  }

  async expire(nowMs: number): Promise<void> {
    const before = nowMs - SILENCE_MS;
    const hosts = this.#link.key('hosts');
    for (const host of (await this.#link.command('ZRANGEBYSCORE', hosts, '-inf', `(${before}`)) as string[])
      await this.#link.script('drop', host, before);
  }

  async close(): Promise<void> {
    await this.#link.close();
  }
}

/** What is in the JSON of every connection that fits; that is not all there is to fitting. */
function needlesOf({ protocol, state, address, router }: ConnectionFilter): string[] {
  const wanted = { protocol, state, address, router };
  return Object.entries(wanted).flatMap(([name, value]) =>
    value === undefined ? [] : [`${JSON.stringify(name)}:${JSON.stringify(value)}`],
  );
}

/** "<epoch> <sinceMs> <ends held>\n<JSON>". */
function connectionOf(value: string): StoredConnection {
  const newline = value.indexOf('\n');
  const sinceMs = Number(value.slice(0, newline).split(' ', 2)[1]);
  return { ...(JSON.parse(value.slice(newline + 1)) as StoredConnection), sinceMs };
}
