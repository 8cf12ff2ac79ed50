import { type Ip, parseCidr, parseIp } from '../../base/addresses.ts';
import { describe, qualifiedName } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { LogicalPort, LogicalSwitch } from '../objects.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import { isHostAddress, isInVlan, isReservedIn, sameAddressing, subnetOf } from '../subnets.ts';
import { holderOfPortAddress } from './addresses.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** A port's MAC and addresses are its own within the switch and fit the switch's subnets and VLANs. */
export const checkPorts: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  for (const { after } of written(changes, 'port')) {
    checked.add(after.id);
    checkMac(index, after, report);
    checkPort(index, after, report);
  }
  for (const { before, after } of written(changes, 'switch')) {
    // With other subnets or VLANs, ports that nobody touched can have become wrong.
    if (!before || sameAddressing(before, after)) continue;
    for (const port of index.portsOfSwitch(after.id)) if (!checked.has(port.id)) checkPort(index, port, report);
  }
};

function checkMac(index: ModelIndex, port: LogicalPort, report: (problem: Problem) => void): void {
  for (const other of index.holdersOfMac(port.mac))
    if (other !== port && other.switch === port.switch) {
      const message = `${other.kind === 'port' ? 'port' : 'router port'} ${other.name} of the switch has ${port.mac} too`;
      report({ object: describe(index, port), path: 'mac', code: 'duplicate-mac', message });
      return;
    }
}

function checkPort(index: ModelIndex, port: LogicalPort, report: (problem: Problem) => void): void {
  const device = index.get('switch', port.switch);
  if (!device) return;
  const problem = (path: string, code: ProblemCode, message: string): void =>
    report({ object: describe(index, port), path, code, message });
  if (port.vlan !== undefined && !device.vlanAware)
    problem('vlan', 'vlan', `${qualifiedName(index, device)} is not VLAN-aware: set its vlanAware, or leave vlan out`);
  for (const [at, text] of port.addresses.entries()) {
    if (port.addresses.indexOf(text) !== at) problem(`addresses[${at}]`, 'duplicate-address', `${text} is given twice`);
    const other = addressTwin(index, device, port, text);
    if (other) problem(`addresses[${at}]`, 'duplicate-address', `port ${other.name} of the switch has ${text} too`);
    const holder = holderOfPortAddress(index, port, text);
    // The gateway's is told below.
    if (holder && subnetOf(device, parseIp(text)!)?.gateway !== text)
      problem(`addresses[${at}]`, 'duplicate-address', `${describe(index, holder)} has ${text} there`);
    checkAddress(device, port, parseIp(text)!, text, (code, message) => problem(`addresses[${at}]`, code, message));
  }
}

function checkAddress(
  device: LogicalSwitch,
  port: LogicalPort,
  ip: Ip,
  text: string,
  problem: (code: ProblemCode, message: string) => void,
): void {
  if (!isHostAddress(ip)) return problem('address-reserved', `${text} is no address of a host`);
  if (device.subnets.length === 0) return;
  const subnet = subnetOf(device, ip);
  if (!subnet) {
    const cidrs = device.subnets.map((each) => each.cidr).join(', ');
    return problem('address-outside', `${text} is in no subnet of the switch (${cidrs})`);
  }
  if (isReservedIn(parseCidr(subnet.cidr)!, ip))
    problem('address-reserved', `${text} is the network or broadcast address of ${subnet.cidr}`);
  if (subnet.gateway === text) problem('gateway-in-use', `${text} is the gateway of ${subnet.cidr}`);
  if (!isInVlan(device, port, subnet.vlan ?? 0))
    problem('vlan', `${subnet.cidr} is in VLAN ${subnet.vlan ?? 0}, where the port is not`);
}

/**
 * Another port of the switch with the address. Without subnets, two access ports of different VLANs may share one: no
 * frame of the one reaches the other. (With subnets the address tells the VLAN, for subnets do not overlap.)
 */
function addressTwin(
  index: ModelIndex,
  device: LogicalSwitch,
  port: LogicalPort,
  address: string,
): LogicalPort | undefined {
  for (const other of index.portsWithAddress(device.id, address)) {
    if (other.id === port.id) continue;
    const apart = device.vlanAware && device.subnets.length === 0 && accessVlan(port) !== accessVlan(other);
    if (!apart || accessVlan(port) === undefined || accessVlan(other) === undefined) return other;
  }
  return undefined;
}

function accessVlan(port: LogicalPort): number | undefined {
  return port.vlan && 'access' in port.vlan ? port.vlan.access : undefined;
}
