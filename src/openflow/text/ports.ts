import { OFPP } from '../flow.ts';
import { badText, parseNumber } from './items.ts';

/** Reserved ports as `ovs-ofctl` names them. */
const NAMED: readonly (readonly [name: string, port: number])[] = [
  ['IN_PORT', OFPP.inPort],
  ['TABLE', OFPP.table],
  ['NORMAL', OFPP.normal],
  ['FLOOD', OFPP.flood],
  ['ALL', OFPP.all],
  ['CONTROLLER', OFPP.controller],
  ['LOCAL', OFPP.local],
  ['ANY', OFPP.any],
  ['UNSET', OFPP.unset],
];
const BY_NAME = new Map([...NAMED, ['NONE', OFPP.any] as const]);
const BY_PORT = new Map(NAMED.map(([name, port]) => [port, name]));

export function formatPort(port: number): string {
  return BY_PORT.get(port) ?? `${port}`;
}

/** A number (16 or 32 bit: 65534 is LOCAL) or a reserved name in any case; undefined when neither. */
export function portFromText(text: string): number | undefined {
  const named = BY_NAME.get(text.toUpperCase());
  if (named !== undefined) return named;
  if (!/^(0|[1-9]\d{0,9}|0x[0-9a-fA-F]{1,8})$/.test(text)) return undefined;
  const number = Number(text);
  if (number > 0xffff_ffff) return undefined;
  return number >= 0xff00 && number <= 0xffff ? number + 0xffff_0000 : number;
}

export function parsePort(text: string, at: number, field: string): number {
  return (
    portFromText(text) ?? badText(at, field, `a port number or one of ${NAMED.map(([name]) => name).join(', ')} wanted`)
  );
}

export function parseTable(text: string, at: number): number {
  const table = parseNumber(text, 8, at, 'table');
  return table === 255 ? badText(at, 'table', 'tables are numbered 0 to 254') : table;
}
