import type { Contribution } from '../../incremental/definitions.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { tunnelOfport } from '../facts.ts';
import {
  CT_FLAGS,
  CT_STATE,
  GROUP_ADDRESS,
  IPV4,
  IPV6,
  load,
  match,
  move,
  NOT_LATER_FRAGMENT,
  PROTO,
  type Registers,
  TRACKED_FLAGS,
  VERDICT,
  WALK,
} from '../fields.ts';
import { type FlowTarget, flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { chainLogs } from '../quiet-chains.ts';
import { judgesWithoutState, routerAsksAtUplinks } from '../tracking.ts';
import { destinationTranslated, destinationUntouched } from '../translation.ts';
import { ANCHORED } from './anchor.ts';
import { TUNNEL_OUT } from './base.ts';
import { OWN } from './router-base.ts';
import { throughChain } from './to-port.ts';
import { LINK, TRACKED } from './track.ts';
import { TUNNEL } from './tunnel.ts';

/**
 * In-chains of uplinks that ask for the state of connections (docs/design/layer3.md, §5a). A gateway knows of none: the chain is run for the packet as
 * one that begins a connection and, where it would be dropped so, as one of a known connection. What is accepted as that alone goes on with the
 * register `knownOnly`, through tunnels with the group bit of its Ethernet source, until it meets a conntrack that knows its connection, or drops it.
 *
 *   inChain ─(as new)─▶ chain ─▶ uplink ─┬─(accepted)────────────────────────────────▶ own
 *                                        └─(as known)─▶ chain ─▶ uplink ─┬─(accepted)─▶ own          knownOnly
 *                                                                        └─(as new, not quiet)─▶ chain ─▶ inVerdict
 *
 * Both runs are quiet: nothing is logged, and what drops is not counted (units/chain.ts). Where the chain logs it is run once more for that.
 */
const IN_CHAIN = { error: 120, stateless: 110 } as const;
const UPLINK = { logged: 200, accepted: 150, refused: 100 } as const;
const TO_PORT = { link: 260, untracked: 250 } as const;

const NO_STATE: Registers = { isNew: 0, isEstablished: 0, isRelated: 0, isReply: 0 };
const AS_NEW: Registers = { ...NO_STATE, isNew: 1 };
const AS_KNOWN: Registers = { ...NO_STATE, isEstablished: 1, isReply: 1 };
/** ICMP errors begin nothing, and are of no connection but about one. */
const ERROR_AS_KNOWN: Registers = { ...NO_STATE, isRelated: 1, isReply: 1 };
/** RFC 792, RFC 4443: what a sender is told of its packet. */
const ICMP_ERRORS: readonly Match[] = [
  ...[3, 4, 5, 11, 12].map((icmp_type) => ({ ...IPV4, ip_proto: PROTO.icmp, ...NOT_LATER_FRAGMENT, icmp_type })),
  ...[1, 2, 3, 4].map((icmpv6_type) => ({ ...IPV6, ip_proto: PROTO.icmpv6, ...NOT_LATER_FRAGMENT, icmpv6_type })),
];

const DROP: FlowTarget = { goto: 'unknown' };
const onward: FlowTarget = { do: load({ ...NO_STATE, walk: 0, quiet: 0 }), goto: 'own' };
const onwardIfKnown: FlowTarget = { do: load({ ...NO_STATE, walk: 0, quiet: 0, knownOnly: 1 }), goto: 'own' };
/** What a chain leaves that lets a packet in. */
const ACCEPTED: readonly Registers[] = [{ verdict: VERDICT.accept }, { verdict: VERDICT.none, policyDrop: 0 }];

/** The in-chain of an uplink. */
export const uplinkUnit = define.unit({
  name: 'uplink',
  over: 'routerPort',
  run(reader, id): readonly Contribution[] {
    if (!reader.derive(judgesWithoutState, id)) return [];
    const routerPort = reader.pick('routerPort', id, 'key')!;
    const chain = reader.pick('routerPort', id, 'inChain')!;
    const { do: start = [], drop } = throughChain(reader, chain, 'uplink');
    // A chain that is not there: what it would have said is not known.
    if (drop !== undefined) return [];
    const run = (as: Registers, more: Registers): Action[] => [...load({ ...as, ...more }), ...start];
    const logs = reader.derive(chainLogs, chain);
    return [true, false].flatMap((isError): Contribution[] => {
      const [asNew, asKnown] = isError ? [NO_STATE, ERROR_AS_KNOWN] : [AS_NEW, AS_KNOWN];
      const judged: FlowTarget = { do: run(asNew, { walk: WALK.asNew, quiet: 1 }), goto: 'uplink' };
      const after = (walk: number, as: Registers): Registers => ({ routerPort, walk, ...as });
      const again = (as: Registers, then: FlowTarget): FlowTarget => ({
        ...then,
        do: [...run(as, { walk: 0, quiet: 0 }), ...(then.do ?? [])],
      });
      return [
        ...(isError ? ICMP_ERRORS : [{}]).map((what) =>
          flow(
            'inChain',
            isError ? IN_CHAIN.error : IN_CHAIN.stateless,
            match({ routerPort, ...NO_STATE }, what),
            judged,
          ),
        ),
        flow('uplink', UPLINK.refused, match(after(WALK.asNew, asNew)), {
          do: run(asKnown, { walk: WALK.asKnown }),
          goto: 'uplink',
        }),
        flow('uplink', UPLINK.refused, match(after(WALK.asKnown, asKnown)), again(asNew, { goto: 'inVerdict' })),
        ...(logs ? ACCEPTED : []).flatMap((as) => [
          flow('uplink', UPLINK.logged, match({ ...after(WALK.asNew, asNew), ...as }), again(asNew, onward)),
          flow(
            'uplink',
            UPLINK.logged,
            match({ ...after(WALK.asKnown, asKnown), ...as }),
            again(asKnown, onwardIfKnown),
          ),
        ]),
      ];
    });
  },
});

/** What all packets meet that may only be of a known connection: the same flows, whichever router's uplink has let them in. */
export const knownOnlyUnit = define.unit({
  name: 'knownOnly',
  over: 'router',
  run: (reader, id) =>
    reader.derive(routerAsksAtUplinks, id) ? [...betweenHosts(reader), ...atConntrack(), ...elsewhere()] : [],
});

function betweenHosts(reader: Reader): Contribution[] {
  const tunnel = reader.derive(tunnelOfport, '');
  const groupBit = (value: number): Action => ({
    kind: 'setField',
    field: 'eth_src',
    value,
    mask: GROUP_ADDRESS.mask as number,
  });
  const accepted = (walk: number, target: FlowTarget): Contribution[] =>
    ACCEPTED.map((as) => flow('uplink', UPLINK.accepted, match({ walk, ...as }), target));
  return [
    ...accepted(WALK.asNew, onward),
    ...accepted(WALK.asKnown, onwardIfKnown),
    ...(tunnel === undefined
      ? []
      : [
          flow('tunnelOut', TUNNEL_OUT.knownOnly, match({ knownOnly: 1 }), {
            // Taken off again: local copies of a flood come behind those for other hosts.
            do: [groupBit(GROUP_ADDRESS.value as number), { kind: 'output', port: tunnel }, groupBit(0)],
          }),
        ]),
    flow(
      'tunnel',
      TUNNEL.knownOnly,
      { eth_src: GROUP_ADDRESS },
      {
        do: [groupBit(0), ...load({ knownOnly: 1 })],
        goto: 'tunnel',
      },
    ),
  ];
}

/** Where the connection would be known. */
function atConntrack(): Contribution[] {
  const begins = CT_STATE.tracked | CT_STATE.new;
  const flags = move(CT_FLAGS, TRACKED_FLAGS);
  return [
    flow('anchored', ANCHORED.known, match({ knownOnly: 1 }, destinationTranslated), {
      do: [flags, ...load({ admitted: 1, knownOnly: 0 })],
      goto: 'inChain',
    }),
    flow('anchored', ANCHORED.unknownOnly, match({ knownOnly: 1 }, destinationUntouched), DROP),
    flow(
      'toTracked',
      TRACKED.unknownOnly,
      match({ knownOnly: 1 }, { ct_state: { value: begins, mask: begins } }),
      DROP,
    ),
    flow('toTracked', TRACKED.known, match({ knownOnly: 1 }), {
      do: [flags, ...load({ knownOnly: 0 })],
      goto: 'toGroup',
    }),
  ];
}

/** Where nobody knows connections: what is for the router itself, and for ports that are not tracked. And where all such packets end. */
function elsewhere(): Contribution[] {
  return [
    flow('unknown', 0, {}, { drop: 'unknown-connection' }),
    flow('own', OWN.knownOnly, match({ forRouter: 1, knownOnly: 1 }), DROP),
    ...LINK.map((what) => flow('toPort', TO_PORT.link, match({ knownOnly: 1 }, what), DROP)),
    flow('toPort', TO_PORT.untracked, match({ knownOnly: 1, outTracked: 0 }), DROP),
  ];
}
