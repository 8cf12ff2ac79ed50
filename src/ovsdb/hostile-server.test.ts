import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { WeftError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { type Random, seededRandom } from '../base/random.ts';
import { JsonRpcConnection } from './json-rpc.ts';
import { MonitorSession } from './monitor.ts';
import { Interface, OpenVswitch } from './open-vswitch-tables.ts';
import { comment, decodeTransactResult, insert, select } from './operations.ts';
import { watch } from './replica.ts';
import { decodeSchema, type TableDefinition } from './schema.ts';
import { decodeValue, encodeValue, equalValues, type Value } from './values.ts';

/** Whatever a server sends: the connection may close, but nothing throws, and the replica holds only values of its types. */

const CAMPAIGN = process.env.WEFT_CAMPAIGN === '1' ? 1_000_000 : 6_000;

const IDS = [
  '28de0052-abbc-4065-88c9-3faaf167d0ac',
  '9817c884-9c94-4f96-882c-0bf19ddf1daa',
  '5c17820b-d985-4503-b7ea-cb0a0e8a78ac',
];
const ZERO = '00000000-0000-0000-0000-000000000000';

const SCHEMA = {
  name: 'Open_vSwitch',
  version: '8.3.1',
  tables: {
    Interface: {
      columns: {
        name: { type: 'string', mutable: false },
        ofport: { type: { key: 'integer', min: 0, max: 1 } },
        external_ids: { type: { key: 'string', value: 'string', min: 0, max: 'unlimited' } },
        statistics: { type: { key: 'string', value: 'integer', min: 0, max: 'unlimited' } },
      },
    },
    Open_vSwitch: {
      columns: {
        bridges: { type: { key: { type: 'uuid', refTable: 'Bridge' }, min: 0, max: 'unlimited' } },
        cur_cfg: { type: 'integer' },
      },
    },
  },
};

const WATCHED = [
  watch(Interface, ['name', 'ofport', 'external_ids', 'statistics'], [['name', '!=', 'hidden']]),
  watch(OpenVswitch, ['bridges', 'cur_cfg']),
] as const;

const interfaceRow = (name: string) => ({
  name,
  ofport: 5,
  external_ids: ['map', [['iface-id', `id-${name}`]]],
  statistics: ['map', [['rx_bytes', 2 ** 60]]],
});
const rootRow = { bridges: ['set', IDS.map((id) => ['uuid', id])], cur_cfg: 3 };

/** What a server says after the client's requests 1 (a monitor) and 2 (a transaction), for each kind of monitor. */
const TRANSCRIPTS: readonly (readonly unknown[])[] = [
  [
    {
      id: 1,
      result: [
        false,
        ZERO,
        { Interface: { [IDS[1]!]: { initial: interfaceRow('a') } }, Open_vSwitch: { [IDS[0]!]: { initial: rootRow } } },
      ],
      error: null,
    },
    {
      id: null,
      method: 'update3',
      params: [
        'm',
        IDS[0],
        {
          Interface: {
            [IDS[1]!]: {
              modify: {
                ofport: ['set', []],
                external_ids: [
                  'map',
                  [
                    ['iface-id', 'id-b'],
                    ['x', 'y'],
                  ],
                ],
              },
            },
          },
        },
      ],
    },
    {
      id: null,
      method: 'update3',
      params: [
        'm',
        IDS[1],
        {
          Interface: { [IDS[2]!]: { insert: interfaceRow('b') } },
          Open_vSwitch: { [IDS[0]!]: { modify: { bridges: ['uuid', IDS[2]], cur_cfg: 4 } } },
        },
      ],
    },
    { id: null, method: 'update3', params: ['m', IDS[2], { Interface: { [IDS[2]!]: { delete: null } } }] },
  ],
  [
    { id: 1, result: null, error: 'unknown method' },
    { id: 3, result: null, error: 'unknown method' },
    {
      id: 4,
      result: { Interface: { [IDS[1]!]: { new: interfaceRow('a') }, [IDS[2]!]: { new: interfaceRow('hidden') } } },
      error: null,
    },
    {
      id: null,
      method: 'update',
      params: ['m', { Interface: { [IDS[1]!]: { old: { name: 'a' }, new: interfaceRow('hidden') } } }],
    },
    {
      id: null,
      method: 'update',
      params: [
        'm',
        { Interface: { [IDS[2]!]: { old: interfaceRow('hidden') } }, Open_vSwitch: { [IDS[0]!]: { new: rootRow } } },
      ],
    },
  ],
].map((transcript) => [
  ...transcript,
  { id: 'echo', method: 'echo', params: [1] },
  {
    id: 2,
    result: [{ uuid: ['uuid', IDS[0]] }, { rows: [{ _uuid: ['uuid', IDS[1]], ...interfaceRow('a') }] }, {}],
    error: null,
  },
]);

const OPERATIONS = [insert(Interface, { name: 'x' }), select(Interface, [], ['name', 'ofport']), comment('x')] as const;

/** A client's side of one connection, fed by hand. */
function openSession() {
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), autoDestroy: false });
  let closedWith: WeftError | undefined;
  const session = new MonitorSession<(typeof WATCHED)[number]>({
    ...{ id: 'm', database: 'Open_vSwitch', watched: WATCHED, log: silentLog },
    onBatch: () => {},
    onRefused: () => {},
    onCancelled: () => {},
  });
  const connection = new JsonRpcConnection(stream, {
    log: silentLog,
    probeMs: 0,
    onNotification: (_method, params) => session.onUpdate(_method, params.slice(1)),
    onClose: (error) => {
      closedWith = error;
    },
  });
  session.start(connection, decodeSchema(SCHEMA));
  let answered = false;
  connection.request('transact', [], (reply) => {
    if (reply instanceof WeftError || reply.error !== null) return;
    answered = true;
    decodeTransactResult(OPERATIONS, reply.result);
  });
  return {
    session,
    say: (bytes: Uint8Array) => stream.emit('data', bytes),
    closedWith: () => closedWith,
    answered: () => answered,
  };
}

