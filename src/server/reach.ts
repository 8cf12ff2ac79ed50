import type { ScopeNode } from './scope-graph.ts';

/**
 * The switches and routers that one host's ports reach. Links close circles (two switches with two routers between
 * them), so nothing is counted: each device remembers by which other it was reached. A new link costs what it adds; only
 * the loss of a link by which something was reached, or of a root, looks at the host's devices anew.
 */
export class Reach<H> {
  readonly #enter: (device: ScopeNode<H>) => void;
  readonly #leave: (device: ScopeNode<H>) => void;
  /** Switches of local ports, with how many ports. */
  readonly #roots = new Map<ScopeNode<H>, number>();
  /** Device → what it was reached from; undefined: it is a root. */
  #from = new Map<ScopeNode<H>, ScopeNode<H> | undefined>();
  #isStale = false;

  constructor(enter: (device: ScopeNode<H>) => void, leave: (device: ScopeNode<H>) => void) {
    this.#enter = enter;
    this.#leave = leave;
  }

  devices(): Iterable<ScopeNode<H>> {
    return this.#from.keys();
  }

  addRoot(device: ScopeNode<H>): void {
    const count = this.#roots.get(device) ?? 0;
    this.#roots.set(device, count + 1);
    if (count === 0) this.#extend(device, undefined);
  }

  removeRoot(device: ScopeNode<H>): void {
    const count = this.#roots.get(device)!;
    if (count > 1) this.#roots.set(device, count - 1);
    else {
      this.#roots.delete(device);
      this.#isStale = true;
    }
  }

  linked(from: ScopeNode<H>, to: ScopeNode<H>): void {
    if (this.#from.has(from)) this.#extend(to, from);
  }

  unlinked(from: ScopeNode<H>, to: ScopeNode<H>): void {
    if (this.#from.has(to) && this.#from.get(to) === from) this.#isStale = true;
  }

  /** At the end of a transaction: lets go of what is no longer reached. */
  settle(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    const former = this.#from;
    this.#from = new Map();
    for (const root of this.#roots.keys()) this.#spread(root, undefined);
    for (const device of former.keys()) if (!this.#from.has(device)) this.#leave(device);
  }

  #extend(device: ScopeNode<H>, from: ScopeNode<H> | undefined): void {
    if (this.#from.has(device)) return;
    for (const reached of this.#spread(device, from)) this.#enter(reached);
  }

  /** Notes the device and all that follows from it; returns what was not noted before. */
  #spread(device: ScopeNode<H>, from: ScopeNode<H> | undefined): readonly ScopeNode<H>[] {
    if (this.#from.has(device)) return [];
    this.#from.set(device, from);
    const reached = [device];
    for (const each of reached)
      for (const next of each.links.keys()) {
        if (this.#from.has(next)) continue;
        this.#from.set(next, each);
        reached.push(next);
      }
    return reached;
  }
}
