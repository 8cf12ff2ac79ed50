import type { FloatingAddress } from '../model/objects.ts';
import type { Effect, ScopeChange } from './events.ts';
import { fixedOf } from './floating.ts';
import type { Ground } from './ground.ts';
import type { Scope } from './scope.ts';

/** A floating address whose connections in a router's zone are over. */
export interface FloatingEnd {
  readonly zone: number;
  readonly address: string;
}

interface Stood {
  readonly floating: FloatingAddress;
  /** The workload's address. */
  readonly fixed: string;
}

/**
 * A floating address that stands for another workload's address from now on, or for none, while the former workload is still on this host: connection
 * tracking knows what was translated to that one, and steady UDP would reach it for ever.
 */
export class FloatingEnds {
  readonly #ground: Ground;
  readonly #zoneOf: (router: string) => number | undefined;
  /** Whose flows are still to go. */
  #ends: FloatingEnd[] = [];

  /** `zoneOf`: where a router's translations are tracked, if it has any here. */
  constructor(ground: Ground, zoneOf: (router: string) => number | undefined) {
    this.#ground = ground;
    this.#zoneOf = zoneOf;
  }

  /** The scope is as it was before these changes. To be called back when they are in it. */
  scopeChanging(changes: readonly ScopeChange[]): () => void {
    const { scope } = this.#ground;
    const before = new Map<string, Stood>();
    for (const { record } of changes) for (const stood of stoodFor(scope, record)) before.set(stood.floating.id, stood);
    return () => {
      for (const stood of before.values()) this.#ends.push(...this.#endOf(stood));
    };
  }

  /** What ended is in no flow any more: before that a packet would begin it again. */
  installed(): Effect[] {
    const ends = this.#ends;
    if (ends.length === 0) return [];
    this.#ends = [];
    return [{ kind: 'endAddresses', ends }];
  }

  #endOf({ floating: { id, router, address, port }, fixed }: Stood): FloatingEnd[] {
    const { scope, host } = this.#ground;
    const now = scope.get('floatingAddress', id);
    if (now?.router === router && now.address === address && fixedOf(scope, now) === fixed) return [];
    // Who has moved takes its connections along: they are still to be read here.
    if (scope.binding(port)?.active !== host) return [];
    const zone = this.#zoneOf(router);
    return zone === undefined ? [] : [{ zone, address }];
  }
}

/** What may end with a change of this record. */
function stoodFor(scope: Scope, record: ScopeChange['record']): Stood[] {
  const concerned = (): readonly FloatingAddress[] => {
    if (record.kind === 'floatingAddress') {
      const floating = scope.get('floatingAddress', record.id);
      return floating ? [floating] : [];
    }
    if (record.kind !== 'port') return [];
    const addresses = scope.port(record.id)?.addresses;
    if (addresses === undefined || ('addresses' in record && record.addresses.join() === addresses.join())) return [];
    return [...scope.all('floatingAddress')].filter(({ port }) => port === record.id);
  };
  return concerned().flatMap((floating) => {
    const fixed = fixedOf(scope, floating);
    return fixed === undefined ? [] : [{ floating, fixed }];
  });
}
