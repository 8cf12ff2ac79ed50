import { cidrContains, type Ip, parseCidr, parseIp } from '../base/addresses.ts';
import type { LoadBalancer } from '../model/objects.ts';
import { keepsForS, rangedProtocols } from '../model/serving.ts';
import { shares } from '../model/shares.ts';
import { selfHost } from './facts.ts';
import {
  define,
  healthIndex,
  keptClientsIndex,
  portsOfRouterIndex,
  type Reader,
  vipGroup,
  vipIndex,
} from './inputs.ts';
import { type Listener, listenersOf, type MemberPort, onlyMemberPort } from './listeners.ts';

/** What units ask about load balancers (docs/design/layer3.md, §8). */

/** What of a balancer does not change when members come, go, or fall ill. */
export interface BalancerFacts {
  readonly key: number;
  readonly vip: Ip;
  readonly listeners: readonly Listener[];
  /** Where later fragments of connections that begin are led, if nothing else of the VIP can have them. */
  readonly onlyMemberPort: MemberPort | undefined;
  /** Of which it listens to more than one port at once. */
  readonly rangedProtocols: ReadonlySet<Listener['protocol']>;
  /** Key of the balancer that speaks for the VIP: does once what does not ask which of its listeners is meant. */
  readonly speakerKey: number;
  /** Bits of a slot's number: 4 to 10. */
  readonly slotBits: number;
  readonly sticky: LoadBalancer['sticky'];
  readonly onEmpty: LoadBalancer['onEmpty'];
  readonly router: string | undefined;
  readonly switch: string | undefined;
}

/** The balancers that are up and have the VIP of this one, which is up: the one whose key is the smallest first, which speaks for the VIP. */
export const sharersOf = define.cell<readonly string[]>({
  name: 'sharersOf',
  run: (reader, id) => {
    const device = reader.pick('loadBalancer', id, 'router') ?? reader.pick('loadBalancer', id, 'switch');
    const address = reader.pick('loadBalancer', id, 'address');
    if (device === undefined || address === undefined) return [];
    const keyOf = (sharer: string): number => reader.pick('loadBalancer', sharer, 'key')!;
    return [...reader.ids(vipIndex, vipGroup(device, address))].sort((a, b) => keyOf(a) - keyOf(b));
  },
});

/** Undefined for a balancer that is administratively down: its address is one as any. */
export const balancerFacts = define.cell<BalancerFacts | undefined>({
  name: 'balancerFacts',
  run: (reader, id) => {
    const balancer = reader.get('loadBalancer', id);
    const vip = parseIp(balancer?.address ?? '');
    if (balancer === undefined || vip === undefined || !balancer.adminUp) return undefined;
    const sharers = reader.derive(sharersOf, id);
    const isShared = sharers.length > 1;
    return {
      key: balancer.key,
      vip,
      speakerKey: reader.pick('loadBalancer', sharers[0]!, 'key')!,
      listeners: listenersOf(balancer),
      rangedProtocols: rangedProtocols(balancer),
      onlyMemberPort: isShared ? undefined : onlyMemberPort(balancer),
      slotBits: 31 - Math.clz32(balancer.slots),
      sticky: balancer.sticky,
      onEmpty: balancer.onEmpty,
      router: balancer.router,
      switch: balancer.switch,
    };
  },
});

/** Members that serve, or would if they were not drained. */
const wellMembers = define.cell<LoadBalancer['members']>({
  name: 'wellMembers',
  run: (reader, id) => {
    const balancer = reader.get('loadBalancer', id);
    const vip = parseIp(balancer?.address ?? '');
    if (balancer === undefined || vip === undefined) return [];
    const down = new Set<string>();
    for (const health of reader.ids(healthIndex, id))
      if (reader.pick('memberHealth', health, 'up') === false) down.add(reader.pick('memberHealth', health, 'port')!);
    return balancer.members.filter(
      ({ port, adminUp }) =>
        adminUp &&
        !down.has(port) &&
        reader.pick('port', port, 'adminUp') === true &&
        memberAddress(reader, port, vip.version) !== undefined &&
        isReached(reader, port),
    );
  },
});

