import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLabSpec } from './spec.ts';
import { upstreamTexts } from './upstream-configuration.ts';

const peer = { address: '192.0.2.2', asn: 64512 };
const links = [{ host: 'gw-1', addresses: ['192.0.2.1/30'], peers: [peer] }];

function bgpdOf(more: object, internet: object = { subnets: ['198.51.100.0/24'], peering: false }): string[] {
  const spec = checkLabSpec({
    name: 'demo',
    hosts: [{ name: 'gw-1' }],
    internet,
    routers: [
      { name: 'up-1', asn: 64601, links, ...more },
      { name: 'up-2', asn: 64602 },
    ],
  });
  return upstreamTexts(spec, spec.routers[0]!).bgpd!.split('\n');
}

test('an upstream router advertises its networks, its loopbacks and the internet, by version', () => {
  const lines = bgpdOf({ loopbacks: ['198.18.0.1/32', '2001:db8::1/128'], networks: ['10.0.0.0/8', '0.0.0.0/0'] });
  const split = lines.indexOf(' address-family ipv6 unicast');
  const networks = (some: string[]): string[] =>
    some.filter((line) => line.startsWith('  network ')).map((line) => line.slice(10));
  assert.deepEqual(networks(lines.slice(0, split)), ['10.0.0.0/8', '0.0.0.0/0', '198.18.0.1/32', '198.51.100.0/24']);
  assert.deepEqual(networks(lines.slice(split)), ['2001:db8::1/128']);
});

test('a peer has what its description says and nothing else', () => {
  const of = (lines: string[]): string[] =>
    lines.filter((line) => line.startsWith(' neighbor 192.0.2.2')).map((line) => line.slice(20));
  assert.deepEqual(of(bgpdOf({})), ['remote-as 64512', 'timers 3 9', 'timers connect 1', 'graceful-restart-disable']);
  const all = { ...peer, password: 'secret', bfd: true, gracefulRestart: true, multihop: 4, keepaliveS: 10, holdS: 30 };
  assert.deepEqual(of(bgpdOf({ links: [{ ...links[0]!, peers: [all] }] })), [
    ...['remote-as 64512', 'timers 10 30', 'timers connect 1', 'graceful-restart'],
    ...['password secret', 'ebgp-multihop 4', 'bfd profile lab'],
  ]);
});

test('the routers peer over the internet, at its addresses of both versions, unless told not to', () => {
  const remote = (lines: string[]): string[] => lines.filter((line) => line.includes('remote-as 64602'));
  assert.deepEqual(remote(bgpdOf({})), []);
  assert.deepEqual(remote(bgpdOf({}, {})), [
    ' neighbor 198.51.100.2 remote-as 64602',
    ' neighbor 2001:db8:ffff::2 remote-as 64602',
  ]);
});

test('further lines come last', () => {
  assert.equal(bgpdOf({ config: ['ip prefix-list x permit any'] }).at(-2), 'ip prefix-list x permit any');
});
