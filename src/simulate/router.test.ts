import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatMac } from '../base/addresses.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import {
  chain,
  change,
  gist,
  logicalSwitch,
  packet,
  router,
  routerPort,
  send,
  threeTier,
  workload,
} from './three-tier.fixture.ts';

/** docs/design/layer3.md, §6: one test per step. Without groups here: they have tests of their own. */
function open(...more: readonly ScopeRecord[]): ModelIndex {
  const model = threeTier(...more);
  for (const port of [...model.all('port')]) change(model, 'port', port.id, { groups: [] });
  return model;
}

const toApp = { src: '10.0.1.11', dst: '10.0.2.12' } as const;

describe('a router', () => {
  test("gives a packet its own source MAC, the next hop's MAC and a TTL less by one", () => {
    const model = open();
    const outcome = send(model, 'web-1', packet(model, 'web-1', 'edge/web', toApp));
    assert.deepEqual(gist(outcome), ['app-2: 10.0.1.11:40000 → 10.0.2.12:80 ttl 63']);
    const { frame, host } = outcome.deliveries[0]!;
    assert.equal(host, 'h2');
    assert.equal(formatMac(frame.src), model.get('routerPort', 'edge/app')!.mac);
    assert.equal(formatMac(frame.dst), model.get('port', 'app-2')!.mac);
  });

  test('routes IPv6 alike', () => {
    const model = open();
    const frame = packet(model, 'web-1', 'edge/web', { src: '2001:db8:1::11', dst: '2001:db8:2::12' });
    assert.deepEqual(gist(send(model, 'web-1', frame)), ['app-2: 2001:db8:1::11:40000 → 2001:db8:2::12:80 ttl 63']);
  });

  test('that is down, or whose port is, takes nothing', () => {
    const model = open();
    const frame = packet(model, 'web-1', 'edge/web', toApp);
    change(model, 'routerPort', 'edge/web', { adminUp: false });
    assert.deepEqual(gist(send(model, 'web-1', frame)), ['drop router-down']);
    change(model, 'routerPort', 'edge/web', { adminUp: true });
    change(model, 'router', 'edge', { adminUp: false });
    assert.deepEqual(gist(send(model, 'web-1', frame)), ['drop router-down']);
  });

  test('takes answers to its own questions, and else nothing but IP', () => {
    const model = open();
    const { src, dst } = packet(model, 'web-1', 'edge/web', toApp);
    const arp = { op: 2, senderIp: 0x0a00_010b, targetIp: 0x0a00_0101, senderMac: src };
    assert.deepEqual(gist(send(model, 'web-1', { src, dst, etherType: 0x0806, arp })), ['drop agent', 'ask neighbour']);
    assert.deepEqual(gist(send(model, 'web-1', { src, dst, etherType: 0x88cc })), ['drop not-ip']);
  });

  test('drops what went through 16 routers', () => {
    const links = Array.from({ length: 20 }, (_, n) => [
      router({ routes: [{ to: '198.18.0.0/15', via: `172.16.${n}.2`, metric: 100, weight: 1 }] }, `r${n}`),
      routerPort('next', { addresses: [`172.16.${n}.1/24`], peer: `r${n + 1}/last` }, `r${n}`),
      routerPort('last', { addresses: [n === 0 ? '172.16.255.2/24' : `172.16.${n - 1}.2/24`] }, `r${n}`),
    ]).flat();
    const first = { to: '198.18.0.0/15', via: '172.16.255.2', metric: 100, weight: 1 };
    const model = open(
      ...links,
      router({ routes: [first] }),
      routerPort('far', { addresses: ['172.16.255.1/24'], peer: 'r0/last' }),
    );
    const frame = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '198.18.0.1' });
    const outcome = send(model, 'web-1', frame);
    assert.deepEqual(gist(outcome), ['drop too-many-hops']);
    assert.equal(outcome.drops[0]!.by.id, 'r15/last');
  });

  test('filters by the chains of the port it enters by and of the one it leaves by', () => {
    for (const [port, side] of [
      ['edge/web', 'inChain'],
      ['edge/app', 'outChain'],
    ] as const) {
      const model = open(...chain('closed', 'accept', [{ dst: '10.0.2.0/24' }, 'drop']));
      change(model, 'routerPort', port, { [side]: 'closed' });
      assert.deepEqual(gist(send(model, 'web-1', packet(model, 'web-1', 'edge/web', toApp))), ['drop rule']);
      const other = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '10.0.3.11' });
      assert.deepEqual(gist(send(model, 'web-1', other)), ['db-1: 10.0.1.11:40000 → 10.0.3.11:80 ttl 63']);
    }
  });

  test('answers pings to any of its addresses, past its chains, with TTL 64', () => {
    const model = open(...chain('closed', 'drop'));
    change(model, 'routerPort', 'edge/web', { outChain: 'closed' });
    for (const dst of ['10.0.1.1', '10.0.3.1']) {
      const frame = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst, protocol: 'icmp' });
      const outcome = send(model, 'web-1', frame);
      assert.deepEqual(gist(outcome), [`web-1: ${dst} → 10.0.1.11 ttl 64`]);
      assert.deepEqual(outcome.deliveries[0]!.frame.icmp, { type: 0, code: 0, id: 7 });
    }
  });

  test('answers a ping to its link-local address by the port where it was asked', () => {
    const model = open();
    const port = model.get('routerPort', 'edge/web')!;
    change(model, 'routerPort', port.id, { mac: '02:00:00:00:00:01' });
    const neighbour = {
      kind: 'neighbour',
      id: 'n',
      revision: 1,
      switch: 'web',
      address: 'fe80::b',
      host: 'h1',
    } as const;
    model.put({ ...neighbour, port: 'web-1', mac: model.get('port', 'web-1')!.mac });
    change(model, 'port', 'web-1', { portSecurity: false });
    const frame = packet(model, 'web-1', 'edge/web', { src: 'fe80::b', dst: 'fe80::ff:fe00:1', protocol: 'icmp' });
    assert.deepEqual(gist(send(model, 'web-1', frame)), ['web-1: fe80::ff:fe00:1 → fe80::b ttl 64']);
  });

  test('serves nothing: UDP is unreachable, TCP is reset', () => {
    const model = open();
    const to = (protocol: 'tcp' | 'udp' | 'icmp', icmp?: { type: number; code: number; id: number }): string[] => {
      const fields = { src: '10.0.1.11', dst: '10.0.2.1', protocol, ...(icmp ? { icmp } : {}) };
      return gist(send(model, 'web-1', packet(model, 'web-1', 'edge/web', fields)));
    };
    assert.deepEqual(to('udp'), ['drop own', 'ask port-unreachable']);
    assert.deepEqual(to('tcp'), ['drop own', 'ask reset']);
    change(model, 'router', 'edge', { snat: [] });
    assert.deepEqual(to('icmp', { type: 13, code: 0, id: 1 }), ['drop own']);
  });

  test('tells the sender when the TTL runs out', () => {
    const model = open();
    const last = packet(model, 'web-1', 'edge/web', { ...toApp, ttl: 1 });
    assert.deepEqual(gist(send(model, 'web-1', last)), ['drop ttl', 'ask ttl']);
    const enough = packet(model, 'web-1', 'edge/web', { ...toApp, ttl: 2 });
    assert.deepEqual(gist(send(model, 'web-1', enough)), ['app-2: 10.0.1.11:40000 → 10.0.2.12:80 ttl 1']);
  });

  test('tells who sends more than the next network can carry', () => {
    const model = open();
    change(model, 'switch', 'app', { mtu: 1400 });
    const sized = (length: number): string[] =>
      gist(send(model, 'web-1', packet(model, 'web-1', 'edge/web', { ...toApp, length })));
    assert.deepEqual(sized(1401), ['drop too-big', 'ask too-big']);
    assert.match(sized(1400)[0]!, /^app-2/);
  });

  test('tells who sends more by a wire than tunnels take, whichever host it is for, and nobody else', () => {
    const wire = { switch: 'internet', tenant: 'operator', portSecurity: false };
    const model = open(...workload('wire', 'h3', wire));
    const sized = (from: string, to: string, length: number): string[] =>
      gist(send(model, from, packet(model, from, 'edge/outside', { src: '203.0.113.200', dst: to, length })));
    assert.deepEqual(sized('wire', '203.0.113.20', 1451), ['drop too-big', 'ask too-big']);
    assert.match(sized('wire', '203.0.113.20', 1450)[0]!, /^web-1/);
    assert.match(sized('client', '203.0.113.20', 1451)[0]!, /^web-1/);
    // As from a switch that says that its packets may be larger.
    change(model, 'switch', 'internet', { mtu: 1500 });
    assert.deepEqual(sized('client', '203.0.113.20', 1451), ['drop too-big', 'ask too-big']);
    change(model, 'tunnelZone', 'zone', { encap: 'gre' });
    assert.match(sized('client', '203.0.113.20', 1458)[0]!, /^web-1/);
    change(model, 'host', 'h3', { underlayMtu: 9000 });
    assert.match(sized('client', '203.0.113.20', 1500)[0]!, /^web-1/);
  });

  test('lets what came in by a wire out by another of the same host, where nobody on the switch is told an MTU', () => {
    const model = open(
      ...workload('wire', 'h1', { switch: 'web', portSecurity: false }),
      logicalSwitch('up'),
      ...workload('up', 'h1', { switch: 'up', portSecurity: false }),
      routerPort('up', { switch: 'up', addresses: ['192.0.2.1/24'] }),
    );
    const neighbour = { kind: 'neighbour', id: 'up/192.0.2.2', revision: 1, switch: 'up', host: 'h1' } as const;
    model.put({ ...neighbour, address: '192.0.2.2', port: 'up', mac: model.get('port', 'up')!.mac });
    const sized = (length: number): string[] =>
      gist(send(model, 'wire', packet(model, 'wire', 'edge/web', { src: '10.0.1.99', dst: '192.0.2.2', length })));
    assert.match(sized(1500)[0]!, /^up/);
    change(model, 'binding', 'up', { active: 'h2', claims: [{ host: 'h2', interface: 'up', sinceMs: 1 }] });
    assert.deepEqual(sized(1451), ['drop too-big', 'ask too-big']);
    assert.match(sized(1450)[0]!, /^up/);
  });

  test('asks for a next hop that nobody knows, and sends to one that was heard', () => {
    const model = open();
    const frame = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '10.0.2.77' });
    const asked = send(model, 'web-1', frame);
    assert.deepEqual(gist(asked), ['drop no-neighbour', 'ask resolve']);
    assert.equal(asked.requests[0]!.address, '10.0.2.77');
    const neighbour = { kind: 'neighbour', id: 'app/10.0.2.77', revision: 1, switch: 'app', host: 'h1' } as const;
    model.put({ ...neighbour, address: '10.0.2.77', port: 'app-1', mac: model.get('port', 'app-1')!.mac });
    assert.deepEqual(gist(send(model, 'web-1', frame)), ['app-1: 10.0.1.11:40000 → 10.0.2.77:80 ttl 63']);
  });

  test('sends nothing into a switch that is down', () => {
    const model = open();
    change(model, 'switch', 'app', { adminUp: false });
    assert.deepEqual(gist(send(model, 'web-1', packet(model, 'web-1', 'edge/web', toApp))), ['drop switch-down']);
  });

  test('gives a packet back to its sender where routes say so', () => {
    const model = open();
    const frame = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '10.0.1.11' });
    assert.deepEqual(gist(send(model, 'web-1', frame)), ['web-1: 10.0.1.11:40000 → 10.0.1.11:80 ttl 63']);
  });

  test('answers ARP and ND for its addresses on its switch, and for those that it translates to outside', () => {
    const model = open();
    const ask = (port: string, targetIp: number): string | undefined => {
      const { src } = packet(model, port, 'edge/web', toApp);
      const senderIp = port === 'web-1' ? 0x0a00_010b : 0xcb00_71c8;
      const arp = { op: 1, senderIp, targetIp, senderMac: src };
      return send(model, port, { src, dst: 0xffff_ffff_ffff, etherType: 0x0806, arp }).answer?.by.id;
    };
    assert.equal(ask('web-1', 0x0a00_0101), 'edge/web');
    assert.equal(ask('web-1', 0x0a00_0201), undefined);
    assert.equal(ask('client', 0xcb00_7114), 'public-web');
    assert.equal(ask('client', 0xcb00_710a), 'edge');
    assert.equal(ask('client', 0xcb00_7150), 'shop');
    assert.equal(ask('client', 0xcb00_710b), undefined);
  });
});

