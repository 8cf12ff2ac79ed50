import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A real ovsdb-server of one's own, in a temporary folder, for the tests of this folder. */

const PROGRAM_FOLDERS = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin'];
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
/** Of Debian's `openvswitch-vtep`. */
export const VTEP_SCHEMA = '/usr/share/openvswitch/vtep.ovsschema';

function program(name: string): string | undefined {
  return PROGRAM_FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Why tests with a real server cannot run here; false when they can. */
export const noOvsdbServer: string | false =
  program('ovsdb-server') && program('ovsdb-tool') && existsSync(SCHEMA) ? false : 'Open vSwitch is not installed';
export const noVtepSchema: string | false =
  noOvsdbServer || (existsSync(VTEP_SCHEMA) ? false : 'openvswitch-vtep is not installed');
export const noOpenssl: string | false = noOvsdbServer || (program('openssl') ? false : 'openssl is not installed');

export class OvsdbTestServer {
  readonly folder = mkdtempSync(join(tmpdir(), 'weft-ovsdb-'));
  readonly unix = `unix:${join(this.folder, 'db.sock')}`;
  readonly #extraArgs: readonly string[];
  readonly #schema: string;
  #process: ChildProcess | undefined;

  /** `clustered` databases keep their transactions' ids, and so let monitors resume. */
  private constructor(options: { clustered?: boolean; args?: readonly string[]; schema?: string | undefined }) {
    this.#extraArgs = options.args ?? [];
    this.#schema = options.schema ?? SCHEMA;
    this.#create(options.clustered ?? false);
  }

  #create(isClustered: boolean): void {
    const database = join(this.folder, 'conf.db');
    const create = isClustered
      ? ['create-cluster', database, this.#schema, `unix:${join(this.folder, 'raft.sock')}`]
      : ['create', database, this.#schema];
    execFileSync(program('ovsdb-tool')!, create, { stdio: 'pipe' });
  }

  /** Ends it, and starts it on an empty database. */
  async wipe(): Promise<void> {
    await this.kill();
    rmSync(join(this.folder, 'conf.db'));
    this.#create(false);
    await this.run();
  }

  static async start(
    options: {
      clustered?: boolean;
      schema?: string;
      args?: readonly string[] | ((folder: string) => readonly string[]);
    } = {},
  ): Promise<OvsdbTestServer> {
    const args: string[] = [];
    const server = new OvsdbTestServer({ clustered: options.clustered ?? false, args, schema: options.schema });
    args.push(...(typeof options.args === 'function' ? options.args(server.folder) : (options.args ?? [])));
    await server.run();
    return server;
  }

  async run(): Promise<void> {
    const socket = join(this.folder, 'db.sock');
    for (const old of [socket, join(this.folder, 'ctl')]) rmSync(old, { force: true });
    this.#process = spawn(
      program('ovsdb-server')!,
      [
        ...[join(this.folder, 'conf.db'), `--remote=punix:${socket}`, `--unixctl=${join(this.folder, 'ctl')}`],
        ...[`--log-file=${join(this.folder, 'log')}`, '--no-chdir', '-vconsole:off', ...this.#extraArgs],
      ],
      { stdio: 'ignore', env: { ...process.env, OVS_RUNDIR: this.folder, OVS_DBDIR: this.folder } },
    );
    const control = join(this.folder, 'ctl');
    for (let waited = 0; !existsSync(socket) || !existsSync(control); waited += 10) {
      if (waited > 5_000) throw new Error('ovsdb-server does not start');
      await sleep(10);
    }
  }

  /** `SIGKILL` for a crash; the database stays. */
  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Stands between a client and a unix socket; can cut, and say anything in the server's stead. */
export class Interposer {
  readonly address: string;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  /** Connections taken so far. */
  accepted = 0;
  /** Bytes passed from the server to the clients. */
  passedBytes = 0;
  /** What the clients said, as it is passed on. */
  rewrite = (request: string): string => request;

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.address = `unix:${path}`;
  }

  static async start(folder: string, target: string): Promise<Interposer> {
    const path = join(folder, 'interposer.sock');
    const server = createServer((client) => {
      interposer.accepted++;
      interposer.#clients.add(client);
      const upstream = connect({ path: target.slice('unix:'.length) });
      upstream.on('data', (chunk) => {
        interposer.passedBytes += chunk.length;
        client.write(chunk);
      });
      client.on('data', (chunk) => upstream.write(interposer.rewrite(chunk.toString())));
      for (const [one, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        one.on('error', () => {});
        one.on('close', () => other.destroy());
      }
      client.on('close', () => interposer.#clients.delete(client));
    });
    const interposer = new Interposer(server, path);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return interposer;
  }

  inject(bytes: Uint8Array | string): void {
    for (const client of this.#clients) client.write(bytes);
  }

  cut(): void {
    for (const client of this.#clients) client.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Makes the server look older: it does not know these methods. */
export function without(...methods: readonly string[]): (request: string) => string {
  return (request) => methods.reduce((text, method) => text.replaceAll(`"${method}"`, `"no-${method}"`), request);
}

/** A certificate authority, and a key with a certificate of it for each name; files `NAME-key.pem`, `NAME-cert.pem` in the folder. */
export function makeCertificates(folder: string, authority: string, names: readonly string[]): void {
  const openssl = (...args: string[]): void => {
    execFileSync(program('openssl')!, args, { cwd: folder, stdio: 'pipe' });
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const files = (name: string): string[] => ['-keyout', `${name}-key.pem`, '-subj', `/CN=${name}`];
  openssl('req', '-x509', ...key, ...files(authority), '-days', '2', '-out', `${authority}-cert.pem`);
  for (const name of names) {
    openssl('req', ...key, ...files(name), '-out', `${name}.csr`);
    const signer = ['-CA', `${authority}-cert.pem`, '-CAkey', `${authority}-key.pem`, '-CAcreateserial'];
    openssl('x509', '-req', '-in', `${name}.csr`, ...signer, '-days', '2', '-out', `${name}-cert.pem`);
  }
}

/** A TCP port that is free at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until `condition` holds; fails after `timeoutMs`. */
export async function eventually(condition: () => boolean, timeoutMs = 5_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await sleep(2);
  }
}
