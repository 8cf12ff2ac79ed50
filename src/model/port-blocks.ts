/**
 * The TCP and UDP ports of an SNAT address, shared out among hosts in aligned power-of-two blocks, so that a packet's
 * host is found by a masked match (docs/design/layer3.md, §7). Arithmetic only.
 */
export interface PortBlock {
  /** A multiple of `size`. */
  readonly first: number;
  /** A power of two. */
  readonly size: number;
}

export function isPortBlock({ first, size }: PortBlock): boolean {
  return (size & (size - 1)) === 0 && first % size === 0;
}

/** Well-known ports stay out: 64,512 are to be had. */
export const FIRST_LEASED_PORT = 1024;
const PORTS = 65_536;
export const FIRST_SIZE = 512;
/** When the pool is nearly empty a host gets what is left, but no crumbs. */
const SMALLEST_SIZE = 64;
/** An eighth of all: for first blocks alone. */
const RESERVE = 8_192;

/**
 * A host's blocks with one more: as many ports again as it has (512 for the first time), or the largest block that is
 * free. Beyond its first 512 a host gets no more than stays free for others, and none of the last eighth: who floods takes
 * half of the address at most, and others grow beside him. Neighbouring blocks become one: the fewer, the fewer matches. Undefined: it gets no more.
 */
export function grownBlocks(own: readonly PortBlock[], others: readonly PortBlock[]): readonly PortBlock[] | undefined {
  const had = portCount(own);
  const taken = [...own, ...others];
  const most = had < FIRST_SIZE ? FIRST_SIZE - had : roomToGrow(had, freePorts(taken));
  for (let size = had === 0 ? FIRST_SIZE : largestPowerIn(had); size >= SMALLEST_SIZE; size /= 2) {
    if (size > most) continue;
    const first = freeBlock(own, taken, size);
    if (first !== undefined) return merged([...own, { first, size }]);
  }
  return undefined;
}

/** What is left of the blocks without these (which need not be among them), in aligned blocks again. */
export function withoutBlocks(blocks: readonly PortBlock[], gone: readonly PortBlock[]): readonly PortBlock[] {
  return gone.length === 0 ? blocks : merged(blocks.flatMap((block) => rest(block, gone)));
}

/** Ports `first..last` that follow each other in these blocks, the longest runs first. */
export function portRuns(blocks: readonly PortBlock[]): readonly { readonly first: number; readonly last: number }[] {
  const runs: { readonly first: number; last: number }[] = [];
  for (const { first, size } of blocks.toSorted((a, b) => a.first - b.first)) {
    const before = runs.at(-1);
    if (before?.last === first - 1) before.last += size;
    else runs.push({ first, last: first + size - 1 });
  }
  return runs.sort((a, b) => b.last - b.first - (a.last - a.first) || a.first - b.first);
}

function rest(block: PortBlock, gone: readonly PortBlock[]): readonly PortBlock[] {
  const touching = gone.filter((each) => commonBlocks([block], [each]).length > 0);
  if (touching.length === 0) return [block];
  if (touching.some(({ size }) => size >= block.size)) return [];
  return halves(block).flatMap((half) => rest(half, touching));
}

/** What both have. Aligned blocks lie within one another, or apart. */
export function commonBlocks(some: readonly PortBlock[], others: readonly PortBlock[]): readonly PortBlock[] {
  return some.flatMap((a) =>
    others.flatMap((b) => {
      const [large, small] = a.size >= b.size ? [a, b] : [b, a];
      return small.first >= large.first && small.first < large.first + large.size ? [small] : [];
    }),
  );
}

export function halves({ first, size }: PortBlock): readonly [PortBlock, PortBlock] {
  return [
    { first, size: size / 2 },
    { first: first + size / 2, size: size / 2 },
  ];
}

export function portCount(blocks: readonly PortBlock[]): number {
  return blocks.reduce((sum, { size }) => sum + size, 0);
}

/** So many more that as many stay free as the host then has, and the reserve. */
function roomToGrow(had: number, free: number): number {
  return Math.min((free - had) / 2, free - RESERVE);
}

/** How many ports are in none of these, which may overlap. */
export function freePorts(taken: readonly PortBlock[]): number {
  let free = PORTS - FIRST_LEASED_PORT;
  let end = FIRST_LEASED_PORT;
  for (const { first, size } of taken.toSorted((a, b) => a.first - b.first)) {
    free -= Math.max(0, first + size - Math.max(first, end));
    end = Math.max(end, first + size);
  }
  return free;
}

/** The other half of one of the host's own blocks before any other, otherwise the lowest. */
function freeBlock(own: readonly PortBlock[], taken: readonly PortBlock[], size: number): number | undefined {
  const isFree = (first: number): boolean =>
    first >= FIRST_LEASED_PORT &&
    taken.every((block) => block.first + block.size <= first || block.first >= first + size);
  for (const block of own) if (block.size === size && isFree(block.first ^ size)) return block.first ^ size;
  const lowest = Math.ceil(FIRST_LEASED_PORT / size) * size;
  for (let first = lowest; first + size <= PORTS; first += size) if (isFree(first)) return first;
  return undefined;
}

/** Two halves of a larger aligned block are that block. */
function merged(blocks: readonly PortBlock[]): readonly PortBlock[] {
  const all = new Map(blocks.map((block) => [block.first, block.size]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const [first, size] of all) {
      if ((first & size) !== 0 || all.get(first + size) !== size) continue;
      all.delete(first + size);
      all.set(first, 2 * size);
      changed = true;
    }
  }
  return [...all].map(([first, size]) => ({ first, size })).sort((a, b) => a.first - b.first);
}

export function largestPowerIn(n: number): number {
  return 2 ** Math.floor(Math.log2(n));
}
