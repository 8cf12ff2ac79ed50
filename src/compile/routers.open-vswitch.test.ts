import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { frameSketch } from '../model/frame-sketch.ts';
import { buildFrame } from '../model/generate-frames.ts';
import { routedSketch } from '../model/generate-routed-frames.ts';
import { modelOf } from '../model/model-index.ts';
import type { LogicalPort } from '../model/objects.ts';
import { OFPP } from '../openflow/flow.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { decodePacket } from '../packet/packet.ts';
import { echo, frame, ip, tcp, udp } from '../pipeline/frames.fixture.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { createCompiler } from './compiler.ts';
import * as example from './testing/example.ts';
import { hostsOf, inputsOf, untrackedModel } from './testing/inputs-of.ts';

// Routed packets in real Open vSwitch, and in the executor beside it.

const SEED = Number(process.env.WEFT_SEED ?? 1);
const MODELS = process.env.WEFT_CAMPAIGN ? 300 : 8;
const FRAMES_PER_PORT = 10;
/** The switch's dummy ports send no more. */
const LONGEST = 1514;
const routedFrame = fc.record({ frame: frameSketch, body: routedSketch });
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const skip = OpenVswitchFixture.missing() ?? false;
/** The last one stands for the tunnel. */
const PORTS = 12;

const h1 = example.host(1);
const h2 = example.host(2);
const addresses = (n: number, host: number): string[] => [`10.0.${n}.${host}`, `2001:db8:${n}::${host}`];
const subnets = (n: number): ReturnType<typeof example.subnet>[] => [
  example.subnet(`10.0.${n}.0/24`),
  example.subnet(`2001:db8:${n}::/64`),
];
const left = example.logicalSwitch(1, { subnets: subnets(1) });
const right = example.logicalSwitch(2, { subnets: subnets(2), mtu: 1300 });
const aware = example.logicalSwitch(3, {
  vlanAware: true,
  subnets: [example.subnet('10.0.3.0/24', { vlan: 3 }), example.subnet('2001:db8:3::/64')],
});
const near = example.router(1, {
  routes: [
    example.route('192.0.2.0/24', { via: '10.0.2.11' }),
    example.route('192.0.2.0/24', { via: '10.0.2.12', weight: 3 }),
    example.route('2001:db8:99::/64', { via: '2001:db8:2::11' }),
    example.route('2001:db8:99::/64', { via: '2001:db8:2::12' }),
    example.route('0.0.0.0/0', { via: '169.254.0.2' }),
    example.route('::/0', { via: 'fd00::2' }),
    example.route('198.51.100.0/24', { from: '10.0.1.0/28', action: 'blackhole' }),
  ],
  policies: [{ position: 1, match: { protocol: 'tcp', dstPorts: '8000-8007' }, action: 'reroute', via: '10.0.2.12' }],
});
const far = example.router(2, {
  routes: [example.route('0.0.0.0/0', { via: '169.254.0.1' }), example.route('::/0', { via: 'fd00::1' })],
});
const onLeft = example.routerPort(1, near, { switch: left.id, addresses: ['10.0.1.1/24', '2001:db8:1::1/64'] });
const onRight = example.routerPort(2, near, { switch: right.id, addresses: ['10.0.2.1/24', '2001:db8:2::1/64'] });
const up = example.routerPort(3, near, { addresses: ['169.254.0.1/30', 'fd00::1/64'] });
const down = example.routerPort(4, far, { addresses: ['169.254.0.2/30', 'fd00::2/64'], peer: up.id });
const onAware = example.routerPort(5, far, { switch: aware.id, addresses: ['10.0.3.1/24', '2001:db8:3::1/64'] });
const a = example.port(1, left, { addresses: addresses(1, 10), portSecurity: false });
const b = example.port(2, right, { addresses: addresses(2, 11) });
const c = example.port(3, right, { addresses: addresses(2, 12) });
const d = example.port(4, aware, { addresses: addresses(3, 13), vlan: { trunk: 'all' } });
const e = example.port(5, right, { addresses: addresses(2, 15) });
const here = [a, b, c, d];

