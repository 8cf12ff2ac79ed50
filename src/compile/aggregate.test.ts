import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Cidr,
  cidrContains,
  formatCidr,
  type Ip,
  type Ipv4,
  type Ipv6,
  networkOf,
  parseCidr,
} from '../base/addresses.ts';
import { Aggregate } from './aggregate.ts';

const RUNS = process.env.WEFT_CAMPAIGN ? 20_000 : 300;

function cidr(text: string): Cidr {
  return parseCidr(text)!;
}

/** After one change at a time, as `network set`, sorted. */
function aggregated(routes: Record<string, number>, held: readonly string[] = [], maxRoutes = 1000): string[] {
  const table = new Aggregate(maxRoutes);
  for (const network of held) table.hold(cidr(network), true);
  for (const [to, hops] of Object.entries(routes)) table.put(cidr(to), hops);
  table.flush();
  return textOf(table);
}

function textOf(table: Aggregate): string[] {
  return [...table.routes()].map(({ to, hops }) => `${formatCidr(to)} ${hops}`).sort();
}

test('a route that the nearest covering one has anyway is not used, unless another lies between', () => {
  assert.deepEqual(aggregated({ '10.0.0.0/8': 1, '10.1.0.0/16': 1 }), ['10.0.0.0/8 1']);
  const between = { '0.0.0.0/0': 1, '10.0.0.0/8': 2, '10.1.0.0/16': 1 };
  assert.deepEqual(aggregated(between), ['0.0.0.0/0 1', '10.0.0.0/8 2', '10.1.0.0/16 1']);
  assert.deepEqual(aggregated({ '::/0': 1, '2001:db8::/32': 1, '0.0.0.0/0': 2 }), ['0.0.0.0/0 2', '::/0 1']);
});

test('halves with one set become their whole, over as many lengths as there are', () => {
  const quarters = { '10.0.0.0/26': 1, '10.0.0.64/26': 1, '10.0.0.128/26': 1, '10.0.0.192/26': 1 };
  assert.deepEqual(aggregated(quarters), ['10.0.0.0/24 1']);
  assert.deepEqual(
    aggregated({ ...quarters, '10.0.0.0/24': 2 }),
    ['10.0.0.0/24 1'],
    'nothing is left to the route above',
  );
  assert.deepEqual(aggregated({ '10.0.0.0/26': 1, '10.0.0.128/26': 1 }), ['10.0.0.0/26 1', '10.0.0.128/26 1']);
});

test('what is held is neither merged over nor covered from above, and a learned route of just that prefix is used', () => {
  const routes = { '10.0.0.0/8': 1, '10.1.0.0/16': 1, '10.1.2.0/24': 1 };
  assert.deepEqual(aggregated(routes, ['10.1.0.0/16']), ['10.0.0.0/8 1', '10.1.0.0/16 1', '10.1.2.0/24 1']);
  assert.deepEqual(aggregated({ '10.0.0.0/9': 1, '10.128.0.0/9': 1 }, ['10.0.0.0/8']), [
    '10.0.0.0/9 1',
    '10.128.0.0/9 1',
  ]);
});

test('beyond the limit the shortest prefixes are used, of equal ones the smallest numbers, and people are told how many are not', () => {
  const routes = { '10.0.0.0/24': 1, '10.9.0.0/16': 2, '10.0.9.0/24': 3, '2001:db8::/24': 4 };
  const table = new Aggregate(3);
  for (const [to, hops] of Object.entries(routes)) table.put(cidr(to), hops);
  table.flush();
  assert.deepEqual(textOf(table), ['10.0.0.0/24 1', '10.0.9.0/24 3', '10.9.0.0/16 2']);
  assert.match(
    table.problem!,
    /^1 of 4 learned routes are not used, the longest prefixes from 2001:d00::\/24 on: maxRoutes is 3$/,
  );
  table.put(cidr('9.0.0.0/24'), 5);
  const { put, gone } = table.flush();
  assert.deepEqual(
    [put.map(({ to }) => formatCidr(to)), gone.map(({ to }) => formatCidr(to))],
    [['9.0.0.0/24'], ['10.0.9.0/24']],
  );
  table.delete(cidr('10.9.0.0/16'));
  table.delete(cidr('9.0.0.0/24'));
  table.flush();
  assert.deepEqual(textOf(table), ['10.0.0.0/24 1', '10.0.9.0/24 3', '2001:d00::/24 4']);
  assert.equal(table.problem, undefined);
});

// ── for all tables ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Prefixes of a few bits, so that they meet; somewhere within the address, so that every word is crossed. */
const WINDOW = 6;
interface Space {
  readonly version: 4 | 6;
  /** Bits in front of the window. */
  readonly skipped: number;
}
const space: fc.Arbitrary<Space> = fc.oneof(
  fc.record({ version: fc.constant(4 as const), skipped: fc.integer({ min: 0, max: 32 - WINDOW }) }),
  fc.record({ version: fc.constant(6 as const), skipped: fc.integer({ min: 0, max: 128 - WINDOW }) }),
);

function addressOf({ version, skipped }: Space, window: number): Ip {
  const value = BigInt(window) << BigInt((version === 4 ? 32 : 128) - skipped - WINDOW);
  return version === 4 ? { version, value: Number(value) as Ipv4 } : { version, value: value as Ipv6 };
}

