import type { LogicalPort } from '../model/objects.ts';
import { HELPER_PROTOCOLS, type Helper } from '../model/texts.ts';
import type { ModelView } from '../model/view.ts';
import { helperOfGroups } from './groups.ts';
import type { Journey } from './journey.ts';
import type { ObjectRef } from './outcome.ts';
import type { Packet } from './packet.ts';
import { isInRange, protocolFits } from './rule-match.ts';
import type { PacketState, Reading } from './tracker.ts';
import { formatTuple, tupleOf } from './tuple.ts';

/** Who reads what is said on connections (docs/design/layer3.md, §4a). */

/** Of a packet that a helper lets in: which connection it belongs to. */
export function sayWhatReadIt(
  journey: Journey,
  host: string,
  at: ObjectRef,
  { isRelated, judged, original }: PacketState,
): void {
  if (isRelated && judged && original)
    journey.step(host, at, `is related to ${formatTuple(original)}, which a helper reads`);
}

/** What a new connection of a port is committed with. `byChain`: the helper of the rule that accepted it there. */
export function readingOf(
  journey: Journey,
  packet: Packet,
  port: LogicalPort,
  way: 'sends' | 'receives',
  byChain: Helper | undefined,
): Reading {
  const isVirtual = way === 'sends' ? packet.isViaVip : packet.vipMember === port.id;
  const { original, isRelated } = packet.state!;
  const direction = way === 'sends' ? 'egress' : 'ingress';
  if (isVirtual || isRelated || !original) return {};
  const helper = byChain ?? helperOfGroups(journey.model, port, direction, original);
  if (helper === undefined) return {};
  const about = { kind: 'port', id: port.id } as const;
  const what = helper === 'ftp' ? 'the data connections agreed on there are' : 'answers from another port are';
  journey.step(packet.host, about, `helper ${helper} reads it: ${what} let through as related`);
  return { helper, judged: direction };
}

/**
 * What a router's zone reads that translates an address of the port: connections of the protocol and ports that rules of the port have a
 * helper for, whoever the other end is.
 */
export function readingAtRouter(model: ModelView, id: string, way: 'in' | 'out', packet: Packet): Reading {
  const port = model.get('port', id);
  const tuple = tupleOf(packet.frame);
  if (!port || !tuple) return {};
  const reads = (helper: Helper, ports: string): boolean =>
    protocolFits(HELPER_PROTOCOLS[helper], tuple) && isInRange(ports, tuple.dstPort);
  for (const group of port.groups)
    for (const { helper, ports } of model.get('securityGroup', group)?.[way === 'in' ? 'ingress' : 'egress'] ?? [])
      if (helper !== undefined && reads(helper, ports!)) return { helper };
  const open = [way === 'in' ? port.toChain : port.fromChain].filter((chain) => chain !== undefined);
  const seen = new Set(open);
  for (const chain of seen)
    for (const { helper, match, jumpTo } of model.rulesOfChain(chain)) {
      if (helper !== undefined && reads(helper, match.dstPorts!)) return { helper };
      if (jumpTo !== undefined) seen.add(jumpTo);
    }
  return {};
}
