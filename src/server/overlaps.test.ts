import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OverlapWatch, overlapsOf } from './overlaps.ts';
import { TrialModel } from './testing/trial-model.ts';

// Two tenants that advertise the same addresses: people are told, and nothing else comes of it.

const speaker = (tenant: string, networks: string[], more: object = {}) => ({
  ...{ kind: 'router', tenant, name: 'edge', bgp: { asn: 64512, networks }, ...more },
});
const TENANTS = ['acme', 'beta'].map((name) => ({ kind: 'tenant', name }));

function overlaps(...objects: object[]): readonly string[] {
  const model = new TrialModel();
  assert.deepEqual(model.apply([...TENANTS, ...objects]), []);
  return overlapsOf(model.index).map(({ text }) => text);
}

test('networks of two tenants that are the same, or one in the other, are told once for each two routers', () => {
  assert.deepEqual(
    overlaps(
      speaker('acme', ['198.51.100.0/25', '203.0.113.0/24']),
      speaker('beta', ['198.51.100.0/24', '203.0.113.0/24']),
    ),
    [
      'router acme/edge advertises 198.51.100.0/25, and router beta/edge of another tenant 198.51.100.0/24: the outside decides who gets the packets',
    ],
  );
  assert.deepEqual(overlaps(speaker('acme', ['2001:db8::/32']), speaker('beta', ['2001:db8::/32'])), [
    'router acme/edge advertises 2001:db8::/32, and router beta/edge of another tenant the same: the outside decides who gets the packets',
  ]);
});

test('networks beside each other, of one tenant, or of a router that is down are no overlap', () => {
  assert.deepEqual(overlaps(speaker('acme', ['198.51.100.0/25']), speaker('beta', ['198.51.100.128/25'])), []);
  assert.deepEqual(
    overlaps(speaker('acme', ['198.51.100.0/24']), { ...speaker('acme', ['198.51.100.0/24']), name: 'two' }),
    [],
  );
  assert.deepEqual(
    overlaps(speaker('acme', ['198.51.100.0/24']), speaker('beta', ['198.51.100.0/24'], { adminUp: false })),
    [],
  );
});

test('two providers that lead to one floating address advertise the same thing', () => {
  const provider = (tenant: string, n: number) => [
    speaker(tenant, []),
    {
      kind: 'routerPort',
      tenant,
      router: 'edge',
      name: 'public',
      switch: 'acme/public',
      addresses: [`203.0.113.${n}/24`],
    },
  ];
  const shared = { kind: 'switch', tenant: 'acme', name: 'public', shared: true };
  const inside = [
    { kind: 'router', tenant: 'acme', name: 'r', snat: [{ from: '10.0.0.0/8', to: '203.0.113.9' }] },
    {
      kind: 'routerPort',
      tenant: 'acme',
      router: 'r',
      name: 'out',
      switch: 'public',
      outside: true,
      addresses: ['203.0.113.9/24'],
    },
  ];
  assert.deepEqual(overlaps(shared, ...provider('acme', 1), ...provider('beta', 2), ...inside), []);
});

test('an overlap is news once, and again when it has been away', () => {
  const model = new TrialModel();
  const watch = new OverlapWatch();
  let revision = 0;
  const news = (...objects: object[]): number => {
    assert.deepEqual(model.apply([...TENANTS, ...objects]), []);
    return watch.news({ index: model.index, revision: ++revision }).length;
  };
  assert.equal(news(speaker('acme', ['198.51.100.0/24'])), 0);
  assert.equal(news(speaker('beta', ['198.51.100.0/24'])), 1);
  assert.equal(news({ kind: 'switch', tenant: 'acme', name: 's' }), 0);
  assert.equal(news(speaker('beta', [])), 0);
  assert.equal(news(speaker('beta', ['198.51.100.0/26'])), 1);
  assert.equal(watch.news({ index: model.index, revision }).length, 0);
});