describe('routes', () => {
  const via = (to: string, hop: string, more: object = {}): object => ({
    to,
    via: hop,
    metric: 100,
    weight: 1,
    ...more,
  });
  /** Where web-1 gets to, with these routes; two routers stand on web, .21 and .22. */
  const routed = (routes: readonly object[], dst = '198.18.0.1', fields: object = {}): string[] => {
    const model = open(
      ...workload('r21', 'h1', { addresses: ['10.0.3.21'], switch: 'db', allowedPairs: [{ address: '0.0.0.0/0' }] }),
      ...workload('r22', 'h1', { addresses: ['10.0.3.22'], switch: 'db', allowedPairs: [{ address: '0.0.0.0/0' }] }),
    );
    change(model, 'router', 'edge', { routes, ...fields });
    const outcome = send(model, 'web-1', packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst }));
    return [...outcome.deliveries.map(({ port }) => port), ...gist(outcome).filter((line) => !line.includes(':'))];
  };

  test('the longest destination wins', () => {
    assert.deepEqual(routed([via('0.0.0.0/0', '10.0.3.21'), via('198.18.0.0/15', '10.0.3.22')]), ['r22']);
  });

  test('of equal destinations one with a source wins, the longest first, and then the lowest metric', () => {
    const plain = via('0.0.0.0/0', '10.0.3.21', { metric: 1 });
    assert.deepEqual(routed([plain, via('0.0.0.0/0', '10.0.3.22', { from: '10.0.0.0/8' })]), ['r22']);
    assert.deepEqual(routed([plain, via('0.0.0.0/0', '10.0.3.22', { from: '10.0.2.0/24' })]), ['r21']);
    assert.deepEqual(routed([plain, via('0.0.0.0/0', '10.0.3.22', { metric: 2 })]), ['r21']);
  });

  test('one that no network leads to is void', () => {
    assert.deepEqual(routed([via('198.18.0.0/15', '172.31.0.1'), via('0.0.0.0/0', '10.0.3.21')]), ['r21']);
  });

  test('black holes swallow, refusals and missing routes are told', () => {
    assert.deepEqual(routed([{ to: '198.18.0.0/15', action: 'blackhole', metric: 100, weight: 1 }]), [
      'drop blackhole',
    ]);
    const told = ['drop no-route', 'ask unreachable'];
    assert.deepEqual(routed([{ to: '198.18.0.0/15', action: 'reject', metric: 100, weight: 1 }]), told);
    assert.deepEqual(routed([]), told);
  });

  test('equal ones share packets out by the low bits of both addresses', () => {
    const routes = [via('0.0.0.0/0', '10.0.3.21'), via('0.0.0.0/0', '10.0.3.22', { weight: 3 })];
    const got = Array.from({ length: 16 }, (_, n) => routed(routes, `198.18.0.${n}`)[0]);
    assert.equal(got.filter((port) => port === 'r21').length, 4);
    assert.deepEqual(
      got,
      Array.from({ length: 16 }, (_, n) => routed(routes, `198.18.7.${n + 16}`)[0]),
    );
  });

  test('policies come first: drop, reroute, or allow', () => {
    const routes = [via('0.0.0.0/0', '10.0.3.21')];
    const policies = (...given: object[]): object => ({ policies: given });
    const tcp = { protocol: 'tcp', dstPorts: '80' };
    const reroute = { position: 20, match: tcp, action: 'reroute', via: '10.0.3.22' };
    assert.deepEqual(routed(routes, '198.18.0.1', policies({ position: 10, match: tcp, action: 'drop' })), [
      'drop route-policy',
    ]);
    assert.deepEqual(routed(routes, '198.18.0.1', policies(reroute)), ['r22']);
    assert.deepEqual(routed(routes, '198.18.0.1', policies(reroute, { position: 10, match: {}, action: 'allow' })), [
      'r21',
    ]);
    assert.deepEqual(routed(routes, '198.18.0.1', policies({ ...reroute, via: '172.31.0.1' })), ['r21']);
    assert.deepEqual(routed(routes, '198.18.0.1', policies({ ...reroute, match: { ...tcp, dstPorts: '81' } })), [
      'r21',
    ]);
  });
});

