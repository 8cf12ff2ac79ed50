import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  commonBlocks,
  freePorts,
  grownBlocks,
  isPortBlock,
  type PortBlock,
  portCount,
  portRuns,
  withoutBlocks,
} from './port-blocks.ts';

test('port blocks: 512 at first, then doubled in place while the other half is free', () => {
  let own: readonly PortBlock[] = [];
  const seen: string[] = [];
  for (let i = 0; i < 4; i++) {
    own = grownBlocks(own, [])!;
    seen.push(own.map(({ first, size }) => `${first}+${size}`).join(' '));
  }
  assert.deepEqual(seen, ['1024+512', '1024+1024', '1024+1024 2048+1024', '1024+1024 2048+1024 4096+2048']);
});

test('port blocks: neighbours make up runs, the longest first', () => {
  const blocks = [
    [4096, 2048],
    [1024, 512],
    [3072, 1024],
    [2048, 512],
    [8192, 8192],
    [16_384, 16_384],
  ] as const;
  assert.deepEqual(
    portRuns(blocks.map(([first, size]) => ({ first, size }))).map(({ first, last }) => `${first}-${last}`),
    ['8192-32767', '3072-6143', '1024-1535', '2048-2559'],
  );
});

test('port blocks: who floods gets half of the address, the next half of the rest, and the last eighth is for those who have none', () => {
  const hosts: (readonly PortBlock[])[] = [];
  const flood = (): number => {
    let own: readonly PortBlock[] = [];
    for (let grown = grownBlocks(own, hosts.flat()); grown; grown = grownBlocks(own, hosts.flat())) own = grown;
    hosts.push(own);
    return portCount(own);
  };
  assert.deepEqual([flood(), flood(), flood()], [32_256, 16_128, 7_936]);
  let firsts = 0;
  for (let first = grownBlocks([], hosts.flat()); first; first = grownBlocks([], hosts.flat()), firsts++) {
    hosts.push(first);
    if (freePorts(hosts.flat()) > 0) assert.equal(portCount(first), 512);
  }
  assert.equal(firsts, 16);
});

test('port blocks: what is taken out of blocks leaves all else, and what two have in common is what both have', () => {
  const block = fc
    .tuple(fc.nat(6), fc.nat(63))
    .map(([bits, n]): PortBlock => ({ first: n * 64 - ((n * 64) % 2 ** bits), size: 2 ** bits }));
  const portsOf = (blocks: readonly PortBlock[]): number[] => {
    const ports = blocks.flatMap(({ first, size }) => Array.from({ length: size }, (_, n) => first + n));
    return [...new Set(ports)].sort((a, b) => a - b);
  };
  /** As in a lease. */
  const apart = fc
    .array(block, { maxLength: 6 })
    .map((all) => all.filter((each, n) => commonBlocks([each], all.slice(0, n)).length === 0));
  fc.assert(
    fc.property(apart, fc.array(block, { maxLength: 6 }), (some, others) => {
      const gone = new Set(portsOf(others));
      const left = withoutBlocks(some, others);
      assert.ok(left.every(isPortBlock));
      assert.deepEqual(
        portsOf(left),
        portsOf(some).filter((port) => !gone.has(port)),
      );
      assert.deepEqual(
        portsOf(commonBlocks(some, others)),
        portsOf(some).filter((port) => gone.has(port)),
      );
    }),
  );
});

test('port blocks: what is free is counted once, however blocks overlap', () => {
  assert.equal(freePorts([]), 64_512);
  const some = [
    { first: 2048, size: 1024 },
    { first: 2050, size: 1 },
    { first: 3072, size: 1 },
    { first: 1000, size: 25 },
  ];
  assert.equal(freePorts(some), 64_512 - 1024 - 1 - 1);
});

test('port blocks: whatever hosts ask and give back, blocks are aligned, apart, and every port is to be had', () => {
  const step = fc.record({ host: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.nat(9)), { maxLength: 80 }), (steps) => {
      const hosts = new Map<number, readonly PortBlock[]>();
      for (const [{ host }, chance] of steps) {
        if (chance === 0) {
          hosts.delete(host);
          continue;
        }
        const others = [...hosts].flatMap(([id, blocks]) => (id === host ? [] : blocks));
        const own = hosts.get(host) ?? [];
        const grown = grownBlocks(own, others);
        if (grown) {
          assert.ok(portCount(grown) > portCount(own));
          hosts.set(host, grown);
          if (portCount(grown) > 512)
            assert.ok(freePorts([...grown, ...others]) >= Math.max(portCount(grown), 8_192), 'room for others');
          continue;
        }
        const free = freePorts([...own, ...others]);
        if (portCount(own) < 512) assert.equal(free, 0);
        else assert.ok(free - portCount(own) < 2 * 64 || free - 8_192 < 64);
      }
      const used = new Set<number>();
      for (const { first, size } of [...hosts.values()].flat()) {
        assert.ok((size & (size - 1)) === 0 && first % size === 0 && first >= 1024 && first + size <= 65_536);
        for (let port = first; port < first + size; port++) {
          assert.ok(!used.has(port));
          used.add(port);
        }
      }
    }),
  );
});
