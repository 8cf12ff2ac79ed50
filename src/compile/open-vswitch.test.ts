import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { frameSketch } from '../model/frame-sketch.ts';
import { buildFrame } from '../model/generate-frames.ts';
import { modelOf } from '../model/model-index.ts';
import { type Flow, OFPP } from '../openflow/flow.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { frame, ip, udp } from '../pipeline/frames.fixture.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { createCompiler } from './compiler.ts';
import * as example from './testing/example.ts';
import { hostsOf, inputsOf, switchedModel } from './testing/inputs-of.ts';

// Compiled flows in real Open vSwitch: it takes all of them, and does with frames what the executor does.

const MODELS = process.env.WEFT_CAMPAIGN ? 300 : 8;
const FRAMES_PER_PORT = 6;
const seed = Number(process.env.WEFT_SEED ?? 1);
const skip = OpenVswitchFixture.missing() ?? false;
/** Ports of the switch; the last one stands for the tunnel. */
const PORTS = 24;

/** Without meters, which the switch would have to have. */
function compiledFor(model: Parameters<typeof inputsOf>[0], host: string): Flow[] {
  const compiler = createCompiler();
  const tunnelPorts = { geneve: PORTS, vxlan: PORTS, gre: PORTS };
  compiler.update(
    inputsOf(model, host).map((record) => ({
      op: 'put',
      record: record.kind === 'self' ? { kind: 'self', id: 'self', host, tunnelPorts } : record,
    })),
  );
  return [...compiler.flows()];
}

describe('compiled flows in Open vSwitch', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
  });
  after(() => ovs.stop());

  test('do not take a solicitation for another one because one with another code came before', async () => {
    const compiler = createCompiler();
    compiler.update(
      example.twoHosts().map((record) => ({
        op: 'put',
        record: record.kind === 'self' ? { ...record, tunnelPorts: { geneve: 3 } } : record,
      })),
    );
    ovs.setFlows([...compiler.flows()].map(formatFlow));
    await ovs.control('revalidator/purge');
    const solicit = (code: string, sll: string): Uint8Array =>
      Buffer.from(
        `3333ff000077020000000001` +
          `86dd6000000000203aff20010db8000000000000000000000001ff0200000000000000000001ff000077` +
          `87${code}00000000000020010db80000000000000000000000770101${sll}`,
        'hex',
      );
    assert.deepEqual([...(await ovs.receive(1, solicit('01', '020000000001'))).keys()], []);
    assert.deepEqual([...(await ovs.receive(1, solicit('00', '020000000003'))).keys()], []);
    assert.deepEqual([...(await ovs.receive(1, solicit('00', '020000000001'))).keys()], [2, 3]);
  });

  test('mark whole packets whatever cut ones came before, and leave cut ones as they are', async () => {
    const [host, plain] = [example.host(1), example.logicalSwitch(1)];
    const marked = example.port(1, plain, { portSecurity: false, dscp: 46 });
    const other = example.port(2, plain, { portSecurity: false });
    const compiler = createCompiler();
    const ports = [marked, other];
    const records = [
      ...[example.zone(), host, plain, ...ports, example.self(host, { tunnelPorts: { geneve: 3 } })],
      ...ports.map((port) => example.binding(port, host)),
      ...ports.map((port, i) => example.boundInterface(port, i + 1)),
    ];
    compiler.update(records.map((record) => ({ op: 'put', record })));
    ovs.setFlows([...compiler.flows()].map(formatFlow));
    const whole = frame(marked.mac, '02:00:00:00:77:77', ip('10.0.0.1', '10.0.0.2', udp(1, 2)));
    const cut = whole.slice(0, 28);
    for (const order of ['cut first', 'whole first']) {
      await ovs.control('revalidator/purge');
      const tos = new Map<Uint8Array, string | undefined>();
      for (const bytes of order === 'cut first' ? [cut, whole] : [whole, cut])
        tos.set(bytes, (await ovs.receive(1, bytes)).get(2)?.[0]?.slice(30, 32));
      assert.deepEqual([tos.get(whole), tos.get(cut)], ['b8', '00'], order);
    }
  });

  test('are taken, and do to frames what the executor does', async () => {
    for (const [n, model] of fc.sample(switchedModel, { seed, numRuns: MODELS }).entries()) {
      const view = modelOf(model.records);
      const host = hostsOf(model)[0]!.id;
      const flows = compiledFor(model, host);
      ovs.setFlows(flows.map(formatFlow));
      // Megaflows of the model before would stay for a moment.
      await ovs.control('revalidator/purge');
      const ports = Array.from({ length: PORTS }, (_, i) => i + 1);
      const pipeline = createPipeline({ flows, ports });
      const here = model.interfaces.filter((entry) => entry.host === host).slice(0, PORTS - 1);
      for (const [i, { port }] of here.entries()) {
        for (const sketch of fc.sample(frameSketch, { seed: seed * 1000 + n * 50 + i, numRuns: FRAMES_PER_PORT })) {
          const bytes = buildFrame(sketch, view, port);
          const result = pipeline.run({ inPort: i + 1, bytes });
          const ours = new Map<number, string[]>();
          for (const { port: at, bytes: out } of result.outputs) {
            const to = at === OFPP.inPort ? i + 1 : at;
            ours.set(to, [...(ours.get(to) ?? []), Buffer.from(out).toString('hex')]);
          }
          const theirs = await ovs.receive(i + 1, bytes);
          const sorted = (outputs: ReadonlyMap<number, string[]>): unknown =>
            [...outputs].map(([to, frames]) => [to, [...frames].sort()]).sort((a, b) => Number(a[0]) - Number(b[0]));
          const about = `model ${n} of seed ${seed}, interface ${i + 1}, frame ${Buffer.from(bytes).toString('hex')}`;
          assert.deepEqual(sorted(theirs), sorted(ours), about);
        }
      }
    }
  });
});
