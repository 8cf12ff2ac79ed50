import type { Binding, Host, LogicalPort, Rule, ScopeKind, ScopeRecord } from '../model/objects.ts';
import type { ModelIndex } from '../model/view.ts';
import type { RecordChange } from './desired-state.ts';

/**
 * Which records each connected host needs: everything its own ports can reach, and nothing else.
 *
 * ```
 * host h ─┬─▶ host h ─▶ tunnel zone
 *         └─▶ local ports (requested at h, or claimed by it)
 *               ├─▶ their chains ─▶ rules ─▶ chains jumped to ─▶ …
 *               └─▶ their switches ─┬─▶ tenant
 *                                   ├─▶ all ports of the switch (without the chains of the remote ones)
 *                                   ├─▶ bindings of these ─▶ hosts with a claim ─▶ tunnel zones
 *                                   └─▶ learned addresses
 * ```
 *
 * A host's part is kept by reference counts: of local ports per switch, of ports and rules per chain, of switches per host. What
 * follows from its container alone (ports of a switch, rules of a chain) is not counted. A change therefore costs
 * as many steps as hosts are concerned; only a switch or chain that enters or leaves costs its size, which has to be
 * sent anyway.
 */
export class ScopeIndex {
  readonly #index: ModelIndex;
  readonly #scopes = new Map<string, HostScope>();
  readonly registry = new Registry();
  /** Switch → host → how many of the switch's bindings have a claim of that host. */
  readonly #hostsOfSwitch = new Map<string, Map<string, number>>();

  constructor(index: ModelIndex) {
    this.#index = index;
    for (const binding of index.all('binding')) this.#countClaims(binding, 1);
  }

  /** Works the host's scope out from scratch and keeps it up to date from here on. */
  attach(hostId: string): HostScope {
    const scope = new HostScope(hostId, this.#index, this.registry, (id) => this.hostsOfSwitch(id));
    this.#scopes.set(hostId, scope);
    scope.enterAll();
    return scope;
  }

  detach(hostId: string): void {
    this.#scopes.get(hostId)?.leaveAll();
    this.#scopes.delete(hostId);
  }

  /** Hosts with a claim of a port of the switch. */
  hostsOfSwitch(switchId: string): Iterable<string> {
    return this.#hostsOfSwitch.get(switchId)?.keys() ?? [];
  }

  /** Takes a transaction in that the index holds already. Returns what it means to each host concerned. */
  apply(changes: readonly RecordChange[]): ReadonlyMap<HostScope, readonly ScopeStep[]> {
    const concerned = new Set<HostScope>();
    // First note who holds what changes, as long as the counts are those from before the transaction.
    for (const change of changes)
      for (const scope of this.#holders(change)) {
        scope.touch(change.kind, change.id, change.before !== undefined, true);
        concerned.add(scope);
      }
    for (const change of changes) for (const scope of this.#recount(change)) concerned.add(scope);
    const steps = new Map<HostScope, readonly ScopeStep[]>();
    for (const scope of concerned) {
      const own = scope.takeSteps();
      if (own.length > 0) steps.set(scope, own);
    }
    return steps;
  }

  #holders({ kind, id, before, after }: RecordChange): Iterable<HostScope> {
    const record = (before ?? after)!;
    if (record.kind === 'port' || record.kind === 'binding' || record.kind === 'learned')
      return this.registry.holders('switch', record.switch);
    if (record.kind === 'rule') return this.registry.holders('chain', record.chain);
    return this.registry.holders(kind, id);
  }

  /** Brings the counts up to date; returns the scopes that this may have changed. */
  #recount(change: RecordChange): Iterable<HostScope> {
    const { kind, id } = change;
    if (kind === 'port') return this.#recountPort(id, change.before as LogicalPort, change.after as LogicalPort);
    if (kind === 'binding') return this.#recountBinding(id, change.before as Binding, change.after as Binding);
    if (kind === 'rule') {
      const { chain } = (change.before ?? change.after) as Rule;
      const holders = [...this.registry.holders('chain', chain)];
      for (const scope of holders) scope.syncJump(chain, id);
      return holders;
    }
    if (kind === 'host') {
      const holders = [...this.registry.holders('host', id)];
      for (const scope of holders) scope.syncZone(id);
      return holders;
    }
    return [];
  }

