import { type Field, fieldByCodeName, fieldByName, fieldOf, nxmCode } from '../fields.ts';
import type { FieldRange } from '../flow.ts';
import { badText } from './items.ts';

/** Field names that `ovs-ofctl` prints where they differ from ours. */
const PRINTED: Readonly<Record<string, string>> = { ip_proto: 'nw_proto', ip_ecn: 'nw_ecn', ip_ttl: 'nw_ttl' };

/** A field's name as `set_field` and `learn` print it. */
export function printedName(field: Field): string {
  return PRINTED[field.name] ?? field.name;
}

/** By any name that `ovs-ofctl` takes: `ip_src`, `nw_src`, `NXM_OF_IP_SRC`. */
export function fieldByText(name: string): Field | undefined {
  return fieldByName(name) ?? fieldByCodeName(name)?.field;
}

/** `NXM_NX_REG0[0..15]`. */
export function formatRange(range: FieldRange): string {
  const field = fieldOf(range.field);
  const name = nxmCode(field)?.name ?? field.name;
  const width = field.name === 'in_port' ? 16 : field.bits;
  if (range.from === 0 && range.bits === width) return `${name}[]`;
  if (field.name === 'in_port' && range.from + range.bits > 16) return formatWith('OXM_OF_IN_PORT', range, 32);
  return formatWith(name, range, width);
}

function formatWith(name: string, range: FieldRange, width: number): string {
  if (range.from === 0 && range.bits === width) return `${name}[]`;
  if (range.bits === 1) return `${name}[${range.from}]`;
  return `${name}[${range.from}..${range.from + range.bits - 1}]`;
}

const RANGE = /^([A-Za-z0-9_]+)(?:\[(?:(\d{1,3})(?:\.\.(\d{1,3}))?)?\])?$/;

/** A field or bits of one; undefined when `text` has another form or names no field. Ranges that do not fit throw. */
export function rangeFromText(text: string, at: number): FieldRange | undefined {
  const match = RANGE.exec(text);
  const field = match && fieldByText(match[1]!);
  if (!match || !field) return undefined;
  const width = match[1] === 'NXM_OF_IN_PORT' || match[1] === 'in_port' ? 16 : field.bits;
  if (match[2] === undefined) return { field: field.name, from: 0, bits: width };
  const from = Number(match[2]);
  const to = match[3] === undefined ? from : Number(match[3]);
  if (to < from) badText(at, field.name, `bit ${from} comes after bit ${to}: write [low..high]`);
  if (to >= width) badText(at, field.name, `the field has only ${width} bits`);
  return { field: field.name, from, bits: to - from + 1 };
}

export function parseRange(text: string, at: number, where: string): FieldRange {
  return (
    rangeFromText(text, at) ??
    badText(at, where, `a field such as NXM_NX_REG0[0..15] wanted, not ${JSON.stringify(text.slice(0, 40))}`)
  );
}
