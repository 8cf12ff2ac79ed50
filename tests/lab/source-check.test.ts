// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { applyEverywhere, type Datacentre, eventually, pings, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { undropped } from './lossless.ts';

/**
 * Whose packets come in by a wire, where sources are checked against routes (docs/design/gateways.md, §8), over IPv4 and IPv6:
 *
 *   w1, w2 (gw) ── up-1, up-2 ── core ── c ── c1 (east)
 */
const isp = (kind: string, name: string, more: object = {}): Record<string, unknown> => ({
  ...{ kind, tenant: 'isp', name },
  ...more,
});
const SOURCES = {
  'on link': ['192.0.2.5', '2001:db8:1::5'],
  'routed by this wire': ['198.51.100.1', '2001:db8:100::1'],
  'routed by the other wire': ['198.51.101.1', '2001:db8:101::1'],
  blackholed: ['198.51.102.1', '2001:db8:102::1'],
  rejected: ['198.51.103.1', '2001:db8:103::1'],
  'of no route': ['198.51.104.1', '2001:db8:104::1'],
  'a workload of ours': ['10.0.9.11', 'fd00:9::11'],
  'a router port of ours': ['10.0.9.1', 'fd00:9::1'],
  'of this host': ['127.0.0.1', '::1'],
  'of a group': ['224.0.0.5', 'ff0e::5'],
} as const;
type Source = keyof typeof SOURCES;
const HERE: readonly Source[] = ['on link', 'routed by this wire'];
const ROUTED: readonly Source[] = [...HERE, 'routed by the other wire'];
/** A network that is written to lead nowhere is one of ours. */
const NOT_OURS: readonly Source[] = [...ROUTED, 'of no route'];
const ANY: readonly Source[] = [...ROUTED, 'blackholed', 'rejected', 'of no route'];
const TARGETS = ['10.0.9.11', 'fd00:9::11'] as const;
const [W1, W2] = [
  ['192.0.2.5', '2001:db8:1::5'],
  ['192.0.2.9', '2001:db8:2::5'],
] as const;
const EACH = 5;

const core = (...more: object[]): Record<string, unknown> => {
  const ways = ([v4, v6]: readonly [string, string], action: object | undefined, via: readonly string[] = []) =>
    [v4, v6].map((to, i) => ({ to, ...(action ?? { via: via[i] }) }));
  return isp('router', 'core', {
    routes: [
      ...ways(['198.51.100.0/24', '2001:db8:100::/64'], undefined, W1),
      ...ways(['198.51.101.0/24', '2001:db8:101::/64'], undefined, W2),
      ...ways(['198.51.102.0/24', '2001:db8:102::/64'], { action: 'blackhole' }),
      ...ways(['198.51.103.0/24', '2001:db8:103::/64'], { action: 'reject' }),
      ...more,
    ],
  });
};
const uplink = (n: 1 | 2, more: object = {}): Record<string, unknown> =>
  isp('routerPort', `up-${n}`, {
    ...{ router: 'core', switch: `up-${n}`, addresses: [`192.0.2.${4 * n + 2}/30`, `2001:db8:${n}::6/64`] },
    ...more,
  });

