import { type Passed, passes } from './chains.ts';
import { readingOf, sayWhatReadIt } from './connection-helpers.ts';
import { MARK } from './connections.ts';
import { leave } from './copies.ts';
import { type Frame, hasInnerTag } from './frame.ts';
import { groupsAllow } from './groups.ts';
import type { Journey } from './journey.ts';
import type { Leg, Packet } from './packet.ts';
import { areJoined, placesOf } from './places.ts';
import { isTrackable, isTracked } from './tracking.ts';
import { dropUnknown, foundKnown } from './uplinks.ts';
import { egressTag } from './vlans.ts';

/** From the switch to a workload (docs/design/layer2.md step 7, docs/design/layer3.md §4). */

/** In each of its places but where the frame came from. */
export function arrive(journey: Journey, leg: Leg & { readonly at: 'port' }): void {
  const { packet, port } = leg;
  const { host, from } = packet;
  const about = { kind: 'port', id: port.id } as const;
  const places = packet.isToSelf ? [host] : placesOf(journey, port);
  if (!port.adminUp) return journey.drop('port-down', host, about, port.id);
  if (places.length === 0) return journey.drop('not-bound', host, about, port.id);
  for (const there of places) {
    if (port.id === from?.port && there === from.host && !packet.isToSelf) continue;
    if (!areJoined(journey, host, there)) {
      journey.drop('no-tunnel', host, about, port.id);
      continue;
    }
    if (there !== host && packet.isFromTunnel) {
      journey.drop('tunnel-loop', host, about, port.id);
      continue;
    }
    if (there !== host)
      journey.step(host, about, `through the tunnel to host ${journey.model.get('host', there)?.name ?? there}`);
    const frame = enter(journey, { ...packet, host: there }, leg);
    if (!frame) continue;
    leave(journey, frame, there, port, leg.switch.vlanAware ? leg.vlan : 0);
    journey.step(there, about, `delivered to ${port.name}`);
    journey.deliver({ port: port.id, host: there, tag: egressTag(leg.switch, port, leg.vlan), frame });
  }
}

/** Conntrack, groups and to-chain, on the port's own host. What the workload gets; undefined where it is dropped. */
function enter(
  journey: Journey,
  packet: Packet,
  { port, vlan }: Pick<Leg & { readonly at: 'port' }, 'port' | 'vlan'>,
): Frame | undefined {
  const hook = { at: { kind: 'port', id: port.id } as const, vlan, to: port.id };
  const passesChain = (given: Packet): Passed | undefined =>
    port.toChain === undefined ? {} : passes(journey, given, port.toChain, hook);
  const isAsked = isTracked(journey.model, port);
  if (isAsked && hasInnerTag(packet.frame)) {
    journey.drop('tagged', packet.host, hook.at, port.id);
    return undefined;
  }
  if (!isAsked || !isTrackable(packet.frame, 'receives')) {
    if (packet.isKnownOnly) {
      dropUnknown(journey, packet, hook.at, port.id);
      return undefined;
    }
    const { state: _, ...untracked } = packet;
    return passesChain(untracked) ? packet.frame : undefined;
  }
  const zone = `port:${port.id}@${packet.host}` as const;
  const { state } = journey.tracker.look(zone, packet.frame);
  if (state.isInvalid) {
    journey.drop('invalid', packet.host, hook.at, port.id);
    return undefined;
  }
  if (packet.isKnownOnly && state.isNew) {
    dropUnknown(journey, packet, hook.at, port.id);
    return undefined;
  }
  sayWhatReadIt(journey, packet.host, hook.at, state);
  const tracked = foundKnown(journey, { ...packet, state }, hook.at);
  const passed = groupsAllow(journey, tracked, port, 'receives') ? passesChain(tracked) : undefined;
  if (!passed) return undefined;
  if (state.isNew && !state.isReply) {
    const reading = readingOf(journey, tracked, port, 'receives', passed.helper);
    const mark = packet.vipMember === port.id ? MARK.vipFromOutside : 0;
    journey.tracker.commit(zone, packet.frame, mark, undefined, reading);
  }
  if (!state.isReply || (state.mark & MARK.viaVip) === 0) return packet.frame;
  const backToSelf = journey.tracker.look(`self:${port.id}@${packet.host}`, packet.frame).frame;
  const { frame, connection } = journey.tracker.look(`vip:${port.id}@${packet.host}`, backToSelf);
  if (connection) journey.step(packet.host, hook.at, 'the source becomes the virtual address again');
  return frame;
}
