import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError, WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { formatOvsdbAddress, parseOvsdbAddress } from './address.ts';
import { connectOvsdb } from './client.ts';
import { Interface, OPEN_VSWITCH_DB, OPEN_VSWITCH_TABLES } from './open-vswitch-tables.ts';
import { deleteRows, insert, mutate, select, update, wait } from './operations.ts';
import { noOvsdbServer, OvsdbTestServer } from './ovsdb-server.test-support.ts';
import { decodeSchema, sameType } from './schema.ts';
import { mapOf, named, optional, parseUuid, scalar, setOf } from './values.ts';

test('schema: column types of RFC 7047 section 3.2 are told apart', () => {
  const columns = {
    a: { type: 'string' },
    b: { type: { key: { type: 'integer', minInteger: 0 } } },
    c: { type: { key: 'uuid', min: 0, max: 1 } },
    d: { type: { key: { type: 'uuid', refTable: 'X' }, min: 1, max: 'unlimited' } },
    e: { type: { key: 'integer', value: { type: 'uuid', refTable: 'X' }, min: 0, max: 'unlimited' } },
    f: { type: { key: 'real', min: 0, max: 3 }, ephemeral: true },
  };
  const schema = decodeSchema({ name: 'db', version: '1.2.3', tables: { T: { columns } } });
  assert.deepEqual(Object.fromEntries(schema.tables.get('T')!), {
    a: scalar('string'),
    b: scalar('integer'),
    c: optional('uuid'),
    d: setOf('uuid'),
    e: mapOf('integer', 'uuid'),
    f: setOf('real'),
  });
});

test('schema: anything else is a DecodeError', () => {
  const types = fc.oneof(
    fc.jsonValue(),
    fc.record({ key: fc.jsonValue(), value: fc.jsonValue(), max: fc.jsonValue() }),
  );
  const tables = fc.oneof(
    fc.jsonValue(),
    fc.record({ T: fc.record({ columns: fc.record({ c: fc.record({ type: types }) }) }) }),
  );
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.record({ name: fc.constant('db'), tables })), (wire) => {
      try {
        decodeSchema(wire);
      } catch (error) {
        assert.ok(error instanceof DecodeError);
      }
    }),
  );
});

test('schema: the tables declared here are those of the installed Open vSwitch', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  using client = connectOvsdb(server.unix, { log: silentLog });
  assert.deepEqual([...(await client.listDatabases())].sort(), [OPEN_VSWITCH_DB, '_Server']);
  const schema = await client.schema(OPEN_VSWITCH_DB);
  for (const { name, columns } of OPEN_VSWITCH_TABLES)
    for (const [column, type] of Object.entries(columns)) {
      const theirs = schema.tables.get(name)?.get(column);
      assert.ok(theirs && sameType(type, theirs), `${name}.${column}: ${JSON.stringify(theirs)}`);
    }
});

test('operations: are written in the notation of RFC 7047 section 5.2', () => {
  const uuid = parseUuid('550e8400-e29b-41d4-a716-446655440000');
  const where = [['_uuid', '==', uuid]] as const;
  const whereWire = [['_uuid', '==', ['uuid', uuid]]];
  for (const [{ wire }, want] of [
    [
      insert(Interface, { name: 'x', ofport: undefined }, { name: 'i' }),
      { op: 'insert', table: 'Interface', row: { name: 'x', ofport: ['set', []] }, 'uuid-name': 'i' },
    ],
    [
      select(Interface, where, ['name']),
      { op: 'select', table: 'Interface', where: whereWire, columns: ['_uuid', 'name'] },
    ],
    [
      update(Interface, [], { mtu_request: 9000 }),
      { op: 'update', table: 'Interface', where: [], row: { mtu_request: 9000 } },
    ],
    [
      mutate(Interface, where, [
        ['external_ids', 'delete', ['a']],
        ['external_ids', 'insert', { a: 'b' }],
        ['ingress_policing_rate', '+=', 5],
      ]),
      {
        ...{ op: 'mutate', table: 'Interface', where: whereWire },
        mutations: [
          ['external_ids', 'delete', ['set', ['a']]],
          ['external_ids', 'insert', ['map', [['a', 'b']]]],
          ['ingress_policing_rate', '+=', 5],
        ],
      },
    ],
    [deleteRows(Interface, where), { op: 'delete', table: 'Interface', where: whereWire }],
    [
      wait(Interface, where, ['name'], '!=', [{ name: 'x' }], 5),
      {
        op: 'wait',
        timeout: 5,
        table: 'Interface',
        where: whereWire,
        columns: ['name'],
        until: '!=',
        rows: [{ name: 'x' }],
      },
    ],
  ] as const)
    assert.deepEqual(wire, want);
  assert.throws(() => insert(Interface, { nme: 'x' } as never), WeftError);
  assert.throws(() => update(Interface, [], { name: named('x') as never }), WeftError);
});

test('address: the notations of ovs-vsctl, and nothing else', () => {
  for (const text of ['unix:/run/db.sock', 'tcp:127.0.0.1:6640', 'ssl:host.example:1', 'tcp:[::1]:65535'])
    assert.equal(formatOvsdbAddress(parseOvsdbAddress(text)), text);
  assert.deepEqual(parseOvsdbAddress('ssl:host'), { kind: 'ssl', host: 'host', port: 6640 });
  for (const text of [
    '',
    'unix:',
    'tcp:',
    'tcp:host:0',
    'tcp:host:65536',
    'tcp:::1:5',
    'tcp:[::1',
    'http:host:1',
    'ptcp:6640',
  ])
    assert.throws(() => parseOvsdbAddress(text), { code: 'invalid' }, text);
});
