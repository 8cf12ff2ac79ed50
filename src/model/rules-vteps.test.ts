import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';

const acme = (kind: string, name: string, rest: object) => ({ kind, tenant: 'acme', name, ...rest });
const vtep = (name: string, rest: object = {}) => ({
  ...{ kind: 'vtep', name, management: `tcp:${name}.example:6640`, physicalPorts: ['p1', 'p2'] },
  ...{ places: [{ host: 'one' }, { host: 'two' }], ...rest },
});
const learning = { switch: 'wires', portSecurity: false };
const SITE = [
  ...BASE,
  { kind: 'tunnelZone', name: 'z' },
  { kind: 'host', name: 'one', zone: 'z', tunnelAddress: '198.51.100.1' },
  { kind: 'host', name: 'two', zone: 'z', tunnelAddress: '198.51.100.2' },
  { kind: 'host', name: 'six', zone: 'z', tunnelAddress: '2001:db8::6' },
  acme('switch', 'wires', {}),
  acme('switch', 'trunks', { vlanAware: true }),
  acme('port', 'out', learning),
  acme('port', 'other', learning),
  acme('port', 'guarded', { switch: 'wires' }),
  acme('port', 'placed', { ...learning, host: 'one' }),
  acme('port', 'all', { switch: 'trunks', portSecurity: false }),
  acme('port', 'access', { switch: 'trunks', portSecurity: false, vlan: { access: 7 } }),
  vtep('tor'),
  acme('vtepBinding', 'first', { port: 'out', vtep: 'tor', vni: 5000, physicalPorts: [{ port: 'p1', vlan: 100 }] }),
];
const binding = (rest: object = {}) =>
  acme('vtepBinding', 'new', { port: 'other', vtep: 'tor', physicalPorts: [{ port: 'p1' }], ...rest });
const mirror = (name: string, address: string) =>
  acme('mirror', name, { switch: 'wires', to: { collector: { address, key: 7 } } });

/** What is applied, and every problem that comes of it as `code path`. */
const CASES: readonly (readonly [what: string, objects: readonly object[], ...problems: readonly string[]])[] = [
  ['another VLAN of the physical port', [binding()]],
  ['an access port of a VLAN-aware switch', [binding({ port: 'access' })]],
  ['the same VLAN', [binding({ physicalPorts: [{ port: 'p1', vlan: 100 }] })], 'physical-port physicalPorts[0]'],
  [
    'the same VLAN and VNI of another VTEP',
    [vtep('tor-2'), binding({ vtep: 'tor-2', vni: 5000, physicalPorts: [{ port: 'p1', vlan: 100 }] })],
  ],
  ['the same VNI', [binding({ vni: 5000 })], 'duplicate-vni vni'],
  [
    'a VLAN twice',
    [binding({ physicalPorts: [{ port: 'p2' }, { port: 'p2', vlan: 0 }] })],
    'ambiguous physicalPorts[1]',
  ],
  [
    'a physical port that is not for bindings',
    [binding({ physicalPorts: [{ port: 'p9' }] })],
    'physical-port physicalPorts[0].port',
  ],
  [
    'a physical port that is taken back',
    [vtep('tor', { physicalPorts: ['p2'] })],
    'physical-port physicalPorts[0].port',
  ],
  ['a port with port security', [binding({ port: 'guarded' })], 'l2-port port'],
  ['a port that names a host', [binding({ port: 'placed' })], 'l2-port port'],
  ['a second binding of a port', [binding({ port: 'out' })], 'l2-port port'],
  ['a port of many VLANs', [binding({ port: 'all' })], 'vlan port'],
  ['port security for the outside', [acme('port', 'out', { switch: 'wires' })], 'l2-port port'],
  [
    'another VTEP that is managed at the same place',
    [vtep('tor-2', { management: 'tcp:tor.example:6640' })],
    'management management',
  ],
  [
    'two switches of one database',
    [
      vtep('tor', { physicalSwitch: 'left' }),
      vtep('tor-2', { management: 'tcp:tor.example:6640', physicalSwitch: 'right' }),
    ],
  ],
  ['a host twice', [vtep('tor', { places: [{ host: 'one' }, { host: 'one' }] })], 'ambiguous places[1].host'],
  ['a host with an IPv6 address', [vtep('tor', { places: [{ host: 'six' }] })], 'ip-version places[0].address'],
  ['a host with an IPv4 address for the VTEP', [vtep('tor', { places: [{ host: 'six', address: '192.0.2.6' }] })]],
  ['a management address without a port', [vtep('tor', { management: 'tcp:192.0.2.1' })], 'schema management'],
  ['ssl without whom to trust', [vtep('tor', { management: 'ssl:192.0.2.1:6640' })], 'schema ca'],
  [
    'mirrors to where it has its tunnels and reaches hosts',
    [
      vtep('tor-2', { tunnelAddress: '192.0.2.9', places: [{ host: 'one', address: '192.0.2.8' }] }),
      mirror('own', '192.0.2.9'),
      mirror('place', '192.0.2.8'),
      mirror('elsewhere', '192.0.2.7'),
    ],
    ...['collector tunnelAddress', 'collector places[0].address'],
    ...['collector to.collector.address', 'collector to.collector.address'],
  ],
  [
    'a certificate without its key',
    [
      vtep('tor', {
        management: 'ssl:192.0.2.1:6640',
        ca: '-----BEGIN CERTIFICATE-----',
        certificate: '-----BEGIN CERTIFICATE-----',
      }),
    ],
    'schema privateKey',
  ],
];

