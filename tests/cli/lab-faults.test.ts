// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually } from '../lab/datacentre.ts';
import { labName, needsRoot, OWN_LABS } from '../lab/lab-name.ts';

/** What `weft lab` can break of a gateway with BGP: a link, the gateway, a daemon of FRR on either side, a session. Each is seen, and mended. */
const WEFT = resolve('bin/weft');
const folder = mkdtempSync(join(tmpdir(), 'weft-lab-faults-'));
const name = labName('lf');
/** Commands name no lab, and take the only one. */
const env: NodeJS.ProcessEnv = {
  ...process.env,
  WEFT_LAB_DIR: OWN_LABS,
  WEFT_CONFIG: join(folder, 'config.yaml'),
  NO_COLOR: '1',
};

const LAB = `
name: ${name}
topology: [gateway.yaml]
hosts: [{ name: gw-1 }]
routers:
  - name: up-1
    asn: 64513
    links:
      - host: gw-1
        port: isp/up-1-wire
        addresses: [192.0.2.1/30]
        peers: [{ address: 192.0.2.2, asn: 64512, password: change-me, bfd: true }]
outside: [{ name: client }]
`;

function weft(...args: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  return new Promise((done) => {
    const child = spawn(WEFT, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.on('close', (code) => done({ code: code ?? -1, out, err }));
  });
}

async function lab(...args: string[]): Promise<string> {
  const { code, out, err } = await weft('lab', ...args);
  assert.equal(code, 0, err);
  return out;
}

/** What both ends say: the router outside of its peer, and the server of what the gateway told. */
async function isUp(): Promise<boolean> {
  const [there, here] = await Promise.all([
    weft('lab', 'vtysh', 'up-1', 'show', 'bgp', 'neighbors', '192.0.2.2'),
    weft('bgp', '-o', 'json'),
  ]);
  return there.out.includes('BGP state = Established') && here.out.includes('"state": "established"');
}
const comesUp = (): Promise<true> => eventually('the session', 40_000, isUp);
const goesDown = (): Promise<true> =>
  eventually('the end of the session', 20_000, async () => {
    const { out } = await weft('lab', 'vtysh', 'up-1', 'show', 'bgp', 'neighbors', '192.0.2.2');
    return out !== '' && !out.includes('BGP state = Established');
  });

before(async () => {
  if (needsRoot) return;
  writeFileSync(join(folder, 'lab.yaml'), LAB);
  writeFileSync(join(folder, 'gateway.yaml'), readFileSync('examples/gateway.yaml'));
  const up = await weft('lab', 'up', join(folder, 'lab.yaml'));
  assert.equal(up.code, 0, up.err);
  await comesUp();
});
after(async () => {
  if (!needsRoot) await weft('lab', 'down', name);
  rmSync(folder, { recursive: true, force: true });
});

test('a link is cut, and put back', { skip: needsRoot }, async () => {
  await lab('link', 'cut', 'up-1', 'gw-1');
  await goesDown();
  await lab('link', 'restore', 'up-1', 'gw-1');
  await comesUp();
});

test('a session is shut, and opened', { skip: needsRoot }, async () => {
  await lab('session', 'shut', 'up-1', '192.0.2.2');
  await goesDown();
  await lab('session', 'open', 'up-1', '192.0.2.2');
  await comesUp();
});

test('a daemon of the router outside is killed, and started', { skip: needsRoot }, async () => {
  await lab('router', 'kill', 'up-1', 'bgpd');
  assert.match(await lab('status'), /bgpd \(ended\)/);
  await lab('router', 'start', 'up-1', 'bgpd');
  await comesUp();
});

test("a daemon of the gateway is killed: its agent starts it again, and the server's place has none", {
  skip: needsRoot,
}, async () => {
  const sessionsSoFar = async (): Promise<string> =>
    (await weft('lab', 'vtysh', 'up-1', 'show', 'bgp', 'neighbors', '192.0.2.2')).out.match(
      /Connections established (\d+)/,
    )![1]!;
  const before = Number(await sessionsSoFar());
  await lab('router', 'kill', 'gw-1', 'bgpd');
  await eventually('a new session', 40_000, async () => Number(await sessionsSoFar()) > before && (await isUp()));
  assert.equal((await weft('lab', 'router', 'kill', 'server', 'bgpd')).code, 3);
  assert.equal((await weft('lab', 'router', 'stop', 'gw-1', 'bgpd')).code, 3);
});

test('the gateway is killed, and comes back', { skip: needsRoot }, async () => {
  await lab('host', 'stop', 'gw-1');
  await goesDown();
  await lab('host', 'start', 'gw-1');
  await comesUp();
});
