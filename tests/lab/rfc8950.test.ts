// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { findPort, plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import { eventually, pings } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';
import { ask, serve, tally } from './services.ts';

/**
 * Uplinks without IPv4: the session is IPv6, and carries IPv4 routes with IPv6 next hops (RFC 8950), in both directions; and IPv6 ones, by which a
 * visitor outside reaches a shop's floating and virtual addresses:
 *
 *     client on north ───── inside ── core ─┬─ up1 (fd00:1::/64) ── one ── up-1 (64601) ─┬─ 203.0.113.1 … 8
 *     web-1 on north ─┬─ web ── edge ───┘   └─ up2 (fd00:2::/64) ── two ── up-2 (64602) ─┴─ internet ── visitor
 *     web-2 on two ───┘
 */
const name = labName('nh6');
const SITES = [
  { n: 1, router: 'up-1', gateway: 'one' },
  { n: 2, router: 'up-2', gateway: 'two' },
] as const;
const CORE_ASN = 64_512;
const TARGETS = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `203.0.113.${n}`);
const FLOATING = '2001:db8:203::11';
const VIP = '2001:db8:203::80';
const VISITOR = '2001:db8:ffff::200';
const acme = (kind: string, named: string, more: object = {}): Record<string, unknown> => {
  return { kind, tenant: 'acme', name: named, ...more };
};
const objects = [
  { kind: 'tenant', name: 'acme' },
  acme('switch', 'inside', { subnets: [{ cidr: '10.0.1.0/24', gateway: '10.0.1.1' }] }),
  acme('port', 'client', { switch: 'inside', addresses: ['10.0.1.11'] }),
  acme('router', 'core', {
    bgp: { asn: CORE_ASN, routerId: '10.0.1.1', advertise: ['connected', 'floating', 'vips'] },
  }),
  acme('routerPort', 'inside', { router: 'core', switch: 'inside', addresses: ['10.0.1.1/24'] }),
  // Not shared: one tenant has the router that speaks BGP and the one that translates.
  acme('switch', 'public', { subnets: [{ cidr: '2001:db8:203::/64', gateway: '2001:db8:203::1' }] }),
  acme('routerPort', 'public', { router: 'core', switch: 'public', addresses: ['2001:db8:203::1/64'] }),
  // Workloads make no addresses of their own.
  acme('switch', 'web', { subnets: [{ cidr: 'fd00:10::/64', gateway: 'fd00:10::1', ipv6Mode: 'stateful' }] }),
  acme('router', 'edge', { routes: [{ to: '::/0', via: '2001:db8:203::1' }] }),
  acme('routerPort', 'web', { router: 'edge', switch: 'web', addresses: ['fd00:10::1/64'] }),
  acme('routerPort', 'out', { router: 'edge', switch: 'public', outside: true, addresses: ['2001:db8:203::2/64'] }),
  acme('port', 'web-1', { switch: 'web', addresses: ['fd00:10::11'] }),
  acme('port', 'web-2', { switch: 'web', addresses: ['fd00:10::12'] }),
  acme('floatingAddress', 'web-1', { address: FLOATING, router: 'edge', port: 'web-1' }),
  acme('loadBalancer', 'shop', {
    ...{ address: VIP, router: 'edge', listeners: [{ protocol: 'tcp', port: 80 }] },
    members: [{ port: 'web-1' }, { port: 'web-2' }],
  }),
  ...SITES.flatMap(({ n }) => [
    acme('switch', `up${n}`),
    acme('port', `wire${n}`, { switch: `up${n}`, portSecurity: false }),
    acme('routerPort', `up${n}`, { router: 'core', switch: `up${n}`, addresses: [`fd00:${n}::2/64`] }),
    acme('bgpPeer', `up${n}`, {
      ...{ router: 'core', routerPort: `core/up${n}`, address: `fd00:${n}::1`, asn: 64_600 + n },
      // As long as tests beside this one may take the processor.
      ...{ bfd: true, bfdIntervalMs: 300 },
      families: ['ipv4', 'ipv6'],
    }),
  ]),
];

