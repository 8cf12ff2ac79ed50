import { type Cidr, cidrContains, formatIp, type Ip, linkLocalOf, parseIp, parseMac } from '../../base/addresses.ts';
import { switchesOfAddress, usesOfAddress } from '../address-uses.ts';
import { type AllowedPair, singleOf } from '../allowed-pairs.ts';
import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { AnyObject, FloatingAddress, LoadBalancer, LogicalPort, Router, RouterPort } from '../objects.ts';
import type { Problem } from '../problem.ts';
import type { AddressHolder } from '../relations.ts';
import { snatAddresses } from '../snat.ts';
import { isLinkLocal6 } from '../subnets.ts';
import { parseAddressOrCidr } from '../texts.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/**
 * What a workload may use beside its own it may announce by ARP and neighbour discovery, and neighbours believe it. So a pair names no address that
 * a router answers for on the switch, nor the MAC of a router port there (which makes the router's link-local address). Networks may
 * hold such addresses, of the same tenant: a workload that routes needs them. Not of another tenant, whose router was on the switch before: who joins
 * later takes the switch as it is. Ports may have addresses together (VRRP), and a gateway that no router of ours is (RFC 5798).
 *
 * What was stored before this was asked may be changed in other ways. Without port security pairs say nothing.
 */
export const checkAllowedPairs: Rule = (index, changes, report) => {
  for (const { before, after } of written(changes, 'port')) {
    const had = new Set(pairsOf(before).map(keyOf));
    for (const [at, pair] of pairsOf(after).entries())
      if (!had.has(keyOf(pair))) checkPair(index, after, at, pair, report);
  }
  const routers = new Set<string>();
  for (const { before, after } of written(changes, 'routerPort')) {
    if (before && isSamePlace(before, after)) continue;
    checkRouterPort(index, before, after, report);
    routers.add(after.router);
  }
  for (const { before, after } of written(changes, 'router')) {
    const had = before && snatAddresses(before);
    for (const address of snatAddresses(after))
      if (!had?.has(address)) checkHeld(index, after, 'snat', address, report);
  }
  for (const kind of ['floatingAddress', 'loadBalancer'] as const)
    for (const { before, after } of written(changes, kind))
      if (before?.address !== after.address) checkHeld(index, after, 'address', after.address, report);
  // What a router answers for is on the switches of its ports.
  const isWritten = new Set(changes.map(({ id }) => id));
  for (const id of routers)
    for (const [holder, path, address] of heldByRouter(index, id))
      if (!isWritten.has(holder.id)) checkHeld(index, holder, path, address, report);
};

type Report = (problem: Problem) => void;
type Held = Router | FloatingAddress | LoadBalancer;

function pairsOf(port: LogicalPort | undefined): readonly AllowedPair[] {
  return port?.portSecurity ? port.allowedPairs : [];
}

function keyOf({ mac, address }: AllowedPair): string {
  return `${mac ?? ''} ${address}`;
}

function checkPair(index: ModelIndex, port: LogicalPort, at: number, { mac, address }: AllowedPair, report: Report) {
  const problem = (path: string, code: 'duplicate-address' | 'duplicate-mac', message: string, hint: string): void =>
    report({ object: describe(index, port), path: `allowedPairs[${at}].${path}`, code, message, hint });
  const network = parseAddressOrCidr(address);
  const single = singleOf(network);
  const holder = single ? holderOf(index, port.switch, single) : foreignIn(index, port, network);
  if (holder)
    problem(
      'address',
      'duplicate-address',
      single
        ? `${describe(index, holder.object)} has ${formatIp(holder.ip)} on the switch`
        : `${describe(index, holder.object)}, of another tenant, has ${formatIp(holder.ip)} on the switch, which ${address} holds`,
      single ? 'a virtual address of workloads is one that no router answers for' : 'name networks without it',
    );
  const owner = mac === undefined ? undefined : routerPortWith(index, port.switch, mac);
  if (owner)
    problem(
      'mac',
      'duplicate-mac',
      `${describe(index, owner)} of the switch has ${mac}`,
      'give the pair a MAC that no router has, or none',
    );
}

interface Holder {
  readonly object: AddressHolder;
  readonly ip: Ip;
}

/** Who answers for an address on a switch, and is no port. */
function holderOf(index: ModelIndex, switchId: string, ip: Ip): Holder | undefined {
  for (const use of usesOfAddress(index, switchId, formatIp(ip))) if (use.kind !== 'port') return { object: use, ip };
  if (!isLinkLocal6(ip)) return undefined;
  for (const port of index.routerPortsOfSwitch(switchId))
    if (linkLocalOf(parseMac(port.mac)!) === ip.value) return { object: port, ip };
  return undefined;
}

/** An address in the network that another tenant's router answers for on the switch of the port. */
function foreignIn(index: ModelIndex, port: LogicalPort, network: Cidr): Holder | undefined {
  for (const other of index.routerPortsOfSwitch(port.switch)) {
    if (other.tenant === port.tenant) continue;
    for (const text of addressesOf(other)) {
      const ip = parseIp(text)!;
      if (cidrContains(network, ip)) return { object: other, ip };
    }
    for (const [object, , address] of heldByRouter(index, other.router)) {
      const ip = parseIp(address)!;
      if (cidrContains(network, ip) && switchesOfAddress(index, object, address).includes(port.switch))
        return { object, ip };
    }
  }
  return undefined;
}

function routerPortWith(index: ModelIndex, switchId: string, mac: string): RouterPort | undefined {
  for (const holder of index.holdersOfMac(mac))
    if (holder.kind === 'routerPort' && holder.switch === switchId) return holder;
  return undefined;
}

/** With the link-local one of its MAC. */
function addressesOf({ addresses, mac }: RouterPort): readonly string[] {
  const own = addresses.map((text) => text.slice(0, text.indexOf('/')));
  return [...own, formatIp({ version: 6, value: linkLocalOf(parseMac(mac)!) })];
}

function isSamePlace(before: RouterPort, after: RouterPort): boolean {
  return (
    before.switch === after.switch &&
    before.outside === after.outside &&
    before.mac === after.mac &&
    before.addresses.join() === after.addresses.join()
  );
}

function checkRouterPort(index: ModelIndex, before: RouterPort | undefined, after: RouterPort, report: Report): void {
  if (after.switch === undefined) return;
  const had = new Set(before?.switch === after.switch ? [before.mac, ...addressesOf(before)] : []);
  const pathOf = (at: number): string => (at < after.addresses.length ? `addresses[${at}]` : 'mac');
  for (const [at, text] of [...addressesOf(after), after.mac].entries()) {
    const port = had.has(text) ? undefined : securedWith(index, after.switch, text);
    if (!port) continue;
    const code = text === after.mac ? 'duplicate-mac' : 'duplicate-address';
    report({ ...usedBy(index, after, port, text), path: pathOf(at), code });
  }
}

function checkHeld(index: ModelIndex, holder: Held, path: string, address: string, report: Report): void {
  for (const switchId of switchesOfAddress(index, holder, address)) {
    const port = securedWith(index, switchId, address);
    if (port) report({ ...usedBy(index, holder, port, address), path, code: 'duplicate-address' });
  }
}

function securedWith(index: ModelIndex, switchId: string, addressOrMac: string): LogicalPort | undefined {
  for (const port of index.portsWithPair(switchId, addressOrMac)) if (port.portSecurity) return port;
  return undefined;
}

function usedBy(index: ModelIndex, object: AnyObject, port: LogicalPort, text: string) {
  const message = `${describe(index, port)} may use ${text} there, by an allowed pair`;
  return { object: describe(index, object), message, hint: 'take another, or take the pair from the port first' };
}

/** What a router answers for beside the addresses of its ports, with its path in the object. */
function* heldByRouter(index: ModelIndex, id: string): Iterable<readonly [Held, path: string, address: string]> {
  const router = index.get('router', id);
  if (router) for (const address of snatAddresses(router)) yield [router, 'snat', address];
  for (const floating of index.floatingAddressesOfRouter(id)) yield [floating, 'address', floating.address];
  for (const balancer of index.loadBalancersOf(id)) yield [balancer, 'address', balancer.address];
}
