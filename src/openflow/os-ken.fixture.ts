import assert from 'node:assert/strict';
import { formatIpv4, formatIpv6, formatMac } from '../base/addresses.ts';
import { fieldByName, fieldOf } from './fields.ts';
import type { Action, FieldRange, Instructions, Masked, Match } from './flow.ts';
import type { Message } from './message.ts';

/**
 * Test support: what os-ken makes of a message (its JSON, a second and independent decoder) against what we make of it.
 * `VIEWS` says, for each of os-ken's classes, which of our values its members must equal (undefined: we keep it as
 * bytes, which the round trip proves); members in `IMPLIED` (lengths
 * and type codes) are not compared, as they have no place in our values.
 */
type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };
// biome-ignore lint/suspicious/noExplicitAny: a fixture that reads values of every message kind by name
type Ours = any;

const IMPLIED = new Set(['len', 'length', 'type', 'subtype', 'vendor', 'actions_len', 'match_len', 'property']);
const NONE32 = 0xffff_ffff;

/** Compares os-ken's JSON (with big numbers as bigints) to our message. Throws an assertion error naming the place. */
export function assertSameAsOsKen(json: Json, message: Message): void {
  compare(json, message, message.kind);
}

function compare(theirs: Json, ours: Ours, at: string): void {
  if (Array.isArray(theirs)) {
    const list = ours instanceof Uint8Array ? [...ours] : ours;
    assert.equal(list?.length, theirs.length, `${at}: length`);
    for (const [i, item] of theirs.entries()) compare(item, list[i], `${at}[${i}]`);
    return;
  }
  if (theirs === null || typeof theirs !== 'object') {
    assert.equal(text(ours, theirs), String(theirs ?? ''), at);
    return;
  }
  for (const [name, members] of Object.entries(theirs)) {
    if (/^\d+$/.test(name)) {
      // OpenFlow 1.0's ports: a map by number.
      const port = ours.find((p: Ours) => p.number === Number(name));
      compare(members, port, `${at}.${name}`);
      continue;
    }
    const view = VIEWS[name];
    if (!view) throw new Error(`${at}: no view for os-ken's ${name}`);
    const mine = view(ours, members);
    if (!mine) continue;
    for (const [key, value] of Object.entries(members as { [key: string]: Json })) {
      if (IMPLIED.has(key) && !(key in mine)) continue;
      assert.ok(key in mine, `${at}: ${name}.${key} is compared to nothing`);
      compare(value, mine[key], `${at}.${name}.${key}`);
    }
  }
}

/** Our value as os-ken prints one of its kind. */
function text(ours: Ours, theirs: Json): string {
  if (typeof ours === 'string') return ours;
  if (ours instanceof Uint8Array) return Buffer.from(ours).toString('base64');
  if (typeof theirs === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(theirs)) return formatMac(Number(ours));
  if (typeof theirs === 'string' && /^\d+\.\d+\.\d+\.\d+$/.test(theirs)) return formatIpv4(Number(ours));
  if (typeof theirs === 'string' && theirs.includes('::') && typeof ours === 'bigint') return formatIpv6(ours);
  return String(ours ?? '');
}

/** os-ken's name of a field as ours. */
function fieldName(name: string): string {
  const renamed: Record<string, string> = {
    ipv4_src: 'ip_src',
    ipv4_dst: 'ip_dst',
    icmpv4_type: 'icmp_type',
    icmpv4_code: 'icmp_code',
    ipv6_flabel: 'ipv6_label',
    ipv6_nd_target: 'nd_target',
    ipv6_nd_sll: 'nd_sll',
    ipv6_nd_tll: 'nd_tll',
    tun_ipv4_src: 'tun_src',
    tun_ipv4_dst: 'tun_dst',
  };
  const plain = name.replace(/_nxm$/, '');
  return renamed[plain] ?? fieldByName(plain)?.name ?? plain;
}

