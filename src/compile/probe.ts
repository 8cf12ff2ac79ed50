import { cidrContains, type Ip, linkLocalOf, parseCidr, parseIpv4, parseMac } from '../base/addresses.ts';

/** Health probes (docs/design/layer3.md, §8): where they come from, so that units steer their answers and the agent sends them. */

/** The MACs by which hosts answer for a switch: locally administered, with the switch's key in the lower half. */
export const SERVICE_MAC = 0x0a57_4600_0000;
const LINK_LOCAL_4 = parseIpv4('169.254.87.70')!;

/** Source ports of probes, as a masked match: 61,440 to 65,535. */
export const PROBE_PORTS = { value: 0xf000, mask: 0xf000 } as const;
export const PROBE_PORT_COUNT = 0x1000;

/** A router port as far as probes care. */
export interface ProbeRouterPort {
  readonly id: string;
  readonly mac: string;
  readonly addresses: readonly string[];
}

export interface ProbeSource {
  readonly mac: number;
  readonly ip: Ip;
  /** It is a router port's address, which ARP and ND tell anyway. */
  readonly isRouters: boolean;
}

/**
 * In whose name a member is probed: the first router port in whose network it is, as its answers then need no gateway; on a switch
 * without one a link-local address of the switch's own service MAC.
 */
export function probeSource(switchKey: number, member: Ip, ports: Iterable<ProbeRouterPort>): ProbeSource {
  let best: { id: string; mac: number; ip: Ip } | undefined;
  for (const { id, mac, addresses } of ports) {
    if (best && best.id <= id) continue;
    const own = addresses.map((text) => parseCidr(text)!).find((cidr) => cidrContains(cidr, member));
    if (own) best = { id, mac: parseMac(mac)!, ip: own.ip };
  }
  if (best) return { mac: best.mac, ip: best.ip, isRouters: true };
  const mac = SERVICE_MAC + switchKey;
  const ip: Ip = member.version === 4 ? { version: 4, value: LINK_LOCAL_4 } : { version: 6, value: linkLocalOf(mac) };
  return { mac, ip, isRouters: false };
}
