import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScopeChange } from './events.ts';
import { FloatingEnds } from './floating-ends.ts';
import { portId, testGround } from './testing/test-ground.ts';

const [A, B, AWAY] = [portId(1), portId(2), portId(3)];
const HOST = 'h';
const port = (id: string, address: string): object => ({ kind: 'port', id, addresses: [address, 'fd00::9'] });
const binding = (id: string, active: string): object => ({ kind: 'binding', id, active, claims: [] });
const floating = (id: string, to: string, more: object = {}): object => ({
  ...{ kind: 'floatingAddress', id, router: 'r', address: `203.0.113.${id}`, port: to, adminUp: true },
  ...more,
});
const put = (record: object): ScopeChange => ({ op: 'put', record }) as ScopeChange;
const gone = (record: object): ScopeChange => ({ op: 'delete', record }) as ScopeChange;

/** Whose connections end with such changes, of floating addresses 1 at A, 2 at B and 3 at a port of another host. */
function endsOf(...changes: ScopeChange[]): string[] {
  const ground = testGround(
    [
      ...[port(A, '10.0.0.1'), port(B, '10.0.0.2'), port(AWAY, '10.0.0.3')],
      ...[binding(A, HOST), binding(B, HOST), binding(AWAY, 'other')],
      ...[floating('1', A), floating('2', B), floating('3', AWAY)],
    ],
    [A, B],
  );
  const ends = new FloatingEnds({ ...ground, host: HOST }, (router) => (router === 'r' ? 8 : undefined));
  const note = ends.scopeChanging(changes);
  ground.scope.apply(changes);
  note();
  const effects = ends.installed();
  assert.deepEqual(ends.installed(), [], 'once');
  return effects.flatMap((effect) =>
    effect.kind === 'endAddresses' ? effect.ends.map(({ zone, address }) => `${zone} ${address}`) : [effect.kind],
  );
}

test('connections by a floating address end when it stands for another workload, or for none, whose former one is here', () => {
  for (const changes of [
    [put(floating('1', B))],
    [put(floating('1', AWAY))],
    [put(floating('1', A, { adminUp: false }))],
    [put(floating('1', A, { router: 'r2' }))],
    [put(floating('1', A, { fixed: '10.0.0.7' }))],
    [gone(floating('1', A))],
    [put(port(A, '10.0.0.7'))],
  ])
    assert.deepEqual(endsOf(...changes), ['8 203.0.113.1'], JSON.stringify(changes));
});

test('they go on where it stands for whom it did, and where its workload has moved: there they are still to be read', () => {
  for (const changes of [
    [put(floating('1', A, { name: 'another' }))],
    [put(floating('1', A, { fixed: '10.0.0.1' }))],
    [put({ ...port(A, '10.0.0.1'), name: 'another' })],
    [put(floating('3', A))],
    [put(floating('4', A))],
    [put(binding(A, 'other')), gone(floating('1', A))],
  ])
    assert.deepEqual(endsOf(...changes), [], JSON.stringify(changes));
});
