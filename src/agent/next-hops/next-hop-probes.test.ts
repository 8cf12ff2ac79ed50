import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMac, type Mac, parseIp } from '../../base/addresses.ts';
import { seededRandom } from '../../base/random.ts';
import { PACKET_IN } from '../../compile/tables.ts';
import type { NextHopProbe } from '../../model/objects.ts';
import { decodePacket, encodePacket, type Packet } from '../../packet/packet.ts';
import type { Effect, PacketIn } from '../events.ts';
import { NO_REGISTERS } from '../registers.ts';
import { portId, type TestGround, testGround } from '../testing/test-ground.ts';
import { TestWakes } from '../testing/test-wakes.ts';
import { NextHopProbes } from './next-hop-probes.ts';

const HOP_MAC = 0x0200_0000_0099 as Mac;
const ASKER = '02:00:00:00:02:01';
const router = (probe: Partial<NextHopProbe> | undefined, via = '192.0.2.1'): Record<string, unknown> => ({
  ...{ kind: 'router', id: 'r', key: 301, adminUp: true },
  routes: [
    {
      ...{ to: '0.0.0.0/0', via, metric: 100, weight: 1 },
      ...(probe ? { probe: { type: 'arp', intervalMs: 200, failures: 3, recoveries: 3, ...probe } } : {}),
    },
  ],
});
const records = [
  { kind: 'switch', id: 's', key: 101, subnets: [], vlanAware: false, adminUp: true },
  { kind: 'port', id: portId(1), key: 1, switch: 's', portSecurity: false, adminUp: true, addresses: [] },
  { kind: 'routerPort', id: 'rp', key: 201, router: 'r', switch: 's', mac: ASKER, adminUp: true, addresses: ['192.0.2.2/30', 'fd00::2/64'] },
]; // biome-ignore format: a table
const neighbour = { kind: 'neighbour', id: 's/192.0.2.1', switch: 's', address: '192.0.2.1', mac: formatMac(HOP_MAC), port: portId(1), host: 'h1' }; // biome-ignore format: a row

/** A next hop that answers while `isThere`, driven by the probes' own wakes. */
class Bench {
  readonly ground: TestGround;
  readonly probes: NextHopProbes;
  readonly #time = new TestWakes();
  isThere = true;
  isAble = true;
  /** Held up for so long, at each wake. */
  lateMs = 0;
  readonly sent: Packet[] = [];
  answer: (probe: Packet) => Packet | undefined = answerTo;

  constructor(probe: Partial<NextHopProbe> | undefined, via?: string, ...more: unknown[]) {
    this.ground = testGround([...records, router(probe, via), ...more], [portId(1)]);
    this.probes = new NextHopProbes(this.ground, seededRandom(7), () => this.isAble);
    this.change(router(probe, via));
  }

  change(record: Record<string, unknown>): void {
    this.ground.put(record);
    this.#perform(this.probes.scopeChanged([{ op: 'put', record: record as never }], this.nowMs));
  }

  #perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'wake') this.#time.ask(effect.inMs, this.lateMs);
      if (effect.kind !== 'packetOut') continue;
      assert.equal(effect.toOfport, 101);
      const probe = decodePacket(effect.frame);
      this.sent.push(probe);
      const answer = this.isThere ? this.answer(probe) : undefined;
      if (answer) this.say(answer);
    }
  }

  say(answer: Packet): void {
    const packet: PacketIn = {
      ...{ ...NO_REGISTERS, class: PACKET_IN.nextHop, cookie: 0n, inPort: 101, portKey: 1 },
      frame: encodePacket(answer),
    };
    this.#perform(this.probes.answered(packet, this.ground.scope.port(portId(1))!, this.nowMs));
  }

  get nowMs(): number {
    return this.#time.nowMs;
  }

  run(untilMs: number): void {
    this.#time.run(untilMs, (nowMs) => this.#perform(this.probes.tick(nowMs)));
  }

  told(): string[] {
    return this.ground.reports.splice(0).flatMap((report) => {
      if (report.type === 'nextHop') return [`${report.address} ${report.up ? 'up' : 'down'} ${report.sinceMs}`];
      return report.type === 'nextHopGone' ? [`${report.address} gone`] : [];
    });
  }
}

