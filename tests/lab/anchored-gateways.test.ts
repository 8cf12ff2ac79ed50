// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type AgentStatus, askLocalAgent } from '../../src/cli/control.ts';
import { type ConnectionCrowd, type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import { scriptIn } from '../../src/lab/namespaces.ts';
import { findPort, waitForPorts } from '../../src/lab/weft.ts';
import type { OutsideStatus } from '../../src/server/present.ts';
import { eventually } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { CLIENT, shop, startTwoGateways, type TwoGateways, UPLINKS } from './two-gateways.ts';
import { buildSegment } from './vlan-segment.ts';

/**
 * Servers of metal in a VLAN, behind both gateways, talk to the internet (docs/design/l2-gateways.md, §4): no workload of a host is behind
 * these connections.
 *
 *     client ── internet ─┬─ up-1 ── gw-1 ─┐                        ┌─ gw-1 ─┐
 *                         └─ up-2 ── gw-2 ─┴─ core ── edge ── metal ┤        ├─ VLAN 100 ─┬─ rack, which has a floating address and is behind a VIP
 *                                                                   └─ gw-2 ─┘            └─ rack-2, which has neither
 */
const RACK = '10.0.2.100';
const FLOATING = '203.0.113.12';
const VIP = '203.0.113.81';
/** Each way. */
const CONNECTIONS = 60;

describe('connections between a VLAN and uplinks', { skip: needsRoot, timeout: 400_000 }, () => {
  let two: TwoGateways;
  const statusOf = async (): Promise<OutsideStatus> =>
    (await two.weft.client.get<{ readonly status: OutsideStatus }>('/v1/l2-gateways/shop%2Fmetal')).status;
  const activeAt = (host: string, timeoutMs = 20_000): Promise<boolean> =>
    eventually(`metal at ${host}`, timeoutMs, async () => {
      const { active, places } = await statusOf();
      return active === host && places.find((place) => place.host === host)?.state === 'up';
    });

  const crowds = new Map<string, ConnectionCrowd>();
  const crowd = async (way: string, options: CrowdOptions): Promise<void> =>
    void crowds.set(
      way,
      await startCrowd(two.lab, { ...options, connections: CONNECTIONS, perSecond: 100, stallMs: 15_000 }),
    );

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
      ends: [
        { name: 'rack', vlan: 100, addresses: [`${RACK}/24`], mac: port.mac, gateway: '10.0.2.1' },
        { name: 'rack-2', vlan: 100, addresses: ['10.0.2.101/24'], gateway: '10.0.2.1' },
      ],
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

  const areWell = async (timeoutMs = 20_000): Promise<void> => {
    const one = async ([way, crowd]: readonly [string, ConnectionCrowd]): Promise<void> => {
      const { established, died, stalled, troubles } = await crowd.report('answered', timeoutMs);
      assert.deepEqual(
        { way, established, died, stalled, troubles },
        { way, established: CONNECTIONS, died: 0, stalled: 0, troubles: [] },
      );
    };
    await Promise.all([...crowds].map(one));
  };
  /** The other gateway holds all that the one where they are kept knows of: in the zone of the port, and in the router's or that of VIPs. */
  const areHeld = async (): Promise<boolean> => {
    const [kept, copied] = [await copiesAt('gw-1'), await copiesAt('gw-2')];
    return kept.told === 2 * crowds.size * CONNECTIONS && copied.held >= kept.told;
  };
  const copiesAt = async (host: string): Promise<AgentStatus['copies']> =>
    (await askLocalAgent<AgentStatus>(two.weft.files.controlSocket(host), '/status')).copies;
  /** Of which the host says so. */
  const isCopied = async (wanted: boolean): Promise<boolean> =>
    eventually(wanted ? 'copies go out' : 'it is said that none do', 20_000, async () => {
      const { status } = await two.weft.client.get<{ status?: { problems?: string[] } }>('/v1/hosts/gw-1');
      const said = (status?.problems ?? []).some((text) => text.includes('metal are not copied to gw-2'));
      return said !== wanted;
    });

  test('work in every way with packets of one connection at both gateways', async () => {
    await Promise.all([
      crowd('out by SNAT', { from: 'rack-2', to: 'client', address: CLIENT, port: 7110 }),
      crowd('out by a floating address', { from: 'rack', to: 'client', address: CLIENT, port: 7112 }),
      crowd('in by a floating address', { from: 'client', to: 'rack', address: FLOATING }),
      crowd('in by a VIP', { from: 'client', to: 'rack', address: VIP, port: 7101, serverPort: 7102 }),
    ]);
    await areWell();
  });

  test('begin without delay while nobody can be told of them, which is said, and are told of later', async () => {
    await two.weft.agent('gw-2').kill({ wanted: true });
    await isCopied(false);
    const sinceMs = performance.now();
    await crowd('out by SNAT, untold', { from: 'rack-2', to: 'client', address: CLIENT, port: 7111 });
    assert.ok(performance.now() - sinceMs < 10_000);
    await two.weft.agent('gw-2').start();
    await isCopied(true);
    await areWell();
  });

  test('begin also while the agent of the host where they are kept is away', async () => {
    const agent = two.weft.agent('gw-1');
    await agent.kill({ wanted: true });
    await crowd('out by SNAT, without agent', { from: 'rack-2', to: 'client', address: CLIENT, port: 7113 });
    await agent.start();
    await areWell();
    // The agent that started knows of none until it reads all: every 5 s, and more seldom where the machine is busy.
    await eventually('they are told', 20_000, areHeld);
  });

  test('outlive the gateway, powered off, by the other, and its return', async (t) => {
    const { lab } = two;
    let sinceMs = performance.now();
    const told = (what: string): void => t.diagnostic(`${what} after ${Math.round(performance.now() - sinceMs)} ms`);
    await lab.stopHost('gw-1');
    await activeAt('gw-2', 30_000);
    told('the other place is active');
    await areWell();
    told('all answer');
    sinceMs = performance.now();
    await lab.startHost('gw-1');
    await activeAt('gw-1', 90_000);
    told('the first place is active again');
    await areWell();
    told('all answer');
  });

  test('that ended by the other while the link was away are gone where it comes back, and the others go on', async (t) => {
    const { lab } = two;
    const link = (state: 'up' | 'down'): Promise<unknown> =>
      scriptIn(lab.namespace('outside'), [`ip link set gw-1 ${state}`]);
    /** Established ones at the first gateway that began outside, to the floating address. */
    const inward = async (): Promise<number> =>
      [
        ...(await lab.switchOf('gw-1').appctl('dpctl/dump-conntrack', '-s')).matchAll(
          new RegExp(`orig=\\(src=[^,]*,dst=${FLOATING.replaceAll('.', '[.]')},.*state=ESTABLISHED`, 'g'),
        ),
      ].length;
    await eventually('they are told', 20_000, areHeld);
    await link('down');
    await activeAt('gw-2');
    await areWell();
    const way = 'in by a floating address';
    await crowds.get(way)!.stop();
    crowds.delete(way);
    t.diagnostic(`${await inward()} at the place that they have left`);
    assert.equal(await inward(), CONNECTIONS);
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    await link('up');
    await activeAt('gw-1');
    await areWell();
    await eventually('they are gone', 5_000, async () => (await inward()) === 0);
  });
});
