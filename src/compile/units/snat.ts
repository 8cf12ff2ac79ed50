import { type Cidr, type Ip, parseCidr, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { type PortBlock, portRuns, withoutBlocks } from '../../model/port-blocks.ts';
import { poolOf, poolSlots, type SnatRule, snatAddresses } from '../../model/snat.ts';
import type { Match } from '../../openflow/flow.ts';
import { balancerFacts, memberAddress } from '../balancers.ts';
import { setCover } from '../bits.ts';
import { selfHost, toAgent } from '../facts.ts';
import { IPV4, IPV6, load, match, PROTO, type RegisterMatch } from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, natMovesIndex, type Reader } from '../inputs.ts';
import { gatewayPortsOf } from '../l2-gateway-ports.ts';
import { TRANSPORT } from '../listeners.ts';
import {
  anchorOf,
  fromAddress,
  fromSome,
  KNOWN,
  later,
  natTo,
  portsFacing,
  sourceUntouched,
  track,
  translate,
  translates,
} from '../translation.ts';
import { committingWith, readBy } from './connection-helpers.ts';
import { addressedTo, OWN } from './router-base.ts';
import { FOR_ROUTER } from './router-in.ts';

/** What leaves by an outside port gets its public source (docs/design/layer3.md, §7): in the router's zone on this host. */
export const SNAT = {
  vip: 1005,
  reply: 1000,
  admission: 950,
  read: 901,
  floating: 900,
  gateway: 400,
  network: 100,
} as const;
export const SNATTED = { translated: 1200, reply: 1100, invalid: 1000 } as const;

/** Replies, and what the router says itself: turned back if this zone translated what they answer, else as they are. */
export const snatRepliesUnit = define.unit({
  name: 'snatReplies',
  over: 'router',
  run(reader, id) {
    if (!reader.derive(translates, id)) return [];
    const zone = reader.pick('natZone', id, 'zone');
    const target: FlowTarget =
      zone === undefined ? { drop: 'no-ports' } : { do: [{ kind: 'ctClear' }, track('snatted', zone, KNOWN)] };
    return reader
      .derive(portsFacing, id)
      .outside.flatMap(({ key }) =>
        [IPV4, IPV6].flatMap((ip) => [
          flow('snat', SNAT.reply, match({ routerPort: key, isReply: 1 }, ip), target),
          flow('snat', SNAT.reply, match({ routerPort: key, own: 1 }, ip), target),
        ]),
      );
  },
});

/**
 * What members here answer clients outside has the VIP as its source again: the router's zone has translated no such thing, and is not asked. Fragments
 * are, the first with the others, which show no port. What it answers to may be known there (a workload that came round by an outside port): it
 * goes round again, as it does where that is on another host.
 */
export const vipRepliesUnit = define.unit({
  name: 'vipReplies',
  over: 'loadBalancer',
  run(reader, id) {
    const balancer = reader.derive(balancerFacts, id);
    if (balancer?.router === undefined || !reader.derive(translates, balancer.router)) return [];
    const members = reader.pick('loadBalancer', id, 'members')!;
    if (!members.some(({ port }) => anchorOf(reader, port) === selfHost(reader))) return [];
    return reader.derive(portsFacing, balancer.router).outside.flatMap(({ key }) =>
      balancer.listeners.map(({ protocol, port }) => {
        const { proto: ip_proto, src } = TRANSPORT[protocol];
        const answer: Match = { ...fromAddress(balancer.vip), ip_proto, ip_frag: 0, [src]: port };
        return flow('snat', SNAT.vip, match({ routerPort: key, isReply: 1 }, answer), {
          do: [{ kind: 'ctClear' }],
          goto: 'next',
        });
      }),
    );
  },
});

