import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseIpv4, parseMac } from '../base/addresses.ts';
import { seededRandom } from '../base/random.ts';
import { type Flow, OFPP } from '../openflow/flow.ts';
import { GROUP_TYPE } from '../openflow/messages/group.ts';
import { parseFlow } from '../openflow/text/flow.ts';
import { formatMatch } from '../openflow/text/match.ts';
import { extractFlowKey } from '../packet/flow-key.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { decodePacket, encodePacket } from '../packet/packet.ts';
import { createPipeline, type PipelineOptions } from './pipeline.ts';
import { Generator } from './random-tables.fixture.ts';
import type { Result } from './result.ts';

const [MAC1, MAC2] = [parseMac('02:00:00:00:00:01')!, parseMac('02:00:00:00:00:02')!];
const [IP1, IP2] = [parseIpv4('10.0.0.1')!, parseIpv4('10.0.0.2')!];

function udp(size = 10): Uint8Array {
  return encodePacket({
    ethernet: { dst: MAC2, src: MAC1, etherType: 0x0800 },
    vlans: [],
    l3: { kind: 'ipv4', ...ipv4Header({ src: IP1, dst: IP2, protocol: 17 }) },
    l4: { kind: 'udp', srcPort: 1000, dstPort: 53, noChecksum: false },
    payload: new Uint8Array(size),
  }).slice();
}

function run(flows: readonly string[], options: PipelineOptions = {}, inPort = 1): Result {
  return createPipeline({ flows: flows.map(parseFlow), ...options }).run({ bytes: udp(), inPort });
}

const keyOf = ({ table, priority, match }: Flow): string => `${table},${priority},${formatMatch(match)}`;
const portsOf = (result: Result): number[] => result.outputs.map(({ port }) => port);

describe('lookup', () => {
  test('the highest priority wins, whatever is masked', () => {
    const flows = ['priority=1 actions=output:1', 'priority=3,ip actions=output:3', 'priority=2,udp actions=output:4'];
    assert.deepEqual(portsOf(run(flows)), [3]);
  });

  test('an added flow replaces its equal, a deleted one is gone, and others stay', () => {
    const pipeline = createPipeline();
    const one = parseFlow('priority=5,ip actions=output:2');
    const other = parseFlow('priority=4,ip actions=output:3');
    pipeline.apply([parseFlow('priority=5,ip actions=output:9'), one, other]);
    assert.deepEqual(portsOf(pipeline.run({ bytes: udp(), inPort: 1 })), [2]);
    pipeline.apply([], [one]);
    assert.deepEqual(portsOf(pipeline.run({ bytes: udp(), inPort: 1 })), [3]);
    assert.equal([...pipeline.flows()].length, 1);
    pipeline.apply([], [other]);
    assert.deepEqual(pipeline.run({ bytes: udp(), inPort: 1 }).drops, [{ reason: 'no-match', table: 0 }]);
  });

  test('tables changed step by step do as tables filled at once', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const random = seededRandom(seed);
        const generator = new Generator(random);
        const [before, after] = [generator.flows(), generator.flows()];
        const groups = generator.groups();
        const stepwise = createPipeline({ flows: before, groups });
        const expected = new Map(before.map((flow) => [keyOf(flow), flow]));
        for (const [adds, deletes] of [
          [after.slice(0, 9), before.slice(0, 9)],
          [after.slice(9), before.slice(9)],
        ] as const) {
          stepwise.apply(adds, deletes);
          for (const flow of deletes) expected.delete(keyOf(flow));
          for (const flow of adds) expected.set(keyOf(flow), flow);
        }
        assert.deepEqual(new Set(stepwise.flows()), new Set(expected.values()));
        const fresh = createPipeline({ flows: expected.values(), groups });
        for (let n = 0; n < 5; n++) {
          const input = { bytes: generator.packet(), inPort: 1 + random.below(6) };
          const [a, b] = [stepwise.run(input), fresh.run(input)];
          assert.deepEqual(
            a.outputs.map(({ port, bytes }) => [port, bytes]),
            b.outputs.map(({ port, bytes }) => [port, bytes]),
          );
        }
      }),
      { numRuns: process.env.WEFT_CAMPAIGN ? 1000 : 30 },
    );
  });
});

