import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { silentLog } from '../../src/base/log.ts';
import { noOpenVswitch, startSwitch, type TestSwitch } from '../../src/openflow/open-vswitch.fixture.ts';
import { type Client, createClient } from '../../src/server/client.ts';
import type { HostHealth } from '../../src/server/protocol.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';

/**
 * An agent between which and a real Open vSwitch somebody sits who says what he likes:
 *
 *     agent ── db.sock, br0.mgmt (Meddler) ── ovsdb-server, ovs-vswitchd
 */
const WEFT = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A unix socket that passes on to another one, or says something of its own instead. */
class Meddler {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** What whoever connects is told, instead of being passed on; `undefined` passes on. */
  says: readonly (string | Uint8Array)[] | 'close' | 'nothing' | undefined = 'nothing';
  connections = 0;

  constructor(path: string, target: string) {
    this.#server = createServer((socket) => this.#serve(socket, target)).listen(path);
  }

  #serve(socket: Socket, target: string): void {
    this.connections++;
    this.#keep(socket);
    if (this.says === 'close') socket.destroy();
    else if (this.says === undefined) {
      const onwards = this.#keep(connect(target));
      socket.pipe(onwards);
      onwards.pipe(socket);
      for (const [one, other] of [
        [socket, onwards],
        [onwards, socket],
      ] as const)
        one.on('close', () => other.destroy());
    } else if (this.says !== 'nothing') for (const part of this.says) socket.write(part);
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    return socket;
  }

  /** Into the connections that there are, in the midst of whatever is being said, in both directions. */
  interject(bytes: string | Uint8Array): void {
    for (const socket of this.#sockets) socket.write(bytes);
  }

  /** From now on those who connect are treated so; those who were connected have to connect again. */
  change(says: Meddler['says']): void {
    this.says = says;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.change('close');
    this.#server.close();
  }
}

const OPENFLOW_HELLO = Buffer.from('060000080000000f', 'hex');
const BAD_OPENFLOW: Record<string, Meddler['says']> = {
  'random bytes': [randomBytes(4096)],
  'zero bytes': [Buffer.alloc(4096)],
  'a header whose length is too small': [Buffer.from('0600000300000001', 'hex')],
  'a header of the largest length, and nothing more': [Buffer.from('0600ffff00000001', 'hex')],
  'a version that nobody speaks': [Buffer.from('7f00000800000001', 'hex')],
  'hello, then random bytes': [OPENFLOW_HELLO, randomBytes(4096)],
  'hello, then half a message': [OPENFLOW_HELLO, Buffer.from('0606002000000001', 'hex')],
  'hello, then a truncated error': [OPENFLOW_HELLO, Buffer.from('060100090000000101', 'hex')],
  'text of another protocol': ['HTTP/1.1 400 Bad Request\r\n\r\n'],
  'the end': 'close',
  silence: 'nothing',
};
const BAD_OVSDB: Record<string, Meddler['says']> = {
  'random bytes': [randomBytes(4096)],
  'half an object': ['{"id": 1, "result": ['],
  'an object that is no message': ['{"hello": "there"}{}{"id":null}'],
  'a list, a number, a word': ['[1,2,3] 17 true "word"'],
  'an answer that nobody asked for': ['{"id": 99, "result": {}, "error": null}'],
  'deep nesting': ['['.repeat(100_000)],
  'a string that does not end': [`"${'x'.repeat(1 << 20)}`],
  'wrong answers': Array.from({ length: 20 }, (_, id) => `{"id": ${id}, "result": "no", "error": null}`),
  'errors for answers': Array.from(
    { length: 20 },
    (_, id) => `{"id": ${id}, "result": null, "error": {"error": "no"}}`,
  ),
  'an update of a monitor that is not there': [
    '{"id": null, "method": "update3", "params": ["?", "x", {"A": {"b": 1}}]}',
  ],
  'broken UTF-8': [Buffer.from('7b226964223a2022c3282022', 'hex')],
  'the end': 'close',
  silence: 'nothing',
};

