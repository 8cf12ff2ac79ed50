import { type Tracked, tupleText } from '../../src/agent/connections/dump.ts';
import { foreignPort } from '../../src/agent/connections/foreign-ports.ts';
import { entriesOfPort, type PortZones, zonesOfPort } from '../../src/agent/connections/of-port.ts';
import { recreation, type TrackingPacket } from '../../src/agent/connections/recreate.ts';
import { Scope } from '../../src/agent/scope.ts';
import { formatIp, type parseIp } from '../../src/base/addresses.ts';
import type { InputRecord } from '../../src/compile/inputs.ts';
import { ZONE_KIND } from '../../src/compile/translation.ts';
import { movedText } from '../../src/model/moved-connections.ts';
import type { NatMove, ScopeRecord } from '../../src/model/objects.ts';
import { IP_PROTO } from '../../src/packet/ip-protocol.ts';
import type { Connection as PipelineConnection } from '../../src/pipeline/conntrack.ts';
import { Pipeline } from '../../src/pipeline/pipeline.ts';
import type { Tuple as PipelineTuple } from '../../src/pipeline/tuple.ts';
import type { ConnectionEntry } from '../../src/server/protocol.ts';
import { type Connection, type Connections, FINISHED } from '../../src/simulate/connections.ts';
import type { Tuple } from '../../src/simulate/tuple.ts';
import type { Scenario, ScenarioHost } from './scenario.ts';

/** A workload goes on at another host that has an interface of its port; its connections come along as agents bring them. */
export interface Move {
  readonly port: string;
  readonly from: ScenarioHost;
  readonly to: ScenarioHost;
}

/** Ports that could move now. */
export function movesOf({ model, hosts }: Scenario): Move[] {
  const moves: Move[] = [];
  const has = (host: ScenarioHost, port: string): boolean => [...host.ports.values()].includes(port);
  for (const { id: port, active, claims } of model.all('binding')) {
    const from = hosts.find(({ id }) => id === active);
    if (!from || !has(from, port)) continue;
    for (const claim of claims) {
      const to = hosts.find(({ id }) => id === claim.host && id !== active);
      if (to && has(to, port)) moves.push({ port, from, to });
    }
  }
  return moves;
}

/** Zones of the port at a host, as its agent knows them. */
function zonesAt({ inputs }: ScenarioHost, port: string): PortZones | undefined {
  const zones = new Map<string, number>();
  for (const record of inputs)
    if ((record.kind === 'interface' || record.kind === 'natZone') && record.zone !== undefined)
      zones.set(record.id, record.zone);
  return zonesOfPort(scopeOf(inputs), (owner) => zones.get(owner), port);
}

function scopeOf(inputs: readonly InputRecord[]): Scope {
  const scope = new Scope();
  scope.apply(inputs.map((record) => ({ op: 'put', record: record as ScopeRecord })));
  return scope;
}

/** What the new host's agent does with what the old host's has: packets that make entries, and what it tells the server. */
export function broughtBy(
  { port, from, to }: Move,
  tracked: readonly Tracked[],
): { readonly packets: readonly TrackingPacket[]; readonly moved: readonly NatMove[] } {
  const [there, here] = [zonesAt(from, port), zonesAt(to, port)];
  if (!there || !here) return { packets: [], moved: [] };
  const entries = entriesOfPort(there, tracked);
  const packets = entries.flatMap((entry) => {
    const zone = entry.owner === port ? here.own : here.routers.get(entry.owner);
    return zone === undefined ? [] : recreation(entry, zone + ZONE_KIND[entry.kind]);
  });
  return { packets, moved: movesOfEntries(to, port, entries) };
}

function movesOfEntries(host: ScenarioHost, port: string, entries: readonly ConnectionEntry[]): NatMove[] {
  const scope = scopeOf(host.inputs);
  const moves = new Map<string, NatMove>();
  for (const entry of entries) {
    const connection = foreignPort(scope, host.id, entry);
    if (!connection) continue;
    const { address } = entry.reply.to;
    const id = `${entry.owner}/${address}/${port}`;
    const connections = [...(moves.get(id)?.connections ?? []), movedText(connection)].sort();
    moves.set(id, { kind: 'natMove', id, revision: 1, router: entry.owner, address, port, connections });
  }
  return [...moves.values()];
}

// ── in the words of `simulate` ─────────────────────────────────────────────────────────────────────────────────────

const OWN = ['port', 'vip', 'self'] as const;

