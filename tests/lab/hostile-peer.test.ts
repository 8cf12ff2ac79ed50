// Takes a minute: runs first, by --all.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Vty } from '../../src/frr/vty.ts';
import { countingDrops } from '../../src/lab/machine-drops.ts';
import {
  Attribute,
  asPath,
  attribute,
  ipv4,
  message,
  network,
  nlri,
  Type,
  update,
  usualAttributes,
} from '../frr/bgp-messages.ts';
import { BgpEnd } from '../frr/upstream.ts';
import { eventually, sleep } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { isp, peerOf, type SpeakingEnds, startSpeakingEnds, UPSTREAMS, type UpstreamName } from './speaking-ends.ts';

/**
 * An upstream that does wrong: up-1. Nothing of it may disturb the session with up-2, what is learned from there, or a packet that goes there; and
 * what people are told of it is what happened.
 */
const [BAD, GOOD] = UPSTREAMS;
const GOODS = ['20.2.0.0/16', '20.3.0.0/24'];
const TARGET = '20.2.0.1';
/** Pings until a file is gone, five minutes at most, and once at least; each time ten, whose answers are waited for: none is under way when it ends. */
const PING_WHILE = `n=0
while ping -q -c 10 -i 0.05 -W 1 "$1"; n=$((n+1)); [ -e "$0" ] && [ $n -lt 600 ]; do :; done`;

