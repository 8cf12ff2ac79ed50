// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { RoutingDaemons } from '../../src/lab/routing-daemons.ts';
import { type Datacentre, eventually, isSilent, pings, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';

/**
 * MidoNet's scenario 58: a tenant's router speaks BGP with a workload of the tenant, and no gateway is in it.
 *
 *     web (south) ── web 10.0.1.0/24 ── edge 10.9.0.1 ── peering ── router (north) 10.9.0.2, with 10.50.0.0/24 behind it
 */
const BEHIND = '10.50.0.1';
const acme = (kind: string, name: string, rest: object): Record<string, unknown> => ({
  kind,
  tenant: 'acme',
  name,
  ...rest,
});
const OBJECTS = [
  { kind: 'tenant', name: 'acme' },
  acme('switch', 'web', { subnets: [{ cidr: '10.0.1.0/24', gateway: '10.0.1.1' }] }),
  acme('switch', 'peering', {}),
  acme('router', 'edge', { bgp: { asn: 64_512, advertise: ['connected'] } }),
  acme('routerPort', 'web', { router: 'edge', switch: 'web', addresses: ['10.0.1.1/24'] }),
  acme('routerPort', 'peering', { router: 'edge', switch: 'peering', addresses: ['10.9.0.1/24'] }),
  acme('port', 'web', { switch: 'web', addresses: ['10.0.1.10'] }),
  acme('port', 'router', { switch: 'peering', portSecurity: false, addresses: [] }),
  acme('bgpPeer', 'inside', {
    router: 'edge',
    routerPort: 'edge/peering',
    address: '10.9.0.2',
    asn: 64_999,
    keepaliveS: 1,
    holdS: 3,
  }),
];
const BGPD = `
router bgp 64999
 bgp router-id 10.9.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 10.9.0.1 remote-as 64512
 neighbor 10.9.0.1 timers 1 3
 neighbor 10.9.0.1 timers connect 1
 address-family ipv4 unicast
  network 10.50.0.0/24
 exit-address-family
`;

describe("a tenant's router that speaks BGP with a workload", { skip: needsRoot }, () => {
  let site: Datacentre;
  let daemons: RoutingDaemons;

  before(async () => {
    site = await startDatacentre({
      prefix: 'bgi',
      hosts: ['north', 'south'],
      objects: OBJECTS,
      workloads: [
        { name: 'web', host: 'south', port: 'acme/web', addresses: ['10.0.1.10/24'], gateways: ['10.0.1.1'] },
        { name: 'router', host: 'north', port: 'acme/router', addresses: ['10.9.0.2/24'] },
      ],
    });
    const { lab } = site;
    await lab.execOk('router', ['ip', 'addr', 'add', `${BEHIND}/24`, 'dev', 'lo']);
    daemons = new RoutingDaemons(lab.state, 'router', lab.namespace('router'));
    await daemons.start({ bgpd: BGPD });
  });
  after(() => site?.down());

  test('learns what is behind it, and tells it the way back', async () => {
    await eventually('a way there and back', 30_000, () => pings(site.lab, 'web', BEHIND));
    const routes = await site.lab.execOk('router', ['ip', 'route']);
    assert.match(routes, /^10\.0\.1\.0\/24 .*via 10\.9\.0\.1/m);
  });

  test('forgets it when the session ends, and learns it anew', async () => {
    await daemons.daemon('bgpd').kill();
    await eventually('no way', 20_000, () => isSilent(site.lab, 'web', BEHIND));
    await daemons.daemon('bgpd').start();
    await eventually('a way again', 30_000, () => pings(site.lab, 'web', BEHIND));
  });
});
