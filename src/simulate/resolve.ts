import { cidrContains, formatIp, type Ip, parseCidr, parseIp, parseMac } from '../base/addresses.ts';
import type { LoadBalancer, LogicalSwitch, RouterPort } from '../model/objects.ts';
import { translatesTo } from '../model/snat.ts';
import { isInVlan, subnetOf } from '../model/subnets.ts';
import type { ModelView } from '../model/view.ts';
import { floatingOf, isLinkLocal, networksOf, routerPortOwns } from './addresses.ts';
import { withVip } from './balancers.ts';
import type { ObjectRef } from './outcome.ts';
import { sameIp } from './tuple.ts';

/** Who has an address on a switch (docs/design/layer3.md, §6.8). */
export interface Holder {
  readonly mac: number;
  readonly by: ObjectRef;
}

/** On a VLAN-aware switch an address lives in the VLAN of its subnet, and in none (0) where it has no subnet. */
export function vlanOfAddress(sw: LogicalSwitch, ip: Ip): number {
  return sw.vlanAware ? (subnetOf(sw, ip)?.vlan ?? 0) : 0;
}

/** What the model knows by itself: what is answered to ARP and ND. `vlan`: the frame's; only addresses that live there count. */
export function holderOf(model: ModelView, sw: LogicalSwitch, ip: Ip, vlan: number): Holder | undefined {
  const isThere = !sw.vlanAware || vlanOfAddress(sw, ip) === vlan;
  if (isThere)
    for (const port of model.portsOfSwitch(sw.id))
      if (isInVlan(sw, port, vlan) && port.addresses.some((text) => sameIp(parseIp(text)!, ip)))
        return { mac: parseMac(port.mac)!, by: { kind: 'port', id: port.id } };
  for (const port of model.routerPortsOfSwitch(sw.id)) {
    const isReached = isLinkLocal(ip) ? isRouterPortIn(sw, port, vlan) : isThere;
    if (isReached && routerPortOwns(port, ip))
      return { mac: parseMac(port.mac)!, by: { kind: 'routerPort', id: port.id } };
  }
  return isThere ? (publicHolder(model, sw, ip) ?? virtualHolder(model, sw, ip)) : undefined;
}

/** As `holderOf`, and what was learned of the neighbourhood: where a router sends. */
export function resolve(model: ModelView, sw: LogicalSwitch, ip: Ip): Holder | undefined {
  const known = holderOf(model, sw, ip, vlanOfAddress(sw, ip));
  if (known) return known;
  const text = formatIp(ip);
  for (const neighbour of model.neighboursOf(sw.id))
    if (neighbour.address === text) return { mac: parseMac(neighbour.mac)!, by: { kind: 'port', id: neighbour.port } };
  return undefined;
}

/** Does a frame of this VLAN reach the router by the port? Untagged ones do, and those of the VLANs where its addresses live. */
export function isRouterPortIn(sw: LogicalSwitch, port: RouterPort, vlan: number): boolean {
  return vlan === 0 || networksOf(port).some(({ ip }) => vlanOfAddress(sw, ip) === vlan);
}

/** Floating and SNAT addresses, at the outside port whose network holds them. */
function publicHolder(model: ModelView, sw: LogicalSwitch, ip: Ip): Holder | undefined {
  const text = formatIp(ip);
  for (const port of model.routerPortsOfSwitch(sw.id)) {
    if (!port.outside || !holds(port, ip)) continue;
    const mac = parseMac(port.mac)!;
    for (const floating of floatingOf(model, port.router))
      if (floating.address === text) return { mac, by: { kind: 'floatingAddress', id: floating.id } };
    if (translatesTo(model.get('router', port.router), text)) return { mac, by: { kind: 'router', id: port.router } };
  }
  return undefined;
}

/** VIPs of balancers that are up: a router's at its port whose network holds them, else at the first inside one in their subnet, a switch's by a MAC of their own. */
function virtualHolder(model: ModelView, sw: LogicalSwitch, ip: Ip): Holder | undefined {
  const isInSubnet = sw.subnets.some(({ cidr }) => cidrContains(parseCidr(cidr)!, ip));
  const answering = [...model.routerPortsOfSwitch(sw.id)]
    .filter((port) => (port.outside ? holds(port, ip) : isInSubnet))
    .sort((a, b) => Number(holds(b, ip)) - Number(holds(a, ip)) || (a.id < b.id ? -1 : 1));
  for (const port of answering) {
    const [balancer] = withVip(model.loadBalancersOf(port.router), ip);
    if (balancer) return { mac: parseMac(port.mac)!, by: { kind: 'loadBalancer', id: balancer.id } };
  }
  const [balancer] = withVip(model.loadBalancersOf(sw.id), ip);
  return balancer && { mac: macOfVip(balancer), by: { kind: 'loadBalancer', id: balancer.id } };
}

function macOfVip({ key }: LoadBalancer): number {
  return 0x0a57_4c00_0000 + key;
}

function holds(port: RouterPort, ip: Ip): boolean {
  return networksOf(port).some((network) => cidrContains(network, ip));
}