function entries(match: Match): Ours[] {
  return Object.entries(match).flatMap(([name, value]): Ours[] =>
    name === 'unknown' ? (value as Uint8Array[]).map((bytes) => ({ bytes })) : [{ name, value }],
  );
}

function instructions(flow: Instructions): Ours[] {
  const order = flow.order ?? [6, 4, 5, 3, 2, 1];
  const has: Record<number, Ours> = {
    1: flow.gotoTable,
    3: flow.writeActions,
    4: flow.actions.length > 0 ? flow.actions : undefined,
    6: flow.meter,
  };
  const known = order.map((type) => has[type]).filter((value) => value !== undefined);
  return [...known, ...(flow.unknown ?? []).map((bytes) => ({ bytes }))];
}

function range(value: FieldRange): Ours[] {
  return [value.field, value.from];
}

/** `ofs_nbits`. */
function packed(value: FieldRange): number {
  return (value.from << 6) | (value.bits - 1);
}

function spec(ours: Ours, theirs: Json): Ours {
  const source = (theirs as { src: Json }).src;
  return {
    n_bits: ours.src.bits,
    src: Array.isArray(source) ? range(ours.src) : ours.src.value,
    dst: ours.dst ? range(ours.dst) : '',
  };
}

/** After the type, length and experimenter id of an unknown action; zeros at the end are padding. */
function actionData(action: Ours, skip: number): Uint8Array {
  const data = (action as Extract<Action, { kind: 'unknown' }>).bytes.subarray(skip);
  return data.subarray(0, data.findLastIndex((byte) => byte !== 0) + 1);
}

function word(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
}

const maxLength = (action: Ours): number => action.maxLen ?? (action.port === 0xffff_fffd ? 0xffff : 0);
const port16 = (port: number | undefined): number => (port ?? NONE32) & 0xffff;
const nothing = (): Ours => ({});
const stats = (m: Ours): Ours => ({ flags: m.flags ?? 0, ...m.body });
const bodyList = (name: string) => (m: Ours) => ({ flags: m.more ? 1 : 0, body: m.body[name] });
const bodyItself = (m: Ours): Ours => ({ flags: m.more ? 1 : 0, body: m.body });
const etherType = (a: Ours): Ours => ({ ethertype: a.etherType });

function flowQuery(m: Ours): Ours {
  const q = m.body;
  return {
    flags: m.flags,
    cookie: q.cookie ?? 0n,
    cookie_mask: q.cookieMask ?? 0n,
    match: q.match,
    out_group: q.outGroup ?? NONE32,
    out_port: q.outPort ?? NONE32,
    table_id: q.table ?? 0xff,
  };
}

function flowRemoved(m: Ours): Ours {
  return {
    byte_count: m.bytes,
    packet_count: m.packets,
    cookie: m.cookie,
    duration_sec: m.durationSec,
    duration_nsec: m.durationNsec,
    idle_timeout: m.idleTimeout ?? 0,
    hard_timeout: m.hardTimeout ?? 0,
    priority: m.priority,
    table_id: m.table,
    match: m.match,
    reason: m.reason,
    flags: m.flags ?? 0,
    instructions: m.actions && instructions(m),
  };
}

function flowMod(m: Ours): Ours {
  return {
    ...flowRemoved(m),
    actions: m.actions,
    buffer_id: m.bufferId ?? NONE32,
    command: m.command,
    cookie_mask: m.cookieMask ?? 0n,
    out_port: m.version === 1 ? port16(m.outPort) : (m.outPort ?? NONE32),
    out_group: m.outGroup ?? NONE32,
  };
}

function portView(p: Ours): Ours {
  return {
    advertised: p.ethernet.advertised,
    config: p.config,
    curr: p.ethernet.current,
    curr_speed: p.ethernet.currentSpeed,
    hw_addr: p.mac,
    max_speed: p.ethernet.maxSpeed,
    name: p.name,
    peer: p.ethernet.peer,
    port_no: p.number,
    state: p.state,
    supported: p.ethernet.supported,
  };
}

