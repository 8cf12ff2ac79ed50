// Measures: runs alone.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { WeftError } from '../../src/base/errors.ts';
import { listNamespaces } from '../../src/base/namespaces.ts';
import { startCapture } from '../../src/lab/capture.ts';
import { Lab, removeLab } from '../../src/lab/lab.ts';
import { startMigration } from '../../src/lab/migration.ts';
import { processesIn, startTicksOf } from '../../src/lab/namespaces.ts';
import { startStream } from '../../src/lab/packet-stream.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { listLabs } from '../../src/lab/state.ts';
import { requestLease } from '../../src/lab/udhcpc.ts';
import { VtepEmulator } from '../../src/lab/vtep.ts';
import { sleep } from './datacentre.ts';
import { labName, needsRoot } from './lab-name.ts';
import { startLossless, undropped } from './lossless.ts';

const name = labName('sub');

/** Two hosts, their workloads joined by two static flows each way over Geneve: the least that carries traffic. */
async function joinedByStaticFlows(lab: Lab): Promise<void> {
  for (const [host, remote, workload] of [
    ['east', 'west', 'web'],
    ['west', 'east', 'db'],
  ] as const) {
    const ovs = lab.switchOf(host);
    const own = lab.workload(workload).interface;
    await ovs.vsctl([
      '--may-exist',
      'add-port',
      'br-int',
      'tun',
      '--',
      'set',
      'interface',
      'tun',
      'type=geneve',
      'options:remote_ip=flow',
      'options:key=flow',
    ]);
    await ovs.ofctl(
      'add-flow',
      'br-int',
      `in_port=${own},actions=set_field:7->tun_id,set_field:${lab.host(remote).address}->tun_dst,output:tun`,
    );
    await ovs.ofctl('add-flow', 'br-int', `in_port=tun,tun_id=7,actions=output:${own}`);
  }
}

async function answers(lab: Lab, from: string, address: string): Promise<boolean> {
  return (await lab.exec(from, ['ping', '-c1', '-W1', address])).code === 0;
}

