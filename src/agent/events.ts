import type { Ip } from '../base/addresses.ts';
import type { Registers } from '../compile/fields.ts';
import type { Meter } from '../compile/meters.ts';
import type { TableName } from '../compile/tables.ts';
import type { Connection } from '../flow-database/flow-store.ts';
import type { Encap, ScopeRecord } from '../model/objects.ts';
import type { Flow, Match } from '../openflow/flow.ts';
import type { ConnectionEntry, PortState, Report, ReportedSession } from '../server/protocol.ts';
import type { SpeakerPlan } from './bgp/plan.ts';
import type { ToldRoute } from './bgp/sessions.ts';
import type { ClientsOfBalancers } from './connections/clients-seen.ts';
import type { EntryInZone } from './connections/recreate.ts';
import type { Counted } from './connections/tally.ts';
import type { PortsInUse } from './connections/used-ports.ts';
import type { FloatingEnd } from './floating-ends.ts';
import type { PacketRegisters } from './registers.ts';
import type { VtepPlan, VtepStates } from './vteps/plan.ts';
import type { KeptZone } from './zones.ts';

/**
 * Everything that can happen to an agent, and everything that it can want done. The core (`core.ts`) turns the one into
 * the other and knows no socket, file or clock; `main.ts` carries both ways. An effect with an `id` is answered by an
 * event with the same id.
 */

/** An interface of the integration bridge, as OVSDB has it. */
export interface LocalInterface {
  readonly uuid: string;
  readonly name: string;
  /** OpenFlow port number; at most 0 or absent while Open vSwitch has none for it. */
  readonly ofport?: number;
  readonly ifaceId?: string;
  readonly attachedMac?: string;
  readonly vm?: string;
  /** Does it carry `external_ids:weft-installed=true`? */
  readonly markedInstalled: boolean;
  /** The conntrack zone that `external_ids:weft-zone` keeps. */
  readonly zone?: KeptZone;
}

export interface ScopeChange {
  readonly op: 'put' | 'delete';
  readonly record: ScopeRecord | { readonly kind: ScopeRecord['kind']; readonly id: string };
}

/** A flow as read back from the switch, reduced to what comparison needs. */
export interface InstalledFlow {
  /** As `flowKey` gives it. */
  readonly key: string;
  /** As `flowBody` gives it. */
  readonly body: string;
  readonly flow: Flow;
}

/** A packet that waits in the switch's hands until it is handed back (NXT_RESUME). */
export interface PausedPacket {
  readonly frame: Uint8Array;
  readonly match: Match;
  readonly continuation: Uint8Array;
}

/** What this host is for the connections of an L2 gateway's port (docs/design/l2-gateways.md, §4). */
export interface CopyRole {
  readonly port: string;
  readonly secret: string;
  readonly isActive: boolean;
  /** The other places, by their underlay addresses. */
  readonly others: readonly { readonly host: string; readonly address: string }[];
}

export interface PacketIn extends PacketRegisters {
  /** First byte of the userdata: what the flow that sent it wanted (docs/design/layer2.md, Packet-ins). */
  readonly class: number;
  readonly cookie: bigint;
  /** OpenFlow port it came in by. */
  readonly inPort: number;
  readonly frame: Uint8Array;
  readonly paused?: PausedPacket;
}

/** What an L2 gateway or VTEP binding (`gateway`) has here: the interface of its port. */
export type AttachmentPlan = PhysicalPlan | TunnelPlan;
/** A VLAN of a physical interface (absent: all). */
export interface PhysicalPlan {
  readonly gateway: string;
  readonly port: string;
  readonly interface: string;
  readonly vlan?: number;
}
/** A VXLAN tunnel to a VTEP. */
export interface TunnelPlan {
  readonly gateway: string;
  readonly port: string;
  readonly vni: number;
  readonly local: string;
  /** Absent: not known; what an earlier agent made stays. */
  readonly remote?: string;
}

export type AttachmentLinkState =
  | { readonly isUp: true; readonly problem?: string }
  | { readonly isUp: false; readonly problem: string };

export interface ZoneUse {
  readonly zone: number;
  readonly limit: number;
  readonly connections: number;
}

/** A meter as the switch has it. */
export interface InstalledMeter {
  readonly meter: number;
  readonly flags: number;
  readonly bands: readonly { readonly type: number; readonly rate: number; readonly burst: number }[];
}

