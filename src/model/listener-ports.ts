import { type PortRange, parsePortRange } from './texts.ts';

/** Which ports the listeners of load balancers are for, and to which ports of members they lead (docs/design/layer3.md, §8). */

/** As much of a listener as it takes: `80` or `8000-8099`, as its schema let it pass. */
export interface ListenerPorts {
  readonly port: number | string;
  readonly memberPort?: number | string | undefined;
}

/** The ports of the VIP. */
export function listenerPorts({ port }: ListenerPorts): PortRange {
  return rangeOf(port);
}

/** The ports of members: one for all, or one for each of the VIP's. */
export function memberPorts({ port, memberPort }: ListenerPorts): PortRange {
  return rangeOf(memberPort ?? port);
}

/** The listener that takes a port of the VIP. */
export function listenerFor<L extends ListenerPorts & { readonly protocol: string }>(
  listeners: readonly L[],
  protocol: string,
  asked: number,
): L | undefined {
  return listeners.find((each) => each.protocol === protocol && holds(listenerPorts(each), asked));
}

/** The port of a member for a port of the VIP. */
export function memberPortFor(listener: ListenerPorts, asked: number): number {
  const to = memberPorts(listener);
  return isOne(to) ? to.first : to.first + asked - listenerPorts(listener).first;
}

/** The port of the VIP that leads to a member's, the first of several; undefined where none does. */
export function askedPortFor(listener: ListenerPorts, memberPort: number): number | undefined {
  const to = memberPorts(listener);
  if (!holds(to, memberPort)) return undefined;
  return listenerPorts(listener).first + memberPort - to.first;
}

/** Do its ports lead to one, or to as many? */
export function doFit(listener: ListenerPorts): boolean {
  const to = memberPorts(listener);
  return isOne(to) || sizeOf(to) === sizeOf(listenerPorts(listener));
}

/** How many ports of the VIP lead to ports that are neither the same nor one for all. */
export function shiftedPorts(listener: ListenerPorts): number {
  const [from, to] = [listenerPorts(listener), memberPorts(listener)];
  return isOne(to) || from.first === to.first || !doFit(listener) ? 0 : sizeOf(from);
}

export function sizeOf({ first, last }: PortRange): number {
  return last - first + 1;
}

export function isOne({ first, last }: PortRange): boolean {
  return first === last;
}

export function holds({ first, last }: PortRange, port: number): boolean {
  return first <= port && port <= last;
}

export function doOverlap(one: PortRange, other: PortRange): boolean {
  return one.first <= other.last && other.first <= one.last;
}

function rangeOf(ports: number | string): PortRange {
  return typeof ports === 'number' ? { first: ports, last: ports } : parsePortRange(ports)!;
}
