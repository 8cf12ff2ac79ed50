import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { entryKey } from '../connections/of-port.ts';
import type { AgentEvent, CopyRole } from '../events.ts';
import { CopyDesk, type Held } from './copy-desk.ts';
import { CopySender } from './copy-sender.ts';
import { COPY_PORT, type CopyChange, canBeTold } from './message.ts';

/** So long a first reply waits for the word that its connection is held elsewhere; then it goes on. */
export const WAIT_MS = 20;
/** Of one gateway: what is told, and kept to be told again. Where there is more, that is the newest. */
export const MOST_TOLD = 100_000;
/** What was told so lately may not be in a reading that began before. */
const FRESH_MS = 5_000;

export interface CopyLinkOptions {
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** For tests. */
  readonly tcpPort?: number;
  readonly mostTold?: number;
  readonly mostHeld?: number;
  readonly againMs?: number;
  readonly strangerMs?: number;
}

interface Told {
  readonly entry: ConnectionEntry;
  readonly atMs: number;
}

/** A port that is active here: what the other places of its gateway are told. */
interface Active {
  readonly role: CopyRole;
  /** Oldest first. */
  readonly told: Map<string, Told>;
  readonly senders: Map<string, CopySender>;
  /** Connection tracking was read since: what is not in `told` is over. */
  isRead: boolean;
  /** There were more than can be told, at the last reading or since. */
  isFull: boolean;
  /** For the next message. */
  due: CopyChange[];
  done: (() => void)[];
}

/**
 * Copies of connections between the places of L2 gateways (docs/design/l2-gateways.md, §4): those of ports that are active here go out, those of
 * others are held.
 */
export class CopyLink {
  readonly #options: CopyLinkOptions;
  readonly #desk: CopyDesk;
  readonly #active = new Map<string, Active>();
  readonly #secrets = new Map<string, string>();
  #own: string | undefined;

