import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import {
  NXAST,
  writeLoad,
  writeLoad2,
  writeMove,
  writeNx8,
  writeNx16,
  writeNx32,
  writeNxVoid,
} from './actions-nicira.ts';
import { type FieldName, fieldOf } from './fields.ts';
import { type Action, OFPP } from './flow.ts';
import { widePort } from './oxm.ts';
import { after, closeAction, openNicira } from './subfield.ts';

/**
 * The actions of OpenFlow 1.0 (§5.2.4): twelve types of 8 or 16 bytes. What 1.0 lacks goes as Nicira's extension.
 * The types that set a header field are `setField` here; 1.0's transport ports are those of TCP and UDP alike and
 * come back as `tcp_src`, `tcp_dst`.
 */
const OFPAT10 = {
  output: 0,
  setVlanVid: 1,
  setVlanPcp: 2,
  stripVlan: 3,
  setDlSrc: 4,
  setDlDst: 5,
  setNwSrc: 6,
  setNwDst: 7,
  setNwTos: 8,
  setTpSrc: 9,
  setTpDst: 10,
  enqueue: 11,
} as const;

const NO_BUFFER = 0xffff;

/** `r` covers the action; undefined for a type that 1.0 does not have. */
export function readAction10(r: ByteReader, type: number): Action | undefined {
  r.skip(4, 'action header');
  switch (type) {
    case OFPAT10.output: {
      const port = widePort(r.u16('output port'));
      const maxLen = r.u16('max_len');
      return maxLen === defaultMaxLen(port) ? { kind: 'output', port } : { kind: 'output', port, maxLen };
    }
    case OFPAT10.setVlanVid:
      return { kind: 'setVlanVid', vid: r.u16('vlan vid') };
    case OFPAT10.setVlanPcp:
      return { kind: 'setVlanPcp', pcp: r.u8('vlan pcp') };
    case OFPAT10.stripVlan:
      return { kind: 'stripVlan' };
    case OFPAT10.setDlSrc:
      return { kind: 'setField', field: 'eth_src', value: r.u48('eth_src') };
    case OFPAT10.setDlDst:
      return { kind: 'setField', field: 'eth_dst', value: r.u48('eth_dst') };
    case OFPAT10.setNwSrc:
      return { kind: 'setField', field: 'ip_src', value: r.u32('ip_src') };
    case OFPAT10.setNwDst:
      return { kind: 'setField', field: 'ip_dst', value: r.u32('ip_dst') };
    case OFPAT10.setNwTos:
      return { kind: 'setField', field: 'nw_tos', value: r.u8('nw_tos') };
    case OFPAT10.setTpSrc:
      return { kind: 'setField', field: 'tcp_src', value: r.u16('tp_src') };
    case OFPAT10.setTpDst:
      return { kind: 'setField', field: 'tcp_dst', value: r.u16('tp_dst') };
    case OFPAT10.enqueue:
      return { kind: 'enqueue', port: widePort(r.u16('enqueue port')), queue: after(r, 6).u32('queue') };
    default:
      return undefined;
  }
}

function defaultMaxLen(port: number): number {
  return port === OFPP.controller ? NO_BUFFER : 0;
}

const SET_FIELD: { readonly [F in FieldName]?: (w: ByteWriter, value: number) => void } = {
  eth_src: (w, v) => void w.u16(OFPAT10.setDlSrc).u16(16).u48(v).zeros(6),
  eth_dst: (w, v) => void w.u16(OFPAT10.setDlDst).u16(16).u48(v).zeros(6),
  ip_src: (w, v) => void w.u16(OFPAT10.setNwSrc).u16(8).u32(v),
  ip_dst: (w, v) => void w.u16(OFPAT10.setNwDst).u16(8).u32(v),
  nw_tos: (w, v) => void w.u16(OFPAT10.setNwTos).u16(8).u8(v).zeros(3),
  ip_dscp: (w, v) =>
    void w
      .u16(OFPAT10.setNwTos)
      .u16(8)
      .u8(v * 4)
      .zeros(3),
  vlan_vid: (w, v) =>
    void w
      .u16(OFPAT10.setVlanVid)
      .u16(8)
      .u16(v & 0xfff)
      .u16(0),
  vlan_pcp: (w, v) => void w.u16(OFPAT10.setVlanPcp).u16(8).u8(v).zeros(3),
  tcp_src: (w, v) => void w.u16(OFPAT10.setTpSrc).u16(8).u16(v).u16(0),
  tcp_dst: (w, v) => void w.u16(OFPAT10.setTpDst).u16(8).u16(v).u16(0),
  udp_src: (w, v) => void w.u16(OFPAT10.setTpSrc).u16(8).u16(v).u16(0),
  udp_dst: (w, v) => void w.u16(OFPAT10.setTpDst).u16(8).u16(v).u16(0),
  mpls_label: (w, v) => writeNx32(w, NXAST.setMplsLabel, v),
  mpls_tc: (w, v) => writeNx8(w, NXAST.setMplsTc, v),
};

