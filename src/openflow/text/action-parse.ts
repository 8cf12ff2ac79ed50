import { parseIpv4, parseMac } from '../../base/addresses.ts';
import { type FieldName, fieldOf } from '../fields.ts';
import { type Action, OFPP } from '../flow.ts';
import { parseBundle, parseController, parseCt, parseMultipath, parseSample } from './action-calls.ts';
import { WORDS } from './action-names.ts';
import { badText, type Item, parseHexBytes, parseInteger, parseNumber, splitItems } from './items.ts';
import { parseLearn } from './learn-parse.ts';
import { parsePort, parseTable, portFromText } from './ports.ts';
import { fieldByText, parseRange, rangeFromText } from './subfield.ts';
import { parseValue } from './values.ts';

/**
 * Action lists in `ovs-ofctl` syntax (`ovs-actions(7)`). Obsolete spellings become what they mean today
 * (`mod_dl_src:` is `setField`). Throws `DecodeError('bad-text')`.
 */
export function parseActions(text: string, base = 0): Action[] {
  return actionsOf(splitItems(text, base));
}

/** An item list that may also be the single word `drop`. */
export function actionsOf(items: readonly Item[]): Action[] {
  if (items.length === 1 && items[0]!.key === 'drop' && items[0]!.form === '') return [];
  return items.map(parseAction);
}

const BY_WORD = new Map(Object.entries(WORDS).map(([kind, word]) => [word as string, { kind } as Action]));

/** `mod_dl_src:…` and the like: the field that they set. */
const SETTERS: Readonly<Record<string, FieldName>> = {
  mod_dl_src: 'eth_src',
  mod_dl_dst: 'eth_dst',
  mod_nw_src: 'ip_src',
  mod_nw_dst: 'ip_dst',
  mod_nw_tos: 'nw_tos',
  mod_nw_ecn: 'ip_ecn',
  mod_tp_src: 'tcp_src',
  mod_tp_dst: 'tcp_dst',
  set_mpls_label: 'mpls_label',
  set_mpls_tc: 'mpls_tc',
};

function parseAction(item: Item): Action {
  const word = item.form === '' ? BY_WORD.get(item.key) : undefined;
  if (word) return word;
  const parse = PARSERS[item.key.toLowerCase()];
  if (parse) return parse(item);
  const setter = SETTERS[item.key];
  if (setter) return parseSetter(setter, item);
  const port = portFromText(item.key);
  if (port !== undefined && item.form === '') return { kind: 'output', port };
  return badText(item.at, item.key.slice(0, 40), item.key === 'drop' ? 'drop stands alone' : 'no such action');
}

const number = (item: Item, bits: number): number => parseNumber(item.value.trim(), bits, item.valueAt, item.key);

