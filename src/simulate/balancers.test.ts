import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatMac } from '../base/addresses.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { Connections } from './connections.ts';
import { balancer, change, gist, group, packet, send, threeTier, workload } from './three-tier.fixture.ts';

/** docs/design/layer3.md, §3.1 and §8. Groups are out of the way. */
function open(...more: readonly ScopeRecord[]): ModelIndex {
  const model = threeTier(...more);
  for (const port of [...model.all('port')]) change(model, 'port', port.id, { groups: [] });
  return model;
}

const SYN_ACK = TCP_FLAG.syn | TCP_FLAG.ack;
const toApi = { src: '10.0.1.11', dst: '10.0.2.100' } as const;

/** To the API's VIP from web-1, by source port. */
function call(model: ModelIndex, sport: number, known?: Connections): ReturnType<typeof send> {
  const frame = packet(model, 'web-1', 'edge/web', { ...toApi, ports: [sport, 8000] });
  return send(model, 'web-1', frame, known);
}

function memberOf(model: ModelIndex, sport: number, known?: Connections): string {
  const { deliveries, drops } = call(model, sport, known);
  return deliveries[0]?.port ?? drops[0]!.reason;
}

describe('a VIP from inside', () => {
  test('becomes a member before filters see the packet, and itself again for the client', () => {
    const model = open(group('narrow', [], [{ cidr: '10.0.2.11' }, { cidr: '10.0.2.12' }]));
    change(model, 'port', 'web-1', { groups: ['narrow'] });
    const out = call(model, 40_000);
    const { port, frame } = out.deliveries[0]!;
    const member = port === 'app-1' ? '10.0.2.11' : '10.0.2.12';
    assert.deepEqual(gist(out), [`${port}: 10.0.1.11:40000 → ${member}:8000 ttl 63`]);
    assert.equal(out.commits.find(({ zone }) => zone.startsWith('port:web-1@'))!.mark, 1);
    const fields = { src: member, dst: '10.0.1.11', ports: [8000, 40_000], flags: SYN_ACK } as const;
    const back = send(model, port, packet(model, port, 'edge/app', fields), new Connections(out.commits));
    assert.deepEqual(gist(back), ['web-1: 10.0.2.100:8000 → 10.0.1.11:40000 ttl 63']);
    assert.equal(frame.ip!.ttl, 63);
  });

  test('goes straight to a member on the same switch', () => {
    const model = open();
    change(model, 'loadBalancer', 'api', { members: [{ port: 'app-2', weight: 1, drain: false, adminUp: true }] });
    const fields = { src: '10.0.2.11', dst: '10.0.2.100', ports: [40_000, 8000] } as const;
    const out = send(model, 'app-1', packet(model, 'app-1', 'edge/app', fields));
    assert.deepEqual(gist(out), ['app-2: 10.0.2.11:40000 → 10.0.2.12:8000 ttl 64']);
    assert.equal(formatMac(out.deliveries[0]!.frame.dst), model.get('port', 'app-2')!.mac);
  });

  test('of a switch has a MAC of its own and serves its workloads', () => {
    const { router: _, ...fields } = balancer('local', '10.0.1.100', { port: 80 }, ['web-2']);
    const model = open({ ...fields, switch: 'web' } as ScopeRecord);
    const { src } = packet(model, 'web-1', 'edge/web', toApi);
    const arp = { op: 1, senderIp: 0x0a00_010b, targetIp: 0x0a00_0164, senderMac: src };
    const { answer } = send(model, 'web-1', { src, dst: 0xffff_ffff_ffff, etherType: 0x0806, arp });
    assert.match(answer!.mac, /^0a:57:4c:/);
    const frame = packet(model, 'web-1', answer!.mac, { src: '10.0.1.11', dst: '10.0.1.100' });
    assert.deepEqual(gist(send(model, 'web-1', frame)), ['web-2: 10.0.1.11:40000 → 10.0.1.12:80 ttl 64']);
  });

  test('answers pings, and leaves other ports alone', () => {
    const model = open();
    const ping = packet(model, 'web-1', 'edge/web', { ...toApi, protocol: 'icmp' });
    assert.deepEqual(gist(send(model, 'web-1', ping)), ['web-1: 10.0.2.100 → 10.0.1.11 ttl 64']);
    const other = packet(model, 'web-1', 'edge/web', { ...toApi, ports: [40_000, 9] });
    assert.deepEqual(gist(send(model, 'web-1', other)), ['drop not-translated']);
  });

  test('keeps the member of a connection, whatever happens to the others or to it', () => {
    const model = open();
    const first = call(model, 40_000);
    const known = new Connections(first.commits);
    const member = first.deliveries[0]!.port;
    const members = model.get('loadBalancer', 'api')!.members.map((each) => ({ ...each, drain: each.port === member }));
    change(model, 'loadBalancer', 'api', { members });
    assert.equal(memberOf(model, 40_000, known), member);
    assert.notEqual(memberOf(model, 40_000), member);
    change(model, 'loadBalancer', 'api', { members: members.map((each) => ({ ...each, adminUp: false })) });
    assert.equal(memberOf(model, 40_000, known), member);
  });

  test('of which a listener is down goes on without it', () => {
    const model = open();
    const listeners = [{ protocol: 'tcp', port: 8000, adminUp: false } as const, { protocol: 'tcp', port: 9 } as const];
    change(model, 'loadBalancer', 'api', { listeners });
    assert.equal(memberOf(model, 40_000), 'not-translated');
    const other = packet(model, 'web-1', 'edge/web', { ...toApi, ports: [40_000, 9] });
    assert.match(send(model, 'web-1', other).deliveries[0]!.port, /^app-/);
  });

  test('leads by ranges of ports: to the same, to one for all, or each to its own', () => {
    const model = open();
    const listeners = [
      { protocol: 'tcp', port: '9000-9099' } as const,
      { protocol: 'tcp', port: '7000-7999', memberPort: 8000 } as const,
      { protocol: 'tcp', port: '2200-2209', memberPort: '22000-22009' } as const,
    ];
    change(model, 'loadBalancer', 'api', { listeners });
    const led = (port: number): number | string => {
      const to = { ...toApi, ports: [40_000, port] } as const;
      const { deliveries, drops } = send(model, 'web-1', packet(model, 'web-1', 'edge/web', to));
      return deliveries[0]?.frame.ports?.dst ?? drops[0]!.reason;
    };
    assert.deepEqual([9000, 9042, 9099, 7000, 7999, 2200, 2209].map(led), [9000, 9042, 9099, 8000, 8000, 22000, 22009]);
    assert.deepEqual([8999, 9100, 8000, 2210].map(led), Array(4).fill('not-translated'));
  });

  test('that is down is as though it were not there', () => {
    const model = open();
    change(model, 'loadBalancer', 'api', { adminUp: false });
    assert.equal(memberOf(model, 40_000), 'no-neighbour');
  });
});

