import type { Action, Match } from './flow.ts';
import { OFPP } from './flow.ts';
import { encodeMessage, type Message, type MessageBody } from './message.ts';
import { BUNDLE_CONTROL, BUNDLE_FLAG } from './messages/bundle.ts';
import { FLOW_COMMAND, FLOW_FLAG, type FlowMod } from './messages/flow-mod.ts';
import { COMMAND_BUCKET, GROUP_COMMAND, GROUP_TYPE } from './messages/group.ts';
import { BAND_TYPE, METER_COMMAND, METER_FLAG } from './messages/meter.ts';
import type { ReplyBody, RequestBody } from './messages/multipart.ts';
import { PACKET_IN_FORMAT, TLV_COMMAND } from './messages/nicira.ts';
import type { Port } from './messages/port.ts';
import { ROLE } from './messages/role.ts';
import { OF10, OF13, OF14, OF15, type OpenFlowVersion } from './version.ts';

/** Test support: one message or more of every kind in every version, as decoding gives them. */

const frame = Uint8Array.from(
  Buffer.from('ffffffffffff02000000000108060001080006040001020000000001c0a80a0a000000000000c0a80a14', 'hex'),
);

/** Every Nicira action, and those that all versions after 1.0 share. */
export const NICIRA_ACTIONS: readonly Action[] = [
  { kind: 'resubmit', table: 7 },
  { kind: 'resubmit', port: 3 },
  { kind: 'resubmit', port: 3, table: 9 },
  { kind: 'resubmit', table: 9, ct: true },
  { kind: 'setTunnel', id: 5n },
  { kind: 'setTunnel', id: 0x1_0000_0005n },
  { kind: 'setTunnel', id: 5n, wide: true },
  { kind: 'popQueue' },
  { kind: 'note', bytes: new Uint8Array([1, 2, 3, 0, 0, 0]) },
  { kind: 'note', bytes: new Uint8Array(14).fill(7) },
  {
    kind: 'multipath',
    fields: 'symmetric_l3l4+udp',
    basis: 50,
    algorithm: 'iter_hash',
    links: 16,
    arg: 3,
    dst: { field: 'reg3', from: 4, bits: 8 },
  },
  { kind: 'bundle', fields: 'eth_src', basis: 1, algorithm: 'active_backup', members: [1, 2, 3] },
  {
    kind: 'bundle',
    fields: 'symmetric_l4',
    basis: 0,
    algorithm: 'hrw',
    members: [4, 8],
    dst: { field: 'reg0', from: 0, bits: 16 },
  },
  { kind: 'outputReg', src: { field: 'reg1', from: 0, bits: 16 } },
  { kind: 'outputReg', src: { field: 'reg1', from: 5, bits: 10 }, maxLen: 128 },
  {
    kind: 'learn',
    idleTimeout: 5,
    hardTimeout: 10,
    priority: 77,
    cookie: 0x1234n,
    flags: 1,
    table: 3,
    finIdleTimeout: 1,
    finHardTimeout: 2,
    specs: [
      { kind: 'match', src: { field: 'vlan_tci', from: 0, bits: 12 }, dst: { field: 'vlan_tci', from: 0, bits: 12 } },
      { kind: 'match', src: { value: 0x0800n, bits: 16 }, dst: { field: 'eth_type', from: 0, bits: 16 } },
      { kind: 'load', src: { value: 0x1_2345_6789n, bits: 33 }, dst: { field: 'xxreg0', from: 3, bits: 33 } },
      { kind: 'output', src: { field: 'in_port', from: 0, bits: 16 } },
    ],
  },
  {
    kind: 'learn',
    idleTimeout: 0,
    hardTimeout: 0,
    priority: 1,
    cookie: 0n,
    flags: 4,
    table: 3,
    finIdleTimeout: 0,
    finHardTimeout: 0,
    specs: [
      { kind: 'match', src: { field: 'eth_src', from: 0, bits: 48 }, dst: { field: 'eth_dst', from: 0, bits: 48 } },
    ],
    limit: 10,
    result: { field: 'reg2', from: 7, bits: 1 },
  },
  { kind: 'exit' },
  { kind: 'fin', idleTimeout: 3, hardTimeout: 4 },
  { kind: 'controller', maxLen: 100, reason: 2, controller: 9 },
  {
    kind: 'controller',
    maxLen: 1024,
    reason: 2,
    controller: 9,
    userdata: new Uint8Array([1, 2, 3, 4, 5]),
    pause: true,
    meter: 6,
  },
  { kind: 'controller', maxLen: 0xffff, reason: 1, controller: 0, pause: true },
  { kind: 'push', range: { field: 'reg1', from: 1, bits: 5 } },
  { kind: 'pop', range: { field: 'metadata', from: 0, bits: 64 } },
  { kind: 'conjunction', id: 0xabcd, clause: 2, of: 3 },
  { kind: 'ct' },
  { kind: 'ct', commit: true, force: true, zone: 5, table: 3, alg: 21 },
  {
    kind: 'ct',
    commit: true,
    zone: { field: 'reg6', from: 0, bits: 16 },
    nat: { kind: 'src', ipMin: 0x0a00_0001, ipMax: 0x0a00_00ff, portMin: 1, portMax: 0xffff, protocol: 'random' },
    exec: [{ kind: 'setField', field: 'ct_mark', value: 5 }],
  },
  { kind: 'ct', commit: true, nat: { kind: 'dst', ipMin: 0x2001_0db8n << 96n, persistent: true } },
  { kind: 'ct', table: 4, nat: {} },
  { kind: 'ctClear' },
  { kind: 'clone', actions: [{ kind: 'resubmit', table: 4 }, { kind: 'exit' }] },
  { kind: 'checkPktLarger', length: 1500, dst: { field: 'reg0', from: 9, bits: 1 } },
  { kind: 'deleteField', field: 'tun_metadata0' },
  { kind: 'sample', probability: 100, collectorSet: 1, domain: 2, point: 3 },
  { kind: 'sample', probability: 100, collectorSet: 1, domain: 2, point: 3, port: 9 },
  { kind: 'sample', probability: 100, collectorSet: 1, domain: 2, point: 3, port: 9, direction: 1 },
  { kind: 'outputTrunc', port: 5, maxLen: 64 },
  { kind: 'decTtl', controllers: [1, 2, 3] },
  { kind: 'decTtl' },
];

