// Measures: runs alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sendFrames } from '../../src/lab/spray.ts';
import { applyEverywhere, type Datacentre, eventually, sleep, startDatacentre } from './datacentre.ts';
import { syn, udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless } from './lossless.ts';
import { ask, serve } from './services.ts';

/**
 * What protects public addresses (docs/design/gateways.md, §8): two wires on a gateway, two tenants whose workloads are elsewhere.
 *
 *   w1, w2 ── up-1, up-2 ── core ── public 203.0.113.0/24 ─┬─ shop ── s1 (.11)       wires on gw, workloads on east
 *                                                          └─ bank ── b1 (.21)
 */
const own = (tenant: string, kind: string, name: string, more: object = {}) => ({ kind, tenant, name, ...more });
const tenants = ['shop', 'bank'] as const;
const WIRES = ['w1', 'w2'] as const;
const SHOP = '203.0.113.11';
const BANK = '203.0.113.21';
const PPS = 20_000;
const FLOOD_S = 2;

const floating = (tenant: (typeof tenants)[number], more: object = {}) =>
  own(tenant, 'floatingAddress', 'f', {
    ...{ address: tenant === 'shop' ? SHOP : BANK, router: 'r', port: tenant === 'shop' ? 's1' : 'b1' },
    ...more,
  });
const uplink = (n: number, more: object = {}) =>
  own('isp', 'routerPort', `up-${n}`, {
    ...{ router: 'core', switch: `up-${n}`, addresses: [`192.0.2.${4 * n + 2}/30`] },
    ...more,
  });

function objects(): object[] {
  return [
    { kind: 'tenant', name: 'isp' },
    own('isp', 'switch', 'public', { shared: true, subnets: [{ cidr: '203.0.113.0/24' }] }),
    own('isp', 'router', 'core', { routes: WIRES.map((_, i) => ({ to: '0.0.0.0/0', via: `192.0.2.${4 * i + 5}` })) }),
    own('isp', 'routerPort', 'public', { router: 'core', switch: 'public', addresses: ['203.0.113.1/24'] }),
    ...WIRES.flatMap((wire, i) => [
      own('isp', 'switch', `up-${i + 1}`),
      own('isp', 'port', wire, { switch: `up-${i + 1}`, portSecurity: false, addresses: [] }),
      uplink(i + 1, { sourceCheck: 'own' }),
    ]),
    ...tenants.flatMap((tenant, i) => [
      { kind: 'tenant', name: tenant },
      own(tenant, 'switch', 'lan', { subnets: [{ cidr: '10.0.1.0/24' }] }),
      own(tenant, 'router', 'r', { routes: [{ to: '0.0.0.0/0', via: '203.0.113.1' }] }),
      own(tenant, 'routerPort', 'lan', { router: 'r', switch: 'lan', addresses: ['10.0.1.1/24'] }),
      own(tenant, 'routerPort', 'out', {
        ...{ router: 'r', switch: 'isp/public', outside: true },
        addresses: [`203.0.113.${10 + 10 * i}/24`],
      }),
      own(tenant, 'port', i === 0 ? 's1' : 'b1', { switch: 'lan', addresses: ['10.0.1.11'] }),
      floating(tenant),
      own(tenant, 'chain', 'web', { policy: 'drop' }),
      own(tenant, 'rule', 'web', {
        chain: 'web',
        position: 10,
        match: { protocol: 'tcp', dstPorts: '80' },
        action: 'accept',
      }),
    ]),
  ];
}

