import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import type { CallOptions } from './bounded.ts';
import { connectOvsdb, type OvsdbClient } from './client.ts';
import type { ChangeBatch, Monitor, MonitorMethod } from './monitor.ts';
import { Bridge, Interface, OPEN_VSWITCH_DB, OpenVswitch, Port } from './open-vswitch-tables.ts';
import { type Condition, deleteRows, insert, mutate, type Operation, select, update, wait } from './operations.ts';
import {
  eventually,
  freePort,
  Interposer,
  makeCertificates,
  noOpenssl,
  noOvsdbServer,
  OvsdbTestServer,
  without,
} from './ovsdb-server.test-support.ts';
import { watch } from './replica.ts';
import { named, type Uuid } from './values.ts';

const DB = OPEN_VSWITCH_DB;
const WATCHED = [
  watch(Interface, ['name', 'ofport', 'external_ids', 'mtu_request'], [['ofport', '!=', 99]]),
  watch(Bridge, ['name', 'ports']),
  watch(OpenVswitch, ['next_cfg', 'bridges']),
] as const;
type Seen = (typeof WATCHED)[number];

async function root(client: OvsdbClient): Promise<void> {
  await client.transact(DB, [
    insert(OpenVswitch, { bridges: [named('bridge')] }),
    insert(Bridge, { name: 'br0' }, { name: 'bridge' }),
  ]);
}

function addPort(name: string, ids: Record<string, string>): Operation[] {
  return [
    insert(Interface, { name, external_ids: ids }, { name: 'i' }),
    insert(Port, { name, interfaces: [named('i')] }, { name: 'p' }),
    mutate(Bridge, [], [['ports', 'insert', [named('p')]]]),
  ];
}

/** Changes at random what the monitors see, and what they do not. */
class Meddler {
  readonly #client: OvsdbClient;
  readonly #random = seededRandom(1);
  #names: string[] = [];
  #next = 0;

  constructor(client: OvsdbClient) {
    this.#client = client;
  }

  async meddle(times: number): Promise<void> {
    for (let i = 0; i < times; i++) await this.#client.transact(DB, this.#operations());
  }

