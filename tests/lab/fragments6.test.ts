// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { applyEverywhere, type Datacentre, eventually, pings, sleep, startDatacentre } from './datacentre.ts';
import { datagramOf } from './datagram-end.ts';
import { type Datagram, type DatagramEnd, openDatagrams } from './datagrams.ts';
import { fragments6, udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** UDP over IPv6 in three fragments, which arrive in every order, at sockets that take it for whole only when it is. */
const PORT = 7005;
/** Of clients of virtual addresses: a connection to a member itself, from the port that its answers go to, would be in their way. */
const CLIENT_PORTS = [7010, 7012, 7014, 7016];
/** Ever others, from here on. */
const BEGINNING = 9000;
/** What filters refuse. */
const SHUT = 7006;
const BYTES = 3000;
const FLOATING = '2001:db8:f::11';
const SNAT = '2001:db8:f::2';
const VIP_INSIDE = 'fd00:9::9';
const VIP_OUTSIDE = '2001:db8:f::80';
const ORDERS = [
  [0, 1, 2],
  [2, 1, 0],
  [1, 0, 2],
  [2, 0, 1],
] as const;
const WORKLOADS = { a1: 'east', a2: 'east', a3: 'west', b1: 'east', b2: 'west', b3: 'west' } as const;
const provider = (kind: string, name: string, more: object = {}) => ({ kind, tenant: 'provider', name, ...more });
const GATEWAYS: Readonly<Record<string, string>> = { o: 'out', w: 'up' };
const addressOf = (name: string): string =>
  name === 'w1'
    ? '2001:db8:9::1'
    : name.startsWith('o')
      ? `2001:db8:f::10${name[1]}`
      : `fd00:${name.startsWith('a') ? 1 : 2}::1${name[1]}`;

describe('fragments over IPv6', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const ends = new Map<string, DatagramEnd>();
  const macs = new Map<string, string>();
  let id = 0;
  let begun = 0;

  before(async () => {
    const listeners = [{ protocol: 'udp', port: 53, memberPort: PORT }];
    const members = [{ port: 'b2' }, { port: 'b3' }];
    dc = await startDatacentre({
      prefix: 'fr6',
      hosts: ['east', 'west'],
      objects: [
        ...networks({ routes: [{ to: '::/0', via: '2001:db8:f::fe' }], snat: [{ from: 'fd00::/16', to: SNAT }] }),
        acme('securityGroup', 'some', {
          ingress: [{ protocol: 'udp', ports: PORT, cidr: '::/0' }, { protocol: 'icmpv6' }],
        }),
        acme('chain', 'shut', { policy: 'accept' }),
        acme('rule', 'shut', {
          chain: 'shut',
          position: 10,
          match: { protocol: 'udp', dstPorts: SHUT },
          action: 'drop',
        }),
        ...['a1', 'a2', 'a3', 'b3'].map((name) => member(name)),
        member('b1', { groups: ['some'] }),
        member('b2', { toChain: 'shut' }),
        acme('floatingAddress', 'f6', { address: FLOATING, router: 'r', port: 'a1' }),
        acme('loadBalancer', 'inside', { address: VIP_INSIDE, router: 'r', listeners, members }),
        acme('loadBalancer', 'outside', { address: VIP_OUTSIDE, router: 'r', listeners, members }),
        outsider('o1', 1),
        outsider('o2', 2),
        provider('switch', 'up'),
        provider('port', 'w1', { switch: 'up', portSecurity: false, addresses: [] }),
        provider('router', 'core'),
        provider('routerPort', 'up', { router: 'core', switch: 'up', addresses: ['2001:db8:9::2/64'] }),
        provider('routerPort', 'public', { router: 'core', switch: 'public', addresses: ['2001:db8:f::fe/64'] }),
      ],
      workloads: [
        ...Object.entries(WORKLOADS).map(([name, host]) => workload(name, host)),
        outsideWorkload('o1', 1, 'east'),
        outsideWorkload('o2', 2, 'west'),
        { name: 'w1', host: 'east', port: 'provider/w1', addresses: ['2001:db8:9::1/64'], gateways: ['2001:db8:9::2'] },
      ],
    });
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    for (const { name, mac } of items) macs.set(`router ${name}`, mac);
    for (const [name, { mac }] of dc.ports) macs.set(name, mac);
    await Promise.all(
      [...dc.ports.keys()].map(async (name) => ends.set(name, await openDatagrams(dc.lab, name, PORT))),
    );
    for (const name of ['a1', 'a3', 'b1', 'o1', 'o2', 'w1'])
      for (const port of CLIENT_PORTS) ends.set(`${name}:${port}`, await openDatagrams(dc.lab, name, port));
    ends.set('shut', await openDatagrams(dc.lab, 'b2', SHUT));
    ends.set('shut by a group', await openDatagrams(dc.lab, 'b1', SHUT));
    for (const [from, to] of [
      ['o1', FLOATING],
      ['o2', FLOATING],
      ['a1', addressOf('b2')],
      ['a3', addressOf('o1')],
      ['w1', VIP_OUTSIDE],
    ] as const)
      await eventually(`${from} reaches ${to}`, 10_000, () => pings(dc.lab, from, to));
  });
  after(() => dc?.down());

  /** The MAC that `from` has for what it sends to an address of somebody else's. */
  function nextHop(from: string, to: string): string {
    const near = [...dc.ports.keys()].find((name) => name[0] === from[0] && addressOf(name) === to);
    return macs.get(near ?? `router ${GATEWAYS[from[0]!] ?? from[0]}`)!;
  }

  /** Sends a datagram in fragments that arrive in this order. */
  async function sendBy(
    from: string,
    order: readonly number[],
    [to, port]: readonly [string, number],
    sourcePort = PORT,
    bytes?: number,
  ): Promise<void> {
    const frame = udp(
      { src: macs.get(from)!, dst: nextHop(from, to) },
      [addressOf(from), to],
      [sourcePort, port],
      datagramOf(BYTES),
    );
    const parts = fragments6(frame, ++id, bytes);
    await sendFramesOnce(
      dc.lab,
      from,
      order.map((n) => parts[n]!),
    );
  }

  const hears = async (name: string, wanted = 1, waitMs?: number): Promise<readonly Datagram[]> =>
    ends.get(name)!.heard(wanted, waitMs);
  const whole = (address: string, port = PORT): Datagram => ({ ...{ bytes: BYTES, address, port }, state: 'whole' });

  /** What members of the virtual addresses have got, once one has; a copy for another would come at once. */
  async function members(): Promise<(Datagram & { readonly name: string })[]> {
    const all = async (): Promise<(Datagram & { readonly name: string })[]> =>
      (
        await Promise.all(['b2', 'b3'].map(async (name) => (await hears(name, 0)).map((each) => ({ ...each, name }))))
      ).flat();
    const first = await eventually('a member', 5000, async () => {
      const got = await all();
      return got.length > 0 && got;
    });
    await sleep(60);
    return [...first, ...(await all())];
  }

  for (const order of ORDERS) {
    const how = `as ${order.join(', ')}`;

    test(`${how}: within a switch, through a router, and by filters that let them pass`, async () => {
      for (const [from, to] of [
        ['a1', 'a2'],
        ['a1', 'a3'],
        ['a1', 'b1'],
        ['a3', 'b1'],
        ['a1', 'b2'],
        ['a3', 'b2'],
        ['b2', 'b1'],
      ] as const) {
        await sendBy(from, order, [addressOf(to), PORT]);
        assert.deepEqual(await hears(to), [whole(addressOf(from))], `${from} to ${to}`);
      }
    });

    test(`${how}: not by filters that refuse their port`, async () => {
      for (const [from, to, end] of [
        ['a1', 'b2', 'shut'],
        ['a3', 'b2', 'shut'],
        ['a1', 'b1', 'shut by a group'],
        ['a3', 'b1', 'shut by a group'],
      ] as const) {
        await sendBy(from, order, [addressOf(to), SHUT]);
        assert.deepEqual(await hears(end, 1, 400), [], `${from} to ${to}`);
      }
    });

    test(`${how}: to a floating address, and back from it`, async () => {
      for (const from of ['o1', 'o2']) {
        await sendBy(from, order, [FLOATING, PORT]);
        assert.deepEqual(await hears('a1'), [whole(addressOf(from))], `${from} asks`);
        await sendBy('a1', order, [addressOf(from), PORT]);
        assert.deepEqual(await hears(from), [whole(FLOATING)], `${from} is answered`);
      }
    });

    test(`${how}: translated to a shared address, and answers to that`, async () => {
      for (const from of ['a2', 'a3', 'b1'])
        for (const to of ['o1', 'o2']) {
          await sendBy(from, order, [addressOf(to), PORT]);
          const [seen] = await hears(to);
          assert.deepEqual(seen && { ...seen, port: 0 }, whole(SNAT, 0), `${from} asks ${to}`);
          await sendBy(to, order, [SNAT, seen!.port]);
          assert.deepEqual(await hears(from), [whole(addressOf(to))], `${to} answers ${from}`);
        }
    });

    for (const [where, vip, clients] of [
      ['inside', VIP_INSIDE, ['a1', 'a3', 'b1']],
      ['outside', VIP_OUTSIDE, ['o1', 'o2', 'w1']],
    ] as const)
      test(`${how}: to a virtual address ${where}, to one of its members, and back from it`, async () => {
        for (const from of clients)
          for (const port of CLIENT_PORTS) {
            const client = ends.get(`${from}:${port}`)!;
            client.send(vip, 53, 200);
            const [member] = await members();
            ends.get(member!.name)!.send(member!.address, member!.port, 200);
            assert.equal((await client.heard(1)).length, 1, `${from} is answered`);
            await sendBy(from, order, [vip, 53], port);
            const { name, ...got } = member!;
            assert.deepEqual(await members(), [{ ...got, name, bytes: BYTES }], `${from}:${port}`);
            await sendBy(name, order, [got.address, got.port]);
            assert.deepEqual(await client.heard(1), [whole(vip, 53)], `${name} answers ${from}`);
          }
      });

    test(`${how}: a connection to a virtual address may begin with them`, async () => {
      for (const [from, vip] of [
        ['a2', VIP_INSIDE],
        ['w1', VIP_OUTSIDE],
      ] as const)
        for (const port of Array.from({ length: 6 }, () => BEGINNING + 2 * begun++)) {
          await sendBy(from, order, [vip, 53], port);
          const got = await members();
          assert.deepEqual([got.length, got[0]?.bytes, got[0]?.state], [1, BYTES, 'whole'], `${from}:${port}`);
        }
    });
  }

  test('in more and smaller parts than a path over IPv6 can ask for', async () => {
    const order = [4, 0, 3, 1, 5, 2];
    for (const [from, to, end, seen] of [
      ['a3', addressOf('b1'), 'b1', addressOf('a3')],
      ['o2', FLOATING, 'a1', addressOf('o2')],
      ['a2', addressOf('o2'), 'o2', SNAT],
    ] as const) {
      await sendBy(from, order, [to, PORT], PORT, 512);
      const [got] = await hears(end);
      assert.deepEqual([got?.bytes, got?.state, got?.address], [BYTES, 'whole', seen], `${from} to ${to}`);
    }
  });

  test('a rule of a chain that asks for a protocol fits the first alone: a second one lets the others in', async () => {
    const rule = (name: string, position: number, match: object) =>
      acme('rule', name, { chain: 'udp', position, match, action: 'accept' });
    await applyEverywhere(dc, [
      acme('chain', 'udp', { policy: 'drop' }),
      rule('udp', 10, { protocol: 'udp' }),
      rule('icmpv6', 20, { protocol: 'icmpv6' }),
      member('b3', { toChain: 'udp' }),
    ]);
    ends.get('a1')!.send(addressOf('b3'), PORT, 300);
    assert.equal((await hears('b3')).length, 1, 'whole');
    await sendBy('a1', ORDERS[0], [addressOf('b3'), PORT]);
    assert.deepEqual(await hears('b3', 1, 400), []);
    await applyEverywhere(dc, [rule('others', 30, { etherType: 'ipv6', fragment: 'later' })]);
    for (const order of ORDERS) {
      await sendBy('a1', order, [addressOf('b3'), PORT]);
      assert.deepEqual(await hears('b3'), [whole(addressOf('a1'))]);
    }
    await applyEverywhere(dc, [member('b3')]);
  });

  test('what the kernels of workloads cut themselves comes and goes by all of these ways', async () => {
    for (const [from, to, port, seen] of [
      ['a1', addressOf('b1'), PORT, 'b1'],
      ['o1', FLOATING, PORT, 'a1'],
      ['a1', addressOf('o2'), PORT, 'o2'],
      ['a3', addressOf('o1'), PORT, 'o1'],
    ] as const) {
      ends.get(from)!.send(to, port, BYTES);
      const [got] = await hears(seen);
      assert.deepEqual([got?.bytes, got?.state], [BYTES, 'whole'], `${from} to ${to}`);
      ends.get(seen)!.send(got!.address, got!.port, BYTES);
      assert.deepEqual(await hears(from), [whole(to, port)], `${seen} answers ${from}`);
    }
  });
});