const STANDARD_ACTIONS: readonly Action[] = [
  { kind: 'output', port: 1 },
  { kind: 'output', port: OFPP.controller },
  { kind: 'output', port: OFPP.controller, maxLen: 128 },
  { kind: 'output', port: OFPP.inPort },
  { kind: 'group', group: 3 },
  { kind: 'setQueue', queue: 7 },
  { kind: 'pushVlan', etherType: 0x8100 },
  { kind: 'popVlan' },
  { kind: 'setNwTtl', ttl: 9 },
  { kind: 'setField', field: 'eth_dst', value: 0x0200_0000_0002 },
  { kind: 'setField', field: 'ip_src', value: 0x0a00_0001 },
  { kind: 'setField', field: 'tun_id', value: 77n },
  { kind: 'setField', field: 'reg5', value: 0xdead_beef },
];

/** Only encoded: OpenFlow 1.5 gives them back as set-field and copy-field. */
const LOADS: readonly Action[] = [
  { kind: 'load', value: 5n, dst: { field: 'reg0', from: 0, bits: 16 } },
  { kind: 'load', value: 5n, dst: { field: 'metadata', from: 0, bits: 64 } },
  { kind: 'setField', field: 'reg5', value: 0xf0, mask: 0xff },
];
const MOVES: readonly Action[] = [
  {
    kind: 'move',
    src: { field: 'eth_src', from: 0, bits: 48 },
    dst: { field: 'eth_dst', from: 0, bits: 48 },
  },
  { kind: 'move', src: { field: 'reg1', from: 3, bits: 5 }, dst: { field: 'xxreg1', from: 64, bits: 5 } },
];