function compiled() {
  const compiler = createCompiler();
  const records = [
    ...[example.zone(), h1, h2, left, right, aware, near, far, onLeft, onRight, up, down, onAware, ...here, e],
    ...here.map((port) => example.binding(port, h1)),
    example.binding(e, h2),
    example.self(h1, { tunnelPorts: { geneve: PORTS } }),
    ...here.map((port, i) => example.boundInterface(port, i + 1)),
  ];
  compiler.update(records.map((record) => ({ op: 'put', record })));
  return compiler;
}

const tag = (vid: number) => ({ vlans: [{ tpid: 0x8100, vid, pcp: 0, dei: false }] });
const send = (
  from: LogicalPort,
  by: { readonly mac: string },
  packet: Parameters<typeof frame>[2],
): readonly [LogicalPort, Uint8Array] => [from, frame(from.mac, by.mac, packet)];

const FRAMES: Readonly<Record<string, readonly (readonly [LogicalPort, Uint8Array])[]>> = {
  'to the next network, here and elsewhere': [
    send(a, onLeft, ip('10.0.1.10', '10.0.2.11', udp(1, 2))),
    send(a, onLeft, ip('2001:db8:1::10', '2001:db8:2::11', tcp(1, 2))),
    send(a, onLeft, ip('10.0.1.10', '10.0.2.15', udp(1, 2))),
    send(a, onLeft, ip('2001:db8:1::10', '2001:db8:2::15', udp(1, 2))),
  ],
  'over linked routers, into a VLAN and out of it': [
    send(a, onLeft, ip('10.0.1.10', '10.0.3.13', udp(1, 2))),
    send(a, onLeft, ip('2001:db8:1::10', '2001:db8:3::13', udp(1, 2))),
    send(d, onAware, { ...ip('10.0.3.13', '10.0.1.10', udp(1, 2)), ...tag(3) }),
    send(d, onAware, ip('2001:db8:3::13', '2001:db8:1::10', udp(1, 2))),
    send(d, onAware, { ...ip('10.0.3.13', '10.0.1.10', udp(1, 2)), ...tag(4) }),
  ],
  'echoes of the routers': ['10.0.1.1', '10.0.2.1', '10.0.3.1', '169.254.0.2'].map((to) =>
    send(a, onLeft, ip('10.0.1.10', to, echo(4))),
  ),
  'echoes of the routers over IPv6': ['2001:db8:1::1', '2001:db8:3::1', 'fd00::2', 'fe80::ff:fe01:1'].map((to) =>
    send(a, onLeft, ip('2001:db8:1::10', to, echo(6))),
  ),
  'equal routes': Array.from({ length: 40 }, (_, i) =>
    i % 2 === 0
      ? send(a, onLeft, ip('10.0.1.10', `192.0.2.${i * 3}`, udp(1, 2)))
      : send(a, onLeft, ip('2001:db8:1::10', `2001:db8:99::${(i * 3).toString(16)}`, udp(1, 2))),
  ),
  'policies and sources': [
    ...[8000, 8007, 8008].map((port) => send(a, onLeft, ip('10.0.1.10', '10.0.2.11', tcp(1, port)))),
    send(a, onLeft, ip('10.0.1.10', '198.51.100.1', udp(1, 2))),
    send(a, onLeft, ip('10.0.1.130', '198.51.100.1', udp(1, 2))),
  ],
  'sizes, hops and what ends at the router': [
    ...[1300, 1301].map((bytes) =>
      send(a, onLeft, { ...ip('10.0.1.10', '10.0.2.11', udp(1, 2)), payload: new Uint8Array(bytes - 28) }),
    ),
    ...[0, 1, 2, 255].map((ttl) => send(a, onLeft, ip('10.0.1.10', '10.0.2.11', udp(1, 2), ttl))),
    ...[0, 1, 2].map((ttl) => send(a, onLeft, ip('2001:db8:1::10', '2001:db8:2::11', udp(1, 2), ttl))),
    send(a, onLeft, ip('10.0.1.10', '10.0.1.1', udp(1, 2))),
    send(a, onLeft, ip('10.0.1.10', '203.0.113.1', udp(1, 2))),
    send(a, onLeft, ip('10.0.1.10', '10.0.2.99', udp(1, 2))),
  ],
};

