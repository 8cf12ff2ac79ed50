import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { WeftError } from '../base/errors.ts';
import {
  addressesOf,
  type ConnectionBatch,
  type ConnectionFilter,
  type Endpoint,
  type FlowStore,
  fits,
  type HeldAnswer,
  type HeldQuestion,
  type Holder,
  heldBy,
  KEPT_MS,
  type Lease,
  SILENCE_MS,
  SLACK_MS,
  type StoredConnection,
  type Written,
} from './flow-store.ts';

export interface SqliteFlowOptions {
  /** `:memory:` keeps nothing beyond the process. */
  readonly path: string;
  readonly nowMs: number;
  readonly mostConnections?: number;
  readonly mostTranslations?: number;
  /** Connections are elsewhere: only those are kept here that hold an outside address, as far as the log needs them; `list` finds none. */
  readonly isLogOnly?: boolean;
}

/** Of what is too old or too much so much goes at once: some 20 ms, in which batches wait. */
const FORGOTTEN_AT_ONCE = 2_000;
const MOST_ANSWERS = 100;
/** Pages of the file in memory, once so many were used. */
const CACHE_KB = 32_000;
/** Pages of 4 KB in the log beside the file, until they are written into it. */
const LOG_PAGES = 16_000;
/** `held` of a connection that is not translated. */
const HOLDS_NONE = '[]';
/** So long another process may hold the file. */
const BUSY_MS = 1_000;
/** Of no host. */
const NO_EPOCH = -1;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS connections (
    host TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL, port TEXT NOT NULL, tenant TEXT NOT NULL, protocol TEXT NOT NULL,
    state TEXT, since_ms INTEGER NOT NULL, addresses TEXT NOT NULL, held TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (host, key)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS connections_by_port ON connections (port);
  CREATE INDEX IF NOT EXISTS connections_by_tenant ON connections (tenant);
  CREATE TABLE IF NOT EXISTS hosts (host TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL, whole INTEGER) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS translations (
    id INTEGER PRIMARY KEY, host TEXT NOT NULL, key TEXT NOT NULL, address TEXT NOT NULL, number INTEGER, protocol TEXT NOT NULL,
    from_ms INTEGER NOT NULL, to_ms INTEGER, value TEXT NOT NULL, epoch INTEGER);
  CREATE INDEX IF NOT EXISTS translations_by_address ON translations (address, number, from_ms);
  CREATE INDEX IF NOT EXISTS translations_open ON translations (host, key) WHERE to_ms IS NULL;
  CREATE INDEX IF NOT EXISTS translations_by_end ON translations (to_ms) WHERE to_ms IS NOT NULL;
  CREATE TABLE IF NOT EXISTS leases (
    id INTEGER PRIMARY KEY, router TEXT NOT NULL, address TEXT NOT NULL, host TEXT NOT NULL, blocks TEXT NOT NULL, names TEXT NOT NULL,
    from_ms INTEGER NOT NULL, to_ms INTEGER);
  CREATE INDEX IF NOT EXISTS leases_by_address ON leases (address, from_ms);
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
`;

/**
 * That files of before do not have. `whole`: the epoch of which everything was told; `epoch`: the last one that began the translation, or
 * named it for a connection that is left out.
 */
const ADDED_COLUMNS = [
  ['hosts', 'whole'],
  ['translations', 'epoch'],
] as const;

const SQL = {
  held: 'SELECT held, since_ms, tenant FROM connections WHERE host = ? AND key = ?',
  put: `INSERT INTO connections (host, key, epoch, port, tenant, protocol, state, since_ms, addresses, held, value)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (host, key) DO UPDATE SET epoch = excluded.epoch, port = excluded.port, tenant = excluded.tenant,
          state = excluded.state, since_ms = excluded.since_ms, addresses = excluded.addresses, held = excluded.held, value = excluded.value`,
  delete: 'DELETE FROM connections WHERE host = ? AND key = ? RETURNING tenant, held',
  deleteOlder: 'DELETE FROM connections WHERE host = ? AND epoch <> ? RETURNING tenant',
  deleteHost: 'DELETE FROM connections WHERE host = ? RETURNING tenant',
  deleteOfTenant: `DELETE FROM connections WHERE (host, key) = (SELECT host, key FROM connections WHERE tenant = ? LIMIT 1)
                   RETURNING tenant`,
  seen: 'INSERT INTO hosts (host, seen_ms) VALUES (?, ?) ON CONFLICT DO UPDATE SET seen_ms = excluded.seen_ms',
  setWhole: 'UPDATE hosts SET whole = ? WHERE host = ?',
  getWhole: 'SELECT whole FROM hosts WHERE host = ?',
  hosts: 'SELECT host, seen_ms FROM hosts',
  forgetHost: 'DELETE FROM hosts WHERE host = ?',
  begin: `INSERT INTO translations (host, key, address, number, protocol, from_ms, value, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  open: 'SELECT address, number, from_ms FROM translations WHERE host = ? AND key = ? AND to_ms IS NULL ORDER BY id',
  name: 'UPDATE translations SET epoch = ? WHERE host = ? AND key = ? AND to_ms IS NULL',
  end: 'UPDATE translations SET to_ms = ? WHERE host = ? AND key = ? AND to_ms IS NULL',
  endOne: 'UPDATE translations SET to_ms = ? WHERE id = ?',
  allTranslations: 'SELECT * FROM translations ORDER BY id',
  endOthers: `UPDATE translations SET to_ms = ?1 WHERE host = ?2 AND to_ms IS NULL AND epoch IS NOT ?3
              AND NOT EXISTS (SELECT 1 FROM connections WHERE connections.host = ?2 AND connections.key = translations.key)`,
  heldAt: heldAt(''),
  heldAtPort: heldAt('AND number = ?2'),
  leasesAt: 'SELECT * FROM leases WHERE address = ? AND from_ms <= ? AND (to_ms IS NULL OR to_ms >= ?)',
  allLeases: 'SELECT * FROM leases ORDER BY id',
  openLeases: 'SELECT * FROM leases WHERE to_ms IS NULL',
  openLease: 'SELECT id, blocks FROM leases WHERE router = ? AND address = ? AND host = ? AND to_ms IS NULL',
  endLease: 'UPDATE leases SET to_ms = ? WHERE id = ?',
  beginLease: 'INSERT INTO leases (router, address, host, blocks, names, from_ms) VALUES (?, ?, ?, ?, ?, ?)',
  forgetOld: `DELETE FROM translations WHERE id IN (SELECT id FROM translations WHERE to_ms < ? LIMIT ${FORGOTTEN_AT_ONCE})`,
  forgetFirst:
    'DELETE FROM translations WHERE id IN (SELECT id FROM translations ORDER BY id LIMIT ?) RETURNING from_ms',
  forgetLeases: 'DELETE FROM leases WHERE to_ms < ?',
  getMeta: 'SELECT value FROM meta WHERE key = ?',
  putMeta: 'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
} as const;

/** Two statements, as one for both would not find ports by the index. */
function heldAt(condition: string): string {
  return `SELECT * FROM translations WHERE address = ?1 ${condition} AND (?3 IS NULL OR protocol = ?3)
          AND from_ms <= ?4 AND (to_ms IS NULL OR to_ms >= ?5)
          ORDER BY from_ms > ?6 OR ifnull(to_ms < ?6, 0), from_ms DESC LIMIT ${MOST_ANSWERS}`;
}

type Row = Readonly<Record<string, string | number | null>>;

/**
 * The default flow store. Synchronous beneath: the server runs it in a thread of its own. Errors at opening: `invalid` (damaged, or no database),
 * and of what may be well later `busy`, `denied`, `full`, `refused`.
 */
export class SqliteFlowStore implements FlowStore {
  readonly #db: DatabaseSync;
  readonly #statements: Record<keyof typeof SQL, StatementSync>;
  readonly #mostConnections: number;
  readonly #mostTranslations: number;
  readonly #isLogOnly: boolean;
  #connections: number;
  #translations: number;
  /** Tenant → how many of the connections are its. */
  #tenants: Map<string, number>;
  /** Of them the one with most, where a batch has asked. */
  #largest: string | undefined;
  /** Host → when it was heard last, as `ConnectionBatch.heardMs`; of those of before a restart since they are waited for. */
  readonly #heard = new Map<string, number>();
  #isForgetting = false;
  /** Of too much. */
  #hasForgotten = false;

  constructor(options: SqliteFlowOptions) {
    const { path, nowMs, mostConnections = 1_000_000, mostTranslations = 10_000_000, isLogOnly = false } = options;
    this.#isLogOnly = isLogOnly;
    this.#mostConnections = mostConnections;
    this.#mostTranslations = mostTranslations;
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(path, { timeout: BUSY_MS });
      this.#db = db;
      // What a crash of the machine takes is some seconds of a log: not worth a flush for each batch.
      // Short connections touch each page of the indexes many times: it is read and written back once (`npm run bench -- --only flow-store`).
      db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
               PRAGMA cache_size = -${CACHE_KB}; PRAGMA wal_autocheckpoint = ${LOG_PAGES}`);
      db.exec(SCHEMA);
      for (const [table, column] of ADDED_COLUMNS)
        if (!this.#db.prepare('SELECT 1 FROM pragma_table_info(?) WHERE name = ?').get(table, column))
          this.#db.exec(`ALTER TABLE ${table} ADD COLUMN ${column} INTEGER`);
      this.#statements = Object.fromEntries(
        Object.entries(SQL).map(([name, sql]) => [name, this.#db.prepare(sql)]),
      ) as Record<keyof typeof SQL, StatementSync>;
      const tenants = this.#db.prepare('SELECT tenant, count(*) AS n FROM connections GROUP BY tenant').all();
      this.#tenants = new Map((tenants as Row[]).map(({ tenant, n }) => [String(tenant), Number(n)]));
      this.#connections = [...this.#tenants.values()].reduce((sum, n) => sum + n, 0);
      this.#translations = Number(this.#db.prepare('SELECT count(*) AS n FROM translations').get()!.n);
      if (this.#meta('sinceMs') === undefined) this.#statements.putMeta.run('sinceMs', nowMs);
      // It may not have run for long: what is too old is on its way out.
      this.#reachFrom(nowMs - KEPT_MS);
    } catch (error) {
      db?.close();
      throw operational(error, path);
    }
  }

  async write(batch: ConnectionBatch): Promise<Written> {
    const { host, epoch, atMs, heardMs, put, gone, isWhole } = batch;
    const sql = this.#statements;
    const [connections, translations, tenants] = [this.#connections, this.#translations, new Map(this.#tenants)];
    this.#heard.set(host, heardMs);
    this.#largest = undefined;
    let leftOut = 0;
    let whole: Row['whole'] = null;
    try {
      this.#inTransaction(() => {
        sql.seen.run(host, atMs);
        for (const key of gone) {
          const deleted = sql.delete.all(host, key) as Row[];
          this.#uncount(deleted);
          // Of one that was left out only the log knows whether it held an address.
          if (deleted[0]?.held !== HOLDS_NONE) sql.end.run(atMs, host, key);
        }
        for (const connection of put) if (!this.#put(connection, epoch, atMs)) leftOut++;
        if (isWhole) {
          this.#uncount(sql.deleteOlder.iterate(host, epoch));
          sql.endOthers.run(atMs, host, epoch);
          sql.setWhole.run(epoch, host);
        }
        whole = (sql.getWhole.get(host) as Row).whole!;
        // Never more begin than go: the bound holds however much comes.
        this.#forgetFirst(this.#translations - translations + FORGOTTEN_AT_ONCE, atMs);
      });
    } catch (error) {
      [this.#connections, this.#translations, this.#tenants] = [connections, translations, tenants];
      throw operational(error, 'flow database');
    }
    return {
      ...(whole === epoch ? {} : { isAgain: true }),
      ...(leftOut > 0 && !this.#isLogOnly ? { isFull: true } : {}),
    };
  }

  /** Was there room for the connection? The log has its translation anyway. */
  #put(connection: StoredConnection, epoch: number, atMs: number): boolean {
    const sql = this.#statements;
    const { host, key, port, tenant, protocol, state } = connection;
    const ends = heldBy(connection);
    const held = JSON.stringify(ends);
    const known = sql.held.get(host, key) as Row | undefined;
    // Of one that was left out the log knows whether it lasts.
    const open = known ? [] : (sql.open.all(host, key) as Row[]);
    if (this.#isLogOnly && ends.length === 0 && !known && open.length === 0) return true;
    const isSame = known ? known.held === held : areEnds(open, ends);
    const formerMs = isSame ? (known?.since_ms ?? open[0]?.from_ms) : undefined;
    const sinceMs = Math.min(Number(formerMs ?? connection.sinceMs), connection.sinceMs);
    const value = JSON.stringify({ ...connection, sinceMs });
    const isTaken = known !== undefined || this.#makeRoom(tenant);
    if (isTaken) {
      const addresses = this.#isLogOnly ? '' : ` ${addressesOf(connection).join(' ')} `;
      const about = [host, key, epoch, port, tenant, protocol, state ?? null, sinceMs] as const;
      sql.put.run(...about, addresses, held, this.#isLogOnly ? '' : value);
      if (known) this.#uncount([known]);
      this.#count(tenant, 1);
    } else sql.name.run(epoch, host, key);
    if (isSame) return isTaken;
    // The same ends with another translation: the former connection ended between two readings.
    if (known || open.length > 0) sql.end.run(atMs, host, key);
    for (const end of ends) {
      sql.begin.run(host, key, end.address, end.port ?? null, protocol, sinceMs, value, epoch);
      this.#translations++;
    }
    return isTaken;
  }

  /** Is there room for one more? Where there is not, the tenant with most gives way to one that has fewer. */
  #makeRoom(tenant: string): boolean {
    if (this.#connections < this.#mostConnections) return true;
    const countOf = (name: string): number => this.#tenants.get(name) ?? 0;
    this.#largest ??= [...this.#tenants.keys()].reduce(
      (one, other) => (countOf(other) > countOf(one) ? other : one),
      '',
    );
    if (countOf(this.#largest) <= countOf(tenant) + 1) return false;
    this.#uncount(this.#statements.deleteOfTenant.all(this.#largest));
    return true;
  }

  #count(tenant: string, n: number): void {
    const now = (this.#tenants.get(tenant) ?? 0) + n;
    this.#connections += n;
    if (now > 0) this.#tenants.set(tenant, now);
    else this.#tenants.delete(tenant);
  }

  #uncount(deleted: Iterable<unknown>): void {
    for (const { tenant } of deleted as Iterable<Row>) this.#count(String(tenant), -1);
  }

  async list(filter: ConnectionFilter, limit: number): Promise<readonly StoredConnection[]> {
    if (this.#isLogOnly) return [];
    // Of a time when only the log was kept here there is nothing to be listed, until the hosts tell it again.
    const wanted = ["value <> ''"];
    const values: string[] = [];
    for (const column of ['port', 'tenant', 'protocol', 'state', 'host'] as const) {
      const value = filter[column];
      if (value === undefined) continue;
      wanted.push(`${column} = ?`);
      values.push(value);
    }
    if (filter.address !== undefined) {
      wanted.push('instr(addresses, ?) > 0');
      values.push(` ${filter.address} `);
    }
    if (filter.router !== undefined) {
      wanted.push('instr(value, ?) > 0');
      values.push(`"router":${JSON.stringify(filter.router)}`);
    }
    const query = this.#db.prepare(`SELECT value FROM connections WHERE ${wanted.join(' AND ')}`);
    const found: StoredConnection[] = [];
    if (limit > 0)
      for (const { value } of query.iterate(...values)) {
        const connection = JSON.parse(String(value)) as StoredConnection;
        // What the rest of the filter asks only this knows.
        if (fits(connection, filter) && found.push(connection) >= limit) break;
      }
    return found;
  }

  async setLease(lease: Lease): Promise<void> {
    this.#inTransaction(() => this.#setLease(lease));
  }

  #setLease({ router, address, host, names, blocks, atMs }: Lease): void {
    const sql = this.#statements;
    const wanted = JSON.stringify(blocks);
    const open = sql.openLease.get(router, address, host) as Row | undefined;
    if (open?.blocks === wanted) return;
    if (open) sql.endLease.run(atMs, open.id!);
    if (blocks.length > 0) sql.beginLease.run(router, address, host, wanted, JSON.stringify(names), atMs);
  }

  async leases(): Promise<readonly Lease[]> {
    return (this.#statements.openLeases.all() as Row[]).map(leaseOf);
  }

  async whoHeld({ address, port, protocol, atMs }: HeldQuestion): Promise<HeldAnswer> {
    const sql = this.#statements;
    const asked = port === undefined ? sql.heldAt : sql.heldAtPort;
    const [firstMs, lastMs] = [atMs - SLACK_MS, atMs + SLACK_MS];
    const rows = asked.all(address, port ?? null, protocol ?? null, lastMs, firstMs, atMs) as Row[];
    const leased = (sql.leasesAt.all(address, atMs, atMs) as Row[]).filter(
      (row) =>
        port === undefined || leaseOf(row).blocks.some(({ first, size }) => port >= first && port < first + size),
    );
    return {
      holders: [...rows.map(holderOf), ...leased.map(leaseHolderOf)],
      sinceMs: this.#meta('sinceMs') ?? 0,
    };
  }

  /**
   * What another store wrote down while this one could not be opened is written down here. Hosts are asked for their connections again. Errors: those
   * of `write`; nothing of it was taken.
   */
  takeOver(other: SqliteFlowStore, nowMs: number): void {
    const sql = this.#statements;
    const translations = this.#translations;
    try {
      this.#inTransaction(() => {
        this.#db.exec('DELETE FROM connections; UPDATE hosts SET whole = NULL');
        for (const { host, seen_ms } of other.#statements.hosts.all() as Row[]) sql.seen.run(host!, seen_ms!);
        for (const row of other.#statements.allTranslations.iterate() as Iterable<Row>) this.#takeTranslation(row);
        this.#takeLeases(other);
        this.#forgetFirst(Number.POSITIVE_INFINITY, nowMs);
        if (other.#hasForgotten) this.#reachFrom(other.#meta('sinceMs')!);
      });
    } catch (error) {
      this.#translations = translations;
      throw operational(error, 'flow database');
    }
    this.#connections = 0;
    this.#tenants = new Map();
  }

  #takeTranslation(row: Row): void {
    const sql = this.#statements;
    const { host, key, address, number, protocol, from_ms, to_ms, value, epoch } = row;
    const [open] = sql.open.all(host!, key!) as Row[];
    if (open?.address === address && open?.number === number) {
      if (to_ms !== null) sql.end.run(to_ms!, host!, key!);
      return;
    }
    if (open) sql.end.run(from_ms!, host!, key!);
    const { lastInsertRowid } = sql.begin.run(host!, key!, address!, number!, protocol!, from_ms!, value!, epoch!);
    if (to_ms !== null) sql.endOne.run(to_ms!, lastInsertRowid);
    this.#translations++;
  }

  /** Those that only this one has ended while no server ran. */
  #takeLeases(other: SqliteFlowStore): void {
    const rows = other.#statements.allLeases.all() as Row[];
    const known = new Set(rows.map((row) => holderName(leaseOf(row))));
    const steps = rows.flatMap((row) => {
      const lease = leaseOf(row);
      return row.to_ms === null ? [lease] : [lease, { ...lease, blocks: [], atMs: Number(row.to_ms) }];
    });
    for (const row of this.#statements.openLeases.all() as Row[]) {
      const lease = leaseOf(row);
      if (!known.has(holderName(lease))) this.#setLease({ ...lease, blocks: [], atMs: other.#meta('sinceMs') ?? 0 });
    }
    for (const step of steps.toSorted((a, b) => a.atMs - b.atMs)) this.#setLease(step);
  }

  /** Resolves when nothing too old or too much is left. Others have their turn meanwhile. */
  async expire(nowMs: number): Promise<void> {
    const sql = this.#statements;
    this.#inTransaction(() => {
      for (const { host, seen_ms } of sql.hosts.all() as Row[])
        if (this.#isSilent(String(host), nowMs)) this.#end(host!, seen_ms!);
      sql.forgetLeases.run(nowMs - KEPT_MS);
      this.#reachFrom(nowMs - KEPT_MS);
    });
    if (this.#isForgetting) return;
    this.#isForgetting = true;
    try {
      while (this.#db.isOpen && this.#forgetSome(nowMs)) await nextTurn();
    } finally {
      this.#isForgetting = false;
    }
  }

  /** A host of before a restart is waited for from now on. */
  #isSilent(host: string, nowMs: number): boolean {
    const heardMs = this.#heard.get(host);
    if (heardMs === undefined) this.#heard.set(host, nowMs);
    return heardMs !== undefined && heardMs < nowMs - SILENCE_MS;
  }

  #end(host: string | number, seenMs: string | number): void {
    const sql = this.#statements;
    this.#uncount(sql.deleteHost.iterate(host));
    sql.endOthers.run(seenMs, host, NO_EPOCH);
    sql.forgetHost.run(host);
    this.#heard.delete(String(host));
  }

  /** Is there more? */
  #forgetSome(nowMs: number): boolean {
    let forgotten = 0;
    this.#inTransaction(() => {
      forgotten = Number(this.#statements.forgetOld.run(nowMs - KEPT_MS).changes);
      this.#translations -= forgotten;
      forgotten += this.#forgetFirst(FORGOTTEN_AT_ONCE, nowMs);
    });
    return forgotten > 0;
  }

  /** The oldest of what is too much, at most so many; says how many. */
  #forgetFirst(most: number, nowMs: number): number {
    const excess = Math.min(this.#translations - this.#mostTranslations, most);
    if (excess <= 0) return 0;
    let [forgotten, lastMs] = [0, 0];
    for (const { from_ms } of this.#statements.forgetFirst.iterate(excess) as Iterable<Row>) {
      forgotten++;
      lastMs = Math.max(lastMs, Number(from_ms));
    }
    this.#translations -= forgotten;
    this.#hasForgotten = true;
    // A host whose clock is ahead makes nobody else's past unknown.
    this.#reachFrom(Math.min(lastMs + 1, nowMs + SLACK_MS));
    return forgotten;
  }

  /** Of before this time something is gone, or may be soon. */
  #reachFrom(ms: number): void {
    if (ms > (this.#meta('sinceMs') ?? 0)) this.#statements.putMeta.run('sinceMs', ms);
  }

  async close(): Promise<void> {
    this.#db.close();
  }

  #meta(key: string): number | undefined {
    const row = this.#statements.getMeta.get(key);
    return row && Number(row.value);
  }

  #inTransaction(work: () => void): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}

/** Do these open translations hold just these ends? */
function areEnds(open: readonly Row[], ends: readonly Endpoint[]): boolean {
  return (
    open.length === ends.length &&
    ends.every(({ address, port = null }, n) => open[n]!.address === address && open[n]!.number === port)
  );
}

function holderOf(row: Row): Holder {
  const { host, names, router, port, protocol, direction, from, to } = JSON.parse(
    String(row.value),
  ) as StoredConnection;
  const [workload, other] = direction === 'out' ? [from, to] : [to, from];
  return {
    by: 'connection',
    ...{ host, names, port, protocol, workload, other, fromMs: Number(row.from_ms) },
    ...(router === undefined ? {} : { router }),
    ...(row.to_ms === null ? {} : { toMs: Number(row.to_ms) }),
  };
}

function leaseOf(row: Row): Lease {
  return {
    ...{ router: String(row.router), address: String(row.address), host: String(row.host) },
    names: JSON.parse(String(row.names)) as Lease['names'],
    blocks: JSON.parse(String(row.blocks)) as Lease['blocks'],
    atMs: Number(row.from_ms),
  };
}

function holderName({ router, address, host }: Lease): string {
  return `${router} ${address} ${host}`;
}

function leaseHolderOf(row: Row): Holder {
  const { host, router, names, atMs } = leaseOf(row);
  return {
    by: 'lease',
    ...{ host, router, names, fromMs: atMs },
    ...(row.to_ms === null ? {} : { toMs: Number(row.to_ms) }),
  };
}

/** SQLite's result codes (their lowest byte) as ours. */
const CODES = { 3: 'denied', 5: 'busy', 8: 'denied', 11: 'invalid', 13: 'full', 14: 'denied', 26: 'invalid' } as const;

function operational(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || !('errcode' in error)) return error;
  const code = CODES[(Number(error.errcode) & 0xff) as keyof typeof CODES] ?? 'refused';
  return new WeftError(code, `${what}: ${error.message}`, { cause: error });
}
