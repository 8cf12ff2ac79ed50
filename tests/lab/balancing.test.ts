import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ConnectionCrowd, startCrowd } from '../../src/lab/connection-crowd.ts';
import { applyEverywhere, type Datacentre, eventually, pings, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, type HeldConnection, hold, serve, serveAll, tally as tallyAt, unanswered } from './services.ts';
import { acme, member, networks, outsider, outsideWorkload, workload } from './tenancy.ts';

/** Connections of a crowd, and how far a member's share of them may be from its weight. */
const CROWD = 1000;
const SHARE_OFF = 0.05;
/** Each crowd has one of its own. */
const CROWD_PORTS = [7100, 7101, 7102, 7103];

/** Load balancers; MidoNet's scenarios 44 to 48. */
describe('a load balancer', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const services = new Map<string, { stop(): Promise<void> }>();
  const balancer = (more: object = {}): Record<string, unknown> =>
    acme('loadBalancer', 'app', {
      address: '10.0.9.9',
      router: 'r',
      listeners: [
        { protocol: 'tcp', port: 80, memberPort: 8080 },
        { protocol: 'udp', port: 53 },
      ],
      members: [{ port: 'b1' }, { port: 'b2' }],
      ...more,
    });
  const put = (...objects: object[]): Promise<void> => applyEverywhere(dc, objects);
  /** Who answers so many connections, and how often. */
  const tally = (from: string, address: string, count = 24): Promise<Map<string, number>> =>
    tallyAt(dc.lab, from, address, 80, count);

  const goOn = (held: readonly HeldConnection[], when: string): Promise<boolean> => {
    const before = held.map((each) => each.echoes());
    return eventually(`connections go on, ${when}`, 2000, async () =>
      held.every((each, n) => each.isOpen() && each.echoes() > before[n]!),
    );
  };

  before(async () => {
    dc = await startDatacentre({
      prefix: 'lb',
      hosts: ['east', 'west'],
      objects: [
        ...networks(),
        ...['a1', 'a2', 'b1', 'b2', 'b3'].map((name) => member(name)),
        balancer(),
        acme('loadBalancer', 'six', {
          address: 'fd00:9::9',
          router: 'r',
          listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
          members: [{ port: 'b1' }, { port: 'b2' }],
        }),
        acme('loadBalancer', 'web', {
          address: '203.0.113.80',
          router: 'r',
          listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
          members: [{ port: 'b1' }, { port: 'b2' }],
        }),
        acme('loadBalancer', 'local', {
          address: '10.0.2.200',
          switch: 'b',
          listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
          members: [{ port: 'b1' }, { port: 'b2' }],
        }),
        outsider('o1', 1),
        outsider('o2', 2),
      ],
      workloads: [
        workload('a1', 'east'),
        workload('a2', 'west'),
        workload('b1', 'east'),
        workload('b2', 'west'),
        workload('b3', 'west'),
        outsideWorkload('o1', 1, 'east'),
        outsideWorkload('o2', 2, 'west'),
      ],
    });
    const members = ['b1', 'b2', 'b3'];
    await Promise.all([
      ...members.map(async (name) => services.set(name, await serve(dc.lab, name, 'tcp', 8080))),
      serveAll(dc.lab, members, 'udp/53'),
    ]);
  });
  after(() => dc?.down());

  test('shares connections out, from every host, in both families, and shows who really calls', async () => {
    for (const from of ['a1', 'a2'])
      for (const address of ['10.0.9.9', 'fd00:9::9']) {
        const by = await tally(from, address);
        assert.deepEqual([...by.keys()].sort(), ['b1', 'b2'], `${from} to ${address}: ${[...by]}`);
      }
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '10.0.9.9', 80)).seen, '10.0.1.11');
    assert.match((await ask(dc.lab, 'a1', 'udp', '10.0.9.9', 53)).by ?? 'nobody', /^b[12]$/);
  });

  test('answers pings at its address', async () => {
    assert.ok(await pings(dc.lab, 'a1', '10.0.9.9'));
  });

  test('is reached from outside', async () => {
    for (const from of ['o1', 'o2']) {
      const by = await tally(from, '203.0.113.80');
      assert.deepEqual([...by.keys()].sort(), ['b1', 'b2'], `${from}: ${[...by]}`);
    }
    assert.equal((await ask(dc.lab, 'o1', 'tcp', '203.0.113.80', 80)).seen, '203.0.113.101');
  });

  test('whose member rejects a client outside is heard there, at the address that was called', async () => {
    const members = ['b1', 'b2'];
    const shut = { chain: 'shut', position: 10, match: { src: '203.0.113.0/24' }, action: 'reject' };
    await put(
      acme('chain', 'shut', { policy: 'accept' }),
      acme('rule', 'outsiders', shut),
      ...members.map((name) => member(name, { toChain: 'shut' })),
      acme('loadBalancer', 'names', {
        ...{ address: '203.0.113.81', router: 'r', listeners: [{ protocol: 'udp', port: 53 }] },
        members: members.map((port) => ({ port })),
      }),
    );
    for (const from of ['o1', 'o2']) {
      assert.equal((await ask(dc.lab, from, 'tcp', '203.0.113.80', 80)).why, 'ECONNREFUSED', from);
      assert.match((await ask(dc.lab, from, 'udp', '203.0.113.81', 53)).why!, /EHOSTUNREACH|EACCES|ECONNREFUSED/, from);
    }
    await put(...members.map((name) => member(name)));
    assert.match((await ask(dc.lab, 'o1', 'udp', '203.0.113.81', 53)).by ?? 'nobody', /^b[12]$/);
  });

  test('a chain of whose router rejects is heard outside at once, at the address that was called, floating ones too', async () => {
    const six = { address: '2001:db8:f::80', listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }] };
    const floating = (name: string, address: string): Record<string, unknown> =>
      acme('floatingAddress', name, { address, router: 'r', port: 'b3' });
    const refused = { chain: 'edge', position: 10, match: { protocol: 'tcp', dstPorts: '8080' }, action: 'reject' };
    const out = { switch: 'provider/public', addresses: ['203.0.113.1/24', '2001:db8:f::1/64'], outside: true };
    const inner = { switch: 'b', addresses: ['10.0.2.1/24', 'fd00:2::1/64'] };
    const ports = (onOut: object, onInner: object): Record<string, unknown>[] => [
      acme('routerPort', 'out', { router: 'r', ...out, ...onOut }),
      acme('routerPort', 'b', { router: 'r', ...inner, ...onInner }),
    ];
    const called: readonly (readonly [string, number])[] = [
      ['203.0.113.80', 80],
      ['2001:db8:f::80', 80],
      ['203.0.113.13', 8080],
      ['2001:db8:f::13', 8080],
    ];
    await put(
      acme('loadBalancer', 'web6', { router: 'r', ...six, members: [{ port: 'b1' }, { port: 'b2' }] }),
      ...[floating('f4', '203.0.113.13'), floating('f6', '2001:db8:f::13')],
      ...[acme('chain', 'edge', { policy: 'accept' }), acme('rule', 'no-web', refused)],
    );
    for (const [address, port] of called)
      assert.match((await ask(dc.lab, 'o1', 'tcp', address, port)).by ?? 'nobody', /^b[123]$/, address);
    for (const [onOut, onInner] of [
      [{ inChain: 'edge' }, {}],
      [{}, { outChain: 'edge' }],
    ] as const) {
      await put(...ports(onOut, onInner));
      for (const from of ['o1', 'o2'])
        for (const [address, port] of called) {
          const { why } = await ask(dc.lab, from, 'tcp', address, port, { timeoutMs: 700 });
          assert.equal(why, 'ECONNREFUSED', `${from} calls ${address}, ${JSON.stringify([onOut, onInner])}`);
        }
    }
    // What a member answers is refused to the member.
    await put(...ports({}, {}), acme('rule', 'no-web', { ...refused, match: { protocol: 'tcp', srcPorts: '80' } }));
    const held = await hold(dc.lab, 'o1', '203.0.113.80', 80);
    const isHeard = async (): Promise<boolean> =>
      /:1F90 [0-9A-F]{24}657100CB:[0-9A-F]{4} 01 /.test(await dc.lab.execOk(held.by, ['cat', '/proc/net/tcp6']));
    try {
      assert.ok(await isHeard());
      await put(...ports({ outChain: 'edge' }, {}));
      await eventually(`${held.by} hears that its answers are refused`, 2000, async () => !(await isHeard()));
    } finally {
      held.stop();
    }
    await put(...ports({}, {}));
    assert.match((await ask(dc.lab, 'o1', 'tcp', '203.0.113.80', 80)).by ?? 'nobody', /^b[12]$/);
  });

  test('shares its address with others: each port of it leads where its balancer says, from outside and inside', async () => {
    const at = (name: string, protocol: string, port: number, to: string): Record<string, unknown> =>
      acme('loadBalancer', name, {
        ...{ address: '203.0.113.90', router: 'r', members: [{ port: to }] },
        listeners: [{ protocol, port, ...(protocol === 'tcp' ? { memberPort: 8080 } : {}) }],
      });
    await put(at('fwd-web', 'tcp', 80, 'b1'), at('fwd-ssh', 'tcp', 2222, 'b2'), at('fwd-dns', 'udp', 53, 'b3'));
    for (const from of ['o1', 'o2', 'a1', 'a2', 'b1', 'b2']) {
      assert.equal((await ask(dc.lab, from, 'tcp', '203.0.113.90', 80)).by, 'b1', from);
      assert.equal((await ask(dc.lab, from, 'tcp', '203.0.113.90', 2222)).by, 'b2', from);
      assert.equal((await ask(dc.lab, from, 'udp', '203.0.113.90', 53)).by, 'b3', from);
    }
    for (const from of ['o1', 'a1']) assert.ok(await pings(dc.lab, from, '203.0.113.90'));
    const held = [await hold(dc.lab, 'o1', '203.0.113.90', 2222), await hold(dc.lab, 'a1', '203.0.113.90', 2222)];
    try {
      await dc.weft.client.request('DELETE', '/v1/load-balancers/fwd-web', { query: { tenant: 'acme' } });
      await dc.weft.client.get('/v1/sync');
      await goOn(held, 'the first that had the address is deleted');
      assert.notEqual((await ask(dc.lab, 'o1', 'tcp', '203.0.113.90', 80)).by, 'b1');
      assert.equal((await ask(dc.lab, 'o2', 'udp', '203.0.113.90', 53)).by, 'b3');
    } finally {
      for (const each of held) each.stop();
    }
  });

  test('serves clients of the members’ own network, and a member that calls it', async () => {
    assert.deepEqual([...(await tally('b3', '10.0.9.9', 16)).keys()].sort(), ['b1', 'b2']);
    assert.deepEqual([...(await tally('b3', '10.0.2.200', 16)).keys()].sort(), ['b1', 'b2'], 'on the switch itself');
    assert.deepEqual([...(await tally('b1', '10.0.9.9', 16)).keys()].sort(), ['b1', 'b2'], 'itself too');
  });

  test('has of many connections at each member what its weight says, from inside and outside, and loses none when one is drained', async (t) => {
    const weighted = (...members: object[]): Record<string, unknown>[] =>
      Object.entries({ inner: '10.0.9.10', outer: '203.0.113.82' }).map(([name, address]) =>
        acme('loadBalancer', `weighted-${name}`, {
          ...{ address, router: 'r', members },
          listeners: CROWD_PORTS.map((port) => ({ protocol: 'tcp', port })),
        }),
      );
    const open = (from: string, address: string, port: number): Promise<ConnectionCrowd> =>
      startCrowd(dc.lab, {
        ...{ from, to: ['b1', 'b2'], address, port, connections: CROWD },
        ...{ perSecond: 400, intervalMs: 2000, openTimeoutMs: 30_000 },
      });
    const ways = [
      ['a1', '10.0.9.10'],
      ['o1', '203.0.113.82'],
    ] as const;
    /** Of connections that are all there, and answer, how many are at each member. */
    const at = async (crowd: ConnectionCrowd, when: string): Promise<Readonly<Record<string, number>>> => {
      const report = await crowd.report('answered', 30_000);
      const { established, failed, died, stalled, wrong, troubles } = report;
      t.diagnostic(`${when}: ${JSON.stringify(report.at)}`);
      assert.deepEqual(
        { established, failed, died, stalled, wrong, troubles },
        { established: CROWD, failed: 0, died: 0, stalled: 0, wrong: 0, troubles: [] },
        when,
      );
      return report.at;
    };
    const isShared = async (crowd: ConnectionCrowd, when: string, wanted: number): Promise<void> => {
      const share = (await at(crowd, when)).b1! / CROWD;
      assert.ok(Math.abs(share - wanted) <= SHARE_OFF, `${when}: b1 has ${share} of them instead of ${wanted}`);
    };
    const [b1, b2] = [{ port: 'b1', weight: 3 }, { port: 'b2' }];
    const crowds: ConnectionCrowd[] = [];
    for (const [n, [from, address]] of ways.entries()) {
      await put(...weighted(b1, b2));
      const old = await open(from, address, CROWD_PORTS[n]!);
      crowds.push(old);
      await isShared(old, `${from}, 3:1`, 0.75);
      const before = await at(old, 'before b1 is drained');
      await put(...weighted({ ...b1, drain: true }, b2));
      const late = await open(from, address, CROWD_PORTS[n + ways.length]!);
      crowds.push(late);
      await isShared(late, `${from}, b1 is drained`, 0);
      assert.deepEqual(await at(old, 'b1 is drained'), before);
      await put(...weighted({ port: 'b1' }, { ...b2, weight: 3 }));
      assert.deepEqual(await at(old, 'the other way round'), before);
    }
    await Promise.all(crowds.map((crowd) => crowd.stop()));
  });

  test('keeps a client at its member where it is to stick', async () => {
    await put(balancer({ sticky: 'source' }));
    assert.equal((await tally('a1', '10.0.9.9', 12)).size, 1);
    await put(balancer());
  });

  test('established connections outlive added and drained members; only a new one goes elsewhere', async () => {
    const held: HeldConnection[] = [];
    for (let n = 0; n < 6; n++) held.push(await hold(dc.lab, n % 2 ? 'a1' : 'a2', '10.0.9.9', 80));
    await put(balancer({ members: [{ port: 'b1', drain: true }, { port: 'b2' }, { port: 'b3' }] }));
    assert.deepEqual([...(await tally('a1', '10.0.9.9', 16)).keys()].sort(), ['b2', 'b3']);
    await goOn(held, 'b1 drained and b3 added');
    for (const each of held) each.stop();
    await put(balancer());
  });

  test('connections from outside outlive every change but the loss of their member', async () => {
    const web = (...members: object[]): Record<string, unknown> =>
      acme('loadBalancer', 'web', {
        address: '203.0.113.80',
        router: 'r',
        listeners: [{ protocol: 'tcp', port: 80, memberPort: 8080 }],
        members,
      });
    const held: HeldConnection[] = [];
    const members = (): string[] => [...new Set(held.map(({ by }) => by))].sort();
    // The ports that they begin with decide: of six, all go to one member once in 32 times.
    for (let n = 0; n < 6 || (members().length < 2 && n < 30); n++)
      held.push(await hold(dc.lab, n % 2 ? 'o1' : 'o2', '203.0.113.80', 80));
    assert.deepEqual(members(), ['b1', 'b2']);
    const [b1, b2, b3] = [{ port: 'b1' }, { port: 'b2' }, { port: 'b3' }];
    const changes = {
      'b1 drained': web({ ...b1, drain: true }, b2),
      'b3 added': web({ ...b1, drain: true }, b2, b3),
      'b2 administratively down': web({ ...b1, drain: true }, { ...b2, adminUp: false }, b3),
      'nobody serves': web({ ...b1, drain: true }, { ...b2, adminUp: false }, { ...b3, drain: true }),
      'all back': web(b1, b2, b3),
    };
    try {
      for (const [when, changed] of Object.entries(changes)) {
        await put(changed);
        await goOn(held, when);
      }
      await put(web(b2, b3));
      const [lost, others] = [held.filter(({ by }) => by === 'b1'), held.filter(({ by }) => by !== 'b1')];
      const before = lost.map((each) => each.echoes());
      await goOn(others, 'b1 removed');
      await sleep(800);
      for (const [n, each] of lost.entries())
        assert.equal(each.isOpen() && each.echoes() > before[n]!, false, `connection ${n} to b1, which is removed`);
    } finally {
      for (const each of held) each.stop();
      await put(web(b1, b2));
    }
  });

  test('takes a member out that does not answer its probes, and back when it does', async () => {
    const health = { type: 'tcp', intervalMs: 500, timeoutMs: 400, rise: 2, fall: 2 };
    await put(balancer({ health }));
    assert.deepEqual([...(await tally('a1', '10.0.9.9', 16)).keys()].sort(), ['b1', 'b2']);
    await services.get('b1')!.stop();
    await eventually('only b2 answers', 10_000, async () => {
      const by = await tally('a1', '10.0.9.9', 10);
      return by.size === 1 && by.has('b2');
    });
    services.set('b1', await serve(dc.lab, 'b1', 'tcp', 8080));
    await eventually('b1 is back', 10_000, async () => (await tally('a1', '10.0.9.9', 12)).has('b1'));
    await put(balancer());
  });

  test('says so, or says nothing, where nobody serves', async () => {
    const members = [{ port: 'b1', adminUp: false }];
    await put(balancer({ members }));
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '10.0.9.9', 80)).why, 'ECONNREFUSED');
    await put(balancer({ members, onEmpty: 'drop' }));
    assert.ok(await unanswered(dc.lab, 'a1', 'tcp', '10.0.9.9', 80));
    const listeners = [
      { protocol: 'tcp', port: 80, memberPort: 8080, adminUp: false },
      { protocol: 'udp', port: 53 },
    ];
    await put(balancer({ listeners }));
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '10.0.9.9', 80)).by, undefined, 'this service is down');
    assert.match((await ask(dc.lab, 'a1', 'udp', '10.0.9.9', 53)).by ?? 'nobody', /^b[12]$/);
    await put(balancer({ adminUp: false }));
    assert.equal((await ask(dc.lab, 'a1', 'tcp', '10.0.9.9', 80)).by, undefined, 'the balancer is down');
    await put(balancer());
    assert.match((await ask(dc.lab, 'a1', 'tcp', '10.0.9.9', 80)).by ?? 'nobody', /^b[12]$/);
  });
});