const TCP: Match = {
  in_port: 3,
  eth_type: 0x0800,
  ip_proto: 6,
  ip_src: { value: 0x0a00_0000, mask: 0xff00_0000 },
  ip_dst: 0x0a00_0001,
  tcp_dst: 80,
};
const RICH: Match = {
  metadata: { value: 5n, mask: 0xffn },
  reg1: { value: 7, mask: 0xffff },
  xxreg1: 5n,
  eth_src: { value: 0x0100_0000_0000, mask: 0x0100_0000_0000 },
  eth_type: 0x86dd,
  vlan_vid: { value: 0x1000, mask: 0x1000 },
  ip_proto: 58,
  ipv6_src: { value: 0xfe80n << 112n, mask: 0xffffn << 112n },
  icmpv6_type: 135,
  icmpv6_code: 0,
  nd_target: 0xfe80n << 112n,
  nd_sll: 0x0200_0000_0001,
  tun_id: 5n,
  tun_src: 0x0a00_0001,
  ct_state: { value: 0x22, mask: 0x23 },
  ct_zone: 5,
  ct_mark: 7,
  ct_label: { value: 1n, mask: 3n },
  pkt_mark: 3,
};

const add = { kind: 'flowMod', command: FLOW_COMMAND.add, table: 3, priority: 100, cookie: 0x1234n } as const;

function flowMods(version: OpenFlowVersion): FlowMod[] {
  const base = { ...add, table: version === OF10 ? 0 : 3 };
  const one = (actions: readonly Action[], match: Match = TCP): FlowMod => ({ ...base, match, actions });
  const dropping: FlowMod = {
    ...one([]),
    idleTimeout: 5,
    hardTimeout: 6,
    flags: FLOW_FLAG.sendRemoved,
    outPort: 9,
  };
  const wanted =
    version === OF10
      ? STANDARD_ACTIONS.filter((a) => !['pushVlan', 'popVlan', 'setNwTtl'].includes(a.kind))
      : STANDARD_ACTIONS;
  const mods = [
    dropping,
    one(
      version === OF10
        ? wanted.filter((a) => a.kind !== 'setField' || a.field.startsWith('e') || a.field === 'ip_src')
        : wanted,
    ),
    ...(version === OF15 ? MOVES : [...MOVES, LOADS[0]!, LOADS[1]!, LOADS[2]!]).map((action) => one([action])),
    ...NICIRA_ACTIONS.map((action) => one([action], version === OF10 ? TCP : matchFor(action))).filter(
      (mod) => version !== OF10 || sayable10(mod),
    ),
  ];
  if (version === OF10)
    return [
      ...mods,
      one([
        { kind: 'enqueue', port: 3, queue: 9 },
        { kind: 'stripVlan' },
        { kind: 'setVlanVid', vid: 5 },
        { kind: 'setVlanPcp', pcp: 3 },
      ]),
    ];
  mods.push(
    { ...base, match: RICH, actions: [], gotoTable: 9, cookieMask: 0xffn, command: FLOW_COMMAND.modify },
    {
      ...base,
      match: {},
      actions: [{ kind: 'output', port: 4 }],
      clearActions: true,
      writeActions: [{ kind: 'group', group: 4 }],
      writeMetadata: { value: 5n, mask: 0xffn },
      gotoTable: 9,
      ...(version < OF15 ? { meter: 3 } : { importance: 7 }),
    },
  );
  if (version === OF15) mods.push(one([{ kind: 'meter', meter: 3 }, LOADS[2]!]));
  return mods;
}

/** Open vSwitch wants packets tracked, or IPv6, for some actions. */
function needsRich(action: Action): boolean {
  return (
    (action.kind === 'resubmit' && action.ct === true) ||
    (action.kind === 'ct' && typeof action.nat?.ipMin === 'bigint')
  );
}

function matchFor(action: Action): Match {
  return needsRich(action) ? RICH : TCP;
}

/** 1.0 cannot match what some actions need, and gives a set-field back as the load it becomes. */
function sayable10(mod: FlowMod): boolean {
  return !mod.actions.some((a) => needsRich(a) || (a.kind === 'ct' && a.exec !== undefined));
}

