import type { Contribution } from '../../incremental/definitions.ts';
import { once } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import {
  CT_FLAGS,
  CT_MARK,
  INNER_TAGGED,
  INVALID,
  IPV4,
  IPV6,
  icmp6,
  load,
  match,
  move,
  REGISTERS,
  type Registers,
  TRACKED_FLAGS,
  UDP4,
  UDP6,
  VERDICT,
} from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define } from '../inputs.ts';
import { TABLES, type TableName } from '../tables.ts';
import { VERDICTS } from './verdict.ts';

/**
 * Conntrack and security groups around the chains of tracked ports (docs/design/layer3.md, §3 and §4). Everything here is the same for all
 * ports: zones and profiles are in registers.
 *
 *   vip ─▶ track ─ct(inZone)─▶ tracked ─▶ fromGroup ─▶ fromPort ─▶ fromVerdict ─▶ commit ─▶ unVip ─▶ answer
 *                                             └─resubmit─▶ group ◀─resubmit─┐
 *   toPort ─ct(outZone)─▶ toTracked ───────────────────────────────▶ toGroup ─▶ toChain ─▶ toVerdict ─▶ toCommit ─▶ fromVip ─▶ deliver
 *
 * Ports that are not tracked go from `track` to `fromPort` and from there, or from its verdict, to `answer`; from `toPort`, or from its
 * verdict, to `deliver`. What of a tracked port is not asked, such as ARP, has the chain between.
 * Groups are asked with the verdict "drop", which the rule that fits takes back.
 */
const TRACK = { exception: 150, closed: 140, ask: 130, tracked: 1 } as const;
/** In `tracked`; all but `invalid` is of packets to virtual addresses. */
export const TRACKED = {
  selfCall: 400,
  invalid: 300,
  unknownOnly: 290,
  known: 280,
  untouched: 200,
  translated: 150,
} as const;
export const GROUP = { none: 200, related: 150, reply: 100 } as const;
const CHAIN = { refused: 1000, tracked: 1 } as const;
export const COMMIT = { held: 300, marked: 200, helped: 180, asksHelper: 170, plain: 150, tracked: 100 } as const;

/** One side of a connection: the sender's, or the receiver's. */
export interface Side {
  readonly ask: 'track' | 'toPort';
  readonly asked: 'tracked' | 'toTracked';
  readonly group: 'fromGroup' | 'toGroup';
  readonly chain: 'fromPort' | 'toChain';
  /** Where ports go on that are not tracked; their chains are asked in `fromPort` and `toPort`. */
  readonly untracked: 'fromPort' | 'deliver';
  readonly verdict: 'fromVerdict' | 'toVerdict';
  readonly commit: 'commit' | 'toCommit';
  /** Where translated sources are turned back. */
  readonly unVip: 'unVip' | 'fromVip';
  readonly next: TableName;
  readonly zone: 'inZone' | 'outZone';
  readonly tracked: 'inTracked' | 'outTracked';
  /** What says that the connection came through a VIP, and how that is marked. */
  readonly vip: 'viaVip' | 'memberVip';
  /** Which rules judge the original direction: 0 ingress, 1 egress. */
  readonly judge: 0 | 1;
}

export const SENDER: Side = {
  ...{ ask: 'track', asked: 'tracked', group: 'fromGroup', chain: 'fromPort', commit: 'commit', unVip: 'unVip' },
  ...{
    untracked: 'fromPort',
    verdict: 'fromVerdict',
    next: 'answer',
    zone: 'inZone',
    tracked: 'inTracked',
    vip: 'viaVip',
    judge: 1,
  },
};
export const RECEIVER: Side = {
  ...{ ask: 'toPort', asked: 'toTracked', group: 'toGroup', chain: 'toChain', commit: 'toCommit', unVip: 'fromVip' },
  ...{
    untracked: 'deliver',
    verdict: 'toVerdict',
    next: 'deliver',
    zone: 'outZone',
    tracked: 'outTracked',
    vip: 'memberVip',
    judge: 0,
  },
};

export const trackUnit = define.unit({
  name: 'track',
  over: once,
  run: () => [SENDER, RECEIVER].flatMap((side) => [...asks(side), ...judges(side), ...commits(side)]),
});