describe('public addresses', { skip: needsRoot }, () => {
  let dc: Datacentre;
  /** MACs of the core's ports, by wire. */
  const gateways = new Map<string, string>();

  before(async () => {
    dc = await startDatacentre({
      prefix: 'prt',
      hosts: ['gw', 'east'],
      objects: objects() as Record<string, unknown>[],
      workloads: [
        ...WIRES.map((name, i) => ({
          ...{ name, host: 'gw', port: `isp/${name}` },
          addresses: [`192.0.2.${4 * i + 5}/30`],
          gateways: [`192.0.2.${4 * i + 6}`],
        })),
        ...tenants.map((tenant, i) => ({
          ...{ name: i === 0 ? 's1' : 'b1', host: 'east', port: `${tenant}/${i === 0 ? 's1' : 'b1'}` },
          ...{ addresses: ['10.0.1.11/24'], gateways: ['10.0.1.1'] },
        })),
      ],
    });
    for (const name of ['s1', 'b1']) await serve(dc.lab, name, 'tcp', 80);
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    for (const [i, wire] of WIRES.entries()) gateways.set(wire, items.find(({ name }) => name === `up-${i + 1}`)!.mac);
    await eventually('the first answer', 20_000, async () => (await ask(dc.lab, 'w2', 'tcp', BANK, 80)).by === 'b1');
    assert.equal((await ask(dc.lab, 'w1', 'tcp', SHOP, 80)).by, 's1');
  });
  after(() => dc?.down());

  const apply = (...changed: object[]): Promise<void> => applyEverywhere(dc, changed);

  /** Packets that have come out of the tunnel at the workloads' host so far. */
  async function tunnelled(): Promise<number> {
    const east = dc.lab.switchOf('east');
    const port = /(\d+)\(weft-geneve\)/.exec(await east.ofctl('-O', 'OpenFlow15', 'dump-ports-desc', 'br-int'))![1]!;
    const text = await east.ofctl('-O', 'OpenFlow15', 'dump-ports', 'br-int', port);
    return Number(/rx pkts=(\d+)/.exec(text)![1]);
  }

  /** Connections that began to an address and port, as the workloads' host has them. */
  async function connectionsTo(address: string, port: number): Promise<number> {
    const text = await dc.lab.switchOf('east').appctl('dpctl/dump-conntrack', 'netdev@ovs-netdev');
    return [...text.matchAll(/orig=\(src=[^,]*,dst=([^,]*),sport=\d+,dport=(\d+)\)/g)].filter(
      ([, to, at]) => to === address && Number(at) === port,
    ).length;
  }

  /** Packets that ended at a host for a reason. Open vSwitch counts none that it drops while it is busy with its own flows. */
  async function dropped(reason: string, host = 'gw'): Promise<number> {
    const { items } = await dc.weft.client.get<{ items: { host: string; reason: string; packets: number }[] }>(
      '/v1/flows/drops',
    );
    return items
      .filter((item) => item.reason === reason && item.host === host)
      .reduce((sum, { packets }) => sum + packets, 0);
  }

  /** Packets that the gateway's interfaces have handed to its switch so far; with little time for it their sockets overflow before. */
  async function handedOver(): Promise<number> {
    const text = await dc.lab.switchOf('gw').ofctl('-O', 'OpenFlow15', 'dump-ports', 'br-int');
    return [...text.matchAll(/rx pkts=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** A flood from w1, while another tenant's numbered stream comes by the other wire. */
  async function flood(frames: readonly Uint8Array[]) {
    const before = await tunnelled();
    const entered = await handedOver();
    const streams = await startLossless(dc.lab, [{ from: 'w2', to: 'b1', address: BANK, pps: 1000 }]);
    const spray = await sendFrames(dc.lab, 'w1', frames, { pps: PPS, loop: 'forever' });
    await sleep(FLOOD_S * 1000);
    const { sent } = await spray.stop();
    const [stream] = await streams.stop('the stream of the other tenant');
    const came = (await handedOver()) - entered - stream!.sent;
    return { sent, came, crossed: (await tunnelled()) - before - stream!.sent, stream: stream! };
  }

  /** To a workload's address, from ever other sources and ports. */
  const packets = (dst: string, of: (i: number) => { src?: string; port?: number } = () => ({})): Uint8Array[] =>
    Array.from({ length: 4096 }, (_, i) => {
      const { src = `198.51.${100 + (i >> 10)}.${1 + (i % 250)}`, port = 53 } = of(i);
      return udp({ src: dc.ports.get('w1')!.mac, dst: gateways.get('w1')! }, [src, dst], [1024 + i, port]);
    });

  test('a flood that a pre-filter drops never leaves the gateway, and another tenant loses nothing', async (t) => {
    await apply(floating('shop', { prefilter: 'web' }));
    const { sent, came, crossed, stream } = await flood(packets(SHOP));
    t.diagnostic(JSON.stringify({ sent, came, crossed, lost: stream.lost, longestGapMs: stream.longestGapMs }));
    assert.ok(sent > (PPS * FLOOD_S) / 4, `${sent} sent`);
    assert.ok(crossed < 200, `${crossed} of ${sent} crossed the fabric`);
    assert.equal((await ask(dc.lab, 'w1', 'tcp', SHOP, 80)).by, 's1', 'what the filter accepts comes in');
    await eventually('drops are told', 20_000, async () => (await dropped('prefilter')) > came / 2);
    await apply(floating('shop'));
  });

  test('sources of ours and of nobody do not come in by a wire', async () => {
    const sources = [
      '203.0.113.21',
      '192.0.2.10',
      '127.0.0.1',
      '224.0.0.1',
      '0.1.2.3',
      '255.255.255.255',
      '169.254.7.7',
    ];
    const { sent, came, crossed } = await flood(packets(SHOP, (i) => ({ src: sources[i % sources.length]! })));
    assert.ok(sent > PPS / 2 && crossed < 200, `${crossed} of ${sent} crossed`);
    await eventually('drops are told', 20_000, async () => (await dropped('source-check')) > came / 2);
  });

  test('a strict check lets in by each wire only what is routed by it', async () => {
    const second = own('isp', 'router', 'core', {
      routes: [
        { to: '0.0.0.0/0', via: '192.0.2.5' },
        { to: '0.0.0.0/0', via: '192.0.2.9' },
        { to: '198.51.100.0/22', via: '192.0.2.9' },
      ],
    });
    await apply(second, uplink(1, { sourceCheck: 'strict' }));
    const { sent, crossed } = await flood(packets(SHOP));
    assert.ok(sent > PPS / 2 && crossed < 200, `${crossed} of ${sent} crossed`);
    assert.equal((await ask(dc.lab, 'w1', 'tcp', SHOP, 80)).by, 's1');
    await apply(uplink(1, { sourceCheck: 'own' }));
  });

  test('a limit holds what crosses the fabric to its rate, of the address and of the tenant', async (t) => {
    await apply(floating('shop', { inboundLimit: { pps: 1000 } }));
    const one = await flood(packets(SHOP));
    await apply(floating('shop'), { kind: 'tenant', name: 'shop', inboundLimit: { kbps: 1000 } });
    const all = await flood(packets(SHOP));
    await apply({ kind: 'tenant', name: 'shop' });
    t.diagnostic(
      JSON.stringify({ address: one.crossed, tenant: all.crossed, lost: [one.stream.lost, all.stream.lost] }),
    );
    assert.ok(one.crossed > 1000 && one.crossed < 3500, `${one.crossed} of ${one.sent} crossed, 1,000 a second may`);
    // 60 bytes of a frame, and 600 kb at once.
    assert.ok(all.crossed > 2000 && all.crossed < 9000, `${all.crossed} of ${all.sent} crossed, 1,000 kbit/s may`);
  });

  test('a flood of SYNs is held to the connections that may begin, and known ones go on', async (t) => {
    await apply(floating('shop', { inboundLimit: { newPerSecond: 100 } }));
    const syns = Array.from({ length: 4096 }, (_, i) =>
      syn(
        { src: dc.ports.get('w1')!.mac, dst: gateways.get('w1')! },
        [`198.51.100.${1 + (i % 250)}`, SHOP],
        [1024 + i, 81],
      ),
    );
    const { sent, crossed } = await flood(syns);
    t.diagnostic(JSON.stringify({ sent, crossed }));
    assert.ok(crossed > 100 && crossed < 600, `${crossed} of ${sent} crossed`);
    await apply(floating('shop'));
  });

  test('a flood of new connections by UDP is held where they would be kept', async (t) => {
    await apply(floating('shop', { inboundLimit: { newPerSecond: 100 } }));
    // To a port of its own: what other floods have begun is known still.
    const { came } = await flood(packets(SHOP, () => ({ port: 54 })));
    const begun = await connectionsTo(SHOP, 54);
    t.diagnostic(JSON.stringify({ came, begun }));
    assert.ok(came > 1000 && begun > 100 && begun < 600, `${begun} began, of packets ${came}`);
    await eventually('drops are told', 20_000, async () => (await dropped('inbound-limit', 'east')) > 0);
    await apply(floating('shop'));
  });

  test('packets that need the agent, by the thousand from one wire, take no share of what others need of it', async (t) => {
    const ends = { src: dc.ports.get('w1')!.mac, dst: gateways.get('w1')! };
    const storms = {
      // Those of the address never reach the shop; those to nobody wait for a next hop.
      errors: packets(SHOP).map((_, i) => udp({ ...ends, ttl: 1 }, [`198.51.100.${1 + (i % 250)}`, SHOP], [i, 53])),
      hops: packets(SHOP).map((_, i) =>
        udp(ends, [`198.51.100.${1 + (i % 250)}`, `203.0.113.${100 + (i % 150)}`], [i, 53]),
      ),
    };
    const status = () => dc.weft.client.get<{ problems: { text: string }[] }>('/v1/status');
    const isHeld = async (): Promise<boolean> =>
      (await status()).problems.some(({ text }) => /packets a second .* come by port w1/.test(text));
    for (const [what, frames] of Object.entries(storms)) {
      const spray = await sendFrames(dc.lab, 'w1', frames, { pps: PPS, loop: 'forever' });
      await eventually(`${what}: it is held back`, 20_000, isHeld);
      const { stdout } = await dc.lab.exec('w2', ['ping', '-c', '20', '-i', '0.1', '-W', '2', '-t', '1', BANK]);
      const { sent } = await spray.stop();
      const answers = stdout.match(/exceeded/g)?.length ?? 0;
      t.diagnostic(JSON.stringify({ what, sent, answers }));
      assert.ok(answers >= 16, `${what}: ${answers} of 20 were told that their time was over`);
      await eventually(`${what}: it is heard again`, 60_000, async () => !(await isHeld()));
    }
    const { items } = await dc.weft.client.get<{ items: { text: string }[] }>('/v1/events');
    const said = items.map(({ text }) => text).filter((text) => text.includes('port w1'));
    assert.ok(
      said.some((text) => text.includes('their senders are told nothing')),
      said.join(),
    );
    assert.ok(
      said.some((text) => text.includes('none is looked for')),
      said.join(),
    );
    assert.ok(
      said.some((text) => text.includes('are heard again')),
      said.join(),
    );
    assert.equal((await ask(dc.lab, 'w1', 'tcp', SHOP, 80)).by, 's1');
  });
});