function answerTo({ ethernet, l3, l4 }: Packet): Packet | undefined {
  const back = { ethernet: { ...ethernet, src: HOP_MAC, dst: ethernet.src }, vlans: [], payload: new Uint8Array(0) };
  if (l3?.kind === 'arp') return { ...back, l3: { ...l3, op: 2, sha: HOP_MAC, spa: l3.tpa, tha: l3.sha, tpa: l3.spa } };
  if (l3?.kind === 'ipv4' && l4?.kind === 'icmp')
    return { ...back, l3: { ...l3, src: l3.dst, dst: l3.src }, l4: { ...l4, type: 0 } };
  return undefined;
}

test('a next hop is asked by ARP, by its MAC while it answers there, and is down 600 to 800 ms after it fell silent', () => {
  const bench = new Bench({});
  bench.run(1000);
  assert.equal(bench.told().length, 1);
  assert.equal(bench.sent[0]!.ethernet.dst, 0xffff_ffff_ffff);
  bench.ground.put(neighbour);
  bench.run(1300);
  assert.equal(bench.sent.at(-1)!.ethernet.dst, HOP_MAC);
  assert.equal(formatMac(bench.sent.at(-1)!.ethernet.src), ASKER);
  bench.isThere = false;
  bench.run(3000);
  const [down] = bench.told();
  const sinceMs = Number(down!.split(' ')[2]);
  assert.match(down ?? '', /^192\.0\.2\.1 down/);
  assert.ok(sinceMs > 1300 + 400 && sinceMs <= 1300 + 800, `${sinceMs}`);
  assert.equal(bench.sent.at(-1)!.ethernet.dst, 0xffff_ffff_ffff);
  bench.isThere = true;
  bench.run(4000);
  assert.match(bench.told()[0]!, /^192\.0\.2\.1 up/);
  assert.deepEqual(bench.probes.all(), [
    { router: 'r', address: '192.0.2.1', up: true, sinceMs: bench.probes.all()[0]!.sinceMs },
  ]);
});

test('an IPv6 next hop is asked by neighbour solicitation', () => {
  const bench = new Bench({}, 'fd00::1');
  bench.run(1000);
  assert.match(bench.told()[0] ?? '', /^fd00::1 down/);
  const [first] = bench.sent;
  // To the group of those whose address ends like it (RFC 4861 §7.2.2).
  assert.equal(first!.ethernet.dst, 0x3333_ff00_0001);
});

test("a ping is answered only by its own identifier and sequence, from whoever has the next hop's address", () => {
  const bench = new Bench({ type: 'ping' }, undefined, neighbour);
  bench.run(1000);
  assert.match(bench.told()[0]!, /up/);
  const echo = bench.sent.find(({ l4 }) => l4?.kind === 'icmp')!;
  assert.equal(echo.l3?.kind === 'ipv4' && echo.l3.src, parseIp('192.0.2.2')!.value);
  // The answer to another one.
  bench.answer = () => answerTo(echo);
  bench.run(2500);
  assert.match(bench.told()[0]!, /down/);
});

test('a ping needs more than an answer to ARP', () => {
  const bench = new Bench({ type: 'ping' }, undefined, neighbour);
  bench.answer = (probe) => (probe.l3?.kind === 'arp' ? answerTo(probe) : undefined);
  bench.run(1500);
  assert.match(bench.told()[0]!, /down/);
});

test('an agent that is held up holds no next hop for silent', () => {
  const bench = new Bench({});
  bench.run(500);
  bench.told();
  bench.isThere = false;
  bench.lateMs = 5000;
  bench.run(5_800);
  bench.isThere = true;
  bench.run(40_000);
  assert.deepEqual(bench.told(), []);
});

test('without its flows in the switch nobody is held for silent', () => {
  const bench = new Bench({});
  bench.run(500);
  bench.told();
  bench.isThere = false;
  bench.isAble = false;
  bench.run(5000);
  assert.deepEqual(bench.told(), []);
  bench.isAble = true;
  bench.run(7000);
  assert.match(bench.told()[0]!, /down/);
});

