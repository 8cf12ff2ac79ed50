import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CompilerChange } from '../compile/compiler.ts';
import type { ScopeChange } from './events.ts';
import { FormerGroups } from './former-groups.ts';
import { portId, testGround } from './testing/test-ground.ts';

const [HERE, ELSEWHERE] = [portId(1), portId(2)];
const record = (id: string, groups: readonly string[]): object => ({ kind: 'port', id, groups });
const put = (id: string, ...groups: string[]): ScopeChange =>
  ({ op: 'put', record: record(id, groups) }) as unknown as ScopeChange;
const kept = (...sets: string[][]): CompilerChange[] => [
  { op: 'put', record: { kind: 'formerGroups', id: HERE, sets } },
];

test('what a port here had a moment ago is kept for a second, each set once, counted from the last change', () => {
  const ground = testGround([record(HERE, ['a']), record(ELSEWHERE, ['a'])], [HERE]);
  const compiled: CompilerChange[] = [];
  const former = new FormerGroups({
    ...ground,
    compile(changes) {
      compiled.push(...changes);
      return [];
    },
  });
  const change = (nowMs: number, ...changes: ScopeChange[]): CompilerChange[] => {
    const facts = former.scopeChanging(changes, nowMs);
    ground.put(...changes.map((each) => each.record));
    return facts;
  };
  assert.deepEqual(change(0, put(HERE, 'a'), put(ELSEWHERE, 'b')), [], 'the same, or not here');
  assert.deepEqual(change(0, put(HERE, 'a', 'b')), kept(['a']));
  assert.deepEqual(change(500, put(HERE)), kept(['a'], ['a', 'b']));
  assert.deepEqual(change(600, put(HERE, 'a')), [], 'it had none');
  assert.deepEqual(change(700, put(HERE, 'b')), kept(['a', 'b'], ['a']));
  former.tick(1_600);
  assert.deepEqual(compiled, []);
  former.tick(1_700);
  assert.deepEqual(compiled, [{ op: 'delete', kind: 'formerGroups', id: HERE }]);
  assert.deepEqual(
    change(3_000, { op: 'delete', record: { kind: 'port', id: HERE } } as ScopeChange),
    kept(['b']),
    'a port that is deleted',
  );
});
