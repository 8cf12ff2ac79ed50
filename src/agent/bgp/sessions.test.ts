import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as example from '../../compile/testing/example.ts';
import * as ups from '../../compile/testing/uplinks.fixture.ts';
import type { ScopeRecord } from '../../model/objects.ts';
import { Scope } from '../scope.ts';
import { wantedSpeakers } from './sessions.ts';

const h1 = example.host(1);
const h2 = example.host(2);
const records = [
  ...[example.zone(), h1, h2, ups.core, ...ups.world],
  ups.peer(2, ups.secondUplink, '192.0.2.9', { adminUp: false }),
  ...[ups.wire, ups.a, ups.b].map((port) => example.binding(port, h1)),
  example.binding(ups.secondWire, h2),
];
const local = new Set([ups.wire.id, ups.a.id, ups.b.id]);

function speakers(changed: readonly ScopeRecord[] = [], here: ReadonlySet<string> = local, host = h1.id) {
  const scope = new Scope();
  scope.apply([...records, ...changed].map((record) => ({ op: 'put', record })));
  return wantedSpeakers(scope, host, (port) => here.has(port));
}

test('a host runs the sessions of uplinks whose wire is active here, one speaker for each router', () => {
  const [speaker, ...others] = speakers();
  assert.deepEqual(others, []);
  assert.deepEqual(
    [speaker?.router, speaker?.asn, speaker?.routerId, speaker?.maxRoutes],
    [ups.core.id, 64_512, '192.0.2.2', 100_000],
  );
  assert.deepEqual(
    [speaker?.ports.map(({ id }) => id), speaker?.peers.map(({ address }) => address)],
    [[ups.uplink.id], ['192.0.2.1']],
  );
  const [there] = speakers([], new Set([ups.secondWire.id]), h2.id);
  assert.deepEqual([there?.routerId, there?.peers.map(({ adminUp }) => adminUp)], ['192.0.2.10', [false]]);
  const [both] = speakers([example.binding(ups.secondWire, h1)], new Set([ups.wire.id, ups.secondWire.id]));
  assert.deepEqual([both?.ports.length, both?.peers.length], [2, 2]);
});

test('none runs where the wire is not here, not active, guarded or down, or the router, its port or its BGP is not there', () => {
  const without: readonly (readonly [string, readonly ScopeRecord[], ReadonlySet<string>?])[] = [
    ['no interface', [], new Set([ups.a.id, ups.b.id])],
    ['active elsewhere', [{ ...example.binding(ups.wire, h1, h2), active: h2.id }]],
    ['guarded', [{ ...ups.wire, portSecurity: true }]],
    ['wire down', [{ ...ups.wire, adminUp: false }]],
    ['switch down', [{ ...ups.up, adminUp: false }]],
    ['port down', [{ ...ups.uplink, adminUp: false }]],
    ['router down', [{ ...ups.core, adminUp: false }]],
    ['no bgp', [{ ...ups.core, bgp: undefined }]],
  ];
  for (const [what, changed, here] of without) assert.deepEqual(speakers(changed, here ?? local), [], what);
});

test('what is advertised is what the model says, found in the scope alone', () => {
  const bgp = {
    ...ups.core.bgp!,
    advertise: ['connected' as const],
    networks: ['198.51.100.0/24'],
    routerId: '10.255.0.1',
  };
  const [speaker] = speakers([{ ...ups.core, bgp }]);
  assert.deepEqual(
    [speaker?.networks, speaker?.routerId],
    [
      [
        '10.0.1.0/24',
        '192.0.2.0/29',
        '192.0.2.8/29',
        '198.51.100.0/24',
        '2001:db8:1::/64',
        '2001:db8:f:1::/64',
        '2001:db8:f::/64',
      ],
      '10.255.0.1',
    ],
  );
  assert.deepEqual(speakers()[0]?.networks, []);
});
