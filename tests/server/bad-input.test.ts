import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WeftError } from '../../src/base/errors.ts';
import { type Client, createClient } from '../../src/server/client.ts';

/** A server as people run it, and what people get wrong: a clear error, nothing lost, nothing half applied. */

const WEFT = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const NETWORK = `
kind: tenant
name: red
---
kind: switch
tenant: red
name: net
subnets: [{cidr: 10.0.0.0/24, gateway: 10.0.0.1}]
---
kind: port
tenant: red
switch: net
name: p1
addresses: [10.0.0.5]
`;

interface Server {
  readonly process: ChildProcess;
  readonly url: string;
  readonly client: Client;
  stop(): Promise<void>;
}

async function startServerProcess(dir: string, stateDir: string): Promise<Server> {
  const socket = join(dir, `weft-${randomBytes(4).toString('hex')}.sock`);
  const url = `unix:${socket}`;
  const argv = [process.execPath, WEFT, 'server', 'run', '--state-dir', stateDir, '--listen', url];
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (text) => (said += text));
  const client = createClient({ url });
  const until = Date.now() + 20_000;
  while (!existsSync(socket) || !(await client.get('/v1/status').catch(() => undefined))) {
    assert.ok(child.exitCode === null && Date.now() < until, `the server does not start: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    process: child,
    url,
    client,
    stop: async () => {
      client.close();
      const gone = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill()) await gone;
    },
  };
}

describe('a server that is told nonsense', () => {
  let dir: string;
  let server: Server;
  const revision = async (): Promise<number> =>
    (await server.client.get<{ server: { revision: number } }>('/v1/status')).server.revision;
  const weft = (...args: string[]) => {
    const run = spawnSync(process.execPath, [WEFT, '--server', server.url, ...args], { encoding: 'utf8', cwd: dir });
    return { code: run.status, out: run.stdout, err: run.stderr };
  };
  /** Applies a file with this content: it must be refused, say these things, and change nothing. */
  const refused = async (file: string, text: string, ...said: RegExp[]): Promise<void> => {
    const at = await revision();
    writeFileSync(join(dir, file), text);
    const { code, err } = weft('apply', '-f', file);
    assert.equal(code, 1, err);
    for (const pattern of said) assert.match(err, pattern);
    assert.doesNotMatch(err, /\n\s+at /, 'no stack');
    assert.equal(await revision(), at, 'nothing was written');
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'weft-bad-'));
    server = await startServerProcess(dir, join(dir, 'state'));
    writeFileSync(join(dir, 'network.yaml'), NETWORK);
    assert.equal(weft('apply', '-f', 'network.yaml').code, 0);
  });
  after(async () => {
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('malformed YAML and JSON: the line is named', async () => {
    await refused(
      'flow.yaml',
      `${NETWORK}---\nkind: port\nname: p2\naddresses: [10.0.0.6\nmac: "x\n`,
      /flow\.yaml:2\d:\d+/,
    );
    await refused('tabs.yaml', 'kind: tenant\n\tname: blue\n', /tabs\.yaml:2:1/);
    await refused('comma.json', '{"kind": "tenant",\n "name": "blue" "id": 1}', /comma\.json:2:\d+/);
    await refused('binary.yaml', '\u0000\u0001\u0002', /binary\.yaml/);
    await refused('scalar.yaml', 'just a word\n', /scalar\.yaml:1/);
  });

  test('a half-written file: what is there of it is not applied', async () => {
    const whole = NETWORK.replace('red', 'blue').replaceAll('tenant: red', 'tenant: blue');
    // Cut within a word, a field or a document; a cut between two documents makes a shorter file that is right.
    for (const end of ['switch: ne', 'switch: net\nna', 'cidr: 10.0.0.0/24, gat'])
      await refused('half.yaml', whole.slice(0, whole.indexOf(end) + end.length), /half\.yaml:\d+/);
    assert.equal(weft('get', 'tenant', 'blue').code, 3);
  });

  test('every problem of a file is named at its field, together', async () => {
    await refused(
      'many.yaml',
      [
        '{kind: port, tenant: red, switch: net, name: p2, addresses: [10.0.0.5]}',
        '{kind: port, tenant: red, switch: nett, name: p3}',
        '{kind: port, tenant: red, switch: net, name: p4, adminUpp: true, mac: zz}',
        '{kind: port, tenant: red, switch: net, name: p5, addresses: [10.9.9.9]}',
        '{kind: switch, tenant: red, name: s2, subnets: [{cidr: 10.1.0.0/24}, {cidr: 10.1.0.128/25}]}',
        '{kind: tenant, name: t1}\n---\n{kind: tenant, name: t1}',
        '{kind: gadget, name: g}',
      ].join('\n---\n'),
      /many\.yaml:\d+/,
      /gadget/,
    );
    await refused(
      'objects.yaml',
      [
        '{kind: port, tenant: red, switch: net, name: p2, addresses: [10.0.0.5]}',
        '{kind: port, tenant: red, switch: nett, name: p3}',
        '{kind: port, tenant: red, switch: net, name: p4, adminUpp: true, mac: zz}',
        '{kind: switch, tenant: red, name: s2, subnets: [{cidr: 10.1.0.0/24}, {cidr: 10.1.0.128/25}]}',
      ].join('\n---\n'),
      /objects\.yaml:1:\d+.* port p1 .*10\.0\.0\.5/,
      /objects\.yaml:3:\d+.*no switch "nett".*did you mean "net"/,
      /objects\.yaml:5:\d+.*no field "adminUpp".*did you mean "adminUp"/,
      /objects\.yaml:5:\d+.*mac/,
      /objects\.yaml:7:\d+.*10\.1\.0\.128\/25 overlaps 10\.1\.0\.0\/24/,
    );
  });

  test('what is in use is not deleted, and the answer says by what', async () => {
    const at = await revision();
    for (const [what, by] of [
      [['switch', 'red/net'], /port red\/p1/],
      [['tenant', 'red'], /switch red\/net/],
    ] as const) {
      const { code, err } = weft('delete', ...what);
      assert.equal(code, 4, err);
      assert.match(err, by);
    }
    assert.equal(weft('delete', 'port', 'red/p77').code, 3);
    assert.equal(await revision(), at);
  });

  test('garbage on its socket is answered or hung up on, and disturbs nobody else', async () => {
    const head = (length: number): string =>
      `POST /v1/apply HTTP/1.1\r\nHost: weft\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
    const inputs: (string | Uint8Array)[] = [
      'GARBAGE\r\n\r\n',
      '\r\n\r\n\r\n',
      randomBytes(5000),
      Buffer.alloc(100_000),
      `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
      `${head(6)}{"a": [`,
      `${head(3)}nul`,
      `${head(4)}null`,
      `${head(2)}[]`,
      `${head(20_000)}${'['.repeat(20_000)}`,
      head(1_000_000_000),
      `${head(10)}{`,
      'POST /v1/hosts/x/watch HTTP/1.1\r\nHost: weft\r\nContent-Length: 0\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    ];
    const answers = await Promise.all(inputs.map((input) => exchange(server.url.slice(5), input)));
    for (const [i, answer] of answers.entries()) {
      assert.ok(answer === '' || /^HTTP\/1\.1 4\d\d /.test(answer), `${i}: ${answer.slice(0, 200)}`);
      assert.doesNotMatch(answer, /\.ts:\d+/, 'no stack');
    }
    assert.equal(server.process.exitCode, null);
    assert.equal((await server.client.get<{ name: string }>('/v1/ports/red%2Fp1')).name, 'p1');
  });
});

