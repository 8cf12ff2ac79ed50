import { isDeepStrictEqual } from 'node:util';
import { parseCidr, parseIp } from '../../base/addresses.ts';
import { balancersWithAddress, switchesOfAddress, usesOfAddress } from '../address-uses.ts';
import { describe } from '../describe.ts';
import { MOST_MEMBERS } from '../kinds/load-balancer.ts';
import { doOverlap, listenerPorts } from '../listener-ports.ts';
import type { ModelIndex } from '../model-index.ts';
import type { AnyObject, LoadBalancer, LogicalPort } from '../objects.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import type { AddressHolder } from '../relations.ts';
import { isHostAddress, isReservedIn, subnetOf } from '../subnets.ts';

type Report = (problem: Problem) => void;

/**
 * An address that a router answers for (floating, SNAT, virtual) is one that a host can have, and nobody else has it
 * wherever it is seen. A router may translate to its own interface address, and load balancers of one router or switch
 * may share theirs.
 */
export function checkHeldAddress(
  index: ModelIndex,
  holder: Exclude<AddressHolder, { kind: 'routerPort' }>,
  path: string,
  address: string,
  report: Report,
): void {
  const object = describe(index, holder);
  const problem = (code: ProblemCode, message: string): void => report({ object, path, code, message });
  const ip = parseIp(address)!;
  if (!isHostAddress(ip)) return problem('address-reserved', `${address} is no address of a host`);
  const others = new Set<AnyObject>(index.addressHoldersOf(deviceOf(holder), address));
  const isInterface = [...others].some((other) => isOwnInterface(holder, other));
  for (const switchId of switchesOfAddress(index, holder, address)) {
    for (const other of usesOfAddress(index, switchId, address)) others.add(other);
    const device = index.get('switch', switchId);
    const subnet = device && subnetOf(device, ip);
    if (!subnet) continue;
    if (isReservedIn(parseCidr(subnet.cidr)!, ip))
      problem('address-reserved', `${address} is the network or broadcast address of ${subnet.cidr}`);
    if (subnet.gateway === address && !isInterface)
      problem('gateway-in-use', `${address} is the gateway of ${subnet.cidr}`);
  }
  if (holder.kind === 'loadBalancer')
    for (const switchId of clientSwitches(index, holder))
      for (const other of balancersWithAddress(index, switchId, address)) others.add(other);
  for (const other of others) {
    if (other === holder || isOwnInterface(holder, other) || isSharer(holder, other)) continue;
    problem('duplicate-address', `${describe(index, other)} has ${address} too`);
    break;
  }
  if (holder.kind === 'loadBalancer') checkSharers(index, holder, report);
}

/** Is it a load balancer of the same router or switch? These have an address together. */
function isSharer(holder: AddressHolder, other: AnyObject): other is LoadBalancer {
  return holder.kind === 'loadBalancer' && other.kind === 'loadBalancer' && deviceOf(holder) === deviceOf(other);
}

/** Each packet to a shared address is for one of the balancers, and what holds for the whole address is the same with all. */
function checkSharers(index: ModelIndex, balancer: LoadBalancer, report: Report): void {
  const object = describe(index, balancer);
  const members = new Set(balancer.members.map(({ port }) => port));
  for (const other of index.addressHoldersOf(deviceOf(balancer), balancer.address)) {
    if (other.id === balancer.id || !isSharer(balancer, other)) continue;
    for (const { port } of other.members) members.add(port);
    const name = describe(index, other);
    for (const [at, listener] of balancer.listeners.entries())
      for (const taken of other.listeners)
        if (taken.protocol === listener.protocol && doOverlap(listenerPorts(taken), listenerPorts(listener)))
          report({
            ...{ object, path: `listeners[${at}].port`, code: 'duplicate-listener' },
            message: `${name} listens to ${taken.protocol}/${taken.port} of ${balancer.address}`,
            hint: 'load balancers that share an address have listeners of their own',
          });
    for (const path of ['prefilter', 'inboundLimit'] as const)
      if (!isDeepStrictEqual(balancer[path], other[path]))
        report({
          ...{ object, path, code: 'shared-address' },
          message: `${name} shares ${balancer.address} and has another: it is for the whole address`,
          hint: 'give the same to all load balancers of the address',
        });
  }
  if (members.size > MOST_MEMBERS)
    report({
      ...{ object, path: 'members', code: 'shared-address' },
      message: `the load balancers of ${balancer.address} have ${members.size} members together, which is more than ${MOST_MEMBERS}`,
    });
}

function clientSwitches(index: ModelIndex, balancer: LoadBalancer): readonly string[] {
  if (balancer.router === undefined) return [balancer.switch!];
  return [...index.routerPortsOfRouter(balancer.router)].flatMap((port) =>
    port.switch === undefined || port.outside || index.get('switch', port.switch)?.tenant !== balancer.tenant
      ? []
      : [port.switch],
  );
}

function deviceOf(holder: Exclude<AddressHolder, { kind: 'routerPort' }>): string {
  if (holder.kind === 'router') return holder.id;
  return holder.kind === 'loadBalancer' ? (holder.router ?? holder.switch)! : holder.router;
}

function isOwnInterface(holder: AddressHolder, other: AnyObject): boolean {
  if (holder.kind === 'router') return other.kind === 'routerPort' && other.router === holder.id;
  return false;
}

/** Somebody else who has a port's address on its switch and is no port. */
export function holderOfPortAddress(index: ModelIndex, port: LogicalPort, address: string): AddressHolder | undefined {
  for (const use of usesOfAddress(index, port.switch, address)) if (use.kind !== 'port') return use;
  return undefined;
}
