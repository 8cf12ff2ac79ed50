import type { ModelIndex } from '../model/model-index.ts';
import type { LogicalPort, ScopeKind, ScopeRecord } from '../model/objects.ts';
import { mirrorPlaces } from '../model/relations.ts';
import type { RecordChange } from './desired-state.ts';
import { Reach } from './reach.ts';
import { contentsOf, type NodeType, ScopeGraph, type ScopeNode } from './scope-graph.ts';

/**
 * Which records each connected host needs: everything its own ports can reach, and nothing else.
 *
 * ```
 * host h ─┬─▶ host h ─▶ tunnel zone
 *         └─▶ local ports (requested at h, or claimed by it)
 *               ├─▶ their chains and security groups
 *               └─▶ their switches ══ routers ══ switches …, by `Reach`
 * ```
 *
 * What follows from there is the same for all hosts and lies in one `ScopeGraph`; a host only counts by how many ways it
 * holds each node. Records of a node (ports of a switch, rules of a chain) are not counted. A change therefore costs as
 * many steps as hosts are concerned; only a node that enters or leaves costs its size, which has to be sent anyway.
 */
export class ScopeIndex {
  readonly #index: ModelIndex;
  readonly #graph: ScopeGraph<HostScope>;
  readonly #scopes = new Map<string, HostScope>();
  /** Those that the transaction at hand may mean something to. */
  readonly #concerned = new Set<HostScope>();

