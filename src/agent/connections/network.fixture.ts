import type { ScopeRecord } from '../../model/objects.ts';
import { Scope } from '../scope.ts';
import { Zones } from '../zones.ts';

/** Ids for tests: `id(7)`. */
export const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
export const PORT = { a1: id(11), a2: id(12), b1: id(21), o1: id(31) } as const;
export const ROUTER = id(1);
export const OTHER_ROUTER = id(2);
const SWITCH = { a: id(101), b: id(102), public: id(103), other: id(104) } as const;

/** What both hosts of `dump.fixture.ts` know, as far as it matters here; and a router of somebody else on the shared switch. */
export function fixtureScope(): Scope {
  const scope = new Scope();
  const port = (portId: string, device: string, ...addresses: string[]) => ({
    kind: 'port',
    id: portId,
    switch: device,
    addresses,
  });
  const routerPort = (n: number, router: string, device: string) => ({
    kind: 'routerPort',
    id: id(n),
    router,
    switch: device,
  });
  const records = [
    ...Object.values(SWITCH).map((device) => ({ kind: 'switch', id: device, shared: device === SWITCH.public })),
    port(PORT.a1, SWITCH.a, '10.0.1.11', 'fd00:1::11'),
    port(PORT.a2, SWITCH.a, '10.0.1.12', 'fd00:1::12'),
    port(PORT.b1, SWITCH.b, '10.0.2.11'),
    port(PORT.o1, SWITCH.public, '203.0.113.101', '2001:db8:f::101'),
    routerPort(201, ROUTER, SWITCH.a),
    routerPort(202, ROUTER, SWITCH.b),
    routerPort(203, ROUTER, SWITCH.public),
    routerPort(204, OTHER_ROUTER, SWITCH.public),
    routerPort(205, OTHER_ROUTER, SWITCH.other),
  ] as unknown as ScopeRecord[];
  scope.apply(records.map((record) => ({ op: 'put', record })));
  return scope;
}

export function zonesOf(owners: Readonly<Record<string, number>>): Zones {
  const zones = new Zones();
  for (const [owner, zone] of Object.entries(owners)) zones.adopt(owner, zone);
  return zones;
}

export const EAST_ZONES = { [PORT.a1]: 4, [ROUTER]: 8, [PORT.a2]: 12 } as const;
export const WEST_ZONES = { [PORT.b1]: 4, [PORT.o1]: 12 } as const;
