import type { Contribution } from '../../incremental/definitions.ts';
import type { Match } from '../../openflow/flow.ts';
import { attachmentMac, HELLO_ETHER_TYPE, helloGroup, PLACES_MASK } from '../../packet/attachment-hello.ts';
import { switchFacts, toAgent } from '../facts.ts';
import { flow } from '../flow-sink.ts';
import { define, outsideOfPortIndex } from '../inputs.ts';
import { CLASSIFY } from './classify.ts';

/** What agents say to each other outside an L2 gateway (docs/design/l2-gateways.md, §3): heard also where all else is cut off. */
export const l2GatewayUnit = define.unit({
  name: 'l2Gateway',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const port = reader.get('port', id);
    const ofport = reader.pick('interface', id, 'ofport');
    const switchKey = port && reader.derive(switchFacts, port.switch)?.key;
    if (port === undefined || ofport === undefined || switchKey === undefined) return [];
    if (reader.members(outsideOfPortIndex, id).length === 0) return [];
    const own = { value: BigInt(attachmentMac(port.key)), mask: BigInt(PLACES_MASK) };
    const from = (said: Match): Match => ({ in_port: ofport, ...said });
    const hello = from({ eth_type: HELLO_ETHER_TYPE, eth_dst: BigInt(helloGroup(switchKey)) });
    return [
      flow('classify', CLASSIFY.hello, hello, { do: [toAgent(reader, 'hello')], drop: 'agent' }),
      flow('classify', CLASSIFY.attachment, from({ eth_src: own }), { drop: 'agent' }),
      flow('classify', CLASSIFY.attachment, from({ eth_dst: own }), { drop: 'agent' }),
    ];
  },
});