const PARSERS: Readonly<Record<string, (item: Item) => Action>> = {
  output: parseOutput,
  group: (item) => ({ kind: 'group', group: number(item, 32) }),
  meter: (item) => ({ kind: 'meter', meter: number(item, 32) }),
  controller: parseController,
  enqueue: (item) => {
    const [, port, queue] = /^(\w+)\s*[:,]\s*q?(\w+)$/.exec(item.value) ?? [];
    if (!port || !queue) badText(item.valueAt, 'enqueue', 'write enqueue:PORT:QUEUE');
    const queueNumber = parseNumber(queue, 32, item.valueAt, 'queue');
    return { kind: 'enqueue', port: parsePort(port, item.valueAt, 'enqueue'), queue: queueNumber };
  },
  set_queue: (item) => ({ kind: 'setQueue', queue: number(item, 32) }),
  set_field: parseSetField,
  load: (item) => {
    const [source, dst] = arrow(item);
    const range = parseRange(dst.text, dst.at, 'load');
    const value = parseInteger(source.text, range.bits, source.at, 'load');
    return { kind: 'load', value: range.bits <= 48 ? Number(value) : value, dst: range };
  },
  move: (item) => {
    const [source, target] = arrow(item);
    const src = parseRange(source.text, source.at, 'move');
    const dst = parseRange(target.text, target.at, 'move');
    if (src.bits !== dst.bits) badText(item.valueAt, 'move', `${src.bits} bits do not go into ${dst.bits}`);
    return { kind: 'move', src, dst };
  },
  push: (item) => ({ kind: 'push', range: parseRange(item.value, item.valueAt, 'push') }),
  pop: (item) => ({ kind: 'pop', range: parseRange(item.value, item.valueAt, 'pop') }),
  push_vlan: (item) => ({ kind: 'pushVlan', etherType: number(item, 16) }),
  mod_vlan_vid: (item) => ({ kind: 'setVlanVid', vid: number(item, 12) }),
  mod_vlan_pcp: (item) => ({ kind: 'setVlanPcp', pcp: number(item, 3) }),
  set_vlan_vid: (item) => ({ kind: 'setVlanVid', vid: number(item, 12) }),
  set_vlan_pcp: (item) => ({ kind: 'setVlanPcp', pcp: number(item, 3) }),
  push_mpls: (item) => ({ kind: 'pushMpls', etherType: number(item, 16) }),
  pop_mpls: (item) => ({ kind: 'popMpls', etherType: number(item, 16) }),
  push_pbb: (item) => ({ kind: 'pushPbb', etherType: number(item, 16) }),
  set_mpls_ttl: (item) => ({ kind: 'setMplsTtl', ttl: number(item, 8) }),
  mod_nw_ttl: (item) => ({ kind: 'setNwTtl', ttl: number(item, 8) }),
  set_nw_ttl: (item) => ({ kind: 'setNwTtl', ttl: number(item, 8) }),
  dec_ttl: (item) => {
    if (item.form === '' || item.value === '') return { kind: 'decTtl' };
    const ids = splitItems(item.value, item.valueAt);
    return { kind: 'decTtl', controllers: ids.map((id) => parseNumber(id.key, 16, id.at, 'dec_ttl')) };
  },
  set_tunnel: (item) => ({ kind: 'setTunnel', id: parseInteger(item.value, 64, item.valueAt, 'set_tunnel') }),
  set_tunnel64: (item) => ({
    kind: 'setTunnel',
    id: parseInteger(item.value, 64, item.valueAt, 'set_tunnel64'),
    wide: true,
  }),
  resubmit: parseResubmit,
  multipath: parseMultipath,
  bundle: parseBundle,
  bundle_load: parseBundle,
  learn: parseLearn,
  conjunction: parseConjunction,
  ct: (item) => parseCt(item, parseActions),
  clone: (item) => ({ kind: 'clone', actions: parseActions(item.value, item.valueAt) }),
  check_pkt_larger: (item) => {
    if (item.target === undefined) badText(item.valueAt, item.key, 'write check_pkt_larger(LENGTH)->FIELD[BIT]');
    const dst = parseRange(item.target, item.valueAt + item.value.length + 3, item.key);
    if (dst.bits !== 1) badText(item.valueAt, item.key, 'the result is one bit: write FIELD[BIT]');
    return { kind: 'checkPktLarger', length: number(item, 16), dst };
  },
  note: (item) => {
    const bytes = parseHexBytes(item.value, item.valueAt, 'note');
    const padded = new Uint8Array(Math.max(6, 6 + 8 * Math.ceil((bytes.length - 6) / 8)));
    padded.set(bytes);
    return { kind: 'note', bytes: padded };
  },
  fin_timeout: (item) => {
    const out = { idle_timeout: 0, hard_timeout: 0 };
    for (const part of splitItems(item.value, item.valueAt)) {
      if (part.key !== 'idle_timeout' && part.key !== 'hard_timeout')
        badText(part.at, 'fin_timeout', 'idle_timeout=… or hard_timeout=… wanted');
      out[part.key] = number(part, 16);
    }
    return { kind: 'fin', idleTimeout: out.idle_timeout, hardTimeout: out.hard_timeout };
  },
  sample: parseSample,
  delete_field: (item) => {
    const field = fieldByText(item.value) ?? badText(item.valueAt, 'delete_field', 'no such field');
    return { kind: 'deleteField', field: field.name };
  },
  unknown: (item) => ({ kind: 'unknown', bytes: parseHexBytes(item.value, item.valueAt, 'unknown') }),
};

