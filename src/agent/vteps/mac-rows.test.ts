import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RowChange } from '../../ovsdb/replica.ts';
import type { Uuid } from '../../ovsdb/values.ts';
import type { Watches } from './database.ts';
import { MacRows } from './mac-rows.ts';

const uuid = (n: number): Uuid => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` as Uuid;
const [RED, BLUE, HERE, THERE] = [uuid(1), uuid(2), uuid(3), uuid(4)];

function remote(n: number, MAC: string, on: Uuid, locator: Uuid) {
  return { _uuid: uuid(n), MAC, logical_switch: on, locator };
}
function change(of: object): RowChange<Watches> {
  return of as RowChange<Watches>;
}

test('rows are found by logical switch and MAC, however it is written, and of what is gone nothing is kept', () => {
  const rows = new MacRows();
  const [a, b] = [remote(10, '02:00:00:00:00:AA', RED, HERE), remote(11, '02:00:00:00:00:aa', RED, THERE)];
  const table = 'Ucast_Macs_Remote';
  const begun = rows.take([a, b].map((row) => change({ kind: 'insert', table, uuid: row._uuid, row })));
  assert.deepEqual([...begun.remote], [[RED, new Set(['02:00:00:00:00:aa'])]]);
  assert.deepEqual([...rows.remote.get(RED)!.get('02:00:00:00:00:aa')!.values()], [HERE, THERE]);
  const moved = { ...a, logical_switch: BLUE };
  rows.take([change({ kind: 'modify', table, uuid: a._uuid, row: moved, old: a, columns: ['logical_switch'] })]);
  assert.deepEqual([...rows.remote.keys()], [RED, BLUE]);
  const ended = rows.take([
    change({ kind: 'delete', table, uuid: a._uuid, old: moved }),
    change({ kind: 'delete', table, uuid: b._uuid, old: b }),
  ]);
  assert.deepEqual([...ended.remote.keys()], [BLUE, RED]);
  assert.equal(rows.remote.size, 0);
  const local = { _uuid: uuid(12), MAC: '02:00:00:00:00:01', logical_switch: RED };
  const of = { table: 'Ucast_Macs_Local', uuid: local._uuid };
  rows.take([change({ ...of, kind: 'insert', row: local })]);
  assert.equal(rows.local.size, 1);
  rows.take([change({ ...of, kind: 'delete', old: local })]);
  assert.equal(rows.local.size, 0);
});
