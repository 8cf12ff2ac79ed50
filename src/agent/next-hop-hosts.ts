import { formatIp, parseIp } from '../base/addresses.ts';
import type { LearnedSet, ScopeKind } from '../model/objects.ts';
import type { AgentEvent, Effect, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';
import type { WatchedHost } from './liveness/host-watch.ts';
import { portTowards } from './router-addresses.ts';

/** Kinds of which any record may say where a next hop is. */
const ABOUT: ReadonlySet<ScopeKind> = new Set<ScopeKind>([
  'router',
  'routerPort',
  'loadBalancer',
  'host',
  'neighbour',
  'l2Gateway',
  'vtep',
]);
/** Next hops that nobody learns any more may be watched for so long. */
const FORGET_INTERVAL_MS = 10_000;
/** So long a start waits at most for what is found out about them. */
const START_GRACE_MS = 1_000;

/**
 * Other hosts behind which next hops of our routers are, that have members of balancers, or that are places of the same L2 gateway: those whose
 * lives matter here (docs/design/liveness.md). As the flows have it: the host that heard the next hop, else the only one with an active port of
 * its switch, else those that learned it; that where the member is active.
 */
export class NextHopHosts {
  readonly #ground: Ground;
  /** Router → next hop → hosts that learned it. */
  #learned = new Map<string, Map<string, Set<string>>>();
  /** Switches with next hops. */
  #switches = new Set<string>();
  /** Ports that are members of balancers. */
  #members = new Set<string>();
  #isOld = true;
  #isLearnedOld = false;
  #countedMs = 0;
  #told = '';
  readonly #startedMs: number;
  /** At a start: whether they live is not known yet, and packets must not be led back to those that were known to be dead. */
  isAwaited = false;
  /** Those that do not answer. */
  lost: readonly string[] = [];

  constructor(ground: Ground, startedMs: number) {
    this.#ground = ground;
    this.#startedMs = startedMs;
  }

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    const isFirst = this.#told === '';
    for (const { op, record } of changes) {
      if (record.kind === 'learnedSet') {
        if (op === 'delete') this.#isLearnedOld = true;
        else this.#learn(record as LearnedSet);
      } else if (ABOUT.has(record.kind)) this.#isOld = true;
      // One that is deleted says no more of its switch.
      else if (
        record.kind === 'binding' &&
        (!('switch' in record) || this.#switches.has(record.switch) || this.#members.has(record.id))
      )
        this.#isOld = true;
    }
    return isFirst ? this.tick(nowMs) : [];
  }

  #learn({ router, host, via }: LearnedSet): void {
    const hops = this.#learned.get(router) ?? new Map<string, Set<string>>();
    this.#learned.set(router, hops);
    for (const { address } of via) {
      const hosts = hops.get(address);
      if (hosts?.has(host)) continue;
      this.#isOld = true;
      if (hosts) hosts.add(host);
      else hops.set(address, new Set([host]));
    }
  }

  /** Not with every change: some come in thousands. */
  tick(nowMs: number): Effect[] {
    if (this.#isLearnedOld && nowMs - this.#countedMs >= FORGET_INTERVAL_MS) {
      this.#isLearnedOld = false;
      this.#isOld = true;
      this.#countedMs = nowMs;
      this.#learned = new Map();
      for (const set of this.#ground.scope.all('learnedSet')) this.#learn(set);
    }
    const isStart = nowMs - this.#startedMs < START_GRACE_MS;
    if (!isStart) this.isAwaited = false;
    if (!this.#isOld) return [];
    this.#isOld = false;
    const { scope, host: self } = this.#ground;
    const own = self === undefined ? undefined : scope.host(self);
    const found = new Map<string, WatchedHost>();
    for (const id of own ? [...this.#hosts(), ...this.#hostsOfMembers(), ...this.#otherPlaces()] : []) {
      const host = id === self ? undefined : scope.host(id);
      if (host?.zone === own!.zone) found.set(id, { host: id, address: host!.tunnelAddress });
    }
    const hosts = [...found.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
    const told = JSON.stringify([own?.tunnelAddress, hosts]);
    if (told === this.#told) return [];
    this.#told = told;
    this.isAwaited = isStart && hosts.length > 0;
    return [{ kind: 'watchHosts', own: own?.tunnelAddress, hosts }];
  }

  /** The sockets have news of them. */
  told({ lost, isSettled }: AgentEvent & { readonly kind: 'hosts' }): Effect[] {
    if (isSettled) this.isAwaited = false;
    const before = this.lost;
    this.lost = lost;
    const gone = lost.filter((id) => !before.includes(id));
    const back = before.filter((id) => !lost.includes(id));
    const say = (level: 'info' | 'warn', message: string, id: string): Effect => {
      return { kind: 'log', level, message, fields: { host: this.#ground.scope.host(id)?.name ?? id } };
    };
    return [
      ...this.#ground.compile([
        ...gone.map((id) => ({ op: 'put', record: { kind: 'hostLost', id } }) as const),
        ...back.map((id) => ({ op: 'delete', kind: 'hostLost', id }) as const),
      ]),
      ...gone.map((id) =>
        say(
          'warn',
          'a host with next hops or members of balancers does not answer: others are used where there are any',
          id,
        ),
      ),
      ...back.map((id) => say('info', 'a host with next hops or members of balancers answers again', id)),
    ];
  }

  #hosts(): Set<string> {
    const { scope } = this.#ground;
    const hops: { readonly onSwitch: string; readonly address: string; readonly toldBy: Iterable<string> }[] = [];
    const add = (router: string, via: string | undefined, toldBy: Iterable<string>): void => {
      const ip = via === undefined ? undefined : parseIp(via);
      const onSwitch = ip && portTowards(scope, router, ip)?.switch;
      if (onSwitch !== undefined) hops.push({ onSwitch, address: formatIp(ip!), toldBy });
    };
    for (const { id, routes } of scope.all('router')) for (const { via } of routes) add(id, via, []);
    for (const [router, learned] of this.#learned) for (const [via, hosts] of learned) add(router, via, hosts);
    this.#switches = new Set(hops.map(({ onSwitch }) => onSwitch));
    const active = this.#activeHosts();
    const found = new Set<string>();
    for (const { onSwitch, address, toldBy } of hops) {
      const heard = scope.get('neighbour', `${onSwitch}/${address}`)?.host;
      const own = active.get(onSwitch);
      if (heard !== undefined) found.add(heard);
      else for (const host of own?.size === 1 ? own : toldBy) found.add(host);
    }
    return found;
  }

  #hostsOfMembers(): string[] {
    const { scope } = this.#ground;
    const balancers = [...scope.all('loadBalancer')].filter(({ adminUp }) => adminUp);
    this.#members = new Set(balancers.flatMap(({ members }) => members.map(({ port }) => port)));
    return [...this.#members].flatMap((port) => scope.binding(port)?.active ?? []);
  }

  /** Of L2 gateways and VTEPs that this host is a place of: who of them is dead the others find out. */
  #otherPlaces(): string[] {
    const { scope } = this.#ground;
    return [...scope.all('l2Gateway'), ...scope.all('vtep')].flatMap(({ places }) => places.map(({ host }) => host));
  }

  #activeHosts(): Map<string, Set<string>> {
    const active = new Map<string, Set<string>>();
    for (const binding of this.#switches.size === 0 ? [] : this.#ground.scope.all('binding')) {
      if (binding.active === undefined || !this.#switches.has(binding.switch)) continue;
      const hosts = active.get(binding.switch);
      if (hosts) hosts.add(binding.active);
      else active.set(binding.switch, new Set([binding.active]));
    }
    return active;
  }
}
