import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { grownBlocks, type PortBlock, portCount } from './port-blocks.ts';

test('port blocks: 512 at first, then doubled in place while the other half is free', () => {
  let own: readonly PortBlock[] = [];
  const seen: string[] = [];
  for (let i = 0; i < 4; i++) {
    own = grownBlocks(own, [])!;
    seen.push(own.map(({ first, size }) => `${first}+${size}`).join(' '));
  }
  assert.deepEqual(seen, ['1024+512', '1024+1024', '1024+1024 2048+1024', '1024+1024 2048+1024 4096+2048']);
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
        } else assert.equal(portCount([...own, ...others]), 64_512);
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
