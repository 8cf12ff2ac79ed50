// Measures: runs in pairs, first, by --all.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { Lab } from '../../src/lab/lab.ts';
import type { StreamReport } from '../../src/lab/packet-stream.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { requestLease } from '../../src/lab/udhcpc.ts';
import { findPort, waitForPorts } from '../../src/lab/weft.ts';
import { type Datacentre, eventually, pings, sleep, startDatacentre } from './datacentre.ts';
import { BROADCAST, udp } from './frames.ts';
import { needsRoot } from './lab-name.ts';
import { type LosslessStreams, startLossless } from './lossless.ts';

/** How long the server is away. */
const AWAY_MS = process.env.WEFT_CAMPAIGN ? 60_000 : 3_000;

const OBJECTS = [
  { kind: 'tenant', name: 'red' },
  { kind: 'switch', tenant: 'red', name: 'net', subnets: [{ cidr: '10.0.0.0/24', gateway: '10.0.0.1' }] },
  ...[1, 2, 3, 4, 5].map((n) => ({
    kind: 'port',
    tenant: 'red',
    switch: 'net',
    name: `p${n}`,
    addresses: [`10.0.0.1${n}`],
  })),
  { kind: 'switch', tenant: 'red', name: 'open' },
  ...['o1', 'o2'].map((name) => ({ kind: 'port', tenant: 'red', switch: 'open', name, portSecurity: false })),
];
/** Learned behind `o1`. */
const GUEST = '02:77:00:00:00:01';

/** Of each flow what says what it does: table, priority, match and actions. */
async function flowsOf(lab: Lab, host: string): Promise<string[]> {
  const text = await lab.switchOf(host).ofctl('-O', 'OpenFlow15', '--no-stats', 'dump-flows', 'br-int');
  return text
    .split('\n')
    .filter((line) => line.includes('table') || line.includes('actions'))
    .sort();
}

/** When each flow was installed, rounded: a flow that was touched is younger. */
async function ages(lab: Lab, host: string): Promise<number> {
  const text = await lab.switchOf(host).ofctl('-O', 'OpenFlow15', 'dump-flows', 'br-int');
  return Math.min(...[...text.matchAll(/duration=([\d.]+)s/g)].map((m) => Number(m[1])));
}

function assertNoDuplicates(reports: readonly StreamReport[]): void {
  for (const { duplicates } of reports) assert.equal(duplicates, 0);
}

