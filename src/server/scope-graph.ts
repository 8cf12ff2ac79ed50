import type { ModelIndex } from '../model/model-index.ts';
import type { RouterPort, ScopeKind, ScopeRecord } from '../model/objects.ts';
import { mirrorPlaces } from '../model/relations.ts';
import type { RecordChange } from './desired-state.ts';

/**
 * What reaches what, for all hosts together: records lie in *nodes*, and whoever holds a node holds all that it leads to.
 *
 * ```
 * switch ══ router ══ router (peer)          ══ link: reach, may close circles; followed by `Reach`
 *   │          ├─▶ chain ─▶ chain jumped to  ─▶ edge: never in circles; followed by counting
 *   │          │     └─▶ address set, members of a group
 *   │          └─▶ facade of the router ─┬─▶ tenant, chain (pre-filters)
 *   │                                    ├─▶ port with its binding (of floating addresses, moved connections) ─▶ host ─▶ tunnel zone
 *   │                                    ├─▶ balancer ─▶ ports of its members
 *   │                                    └─▶ hosts with leases
 *   ├─▶ claimants: hosts with a claim of its ports; balancers on it; tenant; chain (its pre-filter)
 *   └─▶ where it is shared: facades of the routers that have an outside port on it, and the in-chains of those ports
 * ports of a switch that are local ─▶ sessions of router ports on it (passwords are for gateways alone)
 * ports of a switch that are local ─▶ where it is shared: all hosts, for whose routers lead into it is not followed
 * mirrors (of a local port, of the switch of one) ─▶ port with its binding (where the copies go) ─▶ host
 * mirrors to a local port ─▶ ports with their bindings, claimants of the switch (where the copies come from) ─▶ host
 * attachments (of a host): L2 gateways that have a place there, for that host alone ─▶ VTEPs likewise, with their bindings
 * security group (of a local port) ─▶ members of groups and address sets that its rules name
 * ```
 *
 * A new record costs its own edges, not the size of what it joins.
 */
export type NodeType =
  | 'tunnelZone'
  | 'host'
  | 'hosts'
  | 'attachments'
  | 'vtep'
  | 'locals'
  | 'tenant'
  | 'addressSet'
  | 'group'
  | 'members'
  | 'chain'
  | 'port'
  | 'balancer'
  | 'mirrors'
  | 'sessions'
  | 'claimants'
  | 'facade'
  | 'router'
  | 'switch';

/** `H`: who holds nodes. */
export interface ScopeNode<H> {
  readonly type: NodeType;
  readonly id: string;
  /** Nodes it leads to, with how many records say so. */
  readonly children: Map<ScopeNode<H>, number>;
  readonly links: Map<ScopeNode<H>, number>;
  /** By how many nodes it is held for each holder, and directly. */
  readonly holders: Map<H, number>;
  /** Edges and links that lead here. */
  incoming: number;
}

export interface GraphListener<H> {
  /** `to` is a child of `from` from now on. */
  joined(from: ScopeNode<H>, to: ScopeNode<H>): void;
  parted(from: ScopeNode<H>, to: ScopeNode<H>): void;
  linked(from: ScopeNode<H>, to: ScopeNode<H>): void;
  unlinked(from: ScopeNode<H>, to: ScopeNode<H>): void;
}

type Place = readonly [type: NodeType, id: string];
interface Edge {
  readonly from: Place;
  readonly to: Place;
  /** A link, which may close circles. */
  readonly link?: true;
}

export class ScopeGraph<H> {
  readonly #index: ModelIndex;
  readonly #listener: GraphListener<H>;
  readonly #nodes = new Map<NodeType, Map<string, ScopeNode<H>>>();
  /** What a record was found to lead to, where that depends on other records too. */
  readonly #ofRouterPort = new Map<string, readonly Edge[]>();
  readonly #ofPort = new Map<string, readonly Edge[]>();

  constructor(index: ModelIndex, listener: GraphListener<H>) {
    this.#index = index;
    this.#listener = listener;
    const kinds = ['host', 'switch', 'binding', 'rule', 'securityGroup', 'router', 'floatingAddress'] as const;
    for (const kind of [...kinds, 'loadBalancer', 'natLease', 'natMove', 'mirror', 'vtep'] as const)
      for (const record of index.all(kind)) for (const edge of edgesOf(record)) this.#add(edge);
    for (const port of index.all('routerPort')) this.#takeRouterPort(port.id);
  }

