import { cidrContains, formatIp, type Ip, parseCidr, parseIp } from '../base/addresses.ts';
import { holds, listenerPorts, memberPortFor } from '../model/listener-ports.ts';
import type { LoadBalancer, LogicalPort, LogicalSwitch } from '../model/objects.ts';
import { keepingMembers, keepsForS, memberStates, openListeners, rangedProtocols } from '../model/serving.ts';
import { shares } from '../model/shares.ts';
import { PROTOCOL_NAMES } from '../model/texts.ts';
import type { ModelView } from '../model/view.ts';
import { firstAddress } from './addresses.ts';
import type { Frame } from './frame.ts';
import type { Journey } from './journey.ts';
import { nameOf } from './names.ts';
import type { Packet } from './packet.ts';
import { timeText } from './routes.ts';

/** Members whose states a trace tells where none serves. */
const MOST_SHOWN = 10;

/** Virtual addresses and who serves behind them (docs/design/layer3.md, §8). */
export interface Listening {
  readonly balancer: LoadBalancer;
  readonly memberPort: number;
}

export interface Member {
  readonly port: LogicalPort;
  readonly address: Ip;
}

/** Balancers whose VIPs workloads of a switch reach without leaving it; those of another tenant's router in the switch's own networks only. */
export function* balancersInside(model: ModelView, sw: LogicalSwitch): Iterable<LoadBalancer> {
  yield* model.loadBalancersOf(sw.id);
  for (const port of model.routerPortsOfSwitch(sw.id))
    if (port.adminUp && !port.outside)
      for (const balancer of model.loadBalancersOf(port.router))
        if (port.tenant === sw.tenant || isIn(sw, balancer.address)) yield balancer;
}

function isIn({ subnets }: LogicalSwitch, address: string): boolean {
  return subnets.some(({ cidr }) => cidrContains(parseCidr(cidr)!, parseIp(address)!));
}

/** The balancers with this VIP among the given: those that share it, first the one whose key is the smallest, which speaks for the address. */
export function withVip(balancers: Iterable<LoadBalancer>, ip: Ip): readonly LoadBalancer[] {
  const text = formatIp(ip);
  const sharers = new Set<LoadBalancer>();
  for (const balancer of balancers) if (balancer.adminUp && balancer.address === text) sharers.add(balancer);
  return [...sharers].sort((a, b) => a.key - b.key);
}

/** Of those that share a VIP the one that listens to what the packet is for; else the one that speaks for the address. */
export function addressed(sharers: readonly LoadBalancer[], frame: Frame): LoadBalancer | undefined {
  return sharers.find((balancer) => listenerFor(balancer, frame)) ?? sharers[0];
}

/** The listener that a packet to the balancer's VIP is for. */
export function listenerFor(balancer: LoadBalancer, { ip, ports }: Frame): Listening | undefined {
  if (!ip || !ports) return undefined;
  const listener = listenerAt(balancer, ip.protocol, ports.dst);
  return listener && { balancer, memberPort: memberPortFor(listener, ports.dst) };
}

/** What the balancer listens to at a port of its VIP. */
export function listenerAt(
  balancer: LoadBalancer,
  ipProtocol: number,
  at: number,
): LoadBalancer['listeners'][number] | undefined {
  return openListeners(balancer).find(
    (listener) => PROTOCOL_NAMES[listener.protocol] === ipProtocol && holds(listenerPorts(listener), at),
  );
}

/** Do those that share a VIP listen to a range of ports of the packet's protocol? */
export function haveRange(sharers: readonly LoadBalancer[], ipProtocol: number): boolean {
  return sharers.some((each) => [...rangedProtocols(each)].some((name) => PROTOCOL_NAMES[name] === ipProtocol));
}

/** The member that a packet of no known connection goes to from this host; absent where none serves. */
export function chooseMember(journey: Journey, balancer: LoadBalancer, { frame, host }: Packet): Member | undefined {
  const { model } = journey;
  const kept = keptAt(model, balancer, frame.ip!.src, host);
  if (kept !== undefined) {
    const name = nameOf(model, { kind: 'port', id: kept.port });
    const until = timeText((kept.seenS + balancer.stickyS!) * 1000);
    const text = `${formatIp(frame.ip!.src)} keeps ${name}, whatever its slot says: until ${until} if it is not seen again`;
    journey.step(host, { kind: 'loadBalancer', id: balancer.id }, text);
    return memberAt(model, balancer, kept.port);
  }
  const serving = servingMembers(model, balancer, host);
  if (serving.size === 0) return undefined;
  const entries = balancer.members.flatMap(({ port, weight }) => (serving.has(port) ? [{ id: port, weight }] : []));
  return serving.get(shares(entries, balancer.slots)[slotOf(balancer, frame)]!);
}

/** The member that the client keeps, though its slot leads to another; of several that were told the one where it was seen last. */
export function keptAt(
  model: ModelView,
  balancer: LoadBalancer,
  client: Ip,
  host: string,
): { readonly port: string; readonly seenS: number } | undefined {
  if (keepsForS(balancer) === undefined) return undefined;
  const address = formatIp(client);
  const may = keepingMembers(model, balancer, (other) => model.isLost(host, other));
  const told = [...model.keptClientsOf(balancer.id)].flatMap(({ host: by, members }) =>
    members.flatMap(({ port, clients }) =>
      clients[address] !== undefined && may.has(port) ? [{ port, by, seenS: clients[address] }] : [],
    ),
  );
  return told.sort((a, b) => b.seenS - a.seenS || (a.by < b.by ? -1 : 1))[0];
}

/** No member serves: the client is told, or not, as the balancer wants it. */
export function refuse(journey: Journey, packet: Packet, balancer: LoadBalancer): void {
  const { model } = journey;
  const { host } = packet;
  const about = { kind: 'loadBalancer', id: balancer.id } as const;
  const states = [...memberStates(model, balancer, (other) => model.isLost(host, other))];
  const shown = states.slice(0, MOST_SHOWN).map(([id, state]) => `${nameOf(model, { kind: 'port', id })} ${state}`);
  const more = states.length - shown.length;
  journey.step(host, about, `no member serves: ${shown.join(', ')}${more === 0 ? '' : ` and ${more} more`}`);
  journey.drop(balancer.onEmpty === 'reject' ? 'rejected' : 'no-member', host, about);
  if (balancer.onEmpty === 'reject') journey.ask('reject', packet, about);
}

function slotOf({ sticky, slots }: LoadBalancer, { ip, ports }: Frame): number {
  return sticky === 'source' ? Number(BigInt(ip!.src.value) % BigInt(slots)) : (ports!.src >> 1) % slots;
}

function servingMembers(model: ModelView, balancer: LoadBalancer, host: string): Map<string, Member> {
  const serving = new Map<string, Member>();
  for (const [id, state] of memberStates(model, balancer, (other) => model.isLost(host, other))) {
    const member = state === 'serving' ? memberAt(model, balancer, id) : undefined;
    if (member) serving.set(id, member);
  }
  return serving;
}

/** A member of the balancer, whether it serves or not; absent where it has no address of the VIP's version. */
export function memberAt(model: ModelView, balancer: LoadBalancer, id: string): Member | undefined {
  const port = balancer.members.some((member) => member.port === id) ? model.get('port', id) : undefined;
  const { version } = parseIp(balancer.address)!;
  const address = port && firstAddress(port, version);
  return address ? { port, address } : undefined;
}
