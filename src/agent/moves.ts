import type { Binding } from '../model/objects.ts';
import type { Effect } from './events.ts';
import type { Ground } from './ground.ts';

/** Ports whose workload announced itself here and of which the server has not said so yet. */
export class Moves {
  readonly #ground: Ground;
  /** With the binding as it was. */
  readonly #announced = new Map<string, Binding>();

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** The workload of a migrating port spoke here: traffic moves to this host, at once and (by the server) everywhere. */
  announced(port: string): Effect[] {
    const { scope, host } = this.#ground;
    const binding = scope.binding(port);
    if (host === undefined || !binding || binding.active === host) return [];
    this.#announced.set(port, binding);
    // No revision that a server has: should it not hear of this, it sends what it has.
    const moved: Binding = { ...binding, active: host, revision: -1 };
    return [...this.#ground.report([{ type: 'activate', port }]), ...this.#ground.overlay(moved)];
  }

  /** The server told a binding. What comes with a new connection is older than our announcement, which it is just told of (again). */
  told(binding: Binding, isNewConnection: boolean): void {
    if (!isNewConnection || binding.active === this.#ground.host) this.#announced.delete(binding.id);
  }

  /** The server refused the move: the port is where it was. Undefined where none was asked for. */
  refused(port: string): Effect[] | undefined {
    const before = this.#announced.get(port);
    this.#announced.delete(port);
    return before && this.#ground.overlay(before);
  }

  forget(port: string): void {
    this.#announced.delete(port);
  }

  pending(): Iterable<string> {
    return this.#announced.keys();
  }
}
