import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { modelOf } from '../model/model-index.ts';
import { OFPP } from '../openflow/flow.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { simulateFrame } from '../simulate/simulate.ts';
import { createCompiler } from './compiler.ts';
import type { InputRecord } from './inputs.ts';
import { gateway, h1, OFPORT, SAID, type Said } from './testing/speaker-frames.fixture.ts';
import * as ups from './testing/uplinks.fixture.ts';

// What the BGP daemon and the outside hear of each other: executed, simulated, and in real Open vSwitch.

const PORTS = 12;
const ports = Array.from({ length: PORTS }, (_, i) => i + 1);
const WAYS = new Map(Object.entries(OFPORT).map(([name, ofport]) => [ofport as number, name]));
const LOCAL = new Map<string, string>([
  ['wire', ups.wire.id],
  ['a', ups.a.id],
  ['b', ups.b.id],
]);

function compiled(records: readonly InputRecord[] = gateway) {
  const compiler = createCompiler();
  compiler.update(records.map((record) => ({ op: 'put', record })));
  return compiler;
}

function executed(flows = compiled().flows()): (said: Said) => string[] {
  const pipeline = createPipeline({ flows, ports });
  return ({ by, bytes }) => {
    const { outputs, error } = pipeline.run({ inPort: OFPORT[by], bytes });
    assert.equal(error, undefined);
    return outputs.map(({ port }) => WAYS.get(port === OFPP.inPort ? OFPORT[by] : port) ?? `port ${port}`).sort();
  };
}

describe('a speaker', () => {
  const run = executed();
  for (const said of SAID)
    test(`${said.what}, by ${said.by}: ${said.to.join() || 'nobody'}`, () => assert.deepEqual(run(said), said.to));

  test('gets what the simulation says that it gets', () => {
    const model = modelOf(
      gateway.filter((record) => !['self', 'interface', 'speaker'].includes(record.kind)) as never[],
    );
    for (const said of SAID) {
      const port = LOCAL.get(said.by);
      if (port === undefined) continue;
      const { drops } = simulateFrame(model, { port, host: h1.id, bytes: said.bytes });
      const isSession = said.to.includes('speaker') && !/ARP|advertisement/.test(said.what);
      assert.deepEqual(drops.map(({ reason }) => reason).includes('speaker'), isSession, said.what);
    }
  });

  test('is deaf and dumb where its router, its port, its switch or the wire is down, or the wire is active elsewhere', () => {
    const down = (id: string): InputRecord[] =>
      gateway.map((record) =>
        record.id === id && record.kind !== 'speaker' && 'adminUp' in record ? { ...record, adminUp: false } : record,
      );
    const others = [ups.core.id, ups.uplink.id, ups.up.id, ups.wire.id].map(down);
    const moved = gateway.map((record) =>
      record.kind === 'binding' && record.id === ups.wire.id ? { ...record, active: ups.secondWire.id } : record,
    );
    for (const records of [...others, moved]) {
      const run = executed(compiled(records).flows());
      for (const said of SAID)
        assert.ok(!run(said).includes('speaker') && (said.by !== 'speaker' || run(said).length === 0), said.what);
    }
  });

  test('that comes and goes leaves no flow behind', () => {
    const without = compiled(gateway.filter(({ kind }) => kind !== 'speaker'));
    const [speaker] = gateway.filter(({ kind }) => kind === 'speaker');
    const lines = (compiler = without): string[] => [...compiler.flows()].map(formatFlow).sort();
    const before = lines();
    without.update([{ op: 'put', record: speaker! }]);
    assert.deepEqual(lines(), lines(compiled()));
    without.update([{ op: 'delete', record: speaker! }]);
    assert.deepEqual(lines(), before);
  });
});

describe('a speaker in Open vSwitch', { skip: OpenVswitchFixture.missing() ?? false }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
    ovs.setFlows([...compiled().flows()].map(formatFlow));
  });
  after(() => ovs.stop());

  test('hears and says the same', async () => {
    // Twice: the second frame meets the megaflows of all the first ones.
    for (const said of [...SAID, ...SAID]) {
      const got = [...(await ovs.receive(OFPORT[said.by], said.bytes))].flatMap(([port, all]) =>
        all.map((bytes) => [WAYS.get(port) ?? `port ${port}`, bytes] as const),
      );
      assert.deepEqual(got.map(([way]) => way).sort(), said.to, `${said.what}, by ${said.by}`);
      // Nothing is rewritten on the way to the daemon and from it.
      const isAsItWas = got.every(
        ([way, bytes]) => way !== 'speaker' || bytes === Buffer.from(said.bytes).toString('hex'),
      );
      assert.ok(isAsItWas, said.what);
    }
  });
});
