import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, type Ip, type Ipv4, type Ipv6, networkOf, parseCidr, parseIp } from '../base/addresses.ts';
import { parseHex } from '../base/bytes.ts';
import { DecodeError } from '../base/errors.ts';
import { encodeFpm, FpmSplitter } from './fpm.ts';
import { decodeNetlink, encodeNetlink, type NetlinkMessage, type RouteHop } from './netlink.ts';

/** Records as literals are: with the prototype of objects. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const id = fc.integer({ min: 1, max: 0xffff_ffff });
const byte = fc.integer({ min: 0, max: 255 });
const weight = fc.integer({ min: 1, max: 256 });
const ip4 = u32.map((value): Ip => ({ version: 4, value: value as Ipv4 }));
const ip6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value): Ip => ({ version: 6, value: value as Ipv6 }));
const ip = fc.oneof(ip4, ip6);
const cidr = ip.chain((address) =>
  fc
    .integer({ min: 0, max: address.version === 4 ? 32 : 128 })
    .map((prefix): Cidr => networkOf({ ip: address, prefix })),
);
const hop: fc.Arbitrary<RouteHop> = record({
  gateway: fc.option(ip, { nil: undefined }),
  oif: fc.option(id, { nil: undefined }),
  weight,
}).filter((h) => h.gateway !== undefined || h.oif !== undefined);
const route: fc.Arbitrary<NetlinkMessage> = record({
  kind: fc.constant('route' as const),
  action: fc.constantFrom('put' as const, 'gone' as const),
  to: cidr,
  table: u32,
  protocol: byte,
  type: byte,
  priority: fc.option(u32, { nil: undefined }),
  nextHopId: fc.option(id, { nil: undefined }),
  hops: fc.array(hop, { maxLength: 5 }),
});
const nextHop: fc.Arbitrary<NetlinkMessage> = record({
  kind: fc.constant('nextHop' as const),
  id,
  protocol: byte,
  is: fc.oneof(
    record({
      kind: fc.constant('hop' as const),
      gateway: fc.option(ip, { nil: undefined }),
      oif: fc.option(id, { nil: undefined }),
    }),
    record({
      kind: fc.constant('group' as const),
      members: fc.array(record({ id, weight }), { minLength: 1, maxLength: 8 }),
    }),
    record({ kind: fc.constant('blackhole' as const) }),
  ),
});
const message = fc.oneof(
  route,
  nextHop,
  id.map((n): NetlinkMessage => ({ kind: 'nextHopGone', id: n })),
);

test('netlink messages come back from their bytes as they were', () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), (messages) => {
      assert.deepEqual(decodeNetlink(Buffer.concat(messages.map(encodeNetlink))), messages);
    }),
    { numRuns: 500 },
  );
});

test('frames are found in a stream that is cut anywhere', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 6 }), fc.array(fc.nat(400), { maxLength: 6 }), (messages, cuts) => {
      const stream = Buffer.concat(messages.map((m) => encodeFpm(encodeNetlink(m))));
      const edges = [0, ...cuts.filter((c) => c < stream.length).sort((a, b) => a - b), stream.length];
      const splitter = new FpmSplitter();
      const got = edges.slice(1).flatMap((edge, i) => splitter.push(stream.subarray(edges[i], edge)));
      assert.deepEqual(got, messages);
      assert.equal(splitter.waiting, 0);
    }),
  );
});

test('bytes that were changed give messages or a DecodeError, nothing else', () => {
  fc.assert(
    fc.property(message, fc.array(fc.tuple(fc.nat(200), byte), { minLength: 1, maxLength: 8 }), (m, changes) => {
      const bytes = encodeFpm(encodeNetlink(m));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      try {
        new FpmSplitter().push(bytes);
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a cut message gives a DecodeError with the place', () => {
  const bytes = encodeNetlink({ kind: 'nextHopGone', id: 7 });
  assert.throws(
    () => decodeNetlink(bytes.subarray(0, 20)),
    (e) => e instanceof DecodeError && e.code === 'truncated' && e.field === 'nlmsg_len' && e.offset === 0,
  );
});

test("zebra's own bytes: a changed route is deleted and told anew in one frame", () => {
  // 198.51.100.0/24 in table 254 by BGP, metric 20, next-hop object 9 (FRR 8.4.4)
  const del = '2c00000019000104000000000000000002180000feba0000000000000800010 0c6336400 0800060014000000';
  const put =
    '34000000180001050000000000000000 02180000feba000100000000 08000100c6336400 0800060014000000 08001e0009000000';
  const frame = parseHex(`0101${'0064'}${del}${put}`);
  assert.equal(frame.length, 0x64);
  const shared = { kind: 'route', to: parseCidr('198.51.100.0/24'), table: 254, protocol: 186, priority: 20, hops: [] };
  assert.deepEqual(new FpmSplitter().push(frame), [
    { ...shared, action: 'gone', type: 0, nextHopId: undefined },
    { ...shared, action: 'put', type: 1, nextHopId: 9 },
  ]);
});

test('an IPv4 route may have an IPv6 gateway', () => {
  const route: NetlinkMessage = {
    kind: 'route',
    action: 'put',
    to: parseCidr('198.51.100.0/24')!,
    table: 254,
    protocol: 186,
    type: 1,
    priority: 20,
    nextHopId: undefined,
    hops: [
      { gateway: parseIp('fe80::1')!, oif: 3, weight: 1 },
      { gateway: parseIp('192.0.2.1')!, oif: 4, weight: 3 },
    ],
  };
  assert.deepEqual(decodeNetlink(encodeNetlink(route)), [route]);
});
