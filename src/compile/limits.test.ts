import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCompiler } from './compiler.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';

const host = example.host(1);
const net = example.logicalSwitch(1, { subnets: [example.subnet('10.0.0.0/24')] });
const port = (more: object = {}): InputRecord => ({
  ...example.port(1, net, { addresses: ['10.0.0.1'] }),
  ...more,
});
const base: InputRecord[] = [
  ...[example.zone(), host, example.self(host, {}), net],
  { ...example.boundInterface(example.port(1, net), 1), zone: 8 } as InputRecord,
];

test('a limit costs one flow each way, a mark none; another rate changes a meter and no flow', () => {
  const compiler = createCompiler();
  const put = (...records: InputRecord[]) => compiler.update(records.map((record) => ({ op: 'put', record })));
  put(...base, port());
  const before = compiler.flowCount;
  put(port({ dscp: 46 }));
  assert.equal(compiler.flowCount, before);
  const limited = put(port({ limits: { sendKbps: 1000 } }));
  assert.deepEqual(limited.meters, [{ meter: 24, unit: 'kbps', rate: 1000, burst: 600 }]);
  assert.equal(compiler.flowCount, before + 1);
  const faster = put(port({ limits: { sendKbps: 8000, burstKb: 900 } }));
  assert.deepEqual(faster.meters, [{ meter: 24, unit: 'kbps', rate: 8000, burst: 900 }]);
  assert.deepEqual([faster.add, faster.remove, faster.goneMeters], [[], [], []]);
  const free = put(port());
  assert.deepEqual([free.goneMeters, compiler.meters().size, compiler.flowCount], [[24], 0, before]);
});

test('without a zone there is no meter: the port is not limited, and that is said', () => {
  const compiler = createCompiler();
  const records = [...base, port({ limits: { receivePps: 10 } })];
  const { problems } = compiler.update(
    records.map((record) => ({
      op: 'put',
      record: record.kind === 'interface' ? example.boundInterface(example.port(1, net), 1) : record,
    })),
  );
  assert.match(problems[0]!.message, /not limited/);
  assert.equal(compiler.meters().size, 0);
});
