import type { Connection, Endpoint } from '../flow-database/flow-store.ts';
import type { KeptClients, LearnedRoutes, LearnedSet, ScopeKind, ScopeRecord } from '../model/objects.ts';
import type { PortBlock } from '../model/port-blocks.ts';

/**
 * What server and agent say to each other. Types (and what they agree on), so that both sides share them without loading each other.
 *
 * Down: `POST /v1/hosts/<host id>/watch` with a `WatchRequest`; the answer is an endless stream of `WatchMessage`,
 * one JSON object a line. Up: `POST /v1/hosts/<host id>/reports` with `{ reports: Report[] }`, in order, answered
 * with `ReportsAnswer`.
 */

/** What the agent still has from earlier: (kind, id) → revision. The server sends only what differs. */
export interface WatchRequest {
  readonly incarnation?: string;
  readonly revision?: number;
  readonly have: { readonly [K in ScopeKind]?: Readonly<Record<string, number>> };
}

export type WatchMessage =
  /** First: the store's incarnation (changes when a store is restored) and the agent's own host id. */
  | { readonly type: 'hello'; readonly incarnation: string; readonly revision: number; readonly host: string }
  | { readonly type: 'put'; readonly record: ScopeRecord }
  /** The record exists but this agent's ports no longer reach it. */
  | { readonly type: 'leave'; readonly kind: ScopeKind; readonly id: string }
  | { readonly type: 'delete'; readonly kind: ScopeKind; readonly id: string }
  /** All since the last commit is one transaction: apply it as a whole. */
  | { readonly type: 'commit'; readonly revision: number }
  /** Nothing in the scope changed up to this revision; also the heartbeat (every 5 s). */
  | { readonly type: 'progress'; readonly revision: number }
  | RelayedRequest;

/**
 * What somebody asks this host's agent through the server (`/v1/hosts/<host>/agent/<path>`): a request to its control
 * socket, with method, path and query as there. The agent answers by `POST /v1/hosts/<host id>/answers/<id>`, the
 * answer's bytes as the body as they come, status and content type in the headers `x-weft-status` and `x-weft-type`
 * (`Client.upload` does that). When the one who asked goes away, the server closes that request.
 */
export interface RelayedRequest {
  readonly type: 'request';
  readonly id: string;
  readonly method: 'GET' | 'POST';
  /** From the root of the control socket, query included: `/capture?port=…`. */
  readonly path: string;
  /** Empty for GET. */
  readonly body: string;
}