export const floatingOutUnit = define.unit({
  name: 'floatingOut',
  over: 'floatingAddress',
  run(reader, id) {
    const floating = reader.get('floatingAddress', id)!;
    const ip = parseIp(floating.address);
    if (ip === undefined) return [];
    const fixed =
      floating.fixed === undefined ? memberAddress(reader, floating.port, ip.version) : parseIp(floating.fixed);
    if (fixed === undefined) return [];
    const zone = reader.pick('natZone', floating.router, 'zone');
    return reader.derive(portsFacing, floating.router).outside.flatMap(({ key }) => {
      const by = { routerPort: key };
      const source = fromAddress(fixed);
      if (zone === undefined) return [flow('snat', SNAT.floating, match(by, source), { drop: 'no-ports' })];
      const translated = translate('snatted', zone, natTo('src', ip));
      return [
        flow('snat', SNAT.floating, match(by, source), { do: translated }),
        // What a rule of the port has a helper for is read here too: addresses in it are translated.
        ...readBy(reader, floating.port, 'out').map(({ helper, what }) =>
          flow('snat', SNAT.read, match(by, { ...source, ...what }), { do: committingWith(translated, helper) }),
        ),
        flow('snatted', SNAT.floating, match(by, { ...source, ...sourceUntouched }), { drop: 'no-ports' }),
      ];
    });
  },
});

/** The rules of a router's source translation. */
export const snatUnit = define.unit({
  name: 'snat',
  over: 'router',
  run(reader, id) {
    const { outside } = reader.derive(portsFacing, id);
    if (outside.length === 0) return [];
    const rules = reader.pick('router', id, 'snat') ?? [];
    const gateways = rules.length === 0 ? [] : reader.derive(gatewayPortsOf, id);
    const flows: Contribution[] = [];
    const seen = new Set<string>();
    for (const rule of rules) {
      // Of two rules for one network the first holds.
      if (seen.has(rule.from)) continue;
      seen.add(rule.from);
      for (const { key: routerPort } of outside) {
        flows.push(...translated(reader, { router: id, by: { routerPort } }, rule));
        // What comes in by an L2 gateway has ports of its own, which go where its connections go.
        for (const gateway of gateways) {
          const by = { routerPort, inPort: gateway.key };
          flows.push(...translated(reader, { router: id, by, gateway: gateway.id }, rule));
        }
      }
    }
    return flows;
  },
});

/** Whose packets. */
interface Sender {
  readonly router: string;
  readonly by: RegisterMatch;
  /** The port of an L2 gateway, which has leases of its own. */
  readonly gateway?: string;
}

/** What the sender's packets become by a rule: each part of its sources has one address of the pool. */
function translated(reader: Reader, sender: Sender, rule: SnatRule): Contribution[] {
  const { router, gateway } = sender;
  const network = parseCidr(rule.from)!;
  const leases = poolOf(rule).map((address) => {
    const id = `${router}/${address}/${gateway ?? selfHost(reader)}`;
    return { address, id, leased: reader.pick('natLease', id, 'blocks') ?? [] };
  });
  // Of any address: connections keep theirs when the pool, and with it what their sources get, has changed.
  const isKnowing =
    leases.some(({ leased }) => leased.length > 0) || hasMovedHere(reader, router, new Set(poolOf(rule)));
  return leases.flatMap(({ address, id, leased }) => {
    const blocks = withoutBlocks(leased, reader.pick('restingPorts', id, 'blocks') ?? []);
    const given = { to: parseIp(address)!, blocks, isKnowing };
    return sourcesOf(rule, network, address).flatMap((source) => part(reader, sender, network, source, given));
  });
}

/** The sources of a rule that get this address of its pool: those whose low bits say so. */
function sourcesOf(rule: SnatRule, network: Cidr, address: string): readonly Match[] {
  const owners = poolSlots(rule);
  const own = owners.flatMap((owner, slot) => (owner === address ? [slot] : []));
  return setCover(own, Math.log2(owners.length)).flatMap((slots) => fromSome(network, slots) ?? []);
}

/**
 * So many runs of ports are tried, the largest: each try is a pass through connection tracking, of which Open vSwitch's userspace datapath gives a packet six
 * on one host (MAX_RECIRC_DEPTH, lib/dpif-netdev.c), and drops it then without a word. Two others may be needed behind them.
 */
const MOST_TRIES = 3;

