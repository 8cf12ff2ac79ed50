import type { Bench } from './bench.ts';
import { codecs } from './codecs.ts';

/** All benches, in the order in which they run: first what decides, last what only informs. */
export const CATALOGUE: readonly Bench[] = [codecs];
