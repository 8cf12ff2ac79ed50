import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatCidr, formatIp, type Ipv4, parseCidr, parseIp } from '../base/addresses.ts';
import { MAIN_TABLE, type NetlinkMessage, type NextHopMessage, RouteProtocol, RouteType } from './netlink.ts';
import { type RouteChange, RouteTable, type Ways } from './route-table.ts';

function route(to: string, through: number | string | undefined, protocol: number = RouteProtocol.bgp): NetlinkMessage {
  return {
    kind: 'route',
    action: through === undefined ? 'gone' : 'put',
    to: parseCidr(to)!,
    table: MAIN_TABLE,
    protocol,
    type: RouteType.unicast,
    priority: 20,
    nextHopId: typeof through === 'number' ? through : undefined,
    hops: typeof through === 'string' ? [{ gateway: parseIp(through)!, oif: 2, weight: 1 }] : [],
  };
}
const object = (id: number, is: NextHopMessage['is']): NetlinkMessage => ({ kind: 'nextHop', id, protocol: 11, is });
const hop = (id: number, gateway: string): NetlinkMessage =>
  object(id, { kind: 'hop', gateway: parseIp(gateway)!, oif: 2 });
const group = (id: number, ...members: number[]): NetlinkMessage =>
  object(id, { kind: 'group', members: members.map((m) => ({ id: m, weight: 1 })) });

function told(table: RouteTable, ...messages: NetlinkMessage[]): string[] {
  for (const message of messages) table.apply(message);
  return table.takeChanges().map(lineOf);
}
function lineOf({ to, ways }: RouteChange): string {
  return `${formatCidr(to)} ${ways === undefined ? 'gone' : waysText(ways)}`;
}
function waysText(ways: Ways): string {
  return ways.kind === 'discard' ? ways.how : ways.vias.map((v) => formatIp(v.gateway!)).join(' ');
}

test('a route with its own hop, deleted and told anew in one turn, is no change', () => {
  const table = new RouteTable();
  assert.deepEqual(told(table, route('10.0.0.0/8', '192.0.2.1')), ['10.0.0.0/8 192.0.2.1']);
  assert.deepEqual(told(table, route('10.0.0.0/8', undefined), route('10.0.0.0/8', '192.0.2.1')), []);
  assert.deepEqual(told(table, route('10.0.0.0/8', undefined)), ['10.0.0.0/8 gone']);
  assert.equal(table.size, 0);
});

test('a group that changes changes all its routes, and equal ways are one object', () => {
  const table = new RouteTable();
  const first = [hop(7, '192.0.2.1'), hop(8, '192.0.2.5'), group(9, 8, 7), route('10.0.0.0/8', 9), route('::/0', 9)];
  assert.deepEqual(told(table, ...first), ['10.0.0.0/8 192.0.2.1 192.0.2.5', '::/0 192.0.2.1 192.0.2.5']);
  assert.equal(table.get(parseCidr('10.0.0.0/8')!), table.get(parseCidr('::/0')!));
  assert.deepEqual(told(table, group(10, 7, 8), route('10.0.0.0/8', 10)), [], 'the same ways under another id');
  assert.deepEqual(told(table, group(9, 8)), ['::/0 192.0.2.5']);
  assert.deepEqual(told(table, { kind: 'nextHopGone', id: 9 }), ['::/0 gone']);
  assert.deepEqual(told(table, group(9, 7)), ['::/0 192.0.2.1']);
});

test('routes of other protocols and tables are not taken, and take the place of what BGP said', () => {
  const table = new RouteTable();
  assert.deepEqual(told(table, route('10.0.0.0/8', '192.0.2.1', RouteProtocol.kernel)), []);
  assert.deepEqual(told(table, { ...route('10.0.0.0/8', '192.0.2.1'), table: 1_000 } as NetlinkMessage), []);
  told(table, route('10.0.0.0/8', '192.0.2.1'));
  assert.deepEqual(told(table, route('10.0.0.0/8', '192.0.2.1', RouteProtocol.kernel)), ['10.0.0.0/8 gone']);
});

test('a discard route says how it discards', () => {
  const table = new RouteTable();
  const put = { ...route('10.0.0.0/8', '192.0.2.1'), type: RouteType.prohibit, hops: [] } as NetlinkMessage;
  assert.deepEqual(told(table, put), ['10.0.0.0/8 prohibit']);
  assert.deepEqual(told(table, object(5, { kind: 'blackhole' }), route('10.0.0.0/8', 5)), ['10.0.0.0/8 blackhole']);
});

