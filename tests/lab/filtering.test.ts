import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { streamFor } from '../../src/lab/packet-stream.ts';
import type { ShownConnection } from '../../src/server/routes/flows.ts';
import { type Datacentre, eventually, isSilent, pings, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { startLossless, undropped } from './lossless.ts';
import { ask, askAll, hold, type Question, serve, serveAll, streamBack, unanswered } from './services.ts';
import { acme, member, networks, workload } from './tenancy.ts';

/** Chains with connection state, and security groups; MidoNet's scenarios 8, 18 to 24 and 33 to 34. */
describe('filters', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const put = async (...objects: object[]): Promise<void> => {
    await dc.weft.client.post('/v1/apply', { objects });
    await dc.weft.client.get('/v1/sync');
  };
  const rule = (name: string, position: number, match: object, action: string, more: object = {}) =>
    acme('rule', name, { chain: 'guarded', position, match, action, ...more });
  /** Replaces what the chain of b2 says. */
  const chain = async (policy: string, ...rules: Record<string, unknown>[]): Promise<void> => {
    await dc.weft.client.post('/v1/apply', {
      applySet: 'filters',
      prune: true,
      objects: [acme('chain', 'guarded', { policy }), ...rules],
    });
    await dc.weft.client.get('/v1/sync');
  };
  const web = (ingress: object[]): Record<string, unknown> => acme('securityGroup', 'web', { ingress });
  const WEB = [
    { protocol: 'tcp', ports: '22', cidr: '0.0.0.0/0' },
    { protocol: 'tcp', ports: '80', group: 'clients' },
    { protocol: 'udp', ports: '7000-7010', cidr: '10.0.0.0/16' },
    { protocol: 'icmp' },
    { protocol: 'icmpv6' },
  ];

  before(async () => {
    dc = await startDatacentre({
      prefix: 'fl',
      hosts: ['east', 'west'],
      objects: [
        ...networks(),
        acme('securityGroup', 'clients', {}),
        web(WEB),
        member('a1', { groups: ['clients'] }),
        member('a2'),
        member('a3', { groups: ['clients'] }),
        member('b1', { groups: ['web'] }),
        member('b2'),
      ],
      workloads: [
        workload('a1', 'east'),
        workload('a2', 'east'),
        workload('a3', 'west'),
        workload('b1', 'west'),
        workload('b2', 'west'),
      ],
    });
    await dc.weft.client.post('/v1/apply', { applySet: 'filters', objects: [acme('chain', 'guarded', {})] });
    await put(member('b2', { toChain: 'guarded', fromChain: 'guarded' }));
    await serveAll(dc.lab, ['b1', 'b2', 'a1'], 'tcp/80', 'tcp/22', 'tcp/5432', 'udp/7001', 'udp/8001');
  });
  after(() => dc?.down());

  /** A rule (`chain/name`) has said so of a packet; `line` is without the port that its sender chose. */
  async function logs(name: string, line: string): Promise<void> {
    const { items: rules } = await dc.weft.client.get<{ items: { id: string; name: string; chain: string }[] }>(
      '/v1/rules',
      { query: { names: true } },
    );
    const { id } = rules.find((each) => `${each.chain}/${each.name}` === name)!;
    await eventually(`${name} logs`, 3000, async () => {
      const { items } = await dc.weft.client.get<{ items: { text: string }[] }>('/v1/events', { query: { id } });
      return items.some(({ text }) => text.replace(/:\d+ →/, ' →') === line);
    });
  }

  /** What a ping in fragments is told (code 13, RFC 1812 §5.2.7.1). */
  async function refusal(from: string, address: string): Promise<string> {
    return (await dc.lab.exec(from, ['ping', '-n', '-c', '1', '-W', '2', '-s', '4000', address])).stdout;
  }

  test('a group lets in what its rules say and nothing else', async () => {
    await askAll(
      dc.lab,
      ...['a1', 'a3'].flatMap((from): Question[] => [
        [from, 'tcp', '10.0.2.11', 80, 'b1'],
        [from, 'tcp', '10.0.2.11', 5432, 'timeout'],
      ]),
      ['a2', 'tcp', '10.0.2.11', 80, 'timeout'], // not of the group
      ['a2', 'tcp', '10.0.2.11', 22, 'b1'],
      ['a2', 'udp', '10.0.2.11', 7001, 'b1'],
      ['a2', 'udp', '10.0.2.11', 8001, 'timeout'],
      ['a1', 'tcp', 'fd00:2::11', 80, 'b1'],
      ['a1', 'tcp', 'fd00:2::11', 22, 'timeout'], // IPv6 has no such rule
    );
    assert.ok(await pings(dc.lab, 'a2', 'fd00:2::11'));
  });

  test('what its ports begin is answered, and what others begin to a group without rules is not', async () => {
    await serve(dc.lab, 'a2', 'tcp', 80);
    await askAll(
      dc.lab,
      ['b1', 'tcp', '10.0.1.11', 80, 'timeout'],
      ['b1', 'tcp', '10.0.1.12', 80, 'a2'],
      ['a1', 'tcp', '10.0.1.12', 80, 'a2'],
    );
  });

  test('fragmented packets are filtered like whole ones', async () => {
    const options = { from: 'a2', to: 'b1', address: '10.0.2.11', pps: 200, payloadBytes: 3000 };
    const refused = { ...options, port: 7011, warmUpMs: 1500 };
    const [allowed] = await undropped(dc.lab, () =>
      Promise.all([
        streamFor(dc.lab, 800, { ...options, port: 7005 }),
        assert.rejects(streamFor(dc.lab, 800, refused), { code: 'unreachable' }),
      ]),
    );
    assert.equal(allowed.lost, allowed.lostAtReceiver, 'allowed');
    assert.ok(await pings(dc.lab, 'a2', '10.0.2.11', 4000));
  });

  test('a rule that is taken away cuts its connections within a second, one that stays does not', async () => {
    const cut = await hold(dc.lab, 'a1', '10.0.2.11', 80);
    const kept = await hold(dc.lab, 'a2', '10.0.2.11', 22);
    await put(web(WEB.filter((each) => !('group' in each))));
    await sleep(1000);
    const after = cut.echoes();
    const keptAfter = kept.echoes();
    await sleep(600);
    assert.equal(cut.echoes(), after, 'cut');
    assert.ok(kept.echoes() > keptAfter, 'kept');
    await put(web(WEB));
    await eventually('the connection goes on when it may again', 15_000, async () => cut.echoes() > after);
    await put(web([...WEB, { protocol: 'tcp', ports: '443' }]));
    const now = kept.echoes();
    await sleep(600);
    assert.ok(kept.isOpen() && kept.echoes() > now);
    cut.stop();
    kept.stop();
  });

  test('what only flows back is cut too', async () => {
    // One packet opens the way for a stream that the other end sends without ever being answered.
    await put(web([...WEB, { protocol: 'udp', ports: '9000', group: 'clients' }]));
    const stream = await streamBack(dc.lab, 'b1', 'a1', '10.0.2.11', 9000);
    await eventually('the stream', 5000, async () => stream.received() > 20);
    await put(web(WEB));
    await sleep(1000);
    const before = stream.received();
    await sleep(700);
    assert.equal(stream.received(), before);
    stream.stop();
  });

  test('members come and go', async () => {
    assert.ok(await unanswered(dc.lab, 'a2', 'tcp', '10.0.2.11', 80));
    await put(member('a2', { groups: ['clients'] }));
    assert.equal((await ask(dc.lab, 'a2', 'tcp', '10.0.2.11', 80)).by, 'b1');
    await put(member('a2'));
    assert.ok(await unanswered(dc.lab, 'a2', 'tcp', '10.0.2.11', 80));
  });

  test('ports get and leave groups while what is allowed goes on: nothing of it is lost', async () => {
    const streams = await startLossless(dc.lab, [
      { from: 'a1', to: 'b1', port: 7005 },
      { from: 'a3', to: 'b1', port: 7006 },
    ]);
    for (const isMore of [true, false, true, false, true, false, true, false]) {
      const more = isMore ? ['extra'] : [];
      await put(
        acme('securityGroup', 'extra', {}),
        member('a1', { groups: ['clients', ...more] }),
        member('b1', { groups: ['web', ...more] }),
      );
      await sleep(100);
    }
    await streams.stop('groups of both ends changed eight times');
  });

  test('a chain forbids IPv6, and allows it again', async () => {
    assert.ok(await pings(dc.lab, 'a2', 'fd00:2::12'));
    await chain('accept', rule('no-six', 10, { etherType: 'ipv6' }, 'drop'));
    assert.ok(await isSilent(dc.lab, 'a2', 'fd00:2::12'));
    assert.ok(await pings(dc.lab, 'a2', '10.0.2.12'));
    await chain('accept');
    assert.ok(await pings(dc.lab, 'a2', 'fd00:2::12'));
  });

  test('a chain matches MACs with masks: group addresses, and a sender', async () => {
    await chain('accept', rule('no-groups', 10, { dstMac: '01:00:00:00:00:00/01:00:00:00:00:00' }, 'drop'));
    assert.ok(await pings(dc.lab, 'a2', '10.0.2.12'), 'unicast passes');
    const { mac } = dc.ports.get('b1')!;
    await chain('accept', rule('no-b1', 10, { srcMac: `${mac}/ff:ff:ff:ff:ff:ff` }, 'drop'));
    assert.ok(await isSilent(dc.lab, 'b1', '10.0.2.12'));
    assert.ok(await pings(dc.lab, 'a2', '10.0.2.12'));
  });

  test('a chain with connection state opens a pinhole for answers', async () => {
    await chain(
      'accept',
      rule('answers', 10, { state: ['reply', 'related'] }, 'accept'),
      rule('not-from-a', 20, { src: '10.0.1.0/24' }, 'drop'),
    );
    assert.ok(await isSilent(dc.lab, 'a2', '10.0.2.12'));
    assert.ok(await pings(dc.lab, 'b2', '10.0.1.12'), 'its own pings are answered');
    assert.equal((await ask(dc.lab, 'b2', 'tcp', '10.0.1.12', 80)).by, 'a2');
    await chain('accept');
    assert.ok(await pings(dc.lab, 'a2', '10.0.2.12'));
  });

  test('a rule logs what is decided of the packet, also by the state of its connection', async () => {
    await chain(
      'drop',
      rule('noted', 10, { protocol: 'icmp', dst: '10.0.2.12/32' }, 'log'),
      rule('known', 20, { state: ['established', 'related'] }, 'accept'),
      rule('own', 30, { state: ['new'], src: '10.0.2.12/32' }, 'accept'),
    );
    const ping = (decided: string, type: number): string =>
      `chain guarded, rule noted: ${decided}, icmp 10.0.1.12 → 10.0.2.12 type ${type} code 0, to port acme/b2 on switch b`;
    assert.ok(await isSilent(dc.lab, 'a2', '10.0.2.12'));
    await logs('guarded/noted', ping('drop by policy', 8));
    assert.ok(await pings(dc.lab, 'b2', '10.0.1.12'));
    await logs('guarded/noted', ping('accept by rule known', 0));
    await chain('accept');
  });

  test('reject says so: a reset for TCP, an error for the rest', async () => {
    await chain(
      'accept',
      rule('no-tcp', 10, { protocol: 'tcp', dstPorts: '5432' }, 'reject'),
      rule('no-udp', 20, { protocol: 'udp', dstPorts: '8001' }, 'reject'),
    );
    assert.equal((await ask(dc.lab, 'a2', 'tcp', '10.0.2.12', 5432)).why, 'ECONNREFUSED');
    assert.equal((await ask(dc.lab, 'a2', 'tcp', 'fd00:2::12', 5432)).why, 'ECONNREFUSED');
    assert.match((await ask(dc.lab, 'a2', 'udp', '10.0.2.12', 8001)).why!, /EHOSTUNREACH|EACCES|ECONNREFUSED/);
    assert.equal((await ask(dc.lab, 'b1', 'tcp', '10.0.2.12', 5432)).why, 'ECONNREFUSED', 'within the network');
    await chain('accept');
  });

  test('sets, inversion, flags and fragments', async () => {
    await put(acme('addressSet', 'friends', { addresses: ['10.0.1.12', '10.0.7.0/24'] }));
    await chain(
      'accept',
      rule('strangers', 10, { protocol: 'tcp', dstPorts: '80', srcSet: 'friends', not: ['srcSet'] }, 'drop'),
    );
    await askAll(dc.lab, ['a2', 'tcp', '10.0.2.12', 80, 'b2'], ['a1', 'tcp', '10.0.2.12', 80, 'timeout']);
    await put(acme('addressSet', 'friends', { addresses: ['10.0.1.11'] }));
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '10.0.2.12', 80)).by, 'b2');
    await chain('accept', rule('no-fragments', 10, { fragment: 'any' }, 'drop'));
    assert.ok(await isSilent(dc.lab, 'a2', '10.0.2.12', 4000));
    assert.ok(await pings(dc.lab, 'a2', '10.0.2.12'));
    await chain('accept', rule('no-fragments', 10, { fragment: 'any' }, 'reject'));
    assert.match(await refusal('a2', '10.0.2.12'), /From 10\.0\.2\.12 .*Packet filtered/);
    assert.ok(await pings(dc.lab, 'a2', '10.0.2.12'));
    await chain('accept', rule('no-begin', 10, { protocol: 'tcp', tcpFlags: '+syn-ack' }, 'drop'));
    assert.ok(await unanswered(dc.lab, 'a2', 'tcp', '10.0.2.12', 80));
    await chain('accept');
  });

  test('chains on a router filter what enters and what leaves it', async () => {
    const port = (more: object) =>
      acme('routerPort', 'b', { router: 'r', switch: 'b', addresses: ['10.0.2.1/24', 'fd00:2::1/64'], ...more });
    await put(
      acme('chain', 'edge', { policy: 'accept' }),
      acme('rule', 'no-ssh', {
        chain: 'edge',
        position: 10,
        match: { protocol: 'tcp', dstPorts: '22' },
        action: 'drop',
      }),
    );
    await put(
      acme('rule', 'seen', { chain: 'edge', position: 5, match: { protocol: 'tcp', dstPorts: '22' }, action: 'log' }),
    );
    await put(port({ outChain: 'edge' }));
    await askAll(
      dc.lab,
      ['a2', 'tcp', '10.0.2.12', 22, 'timeout'],
      ['a2', 'tcp', '10.0.2.12', 80, 'b2'],
      ['b1', 'tcp', '10.0.2.12', 22, 'b2'], // what stays in the network
    );
    const seen = 'chain edge, rule seen: drop by rule no-ssh, tcp';
    await logs('edge/seen', `${seen} 10.0.1.12 → 10.0.2.12:22, out by router port acme/r/b`);
    await put(port({ inChain: 'edge' }));
    await askAll(dc.lab, ['a2', 'tcp', '10.0.2.12', 22, 'b2'], ['b2', 'tcp', '10.0.1.11', 22, 'timeout']);
    await logs('edge/seen', `${seen} 10.0.2.12 → 10.0.1.11:22, in by router port acme/r/b`);
    await put(
      acme('rule', 'no-fragments', { chain: 'edge', position: 20, match: { fragment: 'any' }, action: 'reject' }),
    );
    await put(port({ outChain: 'edge' }));
    assert.match(await refusal('a2', '10.0.2.12'), /From 10\.0\.1\.1 .*Packet filtered/);
    await put(port({}));
  });

  test('who asks is told which rule allows a connection', async () => {
    const held = await hold(dc.lab, 'a2', '10.0.2.11', 22);
    assert.ok(await unanswered(dc.lab, 'a2', 'tcp', '10.0.2.11', 5432));
    const query = { port: 'b1', tenant: 'acme' };
    const { client } = dc.weft;
    await eventually('it is told', 40_000, async () => {
      const { items } = await client.get<{ items: readonly ShownConnection[] }>('/v1/flows', { query });
      const ssh = items.find(({ to, state }) => to.port === 22 && state === 'established');
      if (!ssh) return false;
      assert.equal(ssh.allowedBy, 'acme/web: ingress[0] (tcp/22 from 0.0.0.0/0)');
      return true;
    });
    held.stop();
  });
});
