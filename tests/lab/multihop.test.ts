// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { findPort, plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import type { BgpRoute } from '../../src/server/bgp.ts';
import { eventually, isSilent, pings } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';
import type { ShownPeer } from './two-gateways.ts';

/**
 * A session with a router a hop behind the upstream one, which forwards and speaks no BGP (eBGP multihop, with BFD over two hops too):
 *
 *     client on east ── inside ── core ── up (192.0.2.0/30) ── near ── internet ── far (64602) 10.9.9.9, 203.0.113.1
 *                                  └───────────────── session ───────────────────────┘
 */
const name = labName('hop');
const CORE_ASN = 64_512;
const FAR_ASN = 64_602;
const FAR = '10.9.9.9';
const TARGET = '203.0.113.1';
const NEAR = '192.0.2.1';
const HERE = '192.0.2.2';
const acme = (kind: string, named: string, more: object = {}): Record<string, unknown> => ({
  ...{ kind, tenant: 'acme', name: named },
  ...more,
});
const far = acme('bgpPeer', 'far', {
  ...{ router: 'core', routerPort: 'core/up', address: FAR, asn: FAR_ASN, multihop: 2 },
  ...{ bfd: true, bfdIntervalMs: 300 },
});
const objects = [
  { kind: 'tenant', name: 'acme' },
  acme('switch', 'inside', { subnets: [{ cidr: '10.0.1.0/24', gateway: '10.0.1.1' }] }),
  acme('port', 'client', { switch: 'inside', addresses: ['10.0.1.11'] }),
  acme('router', 'core', {
    bgp: { asn: CORE_ASN, advertise: ['connected'] },
    routes: [{ to: '10.9.9.0/24', via: NEAR }],
  }),
  acme('routerPort', 'inside', { router: 'core', switch: 'inside', addresses: ['10.0.1.1/24'] }),
  acme('switch', 'up'),
  acme('port', 'wire', { switch: 'up', portSecurity: false }),
  acme('routerPort', 'up', { router: 'core', switch: 'up', addresses: [`${HERE}/30`] }),
  acme('switch', 'second'),
  acme('port', 'second-wire', { switch: 'second', portSecurity: false }),
  acme('routerPort', 'second', { router: 'core', switch: 'second', addresses: ['192.0.2.18/30'] }),
];

