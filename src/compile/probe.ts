import { cidrContains, type Ip, linkLocalOf, parseCidr, parseIpv4, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import { subnetOf } from '../model/subnets.ts';

/** Health probes (docs/design/layer3.md, §8): where they come from, so that units steer their answers and the agent sends them. */

/** The MACs by which hosts answer for a switch: locally administered, with the switch's key in the lower half. */
export const SERVICE_MAC = 0x0a57_4600_0000;
/** A VIP of a switch has a MAC of its own: 0a:57:4c and the balancer's key, of several that share it the smallest. */
export const VIP_MAC = 0x0a57_4c00_0000;
const LINK_LOCAL_4 = parseIpv4('169.254.87.70')!;

/** Source ports of probes, as a masked match: 61,440 to 65,535. */
export const PROBE_PORTS = { value: 0xf000, mask: 0xf000 } as const;
export const PROBE_PORT_COUNT = 0x1000;

export interface ProbedMember {
  readonly address: Ip;
  readonly vlan: LogicalPort['vlan'];
  readonly switch: Pick<LogicalSwitch, 'id' | 'key' | 'vlanAware' | 'subnets'>;
}

/** A router port as far as probes care. */
export interface ProbeRouterPort {
  readonly id: string;
  readonly mac: string;
  readonly addresses: readonly string[];
}

/** The VIP of the balancer that asks. */
export interface ProbingVip {
  readonly ip: Ip;
  /** Absent for one of a router. */
  readonly switch: string | undefined;
  /** Of the balancer that speaks for the VIP. */
  readonly speakerKey: number;
}

export interface ProbeSource {
  readonly mac: number;
  readonly ip: Ip;
  /** Whose address it is. Those of router ports and VIPs ARP and ND tell anyway. */
  readonly of: 'routerPort' | 'vip' | 'switch';
  /** Where the member is; 0 for frames without a tag. */
  readonly vlan: number;
}

/**
 * In whose name a member is probed, so that its answers need no gateway: that of the first router port in whose network it is; without one, over IPv4 that
 * of a VIP which the switch has in the member's subnet; else of a link-local address of the switch's own service MAC.
 */
export function probeSource(member: ProbedMember, ports: Iterable<ProbeRouterPort>, vip: ProbingVip): ProbeSource {
  const vlan = vlanOf(member);
  let best: { id: string; mac: number; ip: Ip } | undefined;
  for (const { id, mac, addresses } of ports) {
    if (best && best.id <= id) continue;
    const own = addresses.map((text) => parseCidr(text)!).find((cidr) => cidrContains(cidr, member.address));
    if (own) best = { id, mac: parseMac(mac)!, ip: own.ip };
  }
  if (best) return { mac: best.mac, ip: best.ip, of: 'routerPort', vlan };
  if (isBeside(member, vip)) return { mac: VIP_MAC + vip.speakerKey, ip: vip.ip, of: 'vip', vlan };
  const mac = SERVICE_MAC + member.switch.key;
  const is4 = member.address.version === 4;
  const ip: Ip = is4 ? { version: 4, value: LINK_LOCAL_4 } : { version: 6, value: linkLocalOf(mac) };
  return { mac, ip, of: 'switch', vlan };
}

/** The VLAN in which a workload asks: that of its access port, else of its address. */
function vlanOf({ address, vlan, switch: on }: ProbedMember): number {
  if (!on.vlanAware) return 0;
  return vlan !== undefined && 'access' in vlan ? vlan.access : (subnetOf(on, address)?.vlan ?? 0);
}

/** Over IPv6 everybody has a link-local address to answer from. */
function isBeside(member: ProbedMember, { ip, switch: id }: ProbingVip): boolean {
  const { address, switch: on } = member;
  if (id !== on.id || address.version !== 4) return false;
  return (
    subnetOf(on, ip) === subnetOf(on, address) && vlanOf({ ...member, address: ip, vlan: undefined }) === vlanOf(member)
  );
}
