import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { Served, WEFT } from './served.ts';

/** What `bin/weft` prints, and its exit codes. */
const served = new Served();
const { folder, socket, env } = served;
const weft: Served['run'] = (args, options) => served.run(args, options);

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Whether a process has a connection, if only one that is being made. */
function hasSocket(pid: number): boolean {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).some((fd) => readlinkSync(join(folder, fd)).startsWith('socket:'));
  } catch {
    return false;
  }
}

before(() => served.start());
after(() => served.stop());

const NETWORK = resolve('examples/first-network.yaml');

test('five objects: diff says what would change, apply does it, and again changes nothing', async () => {
  const diff = await weft(['diff', '-f', NETWORK]);
  assert.equal(diff.code, 1);
  assert.match(diff.out, /^\+ port acme\/db-1$/m);
  const dry = await weft(['apply', '-f', NETWORK, '--dry-run']);
  assert.equal(dry.code, 0);
  assert.equal((await weft(['get', 'tenants', '-o', 'name'])).out, '');
  const applied = await weft(['apply', '-f', NETWORK]);
  assert.equal(applied.code, 0, applied.err);
  assert.match(applied.out, /^port acme\/web-1\s+created$/m);
  assert.match(applied.err, /^5 created/m);
  const again = await weft(['apply', '-f', NETWORK]);
  assert.match(again.err, /^5 unchanged/m);
  assert.equal((await weft(['diff', '-f', NETWORK])).code, 0);
});

test('get lists, by name or all, in every format; what -o yaml prints can be applied again', async () => {
  const table = await weft(['get', 'ports', '-t', 'acme']);
  assert.match(table.out, /^TENANT\s+NAME\s+SWITCH/);
  assert.equal(table.out.trim().split('\n').length, 4);
  const names = await weft(['get', 'port', '-o', 'name']);
  assert.deepEqual(names.out.trim().split('\n').sort(), ['port/acme/db-1', 'port/acme/web-1', 'port/acme/web-2']);
  const json = JSON.parse((await weft(['get', 'port', 'acme/db-1', '-o', 'json'])).out) as {
    id: string;
    addresses: string[];
  };
  assert.deepEqual(json.addresses, ['10.1.0.20']);
  const byPrefix = await weft(['get', 'port', json.id.slice(0, 8), '-o', 'name']);
  assert.equal(byPrefix.out.trim(), 'port/acme/db-1');
  const yaml = await weft(['get', 'ports,switches', '-o', 'yaml']);
  const again = await weft(['apply', '-f', '-', '--dry-run'], { input: yaml.out });
  assert.equal(again.code, 0, again.err);
  assert.match(again.err, /4 unchanged/);
  assert.equal((await weft(['get', 'tenants', '-o', 'wat'])).code, 2);
});

test('describe and show tell of a port that nobody plugged in, status what to do next', async () => {
  const described = await weft(['describe', 'switch', 'office', '-t', 'acme']);
  assert.equal(described.code, 0, described.err);
  assert.match(described.out, /referred to by \(3\)\n {2}port acme\/web-1/);
  assert.match((await weft(['show'])).out, /acme\n└─ office {2}10\.1\.0\.0\/24\n {3}├─ web-1 .* unbound/);
  const status = await weft(['status']);
  assert.equal(status.code, 0);
  assert.match(status.out, /ports\s+3 not plugged in/);
  assert.match(status.err, /^next: /m);
});

test('create makes one object of flags, delete takes it away again', async () => {
  const created = await weft([
    'create',
    'port',
    'acme/tmp-1',
    '--switch',
    'office',
    '--addresses',
    '10.1.0.40',
    '--no-admin-up',
  ]);
  assert.equal(created.code, 0, created.err);
  const json = JSON.parse((await weft(['get', 'port', 'acme/tmp-1', '-o', 'json'])).out) as {
    adminUp: boolean;
    addresses: string[];
  };
  assert.deepEqual([json.adminUp, json.addresses], [false, ['10.1.0.40']]);
  assert.equal((await weft(['delete', 'port', 'acme/tmp-1'])).out.trim(), 'port acme/tmp-1 deleted');
  assert.equal((await weft(['delete', 'port/acme/tmp-1', '--ignore-not-found'])).code, 0);
});

