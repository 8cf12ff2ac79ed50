import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { findOpenVswitch } from '../lab/open-vswitch.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { parseTracked } from './connections/dump.ts';
import { recreation } from './connections/recreate.ts';
import type { AgentEvent } from './events.ts';
import { NO_REGISTERS } from './registers.ts';
import { SwitchLink } from './switch-link.ts';

const found = await findOpenVswitch().catch((error: Error) => error.message);
if (typeof found !== 'string' && found.dir !== undefined) process.env.WEFT_OVS_DIR = found.dir;
const skip = typeof found === 'string' ? found : false;

const PING = parseTracked(
  'icmp,orig=(src=10.0.1.1,dst=10.0.1.2,id=7,type=8,code=0),reply=(src=10.0.1.2,dst=10.0.1.1,id=7,type=0,code=0),zone=8',
);

/** Zones of real Open vSwitch, flushed for who gets them next. */
describe('flushing conntrack zones', { skip }, () => {
  const stop = new AbortController();
  let ovs: OpenVswitchFixture;
  let link: SwitchLink;
  const events: AgentEvent[] = [];
  const waiting: { readonly kind: AgentEvent['kind']; readonly resolve: () => void }[] = [];
  const next = (kind: AgentEvent['kind']): Promise<void> => new Promise((resolve) => waiting.push({ kind, resolve }));
  before(async () => {
    ovs = await OpenVswitchFixture.start(1);
    link = new SwitchLink({
      ...{ address: ovs.bridge, meters: [], readRegisters: () => NO_REGISTERS },
      ...{ clock: systemClock, log: silentLog, signal: stop.signal },
      emit: (event) => {
        events.push(event);
        for (const { kind, resolve } of waiting) if (kind === event.kind) resolve();
      },
    });
    const connected = next('switchConnected');
    void link.run();
    await connected;
  });
  after(async () => {
    stop.abort();
    await ovs?.stop();
  });
  const zones = async (): Promise<number[]> => {
    const dump = await ovs.control('dpctl/dump-conntrack', '-s');
    return dump
      .split('\n')
      .filter(Boolean)
      .map((line) => parseTracked(line).zone)
      .sort((a, b) => a - b);
  };

  test('these are empty when it is told that they are, and no others', async () => {
    link.runThrough([8, 11, 12].flatMap((zone) => recreation(PING, zone)));
    const told = next('flushed');
    link.perform({ kind: 'flushZones', zones: [8, 9, 10, 11] });
    await told;
    assert.deepEqual(await zones(), [12]);
    assert.deepEqual(
      events.filter(({ kind }) => kind === 'flushed'),
      [{ kind: 'flushed', zones: [8, 9, 10, 11] }],
    );
  });

  test('what a switch was asked that is lost meanwhile is not told', async () => {
    const lost = next('switchLost');
    link.perform({ kind: 'flushZones', zones: [12] });
    await ovs.stop();
    await lost;
    await systemClock.sleep(1_500, stop.signal);
    assert.equal(events.filter(({ kind }) => kind === 'flushed').length, 1);
  });
});
