import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClientPlace, ClientsSeen } from './clients-seen.ts';
import { parseTracked } from './dump.ts';

const place = (loadBalancer: string, zone: number, port: number | string): ClientPlace => ({
  ...{ owner: `in ${zone}`, loadBalancer, zone, address: '203.0.113.80', listeners: [{ protocol: 'tcp', port }] },
  members: new Map([['10.0.0.1', 'a']]),
});

function entry(zone: number, to: string, reply: string, more = 'protoinfo=(state=ESTABLISHED)'): string {
  const [address, port] = to.split(':');
  const [member, memberPort] = reply.split(':');
  return `tcp,orig=(src=198.51.100.7,dst=${address},sport=40000,dport=${port}),reply=(src=${member},dst=198.51.100.7,sport=${memberPort},dport=40000),zone=${zone},${more}`;
}

test('clients are seen where their balancer is translated, each by its listeners', () => {
  const seen = new ClientsSeen([place('lb1', 5, 80), place('lb2', 5, '440-449'), place('lb1', 9, 80)]);
  for (const line of [
    entry(5, '203.0.113.80:80', '10.0.0.1:8080'),
    entry(9, '203.0.113.80:80', '10.0.0.1:8080', 'protoinfo=(state=TIME_WAIT)'),
    entry(5, '203.0.113.80:443', '10.0.0.1:443'),
    entry(5, '203.0.113.80:22', '10.0.0.1:22'), // no listener
    entry(5, '203.0.113.80:80', '10.0.0.9:8080'), // no member
    entry(13, '203.0.113.80:80', '10.0.0.1:8080'), // no place
  ])
    seen.take(parseTracked(line));
  const one = { client: '198.51.100.7', member: 'a', key: 'tcp/40000/80', isOver: false };
  assert.deepEqual(Object.fromEntries(seen.result(new Set(['in 13']))), {
    lb1: [one, { ...one, isOver: true }],
    lb2: [{ ...one, key: 'tcp/40000/443' }],
  });
  assert.deepEqual([...seen.result(new Set(['in 9']))][0], ['lb1', undefined], 'not all of its zones were read');
  assert.equal(seen.result(new Set(['in 9'])).get('lb2')?.length, 1);
});