describe('routed packets', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
    ovs.setFlows([...compiled().flows()].map(formatFlow));
  });
  after(() => ovs.stop());

  const pipeline = createPipeline({ flows: compiled().flows(), ports: Array.from({ length: PORTS }, (_, i) => i + 1) });
  for (const [name, frames] of Object.entries(FRAMES))
    test(`${name}: Open vSwitch and the executor do the same`, async () => {
      for (const [from, bytes] of frames) {
        const inPort = here.indexOf(from) + 1;
        const ours = pipeline.run({ inPort, bytes });
        assert.equal(ours.error, undefined);
        const expected = ours.outputs.map(({ port, bytes: out }) => [port, Buffer.from(out).toString('hex')]);
        const theirs = [...(await ovs.receive(inPort, bytes))].flatMap(([port, all]) => all.map((out) => [port, out]));
        assert.deepEqual(
          theirs,
          expected,
          JSON.stringify(decodePacket(bytes).l3, (_, value) =>
            typeof value === 'bigint' ? value.toString(16) : value,
          ),
        );
      }
    });

  // The ports of DHCP aside, which tell apart sources below and above 1,024, and the like.
  test('megaflows of routed traffic do not grow with connections', async () => {
    await ovs.control('revalidator/purge');
    const count = async (): Promise<number> =>
      (await ovs.control('dpctl/dump-flows', 'dummy@ovs-dummy')).split('\n').filter((line) => line.includes('actions:'))
        .length;
    const talk = async (from: number, to: number): Promise<void> => {
      for (let port = from; port < to; port++) {
        await ovs.receive(1, frame(a.mac, onLeft.mac, ip('10.0.1.10', '192.0.2.7', udp(port, 53))));
        await ovs.receive(1, frame(a.mac, onLeft.mac, ip('2001:db8:1::10', '2001:db8:2::11', tcp(port, 443))));
      }
    };
    await talk(1024, 1030);
    const few = await count();
    await talk(1030, 1130);
    assert.deepEqual([await count(), few > 0], [few, true]);
  });

  test('of random models: Open vSwitch and the executor do the same', async () => {
    const ports = Array.from({ length: PORTS }, (_, i) => i + 1);
    for (const [n, model] of fc.sample(untrackedModel, { seed: SEED, numRuns: MODELS }).entries()) {
      const view = modelOf(model.records);
      const host = hostsOf(model)[0]!.id;
      const compiler = createCompiler();
      // Without meters, which the switch would have to have.
      const tunnelPorts = { geneve: PORTS, vxlan: PORTS, gre: PORTS };
      compiler.update(
        inputsOf(model, host).map((record) => ({
          op: 'put',
          record: record.kind === 'self' ? { kind: 'self', id: 'self', host, tunnelPorts } : record,
        })),
      );
      ovs.setFlows([...compiler.flows()].map(formatFlow));
      await ovs.control('revalidator/purge');
      const random = createPipeline({ flows: compiler.flows(), ports });
      const here = model.interfaces.filter((entry) => entry.host === host).slice(0, PORTS - 1);
      for (const [i, { port }] of here.entries())
        for (const { frame: sketch, body } of fc.sample(routedFrame, { seed: SEED + n, numRuns: FRAMES_PER_PORT })) {
          const bytes = buildFrame({ ...sketch, body }, view, port);
          if (bytes.length > LONGEST) continue;
          const expected = random.run({ inPort: i + 1, bytes }).outputs.map(({ port: at, bytes: out }) => {
            return `${at === OFPP.inPort ? i + 1 : at} ${hex(out)}`;
          });
          const theirs = [...(await ovs.receive(i + 1, bytes))].flatMap(([at, all]) =>
            all.map((out) => `${at} ${out}`),
          );
          assert.deepEqual(
            theirs.sort(),
            expected.sort(),
            `model ${n} of seed ${SEED}, interface ${i + 1}, ${hex(bytes)}`,
          );
        }
    }
  });
});
