import { formatCidr, parseCidr } from '../base/addresses.ts';
import { KIND_NAMES, type KindName } from './kind.ts';
import { MultiIndex, NestedIndex } from './multi-index.ts';
import type {
  AnyObject,
  BgpPeer,
  Binding,
  FloatingAddress,
  Host,
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
  ObjectOfKind,
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
import {
  type AddressHolder,
  heldBy,
  isHeldOnly,
  isKeyed,
  type KeyedObject,
  nameScopeOf,
  placesOfAddresses,
  type Relation,
  RUNTIME_KINDS,
  referencesOf,
} from './relations.ts';

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
 * The model with its indexes. Every change costs a constant number of index operations, whatever the size of the
 * model. It checks nothing: `rules.ts` does, on the state after the change, and whoever finds a problem puts the
 * former objects back.
 */
export class ModelIndex implements ModelView {
  readonly #records = new Map<ScopeKind, Map<string, ScopeRecord>>();
  readonly #portsBySwitch = new Map<string, Map<string, LogicalPort>>();
  readonly #rulesByChain = new Map<string, Map<string, Rule>>();
  readonly #sortedRules = new Map<string, readonly Rule[]>();
  readonly #learnedBySwitch = new Map<string, Map<string, LearnedAddress>>();
  readonly #bindingsByHost = new Map<string, Map<string, Binding>>();
  readonly #referrers = new Map<KindName, Map<string, Set<AnyObject>>>();
  readonly #names = new Map<KindName, NestedIndex<AnyObject>>();
  readonly #macs = new MultiIndex<LogicalPort | RouterPort>();
  readonly #macsInSwitch = new NestedIndex<LogicalPort>();
  readonly #addressesInSwitch = new NestedIndex<LogicalPort>();
  readonly #tunnelAddresses = new NestedIndex<Host>();
  readonly #keys = new MultiIndex<KeyedObject>();
  readonly #applySets = new MultiIndex<AnyObject>();
  readonly #held = new NestedIndex<ScopeRecord>();
  /** By router and block; sets under the empty one. */
  readonly #learnedRoutes = new NestedIndex<LearnedSet | LearnedRoutes>();
  readonly #addressHolders = new MultiIndex<AddressHolder>();
  readonly #addressesOfDevice = new NestedIndex<AddressHolder>();
  readonly #lost = new Map<string, ReadonlySet<string>>();
  readonly #full = new Map<string, ReadonlySet<string>>();

  constructor() {
    for (const kind of [...KIND_NAMES, ...RUNTIME_KINDS]) this.#records.set(kind, new Map());
    for (const kind of KIND_NAMES) {
      this.#referrers.set(kind, new Map());
      this.#names.set(kind, new NestedIndex());
    }
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
    return this.#portsBySwitch.get(switchId)?.values() ?? [];
  }
  portCountOfSwitch(switchId: string): number {
    return this.#portsBySwitch.get(switchId)?.size ?? 0;
  }
  rulesOfChain(chainId: string): readonly Rule[] {
    const known = this.#sortedRules.get(chainId);
    if (known) return known;
    const sorted = [...(this.#rulesByChain.get(chainId)?.values() ?? [])].sort((a, b) => a.position - b.position);
    this.#sortedRules.set(chainId, sorted);
    return sorted;
  }
  bindingOf(portId: string): Binding | undefined {
    return this.get('binding', portId);
  }
  learnedOf(switchId: string): Iterable<LearnedAddress> {
    return this.#learnedBySwitch.get(switchId)?.values() ?? [];
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
    return this.#heldAs('neighbour', switchId);
  }
  routerPortsOfRouter(routerId: string): Iterable<RouterPort> {
    return this.#heldAs('portOfRouter', routerId);
  }
  routerPortsOfSwitch(switchId: string): Iterable<RouterPort> {
    return this.#heldAs('routerPortOfSwitch', switchId);
  }
  peersOf(routerPortId: string): Iterable<RouterPort> {
    return this.#heldAs('peer', routerPortId);
  }
  floatingAddressesOfRouter(routerId: string): Iterable<FloatingAddress> {
    return this.#heldAs('floatingAddress', routerId);
  }
  loadBalancersOf(deviceId: string): Iterable<LoadBalancer> {
    return this.#heldAs('loadBalancer', deviceId);
  }
  portsOfGroup(groupId: string): Iterable<LogicalPort> {
    return this.#heldAs('portOfGroup', groupId);
  }
  portCountOfGroup(groupId: string): number {
    return this.#held.count('portOfGroup', groupId);
  }
  mirrorsOf(portOrSwitchId: string): Iterable<Mirror> {
    return this.#heldAs('mirror', portOrSwitchId);
  }
  leasesOfRouter(routerId: string): Iterable<NatLease> {
    return this.#heldAs('natLease', routerId);
  }
  natMovesOfRouter(routerId: string): Iterable<NatMove> {
    return this.#heldAs('natMove', routerId);
  }
  natMovesOfPort(portId: string): Iterable<NatMove> {
    return this.#heldAs('natMoveOfPort', portId);
  }
  healthOf(loadBalancerId: string): Iterable<MemberHealth> {
    return this.#heldAs('memberHealth', loadBalancerId);
  }
  bgpPeersOfRouter(routerId: string): Iterable<BgpPeer> {
    return this.#heldAs('bgpPeerOfRouter', routerId);
  }
  bgpPeersAt(routerPortId: string): Iterable<BgpPeer> {
    return this.#heldAs('bgpPeerAt', routerPortId);
  }
  nextHopStatesOf(routerId: string): Iterable<NextHopState> {
    return this.#heldAs('nextHopState', routerId);
  }
  l2GatewaysAt(hostId: string): Iterable<L2Gateway> {
    return this.#heldAs('l2GatewayAt', hostId);
  }
  /** More than one only while a refused change is being looked at. */
  outsidesOfPort(portId: string): Iterable<Outside> {
    return this.#heldAs('outsideOfPort', portId);
  }
  outsideOfPort(portId: string): Outside | undefined {
    for (const outside of this.outsidesOfPort(portId)) return outside;
    return undefined;
  }
  vtepsAt(hostId: string): Iterable<Vtep> {
    return this.#heldAs('vtepAt', hostId);
  }
  bindingsOfVtep(vtepId: string): Iterable<VtepBinding> {
    return this.#heldAs('bindingOfVtep', vtepId);
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
  #heldAs<T extends ScopeRecord>(relation: Relation, container: string): Iterable<T> {
    return this.#held.get(relation, container) as Iterable<T>;
  }

  /** Bindings that have a claim of the host. */
  bindingsOnHost(hostId: string): Iterable<Binding> {
    return this.#bindingsByHost.get(hostId)?.values() ?? [];
  }
  /** Objects that refer to the object, its tenant's objects included. */
  referrersOf(kind: KindName, id: string): Iterable<AnyObject> {
    return this.#referrers.get(kind)!.get(id) ?? [];
  }
  referrerCount(kind: KindName, id: string): number {
    return this.#referrers.get(kind)!.get(id)?.size ?? 0;
  }
  /** More than one only while a refused change is being looked at. `within`: the tenant's id, for rules the chain's. */
  named<K extends KindName>(kind: K, within: string | undefined, name: string): Iterable<ObjectOfKind[K]> {
    return this.#names.get(kind)!.get(within ?? '', name) as Iterable<ObjectOfKind[K]>;
  }
  isMacUsed(mac: string): boolean {
    return this.#macs.has(mac);
  }
  /** Ports and router ports, wherever they are. */
  holdersOfMac(mac: string): Iterable<LogicalPort | RouterPort> {
    return this.#macs.get(mac);
  }
  /** What has the address and is no port, anywhere. */
  holdersOfAddress(address: string): Iterable<AddressHolder> {
    return this.#addressHolders.get(address);
  }
  holderCountOfAddress(address: string): number {
    return this.#addressHolders.count(address);
  }
  /** The same, of one router or switch: router ports are found under both. */
  addressHoldersOf(deviceId: string, address: string): Iterable<AddressHolder> {
    return this.#addressesOfDevice.get(deviceId, address);
  }
  routerPortCountOfSwitch(switchId: string): number {
    return this.#held.count('routerPortOfSwitch', switchId);
  }
  portsWithMac(switchId: string, mac: string): Iterable<LogicalPort> {
    return this.#macsInSwitch.get(switchId, mac);
  }
  portsWithAddress(switchId: string, address: string): Iterable<LogicalPort> {
    return this.#addressesInSwitch.get(switchId, address);
  }
  isAddressUsed(switchId: string, address: string): boolean {
    return this.#addressesInSwitch.has(switchId, address);
  }
  hostsWithTunnelAddress(zoneId: string, address: string): Iterable<Host> {
    return this.#tunnelAddresses.get(zoneId, address);
  }
  objectsWithKey(key: number): Iterable<KeyedObject> {
    return this.#keys.get(key);
  }
  isKeyUsed(key: number): boolean {
    return this.#keys.has(key);
  }
  objectsOfApplySet(applySet: string): Iterable<AnyObject> {
    return this.#applySets.get(applySet);
  }

  /** Adds the record or replaces the one with its id. Returns what was there. */
  put(record: ScopeRecord): ScopeRecord | undefined {
    const ofKind = this.#records.get(record.kind)!;
    const before = ofKind.get(record.id);
    if (before) this.#unindex(before);
    ofKind.set(record.id, record);
    this.#index(record);
    return before;
  }

  /** Returns what was there. */
  delete(kind: ScopeKind, id: string): ScopeRecord | undefined {
    const ofKind = this.#records.get(kind)!;
    const before = ofKind.get(id);
    if (!before) return undefined;
    this.#unindex(before);
    ofKind.delete(id);
    return before;
  }

  #index(record: ScopeRecord): void {
    for (const [relation, container] of heldBy(record)) this.#held.add(relation, container, record);
    if (record.kind === 'learnedRoutes') this.#learnedRoutes.add(record.router, record.block, record);
    if (record.kind === 'learnedSet') this.#learnedRoutes.add(record.router, '', record);
    if (isHeldOnly(record)) return;
    if (record.kind === 'learned') {
      addTo(this.#learnedBySwitch, record.switch, record.id, record);
      return;
    }
    if (record.kind === 'binding') {
      for (const claim of record.claims) addTo(this.#bindingsByHost, claim.host, record.id, record);
      return;
    }
    this.#names.get(record.kind)!.add(nameScopeOf(record) ?? '', record.name, record);
    for (const target of referencesOf(record)) {
      const ofKind = this.#referrers.get(target.kind)!;
      const known = ofKind.get(target.id);
      if (known) known.add(record);
      else ofKind.set(target.id, new Set([record]));
    }
    if (record.applySet !== undefined) this.#applySets.add(record.applySet, record);
    if (record.kind === 'host') this.#tunnelAddresses.add(record.zone, record.tunnelAddress, record);
    if (record.kind === 'rule') {
      this.#sortedRules.delete(record.chain);
      addTo(this.#rulesByChain, record.chain, record.id, record);
    }
    if (isKeyed(record)) this.#keys.add(record.key, record);
    for (const [device, address] of placesOfAddresses(record)) {
      if (device === undefined) this.#addressHolders.add(address, record as AddressHolder);
      else this.#addressesOfDevice.add(device, address, record as AddressHolder);
    }
    if (record.kind === 'routerPort') this.#macs.add(record.mac, record);
    if (record.kind !== 'port') return;
    addTo(this.#portsBySwitch, record.switch, record.id, record);
    this.#macs.add(record.mac, record);
    this.#macsInSwitch.add(record.switch, record.mac, record);
    for (const address of record.addresses) this.#addressesInSwitch.add(record.switch, address, record);
  }

  #unindex(record: ScopeRecord): void {
    for (const [relation, container] of heldBy(record)) this.#held.remove(relation, container, record);
    if (record.kind === 'learnedRoutes') this.#learnedRoutes.remove(record.router, record.block, record);
    if (record.kind === 'learnedSet') this.#learnedRoutes.remove(record.router, '', record);
    if (isHeldOnly(record)) return;
    if (record.kind === 'learned') {
      removeFrom(this.#learnedBySwitch, record.switch, record.id);
      return;
    }
    if (record.kind === 'binding') {
      for (const claim of record.claims) removeFrom(this.#bindingsByHost, claim.host, record.id);
      return;
    }
    this.#names.get(record.kind)!.remove(nameScopeOf(record) ?? '', record.name, record);
    for (const target of referencesOf(record)) {
      const ofKind = this.#referrers.get(target.kind)!;
      const known = ofKind.get(target.id);
      known?.delete(record);
      if (known?.size === 0) ofKind.delete(target.id);
    }
    if (record.applySet !== undefined) this.#applySets.remove(record.applySet, record);
    if (record.kind === 'host') this.#tunnelAddresses.remove(record.zone, record.tunnelAddress, record);
    if (record.kind === 'chain') this.#sortedRules.delete(record.id);
    if (record.kind === 'rule') {
      this.#sortedRules.delete(record.chain);
      removeFrom(this.#rulesByChain, record.chain, record.id);
    }
    if (isKeyed(record)) this.#keys.remove(record.key, record);
    for (const [device, address] of placesOfAddresses(record)) {
      if (device === undefined) this.#addressHolders.remove(address, record as AddressHolder);
      else this.#addressesOfDevice.remove(device, address, record as AddressHolder);
    }
    if (record.kind === 'routerPort') this.#macs.remove(record.mac, record);
    if (record.kind !== 'port') return;
    removeFrom(this.#portsBySwitch, record.switch, record.id);
    this.#macs.remove(record.mac, record);
    this.#macsInSwitch.remove(record.switch, record.mac, record);
    for (const address of record.addresses) this.#addressesInSwitch.remove(record.switch, address, record);
  }
}

/** A model from its records, in any order. */
export function modelOf(records: Iterable<ScopeRecord>): ModelIndex {
  const model = new ModelIndex();
  for (const record of records) model.put(record);
  return model;
}

function addTo<V>(index: Map<string, Map<string, V>>, key: string, id: string, value: V): void {
  const known = index.get(key);
  if (known) known.set(id, value);
  else index.set(key, new Map([[id, value]]));
}

function removeFrom<V>(index: Map<string, Map<string, V>>, key: string, id: string): void {
  const known = index.get(key);
  known?.delete(id);
  if (known?.size === 0) index.delete(key);
}
