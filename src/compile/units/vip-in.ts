import type { Contribution } from '../../incremental/definitions.ts';
import type { Action } from '../../openflow/flow.ts';
import { type BalancerFacts, balancerFacts, memberAddress, sharersOf } from '../balancers.ts';
import { wayTo } from '../facts.ts';
import { load, match, PROTO, type Registers } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { atMembers, type MemberPort } from '../listeners.ts';
import { TABLES } from '../tables.ts';
import { anchorOf, later } from '../translation.ts';
import { ANCHOR, isFull, outsideKey, refuseNew, through, toAll } from './anchor.ts';
import { KNOWN_ONLY, laterAt, MARKED, markerOf } from './balancer.ts';
import { addressedTo } from './router-base.ts';
import { chooseSlot, echoRequest, forListener } from './vip.ts';

/** Virtual addresses as clients outside reach them (docs/design/layer3.md, §8): the member's host keeps their connections. */
export const vipInUnit = define.unit({
  name: 'vipIn',
  over: 'loadBalancer',
  run(reader, id) {
    const balancer = reader.derive(balancerFacts, id);
    const router = balancer?.router === undefined ? undefined : outsideKey(reader, balancer.router);
    if (balancer === undefined || router === undefined) return [];
    const listeners = balancer.listeners.flatMap((listener): Contribution[] => {
      const fields = forListener(balancer, listener);
      const chosen = { memberVip: 1, ...atMembers(listener.memberPort) };
      return [
        // Another host has chosen the member: the marker says which.
        flow('anchor', ANCHOR.marked, match({ router, fromTunnel: 1 }, { ...fields, eth_dst: MARKED }), {
          do: load({ ...chosen, balancer: balancer.key }),
          goto: 'member',
        }),
        flow('anchor', ANCHOR.listener, match({ router }, fields), {
          do: [...load({ ...chosen, balancer: balancer.key }), ...chooseSlot(reader, id, balancer, listener)],
          goto: 'slot',
        }),
      ];
    });
    return [
      ...listeners,
      ...(isFull(reader, id) ? refuseNewHere(balancer, router) : []),
      echo(balancer, router),
      ...(balancer.key === balancer.speakerKey ? withoutPorts(reader, id, balancer, router) : []),
    ];
  },
});

/** At the host of a member. What is asked for as a known connection only goes on as ever. */
function refuseNewHere({ key, vip, listeners }: BalancerFacts, router: number): Contribution[] {
  const memberPorts = new Set(listeners.map(({ memberPort }) => memberPort));
  return [...memberPorts].flatMap((memberPort) =>
    refuseNew(router, vip, { memberVip: 1, balancer: key, ...atMembers(memberPort) }),
  );
}

/** A VIP answers an echo request as an address of the router does. */
function echo({ vip }: BalancerFacts, router: number): Contribution {
  const asks = match({ router }, { ...addressedTo(vip), ...echoRequest(vip.version) });
  return flow('anchor', ANCHOR.own, asks, { do: load({ forRouter: 1 }), goto: 'inChain' });
}

/** Errors and later fragments have no ports to choose a member by, nor a balancer of those that share the VIP: every member's zone is asked, on its host. */
function withoutPorts(reader: Reader, id: string, balancer: BalancerFacts, router: number): Contribution[] {
  const { vip } = balancer;
  const elsewhere = new Map<string, Action>();
  const here: { readonly port: string; readonly key: number }[] = [];
  const members = reader.derive(sharersOf, id).flatMap((each) => reader.pick('loadBalancer', each, 'members')!);
  for (const port of new Set(members.map((member) => member.port))) {
    const key = reader.pick('port', port, 'key');
    const host = anchorOf(reader, port);
    if (key === undefined || host === undefined || memberAddress(reader, port, vip.version) === undefined) continue;
    const way = reader.derive(wayTo, host);
    if (way === 'here') here.push({ port, key });
    else if (way !== undefined && !elsewhere.has(host)) {
      const actions: Action[] = [
        { kind: 'setField', field: 'eth_dst', value: markerOf(key) },
        ...through(way),
        { kind: 'resubmit', table: TABLES.tunnelOut.number },
      ];
      elsewhere.set(host, { kind: 'clone', actions });
    }
  }
  const asking = (what: Registers, memberPort?: MemberPort): Action[] =>
    here.flatMap(({ port, key: member }) => {
      const asked = laterAt(reader, { ...balancer, id }, port, memberPort);
      if (asked === undefined) return [];
      return [{ kind: 'clone', actions: [...load({ memberVip: 1, member, ...what }), ...asked] }];
    });
  const copies = [...elsewhere.values()];
  const isIcmp = { ip_proto: vip.version === 4 ? PROTO.icmp : PROTO.icmpv6 };
  const known = { memberPort: KNOWN_ONLY };
  const { onlyMemberPort: only } = balancer;
  const begun = only === undefined ? known : { ...atMembers(only), balancer: balancer.key };
  return [
    ...toAll(router, { ...addressedTo(vip), ...later }, ANCHOR.later, { elsewhere: copies, here: asking(begun, only) }),
    ...toAll(router, { ...addressedTo(vip), ...isIcmp }, ANCHOR.rest, { elsewhere: copies, here: asking(known) }),
  ];
}
