import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { connectOvsdb, type OvsdbClient } from './client.ts';
import { transactAndWait, waitForCurCfg } from './config-sync.ts';
import type { ChangeBatch } from './monitor.ts';
import { Bridge, Interface, OPEN_VSWITCH_DB, OpenVswitch, Port } from './open-vswitch-tables.ts';
import { assertLock, comment, insert, mutate, select, type TransactionRefusal, update, wait } from './operations.ts';
import { eventually, noOvsdbServer, OvsdbTestServer } from './ovsdb-server.test-support.ts';
import { watch } from './replica.ts';
import { defineTable } from './schema.ts';
import { named, optional, scalar, setOf } from './values.ts';

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
  using client = connectOvsdb(server.unix, { log: silentLog });
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
});

test('client: a refused transaction names the operation and carries the error of OVSDB', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start();
  using client = connectOvsdb(server.unix, { log: silentLog });
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
});

test('client: calls end in time, when given up, and when the client is closed', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  using client = connectOvsdb(server.unix, { log: silentLog });
  await populate(client, ['a']);
  const never = wait(Interface, [['name', '==', 'a']], ['ofport'], '==', [{ ofport: 5 }], 60_000);
  await assert.rejects(client.transact(DB, [never], { timeoutMs: 20 }), { code: 'timeout' });
  const given = new AbortController();
  const abandoned = client.transact(DB, [never, comment('x')], { signal: given.signal });
  given.abort();
  await assert.rejects(abandoned, { code: 'aborted' });
  // A cancelled transaction that waited is not carried out when what it waited for comes.
  await client.transact(DB, [update(Interface, [['name', '==', 'a']], { ofport: 5 })]);
  const open = client.transact(DB, [wait(Interface, [['name', '==', 'a']], ['ofport'], '==', [{ ofport: 6 }], 60_000)]);
  const closed = assert.rejects(open, { code: 'closed' });
  client.close();
  await closed;
  await assert.rejects(client.transact(DB, [comment('x')]), { code: 'closed' });
  using nobody = connectOvsdb(`unix:${server.folder}/nobody.sock`, { log: silentLog });
  await assert.rejects(nobody.transact(DB, [comment('x')], { timeoutMs: 30 }), { code: 'unreachable' });
});

test('client: monitors of what the server does not have are refused', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  using client = connectOvsdb(server.unix, { log: silentLog });
  const Nothing = defineTable('Nothing', { name: scalar('string') });
  const Odd = defineTable('Bridge', {
    name: scalar('string'),
    fail_mode: setOf('string'),
    missing: optional('integer'),
  });
  await assert.rejects(
    client.monitor('nothing', watched, () => {}),
    { code: 'refused' },
  );
  await assert.rejects(
    client.monitor(DB, [watch(Nothing, ['name'])], () => {}),
    { code: 'refused' },
  );
  await assert.rejects(
    client.monitor(DB, [watch(Odd, ['name'], [['missing', '==', 5]])], () => {}),
    { code: 'refused' },
  );
  const mistake = watch(Interface, ['name'], [['nme', '==', 'x']] as never);
  await assert.rejects(
    client.monitor(DB, [mistake], () => {}),
    { code: 'invalid' },
  );
  await assert.rejects(
    client.monitor(DB, [watch(Interface, ['nme' as never])], () => {}),
    { code: 'invalid' },
  );
  // Columns that only differ read as empty.
  await populate(client, ['a']);
  const monitor = await client.monitor(DB, [watch(Odd, ['name', 'fail_mode', 'missing'])], () => {});
  const [row] = monitor.replica.table('Bridge').rows.values();
  assert.deepEqual([row!.name, row!.fail_mode, row!.missing], ['br0', [], undefined]);
});

test('client: a bridge is made once by two that try at the same time', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  using first = connectOvsdb(server.unix, { log: silentLog });
  using second = connectOvsdb(server.unix, { log: silentLog });
  await first.transact(DB, [insert(OpenVswitch, {})]);
  const attempts = [first, second].map((client) =>
    client.transact(DB, [
      wait(Bridge, [['name', '==', 'br-int']], ['name'], '==', []),
      insert(Bridge, { name: 'br-int', fail_mode: 'secure' }, { name: 'bridge' }),
      mutate(OpenVswitch, [], [['bridges', 'insert', [named('bridge')]]]),
    ]),
  );
  const outcomes = await Promise.allSettled(attempts);
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const [bridges] = await first.transact(DB, [select(Bridge, [], ['name'])]);
  assert.equal(bridges.length, 1);
});

test('client: a lock is held by one, passes on with the connection, and is asserted', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start();
  using first = connectOvsdb(server.unix, { log: silentLog });
  using second = connectOvsdb(server.unix, { log: silentLog });
  const lock = first.lock('weft', () => {});
  await eventually(() => lock.held);
  const other = second.lock('weft', () => {});
  await assert.rejects(second.transact(DB, [assertLock('weft')]), { code: 'refused' });
  await first.transact(DB, [assertLock('weft'), comment('x')]);
  assert.equal(other.held, false);
  first.close();
  await eventually(() => other.held);
  await second.transact(DB, [assertLock('weft'), comment('x')]);
});

test('client: waiting for cur_cfg ends when it is reached, and in time when it is not', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start();
  using client = connectOvsdb(server.unix, { log: silentLog });
  await assert.rejects(waitForCurCfg(client), { code: 'not-found' });
  await populate(client, ['a']);
  await assert.rejects(waitForCurCfg(client, { timeoutMs: 50 }), { code: 'timeout' });
  // In the place of ovs-vswitchd.
  const followed: Promise<unknown>[] = [];
  using vswitchd = connectOvsdb(server.unix, { log: silentLog });
  const configuration = await vswitchd.monitor(DB, [watch(OpenVswitch, ['next_cfg'])], ({ changes }) => {
    for (const change of changes)
      if (change.kind !== 'delete')
        followed.push(vswitchd.transact(DB, [update(OpenVswitch, [], { cur_cfg: change.row.next_cfg })]));
  });
  const { results, cfg } = await transactAndWait(client, [
    update(Interface, [['name', '==', 'a']], { mtu_request: 1400 }),
  ]);
  assert.deepEqual([results, cfg], [[1], 3]);
  assert.equal(await waitForCurCfg(client), 4);
  configuration.cancel();
  await Promise.all(followed);
});
