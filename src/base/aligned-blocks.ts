/** Numbers that differ in their last bits only: `first` is a multiple of `size`, a power of two. One masked match fits all of them. */
export interface AlignedBlock {
  readonly first: number;
  readonly size: number;
}

/** The fewest that make up the range `first..last`; none where it is upside down. */
export function blocksOfRange(first: number, last: number): AlignedBlock[] {
  const blocks: AlignedBlock[] = [];
  for (let at = first; at <= last; ) {
    let size = 1;
    while (at % (size * 2) === 0 && at + size * 2 - 1 <= last) size *= 2;
    blocks.push({ first: at, size });
    at += size;
  }
  return blocks;
}

/** The fewest that make up a set of numbers. */
export function blocksOfSet(numbers: Iterable<number>): AlignedBlock[] {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const blocks: AlignedBlock[] = [];
  for (let i = 0; i < sorted.length; ) {
    let j = i;
    while (sorted[j + 1] === sorted[j]! + 1) j++;
    blocks.push(...blocksOfRange(sorted[i]!, sorted[j]!));
    i = j + 1;
  }
  return blocks;
}
