import { append } from '../base/append.ts';
import type { Clock } from '../base/clock.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { LoadBalancer, MemberHealth } from '../model/objects.ts';
import { keepsForS } from '../model/serving.ts';
import type { RecordChange } from './desired-state.ts';
import { LearnedRoutes } from './learned-routes.ts';
import { LeasedRecords } from './leased-records.ts';
import type {
  HostHealth,
  PortState,
  Report,
  ReportedAddress,
  ReportedAttachment,
  ReportedClaim,
  ReportedKept,
  ReportedMember,
  ReportedNeighbour,
  ReportedNextHop,
  ReportedSession,
  ReportedVtep,
} from './protocol.ts';
import { MOST_KEPT_CLIENTS } from './protocol.ts';

/**
 * Runtime state: what changes by itself and hosts report. In memory only, leased to the host that reported it (a host
 * that is silent for `LEASE_MS` loses its learned addresses), and never a reason for the store to write.
 */

/**
 * A host without a request for so long is dead. An open watch proves nothing: with the cable pulled it stays open for a
 * quarter of an hour. Agents answer every heartbeat (5 s) with reports, if only with none.
 */
export const LEASE_MS = 10_000;
export const WAYS_LEASE_MS = 600_000;
/** A host that others have lost may still show that it lives, for so long. */
const GIVE_UP_MS = 1_500;
/** So long a host is connected before it takes an L2 gateway from one where it works: it has its connections by then. */
const SETTLE_MS = 5_000;
/** Two hosts that lose each other say so within this; it takes longer until one that is dead is lost (docs/design/liveness.md, §2). */
const SAME_MOMENT_MS = 250;

/** Spans of time are measured by the clock that nobody sets: only what is shown to people is wall time. */
export interface HostRuntime {
  /** Wall time. */
  lastSeenMs: number;
  /** The same, to be measured from. */
  heardMs: number;
  isAlive: boolean;
  /** Silent for so long that the ways out that it reported are gone, too. */
  isForgotten: boolean;
  /** Everything up to here is in the host's switch, as it last said. */
  applied: number;
  health?: HostHealth;
  readonly ports: Map<string, PortState>;
  /** Claims of ports that do not exist (yet). */
  readonly pendingClaims: Map<string, ReportedClaim>;
  /** Since when its agent is connected. */
  connectedMs: number;
  /** Hosts that do not answer it, and when that was first heard. */
  lostSinceMs: ReadonlyMap<string, number>;
  /** Hosts that answer it again, and when that was heard; for as long as it matters. */
  regainedMs: ReadonlyMap<string, number>;
  /** BGP sessions that it runs, by the peer's id. */
  sessions: ReadonlyMap<string, ReportedSession>;
  /** By the id of the L2 gateway or VTEP binding. */
  attachments: ReadonlyMap<string, ReportedAttachment>;
  vteps: ReadonlyMap<string, ReportedVtep>;
  counters: { readonly epochMs: number; readonly rules: Counters; readonly drops: Counters };
}

type Counters = Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>;
type CountersReport = Extract<Report, { type: 'counters' }>;

export class Runtime {
  readonly #index: ModelIndex;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #hosts = new Map<string, HostRuntime>();
  /** What agents counted before they restarted, per rule. */
  readonly #counted = new Map<string, { packets: number; bytes: number }>();
  /** Hosts that wait for a port to be created: port id → host ids. */
  readonly #awaited = new Map<string, Set<string>>();
  readonly #leased: LeasedRecords;
  readonly learnedRoutes: LearnedRoutes;

