import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { connectOvsdb, type OvsdbClient } from './client.ts';
import type { ChangeBatch } from './monitor.ts';
import { Bridge, Interface, OPEN_VSWITCH_DB, OpenVswitch, Port } from './open-vswitch-tables.ts';
import { comment, insert, mutate, select, type TransactionRefusal, update, wait } from './operations.ts';
import { eventually, Interposer, noOvsdbServer, OvsdbTestServer } from './ovsdb-server.test-support.ts';
import { watch } from './replica.ts';
import { named } from './values.ts';

const DB = OPEN_VSWITCH_DB;

/** The root row, and a bridge with one port and interface of each of these names. */
async function populate(client: OvsdbClient, names: readonly string[]): Promise<void> {
  await client.transact(DB, [
    insert(OpenVswitch, { bridges: [named('bridge')], next_cfg: 1 }),
    insert(Bridge, { name: 'br0', ports: names.map((_, i) => named(`port${i}`)) }, { name: 'bridge' }),
    ...names.flatMap((name, i) => [
      insert(Port, { name, interfaces: [named(`interface${i}`)] }, { name: `port${i}` }),
      insert(Interface, { name, external_ids: { 'iface-id': `id-${name}` } }, { name: `interface${i}` }),
    ]),
  ]);
}

const watched = [watch(Interface, ['name', 'ofport', 'external_ids']), watch(OpenVswitch, ['next_cfg'])] as const;
type Batch = ChangeBatch<(typeof watched)[number]>;

test('client: a transaction gives typed results, and its own changes as one batch before it resolves', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start();
  const client = connectOvsdb(server.unix, { log: silentLog });
  const batches: Batch[] = [];
  const monitor = await client.monitor(DB, watched, (batch) => void batches.push(batch));
  assert.deepEqual(batches, [{ cause: 'initial', changes: [] }]);

  await populate(client, ['a', 'b']);
  assert.equal(batches.length, 2);
  assert.deepEqual(batches[1]!.changes.map((change) => `${change.kind} ${change.table}`).sort(), [
    'insert Interface',
    'insert Interface',
    'insert Open_vSwitch',
  ]);

  const [rows, changed] = await client.transact(DB, [
    select(Interface, [['name', '==', 'a']], ['external_ids', 'ofport']),
    update(Interface, [['name', '==', 'a']], { ofport: 7 }),
    comment('from a test'),
  ]);
  assert.equal(changed, 1);
  assert.equal(rows[0]!.external_ids.get('iface-id'), 'id-a');
  assert.equal(rows[0]!.ofport, undefined);
  const { rows: replica } = monitor.replica.table('Interface');
  assert.equal(replica.get(rows[0]!._uuid)!.ofport, 7);
  const last = batches.at(-1)!.changes[0]!;
  assert.ok(last.kind === 'modify' && last.table === 'Interface');
  assert.deepEqual([last.old.ofport, last.row.ofport, last.columns], [undefined, 7, ['ofport']]);
  client.close();
});

test('client: a refused transaction names the operation and carries the error of OVSDB', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start();
  const client = connectOvsdb(server.unix, { log: silentLog });
  await populate(client, ['a']);
  const refusal = async (attempt: Promise<unknown>): Promise<TransactionRefusal> => {
    const error = await attempt.then(
      () => assert.fail('not refused'),
      (caught: unknown) => caught,
    );
    assert.ok(error instanceof WeftError && error.code === 'refused', String(error));
    return error.details as TransactionRefusal;
  };
  const unmet = await refusal(
    client.transact(DB, [
      comment('x'),
      wait(Interface, [['name', '==', 'a']], ['ofport'], '==', [{ ofport: 5 }]),
      comment('y'),
    ]),
  );
  assert.deepEqual([unmet.index, unmet.error], [1, 'timed out']);
  const dangling = await refusal(client.transact(DB, [insert(Port, { name: 'p' })]));
  assert.deepEqual([dangling.index, dangling.error], [undefined, 'referential integrity violation']);
  const nowhere = await refusal(client.transact('nothing', [comment('x')]));
  assert.equal(nowhere.error, 'unknown database');
  client.close();
});

test('client: a monitor goes on over a cut connection with just what differs', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  await using interposer = await Interposer.start(server.folder, server.unix);
  const direct = connectOvsdb(server.unix, { log: silentLog });
  await populate(direct, ['a', 'b', 'c']);
  const client = connectOvsdb(interposer.address, { log: silentLog });
  const batches: Batch[] = [];
  const monitor = await client.monitor(DB, watched, (batch) => void batches.push(batch));
  const before = [...monitor.replica.table('Interface').rows.values()];
  batches.length = 0;

  interposer.cut();
  await direct.transact(DB, [
    update(Interface, [['name', '==', 'b']], { ofport: 9 }),
    mutate(OpenVswitch, [], [['next_cfg', '+=', 1]]),
  ]);
  await eventually(() => batches.length > 0);
  assert.equal(batches.length, 1);
  assert.equal(batches[0]!.cause, 'resync');
  assert.deepEqual(
    batches[0]!.changes.map((change) => [change.kind, change.table]),
    [
      ['modify', 'Interface'],
      ['modify', 'Open_vSwitch'],
    ],
  );
  const after = monitor.replica.table('Interface').rows;
  for (const row of before) if (row.name !== 'b') assert.equal(after.get(row._uuid), row);
  client.close();
  direct.close();
});
