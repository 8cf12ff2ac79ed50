// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { formatCidr, formatIp } from '../../src/base/addresses.ts';
import { silentLog } from '../../src/base/log.ts';
import { DEFAULT_BFD, type SpeakerConfig, type SpeakerPeer } from '../../src/frr/config.ts';
import type { PeerState } from '../../src/frr/show.ts';
import { Speaker } from '../../src/frr/speaker.ts';
import { eventually, sleep } from '../lab/datacentre.ts';
import { Upstream, Wires } from './upstream.ts';

/**
 * What speaker.test.ts asks over IPv4, over sessions of IPv6 with real FRR at both ends. Each wire is a network of its own, 2001:db8:N::1 upstream and
 * 2001:db8:N::2 here:
 *
 *     w1  A, AS 65010: password and BFD
 *     w2  B, AS 65020: the same prefixes as A, and more
 *     w3  B: with another password      w5  B: more prefixes than allowed
 *     w7  B as 2001:db8:99::9, a hop further, with a password
 */
const INSTALLED = '/usr/lib/frr';
const missing =
  process.getuid?.() !== 0 ? 'needs root' : existsSync(`${INSTALLED}/bgpd`) ? false : 'needs FRR (package frr)';

const SHARED = ['2001:db8:100::/48', '2001:db8:101::/48'];
const ONLY_B = '2001:db8:102::/48';
/** Of 2001:db8:180::/45. */
const eighth = (n: number): string => `2001:db8:18${n}::/48`;
const EIGHT = [0, 1, 2, 3, 4, 5, 6, 7].map(eighth);
const FAR = '2001:db8:99::9';
const OWN = ['2001:db8:bbb0::/48', '2001:db8:bbb1::9/128'];

const session = (peer: string, ...more: string[]): string =>
  [`remote-as 65001`, 'timers connect 1', ...more].map((line) => ` neighbor ${peer} ${line}`).join('\n');
const family = (peers: readonly string[], networks: readonly string[]): string =>
  [
    ' address-family ipv6 unicast',
    ...networks.map((network) => `  network ${network}`),
    ...peers.map((peer) => `  neighbor ${peer} activate`),
    ' exit-address-family',
  ].join('\n');
const start = (asn: number, routerId: string): string => `
router bgp ${asn}
 bgp router-id ${routerId}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast`;
const A_CONFIG = `${start(65_010, '10.0.1.1')}
${session('2001:db8:1::2', 'password secret', 'bfd profile fast')}
${family(['2001:db8:1::2'], SHARED)}
`;
const A_BFD = `
bfd
 profile fast
  receive-interval 100
  transmit-interval 100
 exit
exit
`;
const ENDS_OF_B = [2, 3, 5, 7].map((n) => `2001:db8:${n}::2`);
const B_CONFIG = `${start(65_020, '10.0.2.1')}
${session('2001:db8:2::2')}
${session('2001:db8:3::2', 'password right')}
${session('2001:db8:5::2')}
${session('2001:db8:7::2', 'ebgp-multihop 2', `update-source ${FAR}`, 'password distant')}
${family(ENDS_OF_B, [...SHARED, ONLY_B, ...EIGHT])}
`;

const peer = (address: string, asn: number, more: Partial<SpeakerPeer> = {}): SpeakerPeer => ({
  ...{ address, asn, keepaliveS: 3, holdS: 9, maxPrefixes: 1_000, families: ['ipv6'], adminUp: true },
  ...more,
});
const a = peer('2001:db8:1::1', 65_010, { password: 'secret', bfd: DEFAULT_BFD });
const b = peer('2001:db8:2::1', 65_020);
const otherPassword = peer('2001:db8:3::1', 65_020, { password: 'wrong' });
const tooMany = peer('2001:db8:5::1', 65_020, { maxPrefixes: 3 });
const far = peer(FAR, 65_020, { multihop: 2, password: 'distant' });
const config: SpeakerConfig = {
  ...{ routerId: '10.0.1.2', asn: 65_001, fpmPort: 2620, networks: OWN, routes: [] },
  interfaces: [1, 2, 3, 5, 7].map((n) => ({ name: `w${n}`, addresses: [`2001:db8:${n}::2/64`] })),
  peers: [a, b],
};

