import { FIELDS, type Field, type FieldName, fieldOf } from './fields.ts';
import type { Action, FieldValue, Instructions, Masked, Match } from './flow.ts';
import { onesOf, widePort } from './oxm.ts';

/**
 * One form for what can be said in several ways, so that flows which a switch gives back can be compared with those
 * that it was given. (Open vSwitch returns `reg1` as half of `xreg0`, `load` as a masked set-field, and its own order
 * of match fields.) Canonical flows are equal when they encode to the same bytes.
 */

/** Fields in the order of the registry; registers split into 32 bits; a full mask is none; masked-out bits are zero. */
export function canonicalMatch(match: Match): Match {
  const parts: [Field, FieldValue | Masked][] = [];
  for (const name in match) {
    const value = match[name as FieldName];
    if (name === 'unknown' || value === undefined) continue;
    const field = fieldOf(name as FieldName);
    if (SPLIT.has(field)) for (const [part, bits] of split(field, value)) addPart(parts, part, bits);
    else addPart(parts, field, value);
  }
  parts.sort(([a], [b]) => a.index - b.index);
  const out: { [name: string]: FieldValue | Masked | readonly Uint8Array[] } = {};
  for (const [field, part] of parts) {
    const plain = simplify(field, part);
    if (plain !== undefined) out[field.name] = plain;
  }
  if (match.unknown) out.unknown = match.unknown;
  return out as Match;
}

function addPart(parts: [Field, FieldValue | Masked][], field: Field, value: FieldValue | Masked): void {
  const before = parts.find(([known]) => known === field);
  if (before) before[1] = both(field, before[1], value);
  else parts.push([field, value]);
}

/** The 32-bit registers of xregN and xxregN, most significant first: their first number and how many. */
const REGISTERS = new Map<Field, readonly [first: number, count: number]>();
for (const field of FIELDS) {
  const wide = /^(x{1,2})reg(\d+)$/.exec(field.name);
  if (!wide) continue;
  const count = wide[1] === 'x' ? 2 : 4;
  REGISTERS.set(field, [Number(wide[2]) * count, count]);
}
const VLAN_TCI = fieldOf('vlan_tci');
const VLAN_VID = fieldOf('vlan_vid');
const VLAN_PCP = fieldOf('vlan_pcp');
const NW_TOS = fieldOf('nw_tos');
/** Fields that are other fields put together. */
const SPLIT = new Set<Field>([...REGISTERS.keys(), NW_TOS, VLAN_TCI]);

function split(field: Field, value: FieldValue | Masked): [Field, FieldValue | Masked][] {
  const registers = REGISTERS.get(field);
  if (registers) {
    const [first, count] = registers;
    return Array.from({ length: count }, (_, i) => [
      fieldOf(`reg${first + i}` as FieldName),
      bitsOf(field, value, 32 * (count - 1 - i), 32),
    ]);
  }
  if (field === NW_TOS) return [[fieldOf('ip_dscp'), bitsOf(field, value, 2, 6)]];
  if (field === VLAN_TCI) {
    const pcp = bitsOf(field, value, 13, 3);
    const vid: [Field, FieldValue | Masked] = [VLAN_VID, bitsOf(field, value, 0, 13)];
    return pcp.mask === 0 ? [vid] : pcp.mask === 7 ? [vid, [VLAN_PCP, pcp]] : [[field, value]];
  }
  return [[field, value]];
}

function bitsOf(field: Field, value: FieldValue | Masked, from: number, bits: number): Masked {
  const whole = typeof value === 'object' ? value : { value, mask: FULL[field.index]! };
  const cut = (v: FieldValue): FieldValue => {
    const part = (BigInt(v) >> BigInt(from)) & ((1n << BigInt(bits)) - 1n);
    return bits > 48 ? part : Number(part);
  };
  return { value: cut(whole.value), mask: cut(whole.mask) };
}

