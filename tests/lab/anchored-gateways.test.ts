import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ConnectionCrowd, startCrowd } from '../../src/lab/connection-crowd.ts';
import { findPort, waitForPorts } from '../../src/lab/weft.ts';
import type { OutsideStatus } from '../../src/server/present.ts';
import { eventually } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { CLIENT, SNAT, shop, startTwoGateways, type TwoGateways, UPLINKS } from './two-gateways.ts';
import { buildSegment } from './vlan-segment.ts';

/**
 * Servers of metal in a VLAN, behind both gateways, talk to the internet (docs/design/l2-gateways.md, §4): no workload of a host is behind
 * these connections.
 *
 *     client ── internet ─┬─ up-1 ── gw-1 ─┐                        ┌─ gw-1 ─┐
 *                         └─ up-2 ── gw-2 ─┴─ core ── edge ── metal ┤        ├─ VLAN 100 ── rack
 *                                                                   └─ gw-2 ─┘
 */
const RACK = '10.0.2.100';
const FLOATING = '203.0.113.12';
const VIP = '203.0.113.81';

describe('connections between a VLAN and uplinks', { skip: needsRoot }, () => {
  let two: TwoGateways;
  const statusOf = async (): Promise<OutsideStatus> =>
    (await two.weft.client.get<{ readonly status: OutsideStatus }>('/v1/l2-gateways/shop%2Fmetal')).status;
  const activeAt = (host: string, timeoutMs = 20_000): Promise<boolean> =>
    eventually(`metal at ${host}`, timeoutMs, async () => {
      const { active, places } = await statusOf();
      return active === host && places.find((place) => place.host === host)?.state === 'up';
    });

  before(async () => {
    two = await startTwoGateways('anc', UPLINKS, ['outside']);
    const { lab, weft } = two;
    const gateways = ['gw-1', 'gw-2'] as const;
    await weft.client.post('/v1/apply', {
      objects: [
        ...gateways.map((host) => ({
          ...{ kind: 'host', name: host, zone: 'underlay', tunnelAddress: lab.host(host).address },
          gatewayInterfaces: ['eth-out'],
        })),
        shop('switch', 'metal', { subnets: [{ cidr: '10.0.2.0/24', gateway: '10.0.2.1' }] }),
        shop('routerPort', 'metal', { router: 'edge', switch: 'metal', addresses: ['10.0.2.1/24'] }),
        shop('securityGroup', 'metal', { ingress: [{ name: 'tcp', protocol: 'tcp', ports: '7100-7199' }] }),
        shop('port', 'metal-out', { switch: 'metal', portSecurity: false, addresses: [RACK], groups: ['metal'] }),
        shop('floatingAddress', 'metal', { address: FLOATING, router: 'edge', port: 'metal-out' }),
        shop('loadBalancer', 'metal', {
          ...{ address: VIP, router: 'edge', listeners: [{ protocol: 'tcp', port: 7101, memberPort: 7102 }] },
          members: [{ port: 'metal-out' }],
        }),
      ],
    });
    const port = await findPort(weft.client, 'shop/metal-out');
    await buildSegment(lab, {
      cables: gateways.map((host) => ({ host, interface: 'eth-out', port: host })),
      ends: [{ name: 'rack', vlan: 100, addresses: [`${RACK}/24`], mac: port.mac, gateway: '10.0.2.1' }],
    });
    await weft.client.post('/v1/apply', {
      objects: [
        shop('l2Gateway', 'metal', {
          ...{ port: 'metal-out', vlan: 100, probe: RACK, silenceS: 2 },
          places: gateways.map((host) => ({ host, interface: 'eth-out' })),
        }),
      ],
    });
    await waitForPorts(weft.client, [port.id]);
    await activeAt('gw-1');
    await two.established('up-1', 'up-2');
  });
  after(() => two?.down());

  test('work in every way with packets of one connection at both gateways', async () => {
    const { lab } = two;
    const crowds: Record<string, ConnectionCrowd> = {
      snat: await startCrowd(lab, { from: 'rack', to: 'client', address: CLIENT, port: 7110, connections: 50 }),
      floating: await startCrowd(lab, { from: 'client', to: 'rack', address: FLOATING, connections: 50 }),
      vip: await startCrowd(lab, {
        ...{ from: 'client', to: 'rack', address: VIP, port: 7101, serverPort: 7102, connections: 50 },
      }),
    };
    for (const [way, crowd] of Object.entries(crowds)) {
      const { established, stalled, troubles } = await crowd.stop();
      assert.deepEqual({ way, established, stalled, troubles }, { way, established: 50, stalled: 0, troubles: [] });
    }
    assert.ok(SNAT);
  });
});
