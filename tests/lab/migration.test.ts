// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { type Migration, startMigration } from '../../src/lab/migration.ts';
import { startStream } from '../../src/lab/packet-stream.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { findPort, type ShownPort, waitForPorts } from '../../src/lab/weft.ts';
import type { WeftEvent } from '../../src/server/events.ts';
import { type Datacentre, eventually, isSilent, pings, sleep, startDatacentre } from './datacentre.ts';
import { arp, BROADCAST, marked, markOf, NO_MAC, rarp, udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless } from './lossless.ts';

const MOVERS = ['m1', 'm2', 'm3', 'm4'];
/** The workload's interface to its new host, until it takes over the name of the old (src/lab/migration.ts). */
const INCOMING = 'incoming';

const numbered = (name: string, n: number) => ({
  kind: 'port',
  tenant: 'red',
  switch: 'net',
  name,
  addresses: [`10.0.0.${n}`],
});
const OBJECTS = [
  { kind: 'tenant', name: 'red' },
  { kind: 'switch', tenant: 'red', name: 'net', subnets: [{ cidr: '10.0.0.0/24', gateway: '10.0.0.1' }] },
  numbered('w1', 11),
  numbered('w2', 12),
  ...MOVERS.map((name, i) => numbered(name, 21 + i)),
];

