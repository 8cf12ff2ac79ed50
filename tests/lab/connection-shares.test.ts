// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { INTEGRATION_BRIDGE } from '../../src/lab/open-vswitch.ts';
import { sendFrames } from '../../src/lab/spray.ts';
import { type Datacentre, eventually, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { ask, serveAll } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** Connection tracking of a host is shared out: here so little of it that a flood fills a share at once (`weft status` tells: storms.campaign.ts). */
const MOST = 24_000;
const SHARE = { port: MOST / 8, router: MOST / 2 } as const;
/** Would fill the zone of the router within two seconds. */
const PPS = 8_000;

describe('shares of connection tracking', { skip: needsRoot }, () => {
  let dc: Datacentre;
  /** MACs of the router's port on network a, and outside. */
  let inner = '';
  let outer = '';
  const mac = (name: string): string => dc.ports.get(name)!.mac;

  before(async () => {
    dc = await startDatacentre({
      prefix: 'sha',
      hosts: ['east', 'west'],
      objects: [
        ...networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }] }),
        ...['a1', 'a2', 'a5', 'b1'].map((name) => member(name)),
        acme('floatingAddress', 'f1', { address: '203.0.113.11', router: 'r', port: 'a1' }),
        acme('floatingAddress', 'f2', { address: '203.0.113.12', router: 'r', port: 'a2' }),
        acme('loadBalancer', 'vip', {
          ...{
            address: '10.0.9.9',
            router: 'r',
            listeners: [{ protocol: 'tcp', port: 80 }],
            members: [{ port: 'b1' }],
          },
        }),
        outsider('o1', 1),
        outsider('o2', 2),
      ],
      workloads: [
        ...['a1', 'a2', 'a5', 'b1'].map((name) => workload(name, 'east')),
        outsideWorkload('o1', 1, 'west'),
        outsideWorkload('o2', 2, 'west'),
      ],
    });
    await serveAll(dc.lab, ['a1', 'a2', 'b1', 'o1'], 'tcp/80');
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    [inner, outer] = ['a', 'out'].map((port) => items.find(({ name }) => name === port)!.mac) as [string, string];
    const east = dc.lab.switchOf('east');
    await east.appctl('dpctl/ct-set-maxconns', `${MOST}`);
    const agent = dc.weft.agent('east');
    await agent.kill();
    await agent.start();
    await eventually('the zone of the router is found tight', 20_000, async () =>
      (await east.ofctl('dump-flows', INTEGRATION_BRIDGE, 'table=46')).includes('table=51'),
    );
    // The first to go out waits for ports.
    await ask(dc.lab, 'b1', 'tcp', '203.0.113.101', 80);
  });
  after(() => dc?.down());

  /** All that the neighbours of a flood begin while it goes on. */
  async function neighboursServed(
    calls: readonly (readonly [from: string, address: string, by: string])[],
  ): Promise<void> {
    for (let round = 0; round < 2; round++)
      for (const [from, address, by] of calls) {
        const answer = await ask(dc.lab, from, 'tcp', address, 80);
        assert.equal(answer.by, by, `${from} to ${address}: ${JSON.stringify(answer)}`);
      }
  }

  /** Connections of the fullest zone of the router, and of the fullest other. */
  async function fullest(): Promise<{ readonly router: number; readonly port: number }> {
    const text = await dc.lab.switchOf('east').appctl('dpctl/ct-get-limits', 'netdev@ovs-netdev');
    const most = { router: 0, port: 0 };
    for (const [, limit, count] of text.matchAll(/zone=\d+,limit=(\d+),count=(\d+)/g)) {
      const who = Number(limit) === SHARE.router ? 'router' : 'port';
      most[who] = Math.max(most[who], Number(count));
    }
    return most;
  }

  test('a workload that floods the outside with new connections fills its own, its neighbours go on', async (t) => {
    const frames = Array.from({ length: PPS * 4 }, (_, i) =>
      udp({ src: mac('a5'), dst: inner }, ['10.0.1.15', '203.0.113.102'], [1024 + (i % 60_000), 2000 + (i >> 4)]),
    );
    const flood = await sendFrames(dc.lab, 'a5', frames, { pps: PPS, loop: 'forever' });
    try {
      await eventually('its share is full', 30_000, async () => (await fullest()).port === SHARE.port);
      await neighboursServed([
        ['b1', '203.0.113.101', 'o1'],
        ['a2', '203.0.113.101', 'o1'],
        ['a2', '10.0.9.9', 'b1'],
        ['o1', '203.0.113.12', 'a2'],
      ]);
    } finally {
      await flood.stop();
    }
    const { router, port } = await fullest();
    t.diagnostic(JSON.stringify({ router, port }));
    assert.equal(port, SHARE.port, 'the share of the flood is full');
    assert.ok(router >= SHARE.port && router < SHARE.port + 1000, `the router has ${router} connections`);
  });

  test('who floods a floating address from outside fills the share of its port, and of no other', async (t) => {
    await dc.lab.switchOf('east').appctl('dpctl/flush-conntrack', 'netdev@ovs-netdev');
    const frames = Array.from({ length: PPS * 4 }, (_, i) =>
      udp({ src: mac('o2'), dst: outer }, ['203.0.113.102', '203.0.113.11'], [1024 + (i % 60_000), 2000 + (i >> 4)]),
    );
    const flood = await sendFrames(dc.lab, 'o2', frames, { pps: PPS, loop: 'forever' });
    try {
      await eventually('its share is full', 30_000, async () => (await fullest()).port === SHARE.port);
      await neighboursServed([
        ['b1', '203.0.113.101', 'o1'],
        ['a2', '203.0.113.101', 'o1'],
        ['o1', '203.0.113.12', 'a2'],
      ]);
    } finally {
      await flood.stop();
    }
    const { router, port } = await fullest();
    t.diagnostic(JSON.stringify({ router, port }));
    assert.equal(port, SHARE.port);
    assert.ok(router >= SHARE.port && router < SHARE.port + 1000, `the router has ${router} connections`);
  });
});