function port(version: OpenFlowVersion): Port {
  const speeds =
    version === OF10 ? { currentSpeed: 0, maxSpeed: 0 } : { currentSpeed: 10_000_000, maxSpeed: 40_000_000 };
  return {
    number: 5,
    mac: 0x0200_0000_0005,
    name: 'weft5',
    config: 1,
    state: 1,
    ethernet: { current: 0x840, advertised: 0x20, supported: 0x20, peer: 0, ...speeds },
  };
}

function requests(version: OpenFlowVersion): RequestBody[] {
  const query =
    version === OF10 ? { match: TCP, table: 0 } : { match: TCP, table: 3, outPort: 5, cookie: 1n, cookieMask: 3n };
  const common: RequestBody[] = [
    { kind: 'desc' },
    { kind: 'flow', ...query },
    { kind: 'aggregate', match: {} },
    { kind: 'table' },
    { kind: 'port' },
    { kind: 'port', port: 5 },
    { kind: 'queue' },
    { kind: 'queue', port: 5, queue: 6 },
  ];
  if (version === OF10) return common;
  const later: RequestBody[] = [
    ...common,
    { kind: 'group' },
    { kind: 'group', group: 3 },
    { kind: 'groupDesc' },
    { kind: 'groupFeatures' },
    { kind: 'meter' },
    { kind: 'meterConfig', meter: 4 },
    { kind: 'meterFeatures' },
    { kind: 'tableFeatures', tables: [] },
    { kind: 'portDesc' },
  ];
  if (version >= OF14) later.push({ kind: 'tableDesc' }, { kind: 'queueDesc', port: 5, queue: 6 });
  if (version >= OF15) later.push({ kind: 'groupDesc', group: 3 }, { kind: 'portDesc', port: 5 });
  return later;
}

const duration = { durationSec: 5, durationNsec: 6000 };

function replies(version: OpenFlowVersion): ReplyBody[] {
  const flow = { table: 3, priority: 100, cookie: 5n, ...duration, packets: 9n, bytes: 900n };
  const flows = flowMods(version)
    .slice(0, 4)
    .map((mod) => ({
      ...flow,
      match: mod.match,
      actions: mod.actions,
      ...(version === OF15 ? { idleSec: 3, idleNsec: 0 } : {}),
    }));
  const counters = {
    rxPackets: 1n,
    txPackets: 2n,
    rxBytes: 3n,
    txBytes: 4n,
    rxDropped: 5n,
    txDropped: 6n,
    rxErrors: 7n,
    txErrors: 8n,
    ethernet: { frameErrors: 9n, overruns: 10n, crcErrors: 11n, collisions: 12n },
  };
  const timed = version === OF10 ? {} : duration;
  const common: ReplyBody[] = [
    { kind: 'desc', manufacturer: 'Weft', hardware: 'none', software: '1', serial: '2', datapath: 'br-int' },
    { kind: 'flow', flows },
    { kind: 'aggregate', packets: 5n, bytes: 6n, flowCount: 7 },
    {
      kind: 'table',
      tables: [
        {
          table: 0,
          active: 5,
          lookups: 6n,
          matched: 7n,
          ...(version === OF10 ? { name: 'classify', wildcards: 0x3f_ffff, maxEntries: 100 } : {}),
        },
      ],
    },
    { kind: 'port', ports: [{ port: 5, ...counters, ...timed }] },
    { kind: 'queue', queues: [{ port: 5, queue: 6, txBytes: 1n, txPackets: 2n, txErrors: 3n, ...timed }] },
  ];
  return version === OF10 ? common : [...common, ...laterReplies(version)];
}

