import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { FlowStore, Lease } from '../flow-database/flow-store.ts';
import { qualifiedName } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { NatLease } from '../model/objects.ts';
import type { RecordChange } from './desired-state.ts';
import type { EventRing } from './events.ts';

/** Of more that wait, only what they come to is written. */
const MOST_WAITING = 10_000;
/** The same thing is told no more often. */
const NEWS_MS = 60_000;

type Entry =
  | { readonly kind: 'set'; readonly lease: Lease }
  /** All that holds at a time: nobody has anything else. */
  | { readonly kind: 'all'; readonly leases: readonly Lease[]; readonly atMs: number };

/**
 * Writes down in the flow database which host has which ports of SNAT addresses, and since when. One entry after the other: one that the
 * store does not take waits, with its time and all behind it, for `retry`.
 */
export class LeaseLog {
  readonly #index: ModelIndex;
  readonly #store: Pick<FlowStore, 'leases' | 'setLease'>;
  readonly #events: EventRing;
  readonly #clock: Clock;
  readonly #log: Log;
  #waiting: Entry[] = [];
  #isWriting = false;
  #writing: Promise<void> = Promise.resolve();
  #trouble: string | undefined;
  #isTold = false;
  /** By the clock that does not step. */
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(
    index: ModelIndex,
    store: Pick<FlowStore, 'leases' | 'setLease'>,
    { events, clock, log }: { readonly events: EventRing; readonly clock: Clock; readonly log: Log },
  ) {
    this.#index = index;
    this.#store = store;
    this.#events = events;
    this.#clock = clock;
    this.#log = log;
  }

  /** Why entries wait, for people. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** The desired state was changed. */
  followCommit(changes: readonly RecordChange[]): void {
    const atMs = this.#clock.now();
    const holders = changes.flatMap(({ before, after }) => holdersOf(before, after));
    for (const lease of this.#leasesOf(holders, atMs)) this.#waiting.push({ kind: 'set', lease });
    if (this.#waiting.length > MOST_WAITING) this.#waiting = [this.#all()];
    if (this.#trouble === undefined) this.retry();
  }

  /** Leases are as they are now: the log may have missed some while no server ran. */
  adopt(): void {
    this.#waiting.push(this.#all());
    this.retry();
  }

  /** Writes what waits; once in a while. */
  retry(): void {
    if (!this.#isWriting) this.#writing = this.#write();
  }

  /** Resolves once nothing is being written. */
  settled(): Promise<void> {
    return this.#writing;
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      for (let [entry] = this.#waiting; entry; [entry] = this.#waiting) {
        if (entry.kind === 'set') await this.#store.setLease(entry.lease);
        else await this.#writeAll(entry.leases, entry.atMs);
        // Others may have taken its place: too many waited.
        if (this.#waiting[0] === entry) this.#waiting.shift();
      }
      this.#isWell();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#isWriting = false;
    }
  }

  async #writeAll(leases: readonly Lease[], atMs: number): Promise<void> {
    const held = new Set(leases.map(nameOf));
    for (const { atMs: _, ...lease } of await this.#store.leases())
      if (!held.has(nameOf(lease))) await this.#store.setLease({ ...lease, blocks: [], atMs });
    for (const lease of leases) await this.#store.setLease(lease);
  }

  #failed(error: unknown): void {
    this.#trouble = error instanceof Error ? error.message : String(error);
    this.#log.warn('leases are missing in the flow database; they are told again', {
      ...{ error, waiting: this.#waiting.length },
    });
    const steadyMs = this.#clock.monotonicMs();
    if (this.#isTold || steadyMs - this.#toldMs < NEWS_MS) return;
    this.#isTold = true;
    this.#toldMs = steadyMs;
    const text = leaseTroubleText(this.#trouble);
    this.#events.add({ atMs: this.#clock.now(), level: 'warning', about: ABOUT, text });
  }

  #isWell(): void {
    this.#trouble = undefined;
    if (!this.#isTold) return;
    this.#isTold = false;
    const text = 'the flow database has taken which host had which ports of SNAT addresses';
    this.#events.add({ atMs: this.#clock.now(), level: 'info', about: ABOUT, text });
  }

  #all(): Entry {
    const atMs = this.#clock.now();
    return { kind: 'all', leases: this.#leasesOf(this.#index.all('natLease'), atMs), atMs };
  }

  /**
   * All that each of these hosts has of the address now, as its own or as those of ports that are active there. There may be ten thousand: the leases
   * of a router are walked once.
   */
  #leasesOf(holders: Iterable<Holder>, atMs: number): readonly Lease[] {
    const leases: Lease[] = [];
    for (const [router, some] of Map.groupBy(holders, (holder) => holder.router)) {
      const addresses = new Set(some.map(({ address }) => address));
      const blocks = new Map<string, NatLease['blocks'][]>(some.map((holder) => [nameOf(holder), []]));
      for (const lease of this.#index.leasesOfRouter(router))
        if (addresses.has(lease.address)) blocks.get(nameOf(lease))?.push(lease.blocks);
      const named = new Map(some.map((holder) => [nameOf(holder), holder]));
      for (const [name, holder] of named) leases.push(this.#leaseOf(holder, blocks.get(name)!.flat(), atMs));
    }
    return leases;
  }

  #leaseOf({ router: routerId, address, host: hostId }: Holder, blocks: NatLease['blocks'], atMs: number): Lease {
    const router = this.#index.get('router', routerId);
    const names = {
      host: this.#index.get('host', hostId)?.name ?? hostId,
      router: router ? qualifiedName(this.#index, router) : routerId,
    };
    return { router: routerId, address, host: hostId, names, blocks, atMs };
  }
}

const ABOUT = { kind: 'server', id: 'flows' };

export function leaseTroubleText(trouble: string): string {
  return `flow database: which host has which ports of SNAT addresses is not written down (${trouble}); it is tried again, traffic goes on`;
}

type Holder = Pick<NatLease, 'router' | 'address' | 'host'>;

function nameOf({ router, address, host }: Holder): string {
  return `${router} ${address} ${host}`;
}

/** Of whom a change of a lease says something: also of the host that it left. */
function holdersOf(before: RecordChange['before'], after: RecordChange['after']): readonly Holder[] {
  const was = before?.kind === 'natLease' ? before : undefined;
  const is = after?.kind === 'natLease' ? after : undefined;
  return [...(is ? [is] : []), ...(was && was.host !== is?.host ? [was] : [])];
}
