// Measures: runs in pairs, first, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { listNamespaces } from '../../src/base/namespaces.ts';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { findPort, plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import { eventually, pings, sleep } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';
import { awayMs, noneLost, pinged } from './pinged.ts';

/**
 * Two uplinks without BGP, whose next hops are probed, the one by ARP and neighbour discovery, the other by pings (docs/design/gateways.md, §7):
 *
 *     client on north, near on one ── inside ── core ─┬─ up1 ── one ── up-1 ─┐
 *                                                     └─ up2 ── two ── up-2 ─┴─ 203.0.113.1 … 8, 2001:db8:5::1 … 8
 */
const name = labName('stu');
const SITES = [
  { n: 1, router: 'up-1', gateway: 'one', probe: {} },
  { n: 2, router: 'up-2', gateway: 'two', probe: { type: 'ping' } },
] as const;
const NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8];
const FOUR = NUMBERS.map((n) => `203.0.113.${n}`);
const SIX = NUMBERS.map((n) => `2001:db8:5::${n}`);

const acme = (kind: string, named: string, more: object = {}): Record<string, unknown> => {
  return { kind, tenant: 'acme', name: named, ...more };
};

const core = acme('router', 'core', {
  routes: SITES.flatMap(({ n, probe }) => [
    { to: '203.0.113.0/24', via: `192.0.${n}.1`, probe },
    { to: '2001:db8:5::/48', via: `fd00:${n}::1`, probe },
  ]),
});
const objects = [
  { kind: 'tenant', name: 'acme' },
  acme('switch', 'inside', {
    subnets: [
      { cidr: '10.0.1.0/24', gateway: '10.0.1.1' },
      { cidr: '2001:db8:1::/64', ipv6Mode: 'stateful' },
    ],
  }),
  acme('port', 'client', { switch: 'inside', addresses: ['10.0.1.11', '2001:db8:1::11'] }),
  acme('port', 'near', { switch: 'inside', addresses: ['10.0.1.12', '2001:db8:1::12'] }),
  core,
  acme('routerPort', 'inside', { router: 'core', switch: 'inside', addresses: ['10.0.1.1/24', '2001:db8:1::1/64'] }),
  ...SITES.flatMap(({ n }) => [
    acme('switch', `up${n}`),
    acme('port', `wire${n}`, { switch: `up${n}`, portSecurity: false }),
    acme('routerPort', `up${n}`, {
      router: 'core',
      switch: `up${n}`,
      addresses: [`192.0.${n}.2/30`, `fd00:${n}::2/64`],
    }),
  ]),
];

