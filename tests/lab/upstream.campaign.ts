// Measures: runs alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { WeftError } from '../../src/base/errors.ts';
import { listNamespaces } from '../../src/base/namespaces.ts';
import { startCrowd } from '../../src/lab/connection-crowd.ts';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { streamFor } from '../../src/lab/packet-stream.ts';
import { RoutingDaemons } from '../../src/lab/routing-daemons.ts';
import { eventually } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';

/**
 * The lab's outside without Weft: in place of a gateway, behind a switch that only learns, a workload that speaks BGP
 * by itself. Both announce the same service.
 */
const name = labName('up');
const SERVICE = '203.0.113.80';
const SERVICE6 = '2001:db8:113::80';
const PASSWORD = 'md5-of-the-lab';

const sites = [
  {
    router: 'up-1',
    host: 'gw-1',
    edge: 'edge-1',
    asn: 64601,
    net: '192.0.2.0',
    here: 1,
    net6: '2001:db8:1::',
    graceful: true,
  },
  {
    router: 'up-2',
    host: 'gw-2',
    edge: 'edge-2',
    asn: 64602,
    net: '192.0.2.4',
    here: 5,
    net6: '2001:db8:2::',
    graceful: false,
  },
] as const;
type Site = (typeof sites)[number];
const upstreamEnd = (site: Site): string => `192.0.2.${site.here}`;
const edgeEnd = (site: Site): string => `192.0.2.${site.here + 1}`;

function edgeTexts(site: Site): { bfdd: string; bgpd: string } {
  const peers = [upstreamEnd(site), `${site.net6}1`];
  const lines = [
    'router bgp 64512',
    ` bgp router-id ${edgeEnd(site)}`,
    ' no bgp ebgp-requires-policy',
    ' no bgp network import-check',
    ...peers.flatMap((peer) => [
      ` neighbor ${peer} remote-as ${site.asn}`,
      ` neighbor ${peer} timers connect 1`,
      ` neighbor ${peer} password ${PASSWORD}`,
      ` neighbor ${peer} bfd profile fast`,
    ]),
    ` address-family ipv4 unicast`,
    `  network 203.0.113.0/24`,
    ' exit-address-family',
    ` address-family ipv6 unicast`,
    `  network 2001:db8:113::/48`,
    `  neighbor ${peers[1]} activate`,
    ' exit-address-family',
    'exit',
  ];
  const bfd = ['bfd', ' profile fast', '  receive-interval 100', '  transmit-interval 100'];
  return { bfdd: `${bfd.join('\n')}\n`, bgpd: `${lines.join('\n')}\n` };
}

