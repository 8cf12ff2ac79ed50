import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { AGENT_PROCESS } from '../../src/lab/weft.ts';
import { applyEverywhere, type Datacentre, eventually, isSilent, pings, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, hold, serveAll } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** Floating addresses and source translation; MidoNet's scenarios 25 to 30. */
describe('address translation', { skip: needsRoot }, () => {
  let dc: Datacentre;

  before(async () => {
    dc = await startDatacentre({
      prefix: 'nat',
      hosts: ['east', 'west', 'edge'],
      objects: [
        ...networks({
          snat: [
            { from: '10.0.0.0/16', to: '203.0.113.2' },
            { from: 'fd00::/16', to: '2001:db8:f::2' },
          ],
        }),
        ...['a1', 'a2', 'a3', 'b1'].map((name) => member(name)),
        acme('floatingAddress', 'f1', { address: '203.0.113.11', router: 'r', port: 'a1' }),
        acme('floatingAddress', 'f6', { address: '2001:db8:f::11', router: 'r', port: 'a1' }),
        outsider('o1', 1),
        outsider('o2', 2),
      ],
      workloads: [
        workload('a1', 'east'),
        workload('a2', 'east'),
        workload('a3', 'west'),
        workload('b1', 'west'),
        outsideWorkload('o1', 1, 'edge'),
        outsideWorkload('o2', 2, 'east'),
      ],
    });
    await serveAll(dc.lab, ['a1', 'a2', 'o1', 'o2'], 'tcp/80', 'udp/53');
  });
  after(() => dc?.down());

  test('a floating address leads to its workload: TCP, UDP, ping, both families, from another host and from its own', async () => {
    for (const from of ['o1', 'o2'])
      for (const address of ['203.0.113.11', '2001:db8:f::11']) {
        const tcp = await ask(dc.lab, from, 'tcp', address, 80);
        assert.equal(tcp.by, 'a1', `${from} to ${address}: ${JSON.stringify(tcp)}`);
        assert.match(tcp.seen!, /^(203\.0\.113\.10|2001:db8:f::10)/, 'the client is seen as it is');
        assert.equal((await ask(dc.lab, from, 'udp', address, 53)).by, 'a1');
        assert.ok(await pings(dc.lab, from, address), `ping ${address}`);
        assert.ok(await pings(dc.lab, from, address, 3000), `fragments to ${address}`);
      }
  });

  test('a floating address that is given to another workload of its host takes what goes on along', async () => {
    const given = (port: string): Promise<void> =>
      applyEverywhere(dc, [
        acme('floatingAddress', 'f1', { address: '203.0.113.11', router: 'r', port }),
        acme('floatingAddress', 'f6', { address: '2001:db8:f::11', router: 'r', port }),
      ]);
    // From one port: to connection tracking that is one connection.
    const answers = async (by: string): Promise<void> => {
      for (const address of ['203.0.113.11', '2001:db8:f::11'])
        await eventually(`${by} at ${address}`, 1_000, async () => {
          return (await ask(dc.lab, 'o1', 'udp', address, 53, { timeoutMs: 300, sourcePort: 5_300 })).by === by;
        });
    };
    for (const port of ['a1', 'a2', 'a1']) {
      await given(port);
      await answers(port);
    }
  });

  test('its workload is seen outside under its floating address', async () => {
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '203.0.113.101', 80)).seen, '203.0.113.11');
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '203.0.113.102', 80)).seen, '203.0.113.11');
    assert.equal((await ask(dc.lab, 'a1', 'udp', '2001:db8:f::101', 53)).seen, '2001:db8:f::11');
    assert.ok(await pings(dc.lab, 'a1', '203.0.113.101'));
  });

  test('others share one address, with ports of their own from every host', async () => {
    const ports = new Map<string, number>();
    for (const from of ['a2', 'a3', 'b1'])
      for (const protocol of ['tcp', 'udp'] as const) {
        const answer = await ask(dc.lab, from, protocol, '203.0.113.101', protocol === 'tcp' ? 80 : 53);
        assert.deepEqual([answer.by, answer.seen], ['o1', '203.0.113.2'], `${from}: ${JSON.stringify(answer)}`);
        ports.set(`${from} ${protocol}`, answer.seenPort!);
      }
    const block = (who: string): number => ports.get(`${who} tcp`)! >> 9;
    assert.notEqual(block('a2'), block('a3'), 'hosts have blocks of their own');
    assert.equal((await ask(dc.lab, 'a3', 'tcp', '2001:db8:f::101', 80)).seen, '2001:db8:f::2');
    for (const from of ['a2', 'a3', 'b1']) assert.ok(await pings(dc.lab, from, '203.0.113.101'), `ping from ${from}`);
  });

  test('ICMP errors come back translated, in both directions', async () => {
    assert.equal((await ask(dc.lab, 'o1', 'udp', '203.0.113.11', 9)).why, 'ECONNREFUSED');
    assert.equal((await ask(dc.lab, 'a1', 'udp', '203.0.113.101', 9)).why, 'ECONNREFUSED');
    assert.equal((await ask(dc.lab, 'a3', 'udp', '203.0.113.101', 9)).why, 'ECONNREFUSED');
    assert.equal((await ask(dc.lab, 'a3', 'udp', '2001:db8:f::101', 9)).why, 'ECONNREFUSED');
  });

  test('traceroute through a floating address names every hop', async () => {
    const text = await dc.lab.execOk('o1', [
      'busybox',
      'traceroute',
      '-n',
      '-q',
      '1',
      '-w',
      '2',
      '-m',
      '4',
      '203.0.113.11',
    ]);
    const hops = text
      .split('\n')
      .slice(1)
      .flatMap((line) => line.trim().split(/\s+/)[1] ?? []);
    // What comes back about a translated packet is translated too, its sender included (as other NATs do).
    assert.equal(hops.length, 2, text);
    assert.match(hops[0]!, /^203\.0\.113\.(1|11)$/);
    assert.equal(hops[1], '203.0.113.11');
  });

  test('a workload reaches a floating address of its own network', async () => {
    for (const from of ['a2', 'a3', 'b1']) {
      const answer = await ask(dc.lab, from, 'tcp', '203.0.113.11', 80);
      assert.deepEqual([answer.by, answer.seen], ['a1', '203.0.113.2'], `${from}: ${JSON.stringify(answer)}`);
    }
  });

  test('connections outlive a change that does not concern them, and an agent', async () => {
    const held = await hold(dc.lab, 'a3', '203.0.113.101', 80);
    const inward = await hold(dc.lab, 'o1', '203.0.113.11', 80);
    await dc.weft.client.post('/v1/apply', {
      objects: [member('a4'), acme('floatingAddress', 'f4', { address: '203.0.113.14', router: 'r', port: 'a4' })],
    });
    for (const host of ['east', 'west']) {
      const agent = dc.lab.processes().find((p) => p.place === host && p.name === AGENT_PROCESS)!;
      await agent.kill();
      await agent.start();
    }
    const before = [held.echoes(), inward.echoes()];
    // They say something ten times a second.
    await sleep(800);
    assert.ok(held.isOpen() && held.echoes() > before[0]!, 'out');
    assert.ok(inward.isOpen() && inward.echoes() > before[1]!, 'in');
    held.stop();
    inward.stop();
  });

  test('what the outside begins to an address that is only shared goes nowhere', async () => {
    const [tcp, ping] = await Promise.all([
      ask(dc.lab, 'o1', 'tcp', '203.0.113.2', 80, { timeoutMs: 700 }),
      isSilent(dc.lab, 'o1', '10.0.1.12'),
    ]);
    assert.deepEqual([tcp.by, ping], [undefined, true]);
  });
});
