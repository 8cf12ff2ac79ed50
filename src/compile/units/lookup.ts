import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { commonBits, narrow, otherBits, placeOf } from '../bits.ts';
import { type Copies, chunked } from '../chunks.ts';
import { localSwitch, reachedSwitch, wayTo } from '../facts.ts';
import { load, match, type Registers, set } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, holdersIndex, macBytesIndex, type Reader, unsecuredIndex } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { placementOf } from '../placement.ts';
import { TABLES } from '../tables.ts';
import { portTracked, receiverRegisters } from '../tracking.ts';
import { type VlanBlock, vlanBlocks, vlansOf } from '../vlans.ts';
import { LOOKUP } from './base.ts';
import { LEARN } from './learn.ts';
import { isHeldAtDelivery } from './to-port.ts';

/** Where a MAC is (step 6): statically held, learned, or unknown. */

/** Per (switch, MAC) that ports hold: to each of them. Behind another port it is not learned (step 3). */
export const holdersUnit = define.unit({
  name: 'holders',
  over: holdersIndex,
  run(reader, group) {
    const slash = group.indexOf('/');
    const onSwitch = reader.derive(reachedSwitch, group.slice(0, slash));
    if (onSwitch === undefined) return [];
    const mac = macOf(group.slice(slash + 1));
    const ports = reader.ids(holdersIndex, group);
    const everywhere: VlanBlock = { members: ports, vlans: {}, above: 0 };
    const blocks = onSwitch.vlanAware ? vlanBlocks(ports, (port) => vlansOf(reader, port)) : [everywhere];
    return blocks.flatMap(({ members, vlans, above }) => {
      const where = { switch: onSwitch.key, ...vlans };
      const to = chunked('lookup', LOOKUP.owned + above, match(where, { eth_dst: mac }), toPorts(reader, members));
      if (!onSwitch.learns) return to;
      return [...to, flow('learn', LEARN.held + above, match(where, { eth_src: mac }), { goto: 'vip' })];
    });
  },
});

/** A MAC that was seen behind a port without port security. */
export const learnedUnit = define.unit({
  name: 'learnedLookup',
  over: 'learned',
  run(reader, id) {
    const learned = reader.get('learned', id)!;
    const onSwitch = reader.derive(reachedSwitch, learned.switch);
    if (onSwitch === undefined || reader.pick('port', learned.port, 'portSecurity') !== false) return [];
    // What was learned before the port's VLANs changed no longer holds.
    const vlans = onSwitch.vlanAware ? vlansOf(reader, learned.port) : 'all';
    if (vlans !== 'all' && !vlans.includes(learned.vlan)) return [];
    const where = match({ switch: onSwitch.key, vlan: learned.vlan }, { eth_dst: macOf(learned.mac) });
    return chunked('lookup', LOOKUP.learned, where, toPorts(reader, [learned.port]));
  },
});

/** How many bits the flows look at that keep frames to foreign MACs wide: all but 1 of 16. */
export const WIDE_BITS = 4;
/** Group addresses are known before. */
const UNICAST_BITS = 0xfeff_ffff_ffffn;

/** A MAC that nobody has: to the ports without port security, if there are any. */
export const unknownUnit = define.unit({
  name: 'unknown',
  over: macBytesIndex,
  run(reader, switchId) {
    const onSwitch = reader.derive(reachedSwitch, switchId);
    if (onSwitch === undefined) return [];
    const floods = reader.ids(unsecuredIndex, switchId).length > 0;
    const where = match({ switch: onSwitch.key });
    const target: FlowTarget = floods ? { do: load({ unknown: 1 }), goto: 'flood' } : { drop: 'unknown-mac' };
    const flows = floods ? [flow('lookup', LOOKUP.unknown, where, target)] : [];
    // Where nobody is who could spray, routers ask for MACs that somebody has.
    if (reader.derive(localSwitch, switchId) === undefined) return flows;
    const { value, mask } = commonBits(reader.members(macBytesIndex, switchId), 48);
    for (const bit of otherBits([{ value, mask: mask & UNICAST_BITS }], 48, WIDE_BITS))
      flows.push(flow('lookup', LOOKUP.wide + placeOf(bit), { ...where, eth_dst: narrow(bit) }, target));
    return flows;
  },
});

/** To each of these ports: here by their OpenFlow port, elsewhere through the tunnel with their key. */
function toPorts(reader: Reader, ports: readonly string[]): Copies {
  const local: Registers[] = [];
  const remote: { key: number; to: Action }[] = [];
  let isBound = false;
  for (const port of ports) {
    const key = reader.get('port', port)?.key;
    if (key === undefined) continue;
    const { hosts, ofport } = placementOf(reader, port);
    if (ofport !== undefined) local.push({ outPort: key, outOfport: ofport, ...receiverRegisters(reader, port) });
    if (hosts.length > 0) isBound = true;
    for (const host of hosts) {
      const to = reader.derive(wayTo, host);
      if (to !== undefined && to !== 'here') remote.push({ key, to });
    }
  }
  if (local.length + remote.length === 0) {
    if (!ports.some((port) => reader.pick('port', port, 'adminUp'))) return { copies: [], last: { drop: 'port-down' } };
    return { copies: [], last: { drop: isBound ? 'no-tunnel' : 'not-bound' } };
  }
  const steps = [
    ...remote.map(({ key, to }) => ({ do: [set('tun_id', BigInt(key)), to], table: 'tunnelOut' as const })),
    ...local.map((registers) => ({ do: load(registers), table: 'toPort' as const })),
  ];
  const last = steps.pop()!;
  const copies = steps.map(({ do: actions, table }): Action[] => [
    { kind: 'clone', actions: [...actions, { kind: 'resubmit', table: TABLES[table].number }] },
  ]);
  return { copies, last: { do: last.do, goto: last.table } };
}

/**
 * A local port's own frames do not come back to it: Open vSwitch never outputs to the port that a packet came in by. Only
 * where the port has a chain, is tracked, limited or mirrored is that too late: what does not arrive must not be counted, logged, known or copied. Routed frames do come back.
 */
export const hairpinUnit = define.unit({
  name: 'hairpin',
  over: 'interface',
  run(reader, id): readonly Contribution[] {
    const key = reader.pick('port', id, 'key');
    if (key === undefined || placementOf(reader, id).ofport === undefined) return [];
    const isAsked = reader.pick('port', id, 'toChain') !== undefined || reader.derive(portTracked, id);
    if (!isAsked && !isHeldAtDelivery(reader, id)) return [];
    const both: Match = match({ inPort: key, outPort: key, routed: 0 });
    return [flow('toPort', 1000, both, { drop: 'hairpin' })];
  },
});
