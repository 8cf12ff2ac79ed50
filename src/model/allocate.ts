import {
  type Cidr,
  cidrContains,
  eui64,
  formatIp,
  type Ip,
  parseCidr,
  parseIp,
  parseMac,
  plus,
} from '../base/addresses.ts';
import type { Random } from '../base/random.ts';
import { isAddressTaken } from './address-uses.ts';
import { describe } from './describe.ts';
import type { ModelIndex } from './model-index.ts';
import type { AnyObject, LogicalPort, LogicalSwitch, Subnet } from './objects.ts';
import type { Problem } from './problem.ts';
import { isKeyed } from './relations.ts';
import { grownSlots } from './shares.ts';
import { isInVlan, isReservedIn, lastOf } from './subnets.ts';

const LAST_KEY = 0xff_ffff;
/** Offsets of larger subnets count only so far: more addresses than any store holds. */
const MOST_OFFSETS = 2 ** 40;

/**
 * Gives out what people did not choose: MAC addresses, addresses of subnets, tunnel keys, VNIs. Whether something is free is
 * always asked of the index, so nothing is given twice; what is kept here only makes the next free one quick to find
 * (a constant cost each, whatever the size) and may be lost at any time.
 *
 * Addresses: the lowest that was never given out, and when a subnet has none left, those that were released, the oldest
 * first: caches of neighbours still hold the one released last. Keys go round the whole space for the same reason, and
 * a retired key (deleted, perhaps still in some host's flows) is not given until `unretireKey`.
 */
export class Allocator {
  readonly #index: ModelIndex;
  readonly #random: Random;
  readonly #pools = new Map<string, Map<string, SubnetPool>>();
  readonly #fullPools = new Set<SubnetPool>();
  #avoided: ReadonlySet<string> = new Set();
  readonly #retiredKeys = new Set<number>();
  #nextKey = 1;
  /** How to take back what the draft at hand was given. */
  #undo: (() => void)[] = [];

  constructor(index: ModelIndex, random: Random) {
    this.#index = index;
    this.#random = random;
  }

