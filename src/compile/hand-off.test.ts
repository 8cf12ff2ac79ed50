import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Host, LoadBalancer, LogicalPort } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { decodePacket } from '../packet/packet.ts';
import { frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Journey, Network } from '../pipeline/network.fixture.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import * as example from './testing/example.ts';
import { a, b, c, ends, plain, sitesOn, story, uplink, world, x } from './testing/outside-world.fixture.ts';

// Connections of clients outside keep their member while the members change (docs/design/layer3.md, §8, "Hand-off").

const [h1, h2] = [example.host(1), example.host(2)];
const [SYN, ACK, SYN_ACK, RST, FIN_ACK] = [2, 16, 18, 4, 17];
const VIP = '203.0.113.80';
const CLIENT = '198.51.100.1';

interface Change {
  readonly drained?: readonly LogicalPort[];
  readonly down?: readonly LogicalPort[];
}

function vip(members: readonly LogicalPort[], { drained = [], down = [] }: Change = {}): LoadBalancer {
  return example.loadBalancer(1, VIP, [], {
    router: plain.id,
    listeners: [
      { protocol: 'tcp', port: 80 },
      { protocol: 'udp', port: 53 },
    ],
    members: members.map((port) => ({
      port: port.id,
      weight: 1,
      drain: drained.includes(port),
      adminUp: !down.includes(port),
    })),
  });
}

const fromClient = (l4: ReturnType<typeof tcp>): Uint8Array => frame(x.mac, uplink.mac, ip(CLIENT, VIP, l4));
const segment = (flags: number): Uint8Array => fromClient(tcp(5000, 80, flags));
const at = { b: `p2: ${CLIENT}:5000 > 10.0.1.12:80`, c: `p3: ${CLIENT}:5000 > 10.0.2.13:80` };

/** Who gets it; that others who were asked know nothing of it is no news. */
const got = (journey: Journey): string => story({ ...journey, reasons: [] });

describe('a connection from outside, when its slot has moved', () => {
  const spread = { a: h1, b: h1, c: h2 };

  /** The client is at `gateway`; its connection is with b. */
  function connected(gateway: Host, where: typeof spread = spread): Network {
    const net = networkOf([h1, h2], [...world, plain, vip([b])], sitesOn({ ...where, x: gateway }));
    assert.equal(story(net.send(gateway.id, 4, segment(SYN))), at.b);
    return net;
  }

  const CHANGES: Readonly<Record<string, LoadBalancer>> = {
    'is drained': vip([b, c], { drained: [b] }),
    'is administratively down': vip([b, c], { down: [b] }),
    'is drained with all others': vip([b, c], { drained: [b, c] }),
    'is the only one, and drained': vip([b], { drained: [b] }),
  };

  for (const [host, gateway] of [
    ['its host', h1],
    ['another host', h2],
  ] as const)
    for (const [how, changed] of Object.entries(CHANGES))
      test(`keeps its member that ${how}; it comes in at ${host}`, () => {
        const net = connected(gateway);
        net.change(changed);
        for (const flags of [ACK, SYN_ACK, FIN_ACK, RST])
          assert.equal(got(net.send(gateway.id, 4, segment(flags))), at.b, `flags ${flags}`);
        // And when the member is back.
        net.change(vip([b, c]));
        assert.equal(story(net.send(gateway.id, 4, segment(ACK))), at.b);
      });

  test('comes out of a tunnel and goes into another: one hop more, with the marker of the balancer', () => {
    const h3 = example.host(3);
    const net = networkOf([h1, h2, h3], [...world, plain, vip([b])], sitesOn({ ...spread, x: h3 }));
    assert.equal(story(net.send(h3.id, 4, segment(SYN))), at.b);
    net.change(vip([b, c], { drained: [b] }));
    const journey = net.send(h3.id, 4, segment(ACK));
    assert.equal(story(journey), at.b);
    assert.deepEqual(
      journey.results.map(({ host }) => host),
      [h3.id, h2.id, h1.id],
    );
    const markers = journey.results.flatMap(({ result }) =>
      result.outputs.filter(({ tunnel }) => tunnel.dst !== 0).map(({ bytes }) => decodePacket(bytes).ethernet.dst),
    );
    assert.deepEqual(markers.slice(0, 2), [0x024d_0000_0000 + c.key, 0x024e_0000_0000 + 0x501]);
  });

  test('is found at another member of the same host', () => {
    const net = connected(h1, { ...spread, c: h1 });
    net.change(vip([b, c], { drained: [b] }));
    assert.equal(got(net.send(h1.id, 4, segment(ACK))), at.b);
  });

  test('is not looked for by what begins one, nor by datagrams', () => {
    const net = connected(h2);
    net.change(vip([b, c], { drained: [b] }));
    const begins = fromClient(tcp(5002, 80, SYN));
    assert.equal(story(net.send(h2.id, 4, begins)), `p3: ${CLIENT}:5002 > 10.0.2.13:80`);
    const datagram = story(net.send(h2.id, 4, fromClient(udp(5000, 53))));
    assert.equal(datagram, `p3: ${CLIENT}:5000 > 10.0.2.13:53`);
  });

  test('is dropped where nobody knows it, and by no two hosts for ever', () => {
    const net = connected(h2);
    net.change(vip([a, b, c]));
    for (const port of [6000, 6002, 6004, 6006]) {
      const journey = net.send(h2.id, 4, fromClient(tcp(port, 80, ACK)));
      assert.deepEqual(new Set(journey.reasons), new Set(['unknown-connection']));
      assert.deepEqual(journey.delivered, []);
      assert.ok(journey.results.length <= 3);
    }
  });

  test('is not looked for where the host has no meter for that', () => {
    const net = connected(h2);
    net.change(vip([b, c], { drained: [b] }));
    net.compilerOf(h2.id).update([{ op: 'put', record: example.self(h2) }]);
    assert.ok([...net.compilerOf(h2.id).flows()].every(({ actions }) => actions.every(({ kind }) => kind !== 'meter')));
  });

  test('with the marker nothing else comes in', () => {
    const net = connected(h2);
    const tunnel = { id: BigInt(uplink.key), src: 0xc000_0202, dst: 0xc000_0201 };
    const marked = (l4: ReturnType<typeof tcp>): Uint8Array => frame(x.mac, '02:4e:00:00:05:01', ip(CLIENT, VIP, l4));
    for (const l4 of [tcp(7000, 80, SYN), tcp(7000, 80, ACK), tcp(7000, 81, ACK), udp(7000, 53)])
      assert.equal(story(net.arrive(h1.id, tunnel, marked(l4))), 'unknown-connection');
    assert.equal(story(net.arrive(h1.id, tunnel, marked(tcp(5000, 80, ACK)))), at.b);
  });
});

