import { PACKET_IN } from '../compile/tables.ts';
import { type BudgetLimits, Budgets } from './budget.ts';
import type { Effect, PacketIn, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';

/** What passes the meters of a host in errors and next hops is for all that it serves: one source may have a tenth of it for long. */
export const BACK_OFF: BudgetLimits = {
  perSecond: 200,
  burst: 600,
  firstShutOffMs: 2_000,
  longestShutOffMs: 120_000,
  forgiveAfterMs: 60_000,
};

/** Answers to checks of a member of many balancers, and questions for names, are many where all is well. */
export const TALK_BACK_OFF: BudgetLimits = { ...BACK_OFF, perSecond: 1_000, burst: 2_000 };

const GROUPS = ['errors', 'hops', 'talk'] as const;
type Group = (typeof GROUPS)[number];
const GROUP_OF: ReadonlyMap<number, Group> = new Map([
  ...([PACKET_IN.unreachable, PACKET_IN.ttl, PACKET_IN.tooBig] as const).map((each) => [each, 'errors'] as const),
  ...([PACKET_IN.portUnreachable, PACKET_IN.reject, PACKET_IN.reset] as const).map((each) => [each, 'errors'] as const),
  [PACKET_IN.resolve, 'hops'] as const,
  ...([PACKET_IN.neighbour, PACKET_IN.dns, PACKET_IN.probe] as const).map((each) => [each, 'talk'] as const),
]);
const WHAT: Readonly<Record<Group, readonly [cause: string, consequence: string]>> = {
  errors: ['that cannot go on', 'their senders are told nothing'],
  hops: ['to next hops that nobody knows', 'none is looked for'],
  talk: ['about addresses, names and health checks', 'they are dropped'],
};
const LIMITS: Readonly<Record<Group, BudgetLimits>> = { errors: BACK_OFF, hops: BACK_OFF, talk: TALK_BACK_OFF };

/** A port here, or a router port by which other hosts hand on what comes in from outside. */
interface Source {
  readonly kind: 'port' | 'routerPort';
  readonly id: string;
  readonly name: string;
}

/**
 * Packets that the agent would have to answer, or to find a way for: where too many come from one port the switch keeps them to itself
 * for a while, which doubles each time that it starts again. So an uplink under attack does not take the share of others.
 */
export class BackOff {
  readonly #ground: Ground;
  readonly #budgets = {
    errors: new Budgets(LIMITS.errors),
    hops: new Budgets(LIMITS.hops),
    talk: new Budgets(LIMITS.talk),
  };
  /** `group source` → who it is, and what is said of it; until when, the budgets know. */
  readonly #held = new Map<string, { readonly source: Source; readonly group: Group; readonly text: string }>();

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /**
   * Takes a packet-in: undefined if it may be looked at, otherwise what is done instead. `isMany`: behind the port are many, who talk; what one of
   * them says is not held against the others.
   */
  stops(packet: PacketIn, nowMs: number, isMany = (): boolean => false): Effect[] | undefined {
    const group = GROUP_OF.get(packet.class);
    const source = group && this.#sourceOf(packet);
    if (!group || !source) return undefined;
    const key = `${group} ${source.id}`;
    // What reaches the agent of one that is held back (the switch drops not all of it) costs it nothing more.
    if (group === 'talk' && !this.#held.has(key) && isMany()) return undefined;
    const verdict = this.#budgets[group].take(key, nowMs);
    if (verdict === 'ok') return undefined;
    return verdict === 'ignored' ? [] : this.#hold(key, group, source, nowMs);
  }

  /** Those whose time is over are heard again. */
  tick(nowMs: number): Effect[] {
    return [...this.#held].flatMap(([key, { source, group, text }]) => {
      if (this.#budgets[group].shutOffMs(key, nowMs) > 0) return [];
      this.#held.delete(key);
      return [
        ...this.#told(source.id),
        ...this.#report(
          'info',
          source,
          `packets by ${source.kind === 'port' ? 'port' : 'router port'} ${source.name} are heard again`,
          nowMs,
        ),
        { kind: 'log', level: 'info', message: 'held back no more', fields: { source: source.name, text } } as const,
      ];
    });
  }

  /** For `weft status`. */
  *problems(): Iterable<string> {
    for (const { text } of this.#held.values()) yield text;
  }

  /** Router ports that are gone: nothing comes by them. Interfaces that leave are told by the core. */
  scopeChanged(changes: readonly ScopeChange[]): Effect[] {
    return changes.flatMap(({ op, record }) =>
      op === 'delete' && record.kind === 'routerPort' ? this.forget(record.id) : [],
    );
  }

  /** The port is here no more. */
  forget(id: string): Effect[] {
    let wasHeld = false;
    for (const group of GROUPS) {
      this.#budgets[group].forget(`${group} ${id}`);
      if (this.#held.delete(`${group} ${id}`)) wasHeld = true;
    }
    return wasHeld ? this.#told(id) : [];
  }

  #hold(key: string, group: Group, source: Source, nowMs: number): Effect[] {
    const seconds = Math.round(this.#budgets[group].shutOffMs(key, nowMs) / 1000);
    const [cause, consequence] = WHAT[group];
    const where = `${source.kind === 'port' ? 'port' : 'router port'} ${source.name}`;
    const text = `more than ${LIMITS[group].perSecond} packets a second ${cause} come by ${where}; for ${seconds} s ${consequence}`;
    this.#held.set(key, { source, group, text });
    return [
      ...this.#told(source.id),
      ...this.#report('warning', source, text, nowMs),
      { kind: 'log', level: 'warn', message: text, fields: { source: source.id } },
    ];
  }

  /** What the flows know of a source, as it is now. */
  #told(id: string): Effect[] {
    const isHeld = (group: Group): boolean => this.#held.has(`${group} ${id}`);
    const [errors, hops, talk] = [isHeld('errors'), isHeld('hops'), isHeld('talk')];
    return this.#ground.compile([
      errors || hops || talk
        ? { op: 'put', record: { kind: 'heldBack', id, errors, hops, talk } }
        : { op: 'delete', kind: 'heldBack', id },
    ]);
  }

  #report(level: 'info' | 'warning', { kind, id }: Source, text: string, atMs: number): Effect[] {
    return this.#ground.report([{ type: 'event', atMs, level, about: { kind, id }, text }]);
  }

  #sourceOf(packet: PacketIn): Source | undefined {
    const { scope } = this.#ground;
    const port = packet.portKey === 0 ? undefined : scope.portByKey(packet.portKey);
    if (port) return { kind: 'port', id: port.id, name: port.name };
    const by = packet.fromTunnel ? scope.byKey('routerPort', packet.outPortKey) : undefined;
    if (!by?.outside) return undefined;
    return { kind: 'routerPort', id: by.id, name: `${scope.get('router', by.router)?.name ?? by.router}/${by.name}` };
  }
}
