import { type Action, CT_ALG, type MultipathFields } from '../flow.ts';

/** Names that the printing and the reading of actions share. */

type Kind = Action['kind'];

/** Actions that are a bare word. */
export const WORDS = {
  popVlan: 'pop_vlan',
  stripVlan: 'strip_vlan',
  popPbb: 'pop_pbb',
  popQueue: 'pop_queue',
  decMplsTtl: 'dec_mpls_ttl',
  copyTtlOut: 'copy_ttl_out',
  copyTtlIn: 'copy_ttl_in',
  ctClear: 'ct_clear',
  exit: 'exit',
} as const satisfies { readonly [K in Kind]?: string };

/** `OFPR_*` (OpenFlow 1.3 §A.4.1, 1.5 §7.4.1) by number. */
export const REASONS = ['no_match', 'action', 'invalid_ttl', 'action_set', 'group', 'packet_out'] as const;
export const REASON_ACTION = 1;

/** Application-layer gateways by port. */
export const GATEWAYS: readonly (readonly [name: string, port: number])[] = Object.entries(CT_ALG);

export const HASH_FIELDS: readonly MultipathFields[] = [
  'eth_src',
  'symmetric_l4',
  'symmetric_l3l4',
  'symmetric_l3l4+udp',
  'nw_src',
  'nw_dst',
  'symmetric_l3',
];
export const LINK_ALGORITHMS = ['modulo_n', 'hash_threshold', 'hrw', 'iter_hash'] as const;
export const MEMBER_ALGORITHMS = ['active_backup', 'hrw'] as const;

/** Flags of `learn`, in the order of printing. */
export const LEARN_FLAGS: readonly (readonly [name: string, bit: number])[] = [
  ['send_flow_rem', 1],
  ['delete_learned', 2],
];
export const LEARN_WRITE_RESULT = 4;
export const DEFAULT_PRIORITY = 32768;
/** A packet is sent to the controller whole. */
export const WHOLE_PACKET = 65535;