  /** The node, made where there is none: for one who is about to hold it. */
  node(type: NodeType, id: string): ScopeNode<H> {
    const known = this.find(type, id);
    if (known) return known;
    const node: ScopeNode<H> = {
      ...{ type, id, children: new Map(), links: new Map(), holders: new Map() },
      incoming: 0,
    };
    const ofType = this.#nodes.get(type);
    if (ofType) ofType.set(id, node);
    else this.#nodes.set(type, new Map([[id, node]]));
    return node;
  }

  find(type: NodeType, id: string): ScopeNode<H> | undefined {
    return this.#nodes.get(type)?.get(id);
  }

  /** The nodes in which a record lies, as far as anything leads there. */
  *nodesOf(record: ScopeRecord): Iterable<ScopeNode<H>> {
    for (const [type, id] of placesOf(record)) {
      const node = this.find(type, id);
      if (node) yield node;
    }
  }

  /** Forgets the node if nothing leads to it, nothing from it, and nobody holds it. */
  collect(node: ScopeNode<H>): void {
    if (node.incoming + node.children.size + node.links.size + node.holders.size > 0) return;
    this.#nodes.get(node.type)?.delete(node.id);
  }

  /** Follows a change that the index holds already. */
  take({ kind, id, before, after }: RecordChange): void {
    if (kind === 'routerPort') {
      this.#takeRouterPort(id);
      // Those that name it lead to its router, whichever that is now.
      for (const other of this.#index.peersOf(id)) this.#takeRouterPort(other.id);
      return;
    }
    const added = after ? edgesOf(after) : [];
    const gone = before ? edgesOf(before) : [];
    for (const edge of added) this.#add(edge);
    for (const edge of gone) this.#remove(edge);
    if (kind === 'binding' && this.find('port', id)) this.#takePort(id);
    if (
      kind === 'switch' &&
      (before?.kind === 'switch' && before.shared) !== (after?.kind === 'switch' && after.shared)
    )
      for (const port of this.#index.routerPortsOfSwitch(id)) this.#takeRouterPort(port.id);
  }

  #takeRouterPort(id: string): void {
    const port = this.#index.get('routerPort', id);
    this.#replace(this.#ofRouterPort, id, port ? edgesOfRouterPort(this.#index, port) : []);
  }

  /** Nodes of single ports are few: they know their hosts only while something leads to them. */
  #takePort(id: string): void {
    const isWanted = (this.find('port', id)?.incoming ?? 0) > 0;
    const claims = isWanted ? (this.#index.bindingOf(id)?.claims ?? []) : [];
    this.#replace(
      this.#ofPort,
      id,
      claims.map(({ host }): Edge => ({ from: ['port', id], to: ['host', host] })),
    );
  }

  #replace(known: Map<string, readonly Edge[]>, id: string, wanted: readonly Edge[]): void {
    const former = known.get(id) ?? [];
    if (wanted.length > 0) known.set(id, wanted);
    else known.delete(id);
    for (const edge of wanted) this.#add(edge);
    for (const edge of former) this.#remove(edge);
  }

  #add(edge: Edge): void {
    const from = this.node(...edge.from);
    const to = this.node(...edge.to);
    const map = edge.link ? from.links : from.children;
    const count = map.get(to) ?? 0;
    map.set(to, count + 1);
    if (count > 0) return;
    to.incoming++;
    if (edge.link) this.#listener.linked(from, to);
    else this.#listener.joined(from, to);
    if (to.type === 'port' && to.incoming === 1) this.#takePort(to.id);
  }

  #remove(edge: Edge): void {
    const from = this.node(...edge.from);
    const to = this.node(...edge.to);
    const map = edge.link ? from.links : from.children;
    const count = map.get(to)!;
    if (count > 1) {
      map.set(to, count - 1);
      return;
    }
    map.delete(to);
    to.incoming--;
    if (edge.link) this.#listener.unlinked(from, to);
    else this.#listener.parted(from, to);
    if (to.type === 'port' && to.incoming === 0) this.#takePort(to.id);
    this.collect(to);
    this.collect(from);
  }
}

