import { formatCidr, networkOf, parseCidr } from '../base/addresses.ts';
import { advertisedBy } from '../model/advertised.ts';
import { qualifiedName } from '../model/describe.ts';
import type { Router } from '../model/objects.ts';
import type { ModelIndex } from '../model/view.ts';

/** Networks that routers of two tenants advertise, each for a reason of its own: who gets a packet is then for the outside to say. */
export interface Overlap {
  /** The narrower one is this router's. */
  readonly router: Router;
  readonly text: string;
}

/** One for each two routers: the first by text. Costs by what is advertised and the lengths of prefixes that there are. */
export function overlapsOf(index: ModelIndex): readonly Overlap[] {
  const speakers = [...index.all('router')].filter(({ bgp, adminUp }) => bgp !== undefined && adminUp);
  if (new Set(speakers.map(({ tenant }) => tenant)).size < 2) return [];
  const byNetwork = new Map<string, { readonly router: Router; readonly why: string }[]>();
  const lengths = new Set<number>();
  for (const router of speakers)
    for (const { network, id } of advertisedBy(index, router)) {
      lengths.add(parseCidr(network)!.prefix);
      const known = byNetwork.get(network);
      if (known) known.push({ router, why: id });
      else byNetwork.set(network, [{ router, why: id }]);
    }
  const found = new Map<string, Overlap>();
  for (const network of [...byNetwork.keys()].sort()) {
    const { ip, prefix } = parseCidr(network)!;
    for (const length of lengths) {
      if (length > prefix) continue;
      const wide = formatCidr(networkOf({ ip, prefix: length }));
      for (const { router, why } of byNetwork.get(network)!)
        for (const other of byNetwork.get(wide) ?? []) {
          // Two providers may well lead to one and the same address.
          if (other.router.tenant === router.tenant || other.why === why) continue;
          const pair = [router.id, other.router.id].sort().join();
          if (found.has(pair)) continue;
          const text = `router ${qualifiedName(index, router)} advertises ${network}, and router ${qualifiedName(index, other.router)} of another tenant ${network === wide ? 'the same' : wide}: the outside decides who gets the packets`;
          found.set(pair, { router, text });
        }
    }
  }
  return [...found.values()];
}

/** Tells of each overlap when it comes to be. */
export class OverlapWatch {
  #known = new Set<string>();
  #revision = -1;

  /** Those that were not there at the last call. */
  news({ index, revision }: { readonly index: ModelIndex; readonly revision: number }): readonly Overlap[] {
    if (revision === this.#revision) return [];
    this.#revision = revision;
    const now = overlapsOf(index);
    const fresh = now.filter(({ text }) => !this.#known.has(text));
    this.#known = new Set(now.map(({ text }) => text));
    return fresh;
  }
}
