// Measures: runs alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { formatIpv4, parseIpv4, parseMac } from '../../src/base/addresses.ts';
import { seededRandom } from '../../src/base/random.ts';
import { INTEGRATION_BRIDGE } from '../../src/lab/open-vswitch.ts';
import { sendFrames } from '../../src/lab/spray.ts';
import { requestLease } from '../../src/lab/udhcpc.ts';
import { ipv4Header } from '../../src/packet/ipv4.ts';
import { encodePacket } from '../../src/packet/packet.ts';
import { TCP_FLAG } from '../../src/packet/tcp.ts';
import { type Datacentre, eventually, sleep, startDatacentre } from './datacentre.ts';
import { udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { ask, type HeldConnection, hold, serve } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** Storms at layers 3 and 4: whoever sends them suffers, others on the same host do not, and behind them all is as before. */
const PPS = 30_000;
const FRAMES = 20_000;
/** The machine is shared: what takes this long has not been let down. */
const SOON_MS = 2_000;

/** A connection's first segment, or any other. */
function syn(src: string, dst: string, ends: readonly [string, string], ports: readonly [number, number]): Uint8Array {
  return encodePacket({
    ethernet: { src: parseMac(src)!, dst: parseMac(dst)!, etherType: 0x0800 },
    vlans: [],
    l3: { kind: 'ipv4', ...ipv4Header({ src: parseIpv4(ends[0])!, dst: parseIpv4(ends[1])!, protocol: 6 }) },
    l4: {
      ...{ kind: 'tcp', srcPort: ports[0], dstPort: ports[1], sequence: 1, acknowledgement: 0 },
      ...{ flags: TCP_FLAG.syn, window: 1024, urgent: 0, options: new Uint8Array(0) },
    },
    payload: new Uint8Array(0),
  });
}

/** A packet with one hop left to go. */
function dying(src: string, dst: string, from: string, to: string): Uint8Array {
  const header = ipv4Header({ src: parseIpv4(from)!, dst: parseIpv4(to)!, protocol: 17, ttl: 1 });
  return encodePacket({
    ethernet: { src: parseMac(src)!, dst: parseMac(dst)!, etherType: 0x0800 },
    vlans: [],
    l3: { kind: 'ipv4', ...header },
    l4: { kind: 'udp', srcPort: 4000, dstPort: 33434, noChecksum: true },
    payload: new Uint8Array(8),
  });
}

describe('a storm', { skip: needsRoot }, () => {
  let dc: Datacentre;
  /** MACs of its ports on network a and outside. */
  let router = '';
  let outer = '';
  let held: HeldConnection[] = [];
  let found = 100;
  const mac = (name: string): string => dc.ports.get(name)!.mac;
  const random = seededRandom(7);
  const anyPort = (): number => 1024 + random.below(64_000);

  before(async () => {
    dc = await startDatacentre({
      prefix: 'sto',
      hosts: ['east', 'west'],
      objects: [
        ...networks({ snat: [{ from: '10.0.0.0/16', to: '203.0.113.2' }] }),
        acme('securityGroup', 'closed', { ingress: [{ protocol: 'tcp', ports: '22' }, { protocol: 'icmp' }] }),
        ...['a1', 'a2', 'a5', 'a6', 'b1', 'b2'].map((name) => member(name)),
        member('b4', { portSecurity: false }),
        member('b3', { groups: ['closed'] }),
        acme('floatingAddress', 'f', { address: '203.0.113.11', router: 'r', port: 'a1' }),
        acme('loadBalancer', 'vip', {
          ...{ address: '10.0.9.9', router: 'r', listeners: [{ protocol: 'tcp', port: 80 }] },
          members: [{ port: 'b1' }, { port: 'b2' }],
        }),
        outsider('o1', 1),
        outsider('o2', 2),
      ],
      workloads: [
        ...['a1', 'a5', 'b3'].map((name) => workload(name, 'east')),
        ...['a2', 'b1', 'b2', 'b4'].map((name) => workload(name, 'west')),
        { name: 'a6', host: 'east', port: 'acme/a6' },
        outsideWorkload('o1', 1, 'west'),
        outsideWorkload('o2', 2, 'east'),
      ],
    });
    for (const name of ['a1', 'b1', 'b2', 'b4', 'o1']) await serve(dc.lab, name, 'tcp', 80);
    await serve(dc.lab, 'b3', 'tcp', 22);
    const { items } = await dc.weft.client.get<{ items: { name: string; mac: string }[] }>('/v1/router-ports');
    [router, outer] = ['a', 'out'].map((port) => items.find(({ name }) => name === port)!.mac) as [string, string];
    await wellOff('before');
    held = [
      await hold(dc.lab, 'a1', '10.0.9.9', 80),
      await hold(dc.lab, 'a1', '203.0.113.101', 80),
      await hold(dc.lab, 'o1', '203.0.113.11', 80),
    ];
  });
  after(() => {
    for (const one of held) one.stop();
    return dc?.down();
  });

  /** What neighbours of the storm do all the time still works, and soon. Gives how long each took, in milliseconds. */
  async function wellOff(when: string): Promise<Record<string, number>> {
    const took: Record<string, number> = {};
    const timed = async (what: string, does: () => Promise<boolean>): Promise<void> => {
      const from = performance.now();
      const good = await does();
      took[what] = Math.round(performance.now() - from);
      assert.ok(good, `${when}: ${what} does not work (${JSON.stringify(took)})`);
    };
    const called = async (from: string, address: string, port: number): Promise<boolean> =>
      (await ask(dc.lab, from, 'tcp', address, port, { timeoutMs: 4000 })).by !== undefined;
    const loss = async (from: string, to: string): Promise<boolean> => {
      const { stdout } = await dc.lab.exec(from, ['ping', '-c', '50', '-i', '0.01', '-W', '1', to]);
      return Number(/(\d+) received/.exec(stdout)?.[1] ?? 0) >= 40;
    };
    await timed('ping within the network', () => loss('a1', '10.0.1.12'));
    await timed('ping of the router', () => loss('a1', '10.0.1.1'));
    await timed('ping through it', () => loss('a1', '10.0.2.13'));
    await timed('a lease', async () => (await requestLease(dc.lab, 'a6')).elapsedMs < SOON_MS);
    await timed('a call to a VIP', () => called('a1', '10.0.9.9', 80));
    await timed('a call past a group', () => called('a1', '10.0.2.13', 22));
    await timed('a call to the outside', () => called('a1', '203.0.113.101', 80));
    await timed('a call to the outside by a shared address', () => called('b3', '203.0.113.101', 80));
    await timed('a call from the outside', () => called('o1', '203.0.113.11', 80));
    await timed('a call to a neighbour that has to be found', async () => {
      const address = `10.0.2.${found++}`;
      await dc.lab.execOk('b4', ['ip', 'addr', 'add', `${address}/24`, 'dev', 'eth0']);
      return called('a1', address, 80);
    });
    await timed('an error of the router', async () => {
      const { stdout } = await dc.lab.exec('a1', ['ping', '-c', '3', '-i', '0.3', '-W', '2', '-t', '1', '10.0.2.11']);
      return /exceeded/.test(stdout);
    });
    return took;
  }

  const STORMS: Readonly<Record<string, { readonly from: string; readonly frame: () => Uint8Array }>> = {
    'of connections to a VIP': {
      from: 'a5',
      frame: () => syn(mac('a5'), router, ['10.0.1.15', '10.0.9.9'], [anyPort(), 80]),
    },
    'of connections to a closed port': {
      from: 'a5',
      frame: () => syn(mac('a5'), router, ['10.0.1.15', '10.0.2.13'], [anyPort(), 80]),
    },
    'of connections from outside': {
      from: 'o2',
      frame: () => syn(mac('o2'), outer, ['203.0.113.102', '203.0.113.11'], [anyPort(), 80]),
    },
    'of UDP to all ports outside': {
      from: 'a5',
      frame: () => udp({ src: mac('a5'), dst: router }, ['10.0.1.15', '203.0.113.101'], [anyPort(), anyPort()]),
    },
    'of packets that die at the router': {
      from: 'a5',
      frame: () => dying(mac('a5'), router, '10.0.1.15', formatIpv4((0x0a00_0200 + random.below(250)) as never)),
    },
    'of packets without a route': {
      from: 'a5',
      frame: () => udp({ src: mac('a5'), dst: router }, ['10.0.1.15', `198.51.100.${random.below(250)}`], [1, 2]),
    },
    'of packets to neighbours that are not there': {
      from: 'a5',
      frame: () => udp({ src: mac('a5'), dst: router }, ['10.0.1.15', `10.0.2.${150 + random.below(100)}`], [1, 2]),
    },
  };
  for (const [what, { from, frame }] of Object.entries(STORMS))
    test(`${what} harms only its sender`, async (t) => {
      const echoes = held.map((one) => one.echoes());
      const storm = await sendFrames(dc.lab, from, Array.from({ length: FRAMES }, frame), {
        pps: PPS,
        loop: 'forever',
      });
      await sleep(500);
      try {
        t.diagnostic(JSON.stringify({ during: await wellOff('during it') }));
      } finally {
        const { pps } = await storm.stop();
        t.diagnostic(`${Math.round(pps)} packets a second`);
      }
      await sleep(1500);
      t.diagnostic(JSON.stringify({ after: await wellOff('after it') }));
      for (const [i, one] of held.entries()) assert.ok(one.isOpen() && one.echoes() > echoes[i]! + 10, `held ${i}`);
    });

  test('that fills its share of the connection tracking leaves others theirs, and weft status tells', async () => {
    const east = dc.lab.switchOf('east');
    // What former storms left would be more than all may have now.
    for (const one of held) one.stop();
    await east.appctl('dpctl/flush-conntrack', 'netdev@ovs-netdev');
    await east.appctl('dpctl/ct-set-maxconns', '16000');
    const agent = dc.weft.agent('east');
    await agent.kill();
    await agent.start();
    await eventually('the limits', 10_000, async () =>
      (await east.appctl('dpctl/ct-get-limits', 'netdev@ovs-netdev')).includes('limit=2000,'),
    );
    await eventually('the zone of the router is found tight', 20_000, async () =>
      (await east.ofctl('dump-flows', INTEGRATION_BRIDGE, 'table=46')).includes('table=51'),
    );
    // To the outside: without its share each would have a connection in the zone of the router too.
    const frame = (): Uint8Array => syn(mac('a5'), router, ['10.0.1.15', '203.0.113.101'], [anyPort(), anyPort()]);
    const storm = await sendFrames(dc.lab, 'a5', Array.from({ length: FRAMES }, frame), { pps: PPS, loop: 'forever' });
    try {
      await sleep(500);
      await wellOff('with one share full');
      await eventually('the report', 15_000, async () => {
        const { items } = await dc.weft.client.get<{ items: { status: { problems: string[] } }[] }>('/v1/hosts');
        return items.some(({ status }) => /port a5 has 2000 connections/.test(status.problems.join()));
      });
    } finally {
      await storm.stop();
    }
    await wellOff('after it');
  });
});
