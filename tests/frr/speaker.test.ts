// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { formatCidr, formatIp, parseCidr } from '../../src/base/addresses.ts';
import { silentLog } from '../../src/base/log.ts';
import { DAEMONS, DEFAULT_BFD, type SpeakerConfig, type SpeakerPeer } from '../../src/frr/config.ts';
import { NamespaceDaemons } from '../../src/frr/daemons.ts';
import type { RouteChange } from '../../src/frr/route-table.ts';
import { type PeerState, parsePeers, SHOW_PEERS } from '../../src/frr/show.ts';
import { Speaker } from '../../src/frr/speaker.ts';
import { scriptIn } from '../../src/lab/namespaces.ts';
import { BgpEnd, Upstream, Wires } from './upstream.ts';

/**
 * A speaker with real FRR against real FRR. Wires of the speaker's namespace, each a network of its own, 10.0.N.1 upstream
 * and 10.0.N.2 here:
 *
 *     w1  A, AS 65010: password and BFD, and 2001:db8:1::1 with RFC 8950
 *     w2  B, AS 65020: the same prefixes as A
 *     w3  B: with another password      w4  B: expects another AS      w5  B: more prefixes than allowed
 *     w6  a source of 100,000 prefixes
 *     w7  B as 10.9.9.9, a hop further
 */
/** Another FRR than the installed one, for the speaker. */
const INSTALLED = '/usr/lib/frr';
const binDir = process.env.WEFT_FRR_DIR ?? INSTALLED;
const otherFrr = binDir === INSTALLED ? false : 'needs the installed FRR: zebra of others dies with bgpd';
const missing =
  process.getuid?.() !== 0 ? 'needs root' : existsSync(`${INSTALLED}/bgpd`) ? false : 'needs FRR (package frr)';

const PREFIXES = 100_000;
const SHARED = ['198.51.100.0/24', '198.51.101.0/24'];
const ONLY_B = '198.51.102.0/24';

const A_CONFIG = `
router bgp 65010
 bgp router-id 10.0.1.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 neighbor 10.0.1.2 remote-as 65001
 neighbor 10.0.1.2 password secret
 neighbor 10.0.1.2 bfd profile fast
 neighbor 10.0.1.2 timers connect 1
 neighbor 2001:db8:1::2 remote-as 65001
 neighbor 2001:db8:1::2 timers connect 1
 neighbor 2001:db8:1::2 capability extended-nexthop
 address-family ipv4 unicast
  network 198.51.100.0/24
  network 198.51.101.0/24
  neighbor 2001:db8:1::2 activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:aaaa::/48
  neighbor 2001:db8:1::2 activate
 exit-address-family
`;
const A_BFD = `
bfd
 profile fast
  receive-interval 100
  transmit-interval 100
 exit
exit
`;
const B_CONFIG = `
router bgp 65020
 bgp router-id 10.0.2.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
${[2, 3, 4, 5].map((n) => ` neighbor 10.0.${n}.2 remote-as ${n === 4 ? 65_999 : 65_001}\n neighbor 10.0.${n}.2 timers connect 1`).join('\n')}
 neighbor 10.0.3.2 password right
 neighbor 10.0.7.2 remote-as 65001
 neighbor 10.0.7.2 ebgp-multihop 2
 neighbor 10.0.7.2 update-source 10.9.9.9
 neighbor 10.0.7.2 timers connect 1
 address-family ipv4 unicast
  network 198.51.100.0/24
  network 198.51.101.0/24
  network ${ONLY_B}
  ${[0, 1, 2, 3, 4, 5, 6, 7].map((i) => `network 198.18.${i}.0/24`).join('\n  ')}
 exit-address-family
`;