export type Report =
  /** All interfaces with a port id on this host; sent on every new connection, replaces what the server knew. */
  | { readonly type: 'claims'; readonly claims: readonly ReportedClaim[] }
  | ({ readonly type: 'claim' } & ReportedClaim)
  | { readonly type: 'unclaim'; readonly port: string }
  /** The workload announced itself on this host. */
  | { readonly type: 'activate'; readonly port: string }
  /** All learned addresses of this host; sent on every new connection. */
  | { readonly type: 'learnedAll'; readonly addresses: readonly ReportedAddress[] }
  | ({ readonly type: 'learned' } & ReportedAddress)
  | ({ readonly type: 'forgotten' } & ReportedAddress)
  /**
   * The ports of an SNAT address that this host may use are running out, or it has none. `have`: how many ports its lease
   * had when this was noticed, so that asking twice gives no more than asking once. `port`: of an L2 gateway, which has a lease of its own.
   * The answer is a `natLease` record.
   */
  | {
      readonly type: 'natNeed';
      readonly router: string;
      readonly address: string;
      readonly port?: string;
      readonly have?: number;
    }
  /** Ports of a lease that this host (or that port of an L2 gateway here) has not needed for long: no connection has one of them, and none will. */
  | {
      readonly type: 'natReturn';
      readonly router: string;
      readonly address: string;
      readonly port?: string;
      readonly blocks: readonly PortBlock[];
    }
  /**
   * Connections that the workload of a port has brought here from another host, with outside ports of that one's lease: all of this port and SNAT address
   * (src/model/moved-connections.ts), none: it is over. A `natMove` record leads their packets to where the port is active.
   */
  | {
      readonly type: 'natMove';
      readonly port: string;
      readonly router: string;
      readonly address: string;
      readonly connections: readonly string[];
    }
  /** What the probes of members on this host say; all of them on every new connection, then changes. */
  | { readonly type: 'memberHealthAll'; readonly members: readonly ReportedMember[] }
  | ({ readonly type: 'memberHealth' } & ReportedMember)
  /** The member is no longer probed here. */
  | { readonly type: 'memberHealthGone'; readonly loadBalancer: string; readonly port: string }
  /**
   * Clients that keep members of a balancer whatever their slots say, as this host remembers them: all of the balancer; none: it keeps none. On every new
   * connection all of the host's, where it has balancers with `stickyS`.
   */
  | ({ readonly type: 'keptClients' } & ReportedKept)
  | { readonly type: 'keptClientsAll'; readonly kept: readonly ReportedKept[] }
  /** Where addresses are that no port has as its own, as seen behind this host's ports; all on every new connection. */
  | { readonly type: 'neighbourAll'; readonly neighbours: readonly ReportedNeighbour[] }
  | ({ readonly type: 'neighbour' } & ReportedNeighbour)
  | { readonly type: 'neighbourGone'; readonly switch: string; readonly address: string }
  /** Whether probed next hops behind this host's ports answer; all on every new connection, then changes. */
  | { readonly type: 'nextHopsAll'; readonly hops: readonly ReportedNextHop[] }
  | ({ readonly type: 'nextHop' } & ReportedNextHop)
  /** It is no longer probed here. */
  | { readonly type: 'nextHopGone'; readonly router: string; readonly address: string }
  /**
   * All routes that this host's daemons learned; on every new connection. At most `MOST_BLOCKS_IN_REPORT` in one: with
   * `isMore` further ones follow in reports of this type, and only with the last is gone what none of them names.
   */
  | {
      readonly type: 'learnedRoutesAll';
      readonly sets: readonly ReportedSet[];
      readonly blocks: readonly ReportedBlock[];
      readonly isMore?: boolean;
    }
  /** Changes, as many as came together. */
  | ({ readonly type: 'learnedRoutes' } & LearnedReport)
  /** All sessions that this host runs, as they are now. */
  | { readonly type: 'bgp'; readonly peers: readonly ReportedSession[] }
  /** All attachments of L2 gateways and VTEP bindings on this host, as they are now. */
  | { readonly type: 'attachments'; readonly attachments: readonly ReportedAttachment[] }
  /** All VTEPs that this host talks to, as they are now. */
  | { readonly type: 'vteps'; readonly vteps: readonly ReportedVtep[] }
  /** Flows for everything up to this revision are in the switch. */
  | { readonly type: 'applied'; readonly revision: number }
  /** Changed states of local ports. */
  | { readonly type: 'ports'; readonly ports: Readonly<Record<string, PortState>> }
  | { readonly type: 'health'; readonly health: HostHealth }
  /** Running totals of rules and drops on this host since the agent's `epochMs`; drops by `reason` or `reason kind/id`. */
  | {
      readonly type: 'counters';
      readonly epochMs: number;
      readonly rules: Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>;
      readonly drops?: Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>;
    }
  /** Something a person should see (a port that sprays, a logged frame). */
  | {
      readonly type: 'event';
      readonly atMs: number;
      readonly level: 'info' | 'warning' | 'error';
      readonly about: { readonly kind: string; readonly id: string };
      readonly text: string;
    };

/**
 * An entry of a host's connection tracking, told so that another host can have it too (docs/design/flow-database.md, §5): zones by their owners, as
 * their numbers are each host's own.
 */
export interface ConnectionEntry {
  /** The port's id, or the router's. */
  readonly owner: string;
  /** Which of the owner's zones (`ZONE_KIND`). */
  readonly kind: 'own' | 'vip' | 'selfCall';
  /** As Open vSwitch names it. */
  readonly protocol: string;
  readonly original: EntryTuple;
  readonly reply: EntryTuple;
  readonly state?: string;
  readonly mark?: number;
  readonly isUnanswered?: true;
}
export interface EntryTuple {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly icmpId?: number;
  readonly icmpType?: number;
}

/**
 * What `GET /v1/hosts/<own>/imports/<port>?from=<host>` answers: what the other host's agent says (`GET /connections?port=` of its control socket), or what
 * the flow database has of it.
 */
export type ImportAnswer =
  | { readonly entries: readonly ConnectionEntry[] }
  | { readonly connections: readonly Connection[] };

export interface ReportedClaim {
  readonly port: string;
  readonly interface: string;
  readonly vm?: string;
}

export interface ReportedAddress {
  readonly port: string;
  readonly vlan: number;
  readonly mac: string;
}

export type ReportedKept = Pick<KeptClients, 'loadBalancer' | 'members'>;

/** Of a balancer and host. */
export const MOST_KEPT_CLIENTS = 4_096;

export interface ReportedMember {
  readonly loadBalancer: string;
  /** The member's port. */
  readonly port: string;
  readonly up: boolean;
}