  #recountPort(id: string, before: LogicalPort | undefined, after: LogicalPort | undefined): Iterable<HostScope> {
    const scopes = new Set<HostScope>();
    for (const hostId of [before?.host, after?.host]) {
      const scope = hostId === undefined ? undefined : this.#scopes.get(hostId);
      if (scope) scopes.add(scope);
    }
    for (const claim of this.#index.bindingOf(id)?.claims ?? []) {
      const scope = this.#scopes.get(claim.host);
      if (scope) scopes.add(scope);
    }
    for (const scope of scopes) scope.syncLocalPort(id);
    return scopes;
  }

  #recountBinding(id: string, before: Binding | undefined, after: Binding | undefined): Iterable<HostScope> {
    const scopes = new Set<HostScope>();
    if (after) for (const scope of this.#countClaims(after, 1)) scopes.add(scope);
    if (before) for (const scope of this.#countClaims(before, -1)) scopes.add(scope);
    for (const claim of [...(before?.claims ?? []), ...(after?.claims ?? [])]) {
      const scope = this.#scopes.get(claim.host);
      if (!scope) continue;
      scope.syncLocalPort(id);
      scopes.add(scope);
    }
    return scopes;
  }

  /** Returns the scopes that gained or lost a remote host by it. */
  #countClaims(binding: Binding, by: 1 | -1): Iterable<HostScope> {
    const ofSwitch = this.#hostsOfSwitch.get(binding.switch) ?? new Map<string, number>();
    this.#hostsOfSwitch.set(binding.switch, ofSwitch);
    const changed = new Set<HostScope>();
    for (const { host } of binding.claims) {
      const count = (ofSwitch.get(host) ?? 0) + by;
      if (count === 0) ofSwitch.delete(host);
      else ofSwitch.set(host, count);
      if (count !== (by === 1 ? 1 : 0)) continue;
      for (const scope of this.registry.holders('switch', binding.switch)) {
        if (by === 1) scope.addHost(host);
        else scope.removeHost(host);
        changed.add(scope);
      }
    }
    if (ofSwitch.size === 0) this.#hostsOfSwitch.delete(binding.switch);
    return changed;
  }
}

/** What a host's agent has to be told of one record. */
export type ScopeStep =
  | { readonly type: 'put'; readonly record: ScopeRecord }
  | { readonly type: 'leave' | 'delete'; readonly kind: ScopeKind; readonly id: string };

/** Container → the scopes that hold it. */
class Registry {
  readonly #holders = new Map<string, Set<HostScope>>();

  add(kind: ScopeKind, id: string, scope: HostScope): void {
    const key = `${kind}/${id}`;
    const known = this.#holders.get(key);
    if (known) known.add(scope);
    else this.#holders.set(key, new Set([scope]));
  }
  remove(kind: ScopeKind, id: string, scope: HostScope): void {
    const key = `${kind}/${id}`;
    const known = this.#holders.get(key);
    known?.delete(scope);
    if (known?.size === 0) this.#holders.delete(key);
  }
  holders(kind: ScopeKind, id: string): Iterable<HostScope> {
    return this.#holders.get(`${kind}/${id}`) ?? [];
  }
}

/** What was counted for a local port, so that it can be taken back whatever became of the port meanwhile. */
interface LocalPort {
  readonly switch: string;
  chains: readonly string[];
}

/** One host's scope. The counts follow the index by the `sync…` methods, each of which may be called at any time. */
export class HostScope {
  readonly hostId: string;
  readonly #index: ModelIndex;
  readonly #registry: Registry;
  readonly #hostsOfSwitch: (switchId: string) => Iterable<string>;
  readonly #localPorts = new Map<string, LocalPort>();
  readonly #switches = new Map<string, { count: number; readonly tenant: string | undefined }>();
  /** With the jumps of its rules as they were counted: rule → chain. */
  readonly #chains = new Map<string, { count: number; readonly jumps: Map<string, string> }>();
  readonly #hosts = new Map<string, { count: number; zone: string | undefined }>();
  readonly #zones = new Map<string, number>();
  readonly #tenants = new Map<string, number>();
  #touched = new Map<string, { kind: ScopeKind; id: string; wasIn: boolean; changed: boolean }>();

  constructor(
    hostId: string,
    index: ModelIndex,
    registry: Registry,
    hostsOfSwitch: (switchId: string) => Iterable<string>,
  ) {
    this.hostId = hostId;
    this.#index = index;
    this.#registry = registry;
    this.#hostsOfSwitch = hostsOfSwitch;
  }

