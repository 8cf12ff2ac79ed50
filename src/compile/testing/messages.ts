import { ByteWriter } from '../../base/bytes.ts';
import type { Flow } from '../../openflow/flow.ts';
import { encodeFlowMod, writeBundleAdd } from '../../openflow/message.ts';
import { FLOW_COMMAND } from '../../openflow/messages/flow-mod.ts';
import { OF15 } from '../../openflow/version.ts';

/** Does a flow, in a bundle, fit a message of OpenFlow? They end at 65,535 bytes. */
export function isMessage(flow: Flow): boolean {
  try {
    writeBundleAdd(new ByteWriter(), OF15, 1, 0, 0, (inner) =>
      encodeFlowMod(inner, OF15, { command: FLOW_COMMAND.add, ...flow }, 1),
    );
    return true;
  } catch {
    return false;
  }
}
