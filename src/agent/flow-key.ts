import { ByteWriter } from '../base/bytes.ts';
import type { Flow } from '../openflow/flow.ts';
import { writeInstructions } from '../openflow/instructions.ts';
import { writeMatchFields } from '../openflow/match.ts';

/** OpenFlow 1.5: the version that the agent speaks. */
const VERSION = 6;
const scratch = new ByteWriter(4096);

/** What makes two flows the same entry of a switch: table, priority, match (OpenFlow 1.5 §6.4, strict). */
export function flowKey(flow: Flow): string {
  scratch.reset();
  scratch.u8(flow.table).u16(flow.priority);
  writeMatchFields(scratch, flow.match, VERSION);
  return text();
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
