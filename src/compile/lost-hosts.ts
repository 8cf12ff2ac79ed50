import { cidrContains, formatIp, parseIp } from '../base/addresses.ts';
import type { Route } from '../model/objects.ts';
import { activeHostsIndex, define, type Reader } from './inputs.ts';
import type { ConnectedNetwork } from './routers.ts';

/** Next hops behind hosts that do not answer this one (docs/design/liveness.md), or that are drained (docs/design/gateways.md, §6). */

/** '' → hosts that are lost. */
const lostHostsIndex = define.index('lostHosts', 'hostLost', () => ['']);
/** '' → hosts that are drained. */
const drainedHostsIndex = define.index('drainedHosts', 'host', ({ drain }) => (drain ? [''] : []));

/**
 * Of routes for the same packets those that lead somewhere: not by a next hop behind a lost host, while there is any other; of these not by one
 * behind a drained host, while there is any other. Where all are behind lost hosts it may be this host that is cut off, and nothing else would be
 * better: they stay. `toldBy`: from whom a learned next hop is, should nobody know where it is.
 */
export function withoutLost<R extends Pick<Route, 'via'> & { readonly toldBy?: readonly string[] }>(
  reader: Reader,
  networks: readonly ConnectedNetwork[],
  routes: readonly R[],
): readonly R[] {
  const lost = reader.ids(lostHostsIndex, '');
  const drained = reader.ids(drainedHostsIndex, '');
  return without(drained, without(lost, routes));

  function without(avoided: readonly string[], from: readonly R[]): readonly R[] {
    if (avoided.length === 0) return from;
    const left = from.filter(({ via, toldBy }) => {
      const behind = via === undefined ? undefined : hostBehind(reader, networks, via);
      const hosts = behind === undefined ? (toldBy ?? []) : [behind];
      return hosts.length === 0 || hosts.some((host) => !avoided.includes(host));
    });
    return left.length === 0 ? from : left;
  }
}

/**
 * The host whose port a next hop is behind: the one that heard it, or the only one that has an active port of its switch. Undefined where
 * that is not known.
 */
function hostBehind(reader: Reader, networks: readonly ConnectedNetwork[], via: string): string | undefined {
  const hop = parseIp(via);
  const onSwitch = hop && networks.find(({ network }) => cidrContains(network, hop))?.switch;
  if (onSwitch === undefined) return undefined;
  const heard = reader.pick('neighbour', `${onSwitch}/${formatIp(hop!)}`, 'host');
  if (heard !== undefined) return heard;
  const hosts = reader.members(activeHostsIndex, onSwitch);
  return hosts.length === 1 ? hosts[0] : undefined;
}