describe('the members of a balancer', () => {
  const spread = (model: ModelIndex): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (let slot = 0; slot < 32; slot++) {
      const member = memberOf(model, 40_000 + 2 * slot);
      counts[member] = (counts[member] ?? 0) + 1;
    }
    return counts;
  };

  test('share the slots by weight', () => {
    const model = open();
    assert.deepEqual(spread(model), { 'app-1': 16, 'app-2': 16 });
    const members = model
      .get('loadBalancer', 'api')!
      .members.map((m) => ({ ...m, weight: m.port === 'app-1' ? 3 : 1 }));
    change(model, 'loadBalancer', 'api', { members });
    assert.deepEqual(spread(model), { 'app-1': 24, 'app-2': 8 });
  });

  test('serve when they are up, well, not drained, have an address, and are on a host that answers', () => {
    for (const out of [
      (model: ModelIndex) => change(model, 'port', 'app-1', { adminUp: false }),
      (model: ModelIndex) => change(model, 'port', 'app-1', { addresses: ['2001:db8:2::11'] }),
      (model: ModelIndex) =>
        model.put({
          ...{ kind: 'memberHealth', id: 'api/app-1', revision: 1, loadBalancer: 'api', port: 'app-1' },
          ...{ host: 'h1', up: false },
        }),
      (model: ModelIndex) => change(model, 'binding', 'app-1', { claims: [], active: undefined }),
      (model: ModelIndex) => model.setLost('h1', [model.bindingOf('app-1')!.active!]),
    ]) {
      const model = open();
      out(model);
      assert.deepEqual(spread(model), { 'app-2': 32 });
    }
  });

  test('are one for all ports of a source where that sticks', () => {
    const model = open();
    change(model, 'loadBalancer', 'api', { sticky: 'source' });
    assert.equal(Object.keys(spread(model)).length, 1);
  });

  test('are left aside where a client keeps the member that it had, while that serves or is only drained', () => {
    const model = open();
    change(model, 'loadBalancer', 'api', { sticky: 'source', stickyS: 60 });
    const [own] = Object.keys(spread(model));
    const other = own === 'app-1' ? 'app-2' : 'app-1';
    const keep = (host: string, port: string, seenS: number): void => {
      const members = [{ port, clients: { '10.0.1.11': seenS } }];
      model.put({ kind: 'keptClients', id: `api/${host}`, revision: 1, loadBalancer: 'api', host, members });
    };
    keep('h2', other, 1_764_000_000);
    assert.deepEqual(spread(model), { [other]: 32 });
    const said = call(model, 40_000).steps.find(({ about }) => about.kind === 'loadBalancer')?.text;
    assert.equal(
      said,
      `10.0.1.11 keeps ${other}, whatever its slot says: until 2025-11-24T16:01:00Z if it is not seen again`,
    );
    keep('h1', own!, 1_764_000_001);
    assert.deepEqual(spread(model), { [own!]: 32 }, 'where it was seen last');
    keep('h1', own!, 1_764_000_000);
    assert.deepEqual(spread(model), { [own!]: 32 }, 'of equal ones the smaller host');
    model.delete('keptClients', 'api/h1');
    const members = (more: object): void =>
      change(model, 'loadBalancer', 'api', {
        members: ['app-1', 'app-2'].map((port) => ({
          ...{ port, weight: 1, drain: false, adminUp: true },
          ...(port === other ? more : {}),
        })),
      });
    members({ drain: true });
    assert.deepEqual(spread(model), { [other]: 32 });
    members({ adminUp: false });
    assert.deepEqual(spread(model), { [own!]: 32 });
    members({});
    change(model, 'loadBalancer', 'api', { stickyS: undefined });
    assert.deepEqual(spread(model), { [own!]: 32 });
  });

  test('may all be away: told or not, as chosen', () => {
    const model = open();
    change(model, 'port', 'app-1', { adminUp: false });
    change(model, 'binding', 'app-2', { claims: [], active: undefined });
    const refused = call(model, 40_000);
    assert.deepEqual(gist(refused), ['drop rejected', 'ask reject']);
    const told = refused.steps.find(({ about }) => about.kind === 'loadBalancer')?.text;
    assert.equal(told, 'no member serves: app-1 admin-down, app-2 unbound');
    change(model, 'loadBalancer', 'api', { onEmpty: 'drop' });
    assert.deepEqual(gist(call(model, 40_000)), ['drop no-member']);
  });
});