function checkTypes(session: MonitorSession<(typeof WATCHED)[number]>): void {
  const check = (table: TableDefinition, rows: ReadonlyMap<string, object>, columns: readonly string[]): void => {
    for (const row of rows.values())
      for (const column of columns) {
        const value = (row as Record<string, Value>)[column];
        const type = table.columns[column]!;
        // Beyond 2^53 a counter is rounded, and cannot be written back.
        if (column === 'statistics') continue;
        assert.ok(equalValues(decodeValue(type, encodeValue(type, value, column), column), value), column);
      }
  };
  check(Interface, session.replica.table('Interface').rows, WATCHED[0].columns);
  check(OpenVswitch, session.replica.table('Open_vSwitch').rows, WATCHED[1].columns);
}

const FRAGMENTS = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  'null',
  '["set",[]]',
  '["map",[]]',
  '["uuid"',
  '\\u0000',
  '-1e999',
  '__proto__',
  '\xff',
];
const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1.5,
  1e300,
  '',
  'x',
  [],
  {},
  ['set', []],
  ['map', []],
  ['uuid', ZERO],
  ['set', [[]]],
  IDS[1],
  { modify: {} },
  { new: {} },
];

function mutateBytes(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length);
  const count = random.below(8);
  switch (random.below(5)) {
    case 0:
      bytes[at] = bytes[at]! ^ (1 << random.below(8));
      return bytes;
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at + count), bytes.subarray(at)]);
    case 3:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from(FRAGMENTS[random.below(FRAGMENTS.length)]!, 'latin1'),
        bytes.subarray(at),
      ]);
    default:
      return bytes.subarray(0, at);
  }
}

