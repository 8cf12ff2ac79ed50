import { cidrContains, parseCidr, parseIp } from '../../base/addresses.ts';
import { describe } from '../describe.ts';
import type { ModelIndex } from '../model-index.ts';
import type { FloatingAddress, LoadBalancer, LogicalPort } from '../objects.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import { PROBE_PROTOCOL } from '../serving.ts';
import { checkHeldAddress } from './addresses.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';
import { mayLeadTo } from './ways.ts';

/** Floating addresses and load balancers: their address is theirs alone, and their ports can be reached and answer for it. */
export const checkTranslated: Rule = (index, changes, report) => {
  const checked = new Set<string>();
  /** Ports with other addresses. */
  const moved = new Set<string>();
  for (const { before, after } of written(changes, 'port'))
    if (before && before.addresses.join() !== after.addresses.join()) moved.add(after.id);
  for (const { before, after } of written(changes, 'floatingAddress')) {
    checked.add(after.id);
    checkHeldAddress(index, after, 'address', after.address, report);
    checkFloating(index, after, report, true);
    const isSame = before && pathsOf(before) === pathsOf(after);
    if (!isSame || moved.has(after.port)) checkFloatingWay(index, after, report);
  }
  for (const { before, after } of written(changes, 'loadBalancer')) {
    checked.add(after.id);
    checkHeldAddress(index, after, 'address', after.address, report);
    checkBalancer(index, after, report, true);
    checkNearness(index, before, after, report);
    checkHealth(index, before, after, report);
    const had = new Set(before?.address === after.address ? before.members.map(({ port }) => port) : []);
    checkMemberWays(index, after, (port) => !had.has(port) || moved.has(port), report);
  }
  // A port with other addresses, or a router port on another switch, can make them wrong.
  for (const id of moved)
    for (const referrer of index.referrersOf('port', id)) {
      if (checked.has(referrer.id)) continue;
      checked.add(referrer.id);
      if (referrer.kind === 'floatingAddress') {
        checkFloating(index, referrer, report, false);
        checkFloatingWay(index, referrer, report);
      }
      if (referrer.kind === 'loadBalancer') {
        checkBalancer(index, referrer, report, false);
        checkMemberWays(index, referrer, (port) => moved.has(port), report);
      }
    }
  for (const { after } of written(changes, 'routerPort'))
    for (const held of [...index.floatingAddressesOfRouter(after.router), ...index.loadBalancersOf(after.router)]) {
      if (checked.has(held.id)) continue;
      checked.add(held.id);
      checkHeldAddress(index, held, 'address', held.address, report);
    }
};

type Report = (problem: Problem) => void;

function checkFloating(index: ModelIndex, floating: FloatingAddress, report: Report, withReach: boolean): void {
  const problem = (path: string, code: ProblemCode, message: string): void =>
    report({ object: describe(index, floating), path, code, message });
  const port = index.get('port', floating.port);
  if (!port) return;
  const fixed = floating.fixed ?? firstOf(port, floating.address);
  if (fixed === undefined) {
    const version = floating.address.includes(':') ? 6 : 4;
    problem('port', 'member-address', `${describe(index, port)} has no IPv${version} address`);
  } else {
    if (!port.addresses.includes(fixed))
      problem('fixed', 'member-address', `${fixed} is no address of ${describe(index, port)}`);
    if (fixed.includes(':') !== floating.address.includes(':'))
      problem('fixed', 'ip-version', `${fixed} is of another IP version than ${floating.address}`);
    for (const other of index.referrersOf('port', port.id)) {
      if (other.kind !== 'floatingAddress' || other.id === floating.id || other.router !== floating.router) continue;
      if ((other.fixed ?? firstOf(port, other.address)) !== fixed) continue;
      problem(
        'port',
        'ambiguous',
        `${describe(index, other)} leads to ${fixed} too: its own packets could have only one`,
      );
      break;
    }
  }
  if (withReach && !reaches(index, floating.router, port.switch)) {
    const router = index.get('router', floating.router);
    problem('port', 'unreachable', `the switch of ${describe(index, port)} is not behind router ${router?.name}`);
  }
}

function checkBalancer(index: ModelIndex, balancer: LoadBalancer, report: Report, withReach: boolean): void {
  const problem = (path: string, code: ProblemCode, message: string, hint?: string): void =>
    report({ object: describe(index, balancer), path, code, message, ...(hint === undefined ? {} : { hint }) });
  const reached = new Map<string, boolean>();
  const members = new Map<string, number>();
  for (const [at, member] of balancer.members.entries()) {
    const path = `members[${at}].port`;
    const port = index.get('port', member.port);
    if (!port) continue;
    const name = describe(index, port);
    const twin = members.get(port.id);
    if (twin !== undefined) problem(path, 'ambiguous', `members[${twin}] is ${name} too`, 'give it a weight');
    members.set(port.id, at);
    if (firstOf(port, balancer.address) === undefined)
      problem(path, 'member-address', `${name} has no address of the IP version of ${balancer.address}`);
    if (!withReach) continue;
    const device = (balancer.router ?? balancer.switch)!;
    const isReached = reached.get(port.switch) ?? reaches(index, device, port.switch);
    reached.set(port.switch, isReached);
    if (!isReached) problem(path, 'unreachable', `the switch of ${name} cannot be reached from where the VIP lives`);
  }
  if (balancer.slots < balancer.members.length)
    problem('slots', 'slots', `${balancer.slots} slots cannot be shared by ${balancer.members.length} members`);
}