test('an apply set prunes its own objects and no others', async () => {
  const both = file('set.yaml', 'kind: tenant\nname: t1\n---\nkind: tenant\nname: t2\n');
  const one = file('set1.yaml', 'kind: tenant\nname: t1\n');
  assert.equal((await weft(['apply', '-f', both, '--set', 's'])).code, 0);
  const shown = await weft(['diff', '-f', one, '--set', 's', '--prune']);
  assert.match(shown.out, /^- tenant t2$/m);
  const pruned = await weft(['apply', '-f', one, '--set', 's', '--prune', '--diff', '--yes']);
  assert.match(pruned.out, /tenant t2\s+deleted/);
  assert.equal((await weft(['get', 'tenant', 'acme', '-o', 'name'])).code, 0);
  assert.equal((await weft(['apply', '-f', one, '--prune'])).code, 2);
  await weft(['delete', 'tenant', 't1']);
});

test('a malformed or half-written file names file, line and column, and nothing of it is applied', async () => {
  const half = file('half.yaml', 'kind: tenant\nname: t9\n---\nkind: port\nname: p\nswitch: [offi');
  const result = await weft(['apply', '-f', half]);
  assert.equal(result.code, 1);
  assert.match(result.err, /half\.yaml:6:\d+: not YAML/);
  assert.equal((await weft(['get', 'tenant', 't9'])).code, 3);
});

test('everything that is wrong with the objects is named at once, with its place in the file', async () => {
  const text = [
    'kind: port',
    'tenant: acme',
    'name: a',
    'switch: offise',
    '---',
    'kind: port',
    'tenant: acme',
    'name: b',
    'switch: office',
    'addresses: [10.1.0.20]',
    '---',
    'kind: port',
    'tenant: acme',
    'name: c',
    'switch: office',
    'macc: x',
  ];
  const result = await weft(['apply', '-f', file('wrong.yaml', text.join('\n'))]);
  assert.equal(result.code, 1);
  assert.match(
    result.err,
    /wrong\.yaml:4:1: port acme\/a: switch: there is no switch "offise" \(did you mean "office"\?\)/,
  );
  assert.match(result.err, /wrong\.yaml:10:1\d?: port acme\/b: addresses\[0\]/);
  assert.match(result.err, /wrong\.yaml:16:1: port acme\/c: macc/);
});

test('what is in use is not deleted, and who uses it is named', async () => {
  const result = await weft(['delete', 'switch', 'acme/office']);
  assert.equal(result.code, 4);
  assert.match(result.err, /port acme\/web-1/);
});

test('exit codes tell usage, not found and unreachable apart, with a hint', async () => {
  const unknown = await weft(['frobnicate']);
  assert.equal(unknown.code, 2);
  const kind = await weft(['get', 'prots']);
  assert.deepEqual([kind.code, /did you mean ports\?/.test(kind.err)], [2, true]);
  const missing = await weft(['get', 'port', 'acme/web-11']);
  assert.deepEqual([missing.code, /did you mean acme\/web-1/.test(missing.err)], [3, true]);
  const nowhere = await weft(['status'], { env: { WEFT_SERVER: `unix:${folder}/none.sock` } });
  assert.equal(nowhere.code, 6);
  assert.equal((await weft(['trace', 'acme/web-1', 'acme/db-1'])).code, 3, 'a port that nobody plugged in');
  assert.equal((await weft(['sync', '--wait'])).code, 0);
});

