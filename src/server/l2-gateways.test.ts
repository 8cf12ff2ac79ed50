import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type AttachmentState, chooseHost, stateAt } from './l2-gateways.ts';

const hosts = ['a', 'b', 'c'];
const claims = ['c', 'b', 'a'].map((host) => ({ host, interface: 'l2', sinceMs: 0 }));

function chosen(
  states: string,
  active: string | undefined,
  failBack = true,
  drained = '',
  isHeardByOne = false,
  held = '',
): string | undefined {
  const [a, b, c] = states.split(' ') as AttachmentState[];
  const stateAt = (host: string): AttachmentState => ({ a, b, c })[host] ?? 'down';
  const binding = { claims, ...(active === undefined ? {} : { active }) };
  return chooseHost(
    ...([{ hosts, failBack, isHeardByOne }, binding, stateAt] as const),
    (host) => drained.includes(host),
    (host) => held.includes(host),
  );
}

describe('the active host of an L2 gateway', () => {
  test('is the first place that is up', () => {
    assert.equal(chosen('up up up', 'b'), 'a');
    assert.equal(chosen('down up up', 'a'), 'b');
    assert.equal(chosen('silent down up', 'a'), 'c');
    assert.equal(chosen('loop up up', 'a'), 'b');
    assert.equal(chosen('down up up', undefined), 'b');
  });

  test('stays where it is without failBack, while it is up', () => {
    assert.equal(chosen('up up up', 'b', false), 'b');
    assert.equal(chosen('up silent up', 'b', false), 'a');
  });

  test('stays where all are silent or worse', () => {
    assert.equal(chosen('silent silent silent', 'c'), 'c');
    assert.equal(chosen('silent down down', 'c'), 'a');
    assert.equal(chosen('down loop down', 'b'), 'b');
  });

  test('stays at a loop that no other host would hear', () => {
    const behindVtep = (states: string, active: string): string | undefined => chosen(states, active, true, '', true);
    assert.equal(behindVtep('loop up up', 'a'), 'a');
    assert.equal(behindVtep('up loop up', 'b'), 'b', 'also before a better place');
    assert.equal(behindVtep('up up loop', 'b'), 'a', 'but only while it is active');
    assert.equal(behindVtep('down up loop', 'a'), 'b');
  });

  test('is none that is drained while another is as well as that', () => {
    assert.equal(chosen('up up up', 'a', true, 'a'), 'b');
    assert.equal(chosen('up up up', 'a', false, 'a'), 'b');
    assert.equal(chosen('up up up', 'b', true, 'ab'), 'c');
    assert.equal(chosen('up up up', 'b', true), 'a', 'and back');
    assert.equal(chosen('up up up', 'b', false), 'b', 'but without failBack');
    assert.equal(chosen('up down silent', 'a', true, 'a'), 'a', 'the others may forward nothing');
    assert.equal(chosen('silent silent silent', 'a', true, 'a'), 'b');
    assert.equal(chosen('up up up', 'b', true, 'abc'), 'a');
    assert.equal(chosen('down down down', 'b', true, 'b'), 'b');
  });

  test('goes back to none that is held while it is well where it is, and leaves what is not for any', () => {
    const withHeld = (states: string, active: string | undefined, held: string, drained = ''): string | undefined =>
      chosen(states, active, true, drained, false, held);
    assert.equal(withHeld('up up up', 'b', 'a'), 'b');
    assert.equal(withHeld('up up up', 'c', 'a'), 'b', 'but to another that is better');
    assert.equal(withHeld('up up up', 'a', 'a'), 'a', 'nor is it left because it failed before');
    assert.equal(withHeld('up down down', 'b', 'a'), 'a');
    assert.equal(withHeld('up silent down', 'b', 'a'), 'a');
    assert.equal(withHeld('up down up', 'b', 'a'), 'c', 'rather to one that has not failed');
    assert.equal(withHeld('up up down', 'b', 'a', 'b'), 'a', 'it is drained');
    assert.equal(withHeld('up up up', undefined, 'abc'), 'a');
  });

  test('is none that has no claim', () => {
    const binding = { claims: claims.filter(({ host }) => host !== 'a'), active: 'c' };
    assert.equal(
      chooseHost(
        { hosts, failBack: true, isHeardByOne: false },
        binding,
        () => 'up',
        () => false,
        () => false,
      ),
      'b',
    );
  });
});

describe('an attachment, at the server,', () => {
  const told = { isAlive: true, told: 'silent', isNew: false } as const;
  const silent = { isAlive: false, told: undefined, isNew: false } as const;
  const coming = { isAlive: true, told: undefined, isNew: true } as const;
  test('is what its agent says', () => {
    assert.equal(stateAt('l2Gateway', true, told), 'silent');
    assert.equal(stateAt('vtepBinding', false, { ...told, isNew: true }), 'silent');
  });

  test('of an L2 gateway goes on where an agent alone is silent: two places that forward are a circle', () => {
    assert.equal(stateAt('l2Gateway', true, silent), 'up');
    assert.equal(stateAt('l2Gateway', false, silent), 'down');
    assert.equal(stateAt('vtepBinding', true, silent), 'down');
  });

  test('stays where it is while an agent has not said anything of it yet, but not for ever', () => {
    assert.equal(stateAt('l2Gateway', true, coming), 'up');
    assert.equal(stateAt('vtepBinding', true, { ...coming, isAlive: undefined }), 'up');
    assert.equal(stateAt('l2Gateway', true, { ...coming, isNew: false }), 'down');
    assert.equal(stateAt('l2Gateway', false, coming), 'down');
  });
});