function laterReplies(version: OpenFlowVersion): ReplyBody[] {
  const bands = [{ type: BAND_TYPE.drop, rate: 100, burst: 10 }];
  const bucket = version === OF15 ? { id: 4 } : {};
  const selection = { selectionMethod: 'hash', selectionParam: 5n, selectionFields: { ip_src: 0xffff_ffff } } as const;
  const out: ReplyBody[] = [
    {
      kind: 'group',
      groups: [{ group: 3, references: 1, packets: 2n, bytes: 3n, ...duration, buckets: [{ packets: 1n, bytes: 2n }] }],
    },
    {
      kind: 'groupDesc',
      groups: [
        {
          group: 3,
          type: GROUP_TYPE.select,
          buckets: [{ ...bucket, weight: 5, actions: [{ kind: 'output', port: 5 }] }],
          ...(version === OF15 ? selection : {}),
        },
      ],
    },
    { kind: 'groupFeatures', types: 15, capabilities: 7, maxGroups: [1, 2, 3, 4], actions: [5, 6, 7, 8] },
    {
      kind: 'meter',
      meters: [
        { meter: 4, flowCount: 1, packetsIn: 2n, bytesIn: 3n, ...duration, bands: [{ packets: 1n, bytes: 2n }] },
      ],
    },
    { kind: 'meterConfig', meters: [{ meter: 4, flags: METER_FLAG.packets | METER_FLAG.burst, bands }] },
    { kind: 'meterFeatures', maxMeter: 100, bandTypes: 2, capabilities: 15, maxBands: 1, maxColor: 0 },
    { kind: 'portDesc', ports: [port(version)] },
  ];
  if (version >= OF14) out.push({ kind: 'tableDesc', tables: [{ table: 3, config: 4 }] });
  return out;
}

function packetIns(version: OpenFlowVersion): MessageBody[] {
  const match: Match = version === OF10 ? { in_port: 3 } : { in_port: 3, tun_id: 5n, reg0: 7 };
  const common = { totalLength: frame.length, reason: 1, frame };
  const rest = version === OF10 ? {} : { table: 4, cookie: 0x55n };
  const nxMatch: Match = { in_port: 3, reg0: 7, tun_id: 5n };
  return [
    { kind: 'packetIn', form: 'of', ...common, match, ...rest },
    { kind: 'packetIn', form: 'nxt', ...common, match: nxMatch, table: 4, cookie: 0x55n },
    {
      kind: 'packetIn',
      form: 'nxt2',
      ...common,
      totalLength: 100,
      match: nxMatch,
      table: 4,
      cookie: 0x55n,
      userdata: new Uint8Array([1, 2, 3]),
    },
    { kind: 'packetOut', match: { in_port: OFPP.controller }, actions: [{ kind: 'output', port: 5 }], frame },
  ];
}

function bodies(version: OpenFlowVersion): MessageBody[] {
  const empty = new Uint8Array(0);
  const out: MessageBody[] = [
    { kind: 'hello' },
    { kind: 'hello', versions: [1, 4, 5, 6] },
    { kind: 'echoRequest', data: new Uint8Array([1, 2, 3]) },
    { kind: 'echoReply', data: empty },
    { kind: 'barrierRequest' },
    { kind: 'barrierReply' },
    { kind: 'featuresRequest' },
    {
      kind: 'featuresReply',
      datapathId: 0x1234n,
      buffers: 0,
      tables: 254,
      auxiliaryId: 0,
      capabilities: 0x4f,
      actions: 0,
      ...(version === OF10 ? { ports: [port(version)] } : {}),
    },
    { kind: 'getConfigRequest' },
    { kind: 'getConfigReply', flags: 0, missSendLength: 128 },
    { kind: 'setConfig', flags: 0, missSendLength: 0xffff },
    { kind: 'error', type: 1, code: 6, name: 'OFPBRC_BAD_LEN', data: new Uint8Array([version, 0, 0, 8, 0, 0, 0, 1]) },
    ...flowMods(version),
    ...packetIns(version),
    {
      kind: 'flowRemoved',
      match: TCP,
      cookie: 5n,
      priority: 6,
      reason: 1,
      table: version === OF10 ? 0 : 3,
      idleTimeout: 5,
      hardTimeout: version === OF10 ? 0 : 6,
      ...duration,
      packets: 9n,
      bytes: 900n,
    },
    { kind: 'portStatus', reason: 2, port: port(version) },
    { kind: 'portMod', port: 5, mac: 0x0200_0000_0005, config: 1, mask: 1, advertise: 0x20 },
    ...requests(version).map((body): MessageBody => ({ kind: 'multipartRequest', flags: 0, body })),
    ...replies(version).map((body): MessageBody => ({ kind: 'multipartReply', more: false, body })),
    { kind: 'roleRequest', role: ROLE.primary, generation: version === OF10 ? 0n : 7n },
    { kind: 'roleReply', role: ROLE.primary, generation: version === OF10 ? 0n : 7n },
    { kind: 'setAsync', packetIn: [7, 0], portStatus: [7, 7], flowRemoved: [15, 0] },
    { kind: 'setPacketInFormat', format: PACKET_IN_FORMAT.nxt2 },
    { kind: 'setControllerId', id: 5 },
    { kind: 'ctFlushZone', zone: 5 },
    {
      kind: 'tlvTableMod',
      command: TLV_COMMAND.add,
      maps: [{ optionClass: 0x0102, optionType: 0x80, optionLength: 4, index: 0 }],
    },
    { kind: 'tlvTableRequest' },
    {
      kind: 'tlvTableReply',
      maxOptionSpace: 256,
      maxFields: 64,
      maps: [{ optionClass: 0x0102, optionType: 0x80, optionLength: 4, index: 0 }],
    },
    { kind: 'experimenter', experimenter: 0x1234_5678, data: new Uint8Array([0, 0, 0, 9, 1, 2, 3, 4]) },
    { kind: 'unknown', type: 99, data: new Uint8Array([1, 2]) },
  ];
  return version === OF10 ? [...out, { kind: 'flowModTableId', on: true }] : [...out, ...laterBodies(version)];
}

