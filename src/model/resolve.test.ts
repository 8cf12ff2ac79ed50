import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, TrialModel } from '../server/testing/trial-model.ts';
import type { KindName } from './kind.ts';
import { findObject, type Naming } from './resolve.ts';

const port = (tenant: string, name: string, id: string) => ({ kind: 'port', tenant, name, switch: 'lan', id });
const model = new TrialModel();
const problems = model.apply([
  ...BASE,
  port('acme', 'a', '10420000-0000-4000-8000-000000000001'),
  port('acme', 'c', '10420000-0000-4000-8000-000000000002'),
  port('beta', 'b', '10421111-0000-4000-8000-000000000001'),
  port('beta', '1042', '77770000-0000-4000-8000-000000000001'),
  { kind: 'rule', tenant: 'acme', name: 'r1', chain: 'c2', position: 1, action: 'accept' },
]);
assert.deepEqual(problems, []);
const [acme, beta] = [model.tenant('acme'), model.tenant('beta')];
const found = (text: string, tenant?: string, naming?: Naming): string | undefined =>
  findObject(model.index, 'port', text, tenant, naming).object?.name;
const refusal = (kind: KindName, text: string, naming?: Naming) => {
  const answer = findObject(model.index, kind, text, undefined, naming);
  assert.ok(answer.problem !== undefined, `${text} was found`);
  return answer;
};

test('the beginning of an id counts where one is given, of the tenant that is given', () => {
  assert.equal(found('10421'), 'b');
  assert.equal(found('10421', beta), 'b');
  assert.equal(found('10421', acme), undefined);
  assert.equal(found('10420000-0000-4000-8000-000000000002', acme), 'c');
  assert.equal(found('1042', beta), '1042');
});

test('to what changes something a beginning of an id means nothing, and is told what does', () => {
  assert.equal(found('10421', beta, 'whole'), undefined);
  assert.equal(found('10421', undefined, 'whole'), undefined);
  assert.equal(found('10421111-0000-4000-8000-000000000001', undefined, 'whole'), 'b');
  assert.equal(found('1042', undefined, 'whole'), '1042');
  assert.match(refusal('port', '10421', 'whole').hint!, /whole id/);
});

test('what fits several objects is ambiguous, not missing', () => {
  const begun = refusal('port', '10420000-0000-4000-8000-00000000000');
  assert.deepEqual([begun.isAmbiguous, begun.hint], [true, 'write more of the id']);
  assert.equal(refusal('switch', 'lan').isAmbiguous, true);
  const rule = refusal('rule', 'r1');
  assert.deepEqual([rule.isAmbiguous, rule.problem], [true, '2 objects of kind rule are called "r1"']);
  assert.equal(refusal('port', 'none').isAmbiguous, undefined);
});
