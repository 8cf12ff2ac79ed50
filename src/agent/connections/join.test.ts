import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Connection, Endpoint } from '../../flow-database/flow-store.ts';
import { EAST, WEST } from './dump.fixture.ts';
import { parseTracked } from './dump.ts';
import { ConnectionJoin } from './join.ts';
import { EAST_ZONES, fixtureScope, OTHER_ROUTER, PORT, ROUTER, WEST_ZONES, zonesOf } from './network.fixture.ts';

function joined(text: string, zones: Readonly<Record<string, number>>): Connection[] {
  const join = new ConnectionJoin(fixtureScope(), zonesOf(zones));
  for (const line of text.trim().split('\n')) join.take(parseTracked(line));
  return Array.from({ length: join.size }, (_, n) => join.at(n, 5)!);
}

const text = (end: Endpoint | undefined): string | undefined => end && `${end.address}#${end.port ?? ''}`;
/** In a line each: port, direction, from, seenAs, to, asked, router. */
function lines(connections: readonly Connection[]): string[] {
  const name = (port: string): string => Object.entries(PORT).find(([, id]) => id === port)![0];
  return connections
    .map(({ port, direction, protocol, from, seenAs, to, asked, router }) =>
      [name(port), direction, protocol, text(from), text(seenAs), text(to), text(asked), router && 'routed'].join(' '),
    )
    .sort();
}

test('on the host of the clients: SNAT, floating address and VIP with the addresses of both sides', () => {
  assert.deepEqual(lines(joined(EAST, EAST_ZONES)), [
    'a1 in tcp 203.0.113.101#52278  10.0.1.11#80 203.0.113.11#80 routed',
    'a1 in tcp 203.0.113.2#1196  10.0.1.11#80 203.0.113.11#80 routed',
    'a1 out tcp 10.0.1.11#52288  10.0.2.11#9  ',
    'a2 out icmp 10.0.1.12# 203.0.113.2# 203.0.113.101#  routed',
    'a2 out tcp 10.0.1.12#39922  10.0.2.11#8080 203.0.113.50#80 ',
    'a2 out tcp 10.0.1.12#52960 203.0.113.2#1386 203.0.113.101#80  routed',
    'a2 out tcp 10.0.1.12#57884 203.0.113.2#1196 203.0.113.11#80  routed',
    'a2 out tcp fd00:1::12#55122 2001:db8:f::2#1167 2001:db8:f::101#80  routed',
    'a2 out udp 10.0.1.12#46786 203.0.113.2#1138 203.0.113.101#53  routed',
  ]);
});

test('on the host of the member and of the client outside', () => {
  const west = joined(WEST, WEST_ZONES);
  const ofMember = lines(west.filter(({ port }) => port === PORT.b1));
  assert.deepEqual(ofMember, [
    'b1 in tcp 10.0.1.11#52288  10.0.2.11#9  ',
    'b1 in tcp 10.0.1.12#39922  10.0.2.11#8080  ',
    'b1 in tcp 203.0.113.101#51838  10.0.2.11#8080 203.0.113.50#80 ',
  ]);
  assert.ok(
    lines(west).includes('o1 out tcp 203.0.113.101#52278  203.0.113.11#80  '),
    'the client knows no translation',
  );
});

test('equal addresses of somebody else: translations of routers that the port does not reach are not taken for its own', () => {
  const elsewhere = joined(EAST, { [PORT.a2]: 12, [OTHER_ROUTER]: 8 });
  // Somebody else's router is on the shared switch, where ours is too; but it is not beyond that switch.
  assert.ok(elsewhere.length > 0);
  assert.deepEqual(
    elsewhere.filter(({ seenAs }) => seenAs),
    [],
  );
});

test('zones of nobody, and of nobody any more, are left alone', () => {
  assert.deepEqual(joined(EAST, {}), []);
  assert.equal(joined(EAST, { [ROUTER]: 8 }).length, 0);
});
