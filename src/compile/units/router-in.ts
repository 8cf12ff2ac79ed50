import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { reachedSwitch } from '../facts.ts';
import { IPV4, IPV6, load, match, set, TAGGED } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { linkOf, ownAddresses, vlansOfRouterPort } from '../routers.ts';
import { askedOfLarger, measure } from '../sizes.ts';
import { TABLES } from '../tables.ts';
import { LOOKUP } from './base.ts';
import { heldBack } from './held-back.ts';
import { LEARN } from './learn.ts';
import { firstGate } from './prefilter.ts';
import { ANCHOR, addressedTo, enterRouter, OWN, ROUTER_IN } from './router-base.ts';
import { sourceCheckOf } from './source-check.ts';
import { throughChain } from './to-port.ts';
import { TUNNEL } from './tunnel.ts';

/** Into a router (docs/design/layer3.md, §6.1 to 6.4): by the MAC of one of its ports, or by a tunnel with the port's key. */

export const routerMacUnit = define.unit({
  name: 'routerMac',
  over: 'routerPort',
  run(reader, id) {
    const switchId = reader.pick('routerPort', id, 'switch');
    const onSwitch = switchId === undefined ? undefined : reader.derive(reachedSwitch, switchId);
    const enter = entrance(reader, id);
    if (onSwitch === undefined || enter === undefined) return [];
    const mac = macOf(reader.pick('routerPort', id, 'mac')!);
    const where = { switch: onSwitch.key };
    const to = { eth_dst: mac };
    const flows: Contribution[] = [];
    if (!onSwitch.vlanAware)
      flows.push(flow('lookup', LOOKUP.router, match(where, to), { do: enter, goto: 'routerIn' }));
    else
      for (const vlan of reader.derive(vlansOfRouterPort, id)) {
        // Within a router no frame has a VLAN.
        const untag: Action[] = vlan === 0 ? [] : [{ kind: 'popVlan' }, ...load({ vlan: 0, addTag: 0 })];
        const target = { do: [...untag, ...enter], goto: 'routerIn' } as const;
        const tags: Match = vlan === 0 ? {} : { vlan_vid: TAGGED };
        flows.push(flow('lookup', LOOKUP.router, match({ ...where, vlan }, { ...to, ...tags }), target));
      }
    // Nobody else has this MAC, whatever a port without port security says.
    if (onSwitch.learns) flows.push(flow('learn', LEARN.held, match(where, { eth_src: mac }), { goto: 'vip' }));
    return flows;
  },
});

/** What says that a packet is at this port of its router; undefined for a router that is not in our scope. */
function entrance(reader: Reader, id: string): Action[] | undefined {
  const router = reader.pick('router', reader.pick('routerPort', id, 'router')!, 'key');
  return router === undefined ? undefined : load({ router, routerPort: reader.pick('routerPort', id, 'key')! });
}

/** The key of a port that faces the outside: another host has taken the packet in there for us. */
export const tunnelToRouterUnit = define.unit({
  name: 'tunnelToRouter',
  over: 'routerPort',
  run(reader, id) {
    const enter = reader.pick('routerPort', id, 'outside') ? entrance(reader, id) : undefined;
    if (enter === undefined) return [];
    const key = BigInt(reader.pick('routerPort', id, 'key')!);
    const fits = { tun_id: key, eth_dst: macOf(reader.pick('routerPort', id, 'mac')!) };
    const told = load({ fromTunnel: 1, ...heldBack(reader, id) });
    return [flow('tunnel', TUNNEL.fits, fits, { do: [...told, ...enter], goto: 'routerIn' })];
  },
});

export const routerInUnit = define.unit({
  name: 'routerIn',
  over: 'routerPort',
  run(reader, id) {
    const router = reader.pick('routerPort', id, 'router')!;
    const routerPort = reader.pick('routerPort', id, 'key')!;
    const at = match({ routerPort });
    const flows: Contribution[] = [];
    if (!reader.pick('routerPort', id, 'adminUp') || reader.pick('router', router, 'adminUp') === false)
      flows.push(flow('routerIn', ROUTER_IN.down, at, { drop: 'router-down' }));
    if (reader.pick('routerPort', id, 'outside')) {
      // On its way to its anchor the packet has the port's MAC, which a peer has not given it.
      const isPeered = reader.derive(linkOf, id)?.to === 'router';
      const named = isPeered ? [set('eth_dst', macOf(reader.pick('routerPort', id, 'mac')!))] : [];
      const enter = { do: [...enterRouter(), ...named], goto: 'anchor' } as const;
      const gate = reader.derive(firstGate, id);
      const tunnels = reader.derive(askedOfLarger, '');
      for (const ip of [IPV4, IPV6]) {
        if (tunnels !== undefined) {
          // Whichever host its anchor is.
          const larger = match({ routerPort, fromLarger: 1 }, ip);
          const into: FlowTarget = gate === undefined ? { goto: 'anchor' } : { do: load({ gate }), goto: 'prefilter' };
          const measured = [...enterRouter(), ...named, measure(tunnels), ...(into.do ?? [])];
          flows.push(flow('routerIn', ROUTER_IN.larger, larger, { ...into, do: measured }));
        }
        if (gate === undefined) flows.push(flow('routerIn', ROUTER_IN.outside, { ...at, ...ip }, enter));
        else {
          const asked = { do: [...enterRouter(), ...named, ...load({ gate })], goto: 'prefilter' } as const;
          const handedOver = match({ routerPort, fromTunnel: 1, routed: 0 }, ip);
          flows.push(flow('routerIn', ROUTER_IN.outside, { ...at, ...ip }, asked));
          flows.push(flow('routerIn', ROUTER_IN.outside + 1, handedOver, enter));
        }
      }
    } else if (reader.derive(sourceCheckOf, id) !== 'off') {
      // Only what the ports of the switch send in: what other routers send on was checked where it came in, or is ours.
      const checked = { do: enterRouter(), goto: 'sourceCheck' } as const;
      for (const ip of [IPV4, IPV6])
        flows.push(flow('routerIn', ROUTER_IN.checked, match({ routerPort, routed: 0 }, ip), checked));
    }
    const chain = reader.pick('routerPort', id, 'inChain');
    if (chain !== undefined) flows.push(flow('inChain', 100, at, throughChain(reader, chain, 'inVerdict')));
    return flows;
  },
});

/** Only what is for the router itself is asked which protocol it is: the megaflows of all else stay wide. */
export const FOR_ROUTER = { do: [...load({ forRouter: 1 }), { kind: 'resubmit', table: TABLES.own.number }] } as const;

/** What is for the router itself, by whichever port it came. */
export const ownUnit = define.unit({
  name: 'own',
  over: 'routerPort',
  run(reader, id) {
    const owner = reader.pick('routerPort', id, 'router')!;
    const router = reader.pick('router', owner, 'key');
    if (router === undefined) return [];
    return reader.derive(ownAddresses, id).flatMap((ip) => {
      const to = match({ router }, addressedTo(ip));
      const own = flow('own', OWN.address, to, FOR_ROUTER);
      if (!reader.pick('routerPort', id, 'outside')) return [own];
      const by = match({ routerPort: reader.pick('routerPort', id, 'key')! }, addressedTo(ip));
      return [own, flow('anchor', ANCHOR.own, by, { goto: 'inChain' })];
    });
  },
});
