import { type Cidr, type Ipv4, type Ipv6, parseCidr } from '../base/addresses.ts';
import type { LearnedHop, LearnedRoutes, LearnedSet } from './objects.ts';

/**
 * Routes that gateways learned, many in one record (docs/design/gateways.md, §2): of a hundred thousand each costs five bytes. A router's routes at a gateway
 * are in `BLOCKS` blocks, each network in the one that its address says, so that a change of one tells its block anew and nothing else.
 *
 *     learnedSet     <router>/<host>/<number>   next hops
 *     learnedRoutes  <router>/<host>/<block>    of each set the networks, as BGP has them in its messages (RFC 4271 §4.3), in base64:
 *
 *       +---------------------------+
 *       |   Length in bits (1 byte) |
 *       +---------------------------+
 *       |   Prefix (0..16 bytes)    |   as many as hold the bits, the last filled up with zeros
 *       +---------------------------+
 */
export const BLOCKS = 256;

/** One of a block's sets with its networks, IPv4 and IPv6 apart; none: absent. */
export interface PackedRoutes {
  /** The number of the learnedSet. */
  readonly set: string;
  readonly v4?: string;
  readonly v6?: string;
}

export function blockOf(network: Cidr): string {
  return blockNameOf(blockNumberOf(network));
}

/** Two hexadecimal digits. */
export function blockNameOf(block: number): string {
  return block.toString(16).padStart(2, '0');
}

export function blockNumberOf({ ip, prefix }: Cidr): number {
  const { value } = ip;
  let hash = ip.version === 4 ? Number(value) : wordOf(value as bigint, 0);
  if (ip.version === 6) for (let word = 1; word < 4; word++) hash = Math.imul(hash, 31) ^ wordOf(value as bigint, word);
  hash = Math.imul(hash ^ (hash >>> 16) ^ prefix, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) & (BLOCKS - 1);
}

function wordOf(value: bigint, word: number): number {
  return Number(BigInt.asUintN(32, value >> BigInt(32 * word)));
}

function packRoutes(networks: readonly Cidr[]): string {
  const bytes = Buffer.allocUnsafe(networks.reduce((sum, { prefix }) => sum + 1 + bytesOf(prefix), 0));
  let at = 0;
  for (const { ip, prefix } of networks) {
    bytes[at++] = prefix;
    const length = bytesOf(prefix);
    if (ip.version === 4) for (let i = 0; i < length; i++) bytes[at++] = (ip.value >>> (24 - 8 * i)) & 0xff;
    else for (let i = 0; i < length; i++) bytes[at++] = Number((ip.value >> BigInt(120 - 8 * i)) & 0xffn);
  }
  return bytes.toString('base64');
}

/** Of what `packRoutes` gave. */
export function* unpackRoutes(text: string, version: 4 | 6): Iterable<Cidr> {
  const bytes = Buffer.from(text, 'base64');
  for (let at = 0; at < bytes.length; ) {
    yield networkAt(bytes, at, version);
    at = behind(bytes, at);
  }
}

function networkAt(bytes: Uint8Array, at: number, version: 4 | 6): Cidr {
  const prefix = bytes[at]!;
  const end = behind(bytes, at);
  if (version === 4) {
    let value = 0;
    for (let i = 1; i <= 4; i++) value = value * 256 + (at + i < end ? bytes[at + i]! : 0);
    return { ip: { version, value: value as Ipv4 }, prefix };
  }
  let value = 0n;
  for (let i = 1; i <= 16; i++) value = (value << 8n) | BigInt(at + i < end ? bytes[at + i]! : 0);
  return { ip: { version, value: value as Ipv6 }, prefix };
}

/** Where the network at a place ends. */
function behind(bytes: Uint8Array, at: number): number {
  return at + 1 + bytesOf(bytes[at]!);
}

/**
 * What only one of two lists has. They are sorted, as `packBlock` makes them, so what is in both costs a look at its bytes. (Of lists that are not, what is in
 * both may be said to be gone and to have come.)
 */
export function differenceOfPacked(
  before: string,
  after: string,
  version: 4 | 6,
): { readonly gone: readonly Cidr[]; readonly come: readonly Cidr[] } {
  const gone: Cidr[] = [];
  const come: Cidr[] = [];
  if (before === after) return { gone, come };
  const [old, now] = [Buffer.from(before, 'base64'), Buffer.from(after, 'base64')];
  for (let [i, j] = [0, 0]; i < old.length || j < now.length; ) {
    const order = i >= old.length ? 1 : j >= now.length ? -1 : compareAt(old, i, now, j);
    if (order < 0) gone.push(networkAt(old, i, version));
    else if (order > 0) come.push(networkAt(now, j, version));
    if (order <= 0) i = behind(old, i);
    if (order >= 0) j = behind(now, j);
  }
  return { gone, come };
}

