import { type Ip, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import { parseMoved } from '../../model/moved-connections.ts';
import type { FloatingAddress } from '../../model/objects.ts';
import { snatAddresses } from '../../model/snat.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { memberAddress } from '../balancers.ts';
import { prefixCover } from '../bits.ts';
import { chunked } from '../chunks.ts';
import { selfHost, wayTo } from '../facts.ts';
import { CT_MARK, ipOf, load, match, move, PROTO, REGISTERS, type RegisterMatch } from '../fields.ts';
import { limitOf } from '../floating-limits.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, leasesIndex, natMovesIndex, portsOfRouterIndex, type Reader } from '../inputs.ts';
import { TRANSPORT } from '../listeners.ts';
import { beginLimit } from '../meters.ts';
import { hasOutside, ownAddresses } from '../routers.ts';
import { TABLES } from '../tables.ts';
import { meetsKnownOnly, zoneOf } from '../tracking.ts';
import {
  anchorOf,
  behind,
  destinationUnknown,
  later,
  natTo,
  noteHeld,
  trackHeld,
  translate,
  ZONE_KIND,
} from '../translation.ts';
import { committingWith, readBy } from './connection-helpers.ts';
import { addressedTo } from './router-base.ts';
import { echoRequest } from './vip.ts';

/**
 * What comes in at an outside port goes to the host that keeps its connection (docs/design/layer3.md, §6.2, §7): every host finds it by
 * destination alone. A packet for another host goes there by the tunnel with the key of the outside port, and enters the router anew.
 *
 *   routerIn ─▶ anchor ─┬─────────────▶ tunnelOut        floating address, block of ports, member of a balancer: elsewhere
 *                       ├─ct─▶ anchored ─▶ inChain        here
 *                       ├─▶ moved ─┬─▶ tunnelOut          of a workload that moved
 *                       │          └─ct─▶ anchored
 *                       ├─▶ slot ─▶ member ─┬─▶ tunnelOut
 *                       │                   └─ct─▶ anchored
 *                       └─▶ inChain                       the router's own addresses
 */
/** In `anchor`. Odd ones beside `later` and `rest` are for what came from a tunnel. */
export const ANCHOR = {
  handedOn: 470,
  strayed: 460,
  marked: 450,
  listener: 400,
  knownOnly: 320,
  admittedRead: 311,
  admitted: 310,
  moved: 305,
  udp: 302,
  read: 301,
  address: 300,
  later: 290,
  own: 280,
  rest: 260,
} as const;
/** In `admit`. */
const FULL = 200;
/** In `moved`. */
const MOVED = 100;
export const ANCHORED = {
  known: 210,
  translated: 200,
  handOff: 190,
  unknownOnly: 188,
  readUdp: 186,
  udp: 185,
  admission: 180,
  later: 170,
  own: 150,
  unknown: 100,
} as const;

/** Into the tunnel to the anchor: the key says which outside port the packet came in by. */
export function through(way: Action): Action[] {
  return [move(REGISTERS.routerPort, { field: 'tun_id', from: 0, bits: 32 }), way];
}

export function outsideKey(reader: Reader, router: string): number | undefined {
  return reader.derive(hasOutside, router) ? reader.pick('router', router, 'key') : undefined;
}

export const floatingInUnit = define.unit({
  name: 'floatingIn',
  over: 'floatingAddress',
  run(reader, id): readonly Contribution[] {
    const floating = reader.get('floatingAddress', id)!;
    const router = outsideKey(reader, floating.router);
    const ip = parseIp(floating.address);
    if (router === undefined || ip === undefined) return [];
    const fixed =
      floating.fixed === undefined ? memberAddress(reader, floating.port, ip.version) : parseIp(floating.fixed);
    if (fixed === undefined) return [];
    const zone = reader.pick('natZone', floating.router, 'zone');
    const host = anchorOf(reader, floating.port);
    const way = host === undefined ? undefined : reader.derive(wayTo, host);
    const { meters, pass } = limitOf(reader, id, 'in');
    const to = addressedTo(ip);
    const leads = (target: FlowTarget): Contribution => flow('anchor', ANCHOR.address, match({ router }, to), target);
    if (host === undefined) return [...meters, leads({ drop: 'not-bound' })];
    if (way === undefined) return [...meters, leads({ drop: 'no-tunnel' })];
    if (way !== 'here') return [...meters, leads({ do: through(way), goto: 'tunnelOut' })];
    if (zone === undefined) return [...meters, leads({ drop: 'not-translated' })];
    return [...meters, ...atAnchor(reader, floating, { router, ip, fixed, zone, pass })];
  },
});

/** What is for a floating address at the host that keeps its connections. */
function atAnchor(
  reader: Reader,
  { id, router: routerId, port }: FloatingAddress,
  at: {
    readonly router: number;
    readonly ip: Ip;
    readonly fixed: Ip;
    readonly zone: number;
    readonly pass: readonly Action[];
  },
): Contribution[] {
  const { router, ip, zone, pass } = at;
  const to = addressedTo(ip);
  const udp = { ...to, ip_proto: PROTO.udp };
  const translated = [
    ...noteHeld(reader, port, 'anchored', zone),
    ...translate(behind(reader, port, 'anchored'), zone, natTo('dst', at.fixed)),
  ];
  const ask: FlowTarget = { do: [...pass, ...trackHeld(reader, port, 'anchored', zone)] };
  if (isFull(reader, id)) return [flow('anchor', ANCHOR.address, match({ router }, to), ask), ...refuseNew(router, ip)];
  const known = meetsKnownOnly(reader)
    ? [flow('anchor', ANCHOR.knownOnly, match({ router, knownOnly: 1 }, to), ask)]
    : [];
  const portZone = reader.pick('natZone', routerId, 'isTight') ? zoneOf(reader, port) : undefined;
  const begin = beginLimit(reader, routerId, 'floatingAddress', id);
  const unknown = (what: Match): Match => match({ router, admitted: 0 }, { ...what, ...destinationUnknown });
  // What a rule of the port has a helper for is read here too: addresses in it are translated, and what comes of it is translated alike.
  const read = readBy(reader, port, 'in').flatMap(({ helper, what }) => {
    const helped = committingWith(translated, helper);
    const of = { ...to, ...what };
    if (portZone !== undefined)
      return [flow('anchor', ANCHOR.admittedRead, match({ router, admitted: 1 }, of), { do: helped })];
    const late = helper === 'tftp' && begin.pass.length > 0;
    return [
      flow('anchor', ANCHOR.read, match({ router }, of), { do: [...pass, ...helped] }),
      ...(late
        ? [flow('anchored', ANCHORED.readUdp, unknown(of), { do: [...begin.pass, ...admitted, ...helped] })]
        : []),
    ];
  });
  return [
    ...known,
    ...read,
    ...(portZone === undefined
      ? [flow('anchor', ANCHOR.address, match({ router }, to), { do: [...pass, ...translated] })]
      : [
          flow('anchor', ANCHOR.address, match({ router }, to), ask),
          flow('anchor', ANCHOR.admitted, match({ router, admitted: 1 }, to), { do: translated }),
          flow('anchored', ANCHORED.admission, unknown(to), { do: countAt(portZone) }),
        ]),
    // That it begins a connection is known of UDP only when the zone has been asked.
    ...(begin.pass.length === 0
      ? []
      : [
          ...begin.meters,
          flow('anchor', ANCHOR.udp, match({ router, admitted: 0 }, udp), ask),
          flow('anchored', ANCHORED.udp, unknown(udp), {
            do: [...begin.pass, ...(portZone === undefined ? [...admitted, ...translated] : countAt(portZone))],
          }),
        ]),
  ];
}

/** Has the floating address or load balancer as many connections here as it may (docs/design/gateways.md, §8)? */
export function isFull(reader: Reader, id: string): boolean {
  return reader.get('fullAddress', id) !== undefined;
}

/** For such an address: what is of no connection that the zone knows, which was only asked. `at`: more that is known of the packet. */
export function refuseNew(router: number, ip: Ip, at: RegisterMatch = {}): Contribution[] {
  const to = addressedTo(ip);
  return [
    flow('anchored', ANCHORED.admission, match({ ...at, router }, { ...to, ...destinationUnknown }), {
      do: admitted,
      goto: 'admit',
    }),
    // Here it is counted for people.
    flow('admit', FULL, match({ router, admitted: 1 }, to), { drop: 'connection-limit' }),
  ];
}

/** Once is enough: where no connection could be made it is not tried again. */
const admitted = load({ admitted: 1 });

/**
 * For a floating address whose router's zone is tight, and of no connection that this zone knows: the connection as it came is left in a
 * zone of the port, for no other reason than to count there (units/admission.ts).
 */
function countAt(portZone: number): Action[] {
  const count: Action = {
    kind: 'ct',
    commit: true,
    zone: portZone + ZONE_KIND.vip,
    table: TABLES.admit.number,
    exec: [{ kind: 'setField', field: 'ct_mark', value: CT_MARK.kept, mask: CT_MARK.kept }],
  };
  return [...admitted, { kind: 'ctClear' }, count];
}

/**
 * Connections of a workload that moved go where it is, whoever has the block of their ports. A connection leads to the workload's port, and that, by one
 * flow for all of them, to its host: so moving again changes one flow.
 */
export const natMoveUnit = define.unit({
  name: 'natMove',
  over: 'natMove',
  run(reader, id): readonly Contribution[] {
    const { port, connections } = reader.get('natMove', id)!;
    const at = translatedAt(reader, 'natMove', id);
    const member = reader.pick('port', port, 'key');
    if (at === undefined || member === undefined) return [];
    const { routerId, router, ip } = at;
    const target: FlowTarget = { do: load({ member }), goto: 'moved' };
    const flows = connections.flatMap((text): Contribution[] => {
      const moved = parseMoved(text);
      const remote = moved && parseIp(moved.remote);
      if (moved === undefined || remote?.version !== ip.version) return [];
      const { proto, src, dst } = TRANSPORT[moved.protocol];
      const ports = { ip_proto: proto, [src]: moved.remotePort, [dst]: moved.port };
      return [
        flow('anchor', ANCHOR.moved, match({ router }, { ...addressedTo(ip), ...sentBy(remote), ...ports }), target),
      ];
    });
    return [...flows, ...unknown(reader, routerId, router, ip)];
  },
});

/**
 * Where the workload is now. What comes from a tunnel goes into none here either: a host that has heard of the move earlier than the one that sent it on
 * drops it.
 */
export const movedPortUnit = define.unit({
  name: 'movedPort',
  over: 'natMove',
  run(reader, id): readonly Contribution[] {
    const port = reader.pick('natMove', id, 'port')!;
    const at = translatedAt(reader, 'natMove', id);
    const member = reader.pick('port', port, 'key');
    if (at === undefined || member === undefined) return [];
    const target = ((): FlowTarget => {
      const host = anchorOf(reader, port);
      if (host === undefined) return { drop: 'not-bound' };
      const way = reader.derive(wayTo, host);
      if (way === undefined) return { drop: 'no-tunnel' };
      if (way !== 'here') return { do: through(way), goto: 'tunnelOut' };
      return knownHere(reader, at.routerId, { before: load({ member: 0 }) });
    })();
    return [flow('moved', MOVED, match({ router: at.router, member }, ipOf(at.ip.version)), target)];
  },
});

interface TranslatedAt {
  readonly routerId: string;
  readonly router: number;
  readonly ip: Ip;
}

/** The router and address that a record of translated ports is of, where the router translates to it here. */
function translatedAt(reader: Reader, kind: 'natMove' | 'natLease', id: string): TranslatedAt | undefined {
  const routerId = reader.pick(kind, id, 'router')!;
  const address = reader.pick(kind, id, 'address')!;
  const [router, ip] = [outsideKey(reader, routerId), parseIp(address)];
  return router === undefined || ip === undefined || !translatesTo(reader, routerId, address)
    ? undefined
    : { routerId, router, ip };
}

function sentBy(ip: Ip): Match {
  return ip.version === 4 ? { ip_src: ip.value } : { ipv6_src: ip.value };
}

function translatesTo(reader: Reader, router: string, address: string): boolean {
  return snatAddresses({ snat: reader.pick('router', router, 'snat') ?? [] }).has(address);
}

/** Addresses of source translation: ports by the blocks that hosts have. Each lease by itself: one that grows costs one unit. */
export const leaseInUnit = define.unit({
  name: 'leaseIn',
  over: 'natLease',
  run(reader, id) {
    const at = translatedAt(reader, 'natLease', id);
    return at === undefined ? [] : blocks(reader, id, at);
  },
});

/** What comes to such addresses without ports, to all of these hosts, and what nobody knows. */
export const leasedAddressesUnit = define.unit({
  name: 'leasedAddresses',
  over: leasesIndex,
  run(reader, routerId) {
    const router = outsideKey(reader, routerId);
    if (router === undefined) return [];
    const byAddress = new Map<string, string[]>();
    for (const lease of reader.ids(leasesIndex, routerId)) {
      const address = reader.pick('natLease', lease, 'address')!;
      if (!translatesTo(reader, routerId, address)) continue;
      const there = byAddress.get(address);
      if (there === undefined) byAddress.set(address, [lease]);
      else there.push(lease);
    }
    return [...byAddress].flatMap(([address, leases]) => {
      const ip = parseIp(address)!;
      return [
        ...withoutPorts(reader, knowing(reader, routerId, address, leases), routerId, router, ip),
        ...unknown(reader, routerId, router, ip),
      ];
    });
  },
});

/** Hosts that may know connections of the address: those with ports of it, and those where a workload is that has moved. */
function knowing(reader: Reader, router: string, address: string, leases: readonly string[]): readonly string[] {
  const hosts = new Set(leases.map((lease) => reader.pick('natLease', lease, 'host')!));
  for (const move of reader.ids(natMovesIndex, router)) {
    const port = reader.pick('natMove', move, 'address') === address ? reader.pick('natMove', move, 'port') : undefined;
    const host = port === undefined ? undefined : anchorOf(reader, port);
    if (host !== undefined) hosts.add(host);
  }
  return [...hosts];
}

function knownHere(
  reader: Reader,
  routerId: string,
  { port, before = [] }: { readonly port?: string; readonly before?: readonly Action[] } = {},
): FlowTarget {
  const zone = reader.pick('natZone', routerId, 'zone');
  if (zone === undefined) return { drop: 'not-translated' };
  return { do: [...before, ...trackHeld(reader, port, 'anchored', zone)] };
}

const PORTS = [
  { proto: PROTO.tcp, field: 'tcp_dst' },
  { proto: PROTO.udp, field: 'udp_dst' },
] as const;

function blocks(reader: Reader, lease: string, { routerId, router, ip }: TranslatedAt): Contribution[] {
  const way = reader.derive(wayTo, reader.pick('natLease', lease, 'host')!);
  const target = ((): FlowTarget => {
    if (way === undefined) return { drop: 'no-tunnel' };
    if (way !== 'here') return { do: through(way), goto: 'tunnelOut' };
    const port = reader.pick('natLease', lease, 'port');
    return knownHere(reader, routerId, port === undefined ? {} : { port });
  })();
  return reader
    .pick('natLease', lease, 'blocks')!
    .flatMap(({ first, size }) =>
      prefixCover(first, first + size - 1, 16).flatMap((ports) =>
        PORTS.map(({ proto, field }) =>
          flow(
            'anchor',
            ANCHOR.address,
            match({ router }, { ...addressedTo(ip), ip_proto: proto, [field]: ports }),
            target,
          ),
        ),
      ),
    );
}

/**
 * ICMP errors and replies have no ports, nor have other protocols and later fragments: they go to every host that may know the connection,
 * and those that do not drop them (a fragment waits there in vain for the first one). A host that got its copy from another makes none.
 */
function withoutPorts(
  reader: Reader,
  hosts: readonly string[],
  routerId: string,
  router: number,
  ip: Ip,
): Contribution[] {
  const self = selfHost(reader);
  const last = self !== undefined && hosts.includes(self) ? knownHere(reader, routerId) : undefined;
  const elsewhere = hosts.flatMap((host): Action[] => {
    const way = reader.derive(wayTo, host);
    if (way === undefined || way === 'here') return [];
    return [{ kind: 'clone', actions: [...through(way), { kind: 'resubmit', table: TABLES.tunnelOut.number }] }];
  });
  const to = addressedTo(ip);
  const own = (what: Match): Contribution[] =>
    ownOr(reader, 'anchor', ANCHOR.own, routerId, router, ip, { ...to, ...what });
  return [
    // Nobody inside asked for a request: it can be for the router itself only. So can what is for a port that no host has.
    ...own(echoRequest(ip.version)),
    ...PORTS.flatMap(({ proto }) => own({ ip_proto: proto })),
    ...toAll(router, { ...to, ...later }, ANCHOR.later, { elsewhere, last }),
    ...toAll(router, to, ANCHOR.rest, { elsewhere, last }),
  ];
}

/** Who is asked about what has no port to find its connection by. */
interface Asked {
  /** A copy to each host. */
  readonly elsewhere: readonly Action[];
  /** A copy to each who is asked here. */
  readonly here?: readonly Action[];
  /** And then. */
  readonly last?: FlowTarget | undefined;
}

/** To all who are asked; of what came from a tunnel no copies are made to other hosts. */
export function toAll(
  router: number,
  to: Match,
  priority: number,
  { elsewhere, here = [], last }: Asked,
): Contribution[] {
  const isHere = here.length > 0 || last !== undefined;
  const ask = (where: Match, at: number, actions: readonly Action[]): Contribution[] =>
    chunked('anchor', at, where, {
      copies: actions.map((action) => [action]),
      ...(last === undefined ? {} : { last }),
    });
  const fromTunnel = match({ router, fromTunnel: 1 }, to);
  return [
    ...(isHere || elsewhere.length > 0
      ? ask(match({ router }, to), priority, [...elsewhere, ...here])
      : [flow('anchor', priority, match({ router }, to), { drop: 'not-bound' })]),
    ...(isHere
      ? ask(fromTunnel, priority + 1, here)
      : [flow('anchor', priority + 1, fromTunnel, { drop: 'tunnel-loop' })]),
  ];
}

/** What the zone does not know: a port that nobody uses is the router's own, if the address is. */
function unknown(reader: Reader, routerId: string, router: number, ip: Ip): Contribution[] {
  const to = addressedTo(ip);
  return [
    flow('anchored', ANCHORED.unknown, match({ router }, to), { drop: 'not-translated' }),
    ...PORTS.flatMap(({ proto }) =>
      ownOr(reader, 'anchored', ANCHORED.own, routerId, router, ip, { ...to, ip_proto: proto }),
    ),
  ];
}

/** On as an address of the port by which it came in, if it is one; of other ports nothing is known where only this one is in scope. */
function ownOr(
  reader: Reader,
  table: 'anchor' | 'anchored',
  priority: number,
  routerId: string,
  router: number,
  ip: Ip,
  what: Match,
): Contribution[] {
  const owners = reader
    .ids(portsOfRouterIndex, routerId)
    .filter((port) => reader.derive(ownAddresses, port).some(({ value }) => value === ip.value));
  return [
    flow(table, priority, match({ router }, what), { drop: 'not-translated' }),
    ...owners.map((port) => {
      const routerPort = reader.pick('routerPort', port, 'key')!;
      return flow(table, priority + 1, match({ router, routerPort }, what), { goto: 'inChain' });
    }),
  ];
}
