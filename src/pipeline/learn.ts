import { fieldOf } from '../openflow/fields.ts';
import type { Action, FieldValue, Flow, LearnSpec, Masked } from '../openflow/flow.ts';
import { fullMask, sized } from '../openflow/text/values.ts';
import { readRange, widePort } from './field-actions.ts';

type Learn = Extract<Action, { kind: 'learn' }>;

const SEND_FLOW_REMOVED = 1;

/** The flow that a `learn` action makes from a packet (`ovs-actions(7)`, "learn"). */
export function learnedFlow(action: Learn, key: Uint32Array): Flow {
  const match: Record<string, FieldValue | Masked> = {};
  const actions: Action[] = [];
  for (const spec of action.specs) {
    const value = sourceBits(spec, key);
    if (spec.kind === 'match') addMatch(match, spec, value);
    else if (spec.kind === 'load') actions.push({ kind: 'load', value: sized(spec.src.bits, value), dst: spec.dst! });
    else if (value !== 0n) actions.push({ kind: 'output', port: widePort(Number(value)) });
  }
  return {
    table: action.table,
    priority: action.priority,
    cookie: action.cookie,
    match,
    actions,
    ...(action.idleTimeout ? { idleTimeout: action.idleTimeout } : {}),
    ...(action.hardTimeout ? { hardTimeout: action.hardTimeout } : {}),
    ...(action.flags & SEND_FLOW_REMOVED ? { flags: SEND_FLOW_REMOVED } : {}),
  };
}

function sourceBits({ src }: LearnSpec, key: Uint32Array): bigint {
  if ('value' in src) return src.value;
  return readRange(key, src);
}

/** Specs on one field add up. */
function addMatch(match: Record<string, FieldValue | Masked>, spec: LearnSpec, bits: bigint): void {
  const { field: name, from, bits: width } = spec.dst!;
  const field = fieldOf(name);
  const shift = BigInt(from);
  const before = match[name];
  const all = BigInt(fullMask(field.bits));
  const old =
    before === undefined
      ? { value: 0n, mask: 0n }
      : typeof before === 'object'
        ? { value: BigInt(before.value), mask: BigInt(before.mask) }
        : { value: BigInt(before), mask: all };
  const mask = BigInt(fullMask(width)) << shift;
  const value = (old.value & ~mask) | ((bits << shift) & mask);
  const joined = old.mask | mask;
  match[name] =
    joined === all ? sized(field.bits, value) : { value: sized(field.bits, value), mask: sized(field.bits, joined) };
}