export interface ReportedNeighbour {
  readonly switch: string;
  readonly address: string;
  readonly mac: string;
  /** The port behind which it was heard. */
  readonly port: string;
}

export interface ReportedNextHop {
  readonly router: string;
  readonly address: string;
  readonly up: boolean;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
}

/** More are refused: the server does nothing else while it takes a report in. Of a hundred thousand routes 400 are in one. */
export const MOST_BLOCKS_IN_REPORT = 32;
export const MOST_SETS_IN_REPORT = 1_000;

/** As docs/design/gateways.md, §2, has them. */
export type ReportedSet = Pick<LearnedSet, 'router' | 'set' | 'via' | 'ended' | 'told'>;
export type ReportedBlock = Pick<LearnedRoutes, 'router' | 'block' | 'routes' | 'count' | 'told'>;

export interface LearnedReport {
  readonly sets: readonly ReportedSet[];
  readonly blocks: readonly ReportedBlock[];
  readonly goneSets: readonly { readonly router: string; readonly set: string }[];
  readonly goneBlocks: readonly { readonly router: string; readonly block: string }[];
}

export interface ReportedSession {
  /** The bgpPeer's id. */
  readonly peer: string;
  /** As RFC 4271 §8.2.2 calls it, in small letters: `established` when all is well. */
  readonly state: string;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
  /** Prefixes of the peer's that are taken, and that it is told. */
  readonly accepted: number;
  readonly sent: number;
  /** Of a peer with `accept`: how many prefixes that refused since it is what it is, told again counted again. */
  readonly refused?: number;
  /** A default route was among them. */
  readonly refusesDefault?: boolean;
  readonly problem?: string;
}

export interface ReportedAttachment {
  /** The id of the l2Gateway or vtepBinding. */
  readonly gateway: string;
  /** docs/design/l2-gateways.md, §2. */
  readonly state: 'up' | 'silent' | 'down' | 'loop';
  readonly problem?: string;
}

export interface ReportedVtep {
  readonly vtep: string;
  /** `wrong`: its database is not what was expected. */
  readonly state: 'connected' | 'unreachable' | 'wrong';
  readonly problem?: string;
  /** Where its tunnels end. */
  readonly tunnelAddress?: string;
}

export interface PortState {
  /** `installed`: its flows are in; `shut-off`: sprayed; `no-port`: the interface names a port id that does not exist. */
  readonly state: 'installed' | 'pending' | 'shut-off' | 'no-port' | 'gone';
  readonly problem?: string;
}

export interface HostHealth {
  readonly agentVersion: string;
  readonly openvswitchVersion: string;
  readonly datapathType: string;
  readonly flows: number;
  readonly localPorts: number;
  /** Connections that the host tracks now, and at most. */
  readonly conntrack?: { readonly connections: number; readonly most: number } | undefined;
  /** Hosts whose gateways it uses and that do not answer it (docs/design/liveness.md): ids. */
  readonly lost?: readonly string[] | undefined;
  /** Floating addresses and load balancers with as many connections there as they may have (docs/design/gateways.md, §8): ids. */
  readonly full?: readonly string[] | undefined;
  readonly problems: readonly string[];
}

/** Reports that are written to the server's disk: each may undo one before it. */
export const WRITTEN_REPORTS = [
  ...(['claims', 'claim', 'unclaim', 'activate', 'natNeed', 'natReturn', 'natMove'] as const),
] as const satisfies readonly Report['type'][];

/** Reports the server could not accept, by index; the others hold. */
export interface ReportsAnswer {
  readonly refused: readonly { readonly index: number; readonly code: string; readonly message: string }[];
}

/** Of `POST /v1/apply`; more are refused. */
export const MOST_OBJECTS_IN_REQUEST = 100_000;
/** More are refused. */
export const MOST_CONNECTIONS_IN_REPORT = 2_000;

/**
 * Connections of the host's ports: `POST /v1/hosts/<host id>/connections`, apart from reports, so that neither waits for the other
 * (docs/design/flow-database.md, §2). What is new or other, and what ended.
 */
export interface ConnectionsReport {
  /** Rises each time everything is told anew. */
  readonly epoch: number;
  readonly put: readonly Connection[];
  readonly gone: readonly string[];
  /** Everything of this epoch is told. */
  readonly isWhole?: boolean;
}

export interface ConnectionsAnswer {
  /** Keys of connections whose port is not known to be on the host. */
  readonly refused: readonly string[];
  /** Something was missed before: everything is to be told in a new epoch. While an epoch is being told it means nothing. */
  readonly isAgain?: boolean;
}