function parseOutput(item: Item): Action {
  if (/\bport=/.test(item.value)) {
    const parts = new Map(splitItems(item.value, item.valueAt).map((part) => [part.key, part]));
    const [port, maxLen] = [parts.get('port'), parts.get('max_len')];
    if (!port || !maxLen || parts.size > 2) badText(item.valueAt, 'output', 'write output(port=N,max_len=N)');
    return { kind: 'outputTrunc', port: parsePort(port.value, port.valueAt, 'output'), maxLen: number(maxLen, 32) };
  }
  const port = portFromText(item.value);
  if (port !== undefined) return { kind: 'output', port };
  const src = rangeFromText(item.value, item.valueAt);
  if (src) return { kind: 'outputReg', src };
  return badText(item.valueAt, 'output', 'a port or a field such as NXM_NX_REG0[0..15] wanted');
}

interface Piece {
  readonly text: string;
  readonly at: number;
}

/** The two sides of `source->target`. */
function arrow(item: Item): [Piece, Piece] {
  const at = item.value.indexOf('->');
  if (at < 0) badText(item.valueAt, item.key, `write ${item.key}:SOURCE->TARGET`);
  return [
    { text: item.value.slice(0, at), at: item.valueAt },
    { text: item.value.slice(at + 2), at: item.valueAt + at + 2 },
  ];
}

function parseSetField(item: Item): Action {
  const [source, target] = arrow(item);
  const name = target.text.endsWith('[]') ? target.text.slice(0, -2) : target.text;
  const field = fieldByText(name);
  if (!field) badText(target.at, 'set_field', `no field is called ${JSON.stringify(name.slice(0, 40))}`);
  if (!field.writable) badText(target.at, 'set_field', `${field.name} can only be matched`);
  const { value, mask } = parseValue(field, source.text, source.at);
  if (mask !== undefined && (BigInt(value) & ~BigInt(mask)) !== 0n)
    badText(source.at, 'set_field', 'the value has bits that the mask has not');
  return { kind: 'setField', field: field.name, value, ...(mask === undefined ? {} : { mask }) };
}

function parseSetter(name: FieldName, item: Item): Action {
  const field = fieldOf(name);
  const text = item.value.trim();
  if (field.format === 'mac' || field.format === 'ipv4') {
    const value = field.format === 'mac' ? parseMac(text) : parseIpv4(text);
    if (value === undefined)
      badText(item.valueAt, item.key, `${field.format === 'mac' ? 'a MAC' : 'an IPv4'} address wanted`);
    return { kind: 'setField', field: name, value };
  }
  return { kind: 'setField', field: name, value: parseNumber(text, field.bits, item.valueAt, item.key) };
}

function parseResubmit(item: Item): Action {
  const [port = '', table = '', ct = '', ...rest] = item.value.split(',').map((part) => part.trim());
  if (rest.length > 0 || (ct !== '' && ct !== 'ct')) badText(item.valueAt, 'resubmit', 'write resubmit(PORT,TABLE,ct)');
  const to = port === '' ? undefined : parsePort(port, item.valueAt, 'resubmit');
  if (table === '' && to === undefined) badText(item.valueAt, 'resubmit', 'give a port, a table, or both');
  return {
    kind: 'resubmit',
    ...(to === undefined || to === OFPP.inPort ? {} : { port: to }),
    ...(table === '' ? {} : { table: parseTable(table, item.valueAt) }),
    ...(ct === 'ct' ? { ct: true } : {}),
  };
}

function parseConjunction(item: Item): Action {
  const [, id, clause, of] = /^\s*(\w+)\s*,\s*(\d+)\s*\/\s*(\d+)\s*$/.exec(item.value) ?? [];
  if (!id || !clause || !of) badText(item.valueAt, 'conjunction', 'write conjunction(ID,CLAUSE/OF)');
  const [k, n] = [Number(clause), Number(of)];
  if (n < 2 || n > 64) badText(item.valueAt, 'conjunction', 'a conjunction has 2 to 64 clauses');
  if (k < 1 || k > n) badText(item.valueAt, 'conjunction', `clauses are numbered 1 to ${n}`);
  return { kind: 'conjunction', id: parseNumber(id, 32, item.valueAt, 'conjunction'), clause: k, of: n };
}