  constructor(index: ModelIndex) {
    this.#index = index;
    this.#graph = new ScopeGraph<HostScope>(index, {
      joined: (from, to) => {
        for (const scope of from.holders.keys()) scope.hold(to);
      },
      parted: (from, to) => {
        for (const scope of from.holders.keys()) scope.release(to);
      },
      linked: (from, to) => {
        for (const scope of from.holders.keys()) scope.reach.linked(from, to);
      },
      unlinked: (from, to) => {
        for (const scope of to.holders.keys()) {
          scope.reach.unlinked(from, to);
          this.#concerned.add(scope);
        }
      },
    });
  }

  /** Works the host's scope out from scratch and keeps it up to date from here on. */
  attach(hostId: string): HostScope {
    this.detach(hostId);
    const scope = new HostScope(hostId, this.#index, this.#graph, (concerned) => this.#concerned.add(concerned));
    this.#scopes.set(hostId, scope);
    scope.enterAll();
    return scope;
  }

  detach(hostId: string): void {
    this.#scopes.get(hostId)?.leaveAll();
    this.#scopes.delete(hostId);
  }

  /** Routers that the host's claimed ports reach in full (not only what others see of them). */
  routersBehind(hostId: string): ReadonlySet<string> {
    return this.routersBeyond([...this.#index.bindingsOnHost(hostId)].map((binding) => binding.switch));
  }

  /** Routers that what is on these switches reaches in full. */
  routersBeyond(switches: Iterable<string>): ReadonlySet<string> {
    const reached = new Set<ScopeNode<HostScope>>();
    for (const id of switches) {
      const device = this.#graph.find('switch', id);
      if (device) reached.add(device);
    }
    for (const device of reached) for (const next of device.links.keys()) reached.add(next);
    return new Set([...reached].flatMap(({ type, id }) => (type === 'router' ? [id] : [])));
  }

  /** Takes a transaction in that the index holds already. Returns what it means to each host concerned. */
  apply(changes: readonly RecordChange[]): ReadonlyMap<HostScope, readonly ScopeStep[]> {
    // First note who holds what changes, as long as the counts are those from before the transaction.
    for (const { kind, id, before, after } of changes) {
      if (before)
        for (const node of this.#graph.nodesOf(before))
          for (const scope of node.holders.keys()) scope.touch(kind, id, true, true);
      if (after)
        for (const node of this.#graph.nodesOf(after))
          for (const scope of node.holders.keys()) scope.touch(kind, id, false, true);
    }
    for (const change of changes) this.#graph.take(change);
    for (const change of changes) this.#syncLocalPort(change);
    const steps = new Map<HostScope, readonly ScopeStep[]>();
    for (const scope of this.#concerned) {
      const own = scope.takeSteps();
      if (own.length > 0) steps.set(scope, own);
    }
    this.#concerned.clear();
    return steps;
  }

  /** Local ports hold what mirrors them only while something does. */
  #syncMirrored(portOrSwitch: string): void {
    const ports = this.#index.get('switch', portOrSwitch)
      ? [...this.#index.portsOfSwitch(portOrSwitch)].map(({ id }) => id)
      : [portOrSwitch];
    for (const id of ports) {
      const port = this.#index.get('port', id);
      this.#syncLocalPort({ kind: 'port', id, ...(port ? { after: port } : {}) });
    }
  }

  #syncLocalPort({ kind, id, before, after }: RecordChange): void {
    const hosts = new Set<string | undefined>();
    for (const record of [before, after]) {
      if (record?.kind === 'port') hosts.add(record.host);
      if (record?.kind === 'binding') for (const claim of record.claims) hosts.add(claim.host);
    }
    if (kind === 'port') for (const claim of this.#index.bindingOf(id)?.claims ?? []) hosts.add(claim.host);
    for (const record of [before, after])
      if (record?.kind === 'mirror') for (const place of mirrorPlaces(record)) this.#syncMirrored(place);
    for (const host of hosts) {
      const scope = host === undefined ? undefined : this.#scopes.get(host);
      if (!scope) continue;
      scope.syncLocalPort(id);
      this.#concerned.add(scope);
    }
  }
}

/** Nothing comes after the first. */
function isEmpty(records: Iterable<unknown>): boolean {
  for (const _ of records) return false;
  return true;
}

/** What a host's agent has to be told of one record. */
export type ScopeStep =
  | { readonly type: 'put'; readonly record: ScopeRecord }
  | { readonly type: 'leave' | 'delete'; readonly kind: ScopeKind; readonly id: string };

type Node = ScopeNode<HostScope>;

/** What a host holds by itself. */
const OWN = ['host', 'attachments'] as const;

/** What was counted for a local port, so that it can be taken back whatever became of the port meanwhile. */
interface LocalPort {
  readonly device: Node;
  nodes: readonly Node[];
}

interface Touched {
  readonly kind: ScopeKind;
  readonly id: string;
  readonly wasIn: boolean;
  changed: boolean;
}

/** One host's scope. It follows the index by `syncLocalPort` and what the graph tells; each may be called at any time. */
export class HostScope {
  readonly hostId: string;
  readonly reach: Reach<HostScope>;
  readonly #index: ModelIndex;
  readonly #graph: ScopeGraph<HostScope>;
  readonly #localPorts = new Map<string, LocalPort>();
  #touched = new Map<string, Touched>();
  /** While the scope is made or given up, nobody asks what changed. */
  #isSilent = false;

  readonly #onTouched: (scope: HostScope) => void;

  constructor(hostId: string, index: ModelIndex, graph: ScopeGraph<HostScope>, onTouched: (scope: HostScope) => void) {
    this.hostId = hostId;
    this.#onTouched = onTouched;
    this.#index = index;
    this.#graph = graph;
    this.reach = new Reach(
      (device) => this.hold(device),
      (device) => this.release(device),
    );
  }

  enterAll(): void {
    this.#isSilent = true;
    for (const type of OWN) this.hold(this.#graph.node(type, this.hostId));
    for (const referrer of this.#index.referrersOf('host', this.hostId))
      if (referrer.kind === 'port') this.syncLocalPort(referrer.id);
    for (const binding of this.#index.bindingsOnHost(this.hostId)) this.syncLocalPort(binding.id);
    this.#isSilent = false;
  }

  leaveAll(): void {
    this.#isSilent = true;
    for (const [id, local] of [...this.#localPorts]) this.#dropLocalPort(id, local);
    this.reach.settle();
    for (const type of OWN) this.release(this.#graph.node(type, this.hostId));
  }

  contains(record: ScopeRecord): boolean {
    for (const node of this.#graph.nodesOf(record)) if (node.holders.has(this)) return true;
    return false;
  }

  /** Every record once, what others refer to first. */
  *records(): Iterable<ScopeRecord> {
    const held = this.#heldNodes();
    const seen = new Set<ScopeRecord>();
    for (const type of RECORD_ORDER)
      for (const { id } of held.get(type) ?? [])
        for (const record of contentsOf(this.#index, type, id)) {
          if (seen.has(record)) continue;
          seen.add(record);
          yield record;
        }
  }

  #heldNodes(): Map<NodeType, Node[]> {
    const own = OWN.map((type) => this.#graph.node(type, this.hostId));
    const all = new Set<Node>([...own, ...this.reach.devices()]);
    for (const { nodes } of this.#localPorts.values()) for (const node of nodes) all.add(node);
    for (const node of all) for (const child of node.children.keys()) all.add(child);
    return Map.groupBy(all, (node) => node.type);
  }

  /** Notes that a record changed, entered or left; the first note of a transaction tells whether the agent has it. */
  touch(kind: ScopeKind, id: string, wasIn: boolean, changed = false): void {
    const key = `${kind}/${id}`;
    const known = this.#touched.get(key);
    if (known) known.changed ||= changed;
    else {
      this.#touched.set(key, { kind, id, wasIn, changed });
      this.#onTouched(this);
    }
  }

  /** What the notes of this transaction come to. */
  takeSteps(): readonly ScopeStep[] {
    this.reach.settle();
    if (this.#touched.size === 0) return [];
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

  /** Is the port local now, and which chains and groups does it have? */
  syncLocalPort(id: string): void {
    const port = this.#index.get('port', id);
    const binding = this.#index.bindingOf(id);
    const isLocal = port?.host === this.hostId || (binding?.claims.some((c) => c.host === this.hostId) ?? false);
    const known = this.#localPorts.get(id);
    if (!isLocal) {
      if (known) this.#dropLocalPort(id, known);
      return;
    }
    const device = known?.device ?? this.#graph.node('switch', (port ?? binding)!.switch);
    const local: LocalPort = known ?? { device, nodes: [] };
    if (!known) {
      this.#localPorts.set(id, local);
      this.reach.addRoot(device);
    }
    const former = local.nodes;
    local.nodes = port ? this.#nodesOfPort(port) : [];
    for (const node of local.nodes) this.hold(node);
    for (const node of former) this.release(node);
  }

  #nodesOfPort(port: LogicalPort): readonly Node[] {
    const chains = [port.fromChain, port.toChain].filter((chain) => chain !== undefined);
    return [
      this.#graph.node('locals', port.switch),
      ...chains.map((chain) => this.#graph.node('chain', chain)),
      ...(port.groups ?? []).map((group) => this.#graph.node('group', group)),
      // Most ports and switches have none: a node for each would cost more than all else that is kept of it.
      ...[port.id, port.switch].flatMap((id) =>
        isEmpty(this.#index.mirrorsOf(id)) ? [] : [this.#graph.node('mirrors', id)],
      ),
    ];
  }

  #dropLocalPort(id: string, local: LocalPort): void {
    this.#localPorts.delete(id);
    for (const node of local.nodes) this.release(node);
    this.reach.removeRoot(local.device);
  }

  /** One way more by which the node is held. */
  hold(first: Node): void {
    // Not recursive: a chain of 10,000 jumps must not exhaust the stack.
    for (const open = [first]; ; ) {
      const node = open.pop();
      if (!node) return;
      const count = node.holders.get(this) ?? 0;
      if (count === 0) this.#touchContents(node);
      node.holders.set(this, count + 1);
      if (count === 0) open.push(...node.children.keys());
    }
  }

  release(first: Node): void {
    for (const open = [first]; ; ) {
      const node = open.pop();
      if (!node) return;
      const count = node.holders.get(this)!;
      if (count > 1) {
        node.holders.set(this, count - 1);
        continue;
      }
      this.#touchContents(node);
      node.holders.delete(this);
      open.push(...node.children.keys());
      this.#graph.collect(node);
    }
  }

  /** Before the node comes or goes. What it holds may be in the scope by another node as well. */
  #touchContents({ type, id }: Node): void {
    if (this.#isSilent) return;
    for (const record of contentsOf(this.#index, type, id)) {
      if (this.#touched.has(`${record.kind}/${record.id}`)) continue;
      this.touch(record.kind, record.id, this.contains(record));
    }
  }
}

/** What others refer to comes first. */
const RECORD_ORDER: readonly NodeType[] = [
  ...(['tunnelZone', 'host', 'tenant', 'addressSet', 'group', 'members', 'chain'] as const),
  ...(['switch', 'facade', 'router', 'port', 'balancer', 'mirrors', 'claimants', 'sessions', 'attachments'] as const),
  'vtep',
];