/** Where a record lies. Depends on nothing but the record, so that what it was tells where it was. */
function placesOf(record: ScopeRecord): readonly Place[] {
  switch (record.kind) {
    case 'port': {
      const groups = (record.groups ?? []).map((group): Place => ['members', group]);
      return [['switch', record.switch], ['port', record.id], ...groups];
    }
    case 'binding':
      return [
        ['switch', record.switch],
        ['port', record.id],
      ];
    case 'learned':
    case 'neighbour':
      return [['switch', record.switch]];
    case 'switch':
      return [['switch', record.id]];
    case 'rule':
      return [['chain', record.chain]];
    case 'chain':
      return [['chain', record.id]];
    case 'host':
      return [['host', record.id]];
    case 'tunnelZone':
      return [['tunnelZone', record.id]];
    case 'tenant':
      return [['tenant', record.id]];
    case 'addressSet':
      return [['addressSet', record.id]];
    case 'securityGroup':
      return [
        ['group', record.id],
        ['members', record.id],
      ];
    case 'router':
      return [['facade', record.id]];
    case 'routerPort':
      return [['router', record.router], ...(record.switch === undefined ? [] : [['switch', record.switch] as const])];
    case 'floatingAddress':
    case 'natLease':
    case 'natMove':
      return [['facade', record.router]];
    case 'loadBalancer':
      return [['balancer', record.id]];
    case 'mirror':
      return [...mirrorPlaces(record)].map((id): Place => ['mirrors', id]);
    case 'memberHealth':
    case 'keptClients':
      return [['balancer', record.loadBalancer]];
    case 'bgpPeer':
      return [['sessions', record.routerPort]];
    case 'l2Gateway':
      return record.places.map(({ host }): Place => ['attachments', host]);
    case 'vtep':
      return [['vtep', record.id]];
    case 'vtepBinding':
      return [['vtep', record.vtep]];
    case 'learnedSet':
    case 'learnedRoutes':
    case 'nextHopState':
      return [['router', record.router]];
  }
}

/** The records that lie in a node, containers first. */
export function* contentsOf(index: ModelIndex, type: NodeType, id: string): Iterable<ScopeRecord> {
  const one = function* (kind: ScopeKind): Iterable<ScopeRecord> {
    const record = index.get(kind, id);
    if (record) yield record;
  };
  switch (type) {
    case 'hosts':
    case 'locals':
    case 'claimants':
      return;
    case 'attachments':
      return yield* index.l2GatewaysAt(id);
    case 'vtep':
      yield* one('vtep');
      return yield* index.bindingsOfVtep(id);
    case 'tunnelZone':
    case 'host':
    case 'tenant':
    case 'addressSet':
      return yield* one(type);
    case 'group':
      return yield* one('securityGroup');
    case 'members':
      yield* one('securityGroup');
      return yield* index.portsOfGroup(id);
    case 'chain':
      yield* one('chain');
      return yield* index.rulesOfChain(id);
    case 'port':
      yield* one('port');
      return yield* one('binding');
    case 'balancer':
      yield* one('loadBalancer');
      yield* index.healthOf(id);
      return yield* index.keptClientsOf(id);
    case 'mirrors':
      return yield* index.mirrorsOf(id);
    case 'sessions':
      return yield* index.bgpPeersAt(id);
    case 'facade':
      yield* one('router');
      yield* index.floatingAddressesOfRouter(id);
      yield* index.leasesOfRouter(id);
      return yield* index.natMovesOfRouter(id);
    case 'router':
      yield* index.routerPortsOfRouter(id);
      yield* index.learnedOfRouter(id);
      return yield* index.nextHopStatesOf(id);
    case 'switch':
      yield* one('switch');
      for (const port of index.portsOfSwitch(id)) {
        yield port;
        const binding = index.bindingOf(port.id);
        if (binding) yield binding;
      }
      yield* index.learnedOf(id);
      yield* index.neighboursOf(id);
      yield* index.routerPortsOfSwitch(id);
  }
}

