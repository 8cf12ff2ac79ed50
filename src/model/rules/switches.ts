import { type Cidr, cidrContains, cidrsOverlap, formatIp, parseCidr, parseIp } from '../../base/addresses.ts';
import { usesOfAddress } from '../address-uses.ts';
import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import { LEAST_MTU_6 } from '../mtu.ts';
import type { LogicalSwitch, Subnet } from '../objects.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import { isHostAddress, isLinkLocal6, isReservedIn, sameAddressing } from '../subnets.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Subnets of a switch do not overlap, and each is whole in itself. */
export const checkSwitches: Rule = (index, changes, report) => {
  for (const { before, after } of written(changes, 'switch')) {
    const object = describe(index, after);
    const problem = (path: string, code: ProblemCode, message: string): void => report({ object, path, code, message });
    // What was stored before this was asked may be changed in other ways.
    if (isTooNarrow(index, after) && !(before && isTooNarrow(index, before) && before.mtu === after.mtu))
      problem('mtu', 'mtu', `${after.mtu} is less than the ${LEAST_MTU_6} that IPv6 needs (RFC 8200 §5)`);
    if (before && sameAddressing(before, after)) continue;
    const cidrs = after.subnets.map((subnet) => parseCidr(subnet.cidr)!);
    for (const [i, cidr] of cidrs.entries()) {
      for (const [j, other] of cidrs.slice(0, i).entries())
        if (cidrsOverlap(cidr, other))
          problem(
            `subnets[${i}].cidr`,
            'subnet-overlap',
            `${after.subnets[i]!.cidr} overlaps ${after.subnets[j]!.cidr}`,
          );
      checkSubnet(after, after.subnets[i]!, cidr, (path, code, message) =>
        problem(`subnets[${i}].${path}`, code, message),
      );
      checkGateway(index, after, i, cidr, report);
    }
  }
};

/** Is IPv6 spoken on a switch that does not carry it? */
function isTooNarrow(index: ModelIndex, { id, mtu, subnets }: LogicalSwitch): boolean {
  if (mtu === undefined || mtu >= LEAST_MTU_6) return false;
  if (subnets.some(({ cidr }) => parseCidr(cidr)!.ip.version === 6)) return true;
  for (const { addresses } of index.routerPortsOfSwitch(id))
    if (addresses.some((text) => text.includes(':'))) return true;
  return false;
}

type Report = (path: string, code: ProblemCode, message: string) => void;

function checkSubnet(device: LogicalSwitch, subnet: Subnet, cidr: Cidr, problem: Report): void {
  const { version } = cidr.ip;
  if (!isUsableNetwork(cidr)) problem('cidr', 'address-reserved', `${subnet.cidr} holds no addresses for hosts`);
  if (subnet.vlan !== undefined && !device.vlanAware)
    problem('vlan', 'vlan', 'the switch is not VLAN-aware: set vlanAware, or leave vlan out');
  if (version === 4 && subnet.ipv6Mode !== undefined)
    problem('ipv6Mode', 'subnet-option', `${subnet.cidr} is an IPv4 subnet`);
  if (subnet.ipv6Mode === 'slaac' && cidr.prefix !== 64)
    problem('ipv6Mode', 'subnet-option', 'SLAAC needs a /64 (RFC 4862); use stateful, or another prefix length');
  for (const list of ['dns', 'ntp'] as const)
    for (const [k, text] of subnet.dhcp[list].entries())
      if (parseIp(text)!.version !== version)
        problem(`dhcp.${list}[${k}]`, 'subnet-option', `${text} is of another IP version than ${subnet.cidr}`);
  for (const [k, route] of subnet.dhcp.routes.entries()) {
    if (version === 6) problem(`dhcp.routes[${k}]`, 'subnet-option', 'static routes by DHCP are for IPv4 subnets');
    else if (parseCidr(route.to)!.ip.version !== 4)
      problem(`dhcp.routes[${k}].to`, 'subnet-option', `${route.to} is not an IPv4 network`);
  }
}

function checkGateway(
  index: ModelIndex,
  device: LogicalSwitch,
  at: number,
  cidr: Cidr,
  report: (problem: Problem) => void,
): void {
  const subnet = device.subnets[at]!;
  if (subnet.gateway === undefined) return;
  const object = describe(index, device);
  const path = `subnets[${at}].gateway`;
  const gateway = parseIp(subnet.gateway)!;
  // A router may be known by its link-local address alone (RFC 4861 §6.2.1).
  if (!cidrContains(cidr, gateway) && !isLinkLocal6(gateway))
    report({ object, path, code: 'gateway', message: `${subnet.gateway} is outside ${subnet.cidr}` });
  else if (isReservedIn(cidr, gateway) && gateway.version === 4)
    report({ object, path, code: 'gateway', message: `${subnet.gateway} is the network or broadcast address` });
  for (const use of usesOfAddress(index, device.id, formatIp(gateway))) {
    // A router's own is what the gateway should be.
    if (use.kind === 'routerPort' || use.kind === 'router') continue;
    const message = `${subnet.gateway} is the address of ${describe(index, use)}`;
    report({ object, path, code: 'gateway-in-use', message });
  }
}

function isUsableNetwork(cidr: Cidr): boolean {
  const { ip } = cidr;
  // 0.0.0.0/8 and ::/96 hold no hosts; anything wider than these blocks has room for some.
  if (ip.version === 4 && cidr.prefix < 8) return ip.value >>> 24 < 224;
  if (ip.version === 6 && cidr.prefix < 96) return ip.value >> 120n !== 0xffn;
  return isHostAddress(ip);
}