describe('static uplinks', { skip: needsRoot }, () => {
  let lab: Lab;
  let weft: WeftInLab;

  before(async () => {
    lab = await Lab.start({
      name,
      hosts: ['north', 'one', 'two'].map((host) => ({ name: host })),
      workloads: [
        {
          name: 'client',
          host: 'north',
          addresses: ['10.0.1.11/24', '2001:db8:1::11/64'],
          gateways: ['10.0.1.1', '2001:db8:1::1'],
        },
        {
          name: 'near',
          host: 'one',
          addresses: ['10.0.1.12/24', '2001:db8:1::12/64'],
          gateways: ['10.0.1.1', '2001:db8:1::1'],
        },
      ],
      internet: { peering: false },
      routers: SITES.map(({ n, router, gateway }) => ({
        ...{ name: router, asn: 64_600 + n, loopbacks: [...FOUR.map((a) => `${a}/32`), ...SIX.map((a) => `${a}/128`)] },
        routes: [
          { to: '10.0.1.0/24', via: `192.0.${n}.2` },
          { to: '2001:db8:1::/64', via: `fd00:${n}::2` },
        ],
        links: [{ host: gateway, addresses: [`192.0.${n}.1/30`, `fd00:${n}::1/64`] }],
      })),
    });
    weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects });
    const ids = [
      (await plugIntoPort(lab, weft.client, 'client', 'acme/client')).id,
      (await plugIntoPort(lab, weft.client, 'near', 'acme/near')).id,
    ];
    for (const { n, router, gateway } of SITES) {
      const { id } = await findPort(weft.client, `acme/wire${n}`);
      await lab.upstream(router).plug(gateway, id);
      ids.push(id);
    }
    await waitForPorts(weft.client, ids);
    await eventually('all next hops answer', 15_000, async () =>
      (await states()).every((state) => state === 'answers'),
    );
    for (const target of [...FOUR, ...SIX])
      await eventually(`${target} answers`, 10_000, () => pings(lab, 'client', target));
  });
  after(async () => {
    weft?.client.close();
    await removeLab(name);
  });

  const hops = async (): Promise<readonly { readonly address: string; readonly state: string }[]> =>
    (
      await weft.client.get<{ status: { nextHops: readonly { readonly address: string; readonly state: string }[] } }>(
        '/v1/routers/acme%2Fcore',
      )
    ).status.nextHops;
  const states = async (): Promise<string[]> => (await hops()).map(({ state }) => state);
  const silentOf = async (): Promise<string[]> =>
    (await hops()).flatMap(({ address, state }) => (state === 'silent' ? [address] : [])).sort();
  const problems = async (): Promise<string[]> =>
    (await weft.client.get<{ problems: readonly { readonly text: string }[] }>('/v1/status')).problems.map(
      ({ text }) => text,
    );

  /** A router outside falls silent: some of the targets of each family went by it, and do so no more. */
  async function leavesWithinASecond(t: TestContext, router: string, gateway: string): Promise<void> {
    const down = await pinged(lab, 'client', [...FOUR, ...SIX], async () => {
      await lab.silenceLink(router, gateway);
      await eventually('its silence is told', 10_000, async () => (await silentOf()).length === 2);
    });
    for (const gaps of [down.gapsMs.slice(0, FOUR.length), down.gapsMs.slice(FOUR.length)]) {
      t.diagnostic(`longest silences: ${gaps.join(', ')} ms`);
      assert.ok(awayMs(gaps) > 150, `none of them went by this next hop: ${gaps}`);
      assert.ok(awayMs(gaps) < 1_000, `${gaps}`);
    }
  }

  for (const { n, router, gateway } of SITES)
    test(`traffic leaves ${router} within a second of its silence, and comes back without a loss`, async (t) => {
      await leavesWithinASecond(t, router, gateway);
      assert.deepEqual(await silentOf(), [`192.0.${n}.1`, `fd00:${n}::1`]);
      const said = await problems();
      assert.ok(
        said.some((text) => text.startsWith(`router acme/core: next hop 192.0.${n}.1 does not answer since 20`)),
        `${said}`,
      );
      const up = await pinged(lab, 'client', [...FOUR, ...SIX], async () => {
        await lab.restoreLink(router, gateway);
        await eventually('it is back', 40_000, async () => (await silentOf()).length === 0);
      });
      noneLost(up);
    });

  test('without the server the gateway itself goes around its own silent next hop', async () => {
    await weft.server.kill({ wanted: true });
    const down = await pinged(lab, 'near', FOUR, async () => {
      await lab.silenceLink('up-1', 'one');
      await sleep(1_200); // and a second more
    });
    const gaps = down.gapsMs;
    assert.ok(awayMs(gaps) > 150 && awayMs(gaps) < 1_000, `${gaps}`);
    await weft.server.start();
    await eventually('the server knows', 20_000, async () => (await silentOf().catch(() => [])).length === 2);
    await lab.restoreLink('up-1', 'one');
    await eventually('it is back', 40_000, async () => (await silentOf()).length === 0);
  });

  test('with all of them silent none is left out; what is not probed any more is no matter', async () => {
    for (const { router, gateway } of SITES) await lab.silenceLink(router, gateway);
    await eventually('all are silent', 10_000, async () => (await silentOf()).length === 4);
    const told = await weft.client.post<object>('/v1/trace', { port: 'acme/client', to: FOUR[0], protocol: 'icmp' });
    assert.match(JSON.stringify(told), /next hop 192\.0\.1\.1 does not answer since 20/);
    await weft.client.post('/v1/apply', {
      objects: [{ ...core, routes: (core.routes as { probe?: object }[]).map(({ probe: _, ...route }) => route) }],
    });
    await eventually(
      'nobody asks',
      10_000,
      async () =>
        (await weft.client.get<{ status: { nextHops?: unknown } }>('/v1/routers/acme%2Fcore')).status.nextHops ===
        undefined,
    );
    for (const { router, gateway } of SITES) await lab.restoreLink(router, gateway);
    for (const target of FOUR) await eventually(`${target} answers`, 10_000, () => pings(lab, 'client', target));
  });

  test('BFD without BGP: FRR finds the silence, and traffic leaves within a second', async (t) => {
    const routes = core.routes as { readonly via: string; readonly probe: object }[];
    const withBfd = routes.map((route) =>
      route.via === '192.0.1.1' || route.via === 'fd00:1::1' ? { ...route, probe: { type: 'bfd' } } : route,
    );
    const { daemons } = lab.upstream('up-1');
    for (const [here, there] of [
      ['192.0.1.2', '192.0.1.1'],
      ['fd00:1::2', 'fd00:1::1'],
    ]) {
      const session = `peer ${here} local-address ${there} interface to-one`;
      await daemons.vtysh('configure terminal', 'bfd', session, 'receive-interval 100', 'transmit-interval 100');
    }
    await weft.client.post('/v1/apply', { objects: [{ ...core, routes: withBfd }] });
    const isUp = async (): Promise<boolean> =>
      (await daemons.vtysh('show bfd peers')).match(/Status: up/g)?.length === 2;
    await eventually('BFD is up', 30_000, async () => (await isUp()) && (await silentOf()).length === 0);
    await leavesWithinASecond(t, 'up-1', 'one');
    assert.deepEqual(await silentOf(), ['192.0.1.1', 'fd00:1::1']);
    await lab.restoreLink('up-1', 'one');
    await eventually('it is back', 40_000, async () => (await silentOf()).length === 0);
    await weft.client.post('/v1/apply', { objects: [core] });
    await eventually('no speaker is left', 15_000, async () =>
      listNamespaces(`weft-${name}`).every((each) => !each.includes('-bgp-')),
    );
  });
});