function match10(theirs: Record<string, Ours>, match: Match): Ours {
  const value = (name: keyof Match): Ours => {
    const own = match[name] as Ours;
    return typeof own === 'object' ? (own as Masked).value : own;
  };
  const wild = Number(theirs.wildcards);
  const said = (bit: number, own: Ours, zero: Ours): Ours => (wild & bit ? zero : own);
  return {
    ...theirs,
    in_port: said(1, port16(Number(value('in_port'))), theirs.in_port),
    dl_vlan: said(2, Number(value('vlan_vid')) & 0xfff, theirs.dl_vlan),
    dl_src: said(4, value('eth_src'), theirs.dl_src),
    dl_dst: said(8, value('eth_dst'), theirs.dl_dst),
    dl_type: said(16, value('eth_type'), theirs.dl_type),
    nw_proto: said(32, value('ip_proto'), theirs.nw_proto),
  };
}

const VIEWS: Record<string, (ours: Ours, theirs: Json) => Ours> = {
  OFPHello: (m) => ({ elements: m.versions ? [m] : [] }),
  OFPHelloElemVersionBitmap: (m) => ({ versions: m.versions }),
  OFPErrorMsg: (m) => ({ ...m, code: m.type === 0xffff ? '' : m.code, exp_type: m.code }),
  OFPExperimenter: (m) => ({ ...m, exp_type: word(m.data, 0), data: m.data.subarray(4) }),
  OFPEchoRequest: (m) => m,
  OFPEchoReply: (m) => m,
  OFPBarrierRequest: nothing,
  OFPBarrierReply: nothing,
  OFPFeaturesRequest: nothing,
  OFPGetConfigRequest: nothing,
  OFPGetAsyncRequest: nothing,
  OFPSwitchFeatures: (m) => ({
    actions: m.actions,
    auxiliary_id: m.auxiliaryId,
    capabilities: m.capabilities,
    datapath_id: m.datapathId,
    n_buffers: m.buffers,
    n_tables: m.tables,
    ports: m.ports,
  }),
  OFPPhyPort: portView,
  OFPPort: portView,
  OFPSetConfig: (m) => ({ flags: m.flags, miss_send_len: m.missSendLength }),
  OFPGetConfigReply: (m) => ({ flags: m.flags, miss_send_len: m.missSendLength }),
  OFPRoleRequest: (m) => ({ role: m.role, generation_id: m.generation }),
  OFPRoleReply: (m) => ({ role: m.role, generation_id: m.generation }),
  ...Object.fromEntries(
    ['OFPGetAsyncReply', 'OFPSetAsync'].map((name) => [
      name,
      (m: Ours) => ({
        packet_in_mask: m.packetIn,
        port_status_mask: m.portStatus,
        flow_removed_mask: m.flowRemoved,
      }),
    ]),
  ),
  OFPPacketOut: (m) => ({
    actions: m.actions,
    buffer_id: m.bufferId ?? NONE32,
    data: m.frame,
    in_port: m.version === 1 ? port16(m.match.in_port) : m.match.in_port,
  }),
  OFPPacketIn: (m) => ({
    buffer_id: m.bufferId ?? NONE32,
    cookie: m.cookie,
    data: m.frame,
    in_port: m.match.in_port,
    match: m.match,
    reason: m.reason,
    table_id: m.table,
    total_len: m.totalLength,
  }),
  OFPFlowMod: flowMod,
  OFPFlowRemoved: flowRemoved,
  OFPFlowStats: flowRemoved,
  OFPMatch: (m, theirs) =>
    'wildcards' in (theirs as object) ? match10(theirs as Record<string, Ours>, m) : { oxm_fields: entries(m) },
  OXMTlv: (entry, theirs) => {
    if (entry.bytes) return { ...(theirs as object) };
    const masked = typeof entry.value === 'object';
    assert.equal(entry.name, fieldName((theirs as { field: string }).field));
    return {
      ...(theirs as object),
      value: masked ? entry.value.value : entry.value,
      mask: masked ? entry.value.mask : '',
    };
  },
  OFPInstructionActions: (actions) => (actions.bytes ? undefined : { actions }),
  OFPInstructionGotoTable: (table) => ({ table_id: table }),
  OFPInstructionMeter: (meter) => ({ meter_id: meter }),
  OFPActionOutput: (a, theirs) => ({
    port: Number((theirs as { port: Json }).port) < 0x1_0000 ? port16(a.port) : a.port,
    max_len: maxLength(a),
  }),
  OFPActionGroup: (a) => ({ group_id: a.group }),
  OFPActionSetField: (a) => (a.kind === 'unknown' ? undefined : { field: { name: a.field, value: a.value } }),
  OFPActionSetQueue: (a) => ({ queue_id: a.queue }),
  OFPActionSetMplsTtl: (a) => ({ mpls_ttl: a.ttl }),
  OFPActionSetNwTtl: (a) => ({ nw_ttl: a.ttl }),
  OFPActionCopyTtlOut: nothing,
  OFPActionCopyTtlIn: nothing,
  OFPActionPopPbb: nothing,
  OFPActionPopVlan: nothing,
  OFPActionDecMplsTtl: nothing,
  OFPActionDecNwTtl: nothing,
  OFPActionPushPbb: etherType,
  OFPActionPopMpls: etherType,
  OFPActionPushMpls: etherType,
  OFPActionPushVlan: etherType,
  OFPActionExperimenterUnknown: (a) => ({ experimenter: word(a.bytes, 4), data: actionData(a, 8) }),
  NXActionUnknown: (a) => ({ experimenter: word(a.bytes, 4), data: actionData(a, 10) }),
  ...nicira(),
  OFPGroupMod: (m) => ({ command: m.command, group_id: m.group, type: m.type, buckets: m.buckets }),
  OFPBucket: (b) => ({
    actions: b.actions,
    watch_group: b.watchGroup ?? NONE32,
    watch_port: b.watchPort ?? NONE32,
    weight: b.weight ?? 0,
  }),
  OFPMeterMod: (m) => ({ command: m.command, flags: m.flags, meter_id: m.meter, bands: m.bands }),
  OFPMeterBandDrop: (b) => ({ rate: b.rate, burst_size: b.burst }),
  OFPMeterBandDscpRemark: (b) => ({ rate: b.rate, burst_size: b.burst, prec_level: b.precedence }),
  OFPMeterBandExperimenter: (b) => ({ rate: b.rate, burst_size: b.burst, experimenter: word(b.data, 0) }),
  OFPPortMod: (m) => ({
    advertise: m.advertise,
    config: m.config,
    hw_addr: m.mac,
    mask: m.mask,
    port_no: m.port,
  }),
  OFPPortStatus: (m) => ({ reason: m.reason, desc: m.port }),
  OFPTableMod: (m) => ({ table_id: m.table, config: m.config }),
  OFPQueueGetConfigRequest: (m) => ({ port: m.port }),
  OFPQueueGetConfigReply: (m, theirs) => ({ port: m.port, queues: (theirs as { queues: Json }).queues }),
  OFPPacketQueue: () => undefined,
  Packet: () => undefined,
  ...multipart(),
};

