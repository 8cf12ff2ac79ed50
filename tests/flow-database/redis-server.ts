import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Debian has one or the other (scripts/setup.sh installs what there is). */
export const program = ['redis-server', 'valkey-server'].find((name) => {
  try {
    execFileSync('which', [name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});
export const needsRedis = program === undefined ? 'neither redis-server nor valkey-server is installed' : false;

/** A real Redis or Valkey on loopback that saves nothing. It keeps its port when it is started again. */
export class RedisServer {
  readonly port: number;
  readonly #directory = mkdtempSync(join(tmpdir(), 'weft-redis-'));
  #process: ChildProcess | undefined;

  private constructor(port: number) {
    this.port = port;
  }

  static async start(...options: readonly string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort());
    await server.start(...options);
    return server;
  }

  async start(...options: readonly string[]): Promise<void> {
    const common = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const process = spawn(program!, [...common, '--dir', this.#directory, ...options], { stdio: 'ignore' });
    this.#process = process;
    for (let n = 0; n < 200; n++) {
      if (process.exitCode !== null) throw new Error(`${program} ended with ${process.exitCode}`);
      if (await answers(this.port)) return;
      await sleep(50);
    }
    throw new Error(`${program} does not listen`);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  /** One command in words; its answer as Redis writes it. */
  async command(...words: readonly string[]): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    try {
      socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`);
      const [data] = (await once(socket, 'data')) as [Buffer];
      return data.toString().trim();
    } finally {
      socket.destroy();
    }
  }

  /** As if its machine died. */
  async kill(): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (!process || process.exitCode !== null) return;
    const ended = once(process, 'exit');
    process.kill('SIGKILL');
    await ended;
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
