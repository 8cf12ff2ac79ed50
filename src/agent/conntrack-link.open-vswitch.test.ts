import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { findOpenVswitch } from '../lab/open-vswitch.ts';
import { connectOpenFlow, type OpenFlowConnection } from '../openflow/connection.ts';
import { OFPP } from '../openflow/flow.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { parseDump, type Tracked } from './connections/dump.ts';
import { type EntryInZone, recreation } from './connections/recreate.ts';
import { ConntrackLink } from './conntrack-link.ts';

const found = await findOpenVswitch().catch((error: Error) => error.message);
if (typeof found !== 'string' && found.dir !== undefined) process.env.WEFT_OVS_DIR = found.dir;
const skip = typeof found === 'string' ? found : false;

describe('single connections of real Open vSwitch', { skip }, () => {
  let ovs: OpenVswitchFixture;
  let connection: OpenFlowConnection;
  let link: ConntrackLink;
  before(async () => {
    ovs = await OpenVswitchFixture.start(1);
    connection = await connectOpenFlow(ovs.bridge);
    const control = ovs.bridge.replace(/^unix:/, '').replace(/[^/]*$/, 'switch.ctl');
    link = new ConntrackLink({
      ...{ datapathType: 'dummy', control: () => control, emit: () => {}, clock: systemClock, log: silentLog },
      signal: new AbortController().signal,
    });
    await ovs.control('dpctl/ct-disable-tcp-seq-chk', 'dummy@ovs-dummy');
  });
  after(async () => {
    connection?.close();
    await ovs?.stop();
  });

  const make = async (entries: readonly EntryInZone[]): Promise<void> => {
    for (const { entry, zone } of entries)
      for (const { frame, actions } of recreation(entry, zone))
        connection.send({ kind: 'packetOut', match: { in_port: OFPP.controller }, actions, frame });
    await connection.barrier();
  };
  const known = async (): Promise<string[]> =>
    (await parseDump(await link.dump()))
      .map(
        ({ protocol, zone, original, reply }: Tracked) => `${zone} ${protocol} ${original.from.port} ${reply.to.port}`,
      )
      .sort();
  /** From port `n`, that is given another outside. */
  function translated(n: number, outside: number, zone = 8, protocol = 'tcp', isV6 = false): EntryInZone {
    const [from, to, as] = isV6
      ? (['fd00:1::12', '2001:db8:f::101', '2001:db8:f::2'] as const)
      : (['10.0.1.12', '203.0.113.101', '203.0.113.2'] as const);
    const original = { from: { address: from, port: n }, to: { address: to, port: 80 } };
    const reply = { from: original.to, to: { address: as, port: outside } };
    return { zone, entry: { protocol, original, reply, ...(protocol === 'tcp' ? { state: 'established' } : {}) } };
  }

  test('those that are named are taken out of their zones, whatever of them is gone already, and no others', async () => {
    const gone = [
      ...[translated(1, 2001), translated(2, 2002, 8, 'udp'), translated(3, 2003, 8, 'tcp', true)],
      translated(4, 2004, 8, 'udp', true),
    ];
    const stay = [translated(1, 2001, 12), translated(2, 2001, 8, 'udp', true), translated(5, 2005)];
    await make([...gone, ...stay]);
    assert.equal((await known()).length, 7);
    await link.flush([translated(9, 2009), ...gone, translated(9, 2009, 300)]);
    assert.deepEqual(await known(), ['12 tcp 1 2001', '8 tcp 5 2005', '8 udp 2 2001']);
    await link.flush([...gone, ...stay]);
    assert.deepEqual(await known(), []);
  });

  test('an outside port that a former connection has goes to the one that is made when that is taken out', async () => {
    const [former, now] = [translated(1, 2001), translated(2, 2001)];
    await make([former, now]);
    assert.deepEqual(await known(), ['8 tcp 1 2001'], 'it is in the way');
    await link.flush([former]);
    await make([now]);
    assert.deepEqual(await known(), ['8 tcp 2 2001']);
    await link.flush([now]);
  });

  test('all that a floating address was part of is taken out of the zone of its router, begun from either side', async () => {
    const out = translated(1, 2001);
    const inward: EntryInZone = {
      zone: 8,
      entry: {
        protocol: 'udp',
        original: { from: { address: '203.0.113.101', port: 7 }, to: { address: '203.0.113.2', port: 53 } },
        reply: { from: { address: '10.0.1.12', port: 53 }, to: { address: '203.0.113.101', port: 7 } },
      },
    };
    const six = translated(2, 2002, 8, 'tcp', true);
    const elsewhere = translated(3, 2003, 12);
    await make([out, inward, six, elsewhere]);
    assert.equal((await known()).length, 4);
    await link.end([{ zone: 8, address: '203.0.113.2' }]);
    assert.deepEqual(await known(), ['12 tcp 3 2003', '8 tcp 2 2002']);
    await link.end([
      { zone: 8, address: '2001:db8:f::2' },
      { zone: 12, address: '203.0.113.2' },
      { zone: 8, address: '203.0.113.9' },
    ]);
    assert.deepEqual(await known(), []);
  });
});
