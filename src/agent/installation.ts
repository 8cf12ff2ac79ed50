import { append } from '../base/append.ts';
import { WeftError } from '../base/errors.ts';
import { Loads, WaysIn } from '../compile/dormant.ts';
import { nameOf } from '../compile/flow-sink.ts';
import type { Flow } from '../openflow/flow.ts';
import type { Effect, FlowChanges, InstalledFlow } from './events.ts';
import { flowBody, flowKey } from './flow-key.ts';

/**
 * Of a change with this many flows, what need not be in the bundle goes over several connections beside it: Open vSwitch takes 50 messages of a
 * connection, then looks at all of its ports and connections before it takes the next (`ofconn_run`). Fewer are not worth the connections.
 */
const LARGE = 1_000;

type Install = Extract<Effect, { kind: 'install' }>;

/** In the order in which a switch gets them. */
export function* changesOf({ ahead, add, remove, behind }: Install): Iterable<{
  readonly op: 'add' | 'remove';
  readonly flow: Flow;
}> {
  for (const part of [ahead, { add, remove }, behind]) {
    for (const flow of part.add) yield { op: 'add', flow };
    for (const flow of part.remove) yield { op: 'remove', flow };
  }
}

/**
 * Keeps the switch's flows equal to the desired ones: what is installed, what is on its way (pending), what waits.
 * One bundle is on its way at a time; what is desired meanwhile is merged, so a burst of changes costs few bundles and
 * a flow that changes twice travels once.
 */
export class Installation {
  /**
   * Waiting for the bundle under way: a flow's name → the flow to add, or to remove. Nothing that a switch gave back ever waits, so the canonical key,
   * which takes ten times as long, is not needed.
   */
  #waiting = new Map<string, { readonly op: 'add' | 'remove'; readonly flow: Flow }>();
  #pending: { readonly install: Install; readonly after: (() => Effect[])[] } | undefined;
  /** To run when all that is desired now is installed. */
  #after: (() => Effect[])[] = [];
  #nextId = 1;
  readonly #desired: (() => Iterable<Flow>) | undefined;
  /** What flows that change were before, of all that waits; undefined where one is not known. */
  #replaced: Flow[] | undefined = [];
  /** Is the switch there and read back? Before that nothing is sent. */
  synced = false;
  /** Flows that the switch refused, with its words; they are tried again when they change. */
  readonly refused = new Map<string, { readonly flow: Flow; readonly error: string }>();

  /** `desired`: all flows that are wanted now. Without it a change of any size is one bundle. */
  constructor(desired?: () => Iterable<Flow>) {
    this.#desired = desired;
  }

  get idle(): boolean {
    return this.#pending === undefined && this.#waiting.size === 0;
  }

  lost(): void {
    this.synced = false;
    this.#pending = undefined;
    this.#waiting.clear();
    this.#replaced = [];
    this.#after = [];
    this.refused.clear();
  }

  /**
   * The switch's own flows against the desired ones: only what differs is touched, so an agent that restarts changes
   * nothing that is right.
   */
  readBack(installed: readonly InstalledFlow[], desired: Iterable<Flow>): Effect[] {
    this.synced = true;
    // The switch decides anew about what it refused.
    this.refused.clear();
    if (installed.length === 0) return this.#sendAll([...desired], [], () => []);
    const have = new Map(installed.map((entry) => [entry.key, entry]));
    const add: Flow[] = [];
    for (const flow of desired) {
      const key = flowKey(flow);
      const entry = have.get(key);
      have.delete(key);
      if (!entry || entry.body !== bodyOf(flow)) add.push(flow);
    }
    const remove = [...have.values()].map((entry) => entry.flow);
    return this.#sendAll(add, remove, () => installed.map((entry) => entry.flow));
  }

