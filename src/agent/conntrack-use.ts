import type { AgentEvent, Effect } from './events.ts';
import type { Scope } from './scope.ts';
import type { Zones } from './zones.ts';

const READ_INTERVAL_MS = 10_000;
/** From here on people should know. */
const NEARLY_FULL = 0.9;

type Told = Extract<AgentEvent, { kind: 'conntrack' }>;

/** How much of the host's connection tracking is used, and who has used up what is theirs. */
export class ConntrackUse {
  #told: Told | undefined;
  #lastReadMs = Number.NEGATIVE_INFINITY;

  tick(nowMs: number): Effect[] {
    if (nowMs - this.#lastReadMs < READ_INTERVAL_MS) return [];
    this.#lastReadMs = nowMs;
    return [{ kind: 'readConntrack' }];
  }

  told(event: Told): void {
    this.#told = event;
  }

  /** For `weft status`: connections now, and at most; undefined until they are known. */
  get use(): { readonly connections: number; readonly most: number } | undefined {
    if (!this.#told) return undefined;
    const { connections, most } = this.#told;
    // Two digits: what changes all the time is not worth a report.
    return { connections: Number(connections.toPrecision(2)), most };
  }

  *problems(scope: Scope, zones: Zones): Iterable<string> {
    if (!this.#told) return;
    const { connections, most, zones: used } = this.#told;
    if (connections >= most * NEARLY_FULL)
      yield `connection tracking holds ${connections} of ${most} connections: new ones will be refused`;
    for (const { zone, limit, connections: count } of used) {
      if (limit === 0 || count < limit) continue;
      const owner = zones.ownerOf(zone);
      const port = owner === undefined ? undefined : scope.port(owner);
      const router = owner === undefined ? undefined : scope.get('router', owner);
      const name = port ? `port ${port.name}` : router ? `router ${router.name}` : `conntrack zone ${zone}`;
      yield `${name} has ${count} connections, as many as one may have: new ones are refused until old ones end`;
    }
  }
}
