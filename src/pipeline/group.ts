import type { FieldName } from '../openflow/fields.ts';
import { OFPP } from '../openflow/flow.ts';
import type { Bucket, GroupProperties } from '../openflow/messages/group.ts';
import { GROUP_TYPE } from '../openflow/messages/group.ts';
import { finishHash, hashFields, hashWord } from './hash.ts';
import { placeOf } from './layout.ts';

/** A group as a group-mod or a group description gives it. `type` is one of `GROUP_TYPE`. */
export interface Group extends GroupProperties {
  readonly group: number;
  readonly type: number;
  readonly buckets: readonly Bucket[];
}

/** The buckets that a packet goes through: all, the chosen one, or none. */
export function chooseBuckets(group: Group, key: Uint32Array, isLive: (port: number) => boolean): readonly Bucket[] {
  const live = (bucket: Bucket): boolean =>
    bucket.watchPort === undefined || bucket.watchPort === OFPP.any || isLive(bucket.watchPort);
  switch (group.type) {
    case GROUP_TYPE.all:
      return group.buckets;
    case GROUP_TYPE.indirect:
      return group.buckets.slice(0, 1);
    case GROUP_TYPE.fastFailover: {
      const first = group.buckets.find(live);
      return first ? [first] : [];
    }
    default:
      return select(group, group.buckets.filter(live), key);
  }
}

/**
 * Highest random weight with the buckets' weights: each bucket scores `-weight / ln(u)` with `u` in (0, 1) hashed from
 * packet and bucket. As in Open vSwitch a change of buckets moves only the packets that must move; which bucket a
 * packet gets is not the same as there.
 */
function select(group: Group, buckets: readonly Bucket[], key: Uint32Array): readonly Bucket[] {
  const hash = packetHash(group, key);
  let best: Bucket | undefined;
  let bestScore = 0;
  for (const [i, bucket] of buckets.entries()) {
    const weight = bucket.weight ?? 1;
    if (weight === 0) continue;
    const u = (finishHash(hashWord(hash, bucket.id ?? i)) + 1) / 0x1_0000_0001;
    const score = weight / -Math.log(u);
    if (score > bestScore) [best, bestScore] = [bucket, score];
  }
  return best ? [best] : [];
}

/** The fields of `selection_method=hash`, or the 5-tuple. */
function packetHash(group: Group, key: Uint32Array): number {
  if (!group.selectionFields) return hashFields(key, 'symmetric_l3l4+udp', Number(group.selectionParam ?? 0n) >>> 0);
  let hash = Number((group.selectionParam ?? 0n) & 0xffff_ffffn);
  for (const name in group.selectionFields) {
    if (name === 'unknown') continue;
    const { word, words } = placeOf(name as FieldName);
    for (let i = 0; i < words; i++) hash = hashWord(hash, key[word + i]!);
  }
  return finishHash(hash);
}
