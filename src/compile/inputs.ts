import { parseCidr, parseIp } from '../base/addresses.ts';
import { definer, type Reader as EngineReader } from '../incremental/definitions.ts';
import { isWire } from '../model/mtu.ts';
import type {
  Encap,
  GroupRule,
  LearnedAddress,
  LogicalPort,
  ScopeRecord,
  ScopeRecordOfKind,
} from '../model/objects.ts';
import type { PortBlock } from '../model/port-blocks.ts';

/** What a host's flows are computed from: its part of the model, and what only the host itself knows. */

/** An interface of this host that is bound to a port. `id` is the port's id. */
export interface BoundInterface {
  readonly kind: 'interface';
  readonly id: string;
  /** OpenFlow port number. */
  readonly ofport: number;
  readonly name: string;
  /** Conntrack zone, a multiple of 4 from 4 up; the next two are its too (docs/design/layer3.md, §2). Absent: not tracked yet. */
  readonly zone?: number;
}

/** The conntrack zone of a router's address translation on this host. `id` is the router's id. */
export interface NatZone {
  readonly kind: 'natZone';
  readonly id: string;
  readonly zone: number;
  /** It could be full before the agent looks again: only connections are let in for which the share of a port has room. */
  readonly isTight?: boolean;
  /** A packet for which a full zone has no room is dropped by the datapath itself (the kernel's is one): nobody need ask. */
  readonly isStrict?: boolean;
}

/** Ports of a lease that go back: what has one keeps it, and nothing else gets one (docs/design/layer3.md, §7). `id` is the lease's id. */
export interface RestingPorts {
  readonly kind: 'restingPorts';
  readonly id: string;
  readonly blocks: readonly PortBlock[];
}

/** This host. */
export interface Self {
  readonly kind: 'self';
  readonly id: 'self';
  /** The host's id. */
  readonly host: string;
  /** OpenFlow ports of the flow-based tunnel ports, by encapsulation. */
  readonly tunnelPorts: Readonly<Partial<Record<Encap, number>>>;
  /**
   * Meters that packet-ins pass: `packetIn` for what wants an answer, `notice` for new addresses, `log` for what rules log, `sample`
   * for what only tells of a spray, `error` for what does not go on (any workload may cause that at any rate, without doing wrong), `wanted` for what lacks a next hop or a port, `nextHop` for
   * what next hops answer to probes.
   * They are apart so that none takes the answers' share. Without `notice`, `learn`, `error`, `wanted`, `nextHop` and `log` their frames pass `packetIn`; without
   * `sample` there are no samples. And one that packets of connections to balancers pass whose member has to be looked for; without
   * `handOff` it is not.
   */
  readonly meters?: {
    readonly packetIn?: number;
    readonly notice?: number;
    /** For MACs to learn. */
    readonly learn?: number;
    readonly sample?: number;
    readonly error?: number;
    readonly log?: number;
    readonly handOff?: number;
    readonly wanted?: number;
    readonly nextHop?: number;
    readonly probe?: number;
    readonly neighbour?: number;
    readonly dns?: number;
  };
}

/** The agent has shut a spraying port off. `id` is the port's id. */
export interface ShutOff {
  readonly kind: 'shutOff';
  readonly id: string;
}

/** Sets of security groups that a port here had a moment ago: packets may still ask for them. `id` is the port's id. */
export interface FormerGroups {
  readonly kind: 'formerGroups';
  readonly id: string;
  readonly sets: readonly (readonly string[])[];
}

/** What comes from there asks too much of the agent (docs/design/gateways.md, §8). `id` is that of a port here, or of a router port by which other hosts hand on. */
export interface HeldBack {
  readonly kind: 'heldBack';
  readonly id: string;
  /** Nothing is said about packets that do not go on. */
  readonly errors: boolean;
  /** No next hop is looked for. */
  readonly hops: boolean;
  /** Of a port: what it says of addresses, asks of names and answers to checks is dropped. */
  readonly talk: boolean;
}

