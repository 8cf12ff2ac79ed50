import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScopeRecord } from '../model/objects.ts';
import { Scope } from './scope.ts';

test("a key is its newest owner's, also when the former is deleted behind it; no one's when that one is deleted too", () => {
  const scope = new Scope();
  const port = (id: string): ScopeRecord => ({ kind: 'port', id, key: 7 }) as ScopeRecord;
  scope.apply([{ op: 'put', record: port('former') }]);
  scope.apply([
    { op: 'put', record: port('next') },
    { op: 'delete', record: port('former') },
  ]);
  assert.equal(scope.portByKey(7)?.id, 'next');
  scope.apply([{ op: 'put', record: { ...port('next'), key: 8 } as ScopeRecord }]);
  assert.equal(scope.portByKey(7), undefined);
  scope.apply([{ op: 'delete', record: port('next') }]);
  assert.equal(scope.portByKey(8), undefined);
});