describe('a member that calls its own VIP', () => {
  test('hears from the VIP, and answers it', () => {
    const model = open();
    change(model, 'loadBalancer', 'api', { members: [{ port: 'app-1', weight: 1, drain: false, adminUp: true }] });
    for (const via of ['edge/app', '0a:57:4c:00:00:99']) {
      const fields = { src: '10.0.2.11', dst: '10.0.2.100', ports: [40_000, 8000] } as const;
      const out = send(model, 'app-1', packet(model, 'app-1', via, fields));
      assert.deepEqual(gist(out), ['app-1: 10.0.2.100:40000 → 10.0.2.11:8000 ttl 64']);
      const answer = { src: '10.0.2.11', dst: '10.0.2.100', ports: [8000, 40_000], flags: SYN_ACK } as const;
      const back = send(model, 'app-1', packet(model, 'app-1', via, answer), new Connections(out.commits));
      assert.deepEqual(gist(back), ['app-1: 10.0.2.100:8000 → 10.0.2.11:40000 ttl 64']);
    }
  });
});

describe('a VIP from outside', () => {
  const toShop = { src: '203.0.113.200', dst: '203.0.113.80' } as const;

  test('is translated on the host of the member, by any gateway', () => {
    const model = open(...workload('client-2', 'h2', { switch: 'internet', addresses: ['203.0.113.201'] }));
    for (const port of ['client', 'client-2']) {
      const src = port === 'client' ? '203.0.113.200' : '203.0.113.201';
      const out = send(model, port, packet(model, port, 'edge/outside', { ...toShop, src }));
      const { port: member, host } = out.deliveries[0]!;
      const address = member === 'web-1' ? '10.0.1.11' : '10.0.1.12';
      assert.deepEqual(gist(out), [`${member}: ${src}:40000 → ${address}:8080 ttl 63`]);
      const made = out.commits.find(({ zone }) => zone === `port:${member}@${host}`)!;
      assert.deepEqual([made.mark, host], [2, model.bindingOf(member)!.active]);
      const fields = { src: address, dst: src, ports: [8080, 40_000], flags: SYN_ACK } as const;
      const back = send(model, member, packet(model, member, 'edge/web', fields), new Connections(out.commits));
      assert.deepEqual(gist(back), [`${port}: 203.0.113.80:80 → ${src}:40000 ttl 63`]);
    }
  });

  test('without a member is told or not, and other ports are not translated', () => {
    const model = open();
    for (const id of ['web-1', 'web-2']) change(model, 'port', id, { adminUp: false });
    const to = (ports: readonly [number, number]): string[] =>
      gist(send(model, 'client', packet(model, 'client', 'edge/outside', { ...toShop, ports })));
    assert.deepEqual(to([40_000, 80]), ['drop rejected', 'ask reject']);
    change(model, 'loadBalancer', 'shop', { onEmpty: 'drop' });
    assert.deepEqual(to([40_000, 80]), ['drop no-member']);
    assert.deepEqual(to([40_000, 443]), ['drop not-translated']);
  });

  test('keeps its TCP connections at their members, whatever becomes of the others', () => {
    const model = open();
    const { members } = model.get('loadBalancer', 'shop')!;
    const to = (flags: number, known?: Connections): ReturnType<typeof send> =>
      send(model, 'client', packet(model, 'client', 'edge/outside', { ...toShop, flags }), known);
    const opened = to(TCP_FLAG.syn);
    const member = opened.deliveries[0]!.port;
    const known = new Connections(opened.commits);
    for (const drained of [[member], members.map(({ port }) => port)]) {
      change(model, 'loadBalancer', 'shop', {
        members: members.map((each) => ({ ...each, drain: drained.includes(each.port) })),
      });
      for (const flags of [TCP_FLAG.ack, SYN_ACK, TCP_FLAG.rst])
        assert.deepEqual(
          to(flags, known).deliveries.map(({ port }) => port),
          [member],
          `${drained}, flags ${flags}`,
        );
      const unknown = to(TCP_FLAG.ack);
      assert.deepEqual(unknown.deliveries, []);
      assert.deepEqual(new Set(unknown.drops.map(({ reason }) => reason)), new Set(['unknown-connection']));
    }
  });

  test('leads to no member that is on no host, or on one that the host does not hear where it comes in', () => {
    const model = open();
    const said = (): string[] => gist(send(model, 'client', packet(model, 'client', 'edge/outside', toShop)));
    for (const id of ['web-1', 'web-2']) change(model, 'binding', id, { claims: [], active: undefined });
    assert.deepEqual(said(), ['drop rejected', 'ask reject']);
    const cut = open();
    const [entry, ...hosts] = ['client', 'web-1', 'web-2'].map((id) => cut.bindingOf(id)!.active!);
    cut.setLost('another', hosts);
    assert.match(gist(send(cut, 'client', packet(cut, 'client', 'edge/outside', toShop)))[0]!, /^web-[12]: /);
    cut.setLost(entry!, hosts);
    assert.deepEqual(gist(send(cut, 'client', packet(cut, 'client', 'edge/outside', toShop))), [
      'drop rejected',
      'ask reject',
    ]);
  });
});

