import type { CompilerChange } from '../../compile/compiler.ts';
import { CT_MARK } from '../../compile/fields.ts';
import type { L2Gateway } from '../../model/objects.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import { ownZones, type TrackedThere, zoneOfEntry, zonesOfPort } from '../connections/of-port.ts';
import type { EntryInZone } from '../connections/recreate.ts';
import type { ConntrackZones } from '../conntrack.ts';
import type { AgentEvent, CopyRole, Effect, PacketIn, ScopeChange } from '../events.ts';
import type { Ground } from '../ground.ts';
import { RateLimit } from '../rate-limit.ts';
import { MOST_TOLD } from './copy-link.ts';
import { entryOfReply, portOfEntry } from './first-reply.ts';
import { type Leftovers, leftoversOf } from './leftovers.ts';

/** First replies that wait, of a port and of all; while there are more they go on at once, and copies follow by reading. */
const PER_PORT = { perSecond: 500, burst: 500 } as const;
const OF_ALL = { perSecond: 2_000, burst: 2_000 } as const;
const REST_MS = 1_000;
/** So long a place may be away before people hear of it. */
const AWAY_MS = 5_000;
const READ_MS = 5_000;

/** A port of an L2 gateway that this host is a place of. */
interface Place {
  readonly gateway: L2Gateway;
  readonly role: CopyRole;
  /** Other places that are told. */
  readonly up: Set<string>;
  /** Others: since when, why, and whether people know. */
  readonly away: Map<string, { readonly sinceMs: number; why: string; isTold: boolean }>;
  /** First replies do not wait until then. */
  restsUntilMs: number;
  /** The last reading failed, and others did before since then. */
  unread: { readonly sinceMs: number; readonly why: string } | undefined;
  /** There are more connections than can be copied. */
  isFull: boolean;
  isPaused: boolean | undefined;
}

/**
 * Connections of L2 gateways that are active here are held by another place of theirs too (docs/design/l2-gateways.md, §4): who is told, which first
 * replies wait for it, and what is done with what others told when a gateway becomes active here.
 */
export class Hold {
  readonly #ground: Ground;
  readonly #conntrack: ConntrackZones;
  readonly #places = new Map<string, Place>();
  readonly #budget = new RateLimit(PER_PORT, OF_ALL);
  #planned = '';
  #readMs = Number.NEGATIVE_INFINITY;

  constructor(ground: Ground, conntrack: ConntrackZones) {
    this.#ground = ground;
    this.#conntrack = conntrack;
  }