describe('a BGP speaker over IPv6', { skip: missing, timeout: 300_000 }, () => {
  const wires = new Wires();
  const told = new Map<string, string>();
  let speaker: Speaker;
  let upstreams: Upstream[] = [];

  const index = (name: string): number => speaker.interfaces.get(name)!;
  const state = async (of: SpeakerPeer): Promise<PeerState | undefined> =>
    (await speaker.peers()).find(({ address }) => address === of.address);
  const until = (what: string, done: () => boolean | Promise<boolean>): Promise<boolean> =>
    eventually(what, 30_000, async () => done());
  const applied = (...peers: SpeakerPeer[]): Promise<unknown> => speaker.apply({ ...config, peers });
  const ofB = (): string[] => [...told].flatMap(([to, via]) => (via.includes('2001:db8:2::1') ? [to] : [])).sort();
  const atB = (): Promise<string[]> => upstreams[1]!.learnedFrom('2001:db8:2::2', 'ipv6');

  before(async () => {
    const namespace = await wires.namespace('s6');
    const [nsA, nsB] = [await wires.namespace('a6'), await wires.namespace('b6')];
    await wires.link(namespace, nsA, 'w1', ['2001:db8:1::1/64']);
    for (const n of [2, 3, 5]) await wires.link(namespace, nsB, `w${n}`, [`2001:db8:${n}::1/64`]);
    await wires.link(namespace, nsB, 'w7', ['2001:db8:7::1/64', `${FAR}/128`]);
    upstreams = await Promise.all([Upstream.start(nsA, A_CONFIG, A_BFD), Upstream.start(nsB, B_CONFIG)]);
    speaker = new Speaker({
      ...{ namespace, binDir: INSTALLED, log: silentLog, holdMs: 1_000 },
      onChanges: (changes) => {
        for (const { to, ways } of changes)
          if (ways?.kind === 'forward')
            told.set(formatCidr(to), ways.vias.map((v) => `${formatIp(v.gateway!)}%${v.oif}`).join(' '));
          else told.delete(formatCidr(to));
      },
    });
    assert.deepEqual(await applied(a, b), []);
  });
  after(async () => {
    await speaker?.stop();
    for (const upstream of upstreams) await upstream.stop();
    await wires.remove();
  });

  test('comes up with password and BFD; two upstreams with the same prefixes share them, by their global addresses', async () => {
    for (const one of [a, b])
      await until(`the session with ${one.address}`, async () => !!(await state(one))?.established);
    await until('BFD', async () =>
      (await speaker.bfd()).some((s) => s.peer === a.address && s.up && s.detectionMs === 300),
    );
    const both = `2001:db8:1::1%${index('w1')} 2001:db8:2::1%${index('w2')}`;
    await until('both ways', () => SHARED.every((to) => told.get(to) === both));
    assert.equal(told.get(ONLY_B), `2001:db8:2::1%${index('w2')}`);
    assert.deepEqual([...told.keys()].sort(), [...SHARED, ONLY_B, ...EIGHT]);
    await until('our networks', async () => (await atB()).length === 2);
    assert.deepEqual(await atB(), OWN);
  });

  test('a peer with another password says so, and one that tells too many prefixes', async () => {
    await applied(a, b, otherPassword, tooMany);
    await until('a reason for the password', async () =>
      /segments with another password arrive$/.test((await state(otherPassword))?.problem ?? ''),
    );
    await until('a reason for too many', async () => /more prefixes/.test((await state(tooMany))?.problem ?? ''));
    assert.deepEqual([(await state(otherPassword))!.established, (await state(tooMany))!.established], [false, false]);
    assert.ok([...told.values()].every((via) => !via.includes('2001:db8:5::1')));
    await applied(a, b, { ...otherPassword, password: 'right' });
    await until('the right one', async () => (await state(otherPassword))?.established === true);
    await applied(a, b);
  });

  test('exactly as many prefixes as are allowed are not too many', async () => {
    const enough = { ...tooMany, maxPrefixes: 3 + EIGHT.length };
    await applied(a, b, enough);
    await until('its prefixes', async () => (await state(enough))?.accepted === 11);
    await applied(a, b);
  });

  test('of a peer the prefixes and lengths that are said are taken, the others counted; it is told the networks that are said', async () => {
    const before = (await state(b))!;
    await until('all of it', () => ofB().length === 11);
    const accept = [
      // IPv4 and a length that none has: nothing.
      { network: '0.0.0.0/0', le: 32 },
      { network: '2001:db8:180::/45', le: 47 },
      { network: '2001:db8:184::/46', ge: 48, le: 48 },
      ONLY_B,
    ];
    await applied(a, {
      ...b,
      accept,
      advertise: [{ network: '2001:db8:bbb1::/48', ge: 128 }],
      communities: ['65001:6'],
    });
    const wanted = [ONLY_B, ...[4, 5, 6, 7].map(eighth)];
    await until('the wanted alone', () => ofB().join() === wanted.join());
    const { accepted, refused } = (await state(b))!;
    assert.deepEqual([accepted, refused!.prefixes % 6, refused!.hasDefault], [5, 0, false]);
    assert.ok(refused!.prefixes > 0);
    await until('one network at B', async () => (await atB()).join() === OWN[1]);
    assert.match(await upstreams[1]!.ask(`show bgp ipv6 unicast ${OWN[1]} json`), /65001:6\b/);
    assert.deepEqual(await upstreams[0]!.learnedFrom('2001:db8:1::2', 'ipv6'), OWN);
    await applied(a, { ...b, accept: [], advertise: [] });
    await until('nothing of it, and nothing at B', async () => ofB().length === 0 && (await atB()).length === 0);
    await applied(a, b);
    await until('all of it again', async () => ofB().length === 11 && (await atB()).length === 2);
    const now = (await state(b))!;
    assert.deepEqual([now.established, now.drops, now.refused], [true, before.drops, undefined]);
  });

  test('a peer a hop further is reached by a route, with its password, and what it tells by that route too', async () => {
    const apply = (routes: SpeakerConfig['routes']): Promise<unknown> =>
      speaker.apply({ ...config, peers: [a, b, far], routes });
    await apply([]);
    await sleep(2_000);
    assert.equal((await state(far))!.established, false, 'without a way');
    await apply([{ to: `${FAR}/128`, via: '2001:db8:7::1' }]);
    await until('its session', async () => (await state(far))?.established === true);
    const both = `2001:db8:2::1%${index('w2')} 2001:db8:7::1%${index('w7')}`;
    await until('its routes', () => told.get(ONLY_B) === both);
    await applied(a, b);
    await until('routes without it', () => told.get(ONLY_B) === `2001:db8:2::1%${index('w2')}`);
    assert.deepEqual((await speaker.peers()).map(({ address }) => address).sort(), [a.address, b.address]);
  });
});