describe('upstream routers', { skip: needsRoot }, () => {
  let lab: Lab;

  before(async () => {
    const peer = { asn: 64512, password: PASSWORD, bfd: true };
    lab = await Lab.start({
      name,
      hosts: sites.map(({ host }) => ({ name: host })),
      workloads: sites.map((site) => ({
        name: site.edge,
        host: site.host,
        port: site.edge,
        mtu: 1500,
        addresses: [`${edgeEnd(site)}/30`, `${site.net6}2/64`],
      })),
      routers: sites.map((site) => ({
        name: site.router,
        asn: site.asn,
        loopbacks: [`198.18.0.${site.here}/32`],
        links: [
          {
            host: site.host,
            addresses: [`${upstreamEnd(site)}/30`, `${site.net6}1/64`],
            peers: [
              { ...peer, address: edgeEnd(site), gracefulRestart: site.graceful },
              { ...peer, address: `${site.net6}2`, gracefulRestart: site.graceful },
            ],
          },
        ],
      })),
      outside: [{ name: 'client' }],
    });
    await Promise.all(
      sites.map(async (site) => {
        await lab.upstream(site.router).plug(site.host, `wire-${site.router}`);
        await learns(site.host);
        for (const address of [`${SERVICE}/32`, `${SERVICE6}/128`])
          await lab.execOk(site.edge, ['ip', 'addr', 'add', address, 'dev', 'lo']);
        await new RoutingDaemons(lab.state, site.edge, lab.namespace(site.edge)).start(edgeTexts(site));
      }),
    );
  });
  after(() => removeLab(name));

  const learns = (host: string): Promise<string> => lab.switchOf(host).ofctl('add-flow', 'br-int', 'actions=NORMAL');
  /** Whether the session with the edge is there, of IPv4 or IPv6. */
  const isUp = async (site: Site, peer = edgeEnd(site)): Promise<boolean> => {
    type Summary = Record<string, { peers?: Record<string, { state: string; pfxRcd: number }> }>;
    const summary = await lab.upstream(site.router).daemons.show<Summary>('bgp summary');
    const found = Object.values(summary).find((family) => family.peers?.[peer])?.peers?.[peer];
    return found?.state === 'Established' && found.pfxRcd > 0;
  };
  const becomes = (site: Site, up: boolean, timeoutMs = 6000): Promise<boolean> =>
    eventually(`the session of ${site.router} to be ${up ? 'up' : 'down'}`, timeoutMs, async () =>
      (await isUp(site)) === up ? true : undefined,
    );
  const answers = async (address: string): Promise<boolean> =>
    (await lab.exec('client', ['ping', '-c', '1', '-W', '1', address])).code === 0;
  /** By which interface it sends to the service; empty where it knows no way. */
  const wayOf = async (router: string): Promise<string | undefined> =>
    / dev (\S+)/.exec((await lab.exec(router, ['ip', 'route', 'get', SERVICE])).stdout)?.[1];
  const sendsBy = (router: string, device: string | undefined, timeoutMs: number): Promise<boolean> =>
    eventually(`${router} to send by ${device ?? 'none'}`, timeoutMs, async () => (await wayOf(router)) === device);
  const carrierOf = async (router: string, device: string): Promise<string> =>
    (await lab.exec(router, ['cat', `/sys/class/net/${device}/carrier`])).stdout.trim();

  test('have sessions with MD5 and BFD, of both versions, through links that are plugged in as ports', async () => {
    for (const site of sites) {
      await becomes(site, true, 10_000);
      await eventually(`IPv6 of ${site.router}`, 6000, () => isUp(site, `${site.net6}2`));
      const { interface: plugged } = lab.upstream(site.router).link(site.host);
      const ids = await lab.switchOf(site.host).vsctl(['get', 'interface', plugged, 'external_ids']);
      assert.match(ids, new RegExp(`iface-id=wire-${site.router}`));
      await eventually('BFD', 3000, async () =>
        /192\.0\.2\.\d +up/.test(await lab.upstream(site.router).daemons.vtysh('show bfd peers brief')),
      );
    }
  });

  test('carry what a client sends to a service and back, and advertise the internet', async () => {
    for (const via of ['up-1', 'up-2']) {
      await lab.sendVia('client', [via]);
      assert.ok(await answers(SERVICE), via);
      assert.ok(await answers(SERVICE6), via);
    }
    await eventually('the way to the client', 3000, async () => {
      const routes = await lab.execOk('edge-1', ['ip', 'route', 'show', 'proto', 'bgp']);
      return /^default/m.test(routes) && /198\.51\.100\.0\/24/.test(routes) && /198\.18\.0\.1/.test(routes);
    });
    const report = await streamFor(lab, 500, { from: 'client', to: 'edge-2', address: SERVICE, pps: 2000 });
    assert.ok(report.sent > 500 && report.lost === 0, JSON.stringify(report));
  });

  test('a crowd of 1,000 connections lives on while its link is silent for a moment', async () => {
    await lab.sendVia('client', ['up-2']);
    const crowd = await startCrowd(lab, {
      ...{ from: 'client', to: 'edge-2', address: SERVICE },
      ...{ connections: 1000, perSecond: 4000, intervalMs: 1000, stallMs: 500 },
    });
    const opened = await crowd.report('answered');
    assert.deepEqual(
      [opened.established, opened.failed, opened.died, opened.stalled, opened.at['edge-2']],
      [1000, 0, 0, 0, 1000],
      JSON.stringify(opened),
    );
    await lab.silenceLink('client');
    const during = await crowd.report('answered', 700);
    assert.equal(during.died, 0);
    assert.ok(during.stalled > 500, JSON.stringify(during));
    await lab.restoreLink('client');
    const end = await crowd.stop();
    assert.deepEqual([end.established, end.stalled, end.wrong], [1000, 0, 0], JSON.stringify(end));
    assert.ok(end.answerMs.max >= 500 && end.answers > 2000, JSON.stringify(end));
  });

  test('one whose link is cut sends by the other, and by the link again when it is mended', async () => {
    await lab.sendVia('client', ['up-1']);
    await lab.cutLink('up-1', 'gw-1');
    assert.equal(await carrierOf('up-1', 'to-gw-1'), '0');
    await sendsBy('up-1', 'internet', 3000);
    // The way back is another router's word.
    await eventually('an answer by the other', 3000, async () => (await answers(SERVICE)) || undefined);
    await lab.restoreLink('gw-1', 'up-1');
    await sendsBy('up-1', 'to-gw-1', 8000);
    assert.ok(await answers(SERVICE));
  });

  test('BFD notices a silent link, whose carrier stays', async () => {
    await becomes(sites[0], true);
    await lab.silenceLink('up-1', 'gw-1');
    await sendsBy('up-1', 'internet', 2000); // it would be nine seconds without
    assert.equal(await carrierOf('up-1', 'to-gw-1'), '1');
    await lab.restoreLink('up-1', 'gw-1');
    await becomes(sites[0], true);
  });

  test('a bgpd that is killed takes its routes along, unless restarts are graceful, and comes back', async () => {
    const [graceful, other] = [lab.upstream('up-1'), lab.upstream('up-2')];
    // A session that has just come back tells its routes a moment later.
    for (const { router, host } of sites) await sendsBy(router, `to-${host}`, 8000);
    await Promise.all([graceful.killDaemon('bgpd'), other.killDaemon('bgpd')]);
    await sendsBy('up-2', undefined, 3000);
    assert.equal(lab.findProcess('up-2', 'bgpd')?.running, false);
    assert.equal(await wayOf('up-1'), 'to-gw-1');
    await Promise.all([graceful.startDaemon('bgpd'), other.startDaemon('bgpd')]);
    for (const site of sites) await becomes(site, true);
    await sendsBy('up-2', 'to-gw-2', 1000);
  });

  test('a session is shut and opened', async () => {
    await lab.upstream('up-1').shutSession(edgeEnd(sites[0]));
    await becomes(sites[0], false);
    await lab.upstream('up-1').openSession(edgeEnd(sites[0]));
    await becomes(sites[0], true);
  });

  test('a host that is killed whole takes its link along, and brings it back', async () => {
    const wire = lab.upstream('up-1').link('gw-1').interface;
    // What an agent runs beside its host, in a namespace that it made itself.
    const beside = `${lab.namespace('gw-1')}-bgp-1`;
    const speaker = `ip netns add ${beside} && echo up && exec ip netns exec ${beside} sleep 1000`;
    await lab.process('gw-1', 'speaker', ['sh', '-c', speaker], { sharesMounts: true, ready: { line: /^up$/ } });
    assert.deepEqual(listNamespaces(beside), [beside]);
    await lab.stopHost('gw-1');
    assert.deepEqual([lab.findProcess('gw-1', 'speaker')?.running, listNamespaces(beside)], [false, []]);
    assert.equal(await carrierOf('up-1', 'to-gw-1'), '0');
    assert.equal(await carrierOf('gw-1', wire), '0');
    await lab.startHost('gw-1');
    assert.ok(listNamespaces(beside).length > 0, 'what ran before runs again');
    await learns('gw-1');
    await becomes(sites[0], true, 8000);
  });

  test('what is not there is named', async () => {
    const refused = (code: string) => (error: WeftError) => error.code === code;
    assert.throws(() => lab.cable('up-1'), refused('invalid'));
    assert.throws(() => lab.cable('up-1', 'gw-2'), refused('not-found'));
    assert.throws(() => lab.cable('gw-1', 'gw-2'), refused('not-found'));
    assert.throws(() => lab.upstream('client'), refused('not-found'));
    await assert.rejects(lab.sendVia('edge-1', ['up-1']), refused('not-found'));
  });

  test('teardown leaves nothing', async () => {
    await lab.down();
    assert.deepEqual(listNamespaces(`weft-${name}-`), []);
  });
});
