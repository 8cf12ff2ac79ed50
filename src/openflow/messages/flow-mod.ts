import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import type { Flow } from '../flow.ts';
import { OFPP } from '../flow.ts';
import { readInstructions, writeInstructions } from '../instructions.ts';
import { readMatch, writeMatch } from '../match.ts';
import { readMatch10, writeMatch10 } from '../match10.ts';
import { widePort } from '../oxm.ts';
import { OF10, OF14 } from '../version.ts';
import type { Codec } from './codec.ts';

/**
 * Flow mod (1.3.5 §7.3.4.1, 1.5.1 §7.3.4.2).
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +---------------------------------------------------------------+
 *  |                            cookie (8)                         |
 *  |                         cookie_mask (8)                       |
 *  +---------------+---------------+-------------------------------+
 *  |   table_id    |    command    |         idle_timeout          |
 *  +---------------+---------------+-------------------------------+
 *  |          hard_timeout         |           priority            |
 *  +-------------------------------+-------------------------------+
 *  |                           buffer_id                           |
 *  |                           out_port                            |
 *  |                           out_group                           |
 *  +-------------------------------+-------------------------------+
 *  |             flags             |   importance (1.4; before: 0) |
 *  +-------------------------------+-------------------------------+
 *  |  ofp_match, then instructions …
 *
 * 1.0 (§5.3.3): match(40) cookie(8) command(2) idle(2) hard(2) priority(2) buffer(4) out_port(2) flags(2) actions.
 * There, Open vSwitch takes the table from command's upper byte once asked to (see `flowModTableId` in nicira.ts).
 */
export interface FlowMod extends Flow {
  readonly kind: 'flowMod';
  /** One of `FLOW_COMMAND`. */
  readonly command: number;
  /** Modify and delete: only flows whose cookie has these bits of `cookie`. */
  readonly cookieMask?: bigint;
  readonly bufferId?: number;
  /** Delete: only flows that output there. */
  readonly outPort?: number;
  readonly outGroup?: number;
}

export const FLOW_COMMAND = { add: 0, modify: 1, modifyStrict: 2, delete: 3, deleteStrict: 4 } as const;
export const FLOW_FLAG = {
  sendRemoved: 1,
  checkOverlap: 2,
  resetCounts: 4,
  noPacketCounts: 8,
  noByteCounts: 16,
} as const;
/** All tables, for a delete. */
export const ALL_TABLES = 0xff;

const NO_BUFFER = 0xffff_ffff;
const ANY_GROUP = 0xffff_ffff;
const NONE_10 = 0xffff;

export const flowModCodec: Codec<FlowMod> = {
  decode: (reader, version) => (version === OF10 ? decode10(reader) : decode13(reader, version)),
  encode: (writer, body, version) => writeFlowMod(writer, version, body),
};

/** Appends the body of a flow mod: what all callers share, and the agent's fast path. */
export function writeFlowMod(writer: ByteWriter, version: number, mod: Omit<FlowMod, 'kind'>): void {
  if (version === OF10) {
    encode10(writer, mod);
    return;
  }
  writer.u64(mod.cookie).u64(mod.cookieMask ?? 0n);
  writer.u8(mod.table).u8(mod.command);
  writer.u16(mod.idleTimeout ?? 0).u16(mod.hardTimeout ?? 0);
  writer.u16(mod.priority);
  writer.u32(mod.bufferId ?? NO_BUFFER);
  writer.u32(mod.outPort ?? OFPP.any).u32(mod.outGroup ?? ANY_GROUP);
  writer.u16(mod.flags ?? 0).u16(version >= OF14 ? (mod.importance ?? 0) : 0);
  writeMatch(writer, mod.match, version);
  writeInstructions(writer, version, mod);
}

function decode13(r: ByteReader, version: number): FlowMod {
  const cookie = r.u64('cookie');
  const cookieMask = r.u64('cookie mask');
  const table = r.u8('table');
  const command = r.u8('command');
  const [idleTimeout, hardTimeout] = [r.u16('idle timeout'), r.u16('hard timeout')];
  const priority = r.u16('priority');
  const bufferId = r.u32('buffer');
  const [outPort, outGroup] = [r.u32('out_port'), r.u32('out_group')];
  const [flags, importance] = [r.u16('flags'), r.u16('importance')];
  const match = readMatch(r);
  return {
    kind: 'flowMod',
    command,
    table,
    priority,
    match,
    cookie,
    ...readInstructions(r, version),
    ...flowOptions(idleTimeout, hardTimeout, flags, version >= OF14 ? importance : 0),
    ...(cookieMask === 0n ? {} : { cookieMask }),
    ...(bufferId === NO_BUFFER ? {} : { bufferId }),
    ...(outPort === OFPP.any ? {} : { outPort }),
    ...(outGroup === ANY_GROUP ? {} : { outGroup }),
  };
}

/** The optional members of a flow that are not zero. */
export function flowOptions(
  idleTimeout: number,
  hardTimeout: number,
  flags: number,
  importance: number,
): Pick<Flow, 'idleTimeout' | 'hardTimeout' | 'flags' | 'importance'> {
  return {
    ...(idleTimeout === 0 ? {} : { idleTimeout }),
    ...(hardTimeout === 0 ? {} : { hardTimeout }),
    ...(flags === 0 ? {} : { flags }),
    ...(importance === 0 ? {} : { importance }),
  };
}

function decode10(r: ByteReader): FlowMod {
  const match = readMatch10(r);
  const cookie = r.u64('cookie');
  const command = r.u16('command');
  const [idleTimeout, hardTimeout] = [r.u16('idle timeout'), r.u16('hard timeout')];
  const priority = r.u16('priority');
  const bufferId = r.u32('buffer');
  const outPort = r.u16('out_port');
  const flags = r.u16('flags');
  return {
    kind: 'flowMod',
    command: command & 0xff,
    table: command >> 8,
    priority,
    match,
    cookie,
    ...readInstructions(r, OF10),
    ...flowOptions(idleTimeout, hardTimeout, flags, 0),
    ...(bufferId === NO_BUFFER ? {} : { bufferId }),
    ...(outPort === NONE_10 ? {} : { outPort: widePort(outPort) }),
  };
}

function encode10(writer: ByteWriter, mod: Omit<FlowMod, 'kind'>): void {
  writeMatch10(writer, mod.match);
  writer.u64(mod.cookie).u8(mod.table === ALL_TABLES ? 0 : mod.table);
  writer.u8(mod.command).u16(mod.idleTimeout ?? 0);
  writer.u16(mod.hardTimeout ?? 0).u16(mod.priority);
  writer.u32(mod.bufferId ?? NO_BUFFER).u16(mod.outPort ?? NONE_10);
  writer.u16(mod.flags ?? 0);
  writeInstructions(writer, OF10, mod);
}
