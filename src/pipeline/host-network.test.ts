import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFlow } from '../openflow/text/flow.ts';
import { HostNetwork, MAX_HOPS } from './host-network.ts';
import { createPipeline } from './pipeline.ts';

const FRAME = new Uint8Array(60).fill(0xff, 0, 12);
const [A, B] = [0x0a00_0001, 0x0a00_0002];

function host(name: string, address: number, flows: readonly string[]) {
  const tunnels = [{ port: 100, encap: 'geneve' }] as const;
  return { name, addresses: [address], tunnels, pipeline: createPipeline({ flows: flows.map(parseFlow) }) };
}

const TO_B = `in_port=1 actions=set_field:7->tun_id,set_field:10.0.0.2->tun_dst,output:100`;

test('an output at a tunnel port arrives at the host that tun_dst names, with key and sender', () => {
  const network = new HostNetwork([
    host('a', A, [TO_B]),
    host('b', B, ['in_port=100,tun_id=7,tun_src=10.0.0.1 actions=output:3']),
  ]);
  const journey = network.send('a', 1, FRAME);
  assert.deepEqual(journey.deliveries, [{ host: 'b', port: 3, bytes: FRAME }]);
  assert.deepEqual(journey.crossings[0]!.tunnel, { id: 7n, src: A, dst: B });
});

test('a tunnel to nobody, or over a broken underlay, loses the frame and says so', () => {
  const a = host('a', A, [TO_B]);
  assert.equal(new HostNetwork([a]).send('a', 1, FRAME).losses[0]!.reason, 'unknown-host');
  const cut = new HostNetwork([a, host('b', B, [])], { reaches: () => false });
  assert.equal(cut.send('a', 1, FRAME).losses[0]!.reason, 'unreachable');
});

test('two hosts that send a frame back and forth are a loop', () => {
  const back =
    'in_port=100 actions=move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],load:0->NXM_NX_TUN_IPV4_SRC[],IN_PORT';
  const journey = new HostNetwork([host('a', A, [TO_B, back]), host('b', B, [back])]).send('a', 1, FRAME);
  assert.equal(journey.crossings.length, MAX_HOPS);
  assert.equal(journey.losses[0]!.reason, 'loop');
});
