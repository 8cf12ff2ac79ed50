import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp, formatMac, type Mac, parseIp } from '../../base/addresses.ts';
import { seededRandom } from '../../base/random.ts';
import { PACKET_IN } from '../../compile/tables.ts';
import type { LoadBalancer } from '../../model/objects.ts';
import { decodePacket, encodePacket, type Packet } from '../../packet/packet.ts';
import { TCP_FLAG } from '../../packet/tcp.ts';
import type { Effect, PacketIn } from '../events.ts';
import { NO_REGISTERS } from '../registers.ts';
import { portId, type TestGround, testGround } from '../testing/test-ground.ts';
import { TestWakes } from '../testing/test-wakes.ts';
import { Probes } from './probes.ts';

type Health = NonNullable<LoadBalancer['health']>;
const health = (type: Health['type']): Health => ({
  ...{ type, intervalMs: 1000, timeoutMs: 300, rise: 2, fall: 3, path: '/up', port: 8080 },
});
const balancer = (type: Health['type'], address = '10.0.0.100', id = 'lb'): unknown => ({
  ...{ kind: 'loadBalancer', id, key: 9, address, router: 'r', slots: 16, adminUp: true, health: health(type) },
  listeners: [{ protocol: 'tcp', port: 80 }],
  members: [{ port: portId(1), weight: 1, drain: false, adminUp: true }],
});
const records = [
  { kind: 'switch', id: 's', key: 101, subnets: [], vlanAware: false, adminUp: true },
  { kind: 'port', id: portId(1), key: 1, switch: 's', mac: '02:00:00:00:00:01', adminUp: true, addresses: ['10.0.1.2', '2001:db8::2'] },
]; // biome-ignore format: a table
const routerPort = { kind: 'routerPort', id: 'rp', key: 201, router: 'r', switch: 's', mac: '02:00:00:00:02:01', addresses: ['10.0.1.1/24'] }; // biome-ignore format: a row

/** A member that answers as `serve` says, at once, driven by the probes' own wakes. */
class Bench {
  readonly ground: TestGround;
  readonly probes: Probes;
  readonly #time = new TestWakes();
  readonly sent: Packet[] = [];
  serve: (probe: Packet) => Packet[] = () => [];

  constructor(...more: unknown[]) {
    this.ground = testGround([...records, ...more], [portId(1)]);
    this.probes = new Probes(this.ground, seededRandom(7));
    this.#perform(this.probes.portsChanged([], 0));
    this.#perform(this.probes.scopeChanged([{ op: 'put', record: { kind: 'loadBalancer', id: 'lb' } }], 0));
  }

  #perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'wake') this.#time.ask(effect.inMs);
      if (effect.kind !== 'packetOut') continue;
      assert.equal(effect.toOfport, 101);
      const probe = decodePacket(effect.frame);
      this.sent.push(probe);
      for (const answer of this.serve(probe)) this.#perform(this.probes.answered(this.#packetIn(answer), this.ground.scope.port(portId(1))!, this.nowMs)); // biome-ignore format: short
    }
  }

  #packetIn(answer: Packet): PacketIn {
    const frame = encodePacket(answer);
    return { ...NO_REGISTERS, class: PACKET_IN.probe, cookie: 0n, inPort: 101, portKey: 1, frame };
  }

  get nowMs(): number {
    return this.#time.nowMs;
  }

  run(untilMs: number): void {
    this.#time.run(untilMs, (nowMs) => this.#perform(this.probes.tick(nowMs)));
  }

  verdicts(): boolean[] {
    return this.ground.reports.splice(0).flatMap((report) => (report.type === 'memberHealth' ? [report.up] : []));
  }
}

function back(
  { ethernet, l3, l4 }: Packet,
  change: Partial<Extract<Packet['l4'], { kind: 'tcp' }>>,
  payload = '',
): Packet {
  assert.ok(l4?.kind === 'tcp' && (l3?.kind === 'ipv4' || l3?.kind === 'ipv6'));
  const turned = { ...l4, srcPort: l4.dstPort, dstPort: l4.srcPort, options: new Uint8Array(0), ...change };
  const ends = { src: l3.dst, dst: l3.src } as never;
  return {
    ...{
      ethernet: { ...ethernet, src: ethernet.dst, dst: ethernet.src },
      vlans: [],
      l3: { ...l3, ...(ends as object) },
    },
    ...{ l4: turned, payload: new TextEncoder().encode(payload) },
  } as Packet;
}
const flagsOf = ({ l4 }: Packet): number => (l4?.kind === 'tcp' ? l4.flags : -1);
const sequenceOf = ({ l4 }: Packet): number => (l4?.kind === 'tcp' ? l4.sequence : -1);

