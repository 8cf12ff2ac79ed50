import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { modelOf } from '../model/model-index.ts';
import type { RouterPort } from '../model/objects.ts';
import { arp, echo, frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { simulateFrame } from '../simulate/simulate.ts';
import { createCompiler } from './compiler.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';
import {
  a,
  b,
  c,
  outside,
  plain,
  sitesOn,
  story,
  toInside,
  uplink,
  world,
  x,
} from './testing/outside-world.fixture.ts';
import * as ups from './testing/uplinks.fixture.ts';

// What protects the outside (docs/design/gateways.md, §8), when the compiled flows are executed.

const h1 = example.host(1);
const h2 = example.host(2);

describe('a pre-filter', () => {
  const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
  const web = example.chain(1, 'drop');
  const tcp80 = example.rule(1, web, 10, 'accept', { protocol: 'tcp', dstPorts: '80' });
  const ping = example.rule(2, web, 20, 'accept', { protocol: 'icmp', icmpType: 8 });
  const bad = example.chain(2);
  const noBad = example.rule(3, bad, 10, 'drop', { src: '198.51.100.0/24' });
  const shared = [web, tcp80, ping, bad, noBad];
  const floating = { ...example.floatingAddress(1, '203.0.113.50', plain, a), prefilter: web.id };

  /** From outside, on h2, to an address whose anchor is on h1: what happened, and to how many hosts it went. */
  const outcome = (records: readonly InputRecord[], src: string, dst: string, l4 = tcp(4000, 80)): string => {
    const changed = new Set(records.map(({ kind, id }) => `${kind}/${id}`));
    const base = [...world, plain, ...shared].filter(({ kind, id }) => !changed.has(`${kind}/${id}`));
    const net = networkOf([h1, h2], [...base, ...records], sites);
    const journey = net.send(h2.id, 4, frame(x.mac, uplink.mac, ip(src, dst, l4)));
    return `${story(journey)} (${journey.results.length})`;
  };
  const arrives = `${a.name}: 198.51.100.9:4000 > 10.0.1.11:80 (2)`;

  test('of a floating address lets in what it accepts, and the rest never leaves the host where it came in', () => {
    assert.equal(outcome([floating], '198.51.100.9', '203.0.113.50'), arrives);
    assert.equal(outcome([floating], '198.51.100.9', '203.0.113.50', udp(4000, 80)), 'prefilter (1)');
    assert.equal(outcome([floating], '198.51.100.9', '203.0.113.50', echo(4)).endsWith('(2)'), true);
  });

  test('of an address is asked for that address alone', () => {
    const other = example.floatingAddress(2, '203.0.113.51', plain, b);
    assert.equal(
      outcome([floating, other], '198.51.100.9', '203.0.113.51', udp(4000, 53)),
      `${b.name}: 198.51.100.9:4000 > 10.0.1.12:53 (2)`,
    );
  });

  test('of the router and of the switch are asked before it, each of which can drop', () => {
    const router = { ...plain, prefilter: bad.id };
    assert.equal(outcome([floating, router], '198.51.100.9', '203.0.113.50'), 'rule; prefilter (1)');
    assert.equal(outcome([floating, router], '198.51.101.9', '203.0.113.50'), arrives.replace('51.100.9', '51.101.9'));
    assert.equal(outcome([floating, router], '198.51.101.9', '203.0.113.50', udp(4000, 80)), 'prefilter (1)');
    const onSwitch = { ...outside, prefilter: bad.id };
    assert.equal(outcome([onSwitch], '198.51.100.9', '203.0.113.50'), 'rule; prefilter (1)');
    assert.equal(outcome([onSwitch, floating], '198.51.101.9', '203.0.113.50', udp(1, 80)), 'prefilter (1)');
  });

  test('of a VIP is asked before a member is chosen', () => {
    const vip = example.loadBalancer(1, '203.0.113.80', [a, c], { router: plain.id, prefilter: bad.id });
    assert.equal(outcome([vip], '198.51.100.9', '203.0.113.80'), 'rule; prefilter (1)');
    assert.match(outcome([vip], '198.51.101.9', '203.0.113.80'), /^p\d: 198.51.101.9:4000 > 10.0/);
  });

  test('that is not there drops', () => {
    const lost = { ...floating, prefilter: example.idOf('chain', 77) };
    assert.equal(outcome([lost], '198.51.100.9', '203.0.113.50'), 'prefilter (1)');
  });

  test('is not asked of what goes out, nor again at the anchor', () => {
    const net = networkOf([h1, h2], [...world, plain, ...shared, floating], sites);
    const out = net.send(h1.id, 1, frame(a.mac, toInside.mac, ip('10.0.1.11', '198.51.100.9', udp(53, 53))));
    assert.equal(story(out), `${x.name}: 203.0.113.50:53 > 198.51.100.9:53`);
  });
});

describe('a limit of what comes in', () => {
  const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
  const floating = {
    ...example.floatingAddress(1, '203.0.113.50', plain, a),
    inboundLimit: { pps: 100, newPerSecond: 10 },
  };
  const tenant = { kind: 'tenant', id: plain.tenant, name: 't', revision: 1, inboundLimit: { kbps: 2000 } } as const;
  const router = { ...plain, inboundLimit: { pps: 7000 } };
  const flowsOf = (...records: InputRecord[]) => {
    const net = networkOf(
      [h1, h2],
      [...world, ...records, example.floatingAddress(2, '203.0.113.51', plain, b)],
      sites,
    );
    return net.compilerOf(h2.id);
  };
  /** Rates of the meters that a packet passes at the host where it comes in. */
  const passed = (records: readonly InputRecord[], dst: string, l4 = tcp(4000, 80)): readonly number[] => {
    const compiler = flowsOf(...records);
    const bytes = frame(x.mac, uplink.mac, ip('198.51.100.9', dst, l4));
    const { steps } = createPipeline({ flows: compiler.flows(), ports: [4, 99] }).run({ inPort: 4, bytes });
    const meters = steps.flatMap(({ flow }) => flow?.actions.filter((action) => action.kind === 'meter') ?? []);
    return meters.map(({ meter }) => compiler.meters().get(meter)!.rate);
  };

  test('is held by meters of its address, its router, its tenant, the narrowest first', () => {
    assert.deepEqual(passed([tenant, router, floating], '203.0.113.50'), [100, 7000, 2000, 10]);
    assert.deepEqual(passed([tenant, router, floating], '203.0.113.50', tcp(1, 80, 16)), [100, 7000, 2000]);
    assert.deepEqual(passed([tenant, router, floating], '203.0.113.51'), [7000, 2000]);
    assert.deepEqual(passed([plain, floating], '203.0.113.50', udp(1, 2)), [100]);
    assert.deepEqual(passed([plain, floating], '203.0.113.51'), []);
  });

  test('of new connections holds those by UDP where they are kept, once each', () => {
    const limit = { inboundLimit: { newPerSecond: 10 } };
    const vip = example.loadBalancer(1, '203.0.113.80', [a, b], {
      ...{ router: plain.id, listeners: [{ protocol: 'udp', port: 53 }], inboundLimit: { newPerSecond: 20 } },
    });
    const ofRouter = { ...plain, inboundLimit: { newPerSecond: 30 } };
    const twin = example.loadBalancer(2, '203.0.113.81', [a, b], { router: plain.id, listeners: vip.listeners });
    for (const isTight of [false, true]) {
      const records = [...world, ofRouter, { ...floating, ...limit }, vip, twin, example.natZone(plain, 400, isTight)];
      const net = networkOf([h1, h2], records, sites);
      /** Rates of the meters that a packet passes where its connection is kept, and whether it arrives. */
      const kept = (dst: string, l4: ReturnType<typeof tcp>): string => {
        const { results, delivered } = net.send(h2.id, 4, frame(x.mac, uplink.mac, ip('198.51.100.9', dst, l4)));
        const meters = results
          .filter(({ host }) => host === h1.id)
          .flatMap(({ result }) => result.steps.flatMap(({ flow }) => flow?.actions ?? []))
          .flatMap((action) =>
            action.kind === 'meter' ? [net.compilerOf(h1.id).meters().get(action.meter)!.rate] : [],
          );
        return `${meters} ${delivered.length}`;
      };
      assert.equal(kept('203.0.113.50', udp(4000, 53)), '10,30 1');
      assert.equal(kept('203.0.113.50', udp(4000, 53)), ' 1', 'it is known');
      assert.equal(kept('203.0.113.50', tcp(4000, 80)), ' 1', 'metered where it came in');
      assert.equal(kept('203.0.113.51', udp(4000, 53)), ' 0', 'nobody has it');
      assert.equal(kept('203.0.113.80', udp(4000, 53)), '20,30 1');
      assert.equal(kept('203.0.113.80', udp(4000, 53)), ' 1');
      assert.equal(kept('203.0.113.81', udp(4000, 53)), '30 1', 'another with the same members');
      const out = frame(a.mac, toInside.mac, ip('10.0.1.11', '198.51.100.9', udp(5000, 53)));
      assert.match(story(net.send(h1.id, 1, out)), /^p9: 203.0.113.50:5000/);
      assert.equal(kept('203.0.113.50', udp(53, 5000)), ' 1', 'an answer');
    }
  });

  test('has meters that stay while it is there, and goes with them', () => {
    const compiler = flowsOf(plain, floating);
    const [before] = compiler.meters().keys();
    assert.ok(before! >= 0x4000_0000 && before! < 0xffff_0000);
    const faster = compiler.update([
      { op: 'put', record: { ...floating, inboundLimit: { pps: 200, newPerSecond: 10 } } },
    ]);
    assert.deepEqual(
      faster.meters.map(({ meter, rate }) => [meter, rate]),
      [[before, 200]],
    );
    assert.deepEqual([faster.add, faster.remove, faster.goneMeters], [[], [], []]);
    const { inboundLimit: _, ...free } = floating;
    const { goneMeters } = compiler.update([{ op: 'put', record: free }]);
    assert.equal(goneMeters.length, 2);
    assert.equal(compiler.meters().size, 0);
  });
});

test('who is held back gets no answer from the agent, and is dropped for the same reason; others are answered', () => {
  const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
  const floating = example.floatingAddress(1, '203.0.113.50', plain, a);
  const reject = { ...plain, routes: [example.route('198.18.0.0/15', { action: 'reject' })] };
  const asked = (held: readonly InputRecord[], from: 'a' | 'b' | 'x', dst: string, ttl: number): string => {
    const net = networkOf([h1, h2], [...world, reject, floating, ...held], sites);
    const [host, ofport, port] = from === 'x' ? [h2, 4, x] : from === 'a' ? [h1, 1, a] : [h1, 2, b];
    const gateway = from === 'x' ? uplink.mac : toInside.mac;
    const src = from === 'x' ? '198.51.100.9' : from === 'a' ? '10.0.1.11' : '10.0.1.12';
    return story(net.send(host.id, ofport, frame(port.mac, gateway, ip(src, dst, udp(1, 2), ttl))));
  };
  const errors = { kind: 'heldBack', id: a.id, errors: true, hops: false, talk: false } as const;
  const hops = { kind: 'heldBack', id: a.id, errors: false, hops: true, talk: false } as const;
  const outer = { kind: 'heldBack', id: uplink.id, errors: true, hops: true, talk: false } as const;
  const cases: readonly (readonly [dst: string, ttl: number, agent: number, reason: string, isHops?: true])[] = [
    ['10.0.2.13', 1, PACKET_IN.ttl, 'ttl'],
    ['8.8.8.8', 64, PACKET_IN.unreachable, 'no-route'],
    ['198.18.0.1', 64, PACKET_IN.unreachable, 'no-route'],
    ['10.0.2.1', 64, PACKET_IN.portUnreachable, 'own'],
    ['10.0.2.99', 64, PACKET_IN.resolve, 'no-neighbour', true],
  ];
  for (const [dst, ttl, agent, reason, isHops] of cases) {
    const answered = `agent ${agent}; ${reason}`;
    assert.equal(asked([], 'a', dst, ttl), answered);
    assert.equal(asked([isHops ? hops : errors], 'a', dst, ttl), reason);
    assert.equal(asked([isHops ? errors : hops], 'a', dst, ttl), answered);
    assert.equal(asked([errors, hops], 'b', dst, ttl), answered);
  }
  assert.equal(asked([], 'x', '203.0.113.50', 1), `agent ${PACKET_IN.ttl}; ttl`);
  assert.equal(asked([outer], 'x', '203.0.113.50', 1), 'ttl');
});

test('who talks to the agent without end is dropped in that, where it comes in; others, and all else, go on', () => {
  // Free to announce what they like.
  const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 }).map((site) => ({
    ...site,
    port: { ...site.port, portSecurity: false },
  }));
  const held: InputRecord = { kind: 'heldBack', id: a.id, errors: false, hops: false, talk: true };
  const said = (records: readonly InputRecord[], from: typeof a, packet: Parameters<typeof frame>[2]): string => {
    const net = networkOf([h1, h2], [...world, plain, ...records], sites);
    return story(net.send(h1.id, from === a ? 1 : 2, frame(from.mac, toInside.mac, packet)));
  };
  const answer = (from: typeof a) => arp(2, from.mac, from.addresses[0]!, '10.0.1.1');
  const told = `agent ${PACKET_IN.neighbour}; agent`;
  assert.equal(said([], a, answer(a)), told);
  assert.equal(said([held], a, answer(a)), 'agent');
  assert.equal(said([held], b, answer(b)), told);
  assert.equal(said([held], a, ip('10.0.1.11', '10.0.1.1', udp(4000, 53))), 'agent');
  // An address that routers know, announced to all by a request.
  const neighbour: InputRecord = {
    ...{ kind: 'neighbour', id: `${a.switch}/10.0.1.77`, revision: 1, switch: a.switch, address: '10.0.1.77' },
    ...{ mac: a.mac, port: a.id, host: h1.id },
  };
  const announced = (from: typeof a) => arp(1, from.mac, '10.0.1.77', '10.0.1.77');
  const heard = new RegExp(`agent ${PACKET_IN.neighbour}`);
  for (const from of [a, b]) assert.match(said([neighbour], from, announced(from)), heard);
  assert.equal(said([neighbour, held], a, announced(a)), 'agent');
  assert.match(said([neighbour, held], b, announced(b)), heard);
  const others = ip('10.0.1.11', '10.0.2.13', udp(4000, 80));
  assert.equal(said([held], a, others), said([], a, others));
});

