import { formatIp, type Ip, parseIp } from '../base/addresses.ts';
import { askedPortFor, listenerFor, memberPortFor } from '../model/listener-ports.ts';
import type { LoadBalancer } from '../model/objects.ts';
import { openListeners } from '../model/serving.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { firstAddress, floatingOf } from './floating.ts';
import type { Offender } from './packet-in/offender.ts';
import type { Scope } from './scope.ts';

const LISTENER_PROTOCOLS: Readonly<Record<number, string>> = {
  [IP_PROTO.tcp]: 'tcp',
  [IP_PROTO.udp]: 'udp',
  [IP_PROTO.sctp]: 'sctp',
};

/** The floating address of the router that a packet from outside was for before it was translated. Undefined where none leads to its destination. */
export function floatingDestination(scope: Scope, router: string, { dst }: Pick<Offender, 'dst'>): Ip | undefined {
  const inside = formatIp(dst);
  for (const { floating, fixed } of floatingOf(scope, router)) if (fixed === inside) return parseIp(floating.address);
  return undefined;
}

/** The member's own address and port, of what a port sent that answers a client outside: it has a virtual source already. */
export function memberSource(
  scope: Scope,
  member: string,
  { src, protocol, payload }: Pick<Offender, 'src' | 'protocol' | 'payload'>,
): { readonly address: Ip; readonly port: number } | undefined {
  const name = LISTENER_PROTOCOLS[protocol];
  if (name === undefined || payload.length < 2) return undefined;
  const asked = (payload[0]! << 8) | payload[1]!;
  const own = firstAddress(scope, member, src.version);
  for (const { address, router, listeners, members } of scope.all('loadBalancer')) {
    if (router === undefined || address !== formatIp(src) || !members.some(({ port }) => port === member)) continue;
    const listener = listenerFor(listeners, name, asked);
    if (listener && own !== undefined) return { address: parseIp(own)!, port: memberPortFor(listener, asked) };
  }
  return undefined;
}

/** The virtual address that leads to where the packet is, and its router: of one router or one balancer where that is known, else the first that fits. */
export function virtualDestination(
  scope: Scope,
  { dst, protocol, payload }: Pick<Offender, 'dst' | 'protocol' | 'payload'>,
  of: { readonly router?: string; readonly balancerKey?: number },
): { readonly address: Ip; readonly port: number; readonly router: string } | undefined {
  const inside = formatIp(dst);
  const name = LISTENER_PROTOCOLS[protocol];
  const inner = payload.length < 4 ? undefined : (payload[2]! << 8) | payload[3]!;
  for (const balancer of scope.all('loadBalancer')) {
    if (balancer.router === undefined || (of.router ?? balancer.router) !== balancer.router) continue;
    if (of.balancerKey && balancer.key !== of.balancerKey) continue;
    const address = parseIp(balancer.address)!;
    const port = inner === undefined ? undefined : askedPort(balancer, name, inner);
    if (port === undefined) continue;
    if (balancer.members.some((member) => firstAddress(scope, member.port, address.version) === inside))
      return { address, port, router: balancer.router };
  }
  return undefined;
}

/** The port of the VIP that leads to a port of members, by the first listener that does. */
function askedPort(balancer: LoadBalancer, protocol: string | undefined, inner: number): number | undefined {
  for (const listener of openListeners(balancer)) {
    const asked = listener.protocol === protocol ? askedPortFor(listener, inner) : undefined;
    if (asked !== undefined) return asked;
  }
  return undefined;
}
