import type { Clock } from '../../base/clock.ts';
import type { WeftError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { connectOvsdb, type OvsdbClient } from '../../ovsdb/client.ts';
import { HARDWARE_VTEP_DB } from '../../ovsdb/hardware-vtep-tables.ts';
import type { ChangeBatch, Monitor } from '../../ovsdb/monitor.ts';
import type { Operation } from '../../ovsdb/operations.ts';
import type { Uuid } from '../../ovsdb/values.ts';
import {
  type Found,
  type FoundBinding,
  logicalSwitchName,
  look,
  namePrefix,
  WATCHED,
  type Watches,
} from './database.ts';
import { MacRows } from './mac-rows.ts';
import type { VtepBindingState, VtepPlan, VtepState } from './plan.ts';
import { floodsTo, macOperations, OwnLocator, removal, structure } from './writes.ts';

/** A database that was away for less was never said to be. */
const GRACE_MS = 3_000;
/** So long a logical switch of ours has to belong to no binding that is known here before it is removed. */
const STRAY_MS = 10_000;
const RETRY_MS = 1_000;
/** What others write at once is answered at once. */
const GATHER_MS = 20;
export const TICK_MS = 1_000;
/** Operations on MACs in one transaction. */
const MOST_AT_ONCE = 2_000;

export interface SessionOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** What it is may be other than it was. */
  readonly onState: () => void;
  /** MACs of bindings that are elsewhere than behind the VTEP; `touched` tells of changes. */
  readonly wanted: ReadonlyMap<string, ReadonlySet<string>>;
  /** MACs that the VTEP has now, or no more, behind a binding. */
  readonly onMacs: (binding: string, seen: readonly string[], gone: readonly string[]) => void;
}

interface Told {
  readonly state: VtepState | undefined;
  readonly bindings: ReadonlyMap<string, VtepBindingState>;
}

/**
 * One VTEP: its database is watched, and what concerns the bindings that are active here is kept as it should be, over reconnections and
 * whatever becomes of the database. MACs cost what changes; the rest is a handful of rows for each binding.
 */
export class VtepSession {
  readonly #options: SessionOptions;
  readonly #ended = new AbortController();
  #plan: VtepPlan;
  /** The server is there: what is not in the plan is no more. */
  #isCurrent = false;
  #leavesAtMs: number | undefined;
  #client: OvsdbClient | undefined;
  #monitor: Monitor<Watches> | undefined;
  readonly #rows = new MacRows();
  readonly #dirty = new Map<string, Set<string> | 'all'>();
  /** Bindings that were active here, and the logical switch that each had when it was last looked at. */
  readonly #served = new Map<string, Uuid | undefined>();
  readonly #straySinceMs = new Map<Uuid, number>();
  /** Logical switches of ours that there are → binding. */
  readonly #bindingOf = new Map<Uuid, string>();
  #good: (Told & { readonly atMs: number }) | undefined;
  /** When the database was last known to be there: a connection that breaks again at once is none. */
  #lostMs: number;
  #failure: string | undefined;
  /** What the database refused, by binding; '' for removals. */
  readonly #refusals = new Map<string, string>();
  /** As the plan and the database are, but for MACs. */
  #cached: Found | undefined;
  /** Not MACs alone may be other than they should be. */
  #isStructureDue = false;
  /** Something was due while there was no connection. */
  #isBlocked = false;
  #settling: Promise<void> | undefined;
  #isDue = false;

