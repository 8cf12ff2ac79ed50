import { isOne, listenerPorts, memberPorts } from './listener-ports.ts';
import type { LoadBalancer } from './objects.ts';
import type { ModelView } from './view.ts';

/** Services of a VIP that are not administratively down. */
export function openListeners({ listeners }: Pick<LoadBalancer, 'listeners'>): LoadBalancer['listeners'] {
  return listeners.filter(({ adminUp }) => adminUp !== false);
}

/** Protocols of which the VIP listens to more ports at once than one. */
export function rangedProtocols(balancer: Pick<LoadBalancer, 'listeners'>): ReadonlySet<Protocol> {
  const ranged = openListeners(balancer).filter((listener) => !isOne(listenerPorts(listener)));
  return new Set(ranged.map(({ protocol }) => protocol));
}

type Protocol = LoadBalancer['listeners'][number]['protocol'];
type Health = NonNullable<LoadBalancer['health']>;

/** What probes of a type speak; pings ask for no port. */
export const PROBE_PROTOCOL = { tcp: 'tcp', http: 'tcp', udp: 'udp', icmp: undefined } as const satisfies Record<
  Health['type'],
  Protocol | undefined
>;

/**
 * The port of members that is asked for health: without one of its own where the first listener of the protocol leads that is up (else the first of all: it
 * may be down since its service is). Where there is none of the protocol, which rules refuse, it is the first of any, as it was before they did.
 */
export function healthPort(
  { type, port }: Pick<Health, 'type' | 'port'>,
  listeners: LoadBalancer['listeners'],
): number {
  if (port !== undefined) return port;
  const protocol = PROBE_PROTOCOL[type];
  const spoken = listeners.filter((listener) => protocol === undefined || listener.protocol === protocol);
  const asked = spoken.length > 0 ? spoken : listeners;
  const listener = openListeners({ listeners: asked })[0] ?? asked[0];
  return listener ? memberPorts(listener).first : 0;
}

/** As much of a model as it takes. */
export type ServingView = Pick<ModelView, 'get' | 'bindingOf' | 'healthOf'>;

/**
 * What a member does, or the first reason why it does not serve. `unbound`: no host has its interface; `host-lost`: the host that has it does not
 * answer its peers; `unhealthy`: its probes failed, as its host said last.
 */
export type MemberState = 'serving' | 'admin-down' | 'no-address' | 'drained' | 'unbound' | 'host-lost' | 'unhealthy';

/**
 * Members by port, in their order, as somebody sees them for whom `isLost` hosts do not answer (docs/design/layer3.md, §8). Of a balancer that is
 * down they are so too.
 */
export function memberStates(
  model: ServingView,
  { id, adminUp, address, members }: LoadBalancer,
  isLost: (host: string) => boolean,
): ReadonlyMap<string, MemberState> {
  const down = new Set([...model.healthOf(id)].flatMap(({ port, up }) => (up ? [] : [port])));
  const isV6 = address.includes(':');
  const stateOf = (member: LoadBalancer['members'][number]): MemberState => {
    const port = model.get('port', member.port);
    if (!adminUp || !member.adminUp || !port?.adminUp) return 'admin-down';
    if (!port.addresses.some((each) => each.includes(':') === isV6)) return 'no-address';
    if (member.drain) return 'drained';
    const host = model.bindingOf(port.id)?.active;
    if (host === undefined) return 'unbound';
    if (isLost(host)) return 'host-lost';
    return down.has(port.id) ? 'unhealthy' : 'serving';
  };
  return new Map(members.map((member) => [member.port, stateOf(member)]));
}

/** Members that clients may be kept at: they serve, or would if they were not drained. */
export function keepingMembers(
  model: ServingView,
  balancer: LoadBalancer,
  isLost: (host: string) => boolean,
): ReadonlySet<string> {
  const members = balancer.members.map((member) => ({ ...member, drain: false }));
  const states = memberStates(model, { ...balancer, members }, isLost);
  return new Set([...states].flatMap(([port, state]) => (state === 'serving' ? [port] : [])));
}

/** For how long clients keep the member that they had; undefined: they do not. */
export function keepsForS({ sticky, stickyS }: Pick<LoadBalancer, 'sticky' | 'stickyS'>): number | undefined {
  return sticky === 'source' ? stickyS : undefined;
}
