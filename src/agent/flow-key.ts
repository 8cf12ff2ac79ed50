import { ByteWriter, formatHex } from '../base/bytes.ts';
import { FIELD_BITS, type FieldName } from '../openflow/fields.ts';
import type { FieldValue, Flow, Match } from '../openflow/flow.ts';
import { writeInstructions } from '../openflow/instructions.ts';

/** OpenFlow 1.5: the version that the agent speaks. */
const VERSION = 6;
const scratch = new ByteWriter(4096);

/** What makes two flows the same entry of a switch: table, priority, match (OpenFlow 1.5 §6.4, strict), in any order of fields. */
export function flowKey(flow: Flow): string {
  const match = plainRegisters(flow.match);
  const parts = [`${flow.table},${flow.priority}`];
  for (const name of Object.keys(match).sort()) {
    if (name === 'unknown') {
      parts.push(...(match.unknown ?? []).map(formatHex));
      continue;
    }
    const entry = match[name as FieldName]!;
    if (typeof entry !== 'object') parts.push(`${name}=${entry.toString(16)}`);
    else
      parts.push(
        `${name}=${entry.value.toString(16)}${isExact(name as FieldName, entry.mask) ? '' : `/${entry.mask.toString(16)}`}`,
      );
  }
  return parts.join(',');
}

/**
 * Open vSwitch shows registers in pairs from OpenFlow 1.5 on (`xreg0` is reg0 and reg1; nx-match.c); here each stands
 * for itself, so that a flow reads as it was written.
 */
export function plainRegisters(match: Match): Match {
  const plain: Record<string, Match[keyof Match]> = {};
  for (const name in match) {
    const pair = /^xreg(\d)$/.exec(name);
    const entry = match[name as FieldName];
    if (!pair || entry === undefined) {
      plain[name] = entry;
      continue;
    }
    const value = BigInt(typeof entry === 'object' ? entry.value : entry);
    const mask = typeof entry === 'object' ? BigInt(entry.mask) : ALL_64;
    for (const [half, shift] of [32n, 0n].entries()) {
      const halfMask = Number((mask >> shift) & ALL_32);
      const halfValue = Number((value >> shift) & ALL_32);
      if (halfMask !== 0)
        plain[`reg${2 * Number(pair[1]) + half}`] =
          halfMask === 0xffff_ffff ? halfValue : { value: halfValue, mask: halfMask };
    }
  }
  return plain as Match;
}

const ALL_32 = 0xffff_ffffn;
const ALL_64 = 0xffff_ffff_ffff_ffffn;

function isExact(field: FieldName, mask: FieldValue): boolean {
  return BigInt(mask) === (1n << BigInt(FIELD_BITS[field])) - 1n;
}

/** What the entry says beside its key: cookie and instructions. Equal text means that nothing has to be sent. */
export function flowBody(flow: Flow): string {
  scratch.reset();
  scratch.u64(flow.cookie);
  writeInstructions(scratch, VERSION, flow);
  return text();
}

/** One character a byte: compact, and compares fast. */
function text(): string {
  return Buffer.from(scratch.view().buffer, scratch.view().byteOffset, scratch.length).toString('latin1');
}
