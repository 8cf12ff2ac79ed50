import type { ModelView } from './view.ts';

/** Where a router meets the outside (docs/design/gateways.md, §1). */

/** A host that is drained tells its peers for so long at most that others go before it, unless it says otherwise (ibid., §6). */
export const DEFAULT_DRAIN_WAIT_S = 30;

/** Hosts that have, or are asked to have, a port of a switch that a session of the router runs on. */
export function gatewaysOf(model: ModelView, routerId: string): ReadonlySet<string> {
  const switches = new Set<string>();
  for (const { routerPort } of model.bgpPeersOfRouter(routerId)) {
    const onSwitch = model.get('routerPort', routerPort)?.switch;
    if (onSwitch !== undefined) switches.add(onSwitch);
  }
  const hosts = new Set<string>();
  for (const id of switches)
    for (const port of model.portsOfSwitch(id)) {
      if (port.host !== undefined) hosts.add(port.host);
      for (const { host } of model.bindingOf(port.id)?.claims ?? []) hosts.add(host);
    }
  return hosts;
}

/**
 * What a router calls itself at a gateway (RFC 4271 §4.2): what is given, else the first IPv4 address of the ports that it speaks at there, so
 * that no two gateways have the same.
 */
export function routerIdAt(
  given: string | undefined,
  ports: Iterable<{ readonly addresses: readonly string[] }>,
): string | undefined {
  if (given !== undefined) return given;
  for (const { addresses } of ports)
    for (const text of addresses) if (!text.includes(':')) return text.slice(0, text.indexOf('/'));
  return undefined;
}
