import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { ModelView } from '../model/view.ts';
import { attachmentMac, HELLO_ETHER_TYPE, helloGroup, PLACES_MASK } from '../packet/attachment-hello.ts';
import type { Frame } from './frame.ts';

/** Is it what agents say to each other outside the L2 gateway that the port belongs to (docs/design/l2-gateways.md, §3)? */
export function isBetweenAgents(model: ModelView, port: LogicalPort, sw: LogicalSwitch, frame: Frame): boolean {
  if (model.l2GatewayOfPort(port.id) === undefined) return false;
  if (frame.etherType === HELLO_ETHER_TYPE && frame.dst === helloGroup(sw.key)) return true;
  const own = BigInt(attachmentMac(port.key));
  return [frame.src, frame.dst].some((mac) => (BigInt(mac) & BigInt(PLACES_MASK)) === own);
}
