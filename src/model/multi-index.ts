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

  /** How many values the key has. */
  count(key: string | number): number {
    const found = this.#values.get(key);
    return found instanceof Set ? found.size : found === undefined ? 0 : 1;
  }

  /** How many keys have values. */
  get size(): number {
    return this.#values.size;
  }

  has(key: string | number): boolean {
    return this.#values.has(key);
  }

  /** Of all keys. */
  *values(): Iterable<V> {
    for (const found of this.#values.values()) {
      if (found instanceof Set) yield* found;
      else yield found;
    }
  }

  /** In the order in which they were added. */
  get(key: string | number): Iterable<V> {
    const found = this.#values.get(key);
    if (found === undefined) return [];
    return found instanceof Set ? found : [found];
  }
}

/** A `MultiIndex` per container (a switch, a tenant): no key has to be put together, which would cost more than the look-up. */
export class NestedIndex<V extends object> {
  readonly #inner = new Map<string, MultiIndex<V>>();

  add(container: string, key: string, value: V): void {
    const known = this.#inner.get(container);
    if (known) known.add(key, value);
    else {
      const fresh = new MultiIndex<V>();
      fresh.add(key, value);
      this.#inner.set(container, fresh);
    }
  }

  remove(container: string, key: string, value: V): void {
    const known = this.#inner.get(container);
    known?.remove(key, value);
    if (known?.size === 0) this.#inner.delete(container);
  }

  has(container: string, key: string): boolean {
    return this.#inner.get(container)?.has(key) ?? false;
  }

  count(container: string, key: string): number {
    return this.#inner.get(container)?.count(key) ?? 0;
  }

  values(container: string): Iterable<V> {
    return this.#inner.get(container)?.values() ?? [];
  }

  get(container: string, key: string): Iterable<V> {
    return this.#inner.get(container)?.get(key) ?? [];
  }
}