describe('routers linked to each other', () => {
  test('by peers, whichever of the two says so', () => {
    for (const says of ['edge', 'inner']) {
      const model = open(
        logicalSwitch('far', ['10.9.0.0/24', '10.9.0.1']),
        router({ routes: [{ to: '10.0.0.0/8', via: '172.16.0.1', metric: 100, weight: 1 }] }, 'inner'),
        routerPort('far', { switch: 'far', addresses: ['10.9.0.1/24'] }, 'inner'),
        routerPort('up', { addresses: ['172.16.0.2/30'], ...(says === 'inner' ? { peer: 'edge/down' } : {}) }, 'inner'),
        routerPort('down', { addresses: ['172.16.0.1/30'], ...(says === 'edge' ? { peer: 'inner/up' } : {}) }),
        ...workload('far-1', 'h2', { switch: 'far', addresses: ['10.9.0.11'] }),
      );
      change(model, 'router', 'edge', { routes: [{ to: '10.9.0.0/16', via: '172.16.0.2', metric: 100, weight: 1 }] });
      const out = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '10.9.0.11' });
      assert.deepEqual(gist(send(model, 'web-1', out)), ['far-1: 10.0.1.11:40000 → 10.9.0.11:80 ttl 62']);
      const back = packet(model, 'far-1', 'inner/far', { src: '10.9.0.11', dst: '10.0.1.11' });
      assert.deepEqual(gist(send(model, 'far-1', back)), ['web-1: 10.9.0.11:40000 → 10.0.1.11:80 ttl 62']);
      const ping = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '10.9.0.1', protocol: 'icmp' });
      assert.deepEqual(gist(send(model, 'web-1', ping)), ['web-1: 10.9.0.1 → 10.0.1.11 ttl 63']);
    }
  });

  test('by a switch, on one VLAN of it', () => {
    const lan = logicalSwitch('lan', ['172.16.0.0/24', '172.16.0.1']);
    const model = open(
      { ...lan, vlanAware: true, subnets: lan.subnets.map((subnet) => ({ ...subnet, vlan: 7 })) },
      router({ routes: [] }, 'inner'),
      routerPort('up', { switch: 'lan', addresses: ['172.16.0.2/24'] }, 'inner'),
      routerPort('lan', { switch: 'lan', addresses: ['172.16.0.1/24'] }),
      ...workload('host', 'h1', { switch: 'lan', addresses: ['172.16.0.9'], vlan: { trunk: [7, 8] } }),
    );
    const out = packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '172.16.0.9' });
    const outcome = send(model, 'web-1', out);
    assert.deepEqual(
      outcome.deliveries.map(({ port, tag }) => [port, tag]),
      [['host', 7]],
    );
    const tagged = (tag: number): string[] =>
      gist(
        send(model, 'host', {
          ...packet(model, 'host', 'edge/lan', { src: '172.16.0.9', dst: '10.0.1.11' }),
          tag,
        }),
      );
    assert.deepEqual(tagged(7), ['web-1: 172.16.0.9:40000 → 10.0.1.11:80 ttl 63']);
    assert.deepEqual(tagged(8), ['drop unknown-mac']);
  });
});
