import { DecodeError } from '../../base/errors.ts';

/**
 * The one grammar behind `ovs-ofctl`'s matches, actions and arguments: items separated by commas or white space, each
 * `key`, `key:value`, `key=value` or `key(value)`, the last optionally followed by `->target`. Parentheses nest.
 */
export interface Item {
  readonly key: string;
  readonly value: string;
  /** How the value was attached; '' for a bare key. */
  readonly form: '' | ':' | '=' | '(';
  /** What stands after `->` behind a closing parenthesis; undefined without one. */
  readonly target: string | undefined;
  /** Offsets in the whole text. */
  readonly at: number;
  readonly valueAt: number;
}

/** Text that does not parse: `how` says how to mend it. */
export function badText(at: number, field: string, how: string): never {
  throw new DecodeError('bad-text', at, field, how);
}

const isGap = (c: string | undefined): boolean => c === ',' || c === ' ' || c === '\t' || c === '\r' || c === '\n';

/** Deepest nesting of parentheses: more than any action list means anything with. */
const MAX_DEPTH = 32;

/** The end of a value that starts at `from`: the first gap outside parentheses. */
function valueEnd(text: string, from: number, base: number): number {
  let depth = 0;
  let i = from;
  for (; i < text.length; i++) {
    const c = text[i];
    if (c === '(' && ++depth > MAX_DEPTH) badText(base + i, 'text', `parentheses nest deeper than ${MAX_DEPTH}`);
    if (c === ')' && --depth < 0) badText(base + i, 'text', 'take this closing parenthesis away');
    if (depth === 0 && isGap(c)) break;
  }
  if (depth > 0) badText(base + i, 'text', 'a closing parenthesis is missing');
  return i;
}

/** Splits `text`, which begins at offset `base` of the whole, into items. Throws `DecodeError('bad-text')`. */
export function splitItems(text: string, base = 0): Item[] {
  const items: Item[] = [];
  let i = 0;
  while (i < text.length) {
    if (isGap(text[i])) {
      i++;
      continue;
    }
    const start = i;
    while (i < text.length && !isGap(text[i]) && text[i] !== ':' && text[i] !== '=' && text[i] !== '(') i++;
    const key = text.slice(start, i);
    const form = i < text.length && !isGap(text[i]) ? (text[i] as ':' | '=' | '(') : '';
    if (key === '') badText(base + start, 'text', 'a name is missing here');
    if (form === '') items.push({ key, value: '', form, target: undefined, at: base + start, valueAt: base + i });
    else {
      const end = valueEnd(text, form === '(' ? i : i + 1, base);
      items.push(itemOf(text.slice(i + 1, end), key, form, base + start, base + i + 1));
      i = end;
    }
  }
  return items;
}

function itemOf(rest: string, key: string, form: ':' | '=' | '(', at: number, valueAt: number): Item {
  if (form !== '(') return { key, value: rest, form, target: undefined, at, valueAt };
  let depth = 1;
  let close = 0;
  for (; close < rest.length; close++) {
    if (rest[close] === '(') depth++;
    if (rest[close] === ')' && --depth === 0) break;
  }
  const tail = rest.slice(close + 1);
  const value = rest.slice(0, close);
  if (tail === '') return { key, value, form, target: undefined, at, valueAt };
  if (!tail.startsWith('->')) badText(valueAt + close + 1, key, 'put a comma after the closing parenthesis');
  return { key, value, form, target: tail.slice(2), at, valueAt };
}

/** A whole number in decimal or `0x` hexadecimal of at most `bits` bits. */
export function parseInteger(text: string, bits: number, at: number, field: string): bigint {
  if (!/^(0[xX][0-9a-fA-F]{1,256}|0|[1-9]\d{0,308})$/.test(text))
    badText(at, field, `a decimal or 0x number wanted, not ${JSON.stringify(text.slice(0, 40))}`);
  const value = BigInt(text);
  if (value >> BigInt(bits) !== 0n) badText(at, field, `${text.slice(0, 40)} does not fit into ${bits} bits`);
  return value;
}

/** As `parseInteger`, for up to 48 bits. */
export function parseNumber(text: string, bits: number, at: number, field: string): number {
  return Number(parseInteger(text, bits, at, field));
}

/** C's `%#x`: zero without a prefix. */
export function hex(value: number | bigint): string {
  return value === 0 || value === 0n ? '0' : `0x${value.toString(16)}`;
}

/** Always with a prefix, zero padded to `digits`. */
export function hex0(value: number | bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** Bytes of hex digits, optionally parted by dots. */
export function parseHexBytes(text: string, at: number, field: string): Uint8Array {
  const clean = text.replaceAll('.', '');
  if (clean.length % 2 !== 0 || /[^0-9a-fA-F]/.test(clean)) badText(at, field, 'pairs of hex digits wanted');
  return new Uint8Array(Buffer.from(clean, 'hex'));
}

export function formatHexBytes(bytes: Uint8Array, delimiter = '.'): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(delimiter);
}