  constructor(plan: VtepPlan, options: SessionOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#lostMs = options.clock.monotonicMs();
    const signal = AbortSignal.any([options.signal, this.#ended.signal]);
    void this.#run(signal);
  }

  get plan(): VtepPlan {
    return this.#plan;
  }

  follow(plan: VtepPlan, isCurrent: boolean): void {
    const wereActive = new Set(this.#plan.bindings.flatMap(({ binding, isActive }) => (isActive ? [binding] : [])));
    for (const { binding, isActive } of plan.bindings)
      if (isActive && !wereActive.has(binding)) this.#dirty.set(binding, 'all');
    this.#plan = plan;
    this.#isCurrent = isCurrent;
    const bindings = new Set(plan.bindings.map(({ binding }) => binding));
    for (const id of this.#refusals.keys()) if (id !== '' && !bindings.has(id)) this.#refusals.delete(id);
    for (const id of this.#dirty.keys()) if (!bindings.has(id)) this.#dirty.delete(id);
    this.#structureChanged();
    this.#wake();
    this.#options.onState();
  }

  /** What is wanted of these MACs of a binding is other than it was. */
  touched(binding: string, macs: Iterable<string> | 'all'): void {
    if (macs === 'all') this.#dirty.set(binding, 'all');
    else this.#touch(binding, macs);
    this.#wake();
  }

  /** The host talks to this VTEP no more. What is ours and was not taken over by another host goes, where that can be; then the session ends. */
  async leave(): Promise<void> {
    const { clock } = this.#options;
    this.#plan = { ...this.#plan, bindings: [] };
    this.#structureChanged();
    this.#leavesAtMs = clock.monotonicMs() + STRAY_MS / 2;
    try {
      await clock.sleep(STRAY_MS / 2, this.#ended.signal);
      this.#isDue = true;
      this.#isStructureDue = true;
      await this.#settle();
    } catch {
      // It is gone, or wanted again.
    }
    this.end();
  }

  end(): void {
    this.#ended.abort();
  }

  /** Undefined while it is not known. */
  get state(): VtepState | undefined {
    return this.#look().state;
  }

  get bindings(): ReadonlyMap<string, VtepBindingState> {
    return this.#look().bindings;
  }

  #look(): Told {
    const nowMs = this.#options.clock.monotonicMs();
    const now = this.#lookNow(nowMs);
    if (now.state?.state === 'connected') this.#good = { ...now, atMs: nowMs };
    else if (this.#good && nowMs - this.#good.atMs < GRACE_MS) return this.#good;
    return now;
  }

  #lookNow(nowMs: number): Told {
    const nothing = (state: VtepState | undefined): Told => ({ state, bindings: new Map() });
    if (this.#failure !== undefined) return nothing({ state: 'wrong', problem: this.#failure });
    if (!this.#monitor?.live) {
      const problem = this.#client?.failure?.message ?? `no answer at ${this.#plan.management}`;
      return nothing(nowMs - this.#lostMs < GRACE_MS ? undefined : { state: 'unreachable', problem });
    }
    this.#lostMs = nowMs;
    const { state, bindings } = this.#found();
    const refusal = this.#refusals.get('');
    return {
      state: state.state === 'connected' && refusal !== undefined ? { ...state, problem: refusal } : state,
      bindings: new Map([...bindings].map(([id, found]) => [id, this.#stateOf(found)])),
    };
  }

  #stateOf({ plan, state }: FoundBinding): VtepBindingState {
    const refusal = this.#refusals.get(plan.binding);
    if (refusal === undefined) return state;
    return { ...state, problem: state.problem === undefined ? refusal : `${state.problem}; ${refusal}` };
  }

  #found(): Found {
    this.#cached ??= look(this.#monitor!.replica, this.#plan);
    return this.#cached;
  }

  #structureChanged(): void {
    this.#cached = undefined;
    this.#isStructureDue = true;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const { management, tls } = this.#plan;
    try {
      this.#client = connectOvsdb(management, {
        ...{ signal, log, clock, maxBackoffMs: 2_000, probeMs: 3_000 },
        ...(tls === undefined ? {} : { tls: tlsOf(tls) }),
      });
    } catch (error) {
      this.#failure = (error as WeftError).message;
      this.#options.onState();
      return;
    }
    this.#client.onConnected(() => this.#wake());
    void this.#watch(signal);
    while (!signal.aborted) {
      await clock.sleep(TICK_MS, signal).catch(() => {});
      if (this.#straySinceMs.size > 0) this.#isStructureDue = true;
      if (this.#isStructureDue || this.#isBlocked) this.#wake();
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!this.#monitor && !signal.aborted)
      try {
        this.#monitor = await this.#client!.monitor(HARDWARE_VTEP_DB, WATCHED, (batch) => this.#changed(batch), {
          signal,
        });
      } catch (error) {
        if (signal.aborted) return;
        const { code, message } = error as WeftError;
        // It answers, and is not what was expected.
        this.#failure = code === 'refused' ? `its server has no database ${HARDWARE_VTEP_DB}: ${message}` : undefined;
        log.warn('the database of a VTEP cannot be watched; trying again', { vtep: this.#plan.name, error });
        this.#options.onState();
        await clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    this.#failure = undefined;
    this.#structureChanged();
    for (const on of this.#rows.local.keys()) this.#tellMacs(on, this.#rows.local.get(on)!.keys());
    this.#options.onState();
    this.#wake();
  }

  #changed({ changes }: ChangeBatch<Watches>): void {
    const prefix = namePrefix(this.#plan.vtep);
    for (const change of changes)
      if (change.table === 'Logical_Switch' && change.kind !== 'delete' && change.row.name.startsWith(prefix))
        this.#bindingOf.set(change.uuid, change.row.name.slice(prefix.length));
    const { remote, local } = this.#rows.take(changes);
    // The first batch comes before the monitor is given.
    if (!this.#monitor) return;
    const isStructure = changes.some(({ table }) => !table.startsWith('Ucast_'));
    if (isStructure) this.#structureChanged();
    for (const [on, macs] of remote) {
      const binding = this.#bindingOf.get(on);
      if (binding !== undefined) this.#touch(binding, macs);
    }
    for (const [on, macs] of local) this.#tellMacs(on, macs);
    // Its rows are gone with it, or before.
    for (const { table, kind, uuid } of changes)
      if (table === 'Logical_Switch' && kind === 'delete') this.#bindingOf.delete(uuid);
    if (isStructure) this.#options.onState();
    this.#wake();
  }

  #tellMacs(logicalSwitch: Uuid, macs: Iterable<string>): void {
    const binding = this.#bindingOf.get(logicalSwitch);
    if (binding === undefined) return;
    const now = this.#rows.local.get(logicalSwitch);
    const all = [...macs];
    const isSeen = (mac: string): boolean => now?.has(mac) === true;
    this.#options.onMacs(
      binding,
      all.filter(isSeen),
      all.filter((mac) => !isSeen(mac)),
    );
  }

  #touch(binding: string, macs: Iterable<string>): void {
    const dirty = this.#dirty.get(binding);
    if (dirty === 'all') return;
    if (dirty) for (const mac of macs) dirty.add(mac);
    else this.#dirty.set(binding, new Set(macs));
  }

  #wake(): void {
    this.#isDue = true;
    this.#settle().catch((error: unknown) =>
      this.#options.log.error('what a VTEP should have was not written', { vtep: this.#plan.name, error }),
    );
  }

  /** Resolves when nothing is left to write. */
  #settle(): Promise<void> {
    this.#settling ??= this.#write().finally(() => {
      this.#settling = undefined;
    });
    return this.#settling;
  }

  async #write(): Promise<void> {
    const { signal } = this.#ended;
    const { clock, log } = this.#options;
    while (this.#isDue && !signal.aborted && !this.#options.signal.aborted) {
      this.#isDue = false;
      this.#isBlocked = !this.#monitor?.live;
      if (this.#isBlocked) continue;
      let hasFailed = false;
      for (const part of this.#parts()) {
        const key = part.binding ?? '';
        if (part.operations.length > 0)
          try {
            await this.#client!.transact(HARDWARE_VTEP_DB, part.operations, { signal });
            // There may be more, and what came meanwhile is looked at, too.
            this.#isDue = true;
          } catch (error) {
            if (signal.aborted) break;
            hasFailed = true;
            if (part.binding !== undefined) this.#dirty.set(part.binding, 'all');
            const { code, message } = error as WeftError;
            const text = `it refuses what should be written: ${message}`;
            // What is refused is tried again each second, and said once.
            if (this.#refusals.get(key) !== text)
              log.warn('a VTEP is not as it should be; trying again', { vtep: this.#plan.name, error });
            if (code === 'refused') this.#refusals.set(key, text);
            continue;
          }
        this.#refusals.delete(key);
      }
      if (hasFailed) {
        this.#structureChanged();
        this.#isDue = true;
        await clock.sleep(RETRY_MS, signal).catch(() => {});
      } else if (this.#isDue) await clock.sleep(GATHER_MS, signal).catch(() => {});
    }
  }

  /** What is to be written now, a transaction each: what is refused of one binding is not in the way of others. */
  *#parts(): Iterable<{ readonly operations: readonly Operation[]; readonly binding?: string }> {
    const database = this.#monitor!.replica;
    const isStructureDue = this.#isStructureDue;
    this.#isStructureDue = false;
    if (isStructureDue) yield { operations: this.#removals() };
    const ids = isStructureDue ? this.#plan.bindings.map(({ binding }) => binding) : [...this.#dirty.keys()];
    for (const id of ids) {
      // Each transaction has changed the database.
      const found = this.#monitor!.live ? this.#found().bindings.get(id) : undefined;
      if (!found || !this.#mayWrite(found)) continue;
      // A logical switch that is new, or another one, has none of the MACs.
      if (!this.#served.has(id) || this.#served.get(id) !== found.row?._uuid) this.#dirty.set(id, 'all');
      this.#served.set(id, found.row?._uuid);
      const own = new OwnLocator(database, this.#plan.ownAddress);
      const written = structure(database, this.#plan.vtep, found, own);
      this.#writeMacs(found, own, written);
      yield { operations: [...own.operations, ...written], binding: id };
    }
  }

  /** An active host that has lost the server may be active no more: it leaves to another what that one wrote, and what it took away. */
  #mayWrite({ plan, state, row }: FoundBinding): boolean {
    if (!plan.isActive || !state.isUsable) return false;
    if (this.#isCurrent) return true;
    if (row === undefined) return false;
    const to = floodsTo(this.#monitor!.replica, row._uuid);
    return to === undefined || to === this.#plan.ownAddress;
  }

  /** As many as fit into a transaction. */
  #writeMacs(binding: FoundBinding, own: OwnLocator, operations: Operation[]): void {
    const { binding: id } = binding.plan;
    const dirty = this.#dirty.get(id);
    if (!dirty) return;
    const wanted = this.#options.wanted.get(id);
    const there = (binding.row && this.#rows.remote.get(binding.row._uuid)) ?? new Map<string, Map<Uuid, Uuid>>();
    const left = dirty === 'all' ? new Set([...(wanted ?? []), ...there.keys()]) : dirty;
    for (const mac of left) {
      if (operations.length >= MOST_AT_ONCE) break;
      operations.push(...macOperations(mac, wanted?.has(mac) ?? false, there.get(mac) ?? new Map(), binding, own));
      left.delete(mac);
    }
    if (left.size > 0) this.#dirty.set(id, left);
    else this.#dirty.delete(id);
  }

  /** Logical switches of ours of bindings that are no more: at once where this host served them, else when they have been strays for long. */
  #removals(): Operation[] {
    const { vtep, bindings, ownAddress } = this.#plan;
    const database = this.#monitor!.replica;
    const nowMs = this.#options.clock.monotonicMs();
    const known = new Set(bindings.map(({ binding }) => logicalSwitchName(vtep, binding)));
    const prefix = namePrefix(vtep);
    const strays = [...database.table('Logical_Switch').rows.values()].filter(
      ({ name }) => name.startsWith(prefix) && !known.has(name),
    );
    for (const id of this.#straySinceMs.keys())
      if (!strays.some(({ _uuid }) => _uuid === id)) this.#straySinceMs.delete(id);
    const operations: Operation[] = [];
    for (const { _uuid: id, name } of strays) {
      const sinceMs = this.#straySinceMs.get(id) ?? nowMs;
      this.#straySinceMs.set(id, sinceMs);
      const binding = name.slice(prefix.length);
      const isServed = this.#served.has(binding) && floodsTo(database, id) === ownAddress;
      const isOld = nowMs - sinceMs >= STRAY_MS && this.#isCurrent;
      // Who leaves does not know whether the binding is no more, or is another host's now.
      const isDue = this.#leavesAtMs === undefined ? isServed || isOld : isServed && nowMs >= this.#leavesAtMs;
      if (isDue) operations.push(...removal(id, database.table('Physical_Port').rows.values()));
    }
    for (const id of this.#served.keys())
      if (!known.has(logicalSwitchName(vtep, id)) && !strays.some(({ name }) => name.endsWith(id)))
        this.#served.delete(id);
    return operations;
  }
}

function tlsOf({ ca, certificate, privateKey }: NonNullable<VtepPlan['tls']>): {
  ca: string;
  cert?: string;
  key?: string;
} {
  return {
    ca,
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(privateKey === undefined ? {} : { key: privateKey }),
  };
}