/** What comes back within a second. */
function exchange(path: string, input: string | Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(path);
    const end = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(end, 1000);
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1');
    });
    socket.on('error', end);
    socket.on('close', end);
    socket.write(input);
  });
}

const isRoot = process.getuid?.() === 0;

test('a full disk under the store: writes are refused with the reason, reads go on, nothing acknowledged is lost', {
  skip: isRoot ? false : 'needs root: it mounts a small file system',
}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-full-'));
  const disk = join(dir, 'disk');
  mkdirSync(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', disk]).status !== 0) {
    rmSync(dir, { recursive: true });
    return t.skip('no file system can be mounted here');
  }
  let server: Server | undefined;
  try {
    server = await startServerProcess(dir, disk);
    const apply = (...objects: object[]): Promise<unknown> => server!.client.post('/v1/apply', { objects });
    const tenants = async (): Promise<string[]> => {
      const { items } = await server!.client.get<{ items: { name: string }[] }>('/v1/tenants');
      return items.map(({ name }) => name).toSorted();
    };
    const names = ['early'];
    await apply({ kind: 'tenant', name: 'early' });
    const filler = join(disk, 'filler');
    assert.throws(() => writeFileSync(filler, Buffer.alloc(4 << 20)), { code: 'ENOSPC' });
    let failure: unknown;
    // What the store writes ahead may still have room for some.
    for (let n = 0; n < 500 && failure === undefined; n++)
      await apply({ kind: 'tenant', name: `t${n}`, labels: { filler: 'x'.repeat(60) } }).then(
        () => names.push(`t${n}`),
        (error: unknown) => {
          failure = error;
        },
      );
    assert.ok(failure instanceof WeftError, `${names.length} writes on a full disk`);
    assert.match(failure.message, /disk|space|full/i);
    assert.deepEqual(await tenants(), names.toSorted(), 'what was refused is not there, and reads go on');
    assert.equal(server.process.exitCode, null);

    rmSync(filler);
    await apply({ kind: 'tenant', name: 'late' });
    names.push('late');
    assert.deepEqual(await tenants(), names.toSorted());
    await server.stop();
    server = await startServerProcess(dir, disk);
    assert.deepEqual(await tenants(), names.toSorted(), 'after a restart too');
  } finally {
    await server?.stop();
    spawnSync('umount', [disk]);
    rmSync(dir, { recursive: true, force: true });
  }
});
