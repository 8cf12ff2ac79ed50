/** What is wrong now, and what an update changed about it. */
import { compareText } from './values.ts';

/** `unit`: it threw and keeps its last contributions. `cell`: it threw. `index`: it threw on a record, which is in none of its groups. `merge`: contributions conflict, or the merge threw. */
export interface Problem {
  readonly source: 'unit' | 'cell' | 'index' | 'merge';
  /** `family/key` of a unit or cell, `index/kind/id`, `sink/slot`. */
  readonly name: string;
  readonly message: string;
  /** The units concerned. */
  readonly units: readonly string[];
  /** What was thrown, if anything was. */
  readonly error: unknown;
}

const keyOf = (problem: Problem): string => `${problem.source} ${problem.name}`;

export function compareProblems(a: Problem, b: Problem): number {
  return compareText(keyOf(a), keyOf(b));
}

export class Problems {
  readonly #current = new Map<string, Problem>();
  /** What an entry was before the update under way. */
  readonly #before = new Map<string, Problem | undefined>();

  /** The problem of this source and name is now this one, or gone. */
  set(
    source: Problem['source'],
    name: string,
    problem: Pick<Problem, 'message' | 'units' | 'error'> | undefined,
  ): void {
    const key = `${source} ${name}`;
    const current = this.#current.get(key);
    if (current === undefined && problem === undefined) return;
    if (!this.#before.has(key)) this.#before.set(key, current);
    if (problem === undefined) this.#current.delete(key);
    else this.#current.set(key, { source, name, ...problem });
  }

  get areNone(): boolean {
    return this.#current.size === 0;
  }

  list(): Problem[] {
    return [...this.#current.values()];
  }

  /** Ends an update: what is new or says something else, and what is gone. */
  flush(): { raised: Problem[]; cleared: Problem[] } {
    const raised: Problem[] = [];
    const cleared: Problem[] = [];
    for (const [key, before] of this.#before) {
      const after = this.#current.get(key);
      if (after === undefined) {
        if (before !== undefined) cleared.push(before);
      } else if (before?.message !== after.message) raised.push(after);
    }
    this.#before.clear();
    return { raised: raised.sort(compareProblems), cleared: cleared.sort(compareProblems) };
  }
}
