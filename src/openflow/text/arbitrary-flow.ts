import fc from 'fast-check';
import { type Field, type FieldName, fieldOf } from '../fields.ts';
import type { Action, FieldRange, FieldValue, Flow, LearnSpec, Masked, Match, MultipathFields } from '../flow.ts';
import { OFPP } from '../flow.ts';
import { fullMask } from './values.ts';

/**
 * Random flows for property tests: valid for Open vSwitch (prerequisites met, at least one way to encode), and in the
 * one form among equals that parsing gives.
 */

const bits = (n: number): fc.Arbitrary<FieldValue> =>
  n <= 32
    ? fc.oneof(fc.integer({ min: 0, max: 3 % 2 ** n }), fc.integer({ min: 0, max: 2 ** n - 1 }))
    : n <= 48
      ? fc.maxSafeNat().map((value) => value % 2 ** n)
      : fc.bigInt({ min: 0n, max: (1n << BigInt(n)) - 1n });

const prefixMask = (n: number): fc.Arbitrary<FieldValue> =>
  fc.integer({ min: 1, max: n - 1 }).map((length) => {
    const mask = ((1n << BigInt(length)) - 1n) << BigInt(n - length);
    return n <= 48 ? Number(mask) : mask;
  });

function entry(field: Field): fc.Arbitrary<FieldValue | Masked> {
  const exact = bits(field.bits);
  if (!field.maskable) return exact;
  // Open vSwitch 3.1 takes a dotless IPv6 mask that begins with a decimal digit for a prefix length.
  const top = field.format === 'ipv6' ? 0xffffn << 112n : 0n;
  const any = bits(field.bits).map((m) => (top === 0n ? m : BigInt(m) | top));
  const mask = fc.oneof(any, prefixMask(field.bits)).filter((m) => BigInt(m) !== 0n);
  const masked = fc.tuple(exact, mask).map(([v, m]): FieldValue | Masked => {
    if (BigInt(m) === BigInt(fullMask(field.bits))) return v;
    const value = BigInt(v) & BigInt(m);
    return { value: field.bits <= 48 ? Number(value) : value, mask: m };
  });
  return fc.oneof(exact, masked);
}

const port = fc.oneof(fc.integer({ min: 1, max: 65279 }), fc.constantFrom(OFPP.local, OFPP.controller));
const named = (name: FieldName): fc.Arbitrary<FieldValue | Masked> => {
  if (name === 'in_port') return port;
  if (name === 'ct_state') return flags(8);
  if (name === 'tcp_flags') return flags(12);
  if (name === 'ip_frag')
    return fc.constantFrom<FieldValue | Masked>(0, 1, 3, { value: 1, mask: 1 }, { value: 0, mask: 2 });
  if (name === 'vlan_vid')
    return fc.oneof(
      fc.constant(0),
      fc.integer({ min: 0x1000, max: 0x1fff }),
      fc.constant({ value: 0x1000, mask: 0x1000 }),
    );
  return entry(fieldOf(name));
};

function flags(n: number): fc.Arbitrary<FieldValue | Masked> {
  return fc
    .tuple(fc.integer({ min: 1, max: 2 ** n - 1 }), fc.integer({ min: 0, max: 2 ** n - 1 }))
    .map(([mask, value]) => (mask === 2 ** n - 1 ? value : { value: value & mask, mask }));
}

