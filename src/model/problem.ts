import { WeftError } from '../base/errors.ts';

/** One thing that is wrong with desired state. A write is refused with all of its problems at once. */
export interface Problem {
  /** The object, as a person names it: `port acme/web-1`. */
  readonly object: string;
  /** The field, such as `subnets[0].gateway`; empty for the object as a whole. */
  readonly path: string;
  readonly code: ProblemCode;
  /** What is wrong, with the value. */
  readonly message: string;
  /** How to mend it, where that is not obvious from the message. */
  readonly hint?: string;
}

/** What can be wrong; stable, so that tools can act on it. */
export const PROBLEM_CODES = {
  schema: 'a field is missing, unknown, or of the wrong form',
  kind: 'there is no such kind',
  reference: 'a reference leads nowhere, or to more than one object',
  'cross-tenant': 'a reference leads to another tenant',
  'in-use': 'the object cannot be deleted while others refer to it',
  name: 'the name is taken',
  id: 'the id is taken, or does not fit the name',
  immutable: 'the field cannot be changed',
  'duplicate-address': 'somebody else has the address on the same switch, or behind the same router',
  'duplicate-listener':
    'another load balancer has the protocol and port, or some of the ports, of the address that both have',
  'shared-address': 'what holds for a whole address is not the same with all load balancers that share it',
  'duplicate-mac': 'another port of the switch has the MAC address',
  'duplicate-key': 'another device has the tunnel key',
  'duplicate-position': 'another rule of the chain, or policy of the router, has the position',
  'duplicate-tunnel-address': 'another host of the zone has the tunnel address',
  'duplicate-object': 'the same object is given twice in one request',
  'subnet-overlap': 'two subnets of a switch overlap',
  'subnet-option': 'a field does not fit the IP version of the subnet',
  mtu: 'the MTU is less than IPv6 needs',
  gateway: 'the gateway is outside its subnet, or is not an address a host can have',
  'gateway-in-use': 'the gateway is the address of a port',
  'address-outside': 'the address is in no subnet of the switch',
  'address-reserved': 'the address is the network or broadcast address of its subnet',
  'subnet-full': 'no address of the subnet is free',
  'key-space-full': 'no tunnel key is free',
  'chain-circle': 'chains jump in a circle',
  'chain-length': 'the way through a chain, and what it jumps to, is longer than switches follow',
  'flow-count': 'the object would cost switches more flows than one may',
  helper: 'a connection tracking helper stands where no connection is kept',
  vlan: 'a VLAN field does not fit the switch',
  'not-shared': 'the switch belongs to another tenant and is not shared',
  peer: 'the peer of a router port is taken, or cannot be one',
  'network-overlap': 'two ports of a router have networks that overlap',
  'next-hop': 'the next hop is in no network of the router, or is the router itself',
  probe: 'the next hop cannot be probed so',
  health: 'members cannot be asked so whether they are well',
  'ip-version': 'two fields that belong together are of different IP versions',
  ambiguous: 'two entries are for the same packets',
  'route-circle': 'static routes or policies send packets from router to router and back',
  unreachable: 'the port is not behind the router',
  'no-bgp': 'the router speaks no BGP',
  'own-as': 'the peer is in the autonomous system of the router itself',
  'bgp-port': 'BGP cannot be spoken by that router port',
  'stateful-uplink': 'a filter at an uplink asks for the state of connections in a way that no gateway can tell',
  'l2-port': 'the port cannot be the outside of an L2 gateway or VTEP binding',
  interface: 'the interface of the host is not for L2 gateways, or another has it',
  'physical-port': 'the physical port of the VTEP is not for bindings, or another has its VLAN',
  'duplicate-vni': 'another binding of the VTEP has the VNI',
  management: 'another VTEP is managed there',
  'member-address': 'the port has no such address',
  collector: 'copies of a mirror would go to where our own tunnels end, at a host or a VTEP',
  limits: 'more limits than a port can have',
  slots: 'a load balancer has fewer slots than members, or a next hop of a route has none',
  prefilter:
    'the chain cannot be a pre-filter, or nothing that could be filtered or limited comes in from outside there',
  'source-check': 'sources cannot be checked at that router port',
  'apply-set': 'the object belongs to another apply set',
} as const;
export type ProblemCode = keyof typeof PROBLEM_CODES;

/** Problems of a request that is right in itself, with what is there already. */
const CONFLICTS: ReadonlySet<ProblemCode> = new Set(['in-use', 'name', 'id', 'apply-set']);

/** The error for a refused write: `details` is `{ problems }`. */
export function problemsError(problems: readonly Problem[]): WeftError {
  const [first] = problems;
  const text = first ? `${first.object}${first.path ? ` ${first.path}` : ''}: ${first.message}` : 'invalid';
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const code = problems.length > 0 && problems.every((p) => CONFLICTS.has(p.code)) ? 'conflict' : 'invalid';
  return new WeftError(code, text + more, { details: { problems } });
}
