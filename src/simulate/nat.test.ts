import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ModelIndex } from '../model/model-index.ts';
import type { NatLease, ScopeRecord } from '../model/objects.ts';
import { pooledAddress } from '../model/snat.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { Connections } from './connections.ts';
import type { Outcome } from './outcome.ts';
import { change, gist, ip, lease, packet, send, threeTier } from './three-tier.fixture.ts';

/** docs/design/layer3.md, §7. Groups are out of the way. */
function open(...more: readonly ScopeRecord[]): ModelIndex {
  const model = threeTier(...more);
  for (const port of [...model.all('port')]) change(model, 'port', port.id, { groups: [] });
  return model;
}

const SYN_ACK = TCP_FLAG.syn | TCP_FLAG.ack;
const fromClient = { src: '203.0.113.200', dst: '203.0.113.20' } as const;
const toClient = { src: '10.0.1.12', dst: '203.0.113.200' } as const;

function zonesOf({ commits }: Outcome): string[] {
  return commits.map(({ zone }) => zone).sort();
}

function tunnelsOf({ anchored }: Outcome): string[] {
  return anchored.map(({ from, to, routerPort }) => `${from} → ${to}: ${routerPort}`);
}

describe('a floating address', () => {
  test('leads to its workload on the host that has it, and its answers come from it', () => {
    const model = open();
    const call = send(model, 'client', packet(model, 'client', 'edge/outside', fromClient));
    assert.deepEqual(gist(call), ['web-1: 203.0.113.200:40000 → 10.0.1.11:80 ttl 63']);
    assert.deepEqual(tunnelsOf(call), ['h3 → h1: edge/outside']);
    assert.deepEqual(zonesOf(call), ['port:client@h3', 'port:web-1@h1', 'router:edge@h1']);
    const fields = { src: '10.0.1.11', dst: '203.0.113.200', ports: [80, 40_000], flags: SYN_ACK } as const;
    const answer = send(model, 'web-1', packet(model, 'web-1', 'edge/web', fields), new Connections(call.commits));
    assert.deepEqual(gist(answer), ['client: 203.0.113.20:80 → 203.0.113.200:40000 ttl 63']);
  });

  test('is what the outside sees of its workload', () => {
    const model = open();
    const call = send(model, 'web-1', packet(model, 'web-1', 'edge/web', { ...toClient, src: '10.0.1.11' }));
    assert.deepEqual(gist(call), ['client: 203.0.113.20:40000 → 203.0.113.200:80 ttl 63']);
    const fields = { ...fromClient, ports: [80, 40_000], flags: SYN_ACK } as const;
    const frame = packet(model, 'client', 'edge/outside', fields);
    const answer = send(model, 'client', frame, new Connections(call.commits));
    assert.deepEqual(gist(answer), ['web-1: 203.0.113.200:80 → 10.0.1.11:40000 ttl 63']);
    assert.deepEqual(gist(send(model, 'client', frame)), ['drop invalid']);
  });

  test('without a host leads nowhere', () => {
    const model = open();
    change(model, 'binding', 'web-1', { claims: [], active: undefined });
    const outcome = send(model, 'client', packet(model, 'client', 'edge/outside', fromClient));
    assert.deepEqual(gist(outcome), ['drop not-bound']);
    assert.equal(outcome.drops[0]!.by.id, 'web-1');
  });

  test('is reached from inside like from outside, its own workload included', () => {
    const model = open();
    for (const [port, src] of [
      ['web-2', '10.0.1.12'],
      ['web-1', '10.0.1.11'],
    ] as const) {
      const seen = port === 'web-2' ? '203.0.113.10:2048' : '203.0.113.20:40000';
      const call = send(model, port, packet(model, port, 'edge/web', { src, dst: '203.0.113.20' }));
      assert.deepEqual(gist(call), [`web-1: ${seen} → 10.0.1.11:80 ttl 62`]);
      const [dst, sport] = seen.split(':') as [string, string];
      const fields = { src: '10.0.1.11', dst, ports: [80, Number(sport)], flags: SYN_ACK } as const;
      const answer = send(model, 'web-1', packet(model, 'web-1', 'edge/web', fields), new Connections(call.commits));
      assert.deepEqual(gist(answer), [`${port}: 203.0.113.20:80 → ${src}:40000 ttl 62`]);
    }
  });

  test('sends ICMP errors back with what they quote translated', () => {
    const model = open();
    const call = send(model, 'client', packet(model, 'client', 'edge/outside', fromClient));
    const seen = { src: ip('203.0.113.200'), srcPort: 40_000, dst: ip('10.0.1.11'), dstPort: 80 };
    const quoted = { version: 4, protocol: 6, id: 0, ...seen } as const;
    const fields = { src: '10.0.1.11', dst: '203.0.113.200', protocol: 'icmp', quoted } as const;
    const error = packet(model, 'web-1', 'edge/web', { ...fields, icmp: { type: 3, code: 3, id: 0 } });
    const outcome = send(model, 'web-1', error, new Connections(call.commits));
    assert.deepEqual(gist(outcome), ['client: 203.0.113.20 → 203.0.113.200 ttl 63']);
    assert.deepEqual(outcome.deliveries[0]!.frame.quoted, { ...quoted, dst: ip('203.0.113.20') });
  });
});

