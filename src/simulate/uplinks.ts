import type { RouterPort } from '../model/objects.ts';
import { type Decision, type Hook, passes, walkChain } from './chains.ts';
import { isIcmpError } from './frame.ts';
import type { Journey } from './journey.ts';
import type { ObjectRef } from './outcome.ts';
import type { Packet } from './packet.ts';
import { judgesWithoutState } from './tracking.ts';

/**
 * In-chains of uplinks that ask for the state of connections (docs/design/layer3.md, §5a). No gateway keeps any: the chain says what it would of a packet
 * that begins a connection, or else of one that belongs to a known one; then its anchor says whether it does.
 */
export function isJudgedWithoutState({ model }: Journey, { state }: Packet, port: RouterPort): boolean {
  return state === undefined && judgesWithoutState(model, port);
}

/** The packet as it goes on behind the in-chain; undefined where it is dropped, which the journey then knows. */
export function passesUplink(journey: Journey, packet: Packet, chain: string, hook: Hook): Packet | undefined {
  const asNew = isIcmpError(packet.frame) ? packet : withState(packet, { isNew: true });
  const asKnown = withState(packet, {
    ...(isIcmpError(packet.frame) ? { isRelated: true } : { isEstablished: true }),
    isReply: true,
  });
  const isLetIn = (given: Packet): boolean =>
    accepts(
      journey,
      chain,
      walkChain(journey.model, given, { chain, vlan: hook.vlan }, () => {}),
    );
  const isKnownOnly = !isLetIn(asNew) && isLetIn(asKnown);
  if (!passes(journey, isKnownOnly ? asKnown : asNew, chain, hook)) return undefined;
  if (!isKnownOnly) return packet;
  journey.step(packet.host, hook.at, 'accepted only as part of a known connection: its anchor will say whether it is');
  return { ...packet, isKnownOnly };
}

function accepts(journey: Journey, chain: string, decision: Decision): boolean {
  return decision ? decision.verdict === 'accept' : journey.model.get('chain', chain)?.policy !== 'drop';
}

function withState(packet: Packet, flags: Partial<NonNullable<Packet['state']>>): Packet {
  const none = { isNew: false, isEstablished: false, isReply: false, isRelated: false, isInvalid: false, mark: 0 };
  return { ...packet, state: { ...none, ...flags } };
}

/** Of a packet that may only be of a known connection, where that was looked for: it is, and goes on like any other. */
export function foundKnown(journey: Journey, packet: Packet, about: ObjectRef): Packet {
  if (!packet.isKnownOnly) return packet;
  journey.step(packet.host, about, 'its connection is known');
  return { ...packet, isKnownOnly: false };
}

/** As `foundKnown`, where nobody knows its connection. */
export function dropUnknown(journey: Journey, { host }: Packet, about: ObjectRef, to?: string): void {
  journey.step(host, about, 'its connection is unknown');
  journey.drop('unknown-connection', host, about, to);
}
