import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flow } from '../openflow/flow.ts';
import type { Effect, InstalledFlow } from './events.ts';
import { flowBody, flowKey } from './flow-key.ts';
import { Installation } from './installation.ts';

const flow = (ofport: number, to: number, cookie = 1n): Flow => ({
  table: 0,
  priority: 100,
  match: { in_port: ofport },
  cookie,
  actions: [{ kind: 'output', port: to }],
});
const installed = (...flows: Flow[]): InstalledFlow[] =>
  flows.map((f) => ({ key: flowKey(f), body: flowBody(f), flow: f }));
const installs = (effects: readonly Effect[]) => effects.filter((effect) => effect.kind === 'install');

test('a read-back that equals the desired flows changes nothing', () => {
  const installation = new Installation();
  assert.deepEqual(installs(installation.readBack(installed(flow(1, 2), flow(2, 1)), [flow(2, 1), flow(1, 2)])), []);
  assert.ok(installation.idle);
});

test('a read-back touches only what differs', () => {
  const installation = new Installation();
  const [bundle] = installs(
    installation.readBack(installed(flow(1, 2), flow(2, 1), flow(3, 9)), [flow(1, 2), flow(2, 7), flow(4, 4)]),
  );
  assert.deepEqual(bundle?.add, [flow(2, 7), flow(4, 4)]);
  assert.deepEqual(bundle?.remove, [flow(3, 9)]);
});

test('a flow with another cookie is installed anew', () => {
  const [bundle] = installs(new Installation().readBack(installed(flow(1, 2, 1n)), [flow(1, 2, 2n)]));
  assert.deepEqual(bundle?.add, [flow(1, 2, 2n)]);
});

test('changes while a bundle is under way are merged into one', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1)], []));
  assert.deepEqual(installation.change([flow(2, 1)], []), []);
  assert.deepEqual(installation.change([flow(2, 2)], [flow(1, 1)]), []);
  const [second] = installs(installation.installed(first!.id));
  assert.deepEqual(second?.add, [flow(2, 2)]);
  assert.deepEqual(second?.remove, [flow(1, 1)]);
  assert.equal(installation.idle, false);
  assert.deepEqual(installation.installed(second!.id), []);
  assert.ok(installation.idle);
});

test('callbacks run once everything that was desired before them is installed', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1)], []));
  installation.change([flow(2, 2)], []);
  let ran = 0;
  installation.whenInstalled(() => {
    ran++;
    return [];
  });
  const [second] = installs(installation.installed(first!.id));
  assert.equal(ran, 0);
  installation.installed(second!.id);
  assert.equal(ran, 1);
});

test('a refused flow stays out and the rest goes again', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1), flow(2, 2), flow(3, 3)], []));
  const [again] = installs(installation.refusedBundle(first!.id, 'OFPBAC_BAD_OUT_PORT', 1));
  assert.deepEqual(again?.add, [flow(1, 1), flow(3, 3)]);
  assert.equal(installation.refused.size, 1);
  installation.installed(again!.id);
  const [mended] = installs(installation.change([flow(2, 9)], []));
  installation.installed(mended!.id);
  assert.equal(installation.refused.size, 0);
});

test('a refusal that names no flow ends the comparison: the core asks for a new one', () => {
  const installation = new Installation();
  installation.readBack([], []);
  const [first] = installs(installation.change([flow(1, 1)], []));
  const effects = installation.refusedBundle(first!.id, 'OFPBFC_TIMEOUT', undefined);
  assert.deepEqual(installs(effects), []);
  assert.equal(installation.synced, false);
  assert.ok(installation.idle);
});

test('nothing is sent to a switch that was not read back', () => {
  const installation = new Installation();
  assert.deepEqual(installation.change([flow(1, 1)], []), []);
  installation.readBack([], [flow(1, 1)]);
  installation.lost();
  assert.deepEqual(installation.change([flow(2, 1)], []), []);
});

test('a flow that no message can hold does not stop the comparison; it is sent, to be refused by name', () => {
  const huge: Flow = { ...flow(1, 2), actions: Array.from({ length: 5000 }, () => ({ kind: 'output', port: 2 })) };
  const [bundle] = installs(new Installation().readBack(installed(flow(1, 2)), [huge, flow(2, 1)]));
  assert.deepEqual(bundle?.add, [huge, flow(2, 1)]);
});
