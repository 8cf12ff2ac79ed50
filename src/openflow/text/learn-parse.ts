import { fieldOf } from '../fields.ts';
import type { Action, LearnSpec } from '../flow.ts';
import { DEFAULT_PRIORITY, LEARN_FLAGS, LEARN_WRITE_RESULT } from './action-names.ts';
import { badText, type Item, parseInteger, parseNumber, splitItems } from './items.ts';
import { parseTable } from './ports.ts';
import { fieldByText, parseRange, rangeFromText } from './subfield.ts';
import { parseValue } from './values.ts';

type Learn = Extract<Action, { kind: 'learn' }>;
type Settings = { -readonly [K in keyof Learn]: Learn[K] };

const number = (item: Item, bits: number): number => parseNumber(item.value, bits, item.valueAt, item.key);

/** Settings by name, apart from flags. */
const SETTINGS: Readonly<Record<string, (out: Settings, item: Item) => void>> = {
  table: (out, item) => {
    out.table = parseTable(item.value, item.valueAt);
  },
  priority: (out, item) => {
    out.priority = number(item, 16);
  },
  idle_timeout: (out, item) => {
    out.idleTimeout = number(item, 16);
  },
  hard_timeout: (out, item) => {
    out.hardTimeout = number(item, 16);
  },
  fin_idle_timeout: (out, item) => {
    out.finIdleTimeout = number(item, 16);
  },
  fin_hard_timeout: (out, item) => {
    out.finHardTimeout = number(item, 16);
  },
  cookie: (out, item) => {
    out.cookie = parseInteger(item.value, 64, item.valueAt, 'cookie');
  },
  limit: (out, item) => {
    out.limit = number(item, 32);
  },
  result_dst: (out, item) => {
    out.result = parseRange(item.value, item.valueAt, 'result_dst');
    out.flags |= LEARN_WRITE_RESULT;
    if (out.result.bits !== 1) badText(item.valueAt, 'result_dst', 'the result is one bit: write FIELD[BIT]');
  },
};

/** `learn(table=…,…,field=value,load:…->…,output:…)`, `ovs-actions(7)`. */
export function parseLearn(item: Item): Action {
  const specs: LearnSpec[] = [];
  const out: Settings = {
    kind: 'learn',
    idleTimeout: 0,
    hardTimeout: 0,
    priority: DEFAULT_PRIORITY,
    cookie: 0n,
    flags: 0,
    table: 1,
    finIdleTimeout: 0,
    finHardTimeout: 0,
    specs,
  };
  for (const part of splitItems(item.value, item.valueAt)) {
    const flag = LEARN_FLAGS.find(([name]) => name === part.key);
    if (flag) out.flags |= flag[1];
    else if (SETTINGS[part.key]) SETTINGS[part.key]!(out, part);
    else specs.push(parseSpec(part));
  }
  if (out.result && out.limit === undefined) out.limit = 0;
  return out;
}

function parseSpec(item: Item): LearnSpec {
  if (item.key === 'load') return parseLoad(item);
  if (item.key === 'output') return { kind: 'output', src: parseRange(item.value, item.valueAt, 'learn') };
  const dst = rangeFromText(item.key, item.at);
  if (!dst) badText(item.at, 'learn', `${JSON.stringify(item.key.slice(0, 40))} is neither a setting nor a field`);
  if (item.value === '') return { kind: 'match', src: dst, dst };
  const src = /^[0-9]/.test(item.value) ? undefined : rangeFromText(item.value, item.valueAt);
  if (src) {
    if (src.bits !== dst.bits) badText(item.valueAt, 'learn', `${src.bits} bits do not match ${dst.bits}`);
    return { kind: 'match', src, dst };
  }
  const field = fieldByText(dst.field) ?? fieldOf(dst.field);
  const whole = dst.from === 0 && dst.bits === field.bits;
  const value = whole
    ? BigInt(parseValue(field, item.value, item.valueAt).value)
    : parseInteger(item.value, dst.bits, item.valueAt, 'learn');
  return { kind: 'match', src: { value, bits: dst.bits }, dst };
}

function parseLoad(item: Item): LearnSpec {
  const at = item.value.indexOf('->');
  if (at < 0) badText(item.valueAt, 'learn', 'write load:SOURCE->FIELD[]');
  const [left, right] = [item.value.slice(0, at), item.value.slice(at + 2)];
  const dst = parseRange(right, item.valueAt + at + 2, 'learn');
  if (/^[0-9]/.test(left))
    return { kind: 'load', src: { value: parseInteger(left, dst.bits, item.valueAt, 'learn'), bits: dst.bits }, dst };
  const src = parseRange(left, item.valueAt, 'learn');
  if (src.bits !== dst.bits) badText(item.valueAt, 'learn', `${src.bits} bits do not go into ${dst.bits}`);
  return { kind: 'load', src, dst };
}
