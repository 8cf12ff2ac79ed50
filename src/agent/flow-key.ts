import { ByteWriter } from '../base/bytes.ts';
import { canonicalInstructions, canonicalMatch } from '../openflow/canonical.ts';
import type { Flow } from '../openflow/flow.ts';
import { writeInstructions } from '../openflow/instructions.ts';
import { writeMatchFields } from '../openflow/match.ts';
import { OF15 } from '../openflow/version.ts';

const scratch = new ByteWriter(4096);

/**
 * What makes two flows the same entry of a switch: table, priority, match (OpenFlow 1.5 §6.4, strict). The same for a
 * flow as it was compiled and as Open vSwitch gives it back.
 */
export function flowKey(flow: Flow): string {
  scratch.reset();
  scratch.u8(flow.table).u16(flow.priority);
  writeMatchFields(scratch, canonicalMatch(flow.match), OF15);
  return text();
}

/** What the entry says beside its key: cookie and instructions. Equal text means that nothing has to be sent. */
export function flowBody(flow: Flow): string {
  scratch.reset();
  scratch.u64(flow.cookie);
  writeInstructions(scratch, OF15, canonicalInstructions(flow));
  return text();
}

/** One character a byte: compact, and compares fast. */
function text(): string {
  const view = scratch.view();
  return Buffer.from(view.buffer, view.byteOffset, view.length).toString('latin1');
}