export type AgentEvent =
  /** What the disk kept from the last run. */
  | { readonly kind: 'restored'; readonly records: readonly ScopeRecord[]; readonly host?: string }
  | { readonly kind: 'interfaces'; readonly put: readonly LocalInterface[]; readonly gone: readonly string[] }
  /** Tunnel ports that exist now, by encapsulation. */
  | { readonly kind: 'tunnels'; readonly ofports: Readonly<Partial<Record<Encap, number>>> }
  | { readonly kind: 'ovsdbConnection'; readonly connected: boolean }
  /** Interfaces of speakers in the bridge, all of them: router port → OpenFlow port. */
  | { readonly kind: 'speakerPorts'; readonly ofports: ReadonlyMap<string, number> }
  /** What a router's speaker learned; with `isAll` everything, else what changed. */
  | {
      readonly kind: 'learnedRoutes';
      readonly router: string;
      readonly routes: readonly ToldRoute[];
      readonly isAll: boolean;
    }
  /** Next hops of a router's routes whose sessions ended a moment ago, all of them: addresses. */
  | { readonly kind: 'endedHops'; readonly router: string; readonly addresses: readonly string[] }
  | { readonly kind: 'planned'; readonly plans: readonly SpeakerPlan[] }
  /** All sessions of this host. */
  /** Of next hops of the router's that BFD is spoken with: those with a session that is up. */
  | { readonly kind: 'bfd'; readonly router: string; readonly up: readonly string[] }
  | { readonly kind: 'sessions'; readonly sessions: readonly ReportedSession[] }
  /** By L2 gateway: whether the physical interface has a link. */
  | { readonly kind: 'attachmentLinks'; readonly links: ReadonlyMap<string, AttachmentLinkState> }
  /** What VTEPs' databases say; comes with every change. */
  | { readonly kind: 'vteps'; readonly states: VtepStates }
  /** MACs that a VTEP has behind a binding from now on, or no more. */
  | {
      readonly kind: 'vtepMacs';
      readonly vtep: string;
      readonly binding: string;
      readonly seen: readonly string[];
      readonly gone: readonly string[];
    }
  /** Packets that came in so far, by OpenFlow port. */
  | { readonly kind: 'received'; readonly received: ReadonlyMap<number, number> }
  /** Packets that came in by wires, but for those of sessions; answers `readPassing`. */
  | { readonly kind: 'passing'; readonly packets: number }
  /** What stands in the way of speakers, for people. */
  | { readonly kind: 'speakerProblems'; readonly problems: readonly string[] }
  /** OVSDB's first content has arrived. */
  | {
      readonly kind: 'ovsdbReady';
      readonly datapathType: string;
      /** Router → the zone that the bridge keeps for it. */
      readonly natZones?: ReadonlyMap<string, number>;
    }
  | { readonly kind: 'switchConnected'; readonly version: string }
  | { readonly kind: 'switchLost'; readonly reason: string }
  | { readonly kind: 'readBack'; readonly flows: readonly InstalledFlow[]; readonly meters?: readonly InstalledMeter[] }
  | { readonly kind: 'installed'; readonly id: number }
  /** The switch has heard a `flushZones`. Without this it is asked again when it is next connected. */
  | { readonly kind: 'flushed'; readonly zones: readonly number[] }
  /** The switch refused a bundle; `index` is the place of the flow in `add` then `remove`, where it named one. */
  | { readonly kind: 'refused'; readonly id: number; readonly error: string; readonly index?: number }
  | { readonly kind: 'serverHello'; readonly incarnation: string; readonly host: string }
  | { readonly kind: 'scope'; readonly revision: number; readonly changes: readonly ScopeChange[] }
  | { readonly kind: 'progress'; readonly revision: number }
  | { readonly kind: 'serverLost'; readonly reason: string }
  | { readonly kind: 'reportRefused'; readonly report: Report; readonly code: string; readonly message: string }
  | { readonly kind: 'packetIn'; readonly packet: PacketIn }
  /** Counters of flows by cookie, answering `readCounters`. */
  | {
      readonly kind: 'counters';
      readonly flows: readonly {
        readonly table: number;
        readonly cookie: bigint;
        readonly packets: number;
        readonly bytes: number;
      }[];
      /** What meters have dropped. */
      readonly meters?: ReadonlyMap<number, { readonly packets: number; readonly bytes: number }>;
    }
  /** Connections that the datapath tracks now and at most, and of each zone that has a limit; answers `readConntrack`. */
  | {
      readonly kind: 'conntrack';
      readonly connections: number;
      readonly most: number;
      readonly zones: readonly ZoneUse[];
    }
  /** How many connections addresses with a limit have. */
  | { readonly kind: 'connectionsCounted'; readonly counted: readonly Counted[] }
  /**
   * Of the watched hosts those that do not answer, by id; answers `watchHosts`, and comes with every change. `isSettled`: of each it is
   * known.
   */
  | { readonly kind: 'hosts'; readonly lost: readonly string[]; readonly isSettled: boolean }
  /** What another host has of a port's connections; absent: it did not say. Answers `askConnections`. */
  | {
      readonly kind: 'portConnections';
      readonly port: string;
      readonly entries?: readonly ConnectionEntry[];
      /** As they were when the flow database was told last. */
      readonly isOld?: boolean;
    }
  /** All connections with a translated source that there are, but for some of ports and routers that could not be read. */
  | {
      readonly kind: 'connectionsSeen';
      readonly connections: readonly Connection[];
      readonly unread: ReadonlySet<string>;
    }
  /** Clients of balancers that keep theirs, and the members that they have. */
  | { readonly kind: 'clientsSeen'; readonly seen: ClientsOfBalancers }
  /** Ports of SNAT addresses that connections here have. */
  | { readonly kind: 'natPortsUsed'; readonly used: PortsInUse }
  /** Another place of the L2 gateway with this port is told of its connections; or (`problem`) is not any more. */
  | { readonly kind: 'copies'; readonly port: string; readonly host: string; readonly problem: string | undefined }
  /** What connection tracking has of the port's connections was read to be copied, or (`problem`) not. `isFull`: there are more than can be. */
  | {
      readonly kind: 'copiesRead';
      readonly port: string;
      readonly problem: string | undefined;
      readonly isFull: boolean;
    }
  /** Translations are in the switch again, as far as they are known, or not needed; then (`isAll`) the rest. Answers `restoreConnections`. */
  | { readonly kind: 'connectionsRestored'; readonly isAll: boolean }
  /** The switch has been told all of a `recreate` with a port. */
  | { readonly kind: 'recreated'; readonly port: string }
  /** Comes once a second. */
  | { readonly kind: 'tick' }
  /** The time that a `wake` asked for has come. */
  | { readonly kind: 'wake' };