const peer = (address: string, asn: number, more: Partial<SpeakerPeer> = {}): SpeakerPeer => ({
  address,
  asn,
  keepaliveS: 3,
  holdS: 9,
  maxPrefixes: 200_000,
  families: ['ipv4'],
  adminUp: true,
  ...more,
});
const a4 = peer('10.0.1.1', 65_010, { password: 'secret', bfd: DEFAULT_BFD });
const a6 = peer('2001:db8:1::1', 65_010, { families: ['ipv4', 'ipv6'] });
const b = peer('10.0.2.1', 65_020);
const otherPassword = peer('10.0.3.1', 65_020, { password: 'wrong' });
const otherAs = peer('10.0.4.1', 65_020);
const tooMany = peer('10.0.5.1', 65_020, { maxPrefixes: 3 });
const far = peer('10.9.9.9', 65_020, { multihop: 2 });
const source = peer('10.0.6.1', 65_030, { gracefulRestart: false });
const config: SpeakerConfig = {
  routerId: '10.0.1.2',
  asn: 65_001,
  fpmPort: 2620,
  interfaces: [1, 2, 3, 4, 5, 6, 7].map((n) => ({
    name: `w${n}`,
    addresses: [`10.0.${n}.2/24`, ...(n === 1 ? ['2001:db8:1::2/64'] : [])],
  })),
  peers: [a4, a6, otherPassword, otherAs, tooMany],
  networks: ['203.0.113.0/24', '2001:db8:bbbb::/48'],
  routes: [],
};