describe('SNAT', () => {
  test("takes a port that the host has leased, the sender's own where it may", () => {
    const model = open();
    const out = (port: number): Outcome =>
      send(model, 'web-2', packet(model, 'web-2', 'edge/web', { ...toClient, ports: [port, 80] }));
    assert.deepEqual(gist(out(40_000)), ['client: 203.0.113.10:2048 → 203.0.113.200:80 ttl 63']);
    assert.deepEqual(gist(out(2100)), ['client: 203.0.113.10:2100 → 203.0.113.200:80 ttl 63']);
    const made = out(40_000).commits.find(({ zone }) => zone === 'router:edge@h2')!;
    assert.deepEqual(made.ranges, [{ first: 2048, last: 3071 }]);
  });

  test('gives two senders two ports, and drops a third where there are but two', () => {
    const model = open();
    const id = 'edge/203.0.113.10/h2';
    change(model, 'natLease', id, { blocks: [{ first: 2048, size: 2 }] });
    let known = new Connections();
    const ports = [1, 2, 3].map((sport) => {
      const frame = packet(model, 'web-2', 'edge/web', { ...toClient, ports: [50_000 + sport, 80] });
      const outcome = send(model, 'web-2', frame, known);
      known = known.with(outcome.commits);
      return outcome.deliveries[0]?.frame.ports?.src ?? outcome.drops[0]!.reason;
    });
    assert.deepEqual(ports, [2048, 2049, 'no-ports']);
  });

  test('needs a lease, also for pings', () => {
    const model = open();
    model.delete('natLease', 'edge/203.0.113.10/h2');
    for (const protocol of ['tcp', 'icmp'] as const)
      assert.deepEqual(gist(send(model, 'web-2', packet(model, 'web-2', 'edge/web', { ...toClient, protocol }))), [
        'drop no-ports',
      ]);
  });

  test('turns answers back on the host whose lease has the port', () => {
    const model = open();
    const call = send(model, 'web-2', packet(model, 'web-2', 'edge/web', toClient));
    const fields = { src: '203.0.113.200', dst: '203.0.113.10', ports: [80, 2048], flags: SYN_ACK } as const;
    const frame = packet(model, 'client', 'edge/outside', fields);
    const answer = send(model, 'client', frame, new Connections(call.commits));
    assert.deepEqual(gist(answer), ['web-2: 203.0.113.200:80 → 10.0.1.12:40000 ttl 63']);
    assert.deepEqual(tunnelsOf(answer), ['h3 → h2: edge/outside']);
  });

  test('lets nothing in that answers nobody', () => {
    const model = open();
    const to = (port: number): string[] =>
      gist(
        send(
          model,
          'client',
          packet(model, 'client', 'edge/outside', { ...fromClient, dst: '203.0.113.10', ports: [80, port] }),
        ),
      );
    assert.deepEqual(to(2048), ['drop not-translated']);
    assert.deepEqual(to(9), ['drop not-translated']);
  });

  test('goes for the router where the address is its own', () => {
    const model = open(lease('h1', 1024));
    change(model, 'router', 'edge', { snat: [{ from: '10.0.0.0/8', to: '203.0.113.2' }] });
    const frame = packet(model, 'client', 'edge/outside', { ...fromClient, dst: '203.0.113.2' });
    assert.deepEqual(gist(send(model, 'client', frame)), ['drop own', 'ask reset']);
    const ping = packet(model, 'client', 'edge/outside', { ...fromClient, dst: '203.0.113.2', protocol: 'icmp' });
    assert.deepEqual(gist(send(model, 'client', ping)), ['client: 203.0.113.2 → 203.0.113.200 ttl 64']);
  });

  test('finds the sender of a ping by asking every host with a lease', () => {
    const model = open();
    const call = send(model, 'web-2', packet(model, 'web-2', 'edge/web', { ...toClient, protocol: 'icmp' }));
    assert.deepEqual(gist(call), ['client: 203.0.113.10 → 203.0.113.200 ttl 63']);
    const fields = { src: '203.0.113.200', dst: '203.0.113.10', protocol: 'icmp' } as const;
    const frame = packet(model, 'client', 'edge/outside', { ...fields, icmp: { type: 0, code: 0, id: 7 } });
    const answer = send(model, 'client', frame, new Connections(call.commits));
    assert.deepEqual(gist(answer), ['web-2: 203.0.113.200 → 10.0.1.12 ttl 63', 'drop not-translated']);
    assert.equal(answer.anchored.length, 2);
  });

  test('follows connections of a workload that moved, whoever has leased their ports, and lets them out without a lease', () => {
    const model = open();
    const call = send(model, 'web-2', packet(model, 'web-2', 'edge/web', toClient));
    const binding = model.bindingOf('web-2')!;
    change(model, 'binding', 'web-2', { claims: [{ ...binding.claims[0]!, host: 'h1' }], active: 'h1' });
    for (const { id, host } of [...model.all('natLease')]) if (host === 'h1') model.delete('natLease', id);
    const record = { kind: 'natMove', id: 'edge/203.0.113.10/web-2', revision: 1, router: 'edge' } as const;
    model.put({ ...record, address: '203.0.113.10', port: 'web-2', connections: ['tcp/2048/203.0.113.200/80'] });
    const brought = new Connections(
      call.commits.map((each) => ({ ...each, zone: each.zone.replace('@h2', '@h1') as typeof each.zone })),
    );
    const fields = { src: '203.0.113.200', dst: '203.0.113.10', ports: [80, 2048], flags: SYN_ACK } as const;
    const frame = packet(model, 'client', 'edge/outside', fields);
    const answer = send(model, 'client', frame, brought);
    assert.deepEqual(gist(answer), ['web-2: 203.0.113.200:80 → 10.0.1.12:40000 ttl 63']);
    assert.deepEqual(tunnelsOf(answer), ['h3 → h1: edge/outside']);
    const onward = packet(model, 'web-2', 'edge/web', { ...toClient, flags: TCP_FLAG.ack });
    assert.deepEqual(gist(send(model, 'web-2', onward, brought)), [
      'client: 203.0.113.10:2048 → 203.0.113.200:80 ttl 63',
    ]);
    const another = packet(model, 'web-2', 'edge/web', { ...toClient, ports: [40_001, 80] });
    assert.deepEqual(gist(send(model, 'web-2', another, brought)), ['drop no-ports']);
    // Others by the same port of the address go by the lease, which is h2's still.
    const other = packet(model, 'client', 'edge/outside', { ...fields, ports: [81, 2048], flags: TCP_FLAG.ack });
    assert.deepEqual(tunnelsOf(send(model, 'client', other, brought)), ['h3 → h2: edge/outside']);
    change(model, 'binding', 'web-2', { claims: [], active: undefined });
    assert.deepEqual(gist(send(model, 'client', frame, brought)), ['drop not-bound']);
  });

  test('to a pool: a workload keeps one address of it, running connections the one that they began with', () => {
    const model = open();
    const of = (at: number): string => `203.0.113.${at}`;
    change(model, 'router', 'edge', { snat: [{ from: '10.0.0.0/16', to: ['203.0.113.10'] }] });
    const call = send(model, 'web-2', packet(model, 'web-2', 'edge/web', toClient));
    const known = new Connections(call.commits);
    assert.deepEqual(gist(call), ['client: 203.0.113.10:2048 → 203.0.113.200:80 ttl 63']);
    const grown = { from: '10.0.0.0/16', to: ['203.0.113.10-203.0.113.12', '203.0.113.14'] };
    change(model, 'router', 'edge', { snat: [grown] });
    const address = pooledAddress(grown, ip('10.0.1.12'));
    assert.notEqual(address, of(10), 'its share of the sources has moved');
    // The host has no ports of its new address yet: what is known goes on, what begins waits for them.
    const onward = packet(model, 'web-2', 'edge/web', { ...toClient, flags: TCP_FLAG.ack });
    const another = packet(model, 'web-2', 'edge/web', { ...toClient, ports: [40_001, 80] });
    assert.deepEqual(gist(send(model, 'web-2', onward, known)), gist(call));
    assert.deepEqual(gist(send(model, 'web-2', another, known)), ['drop no-ports']);
    model.put({ ...(lease('h2', 4096) as NatLease), id: `edge/${address}/h2`, address });
    assert.deepEqual(gist(send(model, 'web-2', onward, known)), gist(call));
    assert.deepEqual(gist(send(model, 'web-2', another, known)), [`client: ${address}:4096 → 203.0.113.200:80 ttl 63`]);
    const fields = { src: '203.0.113.200', dst: of(10), ports: [80, 2048], flags: SYN_ACK } as const;
    const answer = send(model, 'client', packet(model, 'client', 'edge/outside', fields), known);
    assert.deepEqual(gist(answer), ['web-2: 203.0.113.200:80 → 10.0.1.12:40000 ttl 63']);
  });

  test('the narrowest network decides', () => {
    const model = open();
    const snat = [
      { from: '10.0.0.0/8', to: '203.0.113.11' },
      { from: '10.0.1.0/24', to: '203.0.113.10' },
      { from: '10.0.0.0/16', to: '203.0.113.12' },
    ];
    change(model, 'router', 'edge', { snat });
    assert.match(gist(send(model, 'web-2', packet(model, 'web-2', 'edge/web', toClient)))[0]!, /203\.0\.113\.10:2048/);
  });
});

describe('an outside port', () => {
  test('lets in what is for the port itself, and else nothing that is not translated', () => {
    const model = open();
    const to = (dst: string): string[] =>
      gist(send(model, 'client', packet(model, 'client', 'edge/outside', { ...fromClient, dst, protocol: 'icmp' })));
    assert.deepEqual(to('203.0.113.2'), ['client: 203.0.113.2 → 203.0.113.200 ttl 64']);
    assert.deepEqual(to('10.0.1.1'), ['drop not-translated']);
    assert.deepEqual(to('10.0.1.11'), ['drop not-translated']);
  });
});
