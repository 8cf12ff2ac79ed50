import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { formatCidr, parseCidr, parseIp } from '../base/addresses.ts';
import { silentLog } from '../base/log.ts';
import { encodeFpm } from './fpm.ts';
import { FpmLink, type FpmLinkOptions } from './fpm-link.ts';
import { encodeNetlink, MAIN_TABLE, RouteProtocol, RouteType } from './netlink.ts';

const frame = (to: string): Uint8Array =>
  encodeFpm(
    encodeNetlink({
      kind: 'route',
      action: 'put',
      to: parseCidr(to)!,
      table: MAIN_TABLE,
      protocol: RouteProtocol.bgp,
      type: RouteType.unicast,
      priority: 20,
      nextHopId: undefined,
      hops: [{ gateway: parseIp('192.0.2.1')!, oif: 2, weight: 1 }],
    }),
  );

/** A link with short times, and a way to connect to it as zebra does; all of it ends with the test, however that ends. */
async function setUp(
  t: TestContext,
  times: Partial<FpmLinkOptions> = {},
): Promise<{
  link: FpmLink;
  batches: string[][];
  zebra: () => Promise<Socket>;
  until: (what: () => boolean) => Promise<void>;
}> {
  const batches: string[][] = [];
  const link = new FpmLink({
    log: silentLog,
    onChanges: (changes) => batches.push(changes.map((c) => `${c.ways ? '+' : '-'}${formatCidr(c.to)}`)),
    ...{ batchMs: 5, quietMs: 30, holdMs: 150, abandonMs: 150, ...times },
  });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  link.attach(server);
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    link.close();
  });
  const zebra = async (): Promise<Socket> => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  };
  const until = async (done: () => boolean): Promise<void> => {
    const end = performance.now() + 5_000;
    while (!done()) {
      assert.ok(performance.now() < end, 'in time');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return { link, batches, zebra, until };
}

test('routes of one batch come together, and the table is synced when zebra is quiet', async (t) => {
  const { link, batches, zebra, until } = await setUp(t);
  const socket = await zebra();
  socket.write(Buffer.concat([frame('10.0.0.0/8'), frame('10.1.0.0/16')]));
  await until(() => link.synced);
  assert.deepEqual(batches, [['+10.0.0.0/8', '+10.1.0.0/16']]);
});

test('a whole table comes in few batches, the last when zebra pauses', async (t) => {
  const { batches, zebra, until } = await setUp(t, { pauseMs: 500, crowdMs: 60_000 });
  const socket = await zebra();
  for (let part = 0; part < 10; part++) {
    const routes = Array.from({ length: 1_000 }, (_, i) => frame(`10.${part}.${i >> 8}.${i & 255}/32`));
    socket.write(Buffer.concat(routes));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await until(() => batches.flat().length === 10_000);
  assert.ok(batches.length <= 3, `${batches.length} batches`);
});

test('a table that never ends is told all the same', async (t) => {
  const { batches, zebra, until } = await setUp(t, { pauseMs: 60_000, crowdMs: 50 });
  const socket = await zebra();
  socket.write(Buffer.concat(Array.from({ length: 2_000 }, (_, i) => frame(`10.0.${i >> 8}.${i & 255}/32`))));
  await until(() => batches.flat().length === 2_000);
});

test('another connection keeps what was known until it is told again, or not', async (t) => {
  const { link, batches, zebra, until } = await setUp(t);
  (await zebra()).end(Buffer.concat([frame('10.0.0.0/8'), frame('10.1.0.0/16')]));
  await until(() => batches.length === 1 && !link.connected);
  const began = performance.now();
  const socket = await zebra();
  socket.write(frame('10.0.0.0/8'));
  await until(() => batches.length === 2);
  assert.deepEqual(batches[1], ['-10.1.0.0/16']);
  assert.ok(performance.now() - began > 120, 'not before the time that bgpd has to come back');
});

test('a zebra that is never quiet is through in the end: what it has not told again is gone', async (t) => {
  const { link, batches, zebra, until } = await setUp(t, { quietMs: 60_000, holdMs: 0, longestMs: 150 });
  (await zebra()).end(Buffer.concat([frame('10.0.0.0/8'), frame('10.1.0.0/16')]));
  await until(() => batches.length === 1 && !link.connected);
  const socket = await zebra();
  socket.write(frame('10.0.0.0/8'));
  await until(() => link.synced);
  assert.deepEqual(batches[1], ['-10.1.0.0/16']);
});

test('without zebra for long, no route is left', async (t) => {
  const { batches, zebra, until } = await setUp(t);
  (await zebra()).end(frame('10.0.0.0/8'));
  await until(() => batches.length === 2);
  assert.deepEqual(batches[1], ['-10.0.0.0/8']);
});

test('bytes that make no sense end their connection, and are counted', async (t) => {
  const { link, batches, zebra, until } = await setUp(t);
  const socket = await zebra();
  socket.on('error', () => {});
  socket.write(Buffer.concat([frame('10.0.0.0/8'), Buffer.from('GET / HTTP/1.1\r\n')]));
  await once(socket, 'close');
  await until(() => link.decodeErrors === 1 && !link.connected);
  (await zebra()).write(frame('10.2.0.0/16'));
  await until(() => batches.flat().includes('+10.2.0.0/16'));
});