/** What a record leads to, by itself. */
function edgesOf(record: ScopeRecord): readonly Edge[] {
  switch (record.kind) {
    case 'host':
      return [
        { from: ['host', record.id], to: ['tunnelZone', record.zone] },
        { from: ['hosts', ''], to: ['host', record.id] },
      ];
    case 'switch':
      return [
        { from: ['switch', record.id], to: ['tenant', record.tenant] },
        { from: ['switch', record.id], to: ['claimants', record.id] },
        ...(record.shared ? [{ from: ['locals', record.id], to: ['hosts', ''] } as const] : []),
        ...prefilter(['switch', record.id], record),
      ];
    case 'binding':
      return record.claims.map(({ host }) => ({ from: ['claimants', record.switch], to: ['host', host] }));
    case 'rule': {
      const { srcSet, dstSet, srcGroup, dstGroup } = record.match;
      const from: Place = ['chain', record.chain];
      return [
        ...(record.jumpTo === undefined ? [] : [{ from, to: ['chain', record.jumpTo] } as const]),
        ...[srcSet, dstSet].flatMap((set) => (set === undefined ? [] : [{ from, to: ['addressSet', set] } as const])),
        ...[srcGroup, dstGroup].flatMap((group) =>
          group === undefined ? [] : [{ from, to: ['members', group] } as const],
        ),
      ];
    }
    case 'securityGroup': {
      const from: Place = ['group', record.id];
      return [...record.ingress, ...record.egress].flatMap(({ group, addressSet }): Edge[] => [
        ...(group === undefined ? [] : [{ from, to: ['members', group] } as const]),
        ...(addressSet === undefined ? [] : [{ from, to: ['addressSet', addressSet] } as const]),
      ]);
    }
    case 'router':
      return [
        { from: ['router', record.id], to: ['facade', record.id] },
        { from: ['facade', record.id], to: ['tenant', record.tenant] },
        ...prefilter(['facade', record.id], record),
      ];
    case 'floatingAddress':
      return [
        { from: ['facade', record.router], to: ['port', record.port] },
        ...prefilter(['facade', record.router], record),
      ];
    case 'natMove':
      return [{ from: ['facade', record.router], to: ['port', record.port] }];
    case 'loadBalancer': {
      const device: Place = record.router === undefined ? ['switch', record.switch!] : ['facade', record.router];
      const to: Place = ['balancer', record.id];
      return [
        { from: device, to },
        ...record.members.map(({ port }): Edge => ({ from: to, to: ['port', port] })),
        ...prefilter(to, record),
      ];
    }
    case 'mirror': {
      const { port } = record.to;
      if (port === undefined) return [];
      const at: Place = ['mirrors', port];
      return [
        ...[...mirrorPlaces(record)].map((id): Edge => ({ from: ['mirrors', id], to: ['port', port] })),
        // Whose copies come by the tunnel is to be known.
        ...record.ports.map((id): Edge => ({ from: at, to: ['port', id] })),
        ...(record.switch === undefined ? [] : [{ from: at, to: ['claimants', record.switch] } as const]),
      ];
    }
    case 'natLease':
      return [{ from: ['facade', record.router], to: ['host', record.host] }];
    case 'vtep':
      return record.places.map(({ host }) => ({ from: ['attachments', host], to: ['vtep', record.id] }));
    default:
      return [];
  }
}

function prefilter(from: Place, { prefilter: chain }: { readonly prefilter?: string | undefined }): Edge[] {
  return chain === undefined ? [] : [{ from, to: ['chain', chain] }];
}

/**
 * A switch leads to the routers that have a port on it, but for outside ports on a shared switch: what comes in there
 * goes to an anchor or to the router itself, so the router's facade is enough (docs/design/layer3.md, §10).
 */
function edgesOfRouterPort(index: ModelIndex, port: RouterPort): readonly Edge[] {
  const router: Place = ['router', port.router];
  const edges: Edge[] = [];
  for (const chain of [port.inChain, port.outChain])
    if (chain !== undefined) edges.push({ from: router, to: ['chain', chain] });
  if (port.switch !== undefined) {
    const device: Place = ['switch', port.switch];
    edges.push({ from: router, to: device, link: true });
    edges.push({ from: ['locals', port.switch], to: ['sessions', port.id] });
    if (port.outside && index.get('switch', port.switch)?.shared) {
      edges.push({ from: device, to: ['facade', port.router] });
      if (port.inChain !== undefined) edges.push({ from: device, to: ['chain', port.inChain] });
    } else edges.push({ from: device, to: router, link: true });
  }
  const peer = port.peer === undefined ? undefined : index.get('routerPort', port.peer);
  if (peer) {
    const other: Place = ['router', peer.router];
    edges.push({ from: router, to: other, link: true }, { from: other, to: router, link: true });
  }
  return edges;
}
