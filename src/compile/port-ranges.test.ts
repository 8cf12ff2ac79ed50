import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LoadBalancer } from '../model/objects.ts';
import { formatFlow } from '../openflow/text/flow.ts';
import { frame, ip, networkOf, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import type { InputRecord } from './inputs.ts';
import { listenersOf, onlyMemberPort } from './listeners.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';
import { a, b, c, plain, sitesOn, story, toInside, uplink, world, x } from './testing/outside-world.fixture.ts';

// Load balancers that listen to ranges of ports (docs/design/layer3.md, §8), when the compiled flows are executed.

const [h1, h2] = [example.host(1), example.host(2)];
const sites = sitesOn({ a: h1, b: h1, c: h2, x: h2 });
const VIP = '203.0.113.80';
const CLIENT = '198.51.100.1';
const [SYN, ACK, SYN_ACK] = [2, 16, 18];

type Listeners = LoadBalancer['listeners'];
const SAME: Listeners = [{ protocol: 'tcp', port: '8000-8099' }];
const ONE: Listeners = [{ protocol: 'tcp', port: '8000-8099', memberPort: 80 }];
const OTHERS: Listeners = [{ protocol: 'tcp', port: '8000-8009', memberPort: '9000-9009' }];
const ALL: Listeners = [
  { protocol: 'tcp', port: '1-65535' },
  { protocol: 'udp', port: '1-65535' },
];

const vip = (listeners: Listeners, options: Partial<LoadBalancer> = {}, members = [b]): LoadBalancer =>
  example.loadBalancer(1, VIP, members, { router: plain.id, listeners, ...options });

function networkWith(...records: InputRecord[]): Network {
  const router = records.some(({ kind }) => kind === 'router') ? [] : [plain];
  const net = networkOf([h1, h2], [...world, ...router, ...records], sites);
  for (const { id } of [h1, h2]) assert.deepEqual(net.compilerOf(id).update([]).problems, []);
  return net;
}

type Segment = ReturnType<typeof tcp>;
const fromOutside = (net: Network, l4: Segment): string =>
  story(net.send(h2.id, 4, frame(x.mac, uplink.mac, ip(CLIENT, VIP, l4))));
const fromInside = (net: Network, l4: Segment): string =>
  story(net.send(h1.id, 1, frame(a.mac, toInside.mac, ip('10.0.1.11', VIP, l4))));
const answer = (net: Network, to: string, l4: Segment): string =>
  story(net.send(h1.id, 2, frame(b.mac, to === CLIENT ? toInside.mac : a.mac, ip('10.0.1.12', to, l4))));

describe('a range of ports', () => {
  const leads = (listeners: Listeners, asked: number, to: number): void => {
    const net = networkWith(vip(listeners));
    assert.equal(fromOutside(net, tcp(5000, asked, SYN)), `p2: ${CLIENT}:5000 > 10.0.1.12:${to}`);
    assert.equal(answer(net, CLIENT, tcp(to, 5000, SYN_ACK)), `p9: ${VIP}:${asked} > ${CLIENT}:5000`);
    assert.equal(fromOutside(net, tcp(5000, asked, ACK)), `p2: ${CLIENT}:5000 > 10.0.1.12:${to}`);
    assert.equal(fromInside(net, tcp(5000, asked, SYN)), `p2: 10.0.1.11:5000 > 10.0.1.12:${to}`);
    assert.equal(answer(net, '10.0.1.11', tcp(to, 5000, SYN_ACK)), `p1: ${VIP}:${asked} > 10.0.1.11:5000`);
    assert.equal(fromInside(net, tcp(5000, asked, ACK)), `p2: 10.0.1.11:5000 > 10.0.1.12:${to}`);
  };

  test('leads to the same ports of members, and answers come from those that were asked for', () => {
    for (const port of [8000, 8063, 8064, 8099]) leads(SAME, port, port);
    for (const port of [1, 67, 22, 65_535]) leads(ALL, port, port);
  });

  test('leads to one port, or each to its own', () => {
    for (const port of [8000, 8063, 8064, 8099]) leads(ONE, port, 80);
    for (const port of [8000, 8004, 8009]) leads(OTHERS, port, port + 1000);
  });

  test('ends where it ends, by protocol', () => {
    const net = networkWith(vip(SAME));
    for (const l4 of [tcp(5000, 7999), tcp(5000, 8100), udp(5000, 8050)])
      assert.equal(fromOutside(net, l4), 'not-translated');
    assert.equal(fromOutside(networkWith(vip(ALL)), tcp(5000, 0)), 'not-translated');
  });

  test('beside a single port leads each where it says', () => {
    const net = networkWith(
      vip([...SAME, { protocol: 'tcp', port: 443 }, { protocol: 'tcp', port: 81, memberPort: 8050 }]),
    );
    for (const send of [fromOutside, fromInside])
      for (const [asked, to] of [
        [8050, 8050],
        [443, 443],
        [81, 8050],
        [8051, 8051],
      ] as const)
        assert.match(send(net, tcp(4000 + asked, asked)), new RegExp(`^p2: .* > 10\\.0\\.1\\.12:${to}$`));
  });

  test('of one balancer leads past that of another with the address', () => {
    const ssh = {
      ...vip([{ protocol: 'tcp', port: '2200-2299', memberPort: 22 }], {}, [c]),
      id: example.idOf('lb', 2),
      key: 0x502,
    };
    const net = networkWith(vip(SAME), ssh);
    for (const send of [fromOutside, fromInside]) {
      assert.match(send(net, tcp(5000, 8042)), /^p2: .* > 10\.0\.1\.12:8042$/);
      assert.match(send(net, tcp(5000, 2242)), /^p3: .* > 10\.0\.2\.13:22$/);
    }
  });

  test('is what a member calls of its own', () => {
    const net = networkWith(vip(SAME));
    const call = frame(b.mac, toInside.mac, ip('10.0.1.12', VIP, tcp(5000, 8042)));
    assert.equal(story(net.send(h1.id, 2, call)), `back: ${VIP}:5000 > 10.0.1.12:8042`);
    const back = frame(b.mac, toInside.mac, ip('10.0.1.12', VIP, tcp(8042, 5000, SYN_ACK)));
    assert.equal(story(net.send(h1.id, 2, back)), `back: ${VIP}:8042 > 10.0.1.12:5000`);
  });

  test('is what a member calls of its own, also where the port that it calls from is in a range', () => {
    const web: Listeners = [{ protocol: 'tcp', port: 80 }];
    const rest = { ...vip([{ protocol: 'tcp', port: '1000-65535' }], {}, [c]), id: example.idOf('lb', 2), key: 0x502 };
    for (const net of [networkWith(vip(ALL)), networkWith(vip(web), rest)]) {
      const said = (l4: Segment): string =>
        story(net.send(h1.id, 2, frame(b.mac, toInside.mac, ip('10.0.1.12', VIP, l4))));
      const [called, answered] = [`back: ${VIP}:5000 > 10.0.1.12:80`, `back: ${VIP}:80 > 10.0.1.12:5000`];
      assert.deepEqual(
        [tcp(5000, 80, SYN), tcp(80, 5000, SYN_ACK), tcp(5000, 80, ACK), tcp(80, 5000, ACK), tcp(80, 5000, ACK)].map(
          said,
        ),
        [called, answered, called, answered, answered],
      );
    }
    const net = networkWith(vip(ALL));
    const said = (l4: Segment): string =>
      story(net.send(h1.id, 2, frame(b.mac, toInside.mac, ip('10.0.1.12', VIP, l4))));
    assert.equal(said(udp(5000, 53)), `back: ${VIP}:5000 > 10.0.1.12:53`);
    assert.equal(said(udp(53, 5000)), `back: ${VIP}:53 > 10.0.1.12:5000`);
    assert.equal(said(udp(53, 5001)), `back: ${VIP}:53 > 10.0.1.12:5001`, 'another call');
  });

  test('keeps its connections with a member that is drained, from outside and inside', () => {
    const net = networkWith(vip(SAME));
    const [outer, inner] = [`p2: ${CLIENT}:5000 > 10.0.1.12:8042`, 'p2: 10.0.1.11:5000 > 10.0.1.12:8042'];
    assert.deepEqual([fromOutside(net, tcp(5000, 8042, SYN)), fromInside(net, tcp(5000, 8042, SYN))], [outer, inner]);
    const members = [b, c].map(({ id }) => ({ port: id, weight: 1, drain: id === b.id, adminUp: true }));
    net.change(vip(SAME, { members }));
    assert.equal(fromOutside(net, tcp(5000, 8042, ACK)).split('; ')[0], outer);
    assert.equal(fromInside(net, tcp(5000, 8042, ACK)), inner);
    net.change(vip(SAME, { members: [members[0]!] }));
    assert.equal(fromOutside(net, tcp(5000, 8042, ACK)), outer);
    assert.equal(fromInside(net, tcp(5000, 8042, ACK)), inner);
  });

  test('of members that no other serves lets in no more than it may have connections', () => {
    for (const listeners of [SAME, ONE, OTHERS]) {
      const net = networkWith(vip(listeners));
      const known = fromOutside(net, tcp(5000, 8004, SYN));
      assert.match(known, /^p2: /);
      net.change({ kind: 'fullAddress', id: example.idOf('lb', 1) });
      assert.equal(fromOutside(net, tcp(5002, 8004, SYN)), 'connection-limit');
      assert.equal(fromOutside(net, tcp(5000, 8004, ACK)), known);
    }
  });

  test('with a limit of new connections asks of datagrams whether they begin one, once', () => {
    const net = networkWith(vip([{ protocol: 'udp', port: '5000-5999' }], { inboundLimit: { newPerSecond: 20 } }));
    const meters = (): number => {
      const { results, delivered } = net.send(h2.id, 4, frame(x.mac, uplink.mac, ip(CLIENT, VIP, udp(4000, 5060))));
      assert.equal(delivered.length, 1);
      const here = results.filter(({ host }) => host === h1.id);
      const flows = here.flatMap(({ result }) => result.steps.flatMap(({ flow }) => flow?.actions ?? []));
      return flows.filter(({ kind }) => kind === 'meter').length;
    };
    assert.deepEqual([meters(), meters()], [1, 0]);
  });

  test('without members refuses, but for what is known', () => {
    const net = networkWith(vip(SAME));
    const known = fromInside(net, tcp(5000, 8042, SYN));
    net.change(vip(SAME, { onEmpty: 'drop', members: [] }));
    assert.equal(fromInside(net, tcp(5000, 8042, ACK)), known);
    assert.deepEqual(
      [fromInside, fromOutside].map((send) => send(net, tcp(5002, 8042, SYN))),
      ['no-member', 'no-member'],
    );
  });

  test('does not take the DHCP of workloads, which is not tracked', () => {
    for (const listeners of [ALL, [{ protocol: 'udp', port: 67 }] satisfies Listeners]) {
      const net = networkWith(vip(listeners));
      assert.equal(fromInside(net, udp(68, 67)), `agent ${PACKET_IN.dhcp}; agent`);
      assert.match(fromInside(net, udp(5000, 67)), /^p2: /);
    }
  });
});

describe('flows of listeners', () => {
  const flowsOf = (listeners: Listeners, table: string): number => {
    const net = networkWith(vip(listeners));
    return [...net.compilerOf(h1.id).flows()].filter((each) => formatFlow(each).includes(`table=${table}`)).length;
  };

  test('of a range are those of its aligned blocks, of a member one', () => {
    assert.deepEqual(
      listenersOf({ listeners: SAME }).map(({ port }) => port),
      [
        { value: 8000, mask: 0xffc0 },
        { value: 8064, mask: 0xffe0 },
        { value: 8096, mask: 0xfffc },
      ],
    );
    assert.equal(listenersOf({ listeners: [ALL[0]!] }).length, 16);
    const single: Listeners = [{ protocol: 'tcp', port: 80 }];
    assert.equal(flowsOf(ALL, 'member'), flowsOf(single, 'member'));
  });

  test('of a range that leads to other ports, each to its own, are those of as many listeners', () => {
    assert.deepEqual(listenersOf({ listeners: OTHERS }).at(-1), { protocol: 'tcp', port: 8009, memberPort: 9009 });
    assert.equal(listenersOf({ listeners: OTHERS }).length, 10);
  });

  test('know where later fragments belong where all that they may be of is led alike', () => {
    const single: Listeners = [{ protocol: 'udp', port: 53, memberPort: 5353 }];
    const several: Listeners = [...single, { protocol: 'tcp', port: 53, memberPort: 5353 }];
    assert.deepEqual(
      [single, SAME, ALL, ONE, several, OTHERS, [...SAME, ...single]].map((listeners) => onlyMemberPort({ listeners })),
      [5353, 'asked', 'asked', 80, undefined, undefined, undefined],
    );
  });
});