export interface FlowChanges {
  readonly add: readonly Flow[];
  readonly remove: readonly Flow[];
}

export type Effect =
  | { readonly kind: 'readBack' }
  /** One atomic bundle. What stands ahead of it, and behind it, need not be in it, nor in any order (compile/dormant.ts). */
  | ({ readonly kind: 'install'; readonly id: number } & FlowChanges & {
        readonly ahead: FlowChanges;
        readonly behind: FlowChanges;
      })
  /** Before the flows that name them: meters made or changed. Behind the flows that named them: meters taken away. */
  | { readonly kind: 'setMeters'; readonly put: readonly Meter[]; readonly gone: readonly number[] }
  /** With the conntrack zone of its port, to be kept. */
  | {
      readonly kind: 'markInstalled';
      readonly uuid: string;
      readonly installed: boolean;
      readonly zone?: KeptZone;
    }
  | { readonly kind: 'keepNatZones'; readonly put: ReadonlyMap<string, number>; readonly gone: readonly string[] }
  /** Forgets the connections of these conntrack zones, before any flow that is installed after it. */
  | { readonly kind: 'flushZones'; readonly zones: readonly number[] }
  /** What these floating addresses were part of is tracked no more. */
  | { readonly kind: 'endAddresses'; readonly ends: readonly FloatingEnd[] }
  /** No more connections in each of these than one may have. */
  /** `part` 8: an eighth of the host's connections each. */
  | { readonly kind: 'limitZones'; readonly zones: readonly number[]; readonly part: number }
  | { readonly kind: 'readConntrack' }
  /** The switch is there again: if it has lost the connections that it had, they are made again as they were last read. */
  | { readonly kind: 'restoreConnections' }
  /** What connections has a port at another host (its id), where its workload comes from? */
  | { readonly kind: 'askConnections'; readonly port: string; readonly from: string }
  /** Entries of connection tracking to be made in zones here, and such to end; with a port answered by `recreated`. */
  | {
      readonly kind: 'recreate';
      readonly make: readonly EntryInZone[];
      readonly end: readonly EntryInZone[];
      readonly port?: string;
    }
  /** Ports of L2 gateways that this host is a place of, all of them, and its own underlay address. */
  | { readonly kind: 'copyRoles'; readonly own: string | undefined; readonly roles: readonly CopyRole[] }
  /** Other places are to hold the connection; then, or when that takes too long, the packet goes on. */
  | {
      readonly kind: 'copyConnection';
      readonly port: string;
      readonly entry: ConnectionEntry;
      readonly paused: PausedPacket;
      /** False: it will be paused again, and wait then for this too. */
      readonly waits: boolean;
    }
  /** Other places are to hold what connection tracking has of these ports. */
  | { readonly kind: 'readCopies'; readonly ports: readonly string[] }
  /** What others told of the port's connections is to be in connection tracking before any flow that is installed after it. */
  | { readonly kind: 'takeOver'; readonly port: string }
  | { readonly kind: 'resume'; readonly paused: PausedPacket }
  /** First replies wait for this agent, for three seconds more. */
  | { readonly kind: 'keepPausing' }
  /** What speakers this host should have is to be found out from the scope: answered by `planned`. `isLeaving`: it is drained, its peers have to be told first that others go before. */
  | { readonly kind: 'planSpeakers'; readonly isLeaving: boolean }
  /** The BGP speakers that this host shall have, all of them. */
  | { readonly kind: 'speak'; readonly plans: readonly SpeakerPlan[] }
  /** The attachments of L2 gateways and VTEP bindings that this host shall have, all of them. */
  | { readonly kind: 'attach'; readonly plans: readonly AttachmentPlan[] }
  /** The VTEPs that this host talks to, all of them. `isCurrent`: the server's last word is known. */
  | { readonly kind: 'serveVteps'; readonly plans: readonly VtepPlan[]; readonly isCurrent: boolean }
  /** MACs that are elsewhere than behind a binding from now on, or no more; with `isAll` no others are. */
  | {
      readonly kind: 'vtepMacs';
      readonly vtep: string;
      readonly binding: string;
      readonly put: readonly string[];
      readonly gone: readonly string[];
      readonly isAll: boolean;
    }
  /** How many packets came in by these ports? */
  | { readonly kind: 'readReceived'; readonly ofports: readonly number[] }
  /** How many packets came in by these wires, but for those of sessions? */
  | { readonly kind: 'readPassing'; readonly ofports: readonly number[] }
  | { readonly kind: 'ensureTunnel'; readonly encap: Encap }
  | { readonly kind: 'report'; readonly reports: readonly Report[] }
  | { readonly kind: 'packetOut'; readonly frame: Uint8Array; readonly toOfport: number }
  /** Into the pipeline at a table, with these registers set (as though the pipeline had done so) and all others zero. */
  | {
      readonly kind: 'inject';
      readonly frame: Uint8Array;
      readonly at: TableName;
      readonly registers: Registers;
      /** The address that is looked for, in the registers of `nextHop`. */
      readonly nextHop?: Ip;
    }
  | { readonly kind: 'readCounters' }
  | {
      readonly kind: 'persist';
      readonly changes: readonly ScopeChange[];
      readonly incarnation?: string;
      readonly host?: string;
    }
  /** Keep the underlay neighbours resolved: any datagram to each. */
  | { readonly kind: 'pulse'; readonly addresses: readonly string[] }
  /** From now on: answer probes at our own tunnel address, and see whether these hosts live. */
  | {
      readonly kind: 'watchHosts';
      readonly own: string | undefined;
      readonly hosts: readonly { readonly host: string; readonly address: string }[];
    }
  /** All that is desired is in the switch; or (`areIn` false) the switch is gone, and with it what it had. Others are told when they ask. */
  | { readonly kind: 'flows'; readonly areIn: boolean }
  /** Something is due before the next tick, or soon after: answered by an event `wake`. */
  | { readonly kind: 'wake'; readonly inMs: number }
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields?: Record<string, unknown>;
    };

export type PortStates = Readonly<Record<string, PortState>>;