  /** The object with its allocated fields; what could not be allocated is a problem and stays away. */
  fill<T extends AnyObject>(object: T, report: (problem: Problem) => void): T {
    if (object.kind === 'l2Gateway') return { ...object, secret: object.secret ?? this.#newSecret() };
    if (object.kind === 'vtepBinding') {
      const vni = (object as { readonly vni?: number }).vni ?? this.#index.get('port', object.port)?.key;
      return vni === undefined ? object : { ...object, vni };
    }
    if (!isKeyed(object)) return object;
    // Reading the object as it was written: these fields may be absent still.
    const given = object as Partial<Pick<LogicalPort, 'key' | 'mac' | 'addresses'>> & { readonly slots?: number };
    const key = given.key ?? this.#allocateKey(object, report);
    if (given.key !== undefined && this.#retiredKeys.has(given.key)) {
      const message = `tunnel key ${key} was just given back; hosts may still know it`;
      report({ object: describe(this.#index, object), path: 'key', code: 'duplicate-key', message });
    }
    if (object.kind === 'loadBalancer') {
      const before = this.#index.get('loadBalancer', object.id)?.members;
      return { ...object, key, slots: grownSlots(given.slots, object.members, before) };
    }
    if (object.kind === 'routerPort') return { ...object, key, mac: given.mac ?? this.#allocateMac() };
    if (object.kind !== 'port') return { ...object, key };
    const mac = given.mac ?? this.#allocateMac();
    const addresses = given.addresses ?? this.#allocateAddresses(object, mac, report);
    return { ...object, key, mac, addresses };
  }

  /** Tells of an object that is now in the store, for good. */
  stored(object: AnyObject): void {
    if ('key' in object && object.key === this.#nextKey) this.#nextKey = followingKey(object.key);
    if (object.kind !== 'port') return;
    for (const [pool, ip] of this.#poolsOf(object)) pool.take(pool.offsetOf(ip));
  }

  /** Tells of a port whose addresses are free now, for good. */
  released(port: LogicalPort): void {
    for (const [pool, ip] of this.#poolsOf(port)) pool.giveBack(pool.offsetOf(ip));
  }

  /**
   * Until the next call, gives no port one of these addresses while another is free: what the same write gives by name to
   * an object that it makes later.
   */
  avoid(addresses: ReadonlySet<string>): void {
    this.#avoided = addresses;
  }

  /** Tells that addresses may be free that no port had (a floating address, a router's). */
  reconsider(): void {
    for (const pool of this.#fullPools) pool.reconsider();
    this.#fullPools.clear();
  }

  /** The key's device is gone (or is about to be, in the draft at hand): not given until `unretireKey`. */
  retireKey(key: number): void {
    if (this.#retiredKeys.has(key)) return;
    this.#retiredKeys.add(key);
    this.#undo.push(() => this.#retiredKeys.delete(key));
  }
  unretireKey(key: number): void {
    this.#retiredKeys.delete(key);
  }

  /** The draft at hand goes to the store: what it was given stays given. */
  settle(): void {
    this.#undo = [];
  }

  /** The draft at hand was refused or only a trial: what it was given is free again. */
  rollback(): void {
    for (const undo of this.#undo.reverse()) undo();
    this.#undo = [];
  }

  #allocateKey(object: AnyObject, report: (problem: Problem) => void): number {
    const first = this.#nextKey;
    this.#undo.push(() => {
      this.#nextKey = first;
    });
    for (let key = first; ; ) {
      const next = followingKey(key);
      if (!this.#index.isKeyUsed(key) && !this.#retiredKeys.has(key)) {
        this.#nextKey = next;
        return key;
      }
      if (next === first) break;
      key = next;
    }
    const message = 'no tunnel key is free: all 16,777,215 are in use or were released a moment ago';
    report({ object: describe(this.#index, object), path: 'key', code: 'key-space-full', message });
    return 0;
  }

  /** 256 bits. */
  #newSecret(): string {
    return Array.from({ length: 8 }, () => this.#random.u32().toString(16).padStart(8, '0')).join('');
  }

  /** Locally administered and random: collisions with other clouds behind the same wire are unlikely too. */
  #allocateMac(): string {
    for (;;) {
      const low = this.#random.u32().toString(16).padStart(8, '0');
      const high = this.#random.below(256).toString(16).padStart(2, '0');
      const mac = `02:${high}:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4, 6)}:${low.slice(6)}`;
      if (!this.#index.isMacUsed(mac)) return mac;
    }
  }

  #allocateAddresses(port: LogicalPort, mac: string, report: (problem: Problem) => void): string[] {
    const device = this.#index.get('switch', port.switch);
    if (!device) return [];
    const addresses: string[] = [];
    const full = new Map<number, string[]>();
    const versions = new Set<number>();
    for (const subnet of device.subnets) {
      if (!isInVlan(device, port, subnet.vlan ?? 0)) continue;
      const pool = this.#pool(device, subnet);
      const { version } = pool.cidr.ip;
      const address = subnet.ipv6Mode === 'slaac' ? slaacAddress(pool.cidr, mac) : this.#allocateFrom(pool);
      if (address === undefined) full.set(version, [...(full.get(version) ?? []), subnet.cidr]);
      else {
        addresses.push(address);
        versions.add(version);
      }
    }
    for (const [version, cidrs] of full) {
      if (versions.has(version)) continue;
      const message = `no address is free in ${cidrs.join(', ')}`;
      const hint = `add a subnet to the switch, or give the port's addresses`;
      report({ object: describe(this.#index, port), path: 'addresses', code: 'subnet-full', message, hint });
    }
    return addresses;
  }

  #allocateFrom(pool: SubnetPool): string | undefined {
    const { next } = pool;
    this.#undo.push(() => {
      pool.next = next;
    });
    const { switchId } = pool;
    const ports = this.#index.portCountOfSwitch(switchId);
    const isTaken = (each: string): boolean => isAddressTaken(this.#index, switchId, each);
    let address = pool.allocate(ports, (each) => this.#avoided.has(each) || isTaken(each));
    if (address === undefined && this.#avoided.size > 0) {
      pool.reconsider();
      address = pool.allocate(ports, isTaken);
    }
    if (address === undefined) this.#fullPools.add(pool);
    return address;
  }

  #pool(device: LogicalSwitch, subnet: Subnet): SubnetPool {
    const ofSwitch = this.#pools.get(device.id) ?? new Map<string, SubnetPool>();
    this.#pools.set(device.id, ofSwitch);
    const key = `${subnet.cidr} ${subnet.gateway ?? ''}`;
    const known = ofSwitch.get(key);
    if (known) return known;
    const pool = new SubnetPool(device.id, parseCidr(subnet.cidr)!, subnet.gateway);
    ofSwitch.set(key, pool);
    return pool;
  }

  *#poolsOf(port: LogicalPort): Iterable<readonly [SubnetPool, Ip]> {
    const pools = this.#pools.get(port.switch);
    if (!pools) return;
    for (const address of port.addresses) {
      const ip = parseIp(address)!;
      for (const pool of pools.values()) if (cidrContains(pool.cidr, ip)) yield [pool, ip];
    }
  }
}

/** Finds the next free address of one subnet; addresses are counted as offsets from the network's address. */
class SubnetPool {
  readonly switchId: string;
  readonly cidr: Cidr;
  /** No offset from here on was ever given out. */
  next = 0;
  readonly #gateway: string | undefined;
  readonly #count: number;
  /** Released offsets below `next`, oldest first. */
  readonly #released = new Set<number>();
  /** With so many ports on the switch everything was in use; nothing was released since. */
  #fullAtPorts = Number.POSITIVE_INFINITY;

  constructor(switchId: string, cidr: Cidr, gateway: string | undefined) {
    this.switchId = switchId;
    this.cidr = cidr;
    this.#gateway = gateway;
    const size = BigInt(lastOf(cidr).value) - BigInt(cidr.ip.value) + 1n;
    this.#count = Number(size < MOST_OFFSETS ? size : MOST_OFFSETS);
  }

  offsetOf(ip: Ip): number {
    return Number(BigInt(ip.value) - BigInt(this.cidr.ip.value));
  }

  take(offset: number): void {
    if (offset === this.next) this.next++;
    this.#released.delete(offset);
  }

  reconsider(): void {
    this.#fullAtPorts = Number.POSITIVE_INFINITY;
  }

  giveBack(offset: number): void {
    this.reconsider();
    if (offset >= this.next) return;
    this.#released.delete(offset);
    this.#released.add(offset);
  }

  allocate(portCount: number, isUsed: (address: string) => boolean): string | undefined {
    if (portCount >= this.#fullAtPorts) return undefined;
    for (; this.next < this.#count; this.next++) {
      const address = this.#usable(this.next, isUsed);
      if (address !== undefined) {
        this.next++;
        return address;
      }
    }
    for (const offset of this.#released) {
      const address = this.#usable(offset, isUsed);
      if (address !== undefined) return address;
    }
    // What a rolled-back draft or a restart left behind is in no list: one look at everything.
    for (let offset = 0; offset < this.#count; offset++) {
      const address = this.#usable(offset, isUsed);
      if (address !== undefined) return address;
    }
    this.#fullAtPorts = portCount;
    return undefined;
  }

  #usable(offset: number, isUsed: (address: string) => boolean): string | undefined {
    const ip = plus(this.cidr.ip, offset);
    if (isReservedIn(this.cidr, ip)) return undefined;
    const address = formatIp(ip);
    return address === this.#gateway || isUsed(address) ? undefined : address;
  }
}

/** RFC 4862 §5.5.3: the prefix with the modified EUI-64 of the MAC. */
function slaacAddress(cidr: Cidr, mac: string): string {
  return formatIp({
    version: 6,
    value: ((cidr.ip.value as bigint) | eui64(parseMac(mac)!)) as typeof cidr.ip.value & bigint,
  } as Ip);
}

function followingKey(key: number): number {
  return key === LAST_KEY ? 1 : key + 1;
}