describe('limits', () => {
  test('a table that resubmits to itself gives up as too deep, and nothing comes out', () => {
    const result = run(['actions=output:2,resubmit(,0)']);
    assert.equal(result.error, 'recursion');
    assert.deepEqual(result.outputs, []);
  });

  test('what would pass connection tracking a seventh time is dropped; what came of the passes before stays', () => {
    const { error, outputs, packetIns, drops } = run(['ip actions=output:2,CONTROLLER:65535,ct(table=0)']);
    assert.equal(error, undefined);
    // Once as it came, and six times behind it.
    assert.deepEqual([outputs.length, packetIns.length], [7, 7]);
    assert.deepEqual(
      drops.map(({ reason }) => reason),
      ['recirculations'],
    );
  });

  test('more than 4096 resubmits are too many', () => {
    const fan = (table: number): string =>
      `table=${table} actions=${Array(8)
        .fill(`resubmit(,${table + 1})`)
        .join(',')}`;
    const result = run([0, 1, 2, 3, 4].map(fan));
    assert.equal(result.error, 'resubmits');
  });
});

describe('actions', () => {
  test('nothing goes back to the port it came from, but by IN_PORT or with in_port cleared', () => {
    assert.deepEqual(portsOf(run(['actions=output:1'])), []);
    assert.deepEqual(portsOf(run(['actions=IN_PORT'])), [1]);
    assert.deepEqual(portsOf(run(['actions=load:0xffff->NXM_OF_IN_PORT[],output:1'])), [1]);
    assert.equal(run(['actions=output:1']).drops[0]!.reason, 'to-in-port');
  });

  test('FLOOD reaches every other port', () => {
    assert.deepEqual(portsOf(run(['actions=FLOOD'], { ports: [1, 2, 3] })), [2, 3]);
  });

  test('a clone changes nothing for what comes after', () => {
    const result = run(['actions=clone(set_field:02:00:00:00:00:09->eth_dst,output:2),output:3']);
    assert.deepEqual(
      result.outputs.map(({ bytes }) => extractFlowKey(bytes).ethDst),
      [0x02_0000_000009, MAC2],
    );
  });

  test('rewritten headers have right checksums, and the packet that came in is as it was', () => {
    const bytes = udp();
    const copy = bytes.slice();
    const flow =
      'udp actions=set_field:192.168.0.9->ip_src,mod_nw_tos:32,set_field:99->udp_dst,dec_ttl,mod_vlan_vid:7,output:2';
    const [output] = createPipeline({ flows: [parseFlow(flow)] }).run({ bytes, inPort: 1 }).outputs;
    const packet = decodePacket(output!.bytes, { verifyChecksums: true });
    assert.deepEqual(bytes, copy);
    assert.equal(packet.vlans[0]!.vid, 7);
    assert.ok(packet.l3?.kind === 'ipv4' && packet.l3.ttl === 63 && packet.l3.src === parseIpv4('192.168.0.9'));
  });

  test('an action on a field that the packet does not have does nothing', () => {
    assert.deepEqual(run(['actions=set_field:1->tcp_dst,output:2']).outputs[0]!.bytes, udp());
  });

  test('tunnel fields leave with the output', () => {
    const [output] = run(['actions=set_field:5->tun_id,set_field:10.9.9.9->tun_dst,output:2']).outputs;
    assert.deepEqual(output!.tunnel, { id: 5n, src: 0, dst: parseIpv4('10.9.9.9') });
  });

  test('a controller gets what userdata says, and pause stops until resumed', () => {
    const result = run([
      'actions=resubmit(,1),output:4',
      'table=1 actions=load:7->NXM_NX_REG0[],controller(userdata=01.02,pause),output:2,resubmit(,2)',
      'table=2,reg0=7 actions=output:3',
    ]);
    assert.deepEqual(portsOf(result), []);
    const [packetIn] = result.packetIns;
    assert.deepEqual([...packetIn!.userdata], [1, 2]);
    assert.deepEqual(portsOf(packetIn!.resume!()), [2, 3, 4]);
    assert.deepEqual(portsOf(packetIn!.resume!()), [2, 3, 4], 'as often as wanted');
  });

  test('a meter that is exceeded drops the packet', () => {
    const result = run(['actions=meter:4,output:2'], { meterPasses: (meter) => meter !== 4 });
    assert.deepEqual(portsOf(result), []);
    assert.equal(result.drops[0]!.reason, 'meter');
  });

  test('a select group always chooses the same bucket for a connection, and spreads connections', () => {
    const bucket = (port: number) => ({ weight: 1, actions: [{ kind: 'output', port } as const] });
    const group = { group: 1, type: GROUP_TYPE.select, buckets: [2, 3, 4].map(bucket) };
    const pipeline = createPipeline({ flows: [parseFlow('actions=group:1')], groups: [group] });
    const seen = new Set<number>();
    for (let port = 1; port < 60; port++) {
      const bytes = udp();
      new DataView(bytes.buffer).setUint16(34, port);
      const [a, b] = [pipeline.run({ bytes, inPort: 1 }), pipeline.run({ bytes, inPort: 1 })];
      assert.deepEqual(portsOf(a), portsOf(b));
      seen.add(portsOf(a)[0]!);
    }
    assert.equal(seen.size, 3);
  });

  test('fast failover takes the first bucket whose port is up', () => {
    const bucket = (port: number) => ({ watchPort: port, actions: [{ kind: 'output', port } as const] });
    const groups = [{ group: 1, type: GROUP_TYPE.fastFailover, buckets: [2, 3].map(bucket) }];
    assert.deepEqual(portsOf(run(['actions=group:1'], { groups, isLive: (port) => port !== 2 })), [3]);
  });

  test('learn makes a flow that the next packet meets', () => {
    const learn = 'learn(table=1,priority=9,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])';
    const pipeline = createPipeline({ flows: [parseFlow(`actions=${learn},resubmit(,1)`)] });
    const [learned] = pipeline.run({ bytes: udp(), inPort: 5 }).learned;
    const expected: Partial<Flow> = { table: 1, match: { eth_dst: MAC1 }, actions: [{ kind: 'output', port: 5 }] };
    assert.deepEqual({ table: learned!.table, match: learned!.match, actions: learned!.actions }, expected);
    const answer = udp();
    answer.set([...answer.subarray(6, 12), ...answer.subarray(0, 6)]);
    assert.deepEqual(portsOf(pipeline.run({ bytes: answer, inPort: 6 })), [5]);
  });

  test('outputs to reserved ports are said as such', () => {
    assert.deepEqual(portsOf(run(['actions=NORMAL'])), [OFPP.normal]);
    assert.deepEqual(portsOf(run(['actions=LOCAL'])), [OFPP.local]);
  });
});

test('cut and mutated frames run like any other: nothing throws, and the input is not written to', () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.nat(120),
      fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 8 }),
      (seed, length, changes) => {
        const generator = new Generator(seededRandom(seed));
        const tracking = parseFlow(
          'table=0,priority=60000,ip actions=ct(commit,table=1,nat(src=192.0.2.1)),resubmit(,1)',
        );
        const pipeline = createPipeline({ flows: [...generator.flows(), tracking], groups: generator.groups() });
        const bytes = generator.packet().slice(0, length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const copy = bytes.slice();
        pipeline.run({ bytes, inPort: 1 });
        assert.deepEqual(bytes, copy);
      },
    ),
    { numRuns: process.env.WEFT_CAMPAIGN ? 50_000 : 200 },
  );
});
