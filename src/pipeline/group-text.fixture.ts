import { formatActions } from '../openflow/text/action-format.ts';
import type { Group } from './group.ts';

const TYPES = ['all', 'select', 'indirect', 'ff'];

/** A group as `ovs-ofctl add-groups` takes it. */
export function groupText({ group, type, buckets }: Group): string {
  const list = buckets.map(({ actions }) => `bucket=actions=${formatActions(actions)}`).join(',');
  return `group_id=${group},type=${TYPES[type]},${list}`;
}