describe('a VIP that several balancers share', () => {
  const ssh = { ...balancer('ssh', '203.0.113.80', { port: 2222, memberPort: 22 }, ['app-1']), key: 0xf000 };
  const toShop = { src: '203.0.113.200', dst: '203.0.113.80' } as const;

  test('leads to the members of the one that listens, from outside and inside', () => {
    const model = open(ssh);
    const to = (from: string, via: string, src: string, port: number): string[] =>
      gist(send(model, from, packet(model, from, via, { ...toShop, src, ports: [40_000, port] })));
    assert.match(to('client', 'edge/outside', toShop.src, 80)[0]!, /→ 10\.0\.1\.1[12]:8080 ttl 63$/);
    assert.deepEqual(to('client', 'edge/outside', toShop.src, 2222), [
      'app-1: 203.0.113.200:40000 → 10.0.2.11:22 ttl 63',
    ]);
    assert.deepEqual(to('web-1', 'edge/web', '10.0.1.11', 2222), ['app-1: 10.0.1.11:40000 → 10.0.2.11:22 ttl 63']);
    assert.deepEqual(to('client', 'edge/outside', toShop.src, 443), ['drop not-translated']);
    change(model, 'port', 'app-1', { adminUp: false });
    assert.deepEqual(to('client', 'edge/outside', toShop.src, 2222), ['drop rejected', 'ask reject']);
    assert.match(to('client', 'edge/outside', toShop.src, 80)[0]!, /:8080 ttl 63$/);
  });

  test('is said by the first of those that are up, and answers a ping once', () => {
    const model = open(ssh);
    const ping = (): string[] =>
      gist(send(model, 'client', packet(model, 'client', 'edge/outside', { ...toShop, protocol: 'icmp' })));
    const { src } = packet(model, 'client', 'edge/outside', toShop);
    const arp = { op: 1, senderIp: 0xcb00_71c8, targetIp: 0xcb00_7150, senderMac: src };
    const holder = (): string | undefined =>
      send(model, 'client', { src, dst: 0xffff_ffff_ffff, etherType: 0x0806, arp }).answer?.by.id;
    assert.deepEqual([holder(), ping()], ['shop', ['client: 203.0.113.80 → 203.0.113.200 ttl 64']]);
    change(model, 'loadBalancer', 'shop', { adminUp: false });
    assert.deepEqual([holder(), ping()], ['ssh', ['client: 203.0.113.80 → 203.0.113.200 ttl 64']]);
  });
});

