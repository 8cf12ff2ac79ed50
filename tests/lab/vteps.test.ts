// Takes a minute: runs first.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { parseMac } from '../../src/base/addresses.ts';
import { startCapture } from '../../src/lab/capture.ts';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { scriptIn } from '../../src/lab/namespaces.ts';
import { underlayMac } from '../../src/lab/open-vswitch.ts';
import { startStream } from '../../src/lab/packet-stream.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { VtepEmulator } from '../../src/lab/vtep.ts';
import { plugIntoPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import { encodeEthernet } from '../../src/packet/ethernet.ts';
import type { WeftEvent } from '../../src/server/events.ts';
import type { OutsideStatus, VtepStatus } from '../../src/server/present.ts';
import { eventually, pings, sleep } from './datacentre.ts';
import { BROADCAST, marked, markOf } from './frames.ts';
import { byAll, labName, needsRoot } from './lab-name.ts';

/**
 * Two hardware VTEPs (Open vSwitch's emulator) joined to two switches by two hosts (docs/design/hardware-vteps.md), and a router between
 * the switches. tor-2 reaches the hosts at addresses of their own:
 *
 *     red-1, roam on east, red-2 on gw-2 ── red ──┬─ VTEP tor-1: p1 ──────── srv-1
 *                                            │    └─ VTEP tor-2: p1 VLAN 30 ── srv-3
 *                                          router
 *                                            │
 *                     blue-1 on east ────── blue ─── VTEP tor-1: p2 VLAN 20 ── srv-2
 */
const name = labName('vtep');
const GATEWAYS = ['gw-1', 'gw-2'] as const;
/** Of the hosts, for tor-2. */
const SECOND = { 'gw-1': '172.31.0.211', 'gw-2': '172.31.0.212' } as const;
/** Behind a port without port security, or a VTEP. */
const GUEST = '02:77:00:00:00:01';

const acme = (kind: string, named: string, rest: object = {}) => ({ kind, tenant: 'acme', name: named, ...rest });
const wire = (named: string, device: string) =>
  acme('port', named, { switch: device, portSecurity: false, addresses: [] });
const binding = (named: string, vtep: string, ...physicalPorts: { port: string; vlan?: number }[]) =>
  acme('vtepBinding', named, { port: named, vtep, physicalPorts });
const BLUE = binding('blue-tor-1', 'tor-1', { port: 'p2', vlan: 20 });

/** IEEE 802's second EtherType for experiments: a guarded port may send it. */
const plain = (src: string, dst: string): Uint8Array =>
  Uint8Array.of(
    ...encodeEthernet({ ethernet: { src: parseMac(src)!, dst: parseMac(dst)!, etherType: 0x88b6 }, vlans: [] }),
  );

interface Shown<S> {
  readonly id: string;
  readonly vni: number;
  readonly status: S;
}

describe('hardware VTEPs', { skip: needsRoot }, () => {
  let lab: Lab;
  let weft: WeftInLab;
  let tor1: VtepEmulator;
  let tor2: VtepEmulator;
  const apply = (...objects: object[]) => weft.client.post('/v1/apply', { objects });
  const remove = (plural: string, of: string) =>
    weft.client.request('DELETE', `/v1/${plural}/${encodeURIComponent(of)}`);
  const bindingOf = (of: string) => weft.client.get<Shown<OutsideStatus>>(`/v1/vtep-bindings/acme%2F${of}`);
  const statusOf = async (of: string): Promise<OutsideStatus> => (await bindingOf(of)).status;
  const vtepOf = async (of: string): Promise<VtepStatus> =>
    (await weft.client.get<Shown<VtepStatus>>(`/v1/vteps/${of}`)).status;
  const isWell = (of: string, at = 'gw-1', timeoutMs = 60_000): Promise<boolean> =>
    eventually(`${of} at ${at}`, timeoutMs, async () => {
      const { active, state, places } = await statusOf(of);
      return active === at && state === 'up' && places.every(({ problem }) => problem === undefined);
    });
  const answers = (from: string, address: string, timeoutMs = 10_000): Promise<boolean> =>
    eventually(`${address} from ${from}`, timeoutMs, async () => {
      const { code } = await lab.exec(from, ['ping', '-c', '1', '-W', '0.3', address]);
      return code === 0;
    });
  const problems = async (): Promise<readonly string[]> => {
    const status = await weft.client.get<{ problems: readonly { text: string }[] }>('/v1/status');
    return status.problems.map(({ text }) => text);
  };
  const columnOf = async (tor: VtepEmulator, table: string, column: string): Promise<readonly string[]> => {
    const text = await tor.ctl('--bare', `--columns=${column}`, 'list', table);
    return text.split('\n').filter((line) => line !== '');
  };
  const macOf = async (place: string): Promise<string> =>
    (await lab.execOk(place, ['cat', '/sys/class/net/eth0/address'])).trim();

  /** Sends marked frames, and counts at each ear those that came. */
  async function heard(from: string, to: string, count: number, ears: readonly string[]): Promise<number[]> {
    const captures = await Promise.all(
      ears.map((ear) => startCapture(lab, ear, 'eth0', { filter: 'ether proto 0x88b6' })),
    );
    const frame = plain(await macOf(from), to);
    await sendFramesOnce(
      lab,
      from,
      Array.from({ length: count }, (_, n) => marked(frame, n)),
      { pps: 50 },
    );
    await sleep(300);
    const frames = await Promise.all(captures.map(async (each) => (await each.stop()).frames()));
    return frames.map((its) => new Set(its.map(({ bytes }) => markOf(bytes))).size);
  }
  /** Of five frames each ear hears as many as it should, once all know their ways; more it never does. */
  const hear = (from: string, to: string, ears: readonly string[], wanted: readonly number[]): Promise<boolean> =>
    eventually(`${wanted} of five from ${from} to ${to} at ${ears}`, 60_000, async () => {
      const got = await heard(from, to, 5, ears);
      assert.ok(
        got.every((count, n) => count <= wanted[n]!),
        `${got} at ${ears}`,
      );
      return got.join() === wanted.join();
    });
  const speaks = (place: string): Promise<unknown> => sendFramesOnce(lab, place, [plain(GUEST, BROADCAST)]);

  /** What the userspace datapath of tor-2 would have to ask for: where the hosts' other addresses are. */
  async function addressAgain(): Promise<void> {
    for (const gw of GATEWAYS) await scriptIn(lab.namespace(gw), [`ip addr replace ${SECOND[gw]}/24 dev br-underlay`]);
    await lab
      .switchOf('tor-2')
      .appctlAll(GATEWAYS.map((gw) => ['tnl/neigh/set', 'br-underlay', SECOND[gw], underlayMac(name, gw)]));
  }

  before(async () => {
    lab = await Lab.start({
      name,
      // Hosts and VTEPs share a port and the space of keys then: the VTEP's tunnels are the narrower ones.
      encap: 'vxlan',
      underlay: { routes: 'kernel' },
      hosts: [...GATEWAYS, 'east', 'tor-1', 'tor-2'].map((host) => ({ name: host })),
      workloads: [
        { name: 'red-1', host: 'east', addresses: ['10.1.0.1/24'], gateways: ['10.1.0.254'] },
        { name: 'red-2', host: 'gw-2', addresses: ['10.1.0.2/24'], gateways: ['10.1.0.254'] },
        { name: 'blue-1', host: 'east', addresses: ['10.2.0.1/24'], gateways: ['10.2.0.254'] },
        { name: 'roam', host: 'east', addresses: [] },
      ],
    });
    await addressAgain();
    [tor1, tor2] = await Promise.all([
      VtepEmulator.start(lab, 'tor-1', [
        { name: 'srv-1', port: 'p1', addresses: ['10.1.0.101/24'], gateway: '10.1.0.254' },
        { name: 'srv-2', port: 'p2', vlan: 20, addresses: ['10.2.0.102/24'], gateway: '10.2.0.254' },
      ]),
      VtepEmulator.start(lab, 'tor-2', [{ name: 'srv-3', port: 'p1', vlan: 30, addresses: ['10.1.0.103/24'] }]),
    ]);
    weft = await startWeftInLab(lab, { strangers: ['tor-1', 'tor-2'] });
    await apply(
      { kind: 'tenant', name: 'acme' },
      {
        ...{ kind: 'vtep', name: 'tor-1', management: tor1.management, physicalPorts: ['p1', 'p2'] },
        places: GATEWAYS.map((host) => ({ host })),
      },
      acme('switch', 'red'),
      acme('switch', 'blue'),
      acme('port', 'red-1', { switch: 'red', addresses: ['10.1.0.1'] }),
      acme('port', 'red-2', { switch: 'red', addresses: ['10.1.0.2'] }),
      acme('port', 'roam', { switch: 'red', addresses: [], portSecurity: false }),
      acme('port', 'blue-1', { switch: 'blue', addresses: ['10.2.0.1'] }),
      wire('red-tor-1', 'red'),
      wire('red-tor-2', 'red'),
      wire('blue-tor-1', 'blue'),
      binding('red-tor-1', 'tor-1', { port: 'p1' }),
    );
    const plugged = await Promise.all(
      ['red-1', 'red-2', 'blue-1', 'roam'].map((each) => plugIntoPort(lab, weft.client, each, `acme/${each}`)),
    );
    await waitForPorts(
      weft.client,
      plugged.map(({ id }) => id),
    );
    await isWell('red-tor-1');
  });
  after(async () => {
    weft?.client.close();
    if (process.env.KEEP) return;
    await removeLab(name);
  });

  test('a machine behind a VTEP and workloads on two hosts reach each other', async () => {
    await answers('red-1', '10.1.0.101');
    await answers('srv-1', '10.1.0.1');
    assert.ok(await pings(lab, 'srv-1', '10.1.0.2'));
    assert.ok(await pings(lab, 'red-2', '10.1.0.101'));
    const { state, tunnelAddress } = await vtepOf('tor-1');
    assert.deepEqual({ state, tunnelAddress }, { state: 'connected', tunnelAddress: lab.host('tor-1').address });
  });

  test('group frames and those to unknown MACs pass both ways, those to known ones go to one', async () => {
    const ears = ['srv-1', 'red-2', 'roam'];
    await hear('red-1', BROADCAST, ears, [5, 5, 5]);
    await hear('srv-1', BROADCAST, ['red-1', 'red-2', 'roam'], [5, 5, 5]);
    // To ports that can have more than their own MACs.
    await hear('red-1', '02:66:00:00:00:01', ears, [5, 0, 5]);
    await hear('srv-1', '02:66:00:00:00:01', ['red-1', 'roam'], [0, 5]);
    await hear('red-1', await macOf('srv-1'), ears, [5, 0, 0]);
    await hear('srv-1', await macOf('red-1'), ['red-1', 'roam', 'red-2'], [5, 0, 0]);
  });

  test('what is behind a VTEP is known to hosts without a frame of it, and what is not to the VTEP', async () => {
    const mac = await macOf('srv-1');
    await eventually('the VTEP knows who is behind it', 30_000, async () =>
      (await columnOf(tor1, 'Ucast_Macs_Local', 'MAC')).includes(mac),
    );
    await eventually('and the hosts do', 30_000, async () =>
      (await lab.switchOf('east').ofctl('dump-flows', 'br-int')).includes(`dl_dst=${mac}`),
    );
    const remote = await columnOf(tor1, 'Ucast_Macs_Remote', 'MAC');
    for (const place of ['red-1', 'red-2']) assert.ok(remote.includes(await macOf(place)), place);
    assert.ok(!remote.includes(mac));
  });

  test('a second binding of the VTEP comes and goes while traffic of the first runs, and neither sees the other', async () => {
    const stream = await startStream(lab, { from: 'red-1', to: 'srv-1', address: '10.1.0.101', pps: 500 });
    await apply(BLUE);
    await isWell('blue-tor-1');
    await answers('srv-2', '10.2.0.1');
    await answers('blue-1', '10.2.0.102');
    await hear('srv-2', BROADCAST, ['blue-1', 'srv-1', 'red-1'], [5, 0, 0]);
    await hear('srv-1', BROADCAST, ['blue-1', 'srv-2', 'red-1'], [0, 0, 5]);
    await remove('vtep-bindings', 'acme/blue-tor-1');
    await eventually(
      'its rows are gone',
      10_000,
      async () => (await columnOf(tor1, 'Logical_Switch', 'name')).length === 1,
    );
    // The emulator mixes up two logical switches of one VLAN when it sees the one go and the other come at once.
    await eventually('the emulator has seen it', 60_000, async () => (await tor1.logicalSwitches()) === 1);
    assert.notEqual((await lab.exec('srv-2', ['ping', '-c', '1', '-W', '0.5', '10.2.0.1'])).code, 0);
    await apply(BLUE);
    await isWell('blue-tor-1');
    await answers('srv-2', '10.2.0.1');
    const { lost, sent } = await stream.stop();
    assert.ok(sent > 1000);
    assert.ok(lost <= sent / 200, `${lost} of ${sent} lost`);
  });

  test('machines behind a VTEP are routed, to workloads and to each other', async () => {
    await apply(
      acme('router', 'between'),
      acme('routerPort', 'red', { router: 'between', switch: 'red', addresses: ['10.1.0.254/24'] }),
      acme('routerPort', 'blue', { router: 'between', switch: 'blue', addresses: ['10.2.0.254/24'] }),
    );
    await answers('srv-1', '10.1.0.254');
    await answers('srv-1', '10.2.0.1');
    await answers('blue-1', '10.1.0.101');
    await answers('srv-1', '10.2.0.102');
    await answers('srv-2', '10.1.0.2');
  });

  test('two VTEPs on one switch reach each other, also where each knows the hosts by other addresses', async () => {
    await apply(
      {
        ...{ kind: 'vtep', name: 'tor-2', management: tor2.management, physicalPorts: ['p1'] },
        places: GATEWAYS.map((host) => ({ host, address: SECOND[host] })),
      },
      binding('red-tor-2', 'tor-2', { port: 'p1', vlan: 30 }),
    );
    await isWell('red-tor-2');
    await answers('srv-3', '10.1.0.101');
    await answers('srv-1', '10.1.0.103');
    await answers('red-1', '10.1.0.103');
    await eventually(
      'all hear it',
      60_000,
      async () => (await heard('srv-1', BROADCAST, 5, ['srv-3', 'red-1', 'red-2'])).join() === '5,5,5',
    ); // the emulator takes its time
    assert.ok((await columnOf(tor2, 'Physical_Locator', 'dst_ip')).includes(SECOND['gw-1']));
    assert.ok((await columnOf(tor2, 'Ucast_Macs_Remote', 'MAC')).includes(await macOf('srv-1')));
  });

  test('a MAC that moves from a VTEP to a workload, and back, takes its traffic along', { skip: byAll }, async () => {
    const senders = ['red-2', 'srv-3'];
    const isAt = async (there: string, elsewhere: string): Promise<void> => {
      await speaks(there);
      for (const sender of senders)
        await eventually(`${sender} to ${GUEST} at ${there}`, 60_000, async () => {
          const [here, away] = await heard(sender, GUEST, 5, [there, elsewhere]);
          return here === 5 && away === 0;
        });
    };
    await isAt('srv-1', 'roam');
    await isAt('roam', 'srv-1');
    // By the VTEP's own table: it knows that the MAC is no longer behind it.
    await eventually('the VTEP knows', 30_000, async () =>
      (await columnOf(tor1, 'Ucast_Macs_Remote', 'MAC')).includes(GUEST),
    );
    await eventually('and does so', 30_000, async () => (await heard('srv-1', GUEST, 5, ['roam']))[0] === 5);
    await isAt('srv-1', 'roam');
    await eventually('the VTEP knows', 30_000, async () =>
      (await columnOf(tor1, 'Ucast_Macs_Remote', 'MAC')).every((mac) => mac !== GUEST),
    );
  });

  test('with the server away, and an agent that restarts, traffic goes on and the VTEP is as it was', {
    skip: byAll,
  }, async () => {
    await weft.server.stop();
    const stream = await startStream(lab, { from: 'red-1', to: 'srv-1', address: '10.1.0.101', pps: 500 });
    await weft.agent('gw-1').kill();
    await weft.agent('gw-1').start();
    await weft.server.start();
    // Agents find it again one by one.
    assert.deepEqual((await weft.client.get<{ waitingFor: string[] }>('/v1/sync')).waitingFor, []);
    await isWell('red-tor-1');
    const { lost, sent } = await stream.stop();
    assert.ok(lost <= sent / 200, `${lost} of ${sent} lost`);
    assert.equal((await columnOf(tor1, 'Logical_Switch', 'name')).length, 2);
  });

  test('a database that is away is said to be, and nothing else is disturbed', { skip: byAll }, async () => {
    // The emulator takes an unreachable database for an empty one.
    await tor1.emulator.kill();
    const stream = await startStream(lab, { from: 'red-1', to: 'srv-1', address: '10.1.0.101', pps: 500 });
    await tor1.database.kill();
    const address = tor1.management.slice('tcp:'.length);
    const text = `cannot connect to ${tor1.management}: connect ECONNREFUSED ${address}`;
    await eventually('it is unreachable', 60_000, async () => (await vtepOf('tor-1')).state === 'unreachable');
    await eventually('from both places, and why', 60_000, async () => {
      const { places } = await vtepOf('tor-1');
      return places.length === 2 && places.every(({ problem }) => problem === text);
    });
    await eventually('bindings say so', 60_000, async () => (await statusOf('red-tor-1')).state === 'down');
    assert.equal((await statusOf('red-tor-1')).active, 'gw-1');
    assert.ok((await problems()).includes(`VTEP tor-1 at gw-1: ${text}`));
    const { items } = await weft.client.get<{ items: readonly WeftEvent[] }>('/v1/events');
    assert.ok(items.some((event) => event.about.kind === 'vtep' && event.text === `VTEP tor-1: ${text}`));
    await answers('red-1', '10.1.0.103');
    const { lost, sent } = await stream.stop();
    assert.ok(lost <= sent / 200, `${lost} of ${sent} lost`);
    await tor1.startDatabase();
    await tor1.startEmulator();
    await isWell('red-tor-1');
    await answers('srv-1', '10.1.0.1', 60_000);
    await eventually('nothing is wrong', 60_000, async () => (await problems()).length === 0);
  });

  test("a database that was emptied is filled again, and others' rows in it stay", async () => {
    await tor1.wipe();
    await eventually('filled', 60_000, async () => (await columnOf(tor1, 'Logical_Switch', 'name')).length === 2);
    await tor1.ctl('add-ls', 'theirs', '--', 'set', 'Logical_Switch', 'theirs', 'tunnel_key=777');
    await tor1.ctl('add-ucast-remote', 'theirs', '02:99:00:00:00:01', '192.0.2.99');
    await isWell('red-tor-1');
    await isWell('blue-tor-1');
    await answers('srv-1', '10.1.0.1', 60_000);
    await answers('srv-2', '10.2.0.1', 60_000);
    assert.ok((await columnOf(tor1, 'Ucast_Macs_Remote', 'MAC')).includes('02:99:00:00:00:01'));
  });

  test('what another controller has is left to it and told', async () => {
    await tor1.ctl('bind-ls', 'tor-1', 'p2', '40', 'theirs');
    await apply(wire('more', 'blue'), binding('more', 'tor-1', { port: 'p2', vlan: 40 }));
    await eventually('the VLAN is taken', 10_000, async () => {
      const { places } = await statusOf('more');
      return places[0]!.problem === 'VTEP tor-1: p2 with VLAN 40 is bound to theirs, which is not ours';
    });
    await apply({ ...binding('more', 'tor-1', { port: 'p2', vlan: 41 }), vni: 777 });
    await eventually('the VNI is taken', 10_000, async () => {
      const { state, places } = await statusOf('more');
      const text = 'VTEP tor-1: its logical switch theirs, which is not ours, has VNI 777';
      return state === 'down' && places[0]!.problem === text;
    });
    assert.match(await tor1.ctl('list-bindings', 'tor-1', 'p2'), /^0040 theirs$/m);
    await remove('vtep-bindings', 'acme/more');
  });

  test('bad input is refused, or told, with what to do', async () => {
    const refused = async (...objects: object[]): Promise<readonly string[]> => {
      const error = await apply(...objects).then(
        () => undefined,
        (thrown: unknown) => thrown as { details?: { problems?: readonly { code: string; message: string }[] } },
      );
      return (error?.details?.problems ?? []).map(({ code, message }) => `${code}: ${message}`);
    };
    const { vni } = await bindingOf('red-tor-1');
    assert.deepEqual(await refused({ ...binding('more', 'tor-1', { port: 'p1' }), vni }), [
      `duplicate-vni: vtepBinding acme/red-tor-1 has VNI ${vni} of VTEP tor-1`,
      'physical-port: vtepBinding acme/red-tor-1 has p1 without a tag on VTEP tor-1',
    ]);
    assert.deepEqual(await refused(binding('more', 'tor-1', { port: 'p9' })), [
      'physical-port: p9 of VTEP tor-1 is not for bindings',
    ]);
    await apply(
      {
        ...{ kind: 'vtep', name: 'tor-1', management: tor1.management, physicalPorts: ['p1', 'p2', 'p9'] },
        places: GATEWAYS.map((host) => ({ host })),
      },
      binding('more', 'tor-1', { port: 'p9' }),
    );
    const text = 'VTEP tor-1: it has no physical port p9 (there is p1, p2)';
    await eventually('it is told', 10_000, async () =>
      (await statusOf('more')).places.every((p) => p.problem === text),
    );
    assert.ok((await problems()).includes(`VTEP binding more at gw-1: ${text}`));
    await remove('vtep-bindings', 'acme/more');
  });

  test('a cable between two VTEPs of one switch is found, and nothing circles', { skip: byAll }, async () => {
    await VtepEmulator.cable(tor1, tor2, 'p5');
    const vtep = (tor: VtepEmulator, physicalPorts: readonly string[], addresses: Record<string, string> = {}) => ({
      ...{ kind: 'vtep', name: tor.place, management: tor.management, physicalPorts },
      places: GATEWAYS.map((host) => ({ host, ...(addresses[host] ? { address: addresses[host] } : {}) })),
    });
    await apply(
      vtep(tor1, ['p1', 'p2', 'p5']),
      vtep(tor2, ['p1', 'p5'], SECOND),
      binding('red-tor-1', 'tor-1', { port: 'p1' }, { port: 'p5' }),
    );
    const bindings = () => tor1.ctl('list-bindings', 'tor-1', 'p5').catch(() => ''); // not a port yet
    await eventually('bound', 60_000, async () => /^0000 weft-/m.test(await bindings()));
    await answers('srv-1', '10.1.0.1', 60_000);
    await apply(wire('loop', 'red'), binding('loop', 'tor-2', { port: 'p5' }));
    try {
      const text = 'cut off: the outside is that of port red-tor-1 of the same switch too';
      // Whichever of the two comes first: it stays where it is cut.
      const cutAt = await eventually('it is cut', 60_000, async () => {
        const { active, places } = await statusOf('loop');
        return places.find(({ host, problem }) => host === active && problem === text)?.host;
      });
      assert.equal((await statusOf('red-tor-1')).state, 'up');
      await eventually(
        'all hear it',
        60_000,
        async () => (await heard('red-1', BROADCAST, 5, ['srv-1', 'srv-3', 'red-2'])).join() === '5,5,5',
      ); // the emulator takes its time
      const received = async (): Promise<number> =>
        Number(await lab.execOk('srv-1', ['cat', '/sys/class/net/eth0/statistics/rx_packets']));
      // Longer than it would take a host that hears nothing of the loop to think that it is well again (16 s).
      for (const fromMs = Date.now(); Date.now() - fromMs < 20_000; ) {
        const before = await received();
        await heard('red-1', BROADCAST, 5, ['red-2']);
        const came = (await received()) - before;
        const status = await statusOf('loop');
        assert.ok(came < 60, `five broadcasts are not a storm: ${came} packets; ${JSON.stringify(status)}`);
        assert.deepEqual([status.active, status.state], [cutAt, 'loop']);
      }
    } finally {
      await remove('vtep-bindings', 'acme/loop');
    }
    await answers('red-1', '10.1.0.101');
  });

  test('the host that forwards dies: another one takes over, tells the VTEPs, and gives it back', {
    skip: byAll,
  }, async () => {
    await answers('red-1', '10.1.0.101');
    await lab.stopHost('gw-1');
    await eventually('gw-2 forwards', 60_000, async () => (await statusOf('red-tor-1')).active === 'gw-2');
    const own = lab.host('gw-2').address;
    await eventually('the VTEP is told', 20_000, async () => {
      const switches = await columnOf(tor1, 'Logical_Switch', 'name');
      const ours = switches.filter((each) => each.startsWith('weft-'));
      const macs = (await Promise.all(ours.map((each) => tor1.ctl('list-remote-macs', each)))).join();
      return macs.includes(`vxlan_over_ipv4/${own}`) && !macs.includes(lab.host('gw-1').address);
    });
    // The emulator makes a tunnel for each logical switch, a second or more each.
    await answers('srv-1', '10.1.0.1', 60_000);
    await answers('red-1', '10.1.0.101');
    await answers('srv-1', '10.1.0.103', 60_000);
    await lab.startHost('gw-1');
    await addressAgain();
    await isWell('red-tor-1', 'gw-1', 60_000);
    await answers('srv-1', '10.1.0.1', 60_000);
    await answers('red-1', '10.1.0.101');
    await answers('srv-1', '10.1.0.103', 60_000);
  });

  test('with their bindings everything of ours is gone from VTEPs and hosts', async () => {
    for (const each of ['red-tor-1', 'red-tor-2', 'blue-tor-1']) await remove('vtep-bindings', `acme/${each}`);
    await eventually('rows are gone', 60_000, async () => {
      const names = await Promise.all([tor1, tor2].map((tor) => columnOf(tor, 'Logical_Switch', 'name')));
      return names.flat().join() === 'theirs';
    });
    for (const each of ['tor-1', 'tor-2']) await remove('vteps', each);
    assert.deepEqual(await columnOf(tor1, 'Ucast_Macs_Remote', 'MAC'), ['02:99:00:00:00:01']);
    await eventually('tunnels are gone', 30_000, async () => {
      const lists = await Promise.all(GATEWAYS.map((gw) => lab.switchOf(gw).vsctl(['list-ports', 'br-int'])));
      return lists.every((list) => !/^vt-/m.test(list));
    });
  });
});