describe('a BGP speaker of FRR', { skip: missing, timeout: 600_000 }, () => {
  const wires = new Wires();
  const told = new Map<string, string>();
  /** Prefixes of which it was told that no way is left. */
  const gone = new Set<string>();
  let turns = 0;
  let speaker: Speaker;
  let upstreams: Upstream[] = [];
  let routeSource: BgpEnd;
  let namespace: string;
  let nsA: string;
  let nsB: string;
  let startedB = 0;
  let daemons: NamespaceDaemons;
  let dir: string;

  function newSpeaker(): Speaker {
    told.clear();
    return new Speaker({ namespace, binDir, log: silentLog, onChanges: note, holdMs: 1_000 });
  }
  function note(changes: readonly RouteChange[]): void {
    turns++;
    for (const { to, ways } of changes) {
      if (!ways) {
        told.delete(formatCidr(to));
        gone.add(formatCidr(to));
      } else if (ways.kind === 'forward')
        told.set(formatCidr(to), ways.vias.map((v) => `${formatIp(v.gateway!)}%${v.oif}`).join(' '));
    }
  }
  const index = (name: string): number => speaker.interfaces.get(name)!;
  async function state(of: SpeakerPeer): Promise<PeerState | undefined> {
    return (await speaker.peers()).find((p) => p.address === of.address);
  }

  /** Us, as B sees us. */
  async function peerAtB(): Promise<PeerState | undefined> {
    return parsePeers(await upstreams[1]!.ask(SHOW_PEERS), 0).find((p) => p.address === '10.0.2.2');
  }
  /** What B knows by us. */
  async function networksAtB(): Promise<string> {
    return String(await upstreams[1]!.learnedFrom('10.0.2.2'));
  }

  /** Of B's eleven networks; it may have told them more than once. */
  async function refusedSix(): Promise<void> {
    const { accepted, refused } = (await state(b))!;
    assert.deepEqual([accepted, refused!.prefixes % 6, refused!.hasDefault], [5, 0, false]);
    assert.ok(refused!.prefixes > 0);
  }

  before(async () => {
    namespace = await wires.namespace('s');
    daemons = new NamespaceDaemons({ namespace });
    dir = daemons.runDir;
    [nsA, nsB] = [await wires.namespace('a'), await wires.namespace('b')];
    const nsC = await wires.namespace('c');
    await wires.link(namespace, nsA, 'w1', ['10.0.1.1/24', '2001:db8:1::1/64']);
    for (const n of [2, 3, 4, 5]) await wires.link(namespace, nsB, `w${n}`, [`10.0.${n}.1/24`]);
    await wires.link(namespace, nsB, 'w7', ['10.0.7.1/24', '10.9.9.9/32']);
    await wires.link(namespace, nsC, 'w6', ['10.0.6.1/24']);
    startedB = performance.now();
    upstreams = await Promise.all([Upstream.start(nsA, A_CONFIG, A_BFD), Upstream.start(nsB, B_CONFIG)]);
    routeSource = new BgpEnd(nsC, { to: '10.0.6.2', asn: 65_030, routerId: '10.0.6.1' });
    speaker = newSpeaker();
    assert.deepEqual(await speaker.apply(config), []);
  });

  after(async () => {
    routeSource?.stop();
    await speaker?.stop();
    for (const upstream of upstreams) await upstream.stop();
    await wires.remove();
  });

  test('comes up with password and BFD, and learns routes with next hops of both families', async () => {
    await until('both sessions with A', async () => {
      const [v4, v6] = [await state(a4), await state(a6)];
      return v4?.established === true && v6?.established === true;
    });
    await until('BFD', async () =>
      (await speaker.bfd()).some((s) => s.peer === '10.0.1.1' && s.up && s.detectionMs === 300),
    );
    const both = `10.0.1.1%${index('w1')} 2001:db8:1::1%${index('w1')}`;
    await until('routes', () => told.get(SHARED[0]!) === both && told.get('2001:db8:aaaa::/48') !== undefined);
    assert.deepEqual([...told].sort(), [
      [SHARED[0], both],
      [SHARED[1], both],
      ['2001:db8:aaaa::/48', `2001:db8:1::1%${index('w1')}`],
    ]);
  });

  test('BFD of another pace takes effect while the session stays up', async () => {
    const before = (await state(a4))!;
    const slower = { ...a4, bfd: { multiplier: 4, intervalMs: 250 } };
    await speaker.apply({ ...config, peers: [slower, ...config.peers.slice(1)] });
    // The other side's multiplier, and the longer of what one asks for and the other offers (RFC 5880 §6.8.4).
    await until('250 ms', async () =>
      (await speaker.bfd()).some((s) => s.peer === '10.0.1.1' && s.up && s.detectionMs === 750),
    );
    await speaker.apply(config);
    await until('100 ms again', async () =>
      (await speaker.bfd()).some((s) => s.peer === '10.0.1.1' && s.up && s.detectionMs === 300),
    );
    const now = (await state(a4))!;
    assert.deepEqual([now.established, now.drops], [true, before.drops]);
  });

  test('its configuration is read by nobody else', () => {
    assert.equal(statSync(`${dir}/bgpd.conf`).mode & 0o777, 0o600);
    assert.equal(statSync(`${dir}/bgpd.applied`).mode & 0o777, 0o600);
    assert.equal(readFileSync(`${dir}/zebra.conf`, 'utf8').includes('secret'), false);
  });

  test('advertises its networks and nothing else, also of what another peer told', async () => {
    const [a, upstreamB] = upstreams as [Upstream, Upstream];
    const before = (await state(a4))!;
    await speaker.apply({ ...config, peers: [...config.peers, b], networks: [...config.networks, '203.0.114.9/32'] });
    await until('the session with B', async () => (await state(b))?.established === true);
    await until('the new network at A', async () => (await a.learnedFrom('10.0.1.2')).length === 2);
    await until('networks at B', async () => (await upstreamB.learnedFrom('10.0.2.2')).length === 2);
    const own = ['203.0.113.0/24', '203.0.114.9/32'];
    assert.deepEqual(await a.learnedFrom('10.0.1.2'), own);
    assert.deepEqual(await upstreamB.learnedFrom('10.0.2.2'), own);
    assert.deepEqual(await a.learnedFrom('2001:db8:1::2', 'ipv6'), ['2001:db8:bbbb::/48']);
    const now = (await state(a4))!;
    assert.equal(now.drops, before.drops, 'the session that did not change stays up');
    assert.ok(Math.abs(now.upSince! - before.upSince!) < 2_500);
  });

  test('two upstreams with the same prefixes share them', async () => {
    const three = [`10.0.1.1%${index('w1')}`, `10.0.2.1%${index('w2')}`, `2001:db8:1::1%${index('w1')}`].join(' ');
    await until('all ways', () => SHARED.every((p) => told.get(p) === three));
    assert.equal(told.get(ONLY_B), `10.0.2.1%${index('w2')}`);
  });

  test('of a peer only what is accepted is taken, and what it is told has its communities; its session stays up', async () => {
    const networks = [...config.networks, '203.0.114.9/32'];
    const policed = { ...b, accept: ['198.51.101.0/24', '198.18.0.0/22'], communities: ['65001:100', 'no-export'] };
    const before = (await state(b))!;
    await speaker.apply({ ...config, peers: [...config.peers, policed], networks });
    await until('the others are refused', () => !told.has(ONLY_B) && !told.get(SHARED[0]!)!.includes('10.0.2.1'));
    assert.ok(told.get(SHARED[1]!)!.includes('10.0.2.1'));
    assert.deepEqual([told.has('198.18.3.0/24'), told.has('198.18.4.0/24')], [true, false]);
    await refusedSix();
    const toldB = (): Promise<string> => upstreams[1]!.ask('show bgp ipv4 unicast 203.0.113.0/24 json');
    await until('communities at B', async () => /65001:100 no-export/i.test(await toldB()));
    await speaker.apply({ ...config, peers: [...config.peers, b], networks });
    await until('all of it again', () => told.has(ONLY_B));
    await until('no communities at B', async () => !(await toldB()).includes('65001:100'));
    assert.equal((await state(b))!.drops, before.drops);
  });

  test('of a peer the lengths that are said are taken, of what we have it is told the networks that are said', async () => {
    const networks = [...config.networks, '203.0.114.9/32'];
    // Of eight networks in it none is so short, of one all are so long.
    const accept = [
      { network: '0.0.0.0/0' },
      { network: '198.18.0.0/16', le: 23 },
      { network: '198.18.4.0/22', ge: 24, le: 24 },
      { network: '198.51.102.0/24' },
    ];
    const policed = { ...b, accept, advertise: ['203.0.113.0/24', { network: '203.0.114.0/24' }] };
    const before = (await state(b))!;
    await speaker.apply({ ...config, peers: [...config.peers, policed], networks });
    const wanted = ['198.18.4.0/24', '198.18.5.0/24', '198.18.6.0/24', '198.18.7.0/24', ONLY_B];
    const taken = (): readonly string[] => [...told].flatMap(([to, via]) => (via.includes('10.0.2.1') ? [to] : []));
    await until('the wanted alone', () => [...taken()].sort().join() === wanted.join());
    await refusedSix();
    const [a, upstreamB] = upstreams as [Upstream, Upstream];
    await until('one network at B', async () => (await upstreamB.learnedFrom('10.0.2.2')).join() === '203.0.113.0/24');
    assert.equal((await a.learnedFrom('10.0.1.2')).length, 2);
    await speaker.apply({ ...config, peers: [...config.peers, { ...b, advertise: [] }], networks });
    await until('all of it again', () => told.has('198.18.3.0/24'));
    await until('nothing at B', async () => (await upstreamB.learnedFrom('10.0.2.2')).length === 0);
    assert.equal((await state(b))!.refused, undefined);
    await speaker.apply({ ...config, peers: [...config.peers, b], networks });
    await until('both at B', async () => (await upstreamB.learnedFrom('10.0.2.2')).length === 2);
    assert.equal((await state(b))!.drops, before.drops);
  });

  test('whether routes outlive a restart may change while the session stays up', async () => {
    const before = (await state(b))!;
    const networks = [...config.networks, '203.0.114.9/32'];
    for (const peers of [[{ ...b, gracefulRestart: false }], [b]])
      assert.deepEqual(await speaker.apply({ ...config, peers: [...config.peers, ...peers], networks }), []);
    const now = (await state(b))!;
    assert.deepEqual([now.established, now.drops], [true, before.drops]);
  });

  test('a peer that cannot come up says why', async () => {
    const signed = async (): Promise<boolean> =>
      /segments with another password arrive$/.test((await state(otherPassword))?.problem ?? '');
    await until('a reason for the password', signed);
    await until('a reason for the AS', async () => /the AS number/.test((await state(otherAs))?.problem ?? ''));
    await until('a reason for too many', async () => /more prefixes/.test((await state(tooMany))?.problem ?? ''));
    assert.equal((await state(b))!.established, true);
    // Its SYNs are seconds apart.
    const said = await whatWas(
      async () => `${await signed()}`,
      () => pause(8_000),
    );
    assert.deepEqual(said, ['true'], 'the reason stays');
  });

  test('a peer that told too many is let in again as soon as it may tell so many, and the other sessions stay up', async () => {
    const before = [(await state(a4))!.drops, (await state(b))!.drops];
    const may = { ...tooMany, maxPrefixes: 100 };
    await speaker.apply({ ...config, peers: [a4, a6, otherPassword, otherAs, may, b] });
    await until('its session', async () => (await state(may))?.established === true);
    assert.deepEqual([(await state(a4))!.drops, (await state(b))!.drops], before);
  });

  test('a peer a hop further is reached by a route, and what it tells by that route too', async () => {
    const routes = [{ to: '10.9.9.9/32', via: '10.0.7.1' }];
    await speaker.apply({ ...config, peers: [a4, b, far], networks: ['203.0.113.0/24'], routes });
    await until('its session', async () => (await state(far))?.established === true);
    const both = `10.0.2.1%${index('w2')} 10.0.7.1%${index('w7')}`;
    await until('its routes', () => told.get(ONLY_B) === both);
  });

  test('a peer that goes leaves the others alone', async () => {
    const before = (await state(a4))!;
    await speaker.apply({ ...config, peers: [a4, b], networks: ['203.0.113.0/24'] });
    await until('routes without it', () => told.get(SHARED[0]!) === `10.0.1.1%${index('w1')} 10.0.2.1%${index('w2')}`);
    await until('one network less', async () => (await upstreams[0]!.learnedFrom('10.0.1.2')).length === 1);
    assert.deepEqual((await speaker.peers()).map((p) => p.address).sort(), ['10.0.1.1', '10.0.2.1']);
    assert.equal(told.get(ONLY_B), `10.0.2.1%${index('w2')}`);
    assert.equal((await state(a4))!.drops, before.drops);
  });

  test('outlives its agent: the next one finds the sessions up and is told the same routes', async () => {
    const before = (await state(a4))!;
    const routes = [...told].sort();
    const pids = speaker.daemons().map((d) => d.running);
    speaker.close();
    speaker = newSpeaker();
    assert.deepEqual(await speaker.apply({ ...config, peers: [a4, b], networks: ['203.0.113.0/24'] }), []);
    await until('all routes again', () => speaker.synced && told.size === routes.length);
    assert.deepEqual([...told].sort(), routes);
    const now = (await state(a4))!;
    assert.equal(now.drops, before.drops);
    assert.ok(Math.abs(now.upSince! - before.upSince!) < 2_500);
    assert.deepEqual(
      speaker.daemons().map((d) => d.running),
      pids,
    );
    assert.equal(
      speaker.daemons().some((d) => d.restarts > 0),
      false,
    );
  });

  test(`${PREFIXES} prefixes come into use, and go`, async (t) => {
    await speaker.apply({ ...config, peers: [a4, b, source], networks: ['203.0.113.0/24'] });
    await until('the session', () => routeSource.isUp);
    const few = told.size;
    turns = 0;
    const begin = performance.now();
    routeSource.do({ do: 'tell', pattern: 'beside', from: 0, to: PREFIXES, path: [65_030] });
    await until('all of them', () => told.size === few + PREFIXES, 30_000);
    const tookMs = performance.now() - begin;
    assert.equal(told.get('1.1.0.0/24'), `10.0.6.1%${index('w6')}`);
    const megabytes = ['zebra', 'bgpd', 'bfdd'].map((d) => `${d} ${residentMb(`${dir}/${d}.pid`)} MB`).join(', ');
    t.diagnostic(`${PREFIXES} prefixes in use after ${Math.round(tookMs)} ms, in ${turns} turns; ${megabytes}`);
    const end = performance.now();
    routeSource.stop();
    await until('none of them', () => told.size === few, 30_000);
    t.diagnostic(`gone ${Math.round(performance.now() - end)} ms after their session`);
    assert.notEqual(speaker.routes!.get(parseCidr(SHARED[0]!)!), undefined);
  });

  /** Our networks as B had them, asked meanwhile, and how often our session ended there, while our bgpd was killed and came back. */
  async function bgpdKilled(): Promise<{
    readonly atB: readonly string[];
    readonly removedAtB: readonly string[];
    readonly ends: number;
  }> {
    const pid = Number(readFileSync(`${dir}/bgpd.pid`, 'utf8'));
    const removed = routesRemoved(nsB);
    const { drops } = (await peerAtB())!;
    gone.clear();
    const atB = await whatWas(networksAtB, async () => {
      process.kill(pid, 'SIGKILL');
      // A is told that routes of this session are not to be kept over a restart: it must be rid of them at once.
      await until(
        'A without our network',
        async () => (await upstreams[0]!.learnedFrom('10.0.1.2')).length === 0,
        2_000,
      );
      await until('the sessions', async () => {
        const peers = await speaker.peers().catch(() => []);
        return peers.length > 1 && [a4, b].every((p) => peers.find((q) => q.address === p.address)?.established);
      });
      await until('routes', () => told.get(SHARED[0]!) === `10.0.1.1%${index('w1')} 10.0.2.1%${index('w2')}`);
      await until('our network at A', async () => (await upstreams[0]!.learnedFrom('10.0.1.2')).length === 1);
      await pause(1_000);
    });
    return { atB, removedAtB: await removed(), ends: (await peerAtB())!.drops - drops };
  }

  test('a bgpd that is killed comes back and learns again; BFD keeps nobody waiting, and who has none keeps our routes', async () => {
    const restarts = new Map(speaker.daemons().map((d) => [d.daemon, d.restarts]));
    const { atB, removedAtB, ends } = await bgpdKilled();
    assert.deepEqual(atB, ['203.0.113.0/24'], 'B was never without our network');
    // How long it was without a session is for FRR: often less than between two questions.
    assert.ok(ends > 0, 'B has seen the session end');
    assert.deepEqual(removedAtB, []);
    const now = new Map(speaker.daemons().map((d) => [d.daemon, d.restarts]));
    assert.equal(now.get('bgpd'), restarts.get('bgpd')! + 1);
    // Zebra of FRR 10.3 dies too (zebra_gr_delete_stale_route_table_afi), and is started again.
    if (binDir === INSTALLED) assert.equal(now.get('zebra'), restarts.get('zebra'));
  });

  // Until then A and B say in each OPEN that they have restarted themselves, and zebra does not keep what it was told.
  const slow = process.env.WEFT_CAMPAIGN ? otherFrr : 'waits until upstreams have run for two minutes: by --all';
  test('while a bgpd that is killed comes back, what B told stays in use', { skip: slow }, async () => {
    await pause(Math.max(0, startedB + 130_000 - performance.now()));
    const { atB, ends } = await bgpdKilled();
    assert.deepEqual(atB, ['203.0.113.0/24']);
    assert.ok(ends > 0);
    assert.deepEqual([...gone], []);
  });

  test('an upstream whose bgpd is killed keeps its routes here until it is back', async () => {
    const upstreamB = upstreams[1]!;
    gone.clear();
    const isUp = async (): Promise<boolean> => (await state(b))!.established;
    const was = await whatWas(
      async () => {
        // Others may have ended a while ago.
        const isLeftOut = speaker.ended.includes(b.address);
        return `${(await isUp()) ? 'up' : 'down'}: ${isLeftOut ? 'left out' : told.get(ONLY_B)}`;
      },
      async () => {
        process.kill(upstreamB.daemons.pidOf('bgpd')!, 'SIGKILL');
        await until('the end of the session', async () => !(await isUp()));
        await pause(1_500);
        await upstreamB.daemons.launch('bgpd');
        await until('the session', isUp);
        await until('its routes', async () => (await state(b))!.accepted === 11);
        await pause(1_000);
      },
    );
    assert.deepEqual([...was].sort(), [`down: 10.0.2.1%${index('w2')}`, `up: 10.0.2.1%${index('w2')}`]);
    assert.deepEqual([...gone], []);
  });

  test('of an upstream that falls silent BFD takes the routes, whatever graceful restart says', async (t) => {
    const routes = (): string[] => SHARED.map((to) => told.get(to) ?? '');
    const [ofA, ofB] = [`10.0.1.1%${index('w1')}`, `10.0.2.1%${index('w2')}`];
    for (const gracefulRestart of [undefined, true]) {
      await speaker.apply({ ...config, peers: [{ ...a4, gracefulRestart }, b], networks: ['203.0.113.0/24'] });
      await upstreams[0]!.ask('clear bgp 10.0.1.2');
      await pause(1_500);
      await until('the session', async () => (await state(a4))?.established === true);
      await until('its routes', () => routes().every((ways) => ways === `${ofA} ${ofB}`));
      await until('BFD', async () => (await speaker.bfd()).some((s) => s.peer === '10.0.1.1' && s.up));
      const agreed = await upstreams[0]!.ask('show bgp ipv4 neighbors 10.0.1.2 graceful-restart json');
      assert.match(agreed, gracefulRestart ? /"remoteGrMode":"Restart"/ : /"remoteGrMode":"Disable"/);
      // What it sends goes to nobody; its link stays up.
      const here = `10.0.1.2 dev w1`;
      await scriptIn(nsA, [`ip neigh replace ${here} lladdr 02:00:00:00:00:99 nud permanent`]);
      const begin = performance.now();
      try {
        await until('its routes to go', () => routes().every((ways) => ways === ofB), 1_500);
        t.diagnostic(`graceful restart ${gracefulRestart}: gone ${Math.round(performance.now() - begin)} ms after`);
      } finally {
        await scriptIn(nsA, [`ip neigh del ${here}`]);
      }
    }
  });

  test('stop ends its daemons and no others', async () => {
    assert.notEqual(daemons.pidOf('zebra'), undefined);
    await speaker.stop();
    for (const daemon of DAEMONS) assert.equal(daemons.pidOf(daemon), undefined, daemon);
    assert.equal(existsSync(dir), false, 'nor files with passwords');
    assert.notEqual(upstreams[0]!.daemons.pidOf('bgpd'), undefined);
  });
});

/** What it answers meanwhile, asked every 50 ms, without repetitions. */
async function whatWas(ask: () => Promise<string>, meanwhile: () => Promise<void>): Promise<readonly string[]> {
  const answers = new Set<string>();
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      answers.add(await ask());
      await pause(50);
    }
  })();
  try {
    await meanwhile();
  } finally {
    isOver = true;
    await asking;
  }
  return [...answers];
}

/** Routes that the kernel of the namespace takes away, as lines, from now on until it is called. */
function routesRemoved(namespace: string): () => Promise<readonly string[]> {
  const child = spawn('ip', ['-n', namespace, 'monitor', 'route'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return async () => {
    child.kill();
    await once(child, 'close');
    return text.split('\n').filter((line) => line !== '');
  };
}

/** Asks ten times a second. */
async function until(what: string, done: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await done())) {
    if (performance.now() > end) assert.fail(`no ${what} within ${timeoutMs} ms`);
    await pause(100);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function residentMb(pidFile: string): number {
  const status = readFileSync(`/proc/${Number(readFileSync(pidFile, 'utf8'))}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024);
}