/**
 * Clients ask for a VIP in their own subnet by ARP or ND, and send to what answers: a member on another switch is behind no router from there. Where
 * the switch has other subnets clients in those come by their gateway, so it may be meant for them. What was stored before this was asked may be changed
 * in other ways.
 */
function checkNearness(index: ModelIndex, before: LoadBalancer | undefined, after: LoadBalancer, report: Report): void {
  const device = after.switch === undefined ? undefined : index.get('switch', after.switch);
  const [only, ...others] = device?.subnets.filter(({ cidr }) => isSameVersion(cidr, after.address)) ?? [];
  if (!only || others.length > 0 || !cidrContains(parseCidr(only.cidr)!, parseIp(after.address)!)) return;
  const isSame = before?.switch === after.switch && before?.address === after.address;
  const had = new Set(isSame ? before?.members.map(({ port }) => port) : []);
  for (const [at, { port: id }] of after.members.entries()) {
    const port = index.get('port', id);
    if (!port || port.switch === after.switch || had.has(id)) continue;
    report({
      ...{ object: describe(index, after), path: `members[${at}].port`, code: 'unreachable' },
      message: `${describe(index, port)} is on another switch, and clients take ${after.address} for a neighbour: no router leads there`,
      hint: `put the VIP on a router of ${describe(index, device!)} (router instead of switch), or take members on that switch`,
    });
  }
}

/** Members that serve one protocol say nothing of themselves in another. What was stored before this was asked may be changed in other ways. */
function checkHealth(index: ModelIndex, before: LoadBalancer | undefined, after: LoadBalancer, report: Report): void {
  const missing = missingProtocol(after);
  if (missing === undefined || (before && missingProtocol(before) === missing)) return;
  const { type } = after.health!;
  report({
    ...{ object: describe(index, after), path: 'health.port', code: 'health' },
    message: `health of type ${type} asks over ${missing}, and no listener is of ${missing}: it has no port to ask at`,
    hint: 'give the port of members that answers (health.port), or another type',
  });
}

/** The protocol in which health is asked, where no listener says at which port. */
function missingProtocol({ health, listeners }: LoadBalancer): string | undefined {
  const protocol = health?.port === undefined ? health && PROBE_PROTOCOL[health.type] : undefined;
  return listeners.some((listener) => listener.protocol === protocol) ? undefined : protocol;
}

function isSameVersion(one: string, other: string): boolean {
  return one.includes(':') === other.includes(':');
}

function firstOf(port: LogicalPort, address: string): string | undefined {
  return port.addresses.find((each) => isSameVersion(each, address));
}

/** What was stored before ways were asked may be changed in other ways. */
function pathsOf({ router, port, address, fixed }: FloatingAddress): string {
  return [router, port, fixed ?? (address.includes(':') ? 6 : 4)].join();
}

function checkFloatingWay(index: ModelIndex, floating: FloatingAddress, report: Report): void {
  const port = index.get('port', floating.port);
  const fixed = port && (floating.fixed ?? firstOf(port, floating.address));
  if (!port || fixed === undefined || !port.addresses.includes(fixed)) return;
  const path = floating.fixed === undefined ? 'port' : 'fixed';
  checkWay(index, floating, floating.router, port, fixed, path, report);
}

function checkMemberWays(
  index: ModelIndex,
  balancer: LoadBalancer,
  isAsked: (port: string) => boolean,
  report: Report,
): void {
  for (const [at, { port: id }] of balancer.members.entries()) {
    const port = isAsked(id) ? index.get('port', id) : undefined;
    const address = port && firstOf(port, balancer.address);
    if (!port || address === undefined || port.switch === balancer.switch) continue;
    checkWay(index, balancer, (balancer.router ?? balancer.switch)!, port, address, `members[${at}].port`, report);
  }
}

/** That a switch can be reached says nothing of an address in none of the networks there. */
function checkWay(
  index: ModelIndex,
  holder: FloatingAddress | LoadBalancer,
  device: string,
  port: LogicalPort,
  address: string,
  path: string,
  report: Report,
): void {
  // What a write takes away is told as missing.
  const from = index.get('router', device) ?? index.get('switch', device);
  if (!from) return;
  const onSwitch = [...index.routerPortsOfSwitch(device)].map(({ router }) => router);
  const routers = index.get('router', device) ? [device] : onSwitch;
  if (mayLeadTo(index, routers, port, parseIp(address)!) || !reaches(index, device, port.switch)) return;
  const there = [...index.routerPortsOfSwitch(port.switch)].flatMap(({ addresses }) => addresses);
  report({
    ...{ object: describe(index, holder), path, code: 'unreachable' },
    message: `no way leads from ${describe(index, from)} to ${address} of ${describe(index, port)}: router ports on its switch have ${there.join(', ') || 'no address'}, and no route leads there`,
    hint: 'give the router port there an address in its network, the router a route, or the port another address',
  });
}

/** Over switches and routers, whatever their routes say; a shared switch is no way through for a tenant's own traffic. */
function reaches(index: ModelIndex, device: string, switchId: string): boolean {
  const seen = new Set([device]);
  for (const id of seen) {
    if (id === switchId) return true;
    if (index.get('switch', id)) {
      if (id === device || !index.get('switch', id)!.shared)
        for (const { router } of index.routerPortsOfSwitch(id)) seen.add(router);
      continue;
    }
    for (const port of index.routerPortsOfRouter(id)) {
      if (port.switch !== undefined) seen.add(port.switch);
      const peer = port.peer === undefined ? undefined : index.get('routerPort', port.peer);
      for (const other of peer ? [peer] : index.peersOf(port.id)) seen.add(other.router);
    }
  }
  return false;
}
