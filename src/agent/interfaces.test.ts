import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LocalInterface } from './events.ts';
import { Interfaces } from './interfaces.ts';

const ID = '1a2b3c4d-0000-4000-8000-000000000001';
const make = (uuid: string, ofport: number | undefined, more: Partial<LocalInterface> = {}): LocalInterface => ({
  uuid,
  name: `tap-${uuid}`,
  markedInstalled: false,
  ...(ofport === undefined ? {} : { ofport }),
  ...more,
});
const none = (): undefined => undefined;

test('an interface binds by iface-id once Open vSwitch has given it a number', () => {
  const interfaces = new Interfaces();
  interfaces.put(make('a', -1, { ifaceId: ID }));
  assert.deepEqual(interfaces.rebind(none).put, []);
  interfaces.put(make('a', 7, { ifaceId: ID }));
  assert.deepEqual(interfaces.rebind(none).put, [ID]);
  assert.deepEqual(interfaces.rebind(none).put, []);
  interfaces.put(make('a', 8, { ifaceId: ID }));
  assert.deepEqual(interfaces.rebind(none).put, [ID]);
  interfaces.delete('a');
  assert.deepEqual(interfaces.rebind(none).gone, [ID]);
});

test('an iface-id that is no port id binds nothing and is named; capitals do not matter', () => {
  const interfaces = new Interfaces();
  interfaces.put(make('a', 7, { ifaceId: 'somebody-elses' }));
  interfaces.put(make('b', 8, { ifaceId: ID.toUpperCase() }));
  assert.deepEqual(interfaces.rebind(none).put, [ID]);
  assert.deepEqual([...interfaces.malformed], [['tap-a', 'somebody-elses']]);
});

test('of two interfaces with one port id the bound one stays, and the other is named', () => {
  const interfaces = new Interfaces();
  interfaces.put(make('a', 7, { ifaceId: ID }));
  interfaces.rebind(none);
  interfaces.put(make('b', 3, { ifaceId: ID }));
  const { put, doubles } = interfaces.rebind(none);
  assert.deepEqual(put, []);
  assert.deepEqual(doubles, [{ port: ID, name: 'tap-b' }]);
  interfaces.delete('a');
  assert.deepEqual(interfaces.rebind(none).put, [ID]);
});

test('a name pattern binds by the digits of the id, and only where there is no iface-id', () => {
  const interfaces = new Interfaces();
  interfaces.setPattern('tap+{port}.0');
  interfaces.put(make('a', 1, { name: 'tap+1a2b3c4d.0' }));
  interfaces.put(make('b', 2, { name: 'tapp1a2b3c4d.0' }));
  assert.deepEqual(interfaces.rebind((prefix) => (ID.startsWith(prefix) ? ID : undefined)).put, [ID]);
  assert.equal(interfaces.get(ID)?.uuid, 'a');
});

test('what says nothing of bindings leaves them, and is what is bound from then on', () => {
  const interfaces = new Interfaces();
  assert.equal(interfaces.put(make('a', 7, { ifaceId: ID })), true);
  interfaces.rebind(none);
  assert.equal(interfaces.mark('a', true), true);
  assert.equal(interfaces.mark('a', true), false);
  assert.equal(interfaces.get(ID)?.markedInstalled, true);
  assert.equal(interfaces.put(make('a', 7, { ifaceId: ID, vm: 'web' })), false);
  assert.equal(interfaces.get(ID)?.vm, 'web');
  assert.equal(interfaces.put(make('a', 8, { ifaceId: ID })), true);
  assert.equal(interfaces.get(ID)?.ofport, 7);
  assert.deepEqual(interfaces.rebind(none).put, [ID]);
});