/**
 * A floating address or load balancer that has as many connections here as it may: no further ones begin (docs/design/gateways.md, §8). `id` is
 * the object's id.
 */
export interface FullAddress {
  readonly kind: 'fullAddress';
  readonly id: string;
}

/** A host that does not answer this one any more (docs/design/liveness.md). `id` is that host's id. */
export interface HostLost {
  readonly kind: 'hostLost';
  readonly id: string;
}

/**
 * A workload moves here, and its connections are still being brought (docs/design/flow-database.md, §5): until they are here
 * nothing that it says or gets begins a connection (units/importing.ts). `id` is the port's id, or `EVERY_PORT` where Open vSwitch has lost all of them.
 */
export interface Importing {
  readonly kind: 'importing';
  readonly id: string;
}

export const EVERY_PORT = 'every';

/** The outside of an L2 gateway leads back into the switch (docs/design/l2-gateways.md, §3). `id` is the port's id. */
export interface Cut {
  readonly kind: 'cut';
  readonly id: string;
}

/**
 * The port of an L2 gateway here, of whose connections another place of it is told (docs/design/l2-gateways.md, §4). `id` is the port's id.
 */
export interface Held {
  readonly kind: 'held';
  readonly id: string;
  /** First replies wait for that; else they go on, and it is told later. */
  readonly isPaused: boolean;
}

/** A switch that frames from here can be in: one of its ports is here, or a router leads to it. `id` is the switch's id. */
export interface LocalSwitch {
  readonly kind: 'localSwitch';
  readonly id: string;
  /** It has a port here. */
  readonly isHere: boolean;
  /** One of its ports here is without port security: addresses are learned. */
  readonly learns: boolean;
}

/** A set of security groups that a port here has, or had a moment ago. `id` is the groups' ids, sorted, joined by `+`. */
export interface LocalProfile {
  readonly kind: 'localProfile';
  readonly id: string;
  readonly groups: readonly string[];
}

/** A port that has an interface here. `id` is the port's id. */
export interface LocalPort {
  readonly kind: 'localPort';
  readonly id: string;
  readonly switch: string;
  /** With port security: its MACs, and the IPv4 addresses and networks that it owns. */
  readonly guarded?: { readonly macs: readonly string[]; readonly addresses: readonly string[] };
  /** Its switch has an `mtu`. */
  readonly isSized?: boolean;
}

/** A set of next hops that plain learned routes have (learned-destinations.ts). `id` is its name. */
export interface PlainSet {
  readonly kind: 'plainSet';
  readonly id: string;
}

/** Where a network leads of which hosts learned routes, and for which its router has others (learned-destinations.ts). `id` is `<router>/<network>`. */
export interface LearnedDestination {
  readonly kind: 'learnedDestination';
  readonly id: string;
  readonly router: string;
  readonly to: string;
  /** Name of the set of next hops. */
  readonly hops: string;
}

/** The interface of the BGP daemon that shares a router port's address (docs/design/gateways.md, §3). `id` is the router port's id. */
export interface Speaker {
  readonly kind: 'speaker';
  readonly id: string;
  readonly ofport: number;
}

/** What the compiler works with: its inputs, and what it derives from them once for all (local-switches.ts and what stands beside it). */
export interface InputOfKind extends ScopeRecordOfKind {
  interface: BoundInterface;
  self: Self;
  shutOff: ShutOff;
  formerGroups: FormerGroups;
  importing: Importing;
  cut: Cut;
  hostLost: HostLost;
  heldBack: HeldBack;
  fullAddress: FullAddress;
  natZone: NatZone;
  restingPorts: RestingPorts;
  localSwitch: LocalSwitch;
  localProfile: LocalProfile;
  localPort: LocalPort;
  learnedDestination: LearnedDestination;
  plainSet: PlainSet;
  speaker: Speaker;
  held: Held;
}
export type InputKind = Exclude<
  keyof InputOfKind,
  'localSwitch' | 'localProfile' | 'localPort' | 'learnedDestination' | 'plainSet'
