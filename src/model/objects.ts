import type { z } from 'zod';
import type { Envelope } from './kind.ts';
import type { ruleMatchSchema } from './kinds/chain.ts';
import type { subnetSchema } from './kinds/switch.ts';
import type { KINDS } from './kinds.ts';
import type { PackedRoutes } from './packed-routes.ts';

/**
 * Objects as the store holds them and as agents receive them: defaults filled in, references as ids, allocated fields
 * present. Types only: an agent that imports this loads no schema library.
 */
type Stored<K extends keyof typeof KINDS, Allocated extends string = never> = Readonly<
  Omit<z.output<(typeof KINDS)[K]['schema']>, Allocated> &
    Required<Pick<z.output<(typeof KINDS)[K]['schema']>, Allocated & keyof z.output<(typeof KINDS)[K]['schema']>>>
> &
  Envelope & { readonly kind: K };

export type Tenant = Stored<'tenant'>;
export type TunnelZone = Stored<'tunnelZone'>;
export type Host = Stored<'host'>;
export type LogicalSwitch = Stored<'switch', 'key'> & { readonly tenant: string };
export type LogicalPort = Stored<'port', 'key' | 'mac' | 'addresses'> & { readonly tenant: string };
export type Chain = Stored<'chain', 'key'> & { readonly tenant: string };
export type Rule = Stored<'rule'> & { readonly tenant: string };
export type Router = Stored<'router', 'key'> & { readonly tenant: string };
export type RouterPort = Stored<'routerPort', 'key' | 'mac'> & { readonly tenant: string };
export type Route = Router['routes'][number];
export type NextHopProbe = NonNullable<Route['probe']>;
export type PolicyRoute = Router['policies'][number];
export type SecurityGroup = Stored<'securityGroup', 'key'> & { readonly tenant: string };
export type GroupRule = SecurityGroup['ingress'][number];
export type AddressSet = Stored<'addressSet', 'key'> & { readonly tenant: string };
export type FloatingAddress = Stored<'floatingAddress'> & { readonly tenant: string };
export type LoadBalancer = Stored<'loadBalancer', 'key' | 'slots'> & { readonly tenant: string };
export type Mirror = Stored<'mirror', 'key'> & { readonly tenant: string };
export type BgpPeer = Stored<'bgpPeer'> & { readonly tenant: string };
export type L2Gateway = Stored<'l2Gateway'> & { readonly tenant: string };
export type Vtep = Stored<'vtep'>;
export type VtepBinding = Stored<'vtepBinding', 'vni'> & { readonly tenant: string };
/** What makes a port the outside: its interface is made by agents, and the server says which of its claims is active. */
export type Outside = L2Gateway | VtepBinding;
export type Subnet = z.output<typeof subnetSchema>;
export type RuleMatch = z.output<typeof ruleMatchSchema>;
export type Encap = TunnelZone['encap'];

export interface ObjectOfKind {
  tenant: Tenant;
  tunnelZone: TunnelZone;
  host: Host;
  switch: LogicalSwitch;
  port: LogicalPort;
  chain: Chain;
  rule: Rule;
  addressSet: AddressSet;
  securityGroup: SecurityGroup;
  router: Router;
  routerPort: RouterPort;
  floatingAddress: FloatingAddress;
  loadBalancer: LoadBalancer;
  mirror: Mirror;
  bgpPeer: BgpPeer;
  l2Gateway: L2Gateway;
  vtep: Vtep;
  vtepBinding: VtepBinding;
}
export type AnyObject = ObjectOfKind[keyof ObjectOfKind];

/**
 * Where a port's interface is. Durable, one per port that was ever claimed; written by the server from what agents
 * report. `id` is the port's id. A packet for the port goes to `active` (and, while a move is under way, also to a
 * second claim whose host is the requested one).
 */
export interface Binding {
  readonly kind: 'binding';
  readonly id: string;
  readonly revision: number;
  /** The port's switch and tunnel key, repeated so that indexes need only this record. */
  readonly switch: string;
  readonly claims: readonly Claim[];
  /** A host's id; absent when no host has the interface. */
  readonly active?: string;
}

export interface Claim {
  readonly host: string;
  readonly interface: string;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
  /** `vm-id` or `vm-uuid` of the interface, where the hypervisor set one. */
  readonly vm?: string;
}

/** A MAC address seen behind a port without port security. Runtime state: leased to the host that saw it. */
export interface LearnedAddress {
  readonly kind: 'learned';
  /** `<switch id>/<vlan>/<mac>`: an address is in one place only, the last one that reported it. */
  readonly id: string;
  readonly revision: number;
  readonly switch: string;
  readonly port: string;
  readonly host: string;
  readonly mac: string;
  /** 0 for frames without a tag. */
  readonly vlan: number;
}

/**
 * Ports of an SNAT address that a host may use (docs/design/layer3.md, §7). Durable, written by the server when a host asks.
 * `id` is `<router>/<address>/<host>`; of a lease of the port of an L2 gateway `<router>/<address>/<port>`.
 */
