import { WeftError } from '../src/base/errors.ts';
import type { Lab } from '../src/lab/lab.ts';
import type { LabSpecInput } from '../src/lab/spec.ts';

/**
 * The contract of a file under `bench/`: one bench, which measures the product as its users run it and, where there is
 * something to compare with, that beside it in the same run. A bench finishes in a minute or shows progress; whatever
 * it starts it gives to the context, which takes it away.
 */
export interface Bench {
  readonly name: string;
  /** One line: what is measured, and how. */
  readonly about: string;
  /** It makes network namespaces. */
  readonly needsRoot: boolean;
  /** It takes many minutes: run only when named. */
  readonly isLong?: boolean;
  /** Measures. Rejects when it cannot: a figure that is bad is still a figure. */
  run(context: BenchContext): Promise<readonly Figure[]>;
}

export interface BenchContext {
  /** Fewer rounds and shorter waits, to see that a bench works; its figures are not to be quoted. */
  readonly quick: boolean;
  /** Aborts on ^C. */
  readonly signal: AbortSignal;
  /** Says what is going on. */
  progress(text: string): void;
  /** Runs after the bench, the last given first, also when it failed or was interrupted. */
  defer(clean: () => Promise<unknown> | unknown): void;
  /** Starts a lab that is removed after the bench. The name is the context's to choose. */
  lab(spec: Omit<LabSpecInput, 'name'>): Promise<Lab>;
  sleep(ms: number): Promise<void>;
  /** Asks every few milliseconds until the answer is defined. Error: `timeout` with what was waited for. */
  until<T>(
    what: string,
    ask: () => Promise<T | undefined> | T | undefined,
    options?: { readonly timeoutMs?: number; readonly everyMs?: number },
  ): Promise<T>;
}

/** What a figure is held against: a peer measured in the same run, or a bound. */
export interface Reference {
  readonly name: string;
  readonly value: number;
  /** Of the figure to the reference. Neither: the reference is there for the reader. */
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface Figure {
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly reference?: Reference;
  /** Where it was measured better than by dividing the two: the median over rounds that ran side by side. */
  readonly ratio?: number;
  /** Where that median lies, 95 times of 100, as far as the rounds tell; absent where they were too few. */
  readonly interval?: readonly [least: number, most: number];
}

/** Measured for the reader. */
export function plain(metric: string, value: number, unit: string): Figure {
  return { metric, value, unit };
}

/** Held against a limit that it must not exceed. */
export function bounded(metric: string, value: number, unit: string, limit: number): Figure {
  return { metric, value, unit, reference: { name: 'at most', value: limit, atMost: 1 } };
}

/** Held against a peer. `want` bounds the ratio of ours to the peer's. */
export function compared(
  metric: string,
  value: number,
  unit: string,
  peer: { readonly name: string; readonly value: number },
  want: { readonly atLeast?: number; readonly atMost?: number } = {},
): Figure {
  return { metric, value, unit, reference: { ...peer, ...want } };
}

/** Undefined where there is no reference, or nothing to divide by. */
export function ratioOf({ value, reference, ratio }: Figure): number | undefined {
  if (ratio !== undefined) return ratio;
  return reference === undefined || reference.value === 0 ? undefined : value / reference.value;
}

/** Whether the figure reaches its bar; undefined where it has none. */
export function reaches(figure: Figure): boolean | undefined {
  const { value, reference } = figure;
  if (reference === undefined) return undefined;
  // Against nothing at all: only nothing is at most that.
  const ratio = ratioOf(figure) ?? (value <= reference.value ? 0 : Number.POSITIVE_INFINITY);
  if (reference.atLeast !== undefined) return ratio >= reference.atLeast;
  if (reference.atMost !== undefined) return ratio <= reference.atMost;
  return undefined;
}

/** Ours and the peer's in each round. */
export interface Rounds {
  readonly ours: readonly number[];
  readonly peers: readonly number[];
}

/** Held against a peer in rounds: the ratio is that of neighbours in time, whatever else the machine did meanwhile. */
export function comparedRounds(
  metric: string,
  unit: string,
  peer: string,
  { ours, peers }: Rounds,
  want: { readonly atLeast?: number; readonly atMost?: number } = {},
): Figure {
  const ratios = ours.map((value, i) => value / peers[i]!);
  const interval = medianInterval(ratios);
  return {
    ...compared(metric, median(ours), unit, { name: peer, value: median(peers) }, want),
    ...{ ratio: median(ratios), ...(interval && { interval }) },
  };
}

/** Rounds of a measurement and its peer alternate, so that both see the same machine. */
export async function alternate(
  context: BenchContext,
  rounds: number,
  ours: () => Promise<number>,
  peers: () => Promise<number>,
): Promise<Rounds> {
  const measured = { ours: [] as number[], peers: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    context.signal.throwIfAborted();
    // The order changes too: what one leaves behind (heat, memory) meets both.
    const order = round % 2 === 0 ? (['peers', 'ours'] as const) : (['ours', 'peers'] as const);
    for (const side of order) measured[side].push(await (side === 'ours' ? ours() : peers()));
  }
  return measured;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/**
 * Where the median of what the values are samples of lies, 95 times of 100, whatever their distribution: between the k-th from either end
 * (sign test). Undefined for fewer than six, which cannot tell.
 */
export function medianInterval(values: readonly number[]): readonly [number, number] | undefined {
  const count = values.length;
  // Of `outside` halves on one side of the median, as of tosses of a coin.
  let [k, probability, outside] = [0, 0.5 ** count, 0];
  while (outside + probability <= 0.025) {
    outside += probability;
    k++;
    probability *= (count - k + 1) / k;
  }
  if (k === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return [sorted[k - 1]!, sorted[count - k]!];
}

/** Linear between the neighbours. Error: `invalid` without values. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new WeftError('invalid', 'no measurement to take a quantile of');
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}