function laterBodies(version: OpenFlowVersion): MessageBody[] {
  const bucket = version === OF15 ? { id: 0 } : {};
  const out: MessageBody[] = [
    {
      kind: 'groupMod',
      command: GROUP_COMMAND.add,
      type: GROUP_TYPE.select,
      group: 3,
      buckets: [{ ...bucket, weight: 5, watchPort: 5, actions: [{ kind: 'output', port: 5 }] }],
      ...(version === OF15 ? { selectionMethod: 'dp_hash', selectionParam: 1n } : {}),
    },
    { kind: 'groupMod', command: GROUP_COMMAND.delete, type: 0, group: 3, buckets: [] },
    {
      kind: 'meterMod',
      command: METER_COMMAND.add,
      flags: METER_FLAG.kbps | METER_FLAG.burst | METER_FLAG.stats,
      meter: 3,
      bands: [{ type: BAND_TYPE.drop, rate: 1000, burst: 100 }],
    },
    { kind: 'tableMod', table: 3, config: 0 },
    { kind: 'getAsyncRequest' },
    { kind: 'getAsyncReply', packetIn: [7, 0], portStatus: [7, 7], flowRemoved: [15, 0] },
    {
      kind: 'bundleControl',
      bundle: 5,
      type: BUNDLE_CONTROL.openRequest,
      flags: BUNDLE_FLAG.atomic | BUNDLE_FLAG.ordered,
    },
    {
      kind: 'bundleAdd',
      bundle: 5,
      flags: BUNDLE_FLAG.atomic | BUNDLE_FLAG.ordered,
      message: encodeMessage({ ...flowMods(version)[1]!, version, xid: 9 }),
    },
  ];
  if (version < OF14) {
    out.push(
      { kind: 'queueGetConfigRequest', port: 5 },
      { kind: 'queueGetConfigReply', port: 5, queues: new Uint8Array(0) },
    );
  }
  if (version === OF15)
    out.push({
      kind: 'groupMod',
      command: GROUP_COMMAND.insertBucket,
      type: GROUP_TYPE.all,
      group: 3,
      commandBucket: COMMAND_BUCKET.last,
      buckets: [{ id: 9, actions: [] }],
    });
  return out;
}

/** All samples of a version, xid 9. */
export function samples(version: OpenFlowVersion): Message[] {
  return bodies(version).map((body) => ({ ...body, version, xid: 9 }));
}

export const SAMPLE_VERSIONS: readonly OpenFlowVersion[] = [OF10, OF13, OF14, OF15];
