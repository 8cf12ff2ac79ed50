import { cidrContains, type Ip, parseCidr, parseIp } from '../base/addresses.ts';
import type { ModelIndex } from './model-index.ts';
import type { LoadBalancer, LogicalPort, RouterPort } from './objects.ts';
import type { AddressHolder } from './relations.ts';

/**
 * Who has an address on a switch: ports and router ports by their own, and what a router answers for there: floating
 * and SNAT addresses on the switch of the outside port whose network holds them, virtual addresses there or on the
 * inside switch whose subnet holds them (docs/design/layer3.md, §6.8). Costs a handful of look-ups, on a switch with
 * 10,000 ports or routers too.
 */
export function* usesOfAddress(
  index: ModelIndex,
  switchId: string,
  address: string,
): Iterable<LogicalPort | AddressHolder> {
  yield* index.portsWithAddress(switchId, address);
  const ip = parseIp(address);
  if (!ip) return;
  for (const holder of candidates(index, switchId, address)) if (livesOn(index, holder, switchId, ip)) yield holder;
}

/**
 * Load balancers to whose address packets from a switch are translated where they enter: those of the switch, and of the switch's tenant's
 * routers that have an inside port there, wherever the address lies (docs/design/layer3.md, §3.1).
 */
export function* balancersWithAddress(index: ModelIndex, switchId: string, address: string): Iterable<LoadBalancer> {
  const tenant = index.get('switch', switchId)?.tenant;
  for (const holder of candidates(index, switchId, address)) {
    if (holder.kind !== 'loadBalancer') continue;
    if (holder.switch === switchId) yield holder;
    if (holder.router === undefined || holder.tenant !== tenant) continue;
    for (const port of index.routerPortsOfRouter(holder.router))
      if (port.switch === switchId && !port.outside) {
        yield holder;
        break;
      }
  }
}

/** May a port get the address? */
export function isAddressTaken(index: ModelIndex, switchId: string, address: string): boolean {
  for (const _ of usesOfAddress(index, switchId, address)) return true;
  return false;
}

/** The switches on which a router's address is answered for. */
export function switchesOfAddress(index: ModelIndex, holder: AddressHolder, address: string): readonly string[] {
  if (holder.kind === 'routerPort') return holder.switch === undefined ? [] : [holder.switch];
  if (holder.kind === 'loadBalancer' && holder.switch !== undefined) return [holder.switch];
  const ip = parseIp(address)!;
  const switches = new Set<string>();
  for (const port of index.routerPortsOfRouter(routerOf(holder)))
    if (port.switch !== undefined && answersAt(index, holder, port, ip)) switches.add(port.switch);
  return [...switches];
}

/** Networks that an interface address tells of: `10.0.1.1/24` is in 10.0.1.0/24. */
export function holdsAddress(port: RouterPort, ip: Ip): boolean {
  return port.addresses.some((text) => cidrContains(parseCidr(text)!, ip));
}

/** By the address or by the routers of the switch, whichever are fewer. */
function candidates(index: ModelIndex, switchId: string, address: string): Iterable<AddressHolder> {
  if (index.holderCountOfAddress(address) <= index.routerPortCountOfSwitch(switchId) + 1)
    return index.holdersOfAddress(address);
  const found = new Set(index.addressHoldersOf(switchId, address));
  for (const { router } of index.routerPortsOfSwitch(switchId))
    for (const holder of index.addressHoldersOf(router, address)) found.add(holder);
  return found;
}

function livesOn(index: ModelIndex, holder: AddressHolder, switchId: string, ip: Ip): boolean {
  if (holder.kind === 'routerPort') return holder.switch === switchId;
  if (holder.kind === 'loadBalancer' && holder.switch !== undefined) return holder.switch === switchId;
  for (const port of index.routerPortsOfRouter(routerOf(holder)))
    if (port.switch === switchId && answersAt(index, holder, port, ip)) return true;
  return false;
}

function answersAt(index: ModelIndex, holder: AddressHolder, port: RouterPort, ip: Ip): boolean {
  if (port.outside) return holdsAddress(port, ip);
  if (holder.kind !== 'loadBalancer') return false;
  const subnets = index.get('switch', port.switch!)?.subnets ?? [];
  return holdsAddress(port, ip) || subnets.some(({ cidr }) => cidrContains(parseCidr(cidr)!, ip));
}

function routerOf(holder: AddressHolder): string {
  return holder.kind === 'router' ? holder.id : (holder as Exclude<AddressHolder, { kind: 'router' }>).router!;
}
