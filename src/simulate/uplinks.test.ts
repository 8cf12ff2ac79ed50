import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ModelIndex } from '../model/model-index.ts';
import type { RuleMatch } from '../model/objects.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { Connections } from './connections.ts';
import { tellStory } from './story.ts';
import {
  chain,
  change,
  gist,
  logicalSwitch,
  type PacketFields,
  packet,
  router,
  routerPort,
  send,
  threeTier,
  workload,
} from './three-tier.fixture.ts';
import { isTracked } from './tracking.ts';

/**
 * docs/design/layer3.md, §5a: in place of `isp` a router with two uplinks, `up-1` on h2 and `up-2` on h3, which let in known connections, and TCP
 * that begins at port 80; `vm` is routed behind it.
 */
const KNOWN: RuleMatch = { state: ['established', 'related'] };
const BEGINS: RuleMatch = { state: ['new'], protocol: 'tcp', dstPorts: '80', tcpFlags: '+syn-ack' };
const FAR = '198.51.100.200';
const SYN_ACK = TCP_FLAG.syn | TCP_FLAG.ack;

function site(): ModelIndex {
  const bgp = { asn: 64_512, advertise: [], networks: [], maxRoutes: 10 };
  const model = threeTier(
    router({ bgp, routes: [{ to: '0.0.0.0/0', via: '192.0.2.1', metric: 100, weight: 1 }] }, 'core'),
    { ...routerPort('public', { switch: 'internet', addresses: ['203.0.113.1/24'] }, 'core'), tenant: 'operator' },
    routerPort('vms', { switch: 'vms', addresses: ['10.0.9.1/24'] }, 'core'),
    logicalSwitch('vms', ['10.0.9.0/24', '10.0.9.1']),
    ...workload('vm', 'h1', { switch: 'vms', addresses: ['10.0.9.11'] }),
    ...chain('filter', 'drop', [KNOWN, 'accept'], [BEGINS, 'accept']),
    ...['up-1', 'up-2'].flatMap((name, n) => [
      logicalSwitch(name),
      ...workload(`${name}-wire`, `h${n + 2}`, { switch: name, portSecurity: false }),
      routerPort(name, { switch: name, addresses: [`192.0.2.${8 * n + 2}/29`], inChain: 'filter' }, 'core'),
    ]),
    {
      ...{ kind: 'neighbour', id: 'up-1/192.0.2.1', revision: 1, switch: 'up-1', address: '192.0.2.1' },
      ...{ mac: '02:99:00:00:00:01', port: 'up-1-wire', host: 'h2' },
    },
  );
  change(model, 'port', 'isp', { addresses: ['203.0.113.99'] });
  for (const { id } of [...model.all('port')]) change(model, 'port', id, { groups: [] });
  return model;
}

const OUT = {
  'a floating address': ['web-1', 'edge/web', '10.0.1.11', 'public-web'],
  'an SNAT address': ['web-2', 'edge/web', '10.0.1.12', 'edge'],
  'a routed address': ['vm', 'core/vms', '10.0.9.11', 'vm'],
} as const;

/** By the second uplink, which nobody left by. */
function around(model: ModelIndex, fields: PacketFields, connections?: Connections): ReturnType<typeof send> {
  return send(model, 'up-2-wire', packet(model, 'up-2-wire', 'core/up-2', fields), connections);
}

describe('a stateful in-chain of an uplink', () => {
  for (const [what, [port, gateway, src, knows]] of Object.entries(OUT))
    test(`lets in what answers ${what}, by another uplink, and nothing else`, () => {
      const model = site();
      const call = send(model, port, packet(model, port, gateway, { src, dst: FAR, ports: [40_000, 443] }));
      const [sent] = call.deliveries;
      assert.equal(sent?.port, 'up-1-wire');
      const { ip, ports } = sent!.frame;
      const dst = [ip!.src.value].map((value) =>
        [24, 16, 8, 0].map((bits) => (Number(value) >>> bits) & 255).join('.'),
      )[0]!;
      const fields: PacketFields = { src: FAR, dst, ports: [443, ports!.src], flags: TCP_FLAG.ack };
      const answer = around(model, { ...fields, flags: SYN_ACK }, new Connections(call.commits));
      assert.equal(gist(answer)[0]?.split(' →')[0], `${port}: ${FAR}:443`);
      const { lines } = tellStory(model, answer);
      assert.ok(
        lines.some((line) => line.includes('accepted only as part of a known connection')),
        lines.join('\n'),
      );
      assert.ok(answer.steps.some(({ about, text }) => about.id === knows && text === 'its connection is known'));
      const other = around(model, fields);
      assert.deepEqual(gist(other), ['drop unknown-connection']);
      assert.equal(other.drops[0]!.by.id, knows);
      assert.deepEqual(other.commits, []);
    });

  test('marks what it lets in only as known in the tunnel, and only that', () => {
    const model = site();
    const groupBits = (fields: PacketFields): boolean[] =>
      around(model, fields).anchored.map(
        ({ frame }) => frame.src >= 0x0100_0000_0000 && Math.floor(frame.src / 2 ** 40) % 2 === 1,
      );
    assert.deepEqual(groupBits({ src: FAR, dst: '203.0.113.20', flags: TCP_FLAG.ack }), [true]);
    assert.deepEqual(groupBits({ src: FAR, dst: '203.0.113.20' }), [false]);
  });

  test('knows no connections of the router itself, of other uplinks, and of members that nobody is', () => {
    const model = site();
    for (const dst of ['203.0.113.1', '192.0.2.2', '192.0.2.1', '203.0.113.80'])
      assert.deepEqual(
        gist(around(model, { src: FAR, dst, flags: TCP_FLAG.ack })).slice(0, 1),
        ['drop unknown-connection'],
        dst,
      );
    assert.deepEqual(gist(around(model, { src: FAR, dst: '192.0.2.1', protocol: 'icmp' })), [
      'drop unknown-connection',
    ]);
  });

  test('drops what it lets in as neither for what it says of new ones', () => {
    const model = site();
    change(model, 'rule', 'filter/rule-0', { match: { ...KNOWN, dst: '10.0.9.0/24' } });
    assert.deepEqual(gist(around(model, { src: FAR, dst: '203.0.113.20', ports: [1, 22] })), ['drop policy']);
  });

  test('leaves its wires without conntrack, and gives it to what is behind its router', () => {
    const model = site();
    const tracked = (id: string): boolean => isTracked(model, model.get('port', id)!);
    assert.deepEqual(['up-1-wire', 'up-2-wire', 'vm'].map(tracked), [false, false, true]);
  });
});
