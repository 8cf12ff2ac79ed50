/**
 * A flow's cookie is a hash of who wants it, so that an agent that starts again computes the same one, and a flow found in
 * a switch leads back to its objects. 64 bits: among a million cookies, two are the same with a probability of 3·10^-8.
 */

/** The cookie of these units' flows; `reason` tells the drops of one unit apart. Never 0, never all ones (reserved). */
export function cookieOf(units: readonly string[], reason: string | undefined): bigint {
  let low = 0x811c_9dc5;
  let high = 0xcbf2_9ce4;
  const feed = (text: string): void => {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      low = Math.imul(low ^ code, 0x85eb_ca6b);
      low ^= low >>> 15;
      high = Math.imul(high ^ code, 0xc2b2_ae35);
      high ^= high >>> 13;
    }
    // Between parts, so that [ab, c] is not [a, bc].
    low = Math.imul(low ^ 0x1_0000, 0x9e37_79b1);
    high = Math.imul(high ^ 0x1_0000, 0x1656_67b1);
  };
  for (const unit of units) feed(unit);
  if (reason !== undefined) feed(`!${reason}`);
  // The last bits go everywhere (MurmurHash3's finisher on both halves).
  low ^= Math.imul(high, 0x27d4_eb2f);
  high ^= Math.imul(low ^ (low >>> 16), 0x85eb_ca6b);
  const cookie = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  return cookie === 0n || cookie === 0xffff_ffff_ffff_ffffn ? 1n : cookie;
}
