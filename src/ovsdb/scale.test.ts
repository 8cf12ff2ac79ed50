import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { silentLog } from '../base/log.ts';
import { JsonRpcConnection } from './json-rpc.ts';
import { MonitorSession } from './monitor.ts';
import { Interface } from './open-vswitch-tables.ts';
import { watch } from './replica.ts';
import { type ColumnType, mapOf, optional, scalar, ZERO_UUID } from './values.ts';

const ROWS = 10_000;
const WATCHED = [watch(Interface, ['name', 'ofport', 'mac_in_use', 'mtu', 'external_ids'])] as const;
const SCHEMA = {
  ...{ name: 'Open_vSwitch', version: '' },
  tables: new Map([
    [
      'Interface',
      new Map<string, ColumnType>([
        ['name', scalar('string')],
        ['ofport', optional('integer')],
        ['mac_in_use', optional('string')],
        ['mtu', optional('integer')],
        ['external_ids', mapOf('string', 'string')],
      ]),
    ],
  ]),
};

function initialReply(uuids: readonly string[]): Buffer {
  const rows = uuids.map((uuid, i) => {
    const ids = [
      ['iface-id', randomUUID()],
      ['attached-mac', '02:00:00:00:00:01'],
      ['vm-id', randomUUID()],
    ];
    const row = {
      name: `tap${i}`,
      ofport: i + 1,
      mac_in_use: '02:00:00:00:00:01',
      mtu: 1500,
      external_ids: ['map', ids],
    };
    return [uuid, { initial: row }] as const;
  });
  return Buffer.from(
    JSON.stringify({ id: 1, result: [false, ZERO_UUID, { Interface: Object.fromEntries(rows) }], error: null }),
  );
}

function collectGarbage(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

test('scale: 10,000 interfaces are replicated in a second and 12 MB, and a change is through in a millisecond', () => {
  const uuids = Array.from({ length: ROWS }, () => randomUUID());
  const reply = initialReply(uuids);
  const heapBefore = collectGarbage();
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  let batches = 0;
  const session = new MonitorSession<(typeof WATCHED)[number]>({
    ...{ id: 'm', database: 'Open_vSwitch', watched: WATCHED, log: silentLog },
    onBatch: () => batches++,
    onRefused: (error) => assert.fail(error),
    onCancelled: () => {},
  });
  const connection = new JsonRpcConnection(stream, {
    ...{ log: silentLog, probeMs: 0, onClose: () => {} },
    onNotification: (method, params) => session.onUpdate(method, params.slice(1)),
  });
  session.start(connection, SCHEMA);
  const startMs = performance.now();
  for (let at = 0; at < reply.length; at += 65_536) stream.emit('data', reply.subarray(at, at + 65_536));
  const filledMs = performance.now() - startMs;
  assert.equal(session.replica.table('Interface').rows.size, ROWS);
  const heapMb = (collectGarbage() - heapBefore) / 1e6;

  const tookMs: number[] = [];
  for (const uuid of uuids.slice(0, 1_000)) {
    const modify = { external_ids: ['map', [['weft-installed', 'true']]] };
    const params = ['m', ZERO_UUID, { Interface: { [uuid]: { modify } } }];
    const bytes = Buffer.from(JSON.stringify({ method: 'update3', params, id: null }));
    const before = performance.now();
    stream.emit('data', bytes);
    tookMs.push(performance.now() - before);
  }
  assert.equal(batches, 1_001);
  const medianMs = tookMs.sort((a, b) => a - b)[500]!;
  assert.ok(filledMs < 1_000, `filled in ${filledMs} ms`);
  assert.ok(heapMb < 12, `${heapMb} MB`);
  assert.ok(medianMs < 1, `a change took ${medianMs} ms`);
});