describe('an agent that is told nonsense by its switch', { skip: noOpenVswitch }, () => {
  let dir: string;
  let ovs: TestSwitch;
  let server: RunningServer;
  let client: Client;
  let agent: ChildProcess;
  let said = '';
  let openflow: Meddler;
  let ovsdb: Meddler;

  /** As the agent itself says it: the server hears of it a second later. */
  const isWell = async (): Promise<boolean> => {
    const local = createClient({ url: `unix:${join(dir, 'agent.sock')}` });
    const status = await local.get<{ synced: boolean; health: HostHealth }>('/status').catch(() => undefined);
    local.close();
    return status?.synced === true && status.health.problems.length === 0;
  };
  const PORT = '11111111-2222-4333-8444-555555555555';
  const vsctl = (...args: string[]): string =>
    ovs.run('ovs-vsctl', `--db=unix:${join(dirname(ovs.address.slice(5)), 'db.sock')}`, '--timeout=10', ...args);
  /** Plugs an interface in, or takes it out: the agent hears of it by OVSDB. */
  const toggle = async (plugged: boolean): Promise<void> => {
    if (plugged)
      vsctl(
        'add-port',
        'br0',
        'p1',
        '--',
        'set',
        'interface',
        'p1',
        'type=patch',
        'options:peer=none',
        `external_ids:iface-id=${PORT}`,
      );
    else vsctl('del-port', 'br0', 'p1');
    await within(plugged ? 'the port' : 'the end of the port', 8000, async () => {
      const { status } = await client.get<{ status: { state: string } }>('/v1/ports/red%2Fp1');
      return status.state === (plugged ? 'installed' : 'unbound');
    });
    await within(
      'its flows',
      3000,
      () => /10\.0\.0\.1/.test(ovs.run('ovs-ofctl', 'dump-flows', ovs.address)) === plugged,
    );
  };
  const flows = (): number =>
    ovs
      .run('ovs-ofctl', 'dump-flows', ovs.address)
      .split('\n')
      .filter((line) => line.includes('table=')).length;
  const within = async (what: string, timeoutMs: number, holds: () => Promise<boolean> | boolean): Promise<void> => {
    const until = Date.now() + timeoutMs;
    while (!(await holds())) {
      assert.equal(agent.exitCode, null, `the agent ended: ${said.slice(-2000)}`);
      assert.ok(Date.now() < until, `${what}: not within ${timeoutMs} ms; ${said.slice(-2000)}`);
      await sleep(25);
    }
  };
  /** It has tried twice, or has waited for an answer all the time. */
  const hears = async (meddler: Meddler, says: Parameters<Meddler['change']>[0]): Promise<void> => {
    meddler.change(says);
    const before = meddler.connections;
    await within('an attempt', 8_000, () => meddler.connections > before);
    for (let waitedMs = 0; waitedMs < 700 && meddler.connections < before + 2; waitedMs += 25) await sleep(25);
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'weft-garbage-'));
    ovs = await startSwitch();
    const real = dirname(ovs.address.slice(5));
    openflow = new Meddler(join(dir, 'br0.mgmt'), ovs.address.slice(5));
    ovsdb = new Meddler(join(dir, 'db.sock'), join(real, 'db.sock'));
    // Connections are read there: that works all the time.
    symlinkSync(join(real, 'vswitchd.ctl'), join(dir, 'ovs-vswitchd.ctl'));
    server = await startServer({ stateDir: dir, listen: [`unix:${join(dir, 'weft.sock')}`], log: silentLog });
    client = createClient({ url: server.urls[0]! });
    const zone = { kind: 'tunnelZone', name: 'z' };
    const host = { kind: 'host', name: 'h1', zone: 'z', tunnelAddress: '192.0.2.1' };
    const network = [
      { kind: 'tenant', name: 'red' },
      { kind: 'switch', tenant: 'red', name: 'net', subnets: [{ cidr: '10.0.0.0/24' }] },
      { kind: 'port', tenant: 'red', switch: 'net', name: 'p1', id: PORT },
    ];
    await client.post('/v1/apply', { objects: [zone, host, ...network] });
    const argv = ['agent', 'run', '--host', 'h1', '--server-url', server.urls[0]!, '--ovs-run-dir', dir];
    const more = ['--bridge', 'br0', '--datapath', 'netdev', '--state-dir', join(dir, 'agent')];
    agent = spawn(process.execPath, [WEFT, ...argv, ...more, '--control', join(dir, 'agent.sock')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [agent.stdout!, agent.stderr!]) stream.on('data', (text) => (said += text));
  });
  after(async () => {
    if (agent && agent.exitCode === null) {
      const gone = new Promise((resolve) => agent.once('exit', resolve));
      agent.kill();
      await gone;
    }
    client?.close();
    await server?.close();
    openflow?.close();
    ovsdb?.close();
    await ovs?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('waits for a switch that talks nonsense from the start, says so, and works once it makes sense', async () => {
    for (const says of [BAD_OVSDB['random bytes'], BAD_OVSDB['half an object']]) {
      ovsdb.change(says);
      openflow.change([randomBytes(1000)]);
      const before = ovsdb.connections + openflow.connections;
      await within('another attempt', 8000, () => ovsdb.connections + openflow.connections > before + 1);
    }
    assert.match(said, /"level":"warn"/);
    ovsdb.change(undefined);
    openflow.change(undefined);
    await within('health', 10_000, isWell);
    assert.ok(flows() > 10);
  });

  for (const [what, says] of Object.entries(BAD_OPENFLOW))
    test(`recovers from OpenFlow that is ${what}`, async () => {
      const installed = flows();
      await hears(openflow, says);
      assert.equal(flows(), installed, 'what is installed stays');
      openflow.change(undefined);
      await within('health', 8000, isWell);
      assert.equal(flows(), installed);
    });

  let isPlugged = false;
  for (const [what, says] of Object.entries(BAD_OVSDB))
    test(`recovers from OVSDB that is ${what}`, async () => {
      const installed = flows();
      await hears(ovsdb, says);
      assert.equal(flows(), installed, 'what is installed stays');
      ovsdb.change(undefined);
      await within('health', 8000, isWell);
      isPlugged = !isPlugged;
      await toggle(isPlugged);
    });

  test('nonsense in the midst of a conversation ends the connection, not the agent', async () => {
    for (const [meddler, bytes] of [
      // Half a message of the version agreed on is no nonsense yet, and is waited for: these begin as none.
      [openflow, Buffer.concat([Buffer.from('a50d', 'hex'), randomBytes(98)])],
      [ovsdb, '}}}{{{'],
      [openflow, Buffer.alloc(8)],
      [openflow, Buffer.from('a501fff000000001', 'hex')],
      [ovsdb, Buffer.concat([Buffer.from('}'), randomBytes(99)])],
    ] as const) {
      const before = meddler.connections;
      meddler.interject(bytes);
      await within('a new connection', 8000, () => meddler.connections > before);
      await within('health', 8000, isWell);
    }
  });

  test('after all this the agent still does its work, and none of it was a bug of its own', async () => {
    await toggle(!isPlugged);
    assert.equal(agent.exitCode, null);
    assert.doesNotMatch(said, /Unhandled|uncaught|\n\s+at /i);
  });
});