test('a new connection changes nothing until it says otherwise, or is swept', () => {
  const table = new RouteTable();
  told(table, hop(7, '192.0.2.1'), route('10.0.0.0/8', 7), route('10.1.0.0/16', 7), route('10.2.0.0/16', 7));
  table.begin();
  assert.equal(table.held, 3);
  // The other zebra's object 7 is another hop.
  assert.deepEqual(told(table, hop(7, '192.0.2.9'), hop(8, '192.0.2.1')), []);
  assert.deepEqual(told(table, route('10.0.0.0/8', 8), route('10.1.0.0/16', 7)), ['10.1.0.0/16 192.0.2.9']);
  assert.equal(table.held, 1);
  table.sweep();
  assert.deepEqual(told(table), ['10.2.0.0/16 gone']);
  assert.equal(table.size, 2);
});

test('what a reader was told is what a plain replay of the messages gives', () => {
  const prefixes = ['10.0.0.0/8', '10.1.0.0/16', '0.0.0.0/0', '2001:db8::/32'];
  const step = fc.oneof(
    fc.record({
      do: fc.constant('put' as const),
      to: fc.constantFrom(...prefixes),
      id: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({ do: fc.constant('gone' as const), to: fc.constantFrom(...prefixes) }),
    fc.record({
      do: fc.constant('hop' as const),
      id: fc.integer({ min: 1, max: 3 }),
      last: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({
      do: fc.constant('group' as const),
      id: fc.integer({ min: 4, max: 5 }),
      members: fc.subarray([1, 2, 3]),
    }),
    fc.record({ do: fc.constant('lost' as const), id: fc.integer({ min: 1, max: 5 }) }),
    fc.constant({ do: 'take' as const }),
    fc.constant({ do: 'again' as const }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const table = new RouteTable();
      const reader = new Map<string, string>();
      const read = (): void => {
        for (const change of table.takeChanges()) {
          const key = formatCidr(change.to);
          assert.notEqual(change.ways && waysText(change.ways), reader.get(key), 'a change changes something');
          if (change.ways) reader.set(key, waysText(change.ways));
          else reader.delete(key);
        }
      };
      const routes = new Map<string, number>();
      const objects = new Map<number, NetlinkMessage>();
      for (const s of steps) {
        if (s.do === 'take') read();
        else if (s.do === 'again') {
          table.begin();
          for (const o of objects.values()) table.apply(o);
          for (const [to, id] of routes) table.apply(route(to, id));
          table.sweep();
        } else if (s.do === 'put') {
          routes.set(s.to, s.id);
          table.apply(route(s.to, s.id));
        } else if (s.do === 'gone') {
          routes.delete(s.to);
          table.apply(route(s.to, undefined));
        } else if (s.do === 'lost') {
          objects.delete(s.id);
          table.apply({ kind: 'nextHopGone', id: s.id });
        } else {
          const o = s.do === 'hop' ? hop(s.id, `192.0.2.${s.last}`) : group(s.id, ...s.members);
          objects.set(s.id, o);
          table.apply(o);
        }
      }
      read();
      const gateways = (id: number): string[] => {
        const o = objects.get(id);
        if (o?.kind !== 'nextHop' || o.is.kind === 'blackhole') return [];
        return o.is.kind === 'hop' ? [formatIp(o.is.gateway!)] : o.is.members.flatMap((m) => gateways(m.id));
      };
      const wanted = [...routes].map(([to, id]) => [to, gateways(id).sort().join(' ')] as const).filter(([, w]) => w);
      assert.deepEqual([...reader].sort(), wanted.sort());
    }),
    { numRuns: 500 },
  );
});

test('100,000 prefixes are applied within seconds, and one group that changes for all of them as well', () => {
  const table = new RouteTable();
  table.apply(hop(1, '192.0.2.1'));
  table.apply(hop(2, '192.0.2.5'));
  table.apply(group(3, 1, 2));
  const before = performance.now();
  for (let i = 0; i < 100_000; i++) {
    const to = { ip: { version: 4 as const, value: (0x0100_0000 + i * 256) as Ipv4 }, prefix: 24 };
    table.apply({ ...route('10.0.0.0/8', 3), to } as NetlinkMessage);
  }
  assert.equal(table.takeChanges().length, 100_000);
  table.apply(group(3, 1));
  assert.equal(table.takeChanges().length, 100_000);
  assert.ok(performance.now() - before < 10_000);
});
