import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatMac, type Mac, parseMac } from '../base/addresses.ts';
import { modelOf } from '../model/model-index.ts';
import { attachmentMac, encodeHello, HELLO_ETHER_TYPE, helloGroup } from '../packet/attachment-hello.ts';
import { ETHER_TYPE, encodeEthernet } from '../packet/ethernet.ts';
import { Network, TUNNEL_OFPORT } from '../pipeline/network.fixture.ts';
import { simulateFrame } from '../simulate/simulate.ts';
import type { InputRecord } from './inputs.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';

// What comes in and goes out by an L2 gateway: executed, and simulated.

const [h1, h2] = [example.host(1), example.host(2)];
const net = example.logicalSwitch(1);
const outside = example.port(1, net, { portSecurity: false });
const workload = example.port(2, net);
const gateway = example.l2Gateway(1, outside, [h1, h2]);
const OUTSIDE = 11;
const WORKLOAD = 12;
const BROADCAST = parseMac('ff:ff:ff:ff:ff:ff')!;
const STRANGER = parseMac('02:aa:00:00:00:01')!;

function network(...facts: readonly InputRecord[]): Network {
  const hosts = [h1, h2].map(({ id, tunnelAddress }) => ({
    ...{ id, tunnelAddress },
    interfaces: new Map([[OUTSIDE, 'outside'], ...(id === h2.id ? [[WORKLOAD, 'workload'] as const] : [])]),
  }));
  return new Network(hosts, ({ id }) => [
    ...records,
    example.self(id === h1.id ? h1 : h2, { tunnelPorts: { geneve: TUNNEL_OFPORT }, meters: { packetIn: 1 } }),
    example.boundInterface(outside, OUTSIDE),
    ...(id === h2.id ? [example.boundInterface(workload, WORKLOAD)] : facts),
  ]);
}
const records = [
  ...[example.zone(), h1, h2, net, outside, workload, gateway],
  ...[example.binding(outside, h1, h2), example.binding(workload, h2)],
];
const model = modelOf(records);

function frame(src: Mac, dst: Mac, etherType: number, payload: Uint8Array = new Uint8Array(46)): Uint8Array {
  return Uint8Array.of(...encodeEthernet({ ethernet: { src, dst, etherType }, vlans: [] }), ...payload);
}
const helloOf = (switchKey: number, src: Mac = attachmentMac(0x777, 0)): Uint8Array =>
  frame(
    src,
    helloGroup(switchKey),
    HELLO_ETHER_TYPE,
    encodeHello({ switch: switchKey, port: 0x777, place: 0, sinceMs: 0 }),
  );

const SAID: readonly (readonly [what: string, bytes: Uint8Array, active: string[], standby: string[]])[] = [
  ['a broadcast', frame(STRANGER, BROADCAST, 0x9000), ['workload'], []],
  ['a frame to a workload', frame(STRANGER, parseMac(workload.mac)!, 0x9000), ['workload'], []],
  ['an announcement of its own', frame(STRANGER, BROADCAST, ETHER_TYPE.rarp), ['workload'], []],
  ['a hello of the switch', helloOf(net.key), ['agent'], ['agent']],
  ['a hello of another switch', helloOf(net.key + 1), ['workload'], []],
  ['a probe of another place', frame(attachmentMac(outside.key, 1), BROADCAST, ETHER_TYPE.arp), [], []],
  ['the answer to a probe', frame(STRANGER, attachmentMac(outside.key, 0), ETHER_TYPE.arp), [], []],
];

describe('an L2 gateway', () => {
  const run = network();
  for (const [what, bytes, active, standby] of SAID)
    test(`${what}: ${active.join() || 'nobody'} where it is active, ${standby.join() || 'nobody'} where it is not`, () => {
      for (const [host, expected] of [
        [h1, active],
        [h2, standby],
      ] as const) {
        const { delivered, packetIns } = run.send(host.id, OUTSIDE, bytes);
        const heard = packetIns.some(({ userdata }) => userdata[0] === PACKET_IN.hello) ? ['agent'] : [];
        assert.deepEqual([...delivered.map(({ port }) => port), ...heard], expected);
        const { deliveries, drops, requests, activates } = simulateFrame(model, {
          ...{ port: outside.id, host: host.id, bytes },
        });
        assert.deepEqual(
          requests.map(({ service }) => service),
          heard.map(() => 'hello'),
        );
        assert.equal(activates, false, 'nothing that is said outside moves it');
        assert.equal(deliveries.length, delivered.length);
        const isBetweenAgents = heard.length > 0 || (active.length === 0 && standby.length === 0);
        assert.equal(
          drops.some(({ reason }) => reason === 'agent'),
          isBetweenAgents,
        );
      }
    });

  test('gets what workloads send, where it is active', () => {
    const { delivered } = run.send(h2.id, WORKLOAD, frame(parseMac(workload.mac)!, BROADCAST, 0x9000));
    assert.deepEqual(
      delivered.map(({ host, port }) => [host, port]),
      [[h1.id, 'outside']],
    );
  });

  test('that is cut passes nothing either way, and hears hellos', () => {
    const cut = network({ kind: 'cut', id: outside.id });
    assert.deepEqual(cut.send(h1.id, OUTSIDE, SAID[0]![1]).reasons, ['loop']);
    const sent = cut.send(h2.id, WORKLOAD, frame(parseMac(workload.mac)!, BROADCAST, 0x9000));
    assert.deepEqual(sent.delivered, []);
    assert.ok(sent.reasons.includes('loop'));
    const unicast = cut.send(h2.id, WORKLOAD, frame(parseMac(workload.mac)!, STRANGER, 0x9000));
    assert.deepEqual(unicast.delivered, []);
    assert.equal(cut.send(h1.id, OUTSIDE, helloOf(net.key)).packetIns.length, 1);
  });
});

test('MACs of attachments are nobody else’s', () => {
  assert.notEqual(formatMac(attachmentMac(outside.key, 0)), formatMac(attachmentMac(outside.key + 1, 0)));
});