/** Replaces, drops or doubles something within: what comes out still parses, and so gets further in. */
function mutateTree(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random.below(6) === 0) return VALUES[random.below(VALUES.length)];
  if (Array.isArray(value)) {
    if (value.length === 0) return [VALUES[random.below(VALUES.length)]];
    const at = random.below(value.length);
    const kind = random.below(8);
    if (kind === 0) return value.filter((_, i) => i !== at);
    if (kind === 1) return [...value, value[at]];
    return value.map((item, i) => (i === at ? mutateTree(item, random) : item) as unknown);
  }
  const entries = Object.entries(value);
  if (entries.length === 0) return { x: 1 };
  const at = random.below(entries.length);
  const kind = random.below(8);
  if (kind === 0) return Object.fromEntries(entries.filter((_, i) => i !== at));
  if (kind === 1)
    return Object.fromEntries(entries.map(([key, item], i) => [i === at ? `${key}x` : key, item] as const));
  return Object.fromEntries(
    entries.map(([key, item], i) => [key, i === at ? mutateTree(item, random) : item] as const),
  );
}

test('hostile server: the transcripts themselves are understood', () => {
  for (const [i, transcript] of TRANSCRIPTS.entries()) {
    const { session, say, closedWith, answered } = openSession();
    say(Buffer.from(transcript.map((message) => JSON.stringify(message)).join('')));
    assert.equal(closedWith(), undefined);
    assert.ok(answered());
    assert.equal(session.method, i === 0 ? 'monitor_cond_since' : 'monitor');
    const rows = [...session.replica.table('Interface').rows.values()];
    const [root] = session.replica.table('Open_vSwitch').rows.values();
    if (i === 0) {
      assert.deepEqual(
        [rows.length, rows[0]!.ofport, [...rows[0]!.external_ids]],
        [
          1,
          undefined,
          [
            ['iface-id', 'id-b'],
            ['x', 'y'],
          ],
        ],
      );
      assert.deepEqual([root!.bridges, root!.cur_cfg], [IDS.slice(0, 2), 4]);
    } else assert.equal(rows.length, 0);
    checkTypes(session);
  }
});

test('hostile server: a transcript cut at any byte, or ending in garbage, throws nothing', () => {
  for (const transcript of TRANSCRIPTS) {
    const bytes = Buffer.from(transcript.map((message) => JSON.stringify(message)).join(''));
    for (let end = 0; end < bytes.length; end++) {
      const { session, say, closedWith } = openSession();
      say(bytes.subarray(0, end));
      assert.equal(closedWith(), undefined);
      say(Buffer.from('\0garbage}]'));
      checkTypes(session);
    }
  }
});

test(`hostile server: ${CAMPAIGN} mutated transcripts close their connection or are understood`, async () => {
  const random = seededRandom(7047);
  const outcomes = { understood: 0, closed: 0 };
  for (let run = 0; run < CAMPAIGN; run++) {
    // Streams finish their writes between turns of the event loop.
    if (run % 1_000 === 0) await immediate();
    const transcript = [...TRANSCRIPTS[random.below(TRANSCRIPTS.length)]!];
    const broken = random.below(transcript.length);
    const byTree = random.below(4) > 0;
    if (byTree) transcript[broken] = mutateTree(transcript[broken], random);
    const { session, say, closedWith } = openSession();
    for (const [i, message] of transcript.entries()) {
      const bytes = Buffer.from(JSON.stringify(message));
      say(i === broken && !byTree ? mutateBytes(bytes, random) : bytes);
    }
    const error = closedWith();
    outcomes[error ? 'closed' : 'understood']++;
    assert.ok(error === undefined || error.code === 'closed', `run ${run}: ${error}`);
    checkTypes(session);
  }
  assert.ok(outcomes.understood > CAMPAIGN / 20 && outcomes.closed > CAMPAIGN / 20, JSON.stringify(outcomes));
});
