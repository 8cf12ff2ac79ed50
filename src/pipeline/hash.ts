import type { Action, MultipathFields } from '../openflow/flow.ts';
import { placeOf } from './layout.ts';

/**
 * The choice that `multipath` and `bundle` make (`ovs-actions(7)`): which fields are hashed, and how a hash picks a
 * link. The hash function is ours, not Open vSwitch's (whose results differ between builds): the spread is alike, the
 * choice for one packet is not.
 */

type Multipath = Extract<Action, { kind: 'multipath' }>;

const words = (...names: Parameters<typeof placeOf>[0][]): number[] =>
  names.flatMap((name) => {
    const place = placeOf(name);
    return Array.from({ length: place.words }, (_, i) => place.word + i);
  });

const ETH_SRC = words('eth_src');
const ETH_DST = words('eth_dst');
const IP_SRC = words('ip_src', 'ipv6_src');
const IP_DST = words('ip_dst', 'ipv6_dst');
const PORTS = [placeOf('tcp_src').word, placeOf('tcp_dst').word] as const;
const ETH_TYPE = placeOf('eth_type').word;
const VLAN_TCI = placeOf('vlan_tci').word;
const IP_PROTO = placeOf('ip_proto').word;
const TCP = 6;
const UDP = 17;
const SCTP = 132;

/** MurmurHash3, 32 bit: one word. */
export function hashWord(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e_2d51);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b87_3593);
  return Math.imul((h << 13) | (h >>> 19), 5) + 0xe654_6b64;
}

export function finishHash(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85eb_ca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Hashes what `fields` names. Symmetric ones give the same for both directions of a connection. */
export function hashFields(key: Uint32Array, fields: MultipathFields, basis: number): number {
  let hash = basis;
  const add = (list: readonly number[]): void => {
    for (const word of list) hash = hashWord(hash, key[word]!);
  };
  const both = (a: readonly number[], b: readonly number[]): void => {
    for (let i = 0; i < a.length; i++) hash = hashWord(hash, key[a[i]!]! ^ key[b[i]!]!);
  };
  switch (fields) {
    case 'eth_src':
      add(ETH_SRC);
      break;
    case 'nw_src':
      add(IP_SRC);
      break;
    case 'nw_dst':
      add(IP_DST);
      break;
    case 'symmetric_l3':
      both(IP_SRC, IP_DST);
      break;
    case 'symmetric_l4':
      both(ETH_SRC, ETH_DST);
      add([ETH_TYPE, VLAN_TCI]);
      both(IP_SRC, IP_DST);
      add([IP_PROTO]);
      if (hasPorts(key, [TCP, SCTP])) both([PORTS[0]], [PORTS[1]]);
      break;
    case 'symmetric_l3l4':
    case 'symmetric_l3l4+udp':
      both(IP_SRC, IP_DST);
      add([IP_PROTO]);
      if (hasPorts(key, fields === 'symmetric_l3l4' ? [TCP, SCTP] : [TCP, SCTP, UDP])) both([PORTS[0]], [PORTS[1]]);
      break;
  }
  return finishHash(hash);
}

function hasPorts(key: Uint32Array, protocols: readonly number[]): boolean {
  return protocols.includes(key[IP_PROTO]!);
}

/** The link that a hash chooses, 0 to `links` - 1. */
export function chooseLink(algorithm: Multipath['algorithm'], hash: number, links: number, arg: number): number {
  switch (algorithm) {
    case 'modulo_n':
      return hash % links;
    case 'hash_threshold':
      return links === 1 ? 0 : Math.floor(hash / (Math.floor(0xffff_ffff / links) + 1));
    case 'hrw':
      return highestWeight(hash, links);
    case 'iter_hash': {
      const modulo = links >= 2 ** 31 ? 2 ** 31 : 2 ** Math.ceil(Math.log2(Math.max(links, 1)));
      for (let basis = hash, left = 0; ; left++) {
        basis = finishHash(hashWord(basis, arg));
        const link = basis % modulo;
        if (link < links || left > 64) return link % links;
      }
    }
  }
}

/** The member of highest random weight (RFC 2992's rendezvous hashing). */
export function highestWeight(hash: number, links: number, live: (link: number) => boolean = () => true): number {
  let best = -1;
  let bestWeight = -1;
  for (let link = 0; link < links; link++) {
    if (!live(link)) continue;
    const weight = finishHash(hashWord(hash, link));
    if (weight > bestWeight) [best, bestWeight] = [link, weight];
  }
  return best;
}
