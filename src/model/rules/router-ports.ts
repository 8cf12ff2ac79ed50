import { type Cidr, cidrsOverlap, formatCidr, formatIp, networkOf, parseCidr } from '../../base/addresses.ts';
import { usesOfAddress } from '../address-uses.ts';
import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import { LEAST_MTU_6 } from '../mtu.ts';
import type { RouterPort } from '../objects.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import { isHostAddress, isLinkLocal6, isReservedIn, sameAddressing, subnetOf } from '../subnets.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** A router port joins one switch or one peer, with addresses that fit there and that nobody else has. */
export const checkRouterPorts: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  for (const { before, after } of written(changes, 'routerPort')) {
    checked.add(after.id);
    checkPlace(index, after, report);
    checkPeer(index, after, report);
    checkMac(index, after, report);
    checkAddresses(index, after, report);
    checkMtu(index, before, after, report);
  }
  for (const { before, after } of written(changes, 'switch')) {
    if (!before) continue;
    const hasMoved = !sameAddressing(before, after);
    const hasClosed = before.shared && !after.shared;
    if (!hasMoved && !hasClosed) continue;
    for (const port of index.routerPortsOfSwitch(after.id)) {
      if (checked.has(port.id)) continue;
      if (hasClosed) checkPlace(index, port, report);
      if (hasMoved) checkAddresses(index, port, report);
    }
  }
};

type Report = (problem: Problem) => void;

function checkPlace(index: ModelIndex, port: RouterPort, report: Report): void {
  const device = port.switch === undefined ? undefined : index.get('switch', port.switch);
  if (!device || device.tenant === port.tenant || device.shared) return;
  report({
    object: describe(index, port),
    path: 'switch',
    code: 'not-shared',
    message: `${describe(index, device)} belongs to another tenant and is not shared`,
    hint: 'its tenant can set shared on it',
  });
}

/** The link is meant both ways: only one end names the other, and the named one has no other link. */
function checkPeer(index: ModelIndex, port: RouterPort, report: Report): void {
  const problem = (message: string): void =>
    report({ object: describe(index, port), path: 'peer', code: 'peer', message });
  const naming = [...index.peersOf(port.id)];
  if (port.peer === undefined) {
    const [first] = naming;
    if (first && port.switch !== undefined)
      problem(`${describe(index, first)} names it as its peer: it can have no switch beside`);
    return;
  }
  const peer = index.get('routerPort', port.peer);
  if (!peer) return;
  if (peer.id === port.id) return problem('a port cannot be its own peer');
  const name = describe(index, peer);
  if (naming.length > 0) problem(`${describe(index, naming[0]!)} names this port as its peer already`);
  if (peer.router === port.router) problem(`${name} is a port of the same router`);
  if (peer.switch !== undefined) problem(`${name} joins a switch: an open end is wanted`);
  if (peer.peer !== undefined && peer.peer !== port.id) problem(`${name} has a peer of its own`);
  for (const other of index.peersOf(peer.id))
    if (other.id !== port.id) return problem(`${name} is the peer of ${describe(index, other)}`);
}

/** Switches look to themselves when they are written. */
function checkMtu(index: ModelIndex, before: RouterPort | undefined, port: RouterPort, report: Report): void {
  const device = port.switch === undefined ? undefined : index.get('switch', port.switch);
  const at = port.addresses.findIndex((text) => text.includes(':'));
  const had = before?.switch === port.switch && before?.addresses.some((text) => text.includes(':'));
  if (at < 0 || had || device?.mtu === undefined || device.mtu >= LEAST_MTU_6) return;
  const message = `${describe(index, device)} has an MTU of ${device.mtu}, and IPv6 needs ${LEAST_MTU_6} (RFC 8200 §5)`;
  report({ object: describe(index, port), path: `addresses[${at}]`, code: 'mtu', message });
}

function checkMac(index: ModelIndex, port: RouterPort, report: Report): void {
  for (const other of index.holdersOfMac(port.mac)) {
    if (other === port || port.switch === undefined || other.switch !== port.switch) continue;
    const message = `${describe(index, other)} on the same switch has ${port.mac} too`;
    report({ object: describe(index, port), path: 'mac', code: 'duplicate-mac', message });
    return;
  }
}

