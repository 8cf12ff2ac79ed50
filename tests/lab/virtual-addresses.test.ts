// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Ipv6, parseIpv6, parseMac } from '../../src/base/addresses.ts';
import { startCapture } from '../../src/lab/capture.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { ICMP_TYPE } from '../../src/packet/icmp.ts';
import { NA_FLAG } from '../../src/packet/nd.ts';
import { readFrame } from '../../src/simulate/frame.ts';
import { type Datacentre, eventually, pings, startDatacentre } from './datacentre.ts';
import { ALL_NODES_MAC, arp, BROADCAST, NO_MAC, nd } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { member, networks, workload } from './tenancy.ts';

/** Addresses that move between workloads by announcement; MidoNet's scenarios 11 and 35 to 38. */
const SHARED_MAC = '00:00:5e:00:01:01';
const OWN = ['10.0.2.100', 'fd00:2::100'];
const SHARED = ['10.0.2.101', 'fd00:2::101'];
const PAIRS = [...OWN.map((address) => ({ address })), ...SHARED.map((address) => ({ mac: SHARED_MAC, address }))];
/** From the announcement to the first answer of the new holder. */
const MOST_MS = 1000;
const ECHO_REPLY_6 = 129;

const isSix = (address: string): boolean => address.includes(':');

