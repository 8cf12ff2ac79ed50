import { type Cidr, cidrContains, type Ip, networkOf, parseCidr } from '../base/addresses.ts';
import type { RouterPort } from '../model/objects.ts';
import type { Scope } from './scope.ts';

/** Addresses of a router's ports, as what the agent sends for the router needs them. */

export function portsOf(scope: Scope, router: string): RouterPort[] {
  return [...scope.all('routerPort')].filter((port) => port.router === router);
}

export function networksOf(port: RouterPort): Cidr[] {
  return port.addresses.map((text) => parseCidr(text)!);
}

/** The port's address of the IP version: one in the network of `near` if there is one, else its first. */
export function addressOf(port: RouterPort, near: Ip): Ip | undefined {
  const own = networksOf(port).filter(({ ip }) => ip.version === near.version);
  return (own.find((cidr) => cidrContains(cidr, near)) ?? own[0])?.ip;
}

/** The router's port whose network holds the address: the longest. */
export function portTowards(scope: Scope, router: string, ip: Ip): RouterPort | undefined {
  let best: { port: RouterPort; prefix: number } | undefined;
  for (const port of portsOf(scope, router))
    for (const cidr of networksOf(port))
      if (cidrContains(cidr, ip) && cidr.prefix > (best?.prefix ?? -1)) best = { port, prefix: cidr.prefix };
  return best?.port;
}

/** Is it the broadcast address of one of the router's networks? */
export function isDirectedBroadcast(scope: Scope, router: string, ip: Ip): boolean {
  if (ip.version === 6) return false;
  return portsOf(scope, router).some((port) =>
    networksOf(port).some((cidr) => {
      if (cidr.ip.version !== 4 || cidr.prefix > 30) return false;
      const network = networkOf(cidr).ip.value as number;
      return ip.value === network + 2 ** (32 - cidr.prefix) - 1;
    }),
  );
}
