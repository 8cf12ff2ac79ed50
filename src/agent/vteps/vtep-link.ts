import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import type { AgentEvent, Effect } from '../events.ts';
import type { VtepBindingState, VtepPlan, VtepState } from './plan.ts';
import { TICK_MS, VtepSession } from './session.ts';

export interface VtepLinkOptions {
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** The sessions with the VTEPs that this host talks to. */
export class VtepLink {
  readonly #options: VtepLinkOptions;
  readonly #sessions = new Map<string, VtepSession>();
  /** MACs of bindings that are elsewhere than behind the VTEP: a session that follows another has them, too. */
  readonly #wanted = new Map<string, Set<string>>();
  /** VTEP → the session that this host had with it, while it clears up. */
  readonly #leaving = new Map<string, VtepSession>();
  #told = '';
  #isTelling = false;

  constructor(options: VtepLinkOptions) {
    this.#options = options;
    void this.#run();
  }

  /** What is said of a session depends on the time, too. */
  async #run(): Promise<void> {
    const { clock, signal } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(TICK_MS, signal).catch(() => {});
      if (!signal.aborted) this.#tell();
    }
  }

  perform(effect: Extract<Effect, { kind: 'serveVteps' | 'vtepMacs' }>): void {
    if (effect.kind === 'vtepMacs') {
      this.#setMacs(effect);
      return;
    }
    const bindings = new Set(effect.plans.flatMap((plan) => plan.bindings.map(({ binding }) => binding)));
    for (const id of this.#wanted.keys()) if (!bindings.has(id)) this.#wanted.delete(id);
    const plans = new Map(effect.plans.map((plan) => [plan.vtep, plan]));
    for (const [id, session] of this.#sessions) {
      const plan = plans.get(id);
      if (plan && isSameWay(plan, session.plan)) continue;
      this.#sessions.delete(id);
      if (plan) session.end();
      else {
        this.#leaving.set(id, session);
        void session.leave().then(() => {
          if (this.#leaving.get(id) === session) this.#leaving.delete(id);
        });
      }
    }
    for (const plan of effect.plans) {
      const session = this.#sessions.get(plan.vtep) ?? this.#start(plan);
      session.follow(plan, effect.isCurrent);
    }
    this.#stateChanged();
  }

  #setMacs({ vtep, binding, put, gone, isAll }: Extract<Effect, { kind: 'vtepMacs' }>): void {
    const wanted = (isAll ? undefined : this.#wanted.get(binding)) ?? new Set();
    this.#wanted.set(binding, wanted);
    for (const mac of put) wanted.add(mac);
    for (const mac of gone) wanted.delete(mac);
    this.#sessions.get(vtep)?.touched(binding, isAll ? 'all' : [...put, ...gone]);
  }

  #start(plan: VtepPlan): VtepSession {
    // What it would take along is wanted again.
    this.#leaving.get(plan.vtep)?.end();
    this.#leaving.delete(plan.vtep);
    const { clock, log, signal, emit } = this.#options;
    const session: VtepSession = new VtepSession(
      { ...plan, bindings: [] },
      {
        ...{ clock, log, signal, wanted: this.#wanted },
        onState: () => this.#stateChanged(),
        onMacs: (binding, seen, gone) => {
          if (this.#sessions.get(plan.vtep) === session)
            emit({ kind: 'vtepMacs', vtep: plan.vtep, binding, seen, gone });
        },
      },
    );
    this.#sessions.set(plan.vtep, session);
    return session;
  }

  /** Many sessions change in one turn: all of them are looked at once behind it. */
  #stateChanged(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      if (!this.#options.signal.aborted) this.#tell();
    });
  }

  #tell(): void {
    const vteps = new Map<string, VtepState>();
    const bindings = new Map<string, VtepBindingState>();
    for (const [id, session] of this.#sessions) {
      const { state } = session;
      if (state) vteps.set(id, state);
      for (const [binding, its] of session.bindings) bindings.set(binding, its);
    }
    const text = JSON.stringify([[...vteps], [...bindings]]);
    if (text === this.#told) return;
    this.#told = text;
    this.#options.emit({ kind: 'vteps', states: { vteps, bindings } });
  }
}

/** Does a session go on with the plan? */
function isSameWay(a: VtepPlan, b: VtepPlan): boolean {
  const way = ({ management, tls }: VtepPlan): string => JSON.stringify([management, tls]);
  return way(a) === way(b);
}
