import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KINDS } from '../model/kinds.ts';
import { parseObject } from '../model/parse.ts';
import { UsageError } from './exit-codes.ts';
import { fieldValue, flagsOf, labelOf } from './fields.ts';

const flag = (kind: 'switch' | 'port' | 'rule', name: string) =>
  flagsOf(KINDS[kind].schema).find((f) => f.flag === name)!;

test('every field of every kind is a flag with a help text', () => {
  for (const kind of Object.values(KINDS))
    for (const { about, field } of flagsOf(kind.schema)) assert.notEqual(about, '', `${kind.kind}.${field}`);
  assert.match(flag('port', 'switch').about, /required/);
  assert.match(flag('port', 'admin-up').about, /default true/);
  assert.match(flag('rule', 'action').about, /accept or drop/);
});

test('a bare word in a list of objects sets their first field', () => {
  assert.deepEqual(fieldValue(flag('switch', 'subnets'), ['10.0.0.0/24,fd00::/64']), [
    { cidr: '10.0.0.0/24' },
    { cidr: 'fd00::/64' },
  ]);
  assert.deepEqual(fieldValue(flag('switch', 'subnets'), ['{cidr: 10.0.0.0/24, gateway: 10.0.0.1}']), [
    { cidr: '10.0.0.0/24', gateway: '10.0.0.1' },
  ]);
  assert.deepEqual(fieldValue(flag('port', 'addresses'), ['10.0.0.1', '10.0.0.2,10.0.0.3']), [
    '10.0.0.1',
    '10.0.0.2',
    '10.0.0.3',
  ]);
  assert.throws(() => fieldValue(flag('port', 'vlan'), '{access: '), UsageError);
});

test('what flags give is what the model takes', () => {
  const raw = {
    name: 'web',
    tenant: 'red',
    switch: fieldValue(flag('port', 'switch'), 'net'),
    mac: fieldValue(flag('port', 'mac'), '02:00:00:00:00:01'),
    vlan: fieldValue(flag('port', 'vlan'), '{access: 5}'),
    allowedPairs: fieldValue(flag('port', 'allowed-pairs'), ['10.0.0.0/28']),
  };
  assert.equal(parseObject(raw, 'test', 'port').problems, undefined);
});

test('a label is a key and a value, of which the key is not empty', () => {
  assert.deepEqual(labelOf('a=b=c', '--label'), ['a', 'b=c']);
  for (const text of ['a', '=b', '']) assert.throws(() => labelOf(text, '--label'), /--label .*: key=value is wanted/);
});
