import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { realTrace } from '../../src/agent/real-trace.ts';
import { findOpenVswitch } from '../../src/lab/open-vswitch.ts';
import { parseFlow } from '../../src/openflow/text/flow.ts';
import { OpenVswitchFarm } from './open-vswitch-farm.ts';
import { FIRST_OFPORT } from './scenario.ts';

const noSwitch = await findOpenVswitch().then(
  () => false as const,
  (error: Error) => error.message,
);

const OUT = FIRST_OFPORT + 1;
const FRAMES = {
  ip: '02000000000202000000000108004500001cce6000004011987f0a0000010a09000103e801bb0008e622',
  ipv6: '02000000000202000000000186dd600000000008114020010db800000000000000000000000120010db800090000000000000000000103e801bb00080000',
} as const;
const CASES = {
  ip: { source: 'ct_nw_src=10.0.0.1', nat: '192.0.2.1' },
  ipv6: { source: 'ct_ipv6_src=2001:db8::1', nat: '[2001:db8:77::1]' },
} as const;

/** What security groups match on, in two zones and behind a translation: Open vSwitch's own trace has it all zero. */
function flowsOf(ip: 'ip' | 'ipv6', destination: number): string[] {
  const { source, nat } = CASES[ip];
  const isNew = `ct_state=+new+trk,${ip},${source},ct_nw_proto=17`;
  return [
    `table=0,${ip} actions=set_field:7->reg3,load:0xffff->NXM_OF_IN_PORT[],ct(zone=5,table=1)`,
    `table=1,${isNew},ct_tp_dst=443 actions=ct(commit,zone=5),resubmit(,2)`,
    `table=2,${ip} actions=ct(zone=6,table=3)`,
    `table=3,reg3=7,${isNew},ct_tp_dst=${destination} actions=ct(zone=7,commit,nat(src=${nat}),table=4)`,
    `table=4,reg3=7,${isNew.replace('+trk', '+trk+snat')} actions=output:${OUT}`,
  ];
}

describe("Open vSwitch's own trace of what security groups look at", { skip: noSwitch }, () => {
  let farm: OpenVswitchFarm;
  before(async () => {
    farm = await OpenVswitchFarm.start();
  });
  after(() => farm.stop());

  for (const ip of ['ip', 'ipv6'] as const) {
    const trace = async (destination: number): Promise<string> => {
      await farm.setFlows(
        0,
        flowsOf(ip, destination).map((text) => parseFlow(text)),
      );
      return realTrace(farm.controlSocket, 'br0', `in_port=${FIRST_OFPORT}`, FRAMES[ip]);
    };

    test(`goes as the switch goes, to the end: ${ip}`, async () => {
      const text = await trace(443);
      const tables = [...text.matchAll(/^ *(\d+)\. \S/gm)].map(([, table]) => Number(table));
      assert.deepEqual(tables, [0, 1, 2, 3, 4]);
      assert.match(text, new RegExp(`output:${OUT}`));
      assert.doesNotMatch(text, /note: this trace does not know|Recirculation conflict/);
    });

    test(`tells of a drop that is one: ${ip}`, async () => {
      const text = await trace(80);
      assert.match(text, /3\. No match/);
      assert.doesNotMatch(text, /note: this trace does not know/);
    });
  }
});
