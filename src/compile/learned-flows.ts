import { type Cidr, formatCidr } from '../base/addresses.ts';
import { contribute, defineSink } from '../incremental/definitions.ts';
import type { SinkDiff } from '../incremental/slots.ts';
import type { Action, Match } from '../openflow/flow.ts';
import { cookieOf } from './cookie.ts';
import { match } from './fields.ts';
import type { CompiledFlow } from './flow-sink.ts';
import { define } from './inputs.ts';
import type { DestinationChanges, LearnedDestinations, PlainRoute } from './learned-destinations.ts';
import { hopSetFacts } from './learned-routes.ts';
import { TABLES } from './tables.ts';
import { priorityOf, wayOf } from './units/route.ts';

/**
 * Flows of learned routes for whose networks the router has no others (docs/design/gateways.md, §2): one each, which names the set of next hops. They
 * follow from network and set alone, so they are made when they are asked for and never kept; what engines would keep for each is 2 KB.
 */

/** What the flows of a set's routes need. */
interface SetFlows {
  readonly router: number;
  /** Packets in this router. */
  readonly inRouter: Match;
  readonly units: readonly string[];
  readonly cookie: bigint;
  readonly reason: undefined;
  readonly actions: readonly Action[];
  readonly gotoTable: number;
}

export const setFlowsSink = defineSink<SetFlows, SetFlows>({
  name: 'setFlows',
  merge: (contributions) => contributions[0]!.value,
});

/** Nothing for a set that leads nowhere: its routes are as though they were not there. */
export const setFlowsUnit = define.unit({
  name: 'setFlows',
  over: 'plainSet',
  run(reader, name) {
    const owner = name.slice(0, name.indexOf(','));
    const router = reader.pick('router', owner, 'key');
    const { isUsable, actions, next } = reader.derive(hopSetFacts, name);
    if (router === undefined || !isUsable) return [];
    const units = [`learnedRoute/${owner}`];
    const inRouter = match({ router });
    return [
      contribute(setFlowsSink, name, {
        ...{ router, inRouter, units, cookie: cookieOf(units, undefined), reason: undefined, actions },
        gotoTable: TABLES[next].number,
      }),
    ];
  },
});

export class LearnedFlows {
  readonly #destinations: LearnedDestinations;
  readonly #sets = new Map<string, SetFlows>();
  count = 0;

  constructor(destinations: LearnedDestinations) {
    this.#destinations = destinations;
  }

  /** Flows that are new or other, and that are gone. */
  update({ plain, appeared, vanished }: DestinationChanges, diff: SinkDiff<SetFlows>) {
    const before = new Map<string, SetFlows | undefined>();
    for (const { slot, before: set } of [...diff.changed, ...diff.removed]) before.set(slot, set);
    for (const { slot } of diff.added) before.set(slot, undefined);
    for (const { slot, after } of [...diff.added, ...diff.changed]) this.#sets.set(slot, after);
    for (const { slot } of diff.removed) this.#sets.delete(slot);
    const former = (set: string | undefined): SetFlows | undefined =>
      set === undefined ? undefined : before.has(set) ? before.get(set) : this.#sets.get(set);
    const add: CompiledFlow[] = [];
    const remove: CompiledFlow[] = [];
    const tell = (to: Cidr, from: SetFlows | undefined, now: SetFlows | undefined): void => {
      this.count += (now ? 1 : 0) - (from ? 1 : 0);
      if (now) add.push(flowOf(to, now));
      if (from && from.router !== now?.router) remove.push(flowOf(to, from));
    };
    for (const { to, before: set, after } of plain)
      tell(to, former(set), after === undefined ? undefined : this.#sets.get(after));
    // All routes of sets that came or went are among these changes; those of other sets may be there already.
    const told = new Set([...appeared, ...vanished]);
    const others = [...before.keys()].filter((set) => !told.has(set));
    if (others.length > 0) {
      const done = new Set(plain.map(nameOf));
      for (const set of others)
        for (const route of this.#destinations.plainOf(set))
          if (!done.has(nameOf(route))) tell(route.to, before.get(set), this.#sets.get(set));
    }
    return { add, remove };
  }

  *flows(): Iterable<CompiledFlow> {
    if (this.count === 0) return;
    for (const { to, set } of this.#destinations.plain()) {
      const flows = this.#sets.get(set);
      if (flows) yield flowOf(to, flows);
    }
  }
}

function flowOf(to: Cidr, { inRouter, units, cookie, reason, actions, gotoTable }: SetFlows): CompiledFlow {
  return {
    table: TABLES.route.number,
    priority: priorityOf(to, undefined),
    match: { ...inRouter, ...wayOf(to, undefined) },
    actions,
    gotoTable,
    reason,
    cookie,
    units,
  };
}

function nameOf({ router, to }: Pick<PlainRoute, 'router' | 'to'>): string {
  return `${router}/${formatCidr(to)}`;
}
