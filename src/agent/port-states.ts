import type { PortState } from '../server/protocol.ts';
import type { Effect } from './events.ts';
import type { Ground } from './ground.ts';
import type { Installation } from './installation.ts';
import type { KeptZone, Zones } from './zones.ts';

/** How far the ports of this host are: their states, as people see them, and the marks at their interfaces, which say that their flows are in. */
export class PortStates {
  readonly #ground: Ground;
  readonly #zones: Zones;
  readonly #installation: Installation;
  /** Last state told per port, so that only changes travel. */
  readonly #told = new Map<string, PortState>();
  /** Ports whose flows are on their way and whose mark is due. */
  readonly #awaitingMark = new Set<string>();

  constructor(ground: Ground, zones: Zones, installation: Installation) {
    this.#ground = ground;
    this.#zones = zones;
    this.#installation = installation;
  }

  get all(): ReadonlyMap<string, PortState> {
    return this.#told;
  }

  get(port: string): PortState | undefined {
    return this.#told.get(port);
  }

  /** As the server has just said itself. */
  take(port: string, state: PortState): void {
    this.#told.set(port, state);
  }

  tell(states: Readonly<Record<string, PortState>>): Effect[] {
    const changed: Record<string, PortState> = {};
    for (const [port, state] of Object.entries(states)) {
      const before = this.#told.get(port);
      if (before?.state === state.state && before.problem === state.problem) continue;
      this.#told.set(port, state);
      changed[port] = state;
    }
    return Object.keys(changed).length === 0 ? [] : this.#ground.report([{ type: 'ports', ports: changed }]);
  }

  /** A port that is gone; should it come back, it is a new one. Had it a state? */
  forget(port: string): boolean {
    return this.#told.delete(port);
  }

  /** Its interface went: nothing is to be marked any more. */
  interfaceGone(port: string): boolean {
    this.#awaitingMark.delete(port);
    return this.forget(port);
  }

  /** Marks the interfaces of these ports and tells their states as soon as their flows are in; `then`, of those that were not in before. */
  whenInstalled(
    ports: readonly string[],
    isShutOff: (port: string) => boolean,
    then: (fresh: readonly string[]) => Effect[],
  ): Effect[] {
    const { scope, interfaces } = this.#ground;
    const due = ports.filter((port) => scope.port(port) !== undefined);
    const unknown = ports.filter((port) => scope.port(port) === undefined);
    const effects = unknown.flatMap((port) => this.#mark(port, false));
    if (due.length === 0) return effects;
    for (const port of due) this.#awaitingMark.add(port);
    return [
      ...effects,
      ...this.#installation.whenInstalled(() => {
        const done = due.filter((port) => this.#awaitingMark.delete(port) && interfaces.get(port));
        const states: Record<string, PortState> = {};
        for (const port of done) states[port] = isShutOff(port) ? { state: 'shut-off' } : { state: 'installed' };
        const fresh = done.filter((port) => this.#told.get(port)?.state !== 'installed');
        return [...done.flatMap((port) => this.#mark(port, true)), ...this.tell(states), ...then(fresh)];
      }),
    ];
  }

  #mark(port: string, installed: boolean): Effect[] {
    const zone = installed ? this.#zones.of(port) : undefined;
    const { uuid } = this.#ground.interfaces.get(port) ?? {};
    return this.markInterface(uuid, installed, zone === undefined ? undefined : { port, zone });
  }

  markInterface(uuid: string | undefined, installed: boolean, zone?: KeptZone): Effect[] {
    return uuid !== undefined && this.#ground.interfaces.mark(uuid, installed, zone)
      ? [{ kind: 'markInstalled', uuid, installed, ...(zone === undefined ? {} : { zone }) }]
      : [];
  }
}
