// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { AGENT_PROCESS, waitForPorts } from '../../src/lab/weft.ts';
import { decodePacket } from '../../src/packet/packet.ts';
import { applyEverywhere, type Datacentre, eventually, isSilent, pings, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { undropped } from './lossless.ts';
import { acme, fiveMembers, member, networks } from './tenancy.ts';

/** What a Geneve packet carries (RFC 8926 §3.4), behind its options; the frame as hexadecimal. */
function inGeneve(bytes: Uint8Array): { readonly vni: number; readonly frame: string } {
  const { payload } = decodePacket(bytes);
  const optionsLength = (payload[0]! & 0x3f) * 4;
  return {
    vni: (payload[4]! << 16) | (payload[5]! << 8) | payload[6]!,
    frame: Buffer.from(payload.subarray(8 + optionsLength)).toString('hex'),
  };
}

/**
 * Mirrors, DSCP marks and administrative state (limits: limits.test.ts); MidoNet's scenarios 78 to 81 and 85 to 90. The tap `b3` gets copies; it is
 * on another host than half of what is copied.
 */
describe('mirrors, marks and administrative state', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const COLLECTOR_KEY = 0x77;

  before(async () => {
    dc = await startDatacentre(
      fiveMembers('ml', acme('floatingAddress', 'f', { address: '203.0.113.11', router: 'r', port: 'a1' })),
    );
    for (const [from, to] of [
      ['a1', '10.0.1.12'],
      ['a1', '10.0.2.11'],
      ['o1', '203.0.113.11'],
    ] as const)
      await eventually(`${from} reaches ${to}`, 8000, () => pings(dc.lab, from, to));
  });
  after(() => dc?.down());

  const apply = (...objects: object[]): Promise<void> => applyEverywhere(dc, objects);

  async function mirror(name: string, more: object): Promise<void> {
    await apply(acme('mirror', name, more));
  }

  async function removeMirrors(...names: readonly string[]): Promise<void> {
    for (const name of names)
      await dc.weft.client.request('DELETE', `/v1/mirrors/${name}`, { query: { tenant: 'acme' } });
    await dc.weft.client.get('/v1/sync', { query: { timeoutMs: 8000 } });
  }

  /** Frames that `place` gets of this kind while `doing` runs; as many as it should are waited for, and more for a moment. */
  async function hearing(place: string, filter: string, doing: () => Promise<unknown>, wanted = 0) {
    const capture = await startCapture(dc.lab, place, 'eth0', { filter });
    await doing();
    await capture.reaches(wanted);
    await sleep(200);
    return capture.stop();
  }

  /** How many that are, the machine having dropped none. */
  const heard = (place: string, filter: string, doing: () => Promise<unknown>, wanted = 0): Promise<number> =>
    undropped(dc.lab, async () => (await hearing(place, filter, doing, wanted)).captured);

  const ping =
    (from: string, to: string, count = 3) =>
    () =>
      dc.lab.exec(from, ['ping', '-c', `${count}`, '-i', '0.1', '-W', '2', to]);

  for (const [from, to, way] of [
    ['a1', '10.0.1.12', 'within the switch'],
    ['a1', '10.0.2.11', 'through the router'],
  ] as const)
    test(`a mirrored port is copied both ways, from another host, ${way}`, async () => {
      await mirror('m', { ports: ['a1'], to: { port: 'b3' } });
      const both = await heard('b3', `icmp and host 10.0.1.11 and host ${to}`, ping(from, to), 6);
      assert.equal(both, 6, 'three requests and three replies');
      await mirror('m', { ports: ['a1'], to: { port: 'b3' }, direction: 'from' });
      const sent = await heard('b3', `icmp and host 10.0.1.11 and host ${to}`, ping(from, to), 3);
      assert.equal(sent, 3);
      await mirror('m', { ports: ['a1'], to: { port: 'b3' }, direction: 'to' });
      const got = await heard('b3', `icmp[icmptype]=0 and dst 10.0.1.11`, ping(from, to), 3);
      assert.equal(got, 3);
      await removeMirrors('m');
      assert.equal(await heard('b3', 'icmp', ping(from, to)), 0);
    });

  test('a mirror of a switch copies all its ports, what fits its match alone, and nothing while it is down', async () => {
    const fields = { switch: 'a', to: { port: 'b3' }, match: { protocol: 'icmp', dst: '10.0.1.12' } };
    await mirror('m', fields);
    // Sent by a1, and got by a2.
    assert.equal(await heard('b3', 'icmp', ping('a1', '10.0.1.12'), 6), 6);
    assert.equal(await heard('b3', 'icmp', ping('a1', '10.0.2.11')), 0);
    await mirror('m', { ...fields, adminUp: false });
    assert.equal(await heard('b3', 'icmp', ping('a1', '10.0.1.12')), 0);
    await removeMirrors('m');
  });

  test('the port that gets the copies is on the switch that is copied: it is not copied itself, and copies are not copied', async () => {
    await mirror('m', { switch: 'b', to: { port: 'b3' } });
    await mirror('n', { ports: ['b1'], to: { port: 'a2' } });
    for (const tap of ['b3', 'a2'])
      assert.equal(await heard(tap, 'icmp and host 10.0.1.11', ping('a1', '10.0.2.11'), 6), 6, tap);
    await removeMirrors('m', 'n');
  });

  test('a collector in the underlay gets the copies with its key; no host of ours can be one', async () => {
    const server = dc.lab.spec.server.split('/')[0]!;
    await mirror('m', { ports: ['a1'], direction: 'from', to: { collector: { address: server, key: COLLECTOR_KEY } } });
    const [sent, copies] = await undropped(dc.lab, async () => {
      const capture = await startCapture(dc.lab, 'a1', 'eth0', { filter: 'icmp[icmptype]=8' });
      const copied = await hearing('server', `udp port 6081 and dst ${server}`, ping('a1', '10.0.1.12'), 3);
      return [await capture.stop(), copied] as const;
    });
    const frames = (await sent.frames()).map(({ bytes }) => Buffer.from(bytes).toString('hex'));
    assert.equal(frames.length, 3);
    const inner = (await copies.frames()).map(({ bytes }) => inGeneve(bytes));
    assert.deepEqual(
      // It may have asked by ARP before.
      inner.filter(({ frame }) => !frame.slice(24).startsWith('0806')),
      frames.map((frame) => ({ vni: COLLECTOR_KEY, frame })),
    );
    const { items } = await dc.weft.client.get<{ items: { tunnelAddress: string }[] }>('/v1/hosts');
    const to = { collector: { address: items[0]!.tunnelAddress, key: 1 } };
    await assert.rejects(mirror('bad', { ports: ['a1'], to }), /tunnel address of host/);
    await removeMirrors('m');
  });

  test('DSCP of a port, of its switch, and that of the port before that of the switch', async () => {
    const marked = (wanted = 0): Promise<number> =>
      heard('a2', 'icmp[icmptype]=8 and ip[1]=0xb8', ping('a1', '10.0.1.12'), wanted);
    const a = networks().find(({ kind, name }) => kind === 'switch' && name === 'a')!;
    assert.equal(await marked(), 0);
    await apply(member('a1', { dscp: 46 }));
    assert.equal(await marked(3), 3);
    await apply(member('a1'), { ...a, dscp: 46 });
    assert.equal(await marked(3), 3);
    await apply(member('a1', { dscp: 8 }));
    assert.equal(await marked(), 0);
    assert.equal(await heard('a2', 'icmp[icmptype]=8 and ip[1]=0x20', ping('a1', '10.0.1.12'), 3), 3);
    await apply(member('a1'), a);
    assert.equal(await marked(), 0);
  });

  test('meters stand as they are while agents come and go, and go with their limits', async () => {
    await apply(member('a1', { limits: { sendKbps: 2345, sendPps: 3456 } }));
    const east = dc.lab.switchOf('east');
    const meters = (): Promise<string> => east.ofctl('-O', 'OpenFlow15', 'dump-meters', 'br-int');
    const before = await meters();
    assert.match(before, /rate=2345 burst_size=600/);
    assert.match(before, /rate=3456 burst_size=692/);
    const agent = dc.lab.findProcess('east', AGENT_PROCESS)!;
    await agent.kill();
    await agent.start();
    await waitForPorts(dc.weft.client, [dc.ports.get('a1')!.id]);
    await dc.weft.client.get('/v1/sync', { query: { timeoutMs: 8000 } });
    assert.equal(await meters(), before);
    await apply(member('a1'));
    await eventually('the meters are gone', 4000, async () => !/rate=(2345|3456)/.test(await meters()));
  });

  const port = (name: string, more: object): Record<string, unknown> =>
    acme('routerPort', name, { router: 'r', ...more });
  const CASES: readonly [what: string, object: Record<string, unknown>, from: string, to: string][] = [
    ['a router', acme('router', 'r'), 'a1', '10.0.2.11'],
    ['a router port', port('b', { switch: 'b', addresses: ['10.0.2.1/24', 'fd00:2::1/64'] }), 'a1', '10.0.2.11'],
    ['a switch', networks().find(({ kind, name }) => kind === 'switch' && name === 'b')!, 'a1', '10.0.2.11'],
    ['a port', member('b1'), 'a1', '10.0.2.11'],
    [
      'a floating address',
      acme('floatingAddress', 'f', { address: '203.0.113.11', router: 'r', port: 'a1' }),
      'o1',
      '203.0.113.11',
    ],
  ];
  for (const [what, object, from, to] of CASES)
    test(`${what} that is administratively down: nothing passes, and up it passes again`, async () => {
      const set = (adminUp: boolean): Promise<unknown> =>
        dc.weft.client.post('/v1/apply', { objects: [{ ...object, adminUp }] });
      await eventually('it passes', 8000, () => pings(dc.lab, from, to));
      await set(false);
      await eventually('it passes no more', 4000, async () => isSilent(dc.lab, from, to));
      await set(true);
      await eventually('it passes again', 8000, () => pings(dc.lab, from, to));
    });
});
