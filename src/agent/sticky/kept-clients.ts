import { ZONE_KIND } from '../../compile/translation.ts';
import type { KeptClients as KeptRecord, LoadBalancer, ScopeKind } from '../../model/objects.ts';
import { keepingMembers, keepsForS, memberStates, openListeners, type ServingView } from '../../model/serving.ts';
import { shares } from '../../model/shares.ts';
import { MOST_KEPT_CLIENTS, type ReportedKept } from '../../server/protocol.ts';
import type { ClientPlace, ClientsOfBalancers } from '../connections/clients-seen.ts';
import type { Effect, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import type { Zones } from '../zones.ts';
import { ClientMemory } from './client-memory.ts';

/** What the records of these kinds say decides where slots lead, and who is kept. */
const ABOUT_SLOTS: ReadonlySet<ScopeKind> = new Set([
  ...(['loadBalancer', 'memberHealth', 'keptClients', 'binding', 'port'] as const),
]);
/** Clients whose time is over are taken out so often. */
const SWEEP_MS = 5_000;
/** When a client was seen is told again after such a part of the time for which it is kept, and not more often than it is looked for. */
const AGAIN_PART = 4;

interface Told {
  readonly member: string;
  readonly seenS: number;
}

type Elsewhere = ReadonlyMap<string, Told & { readonly host: string }>;

interface Watched {
  /** Clients are those of one address. */
  readonly address: string;
  readonly memory: ClientMemory;
  /** By client; what the record of this host says. */
  told: ReadonlyMap<string, Told>;
  /** Who has each slot, and of whom that was reckoned. */
  slots: { readonly of: string; readonly owners: readonly string[] };
  /** Clients that other hosts keep, and for what that was reckoned: many hosts may have thousands, and nearly every change asks. */
  elsewhere?: { readonly of: string; readonly clients: Elsewhere };
}

/**
 * Clients of balancers with `stickyS` (docs/design/layer3.md, §8, "Kept clients"): who has which member is seen whenever connection tracking is read, which
 * happens anyway. When slots move, those that would change their member are told the server, and kept by flows on all hosts until they were not seen for
 * that long.
 *
 *     connections ─▶ ClientMemory ─┬─▶ slot leads there: nothing
 *                                  └─▶ it does not ─▶ keptClients record ─▶ flows everywhere
 */
export class KeptClients {
  readonly #ground: Ground;
  readonly #zones: Zones;
  readonly #lost: () => readonly string[];
  readonly #watched = new Map<string, Watched>();
  #sweptMs = 0;

  /** `lost`: hosts that do not answer this one. */
  constructor(ground: Ground, zones: Zones, lost: () => readonly string[]) {
    this.#ground = ground;
    this.#zones = zones;
    this.#lost = lost;
  }

  /** Of which it should be told who has a connection. */
  *places(): Iterable<ClientPlace> {
    const { scope, interfaces } = this.#ground;
    const balancers = this.#balancers();
    if (balancers.length === 0) return;
    const here = [...this.#zones.entries()].flatMap(([owner, zone]) => {
      const port = interfaces.get(owner) ? scope.port(owner) : undefined;
      return port ? [{ owner, zone, onSwitch: port.switch }] : [];
    });
    const inner = Map.groupBy(
      [...scope.all('routerPort')].filter(({ outside }) => !outside),
      ({ router }) => router,
    );
    for (const balancer of balancers) {
      const { router } = balancer;
      // Whose workloads reach the virtual address by themselves.
      const inside = new Set(
        router === undefined ? [balancer.switch] : (inner.get(router) ?? []).map((port) => port.switch),
      );
      const ports = new Set(balancer.members.map(({ port }) => port));
      const addressOf = (port: string): string | undefined => {
        const isV6 = balancer.address.includes(':');
        return scope.port(port)?.addresses.find((each) => each.includes(':') === isV6);
      };
      const listeners = openListeners(balancer);
      const members = new Map<string, string>();
      for (const port of ports) {
        const address = addressOf(port);
        if (address !== undefined && !members.has(address)) members.set(address, port);
      }
      for (const { owner, zone, onSwitch } of here) {
        if (!ports.has(owner) && !inside.has(onSwitch)) continue;
        const own = ports.has(owner) ? addressOf(owner) : undefined;
        yield {
          ...{ owner, loadBalancer: balancer.id, zone: zone + ZONE_KIND.vip, address: balancer.address, listeners },
          members: own === undefined ? members : new Map([...members, [own, owner]]),
        };
      }
    }
  }

  /** Connections were read. */
  told(seen: ClientsOfBalancers, nowMs: number): Effect[] {
    const view = this.#view();
    return this.#balancers().flatMap((balancer) => {
      const connections = seen.has(balancer.id) ? seen.get(balancer.id) : [];
      // Not all was read: nobody has gone for that.
      if (connections === undefined) return [];
      if (connections.length === 0 && !this.#watched.has(balancer.id)) return [];
      const watched = this.#watchedOf(balancer);
      const may = this.#mayKeep(balancer, view);
      const elsewhere = this.#elsewhere(balancer, watched, may);
      watched.memory.read(connections, nowMs, may, (client) => elsewhere.get(client)?.member);
      return this.#judge(balancer, watched, view, nowMs);
    });
  }

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    if (!changes.some(({ record }) => ABOUT_SLOTS.has(record.kind))) return [];
    const effects = this.#dropOthers();
    for (const { op, record } of changes) {
      if (record.kind !== 'keptClients') continue;
      // `<balancer>/<host>`: of what is gone no more is told.
      delete this.#watched.get(record.id.split('/')[0]!)?.elsewhere;
      if (op === 'put') this.#adopt(record as KeptRecord);
    }
    // To look through thousands of clients is much for each port that comes somewhere. `<balancer>/<member or host>`, or the id itself:
    const about = new Set(
      changes.flatMap(({ record }) => (ABOUT_SLOTS.has(record.kind) ? [record.id.split('/')[0]!] : [])),
    );
    const isAbout = ({ id, members }: LoadBalancer): boolean =>
      about.has(id) || members.some(({ port }) => about.has(port));
    return [...effects, ...this.#judgeAll(nowMs, isAbout)];
  }

  /** Hosts are lost, or back. */
  hostsTold(nowMs: number): Effect[] {
    return this.#judgeAll(nowMs);
  }

  tick(nowMs: number): Effect[] {
    if (nowMs - this.#sweptMs < SWEEP_MS) return [];
    this.#sweptMs = nowMs;
    return this.#judgeAll(nowMs);
  }

  /** All that the server has to know. */
  all(): ReportedKept[] {
    return [...this.#watched].flatMap(([loadBalancer, { told }]) =>
      told.size === 0 ? [] : [{ loadBalancer, members: membersOf(told) }],
    );
  }

  /** Is there anything to say of? A server that knows no `stickyS` need not be told of clients. */
  get isUsed(): boolean {
    return this.#balancers().length > 0;
  }

  #balancers(): LoadBalancer[] {
    return [...this.#ground.scope.all('loadBalancer')].filter((balancer) => keepsForS(balancer) !== undefined);
  }

  #watchedOf({ id, address }: LoadBalancer): Watched {
    const known = this.#watched.get(id);
    if (known?.address === address) return known;
    const memory = new ClientMemory(MOST_KEPT_CLIENTS);
    const fresh: Watched = { address, memory, told: new Map(), slots: { of: '', owners: [] } };
    this.#watched.set(id, fresh);
    return fresh;
  }

  /** Balancers that keep nobody any more, or have another address, or are out of scope: then the server does not know that nobody here says any more of them. */
  #dropOthers(): Effect[] {
    const { scope } = this.#ground;
    return [...this.#watched].flatMap(([id, { address, told }]) => {
      const balancer = scope.get('loadBalancer', id);
      if (balancer?.address === address && keepsForS(balancer) !== undefined) return [];
      this.#watched.delete(id);
      return told.size === 0 ? [] : this.#ground.report([{ type: 'keptClients', loadBalancer: id, members: [] }]);
    });
  }

  /** What an earlier run of this agent said. */
  #adopt({ host, loadBalancer: id, members }: KeptRecord): void {
    const balancer = this.#ground.scope.get('loadBalancer', id);
    if (host !== this.#ground.host || !balancer || keepsForS(balancer) === undefined || this.#watched.has(id)) return;
    const watched = this.#watchedOf(balancer);
    for (const { port: member, clients } of members)
      for (const [address, seenS] of Object.entries(clients))
        watched.memory.adopt({ address, member, seenMs: seenS * 1000 });
    watched.told = toldOf(members);
  }

  #judgeAll(nowMs: number, isDue: (balancer: LoadBalancer) => boolean = () => true): Effect[] {
    if (this.#watched.size === 0) return [];
    const due = this.#balancers().filter((balancer) => this.#watched.has(balancer.id) && isDue(balancer));
    if (due.length === 0) return [];
    const view = this.#view();
    return due.flatMap((balancer) => this.#judge(balancer, this.#watched.get(balancer.id)!, view, nowMs));
  }

  #judge(balancer: LoadBalancer, watched: Watched, view: ServingView, nowMs: number): Effect[] {
    const { host } = this.#ground;
    const forMs = keepsForS(balancer)! * 1000;
    const { memory } = watched;
    const may = this.#mayKeep(balancer, view);
    const elsewhere = this.#elsewhere(balancer, watched, may);
    memory.forgetBefore(nowMs - forMs);
    memory.leave(({ address, member }) => {
      if (!may.has(member)) return true;
      const other = elsewhere.get(address);
      if (!other || other.member === member) return false;
      const own = watched.told.get(address);
      return !own || isLater(other, { seenS: own.seenS, host: host ?? '' });
    });
    const owners = this.#owners(balancer, watched, view);
    const kept = new Map<string, Told>();
    for (const { address, member, seenMs, slotBits } of memory.clients())
      if (owners[slotBits % balancer.slots] !== member) kept.set(address, { member, seenS: Math.floor(seenMs / 1000) });
    const againS = Math.max(SWEEP_MS, forMs / AGAIN_PART) / 1000;
    return areSame(watched.told, kept, againS) ? this.#correct(balancer, watched) : this.#tell(balancer, watched, kept);
  }

  #tell({ id: loadBalancer }: LoadBalancer, watched: Watched, kept: ReadonlyMap<string, Told>): Effect[] {
    const { host, scope } = this.#ground;
    if (host === undefined) return [];
    watched.told = kept;
    const id = `${loadBalancer}/${host}`;
    const members = membersOf(kept);
    const effects = this.#ground.report([{ type: 'keptClients', loadBalancer, members }]);
    if (kept.size > 0)
      return [
        ...effects,
        ...this.#ground.overlay({ kind: 'keptClients', id, revision: -1, loadBalancer, host, members }),
      ];
    const record = scope.get('keptClients', id);
    if (!record) return effects;
    scope.apply([{ op: 'delete', record }]);
    return [...effects, ...this.#ground.compile([{ op: 'delete', kind: 'keptClients', id }])];
  }

  /** The server forgot what this host told. */
  #correct(balancer: LoadBalancer, watched: Watched): Effect[] {
    const record = this.#ground.scope.get('keptClients', `${balancer.id}/${this.#ground.host}`);
    return watched.told.size > 0 && !record ? this.#tell(balancer, watched, watched.told) : [];
  }

  #mayKeep(balancer: LoadBalancer, view: ServingView): ReadonlySet<string> {
    return keepingMembers(view, balancer, (host) => this.#lost().includes(host));
  }

  #view(): ServingView {
    const { scope } = this.#ground;
    const health = Map.groupBy(scope.all('memberHealth'), ({ loadBalancer }) => loadBalancer);
    return {
      get: (kind, id) => scope.get(kind, id),
      bindingOf: (port) => scope.binding(port),
      healthOf: (id) => health.get(id) ?? [],
    };
  }

  /** The member's port by slot. */
  #owners(balancer: LoadBalancer, watched: Watched, view: ServingView): readonly string[] {
    const states = memberStates(view, balancer, (host) => this.#lost().includes(host));
    const serving = balancer.members.filter(({ port }) => states.get(port) === 'serving');
    const entries = serving.map(({ port, weight }) => ({ id: port, weight }));
    const of = JSON.stringify([balancer.slots, entries]);
    if (watched.slots.of !== of) watched.slots = { of, owners: shares(entries, balancer.slots) };
    return watched.slots.owners;
  }

  /** Clients that other hosts keep, where they were seen last. */
  #elsewhere({ id }: LoadBalancer, watched: Watched, may: ReadonlySet<string>): Elsewhere {
    const of = JSON.stringify([this.#ground.host, ...[...may].sort()]);
    if (watched.elsewhere?.of === of) return watched.elsewhere.clients;
    const found = new Map<string, Told & { readonly host: string }>();
    for (const record of this.#ground.scope.all('keptClients')) {
      const { host, loadBalancer, members } = record;
      if (loadBalancer !== id || host === this.#ground.host) continue;
      for (const [address, told] of toldOf(members)) {
        const known = found.get(address);
        if (may.has(told.member) && (!known || isLater({ ...told, host }, known)))
          found.set(address, { ...told, host });
      }
    }
    watched.elsewhere = { of, clients: found };
    return found;
  }
}

function isLater(
  one: { readonly seenS: number; readonly host: string },
  other: { readonly seenS: number; readonly host: string },
): boolean {
  return one.seenS > other.seenS || (one.seenS === other.seenS && one.host < other.host);
}

/** The same clients at the same members, and nobody was seen so much later. */
function areSame(told: ReadonlyMap<string, Told>, kept: ReadonlyMap<string, Told>, againS: number): boolean {
  if (told.size !== kept.size) return false;
  for (const [client, { member, seenS }] of kept) {
    const known = told.get(client);
    if (known?.member !== member || seenS - known.seenS >= againS) return false;
  }
  return true;
}

function membersOf(kept: ReadonlyMap<string, Told>): KeptRecord['members'] {
  const byMember = new Map<string, Record<string, number>>();
  for (const [client, { member, seenS }] of kept) {
    const clients = byMember.get(member) ?? {};
    byMember.set(member, clients);
    clients[client] = seenS;
  }
  return [...byMember].map(([port, clients]) => ({ port, clients })).sort((a, b) => (a.port < b.port ? -1 : 1));
}

function toldOf(members: KeptRecord['members']): ReadonlyMap<string, Told> {
  return new Map(
    members.flatMap(({ port, clients }) =>
      Object.entries(clients).map(([client, seenS]) => [client, { member: port, seenS }] as const),
    ),
  );
}
