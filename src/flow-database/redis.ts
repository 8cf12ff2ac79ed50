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
 * it is not well: `unreachable`, `timeout`, `denied`, `refused`, `busy`.
 */
export class RedisConnections implements ConnectionStore {
  readonly #link: RedisLink;
  readonly #most: number;
  /** Host → its last epoch of which something is not in Redis. */
  readonly #missed = new Map<string, number>();
  /** Host → the epoch of its last batch. */
  readonly #latest = new Map<string, number>();
  /** Host → when it was heard last, as `ConnectionBatch.heardMs`; of those of before a restart since they are waited for. */
  readonly #heard = new Map<string, number>();

  constructor({ settings, onTrouble = () => {}, mostConnections = 1_000_000, prefix = 'weft:' }: RedisOptions) {
    this.#link = new RedisLink({ settings, prefix, onTrouble });
    this.#most = mostConnections;
  }

  async write(batch: ConnectionBatch): Promise<Written> {
    const { host, epoch, heardMs } = batch;
    this.#heard.set(host, heardMs);
    this.#latest.set(host, epoch);
    try {
      const { whole, isFull } = await this.#write(batch);
      return { ...(whole === String(epoch) ? {} : { isAgain: true }), ...(isFull ? { isFull } : {}) };
    } catch (error) {
      this.#missed.set(host, epoch);
      throw error;
    }
  }

  /** Gives the epoch that is whole now. */
  async #write({ host, epoch, atMs, put, gone, isWhole }: ConnectionBatch): Promise<Told> {
    // Not "or an earlier one": epochs fall where a host's wall clock is set back and its agent started anew.
    const isMissed = this.#missed.get(host) === epoch;
    const tell = async (mark: string, items: readonly StoredConnection[], ended: readonly string[]): Promise<Told> => {
      const words = items.flatMap((item) => [
        ...[item.key, item.port, item.tenant, item.sinceMs, JSON.stringify(heldBy(item)), JSON.stringify(item)],
      ]);
      const answer = await this.#link.script(
        'write',
        ...[host, epoch, atMs, TTL_MS, this.#most, mark, ended.length, ...ended, ...words],
      );
      const [whole, leftOut] = answer as [string, number];
      return { whole, isFull: leftOut > 0 };
    };
    if (!isWhole || isMissed) return await tell(isMissed ? 'missed' : '', put, gone);
    const told = await tell('', put, gone);
    const isLatest = (): boolean => this.#latest.get(host) === epoch;
    for (const port of await this.#portsOf(host)) await this.#sweep(host, port, epoch, isLatest);
    // A host that waited too long for an answer has begun another epoch.
    if (!isLatest()) return told;
    const { whole } = await tell('whole', [], []);
    this.#missed.delete(host);
    return { ...told, whole };
  }

  async #portsOf(host: string): Promise<readonly string[]> {
    return (await this.#link.command('HKEYS', this.#link.key(`ports:${host}`))) as string[];
  }

  async #sweep(host: string, port: string, epoch: number, isLatest: () => boolean): Promise<void> {
    let cursor = '0';
    // What another epoch's batch brings comes to Redis behind a slice that is on its way.
    do cursor = isLatest() ? String(await this.#link.script('sweep', host, epoch, port, cursor, SLICE)) : '0';
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
    for (const host of (await this.#link.command('ZRANGE', this.#link.key('hosts'), 0, -1)) as string[]) {
      const heardMs = this.#heard.get(host);
      // One of before a restart is waited for from now on.
      if (heardMs === undefined) this.#heard.set(host, nowMs);
      if (heardMs === undefined || heardMs >= nowMs - SILENCE_MS) continue;
      this.#heard.delete(host);
      await this.#link.script('drop', host);
    }
  }

  async close(): Promise<void> {
    await this.#link.close();
  }
}

interface Told {
  /** The epoch; or empty. */
  readonly whole: string;
  readonly isFull: boolean;
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
