// Measures: runs alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { countingDrops } from '../../src/lab/machine-drops.ts';
import { scriptIn } from '../../src/lab/namespaces.ts';
import { startStream } from '../../src/lab/packet-stream.ts';
import { plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import type { WeftEvent } from '../../src/server/events.ts';
import type { OutsideStatus } from '../../src/server/present.ts';
import { weft as runWeft } from './command.ts';
import { eventually, isSilent, sleep } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';
import { buildSegment } from './vlan-segment.ts';

/**
 * Two VLANs outside, joined to two switches by two hosts (docs/design/l2-gateways.md). `eth-more` of gw-1 is a second way into VLAN 100,
 * `eth-trunk` of both joins all VLANs to a VLAN-aware switch:
 *
 *     red-1 on east ── red ──┐ VLAN 100
 *                            ├─ eth-out of gw-1 and gw-2 ── segment of outside ─┬─ o100 in VLAN 100
 *     blue-1 on east ── blue ┘ VLAN 200                                                    └─ o200 in VLAN 200
 */
const name = labName('l2');
const GATEWAYS = ['gw-1', 'gw-2'] as const;
const VLANS = [
  { vlan: 100, device: 'red', inside: '10.1.0.1', outside: '10.1.0.100' },
  { vlan: 200, device: 'blue', inside: '10.2.0.1', outside: '10.2.0.200' },
] as const;
const [RED, BLUE] = VLANS;

const acme = (kind: string, named: string, rest: object = {}) => ({ kind, tenant: 'acme', name: named, ...rest });
const wire = (named: string, device: string) =>
  acme('port', named, { switch: device, portSecurity: false, addresses: [] });

type ShownGateway = { readonly status: OutsideStatus };

describe('L2 gateways', { skip: needsRoot }, () => {
  let lab: Lab;
  let weft: WeftInLab;
  /** At the switch outside. */
  const setLink = (port: string, state: 'up' | 'down') =>
    scriptIn(lab.namespace('outside'), [`ip link set ${port} ${state}`]);
  /** Carriers stay, and no frame passes. */
  const setSilent = (port: string, isSilent: boolean) =>
    lab
      .switchOf('outside')
      .vsctl(isSilent ? ['set', 'port', port, 'trunks=4000'] : ['remove', 'port', port, 'trunks', '4000']);
  const apply = (...objects: object[]) => weft.client.post('/v1/apply', { objects });
  const statusOf = async (gateway: string): Promise<OutsideStatus> =>
    (await weft.client.get<ShownGateway>(`/v1/l2-gateways/acme%2F${gateway}`)).status;
  const activeAt = (host: string, gateway = 'red', timeoutMs = 10_000): Promise<boolean> =>
    eventually(`${gateway} at ${host}`, timeoutMs, async () => (await statusOf(gateway)).active === host);
  /** Every place is, and the first forwards. */
  const isWell = (gateway: string): Promise<boolean> =>
    eventually(`all places of ${gateway}`, 10_000, async () => {
      const { active, places } = await statusOf(gateway);
      return active === 'gw-1' && places.every(({ state }) => state === 'up');
    });
  const answers = (from: string, address: string, timeoutMs = 5_000): Promise<boolean> =>
    eventually(`${address} from ${from}`, timeoutMs, async () => {
      const { code } = await lab.exec(from, ['ping', '-c', '1', '-W', '0.3', address]);
      return code === 0;
    });

  before(async () => {
    lab = await Lab.start({
      name,
      hosts: [...GATEWAYS, 'east', 'outside'].map((host) => ({ name: host })),
      workloads: [...VLANS, { device: 'aware', inside: '10.3.0.1' }].map(({ device, inside }) => ({
        name: `${device}-1`,
        host: 'east',
        addresses: [`${inside}/24`],
      })),
    });
    await buildSegment(lab, {
      cables: [
        ...GATEWAYS.map((host) => ({ host, interface: 'eth-out', port: host })),
        { host: 'gw-1', interface: 'eth-more', port: 'again', tag: 100 },
        ...GATEWAYS.map((host) => ({ host, interface: 'eth-trunk', port: `trunk-${host}` })),
      ],
      ends: VLANS.map(({ vlan, outside }) => ({ name: `o${vlan}`, vlan, addresses: [`${outside}/24`] })),
    });
    weft = await startWeftInLab(lab);
    await apply(
      { kind: 'tenant', name: 'acme' },
      ...GATEWAYS.map((host) => ({
        ...{ kind: 'host', name: host, zone: 'underlay', tunnelAddress: lab.host(host).address },
        gatewayInterfaces: ['eth-out', 'eth-more', 'eth-trunk'],
      })),
      ...VLANS.flatMap(({ vlan, device, inside, outside }) => [
        acme('switch', device),
        acme('port', `${device}-1`, { switch: device, addresses: [inside] }),
        wire(`${device}-out`, device),
        acme('l2Gateway', device, {
          ...{ port: `${device}-out`, vlan, probe: outside, silenceS: 2 },
          places: GATEWAYS.map((host) => ({ host, interface: 'eth-out' })),
        }),
      ]),
      acme('switch', 'aware', { vlanAware: true }),
      acme('port', 'aware-1', { switch: 'aware', vlan: { access: 200 }, addresses: ['10.3.0.1'] }),
      wire('aware-out', 'aware'),
      acme('l2Gateway', 'trunk', {
        ...{ port: 'aware-out', silenceS: 2 },
        places: GATEWAYS.map((host) => ({ host, interface: 'eth-trunk' })),
      }),
    );
    const plugged = await Promise.all(
      [...VLANS, { device: 'aware' }].map(({ device }) =>
        plugIntoPort(lab, weft.client, `${device}-1`, `acme/${device}-1`),
      ),
    );
    await waitForPorts(
      weft.client,
      plugged.map(({ id }) => id),
    );
    for (const { device } of VLANS) await isWell(device);
  });
  after(async () => {
    weft?.client.close();
    await removeLab(name);
  });

  test('one interface carries two VLANs, each to its switch and both ways', async () => {
    for (const { device, vlan, inside, outside } of VLANS) {
      await answers(`${device}-1`, outside);
      await answers(`o${vlan}`, inside);
    }
    assert.ok(await isSilent(lab, 'red-1', BLUE.outside));
    assert.equal((await lab.exec('o100', ['ping', '-c', '1', '-W', '0.3', BLUE.inside])).code === 0, false);
  });

  test('a link that drops moves it within two seconds, and it comes back with the link', async () => {
    await setLink('gw-1', 'down');
    const sinceMs = performance.now();
    await activeAt('gw-2', 'red', 2_000);
    // What the outside sends finds the other way by what the new gateway says, not by what the workload sends.
    await answers('o100', RED.inside, 2_000);
    assert.ok(performance.now() - sinceMs < 3_000);
    await answers('red-1', RED.outside);
    await answers('blue-1', BLUE.outside);
    await setLink('gw-1', 'up');
    await isWell('red');
    await answers('o100', RED.inside, 2_000);
  });

  test('a host that is drained hands it to another, which loses no more than the switch-over takes, and gets it back', async (t) => {
    await answers('red-1', RED.outside);
    for (const [command, to] of [
      ['drain', 'gw-2'],
      ['undrain', 'gw-1'],
    ] as const) {
      const streams = [
        await startStream(lab, { from: 'red-1', to: 'o100', address: RED.outside }),
        await startStream(lab, { from: 'o100', to: 'red-1', port: 7001 }),
      ];
      assert.equal((await runWeft({ weft }, command, 'gw-1')).code, 0);
      await activeAt(to, 'red', 2_000);
      await sleep(800);
      for (const [n, stream] of streams.entries()) {
        const { sent, lost, duplicates, longestGapMs, lostRanges } = await stream.stop();
        const way = `${command}, ${n === 0 ? 'out' : 'in'}`;
        t.diagnostic(JSON.stringify({ way, sent, lost, duplicates, longestGapMs, lostRanges }));
        // Two hosts forward at no time, and the switch outside sends to the former until it has heard the new one.
        assert.ok(sent > 3_000 && longestGapMs < 1_000 && duplicates === 0, `${way}: ${longestGapMs} ms`);
      }
    }
    const { items } = await weft.client.get<{ items: readonly WeftEvent[] }>('/v1/events');
    assert.ok(items.some(({ text }) => /red.*: gw-2 forwards now, no longer gw-1 \(it is drained\)/.test(text)));
  });

  test('an outside that falls silent moves it, with the link up, and it comes back', async () => {
    await setSilent('gw-1', true);
    await activeAt('gw-2', 'red', 8_000);
    const { places } = await statusOf('red');
    assert.deepEqual(places[0], { host: 'gw-1', state: 'silent', problem: 'no frame from outside for 2 s' });
    await answers('o100', RED.inside, 2_000);
    await setSilent('gw-1', false);
    await isWell('red');
    await answers('red-1', RED.outside, 2_000);
  });

  test('with the server away it stays as it is', async () => {
    await weft.server.stop();
    await answers('red-1', RED.outside);
    await weft.server.start();
    await answers('o200', BLUE.inside);
    assert.equal((await statusOf('red')).active, 'gw-1');
  });

  test('an agent that is dead moves nothing: its flows go on, and no other host forwards beside it', async () => {
    await isWell('red'); // the server, which is new, has heard of all
    const drops = await countingDrops(lab);
    const stream = await startStream(lab, { from: 'red-1', to: 'o100', address: RED.outside, pps: 500 });
    await weft.agent('gw-1').kill();
    try {
      await eventually('its lease ends', 20_000, async () => {
        const { items } = await weft.client.get<{ items: readonly WeftEvent[] }>('/v1/events');
        return items.some(({ text }) => text === 'host gw-1: its agent is silent; traffic goes on as it was');
      });
      await sleep(1_500); // the server looks at it each second
      assert.equal((await statusOf('red')).active, 'gw-1');
    } finally {
      await weft.agent('gw-1').start();
    }
    await isWell('red');
    const report = await stream.stop();
    const dropped = await drops();
    const { sent, lost, lostAtReceiver, duplicates } = report;
    assert.ok(
      sent > 5_000 && lost - lostAtReceiver <= sent / 1_000 + dropped && duplicates === 0,
      `${JSON.stringify(report)}; the machine dropped ${dropped}`,
    );
  });

  test('a second way into the same segment is cut off and told, and nothing circles', async () => {
    await apply(
      wire('red-again', 'red'),
      acme('l2Gateway', 'again', { port: 'red-again', vlan: 0, places: [{ host: 'gw-1', interface: 'eth-more' }] }),
    );
    const { places } = await eventually('the loop is found', 8_000, async () => {
      const status = await statusOf('again');
      return status.places[0]!.state === 'loop' && status;
    });
    assert.equal(places[0]!.problem, 'cut off: the outside is that of port red-out of the same switch too');
    assert.equal((await statusOf('red')).state, 'up');
    const { items } = await weft.client.get<{ items: readonly WeftEvent[] }>('/v1/events');
    assert.ok(items.some(({ about, text }) => about.kind === 'l2Gateway' && text.includes('is cut off here')));
    const { problems } = await weft.client.get<{ problems: readonly { text: string }[] }>('/v1/status');
    assert.ok(problems.some(({ text }) => text.startsWith('L2 gateway again at gw-1: cut off')));
    await answers('o100', RED.inside);
    const received = async (): Promise<number> =>
      Number(await lab.execOk('o100', ['cat', '/sys/class/net/eth0/statistics/rx_packets']));
    const before = await received();
    await lab.exec('red-1', ['ping', '-c', '2', '-i', '0.3', '-W', '0.3', '-b', '10.1.0.255']);
    assert.ok((await received()) - before < 60, 'two broadcasts are not a storm');
  });

  test('a trunk carries the VLANs of a VLAN-aware switch as they are', async () => {
    for (const { vlan } of VLANS)
      await lab.execOk(`o${vlan}`, ['ip', 'addr', 'add', `10.3.0.${vlan}/24`, 'dev', 'eth0']);
    await answers('aware-1', '10.3.0.200');
    await answers('o200', '10.3.0.1');
    assert.notEqual((await lab.exec('o100', ['ping', '-c', '1', '-W', '0.3', '10.3.0.1'])).code, 0);
  });

  test('a trunk moves when its link drops, with all its VLANs, and comes back with it', async () => {
    await isWell('trunk');
    await setLink('trunk-gw-1', 'down');
    const sinceMs = performance.now();
    await activeAt('gw-2', 'trunk', 2_000);
    await answers('o200', '10.3.0.1', 2_000);
    assert.ok(performance.now() - sinceMs < 3_000);
    await answers('aware-1', '10.3.0.200');
    assert.notEqual((await lab.exec('o100', ['ping', '-c', '1', '-W', '0.3', '10.3.0.1'])).code, 0, 'another VLAN');
    assert.equal((await statusOf('red')).active, 'gw-1', 'by another interface');
    await setLink('trunk-gw-1', 'up');
    await isWell('trunk');
    await answers('o200', '10.3.0.1', 2_000);
  });

  test('a trunk moves when its outside falls silent with the link up, and comes back', async () => {
    // Without a probe it is what the outside says that is waited for.
    const talk = lab.spawn('o200', ['ping', '-q', '-b', '-i', '0.2', '10.3.0.255']);
    try {
      await isWell('trunk');
      await setSilent('trunk-gw-1', true);
      await activeAt('gw-2', 'trunk', 8_000);
      assert.equal((await statusOf('trunk')).places[0]!.state, 'silent');
      await answers('o200', '10.3.0.1', 2_000);
      await answers('aware-1', '10.3.0.200');
      assert.notEqual((await lab.exec('o100', ['ping', '-c', '1', '-W', '0.3', '10.3.0.1'])).code, 0, 'another VLAN');
      await setSilent('trunk-gw-1', false);
      await isWell('trunk');
      await answers('o200', '10.3.0.1', 2_000);
    } finally {
      talk.kill();
    }
  });

  test('a gateway that is deleted leaves nothing behind', async () => {
    for (const each of ['again', 'trunk', 'red', 'blue'])
      await weft.client.request('DELETE', `/v1/l2-gateways/acme%2F${each}`);
    await eventually('bridges of interfaces are gone', 5_000, async () => {
      const lists = await Promise.all(GATEWAYS.map((host) => lab.switchOf(host).vsctl(['list-br'])));
      return lists.every((list) => !list.includes('wg-'));
    });
    const ports = await lab.switchOf('gw-1').vsctl(['list-ports', 'br-int']);
    assert.doesNotMatch(ports, /^l2-/m);
  });
});