test('a next hop that nobody probes any more, or whose wire is active elsewhere, is gone', () => {
  const bench = new Bench({});
  bench.run(500);
  bench.told();
  bench.change({ kind: 'binding', id: portId(1), switch: 's', claims: [], active: 'h2' });
  assert.deepEqual(bench.told(), ['192.0.2.1 gone']);
  bench.change({ kind: 'binding', id: portId(1), switch: 's', claims: [], active: 'h1' });
  bench.run(1500);
  assert.match(bench.told()[0]!, /up/);
  bench.change(router(undefined));
  assert.deepEqual(bench.told(), ['192.0.2.1 gone']);
  const count = bench.sent.length;
  bench.run(5000);
  assert.equal(bench.sent.length, count);
});

test('what was known before a restart holds, and what the server says otherwise is put right', () => {
  const known = { kind: 'nextHopState', id: 'r/192.0.2.1/h1', router: 'r', address: '192.0.2.1', host: 'h1', up: false, sinceMs: 77 }; // biome-ignore format: a row
  const bench = new Bench({}, undefined, known);
  bench.isThere = false;
  bench.run(2000);
  assert.deepEqual(bench.told(), []);
  assert.deepEqual(bench.probes.all(), [{ router: 'r', address: '192.0.2.1', up: false, sinceMs: 77 }]);
  bench.probes.scopeChanged([{ op: 'delete', record: { kind: 'nextHopState', id: known.id } }], 2000);
  assert.deepEqual(bench.told(), ['192.0.2.1 down 77']);
});

test('BFD: down with its session, at once; a session that was never up gets ten seconds', () => {
  const bench = new Bench({ type: 'bfd' });
  bench.probes.bfdTold('r', [], 0);
  bench.run(9_000);
  assert.deepEqual(bench.told(), []);
  bench.run(11_000);
  assert.match(bench.told()[0] ?? '', /down/);
  bench.probes.bfdTold('r', ['192.0.2.1'], 11_000);
  bench.run(12_000);
  assert.match(bench.told()[0] ?? '', /up/);
  bench.probes.bfdTold('r', [], 12_000);
  assert.deepEqual(bench.told(), ['192.0.2.1 down 12000']);
  assert.deepEqual(bench.sent, []);
});

test('a session of BFD that goes on is known to be up after its probe was changed, and its end is heard at once', () => {
  const bench = new Bench({ type: 'bfd' });
  bench.probes.bfdTold('r', ['192.0.2.1'], 1_000);
  bench.run(5_000);
  assert.deepEqual(
    bench.told().map((text) => text.split(' ')[1]),
    ['up'],
  );
  bench.change(router({ type: 'bfd', intervalMs: 300 }));
  bench.run(6_000);
  bench.probes.bfdTold('r', [], 6_000);
  assert.deepEqual(
    bench.told().map((text) => text.split(' ')[1]),
    ['down'],
  );
});

test('a next hop beside one whose session goes on gets its ten seconds too, though bfdd has no news', () => {
  const bench = new Bench({ type: 'bfd' });
  bench.probes.bfdTold('r', ['192.0.2.1'], 0);
  bench.run(1_000);
  bench.told();
  const { routes, ...rest } = router({ type: 'bfd' });
  const [first] = routes as readonly Record<string, unknown>[];
  bench.change({ ...rest, routes: [first, { ...first, to: '198.51.100.0/24', via: 'fd00::1' }] });
  bench.run(12_000);
  assert.deepEqual(
    bench.told().map((text) => text.split(' ').slice(0, 2)),
    [['fd00::1', 'down']],
  );
});

test('what was told of a session of BFD before nobody asked for it says nothing of it when it is probed again', () => {
  const bench = new Bench({ type: 'bfd' });
  const binding = (active: string) => ({ kind: 'binding', id: portId(1), switch: 's', claims: [], active });
  bench.probes.bfdTold('r', ['192.0.2.1'], 0);
  bench.run(1_000);
  assert.match(bench.told()[0] ?? '', /up/);
  bench.change(binding('h2'));
  assert.deepEqual(bench.told(), ['192.0.2.1 gone']);
  // The speaker goes on for a moment.
  bench.probes.bfdTold('r', ['192.0.2.1'], 1_100);
  bench.run(60_000);
  bench.change(binding('h1'));
  bench.run(61_000);
  assert.deepEqual(bench.told(), [], 'the session has not begun');
  bench.probes.bfdTold('r', [], 61_000);
  bench.run(70_000);
  assert.deepEqual(bench.told(), []);
  bench.run(72_000);
  assert.match(bench.told()[0] ?? '', /down/);
});
