import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Action, Flow, Match } from '../openflow/flow.ts';
import { Loads, WaysIn } from './dormant.ts';
import { load, move, REGISTERS } from './fields.ts';
import { TABLES } from './tables.ts';

const flow = (match: Match, ...actions: Action[]): Flow => ({ table: 3, priority: 1, match, cookie: 1n, actions });
/** Whether a flow for a key is dormant beside flows with these actions. */
const isStrange = (match: Match, ...actions: Action[]): boolean => {
  const others = actions.map((action) => flow({}, action));
  return new Loads(others).areStrangeTo(flow(match));
};

describe('a flow for a key', () => {
  test('is dormant until something loads that key', () => {
    assert.equal(isStrange({ reg1: 7 }), true);
    assert.equal(isStrange({ reg1: 7 }, ...load({ switch: 8, inPort: 7 })), true);
    assert.equal(isStrange({ reg1: 7 }, ...load({ switch: 7 })), false);
    assert.equal(isStrange({ reg1: 7 }, { kind: 'load', value: 7n, dst: REGISTERS.switch }), false);
  });

  test('is dormant by any one of its keys', () => {
    assert.equal(isStrange({ reg0: 5, reg1: 7 }, ...load({ switch: 7 })), true);
    assert.equal(isStrange({ reg0: 5, reg1: 7 }, ...load({ switch: 7, inPort: 5 })), false);
  });

  test('is met where its key is copied from another register, over any number of them', () => {
    const copies = [move(REGISTERS.inPort, REGISTERS.outPort), move(REGISTERS.routerPort, REGISTERS.inPort)];
    assert.equal(isStrange({ reg2: 5 }, ...copies), true);
    assert.equal(isStrange({ reg2: 5 }, ...copies, ...load({ routerPort: 5 })), false);
    // Back and forth ends.
    assert.equal(isStrange({ reg2: 5 }, ...copies, move(REGISTERS.outPort, REGISTERS.routerPort)), true);
  });

  test('is met where its key may come out of a packet, or part of it is written', () => {
    const part = (from: number, bits: number) => ({ field: 'reg1', from, bits }) as const;
    assert.equal(isStrange({ reg1: 5 }, move({ field: 'tun_id', from: 0, bits: 32 }, part(0, 32))), false);
    assert.equal(isStrange({ reg1: 5 }, move(REGISTERS.inPort, part(0, 16))), false);
    assert.equal(isStrange({ reg1: 5 }, { kind: 'setField', field: 'reg1', value: 1, mask: 1 }), false);
    assert.equal(isStrange({ reg1: 5 }, { kind: 'setField', field: 'xreg0', value: 1n }), false);
    assert.equal(isStrange({ reg1: 5 }, { kind: 'setField', field: 'xxreg0', value: 1n }), false);
    assert.equal(isStrange({ reg1: 5 }, { kind: 'pop', range: part(0, 32) }), false);
  });

  test('stays dormant where bits above those of keys are written, or a register of no keys', () => {
    assert.equal(isStrange({ reg1: 5 }, { kind: 'setField', field: 'reg1', value: 2 ** 31, mask: 2 ** 31 }), true);
    assert.equal(isStrange({ reg1: 5 }, { kind: 'setField', field: 'xxreg2', value: 5n }), true);
  });

  test('is met where its key is loaded within another action', () => {
    const [inner] = load({ switch: 5 });
    assert.equal(isStrange({ reg1: 5 }, { kind: 'clone', actions: [inner!] }), false);
    assert.equal(isStrange({ reg1: 5 }, { kind: 'ct', commit: true, zone: 1, exec: [inner!] }), false);
  });

  test('may be met wherever an action is not in the flow itself', () => {
    assert.equal(isStrange({ reg1: 5 }, { kind: 'group', group: 1 }), false);
    assert.equal(isStrange({ reg1: 5 }, { kind: 'unknown', bytes: new Uint8Array(8) }), false);
  });
});

test('a flow for no key, for none in particular, or for empty registers, is met', () => {
  assert.equal(isStrange({ in_port: 5 }), false);
  assert.equal(isStrange({ tun_id: 5n }), false);
  assert.equal(isStrange({ reg1: 0 }), false);
  assert.equal(isStrange({ reg1: { value: 4, mask: 4 } }), false);
  assert.equal(isStrange({ reg6: 5 }), false);
});

test('a flow is alone by its way in where no other is for the same port, or the same key of tunnels', () => {
  const by = (name: 'classify' | 'tunnel' | 'vlan', match: Match, priority = 1): Flow => ({
    ...flow(match),
    ...{ table: TABLES[name].number, priority },
  });
  const port = by('classify', { in_port: 5 });
  const sourced = by('classify', { in_port: 5, eth_src: 7 }, 2);
  const key = by('tunnel', { tun_id: 5n });
  assert.equal(new WaysIn([by('classify', {}), by('classify', { in_port: 6 }), key], [port]).isAlone(port), true);
  assert.equal(new WaysIn([key, port]).isAlone(key), true);
  assert.equal(new WaysIn([sourced], [port]).isAlone(port), false);
  // As it was before it changed.
  assert.equal(new WaysIn([{ ...port, cookie: 2n }], [port]).isAlone(port), false);
  for (const none of [by('classify', {}), by('classify', { tun_id: 5n }), by('vlan', { in_port: 5 })])
    assert.equal(new WaysIn([none]).isAlone(none), false);
  const masked = by('tunnel', { tun_id: { value: 4n, mask: 4n } });
  assert.equal(new WaysIn([masked]).isAlone(masked), false);
});