/** Two matches of one field, as when a match has `reg1` and `xreg0`: the bits of both. */
function both(field: Field, a: FieldValue | Masked, b: FieldValue | Masked): Masked {
  const [x, y] = [bitsOf(field, a, 0, field.bits), bitsOf(field, b, 0, field.bits)];
  const join = (p: FieldValue, q: FieldValue): FieldValue => sized(field, BigInt(p) | BigInt(q));
  return { value: join(and(x.value, x.mask), and(y.value, y.mask)), mask: join(x.mask, y.mask) };
}

function sized(field: Field, value: bigint): FieldValue {
  return field.bits > 48 ? value : Number(value);
}

/** Undefined for a mask that leaves nothing. */
function simplify(field: Field, value: FieldValue | Masked): FieldValue | Masked | undefined {
  if (typeof value !== 'object') return value;
  const { mask } = value;
  if (mask === 0 || mask === 0n) return undefined;
  if (mask === FULL[field.index]) return value.value;
  return { value: and(value.value, mask), mask };
}

/** All ones, by field. */
const FULL = FIELDS.map((field) => onesOf(field.bits));

function and(a: FieldValue, b: FieldValue): FieldValue {
  if (typeof a !== 'number' || typeof b !== 'number') return BigInt(a) & BigInt(b);
  return a <= 0xffff_ffff && b <= 0xffff_ffff ? (a & b) >>> 0 : Number(BigInt(a) & BigInt(b));
}

/** `load` and set-tunnel become set-field; a full mask is none; lists within actions too. */
export function canonicalActions(actions: readonly Action[]): Action[] {
  return actions.map(canonicalAction);
}

function canonicalAction(action: Action): Action {
  switch (action.kind) {
    case 'load':
      return canonicalLoad(action);
    case 'setField':
      return canonicalSetField(action);
    case 'setTunnel':
      return { kind: 'setField', field: 'tun_id', value: action.id };
    case 'ct':
      return action.exec ? { ...action, exec: canonicalActions(action.exec) } : action;
    case 'clone':
      return { ...action, actions: canonicalActions(action.actions) };
    default:
      return action;
  }
}

function canonicalLoad(action: Extract<Action, { kind: 'load' }>): Action {
  const { field: name, from, bits } = action.dst;
  const field = fieldOf(name);
  if (name === 'in_port' && from === 0 && bits === 16)
    return { kind: 'setField', field: name, value: widePort(Number(action.value)) };
  const value = sized(field, BigInt(action.value) << BigInt(from));
  if (from === 0 && bits === field.bits) return { kind: 'setField', field: name, value };
  const mask = sized(field, BigInt(onesOf(bits)) << BigInt(from));
  return { kind: 'setField', field: name, value, mask };
}

function canonicalSetField(action: Extract<Action, { kind: 'setField' }>): Action {
  if (action.mask === undefined) return action;
  if (action.mask === FULL[fieldOf(action.field).index])
    return { kind: 'setField', field: action.field, value: action.value };
  return { ...action, value: and(action.value, action.mask) };
}

/** Canonical lists; the meter of OpenFlow 1.5, an action there, becomes the instruction's again. */
export function canonicalInstructions(value: Instructions): Instructions {
  const actions = canonicalActions(value.actions);
  const first = actions[0];
  const lifted = first?.kind === 'meter' && value.meter === undefined ? first.meter : value.meter;
  return {
    actions: lifted !== value.meter ? actions.slice(1) : actions,
    ...(lifted === undefined ? {} : { meter: lifted }),
    ...(value.clearActions ? { clearActions: true } : {}),
    ...(value.writeActions ? { writeActions: canonicalActions(value.writeActions) } : {}),
    ...(value.writeMetadata ? { writeMetadata: value.writeMetadata } : {}),
    ...(value.gotoTable === undefined ? {} : { gotoTable: value.gotoTable }),
    ...(value.statTrigger ? { statTrigger: value.statTrigger } : {}),
    ...(value.unknown ? { unknown: value.unknown } : {}),
  };
}
