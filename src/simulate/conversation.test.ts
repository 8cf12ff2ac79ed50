import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import { simulateConnection, type Wanted } from './conversation.ts';
import { tellConversation } from './conversation-story.ts';
import { encodeFrame } from './encode-frame.ts';
import { readFrame } from './frame.ts';
import { change, ip, logicalSwitch, router, routerPort, threeTier, workload } from './three-tier.fixture.ts';

/** `tcp/80`, `icmp`. */
function tell(model: ModelIndex, from: string, to: string, what: string, more: Partial<Wanted> = {}): string {
  const [protocol, port] = what.split('/') as [Wanted['protocol'], string | undefined];
  const wanted = { from, to: ip(to), protocol, ...(port === undefined ? {} : { port: Number(port) }), ...more };
  return tellConversation(model, wanted, simulateConnection(model, wanted)).verdict;
}

describe('what is allowed is told with what allows it', () => {
  const model = threeTier();
  const group = (rule: string, name: string): string => `rule ${rule} of group ${name}`;

  test('tier to tier', () => {
    assert.equal(
      tell(model, 'app-1', '10.0.3.11', 'tcp/5432'),
      `app-1 reaches db-1 on tcp/5432 and is answered: allowed by ${group('egress[0] (anything to anywhere)', 'app')} and ${group('ingress[0] (tcp/5432 from group app)', 'db')}`,
    );
    assert.match(
      tell(model, 'web-1', '2001:db8:2::12', 'tcp/8000'),
      /^web-1 reaches app-2 on tcp\/8000 and is answered/,
    );
  });

  test('by virtual and floating addresses, from inside and outside', () => {
    assert.match(
      tell(model, 'web-1', '10.0.2.100', 'tcp/8000'),
      /^web-1 reaches app-[12] on tcp\/8000 and is answered: 10\.0\.2\.100 leads to 10\.0\.2\.1[12] port 8000; allowed by/,
    );
    assert.match(
      tell(model, 'client', '203.0.113.80', 'tcp/80'),
      /^client reaches web-[12] on tcp\/80 and is answered: 203\.0\.113\.80 leads to 10\.0\.1\.1[12] port 8080; allowed by/,
    );
    assert.match(
      tell(model, 'client', '203.0.113.20', 'icmp'),
      /^client reaches web-1 by ping and is answered: 203\.0\.113\.20 leads to 10\.0\.1\.11; allowed by rule ingress\[2\] \(icmp from anywhere\) of group web/,
    );
  });

  test('out to the world, as what it is seen', () => {
    assert.match(
      tell(model, 'web-2', '203.0.113.200', 'udp/53'),
      /^web-2 reaches client on udp\/53 and is answered: it is seen as 203\.0\.113\.10 port 2048; allowed by/,
    );
    assert.match(
      tell(model, 'web-2', '198.18.0.1', 'tcp/443'),
      /^web-2 does not reach 198\.18\.0\.1 on tcp\/443: it is handed to isp, which has another address/,
    );
  });

  test('from the world by one uplink and back by another', () => {
    const uplink = (n: number): ScopeRecord[] => [
      logicalSwitch(`up-${n}`),
      routerPort(`up-${n}`, { switch: `up-${n}`, addresses: [`192.0.2.${4 * n + 2}/30`] }, 'core'),
      ...workload(`wire-${n}`, `h${n}`, { switch: `up-${n}`, portSecurity: false }),
    ];
    const model = threeTier(
      router({ routes: [{ to: '0.0.0.0/0', via: '192.0.2.9', metric: 100, weight: 1 }] }, 'core'),
      routerPort('in', { switch: 'internet', addresses: ['203.0.113.1/24'] }, 'core'),
      ...uplink(1),
      ...uplink(2),
      {
        ...({ kind: 'neighbour', id: 'up-2/192.0.2.9' } as const),
        revision: 1,
        switch: 'up-2',
        address: '192.0.2.9',
        port: 'wire-2',
        mac: '02:00:00:00:00:09',
        host: 'h2',
      },
    );
    change(model, 'port', 'isp', { addresses: ['203.0.113.250'] });
    assert.match(
      tell(model, 'wire-1', '203.0.113.80', 'tcp/80', { source: ip('198.51.100.200') }),
      /^wire-1 reaches web-[12] on tcp\/80 and is answered/,
    );
    assert.match(
      tell(model, 'web-2', '198.51.100.200', 'tcp/443'),
      /^web-2 reaches wire-2 on tcp\/443 and is answered/,
    );
  });

  test('by the router that DHCP and advertisements tell where a subnet names no gateway', () => {
    const model = threeTier();
    for (const name of ['web', 'app', 'db']) {
      const { subnets } = model.get('switch', name)!;
      change(model, 'switch', name, { subnets: subnets.map(({ gateway: _, ...subnet }) => subnet) });
    }
    assert.match(tell(model, 'app-1', '10.0.3.11', 'tcp/5432'), /^app-1 reaches db-1 on tcp\/5432 and is answered/);
    assert.match(
      tell(model, 'web-1', '2001:db8:2::12', 'tcp/8000'),
      /^web-1 reaches app-2 on tcp\/8000 and is answered/,
    );
    const none = /db-1 has no gateway on the way to 10\.0\.2\.11$/;
    for (const [kind, id] of [
      ['routerPort', 'edge/db'],
      ['router', 'edge'],
    ] as const) {
      change(model, kind, id, { adminUp: false });
      assert.match(tell(model, 'db-1', '10.0.2.11', 'icmp'), none, `${kind} is down`);
      change(model, kind, id, { adminUp: true });
    }
    change(model, 'routerPort', 'edge/db', { outside: true });
    assert.match(tell(model, 'db-1', '10.0.2.11', 'icmp'), none);
  });

  test('by the one router that is advertised for all IPv6 subnets of a link', () => {
    const model = threeTier();
    const { subnets } = model.get('switch', 'web')!;
    const { gateway: _, ...further } = { ...subnets[1]!, cidr: '2001:db8:9::/64' };
    change(model, 'switch', 'web', { subnets: [further, ...subnets] });
    change(model, 'port', 'web-1', { addresses: ['10.0.1.11', '2001:db8:9::11'] });
    const call = (): string => tell(model, 'web-1', '2001:db8:2::12', 'tcp/8000');
    assert.match(call(), /^web-1 reaches app-2 on tcp\/8000, but the answer is lost: dropped \(no-route\)/);
    change(model, 'switch', 'web', {
      subnets: [{ ...further, dhcp: { ...further.dhcp, enabled: false } }, ...subnets],
    });
    assert.match(call(), /web-1 has no gateway on the way to 2001:db8:2::12$/, 'which nobody advertises there');
  });

  test('by the network itself', () => {
    assert.equal(tell(model, 'db-1', '10.0.1.1', 'icmp'), 'db-1 reaches 10.0.1.1 by ping: router edge answers');
    assert.equal(
      tell(model, 'web-1', '10.0.2.100', 'icmp'),
      'web-1 reaches 10.0.2.100 by ping: load balancer api answers',
    );
  });
});

