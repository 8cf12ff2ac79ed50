import type { CompilerChange } from '../compile/compiler.ts';
import type { Effect, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';

/** So long a packet may be in the switch's hands; Open vSwitch looks through its megaflows anew in half of it. */
const KEPT_MS = 1_000;

/**
 * Sets of groups that ports here had a moment ago. A packet is classified in one pass and judged in the next, behind
 * conntrack: those in between when its port's groups change still ask for the former set, whose flows stay for them.
 */
export class FormerGroups {
  readonly #ground: Ground;
  readonly #kept = new Map<string, { readonly sets: readonly (readonly string[])[]; readonly untilMs: number }>();

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  /** Inputs that go with these changes. The scope is as it was before them. */
  scopeChanging(changes: readonly ScopeChange[], nowMs: number): CompilerChange[] {
    const { scope, interfaces } = this.#ground;
    const facts: CompilerChange[] = [];
    for (const { op, record } of changes) {
      if (record.kind !== 'port' || !interfaces.get(record.id)) continue;
      const before = scope.port(record.id)?.groups ?? [];
      const after = op === 'put' && 'groups' in record ? record.groups : [];
      if (before.length === 0 || before.join() === after.join()) continue;
      const others = (this.#kept.get(record.id)?.sets ?? []).filter((set) => set.join() !== before.join());
      const sets = [...others, before];
      this.#kept.set(record.id, { sets, untilMs: nowMs + KEPT_MS });
      facts.push({ op: 'put', record: { kind: 'formerGroups', id: record.id, sets } });
    }
    return facts;
  }

  /** Once a second. */
  tick(nowMs: number): Effect[] {
    const over = [...this.#kept].flatMap(([port, { untilMs }]) => (untilMs <= nowMs ? [port] : []));
    for (const port of over) this.#kept.delete(port);
    if (over.length === 0) return [];
    return this.#ground.compile(over.map((id) => ({ op: 'delete', kind: 'formerGroups', id })));
  }
}