  constructor(index: ModelIndex, clock: Clock) {
    this.#index = index;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#leased = new LeasedRecords(index, clock);
    this.learnedRoutes = new LearnedRoutes(index, this.#leased);
  }

  /** The server is just back: hosts that live have had no time to say so. */
  get isYoung(): boolean {
    return this.#clock.monotonicMs() - this.#startedMs < LEASE_MS;
  }

  host(hostId: string): HostRuntime | undefined {
    return this.#hosts.get(hostId);
  }

  /** The host gave a sign of life. */
  seen(hostId: string): HostRuntime {
    const known = this.#hosts.get(hostId);
    if (known) {
      known.lastSeenMs = this.#clock.now();
      known.heardMs = this.#clock.monotonicMs();
      known.isAlive = true;
      known.isForgotten = false;
      return known;
    }
    const fresh: HostRuntime = {
      lastSeenMs: this.#clock.now(),
      heardMs: this.#clock.monotonicMs(),
      isAlive: true,
      isForgotten: false,
      applied: 0,
      ports: new Map(),
      pendingClaims: new Map(),
      connectedMs: this.#clock.monotonicMs(),
      lostSinceMs: new Map(),
      regainedMs: new Map(),
      sessions: new Map(),
      attachments: new Map(),
      vteps: new Map(),
      counters: { epochMs: 0, rules: {}, drops: {} },
    };
    this.#hosts.set(hostId, fresh);
    return fresh;
  }

  /** The host says which others do not answer it. */
  setLost(hostId: string, lost: readonly string[]): void {
    const host = this.seen(hostId);
    const now = this.#clock.monotonicMs();
    const former = host.lostSinceMs;
    host.lostSinceMs = new Map(lost.map((id) => [id, former.get(id) ?? now]));
    const regained = [...host.regainedMs].filter(([, ms]) => now - ms < 2 * SETTLE_MS);
    for (const id of former.keys()) if (!host.lostSinceMs.has(id)) regained.push([id, now]);
    host.regainedMs = new Map(regained);
  }

  /** The host's agent is connected anew. */
  connected(hostId: string): void {
    this.seen(hostId).connectedMs = this.#clock.monotonicMs();
  }

  /**
   * Is the host back long enough for what these have to tell its agent (src/agent/hold)? It was away while its agent was not connected, and while
   * they lost it: one that is powered on answers them before its agent is here, and all that is known of it here is from before.
   */
  isSettled(hostId: string, by: readonly string[]): boolean {
    const host = this.#hosts.get(hostId);
    const now = this.#clock.monotonicMs();
    if (host === undefined || now - host.connectedMs < SETTLE_MS) return false;
    return by.every((id) => {
      const other = this.#hosts.get(id);
      if (!other?.isAlive) return true;
      const regainedMs = other.regainedMs.get(hostId) ?? Number.NEGATIVE_INFINITY;
      return !other.lostSinceMs.has(hostId) && now - regainedMs >= SETTLE_MS && host.heardMs >= regainedMs;
    });
  }

  /** Hosts that may have become so a moment ago. */
  settling(): ReadonlySet<string> {
    const now = this.#clock.monotonicMs();
    const isRecent = (ms: number): boolean => now - ms < 2 * SETTLE_MS;
    const ids = new Set<string>();
    for (const [id, { connectedMs, regainedMs }] of this.#hosts) {
      if (isRecent(connectedMs)) ids.add(id);
      for (const [other, ms] of regainedMs) if (isRecent(ms)) ids.add(other);
    }
    return ids;
  }

  /** Hosts that others lost. */
  lostHosts(): ReadonlySet<string> {
    return new Set(
      [...this.#hosts.values()].flatMap(({ isAlive, lostSinceMs }) => (isAlive ? [...lostSinceMs.keys()] : [])),
    );
  }

  /**
   * Is the host dead as a whole? One of these (of all, without) says that it does not answer, and nothing was heard of it here since. A host that is only cut off from the
   * others notices that as soon as they do, and says so.
   */
  isGivenUp(hostId: string, by?: readonly string[]): boolean {
    return (by ?? [...this.#hosts.keys()]).some((id) => {
      const other = this.#hosts.get(id);
      const sinceMs = other?.isAlive ? other.lostSinceMs.get(hostId) : undefined;
      return sinceMs !== undefined && this.#isSilentSince(hostId, sinceMs);
    });
  }

  /** All hosts that are dead as a whole, by whoever lost them. */
  givenUp(): ReadonlySet<string> {
    const lost = [...this.#hosts.values()].flatMap(({ isAlive, lostSinceMs }) => (isAlive ? [...lostSinceMs] : []));
    return new Set(lost.flatMap(([hostId, sinceMs]) => (this.#isSilentSince(hostId, sinceMs) ? [hostId] : [])));
  }

  #isSilentSince(hostId: string, sinceMs: number): boolean {
    const heardMs = this.#hosts.get(hostId)?.heardMs ?? Number.NEGATIVE_INFINITY;
    return this.#clock.monotonicMs() - sinceMs >= GIVE_UP_MS && heardMs < sinceMs - SAME_MOMENT_MS;
  }

  /**
   * Hosts whose lease ended since the last call; what they reported is gone. Next hops and routes stay much longer: a host whose agent alone is
   * dead forwards on, and that a host is dead as a whole the others see for themselves (docs/design/liveness.md). Health of members stays: who was
   * found down is so until somebody says other. Routes go by `expireRoutes`: there may be too many to go at once.
   */
  expire(): { readonly dead: readonly string[]; readonly changes: readonly RecordChange[] } {
    const now = this.#clock.monotonicMs();
    const dead: string[] = [];
    const changes: RecordChange[] = [];
    for (const [id, host] of this.#hosts) {
      if (!host.isForgotten && now - host.heardMs >= WAYS_LEASE_MS) {
        host.isForgotten = true;
        append(changes, this.#leased.endAll(id, ['neighbour', 'nextHopState', 'keptClients']));
      }
      if (!host.isAlive || now - host.heardMs < LEASE_MS) continue;
      host.isAlive = false;
      host.sessions = new Map();
      host.attachments = new Map();
      dead.push(id);
      append(changes, this.#leased.endAll(id, ['learned']));
    }
    return { dead, changes };
  }

  /** Some routes of hosts that are forgotten; as long as there are any, there is more to do. */
  expireRoutes(most: number): readonly RecordChange[] {
    for (const [id, host] of this.#hosts) {
      const changes = host.isForgotten ? this.#leased.endSome(id, ['learnedRoutes', 'learnedSet'], most) : [];
      if (changes.length > 0) return changes;
    }
    return [];
  }

  /** The host was deleted. */
  drop(hostId: string): readonly RecordChange[] {
    const changes = this.forgetAll(hostId);
    for (const port of this.#hosts.get(hostId)?.pendingClaims.keys() ?? []) this.notAwaited(hostId, port);
    this.#hosts.delete(hostId);
    return changes;
  }

  /** Returns what changed, or undefined when the port is not one whose addresses are learned. */
  learn(hostId: string, { port: portId, vlan, mac }: ReportedAddress): readonly RecordChange[] | undefined {
    const port = this.#index.get('port', portId);
    if (!port || port.portSecurity) return undefined;
    const id = `${port.switch}/${vlan}/${mac}`;
    const device = port.switch;
    return this.#leased.put({ kind: 'learned', id, switch: device, port: portId, host: hostId, mac, vlan });
  }

  forget(hostId: string, { port: portId, vlan, mac }: ReportedAddress): readonly RecordChange[] {
    const port = this.#index.get('port', portId);
    if (!port) return [];
    const id = `${port.switch}/${vlan}/${mac}`;
    const learned = this.#index.get('learned', id);
    return learned?.port === portId ? this.#leased.end(hostId, 'learned', id) : [];
  }

  /** Everything that the host reported and nobody wrote. */
  forgetAll(hostId: string): readonly RecordChange[] {
    return this.#leased.endAll(hostId);
  }

  /** The host has these learned addresses and no others. */
  replaceLearned(hostId: string, addresses: readonly ReportedAddress[]): readonly RecordChange[] {
    const keep = new Set<string>();
    const changes: RecordChange[] = [];
    for (const address of addresses) {
      const port = this.#index.get('port', address.port);
      if (!port) continue;
      const id = `${port.switch}/${address.vlan}/${address.mac}`;
      keep.add(id);
      // What another host reported since is there, not here: this list is older news.
      if (this.#isElsewhere(hostId, 'learned', id)) continue;
      append(changes, this.learn(hostId, address) ?? []);
    }
    return [...this.#leased.endAll(hostId, ['learned'], keep), ...changes];
  }

  /** Returns what changed, or undefined when the port is no member of the balancer. */
  setMemberHealth(hostId: string, { loadBalancer, port, up }: ReportedMember): readonly RecordChange[] | undefined {
    const balancer = this.#index.get('loadBalancer', loadBalancer);
    if (!balancer?.members.some((member) => member.port === port)) return undefined;
    const id = `${loadBalancer}/${port}`;
    return this.#leased.put({ kind: 'memberHealth', id, loadBalancer, port, host: hostId, up });
  }

  endMemberHealth(hostId: string, loadBalancer: string, port: string): readonly RecordChange[] {
    return this.#leased.end(hostId, 'memberHealth', `${loadBalancer}/${port}`);
  }

  /** What the host knows of all its members. Of others it may know nothing yet: what was known of them holds. */
  tellMemberHealth(hostId: string, members: readonly ReportedMember[]): readonly RecordChange[] {
    return members.flatMap((member) =>
      this.#isElsewhere(hostId, 'memberHealth', `${member.loadBalancer}/${member.port}`)
        ? []
        : (this.setMemberHealth(hostId, member) ?? []),
    );
  }

  /** Returns what changed, or undefined where the balancer keeps no clients, these are too many, or not of its members and its version of IP. */
  setKeptClients(hostId: string, { loadBalancer, members }: ReportedKept): readonly RecordChange[] | undefined {
    const id = `${loadBalancer}/${hostId}`;
    const balancer = this.#index.get('loadBalancer', loadBalancer);
    if (members.length === 0) return this.#leased.end(hostId, 'keptClients', id);
    if (!balancer || !areOf(balancer, members)) return undefined;
    const nowS = Math.ceil(this.#clock.now() / 1000);
    // The later word holds: nobody has seen a client in the future.
    const clamped = members.map(({ port, clients }) => ({
      port,
      clients: Object.fromEntries(Object.entries(clients).map(([client, seenS]) => [client, Math.min(seenS, nowS)])),
    }));
    return this.#leased.put({ kind: 'keptClients', id, loadBalancer, host: hostId, members: clamped });
  }

  replaceKeptClients(hostId: string, kept: readonly ReportedKept[]): readonly RecordChange[] {
    const keep = new Set(kept.map(({ loadBalancer }) => `${loadBalancer}/${hostId}`));
    const changes = kept.flatMap((each) => this.setKeptClients(hostId, each) ?? []);
    return [...this.#leased.endAll(hostId, ['keptClients'], keep), ...changes];
  }

  /** Returns what changed, or undefined when the port is not on the switch. */
  setNeighbour(hostId: string, reported: ReportedNeighbour): readonly RecordChange[] | undefined {
    const { switch: device, address, mac, port } = reported;
    if (this.#index.get('port', port)?.switch !== device) return undefined;
    // Where a port's own address is, is known; nobody's word changes that.
    if (this.#index.isAddressUsed(device, address)) return [];
    const id = `${device}/${address}`;
    return this.#leased.put({ kind: 'neighbour', id, switch: device, address, mac, port, host: hostId });
  }

  endNeighbour(hostId: string, device: string, address: string): readonly RecordChange[] {
    return this.#leased.end(hostId, 'neighbour', `${device}/${address}`);
  }

  replaceNeighbours(hostId: string, neighbours: readonly ReportedNeighbour[]): readonly RecordChange[] {
    const keep = new Set(neighbours.map(({ switch: device, address }) => `${device}/${address}`));
    const changes = neighbours.flatMap((neighbour) =>
      this.#isElsewhere(hostId, 'neighbour', `${neighbour.switch}/${neighbour.address}`)
        ? []
        : (this.setNeighbour(hostId, neighbour) ?? []),
    );
    return [...this.#leased.endAll(hostId, ['neighbour'], keep), ...changes];
  }

  /** Returns what changed, or undefined when the router probes no such next hop. */
  setNextHop(hostId: string, { router, address, up, sinceMs }: ReportedNextHop): readonly RecordChange[] | undefined {
    const isProbed = this.#index.get('router', router)?.routes.some(({ via, probe }) => probe && via === address);
    if (!isProbed) return undefined;
    const id = `${router}/${address}/${hostId}`;
    return this.#leased.put({ kind: 'nextHopState', id, router, address, host: hostId, up, sinceMs });
  }

  endNextHop(hostId: string, router: string, address: string): readonly RecordChange[] {
    return this.#leased.end(hostId, 'nextHopState', `${router}/${address}/${hostId}`);
  }

  replaceNextHops(hostId: string, hops: readonly ReportedNextHop[]): readonly RecordChange[] {
    const keep = new Set(hops.map(({ router, address }) => `${router}/${address}/${hostId}`));
    const changes = hops.flatMap((hop) => this.setNextHop(hostId, hop) ?? []);
    return [...this.#leased.endAll(hostId, ['nextHopState'], keep), ...changes];
  }

  #isElsewhere(hostId: string, kind: 'learned' | 'memberHealth' | 'neighbour', id: string): boolean {
    const record = this.#index.get(kind, id);
    return record !== undefined && record.host !== hostId;
  }

  /**
   * What a written change takes away with it: learned addresses of a port that is gone or has port security now,
   * neighbours behind it, clients that a balancer keeps no more, the health of what is no longer a member, is not asked, or is on no host, states of next hops that are not probed any more, and routes of a router that
   * speaks BGP no more.
   */
  followChange({ before, after }: RecordChange): readonly RecordChange[] {
    if (before?.kind === 'port') {
      const isGone = after?.kind !== 'port';
      const neighbours = isGone ? [...this.#index.neighboursOf(before.switch)] : [];
      const learned = isGone || after.portSecurity ? [...this.#index.learnedOf(before.switch)] : [];
      return this.#leased.remove([...neighbours, ...learned].filter((record) => record.port === before.id));
    }
    if (before?.kind === 'loadBalancer') {
      const members = after?.kind === 'loadBalancer' && after.health ? after.members.map(({ port }) => port) : [];
      const health = [...this.#index.healthOf(before.id)];
      const kept =
        after?.kind === 'loadBalancer' && keepsAlike(before, after) ? [] : this.#index.keptClientsOf(before.id);
      return this.#leased.remove([...health.filter(({ port }) => !members.includes(port)), ...kept]);
    }
    if (before?.kind === 'binding')
      return after?.kind === 'binding' && after.active !== undefined
        ? []
        : this.#leased.remove(this.#healthOfPort(before.id));
    if (before?.kind !== 'router') return [];
    const routes = after?.kind === 'router' ? after.routes : [];
    const states = [...this.#index.nextHopStatesOf(before.id)].filter(
      ({ address }) => !routes.some(({ via, probe }) => probe && via === address),
    );
    const speaksNoMore = before.bgp !== undefined && !(after?.kind === 'router' && after.bgp !== undefined);
    return this.#leased.remove([...states, ...(speaksNoMore ? this.#index.learnedOfRouter(before.id) : [])]);
  }

  #healthOfPort(port: string): MemberHealth[] {
    return [...this.#index.referrersOf('port', port)].flatMap(({ kind, id }) => {
      const health = kind === 'loadBalancer' ? this.#index.get('memberHealth', `${id}/${port}`) : undefined;
      return health ? [health] : [];
    });
  }

  /** The session of a peer on each host that runs it, by host. */
  sessionsOf(peerId: string): readonly { readonly host: string; readonly session: ReportedSession }[] {
    return [...this.#hosts].flatMap(([host, { sessions }]) => {
      const session = sessions.get(peerId);
      return session ? [{ host, session }] : [];
    });
  }

  setCounters(hostId: string, { epochMs, rules, drops = {} }: CountersReport): void {
    const host = this.seen(hostId);
    if (host.counters.epochMs !== epochMs)
      for (const [rule, { packets, bytes }] of Object.entries(host.counters.rules)) {
        if (!this.#index.get('rule', rule)) continue;
        const sum = this.#counted.get(rule) ?? { packets: 0, bytes: 0 };
        this.#counted.set(rule, { packets: sum.packets + packets, bytes: sum.bytes + bytes });
      }
    host.counters = { epochMs, rules, drops };
  }

  /** What a host has dropped since its agent started, by `reason` or `reason kind/id`. */
  dropsAt(hostId: string): Counters {
    return this.#hosts.get(hostId)?.counters.drops ?? {};
  }

  /** Of all hosts, since the server started. */
  ruleTotals(ruleId: string): { readonly packets: number; readonly bytes: number } {
    const total = { ...(this.#counted.get(ruleId) ?? { packets: 0, bytes: 0 }) };
    for (const host of this.#hosts.values()) {
      const own = host.counters.rules[ruleId];
      total.packets += own?.packets ?? 0;
      total.bytes += own?.bytes ?? 0;
    }
    return total;
  }

  /** The port was deleted: nobody has a state of it. */
  dropPort(portId: string): void {
    for (const host of this.#hosts.values()) host.ports.delete(portId);
  }

  forgetRule(ruleId: string): void {
    this.#counted.delete(ruleId);
  }

  /** The host has an interface for a port that does not exist: should it be created, the claim counts. */
  awaitPort(hostId: string, claim: ReportedClaim): void {
    const host = this.#hosts.get(hostId);
    if (!host) return; // deleted, or not back since our restart: then it tells all its claims
    host.pendingClaims.set(claim.port, claim);
    const waiting = this.#awaited.get(claim.port) ?? new Set();
    this.#awaited.set(claim.port, waiting.add(hostId));
  }

  notAwaited(hostId: string, portId: string): void {
    this.#hosts.get(hostId)?.pendingClaims.delete(portId);
    const waiting = this.#awaited.get(portId);
    waiting?.delete(hostId);
    if (waiting?.size === 0) this.#awaited.delete(portId);
  }

  /** The claims that wait for the port to be created. */
  awaitedClaims(portId: string): readonly { readonly host: string; readonly claim: ReportedClaim }[] {
    return [...(this.#awaited.get(portId) ?? [])].flatMap((host) => {
      const claim = this.#hosts.get(host)?.pendingClaims.get(portId);
      return claim ? [{ host, claim }] : [];
    });
  }

  /** The same; they wait no longer. */
  takeAwaited(portId: string): readonly { readonly host: string; readonly claim: ReportedClaim }[] {
    const claims = this.awaitedClaims(portId);
    for (const host of [...(this.#awaited.get(portId) ?? [])]) this.notAwaited(host, portId);
    return claims;
  }
}

/** May it keep these clients? */
function areOf(balancer: LoadBalancer, members: ReportedKept['members']): boolean {
  const isV6 = balancer.address.includes(':');
  const ports = new Set(balancer.members.map(({ port }) => port));
  const clients = members.flatMap((member) => Object.keys(member.clients));
  return (
    keepsForS(balancer) !== undefined &&
    clients.length <= MOST_KEPT_CLIENTS &&
    new Set(clients).size === clients.length &&
    clients.every((client) => client.includes(':') === isV6) &&
    members.every(({ port }) => ports.has(port))
  );
}

/** Who was a client of the one is one of the other. */
function keepsAlike(before: LoadBalancer, after: LoadBalancer): boolean {
  return keepsForS(after) !== undefined && before.address === after.address;
}
