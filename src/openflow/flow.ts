import type { FieldName } from './fields.ts';

/**
 * What an OpenFlow entry says, as values: the vocabulary that `compile` writes, `pipeline` executes, the codecs carry
 * and `ovs-ofctl` syntax prints. Wire layouts are in the codecs, not here.
 */

/** Fields of up to 48 bits are numbers, wider ones bigints. */
export type FieldValue = number | bigint;
export interface Masked {
  readonly value: FieldValue;
  readonly mask: FieldValue;
}

/**
 * Fields by name; a field that is absent is a wildcard. Prerequisites (eth_type before ip_src and so on) are part of
 * the match and must be given. `unknown` keeps OXM entries of codes that we do not know (header and payload as on the wire).
 */
export type Match = { readonly [F in FieldName]?: FieldValue | Masked } & { readonly unknown?: readonly Uint8Array[] };

/** `bits` bits of a field from bit `from` (0 is the least significant): `NXM_NX_REG0[from..from+bits-1]`. */
export interface FieldRange {
  readonly field: FieldName;
  readonly from: number;
  readonly bits: number;
}

/** Helpers of connection tracking by what `ct`'s `alg` has for them: the port that they are usually at. */
export const CT_ALG = { ftp: 21, tftp: 69 } as const;

/** Reserved port numbers (OpenFlow 1.3 §A.2.1), 32 bit. */
export const OFPP = {
  max: 0xffff_ff00,
  unset: 0xffff_fff7,
  inPort: 0xffff_fff8,
  table: 0xffff_fff9,
  normal: 0xffff_fffa,
  flood: 0xffff_fffb,
  all: 0xffff_fffc,
  controller: 0xffff_fffd,
  local: 0xffff_fffe,
  any: 0xffff_ffff,
} as const;

export interface Nat {
  /** Absent for bare `nat`: translate packets of a known connection only. */
  readonly kind?: 'src' | 'dst';
  /** First and last address; last may be absent. Version 4 as number, 6 as bigint. */
  readonly ipMin?: FieldValue;
  readonly ipMax?: FieldValue;
  readonly portMin?: number;
  readonly portMax?: number;
  readonly persistent?: boolean;
  readonly protocol?: 'hash' | 'random';
}

/** `NXAST_LEARN` (Open vSwitch ofp-actions.c): how one flow is made from a packet. */
export interface LearnSpec {
  readonly kind: 'match' | 'load' | 'output';
  readonly src: FieldRange | { readonly value: bigint; readonly bits: number };
  readonly dst?: FieldRange;
}