describe('a check of sources at a wire', { skip: needsRoot }, () => {
  let dc: Datacentre;
  let gateway: string;
  const apply = (...objects: object[]): Promise<void> => applyEverywhere(dc, objects);

  before(async () => {
    dc = await startDatacentre({
      prefix: 'src',
      hosts: ['gw', 'east'],
      objects: [
        { kind: 'tenant', name: 'isp' },
        core(),
        isp('switch', 'c', { subnets: [{ cidr: '10.0.9.0/24' }, { cidr: 'fd00:9::/64', ipv6Mode: 'stateful' }] }),
        isp('routerPort', 'c', { router: 'core', switch: 'c', addresses: ['10.0.9.1/24', 'fd00:9::1/64'] }),
        isp('port', 'c1', { switch: 'c', addresses: [...TARGETS] }),
        ...([1, 2] as const).flatMap((n) => [
          isp('switch', `up-${n}`),
          isp('port', `w${n}`, { switch: `up-${n}`, portSecurity: false, addresses: [] }),
          uplink(n),
        ]),
      ],
      workloads: [
        ...[W1, W2].map(([v4, v6], i) => ({
          ...{ name: `w${i + 1}`, host: 'gw', port: `isp/w${i + 1}`, addresses: [`${v4}/30`, `${v6}/64`] },
          gateways: [`192.0.2.${4 * i + 6}`, `2001:db8:${i + 1}::6`],
        })),
        {
          ...{ name: 'c1', host: 'east', port: 'isp/c1', addresses: ['10.0.9.11/24', 'fd00:9::11/64'] },
          gateways: ['10.0.9.1', 'fd00:9::1'],
        },
      ],
    });
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    gateway = items.find(({ name }) => name === 'up-1')!.mac;
    for (const from of ['w1', 'w2'])
      for (const to of TARGETS) await eventually(from, 10_000, () => pings(dc.lab, from, to));
  });
  after(() => dc?.down());

  /** Of which sources, sent in by the first wire, the workload gets all packets; of the others it gets none. */
  async function letIn(wanted: number): Promise<Source[]> {
    const ends = { src: dc.ports.get('w1')!.mac, dst: gateway };
    const frames = Object.values(SOURCES).flatMap((addresses, n) =>
      addresses.flatMap((source, i) =>
        Array.from({ length: EACH }, () => udp(ends, [source, TARGETS[i]!], [4000, 9000 + n])),
      ),
    );
    const counts = await undropped(dc.lab, async () => {
      const ear = await startCapture(dc.lab, 'c1', 'eth0', { filter: 'udp src port 4000' });
      await sendFramesOnce(dc.lab, 'w1', frames);
      await ear.reaches(wanted * 2 * EACH);
      const heard = await ear.stop();
      const of: number[] = [];
      for (const [n] of Object.keys(SOURCES).entries()) of.push(await heard.count(`udp dst port ${9000 + n}`));
      return of;
    });
    for (const [n, source] of Object.keys(SOURCES).entries())
      assert.ok([0, 2 * EACH].includes(counts[n]!), `${source}: ${counts[n]} of ${2 * EACH}`);
    return (Object.keys(SOURCES) as Source[]).filter((_, n) => counts[n]! > 0);
  }
  const dropped = async (): Promise<number> => {
    const { items } = await dc.weft.client.get<{ items: { reason: string; packets: number }[] }>('/v1/flows/drops');
    return items.filter(({ reason }) => reason === 'source-check').reduce((sum, { packets }) => sum + packets, 0);
  };

  for (const [sourceCheck, expected] of [
    ['own', NOT_OURS],
    ['loose', ROUTED],
    ['strict', HERE],
  ] as const)
    test(`${sourceCheck}: ${expected.join(', ')}`, async () => {
      const before = await dropped();
      await apply(uplink(1, { sourceCheck }), uplink(2, { sourceCheck }));
      assert.deepEqual(await letIn(expected.length), expected);
      const refused = (Object.keys(SOURCES).length - expected.length) * 2 * EACH;
      await eventually('drops are told', 20_000, async () => (await dropped()) - before >= refused);
      for (const to of TARGETS) assert.ok(await pings(dc.lab, 'w1', to), 'the neighbour on the wire');
      for (const to of TARGETS) assert.ok(await pings(dc.lab, 'w2', to), 'that on the other wire');
    });

  test('loose: a default route lets in all but ours and nobody’s, and what is routed to nowhere stays out', async () => {
    const everywhere = [
      { to: '0.0.0.0/0', via: W2[0] },
      { to: '::/0', via: W2[1] },
    ];
    await apply(uplink(1, { sourceCheck: 'loose' }), core(...everywhere));
    assert.deepEqual(await letIn(NOT_OURS.length), NOT_OURS);
    await apply(uplink(1, { sourceCheck: 'strict' }));
    assert.deepEqual(await letIn(HERE.length), HERE, 'strict: it leads back by the other wire');
    await apply(core(), uplink(1, { sourceCheck: 'loose' }));
    assert.deepEqual(await letIn(ROUTED.length), ROUTED);
  });

  test('off: all of them come in', async () => {
    await apply(uplink(1, { sourceCheck: 'off' }));
    const all = await letIn(ANY.length);
    for (const source of ANY) assert.ok(all.includes(source), source);
  });
});