/** As `compareCidrs`. */
function compareAt(a: Uint8Array, i: number, b: Uint8Array, j: number): number {
  const [inA, inB] = [bytesOf(a[i]!), bytesOf(b[j]!)];
  for (let byte = 1; byte <= inA || byte <= inB; byte++) {
    // A list may be cut short, if it is not one of ours.
    const difference = (byte <= inA ? (a[i + byte] ?? 0) : 0) - (byte <= inB ? (b[j + byte] ?? 0) : 0);
    if (difference !== 0) return difference;
  }
  return a[i]! - b[j]!;
}

/** How many there are; undefined for what `packRoutes` does not give (a network with bits behind its length is one, of another). */
export function countPacked(text: string, version: 4 | 6): number | undefined {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) return undefined;
  let count = 0;
  let at = 0;
  for (; at < bytes.length; count++) {
    const prefix = bytes[at]!;
    if (prefix > (version === 4 ? 32 : 128)) return undefined;
    const end = at + 1 + bytesOf(prefix);
    if (prefix % 8 > 0 && end <= bytes.length && (bytes[end - 1]! & (0xff >> (prefix % 8))) !== 0) return undefined;
    at = end;
  }
  return at === bytes.length ? count : undefined;
}

function bytesOf(prefix: number): number {
  return (prefix + 7) >>> 3;
}

/** What a network has in a block: the number of its set. */
export function packedSetOf(routes: readonly PackedRoutes[], to: Cidr): string | undefined {
  const wanted = Buffer.from(packRoutes([to]), 'base64');
  for (const { set, v4, v6 } of routes) {
    const bytes = Buffer.from((to.ip.version === 4 ? v4 : v6) ?? '', 'base64');
    for (let at = 0; at < bytes.length; at += 1 + bytesOf(bytes[at]!))
      if (bytes[at] === wanted[0] && bytes.compare(wanted, 0, wanted.length, at, at + wanted.length) === 0) return set;
  }
  return undefined;
}

/** Its networks with their sets' numbers. */
export function* routesIn(routes: readonly PackedRoutes[]): Iterable<{ readonly to: Cidr; readonly set: string }> {
  for (const { set, v4, v6 } of routes) {
    for (const to of unpackRoutes(v4 ?? '', 4)) yield { to, set };
    for (const to of unpackRoutes(v6 ?? '', 6)) yield { to, set };
  }
}

/** A block of these networks: the same for the same, in whatever order they come. */
export function packBlock(routes: Iterable<{ readonly to: Cidr; readonly set: string }>): {
  readonly routes: readonly PackedRoutes[];
  readonly count: number;
} {
  const sets = new Map<string, { readonly v4: Cidr[]; readonly v6: Cidr[] }>();
  let count = 0;
  for (const { to, set } of routes) {
    const known = sets.get(set) ?? { v4: [], v6: [] };
    sets.set(set, known);
    known[to.ip.version === 4 ? 'v4' : 'v6'].push(to);
    count++;
  }
  const packed = (networks: Cidr[]): string => packRoutes(networks.sort(compareCidrs));
  return {
    routes: [...sets]
      .sort(([a], [b]) => Number(a) - Number(b))
      .map(([set, { v4, v6 }]) => ({
        ...{ set },
        ...(v4.length === 0 ? {} : { v4: packed(v4) }),
        ...(v6.length === 0 ? {} : { v6: packed(v6) }),
      })),
    count,
  };
}

function compareCidrs(a: Cidr, b: Cidr): number {
  return a.ip.value < b.ip.value ? -1 : a.ip.value > b.ip.value ? 1 : a.prefix - b.prefix;
}

/** Next hops of a set to which packets can go. */
export function livingHops({ via, ended }: Pick<LearnedSet, 'via' | 'ended'>): readonly LearnedHop[] {
  return ended === undefined ? via : via.filter(({ address }) => !ended.includes(address));
}

/** What a gateway learned, as records. `to` as `formatCidr` writes it. */
export function learnedRecords(
  router: string,
  host: string,
  learned: Iterable<{ readonly to: string; readonly via: readonly LearnedHop[] }>,
): readonly (LearnedSet | LearnedRoutes)[] {
  const sets = new Map<string, LearnedSet>();
  const blocks = new Map<string, { readonly to: Cidr; readonly set: string }[]>();
  for (const { to: text, via } of learned) {
    const name = JSON.stringify(via);
    const set = sets.get(name)?.set ?? `${sets.size + 1}`;
    const id = `${router}/${host}/${set}`;
    sets.set(name, { kind: 'learnedSet', id, revision: 1, router, host, set, via });
    const to = parseCidr(text)!;
    const block = blockOf(to);
    blocks.set(block, [...(blocks.get(block) ?? []), { to, set }]);
  }
  return [
    ...sets.values(),
    ...[...blocks].map(([block, routes]): LearnedRoutes => {
      const id = `${router}/${host}/${block}`;
      return { kind: 'learnedRoutes', id, revision: 1, router, host, block, ...packBlock(routes) };
    }),
  ];
}
