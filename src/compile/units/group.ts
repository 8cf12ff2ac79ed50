import type { Contribution } from '../../incremental/definitions.ts';
import type { GroupRule } from '../../model/objects.ts';
import type { Masked, Match } from '../../openflow/flow.ts';
import { prefixCover } from '../bits.ts';
import { ipOf, load, match, PROTO, VALID, VERDICT } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, groupMembersIndex, profileGroupsIndex, type Reader, setMembersIndex } from '../inputs.ts';
import { cidrOf } from '../owned.ts';
import { asked, conjunctionOf, IN_SET, memberFlows, originalEnd, type Side } from '../sets.ts';
import { profileNumber } from '../tracking.ts';
import { asksForHelper, givesHelper, helpedProfile, judgesRelated } from './connection-helpers.ts';
import { RECEIVER, SENDER } from './track.ts';

/**
 * Security groups (docs/design/layer3.md, §3.3): what a connection may be, by its original direction. Only the tuple that conntrack keeps
 * is asked, so replies, ICMP errors and later fragments are judged as the connection that they belong to.
 */
const FITS = 200;
const fits = { do: load({ verdict: VERDICT.none }) } as const;
const isHelped = { do: load({ verdict: VERDICT.accept }) } as const;

/** The rules of one group, for the ports that have one set of groups. */
export const groupRulesUnit = define.unit({
  name: 'groupRules',
  over: profileGroupsIndex,
  run(reader, key) {
    const slash = key.indexOf('/');
    const group = key.slice(0, slash);
    const profile = reader.derive(profileNumber, key.slice(slash + 1));
    const ways = [
      { rules: reader.pick('securityGroup', group, 'ingress'), judge: 0, other: 'src' },
      { rules: reader.pick('securityGroup', group, 'egress'), judge: 1, other: 'dst' },
    ] as const;
    return ways.flatMap(({ rules, judge, other }) =>
      (rules ?? []).flatMap((rule) => [
        ...ruleFlows(reader, rule, match({ profile, judge }), other),
        ...helperFlows(reader, rule, { profile, judge }, other),
      ]),
    );
  },
});

function ruleFlows(reader: Reader, rule: GroupRule, who: Match, other: Side): Contribution[] {
  const set = rule.group ?? rule.addressSet;
  if (set === undefined) return connections(rule, other).map((what) => flow('group', FITS, { ...who, ...what }, fits));
  const id = conjunctionOf(reader, set, other);
  if (id === undefined) return [];
  return [
    ...connections(rule, other).map((what) => flow('group', IN_SET, { ...who, ...what }, { do: [asked(id)] })),
    flow('group', IN_SET, { conj_id: id }, fits),
  ];
}

/** A rule with a helper once more, for the number by which such rules alone are asked (connection-helpers.ts). */
function helperFlows(
  reader: Reader,
  rule: GroupRule,
  at: { profile: number; judge: 0 | 1 },
  other: Side,
): Contribution[] {
  const { helper } = rule;
  if (helper === undefined) return [];
  const side = at.judge === 1 ? SENDER : RECEIVER;
  const who = match({ profile: helpedProfile(at.profile), judge: at.judge });
  const set = rule.group ?? rule.addressSet;
  const id = set === undefined ? undefined : conjunctionOf(reader, set, other);
  if (set !== undefined && id === undefined) return [];
  return [
    ...asksForHelper(side, helper, at.profile),
    ...givesHelper(side, helper),
    ...judgesRelated(),
    ...connections(rule, other).map((what) =>
      id === undefined
        ? flow('group', FITS, { ...who, ...what }, isHelped)
        : flow('group', IN_SET, { ...who, ...what }, { do: [asked(id)] }),
    ),
    ...(id === undefined ? [] : [flow('group', IN_SET + 1, match({ helped: 1 }, { conj_id: id }), isHelped)]),
  ];
}

/** What connections fit a rule, its set aside: as few matches as port ranges and IP versions allow. */
function connections(rule: GroupRule, other: Side): Match[] {
  const protocol = typeof rule.protocol === 'string' ? PROTO[rule.protocol] : rule.protocol;
  const end = rule.cidr === undefined ? undefined : cidrOf(rule.cidr);
  const ends =
    end === undefined
      ? versions(rule, protocol)
      : fitsVersion(end.ip.version, rule, protocol)
        ? [originalEnd(end, other)]
        : [];
  if (protocol === undefined) return ends;
  const ports = portsOf(rule);
  return ends.flatMap((ip) => ports.map((port) => ({ ...VALID, ...ip, ct_nw_proto: protocol, ...port })));
}

function fitsVersion(version: 4 | 6, { ipVersion }: GroupRule, protocol: number | undefined): boolean {
  if (ipVersion !== undefined && ipVersion !== version) return false;
  return version === 4 ? protocol !== PROTO.icmpv6 : protocol !== PROTO.icmp;
}

/** The IP versions that a rule without a network fits; [{}] for both, where nothing else is asked. */
function versions(rule: GroupRule, protocol: number | undefined): Match[] {
  if (protocol === undefined && rule.ipVersion === undefined) return [{}];
  return ([4, 6] as const).filter((version) => fitsVersion(version, rule, protocol)).map(ipOf);
}

/** Ports, or type and code of ICMP: conntrack keeps these in the same fields. */
function portsOf({ ports, icmpType, icmpCode }: GroupRule): Match[] {
  if (ports !== undefined) {
    const [first, last] = ports.split('-').map(Number) as [number, number | undefined];
    return prefixCover(first, last ?? first, 16).map((block) => portMatch(block));
  }
  return [
    {
      ...(icmpType === undefined ? {} : { ct_tp_src: icmpType }),
      ...(icmpCode === undefined ? {} : { ct_tp_dst: icmpCode }),
    },
  ];
}

function portMatch(block: Masked): Match {
  if (block.mask === 0xffff) return { ct_tp_dst: block.value };
  return block.mask === 0 ? {} : { ct_tp_dst: block };
}

/** A port of a group: its own addresses. */
export const groupMemberUnit = define.unit({
  name: 'groupMember',
  over: groupMembersIndex,
  run(reader, key): readonly Contribution[] {
    const slash = key.indexOf('/');
    const addresses = reader.pick('port', key.slice(slash + 1), 'addresses') ?? [];
    return memberFlows(reader, key.slice(0, slash), addresses.map(cidrOf));
  },
});

export const setMemberUnit = define.unit({
  name: 'setMember',
  over: setMembersIndex,
  run(reader, key): readonly Contribution[] {
    const slash = key.indexOf('/');
    return memberFlows(reader, key.slice(0, slash), [cidrOf(key.slice(slash + 1))]);
  },
});
