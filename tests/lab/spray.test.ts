// Measures: runs alone, by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { formatIpv4, formatIpv6, formatMac } from '../../src/base/addresses.ts';
import { seededRandom } from '../../src/base/random.ts';
import { sendFrames } from '../../src/lab/spray.ts';
import { requestLease } from '../../src/lab/udhcpc.ts';
import { findPort } from '../../src/lab/weft.ts';
import type { WeftEvent } from '../../src/server/events.ts';
import { type Datacentre, eventually, isSilent, pings, sleep, startDatacentre } from './datacentre.ts';
import { arp, BROADCAST, NO_MAC, udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';

const PPS = 50_000;
/** Different frames, sent over and over. */
const FRAMES = 50_000;
/** The bench holds this to its bar; a test shares its machine with whatever else runs there. */
const SLOWER = 4;
const NO_TIME_MS = 3;
/** A hundred a second, of which the median counts. */
const PINGS = 50;

const inRed = (kind: string, name: string, more: object = {}) => ({ kind, tenant: 'red', name, ...more });
const SPRAYERS = ['macs', 'v4', 'v6', 'arp', 'open'] as const;
type Sprayer = (typeof SPRAYERS)[number];
const OBJECTS = [
  { kind: 'tenant', name: 'red' },
  inRed('switch', 'net', {
    subnets: [
      { cidr: '10.0.0.0/24', gateway: '10.0.0.1' },
      { cidr: 'fd00::/64', ipv6Mode: 'stateful' },
    ],
  }),
  ...['p1', 'p2', 'p3', 'guest', ...SPRAYERS].map((name) =>
    inRed('port', name, { switch: 'net', portSecurity: name !== 'open' }),
  ),
];

/** Addresses that differ in every frame. */
function framesOf(sprayer: Sprayer, mac: string, victim: string): Uint8Array[] {
  const random = seededRandom(SPRAYERS.indexOf(sprayer) + 1);
  const anyMac = (): string => formatMac(0x0200_0000_0000 + random.below(0x100) * 2 ** 32 + random.u32());
  const any4 = (): string => formatIpv4(random.u32());
  const any6 = (): string => formatIpv6((BigInt(random.u32()) << 96n) | BigInt(random.u32()));
  const one: Record<Sprayer, () => Uint8Array> = {
    macs: () => udp({ src: anyMac(), dst: victim }, [any4(), any4()], [random.below(65536), random.below(65536)]),
    v4: () => udp({ src: mac, dst: victim }, [any4(), any4()], [random.below(65536), random.below(65536)]),
    v6: () => udp({ src: mac, dst: victim }, [any6(), any6()], [random.below(65536), random.below(65536)]),
    arp: () => arp({ src: mac, dst: BROADCAST }, 1 + random.below(2), [anyMac(), any4()], [NO_MAC, any4()]),
    open: () => udp({ src: anyMac(), dst: anyMac() }, [any4(), any4()], [random.below(65536), random.below(65536)]),
  };
  return Array.from({ length: FRAMES }, one[sprayer]);
}

describe('a workload that sprays', { skip: needsRoot }, () => {
  let dc: Datacentre;
  let baseline: Record<string, number>;
  const address = (name: string): string => dc.ports.get(name)!.addresses[0]!;

  /** Median round trips in milliseconds from `p1`, to the same host and to another. */
  async function roundTrips(): Promise<Record<string, number>> {
    const median = async (to: string): Promise<number> => {
      const { stdout } = await dc.lab.exec('p1', ['ping', '-c', `${PINGS}`, '-i', '0.01', '-W', '1', address(to)]);
      const times = [...stdout.matchAll(/time=([\d.]+) ms/g)].map((m) => Number(m[1])).toSorted((x, y) => x - y);
      assert.ok(times.length > PINGS / 2, `${times.length} of ${PINGS} pings answered`);
      return times[times.length >> 1]!;
    };
    const [near, far] = await Promise.all([median('p2'), median('p3')]);
    return { near, far };
  }

  before(async () => {
    dc = await startDatacentre({
      prefix: 'sp',
      hosts: ['a', 'b'],
      objects: OBJECTS,
      workloads: [
        ...['p1', 'p2', 'guest', ...SPRAYERS].map((name) => ({ name, host: 'a', port: `red/${name}` })),
        { name: 'p3', host: 'b', port: 'red/p3' },
      ],
    });
    await Promise.all(['p1', 'p2', 'p3', ...SPRAYERS].map((name) => requestLease(dc.lab, name)));
    await roundTrips();
    baseline = await roundTrips();
  });
  after(() => dc?.down());

  for (const sprayer of SPRAYERS)
    test(`${sprayer}: harms only itself, and is shut off and reported`, async (t) => {
      const { mac, id } = dc.ports.get(sprayer)!;
      const spray = await sendFrames(dc.lab, sprayer, framesOf(sprayer, mac, dc.ports.get('p2')!.mac), {
        pps: PPS,
        loop: 'forever',
      });
      await sleep(300);
      const lease = await requestLease(dc.lab, 'guest');
      const during = await roundTrips();
      const { pps } = await spray.stop();
      const figures = JSON.stringify({ baseline, during, leaseMs: lease.elapsedMs, pps });
      t.diagnostic(figures);
      assert.ok(lease.elapsedMs < 1000, figures);
      for (const [where, ms] of Object.entries(during)) assert.ok(ms < baseline[where]! * SLOWER + NO_TIME_MS, figures);
      const port = await eventually('the report', 3000, async () => {
        const shown = await findPort(dc.weft.client, id);
        return shown.status.state === 'shut-off' && shown;
      });
      assert.match(port.status.problems.join(), /sprays/);
      const { items } = await dc.weft.client.get<{ items: WeftEvent[] }>('/v1/events', { query: { id } });
      assert.match(items.map(({ text }) => text).join(), /it is shut off for 10 s/);
      assert.ok(await isSilent(dc.lab, sprayer, address('p2')), 'off as a whole');
    });

  test('none of it pushed anything out of the queue of packet-ins', async () => {
    assert.equal((await dc.lab.switchOf('a').appctl('coverage/read-counter', 'rconn_overflow')).trim(), '0');
  });

  test('the port that was shut off is let in again', async () => {
    const { id } = dc.ports.get('macs')!;
    await eventually('the end', 13_000, async () => (await findPort(dc.weft.client, id)).status.state === 'installed');
    assert.ok(await pings(dc.lab, 'macs', address('p2')));
  });
});