/** `blocks`: what new connections of these sources may get. `isKnowing`: there may be connections that began when they could get others. */
function part(
  reader: Reader,
  { router, by, gateway }: Sender,
  network: Cidr,
  source: Match,
  { to, blocks, isKnowing }: { readonly to: Ip; readonly blocks: readonly PortBlock[]; readonly isKnowing: boolean },
): Contribution[] {
  // A network's own flow stands below those of its protocols, and both above those of wider networks.
  const priority = (gateway === undefined ? SNAT.network : SNAT.gateway) + 2 * network.prefix;
  const zone = reader.pick('natZone', router, 'zone');
  const noPorts = { do: [toAgent(reader, 'noPorts')], drop: 'no-ports' } as const;
  if (!isKnowing) return [flow('snat', priority, match(by, source), noPorts)];
  if (zone === undefined) return [flow('snat', priority, match(by, source), { drop: 'no-ports' })];
  if (blocks.length === 0)
    return [
      flow('snat', priority, match(by, source), { do: [{ kind: 'ctClear' }, track('snatted', zone, KNOWN)] }),
      flow('snatted', priority, match(by, { ...source, ...sourceUntouched }), noPorts),
    ];
  const runs = portRuns(blocks).slice(0, MOST_TRIES);
  const runFrom = (i: number): FlowTarget => {
    const { first, last } = runs[i]!;
    return { do: [...load({ slot: i }), ...translate('snatted', zone, natTo('src', to, first, last))] };
  };
  return [
    // Without ports: ICMP, whose answers all hosts with ports are asked for, and other protocols.
    flow('snat', priority, match(by, source), { do: translate('snatted', zone, natTo('src', to)) }),
    flow('snatted', priority, match(by, { ...source, ...sourceUntouched }), { drop: 'no-ports' }),
    ...[{ ip_proto: PROTO.tcp }, { ip_proto: PROTO.udp }, ...laterOver(to)].flatMap((what) => {
      const fields: Match = { ...source, ...what };
      return [
        flow('snat', priority + 1, match(by, fields), runFrom(0)),
        // All ports of a run in use: the next one, and after the last the agent may ask for another.
        ...runs.map((_, i) =>
          flow(
            'snatted',
            priority + 1,
            match({ ...by, slot: i }, { ...fields, ...sourceUntouched }),
            i + 1 < runs.length ? runFrom(i + 1) : noPorts,
          ),
        ),
      ];
    }),
  ];
}

/**
 * Fragments after the first say no protocol over IPv6, and it is one of them that decides what is done to all, if it came last. Of what has no ports
 * Open vSwitch leaves a range of them aside.
 */
function laterOver(to: Ip): readonly Match[] {
  return to.version === 6 ? [later] : [];
}

/** Does a workload here have connections of one of the addresses with ports of another host? They need no port of ours. */
function hasMovedHere(reader: Reader, router: string, addresses: Pick<ReadonlySet<string>, 'has'>): boolean {
  return reader
    .ids(natMovesIndex, router)
    .some(
      (move) =>
        addresses.has(reader.pick('natMove', move, 'address')!) &&
        anchorOf(reader, reader.pick('natMove', move, 'port')!) === selfHost(reader),
    );
}

/**
 * A workload answers another one of this router, which came out and in again by its SNAT address, with a packet to that address. It may be
 * one of the router's own, but then the answer is not for the router.
 */
export const answersToSnatUnit = define.unit({
  name: 'answersToSnat',
  over: 'router',
  run(reader, id) {
    const router = reader.pick('router', id, 'key')!;
    const { outside } = reader.derive(portsFacing, id);
    if (outside.length === 0) return [];
    const addresses = snatAddresses({ snat: reader.pick('router', id, 'snat') ?? [] });
    return [...addresses].flatMap((address) => {
      const to = addressedTo(parseIp(address)!);
      return [
        flow('own', OWN.answer, match({ router, isReply: 1 }, to), { goto: 'ttl' }),
        // What came in from outside was asked for already.
        ...outside.map(({ key }) => flow('own', OWN.arrived, match({ router, enteredBy: key }, to), FOR_ROUTER)),
      ];
    });
  },
});
