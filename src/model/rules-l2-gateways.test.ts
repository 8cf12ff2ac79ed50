import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

/** The first host lends an interface; a port without port security, another with, and one of a VLAN-aware switch. */
const host = (name: string, rest: object = {}) => ({
  ...{ kind: 'host', name, zone: 'z', tunnelAddress: `198.51.100.${name.length}` },
  ...rest,
});
const acme = (kind: string, name: string, rest: object) => ({ kind, tenant: 'acme', name, ...rest });
const SITE = [
  ...BASE,
  { kind: 'tunnelZone', name: 'z' },
  host('one', { gatewayInterfaces: ['eth1', 'eth2'] }),
  host('second', { gatewayInterfaces: ['eth1'] }),
  acme('switch', 'wires', {}),
  acme('switch', 'trunks', { vlanAware: true }),
  acme('port', 'out', { switch: 'wires', portSecurity: false }),
  acme('port', 'other', { switch: 'wires', portSecurity: false }),
  acme('port', 'guarded', { switch: 'wires' }),
  acme('port', 'placed', { switch: 'wires', portSecurity: false, host: 'one' }),
  acme('port', 'all', { switch: 'trunks', portSecurity: false }),
  acme('l2Gateway', 'first', { port: 'out', vlan: 100, places: [{ host: 'one', interface: 'eth1' }] }),
];
const gateway = (rest: object) =>
  acme('l2Gateway', 'new', { port: 'other', vlan: 200, places: [{ host: 'one', interface: 'eth1' }], ...rest });

/** What is applied, and every problem that comes of it as `code path`. */
const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  ['another VLAN of the interface', [gateway({})]],
  [
    'a trunk of another interface',
    [gateway({ port: 'all', vlan: undefined, places: [{ host: 'one', interface: 'eth2' }] })],
  ],
  ['the same VLAN', [gateway({ vlan: 100 })], 'interface places[0].interface'],
  ['a trunk of the interface', [gateway({ port: 'all', vlan: undefined })], 'interface places[0].interface'],
  ['a port with port security', [gateway({ port: 'guarded' })], 'l2-port port'],
  ['a port that names a host', [gateway({ port: 'placed' })], 'l2-port port'],
  ['a second gateway of a port', [gateway({ port: 'out' })], 'l2-port port'],
  [
    'a trunk of a switch that is not VLAN-aware',
    [gateway({ vlan: undefined, places: [{ host: 'one', interface: 'eth2' }] })],
    'vlan vlan',
  ],
  ['a VLAN for a port that has many', [gateway({ port: 'all' })], 'vlan vlan'],
  [
    'much at once',
    [
      gateway({
        port: 'guarded',
        places: [
          { host: 'second', interface: 'eth2' },
          { host: 'second', interface: 'eth1' },
        ],
      }),
    ],
    ...['ambiguous places[1].host', 'interface places[0].interface', 'l2-port port'],
  ],
  ['an interface that is taken back', [host('one', { gatewayInterfaces: [] })], 'interface places[0].interface'],
  ['port security for the outside', [acme('port', 'out', { switch: 'wires' })], 'l2-port port'],
];

for (const [what, objects, ...problems] of CASES)
  test(`L2 gateways: ${what}: ${problems.join(', ') || 'fits'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(SITE), []);
    const found = model.apply(objects).map(({ code, path }) => `${code} ${path}`);
    assert.deepEqual(found.toSorted(), problems.toSorted());
  });