/** Never asked of conntrack: neighbour discovery, multicast listeners (ICMPv6 130 to 137 and 143), and of the sender its DHCP. */
export const LINK: readonly Match[] = [130, 131, 132, 133, 134, 135, 136, 137, 143].map(icmp6);
export const DHCP = {
  4: { ...UDP4, udp_src: 68, udp_dst: 67 },
  6: { ...UDP6, udp_src: 546, udp_dst: 547 },
} as const satisfies Record<4 | 6, Match>;

function asks({ ask, asked, group, chain, untracked, zone, tracked }: Side): Contribution[] {
  const range = REGISTERS[zone];
  const who: Registers = { [tracked]: 1 };
  const track: Action = { kind: 'ct', zone: range, table: TABLES[asked].number };
  return [
    ...LINK.map((what) => flow(ask, TRACK.exception, match(who, what), { goto: chain })),
    // What has become the like of it on its way to a member of a balancer is no DHCP.
    ...(ask === 'track' ? Object.values(DHCP) : []).map((what) =>
      flow(ask, TRACK.exception, match({ ...who, viaVip: 0 }, what), { goto: chain }),
    ),
    // What groups judge would pass unseen in it.
    ...INNER_TAGGED.map((what) => flow(ask, TRACK.closed, match(who, what), { drop: 'tagged' })),
    ...[IPV4, IPV6].flatMap((ip) => [
      flow(ask, TRACK.closed, match({ ...who, [zone]: 0 }, ip), { drop: 'invalid' }),
      flow(ask, TRACK.ask, match(who, ip), { do: [track] }),
    ]),
    flow(ask, TRACK.tracked, match(who), { goto: chain }),
    flow(ask, 0, {}, { goto: untracked }),
    flow(asked, TRACKED.invalid, INVALID, { drop: 'invalid' }),
    flow(asked, 0, {}, { do: [move(CT_FLAGS, TRACKED_FLAGS)], goto: group }),
  ];
}

export const toGroup: Action = { kind: 'resubmit', table: TABLES.group.number };

/** Asks the ingress (0) or egress (1) rules. */
export function judgedBy(rules: 0 | 1, chain: Side['chain']): FlowTarget {
  return { do: [...load({ judge: rules, verdict: VERDICT.drop }), toGroup], goto: chain };
}

/** A reply is judged by the mirrored rules, so that a rule that is gone cuts both directions. */
function judges({ group, chain, commit, next, tracked, judge }: Side): Contribution[] {
  const judged = (by: 0 | 1): FlowTarget => judgedBy(by, chain);
  return [
    flow(group, GROUP.none, match({ profile: 0 }), { goto: chain }),
    flow(group, GROUP.reply, match({ isReply: 1 }), judged(judge === 0 ? 1 : 0)),
    flow(group, 0, {}, judged(judge)),
    flow(chain, CHAIN.refused, match({ verdict: VERDICT.drop }), { drop: 'group' }),
    flow(chain, CHAIN.tracked, match({ [tracked]: 1 }), { goto: commit }),
    flow(chain, 0, {}, { goto: next }),
  ];
}

function commits({ verdict, commit, unVip, next, zone, tracked, vip }: Side): Contribution[] {
  const who: Registers = { [tracked]: 1, isNew: 1 };
  const commitWith = (mark: number): Action => ({
    kind: 'ct',
    commit: true,
    zone: REGISTERS[zone],
    exec: [{ kind: 'setField', field: 'ct_mark', value: mark, mask: mark }],
  });
  return [
    ...[IPV4, IPV6].flatMap((ip) => [
      flow(commit, COMMIT.marked, match({ ...who, [vip]: 1 }, ip), {
        do: [commitWith(CT_MARK[vip] | CT_MARK.kept)],
        goto: unVip,
      }),
      flow(commit, COMMIT.plain, match(who, ip), { do: [commitWith(CT_MARK.kept)], goto: unVip }),
    ]),
    // Of ports that are not tracked there is nothing to commit.
    flow(verdict, VERDICTS.accept + 1, match({ verdict: VERDICT.accept, [tracked]: 0 }), { goto: next }),
    flow(verdict, VERDICTS.undecided + 1, match({ [tracked]: 0 }), { goto: next }),
    flow(commit, COMMIT.tracked, match({ [tracked]: 1 }), { goto: unVip }),
    flow(commit, 0, {}, { goto: next }),
    flow(unVip, 0, {}, { goto: next }),
  ];
}
