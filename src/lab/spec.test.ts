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
