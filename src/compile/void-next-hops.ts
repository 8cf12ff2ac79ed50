import { cidrContains, formatIp, parseIp } from '../base/addresses.ts';
import type { Route } from '../model/objects.ts';
import { activeHostsIndex, define, type Reader } from './inputs.ts';
import type { ConnectedNetwork } from './routers.ts';

/**
 * Next hops that lead nowhere for now: those that do not answer the probes of their gateway (docs/design/gateways.md, §7), or are behind hosts
 * that do not answer this one (docs/design/liveness.md), or that are drained (docs/design/gateways.md, §6).
 */

/** '' → hosts that are lost. */
const lostHostsIndex = define.index('lostHosts', 'hostLost', () => ['']);
/** '' → hosts that are drained. */
const drainedHostsIndex = define.index('drainedHosts', 'host', ({ drain }) => (drain ? [''] : []));
/** `router/address` → what gateways say of the next hop. */
const nextHopStatesIndex = define.index('nextHopStates', 'nextHopState', ({ router, address }) => [
  `${router}/${address}`,
]);

/**
 * Of routes for the same packets those that lead somewhere: not by a next hop that is silent or behind a lost host, while there is any other; of
 * these not by one behind a drained host, while there is any other. Where none is left it may be this host that is cut off, or what answers no
 * probes forwards all the same, and nothing else would be better: they stay. `toldBy`: from whom a learned next hop is, should nobody know where
 * it is.
 */
export function withoutVoid<R extends Pick<Route, 'via'> & { readonly toldBy?: readonly string[] }>(
  reader: Reader,
  router: string,
  networks: readonly ConnectedNetwork[],
  routes: readonly R[],
): readonly R[] {
  const lost = reader.ids(lostHostsIndex, '');
  const drained = reader.ids(drainedHostsIndex, '');
  const isDead = (route: R): boolean => isSilent(reader, router, networks, lost, route.via) || isBehind(lost, route);
  return without((route) => isBehind(drained, route), without(isDead, routes));

  function without(isAvoided: (route: R) => boolean, from: readonly R[]): readonly R[] {
    const left = from.filter((route) => !isAvoided(route));
    return left.length === 0 ? from : left;
  }

  function isBehind(avoided: readonly string[], { via, toldBy }: R): boolean {
    if (avoided.length === 0) return false;
    const behind = via === undefined ? undefined : hostBehind(reader, networks, via);
    const hosts = behind === undefined ? (toldBy ?? []) : [behind];
    return hosts.length > 0 && hosts.every((host) => avoided.includes(host));
  }
}

/** Some gateway that has a port of its switch says that it does not answer, and none that it does; the last word of a lost one counts where there is no other. */
function isSilent(
  reader: Reader,
  router: string,
  networks: readonly ConnectedNetwork[],
  lost: readonly string[],
  via: string | undefined,
): boolean {
  const states = via === undefined ? [] : reader.ids(nextHopStatesIndex, `${router}/${via}`);
  if (states.length === 0) return false;
  const onSwitch = switchOf(networks, via!);
  const hosts = onSwitch === undefined ? [] : reader.members(activeHostsIndex, onSwitch);
  const hostOf = (id: string): string => reader.pick('nextHopState', id, 'host')!;
  const all = states.filter((id) => hosts.includes(hostOf(id)));
  const living = all.filter((id) => !lost.includes(hostOf(id)));
  const said = living.length > 0 ? living : all;
  return said.length > 0 && said.every((id) => reader.pick('nextHopState', id, 'up') === false);
}

function switchOf(networks: readonly ConnectedNetwork[], via: string): string | undefined {
  const hop = parseIp(via);
  return hop && networks.find(({ network }) => cidrContains(network, hop))?.switch;
}

/**
 * The host whose port a next hop is behind: the one that heard it, or the only one that has an active port of its switch. Undefined where
 * that is not known.
 */
function hostBehind(reader: Reader, networks: readonly ConnectedNetwork[], via: string): string | undefined {
  const onSwitch = switchOf(networks, via);
  if (onSwitch === undefined) return undefined;
  const heard = reader.pick('neighbour', `${onSwitch}/${formatIp(parseIp(via)!)}`, 'host');
  if (heard !== undefined) return heard;
  const hosts = reader.members(activeHostsIndex, onSwitch);
  return hosts.length === 1 ? hosts[0] : undefined;
}