for (const [what, objects, ...problems] of CASES)
  test(`VTEPs: ${what}: ${problems.join(', ') || 'fits'}`, () => {
    const model = new TrialModel();
    assert.deepEqual(model.apply(SITE), []);
    const found = model.apply(objects).map(({ code, path }) => `${code} ${path}`);
    assert.deepEqual(found.toSorted(), problems.toSorted());
  });

test('VTEPs: a binding without a VNI has the tunnel key of its port, and one that is the outside of an L2 gateway is none', () => {
  const model = new TrialModel();
  assert.deepEqual(model.apply([...SITE, binding()]), []);
  const [stored] = [...model.index.all('vtepBinding')].filter(({ name }) => name === 'new');
  assert.equal(stored!.vni, model.index.get('port', stored!.port)!.key);
  const host = { kind: 'host', name: 'one', zone: 'z', tunnelAddress: '198.51.100.1', gatewayInterfaces: ['eth1'] };
  const gateway = acme('l2Gateway', 'g', { port: 'other', vlan: 1, places: [{ host: 'one', interface: 'eth1' }] });
  assert.deepEqual(
    model.apply([host, gateway]).map(({ code, message }) => `${code}: ${message}`),
    ['l2-port: port acme/other is the outside of vtepBinding acme/new'],
  );
});

test('VTEPs: their addresses and those of their places are refused as collectors whichever is written first', () => {
  const tor = vtep('tor-2', { tunnelAddress: '192.0.2.9', places: [{ host: 'one', address: '192.0.2.8' }] });
  const mirrors = [mirror('own', '192.0.2.9'), mirror('place', '192.0.2.8')];
  const told = (first: readonly object[], then: readonly object[]): string[] => {
    const model = new TrialModel();
    assert.deepEqual(model.apply([...SITE, ...first]), []);
    return model.apply(then).map(({ path, message }) => `${path}: ${message}`);
  };
  assert.deepEqual(told([tor], mirrors), [
    'to.collector.address: 192.0.2.9 is the tunnel address of vtep tor-2',
    'to.collector.address: 192.0.2.8 is the address of places[0] of vtep tor-2',
  ]);
  assert.deepEqual(told(mirrors, [tor]), [
    'tunnelAddress: mirror acme/own sends copies to 192.0.2.9',
    'places[0].address: mirror acme/place sends copies to 192.0.2.8',
  ]);
});
