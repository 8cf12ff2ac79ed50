import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as example from '../compile/testing/example.ts';
import { story } from '../compile/testing/outside-world.fixture.ts';
import { HOSTS, siteNetwork } from '../compile/testing/sites.fixture.ts';
import { frame, ip, tcp } from '../pipeline/frames.fixture.ts';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

// A VIP of a switch, and members on other switches: who asks for it by ARP sends to nobody who would lead there.

const switchWith = (name: string, ...cidrs: readonly string[]) => ({
  ...{ kind: 'switch', tenant: 'acme', name, subnets: cidrs.map((cidr) => ({ cidr })) },
});
const routerPort = (name: string, ...addresses: readonly string[]) => ({
  ...{ kind: 'routerPort', tenant: 'acme', name, router: 'r', switch: name, addresses },
});
const ROUTED = [
  ...BASE,
  ...[switchWith('one', '10.1.0.0/24', '2001:db8:1::/64'), switchWith('two', '10.2.0.0/24', '10.3.0.0/24')],
  { kind: 'router', tenant: 'acme', name: 'r' },
  ...[routerPort('lan', '10.0.0.1/24'), routerPort('one', '10.1.0.1/24'), routerPort('flat', '10.4.0.1/24')],
  routerPort('two', '10.2.0.1/24', '10.3.0.1/24'),
  { kind: 'port', tenant: 'acme', name: 'near', switch: 'one', addresses: ['10.1.0.9'] },
];
const balancer = (address: string, on: object, members = ['p1']) => ({
  ...{ kind: 'loadBalancer', tenant: 'acme', name: 'vip', address, ...on },
  ...{ listeners: [{ protocol: 'tcp', port: 80 }], members: members.map((port) => ({ port })) },
});
const one = { switch: 'one' };

const CASES: readonly (readonly [what: string, object: object, ...problems: readonly string[]])[] = [
  ['there', balancer('10.1.0.80', one, ['near'])],
  ['elsewhere', balancer('10.1.0.80', one), 'unreachable loadBalancer acme/vip members[0].port'],
  [
    'there and elsewhere',
    balancer('10.1.0.80', one, ['near', 'p1']),
    'unreachable loadBalancer acme/vip members[1].port',
  ],
  ['elsewhere, for a VIP of their router', balancer('10.1.0.80', { router: 'r' })],
  ['elsewhere, for a VIP that clients have a gateway to', balancer('10.77.0.80', one)],
  ['elsewhere, for a VIP that clients of another subnet have a gateway to', balancer('10.2.0.80', { switch: 'two' })],
  ['elsewhere, for a VIP of a switch without subnets', balancer('10.4.0.80', { switch: 'flat' })],
];

for (const [what, object, ...problems] of CASES)
  test(`balancers of switches: members ${what} are ${problems.length > 0 ? 'refused' : 'allowed'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(ROUTED), []);
    const found = model.apply([object]).map(({ code, object: of, path }) => `${code} ${of} ${path}`);
    assert.deepEqual(found, problems);
  });

test('balancers of switches: what was stored with members elsewhere may be changed in other ways', () => {
  const model = new TrialModel();
  assert.deepEqual(model.apply([...ROUTED, balancer('10.1.0.80', one, ['near'])]), []);
  const [stored] = [...model.index.all('loadBalancer')];
  const { id } = model.port('p1');
  model.index.put({ ...stored!, members: [{ port: id, weight: 1, drain: false, adminUp: true }] });
  assert.deepEqual(model.apply([{ ...balancer('10.1.0.80', one), adminUp: false }]), []);
  assert.equal(model.apply([balancer('10.1.0.81', one)]).length, 1);
});

test('balancers of switches: members elsewhere get what clients send by a gateway, not what they send to a neighbour', () => {
  const near = example.logicalSwitch(1, { subnets: [example.subnet('10.0.1.0/24'), example.subnet('10.0.3.0/24')] });
  const far = example.logicalSwitch(2, { subnets: [example.subnet('10.0.2.0/24')] });
  const core = example.router(1);
  const gateway = example.routerPort(1, core, { switch: near.id, addresses: ['10.0.1.254/24', '10.0.3.254/24'] });
  const beyond = example.routerPort(2, core, { switch: far.id, addresses: ['10.0.2.254/24'] });
  const neighbour = example.port(1, near, { addresses: ['10.0.1.1'] });
  const other = example.port(2, near, { addresses: ['10.0.3.1'] });
  const member = example.port(3, far, { addresses: ['10.0.2.1'] });
  const sites = [neighbour, other, member].map((port, i) => ({ port, on: 0 as const, ofport: i + 1 }));
  const vip = example.loadBalancer(1, '10.0.1.80', [member], { switch: near.id });
  const network = siteNetwork([near, far, core, gateway, beyond, vip], sites);
  const calls = ({ mac, addresses }: typeof neighbour, ofport: number, to: string): string =>
    story(network.send(HOSTS[0].id, ofport, frame(mac, to, ip(addresses[0]!, '10.0.1.80', tcp(40_000, 80)))));
  // What ARP says of the VIP: 0a:57:4c and the balancer's key.
  assert.equal(calls(neighbour, 1, '0a:57:4c:00:05:01'), 'unknown-mac');
  assert.equal(calls(other, 2, gateway.mac), 'p3: 10.0.3.1:40000 > 10.0.2.1:80');
});