/** Nicira's actions. */
function nicira(): Record<string, (ours: Ours, theirs: Json) => Ours> {
  const nx = { experimenter: 0x2320 };
  return {
    NXActionDecMplsTtl: nothing,
    NXActionDecTtl: nothing,
    NXActionPopMpls: etherType,
    NXActionPushMpls: etherType,
    NXActionSetMplsLabel: (a) => ({ label: a.value }),
    NXActionSetMplsTc: (a) => ({ tc: a.value }),
    NXActionSetMplsTtl: (a) => ({ ttl: a.ttl }),
    NXActionCTClear: () => nx,
    NXActionConjunction: (a) => ({ ...nx, id: a.id, clause: a.clause - 1, n_clauses: a.of }),
    NXActionController: (a) => ({ ...nx, controller_id: a.controller, max_len: a.maxLen, reason: a.reason }),
    NXActionController2: (a) => ({
      ...nx,
      controller_id: a.controller,
      max_len: a.maxLen,
      reason: a.reason,
      userdata: a.userdata,
      pause: a.pause,
    }),
    NXActionCT: (a) => ({
      ...nx,
      alg: a.alg ?? 0,
      flags: (a.commit ? 1 : 0) | (a.force ? 2 : 0),
      recirc_table: a.table ?? 255,
      zone_src: typeof a.zone === 'object' ? a.zone.field : '',
      zone_ofs_nbits: typeof a.zone === 'object' ? packed(a.zone) : (a.zone ?? 0),
      actions: [...(a.nat ? [a.nat] : []), ...(a.exec ?? [])],
    }),
    NXActionNAT: (a) => ({
      ...nx,
      flags: a.kind === 'src' ? 1 : a.kind === 'dst' ? 2 : 0,
      range_ipv4_min: typeof a.ipMin === 'number' ? a.ipMin : '',
      range_ipv4_max: typeof a.ipMax === 'number' ? a.ipMax : '',
      range_ipv6_min: typeof a.ipMin === 'bigint' ? a.ipMin : '',
      range_ipv6_max: typeof a.ipMax === 'bigint' ? a.ipMax : '',
      range_proto_min: a.portMin ?? '',
      range_proto_max: a.portMax ?? '',
    }),
    NXActionDecTtlCntIds: (a) => ({ ...nx, cnt_ids: a.controllers }),
    NXActionFinTimeout: (a) => ({ ...nx, fin_idle_timeout: a.idleTimeout, fin_hard_timeout: a.hardTimeout }),
    NXActionNote: (a) => ({ ...nx, note: a.bytes }),
    NXActionOutputTrunc: (a) => ({ ...nx, port: port16(a.port), max_len: a.maxLen }),
    NXActionResubmitTable: (a) => ({ ...nx, in_port: port16(a.port ?? 0xfff8), table_id: a.table }),
    NXActionSample: (a) => ({
      ...nx,
      collector_set_id: a.collectorSet,
      obs_domain_id: a.domain,
      obs_point_id: a.point,
      probability: a.probability,
    }),
    NXActionSample2: (a) => ({
      ...nx,
      collector_set_id: a.collectorSet,
      obs_domain_id: a.domain,
      obs_point_id: a.point,
      probability: a.probability,
      sampling_port: a.port,
    }),
    ...Object.fromEntries(
      ['NXActionStackPush', 'NXActionStackPop'].map((name) => [
        name,
        (a: Ours) => ({
          ...nx,
          field: a.range.field,
          start: a.range.from,
          end: a.range.bits,
        }),
      ]),
    ),
    NXActionRegLoad: (a) => ({ ...nx, dst: a.dst.field, ofs_nbits: packed(a.dst), value: a.value }),
    NXActionRegMove: (a) => ({
      ...nx,
      src_field: a.src.field,
      dst_field: a.dst.field,
      src_ofs: a.src.from,
      dst_ofs: a.dst.from,
      n_bits: a.src.bits,
    }),
    NXActionLearn: (a) => ({
      ...nx,
      cookie: a.cookie,
      fin_hard_timeout: a.finHardTimeout,
      fin_idle_timeout: a.finIdleTimeout,
      flags: a.flags,
      hard_timeout: a.hardTimeout,
      idle_timeout: a.idleTimeout,
      priority: a.priority,
      table_id: a.table,
      specs: a.specs,
    }),
    NXFlowSpecMatch: learnSpec,
    NXFlowSpecLoad: learnSpec,
    NXFlowSpecOutput: learnSpec,
  };
}