test('contexts are kept, used, and forgotten', async () => {
  const own = { WEFT_SERVER: undefined as unknown as string };
  assert.equal(
    (await weft(['context', 'set', 'here', '--url', `unix:${socket}`, '--tenant', 'acme', '--use'], { env: own })).code,
    0,
  );
  assert.match((await weft(['get', 'port', 'web-1', '-o', 'name'], { env: own })).out, /port\/acme\/web-1/);
  assert.equal((await weft(['context', 'use', 'there'])).code, 3);
  assert.equal((await weft(['context', 'delete', 'here'])).code, 0);
  assert.equal((await weft(['get', 'ports', '--context', 'here'], { env: own })).code, 3);
});

test('completion knows commands, kinds, names and options', async () => {
  const words = async (...typed: string[]): Promise<string[]> =>
    (await weft(['completion', 'words', '--', ...typed])).out.trim().split('\n');
  assert.deepEqual(await words('app'), ['apply']);
  assert.deepEqual(await words('get', 'sw'), ['switches']);
  assert.deepEqual(await words('describe', 'port', 'web'), ['web-1', 'web-2']);
  assert.deepEqual(await words('trace', 'web-1', 'db'), ['db-1']);
  assert.ok((await words('apply', '--')).includes('--dry-run'));
});

test('three tiers behind a router: applied, shown as a tree, and written back as they were read', async () => {
  const files = ['examples/hosts.yaml', 'examples/three-tier.yaml'].flatMap((name) => ['-f', resolve(name)]);
  const applied = await weft(['apply', ...files]);
  assert.equal(applied.code, 0, applied.err);
  assert.match(applied.out, /^routerPort shop\/edge\/out\s+created$/m);
  assert.match((await weft(['apply', ...files])).err, /^\d+ unchanged$/m);
  const tree = (await weft(['show', '-t', 'shop'])).out;
  assert.match(tree, /└─ router edge\n/);
  assert.match(tree, /out .*203\.0\.113\.10\/24 .* switch provider\/public {2}outside\n/);
  assert.match(tree, /floating 203\.0\.113\.11 → web-1 {2}unbound\n/);
  assert.match(
    tree,
    /balancer shop {2}203\.0\.113\.80 tcp\/80 tcp\/443 {2}0\/2 serve\n/,
    'nobody has their interfaces',
  );
  const kinds = 'routers,router-ports,floating-addresses,load-balancers,security-groups,address-sets,rules,ports';
  const yaml = await weft(['get', kinds, '-t', 'shop', '-o', 'yaml']);
  const again = await weft(['apply', '-f', '-', '--dry-run'], { input: yaml.out });
  assert.equal(again.code, 0, again.err);
  assert.doesNotMatch(again.err, /created|changed,/);
  const described = await weft(['describe', 'router-port', 'shop/edge/out']);
  assert.match(described.out, /^routerPort shop\/edge\/out\n/);
  assert.match((await weft(['describe', 'port', 'shop/web-1'])).out, /loadBalancer shop\/shop/);
});

test('every kind can be created by flags, and a group may name itself', async () => {
  const create = async (...args: readonly string[]): Promise<void> => {
    const { code, err } = await weft(['create', ...args]);
    assert.equal(code, 0, `${args.join(' ')}: ${err}`);
  };
  await create('router', 'shop/spare', '--snat', '{from: 10.0.0.0/8, to: 198.51.100.9}');
  await create('router-port', 'shop/link', '--router', 'spare', '--addresses', '10.8.0.1/30');
  await create('router-port', 'shop/link', '--router', 'edge', '--peer', 'spare/link', '--addresses', '10.8.0.2/30');
  await create('address-set', 'shop/some', '--addresses', '10.0.0.0/8,192.0.2.1');
  await create('security-group', 'shop/self', '--ingress', '{group: self, protocol: tcp, ports: 22}');
  await create('floating', 'shop/web-2', '--address', '203.0.113.12', '--router', 'edge', '--port', 'web-2');
  const listener = '{protocol: udp, port: 53}';
  await create(
    'lb',
    'shop/dns',
    '--address',
    '10.0.3.53',
    '--router',
    'edge',
    '--listeners',
    listener,
    '--members',
    'db-1',
  );
  const taken = await weft([
    'create',
    'floating',
    'shop/x',
    '--address',
    '203.0.113.80',
    '--router',
    'edge',
    '--port',
    'db-1',
  ]);
  assert.match(taken.err, /loadBalancer shop\/shop has 203\.0\.113\.80 too/);
});

