import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatKeptZone, parseKeptZone, Zones } from './zones.ts';

test('zones are multiples of 4 from 4, in turn, and none is given twice at a time', () => {
  const zones = new Zones();
  assert.deepEqual(
    ['a', 'b', 'c'].map((owner) => zones.give(owner)),
    [4, 8, 12],
  );
  zones.release('b');
  assert.equal(zones.give('d'), 16);
  assert.equal(zones.ownerOf(18), 'd');
  assert.equal(zones.ownerOf(8), undefined);
});

test('a zone that was given back comes again only when all others had their turn; when all are taken there is none', () => {
  const zones = new Zones();
  for (let i = 0; i < 16_383; i++) assert.equal(zones.give(`p${i}`), 4 + 4 * i);
  assert.equal(zones.give('more'), undefined);
  zones.release('p7');
  assert.equal(zones.give('more'), 32);
});

test('a kept zone is adopted by its owner unless another has it', () => {
  const zones = new Zones();
  assert.ok(zones.adopt('a', 4));
  assert.ok(zones.adopt('a', 4));
  assert.equal(zones.adopt('b', 4), false);
  assert.equal(zones.adopt('b', 6), false);
  assert.equal(zones.adopt('b', 0), false);
  assert.equal(zones.give('b'), 8);
});

test('the text of a kept zone names its port; other text is none', () => {
  assert.deepEqual(parseKeptZone(formatKeptZone({ port: 'p', zone: 8 })), { port: 'p', zone: 8 });
  for (const text of [undefined, '', '8', '8/', '/p', '9/p', '0/p', '65536/p', '-4/p'])
    assert.equal(parseKeptZone(text), undefined);
});
