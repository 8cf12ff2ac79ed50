import { setCover } from './bits.ts';
import type { RegisterMatch } from './fields.ts';
import type { Reader } from './inputs.ts';

/** Which VLANs of a VLAN-aware switch a port is in. */
export type Vlans = 'all' | readonly number[];

export function vlansOf(reader: Reader, port: string): Vlans {
  const vlan = reader.pick('port', port, 'vlan');
  if (vlan === undefined) return 'all';
  if ('access' in vlan) return [vlan.access];
  if (vlan.trunk === 'all') return 'all';
  return vlan.native === undefined ? vlan.trunk : [...vlan.trunk, vlan.native];
}

/** VLANs in which the same members are, as one match on the register. */
export interface VlanBlock {
  readonly members: readonly string[];
  readonly vlans: RegisterMatch;
  /** Added to a flow's priority: VLANs by name stand above "all others". */
  readonly above: 0 | 1;
}

/**
 * Members by VLAN, in as few matches as prefixes allow. Blocks without members are there too where members of "all" VLANs
 * would otherwise be taken for theirs; where nobody is in a VLAN there is no block.
 */
export function vlanBlocks(members: readonly string[], vlansOfMember: (member: string) => Vlans): VlanBlock[] {
  const everywhere: string[] = [];
  const named = new Map<number, string[]>();
  const lists = members.map((member) => [member, vlansOfMember(member)] as const);
  for (const [member, vlans] of lists) if (vlans === 'all') everywhere.push(member);
  for (const [member, vlans] of lists) {
    if (vlans === 'all') continue;
    for (const vlan of new Set(vlans)) {
      const there = named.get(vlan);
      if (there === undefined) named.set(vlan, [member]);
      else there.push(member);
    }
  }
  const bySignature = new Map<string, { members: string[]; vlans: number[] }>();
  for (const [vlan, there] of named) {
    const signature = there.join(' ');
    const known = bySignature.get(signature);
    if (known === undefined) bySignature.set(signature, { members: [...there, ...everywhere].sort(), vlans: [vlan] });
    else known.vlans.push(vlan);
  }
  const blocks: VlanBlock[] = [];
  for (const { members: there, vlans } of bySignature.values())
    for (const vlan of setCover(vlans, 12)) blocks.push({ members: there, vlans: { vlan }, above: 1 });
  if (everywhere.length > 0) blocks.push({ members: everywhere, vlans: {}, above: 0 });
  return blocks;
}
