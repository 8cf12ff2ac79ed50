import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const WEFT = resolve('bin/weft');

export interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** `bin/weft` as people run it, against a real server of its own on a unix socket. */
export class Served {
  readonly folder = mkdtempSync(join(tmpdir(), 'weft-cli-'));
  readonly socket = join(this.folder, 'weft.sock');
  readonly env: NodeJS.ProcessEnv = {
    ...process.env,
    WEFT_CONFIG: join(this.folder, 'config.yaml'),
    WEFT_SERVER: `unix:${this.socket}`,
    NO_COLOR: '1',
  };
  #server: ChildProcess | undefined;

  async start(): Promise<void> {
    const argv = ['server', 'run', '--state-dir', join(this.folder, 'state'), '--listen', `unix:${this.socket}`];
    const server = spawn(WEFT, argv, { env: this.env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#server = server;
    let said = '';
    await new Promise<void>((started, failed) => {
      server.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.includes('"started"')) started();
      });
      server.on('close', () => failed(new Error(`the server ended: ${said}`)));
    });
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server && server.exitCode === null && server.signalCode === null) {
      const ended = new Promise((resolve) => server.once('close', resolve));
      server.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  run(
    args: readonly string[],
    options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {},
  ): Promise<Result> {
    return new Promise((done) => {
      const child = spawn(WEFT, args, { env: { ...this.env, ...options.env } });
      let [out, err] = ['', ''];
      child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
      child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
      child.on('close', (code) => done({ code: code ?? -1, out, err }));
      child.stdin.end(options.input ?? '');
    });
  }
}
