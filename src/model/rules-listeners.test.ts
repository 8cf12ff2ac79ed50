import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';
import type { LoadBalancer } from './objects.ts';

/** Ranges of ports that load balancers listen to (docs/design/layer3.md, §8). */

const ROUTED = [
  ...BASE,
  { kind: 'switch', tenant: 'acme', name: 'web', subnets: [{ cidr: '10.1.0.0/24' }] },
  { kind: 'port', tenant: 'acme', name: 'w1', switch: 'web', addresses: ['10.1.0.11'] },
  { kind: 'router', tenant: 'acme', name: 'r' },
  { kind: 'routerPort', tenant: 'acme', name: 'web', router: 'r', switch: 'web', addresses: ['10.1.0.1/24'] },
];

interface Asked {
  readonly protocol?: string;
  readonly port: unknown;
  readonly memberPort?: unknown;
}

function balancer(name: string, ...listeners: readonly Asked[]): object {
  return {
    ...{ kind: 'loadBalancer', tenant: 'acme', name, address: '203.0.113.80', router: 'r', members: [{ port: 'w1' }] },
    listeners: listeners.map((listener) => ({ protocol: 'tcp', ...listener })),
  };
}

/** What is wrong with them, by field; the model, if nothing is. */
function apply(...objects: object[]): { readonly problems: string[]; readonly model: TrialModel } {
  const model = new TrialModel();
  assert.deepEqual(model.apply(ROUTED), []);
  const problems = model.apply(objects).map(({ path, message }) => `${path}: ${message}`);
  return { problems, model };
}

const problemsOf = (...listeners: Asked[]): string[] => apply(balancer('vip', ...listeners)).problems;

test('a listener has a port or a range, which leads to the same ports, to one, or to as many', () => {
  const { problems, model } = apply(
    balancer(
      'vip',
      { port: '8000-8099' },
      { port: '9000-9999', memberPort: 80 },
      { port: '2200-2209', memberPort: '22000-22009' },
      { port: '443', memberPort: '8443-8443' },
      { protocol: 'udp', port: '0-65535' },
      { protocol: 'sctp', port: 80 },
    ),
  );
  assert.deepEqual(problems, []);
  const [{ listeners }] = [...model.index.all('loadBalancer')] as [LoadBalancer];
  assert.deepEqual(
    listeners.map(({ port, memberPort }) => [port, memberPort]),
    [
      ['8000-8099', undefined],
      ['9000-9999', 80],
      ['2200-2209', '22000-22009'],
      [443, 8443],
      ['1-65535', undefined],
      [80, undefined],
    ],
  );
});

test('a range that is upside down, begins at 0, or is none is refused', () => {
  const wanted = 'a port or a range is wanted, as 80 or 8000-8099, from low to high';
  assert.deepEqual(problemsOf({ port: '8099-8000' }, { port: '0-1023' }, { port: 81, memberPort: '1-70000' }), [
    `listeners[0].port: ${wanted}`,
    'listeners[1].port: port 0 is no port to connect to; ports are from 1 to 65535, in 0-1023 too',
    `listeners[2].memberPort: ${wanted}`,
  ]);
  for (const port of [0, 65_536, true]) assert.equal(problemsOf({ port }).length, 1, `${port}`);
});

test('a range that leads to more or fewer ports than it has is refused', () => {
  assert.deepEqual(problemsOf({ port: '8000-8099', memberPort: '9000-9010' }, { port: 80, memberPort: '80-81' }), [
    'listeners[0].memberPort: 9000-9010 is 11 ports and 8000-8099 is 100 ports: ports lead to one port, or to as many',
    'listeners[1].memberPort: 80-81 is 2 ports and 80 is 1 port: ports lead to one port, or to as many',
  ]);
});

test('listeners of one protocol that overlap are refused, each with every one that it overlaps', () => {
  assert.deepEqual(
    problemsOf(
      { port: '8000-8099' },
      { port: 8050 },
      { port: '8050-9000' },
      { port: '8000-8099' },
      { protocol: 'udp', port: 8050 },
    ),
    [
      'listeners[1].port: tcp/8050 overlaps tcp/8000-8099, another listener',
      'listeners[2].port: tcp/8050-9000 overlaps tcp/8000-8099, another listener',
      'listeners[2].port: tcp/8050-9000 overlaps tcp/8050, another listener',
      'listeners[3].port: tcp/8000-8099 is given twice',
      'listeners[3].port: tcp/8000-8099 overlaps tcp/8050, another listener',
      'listeners[3].port: tcp/8000-8099 overlaps tcp/8050-9000, another listener',
    ],
  );
});

test('ranges that lead to other ports, each to its own, have 64 ports in all', () => {
  const [full, one] = [
    { port: '8000-8063', memberPort: '9000-9063' },
    { port: 80, memberPort: 8080 },
  ];
  assert.deepEqual(problemsOf(full, one, { port: '100-999', memberPort: 7 }, { port: '20000-60000' }), []);
  const [problem] = problemsOf(full, { port: '1-2', memberPort: '3-4' });
  assert.match(
    problem!,
    /^listeners: 66 ports of ranges lead to other ports, each to its own, which is more than 64: /,
  );
});

test('load balancers share an address by ranges that do not overlap', () => {
  const first = balancer('first', { port: '8000-8099' }, { port: 443 });
  assert.deepEqual(
    apply(first, balancer('second', { port: '8100-8199' }, { protocol: 'udp', port: '1-65535' })).problems,
    [],
  );
  const { model } = apply(first);
  assert.deepEqual(
    model
      .apply([balancer('second', { port: '80-500' }, { port: '8099-8100' })])
      .map(({ code, path, message }) => [code, path, message]),
    [
      ['duplicate-listener', 'listeners[0].port', 'loadBalancer acme/first listens to tcp/443 of 203.0.113.80'],
      ['duplicate-listener', 'listeners[1].port', 'loadBalancer acme/first listens to tcp/8000-8099 of 203.0.113.80'],
    ],
  );
});
