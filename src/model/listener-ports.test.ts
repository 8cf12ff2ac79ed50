import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askedPortFor, doOverlap, type ListenerPorts, memberPortFor, shiftedPorts } from './listener-ports.ts';

const SAME: ListenerPorts = { port: '8000-8099' };
const ONE: ListenerPorts = { port: '8000-8099', memberPort: 80 };
const OTHERS: ListenerPorts = { port: '8000-8009', memberPort: '9000-9009' };

test('a port of a range leads to the same port, to the one for all, or to the one as far behind the first', () => {
  const led = (listener: ListenerPorts): number[] => [8000, 8009].map((port) => memberPortFor(listener, port));
  assert.deepEqual([SAME, ONE, OTHERS].map(led), [
    [8000, 8009],
    [80, 80],
    [9000, 9009],
  ]);
  assert.equal(memberPortFor({ port: 443, memberPort: 8443 }, 443), 8443);
});

test('a port of members is that of a port of the address, the first of several, or of none', () => {
  assert.equal(askedPortFor(SAME, 8042), 8042);
  assert.equal(askedPortFor(ONE, 80), 8000);
  assert.equal(askedPortFor(OTHERS, 9009), 8009);
  assert.deepEqual(
    [askedPortFor(SAME, 8100), askedPortFor(ONE, 8000), askedPortFor(OTHERS, 8000)],
    [undefined, undefined, undefined],
  );
});

test('only ports that lead to others, each to its own, are shifted', () => {
  assert.deepEqual([SAME, ONE, OTHERS, { port: 443, memberPort: 8443 }].map(shiftedPorts), [0, 0, 10, 0]);
});

test('ranges overlap where they have a port in common', () => {
  const range = { first: 10, last: 20 };
  assert.ok(doOverlap(range, { first: 20, last: 30 }) && doOverlap({ first: 1, last: 10 }, range));
  assert.ok(!doOverlap(range, { first: 21, last: 30 }) && !doOverlap({ first: 1, last: 9 }, range));
});