test('a gateway: its peer is applied, shown without its password, and bgp says that nobody runs the session', async () => {
  const file = resolve('examples/gateway.yaml');
  const applied = await weft(['apply', '-f', file]);
  assert.equal(applied.code, 0, applied.err);
  const [, peer] = (await weft(['get', 'bgp-peers', '-t', 'isp'])).out.split('\n');
  assert.match(peer!, /^isp\s+upstream-1\s+core\s+core\/up-1\s+192\.0\.2\.1\s+64513\s+none/);
  const yaml = await weft(['get', 'bgp-peers', '-o', 'yaml']);
  assert.match(yaml.out, /password: "?'?\*\*\*/);
  assert.match((await weft(['apply', '-f', '-', '--dry-run'], { input: yaml.out })).err, /1 unchanged/);
  assert.match((await weft(['apply', '-f', file])).err, /8 unchanged/);
  const described = await weft(['describe', 'bgp-peer', 'isp/core/upstream-1']);
  assert.match(described.out, /upstream-1/);
  assert.doesNotMatch(described.out + yaml.out, /change-me/);
  const further = await weft([
    ...['create', 'bgp-peer', 'second', '-t', 'isp', '--router', 'core', '--router-port', 'core/up-1'],
    ...['--address', '203.0.113.9', '--asn', '64514', '--multihop', '3'],
  ]);
  assert.equal(further.code === 0, false);
  assert.match(
    further.err,
    /no static route leads to it by a next hop there: give router isp\/core one to 203\.0\.113\.9\/32/,
  );
  const bgp = await weft(['bgp', 'isp/core']);
  assert.equal(bgp.code, 7);
  assert.match(bgp.out, /^isp\/core AS 64512, no gateway$/m);
  assert.match(bgp.out, /upstream-1 .* none .* no host runs it/);
  assert.equal((await weft(['bgp', 'core', '--routes'])).out.trim(), 'no learned routes');
  assert.match((await weft(['bgp', '--advertised'])).out, /nothing/);
  assert.match((await weft(['status'])).out, /bgpPeer isp\/core\/upstream-1: no host runs the session/);
  assert.equal((await weft(['delete', 'router', 'isp/core'])).code === 0, false);
});

test('a hardware VTEP: its binding is applied, shown with the VNI that it was given, and refused where another has its VLAN', async () => {
  const file = resolve('examples/hardware-vtep.yaml');
  const applied = await weft(['apply', '-f', file]);
  assert.equal(applied.code, 0, applied.err);
  assert.match((await weft(['apply', '-f', file])).err, /9 unchanged/);
  assert.match(
    (await weft(['get', 'vteps'])).out,
    /^tor-1\s+tcp:192\.0\.2\.51:6640\s+edge-1,edge-2\s+eth7,eth8\s+-?\s+unknown/m,
  );
  const [, binding] = (await weft(['get', 'vtep-bindings', '-t', 'acme'])).out.split('\n');
  assert.match(binding!, /racks-tor-1\s+racks-tor-1\s+tor-1\s+eth7,eth8\s+100,0\s+\d+\s+-?\s+unknown/);
  assert.match((await weft(['describe', 'vtep', 'tor-1'])).out, /racks-tor-1/);
  const yaml = await weft(['get', 'vteps,vtep-bindings', '-o', 'yaml']);
  assert.match((await weft(['apply', '-f', '-', '--dry-run'], { input: yaml.out })).err, /2 unchanged/);
  const port = { kind: 'port', tenant: 'acme', name: 'more', switch: 'racks', portSecurity: false, addresses: [] };
  const physicalPorts = [{ port: 'eth8' }];
  const more = { kind: 'vtepBinding', tenant: 'acme', name: 'more', port: 'more', vtep: 'tor-1', physicalPorts };
  const input = [port, more].map((object) => JSON.stringify(object)).join('\n---\n');
  const refused = await weft(['apply', '-f', '-'], { input });
  assert.match(refused.err, /vtepBinding acme\/racks-tor-1 has eth8 without a tag on VTEP tor-1/);
  assert.equal((await weft(['delete', 'vtep', 'tor-1'])).code === 0, false);
});

test('a host is drained and given back, and who is no host is named', async () => {
  const zone = { kind: 'tunnelZone', name: 'dc' };
  const hosts = ['gw-1', 'gw-2'].map((name, n) => ({
    kind: 'host',
    name,
    zone: 'dc',
    tunnelAddress: `10.9.0.${n + 1}`,
  }));
  const yaml = [zone, ...hosts].map((object) => JSON.stringify(object)).join('\n---\n');
  assert.equal((await weft(['apply', '-f', '-'], { input: yaml })).code, 0);
  const drained = async (): Promise<string> =>
    (await weft(['get', 'hosts', '-o', 'wide'])).out.match(/^(\S+) .* yes /m)?.[1] ?? 'none';
  const done = await weft(['drain', 'gw-1']);
  assert.deepEqual([done.code, await drained()], [0, 'gw-1'], done.err);
  assert.match(done.out, /^gw-1 is drained.* in 30 s at the latest/);
  assert.match(done.err, /weft undrain gw-1/);
  const back = await weft(['undrain', 'gw-1']);
  assert.deepEqual([back.code, await drained()], [0, 'none'], back.err);
  const patient = await weft(['drain', 'gw-1', '--wait', '90']);
  assert.match(patient.out, /^gw-1 is drained.* in 90 s at the latest/);
  assert.match((await weft(['drain', 'gw-1', '--wait', 'long'])).err, /--wait takes seconds, not 'long'/);
  const wrong = await weft(['drain', 'gw-3']);
  assert.equal(wrong.code, 3);
  assert.match(wrong.err, /did you mean gw-1/);
});

test('flows: nobody talks yet, nobody had the address, and what cannot be meant is a usage error', async () => {
  const none = await weft(['flows']);
  assert.deepEqual([none.code, none.out.trim()], [0, 'no connections']);
  assert.equal((await weft(['flows', '-o', 'json'])).out.trim(), '[]');
  const nat = await weft(['flows', '--nat', '203.0.113.10:40123', '--at', '2026-11-29T22:00Z']);
  assert.equal(nat.code, 3);
  assert.match(nat.out, /nobody is known to have had 203\.0\.113\.10:40123 at 2026-11-29T22:00:00\.000Z/);
  assert.equal((await weft(['flows', '--refused'])).code, 0);
  for (const wrong of [
    ['--at', 'now'],
    ['--nat', 'web'],
    ['--nat', '203.0.113.10', '--at', 'yesterday'],
    ['--limit', '0'],
    ['-o', 'yaml'],
  ])
    assert.equal((await weft(['flows', ...wrong])).code, 2, wrong.join(' '));
  assert.equal((await weft(['flows', '--port', 'nobody/nothing'])).code, 3);
  const followed = spawn(WEFT, ['flows', '--follow'], { env, stdio: 'ignore' });
  const closed = new Promise((done) => followed.once('close', done));
  // It has asked the server, and minds ^C from before that on.
  while (followed.exitCode === null && !hasSocket(followed.pid!)) await new Promise((later) => setTimeout(later, 50));
  followed.kill('SIGINT');
  assert.equal(await closed, 0, '^C ends it');
});
