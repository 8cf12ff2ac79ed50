import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { namespaceOf } from '../../src/lab/underlay.ts';
import { eventually } from '../lab/datacentre.ts';
import { labName, needsRoot, OWN_LABS } from '../lab/lab-name.ts';

/** `weft lab` and what needs real agents: one small lab for all of these. */
const WEFT = resolve('bin/weft');
const folder = mkdtempSync(join(tmpdir(), 'weft-lab-cli-'));
const name = labName('cl');
/** Commands name no lab, and take the only one. */
const env: NodeJS.ProcessEnv = {
  ...process.env,
  WEFT_LAB_DIR: OWN_LABS,
  WEFT_CONFIG: join(folder, 'config.yaml'),
  NO_COLOR: '1',
};

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function weft(...args: string[]): Promise<Result> {
  return new Promise((done) => {
    const child = spawn(WEFT, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.on('close', (code) => done({ code: code ?? -1, out, err }));
  });
}

const LAB = `
name: ${name}
encap: vxlan
topology: [network.yaml, provider.yaml]
hosts: [{ name: east }, { name: west }]
workloads:
  - { name: a, host: east, port: acme/web-1, dhcp: true }
  - { name: b, host: west, port: acme/db-1, dhcp: true }
routers:
  - name: up-1
    asn: 64601
    links:
      - { host: east, port: provider/wire, addresses: [192.0.2.1/30], peers: [{ address: 192.0.2.2, asn: 64512 }] }
outside: [{ name: client }]
`;

/** A gateway without BGP: a router port towards the upstream router, on a switch that has only the wire. */
const PROVIDER = `
kind: tenant
name: provider
---
kind: switch
tenant: provider
name: up
subnets: [{ cidr: 192.0.2.0/30 }]
---
kind: port
tenant: provider
name: wire
switch: up
portSecurity: false
addresses: [] # it is no workload: its neighbours are asked for
---
kind: router
tenant: provider
name: core
routes: [{ to: 0.0.0.0/0, via: 192.0.2.1 }]
---
kind: routerPort
tenant: provider
name: up
router: core
switch: up
addresses: [192.0.2.2/30]
`;

before(async () => {
  if (needsRoot) return;
  writeFileSync(join(folder, 'lab.yaml'), LAB);
  writeFileSync(join(folder, 'network.yaml'), readFileSync('examples/first-network.yaml'));
  writeFileSync(join(folder, 'provider.yaml'), PROVIDER);
  const up = await weft('lab', 'up', join(folder, 'lab.yaml'));
  assert.equal(up.code, 0, up.err);
});

after(async () => {
  if (!needsRoot) await weft('lab', 'down', name);
  rmSync(folder, { recursive: true, force: true });
});

test('the lab is up: commands go to its server, all is well, workloads reach each other', {
  skip: needsRoot,
}, async () => {
  // Agents report once a second, when they have time.
  let said = '';
  await eventually('all is well', 60_000, async () => {
    const { code, out } = await weft('status');
    said = out;
    return code === 0 && out.startsWith('all right');
  }).catch((error: unknown) => assert.fail(`${error}: ${said}`));
  assert.match((await weft('show')).out, /web-1 .* east {2}up/);
  const ping = await weft('lab', 'exec', 'a', 'ping', '-c', '3', '-i', '0.2', '-q', '10.1.0.20');
  assert.match(ping.out, / 0% packet loss/);
  assert.equal((await weft('sync', '--wait')).code, 0);
});

test('trace tells the way in the model, and what every switch on it really does', { skip: needsRoot }, async () => {
  const good = await weft('trace', 'web-1', 'db-1', 'tcp/5432', '--ovs');
  assert.equal(good.code, 0, good.err);
  assert.match(good.out, /^web-1 reaches db-1 on tcp\/5432 and is answered/);
  assert.match(good.out, /the way out[\s\S]*delivered to db-1[\s\S]*the way back[\s\S]*delivered to web-1/);
  assert.match(good.out, /Open vSwitch on east\n[\s\S]*tunnel[\s\S]*Open vSwitch on west\n[\s\S]*-> output port is/);
  const spoofed = await weft('trace', 'web-1', 'db-1', 'icmp', '--src', '10.1.0.99');
  assert.equal(spoofed.code, 7);
  assert.match(spoofed.out, /^web-1 does not reach 10\.1\.0\.20 by ping: dropped \(spoofed-ip\)/);
  assert.match((await weft('trace', 'web-1', 'dhcp')).out, /^answered by the host's agent \(DHCP\)/);
  assert.match((await weft('trace', 'web-1', '10.1.0.20', 'arp')).out, /^answered by the host: 10\.1\.0\.20 is at /);
  const file = join(folder, 'call.json');
  writeFileSync(file, (await weft('trace', 'web-1', 'db-1', 'tcp/5432', '-o', 'json')).out);
  const running = await weft('trace', 'web-1', 'db-1', 'tcp/5432', '--connections', file);
  assert.match(running.out, /^web-1 reaches db-1 on tcp\/5432 and is answered/, running.err);
  const strange = await weft('trace', 'web-1', 'db-1', 'tcp/5432', '--connections', join(folder, 'network.yaml'));
  assert.deepEqual([strange.code, strange.err.includes('-o json')], [2, true], strange.err);
});

test('capture shows the packets of a port on whichever host it is', { skip: needsRoot }, async () => {
  const capture = weft('capture', 'db-1', '-c', '2', 'icmp');
  // However long the capture takes to listen.
  const pings = spawn('ip', ['netns', 'exec', namespaceOf(name, 'a'), 'ping', '-i', '0.2', '-q', '10.1.0.20'], {
    stdio: 'ignore',
  });
  const { code, out, err } = await capture;
  pings.kill();
  assert.equal(code, 0, err);
  assert.equal(out.trim().split('\n').length, 2);
  assert.match(out, /ICMP echo request/);
  assert.match(err, /on host west/);
});

test('flows are as they should be, and a cookie leads to its objects', { skip: needsRoot }, async () => {
  const doctor = await weft('doctor', '--host', 'east');
  assert.equal(doctor.code, 0, doctor.out);
  const { processes } = JSON.parse((await weft('lab', 'status', '-o', 'json')).out) as {
    processes: { place: string; name: string; log: string }[];
  };
  const agent = processes.find((p) => p.place === 'east' && p.name === 'agent')!;
  const control = join(agent.log, '../../hosts/east/weft-agent.sock');
  const flows = await weft('agent', 'flows', '--control', control, '--match', '02:');
  const cookie = /cookie=(0x[0-9a-f]+)/.exec(flows.out)![1]!;
  assert.match((await weft('explain', cookie, '--host', 'east')).out, /object\s+(port|switch) acme\//);
  assert.equal((await weft('explain', '0x1', '--host', 'east')).code, 3);
});

test('without the server traffic goes on, and the host can still be asked', { skip: needsRoot }, async () => {
  assert.equal((await weft('lab', 'server', 'stop')).code, 0);
  assert.equal((await weft('status')).code, 6);
  const ping = await weft('lab', 'exec', 'a', 'ping', '-c', '3', '-i', '0.2', '-q', '10.1.0.20');
  assert.match(ping.out, / 0% packet loss/);
  assert.equal((await weft('lab', 'server', 'start')).code, 0);
});

test('an upstream router reaches the router port behind its wire, until the link is cut', {
  skip: needsRoot,
}, async () => {
  const status = await weft('lab', 'status');
  assert.match(status.out, /up-1 +\(AS 64601\) +zebra staticd bfdd bgpd|up-1 +\(AS 64601\).*bgpd/);
  assert.match(status.out, /up-1 +east +[0-9a-f-]{8,} +192\.0\.2\.1\/30/);
  const ping = (from: string) =>
    weft('lab', 'exec', from, 'ping', '-c', '2', '-i', '0.2', '-W', '1', '-q', '192.0.2.2');
  assert.match((await ping('up-1')).out, / 0% packet loss/);
  assert.match((await ping('client')).out, / 0% packet loss/);
  assert.equal((await weft('lab', 'link', 'silence', 'up-1', 'east')).code, 0);
  assert.match((await ping('client')).out, / 100% packet loss/);
  assert.equal((await weft('lab', 'link', 'restore', 'up-1', 'east')).code, 0);
  assert.match((await ping('client')).out, / 0% packet loss/);
  const summary = await weft('lab', 'vtysh', 'up-1', 'show', 'bgp', 'summary');
  assert.match(summary.out, /192\.0\.2\.2 +4 +64512/);
  assert.equal((await weft('lab', 'router', 'kill', 'up-1', 'bgpd')).code, 0);
  assert.match((await weft('lab', 'status')).out, /bgpd \(ended\)/);
  assert.equal((await weft('lab', 'router', 'start', 'up-1', 'bgpd')).code, 0);
  assert.equal((await weft('lab', 'router', 'kill', 'up-1', 'ripd')).code, 2);
  assert.equal((await weft('lab', 'via', 'client', 'up-9')).code, 3);
});

test('down leaves nothing', { skip: needsRoot }, async () => {
  assert.equal((await weft('lab', 'down')).code, 0);
  assert.equal((await weft('lab', 'status')).code, 3);
  assert.equal((await weft('context', 'list')).out, '');
});