  constructor(options: CopyLinkOptions) {
    this.#options = options;
    const { log, strangerMs, mostHeld } = options;
    this.#desk = new CopyDesk({
      secretOf: (port) => this.#secrets.get(port),
      isActive: (port) => this.#active.has(port),
      ...{ log, strangerMs, mostHeld },
    });
  }

  /** All ports of L2 gateways that this host is a place of, and its own tunnel address. */
  perform({ own, roles }: { readonly own: string | undefined; readonly roles: readonly CopyRole[] }): void {
    const isOther = own !== this.#own;
    this.#own = own;
    const wanted = new Map(roles.map((role) => [role.port, role]));
    for (const [port, secret] of this.#secrets)
      if (!wanted.has(port)) this.#desk.forget(port);
      else if (wanted.get(port)!.secret !== secret) this.#desk.cut(port);
    this.#secrets.clear();
    for (const { port, secret } of roles) this.#secrets.set(port, secret);
    if (isOther || (roles.length === 0) !== !this.#isListening) this.#listen(own, roles.length > 0);
    for (const [port, active] of [...this.#active]) {
      const role = wanted.get(port);
      if (!isOther && role?.isActive && JSON.stringify(role) === JSON.stringify(active.role)) continue;
      for (const sender of active.senders.values()) sender.close();
      this.#active.delete(port);
      if (!isOther && role?.isActive) this.#begin(role, active);
    }
    for (const role of roles) if (role.isActive && !this.#active.has(role.port)) this.#begin(role);
  }

  #isListening = false;

  #listen(own: string | undefined, isWanted: boolean): void {
    this.#isListening = own !== undefined && isWanted;
    this.#desk.listen(this.#isListening ? { address: own!, tcpPort: this.#tcpPort } : undefined);
  }

  get #tcpPort(): number {
    return this.#options.tcpPort ?? COPY_PORT;
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  #begin(role: CopyRole, former?: Active): void {
    const active: Active = {
      ...{ role, senders: new Map(), due: [], done: [] },
      told: former?.told ?? new Map(),
      isRead: former?.isRead ?? false,
      isFull: former?.isFull ?? false,
    };
    this.#active.set(role.port, active);
    const own = this.#own;
    if (own === undefined) return;
    for (const { host, address } of role.others) {
      const sender = new CopySender({
        ...{ port: role.port, secret: role.secret, own, to: { address, tcpPort: this.#tcpPort } },
        againMs: this.#options.againMs,
        all: () => ({ changes: putsOf(active.told), isWhole: active.isRead }),
        changed: (problem) => this.#options.emit({ kind: 'copies', port: role.port, host, problem }),
      });
      active.senders.set(host, sender);
    }
  }

  /** What another host told of the port's connections until it became active here; they are told on from here. */
  takeOver(port: string): Held {
    const held = this.#desk.of(port);
    this.#desk.forget(port);
    const active = this.#active.get(port);
    const atMs = this.#now();
    // Who is to hold them from here on gets all when its connection stands.
    for (const entry of held.entries) active?.told.set(entryKey(entry), { entry, atMs });
    return held;
  }

  /**
   * Tells of a connection; `done` when all who can be told hold it, or after `WAIT_MS`. Where nobody can, or who can is late with what it was
   * told before, at once; without `waits` too.
   */
  copy(port: string, entry: ConnectionEntry, done: () => void, waits = true): void {
    const active = this.#active.get(port);
    const key = entryKey(entry);
    if (!active || !canBeTold(entry)) return done();
    active.told.delete(key);
    active.told.set(key, { entry, atMs: this.#now() });
    // What comes in together is told together.
    if (active.due.length === 0) setImmediate(() => this.#flush(active));
    if (active.told.size > this.#mostTold) active.due.push(this.#dropOldest(active));
    active.due.push({ op: 'put', entry });
    if (waits) active.done.push(done);
    else done();
  }

  /** What is not told any more is not held any more either: where nothing can be read, it may have ended long ago. */
  #dropOldest(active: Active): CopyChange {
    const [key, { entry }] = active.told.entries().next().value!;
    active.told.delete(key);
    active.isFull = true;
    return { op: 'gone', entry };
  }

  get #mostTold(): number {
    return this.#options.mostTold ?? MOST_TOLD;
  }

  #flush(active: Active): void {
    const changes = active.due.splice(0);
    const waiting = active.done.splice(0);
    let isDone = false;
    const done = (): void => {
      if (isDone) return;
      isDone = true;
      clearTimeout(timer);
      for (const each of waiting) each();
    };
    const timer = setTimeout(() => {
      for (const sender of asked) if (!sender.isIdle) this.#late.add(sender);
      done();
    }, WAIT_MS);
    const up = [...active.senders.values()].filter(({ isUp }) => isUp);
    // Who let one wait in vain is waited for again when it has caught up.
    for (const sender of up) if (this.#late.has(sender) && sender.isIdle) this.#late.delete(sender);
    const asked = up.filter((sender) => !this.#late.has(sender));
    let left = asked.length;
    for (const sender of up) {
      if (!asked.includes(sender)) sender.send(changes);
      else
        sender.send(changes, () => {
          left--;
          if (left === 0) done();
        });
    }
    if (left === 0) done();
  }
  readonly #late = new WeakSet<CopySender>();

  /** Everything that connection tracking has of the port's connections, as read since `sinceMs`: what was not told is, what is over too. */
  reconcile(port: string, entries: readonly ConnectionEntry[], sinceMs: number): void {
    const active = this.#active.get(port);
    if (!active) return;
    const changes: CopyChange[] = [];
    const there = new Map(entries.filter(canBeTold).map((entry) => [entryKey(entry), entry]));
    const atMs = this.#now();
    for (const [key, { entry, atMs: toldMs }] of active.told) {
      if (there.has(key) || toldMs > sinceMs - FRESH_MS) continue;
      active.told.delete(key);
      changes.push({ op: 'gone', entry });
    }
    active.isFull = false;
    for (const [key, entry] of there) {
      if (active.told.has(key)) continue;
      active.isFull = active.told.size >= this.#mostTold;
      if (active.isFull) break;
      active.told.set(key, { entry, atMs });
      changes.push({ op: 'put', entry });
    }
    // At the first reading since this agent started others may hold what it knows nothing of, and what has ended.
    const isWhole = !active.isRead;
    active.isRead = true;
    const said = isWhole ? putsOf(active.told) : changes;
    if (isWhole || said.length > 0) for (const sender of active.senders.values()) sender.send(said, undefined, isWhole);
  }

  /** Are there connections of the port that are not told because there are too many? */
  isFull(port: string): boolean {
    return this.#active.get(port)?.isFull ?? false;
  }

  /** How many connections are told of, and held of others. */
  counts(): { readonly told: number; readonly held: number } {
    let [told, held] = [0, 0];
    for (const active of this.#active.values()) told += active.told.size;
    for (const port of this.#secrets.keys()) held += this.#desk.of(port).entries.length;
    return { told, held };
  }

  /** Connections that were ended because of what they said. */
  get refused(): number {
    return this.#desk.refused;
  }

  close(): void {
    for (const { senders } of this.#active.values()) for (const sender of senders.values()) sender.close();
    this.#desk.close();
  }
}

function putsOf(told: ReadonlyMap<string, Told>): CopyChange[] {
  return [...told.values()].map(({ entry }) => ({ op: 'put', entry }));
}
