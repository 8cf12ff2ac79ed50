import type { CompilerChange } from '../../compile/compiler.ts';
import { EVERY_PORT } from '../../compile/inputs.ts';
import { MOST_MOVED, movedText } from '../../model/moved-connections.ts';
import type { ConnectionEntry, Report } from '../../server/protocol.ts';
import type { ConntrackZones } from '../conntrack.ts';
import type { AgentEvent, Effect, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import { foreignPort } from './foreign-ports.ts';
import { entryKey, zoneOfEntry, zonesOfPort } from './of-port.ts';
import type { EntryInZone } from './recreate.ts';

/** While the workload is elsewhere its connections are fetched so often: what is left for the moment of the move is little. */
const AHEAD_MS = 2_000;
/** A second claim that stays so long is hardly a move: it costs less from then on. */
const MOVE_MS = 120_000;
const SELDOM_MS = 30_000;
/** So long connections that are not known here may still come; then they begin anew. */
const FINAL_MS = 1_000;

/** A `natMove` record by its place. */
interface Moved {
  readonly id: string;
  readonly router: string;
  readonly address: string;
}

interface Told extends Moved {
  /** Its connections; empty: the record is to go. */
  readonly text: string;
}

/** A workload that moves here. */
interface Import {
  /** Where it is, or was until now. */
  readonly from: string;
  /** It is here now: what is fetched from here on is all there is. */
  isFinal: boolean;
  isAsking: boolean;
  isAnswered: boolean;
  /** Asked for while an answer was awaited that may be too old. */
  isDue: boolean;
  readonly begunMs: number;
  askedMs: number;
  deadlineMs: number;
  /** What was made here so far. */
  readonly made: Map<string, ConnectionEntry>;
  /** By router and address: what the server was told last. */
  readonly told: Map<string, Told>;
}

/**
 * Brings the connections of a workload that moves here (docs/design/flow-database.md, §5):
 *
 *     second claim            announcement, or a person's word
 *     ──┬───────────┬───────────┬─▶
 *       │ ahead     │ ahead     │ final: at most a second
 *       └───────────┴───────────┴── ask the other host, make what is new, tell whose outside ports they are
 *
 * Until the final answer is in, the fact `importing` keeps packets from beginning connections here. When the other host or the server
 * is away nothing is brought, and nothing waits.
 */
export class Imports {
  readonly #ground: Ground;
  readonly #conntrack: ConntrackZones;
  readonly #imports = new Map<string, Import>();
  /** Ports that are active here. */
  readonly #active = new Set<string>();
  /** What the server was told of moves that are over, until its records say so. */
  readonly #untaken = new Map<string, Told & { readonly port: string }>();
  /** Translations are being made again: no flow is installed before them. */
  isRestoring = false;

  constructor(ground: Ground, conntrack: ConntrackZones) {
    this.#ground = ground;
    this.#conntrack = conntrack;
  }

  /** Open vSwitch may have lost everything: what it knew is made again first (`connectionsRestored` says so), and until then nothing begins. */
  switchReturned(): Effect[] {
    this.isRestoring = true;
    return [...this.#ground.compile([importing(EVERY_PORT)]), { kind: 'restoreConnections' }];
  }

  restored(isAll: boolean): Effect[] {
    this.isRestoring = false;
    return isAll ? this.#ground.compile([{ op: 'delete', kind: 'importing', id: EVERY_PORT }]) : [];
  }

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    for (const { record } of changes) {
      const told = record.kind === 'natMove' ? this.#untaken.get(record.id) : undefined;
      if (told && this.#isTaken(told)) this.#untaken.delete(told.id);
    }
    const ports = changes.flatMap(({ record }) => (record.kind === 'binding' ? [record.id] : []));
    return this.portsChanged(ports, nowMs);
  }

  /** The binding of these is another, or their interface came or went. */
  portsChanged(ports: readonly string[], nowMs: number): Effect[] {
    return ports.flatMap((port) => this.#judge(port, nowMs));
  }

  #judge(port: string, nowMs: number): Effect[] {
    const { host, interfaces, scope } = this.#ground;
    const known = this.#imports.get(port);
    const binding = scope.binding(port);
    const isHere = host !== undefined && interfaces.get(port) !== undefined;
    if (isHere && binding?.active !== undefined && binding.active !== host) {
      if (known?.from === binding.active && !known.isFinal)
        // At first the server may not have known yet that we may ask.
        return known.isAnswered || known.isAsking ? [] : this.#ask(port, nowMs);
      if (!this.#mayBeTracked(port)) return known ? this.#end(port) : [];
      // Its workload has just left: should it come back, there is time.
      const hasLeft = this.#active.delete(port);
      const flags = { isFinal: false, isAsking: false, isAnswered: hasLeft, isDue: false };
      const made = known?.made ?? new Map<string, ConnectionEntry>();
      this.#imports.set(port, {
        from: binding.active,
        ...flags,
        begunMs: nowMs,
        askedMs: nowMs,
        deadlineMs: 0,
        made,
        told: new Map(),
      });
      return [...this.#ground.compile([importing(port)]), ...(hasLeft ? [] : this.#ask(port, nowMs))];
    }
    if (isHere && binding?.active === host) this.#active.add(port);
    else this.#active.delete(port);
    if (!known) return [];
    if (!isHere || binding?.active !== host) return this.#end(port);
    return known.isFinal ? [] : this.#finally(port, known, nowMs);
  }

  /** The workload is here: what is fetched now is the last. */
  #finally(port: string, known: Import, nowMs: number): Effect[] {
    known.isFinal = true;
    known.deadlineMs = nowMs + FINAL_MS;
    return [...this.#ask(port, nowMs), { kind: 'wake', inMs: FINAL_MS }];
  }

  /** A packet-in may have been an announcement, upon which the port is active here though no scope said so. */
  announced(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    for (const [port, { isFinal }] of this.#imports) if (!isFinal) effects.push(...this.#judge(port, nowMs));
    return effects;
  }

  tick(nowMs: number): Effect[] {
    const effects: Effect[] = [];
    for (const [port, one] of this.#imports) {
      if (one.isFinal && nowMs >= one.deadlineMs) {
        effects.push({
          kind: 'log',
          level: 'warn',
          message: 'connections of a port that moved here did not come in time; it goes on without them',
          fields: { port, from: one.from },
        });
        effects.push(...this.#end(port));
      } else if (!one.isFinal && !one.isAsking && nowMs - one.askedMs >= restMs(one, nowMs))
        effects.push(...this.#ask(port, nowMs));
    }
    return effects;
  }

  #ask(port: string, nowMs: number): Effect[] {
    const one = this.#imports.get(port)!;
    if (!this.#ground.serverConnected) return one.isFinal ? this.#end(port) : [];
    if (one.isAsking) {
      one.isDue = true;
      return [];
    }
    one.isAsking = true;
    one.isDue = false;
    one.askedMs = nowMs;
    return [{ kind: 'askConnections', port, from: one.from }];
  }

  /** The answer; without entries there was none. */
  told({ port, entries, isOld = false }: AgentEvent & { kind: 'portConnections' }, nowMs: number): Effect[] {
    const one = this.#imports.get(port);
    if (!one) return [];
    one.isAsking = false;
    if (!entries) return one.isDue ? this.#ask(port, nowMs) : one.isFinal ? this.#end(port) : [];
    one.isAnswered = true;
    const zones = zonesOfPort(this.#ground.scope, (owner) => this.#conntrack.zones.of(owner), port);
    // What lets a packet through comes after what translates it: in between, a known connection would get another outside port.
    const [translating, own]: [EntryInZone[], EntryInZone[]] = [[], []];
    const end: EntryInZone[] = [];
    const there = new Set<string>();
    for (const entry of entries) {
      const key = entryKey(entry);
      there.add(key);
      const zone = zones && zoneOfEntry(zones, entry);
      const before = one.made.get(key);
      if (zone === undefined || (before && isSame(before, entry))) continue;
      one.made.set(key, entry);
      (zone === zones?.own ? own : translating).push({ entry, zone });
    }
    for (const [key, entry] of one.made) {
      // What is not in an old answer may be newer than that.
      if (isOld || there.has(key)) continue;
      one.made.delete(key);
      const zone = zones && zoneOfEntry(zones, entry);
      if (zone !== undefined) end.push({ entry, zone });
    }
    const make = [...translating, ...own];
    const isLast = one.isFinal && !one.isDue;
    const effects: Effect[] = [
      ...this.#tellMoved(port, one, isOld ? one.made.values() : entries),
      ...(make.length + end.length > 0 || isLast
        ? [{ kind: 'recreate', make, end, ...(isLast ? { port } : {}) } as const]
        : []),
    ];
    return one.isDue ? [...effects, ...this.#ask(port, nowMs)] : effects;
  }

  /** The last of the port's connections are in the switch. */
  recreated(port: string): Effect[] {
    return this.#imports.get(port)?.isFinal ? this.#end(port) : [];
  }

  #end(port: string): Effect[] {
    for (const told of this.#imports.get(port)?.told.values() ?? [])
      if (!this.#isTaken(told)) this.#untaken.set(told.id, { ...told, port });
    this.#imports.delete(port);
    return this.#ground.compile([{ op: 'delete', kind: 'importing', id: port }]);
  }

  /** Which of them have outside ports that another host has leased. */
  #tellMoved(port: string, one: Import, entries: Iterable<ConnectionEntry>): Effect[] {
    const { scope } = this.#ground;
    const moved = new Map<string, { readonly router: string; readonly address: string; readonly texts: string[] }>();
    for (const { id, router, address } of [...this.#movesOf(port), ...one.told.values()])
      moved.set(id, { router, address, texts: [] });
    for (const entry of entries) {
      const connection = foreignPort(scope, this.#ground.host, entry);
      if (!connection) continue;
      const { address } = entry.reply.to;
      const id = `${entry.owner}/${address}/${port}`;
      const group = moved.get(id) ?? { router: entry.owner, address, texts: [] };
      moved.set(id, group);
      group.texts.push(movedText(connection));
    }
    const reports: Report[] = [];
    for (const [id, { router, address, texts }] of moved) {
      const connections = [...new Set(texts)].sort().slice(0, MOST_MOVED);
      const text = connections.join();
      const before = one.told.get(id)?.text ?? scope.get('natMove', id)?.connections.join() ?? '';
      one.told.set(id, { id, router, address, text });
      if (text !== before) reports.push({ type: 'natMove', port, router, address, connections });
    }
    return this.#ground.report(reports);
  }

  #isTaken({ id, text }: Told): boolean {
    return (this.#ground.scope.get('natMove', id)?.connections.join() ?? '') === text;
  }

  /** For a server that may not have heard: what it was told of the moves under way, and of those whose last word it may have missed. */
  reports(): Report[] {
    for (const [id, { port, router }] of this.#untaken)
      if (!this.#active.has(port) || !this.#ground.scope.get('router', router)) this.#untaken.delete(id);
    const moving = [...this.#imports].flatMap(([port, { told }]) =>
      [...told.values()].map((one) => ({ ...one, port })),
    );
    return [...this.#untaken.values(), ...moving].map(
      ({ port, router, address, text }): Report => ({
        ...{ type: 'natMove', port, router, address },
        connections: text === '' ? [] : text.split(','),
      }),
    );
  }

  *#movesOf(port: string): Iterable<Moved> {
    for (const move of this.#ground.scope.all('natMove')) if (move.port === port) yield move;
  }

  /** Has it groups, chains, or a router or balancer on its switch? Others are not tracked (docs/design/layer3.md, §2). */
  #mayBeTracked(id: string): boolean {
    const { scope } = this.#ground;
    const port = scope.port(id);
    if (!port) return false;
    // Of what an L2 gateway keeps its other places are told as it begins (src/agent/hold), and of a VTEP's nothing is copied.
    for (const kind of ['l2Gateway', 'vtepBinding'] as const)
      for (const outside of scope.all(kind)) if (outside.port === id) return false;
    if (port.groups.length > 0 || port.fromChain !== undefined || port.toChain !== undefined) return true;
    for (const each of scope.all('routerPort')) if (each.switch === port.switch) return true;
    for (const each of scope.all('loadBalancer')) if (each.switch === port.switch) return true;
    return false;
  }
}

function restMs({ begunMs }: Import, nowMs: number): number {
  return nowMs - begunMs < MOVE_MS ? AHEAD_MS : SELDOM_MS;
}

function isSame(a: ConnectionEntry, b: ConnectionEntry): boolean {
  return a.state === b.state && a.mark === b.mark && a.isUnanswered === b.isUnanswered;
}

function importing(id: string): CompilerChange {
  return { op: 'put', record: { kind: 'importing', id } };
}
