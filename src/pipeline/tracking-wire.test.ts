import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../base/random.ts';
import { findOpenVswitch } from '../lab/open-vswitch.ts';
import { parseFlow } from '../openflow/text/flow.ts';
import { OpenVswitchFixture } from './open-vswitch.fixture.ts';
import { createPipeline } from './pipeline.ts';
import { type Sent, TrackingTables, Traffic } from './random-tracking.fixture.ts';

/** Tracking and translation in several zones at once, held against a real Open vSwitch: frames, states, marks and original tuples. */
const [TABLE_SETS, MESSAGES] = process.env.WEFT_CAMPAIGN ? [500, 100] : [25, 80];
const MOST_CRASHES = process.env.WEFT_CAMPAIGN ? 20 : 2;
const found = await findOpenVswitch().catch((error: Error) => error.message);
if (typeof found !== 'string' && found.dir !== undefined) process.env.WEFT_OVS_DIR = found.dir;
const skip = typeof found === 'string' ? found : false;

describe('tracked frames in several zones', { skip }, () => {
  let ovs: OpenVswitchFixture;
  const start = async (): Promise<void> => {
    ovs = await OpenVswitchFixture.start(2);
    ovs.setFragments('nx-match');
    await ovs.control('dpctl/ct-disable-tcp-seq-chk', 'dummy@ovs-dummy');
  };
  before(start);
  after(() => ovs.stop());

  // Errors are of IPv4 only: what they quote over IPv6 Open vSwitch 3.5 spoils where it translates it.
  test('leave as from Open vSwitch', async () => {
    const seed = Number(process.env.WEFT_SEED ?? 1);
    for (let set = 0, crashes = 0; set < TABLE_SETS; set++)
      try {
        await compare(ovs, seed, set);
      } catch (error) {
        await sleep(500); // until the end of a process is known
        // What made Open vSwitch 3.5 crash is met no more (decisions.md, "ICMP errors of tests"). On a busy machine it
        // misses, about once in a hundred sets, a connection that it has just translated a packet of: what is ours comes again.
        if (ovs.crash === undefined) await compare(ovs, seed, set);
        else if (++crashes > MOST_CRASHES) throw error;
        else {
          await ovs.stop();
          await start();
          set--;
        }
      }
  });
});

async function compare(ovs: OpenVswitchFixture, seed: number, set: number): Promise<void> {
  const random = seededRandom(seed * 7919 + set);
  const flows = new TrackingTables(random).flows();
  ovs.setFlows(flows);
  await ovs.control('dpctl/flush-conntrack');
  await ovs.control('revalidator/purge');
  const pipeline = createPipeline({ flows: flows.map(parseFlow), ports: [1, 2], fragments: 'nxMatch' });
  const traffic = new Traffic(random);
  const story: string[] = [];
  for (let n = 0; n < MESSAGES; n++) {
    const parts = traffic.next();
    story.push(...parts.map(({ inPort, bytes }) => `${inPort} ${Buffer.from(bytes).toString('hex')}`));
    const theirs: string[] = [];
    for (const { inPort, bytes } of parts) theirs.push(...framesOf(await ovs.receive(inPort, bytes)));
    const ours = parts.flatMap((part) => run(pipeline, part));
    const about = `seed ${seed}, set ${set}, message ${n}\n${flows.join('\n')}\n${story.join('\n')}`;
    assert.deepEqual(ours.sort(), theirs.sort(), about);
    const whole = ours.filter((_, i) => i % 3 === 0);
    for (const line of parts.length === 1 ? whole : []) {
      const [port, hex] = line.split(' ');
      traffic.note(Number(port), Uint8Array.from(Buffer.from(hex!, 'hex')));
    }
  }
}

function framesOf(frames: ReadonlyMap<number, readonly string[]>): string[] {
  return [...frames].flatMap(([port, list]) => list.map((hex) => `${port} ${hex}`));
}

function run(pipeline: ReturnType<typeof createPipeline>, { inPort, bytes }: Sent): string[] {
  const { outputs, error } = pipeline.run({ bytes, inPort });
  assert.equal(error, undefined);
  return outputs.map(({ port, bytes: out }) => `${port} ${Buffer.from(out).toString('hex')}`);
}