describe('a workload that moves', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const port = (name: string): Promise<ShownPort> => findPort(dc.weft.client, dc.ports.get(name)!.id);
  const addressOf = (name: string): string => dc.ports.get(name)!.addresses[0]!;
  const isActive = (name: string, host: string): Promise<true> =>
    eventually(`${name} active at ${host}`, 15_000, async () => (await port(name)).status.host === host);
  const declare = (name: string, host: string): Promise<unknown> =>
    dc.weft.client.request('PATCH', `/v1/ports/${dc.ports.get(name)!.id}`, { body: { host } });
  const warningsOf = async (name: string): Promise<string[]> => {
    const query = { id: dc.ports.get(name)!.id, level: 'warning' };
    const { items } = await dc.weft.client.get<{ items: WeftEvent[] }>('/v1/events', { query });
    return items.map((event) => event.text);
  };
  /** Both ends of the move are up and the address belongs to the workload, whichever interface a packet comes by. */
  const openBoth = async (name: string): Promise<void> => {
    await dc.lab.execOk(name, ['ip', 'addr', 'add', `${addressOf(name)}/32`, 'dev', 'lo']);
    await dc.lab.execOk(name, ['ip', 'link', 'set', INCOMING, 'up']);
  };
  /** The workload lets its new interface take the place of the old; both carried it until here. */
  const settle = async (move: Migration, name: string): Promise<void> => {
    await dc.lab.execOk(name, ['ip', 'link', 'set', INCOMING, 'down']);
    await move.activate({ announce: 'none' });
    await move.finish();
  };

  before(async () => {
    dc = await startDatacentre({
      prefix: 'mi',
      hosts: ['a', 'b', 'c'],
      objects: OBJECTS,
      workloads: [
        { name: 'w1', host: 'a', port: 'red/w1', addresses: ['10.0.0.11/24'] },
        { name: 'w2', host: 'c', port: 'red/w2', addresses: ['10.0.0.12/24'] },
        ...MOVERS.map((name, i) => ({ name, host: 'a', port: `red/${name}`, addresses: [`10.0.0.${21 + i}/24`] })),
      ],
    });
  });
  after(() => dc?.down());

  test('declared and announced by RARP: no packet to it is lost, from its old host or another', async () => {
    await declare('m1', 'b');
    const streams = await startLossless(
      dc.lab,
      ['w1', 'w2'].map((from) => ({ from, to: 'm1', pps: 5000 })),
    );
    const move = await startMigration(dc.lab, 'm1', 'b');
    await openBoth('m1');
    await waitForPorts(dc.weft.client, [dc.ports.get('m1')!.id]);
    await eventually('a claim of both hosts', 15_000, async () => (await port('m1')).status.claims.length === 2);
    // The moment from which the new host gets the packets too; QEMU waits for `weft-installed` there before it switches over.
    await eventually('flows at the new host', 15_000, async () =>
      /weft-installed/.test(
        await dc.lab.switchOf('b').vsctl(['find', 'interface', `external_ids:iface-id=${dc.ports.get('m1')!.id}`]),
      ),
    );
    await sleep(200);
    assert.equal((await port('m1')).status.host, 'a', 'active until it announces itself');
    assert.deepEqual((await port('m1')).status.problems, [], 'a declared move is no mistake');
    await dc.lab.execOk('m1', ['ip', 'link', 'set', 'eth0', 'down']);
    await sendFramesOnce(dc.lab, 'm1', [rarp(dc.ports.get('m1')!.mac)], { device: INCOMING });
    await isActive('m1', 'b');
    await sleep(300);
    await streams.stop('a declared migration');
    await settle(move, 'm1');
    assert.ok(await pings(dc.lab, 'm1', '10.0.0.11'));
    assert.ok(await pings(dc.lab, 'w2', addressOf('m1')));
    assert.deepEqual(
      (await port('m1')).status.claims.map((claim) => claim.host),
      ['b'],
    );
    assert.deepEqual(await warningsOf('m1'), []);
  });

  test('declared and announced by its own kernel (GARP): it goes on within the time that it was nowhere itself', async () => {
    await declare('m2', 'c');
    const stream = await startStream(dc.lab, { from: 'w1', to: 'm2', pps: 5000 });
    const move = await startMigration(dc.lab, 'm2', 'c');
    await eventually('a claim of both hosts', 15_000, async () => (await port('m2')).status.claims.length === 2);
    await sleep(200);
    const { awayMs } = await move.activate({ announce: 'garp' });
    await isActive('m2', 'c');
    await move.finish();
    await sleep(200);
    const report = await stream.stop();
    // Beside what the machine itself took for the change of interfaces.
    assert.ok(report.longestGapMs < awayMs + 230, `${awayMs} ms: ${JSON.stringify(report)}`);
    assert.ok(await pings(dc.lab, 'm2', '10.0.0.12'));
  });

  test('not declared: the second claim is reported as a possible mistake, and gets and says nothing until it announces itself', async () => {
    const { mac, id } = dc.ports.get('m3')!;
    const move = await startMigration(dc.lab, 'm3', 'b');
    await openBoth('m3');
    await eventually('a claim of both hosts', 15_000, async () => (await port('m3')).status.claims.length === 2);
    const { status } = await port('m3');
    assert.equal(status.host, 'a');
    assert.match(status.problems.join(), /a and b have an interface with this port's id/);
    assert.match((await warningsOf('m3')).join(), /copied id/);
    await sleep(200);

    const [copy, ear] = await Promise.all([
      startCapture(dc.lab, 'm3', INCOMING, { filter: `not ether src ${mac}` }),
      startCapture(dc.lab, 'w2', 'eth0', { filter: `ether src ${mac}` }),
    ]);
    assert.ok(await pings(dc.lab, 'w2', addressOf('m3')), 'the first goes on');
    const frame = (n: number): Uint8Array =>
      marked(udp({ src: mac, dst: dc.ports.get('w2')!.mac }, [addressOf('m3'), '10.0.0.12'], [1, 2]), n);
    const asks = arp({ src: mac, dst: BROADCAST }, 1, [mac, addressOf('m3')], [NO_MAC, '10.0.0.77']);
    await sendFramesOnce(dc.lab, 'm3', [frame(1), marked(asks, 2)], { device: INCOMING });
    await sleep(200);
    assert.equal((await copy.stop()).captured, 0, 'nothing goes to the copy');
    const heard = (await (await ear.stop()).frames()).map(({ bytes }) => markOf(bytes));
    assert.deepEqual(
      heard.filter((n) => n !== undefined),
      [],
      'nothing comes from the copy',
    );
    assert.equal((await port('m3')).status.host, 'a');

    const announcement = arp({ src: mac, dst: BROADCAST }, 1, [mac, addressOf('m3')], [NO_MAC, addressOf('m3')]);
    await dc.lab.execOk('m3', ['ip', 'link', 'set', 'eth0', 'down']);
    await sendFramesOnce(dc.lab, 'm3', [announcement], { device: INCOMING });
    await isActive('m3', 'b');
    const ear2 = await startCapture(dc.lab, 'w2', 'eth0', { filter: `ether src ${mac}` });
    await sendFramesOnce(dc.lab, 'm3', [frame(3)], { device: INCOMING });
    await sleep(200);
    assert.deepEqual(
      (await (await ear2.stop()).frames()).map(({ bytes }) => markOf(bytes)),
      [3],
    );
    await settle(move, 'm3');
    assert.ok(await pings(dc.lab, 'w2', addressOf('m3')));
    await eventually(
      'no problem is left',
      15_000,
      async () => (await findPort(dc.weft.client, id)).status.problems.length === 0,
    );
  });

  test('by API: traffic goes where a person says, back too, and nowhere without a claim', async () => {
    const { id, mac } = dc.ports.get('m4')!;
    const move = await startMigration(dc.lab, 'm4', 'b');
    await openBoth('m4');
    await eventually('a claim of both hosts', 15_000, async () => (await port('m4')).status.claims.length === 2);
    const activate = (host: string): Promise<unknown> => dc.weft.client.post(`/v1/ports/${id}/activate`, { host });
    await assert.rejects(activate('c'), /no interface of port m4/);
    const packet = udp({ src: dc.ports.get('w2')!.mac, dst: mac }, ['10.0.0.12', addressOf('m4')], [1, 2]);
    for (const [host, device] of [
      ['b', INCOMING],
      ['a', 'eth0'],
      ['b', INCOMING],
    ] as const) {
      await activate(host);
      await eventually(`packets by ${device}`, 15_000, async () => {
        const capture = await startCapture(dc.lab, 'm4', device, { filter: `udp and not ether src ${mac}` });
        await sendFramesOnce(dc.lab, 'w2', [packet]);
        await sleep(50);
        return (await capture.stop()).captured > 0;
      });
    }
    await settle(move, 'm4');
    assert.ok(await pings(dc.lab, 'w2', addressOf('m4')));
  });

  test('an interface that vanishes leaves its port unbound; what is sent to it ends, and all is well when it returns', async () => {
    const { id } = dc.ports.get('w1')!;
    await dc.lab.execOk('w1', ['ip', 'link', 'del', 'eth0']);
    await eventually('the port to be unbound', 15_000, async () => (await port('w1')).status.state === 'unbound');
    assert.ok(await isSilent(dc.lab, 'w2', '10.0.0.11'));
    const { mac } = dc.ports.get('w1')!;
    await dc.lab.removeWorkload('w1');
    await dc.lab.addWorkload({ name: 'w1', host: 'a', port: id, mac, addresses: ['10.0.0.11/24'] });
    await waitForPorts(dc.weft.client, [id]);
    await eventually('the port that returned', 15_000, () => pings(dc.lab, 'w2', '10.0.0.11'));
  });

  test('an interface with an id that no port has is reported, and works once the port is created', async () => {
    const id = randomUUID();
    const mac = '02:00:00:00:77:01';
    await dc.lab.addWorkload({ name: 'early', host: 'b', port: id, mac, addresses: ['10.0.0.77/24'] });
    const problems = async (): Promise<string> => {
      const status = await dc.weft.client.get<{ problems: { text: string }[] }>('/v1/status');
      return status.problems.map(({ text }) => text).join('\n');
    };
    await eventually('a report of it', 15_000, async () => new RegExp(`host b: .*${id}`).test(await problems()));
    assert.ok(await isSilent(dc.lab, 'early', '10.0.0.12'));
    await dc.weft.client.post('/v1/apply', { objects: [{ ...numbered('early', 77), id, mac }] });
    await waitForPorts(dc.weft.client, [id]);
    await eventually('a ping once all hosts know', 15_000, () => pings(dc.lab, 'early', '10.0.0.12'));
    await eventually('no report any more', 15_000, async () => !(await problems()).includes(id));
  });
});