type Step = {
  readonly window: number;
  readonly length: number;
  readonly what: number | 'delete' | 'hold' | 'free' | 'flush';
};
const step: fc.Arbitrary<Step> = fc.record({
  window: fc.nat({ max: 2 ** WINDOW - 1 }),
  length: fc.nat({ max: WINDOW }),
  what: fc.oneof(
    { weight: 6, arbitrary: fc.nat({ max: 2 }) },
    { weight: 3, arbitrary: fc.constant('delete' as const) },
    { weight: 1, arbitrary: fc.constant('hold' as const) },
    { weight: 1, arbitrary: fc.constant('free' as const) },
    { weight: 2, arbitrary: fc.constant('flush' as const) },
  ),
});

/** What goes in, as a table whose decisions can be asked for plainly. */
class Plain {
  readonly learned = new Map<string, { readonly to: Cidr; readonly hops: number }>();
  readonly held = new Map<string, Cidr>();

  apply(table: Aggregate, { what, window, length }: Step, where: Space): void {
    const prefix = length === 0 ? 0 : where.skipped + length;
    const to = networkOf({ ip: addressOf(where, window), prefix });
    const name = formatCidr(to);
    if (what === 'delete') {
      this.learned.delete(name);
      table.delete(to);
    } else if (what === 'hold') {
      this.held.set(name, to);
      table.hold(to, true);
    } else if (what === 'free') {
      this.held.delete(name);
      table.hold(to, false);
    } else if (what !== 'flush') {
      this.learned.set(name, { to, hops: what });
      table.put(to, what);
    }
  }

  /** The same put in at once, in another order. */
  fresh(maxRoutes: number): Aggregate {
    const table = new Aggregate(maxRoutes);
    for (const { to, hops } of [...this.learned.values()].reverse()) table.put(to, hops);
    for (const to of this.held.values()) table.hold(to, true);
    table.flush();
    return table;
  }
}

/** Of the longest prefix; of equals what is held first or last, or not at all: a route from some sources only, or of a higher metric. */
function decision(
  ip: Ip,
  learned: Iterable<{ to: Cidr; hops: number }>,
  held: Iterable<Cidr>,
  order: 'first' | 'last' | 'none',
): string {
  let best = { prefix: -1, decision: 'no route' };
  for (const { to, hops } of learned)
    if (cidrContains(to, ip) && to.prefix > best.prefix) best = { prefix: to.prefix, decision: `set ${hops}` };
  if (order === 'none') return best.decision;
  for (const to of held)
    if (cidrContains(to, ip) && (to.prefix > best.prefix || (order === 'first' && to.prefix === best.prefix)))
      best = { prefix: to.prefix, decision: formatCidr(to) };
  return best.decision;
}

test('the same decision for every address, of both IP versions; after any changes the routes are those of a fresh table', () => {
  fc.assert(
    fc.property(space, fc.array(step, { maxLength: 60 }), (where, steps) => {
      const table = new Aggregate(1000);
      const plain = new Plain();
      const told = new Map<string, number>();
      for (const each of [...steps, { what: 'flush', window: 0, length: 0 } as const]) {
        plain.apply(table, each, where);
        if (each.what !== 'flush') continue;
        const { put, gone } = table.flush();
        for (const { to } of gone) assert.ok(told.delete(formatCidr(to)), 'only what was told is taken back');
        for (const { to, hops } of put) told.set(formatCidr(to), hops);
      }
      const used = [...table.routes()];
      assert.deepEqual(textOf(table), textOf(plain.fresh(1000)));
      assert.deepEqual([...told].map(([to, hops]) => `${to} ${hops}`).sort(), textOf(table));
      assert.ok(used.length <= plain.learned.size);
      for (let window = 0; window < 2 ** WINDOW; window++)
        for (const order of ['first', 'last', 'none'] as const) {
          const ip = addressOf(where, window);
          const before = decision(ip, plain.learned.values(), plain.held.values(), order);
          assert.equal(decision(ip, used, plain.held.values(), order), before);
        }
    }),
    { numRuns: RUNS },
  );
});

test('within the limit after any changes, with the routes that a fresh table within that limit has', () => {
  fc.assert(
    fc.property(space, fc.nat({ max: 12 }), fc.array(step, { maxLength: 60 }), (where, most, steps) => {
      const table = new Aggregate(most);
      const plain = new Plain();
      const told = new Map<string, number>();
      for (const each of [...steps, { what: 'flush', window: 0, length: 0 } as const]) {
        plain.apply(table, each, where);
        if (each.what !== 'flush') continue;
        const { put, gone } = table.flush();
        for (const { to } of gone) assert.ok(told.delete(formatCidr(to)));
        for (const { to, hops } of put) told.set(formatCidr(to), hops);
        assert.ok(told.size <= most);
      }
      const fresh = plain.fresh(most);
      assert.deepEqual(textOf(table), textOf(fresh));
      assert.deepEqual([...told].map(([to, hops]) => `${to} ${hops}`).sort(), textOf(table));
      assert.equal(table.problem, fresh.problem);
      const all = [...plain.fresh(1000).routes()].map(({ to }) => to.prefix).sort((a, b) => a - b);
      assert.deepEqual(
        [...table.routes()].map(({ to }) => to.prefix).sort((a, b) => a - b),
        all.slice(0, most),
      );
    }),
    { numRuns: RUNS },
  );
});