/** A TCP server that takes every connection and answers requests with `status`. */
const server =
  (status = '200 OK') =>
  (probe: Packet): Packet[] => {
    const next = (sequenceOf(probe) + Math.max(1, probe.payload.length)) >>> 0;
    if (flagsOf(probe) === TCP_FLAG.syn)
      return [back(probe, { flags: TCP_FLAG.syn | TCP_FLAG.ack, sequence: 5000, acknowledgement: next })];
    if (probe.payload.length === 0) return [];
    return [
      back(
        probe,
        { flags: TCP_FLAG.ack, sequence: 5001, acknowledgement: next },
        `HTTP/1.1 ${status}\r\nServer: x\r\n\r\n`,
      ),
    ];
  };
const refusing = (probe: Packet): Packet[] =>
  flagsOf(probe) === TCP_FLAG.syn
    ? [back(probe, { flags: TCP_FLAG.rst | TCP_FLAG.ack, sequence: 0, acknowledgement: (sequenceOf(probe) + 1) >>> 0 })]
    : [];

test('a TCP member serves after `rise` connections, is out after `fall` refusals, and back after `rise` again', () => {
  const bench = new Bench(balancer('tcp'), routerPort);
  bench.serve = server();
  bench.run(900);
  assert.deepEqual(bench.verdicts(), []);
  bench.run(2500);
  assert.deepEqual(bench.verdicts(), [true]);
  assert.deepEqual(bench.sent.slice(0, 2).map(flagsOf), [TCP_FLAG.syn, TCP_FLAG.rst | TCP_FLAG.ack]);
  const { ethernet, l3 } = bench.sent[0]!;
  assert.equal(formatMac(ethernet.src), '02:00:00:00:02:01');
  assert.ok(l3?.kind === 'ipv4' && l3.src === parseIp('10.0.1.1')!.value);
  bench.serve = refusing;
  bench.run(6000);
  assert.deepEqual(bench.verdicts(), [false]);
  assert.equal(bench.ground.scope.get('memberHealth', `lb/${portId(1)}`)?.up, false);
  bench.serve = server();
  bench.run(9000);
  assert.deepEqual(bench.verdicts(), [true]);
});

test('a member that is silent is out; a single failure between successes is nothing', () => {
  const bench = new Bench(balancer('tcp'), routerPort);
  bench.run(3500);
  assert.deepEqual(bench.verdicts(), [false]);
  const flaky = new Bench(balancer('tcp'), routerPort);
  let count = 0;
  const good = server();
  flaky.serve = (probe) => (flagsOf(probe) === TCP_FLAG.syn && ++count % 3 === 0 ? [] : good(probe));
  flaky.run(20_000);
  assert.deepEqual(flaky.verdicts(), [true]);
});