describe('probes of health', () => {
  const health = { type: 'tcp', intervalMs: 1000, timeoutMs: 500, rise: 1, fall: 1, path: '/' } as const;
  const answer = { src: '10.0.2.11', ports: [8000, 61_500], flags: SYN_ACK } as const;

  test('are answered to the host, past every filter', () => {
    const model = open(group('closed', [], []));
    change(model, 'loadBalancer', 'api', { health });
    change(model, 'port', 'app-1', { groups: ['closed'] });
    const frame = packet(model, 'app-1', 'edge/app', { ...answer, dst: '10.0.2.1' });
    assert.deepEqual(gist(send(model, 'app-1', frame)), ['drop agent', 'ask health']);
    const other = packet(model, 'app-1', 'edge/app', { ...answer, dst: '10.0.2.1', ports: [8000, 61_000] });
    assert.deepEqual(gist(send(model, 'app-1', other)), ['drop invalid']);
  });

  test('come from an address of the switch where no router has one', () => {
    const model = open();
    change(model, 'loadBalancer', 'api', { health });
    change(model, 'routerPort', 'edge/app', { addresses: [] });
    const frame = packet(model, 'app-1', '0a:57:46:00:00:01', { ...answer, dst: '169.254.87.70' });
    assert.deepEqual(gist(send(model, 'app-1', frame)), ['drop agent', 'ask health']);
    const arp = { op: 1, senderIp: 0x0a00_020b, targetIp: 0xa9fe_5746, senderMac: frame.src };
    const question = { src: frame.src, dst: 0xffff_ffff_ffff, etherType: 0x0806, arp };
    assert.match(send(model, 'app-1', question).answer!.mac, /^0a:57:46/);
  });

  describe('from a VIP of the switch', () => {
    const own = { port: 62_000, memberPort: 81 };
    const onSwitch = (address: string): ScopeRecord & { kind: 'loadBalancer' } => {
      const { router: _, ...fields } = balancer('local', address, { port: 80 }, ['app-1']);
      const listeners = [...fields.listeners, { protocol: 'tcp', ...own } as const];
      return { ...fields, listeners, switch: 'app', health };
    };
    const fromMember = (model: ModelIndex, ports: readonly [number, number], flags: number, known?: Connections) => {
      const fields = { src: '10.0.2.11', dst: '10.0.2.80', ports, flags };
      return send(model, 'app-1', packet(model, 'app-1', '0a:57:4c:00:00:01', fields), known);
    };
    const withoutRouter = (address = '10.0.2.80'): ModelIndex => {
      const model = open(onSwitch(address));
      change(model, 'routerPort', 'edge/app', { addresses: [] });
      return model;
    };
    const taken = ['drop agent', 'ask health'];

    test('answers are told from what the member says to itself, and what it calls', () => {
      const model = withoutRouter();
      assert.deepEqual(gist(fromMember(model, [80, 62_000], SYN_ACK)), taken);
      assert.notDeepEqual(gist(fromMember(model, [81, 62_000], SYN_ACK)), taken);
      const calls = [
        [62_000, 80, 80],
        [40_000, 62_000, 81],
      ] as const;
      for (const [from, to, at] of calls) {
        const call = fromMember(model, [from, to], TCP_FLAG.syn);
        assert.deepEqual(gist(call), [`app-1: 10.0.2.80:${from} → 10.0.2.11:${at} ttl 64`]);
        const known = new Connections(call.commits);
        for (const flags of [SYN_ACK, TCP_FLAG.ack]) {
          const answer = fromMember(model, [at, from], flags, known);
          assert.deepEqual(gist(answer), [`app-1: 10.0.2.80:${to} → 10.0.2.11:${from} ttl 64`]);
        }
      }
      change(model, 'loadBalancer', 'local', { adminUp: false });
      assert.notDeepEqual(gist(fromMember(model, [80, 62_000], SYN_ACK)), taken);
    });

    test('are asked only beside it, else from the address of the switch, which is told in the VLAN of the member', () => {
      const arp = { op: 1, senderIp: 0x0a00_020b, targetIp: 0xa9fe_5746, senderMac: 1 };
      const answered = (model: ModelIndex, vlan: number): boolean => {
        const { src } = packet(model, 'app-1', 'edge/app', { src: '10.0.2.11', dst: '10.0.2.80' });
        const tagged = vlan === 0 ? {} : { tag: vlan };
        const question = { src, dst: 0xffff_ffff_ffff, etherType: 0x0806, arp: { ...arp, senderMac: src }, ...tagged };
        return send(model, 'app-1', question).answer !== undefined;
      };
      assert.equal(answered(withoutRouter(), 0), false);
      assert.equal(answered(withoutRouter('10.9.9.9'), 0), true);
      const model = withoutRouter('10.9.9.9');
      const subnets = model.get('switch', 'app')!.subnets.map((subnet) => ({ ...subnet, vlan: 5 }));
      change(model, 'switch', 'app', { vlanAware: true, subnets });
      assert.deepEqual([answered(model, 0), answered(model, 5), answered(model, 6)], [false, true, false]);
    });
  });
});
