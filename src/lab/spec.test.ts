import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { checkLabSpec, macFor, readLabSpec } from './spec.ts';
import { interfaceName } from './workload.ts';

function problemsOf(text: string): string[] {
  try {
    readLabSpec(text);
  } catch (error) {
    assert.ok(error instanceof WeftError && error.code === 'invalid', String(error));
    return error.details as string[];
  }
  return [];
}

test("a lab's file is completed: addresses in order, a MAC for each workload, an MTU that leaves room for tunnels", () => {
  const spec = readLabSpec('name: demo\nhosts: [{name: east}, {name: west}]\nworkloads: [{name: web, host: east}]\n');
  assert.deepEqual(
    spec.hosts.map((h) => `${h.name} ${h.address}/${h.prefix}`),
    ['east 172.31.0.11/24', 'west 172.31.0.12/24'],
  );
  assert.equal(spec.server, '172.31.0.1/24');
  assert.deepEqual(spec.workloads[0], {
    name: 'web',
    host: 'east',
    addresses: [],
    gateways: [],
    dhcp: false,
    mtu: 1400,
    mac: macFor('demo/web'),
  });
});

test('an underlay may be of IPv6, and its subnet may be written with host bits', () => {
  const spec = checkLabSpec({ name: 'six', underlay: { subnet: 'fd77::5/64' }, hosts: [{ name: 'east' }] });
  assert.deepEqual([spec.server, spec.hosts[0]!.address], ['fd77::1/64', 'fd77::b']);
});

test('every problem is named at once', () => {
  const problems = problemsOf(
    'name: demo\nhosts: [{name: east, address: 10.0.0.1}, {name: west, address: 10.0.0.1}, {name: east}]\nworkloads: [{name: web, host: nowhere}]\n',
  );
  assert.deepEqual(problems, [
    'the name east is used twice',
    'the address 10.0.0.1 is used by two hosts',
    'workload web: there is no host nowhere',
  ]);
});

test('upstream routers and clients outside are completed: addresses on the internet, names of links, gateways', () => {
  const spec = readLabSpec(
    [
      'name: demo',
      'hosts: [{name: gw-1}, {name: gw-2}]',
      'routers:',
      '  - { name: up-1, asn: 64601, links: [{ host: gw-1, addresses: [192.0.2.1/30] }] }',
      '  - { name: up-2, asn: 64602, networks: [10.1.2.3/8], links: [{ host: gw-1, name: second, addresses: [192.0.2.5/30] }] }',
      'outside: [{ name: client }, { name: one-way, via: [up-2], addresses: [198.51.100.77/24] }]',
    ].join('\n'),
  );
  assert.deepEqual(
    spec.routers.map((router) => [router.name, router.addresses, router.networks, router.links[0]!.name]),
    [
      ['up-1', ['198.51.100.1/24', '2001:db8:ffff::1/64'], ['0.0.0.0/0', '::/0'], 'gw-1'],
      ['up-2', ['198.51.100.2/24', '2001:db8:ffff::2/64'], ['10.0.0.0/8'], 'second'],
    ],
  );
  assert.deepEqual(
    spec.outside.map((client) => [client.addresses, client.via]),
    [
      [
        ['198.51.100.11/24', '2001:db8:ffff::b/64'],
        ['up-1', 'up-2'],
      ],
      [['198.51.100.77/24'], ['up-2']],
    ],
  );
});

test('problems of upstream routers are named with the others', () => {
  const problems = problemsOf(
    [
      'name: demo',
      'hosts: [{name: gw-1}]',
      'internet: { subnets: [198.51.100.0/24, 203.0.113.0/24] }',
      'routers:',
      '  - name: gw-1',
      '    asn: 1',
      '    links: [{ host: gw-9, addresses: [10.0.0.1/30] }, { host: gw-9, addresses: [10.0.0.5/30] }]',
      'outside: [{ name: client, via: [up-9] }]',
    ].join('\n'),
  );
  assert.deepEqual(problems, [
    'internet: one subnet of each version at most',
    'router gw-1: the link gw-9 is there twice',
    'router gw-1: there is no host gw-9',
    'router gw-1: there is no host gw-9',
    'outside client: there is no router up-9',
    'the name gw-1 is used twice',
  ]);
});

test('fields are named where they are wrong', () => {
  const problems = problemsOf(
    'name: De-mo\nhosts: [{name: server}]\nworkloads: [{name: w, host: h, mac: 1:2, adresses: []}]\n',
  );
  assert.match(problems.join('\n'), /^name: /m);
  assert.match(problems.join('\n'), /^hosts\.0\.name: this name is used by the lab itself/m);
  assert.match(problems.join('\n'), /^workloads\.0\.mac: not a MAC address/m);
  assert.match(problems.join('\n'), /^workloads\.0: .*adresses/m);
});

test('what is not YAML gives the line', () => {
  assert.throws(() => readLabSpec('name: demo\nhosts: [{name: east\n'), /not YAML: [\s\S]*line \d/);
  assert.throws(
    () => readLabSpec(''),
    (e: WeftError) => e.code === 'invalid',
  );
});

test('the example is valid', () => {
  assert.equal(readLabSpec(readFileSync(new URL('../../examples/demo.yaml', import.meta.url), 'utf8')).name, 'demo');
});

test('interface names fit into fifteen characters and stay different', () => {
  const names = ['web', 'a-rather-long-name-1', 'a-rather-long-name-2'].map((place) => interfaceName('v-', place));
  assert.equal(names[0], 'v-web');
  assert.ok(names.every((name) => name.length <= 15));
  assert.equal(new Set(names).size, 3);
});
