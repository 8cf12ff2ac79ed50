import type { Plan, PlannedWorkload } from './datacentre.ts';

/** The tenant that the tests of layers 3 and 4 share: two networks, a router, and the provider's network outside. */
export const acme = (kind: string, name: string, more: object = {}): Record<string, unknown> => ({
  kind,
  tenant: 'acme',
  name,
  ...more,
});

const OUTSIDE = { kind: 'tenant', name: 'provider' };

/** Networks a (10.0.1.0/24), b (10.0.2.0/24) and the provider's `public` (203.0.113.0/24), with a router between. */
export function networks(routerFields: object = {}): Record<string, unknown>[] {
  const port = (name: string, more: object): Record<string, unknown> =>
    acme('routerPort', name, { router: 'r', ...more });
  return [
    { kind: 'tenant', name: 'acme' },
    OUTSIDE,
    {
      kind: 'switch',
      tenant: 'provider',
      name: 'public',
      shared: true,
      subnets: [{ cidr: '203.0.113.0/24' }, { cidr: '2001:db8:f::/64', ipv6Mode: 'stateful' }],
    },
    acme('switch', 'a', { subnets: [{ cidr: '10.0.1.0/24' }, { cidr: 'fd00:1::/64', ipv6Mode: 'stateful' }] }),
    acme('switch', 'b', { subnets: [{ cidr: '10.0.2.0/24' }, { cidr: 'fd00:2::/64', ipv6Mode: 'stateful' }] }),
    acme('router', 'r', routerFields),
    port('a', { switch: 'a', addresses: ['10.0.1.1/24', 'fd00:1::1/64'] }),
    port('b', { switch: 'b', addresses: ['10.0.2.1/24', 'fd00:2::1/64'] }),
    port('out', { switch: 'provider/public', addresses: ['203.0.113.1/24', '2001:db8:f::1/64'], outside: true }),
  ];
}

/** A port of acme on network a or b, with the number as the last part of its addresses. */
export function member(name: string, more: object = {}): Record<string, unknown> {
  const [network, n] = [name[0]!, Number(name.slice(1))];
  const net = network === 'a' ? 1 : 2;
  return acme('port', name, { switch: network, addresses: [`10.0.${net}.${10 + n}`, `fd00:${net}::1${n}`], ...more });
}

export function workload(name: string, host: string): PlannedWorkload {
  const [network, n] = [name[0]!, Number(name.slice(1))];
  const net = network === 'a' ? 1 : 2;
  return {
    name,
    host,
    port: `acme/${name}`,
    addresses: [`10.0.${net}.${10 + n}/24`, `fd00:${net}::1${n}/64`],
    gateways: [`10.0.${net}.1`, `fd00:${net}::1`],
  };
}

/** A client on the provider's network: 203.0.113.100 and up. It knows no way to private networks. */
export function outsider(name: string, n: number): Record<string, unknown> {
  return {
    kind: 'port',
    tenant: 'provider',
    name,
    switch: 'public',
    addresses: [`203.0.113.${100 + n}`, `2001:db8:f::10${n}`],
  };
}

export function outsideWorkload(name: string, n: number, host: string): PlannedWorkload {
  return {
    name,
    host,
    port: `provider/${name}`,
    addresses: [`203.0.113.${100 + n}/24`, `2001:db8:f::10${n}/64`],
  };
}

/** Five members on two hosts, some of each network on either, and one outside; `more` objects. */
export function fiveMembers(prefix: string, ...more: readonly Record<string, unknown>[]): Plan {
  const hostOf = { a1: 'east', a2: 'west', b1: 'west', b2: 'east', b3: 'west' };
  return {
    prefix,
    hosts: ['east', 'west'],
    objects: [
      ...networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }] }),
      ...Object.keys(hostOf).map((name) => member(name)),
      outsider('o1', 1),
      ...more,
    ],
    workloads: [
      ...Object.entries(hostOf).map(([name, host]) => workload(name, host)),
      outsideWorkload('o1', 1, 'west'),
    ],
  };
}