test('a silent member is out after `fall` intervals and a time-out, which is no longer than the interval', () => {
  const short = { type: 'tcp', intervalMs: 500, rise: 2, fall: 3, path: '/' };
  for (const [timeoutMs, byMs] of [
    [undefined, 2000],
    [2000, 2000], // stored before there was a bound
    [100, 1600],
  ] as const) {
    const check = { ...short, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    const bench = new Bench({ ...(balancer('tcp') as object), health: check }, routerPort);
    bench.run(byMs);
    assert.deepEqual(bench.verdicts(), [false], `${timeoutMs}`);
  }
});

test('probes go where the first listener leads that is up, unless they have a port of their own', () => {
  const { port: _, ...check } = health('tcp');
  const listeners = [
    { protocol: 'tcp', port: 80, adminUp: false },
    { protocol: 'tcp', port: 81, memberPort: 8081 },
  ];
  const probed = (listeners: object[]): number | false | undefined => {
    const bench = new Bench({ ...(balancer('tcp') as object), health: check, listeners }, routerPort);
    bench.run(1000);
    const { l4 } = bench.sent[0]!;
    return l4?.kind === 'tcp' && l4.dstPort;
  };
  assert.equal(probed(listeners), 8081);
  assert.equal(probed([{ protocol: 'tcp', port: '8000-8099' }]), 8000, 'of a range the first');
  assert.equal(probed([{ protocol: 'tcp', port: '8000-8009', memberPort: '9000-9009' }]), 9000);
});

test('probes go to a listener of the protocol that they speak, whatever is listed before it', () => {
  const [dns, web] = [
    { protocol: 'udp', port: 53 },
    { protocol: 'tcp', port: 80 },
  ];
  const probed = (type: Health['type'], ...listeners: object[]): string => {
    const { port: _, ...check } = health(type);
    const bench = new Bench({ ...(balancer(type) as object), health: check, listeners }, routerPort);
    bench.run(1000);
    const { l4 } = bench.sent[0]!;
    return l4?.kind === 'tcp' || l4?.kind === 'udp' ? `${l4.kind}/${l4.dstPort}` : `${l4?.kind}`;
  };
  assert.deepEqual([probed('tcp', dns, web), probed('http', dns, web)], ['tcp/80', 'tcp/80']);
  assert.equal(probed('udp', web, dns), 'udp/53');
  assert.equal(probed('udp', web, { ...dns, adminUp: false }), 'udp/53', 'down since its service is');
  assert.equal(probed('udp', web, { ...dns, adminUp: false }, { ...dns, port: 54 }), 'udp/54');
  assert.equal(probed('icmp', dns), 'icmp');
  // Stored before this was refused.
  assert.equal(probed('tcp', dns), 'tcp/53');
});

test('an HTTP member is well with 2xx and 3xx, asked for the path', () => {
  for (const [status, up] of [
    ['200 OK', true],
    ['302 Found', true],
    ['404 Not Found', false],
    ['500 x', false],
  ] as const) {
    // biome-ignore format: a table
    const bench = new Bench(balancer('http'), routerPort);
    bench.serve = server(status);
    bench.run(3500);
    assert.deepEqual(bench.verdicts(), [up], status);
    const request = bench.sent.find(({ payload }) => payload.length > 0)!;
    assert.match(Buffer.from(request.payload).toString(), /^GET \/up HTTP\/1\.1\r\nHost: 10\.0\.1\.2\r\n/);
  }
});

test('an answer in pieces, and one twice, is read as a whole', () => {
  const bench = new Bench(balancer('http'), routerPort);
  bench.serve = (probe) => {
    if (probe.payload.length === 0) return server()(probe);
    const data = (sequence: number, text: string): Packet => back(probe, { flags: TCP_FLAG.ack, sequence }, text);
    return [data(5001, 'HTTP/1'), data(5001, 'HTTP/1'), data(5007, '.1 20'), data(5012, '4 x\r\n')];
  };
  bench.run(2500);
  assert.deepEqual(bench.verdicts(), [true]);
});

test('a UDP member is well unless its port is unreachable; an ICMP one when it answers', () => {
  const udp = new Bench(balancer('udp'), routerPort);
  udp.run(3000);
  assert.deepEqual(udp.verdicts(), [true]);
  udp.serve = (probe) => {
    const { ethernet, l3 } = probe;
    assert.ok(l3?.kind === 'ipv4');
    const l4 = { kind: 'icmp', type: 3, code: 3, rest: 0 } as const;
    const turned = { ...ethernet, src: ethernet.dst, dst: ethernet.src };
    return [{ ethernet: turned, vlans: [], l3: { ...l3, src: l3.dst, dst: l3.src, protocol: 1 }, l4, payload: encodePacket(probe).subarray(14) } as Packet]; // biome-ignore format: short
  };
  udp.run(7000);
  assert.deepEqual(udp.verdicts(), [false]);
  const icmp = new Bench(balancer('icmp'), routerPort);
  icmp.serve = (probe) => {
    const { ethernet, l3, l4 } = probe;
    assert.ok(l3?.kind === 'ipv4' && l4?.kind === 'icmp');
    const turned = { ...ethernet, src: ethernet.dst as Mac, dst: ethernet.src };
    return [{ ...probe, ethernet: turned, l3: { ...l3, src: l3.dst, dst: l3.src }, l4: { ...l4, type: 0 } }];
  };
  icmp.run(2500);
  assert.deepEqual(icmp.verdicts(), [true]);
});

test('over IPv6, and on a switch without a router, probes come from link-local addresses of the switch', () => {
  const bench = new Bench(balancer('tcp', '2001:db8::100'));
  bench.serve = server();
  bench.run(2500);
  assert.deepEqual(bench.verdicts(), [true]);
  const { ethernet, l3 } = bench.sent[0]!;
  assert.equal(formatMac(ethernet.src), '0a:57:46:00:00:65');
  assert.ok(l3?.kind === 'ipv6' && l3.src === parseIp('fe80::857:46ff:fe00:65')!.value);
});

test('on a switch without a router the VIP itself asks, with the MAC that answers for it and the tag of the member', () => {
  const own = (more: object = {}): object => {
    const { router: _, ...fields } = balancer('tcp', '10.0.1.100') as Record<string, unknown>;
    return { ...fields, switch: 's', ...more };
  };
  const asked = (...more: unknown[]): string => {
    const bench = new Bench(...more);
    bench.run(1000);
    const { ethernet, l3, vlans } = bench.sent[0]!;
    assert.ok(l3?.kind === 'ipv4');
    const ip = formatIp({ version: 4, value: l3.src });
    return `${formatMac(ethernet.src)} ${ip} ${vlans.map(({ vid }) => vid)}`;
  };
  assert.equal(asked(own()), '0a:57:4c:00:00:09 10.0.1.100 ');
  assert.equal(asked(own(), routerPort), '02:00:00:00:02:01 10.0.1.1 ');
  // Of several that share it the smallest key that is up.
  const sharers = [{ ...own({ id: 'down', key: 3, health: undefined }), adminUp: false }, own({ id: 'first', key: 5, health: undefined })]; // biome-ignore format: short
  assert.equal(asked(own(), ...sharers), '0a:57:4c:00:00:05 10.0.1.100 ');
  const subnets = [
    { cidr: '10.0.1.0/24', vlan: 5 },
    { cidr: '10.0.2.0/24', vlan: 6 },
  ];
  const aware = { ...(records[0] as object), subnets, vlanAware: true };
  assert.equal(asked(own(), aware), '0a:57:4c:00:00:09 10.0.1.100 5');
  assert.equal(asked(own({ address: '10.0.2.100' }), aware), '0a:57:46:00:00:65 169.254.87.70 5');
});

test('a member that is none any more is probed no longer, and the server hears it', () => {
  const bench = new Bench(balancer('tcp'), routerPort);
  bench.serve = server();
  bench.run(2500);
  bench.verdicts();
  bench.ground.put({ ...(balancer('tcp') as object), members: [] });
  bench.probes.scopeChanged([{ op: 'put', record: { kind: 'loadBalancer', id: 'lb' } }], bench.nowMs);
  assert.deepEqual(bench.ground.reports, [{ type: 'memberHealthGone', loadBalancer: 'lb', port: portId(1) }]);
  assert.equal(bench.ground.scope.get('memberHealth', `lb/${portId(1)}`), undefined);
  const { length } = bench.sent;
  bench.run(9000);
  assert.equal(bench.sent.length, length);
});

test('a member that was found down stays so where its interface goes, it is administratively down, or it moves', () => {
  const known = { kind: 'memberHealth', id: `lb/${portId(1)}`, loadBalancer: 'lb', port: portId(1), host: 'h2' };
  const bound = { kind: 'binding', id: portId(1), switch: 's', claims: [] };
  const isDown = (bench: Bench): boolean => bench.ground.scope.get('memberHealth', known.id)?.up === false;
  const found = (): Bench => {
    const bench = new Bench(balancer('tcp'), routerPort);
    bench.run(4000);
    assert.deepEqual(bench.verdicts(), [false]);
    return bench;
  };
  for (const change of [
    ({ ground, probes, nowMs }: Bench) => {
      ground.interfaces.delete('u0');
      ground.interfaces.rebind(() => undefined);
      probes.portsChanged([portId(1)], nowMs);
    },
    ({ ground, probes, nowMs }: Bench) => {
      ground.put({ ...(records[1] as object), adminUp: false });
      probes.scopeChanged([{ op: 'put', record: { kind: 'port', id: portId(1) } }], nowMs);
    },
    ({ ground, probes, nowMs }: Bench) => {
      ground.put({ ...bound, active: 'h2' });
      probes.scopeChanged([{ op: 'put', record: { kind: 'binding', id: portId(1) } }], nowMs);
    },
  ]) {
    const bench = found();
    change(bench);
    assert.deepEqual([bench.ground.reports, isDown(bench)], [[], true]);
    assert.deepEqual(bench.probes.all(), []);
  }
  // Where it has moved to it has to show first that it is well.
  const there = new Bench(balancer('tcp'), routerPort, { ...bound, active: 'h1' }, { ...known, up: false });
  assert.deepEqual(there.probes.all(), [{ loadBalancer: 'lb', port: portId(1), up: false }]);
  there.serve = server();
  there.run(3000);
  assert.deepEqual(there.verdicts(), [true]);
});
