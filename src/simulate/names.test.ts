import assert from 'node:assert/strict';
import { test } from 'node:test';
import { change, packet, routerPort, send, threeTier } from './three-tier.fixture.ts';

/** docs/design/layer3.md, §11: who is asked for names of workloads. */
function asks(to: string, fields: { readonly dns?: boolean; readonly port?: number; readonly dhcp?: boolean }): string {
  const { dns = true, port = 53, dhcp = true } = fields;
  // Its IPv6 network names no gateway: a router port has it.
  const model = threeTier(routerPort('zone', { switch: 'web', addresses: ['2001:db8:1::fe/64'] }));
  for (const id of ['web-1', 'web-2']) change(model, 'port', id, { groups: [] });
  const { subnets } = model.get('switch', 'web')!;
  const told = subnets.map(({ gateway, ...each }) => ({
    ...{ ...each, dhcp: { ...each.dhcp, enabled: dhcp } },
    ...(each.cidr.includes(':') ? {} : { gateway }),
  }));
  change(model, 'switch', 'web', { dns, subnets: told });
  const src = to.includes(':') ? '2001:db8:1::11' : '10.0.1.11';
  const frame = packet(model, 'web-1', 'edge/web', { src, dst: to, protocol: 'udp', ports: [40_000, port] });
  const { agent, drops } = send(model, 'web-1', frame);
  return agent ?? drops[0]?.reason ?? 'on';
}

test('a query to the gateway of a network goes to the agent, of both IP versions', () => {
  assert.equal(asks('10.0.1.1', {}), 'dns');
  assert.equal(asks('2001:db8:1::1', {}), 'dns');
});

test('other servers, other router ports and other ports of UDP are not for names', () => {
  assert.equal(asks('10.0.2.1', {}), 'own');
  assert.equal(asks('2001:db8:1::fe', {}), 'own');
  assert.equal(asks('10.0.1.1', { port: 5353 }), 'own');
  assert.equal(asks('10.0.1.12', {}), 'on');
});

test('nobody is asked on a switch without names, nor in a network without DHCP', () => {
  assert.equal(asks('10.0.1.1', { dns: false }), 'own');
  assert.equal(asks('10.0.1.1', { dhcp: false }), 'own');
});
