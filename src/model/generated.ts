import type { KindName } from './kind.ts';
import type { BgpPeer, ScopeRecord } from './objects.ts';

/** What the builders of generated models share. */

const KINDS: readonly KindName[] = [
  ...(['tenant', 'tunnelZone', 'host', 'switch', 'chain', 'rule', 'port'] as const),
  ...(['securityGroup', 'addressSet', 'router', 'routerPort', 'floatingAddress', 'loadBalancer', 'mirror'] as const),
  ...(['l2Gateway', 'vtep', 'vtepBinding'] as const),
];

/** The id of the n-th object of a kind: the same in every run. */
export function generatedId(kind: KindName, n: number): string {
  return `${(KINDS.indexOf(kind) + 1).toString(16).padStart(8, '0')}-0000-4000-8000-${n.toString().padStart(12, '0')}`;
}

/** The element that an index of a sketch means. */
export function at<T>(list: readonly T[], index: number): T {
  return list[index % list.length]!;
}

/** Of a router port: at every other one a session, whether its router speaks BGP or not. */
export function peersAt(record: ScopeRecord): BgpPeer[] {
  if (record.kind !== 'routerPort' || record.key % 2 === 0) return [];
  const { id: routerPort, router, tenant, name } = record;
  return [
    {
      ...{ kind: 'bgpPeer', id: `peer-${routerPort}`, name, tenant, revision: 1, router, routerPort },
      ...{
        address: '192.0.2.1',
        asn: 64_513,
        bfd: false,
        keepaliveS: 3,
        holdS: 9,
        maxPrefixes: 10,
        communities: [],
        adminUp: true,
      },
    },
  ];
}

/** The groups or sets that things of a tenant may name. */
export function ofTenant(tenants: 1 | 2, count: number, tenant: number, index: number | undefined): number | undefined {
  const own = Array.from({ length: count }, (_, n) => n).filter((n) => n % tenants === tenant);
  return index === undefined || own.length === 0 ? undefined : at(own, index);
}