describe('traffic survives what controls it', { skip: needsRoot }, () => {
  let dc: Datacentre;
  let stream: LosslessStreams;
  const unanswered = async (from: string, address: string): Promise<boolean> =>
    (await dc.lab.exec(from, ['ping', '-c', '1', '-W', '0.5', address])).code !== 0;
  const begin = async (): Promise<void> => {
    stream = await startLossless(dc.lab, [{ from: 'w1', to: 'w2', pps: 5000 }]);
  };
  before(async () => {
    dc = await startDatacentre({
      prefix: 'sv',
      hosts: ['a', 'b'],
      objects: OBJECTS,
      workloads: [
        { name: 'w1', host: 'a', port: 'red/p1', addresses: ['10.0.0.11/24'] },
        { name: 'w2', host: 'b', port: 'red/p2', addresses: ['10.0.0.12/24'] },
        { name: 'w3', host: 'a', port: 'red/p3' },
        { name: 'w4', host: 'b', port: 'red/p4' },
        { name: 'w5', host: 'a', port: 'red/p5', addresses: ['10.0.0.15/24'] },
        { name: 'o1', host: 'a', port: 'red/o1' },
        { name: 'o2', host: 'b', port: 'red/o2' },
      ],
    });
    await sendFramesOnce(dc.lab, 'o1', [udp({ src: GUEST, dst: BROADCAST }, ['192.0.2.1', '192.0.2.2'], [1, 2])]);
    // As in a datacentre that runs: everything has been told to everybody, also the addresses that the workloads' own kernels say.
    await eventually('the address that was learned', 5000, async () =>
      (await flowsOf(dc.lab, 'b')).some((flow) => flow.includes(GUEST)),
    );
    // Their first leases change the MTU of their links, which Open vSwitch takes the ports of its datapath anew for.
    for (const workload of ['w3', 'w4']) await requestLease(dc.lab, workload);
    await sleep(1000);
  });
  after(() => dc?.down());

  for (const [how, end] of [
    ['are stopped and started', 'stop'],
    ['are killed and started', 'kill'],
  ] as const)
    test(`no packet is lost and no flow touched when the agents ${how}`, async () => {
      const before = { a: await flowsOf(dc.lab, 'a'), b: await flowsOf(dc.lab, 'b') };
      await begin();
      await sleep(200);
      const from = performance.now();
      const agents = ['a', 'b'].map((host) => dc.weft.agent(host));
      await Promise.all(agents.map((agent) => agent[end]()));
      await sleep(500);
      await Promise.all(agents.map((agent) => agent.start()));
      await sleep(1000);
      assertNoDuplicates(await stream.stop(how));
      for (const host of ['a', 'b'] as const) {
        assert.deepEqual(await flowsOf(dc.lab, host), before[host]);
        assert.ok((await ages(dc.lab, host)) * 1000 > performance.now() - from, `a flow of ${host} is new`);
      }
    });

  test('while the server is away packets flow, addresses are leased and resolved, known ports are bound', async () => {
    await begin();
    await sleep(300);
    await dc.weft.server.stop();
    const until = performance.now() + AWAY_MS;
    const lease = await requestLease(dc.lab, 'w3');
    assert.equal(lease.address, '10.0.0.13');
    assert.ok(lease.elapsedMs < 2000);
    // ARP is answered by the host, also for what is elsewhere.
    await dc.lab.execOk('w5', ['ip', 'neigh', 'flush', 'all']);
    assert.ok(await pings(dc.lab, 'w5', '10.0.0.12'));
    assertNoDuplicates(await stream.stop('server gone'));
    // Out and in again as another OpenFlow port. Not counted: Open vSwitch itself loses some milliseconds of other ports' packets now and then (LIMITS.md).
    await dc.lab.unplug('w5');
    assert.ok(await unanswered('w1', '10.0.0.15'));
    await dc.lab.plug('w5', dc.ports.get('w5')!.id);
    await eventually('the port that was plugged again', 3000, () => pings(dc.lab, 'w5', '10.0.0.12'));
    await begin();
    await sleep(until - performance.now());
    await dc.weft.server.start();
    await waitForPorts(
      dc.weft.client,
      [...dc.ports.values()].map((port) => port.id),
      15_000,
    );
    await sleep(500);
    assertNoDuplicates(await stream.stop('server away'));
  });

  test('an agent that starts while the server is away goes on from its disk', async () => {
    const before = await flowsOf(dc.lab, 'a');
    await begin();
    await dc.weft.server.stop();
    await dc.weft.agent('a').kill();
    await sleep(500);
    await dc.weft.agent('a').start();
    await sleep(500);
    assert.deepEqual(await flowsOf(dc.lab, 'a'), before);
    assert.equal((await requestLease(dc.lab, 'w3')).address, '10.0.0.13');
    assertNoDuplicates(await stream.stop('agent without server'));
  });

  test('an agent that knows nothing and finds no server changes no flow', async () => {
    const before = await flowsOf(dc.lab, 'b');
    const agent = dc.weft.agent('b');
    await begin();
    await agent.stop();
    rmSync(dc.weft.files.agentDir('b'), { recursive: true });
    // Not waited for: it is not ready before it knows something.
    const from = agent.logSize;
    const starting = agent.start();
    await agent.waitForLine(/"message":"started"/, 10_000, from);
    await sleep(1000);
    assert.deepEqual(await flowsOf(dc.lab, 'b'), before);
    assertNoDuplicates(await stream.stop('agent that knows nothing'));
    await dc.weft.server.start();
    await starting;
    await waitForPorts(
      dc.weft.client,
      [...dc.ports.values()].map((port) => port.id),
      15_000,
    );
    // What the other hosts have learned comes with their own connections.
    await eventually('what others know', 10_000, async () =>
      isDeepStrictEqual(await flowsOf(dc.lab, 'b'), before),
    ).catch(() => {});
    assert.deepEqual(await flowsOf(dc.lab, 'b'), before);
  });

  test('a switch that lost its flows is programmed again within seconds', async () => {
    const before = await flowsOf(dc.lab, 'b');
    await dc.lab.killVswitchd('b');
    assert.ok(await unanswered('w1', '10.0.0.12'));
    const from = performance.now();
    await dc.lab.restartVswitchd('b');
    await eventually('traffic after the crash', 5000, () => pings(dc.lab, 'w1', '10.0.0.12'));
    assert.ok(performance.now() - from < 6000);
    await eventually('the same flows', 3000, async () => (await flowsOf(dc.lab, 'b')).length === before.length);
    assert.equal((await requestLease(dc.lab, 'w4')).address, '10.0.0.14');
    assert.equal((await findPort(dc.weft.client, dc.ports.get('w4')!.id)).status.state, 'installed');
  });

  test('a switch whose flows somebody deleted is programmed again when its agent starts', async () => {
    await dc.lab.switchOf('b').ofctl('del-flows', 'br-int');
    assert.ok(await unanswered('w1', '10.0.0.12'));
    await dc.weft.agent('b').stop();
    await dc.weft.agent('b').start();
    assert.ok(await pings(dc.lab, 'w1', '10.0.0.12'));
  });
});
