import type { Cidr } from '../base/addresses.ts';
import type { Contribution } from '../incremental/definitions.ts';
import type { Action, Match } from '../openflow/flow.ts';
import { prefixMatch } from './bits.ts';
import { ipOf, VALID } from './fields.ts';
import { flow } from './flow-sink.ts';
import { define, groupsThatNameIndex, profilesOfGroupIndex, type Reader, rulesThatNameIndex } from './inputs.ts';

/**
 * Members of security groups and address sets as conjunctive matches: one flow says that an address is in a set, however many rules ask
 * for the set, and one that it is in ten sets. The other clause is "asked for this set":
 *
 *   group  ct_nw_src=10.0.0.7          conjunction(set, 1/2)     one per member
 *   group  profile=…, tcp dst 22       conjunction(set, 2/2)     one per rule
 *   group  conj_id=set                 it fits                   one per set
 */
export type Side = 'src' | 'dst';

/** Who asks for a set here, and on which side: in `group` about the original direction, in `set` about the packet. */
interface Use {
  readonly group: readonly Side[];
  readonly set: readonly Side[];
}

const useOf = define.cell<Use>({
  name: 'useOfSet',
  run: (reader, set) => {
    const group = new Set<Side>();
    for (const user of reader.members(groupsThatNameIndex, set)) {
      const [name, way] = user.split('/') as [string, 'in' | 'out'];
      if (reader.ids(profilesOfGroupIndex, name).length > 0) group.add(way === 'in' ? 'src' : 'dst');
    }
    return { group: [...group].sort(), set: reader.members(rulesThatNameIndex, set) as readonly Side[] };
  },
});

/**
 * The id of the conjunction that asks whether an address is in a set (or has a port of a group): from its key, so that it is the same
 * after a restart. Undefined for one that is not there: nothing is in it.
 */
export function conjunctionOf(reader: Reader, set: string, side: Side): number | undefined {
  const key = reader.pick('addressSet', set, 'key') ?? reader.pick('securityGroup', set, 'key');
  return key === undefined ? undefined : key * 2 + (side === 'src' ? 0 : 1);
}

export function member(id: number): Action {
  return { kind: 'conjunction', id, clause: 1, of: 2 };
}

export function asked(id: number): Action {
  return { kind: 'conjunction', id, clause: 2, of: 2 };
}

/** In `group` and `set`: below what fits by itself. */
export const IN_SET = 100;

const ORIGINAL = {
  4: { src: 'ct_nw_src', dst: 'ct_nw_dst' },
  6: { src: 'ct_ipv6_src', dst: 'ct_ipv6_dst' },
} as const;
const CURRENT = { 4: { src: 'ip_src', dst: 'ip_dst' }, 6: { src: 'ipv6_src', dst: 'ipv6_dst' } } as const;

/** The other end of a connection, by its original direction. */
export function originalEnd({ ip, prefix }: Cidr, side: Side): Match {
  return { ...VALID, ...addressMatch({ ip, prefix }, ORIGINAL[ip.version][side]) };
}

function addressMatch({ ip, prefix }: Cidr, field: (typeof ORIGINAL | typeof CURRENT)[4 | 6][Side]): Match {
  const value = prefixMatch(ip.value, prefix, ip.version === 4 ? 32 : 128);
  return { ...ipOf(ip.version), ...(value === undefined ? {} : { [field]: value }) };
}

/** These addresses are in the set. */
export function memberFlows(reader: Reader, set: string, members: readonly Cidr[]): Contribution[] {
  const use = reader.derive(useOf, set);
  const flows: Contribution[] = [];
  for (const address of members) {
    for (const side of use.group) {
      const id = conjunctionOf(reader, set, side);
      if (id !== undefined) flows.push(flow('group', IN_SET, originalEnd(address, side), { do: [member(id)] }));
    }
    for (const side of use.set) {
      const id = conjunctionOf(reader, set, side);
      const match = addressMatch(address, CURRENT[address.ip.version][side]);
      if (id !== undefined) flows.push(flow('set', IN_SET, match, { do: [member(id)] }));
    }
  }
  return flows;
}
