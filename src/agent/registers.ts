import { REGISTERS } from '../compile/fields.ts';
import type { FieldRange, Match } from '../openflow/flow.ts';

/** What the pipeline knew of a frame when it sent it to the agent: registers of the packet-in. */
export function readRegisters(match: Match): {
  readonly portKey: number;
  readonly switchKey: number;
  readonly vlan: number;
} {
  return {
    portKey: read(match, REGISTERS.inPort),
    switchKey: read(match, REGISTERS.switch),
    vlan: read(match, REGISTERS.vlan),
  };
}

/** Registers that are zero are not part of a packet-in. */
function read(match: Match, { field, from, bits }: FieldRange): number {
  const entry = match[field] ?? 0;
  const value = Number(typeof entry === 'object' ? entry.value : entry);
  return Math.floor(value / 2 ** from) % 2 ** bits;
}