/** Fields by the protocol context that they need. */
const ALWAYS: readonly FieldName[] = [
  ...(['reg0', 'reg5', 'reg15', 'metadata', 'in_port', 'eth_src', 'eth_dst', 'vlan_vid', 'tun_id'] as const),
  ...(['tun_src', 'tun_dst', 'tun_ipv6_src', 'pkt_mark', 'ct_state', 'ct_zone', 'ct_mark', 'ct_label'] as const),
  ...(['tun_gbp_id', 'conj_id'] as const),
];
const IP: readonly FieldName[] = ['ip_dscp', 'ip_ecn', 'ip_ttl'];
const CONTEXTS: readonly (readonly [fixed: Match, fields: readonly FieldName[]])[] = [
  [{}, []],
  [{ eth_type: 0x88b5 }, []],
  [{ eth_type: 0x0806 }, ['arp_spa', 'arp_tpa', 'arp_sha', 'arp_tha']],
  [{ eth_type: 0x8035 }, ['arp_spa']],
  [{ eth_type: 0x8847 }, ['mpls_label', 'mpls_tc', 'mpls_bos']],
  [{ eth_type: 0x0800 }, ['ip_src', 'ip_dst', 'ip_frag', ...IP]],
  [{ eth_type: 0x0800, ip_proto: 6 }, ['ip_src', 'ip_dst', ...IP, 'tcp_src', 'tcp_dst', 'tcp_flags']],
  [{ eth_type: 0x0800, ip_proto: 17 }, ['ip_src', 'ip_dst', ...IP, 'udp_src', 'udp_dst']],
  [{ eth_type: 0x0800, ip_proto: 132 }, ['ip_src', 'sctp_src', 'sctp_dst']],
  [{ eth_type: 0x0800, ip_proto: 1 }, ['ip_src', 'icmp_type', 'icmp_code']],
  [{ eth_type: 0x0800, ip_proto: 47 }, ['ip_src', ...IP]],
  [{ eth_type: 0x86dd }, ['ipv6_src', 'ipv6_dst', 'ipv6_label', 'ip_frag', ...IP]],
  [{ eth_type: 0x86dd, ip_proto: 6 }, ['ipv6_src', 'ipv6_dst', 'tcp_src', 'tcp_dst', 'tcp_flags']],
  [{ eth_type: 0x86dd, ip_proto: 17 }, ['ipv6_src', 'udp_src', 'udp_dst']],
  [{ eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 135 }, ['nd_target', 'nd_sll']],
  [{ eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 136 }, ['nd_target', 'nd_tll']],
  [{ eth_type: 0x0800, ct_state: { value: 0x22, mask: 0x22 }, ct_nw_proto: 6 }, ['ct_nw_src', 'ct_tp_dst']],
  [{ eth_type: 0x86dd, ct_state: { value: 0x22, mask: 0x22 }, ct_nw_proto: 17 }, ['ct_ipv6_dst', 'ct_tp_src']],
];

export const anyMatch: fc.Arbitrary<Match> = fc.constantFrom(...CONTEXTS).chain(([fixed, own]) =>
  fc
    .subarray(
      [...ALWAYS, ...own].filter((name) => !(name in fixed)),
      { maxLength: 6 },
    )
    .chain((names) => fc.tuple(...names.map((name) => named(name).map((value) => [name, value] as const))))
    .map((entries) => ({ ...fixed, ...Object.fromEntries(entries) }) as Match),
);

/** Ranges of fields that any flow may read and write. */
const RANGE_FIELDS: readonly FieldName[] = ['reg0', 'reg7', 'xxreg1', 'metadata', 'eth_src', 'eth_dst', 'tun_id'];
function range(width?: number): fc.Arbitrary<FieldRange> {
  return fc.constantFrom(...RANGE_FIELDS).chain((field) => {
    const total = Math.min(fieldOf(field).bits, 64);
    return fc.tuple(fc.nat(total - 1), fc.integer({ min: 1, max: total })).map(([from, n]): FieldRange => {
      const size = width ?? Math.min(n, total - from);
      return { field, from: Math.min(from, total - size), bits: size };
    });
  });
}

const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const table = fc.integer({ min: 0, max: 254 });
const hash = fc.constantFrom<MultipathFields>('eth_src', 'symmetric_l4', 'symmetric_l3l4', 'nw_src', 'symmetric_l3');

const optional = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arb, { nil: undefined });

/** Leaves out what is undefined, as the types want. */
function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}

const load = range().chain((dst) => bits(dst.bits).map((value): Action => ({ kind: 'load', value, dst })));
const move = range().chain((src) =>
  range(Math.min(src.bits, 32)).map(
    (dst): Action => ({ kind: 'move', src: { ...src, bits: Math.min(src.bits, 32) }, dst }),
  ),
);

/** Values to set: fields that need nothing in the match. */
const setField = fc
  .constantFrom<FieldName>(
    'reg1',
    'xreg3',
    'xxreg2',
    'metadata',
    'eth_dst',
    'tun_id',
    'tun_dst',
    'tun_ipv6_src',
    'pkt_mark',
  )
  .chain((field) =>
    entry(fieldOf(field)).map(
      (e) => ({ kind: 'setField', field, ...(typeof e === 'object' ? e : { value: e }) }) as Action,
    ),
  );

const nat = fc
  .tuple(
    fc.constantFrom('src', 'dst'),
    fc.boolean(),
    u32,
    u32,
    optional(fc.tuple(u16, u16)),
    fc.boolean(),
    optional(fc.constantFrom('hash', 'random')),
  )
  .map(([kind, v6, a, b, ports, persistent, protocol]) => {
    const [low, high] = a <= b ? [a, b] : [b, a];
    const ip = (n: number): FieldValue => (v6 ? (0xfd00n << 112n) + BigInt(n) : n);
    const [p, q] = ports ? [...ports].sort((x, y) => x - y) : [0, 0];
    return compact({
      kind: kind as 'src' | 'dst',
      ipMin: ip(low || 1),
      ipMax: high > (low || 1) ? ip(high) : undefined,
      portMin: p || undefined,
      portMax: p && q! > p ? q : undefined,
      persistent: persistent || undefined,
      protocol: protocol as 'hash' | 'random' | undefined,
    });
  });