describe('a virtual address', { skip: needsRoot }, () => {
  let dc: Datacentre;
  before(async () => {
    dc = await startDatacentre({
      prefix: 'va',
      hosts: ['east', 'west'],
      objects: [
        ...networks(),
        member('a1'),
        member('b1', { allowedPairs: PAIRS }),
        member('b2', { allowedPairs: PAIRS }),
        member('b3'),
      ],
      workloads: [workload('a1', 'east'), workload('b1', 'east'), workload('b2', 'west'), workload('b3', 'west')],
    });
  });
  after(() => dc?.down());

  /** With a MAC of its own an address is on an interface of its own, as keepalived has it: its packets come from that MAC. */
  async function hold(place: string, address: string, mac: string | undefined): Promise<void> {
    const ip = async (...words: string[]): Promise<void> => {
      await dc.lab.execOk(place, ['ip', isSix(address) ? '-6' : '-4', ...words]);
    };
    const [network, gateway] = isSix(address) ? ['fd00:2::/64', 'fd00:2::1'] : ['10.0.2.0/24', '10.0.2.1'];
    const added = (length: number, dev: string): string[] => [
      ...['addr', 'replace', `${address}/${length}`, 'dev', dev],
      ...(isSix(address) ? ['nodad'] : []),
    ];
    if (mac === undefined) return ip(...added(isSix(address) ? 64 : 24, 'eth0'));
    await ip('link', 'add', 'link', 'eth0', 'name', 'v0', 'address', mac, 'type', 'macvlan', 'mode', 'private');
    await dc.lab.execOk(place, ['ethtool', '-K', 'v0', 'tx', 'off']);
    await ip('link', 'set', 'v0', 'up');
    await ip(...added(isSix(address) ? 128 : 32, 'v0'));
    await ip('route', 'add', network, 'dev', 'v0', 'table', '101');
    await ip('route', 'add', 'default', 'via', gateway, 'dev', 'v0', 'table', '101');
    await ip('rule', 'add', 'from', address, 'lookup', '101');
  }

  async function letGo(place: string, address: string, mac: string | undefined): Promise<void> {
    const version = isSix(address) ? '-6' : '-4';
    if (mac === undefined)
      await dc.lab.exec(place, ['ip', 'addr', 'del', `${address}/${isSix(address) ? 64 : 24}`, 'dev', 'eth0']);
    else await dc.lab.exec(place, ['ip', 'link', 'del', 'v0']);
    if (mac !== undefined) await dc.lab.exec(place, ['ip', version, 'rule', 'del', 'from', address, 'lookup', '101']);
  }

  /** Gratuitous ARP, or an unsolicited neighbour advertisement that overrides (RFC 4861 §7.2.6). */
  function announcement(address: string, mac: string): Uint8Array {
    if (!isSix(address)) return arp({ src: mac, dst: BROADCAST }, 1, [mac, address], [NO_MAC, address]);
    return nd({ src: mac, dst: ALL_NODES_MAC }, [address, 'ff02::1'], {
      ...{ kind: 'neighborAdvert', flags: NA_FLAG.override, target: parseIpv6(address) as Ipv6 },
      options: [{ kind: 'targetLinkLayer', mac: parseMac(mac)! }],
    });
  }

  /** The address becomes the workload's, and it says so to all. */
  async function take(place: string, address: string, shared?: string): Promise<void> {
    await letGo(place === 'b1' ? 'b2' : 'b1', address, shared);
    await letGo(place, address, shared);
    await hold(place, address, shared);
    await sendFramesOnce(dc.lab, place, [announcement(address, shared ?? dc.ports.get(place)!.mac)]);
  }

  /** How long after its announcement the new holder answers pings that come every 20 ms, in milliseconds. */
  async function gapOf(from: string, place: string, address: string, shared?: string): Promise<number> {
    const ear = await startCapture(dc.lab, place, 'eth0', { filter: 'arp or icmp or icmp6' });
    const asking = dc.lab.spawn(from, ['ping', '-n', '-q', '-i', '0.02', address]);
    try {
      await take(place, address, shared);
      await eventually(`${address} answers from ${place}`, 3000, () => pings(dc.lab, from, address));
    } finally {
      asking.kill('SIGKILL');
    }
    const frames = (await (await ear.stop()).frames()).map(({ timeMs, bytes }) => ({
      timeMs,
      bytes,
      frame: readFrame(bytes),
    }));
    const said = Buffer.from(announcement(address, shared ?? dc.ports.get(place)!.mac));
    const announced = frames.find(({ bytes }) => said.equals(bytes.subarray(0, said.length)));
    assert.ok(announced, 'its announcement was heard');
    const answer = frames.find(
      ({ timeMs, frame: { icmp, src } }) =>
        timeMs >= announced.timeMs &&
        icmp?.type === (isSix(address) ? ECHO_REPLY_6 : ICMP_TYPE.echoReply) &&
        src === parseMac(shared ?? dc.ports.get(place)!.mac),
    );
    assert.ok(answer, 'its answers were heard');
    return answer.timeMs - announced.timeMs;
  }

  for (const [addresses, mac, what] of [
    [OWN, undefined, "with its holder's MAC"],
    [SHARED, SHARED_MAC, 'with a MAC of its own'],
  ] as const)
    for (const [from, way] of [
      ['b3', 'within the network'],
      ['a1', 'through a router'],
    ] as const)
      test(`${what} moves with its announcement within a second: ${way}`, async () => {
        for (const address of addresses) {
          await take('b1', address, mac);
          await eventually(`${address} answers`, 5000, () => pings(dc.lab, from, address));
          for (const place of ['b2', 'b1']) {
            const gapMs = await gapOf(from, place, address, mac);
            assert.ok(gapMs <= MOST_MS, `${address} at ${place}: ${gapMs} ms`);
          }
          await letGo('b1', address, mac);
        }
      });

  test('an announcement of an address that is another’s changes nothing', async () => {
    await take('b1', '10.0.2.100');
    const { mac } = dc.ports.get('b3')!;
    await sendFramesOnce(dc.lab, 'b3', [
      arp({ src: mac, dst: BROADCAST }, 1, [mac, '10.0.2.100'], [NO_MAC, '10.0.2.100']),
      arp({ src: mac, dst: BROADCAST }, 2, [mac, '10.0.2.11'], [mac, '10.0.2.11']),
    ]);
    const filter = 'icmp[icmptype]=8 and dst 10.0.2.100';
    const ears = await Promise.all(['b1', 'b3'].map((place) => startCapture(dc.lab, place, 'eth0', { filter })));
    assert.ok(await pings(dc.lab, 'a1', '10.0.2.100'));
    const heard = await Promise.all(ears.map(async (ear) => (await ear.stop()).captured));
    assert.deepEqual(heard, [2, 0]);
    assert.ok(await pings(dc.lab, 'a1', '10.0.2.11'));
  });
});