  enterAll(): void {
    this.addHost(this.hostId);
    for (const referrer of this.#index.referrersOf('host', this.hostId))
      if (referrer.kind === 'port') this.syncLocalPort(referrer.id);
    for (const binding of this.#index.bindingsOnHost(this.hostId)) this.syncLocalPort(binding.id);
    this.#touched.clear();
  }

  leaveAll(): void {
    for (const [id, local] of [...this.#localPorts]) this.#dropLocalPort(id, local);
    this.removeHost(this.hostId);
    this.#touched.clear();
  }

  contains(record: ScopeRecord): boolean {
    switch (record.kind) {
      case 'port':
      case 'binding':
      case 'learned':
        return this.#switches.has(record.switch);
      case 'switch':
        return this.#switches.has(record.id);
      case 'rule':
        return this.#chains.has(record.chain);
      case 'chain':
        return this.#chains.has(record.id);
      case 'host':
        return this.#hosts.has(record.id);
      case 'tunnelZone':
        return this.#zones.has(record.id);
      case 'tenant':
        return this.#tenants.has(record.id);
      default:
        return false;
    }
  }

  /** Every record, containers before what they hold. */
  *records(): Iterable<ScopeRecord> {
    const each = function* (index: ModelIndex, kind: ScopeKind, ids: Iterable<string>): Iterable<ScopeRecord> {
      for (const id of ids) {
        const record = index.get(kind, id);
        if (record) yield record;
      }
    };
    yield* each(this.#index, 'tunnelZone', this.#zones.keys());
    yield* each(this.#index, 'host', this.#hosts.keys());
    yield* each(this.#index, 'tenant', this.#tenants.keys());
    yield* each(this.#index, 'chain', this.#chains.keys());
    for (const id of this.#chains.keys()) yield* this.#index.rulesOfChain(id);
    for (const id of this.#switches.keys()) {
      yield* each(this.#index, 'switch', [id]);
      yield* this.#contentsOfSwitch(id);
    }
  }

  isLocal(portId: string): boolean {
    return this.#localPorts.has(portId);
  }

  /** Notes that a record changed, entered or left; the first note of a transaction tells whether the agent has it. */
  touch(kind: ScopeKind, id: string, wasIn: boolean, changed = false): void {
    const key = `${kind}/${id}`;
    const known = this.#touched.get(key);
    if (known) known.changed ||= changed;
    else this.#touched.set(key, { kind, id, wasIn, changed });
  }

  /** What the notes of this transaction come to. */
  takeSteps(): readonly ScopeStep[] {
    const steps: ScopeStep[] = [];
    for (const { kind, id, wasIn, changed } of this.#touched.values()) {
      const record = this.#index.get(kind, id);
      const isIn = record !== undefined && this.contains(record);
      if (isIn && (changed || !wasIn)) steps.push({ type: 'put', record });
      else if (!isIn && wasIn) steps.push({ type: record ? 'leave' : 'delete', kind, id });
    }
    this.#touched = new Map();
    return steps;
  }

  /** Is the port local now, and which chains does it hang on? */
  syncLocalPort(id: string): void {
    const port = this.#index.get('port', id);
    const binding = this.#index.bindingOf(id);
    const isLocal = port?.host === this.hostId || (binding?.claims.some((c) => c.host === this.hostId) ?? false);
    const known = this.#localPorts.get(id);
    if (!isLocal) {
      if (known) this.#dropLocalPort(id, known);
      return;
    }
    const local = known ?? { switch: (port ?? binding)!.switch, chains: [] };
    if (!known) {
      this.#localPorts.set(id, local);
      this.#addSwitch(local.switch);
    }
    const former = local.chains;
    local.chains = [port?.fromChain, port?.toChain].filter((chain) => chain !== undefined);
    for (const chain of local.chains) this.#addChain(chain);
    for (const chain of former) this.#removeChain(chain);
  }

  /** Counts the rule's jump as it is now; `chainId` is the rule's chain. */
  syncJump(chainId: string, ruleId: string): void {
    const jumps = this.#chains.get(chainId)?.jumps;
    if (!jumps) return;
    const wanted = this.#index.get('rule', ruleId)?.jumpTo;
    const known = jumps.get(ruleId);
    if (wanted === known) return;
    if (wanted === undefined) jumps.delete(ruleId);
    else {
      jumps.set(ruleId, wanted);
      this.#addChain(wanted);
    }
    if (known !== undefined) this.#removeChain(known);
  }

  syncZone(hostId: string): void {
    const known = this.#hosts.get(hostId);
    if (!known) return;
    const { zone } = this.#index.get('host', hostId) ?? ({} as Partial<Host>);
    if (zone === known.zone) return;
    if (zone !== undefined) this.#count(this.#zones, 'tunnelZone', zone, 1);
    if (known.zone !== undefined) this.#count(this.#zones, 'tunnelZone', known.zone, -1);
    known.zone = zone;
  }

  addHost(id: string): void {
    const known = this.#hosts.get(id);
    if (known) {
      known.count++;
      return;
    }
    this.#hosts.set(id, { count: 1, zone: undefined });
    this.#registry.add('host', id, this);
    this.touch('host', id, false);
    this.syncZone(id);
  }

  removeHost(id: string): void {
    const known = this.#hosts.get(id);
    if (!known || --known.count > 0) return;
    this.#hosts.delete(id);
    this.#registry.remove('host', id, this);
    this.touch('host', id, true);
    if (known.zone !== undefined) this.#count(this.#zones, 'tunnelZone', known.zone, -1);
  }

  #dropLocalPort(id: string, local: LocalPort): void {
    this.#localPorts.delete(id);
    for (const chain of local.chains) this.#removeChain(chain);
    this.#removeSwitch(local.switch);
  }

  #addSwitch(id: string): void {
    const known = this.#switches.get(id);
    if (known) {
      known.count++;
      return;
    }
    const tenant = this.#index.get('switch', id)?.tenant;
    this.#switches.set(id, { count: 1, tenant });
    this.#registry.add('switch', id, this);
    this.touch('switch', id, false);
    if (tenant !== undefined) this.#count(this.#tenants, 'tenant', tenant, 1);
    for (const record of this.#contentsOfSwitch(id)) this.touch(record.kind, record.id, false);
    for (const host of this.#hostsOfSwitch(id)) this.addHost(host);
  }

  #removeSwitch(id: string): void {
    const known = this.#switches.get(id);
    if (!known || --known.count > 0) return;
    this.#switches.delete(id);
    this.#registry.remove('switch', id, this);
    this.touch('switch', id, true);
    for (const record of this.#contentsOfSwitch(id)) this.touch(record.kind, record.id, true);
    for (const host of this.#hostsOfSwitch(id)) this.removeHost(host);
    if (known.tenant !== undefined) this.#count(this.#tenants, 'tenant', known.tenant, -1);
  }

  *#contentsOfSwitch(id: string): Iterable<ScopeRecord> {
    for (const port of this.#index.portsOfSwitch(id)) {
      yield port;
      const binding = this.#index.bindingOf(port.id);
      if (binding) yield binding;
    }
    yield* this.#index.learnedOf(id);
  }

  #addChain(id: string): void {
    const known = this.#chains.get(id);
    if (known) {
      known.count++;
      return;
    }
    this.#chains.set(id, { count: 1, jumps: new Map() });
    this.#registry.add('chain', id, this);
    this.touch('chain', id, false);
    for (const rule of this.#index.rulesOfChain(id)) {
      this.touch('rule', rule.id, false);
      this.syncJump(id, rule.id);
    }
  }

  #removeChain(id: string): void {
    const known = this.#chains.get(id);
    if (!known || --known.count > 0) return;
    this.#chains.delete(id);
    this.#registry.remove('chain', id, this);
    this.touch('chain', id, true);
    for (const rule of this.#index.rulesOfChain(id)) this.touch('rule', rule.id, true);
    for (const target of known.jumps.values()) this.#removeChain(target);
  }

  #count(counts: Map<string, number>, kind: ScopeKind, id: string, by: 1 | -1): void {
    const count = (counts.get(id) ?? 0) + by;
    if (count > 0) counts.set(id, count);
    else counts.delete(id);
    if (count === 0) {
      this.#registry.remove(kind, id, this);
      this.touch(kind, id, true);
    } else if (count === 1 && by === 1) {
      this.#registry.add(kind, id, this);
      this.touch(kind, id, false);
    }
  }
}