describe('a peer a hop further', { skip: needsRoot }, () => {
  let lab: Lab;
  let weft: WeftInLab;

  before(async () => {
    lab = await Lab.start({
      name,
      hosts: ['gw', 'east'].map((host) => ({ name: host })),
      workloads: [{ name: 'client', host: 'east', addresses: ['10.0.1.11/24'], gateways: ['10.0.1.1'] }],
      internet: { subnets: ['198.51.100.0/24'], peering: false },
      routers: [
        {
          ...{ name: 'near', asn: 64_601, networks: [] },
          links: [
            { host: 'gw', name: 'gw', addresses: [`${NEAR}/30`], peers: [] },
            { host: 'gw', name: 'second', addresses: ['192.0.2.17/30'], peers: [] },
          ],
          routes: [
            { to: `${FAR}/32`, via: '198.51.100.2' },
            { to: `${TARGET}/32`, via: '198.51.100.2' },
            { to: '10.0.1.0/24', via: HERE },
          ],
        },
        {
          ...{ name: 'far', asn: FAR_ASN, networks: [], loopbacks: [`${FAR}/32`, `${TARGET}/32`] },
          routes: [{ to: '192.0.2.0/30', via: '198.51.100.1' }],
          // The lab's peers are on links.
          config: [
            `router bgp ${FAR_ASN}`,
            ' bgp disable-ebgp-connected-route-check',
            ` neighbor ${HERE} remote-as ${CORE_ASN}`,
            ` neighbor ${HERE} ebgp-multihop 2`,
            ` neighbor ${HERE} update-source ${FAR}`,
            ` neighbor ${HERE} timers connect 1`,
            ` neighbor ${HERE} graceful-restart-disable`,
            ` neighbor ${HERE} bfd`,
            ' address-family ipv4 unicast',
            `  neighbor ${HERE} activate`,
            ' exit-address-family',
            'exit',
          ],
        },
      ],
    });
    weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects: [...objects, far] });
    const ids = [(await plugIntoPort(lab, weft.client, 'client', 'acme/client')).id];
    for (const [wire, link] of [
      ['wire', 'gw'],
      ['second-wire', 'second'],
    ] as const) {
      const { id } = await findPort(weft.client, `acme/${wire}`);
      await lab.upstream('near').plug(link, id);
      ids.push(id);
    }
    await waitForPorts(weft.client, ids);
  });
  after(async () => {
    weft?.client.close();
    await removeLab(name);
  });

  const routesOf = async (to = `${TARGET}/32`): Promise<readonly BgpRoute[]> =>
    (
      await weft.client.get<{ items: readonly BgpRoute[] }>('/v1/bgp/routes', {
        query: { router: 'acme/core', to },
      })
    ).items;
  const peer = async (named = 'far'): Promise<ShownPeer | undefined> => {
    const { routers } = await weft.client.get<{ routers: { peers: ShownPeer[] }[] }>('/v1/bgp');
    return routers[0]!.peers.find((each) => each.name === named);
  };
  const isUsed = async (): Promise<void> => {
    await eventually('the session', 30_000, async () => (await peer())?.state === 'established');
    await eventually('its routes', 15_000, async () => (await routesOf()).length === 1);
    await eventually('an answer', 15_000, () => pings(lab, 'client', TARGET));
  };

  test('has its session, and what it tells is used by the router in between', async () => {
    await isUsed();
    const [route] = await routesOf();
    assert.deepEqual([route?.unused, route?.via.map(({ address }) => address)], [undefined, [NEAR]]);
    const told = await weft.client.post<object>('/v1/trace', { port: 'acme/client', to: TARGET, protocol: 'icmp' });
    assert.match(JSON.stringify(told), /learned route 203\.0\.113\.1\/32 via 192\.0\.2\.1/);
    const { stdout } = await lab.exec('far', ['ip', 'route', 'show', '10.0.1.0/24']);
    assert.match(stdout, /198\.51\.100\.1/, 'the way back, too');
  });

  test('has BFD over both hops', async () => {
    await eventually('BFD', 20_000, async () => {
      const peers = await lab
        .upstream('far')
        .daemons.show<{ peer: string; status: string; multihop: boolean }[]>('bfd peers');
      return peers.some(({ peer, status, multihop }) => peer === HERE && status === 'up' && multihop);
    });
  });

  test('is gone with its session, and comes back with it', async () => {
    await lab.upstream('far').shutSession(HERE);
    await eventually('no way', 10_000, () => isSilent(lab, 'client', TARGET));
    await eventually('no routes', 10_000, async () => (await routesOf()).length === 0);
    await lab.upstream('far').openSession(HERE);
    await isUsed();
  });

  test('has no second session by another wire of the same gateway: that one says why, and the first goes on', async () => {
    const routes = [NEAR, '192.0.2.17'].map((via) => ({ to: '10.9.9.0/24', via }));
    await weft.client.post('/v1/apply', {
      objects: [
        acme('router', 'core', { bgp: { asn: CORE_ASN, advertise: ['connected'] }, routes }),
        { ...far, name: 'twin', routerPort: 'core/second' },
      ],
    });
    const problem = /a session with 10\.9\.9\.9 already, far by router port up/;
    await eventually('a problem', 15_000, async () => problem.test((await peer('twin'))?.sessions[0]?.problem ?? ''));
    const { problems } = await weft.client.get<{ problems: readonly { text: string }[] }>('/v1/status');
    assert.match(
      problems.map(({ text }) => text).join('\n'),
      /bgpPeer acme\/core\/twin: idle for .* one session at a gateway/,
    );
    // What is configured from now on is still done.
    const bgp = { asn: CORE_ASN, advertise: ['connected'], networks: ['203.0.113.128/25'] };
    await weft.client.post('/v1/apply', { objects: [acme('router', 'core', { bgp, routes })] });
    await eventually('the new network', 15_000, async () =>
      (await lab.exec('far', ['ip', 'route', 'show', '203.0.113.128/25'])).stdout.includes('198.51.100.1'),
    );
    await weft.client.request('DELETE', '/v1/bgp-peers/acme%2Fcore%2Ftwin');
    await isUsed();
  });

  test('takes another way when the static route does', async () => {
    const core = (via: string): object =>
      acme('router', 'core', { bgp: { asn: CORE_ASN, advertise: ['connected'] }, routes: [{ to: `${FAR}/32`, via }] });
    // Two addresses of one router outside: the session has to be reached by the other.
    await lab.execOk('near', ['ip', 'addr', 'add', '192.0.2.9/29', 'dev', 'to-gw']);
    await weft.client.post('/v1/apply', {
      objects: [
        acme('routerPort', 'up', { router: 'core', switch: 'up', addresses: [`${HERE}/30`, '192.0.2.10/29'] }),
        core('192.0.2.9'),
      ],
    });
    await eventually('its routes by the other', 30_000, async () =>
      (await routesOf()).some(({ via }) => via[0]?.address === '192.0.2.9'),
    );
    await eventually('an answer', 15_000, () => pings(lab, 'client', TARGET));
  });
});
