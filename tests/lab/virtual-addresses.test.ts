// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startCapture } from '../../src/lab/capture.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { type Datacentre, eventually, pings, startDatacentre } from './datacentre.ts';
import { arp, BROADCAST, NO_MAC } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { member, networks, workload } from './tenancy.ts';

/** Addresses that move between workloads by announcement; MidoNet's scenarios 11 and 35 to 38. */
const SHARED_MAC = '00:00:5e:00:01:01';
const PAIRS = [{ address: '10.0.2.100' }, { mac: SHARED_MAC, address: '10.0.2.101' }];

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

  /** The address becomes the workload's, and it says so to all. */
  async function take(place: string, address: string, mac = dc.ports.get(place)!.mac): Promise<void> {
    const other = place === 'b1' ? 'b2' : 'b1';
    await dc.lab.exec(other, ['ip', 'addr', 'del', `${address}/24`, 'dev', 'eth0']);
    await dc.lab.execOk(place, ['ip', 'addr', 'replace', `${address}/24`, 'dev', 'eth0']);
    const announcement = arp({ src: mac, dst: BROADCAST }, 1, [mac, address], [NO_MAC, address]);
    await sendFramesOnce(dc.lab, place, [announcement]);
  }

  /** Who gets pings to the address within a second of its move? */
  async function holder(from: string, address: string): Promise<string> {
    const filter = `icmp[icmptype]=8 and dst ${address}`;
    const ears = await Promise.all(['b1', 'b2'].map((place) => startCapture(dc.lab, place, 'eth0', { filter })));
    await eventually(`${address} answers`, 1500, () => pings(dc.lab, from, address));
    const heard = await Promise.all(ears.map(async (ear) => (await ear.stop()).captured));
    return heard[0]! > heard[1]! ? 'b1' : 'b2';
  }

  for (const [from, way] of [
    ['b3', 'within the network'],
    ['a1', 'through a router'],
  ] as const)
    test(`moves with its announcement: ${way}`, async () => {
      for (const place of ['b1', 'b2', 'b1']) {
        await take(place, '10.0.2.100');
        assert.equal(await holder(from, '10.0.2.100'), place);
      }
    });

  test('an announcement of an address that is another’s changes nothing', async () => {
    await take('b1', '10.0.2.100');
    const { mac } = dc.ports.get('b3')!;
    await sendFramesOnce(dc.lab, 'b3', [
      arp({ src: mac, dst: BROADCAST }, 1, [mac, '10.0.2.100'], [NO_MAC, '10.0.2.100']),
      arp({ src: mac, dst: BROADCAST }, 2, [mac, '10.0.2.11'], [mac, '10.0.2.11']),
    ]);
    assert.equal(await holder('a1', '10.0.2.100'), 'b1');
    assert.ok(await pings(dc.lab, 'a1', '10.0.2.11'));
  });
});
