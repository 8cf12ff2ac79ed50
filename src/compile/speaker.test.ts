import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { modelOf } from '../model/model-index.ts';
import { OFPP } from '../openflow/flow.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { ip, tcp, udp } from '../pipeline/frames.fixture.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { simulateFrame } from '../simulate/simulate.ts';
import { createCompiler } from './compiler.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN, TABLES, WANTED_PREFIXES } from './tables.ts';
import { fromWire, gateway, h1, morePeers, OFPORT, SAID, type Said } from './testing/speaker-frames.fixture.ts';
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

const lines = (compiler: ReturnType<typeof compiled>): string[] => [...compiler.flows()].map(formatFlow).sort();
const theModel = () =>
  modelOf(gateway.filter((record) => !['self', 'interface', 'speaker'].includes(record.kind)) as never[]);

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
    const model = theModel();
    for (const said of SAID) {
      const port = LOCAL.get(said.by);
      if (port === undefined) continue;
      const { drops } = simulateFrame(model, { port, host: h1.id, bytes: said.bytes });
      const isSession = said.to.includes('speaker') && !/ARP|advertisement/.test(said.what);
      assert.deepEqual(drops.map(({ reason }) => reason).includes('speaker'), isSession, said.what);
    }
  });

  test('hears no stranger: who gets the answer that any address of the router gives', () => {
    const model = theModel();
    const pipeline = createPipeline({ flows: compiled().flows(), ports });
    const strange = SAID.filter(({ what, by }) => by === 'wire' && / of stranger |, TTL 254$/.test(what));
    const asked = strange
      .filter(({ to }) => to.length === 0)
      .map(({ what, bytes }) => {
        const { requests } = simulateFrame(model, { port: ups.wire.id, host: h1.id, bytes });
        const { packetIns } = pipeline.run({ inPort: OFPORT.wire, bytes });
        const wanted = what.startsWith('BGP')
          ? { service: 'reset', packetIn: PACKET_IN.reset }
          : { service: 'port-unreachable', packetIn: PACKET_IN.portUnreachable };
        assert.deepEqual([what, requests.map(({ service }) => service)], [what, [wanted.service]]);
        const classes = packetIns.map(({ userdata }) => userdata[0]!).filter((each) => each !== PACKET_IN.learn);
        assert.deepEqual([what, classes], [what, [wanted.packetIn]]);
        return wanted.service;
      });
    assert.deepEqual([...new Set(asked)].sort(), ['port-unreachable', 'reset']);
  });

  test('hears a peer that comes, goes, moves further away or has another address, at no other cost than its own flows', () => {
    const compiler = compiled();
    const before = lines(compiler);
    const [peer] = morePeers;
    const changed = [
      { ...peer!, address: '2001:db8:f::77' },
      { ...peer!, bfd: false },
      { ...peer!, multihop: 2 },
    ];
    for (const record of changed) {
      const { add, remove } = compiler.update([{ op: 'put', record }]);
      const others = gateway.filter(({ id }) => id !== peer!.id);
      assert.deepEqual(lines(compiler), lines(compiled([...others, record])));
      assert.ok(add.length + remove.length > 0 && add.length + remove.length <= 6, `${add.length} ${remove.length}`);
      assert.ok([...add, ...remove].every(({ table }) => table === TABLES.guard.number));
      compiler.update([{ op: 'put', record: peer! }]);
      assert.deepEqual(lines(compiler), before);
    }
    const run = executed(compiled([...gateway, ups.peer(9, ups.uplink, '198.51.100.200')]).flows());
    const [said] = SAID.filter(({ what }) => what.startsWith('BGP to us of stranger 198.51.100.200'));
    assert.deepEqual([run(said!), said!.to], [['speaker'], []]);
    compiler.update([{ op: 'delete', kind: 'bgpPeer', id: peer!.id }]);
    assert.equal(before.length - compiler.flowCount, 3);
  });

  test('is not drowned by BFD: that of neighbours and that of others pass a meter each, BGP none', () => {
    const meters = [...compiled().meters().keys()];
    assert.equal(meters.length, 2);
    const through = (closed: number | undefined): string[] => {
      const pipeline = createPipeline({ flows: compiled().flows(), ports, meterPasses: (meter) => meter !== closed });
      const passed = SAID.filter(({ by, bytes, to }) => {
        if (by !== 'wire' || to[0] !== 'speaker') return false;
        return pipeline.run({ inPort: OFPORT.wire, bytes }).outputs.length > 0;
      });
      return passed.map(({ what }) => what);
    };
    const [all, ...held] = [undefined, ...meters].map(through);
    const lost = held.map((rest) => all!.filter((what) => !rest.includes(what)));
    assert.ok(lost[0]!.length > 0 && lost[0]!.every((what) => what.startsWith('BFD')), lost[0]!.join());
    assert.ok(lost[1]!.length > 0 && lost[1]!.every((what) => what.startsWith('multihop BFD')), lost[1]!.join());
    const none = compiled(gateway.filter(({ kind }) => kind !== 'speaker'));
    assert.equal(none.meters().size, 0);
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
    const before = lines(without);
    without.update([{ op: 'put', record: speaker! }]);
    assert.deepEqual(lines(without), lines(compiled()));
    without.update([{ op: 'delete', record: speaker! }]);
    assert.deepEqual(lines(without), before);
  });
});

describe('a speaker in Open vSwitch', { skip: OpenVswitchFixture.missing() ?? false }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
    // Without meters, which the switch would have to have.
    ovs.setFlows(lines(compiled()).map((line) => line.replaceAll(/(?<=actions=)meter:\d+,/g, '')));
    ovs.setPrefixes(WANTED_PREFIXES);
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

  test('asks for sources where sessions are concerned, and there by prefixes', async () => {
    const SOURCES = 64;
    const megaflowsOf = async (make: (n: number) => Uint8Array): Promise<string[]> => {
      await ovs.control('revalidator/purge');
      for (let n = 0; n < SOURCES; n++) await ovs.receive(OFPORT.wire, make(n));
      return (await ovs.control('dpctl/dump-flows', 'dummy@ovs-dummy')).trim().split('\n');
    };
    const any = (n: number): string => `${100 + n}.${(n * 37) % 256}.${(n * 101) % 256}.${1 + n}`;
    const any6 = (n: number): string => `2${((n * 61) & 0xfff).toString(16).padStart(3, '0')}:${n + 1}::${n + 1}`;
    const sprays: Readonly<Record<string, (n: number) => Uint8Array>> = {
      onwards: (n) => fromWire(ip(any(n), '10.0.1.11', tcp(1000 + n, 80))),
      'onwards, IPv6': (n) => fromWire(ip(any6(n), '2001:db8:1::11', tcp(1000 + n, 80))),
      BGP: (n) => fromWire(ip(any(n), '192.0.2.2', tcp(1000 + n, 179))),
      'BFD, IPv6': (n) => fromWire(ip(any6(n), '2001:db8:f::2', udp(1000 + n, 3784), 255)),
    };
    for (const [what, make] of Object.entries(sprays)) {
      const megaflows = await megaflowsOf(make);
      assert.ok(megaflows.length > 1 && megaflows.length < SOURCES / 4, `${what}: ${megaflows.join('\n')}`);
    }
  });
});
