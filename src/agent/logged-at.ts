import { formatIp } from '../base/addresses.ts';
import type { LogicalPort, RouterPort } from '../model/objects.ts';
import type { Frame } from '../simulate/frame.ts';
import { nameOf } from '../simulate/names.ts';
import type { PacketIn } from './events.ts';
import type { Scope } from './scope.ts';

/** A place where a chain hangs. */
export interface Hook {
  readonly chain: string;
  /** VLAN of the frame there: 0 on routers. */
  readonly vlan: number;
  /** `from port acme/web-1 on switch front`, `in by router port acme/edge/outside`. */
  readonly text: string;
}

/**
 * The chains that a packet may be in when a rule sends it to the agent, the likeliest first: the registers say which device it is in, and which way
 * it goes there, not whether it is still before the pre-filters.
 */
export function hooksOf(scope: Scope, packet: PacketIn, frame: Frame): Hook[] {
  const router = scope.byKey('router', packet.switchKey);
  if (router === undefined) return portHooks(scope, packet);
  const entered = scope.byKey('routerPort', packet.outPortKey);
  const leaves = scope.byKey('routerPort', packet.routerPortKey);
  const [inBy, outBy] = [entered && routerPortName(scope, entered), leaves && routerPortName(scope, leaves)];
  const isLeaving = packet.routerPortKey !== packet.outPortKey;
  const ways = [
    { chain: leaves?.outChain, text: `out by router port ${outBy}` },
    { chain: entered?.inChain, text: `in by router port ${inBy}` },
    ...(entered?.outside ? prefilters(scope, entered, frame) : []).map((chain) => ({
      ...{ chain, text: `pre-filter, in by router port ${inBy}` },
    })),
  ];
  // A packet that turns back leaves by the port that it came by: only its chains tell then.
  const ordered = isLeaving ? ways : [...ways.slice(1), ways[0]!];
  return ordered.flatMap(({ chain, text }) => (chain === undefined ? [] : [{ chain, vlan: 0, text }]));
}

function portHooks(scope: Scope, { portKey, outPortKey, vlan }: PacketIn): Hook[] {
  const to = scope.portByKey(outPortKey);
  const from = scope.portByKey(portKey);
  if (to?.toChain !== undefined) return [{ chain: to.toChain, vlan, text: `to ${portName(scope, to)}` }];
  return from?.fromChain === undefined ? [] : [{ chain: from.fromChain, vlan, text: `from ${portName(scope, from)}` }];
}

/** Chains before a router, for what comes in by one of its outside ports (docs/design/gateways.md, §8). */
function prefilters(scope: Scope, { router: id, switch: onSwitch }: RouterPort, { ip }: Frame): string[] {
  const address = ip && formatIp(ip.dst);
  const ofAddress = (['floatingAddress', 'loadBalancer'] as const).flatMap((kind) => {
    for (const each of scope.all(kind)) if (each.router === id && each.address === address) return [each.prefilter];
    return [];
  });
  const ofSwitch = onSwitch === undefined ? undefined : scope.get('switch', onSwitch)?.prefilter;
  return [ofSwitch, scope.get('router', id)?.prefilter, ...ofAddress].filter((chain) => chain !== undefined);
}

function portName(scope: Scope, port: LogicalPort): string {
  const onSwitch = scope.get('switch', port.switch);
  return `port ${ofTenant(scope, port.tenant)}${port.name}${onSwitch ? ` on switch ${onSwitch.name}` : ''}`;
}

function routerPortName(scope: Scope, { id, tenant }: RouterPort): string {
  return `${ofTenant(scope, tenant)}${nameOf(scope, { kind: 'routerPort', id })}`;
}

/** Not every tenant is known at every host. */
function ofTenant(scope: Scope, id: string): string {
  const tenant = scope.get('tenant', id);
  return tenant ? `${tenant.name}/` : '';
}