/** The key of the member's port by slot; empty where nobody serves. */
export const slotsOf = define.cell<readonly number[]>({
  name: 'balancerSlots',
  run: (reader, id) => {
    const serving = reader.derive(wellMembers, id).filter(({ drain }) => !drain);
    const owners = shares(
      serving.map(({ port, weight }) => ({ id: port, weight })),
      reader.pick('loadBalancer', id, 'slots') ?? 0,
    );
    return owners.map((port) => reader.pick('port', port, 'key')!);
  },
});

/** Clients that keep a member whatever their slots say, with the key of its port. Where hosts disagree the one that saw the client last is right. */
export const keptClients = define.cell<readonly { readonly address: Ip; readonly member: number }[]>({
  name: 'balancerKept',
  run: (reader, id) => {
    const records = reader.ids(keptClientsIndex, id);
    const balancer = records.length === 0 ? undefined : reader.get('loadBalancer', id);
    if (balancer === undefined || keepsForS(balancer) === undefined) return [];
    const { version } = parseIp(balancer.address)!;
    const may = new Set(reader.derive(wellMembers, id).map(({ port }) => port));
    const best = new Map<string, { readonly port: string; readonly host: string; readonly seenS: number }>();
    for (const record of records) {
      const host = reader.pick('keptClients', record, 'host')!;
      for (const { port, clients } of reader.pick('keptClients', record, 'members')!) {
        if (!may.has(port)) continue;
        for (const [address, seenS] of Object.entries(clients)) {
          const other = best.get(address);
          if (!other || seenS > other.seenS || (seenS === other.seenS && host < other.host))
            best.set(address, { port, host, seenS });
        }
      }
    }
    return [...best].flatMap(([text, { port }]) => {
      const address = parseIp(text);
      return address?.version === version ? [{ address, member: reader.pick('port', port, 'key')! }] : [];
    });
  },
});

/**
 * Does a host have the member's interface that answers this one? Where that is this host itself it is known before the server says so, and
 * without one.
 */
function isReached(reader: Reader, port: string): boolean {
  const host = reader.pick('binding', port, 'active') ?? selfHost(reader);
  if (host === undefined || host === selfHost(reader)) return reader.pick('interface', port, 'ofport') !== undefined;
  return reader.pick('hostLost', host, 'id') === undefined;
}

/** Whether it matters which slot a packet has: several members serve. */
export const areSlotsShared = define.cell<boolean>({
  name: 'balancerSlotsShared',
  run: (reader, id) => new Set(reader.derive(slotsOf, id)).size > 1,
});

/** The address at which a port serves: its first of the VIP's version. */
export function memberAddress(reader: Reader, port: string, version: 4 | 6): Ip | undefined {
  for (const text of reader.pick('port', port, 'addresses') ?? []) {
    const ip = parseIp(text);
    if (ip?.version === version) return ip;
  }
  return undefined;
}

/**
 * Switches whose workloads reach the VIP by themselves: that of the balancer, or those of its router's inner ports. On a switch that another
 * tenant shares only a VIP of the switch's own networks: whatever else its workloads call is not ours to take.
 */
export function clientSwitches(reader: Reader, balancer: BalancerFacts): readonly string[] {
  if (balancer.router === undefined) return [balancer.switch!];
  const switches = new Set<string>();
  for (const port of reader.ids(portsOfRouterIndex, balancer.router)) {
    if (reader.pick('routerPort', port, 'adminUp') !== true || reader.pick('routerPort', port, 'outside') === true)
      continue;
    const onSwitch = reader.pick('routerPort', port, 'switch');
    if (onSwitch !== undefined && mayTake(reader, onSwitch, balancer)) switches.add(onSwitch);
  }
  return [...switches];
}

function mayTake(reader: Reader, onSwitch: string, { router, vip }: BalancerFacts): boolean {
  const tenant = reader.pick('switch', onSwitch, 'tenant');
  if (tenant === undefined || tenant === reader.pick('router', router!, 'tenant')) return true;
  return (reader.pick('switch', onSwitch, 'subnets') ?? []).some(({ cidr }) => cidrContains(parseCidr(cidr)!, vip));
}
