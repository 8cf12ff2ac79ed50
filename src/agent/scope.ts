import type {
  Binding,
  Host,
  LogicalPort,
  LogicalSwitch,
  Rule,
  ScopeKind,
  ScopeRecord,
  ScopeRecordOfKind,
} from '../model/objects.ts';
import type { ScopeChange } from './events.ts';

/** Kinds whose keys packets carry in registers. */
type KeyedKind = 'port' | 'switch' | 'router' | 'routerPort';

/** The part of the desired state that this host's ports reach, as the server last sent it (and the disk keeps it). */
export class Scope {
  readonly #records = new Map<ScopeKind, Map<string, ScopeRecord>>();
  /** Tunnel key → the object that has it, as packet-ins carry keys: one space for all kinds. */
  readonly #byKey = new Map<number, { readonly kind: KeyedKind; readonly id: string }>();
  /** Made when they are first asked for, and forgotten when one of them changes. */
  #rulesByChain: ReadonlyMap<string, readonly Rule[]> | undefined;
  #portsByGroup: ReadonlyMap<string, readonly LogicalPort[]> | undefined;

  get<K extends ScopeKind>(kind: K, id: string): ScopeRecordOfKind[K] | undefined {
    return this.#records.get(kind)?.get(id) as ScopeRecordOfKind[K] | undefined;
  }

  all<K extends ScopeKind>(kind: K): Iterable<ScopeRecordOfKind[K]> {
    return (this.#records.get(kind)?.values() ?? []) as Iterable<ScopeRecordOfKind[K]>;
  }

  count(kind: ScopeKind): number {
    return this.#records.get(kind)?.size ?? 0;
  }

  port(id: string): LogicalPort | undefined {
    return this.get('port', id);
  }
  portByKey(key: number): LogicalPort | undefined {
    return this.byKey('port', key);
  }
  byKey<K extends KeyedKind>(kind: K, key: number): ScopeRecordOfKind[K] | undefined {
    const named = this.#byKey.get(key);
    return named?.kind === kind ? this.get(kind, named.id) : undefined;
  }
  switchOf(port: LogicalPort): LogicalSwitch | undefined {
    return this.get('switch', port.switch);
  }
  host(id: string): Host | undefined {
    return this.get('host', id);
  }
  binding(port: string): Binding | undefined {
    return this.get('binding', port);
  }

  /** From the lowest position up. */
  rulesOfChain(chain: string): readonly Rule[] {
    this.#rulesByChain ??= Map.groupBy(
      [...this.all('rule')].sort((a, b) => a.position - b.position),
      (rule) => rule.chain,
    );
    return this.#rulesByChain.get(chain) ?? [];
  }

  portsOfGroup(group: string): readonly LogicalPort[] {
    this.#portsByGroup ??= this.#groupPorts();
    return this.#portsByGroup.get(group) ?? [];
  }

  #groupPorts(): ReadonlyMap<string, readonly LogicalPort[]> {
    const byGroup = new Map<string, LogicalPort[]>();
    for (const port of this.all('port'))
      for (const group of port.groups) {
        const known = byGroup.get(group);
        if (known) known.push(port);
        else byGroup.set(group, [port]);
      }
    return byGroup;
  }

  /** Underlay addresses of the other hosts that our ports reach. */
  neighbours(host: string | undefined): string[] {
    const addresses: string[] = [];
    for (const other of this.all('host')) if (other.id !== host) addresses.push(other.tunnelAddress);
    return addresses;
  }

  /** The one port whose id begins so. */
  portByPrefix(prefix: string): string | undefined {
    let found: string | undefined;
    for (const id of this.#records.get('port')?.keys() ?? []) {
      if (!id.startsWith(prefix)) continue;
      if (found !== undefined) return undefined;
      found = id;
    }
    return found;
  }

  apply(changes: readonly ScopeChange[]): void {
    for (const { op, record } of changes) {
      const ofKind = this.#ofKind(record.kind);
      if (record.kind === 'rule') this.#rulesByChain = undefined;
      if (record.kind === 'port') this.#portsByGroup = undefined;
      const before = ofKind.get(record.id);
      // The key may be another object's by now: who has it next can come before the former is deleted.
      if (before && hasKey(before) && this.#byKey.get(before.key) === before) this.#byKey.delete(before.key);
      if (op === 'delete') {
        ofKind.delete(record.id);
        continue;
      }
      const full = record as ScopeRecord;
      ofKind.set(full.id, full);
      if (hasKey(full)) this.#byKey.set(full.key, full);
    }
  }

  #ofKind(kind: ScopeKind): Map<string, ScopeRecord> {
    const known = this.#records.get(kind);
    if (known) return known;
    const fresh = new Map<string, ScopeRecord>();
    this.#records.set(kind, fresh);
    return fresh;
  }

  /** (kind, id) → revision, for the server to compare with. */
  digest(): { [K in ScopeKind]?: Record<string, number> } {
    const have: { [K in ScopeKind]?: Record<string, number> } = {};
    for (const [kind, records] of this.#records) {
      const ofKind: Record<string, number> = {};
      for (const record of records.values()) ofKind[record.id] = record.revision;
      have[kind] = ofKind;
    }
    return have;
  }

  *everything(): Iterable<ScopeRecord> {
    for (const records of this.#records.values()) yield* records.values();
  }
}

function hasKey(record: ScopeRecord): record is ScopeRecordOfKind[KeyedKind] {
  const { kind } = record;
  return kind === 'port' || kind === 'switch' || kind === 'router' || kind === 'routerPort';
}