function checkAddresses(index: ModelIndex, port: RouterPort, report: Report): void {
  const device = port.switch === undefined ? undefined : index.get('switch', port.switch);
  const networks = networksOfOthers(index, port);
  for (const [at, text] of port.addresses.entries()) {
    const cidr = parseCidr(text)!;
    const address = formatIp(cidr.ip);
    const problem = (code: ProblemCode, message: string, hint?: string): void =>
      report({
        ...{ object: describe(index, port), path: `addresses[${at}]`, code, message },
        ...(hint === undefined ? {} : { hint }),
      });
    if (port.addresses.findIndex((other) => other.startsWith(`${address}/`)) !== at)
      problem('duplicate-address', `${address} is given twice`);
    checkForm(cidr, text, problem);
    const subnet = device && subnetOf(device, cidr.ip);
    if (device && device.subnets.length > 0 && !subnet) {
      const cidrs = device.subnets.map((each) => each.cidr).join(', ');
      problem('address-outside', `${address} is in no subnet of ${describe(index, device)} (${cidrs})`);
    }
    if (subnet && isReservedIn(parseCidr(subnet.cidr)!, cidr.ip))
      problem('address-reserved', `${address} is the network or broadcast address of ${subnet.cidr}`);
    // What lies in a port's network is answered for there, and told by BGP: another tenant has no more of it than there is.
    if (subnet && device.tenant !== port.tenant && cidr.prefix < parseCidr(subnet.cidr)!.prefix)
      problem(
        'address-outside',
        `${formatCidr(networkOf(cidr))} is wider than ${subnet.cidr}, the subnet of another tenant's switch`,
        `${address}/${parseCidr(subnet.cidr)!.prefix}`,
      );
    if (subnet?.gateway === address && device!.tenant !== port.tenant)
      problem(
        'gateway-in-use',
        `${address} is the gateway of ${subnet.cidr}, a network of another tenant`,
        'only routers of that tenant can be its gateway',
      );
    for (const [other, network] of networks)
      if (cidrsOverlap(cidr, network)) {
        const message = `${formatCidr(networkOf(cidr))} overlaps ${formatCidr(networkOf(network))} at ${describe(index, other)}`;
        problem('network-overlap', message, 'a router has each network at one port');
        break;
      }
    const twin = addressTwin(index, port, address);
    if (twin) problem('duplicate-address', `${twin} has ${address} too`);
  }
}

type ReportAt = (code: ProblemCode, message: string, hint?: string) => void;

function checkForm(cidr: Cidr, text: string, problem: ReportAt): void {
  if (isLinkLocal6(cidr.ip))
    problem('address-reserved', `${text} is link-local: a router port makes that of its MAC by itself`);
  else if (!isHostAddress(cidr.ip)) problem('address-reserved', `${text} is no address of a host`);
  else if (isReservedIn(networkOf(cidr), cidr.ip))
    problem('address-reserved', `${text} is the network or broadcast address of ${formatCidr(networkOf(cidr))}`);
}

function networksOfOthers(index: ModelIndex, port: RouterPort): readonly (readonly [RouterPort, Cidr])[] {
  return [...index.routerPortsOfRouter(port.router)].flatMap((other) =>
    other.id === port.id ? [] : other.addresses.map((text) => [other, parseCidr(text)!] as const),
  );
}

/** Who has the address on the same switch, or at the other end of the link. The router itself may translate to it. */
function addressTwin(index: ModelIndex, port: RouterPort, address: string): string | undefined {
  if (port.switch !== undefined)
    for (const use of usesOfAddress(index, port.switch, address))
      if (use.id !== port.id && use.id !== port.router) return describe(index, use);
  const peers = [...index.peersOf(port.id), index.get('routerPort', port.peer ?? '')];
  for (const peer of peers)
    if (peer?.addresses.some((text) => text.startsWith(`${address}/`))) return describe(index, peer);
  return undefined;
}