describe('what is not, with what stops it', () => {
  test('on the way out', () => {
    const model = threeTier();
    assert.equal(
      tell(model, 'web-1', '10.0.3.11', 'tcp/5432'),
      'web-1 does not reach db-1 on tcp/5432: dropped (group) by port db-1: no rule of the security groups allows the connection, on host h2',
    );
    assert.match(
      tell(model, 'web-1', '10.0.1.1', 'tcp/22'),
      /dropped \(own\) by router edge.*; the sender is told so$/,
    );
    assert.match(tell(model, 'web-1', '10.0.2.77', 'tcp/22'), /dropped \(no-neighbour\) by router port edge\/app/);
    assert.match(tell(model, 'client', '203.0.113.2', 'tcp/22'), /dropped \(own\)/);
  });

  test('on the way back', () => {
    const model = threeTier();
    // Nobody is told of a router of another tenant.
    const { subnets } = model.get('switch', 'db')!;
    change(model, 'switch', 'db', { subnets: subnets.map(({ gateway: _, ...subnet }) => subnet) });
    change(model, 'routerPort', 'edge/db', { tenant: 'operator' });
    assert.equal(
      tell(model, 'app-1', '10.0.3.11', 'tcp/5432'),
      'app-1 reaches db-1 on tcp/5432, but gets no answer: db-1 has no gateway on the way to 10.0.2.11',
    );
    change(model, 'routerPort', 'edge/db', { tenant: 'acme' });
    change(model, 'switch', 'db', { subnets });
    change(model, 'router', 'edge', {
      policies: [{ position: 1, match: { src: '10.0.3.0/24' }, action: 'drop' }],
    });
    assert.match(
      tell(model, 'app-1', '10.0.3.11', 'tcp/5432'),
      /^app-1 reaches db-1 on tcp\/5432, but the answer is lost: dropped \(route-policy\) by router edge/,
    );
  });

  test('before it is sent', () => {
    const model = threeTier();
    assert.match(
      tell(model, 'web-1', '10.0.1.77', 'icmp'),
      /nobody on switch web has 10\.0\.1\.77, which web-1 asks for$/,
    );
    assert.match(tell(model, 'db-1', '2001:db8:2::11', 'icmp'), /db-1 has no IPv6 address/);
    assert.match(
      tell(model, 'web-1', '10.0.2.11', 'icmp', { source: ip('10.0.1.99') }),
      /dropped \(spoofed-ip\) by port web-1/,
    );
    change(model, 'port', 'web-1', { adminUp: false });
    assert.match(tell(model, 'web-1', '10.0.2.11', 'icmp'), /dropped \(port-down\) by port web-1/);
  });
});

test('the packets of a conversation can be written', () => {
  const model = threeTier();
  for (const [to, protocol] of [
    ['10.0.3.11', 'tcp'],
    ['10.0.2.11', 'icmp'],
    ['10.0.2.11', 'sctp'],
    ['2001:db8:2::11', 'udp'],
  ] as const) {
    const { frame } = simulateConnection(model, { from: 'web-1', to: ip(to), protocol, port: 80 }).out!;
    const { ip: part, ...rest } = readFrame(encodeFrame(frame));
    const { length: _, ...wanted } = frame.ip!;
    assert.deepEqual(
      { ...rest, ip: { ...part, length: undefined } },
      { ...frame, ip: { ...wanted, length: undefined } },
    );
  }
});