describe('a source check', () => {
  const uplinkWith = (sourceCheck: RouterPort['sourceCheck']): RouterPort =>
    sourceCheck === undefined ? ups.uplink : { ...ups.uplink, sourceCheck };
  const second: RouterPort = { ...ups.secondUplink, sourceCheck: 'own' };
  const routes = [
    example.route('198.18.0.0/15', { via: '10.0.1.11' }),
    example.route('198.19.0.0/24', { via: '192.0.2.9' }),
    example.route('100.64.0.0/10', { action: 'blackhole' }),
    example.route('100.65.0.0/16', { action: 'reject' }),
    example.route('203.0.113.0/26', { via: '192.0.2.1' }),
    example.route('203.0.113.64/26', { via: '192.0.2.1' }),
    example.route('203.0.113.64/26', { via: '192.0.2.9' }),
  ];
  const core = { ...ups.core, routes };
  const learned = [
    ups.learned(core, '8.0.0.0/8', h1, '192.0.2.1'),
    ups.learned(core, '9.0.0.0/8', h1, '192.0.2.9'),
    ups.learned(core, '11.0.0.0/8', h1, '192.0.2.1', '192.0.2.9'),
    ups.learned(core, '2001:db8:9000::/36', h1, '2001:db8:f::1'),
  ];
  const model = (at: RouterPort, withPeer: boolean, more: typeof learned = []): readonly InputRecord[] => [
    ...[example.zone(), h1, core, ...ups.records([...learned, ...more]), at, second],
    ...ups.world.filter(({ id, kind }) => id !== at.id && id !== second.id && (withPeer || kind !== 'bgpPeer')),
    ...[ups.wire, ups.a, ups.secondWire].map((port) => example.binding(port, h1)),
  ];

  /** Does a packet from outside, by the first uplink, with this source reach the workload? Executed, and simulated. */
  function enters(check: RouterPort['sourceCheck'], src: string, withPeer = true): boolean {
    const records = model(uplinkWith(check), withPeer);
    const dst = src.includes(':') ? '2001:db8:1::11' : '10.0.1.11';
    const bytes = frame('02:ee:00:00:00:01', ups.uplink.mac, ip(src, dst, udp(1, 2)));
    const compiler = createCompiler();
    const facts = [
      example.self(h1),
      ...[ups.wire, ups.a, ups.secondWire].map((p, i) => example.boundInterface(p, i + 1)),
    ];
    compiler.update([...records, ...facts].map((record) => ({ op: 'put', record })));
    const { outputs, steps } = createPipeline({ flows: compiler.flows(), ports: [1, 2, 3] }).run({ inPort: 1, bytes });
    const said = simulateFrame(modelOf(records as never[]), { port: ups.wire.id, host: h1.id, bytes });
    const isIn = outputs.some(({ port }) => port === 2);
    assert.equal(said.deliveries.length > 0, isIn, `${check} ${src}: simulate says otherwise`);
    if (!isIn) {
      assert.deepEqual(
        said.drops.map(({ reason }) => reason),
        ['source-check'],
        src,
      );
      assert.equal(compiler.explain(steps.at(-1)!.flow!.cookie).reason, 'source-check', src);
    }
    return isIn;
  }

  const ALWAYS_OUT = [
    ...['0.1.2.3', '127.0.0.1', '169.254.1.1', '224.0.0.5', '240.0.0.1', '255.255.255.255', '192.0.2.2', '10.0.1.1'],
    ...['10.0.1.77', '198.18.0.1', '100.64.0.1', '100.65.0.1', '192.0.2.10'],
    ...['::', '::1', '::ffff:10.0.0.1', 'fe80::1', 'ff02::1', '2001:db8:1::5', '2001:db8:f::2'],
  ];
  const LAND = ['192.0.2.1', '2001:db8:f::1'];

  test('lets in no source of ours and none of nobody, whatever else it asks', () => {
    for (const check of ['own', 'loose', 'strict', undefined] as const) {
      for (const src of ALWAYS_OUT) assert.equal(enters(check, src), false, `${check} ${src}`);
      for (const src of LAND) assert.equal(enters(check, src), true, `${check} ${src}`);
    }
  });

  test('is there by itself where a BGP peer is, and can be turned off', () => {
    assert.equal(enters(undefined, '10.0.1.77', false), true);
    assert.equal(enters('off', '10.0.1.77'), true);
    assert.equal(enters(undefined, '5.5.5.5'), true);
  });

  test('asks for a route back (loose), or for one by this port (strict)', () => {
    const cases: Readonly<Record<string, readonly [own: boolean, loose: boolean, strict: boolean]>> = {
      '8.1.1.1': [true, true, true],
      '9.1.1.1': [true, true, false],
      '11.1.1.1': [true, true, true],
      '11.1.1.2': [true, true, true],
      '5.5.5.5': [true, false, false],
      '203.0.113.5': [true, true, true],
      '203.0.113.70': [true, true, true],
      '203.0.113.71': [true, true, true],
      '198.19.0.7': [true, true, false],
      '192.0.2.12': [true, true, false],
      '2001:db8:9000::1': [true, true, true],
      '2001:db8:a000::1': [true, false, false],
    };
    for (const [src, [own, loose, strict]] of Object.entries(cases)) {
      assert.equal(enters('own', src), own, `own ${src}`);
      assert.equal(enters('loose', src), loose, `loose ${src}`);
      assert.equal(enters('strict', src), strict, `strict ${src}`);
    }
  });

  test('costs no flow per learned route', () => {
    const count = (check: RouterPort['sourceCheck'], more: number): number => {
      const compiler = createCompiler();
      const many = Array.from({ length: more }, (_, n) =>
        ups.learned(core, `20.${n}.0.0/16`, h1, `192.0.2.${1 + 8 * (n % 2)}`),
      );
      compiler.update(
        [...model(uplinkWith(check), true, many), example.self(h1)].map((record) => ({ op: 'put', record })),
      );
      return compiler.flowCount;
    };
    assert.equal(count('strict', 200) - count('strict', 0), count('off', 200) - count('off', 0));
  });
});
