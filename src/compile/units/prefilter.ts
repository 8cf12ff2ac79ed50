import { type Ip, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { sharersOf } from '../balancers.ts';
import { GATE, IPV4, IPV6, load, match, PROTO, VERDICT } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { balancersIndex, define, floatingIndex, type Reader } from '../inputs.ts';
import { type InboundLimit, inboundLimit, NO_INBOUND_LIMIT } from '../meters.ts';
import { hasOutside } from '../routers.ts';
import { TABLES } from '../tables.ts';
import { addressedTo } from './router-base.ts';
import { throughChain } from './to-port.ts';

/**
 * Pre-filters (docs/design/gateways.md, §8): stateless chains for what comes in by an outside port, asked on the host where it comes in, before
 * any tunnel and any conntrack. What they let in passes the meters of its address, its router and its tenant.
 *
 *   routerIn ─▶ prefilter (gate: switch) ─▶ chain ─▶ prefiltered ─▶ prefilter (gate: router) ─▶ … (gate: address) ─▶ … (gate: passed) ─▶ anchor
 *
 * Routers without any go from `routerIn` to `anchor` as ever.
 */
/** Odd ones: of packets that begin a TCP connection. */
const PREFILTER = { chain: 100, rest: 50 } as const;
const PREFILTERED = { drop: 300, policy: 200, next: 100 } as const;

const again = (gate: number): Action[] => [...load({ gate }), { kind: 'resubmit', table: TABLES.prefilter.number }];
const toAnchor = { do: load({ gate: 0 }), goto: 'anchor' } as const;

/** Does an address of the router have a pre-filter of its own? */
const addressesAsk = define.cell<boolean>({
  name: 'addressesAsk',
  run: (reader, router) =>
    guardedAddresses(reader, router).some(([kind, id]) => reader.pick(kind, id, 'prefilter') !== undefined),
});

/** Has what comes to it from outside to pass meters? */
function isMetered(
  reader: Reader,
  kind: 'tenant' | 'router' | 'floatingAddress' | 'loadBalancer',
  id: string,
): boolean {
  const { kbps, pps, newPerSecond } = reader.pick(kind, id, 'inboundLimit') ?? {};
  return (kbps ?? pps ?? newPerSecond) !== undefined;
}

/** Is what comes in by outside ports limited, altogether or to an address? */
const isLimited = define.cell<boolean>({
  name: 'isInboundLimited',
  run: (reader, router) => {
    const tenant = reader.pick('router', router, 'tenant');
    return (
      isMetered(reader, 'router', router) ||
      (tenant !== undefined && isMetered(reader, 'tenant', tenant)) ||
      guardedAddresses(reader, router).some(([kind, id]) => isMetered(reader, kind, id))
    );
  },
});

/** Floating addresses, and balancers that are not down: nothing is translated there. */
function guardedAddresses(reader: Reader, router: string): (readonly ['floatingAddress' | 'loadBalancer', string])[] {
  return [
    ...reader.ids(floatingIndex, router).map((id) => ['floatingAddress', id] as const),
    ...reader
      .ids(balancersIndex, router)
      .filter((id) => reader.pick('loadBalancer', id, 'adminUp'))
      .map((id) => ['loadBalancer', id] as const),
  ];
}

/** The first gate that what comes in by an outside port has to pass; undefined without any. */
export const firstGate = define.cell<number | undefined>({
  name: 'firstGate',
  run: (reader, routerPort) => {
    const onSwitch = reader.pick('routerPort', routerPort, 'switch');
    if (onSwitch !== undefined && reader.pick('switch', onSwitch, 'prefilter') !== undefined) return GATE.switch;
    const router = reader.pick('routerPort', routerPort, 'router')!;
    if (reader.pick('router', router, 'prefilter') !== undefined) return GATE.router;
    if (reader.derive(addressesAsk, router)) return GATE.address;
    return reader.derive(isLimited, router) ? GATE.passed : undefined;
  },
});

/** Flows that all pre-filters share. */
export function prefilterBase(): Contribution[] {
  const next = [GATE.switch, GATE.router, GATE.address].map((gate) => [gate, gate + 1] as const);
  return [
    ...next.map(([gate, then]) => flow('prefilter', 0, match({ gate }), { do: again(then) })),
    flow('prefilter', 0, match({ gate: GATE.passed }), toAnchor),
    ...[VERDICT.drop, VERDICT.reject].map((verdict) =>
      flow('prefiltered', PREFILTERED.drop, match({ verdict }), { drop: 'prefilter' }),
    ),
    flow('prefiltered', PREFILTERED.policy, match({ verdict: VERDICT.none, policyDrop: 1 }), { drop: 'prefilter' }),
    ...next.map(([gate, then]) => flow('prefiltered', PREFILTERED.next, match({ gate }), { do: again(then) })),
  ];
}

/** Runs a pre-filter. One that is not there drops: what it would have said is not known. */
function through(reader: Reader, chain: string): FlowTarget {
  const target = throughChain(reader, chain, 'prefiltered');
  return target.drop === undefined ? target : { drop: 'prefilter' };
}

export const switchPrefilterUnit = define.unit({
  name: 'switchPrefilter',
  over: 'routerPort',
  run(reader, id): readonly Contribution[] {
    const onSwitch = reader.pick('routerPort', id, 'outside') ? reader.pick('routerPort', id, 'switch') : undefined;
    const chain = onSwitch === undefined ? undefined : reader.pick('switch', onSwitch, 'prefilter');
    if (chain === undefined) return [];
    const routerPort = reader.pick('routerPort', id, 'key')!;
    const at = match({ gate: GATE.switch, routerPort });
    return [flow('prefilter', PREFILTER.chain, at, through(reader, chain))];
  },
});

export const routerPrefilterUnit = define.unit({
  name: 'routerPrefilter',
  over: 'router',
  run(reader, id): readonly Contribution[] {
    const chain = reader.pick('router', id, 'prefilter');
    if (chain === undefined) return [];
    const router = reader.pick('router', id, 'key')!;
    return [flow('prefilter', PREFILTER.chain, match({ gate: GATE.router, router }), through(reader, chain))];
  },
});

/** Of what a router's tenant may get in altogether, the narrowest limit first: what is above it takes nothing of the others. */
function limitFlows(reader: Reader, routerId: string, ip: Ip | undefined, own: InboundLimit): Contribution[] {
  const router = reader.pick('router', routerId, 'key');
  const tenant = reader.pick('router', routerId, 'tenant');
  if (router === undefined || tenant === undefined) return [];
  const limits = [own, inboundLimit(reader, 'router', routerId), inboundLimit(reader, 'tenant', tenant)];
  const pass = limits.flatMap((limit) => limit.pass);
  const begin = limits.flatMap((limit) => limit.begin.pass);
  const priority = ip === undefined ? PREFILTER.rest : PREFILTER.chain;
  const at = (fields: Match): Match => match({ gate: GATE.passed, router }, fields);
  const versions = ip === undefined ? [IPV4, IPV6] : [addressedTo(ip)];
  const on = (actions: readonly Action[]): FlowTarget => ({ ...toAnchor, do: [...actions, ...toAnchor.do] });
  if (pass.length + begin.length === 0) return [];
  return [
    ...limits.flatMap(({ meters, begin }) => [...meters, ...begin.meters]),
    flow('prefilter', priority, at(ip === undefined ? {} : addressedTo(ip)), on(pass)),
    ...(begin.length === 0
      ? []
      : versions.map((to) => flow('prefilter', priority + 1, at({ ...to, ...BEGINS_TCP }), on([...pass, ...begin])))),
  ];
}

/** SYN without ACK (RFC 9293 §3.5). */
const BEGINS_TCP: Match = { ip_proto: PROTO.tcp, tcp_flags: { value: 0x02, mask: 0x12 } };

/** All of the router's addresses but those with limits of their own. */
export const inboundLimitUnit = define.unit({
  name: 'inboundLimit',
  over: 'router',
  run: (reader, id) => (reader.derive(hasOutside, id) ? limitFlows(reader, id, undefined, NO_INBOUND_LIMIT) : []),
});

function ofAddress(
  reader: Reader,
  routerId: string,
  ip: Ip | undefined,
  kind: 'floatingAddress' | 'loadBalancer',
  id: string,
): Contribution[] {
  const router = reader.pick('router', routerId, 'key');
  if (router === undefined || ip === undefined) return [];
  const chain = reader.pick(kind, id, 'prefilter');
  const at = match({ gate: GATE.address, router }, addressedTo(ip));
  const own = inboundLimit(reader, kind, id);
  return [
    ...(chain === undefined ? [] : [flow('prefilter', PREFILTER.chain, at, through(reader, chain))]),
    ...(own === NO_INBOUND_LIMIT ? [] : limitFlows(reader, routerId, ip, own)),
  ];
}

export const floatingPrefilterUnit = define.unit({
  name: 'floatingPrefilter',
  over: 'floatingAddress',
  run(reader, id) {
    const { address, router } = reader.get('floatingAddress', id)!;
    return ofAddress(reader, router, parseIp(address), 'floatingAddress', id);
  },
});

export const balancerPrefilterUnit = define.unit({
  name: 'balancerPrefilter',
  over: 'loadBalancer',
  run(reader, id) {
    const router = reader.pick('loadBalancer', id, 'router');
    if (router === undefined || !reader.pick('loadBalancer', id, 'adminUp')) return [];
    // All that share the VIP have the same: one says it.
    if (reader.derive(sharersOf, id)[0] !== id) return [];
    return ofAddress(reader, router, parseIp(reader.pick('loadBalancer', id, 'address')!), 'loadBalancer', id);
  },
});
