import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ShownDrop } from '../../src/server/routes/flows.ts';
import { type Datacentre, eventually, pings, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { acme, member, networks, workload } from './tenancy.ts';

/**
 * What comes in by wires, where packets have 1,500 bytes, and is for workloads of another host, which tunnels lead to (docs/design/layer3.md, §6.8). The
 * switches have no `mtu`.
 *
 *     far (edge) ── up ── core ─┬─ c ── c1 (east)
 *                               └─ public ─┬─ r ── a ── a1 (east), with a floating address
 *     near (edge) ─────────────────────────┘
 */
const BYTES = 1500;
const FITS = 1450;
const HEADERS = { 4: 28, 6: 48 } as const;
const provider = (kind: string, name: string, more: object): Record<string, unknown> => ({
  ...{ kind, tenant: 'provider', name },
  ...more,
});
const wire = (name: string, on: string): Record<string, unknown> =>
  provider('port', name, { switch: on, portSecurity: false, addresses: [] });

describe('packets too large for tunnels', { skip: needsRoot }, () => {
  let dc: Datacentre;

  before(async () => {
    dc = await startDatacentre({
      prefix: 'pmtu',
      hosts: ['east', 'edge'],
      objects: [
        ...networks({
          routes: [
            { to: '0.0.0.0/0', via: '203.0.113.254' },
            { to: '::/0', via: '2001:db8:f::fe' },
          ],
          snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }],
        }),
        ...['a1', 'a2'].map((name) => member(name)),
        acme('floatingAddress', 'f1', { address: '203.0.113.11', router: 'r', port: 'a1' }),
        acme('floatingAddress', 'f6', { address: '2001:db8:f::11', router: 'r', port: 'a1' }),
        provider('switch', 'up', {}),
        provider('switch', 'c', { subnets: [{ cidr: '10.0.9.0/24' }, { cidr: 'fd00:9::/64', ipv6Mode: 'stateful' }] }),
        provider('router', 'core', {}),
        provider('routerPort', 'up', { router: 'core', switch: 'up', addresses: ['192.0.2.2/24', '2001:db8:9::2/64'] }),
        provider('routerPort', 'c', { router: 'core', switch: 'c', addresses: ['10.0.9.1/24', 'fd00:9::1/64'] }),
        provider('routerPort', 'public', {
          ...{ router: 'core', switch: 'public', addresses: ['203.0.113.254/24', '2001:db8:f::fe/64'] },
        }),
        provider('port', 'c1', { switch: 'c', addresses: ['10.0.9.11', 'fd00:9::11'] }),
        wire('far', 'up'),
        wire('near', 'public'),
      ],
      workloads: [
        { ...workload('a1', 'east'), mtu: FITS },
        { ...workload('a2', 'east'), mtu: FITS },
        {
          ...{ name: 'c1', host: 'east', port: 'provider/c1', mtu: FITS },
          ...{ addresses: ['10.0.9.11/24', 'fd00:9::11/64'], gateways: ['10.0.9.1', 'fd00:9::1'] },
        },
        {
          ...{ name: 'far', host: 'edge', port: 'provider/far', mtu: BYTES },
          ...{ addresses: ['192.0.2.1/24', '2001:db8:9::1/64'], gateways: ['192.0.2.2', '2001:db8:9::2'] },
        },
        {
          ...{ name: 'near', host: 'edge', port: 'provider/near', mtu: BYTES },
          addresses: ['203.0.113.101/24', '2001:db8:f::101/64'],
        },
      ],
    });
    // It was advertised what fits. It is as one that does not listen.
    const conf = '/proc/sys/net/ipv6/conf/eth0';
    await dc.lab.execOk('near', ['sh', '-c', `echo 0 > ${conf}/accept_ra && echo ${BYTES} > ${conf}/mtu`]);
  });
  after(() => dc?.down());

  /** What a ping of 1,500 bytes that may not be cut hears, and what the kernel then takes the path to carry. */
  async function told(from: string, to: string): Promise<{ by?: string | undefined; mtu: number; kept: number }> {
    const size = String(BYTES - HEADERS[to.includes(':') ? 6 : 4]);
    const { stdout } = await dc.lab.exec(from, ['ping', '-c', '1', '-W', '2', '-M', 'do', '-s', size, to]);
    const [, by, mtu] = /From (\S+) icmp_seq=1 .*mtu ?= ?(\d+)/.exec(stdout) ?? [];
    const route = await dc.lab.execOk(from, ['ip', 'route', 'get', to]);
    return { by, mtu: Number(mtu), kept: Number(/ mtu (\d+)/.exec(route)?.[1]) };
  }

  /** Does a stream of so many bytes arrive? Senders find the size of the path by themselves. */
  async function streams(from: string, to: string, address: string, port: number): Promise<void> {
    const sink = dc.lab.spawn(to, ['sh', '-c', `busybox nc -l -p ${port} | wc -c`]);
    let received = '';
    sink.stdout?.on('data', (text) => {
      received += text;
    });
    const hex = port.toString(16).toUpperCase().padStart(4, '0');
    await eventually('the listener', 5000, async () =>
      (await dc.lab.execOk(to, ['cat', '/proc/net/tcp', '/proc/net/tcp6'])).includes(`:${hex} `),
    );
    await dc.lab.execOk(from, ['sh', '-c', `head -c 300000 /dev/zero | busybox nc -w 5 ${address} ${port}`]);
    await eventually('all of it', 10_000, async () => received.trim() === '300000');
  }

  const ways = [
    { what: 'routed', from: 'far', to: 'c1', ends: { '10.0.9.11': '192.0.2.2', 'fd00:9::11': '2001:db8:9::2' } },
    {
      ...{ what: 'a floating address behind a second router', from: 'far', to: 'a1' },
      ends: { '203.0.113.11': '192.0.2.2', '2001:db8:f::11': '2001:db8:9::2' },
    },
    {
      ...{ what: 'a floating address', from: 'near', to: 'a1' },
      ends: { '203.0.113.11': '203.0.113.1', '2001:db8:f::11': '2001:db8:f::1' },
    },
  ] as const;

  for (const [n, { what, from, to, ends }] of ways.entries()) {
    test(`${what}: its sender is told what fits, and sends that`, async () => {
      for (const [i, [address, by]] of Object.entries(ends).entries()) {
        // A stream, and a small packet before, so that neighbours are known.
        assert.ok(await pings(dc.lab, from, address), address);
        assert.deepEqual(await told(from, address), { by, mtu: FITS, kept: FITS }, address);
        const fits = FITS - HEADERS[address.includes(':') ? 6 : 4];
        assert.ok(await pings(dc.lab, from, address, fits, true), `${address} takes what fits`);
        await streams(from, to, address, 5000 + 2 * n + i);
      }
    });

    test(`${what}: what may be cut is cut`, async () => {
      const [address] = Object.keys(ends) as [string];
      await dc.lab.execOk(from, ['ip', 'route', 'flush', 'cache']);
      const whole = [
        'ping',
        '-c',
        '2',
        '-i',
        '0.2',
        '-W',
        '1',
        '-M',
        'dont',
        '-s',
        String(BYTES - HEADERS[4]),
        address,
      ];
      await dc.lab.execOk(from, whole);
      await dc.lab.execOk(from, whole.toSpliced(-2, 1, '4000'));
    });
  }

  test('answers to what workloads ask outside are as large as fits', async () => {
    await streams('far', 'a1', '203.0.113.11', 5020);
    await streams('a2', 'far', '192.0.2.1', 5021);
  });

  test('of thousands whose size was asked those count as too big that were', async () => {
    const dropped = await eventually('a count', 30_000, async () => {
      const { items } = await dc.weft.client.get<{ items: readonly ShownDrop[] }>('/v1/flows/drops');
      const tooBig = items.filter(({ reason }) => reason === 'too-big');
      return tooBig.length > 0 ? tooBig : undefined;
    });
    // A few for each way above; the streams alone were hundreds.
    for (const { packets, bytes } of dropped)
      assert.ok(packets < 100 && bytes > packets * FITS, `${packets}, ${bytes} B`);
  });
});
