import { KINDS } from '../src/model/kinds.ts';
import {
  isPlain,
  listenersOf,
  membersOf,
  OPEN_PORT,
  OUTSIDE,
  outsideAddress,
  planTenantPorts,
  routerMac,
  subnetOf,
  type TenantPort,
  type TenantsSize,
  VIP,
} from './tenants.ts';

/** A plan of tenants as objects of Weft's API. */

export type ApiObject = Readonly<Record<string, unknown>>;

const PROVIDER = 'provider';
export const OUTSIDE_SWITCH = 'outside';
/** The name of every tenant's one group. */
const GROUP = 'members';
export const ROUTER = 'edge';

/** All that a cloud has, for `POST /v1/apply`. */
export function createObjects(size: TenantsSize): ApiObject[] {
  const objects: ApiObject[] = [];
  const isShared = size.outside === 'shared';
  if (isShared) objects.push({ kind: 'tenant', name: PROVIDER }, outsideSwitch(PROVIDER, true));
  for (let tenant = 0; tenant < size.tenants; tenant++) {
    const own = tenantName(tenant);
    objects.push({ kind: 'tenant', name: own });
    if (!isPlain(size, tenant)) objects.push(groupObject(tenant, OPEN_PORT), balancerObject(size, tenant));
    if (!isShared) objects.push(outsideSwitch(own, false));
    objects.push(...createRouter(tenant, size));
    for (let s = 0; s < size.switches; s++)
      objects.push({ kind: 'switch', tenant: own, name: switchName(s), subnets: [subnetOf(s)] });
  }
  const ports = planTenantPorts(size).map((port) => portObject(port, isPlain(size, port.tenant) ? [] : [GROUP]));
  return [...objects, ...ports];
}

function outsideSwitch(tenant: string, shared: boolean): ApiObject {
  const subnets = [{ cidr: OUTSIDE.network, gateway: OUTSIDE.gateway }];
  return { kind: 'switch', tenant, name: OUTSIDE_SWITCH, shared, subnets };
}

function createRouter(tenant: number, size: TenantsSize): ApiObject[] {
  const own = tenantName(tenant);
  const address = outsideAddress(tenant);
  const outside = size.outside === 'shared' ? `${PROVIDER}/${OUTSIDE_SWITCH}` : OUTSIDE_SWITCH;
  const port = { kind: 'routerPort', tenant: own, router: ROUTER };
  const inside = Array.from({ length: size.switches }, (_, s) => ({
    ...{ ...port, name: switchName(s), switch: switchName(s), mac: routerMac(tenant, s) },
    addresses: [`${subnetOf(s).gateway}/24`],
  }));
  return [
    {
      ...{ kind: 'router', tenant: own, name: ROUTER },
      routes: [{ to: '0.0.0.0/0', via: OUTSIDE.gateway }],
      snat: isPlain(size, tenant) ? [] : [{ from: '10.0.0.0/8', to: address }],
    },
    ...inside,
    {
      ...{ ...port, name: 'outside', switch: outside, mac: routerMac(tenant) },
      ...{ addresses: [`${address}/${OUTSIDE.prefix}`], outside: true },
    },
  ];
}

function balancerObject(size: TenantsSize, tenant: number): ApiObject {
  return {
    ...{ kind: 'loadBalancer', tenant: tenantName(tenant), name: 'web', address: VIP, router: ROUTER },
    listeners: listenersOf(size),
    members: membersOf(size, tenant).map((member) => ({ port: member.name })),
  };
}

/** A tenant's group, with the TCP port that it lets in from anywhere. */
export function groupObject(tenant: number, tcpPort: number): ApiObject {
  return {
    ...{ kind: 'securityGroup', tenant: tenantName(tenant), name: GROUP },
    ingress: [
      { ipVersion: 4, group: GROUP },
      { ipVersion: 4, protocol: 'tcp', ports: tcpPort },
    ],
  };
}

/** In its tenant's group, unless others are given. */
export function portObject(port: TenantPort, groups: readonly string[] = [GROUP]): ApiObject {
  const { id, name, tenant, switchIndex, mac, address } = port;
  const where = { tenant: tenantName(tenant), switch: switchName(switchIndex) };
  return { kind: 'port', id, name, ...where, mac, addresses: [address], groups };
}

/** How the API's path names a tenant's group. */
export function groupPath(tenant: number): string {
  return `/v1/${KINDS.securityGroup.plural}/${encodeURIComponent(`${tenantName(tenant)}/${GROUP}`)}`;
}

export function tenantName(tenant: number): string {
  return `t-${tenant}`;
}

function switchName(s: number): string {
  return `s-${s}`;
}