describe('lab', { skip: needsRoot }, () => {
  let lab: Lab;

  before(async () => {
    lab = await Lab.start({
      name,
      hosts: [{ name: 'east' }, { name: 'west' }],
      workloads: [
        { name: 'web', host: 'east', port: 'port-web', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
        { name: 'db', host: 'west', port: 'port-db', addresses: ['10.0.0.2/24', 'fd00::2/64'] },
      ],
    });
    await joinedByStaticFlows(lab);
  });
  after(async () => {
    await removeLab(name);
    await removeLab(`${name}x`);
  });

  test('plugs workloads as libvirt would', async () => {
    const ids = await lab
      .switchOf('east')
      .vsctl(['get', 'interface', lab.workload('web').interface, 'external_ids', 'ofport']);
    assert.match(ids, /iface-id=port-web/);
    assert.match(ids, new RegExp(`attached-mac="${lab.workload('web').mac}"`));
    assert.match(ids, /^\d+$/m);
  });

  test('takes no VTEP where its switches are told their routes', async () => {
    await assert.rejects(VtepEmulator.start(lab, 'east', []), { code: 'invalid', message: /underlay/ });
  });

  test('carries IPv4 and IPv6 across hosts, the first packet included', async () => {
    assert.ok(await answers(lab, 'web', '10.0.0.2'));
    assert.ok(await answers(lab, 'web', 'fd00::2'));
    assert.ok(await answers(lab, 'server', lab.host('east').address));
  });

  test('carries frames of the full MTU', async () => {
    assert.equal(
      (await lab.exec('web', ['ping', '-c2', '-i0.1', '-W1', '-M', 'do', '-s', String(1400 - 28), '10.0.0.2'])).code,
      0,
    );
  });

  test('carries 5,000 packets a second without losing one', async () => {
    const streams = await startLossless(lab, [{ from: 'web', to: 'db' }]);
    await sleep(2_000);
    const [report] = await streams.stop('5,000 a second');
    assert.ok(report!.sent > 8_000, `only ${report!.sent} sent`);
    assert.deepEqual([report!.duplicates, report!.reordered], [0, 0], JSON.stringify(report));
  });

  test('injects arbitrary frames at 20,000 a second, all of which a capture shows', async () => {
    const frames = Array.from({ length: 500 }, (_, i) => {
      const frame = new Uint8Array(60);
      frame.set([2, 0, 0, 0, 0, 1, 2, 0xaa, 0, 0, i >> 8, i & 0xff, 0x88, 0xb5]);
      return frame;
    });
    // What arrives is whole; where the machine dropped some, it is counted once more.
    const [sent, got] = await undropped(lab, async () => {
      const capture = await startCapture(lab, 'db', 'eth0', { filter: 'ether proto 0x88b5' });
      const report = await sendFramesOnce(lab, 'web', frames, { pps: 20_000, loop: 20 });
      await capture.reaches(10_000);
      return [report, await capture.stop()] as const;
    });
    assert.deepEqual([sent.sent, sent.failed, got.captured, got.dropped], [10_000, 0, 10_000, 0]);
    assert.equal(await got.count('ether src 02:aa:00:00:01:02'), 20);
    assert.deepEqual((await got.frames())[0]!.bytes, frames[0]);
    assert.match((await got.lines('ether src 02:aa:00:00:00:07'))[0]!, /02:aa:00:00:00:07 > 02:00:00:00:00:01/);
  });

  test('runs a real DHCP client and says what it was given', async () => {
    await lab.addWorkload({ name: 'guest', host: 'east', port: 'port-guest' });
    await lab.addWorkload({ name: 'dhcpd', host: 'east', port: 'port-dhcpd', addresses: ['10.9.0.1/24'] });
    const ovs = lab.switchOf('east');
    const [guest, dhcpd] = [lab.workload('guest').interface, lab.workload('dhcpd').interface];
    await ovs.ofctl('add-flow', 'br-int', `in_port=${guest},actions=output:${dhcpd}`);
    await ovs.ofctl('add-flow', 'br-int', `in_port=${dhcpd},actions=output:${guest}`);
    const config = join(lab.state.dir, 'udhcpd.conf');
    const options = [
      'router 10.9.0.1',
      'dns 10.9.0.53',
      'domain example.test',
      'subnet 255.255.255.0',
      'lease 600',
      'mtu 1300',
      'staticroutes 10.8.0.0/16 10.9.0.7, 0.0.0.0/0 10.9.0.1',
    ];
    const lines = [
      'start 10.9.0.50',
      'end 10.9.0.59',
      'interface eth0',
      `lease_file ${config}.leases`,
      `pidfile ${config}.pid`,
    ];
    writeFileSync(config, `${[...lines, ...options.map((o) => `option ${o}`)].join('\n')}\n`);
    writeFileSync(`${config}.leases`, '');
    await lab.process('dhcpd', 'udhcpd', ['busybox', 'udhcpd', '-f', '-a', '20', config], {
      ready: { line: /started/ },
    });
    const lease = await requestLease(lab, 'guest');
    assert.match(lease.address, /^10\.9\.0\.5\d$/);
    assert.deepEqual([lease.prefix, lease.mtu, lease.leaseSeconds, lease.domain], [24, 1300, 600, 'example.test']);
    assert.deepEqual(lease.staticRoutes, [
      { to: '10.8.0.0/16', via: '10.9.0.7' },
      { to: '0.0.0.0/0', via: '10.9.0.1' },
    ]);
    assert.match(await lab.execOk('guest', ['ip', 'route']), /10\.8\.0\.0\/16 via 10\.9\.0\.7/);
    assert.ok(await answers(lab, 'guest', '10.9.0.1'));
    await lab.removeWorkload('dhcpd');
    assert.deepEqual(
      lab.workloads.map((w) => w.name),
      ['db', 'guest', 'web'],
    );
  });

  test('a cut link stops traffic until it is mended, and the stream says for how long', async () => {
    const stream = await startStream(lab, { from: 'web', to: 'db', pps: 1_000 });
    await lab.cutLink('west');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await lab.restoreLink('west');
    await new Promise((resolve) => setTimeout(resolve, 300));
    const report = await stream.stop();
    assert.ok(report.lost > 200 && report.longestGapMs > 250, JSON.stringify(report));
    assert.equal(
      report.lostRanges.reduce((sum, [first, last]) => sum + last - first + 1, 0),
      report.lost,
    );
  });

  test('a crashed switch comes back with its ports and addresses', async () => {
    await lab.restartVswitchd('east', { crash: true });
    await joinedByStaticFlows(lab);
    assert.ok(await answers(lab, 'web', '10.0.0.2'));
  });

  test('a host that was stopped comes back with the processes that ran on it', async () => {
    const agent = await lab.process('west', 'agent', ['sh', '-c', 'echo up; exec sleep 1000'], {
      ready: { line: /^up$/ },
    });
    const before = agent.pid;
    await lab.stopHost('west');
    assert.equal(await answers(lab, 'east', lab.host('west').address), false);
    assert.equal(lab.findProcess('west', 'agent')?.running, false);
    await lab.startHost('west');
    await joinedByStaticFlows(lab);
    assert.ok(await answers(lab, 'web', '10.0.0.2'));
    const again = lab.findProcess('west', 'agent')!;
    assert.ok(again.running && again.pid !== before);
    await again.stop();
  });

  test('a workload migrates: claimed at two hosts, then active at the other', async () => {
    await lab.addWorkload({ name: 'mover', host: 'west', port: 'port-mover', addresses: ['10.0.0.3/24'] });
    const migration = await startMigration(lab, 'mover', 'east');
    for (const host of ['west', 'east'])
      assert.match(
        await lab.switchOf(host).vsctl(['find', 'interface', 'external_ids:iface-id=port-mover']),
        /ofport\s+: \d+/,
      );
    await migration.activate({ announce: 'rarp' });
    const ovs = lab.switchOf('east');
    const [mover, web] = [lab.workload('mover').interface, lab.workload('web').interface];
    assert.equal(lab.workload('mover').host, 'east');
    await ovs.ofctl('add-flow', 'br-int', `in_port=${mover},actions=output:${web}`);
    await ovs.ofctl('add-flow', 'br-int', `priority=40000,in_port=${web},actions=output:${mover}`);
    assert.ok(await answers(lab, 'mover', '10.0.0.1'));
    await migration.finish();
    assert.equal(await lab.switchOf('west').vsctl(['find', 'interface', 'external_ids:iface-id=port-mover']), '');
  });

  test('is found and used by another process through its state', async () => {
    assert.ok(listLabs().includes(name));
    const same = await Lab.open(name);
    assert.deepEqual(same.hosts, lab.hosts);
    assert.ok(same.findProcess('east', 'ovs-vswitchd')?.running);
    await assert.rejects(Lab.start({ name, hosts: [{ name: 'east' }] }), (e: WeftError) => e.code === 'conflict');
  });

  test('a process that ends before it is ready is reported with its log', async () => {
    const failing = lab.process('server', 'broken', ['sh', '-c', 'echo why it failed; exit 3'], {
      ready: { line: /never/ },
    });
    await assert.rejects(failing, (e: WeftError) => e.code === 'refused' && /why it failed/.test(e.message));
  });

  test('teardown leaves nothing, and can be repeated', async () => {
    lab.spawn('db', ['sleep', '1000']).stdin!.end();
    const other = await Lab.start({ name: `${name}x`, hosts: [{ name: 'east' }], workloads: [] });
    const pids = lab
      .processes()
      .map((p) => p.pid)
      .filter((pid) => pid !== undefined);
    const everyone = [...pids, ...processesIn(listNamespaces(`weft-${name}-`))];
    assert.ok(everyone.length > pids.length);
    await lab.down();
    assert.deepEqual(listNamespaces(`weft-${name}-`), []);
    assert.deepEqual(
      everyone.filter((pid) => startTicksOf(pid) !== undefined),
      [],
    );
    assert.equal(existsSync(lab.state.dir), false);
    assert.ok(other.findProcess('east', 'ovs-vswitchd')?.running, 'another lab must not be touched');
    await other.down();
    await lab.down();
  });
});