  /** `replaced`: what those of `add` were before that were there; undefined where it is not known. */
  change(add: readonly Flow[], remove: readonly Flow[], replaced?: readonly Flow[]): Effect[] {
    if (!this.synced) return [];
    if (this.#pending === undefined && this.#waiting.size === 0)
      return this.#sendAll(add, remove, () => this.#before(add, remove, replaced));
    if (replaced === undefined) this.#replaced = undefined;
    // What goes may come again, in another form, while it waits to go.
    else if (this.#replaced) {
      append(this.#replaced, replaced);
      append(this.#replaced, remove);
    }
    for (const flow of remove) this.#waiting.set(nameOf(flow), { op: 'remove', flow });
    for (const flow of add) this.#waiting.set(nameOf(flow), { op: 'add', flow });
    return [];
  }

  /**
   * Calls back when everything desired so far is in the switch (at once, if it is). Not while the switch is away: whoever
   * reads back asks again for all there is, and the wait may be long.
   */
  whenInstalled(callback: () => Effect[]): Effect[] {
    if (!this.synced) return [];
    if (this.idle) return callback();
    // With nothing waiting, the bundle under way is the last that matters: what comes later must not hold this up.
    if (this.#pending && this.#waiting.size === 0) this.#pending.after.push(callback);
    else this.#after.push(callback);
    return [];
  }

  installed(id: number): Effect[] {
    if (this.#pending?.install.id !== id) return [];
    const { after, install } = this.#pending;
    this.#pending = undefined;
    if (this.refused.size > 0) for (const { flow } of changesOf(install)) this.refused.delete(flowKey(flow));
    return [...after.flatMap((callback) => callback()), ...this.#next()];
  }

  /** It failed as a whole: the flow that the switch named (by its place in `changesOf`) stays out, the rest goes again. */
  refusedBundle(id: number, error: string, index: number | undefined): Effect[] {
    const pending = this.#pending;
    if (pending?.install.id !== id) return [];
    this.#pending = undefined;
    const changes = [...changesOf(pending.install)];
    const culprit = index === undefined ? undefined : changes[index]?.flow;
    if (!culprit) {
      // Nothing to leave out: the whole comparison starts again from what the switch really has, when the core asks for
      // it (not at once: what is refused without end must not be sent without end).
      this.lost();
      return [{ kind: 'log', level: 'error', message: 'the switch refused a bundle', fields: { error } }];
    }
    this.refused.set(flowKey(culprit), { flow: culprit, error });
    const effects: Effect[] = [
      {
        kind: 'log',
        level: 'error',
        message: 'the switch refused a flow',
        fields: { error, table: culprit.table, cookie: culprit.cookie },
      },
    ];
    const left = changes.filter(({ flow }) => flow !== culprit);
    const add = left.filter(({ op }) => op === 'add').map(({ flow }) => flow);
    const remove = left.filter(({ op }) => op === 'remove').map(({ flow }) => flow);
    if (add.length + remove.length > 0) return [...effects, ...this.#send(add, remove, pending.after)];
    return [...effects, ...pending.after.flatMap((callback) => callback()), ...this.#next()];
  }

  #next(): Effect[] {
    if (this.#waiting.size === 0) return this.#flushAfter();
    const add: Flow[] = [];
    const remove: Flow[] = [];
    for (const { op, flow } of this.#waiting.values()) (op === 'add' ? add : remove).push(flow);
    this.#waiting.clear();
    const replaced = this.#replaced;
    this.#replaced = [];
    return this.#sendAll(add, remove, () => this.#before(add, remove, replaced));
  }

  /** With nothing waiting: then what is desired is what the switch has behind it. `before`: what it has now, where that is known. */
  #sendAll(add: readonly Flow[], remove: readonly Flow[], before: () => readonly Flow[] | undefined): Effect[] {
    if (add.length + remove.length === 0) return this.#flushAfter();
    const isLarge = add.length + remove.length >= LARGE;
    const [now, desired] = isLarge && this.#desired ? [before(), [...this.#desired()]] : [];
    if (!now || !desired) return this.#send(add, remove);
    const added = split(add, now);
    const removed = split(remove, desired);
    return this.#send(added.others, removed.others, this.#takeAfter(), {
      ahead: { add: added.dormant, remove: removed.waysIn },
      behind: { add: added.waysIn, remove: removed.dormant },
    });
  }

  /** What the switch has before this change of it to what is desired now. */
  #before(
    add: readonly Flow[],
    remove: readonly Flow[],
    replaced: readonly Flow[] | undefined,
  ): readonly Flow[] | undefined {
    if (!this.#desired || !replaced) return undefined;
    const added = new Set(add);
    return [...[...this.#desired()].filter((flow) => !added.has(flow)), ...remove, ...replaced];
  }

  #send(add: readonly Flow[], remove: readonly Flow[], after = this.#takeAfter(), parts = WHOLE): Effect[] {
    const install = { kind: 'install', id: this.#nextId++, add, remove, ...parts } as const;
    this.#pending = { install, after };
    return [install];
  }

  #flushAfter(): Effect[] {
    return this.#takeAfter().flatMap((callback) => callback());
  }

  #takeAfter(): (() => Effect[])[] {
    const after = this.#after;
    this.#after = [];
    return after;
  }
}

const NOTHING: FlowChanges = { add: [], remove: [] };
const WHOLE = { ahead: NOTHING, behind: NOTHING };

interface Parts {
  readonly dormant: Flow[];
  readonly waysIn: Flow[];
  readonly others: Flow[];
}

/** Those that no packet meets that only the flows beside them have handled, those that are the only one by their way in, and the others. */
function split(flows: readonly Flow[], beside: readonly Flow[]): Parts {
  const { dormant, waysIn, others }: Parts = { dormant: [], waysIn: [], others: [] };
  if (flows.length === 0) return { dormant, waysIn, others };
  const loads = new Loads(beside);
  const ways = new WaysIn(beside, flows);
  for (const flow of flows) (loads.areStrangeTo(flow) ? dormant : ways.isAlone(flow) ? waysIn : others).push(flow);
  return { dormant, waysIn, others };
}

/** Undefined for a flow that no message can hold: it is sent, and refused with its name. */
function bodyOf(flow: Flow): string | undefined {
  try {
    return flowBody(flow);
  } catch (error) {
    if (error instanceof WeftError) return undefined;
    throw error;
  }
}