>;
export type InputRecord =
  | ScopeRecord
  | BoundInterface
  | Self
  | ShutOff
  | FormerGroups
  | Importing
  | Cut
  | HostLost
  | HeldBack
  | FullAddress
  | NatZone
  | RestingPorts
  | Speaker
  | Held;
export type Reader = EngineReader<InputOfKind>;

export const define = definer<InputOfKind>();

/** '' → ports with an interface here where packets may be larger than elsewhere, as far as ports and switches themselves tell. */
export const openPortsIndex = define.index('openPorts', 'localPort', ({ guarded, isSized }) =>
  guarded === undefined || isSized ? [''] : [],
);

/** Switch → ports that have an interface here. */
export const localPortsIndex = define.index('localPorts', 'localPort', (port) => [port.switch]);

/** `switch/mac` → ports that hold the MAC (their own or a pair's). */
export const holdersIndex = define.index('holders', 'port', (port) =>
  macsOf(port).map((mac) => `${port.switch}/${mac}`),
);

/** Switch → ports without port security. */
export const unsecuredIndex = define.index('unsecured', 'port', (port) => (port.portSecurity ? [] : [port.switch]));

/** Port → the L2 gateway or VTEP binding whose outside it is. */
export const outsideOfPortIndex = define.members('outsideOfPort', {
  l2Gateway: ({ port }, id) => [[port, id]],
  vtepBinding: ({ port }, id) => [[port, id]],
});

/** '' → all L2 gateways that this host is a place of. */
export const gatewaysIndex = define.index('l2Gateways', 'l2Gateway', () => ['']);

/** Switch → hosts that are the active claim of one of its ports. */
export const activeHostsIndex = define.members('activeHosts', {
  binding: (binding) => (binding.active === undefined ? [] : [[binding.switch, binding.active]]),
});

/** Switch → ports with more than one claim (they may be moving). */
export const movingIndex = define.index('moving', 'binding', (binding) =>
  binding.claims.length > 1 ? [binding.switch] : [],
);

/** Zone → its hosts. */
export const hostsIndex = define.index('hostsOfZone', 'host', (host) => [host.zone]);

/** Router → its ports. */
export const portsOfRouterIndex = define.index('portsOfRouter', 'routerPort', (port) => [port.router]);

/** Name of a set of next hops: some learned route has it. */
export const hopSetsIndex = define.members('hopSets', {
  learnedDestination: ({ hops }) => [[hops, '']],
  plainSet: (_, id) => [[id, '']],
});

/** Switch → router ports on it. */
export const routerPortsIndex = define.index('routerPortsOfSwitch', 'routerPort', (port) =>
  port.switch === undefined ? [] : [port.switch],
);

/** Switch → neighbours of routers there. */
export const neighboursIndex = define.index('neighboursOfSwitch', 'neighbour', (neighbour) => [neighbour.switch]);

/** Key of a router port → the port, where only sources that are routed by it come in. */
export const strictPortsIndex = define.index('strictPorts', 'routerPort', ({ sourceCheck, key }) =>
  sourceCheck === 'strict' ? [`${key}`] : [],
);

/** Switch → whether it has wires, and whether it has other ports. */
export const wiresIndex = define.members('wires', {
  port: (port) => [[port.switch, isWire(port) ? 'wire' : 'other']],
});

/** '' → routers that speak BGP or probe next hops. */
export const speakingRoutersIndex = define.index('speakingRouters', 'router', ({ bgp, routes }) =>
  bgp !== undefined || routes.some(({ probe }) => probe !== undefined) ? [''] : [],
);

/** Chain → router ports that have it as their in-chain. */
export const enteredThroughIndex = define.index('enteredThrough', 'routerPort', ({ inChain }) =>
  inChain === undefined ? [] : [inChain],
);

