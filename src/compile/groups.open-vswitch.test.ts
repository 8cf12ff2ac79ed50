import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { LogicalPort } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import { createPipeline } from '../pipeline/pipeline.ts';
import { type Compiler, createCompiler } from './compiler.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import { ACK, bare, icmp, quote, SYN_ACK, tcp, udp } from './testing/frames.ts';
import { type Site, siteInputs } from './testing/sites.fixture.ts';

// Security groups with Open vSwitch's own connection tracking, and the executor's beside it.

const skip = OpenVswitchFixture.missing() ?? false;
const PORTS = 5;

const net = example.logicalSwitch(1, { subnets: [example.subnet('10.0.0.0/24'), example.subnet('2001:db8::/64')] });
const friends = example.addressSet(1, ['10.0.0.4', '10.0.1.0/24', '2001:db8::4']);
const web = example.securityGroup(1, {
  ingress: [
    { protocol: 'tcp', ports: '80' },
    { protocol: 'icmp', icmpType: 8 },
    { protocol: 'icmpv6', icmpType: 128 },
    { protocol: 'udp', ports: '5000-5009', addressSet: friends.id },
    { protocol: 'tcp', group: example.idOf('securityGroup', 1) },
  ],
});
const port = (number: number, groups: readonly string[]): LogicalPort =>
  example.port(number, net, { addresses: [`10.0.0.${number}`, `2001:db8::${number}`], groups: [...groups] });
const [client, server, other, friend] = [port(1, []), port(2, [web.id]), port(3, [web.id]), port(4, [])];
const sites: readonly Site[] = [client, server, other, friend].map((one, i) => ({ port: one, on: 0, ofport: i + 1 }));

/** In order: from whom, the frame, and who gets it. */
type Step = readonly [from: LogicalPort, bytes: Uint8Array, to: LogicalPort | undefined];

const six = { version: 6 } as const;
const syn = tcp([client, server], 1000, 80);
const CONVERSATIONS: Readonly<Record<string, readonly Step[]>> = {
  'a connection, its replies and what is refused': [
    [client, tcp([client, server], 1001, 22), undefined],
    [server, tcp([server, client], 80, 1000, SYN_ACK), undefined],
    [client, syn, server],
    [server, tcp([server, client], 80, 1000, SYN_ACK), client],
    [client, tcp([client, server], 1000, 80, ACK), server],
    [server, tcp([server, client], 1002, 22), client],
    [client, tcp([client, server], 22, 1002, SYN_ACK), server],
    [client, tcp([client, server], 1000, 80, 2, six), server],
    [server, tcp([server, client], 80, 1000, SYN_ACK, six), client],
  ],
  'echoes by type, of both versions': [
    [client, icmp([client, server], 13), undefined],
    [client, icmp([client, server], 8), server],
    [server, icmp([server, client], 0), client],
    [server, icmp([server, client], 0, 0, 0x20002), undefined],
    [client, icmp([client, server], 128, 0, 1, six), server],
    [server, icmp([server, client], 129, 0, 1, six), client],
  ],
  'errors about connections, both ways': [
    [server, icmp([server, client], 3, 3, 0, { payload: quote(syn) }), undefined],
    [client, syn, server],
    [server, icmp([server, client], 3, 3, 0, { payload: quote(syn) }), client],
    [client, icmp([client, server], 3, 4, 0, { payload: quote(tcp([server, client], 80, 1000, SYN_ACK)) }), server],
  ],
  'the other end in a set, or in a group': [
    [client, udp([client, server], 1000, 5003), undefined],
    [friend, udp([friend, server], 1000, 5003), server],
    [friend, udp([friend, server], 1000, 5010), undefined],
    [server, udp([server, friend], 5003, 1000), friend],
    [friend, udp([friend, server], 1000, 5009, six), server],
    [other, tcp([other, server], 1000, 4444), server],
    [other, tcp([other, server], 1000, 4444, 2, six), server],
    [friend, tcp([friend, server], 1000, 4444), undefined],
  ],
};

function compilerOf(records: readonly InputRecord[]): Compiler {
  const compiler = createCompiler();
  compiler.update(
    siteInputs([net, friends, ...records], sites, 0).map((record) => ({
      op: 'put',
      record: record.kind === 'self' ? { ...record, tunnelPorts: { geneve: PORTS } } : record,
    })),
  );
  return compiler;
}

describe('security groups', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
    ovs.setFlows([...compilerOf([web]).flows()].map(formatFlow));
  });
  after(() => ovs.stop());

  const receive = async (from: LogicalPort, bytes: Uint8Array): Promise<string[]> => {
    const out = await ovs.receive(sites.find(({ port: one }) => one === from)!.ofport, bytes);
    return [...out.keys()].map((at) => sites[at - 1]!.port.name);
  };

  for (const [name, steps] of Object.entries(CONVERSATIONS))
    test(`${name}: Open vSwitch and the executor do the same`, async () => {
      await ovs.control('dpctl/flush-conntrack');
      const pipeline = createPipeline({ flows: compilerOf([web]).flows(), ports: [1, 2, 3, 4, 5] });
      for (const [i, [from, bytes, to]] of steps.entries()) {
        const expected = to === undefined ? [] : [to.name];
        const { outputs } = pipeline.run({ inPort: sites.find(({ port: one }) => one === from)!.ofport, bytes });
        assert.deepEqual(
          outputs.map((output) => sites[output.port - 1]!.port.name),
          expected,
          `step ${i} of the executor`,
        );
        assert.deepEqual(await receive(from, bytes), expected, `step ${i} of Open vSwitch`);
      }
    });

  /** Open vSwitch takes no first fragments of less than 1,200 bytes, unless told to. */
  const SLICE = 1400;
  test('fragments are judged like the whole: both of an allowed packet arrive, none of a refused one', async () => {
    await ovs.control('dpctl/flush-conntrack');
    const datagram = (dstPort: number, id: number): readonly Uint8Array[] => {
      const whole = udp([friend, server], 1000, dstPort, { payload: new Uint8Array(2000) });
      const header = { id, moreFragments: true };
      const first = bare([friend, server], 17, { header, payload: whole.slice(34, 34 + SLICE) });
      const last = bare([friend, server], 17, {
        header: { id, fragmentOffset: SLICE },
        payload: whole.slice(34 + SLICE),
      });
      return [first, last];
    };
    const count = async (frames: readonly Uint8Array[]): Promise<number> => {
      let arrived = 0;
      for (const bytes of frames) for (const out of (await ovs.receive(4, bytes)).values()) arrived += out.length;
      return arrived;
    };
    assert.equal(await count(datagram(5003, 7)), 2);
    assert.equal(await count(datagram(5010, 8)), 0);
  });

  test('a rule that is taken away cuts both directions of what it allowed', async () => {
    await ovs.control('dpctl/flush-conntrack');
    assert.deepEqual(await receive(client, syn), ['p2']);
    assert.deepEqual(await receive(server, tcp([server, client], 80, 1000, SYN_ACK)), ['p1']);
    const without = { ...web, ingress: web.ingress.slice(1) };
    ovs.setFlows([...compilerOf([without]).flows()].map(formatFlow));
    await ovs.control('revalidator/purge');
    assert.deepEqual(await receive(client, tcp([client, server], 1000, 80, ACK)), []);
    assert.deepEqual(await receive(server, tcp([server, client], 80, 1000, ACK)), []);
  });
});