describe('an upstream that does wrong', { skip: needsRoot }, () => {
  let site: SpeakingEnds;
  let bgpdPid: () => string;
  let bgpdVty: string;

  before(async () => {
    site = await startSpeakingEnds('bad', { addresses: [`${TARGET}/32`] });
    const [dir] = readdirSync('/var/run/frr').filter((name) => name.startsWith(`${site.lab.namespace('gw')}-bgp-`));
    bgpdVty = `/var/run/frr/${dir}/bgpd.vty`;
    bgpdPid = () => readFileSync(`/var/run/frr/${dir}/bgpd.pid`, 'utf8');
    say(
      GOOD.name,
      update({ attributes: usualAttributes([GOOD.asn], GOOD.there), announced: nlri(GOODS.map(network)) }),
    );
    await learned(GOODS.map((to) => `${to} ${GOOD.there}`));
  });
  after(() => site?.down());

  const say = (name: UpstreamName, bytes: Uint8Array, times = 1): void =>
    site.ends[name].do({ do: 'send', hex: Buffer.from(bytes).toString('hex'), times });
  const tell = (networks: readonly string[], path: readonly number[] = [BAD.asn]): void =>
    say(BAD.name, update({ attributes: usualAttributes(path, BAD.there), announced: nlri(networks.map(network)) }));
  const take = (...networks: string[]): void => say(BAD.name, update({ withdrawn: nlri(networks.map(network)) }));
  const put = (...objects: object[]): Promise<unknown> => site.weft.client.post('/v1/apply', { objects });

  /** What was written is done: bgpd's configuration has a line like this. */
  const isConfigured = (line: RegExp): Promise<boolean> =>
    eventually(`${line} of bgpd`, 10_000, async () => {
      const vty = await Vty.open(bgpdVty);
      const { output } = await vty.send('show running-config');
      vty.close();
      return line.test(output);
    });

  async function learned(wanted: readonly string[]): Promise<void> {
    let is: string[] = [];
    await eventually(`routes ${wanted}`, 20_000, async () => {
      is = (await site.routes()).map(({ to, via }) => `${to} ${via.map(({ address }) => address)}`).sort();
      return is.join() === [...wanted].sort().join() ? true : undefined;
    }).catch((error: unknown) => {
      throw new Error(`${error}; there are ${is}`);
    });
  }
  const ofGood = GOODS.map((to) => `${to} ${GOOD.there}`);
  const texts = async (): Promise<readonly string[]> =>
    (await site.weft.client.get<{ problems: readonly { text: string }[] }>('/v1/status')).problems.map(
      ({ text }) => text,
    );
  const events = async (): Promise<readonly string[]> =>
    (await site.weft.client.get<{ items: readonly { text: string }[] }>('/v1/events')).items.map(({ text }) => text);

  /** While it does that, the other session and its packets are as they were, and no daemon dies. */
  async function undisturbed(does: () => Promise<void>): Promise<void> {
    const pid = bgpdPid();
    const since = (await peer(GOOD.name)).sinceMs;
    const drops = await countingDrops(site.lab);
    const flag = join(tmpdir(), `${site.lab.name}.pings`);
    writeFileSync(flag, '');
    const pings = site.lab.exec('web', ['sh', '-c', PING_WHILE, flag, TARGET], { timeoutMs: 330_000 });
    try {
      await does();
    } finally {
      rmSync(flag);
      const { stdout } = await pings;
      const counts = [...stdout.matchAll(/(\d+) packets transmitted, (\d+) received/g)];
      const lost = counts.map(([, sent, received]) => Number(sent) - Number(received)).reduce((sum, n) => sum + n, 0);
      const dropped = await drops();
      assert.ok(counts.length > 0 && lost <= 1 + dropped, `${stdout}; the machine dropped ${dropped}`);
    }
    assert.equal(bgpdPid(), pid, 'the same bgpd');
    const good = await peer(GOOD.name);
    assert.deepEqual([good.state, Math.abs(good.sinceMs - since) < 2000], ['established', true]);
    assert.ok((await site.router()).learned >= GOODS.length);
    assert.equal(site.weft.agent('gw').running && site.weft.server.running, true);
  }
  /** As `undisturbed`, under a policy of its own, which is gone behind it whatever came of it, with what it told. */
  async function accepting(policy: object, does: () => Promise<void>): Promise<void> {
    await put(peerOf(BAD.name, policy));
    try {
      // What was told before its policy was changed it would have to be asked for again (RFC 2918), which it does not understand.
      await isConfigured(/neighbor 192\.0\.2\.1 route-map weft-in-ipv4-\S+ in/);
      await undisturbed(does);
    } finally {
      take('0.0.0.0/0', '10.0.1.0/24', '20.9.0.0/16', '128.0.0.0/1');
      await put(peerOf(BAD.name));
      await isConfigured(/neighbor 192\.0\.2\.1 route-map weft-in in/);
    }
  }
  const peer = async (name: UpstreamName) => {
    const shown = (await site.peer(name)) as unknown as {
      readonly state: string;
      readonly sessions: readonly { readonly sinceMs: number; readonly problem?: string }[];
    };
    return { state: shown.state, sinceMs: shown.sessions[0]?.sinceMs ?? 0, problem: shown.sessions[0]?.problem ?? '' };
  };
  const isBack = async (): Promise<void> => {
    await eventually(`${BAD.name} to be let in`, 60_000, async () => site.ends[BAD.name].isUp || undefined);
    await site.established(BAD.name);
  };
  async function problemIs(name: UpstreamName, what: RegExp): Promise<void> {
    const said = new Set<string>();
    await eventually(`a problem like ${what}`, 40_000, async () => {
      const { problem } = await peer(name);
      said.add(problem);
      return what.test(problem) || undefined;
    }).catch((error: unknown) => {
      throw new Error(`${error}; there were ${[...said].join(' | ')}`);
    });
  }

  /** RFC 7606: such an update counts as a withdrawal of its networks, and the session stands. */
  const WITHDRAWN: Readonly<Record<string, readonly Uint8Array[]>> = {
    'an ORIGIN that is none': [
      attribute(Attribute.origin, Uint8Array.of(7)),
      attribute(Attribute.asPath, asPath(BAD.asn)),
      attribute(Attribute.nextHop, ipv4(BAD.there)),
    ],
    'an AS_PATH whose segment ends behind it': [
      attribute(Attribute.origin, Uint8Array.of(0)),
      attribute(Attribute.asPath, Uint8Array.of(2, 9, 0, 0, 0, 1)),
      attribute(Attribute.nextHop, ipv4(BAD.there)),
    ],
    'an AS_PATH with a segment of no kind': [
      attribute(Attribute.origin, Uint8Array.of(0)),
      attribute(Attribute.asPath, Uint8Array.of(77, 1, 0, 0, 0, 1)),
      attribute(Attribute.nextHop, ipv4(BAD.there)),
    ],
    'a NEXT_HOP of three bytes': [
      ...usualAttributes([BAD.asn], BAD.there).slice(0, 2),
      attribute(Attribute.nextHop, Uint8Array.of(192, 0, 2)),
    ],
    'COMMUNITIES of seven bytes': [
      ...usualAttributes([BAD.asn], BAD.there),
      attribute(Attribute.community, new Uint8Array(7), 0xc0),
    ],
    'no AS_PATH': [attribute(Attribute.origin, Uint8Array.of(0)), attribute(Attribute.nextHop, ipv4(BAD.there))],
  };
  test('malformed attributes take back their networks and no others, and the session stands', async (t) => {
    await undisturbed(async () => {
      for (const [what, attributes] of Object.entries(WITHDRAWN)) {
        const wasUp = site.ends[BAD.name].said.length;
        tell(['20.9.0.0/16', '20.9.9.0/24']);
        await learned([...ofGood, `20.9.0.0/16 ${BAD.there}`, `20.9.9.0/24 ${BAD.there}`]);
        say(BAD.name, update({ attributes, announced: nlri([network('20.9.9.0/24')]) }));
        await eventually(
          `${what}: taken back`,
          20_000,
          async () => (await site.routes()).every(({ to }) => to !== '20.9.9.0/24') || undefined,
        );
        const said = site.ends[BAD.name].said.slice(wasUp).filter((line) => line !== 'done');
        t.diagnostic(`${what}: ${said.length === 0 ? 'the session stands' : said.join(', ')}`);
        if (said.length > 0) await isBack();
        else await learned([...ofGood, `20.9.0.0/16 ${BAD.there}`]);
      }
      take('20.9.0.0/16');
      await learned(ofGood);
    });
  });

  /** What leaves no way to know where the next message begins, or what it is about. */
  const RESET: Readonly<Record<string, Uint8Array>> = {
    'attributes that end behind the message': update({ attributes: usualAttributes([BAD.asn], BAD.there) }, 4000),
    'a network of 33 bits': update({
      attributes: usualAttributes([BAD.asn], BAD.there),
      announced: Uint8Array.of(33, 20, 9, 9, 0, 1),
    }),
    'a network cut short': update({
      attributes: usualAttributes([BAD.asn], BAD.there),
      announced: Uint8Array.of(24, 20, 9),
    }),
    'withdrawn networks that end behind the message': message(Type.update, Uint8Array.of(0x0f, 0xff, 0, 0)),
    'a message of 18 bytes': message(Type.keepalive, new Uint8Array(), 18),
    'a message of 60,000 bytes': message(Type.update, new Uint8Array(64), 60_000),
    'a message of no kind': message(99, new Uint8Array(10)),
    'no marker': new Uint8Array(64),
    'an OPEN in mid-session': message(Type.open, Uint8Array.of(4, 0, 1, 0, 90, 1, 2, 3, 4, 0)),
  };
  test('what cannot be read ends the session, with a reason and without its routes; it comes back', async (t) => {
    await undisturbed(async () => {
      for (const [what, bytes] of Object.entries(RESET)) {
        tell(['20.9.0.0/16']);
        await learned([...ofGood, `20.9.0.0/16 ${BAD.there}`]);
        const from = site.ends[BAD.name].said.length;
        say(BAD.name, bytes);
        await eventually(
          `${what}: the end`,
          20_000,
          async () => site.ends[BAD.name].said.slice(from).includes('closed') || undefined,
        );
        await learned(ofGood);
        const said = site.ends[BAD.name].said.slice(from).filter((line) => line.startsWith('notification'));
        t.diagnostic(`${what}: ${said.join(', ')}`);
        assert.ok(said.length > 0, what);
        await isBack();
      }
    });
    const told = (await events()).filter((text) => text.includes('isp/core/up-1'));
    assert.match(told.join('\n'), /the session with isp\/core\/up-1 \(192\.0\.2\.1\) at gw ended: ./);
    assert.match(told.join('\n'), /is up again/);
    assert.equal(
      (await events()).some((text) => text.includes('isp/core/up-2')),
      false,
    );
  });

  test('an AS_PATH of a thousand, and one with our own AS, are what they are', async () => {
    await undisturbed(async () => {
      tell(['20.9.0.0/16'], [BAD.asn, ...Array.from({ length: 900 }, (_, n) => 100 + n)]);
      await learned([...ofGood, `20.9.0.0/16 ${BAD.there}`]);
      tell(['20.9.0.0/16'], [BAD.asn, 64_512]);
      await learned(ofGood);
    });
  });

  test('a flood of updates ends as the last one says', async () => {
    await undisturbed(async () => {
      const on = update({
        attributes: usualAttributes([BAD.asn], BAD.there),
        announced: nlri([network('20.9.0.0/16')]),
      });
      const off = update({ withdrawn: nlri([network('20.9.0.0/16')]) });
      const both = new Uint8Array([...on, ...off]);
      say(BAD.name, both, 20_000);
      tell(['20.9.1.0/24']);
      await learned([...ofGood, `20.9.1.0/24 ${BAD.there}`]);
      take('20.9.1.0/24');
      await learned(ofGood);
    });
  });

  test('a default route that it should not tell is not taken', async () => {
    await accepting({ accept: ['20.0.0.0/8'] }, async () => {
      tell(['0.0.0.0/0', '10.0.1.0/24', '20.9.0.0/16']);
      await learned([...ofGood, `20.9.0.0/16 ${BAD.there}`]);
      await sleep(1000);
      await learned([...ofGood, `20.9.0.0/16 ${BAD.there}`]);
      const [session] = (await site.peer(BAD.name)).sessions;
      assert.deepEqual([session?.accepted, session?.refused], [1, 2]);
      take('0.0.0.0/0', '10.0.1.0/24', '20.9.0.0/16');
      await learned(ofGood);
    });
    const told = (await events()).filter((text) => text.includes('default route'));
    assert.deepEqual(told, ['isp/core/up-1 (192.0.2.1) tells a default route, which its accept refuses, at gw']);
  });

  test('a default route alone is taken where it alone is wanted', async () => {
    await accepting({ accept: [{ network: '0.0.0.0/0' }] }, async () => {
      tell(['0.0.0.0/0', '20.9.0.0/16', '128.0.0.0/1']);
      await learned([...ofGood, `0.0.0.0/0 ${BAD.there}`]);
      take('0.0.0.0/0', '20.9.0.0/16', '128.0.0.0/1');
      await learned(ofGood);
    });
  });

  test('ten times as many networks as it may tell end its session, which is told, and nothing of them stays; where more may be told it is back', async () => {
    await put(peerOf(BAD.name, { maxPrefixes: 100 }));
    try {
      await undisturbed(async () => {
        site.ends[BAD.name].do({ do: 'tell', pattern: 'apart', from: 0, to: 1000, path: [BAD.asn] });
        await problemIs(BAD.name, /more prefixes than the maximum/);
        await learned(ofGood);
      });
      assert.match(
        (await texts()).join('\n'),
        /bgpPeer isp\/core\/up-1: \w+ for \d+ s at gw: .*this side ended it: more prefixes than the maximum \(maxPrefixes\): it is let in again when that is raised/,
      );
      // Of one that ended before within a minute it is told when the minute is over.
      await eventually('an event', 75_000, async () =>
        (await events()).some((text) =>
          /^the session with isp\/core\/up-1 \(192\.0\.2\.1\) at gw ended: .*more prefixes than the maximum/.test(text),
        ),
      );
    } finally {
      await put(peerOf(BAD.name));
      await isBack();
    }
  });

  test('a session that flaps ten times a second is told to flap, and is well when it stops', async () => {
    await undisturbed(async () => {
      site.ends[BAD.name].do({ do: 'flap', times: 25, everyMs: 100 });
      await problemIs(BAD.name, /it went down \d+ times within a minute/);
    });
    assert.match((await texts()).join('\n'), /bgpPeer isp\/core\/up-1: .*it went down \d+ times within a minute/);
    await isBack();
    tell(['20.9.0.0/16']);
    await learned([...ofGood, `20.9.0.0/16 ${BAD.there}`]);
    take('20.9.0.0/16');
    await learned(ofGood);
  });

  test('one of another AS that only calls is not let in, nor one without the password, and both are told as such', async () => {
    site.ends[BAD.name].stop();
    const other = new BgpEnd(site.lab.namespace(BAD.name), { to: BAD.here, asn: 64_999, routerId: BAD.there });
    await undisturbed(async () => {
      await eventually('a refusal', 20_000, async () => other.said.includes('notification 2 2') || undefined);
      await problemIs(BAD.name, /calls, and this side refuses it: the AS number/);
      assert.deepEqual([other.isUp, (await peer(BAD.name)).state === 'established'], [false, false]);
    });
    assert.match((await texts()).join('\n'), /bgpPeer isp\/core\/up-1: \w+ for \d+ s at gw: ./);
    other.stop();
    await put(peerOf(BAD.name, { password: 'nobody-knows' }));
    const plain = new BgpEnd(site.lab.namespace(BAD.name), { to: BAD.here, asn: BAD.asn, routerId: BAD.there });
    await undisturbed(() => problemIs(BAD.name, /segments with another password arrive/));
    plain.stop();
    await put(peerOf(BAD.name, { password: null }));
    await site.speak(BAD.name);
    await site.established(BAD.name);
  });

  /** In another network of up-1's router port, by the same wire. */
  const SECOND = { name: 'second', asn: 64_603, there: '192.0.2.17', here: '192.0.2.18' };
  test('two peers of one router port share what both tell, and one that ends leaves the other alone', async () => {
    const uplink = (...addresses: readonly string[]): object =>
      isp('routerPort', BAD.name, { router: 'core', switch: BAD.name, addresses: addresses.map((a) => `${a}/30`) });
    const wire = 'to-gw';
    await site.lab.execOk(BAD.name, ['ip', 'addr', 'add', `${SECOND.there}/30`, 'dev', wire]);
    await put(uplink(BAD.here, SECOND.here), {
      ...peerOf(BAD.name, { asn: SECOND.asn }),
      ...{ name: SECOND.name, address: SECOND.there },
    });
    const { here: to, there: routerId, asn } = SECOND;
    const second = new BgpEnd(site.lab.namespace(BAD.name), { to, asn, routerId });
    try {
      await eventually('the second to be let in', 40_000, async () => second.isUp || undefined);
      await isBack();
      await undisturbed(async () => {
        const tells = update({
          attributes: usualAttributes([asn], routerId),
          announced: nlri([network('20.9.0.0/16')]),
        });
        second.do({ do: 'send', hex: Buffer.from(tells).toString('hex') });
        await learned([...ofGood, `20.9.0.0/16 ${routerId}`]);
        tell(['20.9.0.0/16', `${TARGET}/32`]);
        await learned([...ofGood, `${TARGET}/32 ${BAD.there}`, `20.9.0.0/16 ${BAD.there},${routerId}`]);
        const since = (await peer(BAD.name)).sinceMs;
        second.stop();
        await learned([...ofGood, `${TARGET}/32 ${BAD.there}`, `20.9.0.0/16 ${BAD.there}`]);
        const first = await peer(BAD.name);
        assert.deepEqual([first.state, Math.abs(first.sinceMs - since) < 2000], ['established', true]);
        take('20.9.0.0/16', `${TARGET}/32`);
        await learned(ofGood);
      });
    } finally {
      second.stop();
      await site.weft.client.request('DELETE', `/v1/bgp-peers/isp%2Fcore%2F${SECOND.name}`);
      await put(uplink(BAD.here));
    }
  });

  test('two tenants that advertise the same addresses to one AS are told so', async () => {
    const other = (kind: string, name: string, rest: object): object => ({ kind, tenant: 'other', name, ...rest });
    await put(isp('router', 'core', { bgp: { asn: 64_512, networks: ['203.0.113.0/24'] } }));
    await put(
      { kind: 'tenant', name: 'other' },
      other('router', 'edge', { bgp: { asn: 64_513, networks: ['203.0.113.128/25'] } }),
      other('switch', 'up', {}),
      other('routerPort', 'up', { router: 'edge', switch: 'up', addresses: ['192.0.2.66/30'] }),
      other('bgpPeer', 'up', { router: 'edge', routerPort: 'edge/up', address: '192.0.2.65', asn: GOOD.asn }),
    );
    const wanted =
      /router other\/edge: it advertises 203\.0\.113\.128\/25, within 203\.0\.113\.0\/24 of router isp\/core, to the same AS outside/;
    assert.match((await texts()).join('\n'), wanted);
    await eventually('an event', 10_000, async () => (await events()).some((text) => wanted.test(text)));
    const told = (advertise: readonly string[]): Promise<unknown> =>
      site.weft.client.request('PATCH', '/v1/bgp-peers/other%2Fedge%2Fup', { body: { advertise } });
    await told(['198.51.100.0/24']);
    assert.doesNotMatch((await texts()).join('\n'), wanted, 'its peer is not told');
    await told(['203.0.113.0/24']);
    assert.match((await texts()).join('\n'), wanted);
    await site.weft.client.request('PATCH', '/v1/routers/other%2Fedge', {
      body: { bgp: { asn: 64_513, networks: [] } },
    });
    assert.doesNotMatch((await texts()).join('\n'), /it advertises/);
  });
});