const ctExec = fc.oneof(
  bits(32).map((value): Action => ({ kind: 'setField', field: 'ct_mark', value })),
  bits(128).map((value): Action => ({ kind: 'setField', field: 'ct_label', value })),
);
const ct = fc
  .record({
    kind: fc.constant('ct' as const),
    commit: fc.constant(true),
    force: optional(fc.constant(true as const)),
    zone: optional(fc.oneof(fc.integer({ min: 1, max: 65535 }), range(16))),
    table: optional(table),
    alg: optional(fc.constantFrom(21, 69)),
    nat: optional(fc.oneof(fc.constant({}), nat)),
    exec: optional(fc.array(ctExec, { minLength: 1, maxLength: 2 })),
  })
  .map(compact);

const learnSpec: fc.Arbitrary<LearnSpec> = fc.oneof(
  fc.constant<LearnSpec>({
    kind: 'match',
    src: { field: 'eth_src', from: 0, bits: 48 },
    dst: { field: 'eth_dst', from: 0, bits: 48 },
  }),
  fc.constant<LearnSpec>({
    kind: 'match',
    src: { field: 'vlan_tci', from: 0, bits: 12 },
    dst: { field: 'vlan_tci', from: 0, bits: 12 },
  }),
  bits(32).map(
    (v): LearnSpec => ({
      kind: 'match',
      src: { value: BigInt(v), bits: 32 },
      dst: { field: 'reg3', from: 0, bits: 32 },
    }),
  ),
  bits(8).map(
    (v): LearnSpec => ({ kind: 'match', src: { value: BigInt(v), bits: 8 }, dst: { field: 'reg3', from: 4, bits: 8 } }),
  ),
  bits(32).map(
    (v): LearnSpec => ({
      kind: 'load',
      src: { value: BigInt(v), bits: 32 },
      dst: { field: 'reg4', from: 0, bits: 32 },
    }),
  ),
  fc.constant<LearnSpec>({
    kind: 'load',
    src: { field: 'in_port', from: 0, bits: 16 },
    dst: { field: 'reg1', from: 16, bits: 16 },
  }),
  fc.constant<LearnSpec>({ kind: 'output', src: { field: 'in_port', from: 0, bits: 16 } }),
);
const learn = fc
  .record({
    kind: fc.constant('learn' as const),
    idleTimeout: u16,
    hardTimeout: u16,
    priority: u16,
    cookie: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    flags: fc.integer({ min: 0, max: 3 }),
    table,
    finIdleTimeout: u16,
    finHardTimeout: u16,
    specs: fc.array(learnSpec, { maxLength: 3 }),
    limit: optional(fc.integer({ min: 1, max: 1000 })),
  })
  .map(compact);

const controller = fc
  .record({
    kind: fc.constant('controller' as const),
    maxLen: u16,
    reason: fc.constantFrom(0, 1, 2),
    controller: u16,
    userdata: optional(fc.uint8Array({ minLength: 1, maxLength: 12 })),
    pause: optional(fc.constant(true)),
    meter: optional(fc.integer({ min: 1, max: 1000 })),
  })
  .map(compact)
  .filter((a) => a.reason !== 1 || a.controller !== 0 || a.pause || a.meter !== undefined || a.userdata !== undefined);

