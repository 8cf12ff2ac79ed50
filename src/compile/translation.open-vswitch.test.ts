import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { LoadBalancer, LogicalPort } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import type { Layer3 } from '../packet/packet.ts';
import { echo, frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import { OpenVswitchFixture } from '../pipeline/open-vswitch.fixture.ts';
import type { InputRecord } from './inputs.ts';
import * as example from './testing/example.ts';
import {
  a,
  b,
  c,
  ends,
  middle,
  plain,
  sitesOn,
  story,
  toInside,
  toOther,
  uplink,
  world,
  x,
} from './testing/outside-world.fixture.ts';

// Address translation by Open vSwitch's own connection tracking on one host, and by the executor's beside it.

const skip = OpenVswitchFixture.missing() ?? false;
const PORTS = 4;
const host = example.host(1);
const sites = sitesOn({ a: host, b: host, c: host, x: host });
const SYN_ACK = 18;
const ACK = 16;
const PSH_ACK = 24;

/** Who sends what, and who gets what then. */
interface Step {
  readonly from: LogicalPort;
  readonly bytes: Uint8Array;
  readonly then: string;
}

function step(
  from: LogicalPort,
  src: string,
  dst: string,
  l4: ReturnType<typeof tcp>,
  then: string,
  to?: string,
): Step {
  const gateway = from === x ? uplink.mac : from === c ? toOther.mac : toInside.mac;
  return { from, bytes: frame(from.mac, to ?? gateway, ip(src, dst, l4)), then };
}

/** An ICMP error that quotes what its sender got. */
function error(from: LogicalPort, src: string, dst: string, about: Uint8Array, then: string, to?: string): Step {
  const isSix = src.includes(':');
  const l4 = isSix
    ? ({ kind: 'icmpv6', type: 1, code: 4, rest: 0 } as const)
    : ({ kind: 'icmp', type: 3, code: 3, rest: 0 } as const);
  const gateway = from === x ? uplink.mac : from === c ? toOther.mac : toInside.mac;
  const bytes = frame(from.mac, to ?? gateway, { ...ip(src, dst, l4), payload: about.slice(14) });
  return { from, bytes, then };
}
const quoted = (src: string, dst: string, l4: ReturnType<typeof tcp>): Uint8Array =>
  frame(a.mac, b.mac, ip(src, dst, l4));

const vip = (address: string, members: LogicalPort[], options: Partial<LoadBalancer> = {}): LoadBalancer =>
  example.loadBalancer(1, address, members, { router: plain.id, ...options });

const snat = middle({
  snat: [
    { from: '10.0.0.0/8', to: '203.0.113.1' },
    { from: '2001:db8::/32', to: '2001:db8:ffff::1' },
  ],
});
/** Blocks of one port, so that it is known which. */
const leases = [
  example.natLease(snat, '203.0.113.1', host, [10240, 1], [10250, 1]),
  example.natLease(snat, '2001:db8:ffff::1', host, [10260, 1]),
];
const floatings = [
  example.floatingAddress(1, '203.0.113.10', plain, a),
  example.floatingAddress(2, '203.0.113.11', plain, b),
  example.floatingAddress(3, '2001:db8:ffff::10', plain, a),
];

const RANGE: LoadBalancer['listeners'] = [{ protocol: 'tcp', port: '8000-8099' }];

interface Conversation {
  readonly records: readonly InputRecord[];
  readonly steps: readonly Step[];
}

const CONVERSATIONS: Readonly<Record<string, Conversation>> = {
  'a VIP from inside, its member on the same switch': {
    records: [plain, vip('10.9.9.9', [b])],
    steps: [
      step(a, '10.0.1.11', '10.9.9.9', tcp(5000, 80), 'p2: 10.0.1.11:5000 > 10.0.1.12:80'),
      step(b, '10.0.1.12', '10.0.1.11', tcp(80, 5000, SYN_ACK), 'p1: 10.9.9.9:80 > 10.0.1.11:5000', a.mac),
      step(a, '10.0.1.11', '10.9.9.9', tcp(5000, 80, ACK), 'p2: 10.0.1.11:5000 > 10.0.1.12:80'),
      error(
        a,
        '10.0.1.11',
        '10.9.9.9',
        quoted('10.9.9.9', '10.0.1.11', tcp(80, 5000, ACK)),
        'p2: 10.0.1.11 > 10.0.1.12',
      ),
      error(
        b,
        '10.0.1.12',
        '10.0.1.11',
        quoted('10.0.1.11', '10.0.1.12', tcp(5000, 80, ACK)),
        'p1: 10.9.9.9 > 10.0.1.11',
        a.mac,
      ),
      step(a, '10.0.1.11', '10.9.9.9', echo(4), 'back: 10.9.9.9 > 10.0.1.11'),
    ],
  },
  'a VIP from inside, its member behind the router': {
    records: [
      plain,
      vip('2001:db8:9::9', [c], { listeners: [{ protocol: 'udp', port: 53, memberPort: 5353 }], sticky: 'source' }),
    ],
    steps: [
      step(a, '2001:db8:1::11', '2001:db8:9::9', udp(5000, 53), 'p3: 2001:db8:1::11:5000 > 2001:db8:2::13:5353'),
      step(c, '2001:db8:2::13', '2001:db8:1::11', udp(5353, 5000), 'p1: 2001:db8:9::9:53 > 2001:db8:1::11:5000'),
      error(
        a,
        '2001:db8:1::11',
        '2001:db8:9::9',
        quoted('2001:db8:9::9', '2001:db8:1::11', udp(53, 5000)),
        'p3: 2001:db8:1::11 > 2001:db8:2::13',
      ),
      step(a, '2001:db8:1::11', '2001:db8:9::9', echo(6), 'back: 2001:db8:9::9 > 2001:db8:1::11'),
    ],
  },
  'ranges of ports of a VIP, from inside and outside': {
    records: [
      plain,
      vip('203.0.113.80', [b], {
        listeners: [
          { protocol: 'tcp', port: '8000-8099' },
          { protocol: 'tcp', port: '2200-2209', memberPort: '22000-22009' },
          { protocol: 'udp', port: '1-65535', memberPort: 53 },
        ],
      }),
    ],
    steps: [
      step(x, '198.51.100.1', '203.0.113.80', tcp(5000, 8042), 'p2: 198.51.100.1:5000 > 10.0.1.12:8042'),
      step(b, '10.0.1.12', '198.51.100.1', tcp(8042, 5000, SYN_ACK), 'p9: 203.0.113.80:8042 > 198.51.100.1:5000'),
      step(x, '198.51.100.1', '203.0.113.80', tcp(5000, 8099), 'p2: 198.51.100.1:5000 > 10.0.1.12:8099'),
      step(x, '198.51.100.1', '203.0.113.80', tcp(5000, 8100), ''),
      step(x, '198.51.100.1', '203.0.113.80', tcp(5000, 2209), 'p2: 198.51.100.1:5000 > 10.0.1.12:22009'),
      step(b, '10.0.1.12', '198.51.100.1', tcp(22009, 5000, SYN_ACK), 'p9: 203.0.113.80:2209 > 198.51.100.1:5000'),
      step(x, '198.51.100.1', '203.0.113.80', udp(5000, 40000), 'p2: 198.51.100.1:5000 > 10.0.1.12:53'),
      step(b, '10.0.1.12', '198.51.100.1', udp(53, 5000), 'p9: 203.0.113.80:40000 > 198.51.100.1:5000'),
      step(a, '10.0.1.11', '203.0.113.80', tcp(5000, 8042), 'p2: 10.0.1.11:5000 > 10.0.1.12:8042'),
      step(b, '10.0.1.12', '10.0.1.11', tcp(8042, 5000, SYN_ACK), 'p1: 203.0.113.80:8042 > 10.0.1.11:5000', a.mac),
      step(a, '10.0.1.11', '203.0.113.80', tcp(5000, 2200), 'p2: 10.0.1.11:5000 > 10.0.1.12:22000'),
      step(b, '10.0.1.12', '203.0.113.80', tcp(5000, 8001), 'back: 203.0.113.80:5000 > 10.0.1.12:8001'),
      step(b, '10.0.1.12', '203.0.113.80', tcp(8001, 5000, SYN_ACK), 'back: 203.0.113.80:8001 > 10.0.1.12:5000'),
      step(b, '10.0.1.12', '203.0.113.80', udp(6000, 7000), 'back: 203.0.113.80:6000 > 10.0.1.12:53'),
      step(b, '10.0.1.12', '203.0.113.80', udp(53, 6000), 'back: 203.0.113.80:7000 > 10.0.1.12:6000'),
      step(b, '10.0.1.12', '203.0.113.80', udp(6000, 7000), 'back: 203.0.113.80:6000 > 10.0.1.12:53'),
    ],
  },
  'a VIP of a switch': {
    records: [plain, example.loadBalancer(1, '10.0.1.99', [b], { switch: a.switch })],
    steps: [
      step(a, '10.0.1.11', '10.0.1.99', tcp(5000, 80), 'p2: 10.0.1.11:5000 > 10.0.1.12:80', '0a:57:4c:00:05:01'),
      step(b, '10.0.1.12', '10.0.1.11', tcp(80, 5000, SYN_ACK), 'p1: 10.0.1.99:80 > 10.0.1.11:5000', a.mac),
    ],
  },
  'a member that calls its own VIP': {
    records: [plain, vip('10.9.9.9', [b])],
    steps: [
      step(b, '10.0.1.12', '10.9.9.9', tcp(5000, 80), 'back: 10.9.9.9:5000 > 10.0.1.12:80'),
      step(b, '10.0.1.12', '10.9.9.9', tcp(80, 5000, SYN_ACK), 'back: 10.9.9.9:80 > 10.0.1.12:5000'),
      step(b, '10.0.1.12', '10.9.9.9', tcp(5000, 80, ACK), 'back: 10.9.9.9:5000 > 10.0.1.12:80'),
      step(b, '10.0.1.12', '10.9.9.9', tcp(5000, 80, PSH_ACK), 'back: 10.9.9.9:5000 > 10.0.1.12:80'),
    ],
  },
  'a VIP without members': {
    records: [plain, vip('10.9.9.9', [b], { onEmpty: 'drop', members: [] })],
    steps: [
      step(a, '10.0.1.11', '10.9.9.9', tcp(5000, 80), ''),
      step(a, '10.0.1.11', '10.9.9.9', echo(4), 'back: 10.9.9.9 > 10.0.1.11'),
    ],
  },
  'a VIP from outside': {
    records: [plain, vip('203.0.113.80', [b])],
    steps: [
      step(x, '198.51.100.1', '203.0.113.80', tcp(5000, 80), 'p2: 198.51.100.1:5000 > 10.0.1.12:80'),
      step(b, '10.0.1.12', '198.51.100.1', tcp(80, 5000, SYN_ACK), 'p9: 203.0.113.80:80 > 198.51.100.1:5000'),
      step(x, '198.51.100.1', '203.0.113.80', tcp(5000, 80, ACK), 'p2: 198.51.100.1:5000 > 10.0.1.12:80'),
      error(
        b,
        '10.0.1.12',
        '198.51.100.1',
        quoted('198.51.100.1', '10.0.1.12', tcp(5000, 80, ACK)),
        'p9: 203.0.113.80 > 198.51.100.1',
      ),
    ],
  },
  'a floating address in both directions': {
    records: [plain, ...floatings],
    steps: [
      step(x, '198.51.100.1', '203.0.113.10', tcp(4000, 22), 'p1: 198.51.100.1:4000 > 10.0.1.11:22'),
      step(a, '10.0.1.11', '198.51.100.1', tcp(22, 4000, SYN_ACK), 'p9: 203.0.113.10:22 > 198.51.100.1:4000'),
      step(a, '10.0.1.11', '198.51.100.2', udp(53, 53), 'p9: 203.0.113.10:53 > 198.51.100.2:53'),
      step(x, '198.51.100.2', '203.0.113.10', udp(53, 53), 'p1: 198.51.100.2:53 > 10.0.1.11:53'),
      error(
        x,
        '198.51.100.7',
        '203.0.113.10',
        quoted('203.0.113.10', '198.51.100.2', udp(53, 53)),
        'p1: 198.51.100.7 > 10.0.1.11',
      ),
      error(
        a,
        '10.0.1.11',
        '198.51.100.2',
        quoted('198.51.100.2', '10.0.1.11', udp(53, 53)),
        'p9: 203.0.113.10 > 198.51.100.2',
      ),
      step(x, '198.51.100.3', '203.0.113.10', echo(4), 'p1: 198.51.100.3 > 10.0.1.11'),
      step(a, '10.0.1.11', '198.51.100.3', echo(4, true), 'p9: 203.0.113.10 > 198.51.100.3'),
      step(x, '2001:db8:99::1', '2001:db8:ffff::10', tcp(4000, 22), 'p1: 2001:db8:99::1:4000 > 2001:db8:1::11:22'),
      step(
        a,
        '2001:db8:1::11',
        '2001:db8:99::1',
        tcp(22, 4000, SYN_ACK),
        'p9: 2001:db8:ffff::10:22 > 2001:db8:99::1:4000',
      ),
      step(x, '198.51.100.1', '203.0.113.12', tcp(4000, 22), ''),
    ],
  },
  'a floating address from another, and from its own port': {
    records: [plain, ...floatings],
    steps: [
      step(a, '10.0.1.11', '203.0.113.11', tcp(4000, 22), 'p2: 203.0.113.10:4000 > 10.0.1.12:22'),
      step(b, '10.0.1.12', '203.0.113.10', tcp(22, 4000, SYN_ACK), 'p1: 203.0.113.11:22 > 10.0.1.11:4000'),
      step(a, '10.0.1.11', '203.0.113.11', tcp(4000, 22, ACK), 'p2: 203.0.113.10:4000 > 10.0.1.12:22'),
      step(a, '10.0.1.11', '203.0.113.10', tcp(4001, 22), 'back: 203.0.113.10:4001 > 10.0.1.11:22'),
      step(a, '10.0.1.11', '203.0.113.10', tcp(22, 4001, SYN_ACK), 'back: 203.0.113.10:22 > 10.0.1.11:4001'),
    ],
  },
  'source translation, until all blocks are in use': {
    records: [snat, ...leases],
    steps: [
      step(a, '10.0.1.11', '198.51.100.1', tcp(5000, 443), 'p9: 203.0.113.1:10240 > 198.51.100.1:443'),
      step(x, '198.51.100.1', '203.0.113.1', tcp(443, 10240, SYN_ACK), 'p1: 198.51.100.1:443 > 10.0.1.11:5000'),
      step(b, '10.0.1.12', '198.51.100.1', tcp(5000, 443), 'p9: 203.0.113.1:10250 > 198.51.100.1:443'),
      step(x, '198.51.100.1', '203.0.113.1', tcp(443, 10250, SYN_ACK), 'p2: 198.51.100.1:443 > 10.0.1.12:5000'),
      step(c, '10.0.2.13', '198.51.100.1', tcp(5000, 443), ''),
      step(b, '10.0.1.12', '198.51.100.1', tcp(5000, 443, ACK), 'p9: 203.0.113.1:10250 > 198.51.100.1:443'),
      step(a, '10.0.1.11', '198.51.100.2', udp(5000, 53), 'p9: 203.0.113.1:10240 > 198.51.100.2:53'),
      error(
        x,
        '198.51.100.7',
        '203.0.113.1',
        quoted('203.0.113.1', '198.51.100.2', udp(10240, 53)),
        'p1: 198.51.100.7 > 10.0.1.11',
      ),
      step(a, '2001:db8:1::11', '2001:db8:99::1', udp(5000, 53), 'p9: 2001:db8:ffff::1:10260 > 2001:db8:99::1:53'),
      step(x, '2001:db8:99::1', '2001:db8:ffff::1', udp(53, 10260), 'p1: 2001:db8:99::1:53 > 2001:db8:1::11:5000'),
    ],
  },
  'source translation of pings, and what is for the router itself': {
    records: [snat, ...leases],
    steps: [
      step(a, '10.0.1.11', '198.51.100.1', echo(4), 'p9: 203.0.113.1 > 198.51.100.1'),
      step(x, '198.51.100.1', '203.0.113.1', echo(4, true), 'p1: 198.51.100.1 > 10.0.1.11'),
      step(x, '198.51.100.1', '203.0.113.1', echo(4), 'back: 203.0.113.1 > 198.51.100.1'),
      step(x, '198.51.100.2', '203.0.113.1', echo(4, true), ''),
      step(x, '198.51.100.1', '203.0.113.1', tcp(443, 10240, SYN_ACK), ''),
    ],
  },
  'source translation towards a floating address of the same router': {
    records: [snat, ...leases, ...floatings.slice(1, 2)],
    steps: [
      step(a, '10.0.1.11', '203.0.113.11', tcp(5000, 22), 'p2: 203.0.113.1:10240 > 10.0.1.12:22'),
      step(b, '10.0.1.12', '203.0.113.1', tcp(22, 10240, SYN_ACK), 'p1: 203.0.113.11:22 > 10.0.1.11:5000'),
      step(a, '10.0.1.11', '203.0.113.11', tcp(5000, 22, ACK), 'p2: 203.0.113.1:10240 > 10.0.1.12:22'),
    ],
  },
};

describe('address translation', { skip }, () => {
  let ovs: OpenVswitchFixture;
  before(async () => {
    ovs = await OpenVswitchFixture.start(PORTS);
    ovs.setFragments('nx-match');
  });
  after(() => ovs.stop());

  /** The switch has no meters. */
  const install = (net: Network): void =>
    ovs.setFlows(
      [...net.compilerOf(host.id).flows()].map((flow) =>
        formatFlow(flow).replaceAll(/,meter_id=\d+|(?<=actions=)meter:\d+,/g, ''),
      ),
    );

  const real = async (from: LogicalPort, bytes: Uint8Array): Promise<string> => {
    const { ofport } = sites.find(({ port }) => port === from)!;
    const nameOf = (at: number): string =>
      at === ofport ? 'back' : sites.find((site) => site.ofport === at)!.port.name;
    const got = await ovs.receive(ofport, bytes);
    return [...got]
      .flatMap(([at, frames]) => frames.map((hex) => `${nameOf(at)}: ${ends(Buffer.from(hex, 'hex'))}`))
      .join('; ');
  };

  const executed = (net: Network, from: LogicalPort, bytes: Uint8Array): string => {
    const { ofport } = sites.find(({ port }) => port === from)!;
    const { delivered, answered } = net.send(host.id, ofport, bytes);
    return story({ delivered, answered, packetIns: [], reasons: [], results: [] });
  };

  for (const [name, { records, steps }] of Object.entries(CONVERSATIONS))
    test(`${name}: Open vSwitch and the executor do the same`, async () => {
      const net = networkOf([host], [...world, ...records], sites);
      install(net);
      await ovs.control('revalidator/purge');
      await ovs.control('dpctl/flush-conntrack');
      for (const [i, { from, bytes, then }] of steps.entries()) {
        assert.equal(executed(net, from, bytes), then, `step ${i} of the executor`);
        assert.equal(await real(from, bytes), then, `step ${i} of Open vSwitch`);
      }
    });

  test('known connections keep their member when others take its place, and when nobody is left', async () => {
    await ovs.control('dpctl/flush-conntrack');
    const drained = (of: LogicalPort): LoadBalancer['members'][number] => ({
      port: of.id,
      weight: 1,
      drain: true,
      adminUp: true,
    });
    const [toB, toC] = [vip('10.9.9.9', [b]), vip('10.9.9.9', [c])];
    const states = [
      { balancer: toB, opened: 'p2: 10.0.1.11:5001 > 10.0.1.12:80' },
      { balancer: { ...toC, members: [...toC.members, drained(b)] }, opened: 'p3: 10.0.1.11:5002 > 10.0.2.13:80' },
      { balancer: { ...toB, members: [drained(b), drained(c)] }, opened: '' },
    ];
    const net = networkOf([host], [...world, plain, toB], sites);
    install(net);
    const known = step(a, '10.0.1.11', '10.9.9.9', tcp(5000, 80, ACK), 'p2: 10.0.1.11:5000 > 10.0.1.12:80');
    await real(a, step(a, '10.0.1.11', '10.9.9.9', tcp(5000, 80), '').bytes);
    await real(b, step(b, '10.0.1.12', '10.0.1.11', tcp(80, 5000, SYN_ACK), '').bytes);
    for (const [i, { balancer, opened }] of states.entries()) {
      const then = networkOf([host], [...world, plain, { ...balancer, onEmpty: 'drop' }], sites);
      install(then);
      await ovs.control('revalidator/purge');
      assert.equal(await real(a, known.bytes), known.then, `known, state ${i}`);
      const fresh = step(a, '10.0.1.11', '10.9.9.9', tcp(5001 + i, 80), opened);
      assert.equal(await real(a, fresh.bytes), opened, `new, state ${i}`);
    }
  });

  test('a range of ports leaves megaflows by its blocks, not by the ports that were asked for', async () => {
    const net = networkOf([host], [...world, plain, vip('203.0.113.80', [b], { listeners: RANGE })], sites);
    install(net);
    for (const [from, src, mac] of [
      [x, '198.51.100.1'],
      [a, '10.0.1.11', a.mac],
    ] as const) {
      await ovs.control('dpctl/flush-conntrack');
      await ovs.control('revalidator/purge');
      for (let port = 8000; port < 8032; port++) {
        const there = await real(from, step(from, src, '203.0.113.80', tcp(5000, port), '').bytes);
        assert.equal(there, `p2: ${src}:5000 > 10.0.1.12:${port}`);
        await real(b, step(b, '10.0.1.12', src, tcp(port, 5000, SYN_ACK), '', mac).bytes);
      }
      const megaflows = (await ovs.control('dpctl/dump-flows')).trim().split('\n');
      assert.ok(megaflows.length < 16, megaflows.join('\n'));
    }
  });

  test('ports that rest: who has one keeps it, and nothing new gets one', async () => {
    await ovs.control('dpctl/flush-conntrack');
    const resting: InputRecord = { kind: 'restingPorts', id: leases[0]!.id, blocks: [{ first: 10240, size: 1 }] };
    const net = networkOf([host], [...world, snat, ...leases], sites);
    install(net);
    const out = (port: number, flags?: number) => step(a, '10.0.1.11', '198.51.100.1', tcp(port, 443, flags), '').bytes;
    const back = (port: number) => step(x, '198.51.100.1', '203.0.113.1', tcp(443, port, SYN_ACK), '').bytes;
    assert.equal(await real(a, out(5000)), 'p9: 203.0.113.1:10240 > 198.51.100.1:443');
    assert.equal(await real(x, back(10240)), 'p1: 198.51.100.1:443 > 10.0.1.11:5000');
    install(networkOf([host], [...world, snat, ...leases, resting], sites));
    await ovs.control('revalidator/purge');
    assert.equal(await real(a, out(5000, ACK)), 'p9: 203.0.113.1:10240 > 198.51.100.1:443');
    assert.equal(await real(x, back(10240)), 'p1: 198.51.100.1:443 > 10.0.1.11:5000');
    await ovs.control('dpctl/flush-conntrack');
    assert.equal(await real(a, out(5001)), 'p9: 203.0.113.1:10250 > 198.51.100.1:443');
    assert.equal(await real(a, out(5002)), '', 'the free one rests');
  });

  /** Open vSwitch takes no first fragments of less than 1,200 bytes, unless told to. */
  const SLICE = 1400;
  const fragments = (
    from: LogicalPort,
    src: string,
    dst: string,
    ports: readonly [number, number],
    id: number,
  ): Uint8Array[] => {
    const gateway = from === x ? uplink.mac : from === c ? toOther.mac : toInside.mac;
    const whole = frame(from.mac, gateway, { ...ip(src, dst, udp(...ports)), payload: new Uint8Array(2000) });
    const { l3 } = ip(src, dst, udp(...ports)) as { l3: Extract<Layer3, { kind: 'ipv4' }> };
    const part = (header: object, payload: Uint8Array): Uint8Array =>
      frame(from.mac, gateway, { l3: { ...l3, id, ...header }, payload });
    return [
      part({ moreFragments: true }, whole.slice(34, 34 + SLICE)),
      part({ fragmentOffset: SLICE }, whole.slice(34 + SLICE)),
    ];
  };
  const allOf = async (from: LogicalPort, frames: readonly Uint8Array[]): Promise<string[]> => {
    const got: string[] = [];
    for (const bytes of frames) {
      const one = await real(from, bytes);
      if (one !== '') got.push(...one.split('; '));
    }
    return got;
  };

  test('fragments are translated as a whole, in either order, by floating addresses, blocks of ports and VIPs', async () => {
    const near: LoadBalancer['listeners'] = [{ protocol: 'udp', port: 53, memberPort: 5353 }];
    await fragmentsArrive(near, [{ protocol: 'udp', port: 53 }], 5353);
  });

  test('fragments are translated as a whole where a range of ports is asked for', async () => {
    const near: LoadBalancer['listeners'] = [{ protocol: 'udp', port: '50-53', memberPort: 5353 }];
    await fragmentsArrive(near, [{ protocol: 'udp', port: '1-1023' }], 5353);
    const all: LoadBalancer['listeners'] = [
      { protocol: 'udp', port: '1-65535' },
      { protocol: 'tcp', port: '1-65535' },
    ];
    await fragmentsArrive(all, all, 53);
  });

  test('of what is sent in fragments over IPv6 a block gives the port, whichever comes last', async () => {
    const [source, far] = ['2001:db8:1::11', '2001:db8:9::1'];
    const fragments6 = (from: LogicalPort, src: string, dst: string, ports: readonly [number, number], id: number) => {
      const gateway = from === x ? uplink.mac : toInside.mac;
      const { l3 } = ip(src, dst, udp(...ports)) as { l3: Extract<Layer3, { kind: 'ipv6' }> };
      const whole = frame(from.mac, gateway, { ...ip(src, dst, udp(...ports)), payload: new Uint8Array(2000) });
      return [0, SLICE].map((offset) => {
        const fragment = { kind: 'fragment', offset, more: offset === 0, id } as const;
        const payload = whole.slice(54 + offset, offset === 0 ? 54 + SLICE : undefined);
        return frame(from.mac, gateway, { l3: { ...l3, extensions: [fragment] }, payload });
      });
    };
    install(networkOf([host], [...world, snat, ...leases], sites));
    for (const [n, isReversed] of [false, true].entries()) {
      await ovs.control('revalidator/purge');
      await ovs.control('dpctl/flush-conntrack');
      const [out, back] = [`p9: 2001:db8:ffff::1 > ${far}`, `p1: ${far} > ${source}`];
      for (const [from, src, dst, ports, then] of [
        [a, source, far, [5000, 53], out],
        [x, far, '2001:db8:ffff::1', [53, 10260], back],
      ] as const) {
        const frames = fragments6(from, src, dst, ports, 200 + n);
        assert.deepEqual(await allOf(from, isReversed ? frames.reverse() : frames), [then, then], `${src} > ${dst}`);
      }
    }
  });

  test('fragments of a known connection from outside go to its member, and to no other of its host', async () => {
    const balancer = vip('203.0.113.80', [b, c], { listeners: [{ protocol: 'udp', port: 53 }] });
    install(networkOf([host], [...world, plain, balancer], sites));
    await ovs.control('revalidator/purge');
    await ovs.control('dpctl/flush-conntrack');
    const members = new Set<string>();
    for (let port = 5000; port < 5032; port += 2)
      for (const isReversed of [false, true]) {
        const [src, at] = ['198.51.100.1', port + 1000 * Number(isReversed)];
        const whole = await real(x, step(x, src, '203.0.113.80', udp(at, 53), '').bytes);
        const member = whole.slice(0, 2);
        members.add(member);
        const [answers, address] = member === 'p2' ? ([b, '10.0.1.12'] as const) : ([c, '10.0.2.13'] as const);
        await real(answers, step(answers, address, src, udp(53, at), '').bytes);
        const then = `${member}: ${src} > ${address}`;
        const frames = fragments(x, src, '203.0.113.80', [at, 53], at);
        assert.deepEqual(await allOf(x, isReversed ? frames.reverse() : frames), [then, then], whole);
      }
    assert.deepEqual([...members].sort(), ['p2', 'p3']);
  });

  /** By a VIP inside, whose members serve at a port, and one outside; and by all else that translates. */
  async function fragmentsArrive(
    near: LoadBalancer['listeners'],
    far: LoadBalancer['listeners'],
    served: number,
  ): Promise<void> {
    const balancer = vip('10.9.9.9', [b], { listeners: near });
    const outer = { ...vip('203.0.113.80', [c], { listeners: far }), id: example.idOf('lb', 2), key: 0x510 };
    const net = networkOf([host], [...world, snat, ...leases, floatings[1]!, balancer, outer], sites);
    install(net);
    await ovs.control('revalidator/purge');
    await ovs.control('dpctl/flush-conntrack');
    const ways: readonly [
      from: LogicalPort,
      src: string,
      dst: string,
      ports: readonly [number, number],
      then: string,
    ][] = [
      [a, '10.0.1.11', '10.9.9.9', [5000, 53], 'p2: 10.0.1.11 > 10.0.1.12'],
      [b, '10.0.1.12', '10.0.1.11', [served, 5000], 'p1: 10.9.9.9 > 10.0.1.11'],
      [x, '198.51.100.1', '203.0.113.80', [5000, 53], 'p3: 198.51.100.1 > 10.0.2.13'],
      [c, '10.0.2.13', '198.51.100.1', [53, 5000], 'p9: 203.0.113.80 > 198.51.100.1'],
      [a, '10.0.1.11', '198.51.100.1', [5000, 53], 'p9: 203.0.113.1 > 198.51.100.1'],
      [x, '198.51.100.1', '203.0.113.1', [53, 10240], 'p1: 198.51.100.1 > 10.0.1.11'],
      [x, '198.51.100.2', '203.0.113.11', [5000, 53], 'p2: 198.51.100.2 > 10.0.1.12'],
    ];
    let id = 100;
    for (const isReversed of [false, true])
      for (const [from, src, dst, ports, then] of ways) {
        const frames = fragments(from, src, dst, ports, id++);
        const about = `${src} > ${dst}${isReversed ? ', last fragment first' : ''}`;
        assert.deepEqual(await allOf(from, isReversed ? frames.reverse() : frames), [then, then], about);
      }
  }
});