/** The connections as they are known behind the move: those of the port are known at the new host as well. */
export function connectionsAfter(
  move: Move,
  connections: Connections,
): { all: Connections; moved: readonly NatMove[] } {
  const { port, from, to } = move;
  const routers = new Set(zonesAt(to, port)?.routers.keys() ?? []);
  const there = zonesAt(from, port);
  if (!there) return { all: connections, moved: [] };
  const brought: Connection[] = [];
  const originals = new Set<string>();
  const replies = new Set<string>();
  const take = (connection: Connection, zone: Connection['zone']): void => {
    if (!isOver(connection) && isBrought(connection))
      brought.push({ ...unread(connection), ...asMade(connection), zone });
  };
  for (const connection of connections)
    for (const kind of OWN) {
      if (connection.zone !== `${kind}:${port}@${from.id}`) continue;
      take(connection, `${kind}:${port}@${to.id}`);
      if (kind !== 'port' || isOver(connection)) continue;
      originals.add(textOf(connection.original));
      replies.add(textOf(connection.reply));
    }
  const ofRouters: ConnectionEntry[] = [];
  for (const connection of connections)
    for (const router of there.routers.keys()) {
      if (connection.zone !== `router:${router}@${from.id}` || !routers.has(router)) continue;
      if (!originals.has(textOf(connection.original)) && !replies.has(textOf(connection.reply))) continue;
      take(connection, `router:${router}@${to.id}`);
      if (!isOver(connection)) ofRouters.push(entryOf(router, connection));
    }
  return { all: connections.with(brought), moved: movesOfEntries(to, port, ofRouters) };
}

/** Helpers do not come along; the mark that they leave does. */
function unread({ helper: _, parent, ...rest }: Connection): Connection {
  const judged = parent?.judged ?? rest.judged;
  return { ...rest, ...(judged === undefined ? {} : { judged }) };
}

/** Both ends have closed: agents bring no more of it. */
function isOver({ finished }: Connection): boolean {
  return (finished & FINISHED.original) !== 0 && (finished & FINISHED.reply) !== 0;
}

/** Of TCP what goes on comes as though both ends had acknowledged each other, and what only opens as it began. */
function asMade({ original, answered, called, finished }: Connection): Partial<Connection> {
  if (original.protocol !== IP_PROTO.tcp) return {};
  const goesOn = answered || called === 'heard' || finished > 0;
  return { answered: goesOn, called: goesOn ? 'heard' : 'silent', finished: 0 };
}

/** What packets cannot make again begins anew (recreate.ts). */
function isBrought({ original: { protocol, srcPort } }: Connection): boolean {
  if (protocol === IP_PROTO.icmp) return srcPort === 8;
  if (protocol === IP_PROTO.icmpv6) return srcPort === 128;
  return protocol === IP_PROTO.tcp || protocol === IP_PROTO.udp;
}

function entryOf(owner: string, { original, reply }: Connection): ConnectionEntry {
  const [before, after] = [tupleOf(original), tupleOf(reply)];
  return { owner, kind: 'own', protocol: nameOf(original.protocol), original: before, reply: after };
}

const NAMES: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6', 132: 'sctp' };

function nameOf(protocol: number): string {
  return NAMES[protocol] ?? String(protocol);
}

function tupleOf({ protocol, src, dst, srcPort, dstPort, id }: Tuple): ConnectionEntry['original'] {
  const isIcmp = protocol === IP_PROTO.icmp || protocol === IP_PROTO.icmpv6;
  const hasPorts = protocol === IP_PROTO.tcp || protocol === IP_PROTO.udp || protocol === IP_PROTO.sctp;
  return {
    from: { address: formatIp(src), ...(hasPorts ? { port: srcPort } : {}) },
    to: { address: formatIp(dst), ...(hasPorts ? { port: dstPort } : {}) },
    ...(isIcmp ? { icmpId: id, icmpType: srcPort } : {}),
  };
}

function textOf(tuple: Tuple): string {
  return tupleText(nameOf(tuple.protocol), tupleOf(tuple));
}

// ── in the executable pipeline ─────────────────────────────────────────────────────────────────────────────────────

/** What its tracker has, as a dump would tell it. */
export function trackedIn({ conntrack }: Pipeline): Tracked[] {
  return [...conntrack.connections()].map(({ zone, original, reply, mark, answered, peers }: PipelineConnection) => {
    const state = peers?.state;
    return {
      ...{ protocol: nameOf(original.proto), zone, original: plain(original), reply: plain(reply) },
      ...(mark === 0 ? {} : { mark }),
      ...(state === undefined ? {} : { state }),
      ...(state === undefined && !answered ? { isUnanswered: true } : {}),
      ...(peers?.isOver ? { isOver: true } : {}),
    };
  });
}

function plain({ v6, proto, src, dst, srcPort, dstPort, id }: PipelineTuple): Tracked['original'] {
  const ip = (value: PipelineTuple['src']) =>
    ({ version: v6 ? 6 : 4, value }) as NonNullable<ReturnType<typeof parseIp>>;
  return tupleOf({ version: v6 ? 6 : 4, protocol: proto, src: ip(src), dst: ip(dst), srcPort, dstPort, id });
}

/** Runs packets through their actions, with the tracker of a switch. */
export function runThrough(pipeline: Pipeline, packets: readonly TrackingPacket[]): void {
  for (const { frame, actions } of packets) {
    const flows = [{ table: 0, priority: 0, cookie: 0n, match: {}, actions }];
    new Pipeline({ flows, conntrack: pipeline.conntrack }).run({ bytes: frame, inPort: 0xffff });
  }
}