/** Chain → rules that jump to it. */
export const jumpsIndex = define.index('jumpsTo', 'rule', ({ action, jumpTo }) =>
  action === 'jump' && jumpTo !== undefined ? [jumpTo] : [],
);

/** Router port → BGP peers there. */
export const bgpPeersIndex = define.index('bgpPeersAt', 'bgpPeer', (peer) => [peer.routerPort]);

/** Router port → the router port that names it as its peer. */
export const peersIndex = define.index('peers', 'routerPort', (port) => (port.peer === undefined ? [] : [port.peer]));

/** Router → its floating addresses. */
export const floatingIndex = define.index('floatingOfRouter', 'floatingAddress', (floating) => [floating.router]);

/** Port → floating addresses that lead to it. */
export const floatingOfPortIndex = define.index('floatingOfPort', 'floatingAddress', (floating) => [floating.port]);

/** Router or switch → load balancers on it. */
export const balancersIndex = define.index('balancersOf', 'loadBalancer', (balancer) => [
  (balancer.router ?? balancer.switch)!,
]);

/** Router or switch, and address → load balancers that have it there and are up. */
export const vipIndex = define.index('vips', 'loadBalancer', (balancer) =>
  balancer.adminUp ? [vipGroup((balancer.router ?? balancer.switch)!, balancer.address)] : [],
);

export function vipGroup(device: string, address: string): string {
  return `${device} ${address}`;
}

/** Port → load balancers that it is a member of. */
export const memberOfIndex = define.index('memberOf', 'loadBalancer', (balancer) =>
  balancer.members.map((member) => member.port),
);

/** `balancer/port` of each member of a load balancer. */
export const membershipIndex = define.index('membership', 'loadBalancer', (balancer, id) =>
  balancer.members.map((member) => `${id}/${member.port}`),
);

/** Load balancer → what is known of its members' health. */
export const healthIndex = define.index('healthOf', 'memberHealth', (health) => [health.loadBalancer]);

/** Load balancer → what hosts say of clients that keep their members. */
export const keptClientsIndex = define.index('keptClientsOf', 'keptClients', (kept) => [kept.loadBalancer]);

/** Router → blocks of ports that hosts have for its addresses. */
export const leasesIndex = define.index('leasesOfRouter', 'natLease', (lease) => [lease.router]);

/** Router → connections of workloads that moved, with outside ports of a former host. */
export const natMovesIndex = define.index('natMovesOfRouter', 'natMove', (move) => [move.router]);

/** `group/port`: each member of a security group by itself, so that one that comes or goes costs one unit. */
export const groupMembersIndex = define.index('groupMembers', 'port', (port, id) =>
  port.groups.map((group) => `${group}/${id}`),
);

/** `set/address`: each member of an address set by itself. */
export const setMembersIndex = define.index('setMembers', 'addressSet', ({ addresses }, id) => {
  // A change asks for the old names and the new: with thousands of members, the old are worth keeping.
  const known = memberNames.get(addresses);
  if (known?.id === id) return known.names;
  const names = addresses.map((address) => `${id}/${address}`);
  memberNames.set(addresses, { id, names });
  return names;
});
const memberNames = new WeakMap<readonly string[], { readonly id: string; readonly names: readonly string[] }>();

/** Security group or address set → `group/in` and `group/out`: groups with a rule that names it as the other end. */
export const groupsThatNameIndex = define.members('groupsThatName', {
  securityGroup: ({ ingress, egress }, id) => [...namedBy(ingress, `${id}/in`), ...namedBy(egress, `${id}/out`)],
});

function namedBy(rules: readonly GroupRule[], by: string): [string, string][] {
  return rules.flatMap(({ group, addressSet }): [string, string][] => {
    const named = group ?? addressSet;
    return named === undefined ? [] : [[named, by]];
  });
}

