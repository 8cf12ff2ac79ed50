import type { Flow } from '../openflow/flow.ts';
import type { PacketState, Tunnel } from './packet-state.ts';

/** What became of one packet. */
export interface Result {
  readonly outputs: readonly Output[];
  readonly packetIns: readonly PacketIn[];
  /** Every place where the packet, or a copy of it, came to nothing. */
  readonly drops: readonly Drop[];
  /** Every table lookup, in order. */
  readonly steps: readonly Step[];
  /** Flows that `learn` actions made or (`delete_learned` aside) renewed. */
  readonly learned: readonly Flow[];
  /** Why translation was given up: Open vSwitch then drops the packet altogether. */
  readonly error?: RunError;
}

/** `recursion`: deeper than 64 resubmits to the same or an earlier table; `resubmits`: more than 4096 lookups. */
export type RunError = 'recursion' | 'resubmits' | 'stack' | 'unsupported';

export interface Output {
  /** A port number, or `OFPP.normal`. */
  readonly port: number;
  readonly bytes: Uint8Array;
  /** The tunnel fields as they stood: what a tunnel port encapsulates with. */
  readonly tunnel: Tunnel;
  readonly queue?: number;
}

export interface PacketIn {
  /** `OFPR_*`: 0 no match, 1 action, 2 invalid TTL, 3 action set, 4 group. */
  readonly reason: number;
  readonly bytes: Uint8Array;
  readonly maxLen: number;
  /** Connection id of the controller that is meant. */
  readonly controller: number;
  readonly userdata: Uint8Array;
  readonly meter?: number;
  /** Of the flow that sent it. */
  readonly table: number;
  readonly cookie: bigint;
  /** The packet with its metadata, at that moment. */
  readonly state: PacketState;
  /** Goes on after `controller(pause)`. */
  readonly resume?: () => Result;
}

export type DropReason =
  | 'no-match'
  /** A flow without actions. */
  | 'drop'
  | 'to-in-port'
  | 'no-port'
  | 'no-group'
  | 'no-bucket'
  | 'ttl'
  | 'meter'
  /** The datapath drops what begins a seventh pass; what came of the passes before stays. */
  | 'recirculations';

export interface Drop {
  readonly reason: DropReason;
  readonly table: number;
  readonly flow?: Flow;
}

export interface Step {
  readonly table: number;
  /** Absent for a table miss. */
  readonly flow?: Flow;
  /** How many resubmits and gotos led here. */
  readonly depth: number;
}
