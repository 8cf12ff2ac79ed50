import { parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { once } from '../../incremental/definitions.ts';
import type { Match } from '../../openflow/flow.ts';
import { localSwitch, toAgent } from '../facts.ts';
import { ARP, match, ND, NEIGHBOUR_ANSWERS, neighbor } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';

/** Where the agent hears of addresses that no port has as its own (docs/design/layer3.md, §6.8). */

const ALL_NODES = 0xff02_0000_0000_0000_0000_0000_0000_0001n;
/** In `routerIn`: above whether the packet may enter, below whether the port is up. In `answer`: above all that is answered here. */
const HEARD = { reply: 250, announcement: 350 } as const;

/** Answers to what the agent asked in the name of a router port: they enter the router by its MAC, whichever it is. */
export const neighbourAnswersUnit = define.unit({
  name: 'neighbourAnswers',
  over: once,
  run: (reader) =>
    NEIGHBOUR_ANSWERS.map((answer) =>
      flow('routerIn', HEARD.reply, answer, { do: [toAgent(reader, 'neighbour')], drop: 'agent' }),
    ),
});

/** Whoever has the address says so to all (RFC 5227 §1.2.1). */
export function announced4(address: number): Match {
  return { ...ARP, arp_spa: address, arp_tpa: address };
}

/** An address that routers use, announced anew (a virtual address that moved): the agent hears it, and so do all others. */
export const neighbourMovesUnit = define.unit({
  name: 'neighbourMoves',
  over: 'neighbour',
  run(reader, id): readonly Contribution[] {
    const { switch: switchId, address } = reader.get('neighbour', id)!;
    const onSwitch = reader.derive(localSwitch, switchId);
    const ip = parseIp(address);
    if (onSwitch === undefined || ip === undefined) return [];
    const announced =
      ip.version === 4 ? announced4(ip.value) : { ...neighbor(ND.advert), ipv6_dst: ALL_NODES, nd_target: ip.value };
    const target = { do: [toAgent(reader, 'neighbour')], goto: 'tag' } as const;
    return [flow('answer', HEARD.announcement, match({ switch: onSwitch.key }, announced), target)];
  },
});
