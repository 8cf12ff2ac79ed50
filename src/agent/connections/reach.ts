import type { Scope } from '../scope.ts';

/** Routers that a port's packets may be translated by: those its switch leads to, over routers and switches that are not shared. */
export class RouterReach {
  readonly #routersOfSwitch = new Map<string, Set<string>>();
  readonly #neighboursOfRouter = new Map<string, { readonly switches: Set<string>; readonly routers: Set<string> }>();
  readonly #known = new Map<string, ReadonlySet<string>>();
  readonly #scope: Scope;

  /** What the scope says now. */
  constructor(scope: Scope) {
    this.#scope = scope;
    for (const port of scope.all('routerPort')) {
      const beside = this.#beside(port.router);
      if (port.switch !== undefined) {
        beside.switches.add(port.switch);
        const routers = this.#routersOfSwitch.get(port.switch) ?? new Set();
        this.#routersOfSwitch.set(port.switch, routers.add(port.router));
      }
      const peer = port.peer === undefined ? undefined : scope.get('routerPort', port.peer);
      if (!peer) continue;
      beside.routers.add(peer.router);
      this.#beside(peer.router).routers.add(port.router);
    }
  }

  from(switchId: string): ReadonlySet<string> {
    const known = this.#known.get(switchId);
    if (known) return known;
    const found = new Set<string>();
    const due = [...(this.#routersOfSwitch.get(switchId) ?? [])];
    for (let router = due.pop(); router !== undefined; router = due.pop()) {
      if (found.has(router)) continue;
      found.add(router);
      const { switches, routers } = this.#beside(router);
      due.push(...routers);
      for (const id of switches)
        if (!this.#scope.get('switch', id)?.shared) due.push(...(this.#routersOfSwitch.get(id) ?? []));
    }
    this.#known.set(switchId, found);
    return found;
  }

  #beside(router: string): { readonly switches: Set<string>; readonly routers: Set<string> } {
    const known = this.#neighboursOfRouter.get(router) ?? { switches: new Set(), routers: new Set() };
    this.#neighboursOfRouter.set(router, known);
    return known;
  }
}