describe('hand-off in Open vSwitch', { skip: OpenVswitchFixture.missing() ?? false }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(4);
    ovs.setFragments('nx-match');
  });
  after(() => ovs.stop());

  test('finds the connection at the member that has it, while the others have its slot', async () => {
    const sites = sitesOn({ a: h1, b: h1, c: h1, x: h1 });
    const net = networkOf([h1], [...world, plain, vip([b])], sites);
    /** The switch has no meters. */
    const install = async (): Promise<void> => {
      const flows = [...net.compilerOf(h1.id).flows()];
      ovs.setFlows(flows.map((flow) => formatFlow(flow).replaceAll(/,meter_id=\d+|(?<=actions=)meter:\d+,/g, '')));
      await ovs.control('revalidator/purge');
    };
    const send = async (bytes: Uint8Array): Promise<string> => {
      const got = await ovs.receive(4, bytes);
      return [...got]
        .flatMap(([ofport, frames]) => frames.map((hex) => `p${ofport}: ${ends(Buffer.from(hex, 'hex'))}`))
        .join('; ');
    };
    await install();
    assert.equal(await send(segment(SYN)), at.b);
    for (const changed of [
      vip([b, c], { drained: [b] }),
      vip([b, c], { down: [b] }),
      vip([a, b, c], { drained: [b] }),
      vip([b, c], { drained: [b, c] }),
      vip([b, c]),
    ]) {
      net.change(changed);
      await install();
      assert.equal(await send(segment(ACK)), at.b);
    }
    net.change(vip([c]));
    await install();
    assert.equal(await send(segment(SYN)), at.c, 'its member was taken out of the balancer');
    assert.equal(await send(fromClient(tcp(6000, 80, ACK))), `p3: ${CLIENT}:6000 > 10.0.2.13:80`, 'the only one');
    net.change(vip([b, c]));
    await install();
    assert.equal(await send(fromClient(tcp(6002, 80, ACK))), '');
  });
});
