import { type FieldName, fieldOf } from '../openflow/fields.ts';
import type { Action, Flow, Match } from '../openflow/flow.ts';
import { fullMask } from '../openflow/text/values.ts';
import { KEY_WORDS, placeOf, writeField } from './layout.ts';

/**
 * One flow table with tuple-space search: flows that test the same bits share a *tuple* (one hash table), so a lookup
 * costs a probe per tuple, not per flow. Tuples are tried by falling highest priority and the search ends as soon as
 * none can do better. (The classifier of Open vSwitch, `lib/classifier`.)
 */
export interface Entry {
  readonly flow: Flow;
  readonly priority: number;
  /** The tested words, masked; of the tuple's order. */
  readonly words: Uint32Array;
  /** Clauses of conjunctive matches; undefined for an ordinary flow. */
  readonly conjunctions: readonly Conjunction[] | undefined;
  /** Next in the chain of the same hash; falling priority where the words are equal. */
  next: Entry | undefined;
}
type Conjunction = Extract<Action, { kind: 'conjunction' }>;

interface Tuple {
  readonly signature: string;
  /** Indices of the words that are tested, and the bits of each. */
  readonly index: Uint16Array;
  readonly mask: Uint32Array;
  readonly buckets: Map<number, Entry>;
  /** Flows by priority: how many. */
  readonly priorities: Map<number, number>;
  highest: number;
}

const CONJ_ID = placeOf('conj_id').word;

export class FlowTable {
  readonly #tuples = new Map<string, Tuple>();
  /** By falling `highest`. */
  #order: Tuple[] = [];
  #sorted = true;
  size = 0;

  /** Adds a flow, in place of one with the same match and priority. Returns that one. */
  add(flow: Flow): Flow | undefined {
    const { signature, index, mask, words } = compileMatch(flow.match);
    let tuple = this.#tuples.get(signature);
    if (!tuple) {
      tuple = { signature, index, mask, buckets: new Map(), priorities: new Map(), highest: -1 };
      this.#tuples.set(signature, tuple);
      this.#order.push(tuple);
      this.#sorted = false;
    }
    const old = removeEntry(tuple, words, flow.priority);
    const conjunctions = flow.actions.some((action) => action.kind === 'conjunction')
      ? flow.actions.filter((action): action is Conjunction => action.kind === 'conjunction')
      : undefined;
    insertEntry(tuple, { flow, priority: flow.priority, words, conjunctions, next: undefined });
    if (flow.priority > tuple.highest) {
      tuple.highest = flow.priority;
      this.#sorted = false;
    }
    if (!old) this.size++;
    return old?.flow;
  }

  /** Takes away the flow with that very match and priority; undefined when there is none. */
  delete(match: Match, priority: number): Flow | undefined {
    const { signature, words } = compileMatch(match);
    const tuple = this.#tuples.get(signature);
    const old = tuple && removeEntry(tuple, words, priority);
    if (!tuple || !old) return undefined;
    this.size--;
    if (tuple.priorities.size === 0) {
      this.#tuples.delete(signature);
      this.#order = this.#order.filter((other) => other !== tuple);
    } else if (!tuple.priorities.has(tuple.highest)) {
      tuple.highest = Math.max(...tuple.priorities.keys());
      this.#sorted = false;
    }
    return old.flow;
  }

  *flows(): Iterable<Flow> {
    for (const tuple of this.#tuples.values())
      for (let entry of tuple.buckets.values() as Iterable<Entry | undefined>)
        for (; entry; entry = entry.next) yield entry.flow;
  }

  /** The flow that a packet with this key meets. The key's `conj_id` is zero before and after. */
  lookup(key: Uint32Array): Flow | undefined {
    if (!this.#sorted) {
      this.#order.sort((a, b) => b.highest - a.highest);
      this.#sorted = true;
    }
    const soft: Entry[] = [];
    const hard = this.#search(key, soft);
    if (soft.length === 0) return hard?.flow;
    return this.#resolve(key, hard, soft);
  }

  /** The best ordinary flow; conjunctive ones that may beat it go to `soft` (when given). */
  #search(key: Uint32Array, soft: Entry[] | undefined): Entry | undefined {
    let best: Entry | undefined;
    let bestPriority = -1;
    for (const tuple of this.#order) {
      if (tuple.highest <= bestPriority) break;
      let entry = tuple.buckets.get(hashKey(key, tuple.index, tuple.mask));
      for (; entry; entry = entry.next) {
        if (entry.priority <= bestPriority || !matches(key, tuple, entry)) continue;
        if (entry.conjunctions) soft?.push(entry);
        else {
          best = entry;
          bestPriority = entry.priority;
        }
      }
    }
    return best;
  }

  /**
   * `ovs-fields(7)`, "conjunctive match fields": from the highest priority down, a conjunction whose clauses all match
   * leads to a second lookup with its id; priorities at or below the ordinary flow's do not count.
   */
  #resolve(key: Uint32Array, hard: Entry | undefined, soft: readonly Entry[]): Flow | undefined {
    const floor = hard?.priority ?? -1;
    const priorities = [...new Set(soft.map((entry) => entry.priority))].filter((p) => p > floor).sort((a, b) => b - a);
    for (const priority of priorities) {
      const id = satisfied(soft.filter((entry) => entry.priority === priority));
      if (id === undefined) continue;
      key[CONJ_ID] = id;
      const found = this.#search(key, undefined);
      key[CONJ_ID] = 0;
      if (found) return found.flow;
    }
    return hard?.flow;
  }
}

