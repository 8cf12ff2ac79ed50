import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { findOpenVswitch } from '../../lab/open-vswitch.ts';
import { OpenVswitchFixture } from '../../pipeline/open-vswitch.fixture.ts';
import type { AgentEvent, AttachmentPlan } from '../events.ts';
import { AttachmentLink } from './attachment-link.ts';

const found = await findOpenVswitch().catch((error: Error) => error.message);
if (typeof found !== 'string' && found.dir !== undefined) process.env.WEFT_OVS_DIR = found.dir;
const skip = typeof found === 'string' ? found : false;

/** As people number their objects who write them by programs. */
const gateway = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const plan = (n: number, name: string, vlan: number): AttachmentPlan => ({
  ...{ gateway: gateway(n), port: gateway(100 + n), interface: name, vlan },
});

describe('attachments of L2 gateways in Open vSwitch', { skip }, () => {
  const stop = new AbortController();
  let ovs: OpenVswitchFixture;
  let link: AttachmentLink;
  let told: Extract<AgentEvent, { kind: 'attachmentLinks' }> | undefined;
  before(async () => {
    ovs = await OpenVswitchFixture.start(1);
    ovs.vsctl('add-br', 'br-out', '--', 'set', 'bridge', 'br-out', 'datapath_type=dummy');
    ovs.vsctl('add-bond', 'br-out', 'bond0', 'e1', 'e2');
    const emit = (event: AgentEvent): void => {
      if (event.kind === 'attachmentLinks') told = event;
    };
    const options = { ovsRunDir: ovs.dir, bridge: 'br0', datapathType: 'dummy', emit };
    link = new AttachmentLink({ ...options, clock: systemClock, log: silentLog, signal: stop.signal });
  });
  after(async () => {
    stop.abort();
    await ovs?.stop();
  });

  /** Inner ends by their gateway, with the VLAN of the outer one. */
  function pairs(): string[] {
    const format = ['--format=json', '--columns=tag,external_ids'] as const;
    const { data } = JSON.parse(ovs.vsctl(...format, 'find', 'port', 'tag!=[]')) as {
      data: [number, ['map', [string, string][]]][];
    };
    return data.map(([tag, [, ids]]) => `${new Map(ids).get('weft-l2-gateway')!.slice(-1)} ${tag}`).sort();
  }
  async function until(wanted: readonly string[]): Promise<void> {
    const end = Date.now() + 10_000;
    for (let last = pairs(); last.join() !== wanted.join(); last = pairs()) {
      assert.ok(Date.now() < end, `${last} instead of ${wanted}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  test('are made for gateways whose ids begin alike, and moved to another VLAN each by itself', async () => {
    link.attach([plan(1, 'e9', 11), plan(2, 'e9', 12)]);
    await until(['1 11', '2 12']);
    link.attach([plan(1, 'e9', 13), plan(2, 'e9', 12)]);
    await until(['1 13', '2 12']);
  });

  test('one that Open vSwitch cannot have holds up no other, and is told with what to do', async () => {
    // Its bridge would have a name that is taken.
    ovs.vsctl('add-port', 'br-out', 'wg-e7', '--', 'set', 'interface', 'wg-e7', 'type=dummy');
    link.attach([plan(3, 'e1', 14), plan(4, 'e7', 15), plan(1, 'e9', 16)]);
    await until(['1 16']);
    assert.deepEqual(told?.links.get(gateway(3)), {
      isUp: false,
      problem: "e1 is part of bond0: the gateway's place has to name that",
    });
    ovs.vsctl('del-port', 'wg-e7');
    await until(['1 16', '4 15']);
    link.attach([]);
    await until([]);
    assert.ok(!ovs.vsctl('list-br').includes('wg-'), 'nor are bridges left');
  });
});
