import { formatCidr, parseCidr } from '../base/addresses.ts';
import { KIND_NAMES } from './kind.ts';
import { MultiIndex, NestedIndex } from './multi-index.ts';
import type {
  BgpPeer,
  Binding,
  FloatingAddress,
  Host,
  KeptClients,
  L2Gateway,
  LearnedAddress,
  LearnedHop,
  LearnedRoutes,
  LearnedSet,
  LoadBalancer,
  LogicalPort,
  MemberHealth,
  Mirror,
  NatLease,
  NatMove,
  Neighbour,
  NextHopState,
  Outside,
  RouterPort,
  Rule,
  ScopeKind,
  ScopeRecord,
  ScopeRecordOfKind,
  Vtep,
  VtepBinding,
} from './objects.ts';
import { blockOf, livingHops, packedSetOf, routesIn } from './packed-routes.ts';
import { heldBy, type Relation, RUNTIME_KINDS } from './relations.ts';

/** A route that a gateway learned, by itself. */
export interface LearnedRoute {
  readonly router: string;
  /** As `formatCidr` writes it. */
  readonly to: string;
  readonly host: string;
  /** Those to which packets can go: maybe none. */
  readonly via: readonly LearnedHop[];
}

/** A whole model in memory, to be read: what `simulate`, the rules and the server's scope work on. */
export interface ModelView {
  get<K extends ScopeKind>(kind: K, id: string): ScopeRecordOfKind[K] | undefined;
  /** In the order of creation. */
  all<K extends ScopeKind>(kind: K): Iterable<ScopeRecordOfKind[K]>;
  count(kind: ScopeKind): number;
  portsOfSwitch(switchId: string): Iterable<LogicalPort>;
  /** From the lowest position up. */
  rulesOfChain(chainId: string): readonly Rule[];
  bindingOf(portId: string): Binding | undefined;
  learnedOf(switchId: string): Iterable<LearnedAddress>;
  neighboursOf(switchId: string): Iterable<Neighbour>;
  routerPortsOfRouter(routerId: string): Iterable<RouterPort>;
  routerPortsOfSwitch(switchId: string): Iterable<RouterPort>;
  /** The router port that names this one as its peer. */
  peersOf(routerPortId: string): Iterable<RouterPort>;
  floatingAddressesOfRouter(routerId: string): Iterable<FloatingAddress>;
  loadBalancersOf(deviceId: string): Iterable<LoadBalancer>;
  portsOfGroup(groupId: string): Iterable<LogicalPort>;
  /** Mirrors that name the port or switch, as a source or as where the copies go. */
  mirrorsOf(portOrSwitchId: string): Iterable<Mirror>;
  leasesOfRouter(routerId: string): Iterable<NatLease>;
  natMovesOfRouter(routerId: string): Iterable<NatMove>;
  healthOf(loadBalancerId: string): Iterable<MemberHealth>;
  /** Clients whose slots do not lead to the members that they keep, as each host has them. */
  keptClientsOf(loadBalancerId: string): Iterable<KeptClients>;
  bgpPeersOfRouter(routerId: string): Iterable<BgpPeer>;
  /** Those whose session runs at the router port. */
  bgpPeersAt(routerPortId: string): Iterable<BgpPeer>;
  /** Records of what gateways learned of the router. */
  learnedOfRouter(routerId: string): Iterable<LearnedSet | LearnedRoutes>;
  /** Each route of each gateway by itself, unpacked while it is asked for. */
  learnedRoutesOf(routerId: string): Iterable<LearnedRoute>;
  /** To exactly this network: one of each host that learned one. */
  learnedRoutesTo(routerId: string, to: string): Iterable<LearnedRoute>;
  /** What gateways say of next hops that static routes of the router probe: of one, by each gateway that probes it. */
  nextHopStatesOf(routerId: string): Iterable<NextHopState>;
  /** Those with a place on the host. */
  l2GatewaysAt(hostId: string): Iterable<L2Gateway>;
  /** VTEPs that have the host as a place, and the bindings of a VTEP. */
  vtepsAt(hostId: string): Iterable<Vtep>;
  bindingsOfVtep(vtepId: string): Iterable<VtepBinding>;
  /** The L2 gateway or VTEP binding whose outside the port is. */
  outsideOfPort(portId: string): Outside | undefined;
  hosts(): Iterable<Host>;
  /** Does a host get no answer from the other to its probes (docs/design/liveness.md)? */
  isLost(host: string, other: string): boolean;
  /** Has the floating address or load balancer as many connections on a host as it may (docs/design/gateways.md, §8)? */
  isFull(host: string, address: string): boolean;
}

/**
 * Records with the indexes that a `ModelView` is asked by. Every change costs a constant number of index operations, whatever the size of the model.
 * `ModelIndex` (model-index.ts) has those of the rules and the server as well.
 */
