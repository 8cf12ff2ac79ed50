import { formatIp, type Ip, parseIp } from '../base/addresses.ts';
import { askedPortFor } from '../model/listener-ports.ts';
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

/**
 * What a packet that came in from outside was for before the router translated it: a floating address, or a virtual one with its
 * port. Undefined where neither leads to its destination.
 */
export function publicDestination(
  scope: Scope,
  router: string,
  { dst, protocol, payload }: Offender,
): { readonly address: Ip; readonly port?: number } | undefined {
  const inside = formatIp(dst);
  for (const { floating, fixed } of floatingOf(scope, router))
    if (fixed === inside) return { address: parseIp(floating.address)! };
  return virtualDestination(scope, { dst, protocol, payload }, { router });
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
