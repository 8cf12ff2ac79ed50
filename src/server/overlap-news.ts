import { qualifiedName } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import { MOST_PROBLEMS, overlaps, overlapText } from './bgp.ts';
import type { Notice } from './bindings.ts';
import type { RecordChange } from './desired-state.ts';

/** What routers advertise is worked out from these. */
const ABOUT_ADVERTISING: ReadonlySet<string> = new Set([
  ...['router', 'routerPort', 'bgpPeer', 'switch', 'port', 'floatingAddress', 'loadBalancer', 'tenant'],
]);

const REST_MS = 5_000;
/** A member whose host is dead advertises nothing, but comes back: that begins no overlap. */
const NONE_DEAD: ReadonlySet<string> = new Set();

/** Events about two tenants that begin to advertise the same addresses to one AS outside; that they go on is for `weft status` to say. */
export class OverlapNews {
  /** Pairs of routers. */
  #known: ReadonlySet<string>;
  #isDue = false;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(index: ModelIndex) {
    this.#known = new Set([...pairsOf(index)].map(([pair]) => pair));
  }

  committed(changes: readonly RecordChange[]): void {
    this.#isDue ||= changes.some(({ kind }) => ABOUT_ADVERTISING.has(kind));
  }

  /** What has begun. Once a second; it takes a look at all routers, which is not done more often than it has to be. `nowMs`: by a clock that does not step. */
  tick(index: ModelIndex, nowMs: number): readonly Notice[] {
    if (!this.#isDue || nowMs - this.#lookedMs < REST_MS) return [];
    this.#isDue = false;
    this.#lookedMs = nowMs;
    const before = this.#known;
    const pairs = new Map(pairsOf(index));
    this.#known = new Set(pairs.keys());
    return [...pairs].flatMap(([pair, notice]) => (before.has(pair) ? [] : [notice]));
  }
}

function* pairsOf(index: ModelIndex): Iterable<[pair: string, notice: Notice]> {
  let count = 0;
  for (const overlap of overlaps(index, NONE_DEAD)) {
    const { router, other } = overlap;
    const text = `router ${qualifiedName(index, router)}: ${overlapText(index, overlap)}`;
    yield [[router.id, other.id].sort().join(), { level: 'warning', kind: 'router', id: router.id, text }];
    if (++count >= MOST_PROBLEMS) return;
  }
}
