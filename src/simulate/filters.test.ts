import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RuleMatch } from '../model/objects.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { Connections } from './connections.ts';
import type { Frame } from './frame.ts';
import {
  chain,
  change,
  gist,
  group,
  ip,
  logicalSwitch,
  type PacketFields,
  packet,
  router,
  routerPort,
  send,
  threeTier,
  workload,
} from './three-tier.fixture.ts';
import { isTracked } from './tracking.ts';

const SYN_ACK = TCP_FLAG.syn | TCP_FLAG.ack;
const toDb = { src: '10.0.2.11', dst: '10.0.3.11', ports: [40_000, 5432] } as const;
const fromDb = { src: '10.0.3.11', dst: '10.0.2.11', ports: [5432, 40_000], flags: SYN_ACK } as const;

describe('security groups', () => {
  test('refuse what no rule of any of them allows', () => {
    const model = threeTier(group('metrics', [{ protocol: 'tcp', ports: '9100', cidr: '10.0.1.0/24' }]));
    change(model, 'port', 'db-1', { groups: ['db', 'metrics'] });
    const from = (port: string, src: string, dport: number): string =>
      gist(
        send(model, port, packet(model, port, `edge/${port.slice(0, 3)}`, { ...toDb, src, ports: [40_000, dport] })),
      )[0]!;
    assert.match(from('app-1', '10.0.2.11', 5432), /^db-1/);
    assert.match(from('web-1', '10.0.1.11', 9100), /^db-1/);
    assert.equal(from('web-1', '10.0.1.11', 5432), 'drop group');
    assert.equal(from('app-1', '10.0.2.11', 9100), 'drop group');
  });

  test('allow answers to what they allowed, and nothing that looks like one', () => {
    const model = threeTier();
    const answer = packet(model, 'db-1', 'edge/db', fromDb);
    assert.deepEqual(gist(send(model, 'db-1', answer)), ['drop invalid']);
    const first = send(model, 'app-1', packet(model, 'app-1', 'edge/app', toDb));
    assert.equal(first.commits.length, 2);
    const known = new Connections(first.commits);
    const outcome = send(model, 'db-1', answer, known);
    assert.match(gist(outcome)[0]!, /^app-1/);
    assert.deepEqual(
      outcome.commits.map(({ zone, answered }) => [zone, answered]),
      [
        ['port:db-1@h2', true],
        ['port:app-1@h1', true],
      ],
    );
  });

  test('judge the connection as it began: a rule that is taken away cuts both directions', () => {
    const model = threeTier();
    const first = send(model, 'app-1', packet(model, 'app-1', 'edge/app', toDb));
    const second = send(model, 'db-1', packet(model, 'db-1', 'edge/db', fromDb), new Connections(first.commits));
    const known = new Connections(first.commits).with(second.commits);
    change(model, 'securityGroup', 'db', { ingress: [] });
    const more = packet(model, 'app-1', 'edge/app', { ...toDb, flags: TCP_FLAG.ack });
    assert.deepEqual(gist(send(model, 'app-1', more, known)), ['drop group']);
    const answer = packet(model, 'db-1', 'edge/db', { ...fromDb, flags: TCP_FLAG.ack });
    const cut = send(model, 'db-1', answer, known);
    assert.deepEqual(gist(cut), ['drop group']);
    assert.equal(cut.drops[0]!.by.id, 'db-1');
  });

  test('let what a port begins out by egress, its answers in by the same', () => {
    const model = threeTier();
    change(model, 'securityGroup', 'app', { egress: [{ protocol: 'tcp', ports: '5432', cidr: '10.0.3.0/24' }] });
    const out = (dst: string): string[] =>
      gist(send(model, 'app-1', packet(model, 'app-1', 'edge/app', { ...toDb, dst })));
    assert.match(out('10.0.3.11')[0]!, /^db-1/);
    assert.deepEqual(out('10.0.1.11'), ['drop group']);
  });

  test('see ICMP errors as part of the connection that they are about', () => {
    const model = threeTier();
    const first = send(model, 'app-1', packet(model, 'app-1', 'edge/app', toDb));
    const quoted = { version: 4, protocol: 6, id: 0, ...ends('10.0.2.11', 40_000, '10.0.3.11', 5432) } as const;
    const fields: PacketFields = { ...fromDb, protocol: 'icmp', icmp: { type: 3, code: 3, id: 0 }, quoted };
    const error = packet(model, 'db-1', 'edge/db', fields);
    assert.match(gist(send(model, 'db-1', error, new Connections(first.commits)))[0]!, /^app-1/);
    assert.deepEqual(gist(send(model, 'db-1', error)), ['drop invalid']);
  });

  test('match types of ICMP, IP versions and address sets', () => {
    const set = { kind: 'addressSet', id: 'ours', name: 'ours', tenant: 'acme', revision: 1, key: 900 } as const;
    const model = threeTier({ ...set, addresses: ['10.0.2.0/25', '10.0.1.12'] });
    const rules = (ingress: object[]): void => change(model, 'securityGroup', 'db', { ingress });
    const to = (fields: Partial<PacketFields>): string =>
      gist(send(model, 'app-1', packet(model, 'app-1', 'edge/app', { ...toDb, ...fields })))[0]!;
    rules([{ protocol: 'icmp', icmpType: 8 }]);
    assert.match(to({ protocol: 'icmp' }), /^db-1/);
    assert.equal(to({ protocol: 'icmp', icmp: { type: 13, code: 0, id: 1 } }), 'drop group');
    rules([{ ipVersion: 6 }]);
    assert.equal(to({}), 'drop group');
    rules([{ addressSet: 'ours' }]);
    assert.match(to({}), /^db-1/);
    change(model, 'addressSet', 'ours', { addresses: ['10.0.2.128/25'] });
    assert.equal(to({}), 'drop group');
  });

  test('leave neighbour discovery and DHCP alone', () => {
    const model = threeTier();
    change(model, 'securityGroup', 'web', { ingress: [], egress: [] });
    const target = ip('2001:db8:1::1').value as bigint;
    const frame = packet(model, 'web-1', '33:33:ff:00:00:01', {
      ...{ src: '2001:db8:1::11', dst: 'ff02::1:ff00:1', protocol: 'icmp', icmp: { type: 135, code: 0, id: 0 } },
    });
    const nd = { target, sourceMac: frame.src, targetMac: 0 };
    assert.equal(send(model, 'web-1', { ...frame, nd }).answer?.by.id, 'edge/web');
    const dhcp = packet(model, 'web-1', 'ff:ff:ff:ff:ff:ff', {
      ...{ src: '0.0.0.0', dst: '255.255.255.255', protocol: 'udp', ports: [68, 67] },
    });
    assert.equal(send(model, 'web-1', dhcp).agent, 'dhcp');
  });
});