export interface NatLease {
  readonly kind: 'natLease';
  readonly id: string;
  readonly revision: number;
  readonly router: string;
  readonly address: string;
  /** Where its connections are kept; with `port` the host where that is active. */
  readonly host: string;
  /** The port of an L2 gateway: what comes in by it, and nothing else, uses these ports. They move with it. */
  readonly port?: string;
  /** `size` is a power of two and `first` a multiple of it. */
  readonly blocks: readonly { readonly first: number; readonly size: number }[];
}

/**
 * Connections of a workload that moved, whose outside ports are still in the lease of a host where it was before (docs/design/layer3.md, §7): what comes
 * for them goes to where the port is active. Durable, written by the server from what the new host has imported. `id` is `<router>/<address>/<port>`.
 */
export interface NatMove {
  readonly kind: 'natMove';
  readonly id: string;
  readonly revision: number;
  readonly router: string;
  /** The SNAT address. */
  readonly address: string;
  /** The workload's port. */
  readonly port: string;
  /** Each as `movedText` writes it, sorted. */
  readonly connections: readonly string[];
}

/** Does a member answer its probes? Runtime state: leased to the member's host. `id` is `<load balancer>/<port>`. */
export interface MemberHealth {
  readonly kind: 'memberHealth';
  readonly id: string;
  readonly revision: number;
  readonly loadBalancer: string;
  readonly port: string;
  readonly host: string;
  readonly up: boolean;
}

/**
 * Clients of a balancer with `stickyS` whose slots do not lead to the member that they keep (docs/design/layer3.md, §8, "Kept clients"). Runtime state: leased
 * to the host that has their connections. `id` is `<load balancer>/<host>`.
 */
export interface KeptClients {
  readonly kind: 'keptClients';
  readonly id: string;
  readonly revision: number;
  readonly loadBalancer: string;
  readonly host: string;
  /** A client is named once. */
  readonly members: readonly {
    /** Of the member. */
    readonly port: string;
    /** Address → when the host saw a connection of it last: seconds since the epoch. */
    readonly clients: Readonly<Record<string, number>>;
  }[];
}

/** Where an address is that no port has as its own, by ARP or ND. Runtime state. `id` is `<switch>/<address>`. */
export interface Neighbour {
  readonly kind: 'neighbour';
  readonly id: string;
  readonly revision: number;
  readonly switch: string;
  readonly address: string;
  readonly mac: string;
  /** The port behind which it was heard, and its host. */
  readonly port: string;
  readonly host: string;
}

/** Next hops of routes that a gateway's daemon learned (docs/design/gateways.md, §2). Runtime state: leased to the gateway. `id` is `<router>/<host>/<set>`. */
export interface LearnedSet {
  readonly kind: 'learnedSet';
  readonly id: string;
  readonly revision: number;
  readonly router: string;
  readonly host: string;
  /** A number, of the gateway's. */
  readonly set: string;
  readonly via: readonly LearnedHop[];
  /** Addresses of those whose sessions ended: nothing goes to them, though the routes have not been taken back yet. */
  readonly ended?: readonly string[];
  /** Counts what the gateway tells: of what comes back from the server it knows by this what it has told anew since. */
  readonly told?: number;
}

/** Many such routes: networks of one block (packed-routes.ts), by their sets. Leased to the gateway; `id` is `<router>/<host>/<block>`. */
export interface LearnedRoutes {
  readonly kind: 'learnedRoutes';
  readonly id: string;
  readonly revision: number;
  readonly router: string;
  readonly host: string;
  readonly block: string;
  readonly routes: readonly PackedRoutes[];
  /** How many networks. */
  readonly count: number;
  /** As of a set. */
  readonly told?: number;
}

export interface LearnedHop {
  readonly address: string;
  /** By which it was learned. */
  readonly routerPort: string;
  /** Share of this next hop, 1..100. */
  readonly weight: number;
}

/**
 * Does the next hop of a static route answer its probes (docs/design/gateways.md, §7)? Runtime state: leased to the gateway that asks. `id` is
 * `<router>/<address>/<host>`.
 */
export interface NextHopState {
  readonly kind: 'nextHopState';
  readonly id: string;
  readonly revision: number;
  readonly router: string;
  readonly address: string;
  readonly host: string;
  readonly up: boolean;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
}

/** Everything that an agent's scope can hold. */
export interface ScopeRecordOfKind extends ObjectOfKind {
  binding: Binding;
  learned: LearnedAddress;
  natLease: NatLease;
  natMove: NatMove;
  memberHealth: MemberHealth;
  keptClients: KeptClients;
  neighbour: Neighbour;
  learnedSet: LearnedSet;
  learnedRoutes: LearnedRoutes;
  nextHopState: NextHopState;
}
export type ScopeRecord = ScopeRecordOfKind[keyof ScopeRecordOfKind];
export type ScopeKind = keyof ScopeRecordOfKind;