  #operations(): Operation[] {
    const victim = this.#names[this.#random.below(this.#names.length)];
    const kind = this.#random.below(6);
    if (kind < 2 || victim === undefined) {
      const name = `if${this.#next++}`;
      this.#names.push(name);
      return addPort(name, { 'iface-id': name, [`k${this.#random.below(3)}`]: 'v' });
    }
    const own: readonly Condition<typeof Interface>[] = [['name', '==', victim]];
    if (kind === 2) {
      this.#names = this.#names.filter((name) => name !== victim);
      return [
        select(Port, [['name', '==', victim]], []),
        // Empties the bridge of the port; port and interface go with the last reference.
        mutate(Bridge, [], [['ports', 'delete', this.#ports.get(victim) ?? []]]),
      ];
    }
    if (kind === 3) return [update(Interface, own, { ofport: this.#random.below(2) ? 99 : this.#random.below(50) })];
    const key = `k${this.#random.below(3)}`;
    if (kind === 4) return [mutate(Interface, own, [['external_ids', 'delete', [key]]])];
    return [
      mutate(Interface, own, [['external_ids', 'delete', [key]]]),
      mutate(Interface, own, [['external_ids', 'insert', { [key]: `${this.#random.below(100)}` }]]),
      mutate(OpenVswitch, [], [['next_cfg', '+=', 1]]),
    ];
  }
  /** Filled by whoever watches ports. */
  readonly #ports = new Map<string, readonly Uuid[]>();
  know(name: string, port: Uuid): void {
    this.#ports.set(name, [port]);
  }
}

/** Rebuilds the tables from batches alone. */
class Mirror {
  readonly tables = new Map<string, Map<string, unknown>>();
  batches = 0;
  readonly take = ({ changes }: ChangeBatch<Seen>): void => {
    this.batches++;
    for (const change of changes) {
      const table = this.tables.get(change.table) ?? new Map<string, unknown>();
      this.tables.set(change.table, table);
      if (change.kind === 'delete') assert.ok(table.delete(change.uuid), 'deleted but never inserted');
      else {
        assert.equal(table.has(change.uuid), change.kind === 'modify');
        if (change.kind === 'modify') assert.equal(table.get(change.uuid), change.old);
        table.set(change.uuid, change.row);
      }
    }
  };
}

const plain = (rows: ReadonlyMap<string, object>): unknown =>
  [...rows]
    .map(([uuid, row]) => [
      uuid,
      ...Object.values(row).map((value) =>
        value instanceof Map ? [...value].sort().join() : Array.isArray(value) ? [...value].sort().join() : value,
      ),
    ])
    .sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));

/** Compares replica and batches with what a fresh select gives. */
async function assertRight(client: OvsdbClient, monitor: Monitor<Seen>, mirror: Mirror): Promise<void> {
  const [interfaces, bridges, roots] = await client.transact(DB, [
    select(Interface, [['ofport', '!=', 99]], WATCHED[0].columns),
    select(Bridge, [], WATCHED[1].columns),
    select(OpenVswitch, [], WATCHED[2].columns),
  ]);
  for (const [name, rows] of [
    ['Interface', interfaces],
    ['Bridge', bridges],
    ['Open_vSwitch', roots],
  ] as const) {
    const want = plain(new Map(rows.map((row) => [row._uuid, row])));
    await eventually(
      () => monitor.live && JSON.stringify(plain(monitor.replica.table(name).rows)) === JSON.stringify(want),
    );
    assert.deepEqual(plain((mirror.tables.get(name) ?? new Map()) as Map<string, object>), want);
  }
}

async function meddlerOf(client: OvsdbClient): Promise<Meddler> {
  const meddler = new Meddler(client);
  await client.monitor(DB, [watch(Port, ['name'])], ({ changes }) => {
    for (const change of changes) if (change.kind === 'insert') meddler.know(change.row.name, change.uuid);
  });
  return meddler;
}

const METHODS: readonly (readonly [MonitorMethod, (request: string) => string])[] = [
  ['monitor_cond_since', without()],
  ['monitor_cond', without('monitor_cond_since')],
  ['monitor', without('monitor_cond_since', 'monitor_cond')],
];

for (const [method, rewrite] of METHODS)
  test(`reconnect: over cuts and garbage, ${method} keeps replica and batches right`, {
    skip: noOvsdbServer,
  }, async () => {
    await using server = await OvsdbTestServer.start();
    await using interposer = await Interposer.start(server.folder, server.unix);
    interposer.rewrite = rewrite;
    using direct = connectOvsdb(server.unix, { log: silentLog });
    await root(direct);
    const meddler = await meddlerOf(direct);
    using client = connectOvsdb(interposer.address, { log: silentLog, maxBackoffMs: 60 });
    const mirror = new Mirror();
    const monitor = await client.monitor(DB, WATCHED, mirror.take);
    assert.equal(monitor.method, method);
    const garbage = [
      '\0\0\0',
      '{"id":1}',
      '{"method":5}',
      '[1]',
      '{"method":"update3","params":["weft-1"]}',
      '{"id":9,'.repeat(80),
    ];
    for (const bytes of garbage) {
      await meddler.meddle(10);
      await assertRight(direct, monitor, mirror);
      if (monitor.method === 'monitor' && bytes.includes('update3')) continue;
      const before = interposer.accepted;
      const disturbed = meddler.meddle(10);
      interposer.inject(bytes);
      await disturbed;
      await eventually(() => interposer.accepted > before && client.connected);
      await assertRight(direct, monitor, mirror);
      interposer.cut();
      await eventually(() => !client.connected);
    }
  });

test('reconnect: a clustered server resumes after its restart and sends only what changed', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start({ clustered: true });
  await using interposer = await Interposer.start(server.folder, server.unix);
  using direct = connectOvsdb(server.unix, { log: silentLog, maxBackoffMs: 60 });
  await root(direct);
  for (let i = 0; i < 40; i++)
    await direct.transact(DB, addPort(`if${i}`, { 'iface-id': `${i}`, filler: 'x'.repeat(200) }));
  using client = connectOvsdb(interposer.address, { log: silentLog, maxBackoffMs: 60 });
  const mirror = new Mirror();
  const monitor = await client.monitor(DB, WATCHED, mirror.take);
  await direct.transact(DB, [mutate(OpenVswitch, [], [['next_cfg', '+=', 1]])]);
  await assertRight(direct, monitor, mirror);

  interposer.passedBytes = 0;
  const batches = mirror.batches;
  await server.kill('SIGKILL');
  await eventually(() => !client.connected && !direct.connected);
  assert.equal(monitor.live, false);
  assert.equal(monitor.replica.table('Interface').rows.size, 40);
  await server.run();
  await direct.transact(DB, [update(Interface, [['name', '==', 'if3']], { ofport: 3 })]);
  await assertRight(direct, monitor, mirror);
  assert.equal(mirror.batches, batches + 1);
  // The schema is some 40 kB; the rows would be 10 kB more.
  const schemaBytes = JSON.stringify(await direct.call('get_schema', [DB])).length;
  assert.ok(interposer.passedBytes < schemaBytes + 2_000, `${interposer.passedBytes} bytes, schema ${schemaBytes}`);
});

test('reconnect: a standalone server that restarts gives the difference as one batch', {
  skip: noOvsdbServer,
}, async () => {
  await using server = await OvsdbTestServer.start();
  using client = connectOvsdb(server.unix, { log: silentLog, maxBackoffMs: 60 });
  await root(client);
  await client.transact(DB, [...addPort('a', {})]);
  await client.transact(DB, [...addPort('b', {})]);
  const mirror = new Mirror();
  const monitor = await client.monitor(DB, WATCHED, mirror.take);
  const states: boolean[] = [];
  client.onConnected((connected) => void states.push(connected));
  const pending = client.transact(DB, [
    wait(Interface, [['name', '==', 'a']], ['ofport'], '==', [{ ofport: 5 }], 60_000),
  ]);
  const closed = assert.rejects(pending, { code: 'closed' });
  await server.kill('SIGKILL');
  await closed;
  await server.run();
  await client.transact(DB, [deleteRows(Interface, [['name', '==', 'none']])]);
  await assertRight(client, monitor, mirror);
  assert.deepEqual([states, mirror.batches], [[false, true], 1]);
  await client.transact(DB, [update(Interface, [['name', '==', 'a']], { ofport: 1 })]);
  assert.equal(mirror.batches, 2);
});

test('reconnect: a server that is there but says nothing is given up', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  await using interposer = await Interposer.start(server.folder, server.unix);
  using client = connectOvsdb(interposer.address, {
    log: silentLog,
    probeMs: 40,
    connectTimeoutMs: 100,
    maxBackoffMs: 60,
  });
  await client.transact(DB, [insert(OpenVswitch, {})]);
  // Echoes are answered, so silence alone is none.
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.deepEqual([client.connected, interposer.accepted], [true, 1]);
  interposer.rewrite = () => '';
  await eventually(() => interposer.accepted > 1);
  interposer.rewrite = (request) => request;
  await client.transact(DB, [select(OpenVswitch, [])]);
});

test('reconnect: conditions mean here what they mean to the server', { skip: noOvsdbServer }, async () => {
  await using server = await OvsdbTestServer.start();
  await using interposer = await Interposer.start(server.folder, server.unix);
  interposer.rewrite = without('monitor_cond_since', 'monitor_cond');
  using modern = connectOvsdb(server.unix, { log: silentLog });
  using old = connectOvsdb(interposer.address, { log: silentLog });
  await root(modern);
  for (const [i, ids] of [{}, { a: '1' }, { a: '2', b: '1' }, { b: '2' }].entries()) {
    await modern.transact(DB, addPort(`if${i}`, ids as Record<string, string>));
    if (i > 0) await modern.transact(DB, [update(Interface, [['name', '==', `if${i}`]], { ofport: i })]);
  }
  const conditions: Condition<typeof Interface>[] = [
    ...(['==', '!=', 'includes', 'excludes'] as const).flatMap((comparison): Condition<typeof Interface>[] => [
      ['name', comparison, 'if1'],
      ['ofport', comparison, 2],
      ['ofport', comparison, undefined],
      ['external_ids', comparison, { a: '1' }],
      ['external_ids', comparison, {}],
      [
        'external_ids',
        comparison,
        new Map([
          ['a', '2'],
          ['b', '1'],
        ]),
      ],
    ]),
    ...(['<', '<=', '>', '>='] as const).flatMap((comparison): Condition<typeof Interface>[] => [
      ['ofport', comparison, 2],
      ['ingress_policing_rate', comparison, 0],
    ]),
  ];
  const names = async (client: OvsdbClient, where: readonly Condition<typeof Interface>[]): Promise<string[]> => {
    const monitor = await client.monitor(DB, [watch(Interface, ['name'], where)], () => {});
    const found = [...monitor.replica.table('Interface').rows.values()].map(({ name }) => name).sort();
    monitor.cancel();
    return found;
  };
  for (const [i, condition] of conditions.entries()) {
    assert.deepEqual(await names(old, [condition]), await names(modern, [condition]), JSON.stringify(condition));
    const either = [condition, conditions[(i * 7 + 3) % conditions.length]!];
    assert.deepEqual(await names(old, either), await names(modern, either), JSON.stringify(either));
  }
});

test('transports: TCP carries the same', { skip: noOvsdbServer }, async () => {
  const port = await freePort();
  await using _server = await OvsdbTestServer.start({ args: [`--remote=ptcp:${port}:127.0.0.1`] });
  using client = connectOvsdb(`tcp:127.0.0.1:${port}`, { log: silentLog });
  await root(client);
  const mirror = new Mirror();
  await assertRight(client, await client.monitor(DB, WATCHED, mirror.take), mirror);
});

test('transports: TLS carries the same, to a server and by a client of the right authority only', {
  skip: noOpenssl,
}, async () => {
  const port = await freePort();
  await using server = await OvsdbTestServer.start({
    args: (folder) => {
      makeCertificates(folder, 'authority', ['server', 'client']);
      makeCertificates(folder, 'stranger', ['impostor']);
      return [
        ...[`--remote=pssl:${port}:127.0.0.1`, `--private-key=${join(folder, 'server-key.pem')}`],
        ...[`--certificate=${join(folder, 'server-cert.pem')}`, `--ca-cert=${join(folder, 'authority-cert.pem')}`],
      ];
    },
  });
  const pem = (name: string): string => readFileSync(join(server.folder, `${name}.pem`), 'utf8');
  const own = { cert: pem('client-cert'), key: pem('client-key') };
  const address = `ssl:127.0.0.1:${port}`;
  using client = connectOvsdb(address, {
    log: silentLog,
    tls: { ca: pem('authority-cert'), ...own, serverName: 'server' },
  });
  await root(client);
  const mirror = new Mirror();
  await assertRight(client, await client.monitor(DB, WATCHED, mirror.take), mirror);

  const soon: CallOptions = { timeoutMs: 300 };
  for (const tls of [
    { ca: pem('stranger-cert'), ...own },
    { ca: pem('authority-cert'), ...own, serverName: 'another' },
    { ca: pem('authority-cert'), cert: pem('impostor-cert'), key: pem('impostor-key') },
    { ca: pem('authority-cert') },
  ]) {
    using refused = connectOvsdb(address, { log: silentLog, tls });
    await assert.rejects(refused.listDatabases(soon), { code: 'unreachable' });
  }
  for (const tls of [undefined, { ca: 'nonsense', cert: 'nonsense', key: 'nonsense' }])
    assert.throws(() => connectOvsdb(address, { log: silentLog, ...(tls && { tls }) }), { code: 'invalid' });
});