describe('uplinks without IPv4', { skip: needsRoot }, () => {
  let lab: Lab;
  let weft: WeftInLab;

  before(async () => {
    lab = await Lab.start({
      name,
      hosts: ['north', 'one', 'two'].map((host) => ({ name: host })),
      workloads: [
        { name: 'client', host: 'north', addresses: ['10.0.1.11/24'], gateways: ['10.0.1.1'] },
        { name: 'web-1', host: 'north', addresses: ['fd00:10::11/64'], gateways: ['fd00:10::1'] },
        { name: 'web-2', host: 'two', addresses: ['fd00:10::12/64'], gateways: ['fd00:10::1'] },
      ],
      outside: [{ name: 'visitor', addresses: [`${VISITOR}/64`, '198.51.100.200/24'], mtu: 1400 }],
      routers: SITES.map(({ n, router, gateway }) => ({
        ...{ name: router, asn: 64_600 + n, loopbacks: TARGETS.map((a) => `${a}/32`), networks: ['0.0.0.0/0', '::/0'] },
        links: [
          {
            ...{ host: gateway, addresses: [`fd00:${n}::1/64`] },
            peers: [{ address: `fd00:${n}::2`, asn: CORE_ASN, bfd: true }],
          },
        ],
        // The lab's peers speak their own family.
        config: [
          `router bgp ${64_600 + n}`,
          ` neighbor fd00:${n}::2 capability extended-nexthop`,
          ' address-family ipv4 unicast',
          `  neighbor fd00:${n}::2 activate`,
          ' exit-address-family',
          'exit',
        ],
      })),
    });
    weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects });
    const ids: string[] = [];
    for (const workload of ['client', 'web-1', 'web-2'])
      ids.push((await plugIntoPort(lab, weft.client, workload, `acme/${workload}`)).id);
    for (const { n, router, gateway } of SITES) {
      const { id } = await findPort(weft.client, `acme/wire${n}`);
      await lab.upstream(router).plug(gateway, id);
      ids.push(id);
    }
    await waitForPorts(weft.client, ids);
    for (const place of ['web-1', 'web-2', 'visitor']) await serve(lab, place, 'tcp', 80);
  });
  after(async () => {
    weft?.client.close();
    await removeLab(name);
  });

  const routes = (
    to: string,
  ): Promise<{ items: readonly { readonly via: readonly { address: string }[]; unused?: string }[] }> =>
    weft.client.get('/v1/bgp/routes', { query: { router: 'core', tenant: 'acme', to } });

  test('IPv4 routes with IPv6 next hops are learned, used by both gateways, and told to the upstreams', async () => {
    await eventually('both have told', 30_000, async () => (await routes('203.0.113.1/32')).items.length === 2);
    const { items } = await routes('203.0.113.1/32');
    assert.deepEqual(items.map(({ via, unused }) => [via[0]!.address, unused]).sort(), [
      ['fd00:1::1', undefined],
      ['fd00:2::1', undefined],
    ]);
    // A session begins with a packet a second, whatever its pace is (RFC 5880 §6.8.3).
    await eventually('the pace of the peer', 10_000, async () => {
      const all = await lab
        .upstream('up-1')
        .daemons.show<{ readonly peer: string; readonly 'remote-transmit-interval': number }[]>('bfd peers');
      return all.some((bfd) => bfd.peer === 'fd00:1::2' && bfd['remote-transmit-interval'] === 300);
    });
    for (const { router } of SITES)
      await eventually(`${router} knows the way in`, 20_000, async () =>
        (await lab.exec(router, ['ip', 'route', 'show', '10.0.1.0/24'])).stdout.includes('via inet6 '),
      );
    for (const target of TARGETS) await eventually(`${target} answers`, 15_000, () => pings(lab, 'client', target));
    const told = await weft.client.post<object>('/v1/trace', { port: 'acme/client', to: TARGETS[0], protocol: 'icmp' });
    assert.match(JSON.stringify(told), /via fd00:[12]::1, one of 2/);
  });

  test('errors about IPv4 come from an IPv4 address of the router', async () => {
    const { stdout } = await lab.exec('up-1', [
      'ping',
      '-c',
      '1',
      '-W',
      '2',
      '-t',
      '1',
      '-I',
      TARGETS[0]!,
      '10.0.1.11',
    ]);
    assert.match(stdout, /From 10\.0\.1\.1 .*Time to live exceeded/);
  });

  test('one gateway falls silent: the other carries all', async () => {
    await lab.silenceLink('up-1', 'one');
    await eventually('its routes are gone', 10_000, async () => (await routes('203.0.113.1/32')).items.length === 1);
    for (const target of TARGETS) await eventually(`${target} by the other`, 3_000, () => pings(lab, 'client', target));
    await lab.restoreLink('up-1', 'one');
    await eventually('it is back', 30_000, async () => (await routes('203.0.113.1/32')).items.length === 2);
    for (const target of TARGETS) await eventually(`${target} answers`, 15_000, () => pings(lab, 'client', target));
  });

  /** In by the floating and the virtual address, and out from behind the floating one. */
  async function reached(when: string): Promise<void> {
    assert.equal((await ask(lab, 'visitor', 'tcp', FLOATING, 80)).by, 'web-1', when);
    assert.match((await ask(lab, 'visitor', 'tcp', VIP, 80)).by!, /^web-[12]$/, when);
    assert.equal((await ask(lab, 'web-1', 'tcp', VISITOR, 80)).seen, FLOATING, when);
  }

  test('IPv6 addresses are advertised, and reached by either gateway', async () => {
    for (const { router, gateway } of SITES)
      for (const address of [FLOATING, VIP])
        await eventually(`${router} knows ${address}`, 20_000, async () =>
          (await lab.exec(router, ['ip', '-6', 'route', 'show', address])).stdout.includes(`dev to-${gateway} `),
        );
    await eventually('both tell the way out', 20_000, async () => (await routes('::/0')).items.length === 2);
    await eventually('an answer', 15_000, () => pings(lab, 'visitor', FLOATING));
    for (const via of ['up-1', 'up-2']) {
      await lab.sendVia('visitor', [via]);
      await reached(`by ${via}`);
    }
  });

  test('IPv6 goes on by the other gateway when one is dead', async () => {
    await lab.stopHost('one');
    // One answer may have gone by the other all along: eight connections are not all of one way.
    const allReach = async (from: string, address: string, who: RegExp): Promise<boolean> =>
      [...(await tally(lab, from, address, 80, 8)).keys()].every((name) => who.test(name));
    await eventually('its way out is void', 15_000, () => allReach('web-1', VISITOR, /^visitor$/));
    // Its upstream finds the way by its neighbour.
    for (const via of ['up-1', 'up-2']) {
      await lab.sendVia('visitor', [via]);
      for (const address of [FLOATING, VIP])
        await eventually(`${address} by ${via}`, 10_000, () => allReach('visitor', address, /^web-[12]$/));
      await reached(`by ${via}, without a gateway`);
    }
  });
});
