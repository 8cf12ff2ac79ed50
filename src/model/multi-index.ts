/**
 * Key → the values that share it. Nearly every key has one value, which is then kept without a set around it: an index
 * over 10,000 ports costs a map entry each and nothing more.
 */
export class MultiIndex<V extends object> {
  readonly #values = new Map<string | number, V | Set<V>>();

  add(key: string | number, value: V): void {
    const found = this.#values.get(key);
    if (found === undefined) this.#values.set(key, value);
    else if (found instanceof Set) found.add(value);
    else this.#values.set(key, new Set([found, value]));
  }

  remove(key: string | number, value: V): void {
    const found = this.#values.get(key);
    if (found === value) this.#values.delete(key);
    else if (found instanceof Set) {
      found.delete(value);
      if (found.size === 0) this.#values.delete(key);
    }
  }

  has(key: string | number): boolean {
    return this.#values.has(key);
  }

  /** In the order in which they were added. */
  get(key: string | number): Iterable<V> {
    const found = this.#values.get(key);
    if (found === undefined) return [];
    return found instanceof Set ? found : [found];
  }

  count(key: string | number): number {
    const found = this.#values.get(key);
    if (found === undefined) return 0;
    return found instanceof Set ? found.size : 1;
  }
}
