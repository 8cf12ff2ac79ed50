import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { findOpenVswitch } from '../../lab/open-vswitch.ts';
import { connectOpenFlow, type OpenFlowConnection } from '../../openflow/connection.ts';
import { OFPP } from '../../openflow/flow.ts';
import { OpenVswitchFixture } from '../../pipeline/open-vswitch.fixture.ts';
import { EAST, WEST } from './dump.fixture.ts';
import { parseTracked, type Tracked, tupleText } from './dump.ts';
import { ending, recreation, type TrackingPacket } from './recreate.ts';

const found = await findOpenVswitch().catch((error: Error) => error.message);
if (typeof found !== 'string' && found.dir !== undefined) process.env.WEFT_OVS_DIR = found.dir;
const skip = typeof found === 'string' ? found : false;

/** Real Open vSwitch: what it had is what it has again. */
describe('connections made again by packets', { skip }, () => {
  let ovs: OpenVswitchFixture;
  let connection: OpenFlowConnection;
  before(async () => {
    ovs = await OpenVswitchFixture.start(1);
    await ovs.control('dpctl/ct-disable-tcp-seq-chk', 'dummy@ovs-dummy');
    connection = await connectOpenFlow(ovs.bridge);
  });
  after(async () => {
    connection?.close();
    await ovs?.stop();
  });
  const run = async (packets: Iterable<TrackingPacket>): Promise<void> => {
    for (const { frame, actions } of packets)
      connection.send({ kind: 'packetOut', match: { in_port: OFPP.controller }, actions, frame });
    await connection.barrier();
  };
  const known = async (): Promise<Tracked[]> =>
    (await ovs.control('dpctl/dump-conntrack', '-s')).split('\n').filter(Boolean).map(parseTracked);

  for (const [name, text] of Object.entries({ EAST, WEST }))
    test(`all of ${name}, but for what is over: zones, marks, translations, states; twice is as good as once`, async () => {
      await ovs.control('dpctl/flush-conntrack');
      const wanted = text.trim().split('\n').map(parseTracked);
      const packets = wanted.flatMap((entry) => recreation(entry, entry.zone));
      await run(packets);
      const alive = sorted(wanted.filter(({ state }) => state !== 'time-wait'));
      assert.deepEqual(sorted(await known()), alive);
      await run(packets);
      assert.deepEqual(sorted(await known()), alive);
      const [timeout] = [...(await ovs.control('dpctl/dump-conntrack', '-s')).matchAll(/timeout=(\d+).*ESTABLISHED/g)];
      assert.ok(Number(timeout![1]) > 80_000, 'established for conntrack too');
    });

  test('what has ended at its origin ends', async () => {
    await ovs.control('dpctl/flush-conntrack');
    const line =
      'tcp,orig=(src=10.0.1.12,dst=203.0.113.101,sport=52960,dport=80),reply=(src=203.0.113.101,dst=203.0.113.2,sport=80,dport=1386),zone=8,protoinfo=(state=ESTABLISHED)';
    const entry = parseTracked(line);
    await run([...recreation(entry, 8), ...ending(entry, 8)]);
    assert.deepEqual(
      (await known()).map(({ state }) => state),
      ['time-wait'],
    );
  });

  test('one that began and was not answered is that again', async () => {
    await ovs.control('dpctl/flush-conntrack');
    const line =
      'tcp,orig=(src=10.0.1.12,dst=203.0.113.101,sport=52960,dport=80),reply=(src=203.0.113.101,dst=10.0.1.12,sport=80,dport=52960),zone=8,mark=4,protoinfo=(state=SYN_SENT)';
    const entry = parseTracked(line);
    await run(recreation(entry, 12));
    assert.deepEqual(await known(), [{ ...entry, zone: 12 }]);
  });
});

function sorted(entries: readonly Tracked[]): unknown[] {
  return entries
    .map(({ protocol, zone, original, reply, state, mark }) => [
      zone,
      tupleText(protocol, original),
      tupleText(protocol, reply),
      state,
      mark,
    ])
    .sort();
}
