import type { Contribution } from '../../incremental/definitions.ts';
import type { Helper } from '../../model/texts.ts';
import { type Action, CT_ALG, type Match } from '../../openflow/flow.ts';
import { prefixCover } from '../bits.ts';
import { CT_MARK, IPV4, IPV6, load, match, PROTO, REGISTERS, VERDICT } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader, rulesIndex } from '../inputs.ts';
import { TABLES } from '../tables.ts';
import { COMMIT, GROUP, judgedBy, RECEIVER, SENDER, type Side, toGroup } from './track.ts';

/**
 * Helpers of connection tracking (docs/design/layer3.md, §4a): a new connection that a rule with a helper accepts is committed with it, in the
 * zone of the port whose rule it is. Only where such rules are there are any of these flows:
 *
 *   fromGroup ─▶ … ─▶ fromVerdict ─▶ commit ─(helped=1)─▶ group ─▶ commit ─ct(commit,alg)─▶ unVip     a rule of a security group
 *   chain (helped=1) ─▶ fromVerdict ─▶ commit ─ct(commit,alg)─▶ unVip                                  a rule of a chain
 *   toGroup, toVerdict, toCommit, fromVip likewise
 *
 * What security groups let pass is not decided by one flow: a connection that they have allowed is asked about once more, by another number of
 * the port's profile that only rules with helpers know. The data connections come as `related`, with the original direction (and the
 * mark) of their control connection, so that they are judged as that is: a rule that is gone cuts both at once.
 */
const READS = { ftp: PROTO.tcp, tftp: PROTO.udp } as const satisfies Record<Helper, number>;

/** Under which number a profile (31 bits) asks for rules with helpers: what `helped` makes of it. */
export function helpedProfile(profile: number): number {
  return profile + 2 ** REGISTERS.helped.from;
}

/** On one side of connections: what the groups of the ports with this profile allow may have a helper. */
export function asksForHelper({ commit, tracked }: Side, helper: Helper, profile: number): Contribution[] {
  const begins = { [tracked]: 1, isNew: 1, isRelated: 0, profile };
  return ofBoth(helper).map((what) =>
    flow(commit, COMMIT.asksHelper, match(begins, what), {
      do: [...load({ helped: 1, verdict: VERDICT.none }), toGroup],
      goto: commit,
    }),
  );
}

/** … and what then has one gets it; connections to virtual addresses get none. */
export function givesHelper({ commit, unVip, zone, tracked, judge }: Side, helper: Helper): Contribution[] {
  const { kept, helped, began } = CT_MARK;
  const isSender = judge === 1;
  const mark = kept | helped | (isSender ? began : 0);
  const withHelper: Action = {
    kind: 'ct',
    commit: true,
    zone: REGISTERS[zone],
    // Senders: in a pass of its own, behind which a `ct_clear` has something to clear. Until then Open vSwitch's userspace datapath (3.5) gives the
    // packet's next commit, in the zone of a router, the helper too.
    ...(isSender ? { table: TABLES[unVip].number } : {}),
    alg: CT_ALG[helper],
    exec: [{ kind: 'setField', field: 'ct_mark', value: mark, mask: mark }],
  };
  // A data connection that a helper let in is no control connection.
  const found = { [tracked]: 1, isNew: 1, isRelated: 0, helped: 1, verdict: VERDICT.accept };
  return ofBoth(helper).map((what) =>
    flow(commit, COMMIT.helped, match(found, what), { do: [withHelper], ...(isSender ? {} : { goto: unVip }) }),
  );
}

/** Whatever a helper lets in is judged as its control connection is: by the port's own rules for that way, whoever begins it. */
export function judgesRelated(): Contribution[] {
  const { helped, began } = CT_MARK;
  return [SENDER, RECEIVER].flatMap(({ group, chain }) =>
    ([0, 1] as const).map((rules) => {
      const of = { ct_mark: { value: helped | (rules === 1 ? began : 0), mask: helped | began } };
      return flow(group, GROUP.related, match({ isRelated: 1 }, of), judgedBy(rules, chain));
    }),
  );
}

function ofBoth(helper: Helper): Match[] {
  return [IPV4, IPV6].map((ip) => ({ ...ip, ip_proto: READS[helper] }));
}

/** Control connections of a port that its rules have helpers for, as matches on protocol and port. */
export interface Read {
  readonly helper: Helper;
  readonly what: Match;
}

/** Helpers of the rules of a chain, and of those that it jumps to: `ftp/21`. */
const helpersOfChain = define.cell<readonly string[]>({
  name: 'helpersOfChain',
  run: (reader, chain) => {
    const seen = new Set([chain]);
    const found = new Set<string>();
    for (const at of seen)
      for (const rule of reader.ids(rulesIndex, at)) {
        const helper = reader.pick('rule', rule, 'helper');
        const ports = helper === undefined ? undefined : reader.pick('rule', rule, 'match')?.dstPorts;
        if (ports !== undefined) found.add(`${helper}/${ports}`);
        const next = reader.pick('rule', rule, 'jumpTo');
        if (next !== undefined) seen.add(next);
      }
    return [...found].sort();
  },
});

/**
 * What a router's zone has to read where it translates an address of the port: the connections to it (`in`) or from it (`out`) that its own
 * rules may have a helper for. Who the other end is is not asked: what is read needlessly opens nothing at the port.
 */
export function readBy(reader: Reader, port: string, way: 'in' | 'out'): Read[] {
  const found = new Set<string>();
  for (const group of reader.pick('port', port, 'groups') ?? [])
    for (const { helper, ports } of reader.pick('securityGroup', group, way === 'in' ? 'ingress' : 'egress') ?? [])
      if (helper !== undefined && ports !== undefined) found.add(`${helper}/${ports}`);
  const chain = reader.pick('port', port, way === 'in' ? 'toChain' : 'fromChain');
  if (chain !== undefined) for (const text of reader.derive(helpersOfChain, chain)) found.add(text);
  return [...found].sort().flatMap((text) => {
    const [helper, ports] = text.split('/') as [Helper, string];
    const [first, last] = ports.split('-').map(Number) as [number, number | undefined];
    const field = helper === 'ftp' ? 'tcp_dst' : 'udp_dst';
    return prefixCover(first, last ?? first, 16).map(({ value, mask }) => ({
      helper,
      what: { ip_proto: READS[helper], [field]: mask === 0xffff ? value : { value, mask } },
    }));
  });
}

/** The same actions, with the helper where they commit. */
export function committingWith(actions: readonly Action[], helper: Helper): Action[] {
  return actions.map((action) => (action.kind === 'ct' && action.commit ? { ...action, alg: CT_ALG[helper] } : action));
}