/** The lowest id of a conjunction all of whose clauses are among `entries`. */
function satisfied(entries: readonly Entry[]): number | undefined {
  const seen = new Map<string, Set<number>>();
  let lowest: number | undefined;
  for (const entry of entries)
    for (const { id, clause, of } of entry.conjunctions!) {
      const key = `${id}/${of}`;
      const clauses = seen.get(key) ?? new Set();
      seen.set(key, clauses.add(clause));
      if (clauses.size === of && (lowest === undefined || id < lowest)) lowest = id;
    }
  return lowest;
}

function hashKey(key: Uint32Array, index: Uint16Array, mask: Uint32Array): number {
  let hash = 0;
  for (let i = 0; i < index.length; i++) hash = mix(hash, key[index[i]!]! & mask[i]!);
  return hash;
}

function hashWords(words: Uint32Array): number {
  let hash = 0;
  for (let i = 0; i < words.length; i++) hash = mix(hash, words[i]!);
  return hash;
}

/** One round of MurmurHash3; kept to 30 bits so that the number stays a small integer. */
function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e_2d51);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b87_3593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe654_6b64) & 0x3fff_ffff;
}

function matches(key: Uint32Array, tuple: Tuple, entry: Entry): boolean {
  const { index, mask } = tuple;
  const { words } = entry;
  for (let i = 0; i < index.length; i++) if (((key[index[i]!]! & mask[i]!) ^ words[i]!) !== 0) return false;
  return true;
}

function sameWords(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function insertEntry(tuple: Tuple, entry: Entry): void {
  const hash = hashWords(entry.words);
  const head = tuple.buckets.get(hash);
  tuple.priorities.set(entry.priority, (tuple.priorities.get(entry.priority) ?? 0) + 1);
  if (!head || head.priority <= entry.priority) {
    entry.next = head;
    tuple.buckets.set(hash, entry);
    return;
  }
  let before = head;
  while (before.next && before.next.priority > entry.priority) before = before.next;
  entry.next = before.next;
  before.next = entry;
}

function removeEntry(tuple: Tuple, words: Uint32Array, priority: number): Entry | undefined {
  const hash = hashWords(words);
  let before: Entry | undefined;
  for (let entry = tuple.buckets.get(hash); entry; before = entry, entry = entry.next) {
    if (entry.priority !== priority || !sameWords(entry.words, words)) continue;
    if (before) before.next = entry.next;
    else if (entry.next) tuple.buckets.set(hash, entry.next);
    else tuple.buckets.delete(hash);
    const left = tuple.priorities.get(priority)! - 1;
    if (left > 0) tuple.priorities.set(priority, left);
    else tuple.priorities.delete(priority);
    return entry;
  }
  return undefined;
}

interface CompiledMatch {
  readonly signature: string;
  readonly index: Uint16Array;
  readonly mask: Uint32Array;
  readonly words: Uint32Array;
}

const scratchValue = new Uint32Array(KEY_WORDS);
const scratchMask = new Uint32Array(KEY_WORDS);
const scratchField = new Uint32Array(KEY_WORDS);
/** ECN is no part of `nw_tos`: its two bits are not tested. */
const TOS_MASK = 0xfc;

/** The words that a match tests. Throws `WeftError('invalid')` for a field that is not modelled. */
export function compileMatch(match: Match): CompiledMatch {
  const touched = new Set<number>();
  for (const name in match) {
    if (name === 'unknown') continue;
    const entry = match[name as FieldName]!;
    const place = placeOf(name as FieldName);
    const all = name === 'nw_tos' ? TOS_MASK : fullMask(fieldOf(name as FieldName).bits);
    const { value, mask } = typeof entry === 'object' ? entry : { value: entry, mask: all };
    addField(touched, place, value, scratchValue);
    addField(touched, place, mask, scratchMask);
  }
  const index = [...touched].filter((word) => scratchMask[word] !== 0).sort((a, b) => a - b);
  const mask = Uint32Array.from(index, (word) => scratchMask[word]!);
  const words = Uint32Array.from(index, (word) => (scratchValue[word]! & scratchMask[word]!) >>> 0);
  for (const word of touched) {
    scratchMask[word] = 0;
    scratchValue[word] = 0;
  }
  let signature = '';
  for (let i = 0; i < index.length; i++) signature += `${index[i]}:${mask[i]},`;
  return { signature, index: Uint16Array.from(index), mask, words };
}

function addField(
  touched: Set<number>,
  place: ReturnType<typeof placeOf>,
  value: number | bigint,
  into: Uint32Array,
): void {
  writeField(scratchField, place, value);
  for (let i = 0; i < place.words; i++) {
    const word = place.word + i;
    touched.add(word);
    into[word]! |= scratchField[word]!;
    scratchField[word] = 0;
  }
}
