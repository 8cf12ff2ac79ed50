import type { LearnedAddress, LogicalPort, RouterPort, ScopeRecord } from '../../model/objects.ts';
import type { ScopeChange } from '../events.ts';
import type { Scope } from '../scope.ts';

/** Why a MAC is on a switch: a port that holds it, a router port, or an address that was learned. */
interface Source {
  readonly switch: string;
  readonly macs: readonly string[];
  /** The port behind which it is; absent for router ports. */
  readonly port?: string;
  /** Of learned ones. */
  readonly vlan?: number;
}

/** The MACs that are on some switches, kept up at the cost of what changes. */
export class SwitchMacs {
  readonly #scope: Scope;
  readonly #sources = new Map<string, Source>();
  /** Switch → MAC → sources. */
  readonly #switches = new Map<string, Map<string, Set<Source>>>();

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  /** From now on these switches, all of them; those that are new cost the scope. */
  follow(switches: ReadonlySet<string>): void {
    for (const id of this.#switches.keys()) if (!switches.has(id)) this.#forget(id);
    const fresh = new Set([...switches].filter((id) => !this.#switches.has(id)));
    if (fresh.size === 0) return;
    for (const id of fresh) this.#switches.set(id, new Map());
    for (const kind of ['port', 'routerPort', 'learned'] as const)
      for (const record of this.#scope.all(kind))
        if (record.switch !== undefined && fresh.has(record.switch)) this.#put(record);
  }

  #forget(id: string): void {
    this.#switches.delete(id);
    for (const [key, source] of this.#sources) if (source.switch === id) this.#sources.delete(key);
  }

  /** Takes changes in that the scope holds already; gives the MACs whose sources differ, by switch. */
  changed(changes: readonly ScopeChange[]): ReadonlyMap<string, ReadonlySet<string>> {
    const touched = new Map<string, Set<string>>();
    if (this.#switches.size === 0) return touched;
    for (const { op, record } of changes) {
      if (record.kind !== 'port' && record.kind !== 'routerPort' && record.kind !== 'learned') continue;
      const before = this.#take(keyOf(record));
      const after = op === 'put' ? this.#put(record as LogicalPort | RouterPort | LearnedAddress) : undefined;
      for (const source of [before, after]) {
        if (!source) continue;
        const macs = touched.get(source.switch) ?? new Set();
        touched.set(source.switch, macs);
        for (const mac of source.macs) macs.add(mac);
      }
    }
    return touched;
  }

  /** MACs that are elsewhere than behind the port, in its VLAN. */
  elsewhere(port: Pick<LogicalPort, 'id' | 'switch'>, vlan: number): string[] {
    const macs = this.#switches.get(port.switch);
    return macs ? [...macs.keys()].filter((mac) => this.isElsewhere(port, vlan, mac)) : [];
  }

  isElsewhere(port: Pick<LogicalPort, 'id' | 'switch'>, vlan: number, mac: string): boolean {
    for (const source of this.#switches.get(port.switch)?.get(mac) ?? [])
      if (source.port !== port.id && (source.vlan === undefined || source.vlan === vlan)) return true;
    return false;
  }

  /** Does a port or router port of the switch hold the MAC as its own? */
  isHeld(switchId: string, mac: string): boolean {
    for (const source of this.#switches.get(switchId)?.get(mac) ?? []) if (source.vlan === undefined) return true;
    return false;
  }

  #take(key: string): Source | undefined {
    const source = this.#sources.get(key);
    if (!source) return undefined;
    this.#sources.delete(key);
    const macs = this.#switches.get(source.switch);
    for (const mac of source.macs) {
      const others = macs?.get(mac);
      others?.delete(source);
      if (others?.size === 0) macs?.delete(mac);
    }
    return source;
  }

  #put(record: LogicalPort | RouterPort | LearnedAddress): Source | undefined {
    const source = sourceOf(record);
    const macs = source && this.#switches.get(source.switch);
    if (!source || !macs) return undefined;
    this.#sources.set(keyOf(record), source);
    for (const mac of source.macs) {
      const others = macs.get(mac);
      if (others) others.add(source);
      else macs.set(mac, new Set([source]));
    }
    return source;
  }
}

function keyOf({ kind, id }: { readonly kind: ScopeRecord['kind']; readonly id: string }): string {
  return `${kind}/${id}`;
}

function sourceOf(record: LogicalPort | RouterPort | LearnedAddress): Source | undefined {
  if (record.kind === 'learned')
    return { switch: record.switch, macs: [record.mac], port: record.port, vlan: record.vlan };
  if (record.kind === 'routerPort')
    return record.switch === undefined ? undefined : { switch: record.switch, macs: [record.mac] };
  const pairs = record.allowedPairs.flatMap(({ mac }) => (mac === undefined ? [] : [mac]));
  return { switch: record.switch, macs: [...new Set([record.mac, ...pairs])], port: record.id };
}