export type Action =
  /** `maxLen`, when absent: the whole packet to a controller. It means nothing on other ports. */
  | { readonly kind: 'output'; readonly port: number; readonly maxLen?: number }
  | { readonly kind: 'outputReg'; readonly src: FieldRange; readonly maxLen?: number }
  | { readonly kind: 'outputTrunc'; readonly port: number; readonly maxLen: number }
  | { readonly kind: 'group'; readonly group: number }
  | { readonly kind: 'meter'; readonly meter: number }
  | { readonly kind: 'setQueue'; readonly queue: number }
  | { readonly kind: 'enqueue'; readonly port: number; readonly queue: number }
  | { readonly kind: 'popQueue' }
  | { readonly kind: 'setField'; readonly field: FieldName; readonly value: FieldValue; readonly mask?: FieldValue }
  | { readonly kind: 'load'; readonly value: bigint | number; readonly dst: FieldRange }
  | { readonly kind: 'move'; readonly src: FieldRange; readonly dst: FieldRange }
  | { readonly kind: 'push' | 'pop'; readonly range: FieldRange }
  | { readonly kind: 'pushVlan'; readonly etherType: number }
  | { readonly kind: 'popVlan' }
  | { readonly kind: 'setVlanVid'; readonly vid: number }
  | { readonly kind: 'setVlanPcp'; readonly pcp: number }
  | { readonly kind: 'stripVlan' }
  | { readonly kind: 'pushMpls' | 'popMpls' | 'pushPbb'; readonly etherType: number }
  | { readonly kind: 'popPbb' }
  | { readonly kind: 'setMplsTtl'; readonly ttl: number }
  | { readonly kind: 'decMplsTtl' }
  | { readonly kind: 'setNwTtl'; readonly ttl: number }
  | { readonly kind: 'decTtl'; readonly controllers?: readonly number[] }
  | { readonly kind: 'copyTtlOut' | 'copyTtlIn' }
  /** `wide`: the 64-bit form though the id would fit in 32. */
  | { readonly kind: 'setTunnel'; readonly id: bigint; readonly wide?: boolean }
  | { readonly kind: 'resubmit'; readonly port?: number; readonly table?: number; readonly ct?: boolean }
  | {
      readonly kind: 'multipath';
      readonly fields: MultipathFields;
      readonly basis: number;
      readonly algorithm: 'modulo_n' | 'hash_threshold' | 'hrw' | 'iter_hash';
      readonly links: number;
      readonly arg: number;
      readonly dst: FieldRange;
    }
  | {
      readonly kind: 'bundle';
      readonly fields: MultipathFields;
      readonly basis: number;
      readonly algorithm: 'active_backup' | 'hrw';
      readonly members: readonly number[];
      readonly dst?: FieldRange;
    }
  | {
      readonly kind: 'learn';
      readonly idleTimeout: number;
      readonly hardTimeout: number;
      readonly priority: number;
      readonly cookie: bigint;
      readonly flags: number;
      readonly table: number;
      readonly finIdleTimeout: number;
      readonly finHardTimeout: number;
      readonly specs: readonly LearnSpec[];
      readonly limit?: number;
      readonly result?: FieldRange;
    }
  /** `clause` counts from 1, as in `conjunction(id, clause/of)`; on the wire it counts from 0. */
  | { readonly kind: 'conjunction'; readonly id: number; readonly clause: number; readonly of: number }
  | {
      readonly kind: 'controller';
      readonly maxLen: number;
      readonly reason: number;
      readonly controller: number;
      readonly userdata?: Uint8Array;
      readonly pause?: boolean;
      readonly meter?: number;
    }
  | {
      readonly kind: 'ct';
      readonly commit?: boolean;
      readonly force?: boolean;
      readonly zone?: number | FieldRange;
      readonly table?: number;
      readonly alg?: number;
      readonly nat?: Nat;
      readonly exec?: readonly Action[];
    }
  | { readonly kind: 'ctClear' }
  | { readonly kind: 'clone'; readonly actions: readonly Action[] }
  | { readonly kind: 'checkPktLarger'; readonly length: number; readonly dst: FieldRange }
  /** With the zeros that fill it up to 6, 14, 22 … bytes. */
  | { readonly kind: 'note'; readonly bytes: Uint8Array }
  | { readonly kind: 'exit' }
  | { readonly kind: 'fin'; readonly idleTimeout: number; readonly hardTimeout: number }
  | {
      readonly kind: 'sample';
      readonly probability: number;
      readonly collectorSet: number;
      readonly domain: number;
      readonly point: number;
      readonly port?: number;
      readonly direction?: 0 | 1 | 2;
    }
  | { readonly kind: 'encap'; readonly bytes: Uint8Array }
  | { readonly kind: 'decap'; readonly bytes: Uint8Array }
  | { readonly kind: 'deleteField'; readonly field: FieldName }
  /** An action that we do not know: its bytes with header, as they were. */
  | { readonly kind: 'unknown'; readonly bytes: Uint8Array };

export type MultipathFields =
  | 'eth_src'
  | 'symmetric_l4'
  | 'symmetric_l3l4'
  | 'symmetric_l3l4+udp'
  | 'nw_src'
  | 'nw_dst'
  | 'symmetric_l3';

/** Instructions of a flow. `actions` is Apply-Actions; OpenFlow 1.0 has nothing else. */
export interface Instructions {
  readonly meter?: number;
  readonly actions: readonly Action[];
  readonly clearActions?: boolean;
  readonly writeActions?: readonly Action[];
  readonly writeMetadata?: { readonly value: bigint; readonly mask: bigint };
  readonly gotoTable?: number;
  readonly statTrigger?: Uint8Array;
  /** Types of the instructions as they stood on the wire, when that was not the order of execution. */
  readonly order?: readonly number[];
  readonly unknown?: readonly Uint8Array[];
}

/** One entry of a flow table. No actions and no goto means drop. */
export interface Flow extends Instructions {
  readonly table: number;
  readonly priority: number;
  readonly match: Match;
  readonly cookie: bigint;
  readonly idleTimeout?: number;
  readonly hardTimeout?: number;
  readonly importance?: number;
  readonly flags?: number;
}
