/** Randomness, injected so that a failure replays from its seed. */
export interface Random {
  /** A whole number in [0, 2^32). */
  u32(): number;
  /** A whole number in [0, below). */
  below(below: number): number;
}

/** SplitMix32: small, seeded, good enough for tests and jitter; never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const u32 = (): number => {
    state = (state + 0x9e37_79b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  return { u32, below: (n) => Math.floor((u32() / 0x1_0000_0000) * n) };
}

export const systemRandom: Random = {
  u32: () => crypto.getRandomValues(new Uint32Array(1))[0]!,
  below: (n) => Math.floor((crypto.getRandomValues(new Uint32Array(1))[0]! / 0x1_0000_0000) * n),
};
