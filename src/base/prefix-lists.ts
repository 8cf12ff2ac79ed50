import { type Cidr, cidrContains, parseCidr } from './addresses.ts';

/** A network with all within it; or one with the lengths that are meant: its own, unless `ge` or `le` (at least, at most) say otherwise. */
export type PrefixEntry = string | { readonly network: string; readonly ge?: number; readonly le?: number };

/** From the shortest to the longest prefix of the entry's network that it means. */
export function lengthsOf(entry: PrefixEntry): {
  readonly network: Cidr;
  readonly least: number;
  readonly most: number;
} {
  const { network: text, ge, le } = typeof entry === 'string' ? { network: entry } : entry;
  const network = parseCidr(text)!;
  const longest = network.ip.version === 4 ? 32 : 128;
  const isWhole = typeof entry === 'string' || ge !== undefined;
  return { network, least: ge ?? network.prefix, most: le ?? (isWhole ? longest : network.prefix) };
}

/** Does any entry mean this network? */
export function permits(entries: readonly PrefixEntry[], { ip, prefix }: Cidr): boolean {
  return entries.some((entry) => {
    const { network, least, most } = lengthsOf(entry);
    return prefix >= least && prefix <= most && cidrContains(network, ip);
  });
}