  /** Before flows follow the scope: connections of a port that becomes active here are to be there first. */
  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    const { host, scope } = this.#ground;
    if (host === undefined) return [];
    const isConcerned = changes.some(
      ({ record: { kind, id } }) =>
        kind === 'l2Gateway' || kind === 'host' || (kind === 'binding' && this.#places.has(id)),
    );
    if (!isConcerned) return [];
    const own = scope.host(host)?.tunnelAddress;
    const before = new Map(this.#places);
    this.#places.clear();
    const takenOver: string[] = [];
    for (const gateway of scope.all('l2Gateway')) {
      const role = this.#roleOf(gateway, host);
      if (!role) continue;
      const former = before.get(role.port);
      const isSame = JSON.stringify(former?.role) === JSON.stringify(role);
      if (role.isActive && former && !former.role.isActive) takenOver.push(role.port);
      const fresh = {
        gateway,
        role,
        up: new Set<string>(),
        away: new Map(),
        restsUntilMs: 0,
        unread: undefined,
        isFull: false,
      };
      this.#places.set(
        role.port,
        former && isSame ? Object.assign(former, { gateway }) : { ...fresh, isPaused: former?.isPaused },
      );
    }
    const roles = [...this.#places.values()].map(({ role }) => role);
    const text = JSON.stringify([own, roles]);
    if (text === this.#planned) return [];
    this.#planned = text;
    for (const port of before.keys()) this.#forgetProblems(port);
    const gone = [...before].filter(([port, { isPaused }]) => !this.#places.has(port) && isPaused !== undefined);
    return [
      { kind: 'copyRoles', own, roles },
      ...takenOver.map((port): Effect => ({ kind: 'takeOver', port })),
      ...(gone.length === 0
        ? []
        : this.#ground.compile(gone.map(([id]) => ({ op: 'delete', kind: 'held', id }) as const))),
      ...this.#judge(nowMs),
    ];
  }

  #roleOf({ port, places, secret, adminUp }: L2Gateway, host: string): CopyRole | undefined {
    const { scope } = this.#ground;
    if (!adminUp || secret === undefined || !places.some((place) => place.host === host)) return undefined;
    const others = places.flatMap(({ host: other }) => {
      const address = other === host ? undefined : scope.host(other)?.tunnelAddress;
      return address === undefined ? [] : [{ host: other, address }];
    });
    return { port, secret, isActive: scope.binding(port)?.active === host, others };
  }

  /** Whether first replies wait: where somebody can be told, and there are not too many. */
  #judge(nowMs: number): Effect[] {
    const changes = [...this.#places].flatMap(([id, place]): CompilerChange[] => {
      const { role, up, restsUntilMs } = place;
      const isPaused = role.isActive && role.others.length > 0 ? up.size > 0 && nowMs >= restsUntilMs : undefined;
      if (isPaused === place.isPaused) return [];
      place.isPaused = isPaused;
      return isPaused === undefined
        ? [{ op: 'delete', kind: 'held', id }]
        : [{ op: 'put', record: { kind: 'held', id, isPaused } }];
    });
    if (changes.length === 0) return [];
    const isWaiting = changes.some((change) => change.op === 'put');
    return [...(isWaiting ? [{ kind: 'keepPausing' } as const] : []), ...this.#ground.compile(changes)];
  }

  /** A first reply waits. */
  firstReply(packet: PacketIn, nowMs: number): Effect[] {
    const { paused } = packet;
    if (!paused) return [];
    const entry = entryOfReply(paused.match, this.#ground.scope, this.#conntrack.zones);
    const port = entry && portOfEntry(this.#ground.scope, entry);
    const place = port === undefined ? undefined : this.#places.get(port);
    if (!entry || !place?.role.isActive) return [{ kind: 'resume', paused }];
    const isWithin = this.#budget.take(place.role.port, nowMs);
    const effects: Effect[] = [
      { kind: 'copyConnection', port: place.role.port, entry, paused, waits: !this.#isPausedAgain(entry) },
    ];
    if (isWithin || nowMs < place.restsUntilMs) return effects;
    place.restsUntilMs = nowMs + REST_MS;
    return [...effects, ...this.#judge(nowMs), { kind: 'wake', inMs: REST_MS }];
  }

  /** What begins outside by a VIP is asked for in the zone of VIPs next; what began inside, in that of the port. */
  #isPausedAgain({ owner, kind, original, reply, mark = 0 }: ConnectionEntry): boolean {
    const isPort = this.#ground.scope.port(owner) !== undefined;
    if (isPort) return kind === 'own' && (mark & CT_MARK.memberVip) !== 0;
    return reply.to.address !== original.from.address || reply.to.port !== original.from.port;
  }

  /** A place is told from now on, or is not any more. */
  told({ port, host, problem }: AgentEvent & { kind: 'copies' }, nowMs: number): Effect[] {
    const place = this.#places.get(port);
    if (!place?.role.others.some((other) => other.host === host)) return [];
    const { up, away } = place;
    const former = away.get(host);
    if (problem !== undefined) {
      up.delete(host);
      if (former) former.why = problem;
      else away.set(host, { sinceMs: nowMs, why: problem, isTold: false });
      return this.#judge(nowMs);
    }
    up.add(host);
    away.delete(host);
    this.#ground.problems.delete(problemKey(port, host));
    const back = former?.isTold ? this.#event(place, nowMs, 'info', `${this.#storyOf(place, host)} again`) : [];
    return [...back, ...this.#judge(nowMs)];
  }

  /** Its connections were read, or not. */
  read({ port, problem, isFull }: AgentEvent & { kind: 'copiesRead' }, nowMs: number): Effect[] {
    const place = this.#places.get(port);
    if (!place?.role.isActive) return [];
    place.unread = problem === undefined ? undefined : { sinceMs: place.unread?.sinceMs ?? nowMs, why: problem };
    place.isFull = isFull;
    return [];
  }

  /** A rest may be over. */
  wake(nowMs: number): Effect[] {
    return this.#judge(nowMs);
  }

  tick(nowMs: number): Effect[] {
    const effects = this.#judge(nowMs);
    for (const [port, place] of this.#places) {
      const lost = this.#lostOf(place, nowMs);
      if (lost === undefined) this.#ground.problems.delete(problemKey(port, 'lost'));
      else this.#ground.problems.set(problemKey(port, 'lost'), lost);
      for (const [host, one] of place.away) {
        if (nowMs - one.sinceMs < AWAY_MS) continue;
        const text = `${this.#storyOf(place, host, 'not ')}: ${one.why}; those that began since are lost if this host fails`;
        this.#ground.problems.set(problemKey(port, host), text);
        if (!one.isTold) effects.push(...this.#event(place, nowMs, 'warning', text));
        one.isTold = true;
      }
    }
    if ([...this.#places.values()].some(({ isPaused }) => isPaused)) effects.push({ kind: 'keepPausing' });
    const active = [...this.#places.values()].flatMap(({ role, isPaused }) =>
      isPaused === undefined ? [] : [role.port],
    );
    if (active.length > 0 && nowMs - this.#readMs >= READ_MS) {
      this.#readMs = nowMs;
      effects.push({ kind: 'readCopies', ports: active });
    }
    return effects;
  }

  /** In which zones here these entries belong; those of routers first, without which nothing else is of use. */
  zonesOf(port: string, entries: readonly ConnectionEntry[]): EntryInZone[] {
    const zones = zonesOfPort(this.#ground.scope, (owner) => this.#conntrack.zones.of(owner), port);
    if (!zones) return [];
    const rank = ({ kind, owner }: ConnectionEntry): number =>
      kind === 'own' ? (this.#ground.scope.port(owner) ? 2 : 0) : 1;
    return entries
      .toSorted((a, b) => rank(a) - rank(b))
      .flatMap((entry) => {
        const zone = zoneOfEntry(zones, entry);
        return zone === undefined ? [] : [{ entry, zone }];
      });
  }

  /** Of what connection tracking has here: what is of the port's connections and not held, so it has ended. */
  leftovers(there: TrackedThere, held: readonly ConnectionEntry[]): Leftovers {
    return leftoversOf(this.#ground.scope, there, held);
  }

  /** The port's own zones here. */
  ownZones(port: string): readonly number[] {
    const own = this.#conntrack.zones.of(port);
    return own === undefined ? [] : ownZones(own);
  }

  /** What is not copied whoever is told, for people. */
  #lostOf({ gateway, role, unread, isFull }: Place, nowMs: number): string | undefined {
    if (!role.isActive || role.others.length === 0) return undefined;
    const lost: string[] = [];
    if (unread && nowMs - unread.sinceMs >= AWAY_MS)
      lost.push(`those that were not copied as they began cannot be read (${unread.why})`);
    if (isFull) lost.push(`of more than ${MOST_TOLD} the oldest are copied no more`);
    if (lost.length === 0) return undefined;
    return `connections of L2 gateway ${gateway.name} are not all copied: ${lost.join('; ')}; these are lost if this host fails`;
  }

  #storyOf({ gateway }: Place, host: string, not = ''): string {
    const name = this.#ground.scope.host(host)?.name ?? host;
    return `connections of L2 gateway ${gateway.name} are ${not}copied to ${name}`;
  }

  #event({ gateway }: Place, atMs: number, level: 'info' | 'warning', text: string): Effect[] {
    return this.#ground.report([{ type: 'event', atMs, level, about: { kind: 'l2Gateway', id: gateway.id }, text }]);
  }

  #forgetProblems(port: string): void {
    for (const key of this.#ground.problems.keys())
      if (key.startsWith(problemKey(port, ''))) this.#ground.problems.delete(key);
  }
}

function problemKey(port: string, host: string): string {
  return `copies/${port}/${host}`;
}