/** Security group or address set → `src`, `dst`: on which side rules of chains ask for it. */
export const rulesThatNameIndex = define.members('rulesThatName', {
  rule: ({ match }) =>
    (
      [
        [match.srcSet, 'src'],
        [match.srcGroup, 'src'],
        [match.dstSet, 'dst'],
        [match.dstGroup, 'dst'],
      ] as const
    ).flatMap(([named, side]): [string, string][] => (named === undefined ? [] : [[named, side]])),
});

/** Hash → profiles that have it: one, but by a rare accident. */
export const profilesByHashIndex = define.index('profilesByHash', 'localProfile', ({ id }) => [`${profileHash(id)}`]);

/** `group/profile` → the profile: what there is to ask for each of its groups. */
export const profileGroupsIndex = define.index('profileGroups', 'localProfile', ({ groups }, id) =>
  groups.map((group) => `${group}/${id}`),
);

/** Security group → profiles that have it. */
export const profilesOfGroupIndex = define.index('profilesOfGroup', 'localProfile', ({ groups }) => groups);

/** 27 bits, never 0. */
export function profileHash(id: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x0100_0193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x85eb_ca6b) >>> 5 || 1;
}

/** The id of a port's profile; undefined without groups. */
export function profileName(groups: readonly string[]): string | undefined {
  if (groups.length === 0) return undefined;
  return groups.length === 1 ? groups[0] : [...new Set(groups)].sort().join('+');
}

/** Hash → what has a limit for what comes in from outside: one, but by a rare accident. */
export const limitedByHashIndex = define.members('limitedByHash', {
  tenant: limitedByHash,
  router: limitedByHash,
  floatingAddress: limitedByHash,
  loadBalancer: limitedByHash,
});

function limitedByHash(record: {
  readonly id: string;
  readonly inboundLimit?: object | undefined;
}): [string, string][] {
  return record.inboundLimit === undefined ? [] : [[`${limitHash(record.id)}`, record.id]];
}

/** 24 bits. */
export function limitHash(id: string): number {
  return profileHash(id) & 0xff_ffff;
}

/** Chain → its rules. */
export const rulesIndex = define.index('rulesOfChain', 'rule', (rule) => [rule.chain]);

/** Switch → bytes that MACs on it have, as place (0 is the last) and two digits: from them follows which bits all share. */
export const macBytesIndex = define.members('macBytes', {
  port: (port) => macsOf(port).flatMap((mac) => bytesOf(port.switch, mac)),
  routerPort: (port) => (port.switch === undefined ? [] : bytesOf(port.switch, port.mac)),
  learned: (learned: LearnedAddress) => bytesOf(learned.switch, learned.mac),
});

/** '' → bytes of the MACs of all guarded ports here. */
export const guardedMacsIndex = define.members('guardedMacs', {
  localPort: ({ guarded }) => guarded?.macs.flatMap((mac) => bytesOf('', mac)) ?? [],
});

/** Switch → bytes of the IPv4 addresses and networks of its guarded ports here, with the bits that are fixed. */
export const guardedAddressesIndex = define.members('guardedAddresses', {
  localPort: (port) =>
    (port.guarded?.addresses ?? []).flatMap((text): [string, string][] => {
      const { ip, prefix } = parseCidr(text) ?? { ip: parseIp(text)!, prefix: 32 };
      const mask = prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
      return [0, 1, 2, 3].map((place) => {
        const digits = [Number(ip.value), mask].map((word) =>
          ((word >>> (place * 8)) & 0xff).toString(16).padStart(2, '0'),
        );
        return [port.switch, `${place}${digits.join('')}`];
      });
    }),
});

function bytesOf(group: string, mac: string): [string, string][] {
  const bytes: [string, string][] = [];
  for (let place = 0; place < 6; place++) bytes.push([group, `${place}${mac.slice(15 - 3 * place, 17 - 3 * place)}`]);
  return bytes;
}

/** The MACs that a port holds on its switch, each once. */
export function macsOf(port: LogicalPort): string[] {
  const macs = [port.mac];
  for (const { mac } of port.allowedPairs) if (mac !== undefined && !macs.includes(mac)) macs.push(mac);
  return macs;
}
