// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { applyEverywhere, type Datacentre, eventually, isSilent, pings, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serveAll, unanswered } from './services.ts';
import { acme, member, networks, workload } from './tenancy.ts';

/**
 * A router over IPv6 as its clients see it, and a second one behind it (`routing.test.ts` has most of this over IPv4):
 *
 *     a1 (east), a2 (west) ── r ── link fd00:ff::/64 ── far ── d1 (west)
 *                             ├─ b1 (west), b2 (east), which both answer for 2001:db8:99::/64
 *                             └─ s1 (west), on a switch with an `mtu` of 1,280
 */
const BEYOND = '2001:db8:99::/64';
const THERE = '2001:db8:99::1';
const FAR = [
  { to: 'fd00:4::/64', via: 'fd00:ff::2' },
  { to: '10.0.4.0/24', via: '10.255.0.2' },
];
const MTU = 1280;

describe('a router over IPv6', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const apply = (...objects: object[]): Promise<void> => applyEverywhere(dc, objects);
  const router = (more: { readonly routes?: readonly object[]; readonly policies?: readonly object[] } = {}) =>
    acme('router', 'r', { ...more, routes: [...FAR, ...(more.routes ?? [])] });

  before(async () => {
    const allowedPairs = [{ address: BEYOND }];
    dc = await startDatacentre({
      prefix: 'rt6',
      hosts: ['east', 'west'],
      objects: [
        ...networks({ routes: FAR }).filter(({ name }) => name !== 'out'),
        ...[member('a1'), member('a2'), member('b1', { allowedPairs }), member('b2', { allowedPairs })],
        acme('switch', 'small', { mtu: MTU, subnets: [{ cidr: 'fd00:3::/64', ipv6Mode: 'stateful' }] }),
        acme('routerPort', 'small', { router: 'r', switch: 'small', addresses: ['fd00:3::1/64'] }),
        acme('port', 's1', { switch: 'small', addresses: ['fd00:3::11'] }),
        acme('router', 'far', {
          routes: [
            { to: 'fd00::/16', via: 'fd00:ff::1' },
            { to: '10.0.0.0/16', via: '10.255.0.1' },
          ],
        }),
        acme('routerPort', 'far', { router: 'r', addresses: ['fd00:ff::1/64', '10.255.0.1/30'] }),
        acme('routerPort', 'near', { router: 'far', peer: 'r/far', addresses: ['fd00:ff::2/64', '10.255.0.2/30'] }),
        acme('switch', 'd', { subnets: [{ cidr: 'fd00:4::/64', ipv6Mode: 'stateful' }] }),
        acme('routerPort', 'd', { router: 'far', switch: 'd', addresses: ['fd00:4::1/64'] }),
        acme('port', 'd1', { switch: 'd', addresses: ['fd00:4::11'] }),
      ],
      workloads: [
        ...Object.entries({ a1: 'east', a2: 'west', b1: 'west', b2: 'east' }).map(([name, on]) => workload(name, on)),
        { name: 's1', host: 'west', port: 'acme/s1', addresses: ['fd00:3::11/64'], gateways: ['fd00:3::1'] },
        { name: 'd1', host: 'west', port: 'acme/d1', addresses: ['fd00:4::11/64'], gateways: ['fd00:4::1'] },
      ],
    });
    for (const place of ['b1', 'b2'])
      await dc.lab.execOk(place, ['ip', 'addr', 'replace', `${THERE}/128`, 'dev', 'lo', 'nodad']);
    await serveAll(dc.lab, ['b1', 'b2'], 'tcp/80', 'tcp/8081');
    for (const to of ['fd00:2::11', 'fd00:2::12', 'fd00:3::11', 'fd00:4::11'])
      await eventually(to, 10_000, async () => (await pings(dc.lab, 'a1', to)) && (await pings(dc.lab, 'a2', to)));
  });
  after(() => dc?.down());

  const pinged = async (from: string, to: string, ...more: string[]): Promise<string> => {
    const { stdout, stderr } = await dc.lab.exec(from, ['ping', '-n', '-c', '1', '-W', '2', ...more, to]);
    return stdout + stderr;
  };
  const whoServes = async (from: string, port = 80): Promise<string | undefined> =>
    (await ask(dc.lab, from, 'tcp', THERE, port)).by;

  test('and one behind it are hops of traceroute, each by the address that the packet came to', async () => {
    for (const [to, hops] of [
      ['fd00:2::11', ['fd00:1::1', 'fd00:2::11']],
      ['fd00:2::12', ['fd00:1::1', 'fd00:2::12']],
      ['fd00:4::11', ['fd00:1::1', 'fd00:ff::2', 'fd00:4::11']],
    ] as const) {
      const words = ['busybox', 'traceroute6', '-n', '-q', '1', '-w', '2', '-m', '5', to];
      const lines = (await dc.lab.execOk('a1', words)).split('\n').slice(1);
      assert.deepEqual(
        lines.flatMap((line) => line.trim().split(/\s+/)[1] ?? []),
        hops,
        lines.join('\n'),
      );
    }
    assert.match(await pinged('d1', 'fd00:1::11', '-t', '1'), /From fd00:4::1 .*(exceeded|Hop limit)/);
    assert.match(await pinged('d1', 'fd00:1::11', '-t', '2'), /From fd00:ff::1 .*(exceeded|Hop limit)/);
  });

  test('takes the longest prefix, then the lowest metric', async () => {
    const via = (to: string, n: number, metric: number) => ({ to, via: `fd00:2::1${n}`, metric });
    await apply(router({ routes: [via(BEYOND, 1, 50), via(BEYOND, 2, 60)] }));
    for (const from of ['a1', 'a2']) assert.equal(await whoServes(from), 'b1', from);
    await apply(router({ routes: [via(BEYOND, 1, 60), via(BEYOND, 2, 50)] }));
    for (const from of ['a1', 'a2']) assert.equal(await whoServes(from), 'b2', from);
    await apply(router({ routes: [via(BEYOND, 2, 50), via(`${THERE}/128`, 1, 60)] }));
    for (const from of ['a1', 'a2']) assert.equal(await whoServes(from), 'b1', from);
    await apply(router());
  });

  test('says that there is no way, by a reject route and without any, and says nothing by a blackhole', async () => {
    const all = { to: BEYOND, via: 'fd00:2::11' };
    for (const routes of [
      [],
      [{ to: BEYOND, action: 'reject' }],
      [all, { to: BEYOND, from: 'fd00:1::/64', action: 'reject' }],
    ]) {
      const what = JSON.stringify(routes);
      await apply(router({ routes }));
      for (const from of ['a1', 'a2']) {
        assert.match(await pinged(from, THERE), /From fd00:1::1 .*(No route|[Uu]nreachable)/, `${from}, ${what}`);
        assert.equal((await ask(dc.lab, from, 'tcp', THERE, 80)).why, 'ENETUNREACH', `${from}, ${what}`);
      }
    }
    await apply(router({ routes: [all] }));
    for (const from of ['a1', 'a2']) assert.equal(await whoServes(from), 'b1');
    await apply(router({ routes: [{ to: BEYOND, action: 'blackhole' }] }));
    for (const from of ['a1', 'a2']) {
      const ear = await startCapture(dc.lab, from, 'eth0', { filter: `icmp6 and ip6[40] < 128` });
      assert.ok(await isSilent(dc.lab, from, THERE), from);
      assert.ok(await unanswered(dc.lab, from, 'tcp', THERE, 80));
      assert.equal((await ear.stop()).captured, 0, `${from} hears no error`);
    }
    await apply(router());
  });

  test('says what the second router rejects, in its words', async () => {
    const way = { to: '2001:db8:77::/64', via: 'fd00:ff::2' };
    await apply(router({ routes: [way] }));
    for (const from of ['a1', 'a2'])
      assert.match(await pinged(from, '2001:db8:77::1'), /From fd00:ff::2 .*(No route|[Uu]nreachable)/, from);
    await apply(router());
  });

  test('takes routes by source before those for all', async () => {
    const routes = [
      { to: BEYOND, via: 'fd00:2::11' },
      { to: BEYOND, from: 'fd00:1::12/128', via: 'fd00:2::12' },
    ];
    await apply(router({ routes }));
    assert.deepEqual([await whoServes('a1'), await whoServes('a2')], ['b1', 'b2']);
    const rejected = { to: BEYOND, from: 'fd00:1::12/128', action: 'blackhole' };
    await apply(router({ routes: [routes[0]!, rejected] }));
    assert.equal(await whoServes('a1'), 'b1');
    assert.ok(await unanswered(dc.lab, 'a2', 'tcp', THERE, 80));
    await apply(router());
  });

  test('obeys policies by source, protocol and port before its routes', async () => {
    const routes = [{ to: BEYOND, via: 'fd00:2::11' }];
    const policies = [
      { position: 10, match: { src: 'fd00:1::12', protocol: 'tcp', dstPorts: 8081 }, action: 'drop' },
      { position: 20, match: { src: 'fd00:1::12', dst: BEYOND }, action: 'reroute', via: 'fd00:2::12' },
    ];
    await apply(router({ routes, policies }));
    assert.deepEqual([await whoServes('a1'), await whoServes('a2')], ['b1', 'b2']);
    assert.ok(await pings(dc.lab, 'a2', THERE, 3000), 'fragments go that way too');
    assert.equal(await whoServes('a1', 8081), 'b1');
    assert.ok(await unanswered(dc.lab, 'a2', 'tcp', THERE, 8081));
    await apply(router());
  });

  test('says how large a packet may be, and senders keep to it', async () => {
    for (const from of ['a1', 'a2']) {
      await dc.lab.execOk(from, ['ip', '-6', 'route', 'flush', 'cache']);
      assert.match(await pinged(from, 'fd00:3::11', '-M', 'do', '-s', '1300'), /From fd00:1::1 .*mtu ?= ?1280/, from);
      assert.match(await dc.lab.execOk(from, ['ip', '-6', 'route', 'get', 'fd00:3::11']), / mtu 1280/, from);
      assert.ok(await pings(dc.lab, from, 'fd00:3::11', MTU - 48, true), `${from}: what fits`);
      assert.ok(await pings(dc.lab, from, 'fd00:3::11', 4000), `${from}: in fragments`);
    }
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    const ends = { src: dc.ports.get('a1')!.mac, dst: items.find(({ name }) => name === 'a')!.mac };
    for (const size of [MTU - 48, MTU - 47]) {
      const ear = await startCapture(dc.lab, 'a1', 'eth0', { filter: 'icmp6 and ip6[40] == 2' });
      const frame = udp(ends, ['fd00:1::11', 'fd00:3::11'], [4000, 4001], new Uint8Array(size));
      await sendFramesOnce(dc.lab, 'a1', [frame]);
      await ear.reaches(size > MTU - 48 ? 1 : 0, 3000);
      const errors = await (await ear.stop()).frames();
      assert.equal(errors.length, size > MTU - 48 ? 1 : 0, `${size} bytes of UDP`);
      // RFC 4443 §3.2: the MTU, then as much of the packet as fits into 1,280 bytes.
      for (const { bytes } of errors) {
        assert.equal(new DataView(bytes.buffer, bytes.byteOffset).getUint32(14 + 44), MTU);
        const quoted = bytes.subarray(14 + 48, 14 + 1280);
        assert.ok(quoted.length >= 500, `${quoted.length} bytes are quoted`);
        assert.deepEqual(Buffer.from(quoted.subarray(8)), Buffer.from(frame.subarray(14 + 8, 14 + quoted.length)));
      }
    }
  });
});