function learnSpec(ours: Ours, theirs: Json): Ours {
  const named = (side: Json): Json =>
    Array.isArray(side) ? [fieldOf(fieldName(String(side[0])) as never).name, side[1]!] : side;
  const t = theirs as { src: Json; dst: Json };
  const mine = spec(ours, theirs);
  compare(named(t.src), mine.src, 'learn src');
  compare(named(t.dst), mine.dst, 'learn dst');
  return { ...(theirs as object), n_bits: mine.n_bits };
}

function multipart(): Record<string, (ours: Ours, theirs: Json) => Ours> {
  const meter = (m: Ours): Ours => ({ flags: m.flags, meter_id: m.body.meter ?? NONE32 });
  return {
    OFPDescStatsRequest: stats,
    OFPTableStatsRequest: stats,
    OFPGroupFeaturesStatsRequest: stats,
    OFPGroupDescStatsRequest: stats,
    OFPMeterFeaturesStatsRequest: stats,
    OFPPortDescStatsRequest: stats,
    OFPFlowStatsRequest: flowQuery,
    OFPAggregateStatsRequest: flowQuery,
    OFPPortStatsRequest: (m) => ({ flags: m.flags, port_no: m.body.port ?? NONE32 }),
    OFPQueueStatsRequest: (m) => ({
      flags: m.flags,
      port_no: m.body.port ?? NONE32,
      queue_id: m.body.queue ?? NONE32,
    }),
    OFPGroupStatsRequest: (m) => ({ flags: m.flags, group_id: m.body.group ?? 0xffff_fffc }),
    OFPMeterStatsRequest: meter,
    OFPMeterConfigStatsRequest: meter,
    OFPTableFeaturesStatsRequest: (m) => ({ flags: m.flags, body: m.body.tables }),
    OFPDescStatsReply: bodyItself,
    OFPDescStats: (b) => ({
      dp_desc: b.datapath,
      hw_desc: b.hardware,
      mfr_desc: b.manufacturer,
      serial_num: b.serial,
      sw_desc: b.software,
    }),
    OFPFlowStatsReply: bodyList('flows'),
    OFPAggregateStatsReply: bodyItself,
    OFPAggregateStats: (b) => ({ byte_count: b.bytes, packet_count: b.packets, flow_count: b.flowCount }),
    OFPTableStatsReply: bodyList('tables'),
    OFPTableStats: (t) => ({
      table_id: t.table,
      active_count: t.active,
      lookup_count: t.lookups,
      matched_count: t.matched,
    }),
    OFPPortStatsReply: bodyList('ports'),
    OFPPortStats: (p) => ({
      port_no: p.port,
      duration_sec: p.durationSec,
      duration_nsec: p.durationNsec,
      rx_packets: p.rxPackets,
      tx_packets: p.txPackets,
      rx_bytes: p.rxBytes,
      tx_bytes: p.txBytes,
      rx_dropped: p.rxDropped,
      tx_dropped: p.txDropped,
      rx_errors: p.rxErrors,
      tx_errors: p.txErrors,
      rx_frame_err: p.ethernet.frameErrors,
      rx_over_err: p.ethernet.overruns,
      rx_crc_err: p.ethernet.crcErrors,
      collisions: p.ethernet.collisions,
    }),
    OFPQueueStatsReply: bodyList('queues'),
    OFPQueueStats: (q) => ({
      port_no: q.port,
      queue_id: q.queue,
      duration_sec: q.durationSec,
      duration_nsec: q.durationNsec,
      tx_bytes: q.txBytes,
      tx_packets: q.txPackets,
      tx_errors: q.txErrors,
    }),
    OFPGroupStatsReply: bodyList('groups'),
    OFPGroupStats: (g) => ({
      group_id: g.group,
      ref_count: g.references,
      packet_count: g.packets,
      byte_count: g.bytes,
      duration_sec: g.durationSec,
      duration_nsec: g.durationNsec,
      bucket_stats: g.buckets,
    }),
    OFPBucketCounter: (b) => ({ packet_count: b.packets, byte_count: b.bytes }),
    OFPGroupDescStatsReply: bodyList('groups'),
    OFPGroupDescStats: (g) => ({ group_id: g.group, type: g.type, buckets: g.buckets }),
    OFPGroupFeaturesStatsReply: bodyItself,
    OFPGroupFeaturesStats: (b) => ({
      types: b.types,
      capabilities: b.capabilities,
      max_groups: b.maxGroups,
      actions: b.actions,
    }),
    OFPMeterStatsReply: bodyList('meters'),
    OFPMeterStats: (m) => ({
      meter_id: m.meter,
      flow_count: m.flowCount,
      packet_in_count: m.packetsIn,
      byte_in_count: m.bytesIn,
      duration_sec: m.durationSec,
      duration_nsec: m.durationNsec,
      band_stats: m.bands,
    }),
    OFPMeterBandStats: (b) => ({ packet_band_count: b.packets, byte_band_count: b.bytes }),
    OFPMeterConfigStatsReply: bodyList('meters'),
    OFPMeterConfigStats: (m) => ({ meter_id: m.meter, flags: m.flags, bands: m.bands }),
    OFPMeterFeaturesStatsReply: (m) => ({ flags: m.more ? 1 : 0, body: [m.body] }),
    OFPMeterFeaturesStats: (b) => ({
      max_meter: b.maxMeter,
      band_types: b.bandTypes,
      capabilities: b.capabilities,
      max_bands: b.maxBands,
      max_color: b.maxColor,
    }),
    OFPPortDescStatsReply: bodyList('ports'),
    OFPTableFeaturesStatsReply: bodyList('tables'),
    OFPTableFeaturesStats: (t) => ({
      table_id: t.table,
      name: t.name,
      metadata_match: t.metadataMatch,
      metadata_write: t.metadataWrite,
      config: t.config,
      max_entries: t.maxEntries,
      properties: t.properties,
    }),
    OFPTableFeaturePropInstructions: (p) => ({ type: p.type, instruction_ids: p.types }),
    OFPTableFeaturePropActions: (p) => ({ type: p.type, action_ids: p.types }),
    OFPTableFeaturePropNextTables: (p) => ({ type: p.type, table_ids: p.tables }),
    OFPTableFeaturePropOxm: (p) => ({ type: p.type, oxm_ids: p.headers }),
    OFPTableFeaturePropExperimenter: (p) => ({
      type: p.type,
      experimenter: word(p.bytes, 4),
      exp_type: word(p.bytes, 8),
      data: Array.from({ length: (word(p.bytes, 0) & 0xffff) / 4 - 3 }, (_, i) => word(p.bytes, 12 + 4 * i)),
    }),
    OFPInstructionId: (type) => ({ type }),
    OFPActionId: (type) => ({ type }),
    OFPOxmId: (header, theirs) => {
      const t = theirs as { type: string };
      const field = fieldOf(fieldName(t.type) as never);
      const known = field.codes.some((c) => c.header >>> 9 === header >>> 9);
      return { type: known ? t.type : 'another field', hasmask: (header >>> 8) & 1, length: header & 0xff };
    },
    OFPExperimenterStatsRequest: (m) => ({
      flags: m.flags,
      experimenter: word(m.body.bytes, 0),
      exp_type: word(m.body.bytes, 4),
      data: m.body.bytes.subarray(8),
    }),
    OFPExperimenterStatsReply: bodyItself,
    OFPExperimenterMultipart: (b) => ({
      experimenter: word(b.bytes, 0),
      exp_type: word(b.bytes, 4),
      data: b.bytes.subarray(8),
    }),
    ONFFlowMonitorStatsRequest: () => undefined,
  };
}
