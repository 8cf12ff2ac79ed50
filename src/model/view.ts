import { KIND_NAMES, type KindName } from './kind.ts';
import { KINDS } from './kinds.ts';
import { MultiIndex, NestedIndex } from './multi-index.ts';
import type {
  AnyObject,
  Binding,
  Chain,
  Host,
  LearnedAddress,
  LogicalPort,
  LogicalSwitch,
  ObjectOfKind,
  Rule,
  ScopeKind,
  ScopeRecord,
  ScopeRecordOfKind,
} from './objects.ts';

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
  hosts(): Iterable<Host>;
}

/** Kinds whose objects carry a tunnel key; all share one space. */
export type KeyedObject = LogicalSwitch | LogicalPort | Chain;

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
  readonly #macs = new MultiIndex<LogicalPort>();
  readonly #macsInSwitch = new NestedIndex<LogicalPort>();
  readonly #addressesInSwitch = new NestedIndex<LogicalPort>();
  readonly #tunnelAddresses = new NestedIndex<Host>();
  readonly #keys = new MultiIndex<KeyedObject>();
  readonly #applySets = new MultiIndex<AnyObject>();

  constructor() {
    for (const kind of [...KIND_NAMES, 'binding', 'learned'] as const) this.#records.set(kind, new Map());
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
    if (record.kind === 'switch' || record.kind === 'port' || record.kind === 'chain')
      this.#keys.add(record.key, record);
    if (record.kind !== 'port') return;
    addTo(this.#portsBySwitch, record.switch, record.id, record);
    this.#macs.add(record.mac, record);
    this.#macsInSwitch.add(record.switch, record.mac, record);
    for (const address of record.addresses) this.#addressesInSwitch.add(record.switch, address, record);
  }

  #unindex(record: ScopeRecord): void {
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
    if (record.kind === 'switch' || record.kind === 'port' || record.kind === 'chain')
      this.#keys.remove(record.key, record);
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

/** What an object refers to, as ids, its tenant included; `path` is the field. */
export function* referencesOf(
  object: AnyObject,
): Iterable<{ readonly path: string; readonly kind: KindName; readonly id: string }> {
  if (object.tenant !== undefined) yield { path: 'tenant', kind: 'tenant', id: object.tenant };
  for (const reference of KINDS[object.kind].references) {
    const id = (object as unknown as Record<string, unknown>)[reference.path];
    if (typeof id === 'string') yield { path: reference.path, kind: reference.kind, id };
  }
}

/** What an object's name is unique within: its tenant, for rules their chain, for operator's kinds all of the kind. */
export function nameScopeOf(object: AnyObject): string | undefined {
  return object.kind === 'rule' ? object.chain : object.tenant;
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