export class RecordIndex implements ModelView {
  readonly #records = new Map<ScopeKind, Map<string, ScopeRecord>>();
  readonly #portsBySwitch = new MultiIndex<LogicalPort>();
  readonly #rulesByChain = new MultiIndex<Rule>();
  readonly #sortedRules = new Map<string, readonly Rule[]>();
  readonly #learnedBySwitch = new MultiIndex<LearnedAddress>();
  readonly #held = new NestedIndex<ScopeRecord>();
  /** By router and block; sets under the empty one. */
  readonly #learnedRoutes = new NestedIndex<LearnedSet | LearnedRoutes>();
  readonly #lost = new Map<string, ReadonlySet<string>>();
  readonly #full = new Map<string, ReadonlySet<string>>();

  constructor() {
    for (const kind of [...KIND_NAMES, ...RUNTIME_KINDS]) this.#records.set(kind, new Map());
  }

  get<K extends ScopeKind>(kind: K, id: string): ScopeRecordOfKind[K] | undefined {
    return this.#records.get(kind)!.get(id) as ScopeRecordOfKind[K] | undefined;
  }
  all<K extends ScopeKind>(kind: K): Iterable<ScopeRecordOfKind[K]> {
    return this.#records.get(kind)!.values() as Iterable<ScopeRecordOfKind[K]>;
  }
  count(kind: ScopeKind): number {
    return this.#records.get(kind)!.size;
  }
  portsOfSwitch(switchId: string): Iterable<LogicalPort> {
    return this.#portsBySwitch.get(switchId);
  }
  portCountOfSwitch(switchId: string): number {
    return this.#portsBySwitch.count(switchId);
  }
  rulesOfChain(chainId: string): readonly Rule[] {
    const known = this.#sortedRules.get(chainId);
    if (known) return known;
    const sorted = [...this.#rulesByChain.get(chainId)].sort((a, b) => a.position - b.position);
    this.#sortedRules.set(chainId, sorted);
    return sorted;
  }
  bindingOf(portId: string): Binding | undefined {
    return this.get('binding', portId);
  }
  learnedOf(switchId: string): Iterable<LearnedAddress> {
    return this.#learnedBySwitch.get(switchId);
  }
  hosts(): Iterable<Host> {
    return this.all('host');
  }
  isLost(host: string, other: string): boolean {
    return this.#lost.get(host)?.has(other) === true;
  }
  /** What a host says of others: no record, as it is nobody else's to know. */
  setLost(host: string, others: readonly string[]): void {
    if (others.length === 0) this.#lost.delete(host);
    else this.#lost.set(host, new Set(others));
  }
  isFull(host: string, address: string): boolean {
    return this.#full.get(host)?.has(address) === true;
  }
  /** What a host says of the connections that it keeps: no record, as `setLost`. */
  setFull(host: string, addresses: readonly string[]): void {
    if (addresses.length === 0) this.#full.delete(host);
    else this.#full.set(host, new Set(addresses));
  }
  neighboursOf(switchId: string): Iterable<Neighbour> {
    return this.heldAs('neighbour', switchId);
  }
  routerPortsOfRouter(routerId: string): Iterable<RouterPort> {
    return this.heldAs('portOfRouter', routerId);
  }
  routerPortsOfSwitch(switchId: string): Iterable<RouterPort> {
    return this.heldAs('routerPortOfSwitch', switchId);
  }
  peersOf(routerPortId: string): Iterable<RouterPort> {
    return this.heldAs('peer', routerPortId);
  }
  floatingAddressesOfRouter(routerId: string): Iterable<FloatingAddress> {
    return this.heldAs('floatingAddress', routerId);
  }
  loadBalancersOf(deviceId: string): Iterable<LoadBalancer> {
    return this.heldAs('loadBalancer', deviceId);
  }
  portsOfGroup(groupId: string): Iterable<LogicalPort> {
    return this.heldAs('portOfGroup', groupId);
  }
  mirrorsOf(portOrSwitchId: string): Iterable<Mirror> {
    return this.heldAs('mirror', portOrSwitchId);
  }
  leasesOfRouter(routerId: string): Iterable<NatLease> {
    return this.heldAs('natLease', routerId);
  }
  natMovesOfRouter(routerId: string): Iterable<NatMove> {
    return this.heldAs('natMove', routerId);
  }
  natMovesOfPort(portId: string): Iterable<NatMove> {
    return this.heldAs('natMoveOfPort', portId);
  }
  healthOf(loadBalancerId: string): Iterable<MemberHealth> {
    return this.heldAs('memberHealth', loadBalancerId);
  }
  keptClientsOf(loadBalancerId: string): Iterable<KeptClients> {
    return this.heldAs('keptClients', loadBalancerId);
  }
  bgpPeersOfRouter(routerId: string): Iterable<BgpPeer> {
    return this.heldAs('bgpPeerOfRouter', routerId);
  }
  bgpPeersAt(routerPortId: string): Iterable<BgpPeer> {
    return this.heldAs('bgpPeerAt', routerPortId);
  }
  nextHopStatesOf(routerId: string): Iterable<NextHopState> {
    return this.heldAs('nextHopState', routerId);
  }
  l2GatewaysAt(hostId: string): Iterable<L2Gateway> {
    return this.heldAs('l2GatewayAt', hostId);
  }
  /** More than one only while a refused change is being looked at. */
  outsidesOfPort(portId: string): Iterable<Outside> {
    return this.heldAs('outsideOfPort', portId);
  }
  outsideOfPort(portId: string): Outside | undefined {
    for (const outside of this.outsidesOfPort(portId)) return outside;
    return undefined;
  }
  vtepsAt(hostId: string): Iterable<Vtep> {
    return this.heldAs('vtepAt', hostId);
  }
  bindingsOfVtep(vtepId: string): Iterable<VtepBinding> {
    return this.heldAs('bindingOfVtep', vtepId);
  }
  /** All that have a place on the host. */
  *outsidesAt(hostId: string): Iterable<Outside> {
    yield* this.l2GatewaysAt(hostId);
    for (const vtep of this.vtepsAt(hostId)) yield* this.bindingsOfVtep(vtep.id);
  }
  learnedOfRouter(routerId: string): Iterable<LearnedSet | LearnedRoutes> {
    return this.#learnedRoutes.values(routerId);
  }
  *learnedRoutesOf(routerId: string): Iterable<LearnedRoute> {
    for (const block of this.#learnedRoutes.values(routerId))
      if (block.kind === 'learnedRoutes')
        for (const { to, set } of routesIn(block.routes)) yield* this.#learned(block, formatCidr(to), set);
  }
  *learnedRoutesTo(routerId: string, to: string): Iterable<LearnedRoute> {
    const network = parseCidr(to)!;
    for (const block of this.#learnedRoutes.get(routerId, blockOf(network))) {
      const set = block.kind === 'learnedRoutes' ? packedSetOf(block.routes, network) : undefined;
      if (set !== undefined) yield* this.#learned(block, to, set);
    }
  }
  *#learned({ router, host }: { router: string; host: string }, to: string, set: string): Iterable<LearnedRoute> {
    const hops = this.get('learnedSet', `${router}/${host}/${set}`);
    if (hops) yield { router, to, host, via: livingHops(hops) };
  }
  protected heldAs<T extends ScopeRecord>(relation: Relation, container: string): Iterable<T> {
    return this.#held.get(relation, container) as Iterable<T>;
  }

  protected heldCount(relation: Relation, container: string): number {
    return this.#held.count(relation, container);
  }

  /** Adds the record or replaces the one with its id. Returns what was there. */
  put(record: ScopeRecord): ScopeRecord | undefined {
    const ofKind = this.#records.get(record.kind)!;
    const before = ofKind.get(record.id);
    if (before) this.unindex(before);
    ofKind.set(record.id, record);
    this.index(record);
    return before;
  }

  /** Returns what was there. */
  delete(kind: ScopeKind, id: string): ScopeRecord | undefined {
    const ofKind = this.#records.get(kind)!;
    const before = ofKind.get(id);
    if (!before) return undefined;
    this.unindex(before);
    ofKind.delete(id);
    return before;
  }

  protected index(record: ScopeRecord): void {
    for (const [relation, container] of heldBy(record)) this.#held.add(relation, container, record);
    switch (record.kind) {
      case 'learnedRoutes':
        this.#learnedRoutes.add(record.router, record.block, record);
        return;
      case 'learnedSet':
        this.#learnedRoutes.add(record.router, '', record);
        return;
      case 'learned':
        this.#learnedBySwitch.add(record.switch, record);
        return;
      case 'rule':
        this.#sortedRules.delete(record.chain);
        this.#rulesByChain.add(record.chain, record);
        return;
      case 'port':
        this.#portsBySwitch.add(record.switch, record);
    }
  }

  protected unindex(record: ScopeRecord): void {
    for (const [relation, container] of heldBy(record)) this.#held.remove(relation, container, record);
    switch (record.kind) {
      case 'learnedRoutes':
        this.#learnedRoutes.remove(record.router, record.block, record);
        return;
      case 'learnedSet':
        this.#learnedRoutes.remove(record.router, '', record);
        return;
      case 'learned':
        this.#learnedBySwitch.remove(record.switch, record);
        return;
      case 'chain':
        this.#sortedRules.delete(record.id);
        return;
      case 'rule':
        this.#sortedRules.delete(record.chain);
        this.#rulesByChain.remove(record.chain, record);
        return;
      case 'port':
        this.#portsBySwitch.remove(record.switch, record);
    }
  }
}
