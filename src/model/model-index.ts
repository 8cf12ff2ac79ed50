import { textsOfPair } from './allowed-pairs.ts';
import { KIND_NAMES, type KindName } from './kind.ts';
import { MultiIndex, NestedIndex } from './multi-index.ts';
import type { AnyObject, Binding, Host, LogicalPort, ObjectOfKind, RouterPort, ScopeRecord } from './objects.ts';
import { referencesOf } from './references.ts';
import {
  type AddressHolder,
  isHeldOnly,
  isKeyed,
  type KeyedObject,
  nameScopeOf,
  placesOfAddresses,
} from './relations.ts';
import { RecordIndex } from './view.ts';

/**
 * The model with all its indexes: what the rules, allocation and the server's scope work on as well. It checks nothing: `rules.ts` does, on the
 * state after the change, and whoever finds a problem puts the former objects back.
 */
export class ModelIndex extends RecordIndex {
  readonly #bindingsByHost = new MultiIndex<Binding>();
  readonly #referrers = new Map<KindName, Map<string, Set<AnyObject>>>();
  readonly #names = new Map<KindName, NestedIndex<AnyObject>>();
  readonly #macs = new MultiIndex<LogicalPort | RouterPort>();
  readonly #macsInSwitch = new NestedIndex<LogicalPort>();
  readonly #addressesInSwitch = new NestedIndex<LogicalPort>();
  readonly #pairsInSwitch = new NestedIndex<LogicalPort>();
  readonly #tunnelAddresses = new NestedIndex<Host>();
  readonly #keys = new MultiIndex<KeyedObject>();
  readonly #applySets = new MultiIndex<AnyObject>();
  readonly #addressHolders = new MultiIndex<AddressHolder>();
  readonly #addressesOfDevice = new NestedIndex<AddressHolder>();

  constructor() {
    super();
    for (const kind of KIND_NAMES) {
      this.#referrers.set(kind, new Map());
      this.#names.set(kind, new NestedIndex());
    }
  }

  portCountOfGroup(groupId: string): number {
    return this.heldCount('portOfGroup', groupId);
  }
  /** Bindings that have a claim of the host. */
  bindingsOnHost(hostId: string): Iterable<Binding> {
    return this.#bindingsByHost.get(hostId);
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
    return this.heldCount('routerPortOfSwitch', switchId);
  }
  portsWithMac(switchId: string, mac: string): Iterable<LogicalPort> {
    return this.#macsInSwitch.get(switchId, mac);
  }
  portsWithAddress(switchId: string, address: string): Iterable<LogicalPort> {
    return this.#addressesInSwitch.get(switchId, address);
  }
  /** Ports with an allowed pair of exactly this address, or with this MAC. */
  portsWithPair(switchId: string, addressOrMac: string): Iterable<LogicalPort> {
    return this.#pairsInSwitch.get(switchId, addressOrMac);
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

  protected override index(record: ScopeRecord): void {
    super.index(record);
    if (isHeldOnly(record) || record.kind === 'learned') return;
    if (record.kind === 'binding') {
      for (const claim of record.claims) this.#bindingsByHost.add(claim.host, record);
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
    if (isKeyed(record)) this.#keys.add(record.key, record);
    for (const [device, address] of placesOfAddresses(record)) {
      if (device === undefined) this.#addressHolders.add(address, record as AddressHolder);
      else this.#addressesOfDevice.add(device, address, record as AddressHolder);
    }
    if (record.kind === 'routerPort') this.#macs.add(record.mac, record);
    if (record.kind !== 'port') return;
    this.#macs.add(record.mac, record);
    this.#macsInSwitch.add(record.switch, record.mac, record);
    for (const address of record.addresses) this.#addressesInSwitch.add(record.switch, address, record);
    for (const pair of record.allowedPairs)
      for (const text of textsOfPair(pair)) this.#pairsInSwitch.add(record.switch, text, record);
  }

  protected override unindex(record: ScopeRecord): void {
    super.unindex(record);
    if (isHeldOnly(record) || record.kind === 'learned') return;
    if (record.kind === 'binding') {
      for (const claim of record.claims) this.#bindingsByHost.remove(claim.host, record);
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
    if (isKeyed(record)) this.#keys.remove(record.key, record);
    for (const [device, address] of placesOfAddresses(record)) {
      if (device === undefined) this.#addressHolders.remove(address, record as AddressHolder);
      else this.#addressesOfDevice.remove(device, address, record as AddressHolder);
    }
    if (record.kind === 'routerPort') this.#macs.remove(record.mac, record);
    if (record.kind !== 'port') return;
    this.#macs.remove(record.mac, record);
    this.#macsInSwitch.remove(record.switch, record.mac, record);
    for (const address of record.addresses) this.#addressesInSwitch.remove(record.switch, address, record);
    for (const pair of record.allowedPairs)
      for (const text of textsOfPair(pair)) this.#pairsInSwitch.remove(record.switch, text, record);
  }
}

/** A model from its records, in any order. */
export function modelOf(records: Iterable<ScopeRecord>): ModelIndex {
  const model = new ModelIndex();
  for (const record of records) model.put(record);
  return model;
}