/** Writes an action whose form in OpenFlow 1.0 is its own; false for what Nicira's extensions say in every version. */
export function writeAction10(w: ByteWriter, a: Action): boolean {
  switch (a.kind) {
    case 'output':
      w.u16(OFPAT10.output).u16(8).u16(a.port);
      w.u16(a.maxLen ?? defaultMaxLen(a.port));
      return true;
    case 'enqueue':
      w.u16(OFPAT10.enqueue).u16(16).u16(a.port).zeros(6).u32(a.queue);
      return true;
    case 'setField':
      writeSetField10(w, a);
      return true;
    case 'load':
      writeLoad(w, a.dst, a.value);
      return true;
    case 'move':
      writeMove(w, a.src, a.dst);
      return true;
    case 'setVlanVid':
      w.u16(OFPAT10.setVlanVid).u16(8).u16(a.vid).u16(0);
      return true;
    case 'setVlanPcp':
      w.u16(OFPAT10.setVlanPcp).u16(8).u8(a.pcp).zeros(3);
      return true;
    case 'stripVlan':
    case 'popVlan':
      w.u16(OFPAT10.stripVlan).u16(8).u32(0);
      return true;
    default:
      return writeAsNicira(w, a);
  }
}

/** What later versions have as standard actions and 1.0 only as Nicira's. */
function writeAsNicira(w: ByteWriter, a: Action): boolean {
  switch (a.kind) {
    case 'group':
      writeNx32(w, NXAST.group, a.group);
      return true;
    case 'setQueue':
      writeNx32(w, NXAST.setQueue, a.queue);
      return true;
    case 'pushMpls':
      writeNx16(w, NXAST.pushMpls, a.etherType);
      return true;
    case 'popMpls':
      writeNx16(w, NXAST.popMpls, a.etherType);
      return true;
    case 'setMplsTtl':
      writeNx8(w, NXAST.setMplsTtl, a.ttl);
      return true;
    case 'decMplsTtl':
      writeNxVoid(w, NXAST.decMplsTtl);
      return true;
    case 'setNwTtl':
      writeLoad(w, { field: 'ip_ttl', from: 0, bits: 8 }, a.ttl);
      return true;
    case 'decTtl':
      if (a.controllers) writeDecTtl(w, a.controllers);
      else writeNxVoid(w, NXAST.decTtl);
      return true;
    default:
      return false;
  }
}

function writeSetField10(w: ByteWriter, a: Extract<Action, { kind: 'setField' }>): void {
  const own = SET_FIELD[a.field];
  if (own && a.mask === undefined) own(w, Number(a.value));
  else if (a.mask !== undefined) writeLoad2(w, a);
  else writeLoad(w, { field: a.field, from: 0, bits: fieldOf(a.field).bits }, a.value);
}

/** NXAST_DEC_TTL_CNT_IDS: the controllers that hear of a packet whose TTL ends here. */
export function writeDecTtl(w: ByteWriter, controllers: readonly number[]): void {
  const start = w.length;
  openNicira(w, NXAST.decTtlCntIds, 0).u16(controllers.length).zeros(4);
  for (const id of controllers) w.u16(id);
  closeAction(w, start);
}