const simple: fc.Arbitrary<Action> = fc.oneof(
  fc.integer({ min: 1, max: 65279 }).map((n): Action => ({ kind: 'output', port: n })),
  fc.constantFrom<Action>(
    { kind: 'output', port: OFPP.inPort },
    { kind: 'output', port: OFPP.normal },
    { kind: 'output', port: OFPP.controller },
    { kind: 'output', port: OFPP.controller, maxLen: 128 },
    { kind: 'pushVlan', etherType: 0x8100 },
    { kind: 'ctClear' },
    { kind: 'exit' },
    { kind: 'popQueue' },
    { kind: 'note', bytes: new Uint8Array(14).fill(7, 0, 9) },
    { kind: 'fin', idleTimeout: 3, hardTimeout: 0 },
    { kind: 'sample', probability: 5, collectorSet: 1, domain: 2, point: 3 },
    { kind: 'outputTrunc', port: 4, maxLen: 100 },
  ),
  load,
  move,
  setField,
  range().map((r): Action => ({ kind: 'push', range: r })),
  range().map((r): Action => ({ kind: 'pop', range: r })),
  range(16).map((src): Action => ({ kind: 'outputReg', src })),
  fc.integer({ min: 0, max: 1000 }).map((group): Action => ({ kind: 'group', group })),
  u32.map((queue): Action => ({ kind: 'setQueue', queue })),
  fc
    .tuple(optional(fc.integer({ min: 1, max: 65279 })), table, fc.boolean())
    .map(([p, t, withCt]) =>
      compact<Action>({ kind: 'resubmit', port: p, table: t, ct: withCt || undefined } as Action),
    ),
  u16.map((length): Action => ({ kind: 'checkPktLarger', length, dst: { field: 'reg6', from: 3, bits: 1 } })),
  fc.tuple(hash, u16, fc.integer({ min: 1, max: 256 }), u32).map(
    ([fields, basis, links, arg]): Action => ({
      kind: 'multipath',
      fields,
      basis,
      algorithm: 'modulo_n',
      links,
      arg,
      dst: { field: 'reg2', from: 0, bits: 8 },
    }),
  ),
  fc.tuple(hash, u16, fc.array(fc.integer({ min: 1, max: 65279 }), { maxLength: 4 }), fc.boolean()).map(
    ([fields, basis, members, loads]): Action => ({
      kind: 'bundle',
      fields,
      basis,
      algorithm: 'hrw',
      members,
      ...(loads ? { dst: { field: 'reg2', from: 0, bits: 16 } } : {}),
    }),
  ),
  controller,
  learn as fc.Arbitrary<Action>,
);

const anyAction: fc.Arbitrary<Action> = fc.oneof(
  { arbitrary: simple, weight: 6 },
  { arbitrary: fc.array(simple, { maxLength: 3 }).map((actions): Action => ({ kind: 'clone', actions })), weight: 1 },
);

const withCt = fc.oneof({ arbitrary: anyAction, weight: 8 }, { arbitrary: ct as fc.Arbitrary<Action>, weight: 1 });

export const anyFlow: fc.Arbitrary<Flow> = fc
  .record({
    table,
    priority: u16,
    cookie: fc.bigInt({ min: 0n, max: (1n << 64n) - 2n }),
    idleTimeout: optional(fc.integer({ min: 1, max: 65535 })),
    hardTimeout: optional(fc.integer({ min: 1, max: 65535 })),
    flags: optional(fc.integer({ min: 1, max: 31 })),
    match: anyMatch,
    actions: fc.array(withCt, { maxLength: 4 }),
    meter: optional(fc.integer({ min: 1, max: 1000 })),
    clearActions: optional(fc.constant(true)),
    writeMetadata: optional(
      fc
        .tuple(fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }), fc.bigInt({ min: 1n, max: 0xffff_ffff_ffff_ffffn }))
        .map(([value, mask]) => ({ value: value & mask, mask })),
    ),
    gotoTable: optional(table),
  })
  .filter((flow) => flow.gotoTable === undefined || flow.gotoTable > flow.table)
  .map(compact)
  .map(mend);

/** Takes out or mends what Open vSwitch refuses: connection tracking wants IP, `resubmit(…,ct)` a tracked packet. */
function mend(flow: Flow): Flow {
  const { eth_type: type, ip_proto: proto, ct_state: state } = flow.match;
  const ip = type === 0x0800 || type === 0x86dd;
  const set = typeof state === 'object' ? Number(state.value) : Number(state ?? 0);
  const invalid = (set & 0x10) !== 0;
  const orig = ip && (set & 0xcf) !== 0;
  const mendAction = (action: Action): Action[] => {
    if (action.kind === 'clone') return [{ ...action, actions: action.actions.flatMap(mendAction) }];
    if (action.kind === 'resubmit' && action.ct && !orig) return [{ kind: 'resubmit', table: action.table ?? 0 }];
    if (action.kind === 'fin' && proto !== 6) return [];
    if (action.kind !== 'ct') return [action];
    const { alg, nat: translate, ...rest } = action;
    const family = translate?.ipMin === undefined ? type : typeof translate.ipMin === 'bigint' ? 0x86dd : 0x0800;
    if (!ip || invalid) return [];
    return [
      {
        ...rest,
        ...(translate && family === type ? { nat: translate } : {}),
        ...((alg === 21 && proto === 6) || (alg === 69 && proto === 17) ? { alg } : {}),
      },
    ];
  };
  return { ...flow, actions: flow.actions.flatMap(mendAction) };
}