function ends(
  src: string,
  srcPort: number,
  dst: string,
  dstPort: number,
): Pick<NonNullable<Frame['quoted']>, 'src' | 'dst' | 'srcPort' | 'dstPort'> {
  return { src: ip(src), dst: ip(dst), srcPort, dstPort };
}

describe('connections that are not given', () => {
  test('can be assumed new, or answered', () => {
    const model = threeTier();
    const answer = packet(model, 'db-1', 'edge/db', fromDb);
    assert.match(gist(send(model, 'db-1', answer, new Connections([], 'reply')))[0]!, /^app-1/);
    assert.deepEqual(gist(send(model, 'db-1', answer, new Connections([], 'new'))), ['drop group']);
  });
});

describe('a port is tracked', () => {
  const model = threeTier();
  const tracked = (id: string): boolean => isTracked(model, model.get('port', id)!);

  test('for its groups, or as its switch is, by a router with translation', () => {
    for (const id of ['web-1', 'db-1', 'client']) assert.equal(tracked(id), true);
    for (const { id } of [...model.all('port')]) change(model, 'port', id, { groups: [] });
    assert.equal(tracked('db-1'), true);
    for (const kind of ['floatingAddress', 'loadBalancer'] as const)
      for (const { id } of [...model.all(kind)]) model.delete(kind, id);
    change(model, 'router', 'edge', { snat: [] });
    assert.equal(tracked('db-1'), false);
  });

  test('but not for a router that it reaches over an outside port alone: wires of gateways keep no connections', () => {
    const world = threeTier(
      logicalSwitch('up', ['192.0.2.0/24', '192.0.2.1']),
      router({}, 'core'),
      routerPort('up', { switch: 'up', addresses: ['192.0.2.2/24'] }, 'core'),
      routerPort('public', { switch: 'internet', addresses: ['203.0.113.3/24'] }, 'core'),
      ...workload('wire', 'h3', { switch: 'up', portSecurity: false }),
    );
    for (const shared of [true, false]) {
      change(world, 'switch', 'internet', { shared });
      const of = (id: string): boolean => isTracked(world, world.get('port', id)!);
      assert.deepEqual([of('wire'), of('client'), of('web-1')], [false, true, true], `shared: ${shared}`);
    }
    change(world, 'routerPort', 'edge/outside', { outside: false });
    assert.equal(isTracked(world, world.get('port', 'wire')!), true);
  });

  test('for a chain that asks for state, also behind a jump, on it or on a router that it reaches', () => {
    for (const record of [
      ...chain('inner', 'accept', [{ state: ['new'] }, 'accept']),
      ...chain('outer', 'accept', [{ src: '10.0.0.0/8' }, 'jump']),
    ])
      model.put(record.kind === 'rule' && record.action === 'jump' ? { ...record, jumpTo: 'inner' } : record);
    change(model, 'port', 'db-1', { toChain: 'outer' });
    assert.deepEqual([tracked('db-1'), tracked('web-1')], [true, false]);
    change(model, 'port', 'db-1', { toChain: undefined });
    change(model, 'routerPort', 'edge/app', { outChain: 'outer' });
    assert.deepEqual([tracked('db-1'), tracked('web-1'), tracked('client')], [true, true, false]);
  });
});

