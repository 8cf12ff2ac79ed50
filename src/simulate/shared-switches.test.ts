import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { balancer, change, gist, packet, routerPort, send, threeTier, workload } from './three-tier.fixture.ts';

/** docs/design/layer3.md, §3.1 and §6.8: `edge` of acme has ports on `internet`, which the operator shares. Groups are out of the way. */
function open(...more: readonly ScopeRecord[]): ModelIndex {
  const model = threeTier(...more);
  for (const port of [...model.all('port')]) change(model, 'port', port.id, { groups: [] });
  return model;
}

/** An inside port there, beside the one that faces the outside; it comes first by its id. */
const gate = routerPort('gate', { switch: 'internet', addresses: ['203.0.113.3/24'] });

describe('a VIP of a router that comes from another tenant', () => {
  const server = workload('server', 'h3', { switch: 'internet', tenant: 'operator', portSecurity: false });
  const called = (model: ModelIndex, dst: string): string[] =>
    gist(send(model, 'client', packet(model, 'client', 'server', { src: '203.0.113.200', dst, ports: [40_000, 80] })));

  test('is translated for workloads of the shared switch where a subnet of that holds it', () => {
    const model = open(gate, balancer('mall', '203.0.113.90', { port: 80 }, ['web-1']), ...server);
    const fields = { src: '203.0.113.200', dst: '203.0.113.90' } as const;
    const outcome = send(model, 'client', packet(model, 'client', 'edge/gate', fields));
    assert.deepEqual(gist(outcome), ['web-1: 203.0.113.200:40000 → 10.0.1.11:80 ttl 63']);
  });

  test('is not ours to take where none does: who serves that address there gets its packets', () => {
    const model = open(gate, balancer('mall', '192.0.2.90', { port: 80 }, ['web-1']), ...server);
    assert.deepEqual(called(model, '192.0.2.90'), ['server: 203.0.113.200:40000 → 192.0.2.90:80 ttl 64']);
    change(model, 'switch', 'internet', { tenant: 'acme' });
    assert.deepEqual(called(model, '192.0.2.90'), ['server: 203.0.113.200:40000 → 10.0.1.11:80 ttl 64']);
  });
});

describe("into another tenant's switch a router sends", () => {
  const sent = (model: ModelIndex, src: string): string[] =>
    gist(send(model, 'web-2', packet(model, 'web-2', 'edge/web', { src, dst: '203.0.113.200' })));

  test('by an outside port only what has a source of its own', () => {
    const model = open();
    assert.deepEqual(sent(model, '10.0.1.12'), ['client: 203.0.113.10:2048 → 203.0.113.200:80 ttl 63']);
    change(model, 'router', 'edge', { snat: [] });
    assert.deepEqual(sent(model, '10.0.1.12'), ['drop spoofed-ip']);
    change(model, 'floatingAddress', 'public-web', { port: 'web-2' });
    assert.deepEqual(sent(model, '10.0.1.12'), ['client: 203.0.113.20:40000 → 203.0.113.200:80 ttl 63']);
  });

  test('by an inside port what is of elsewhere, and nothing that pretends to be of the switch', () => {
    const model = open(gate);
    change(model, 'port', 'web-2', { portSecurity: false });
    const passes = (src: string): string[] => [`client: ${src}:40000 → 203.0.113.200:80 ttl 63`];
    assert.deepEqual(sent(model, '10.0.1.12'), passes('10.0.1.12'));
    assert.deepEqual(sent(model, '198.51.100.7'), passes('198.51.100.7'));
    assert.deepEqual(sent(model, '203.0.113.1'), ['drop spoofed-ip']);
    change(model, 'switch', 'internet', { tenant: 'acme' });
    assert.deepEqual(sent(model, '203.0.113.1'), passes('203.0.113.1'));
  });
});
