import { WeftError } from '../base/errors.ts';
import { nameOf } from '../compile/flow-sink.ts';
import type { Flow } from '../openflow/flow.ts';
import type { Effect, InstalledFlow } from './events.ts';
import { flowBody, flowKey } from './flow-key.ts';

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
  #pending:
    | {
        readonly id: number;
        readonly add: readonly Flow[];
        readonly remove: readonly Flow[];
        readonly after: (() => Effect[])[];
      }
    | undefined;
  /** To run when all that is desired now is installed. */
  #after: (() => Effect[])[] = [];
  #nextId = 1;
  /** Is the switch there and read back? Before that nothing is sent. */
  synced = false;
  /** Flows that the switch refused, with its words; they are tried again when they change. */
  readonly refused = new Map<string, { readonly flow: Flow; readonly error: string }>();

  get idle(): boolean {
    return this.#pending === undefined && this.#waiting.size === 0;
  }

  lost(): void {
    this.synced = false;
    this.#pending = undefined;
    this.#waiting.clear();
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
    if (installed.length === 0) return this.change([...desired], []);
    const have = new Map(installed.map((entry) => [entry.key, entry]));
    const add: Flow[] = [];
    for (const flow of desired) {
      const key = flowKey(flow);
      const entry = have.get(key);
      have.delete(key);
      if (!entry || entry.body !== bodyOf(flow)) add.push(flow);
    }
    return this.change(
      add,
      [...have.values()].map((entry) => entry.flow),
    );
  }

  change(add: readonly Flow[], remove: readonly Flow[]): Effect[] {
    if (!this.synced) return [];
    if (this.#pending === undefined && this.#waiting.size === 0)
      return add.length + remove.length === 0 ? this.#flushAfter() : this.#send(add, remove);
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
    if (this.#pending?.id !== id) return [];
    const { after, add, remove } = this.#pending;
    this.#pending = undefined;
    if (this.refused.size > 0) for (const flow of [...add, ...remove]) this.refused.delete(flowKey(flow));
    return [...after.flatMap((callback) => callback()), ...this.#next()];
  }

  /** The bundle failed as a whole: the flow that the switch named stays out, the rest goes again. */
  refusedBundle(id: number, error: string, index: number | undefined): Effect[] {
    const pending = this.#pending;
    if (pending?.id !== id) return [];
    this.#pending = undefined;
    const all = [...pending.add, ...pending.remove];
    const culprit = index === undefined ? undefined : all[index];
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
    const add = pending.add.filter((flow) => flow !== culprit);
    const remove = pending.remove.filter((flow) => flow !== culprit);
    if (add.length + remove.length > 0) return [...effects, ...this.#send(add, remove, pending.after)];
    return [...effects, ...pending.after.flatMap((callback) => callback()), ...this.#next()];
  }

  #next(): Effect[] {
    if (this.#waiting.size === 0) return this.#flushAfter();
    const add: Flow[] = [];
    const remove: Flow[] = [];
    for (const { op, flow } of this.#waiting.values()) (op === 'add' ? add : remove).push(flow);
    this.#waiting.clear();
    return this.#send(add, remove);
  }

  #send(add: readonly Flow[], remove: readonly Flow[], after = this.#takeAfter()): Effect[] {
    const id = this.#nextId++;
    this.#pending = { id, add, remove, after };
    return [{ kind: 'install', id, add, remove }];
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

/** Undefined for a flow that no message can hold: it is sent, and refused with its name. */
function bodyOf(flow: Flow): string | undefined {
  try {
    return flowBody(flow);
  } catch (error) {
    if (error instanceof WeftError) return undefined;
    throw error;
  }
}