describe('chains', () => {
  /** Is a packet from app-1 to db-1 refused by a rule with this match? */
  const fits = (
    match: RuleMatch,
    fields: Partial<PacketFields> = {},
    change_: (frame: Frame) => Frame = (f) => f,
  ): boolean => {
    const model = threeTier(...chain('it', 'accept', [match, 'drop']), {
      ...{ kind: 'addressSet', id: 'set', name: 'set', tenant: 'acme', revision: 1, key: 900 },
      addresses: ['10.0.2.0/24', '192.0.2.1'],
    });
    change(model, 'port', 'app-1', { fromChain: 'it' });
    const frame = change_(packet(model, 'app-1', 'edge/app', { ...toDb, ...fields }));
    return gist(send(model, 'app-1', frame)).includes('drop rule');
  };
  const later = (frame: Frame): Frame => ({ ...frame, ip: { ...frame.ip!, fragment: 'later' } });

  test('match sets and groups of addresses', () => {
    assert.equal(fits({ srcSet: 'set' }), true);
    assert.equal(fits({ dstSet: 'set' }), false);
    assert.equal(fits({ srcGroup: 'app', dstGroup: 'db' }), true);
    assert.equal(fits({ srcGroup: 'db' }), false);
  });

  test('match TCP flags, DSCP and fragments', () => {
    assert.equal(fits({ protocol: 'tcp', tcpFlags: '+syn-ack' }), true);
    assert.equal(fits({ protocol: 'tcp', tcpFlags: '+ack' }), false);
    assert.equal(fits({ dscp: 46 }), false);
    assert.equal(
      fits({ dscp: 46 }, {}, (frame) => ({ ...frame, ip: { ...frame.ip!, dscp: 46 } })),
      true,
    );
    for (const fragment of ['no', 'first', 'any'] as const) assert.equal(fits({ fragment }), fragment === 'no');
    const first = (frame: Frame): Frame => ({ ...frame, ip: { ...frame.ip!, fragment: 'first' } });
    for (const fragment of ['no', 'first', 'later', 'any'] as const)
      assert.equal(fits({ fragment }, {}, first), fragment === 'first' || fragment === 'any');
  });

  test('match the state of the connection', () => {
    assert.equal(fits({ state: ['new'] }), true);
    assert.equal(fits({ state: ['established', 'reply', 'related'] }), false);
    assert.equal(fits({ state: ['established', 'new'] }), true);
  });

  test('match what is not so, where the field is there at all', () => {
    assert.equal(fits({ srcSet: 'set', not: ['srcSet'] }), false);
    assert.equal(fits({ dstSet: 'set', not: ['dstSet'] }), true);
    assert.equal(fits({ src: '10.0.9.0/24', not: ['src'] }), true);
    assert.equal(fits({ src: '2001:db8::/32', not: ['src'] }), false);
    assert.equal(fits({ protocol: 'udp', not: ['protocol'] }), true);
    assert.equal(fits({ protocol: 'udp', dstPorts: '53', not: ['dstPorts'] }), false);
    assert.equal(fits({ protocol: 'tcp', dstPorts: '53', not: ['dstPorts'] }), true);
    assert.equal(fits({ etherType: 'arp', not: ['etherType'] }), true);
    assert.equal(fits({ state: ['new'], not: ['state'] }), false);
  });

  test('match no ports in later fragments, which conntrack cannot know by themselves', () => {
    const model = threeTier();
    const frame = later(packet(model, 'app-1', 'edge/app', toDb));
    assert.deepEqual(gist(send(model, 'app-1', frame)), ['drop invalid']);
  });

  test('reject tells the sender, but not about errors or to groups', () => {
    const model = threeTier(...chain('it', 'accept', [{}, 'reject']));
    change(model, 'port', 'db-1', { toChain: 'it' });
    const outcome = send(model, 'app-1', packet(model, 'app-1', 'edge/app', toDb));
    assert.deepEqual(gist(outcome), ['drop rejected', 'ask reject']);
    assert.deepEqual(outcome.requests[0], {
      ...{ service: 'reject', host: 'h2', isSilent: false },
      at: { kind: 'port', id: 'db-1' },
    });
    change(model, 'port', 'app-1', { fromChain: 'it' });
    const group = packet(model, 'app-1', '01:00:5e:00:00:09', { src: '10.0.2.11', dst: '224.0.0.9', protocol: 'udp' });
    assert.deepEqual(gist(send(model, 'app-1', group)), ['drop rejected', 'ask reject in silence']);
  });
});
