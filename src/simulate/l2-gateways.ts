import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { attachmentMac, HELLO_ETHER_TYPE, helloGroup, PLACES_MASK } from '../packet/attachment-hello.ts';
import type { Frame } from './frame.ts';

/** What agents say to each other outside the L2 gateway that the port belongs to (docs/design/l2-gateways.md, §3), if the frame is that. */
export function saidByAgent(
  model: ModelView,
  port: LogicalPort,
  sw: LogicalSwitch,
  frame: Frame,
): 'hello' | 'probe' | undefined {
  if (model.outsideOfPort(port.id) === undefined) return undefined;
  if (frame.etherType === HELLO_ETHER_TYPE && frame.dst === helloGroup(sw.key)) return 'hello';
  const own = BigInt(attachmentMac(port.key));
  const isOurs = [frame.src, frame.dst].some((mac) => (BigInt(mac) & BigInt(PLACES_MASK)) === own);
  return isOurs ? 'probe' : undefined;
}
