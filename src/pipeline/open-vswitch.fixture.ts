import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Item, splitItems } from '../openflow/text/items.ts';

const PCAP_FILE_HEADER = 24;
const PCAP_RECORD_HEADER = 16;

/**
 * A real Open vSwitch with dummy ports, to compare the executor with: a database and a switch of its own in a
 * temporary folder, one bridge `br0` with ports 1 to `ports`.
 */
export class OpenVswitchFixture {
  readonly #dir: string;
  readonly #children: ChildProcess[] = [];
  #socket: Socket | undefined;
  #pending: ((reply: { result: string | null; error: string | null }) => void)[] = [];
  /** OpenFlow port numbers by the datapath's. */
  readonly #ports = new Map<number, number>();
  /** How much of each port's capture was read. */
  readonly #seen = new Map<number, number>();

  #isStopping = false;
  #crash: string | undefined;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** The reason why there can be none here; undefined when there can. */
  static missing(): string | undefined {
    try {
      execFileSync(program('ovs-vswitchd'), ['--version'], { stdio: 'ignore' });
      return undefined;
    } catch {
      return 'no ovs-vswitchd here';
    }
  }

  static async start(ports: number): Promise<OpenVswitchFixture> {
    const fixture = new OpenVswitchFixture(mkdtempSync(join(tmpdir(), 'weft-pipeline-')));
    try {
      await fixture.#start(ports);
      return fixture;
    } catch (error) {
      await fixture.stop();
      throw error;
    }
  }

  async #start(ports: number): Promise<void> {
    const at = (name: string): string => join(this.#dir, name);
    execFileSync(program('ovsdb-tool'), ['create', at('conf.db'), schema()]);
    this.#spawn('ovsdb-server', [at('conf.db'), `--remote=punix:${at('db.sock')}`, `--unixctl=${at('db.ctl')}`]);
    await appears(at('db.sock'));
    const database = `--db=unix:${at('db.sock')}`;
    // Its socket is there a moment before it listens.
    execFileSync(program('ovs-vsctl'), [database, '--retry', '--timeout=10', '--no-wait', 'init']);
    this.#spawn('ovs-vswitchd', [
      `unix:${at('db.sock')}`,
      `--unixctl=${at('switch.ctl')}`,
      '--enable-dummy',
      '--disable-system',
      '-vconsole:off',
    ]);
    await appears(at('switch.ctl'));
    const add = ['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail-mode=secure'];
    for (let port = 1; port <= ports; port++)
      add.push(
        ...['--', 'add-port', 'br0', `p${port}`],
        ...['--', 'set', 'interface', `p${port}`, 'type=dummy', `ofport_request=${port}`],
        `options:tx_pcap=${at(`p${port}.pcap`)}`,
      );
    execFileSync(program('ovs-vsctl'), [database, ...add], { env: this.#env() });
    this.#socket = connect(at('switch.ctl'));
    this.#listen(this.#socket);
    for (const [, openflow, datapath] of (await this.control('dpif/show')).matchAll(/ (\d+)\/(\d+): \(dummy/g))
      this.#ports.set(Number(datapath), Number(openflow));
  }

  #env(): NodeJS.ProcessEnv {
    return { ...process.env, OVS_RUNDIR: this.#dir, OVS_LOGDIR: this.#dir, OVS_DBDIR: this.#dir };
  }

  #spawn(name: string, args: readonly string[]): void {
    const child = spawn(program(name), args, { env: this.#env(), stdio: 'ignore' });
    child.once('exit', (code, signal) => {
      if (this.#isStopping) return;
      this.#crash = `${name} ended by ${signal ?? `itself (${code})`}`;
      for (const answer of this.#pending.splice(0)) answer({ result: null, error: this.#crash });
    });
    this.#children.push(child);
  }

  #listen(socket: Socket): void {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('data', (chunk: string) => {
      text += chunk;
      for (let end = objectEnd(text); end > 0; end = objectEnd(text)) {
        const reply = JSON.parse(text.slice(0, end)) as { result: string | null; error: string | null };
        text = text.slice(end);
        this.#pending.shift()?.(reply);
      }
    });
  }

  /** An `ovs-appctl` command. */
  async control(method: string, ...params: string[]): Promise<string> {
    if (this.#crash) throw new Error(this.#crash);
    const reply = await new Promise<{ result: string | null; error: string | null }>((resolve) => {
      this.#pending.push(resolve);
      this.#socket!.write(JSON.stringify({ id: this.#pending.length, method, params }));
    });
    if (reply.error !== null) throw new Error(`${method}: ${reply.error}`);
    return reply.result ?? '';
  }

  /** An `ovs-vsctl` command on the switch's database: what it says. */
  vsctl(...args: string[]): string {
    const database = `--db=unix:${join(this.#dir, 'db.sock')}`;
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe'];
    return execFileSync(program('ovs-vsctl'), [database, ...args], { env: this.#env(), stdio, encoding: 'utf8' });
  }

  /** Holds `db.sock`. */
  get dir(): string {
    return this.#dir;
  }

  /** Where the bridge speaks OpenFlow. */
  get bridge(): string {
    return `unix:${join(this.#dir, 'br0.mgmt')}`;
  }

  /** What flows see of first fragments: `normal` or `nx-match`. */
  setFragments(mode: string): void {
    execFileSync(program('ovs-ofctl'), ['set-frags', this.bridge, mode], { env: this.#env() });
  }

  /** Replaces all flows and groups by those of the texts. */
  setFlows(flows: readonly string[], groups: readonly string[] = []): void {
    const { bridge } = this;
    const ofctl = (...args: string[]): void => {
      execFileSync(program('ovs-ofctl'), ['-O', 'OpenFlow15', ...args], {
        env: this.#env(),
        stdio: ['ignore', 'ignore', 'pipe'],
      });
    };
    if (groups.length > 0) {
      ofctl('del-flows', bridge);
      ofctl('del-groups', bridge);
      writeFileSync(join(this.#dir, 'groups'), groups.join('\n'));
      ofctl('add-groups', bridge, join(this.#dir, 'groups'));
    }
    writeFileSync(join(this.#dir, 'flows'), flows.join('\n'));
    ofctl('replace-flows', bridge, join(this.#dir, 'flows'));
  }

  /** `Flow_Table:prefixes` of tables, by their number. */
  setPrefixes(prefixes: ReadonlyMap<number, readonly string[]>): void {
    for (const [table, fields] of prefixes) {
      const row = ['--id=@t', 'create', 'Flow_Table', `prefixes=[${fields}]`];
      this.vsctl('--', ...row, '--', 'set', 'Bridge', 'br0', `flow_tables:${table}=@t`);
    }
  }

  /** The flows that are in the switch, as `dump-flows` prints them. */
  dumpFlows(): string[] {
    const bridge = `unix:${join(this.#dir, 'br0.mgmt')}`;
    const args = ['-O', 'OpenFlow15', 'dump-flows', bridge];
    const out = execFileSync(program('ovs-ofctl'), args, { env: this.#env(), encoding: 'utf8' });
    return out.split('\n').filter((line) => line.includes('actions='));
  }

  /** The datapath actions that a packet gets, and the whole of what `ofproto/trace` says. */
  async trace(inPort: number, packet: Uint8Array): Promise<{ actions: Item[]; text: string }> {
    const text = await this.control('ofproto/trace', 'br0', `in_port=${inPort}`, Buffer.from(packet).toString('hex'));
    const actions = [...text.matchAll(/^Datapath actions: (.*)$/gm)].at(-1)?.[1] ?? '';
    return { actions: splitItems(actions), text };
  }

  /** Has a frame arrive at a port and gives what leaves the bridge: frames in hex, by port, in order. */
  async receive(inPort: number, packet: Uint8Array): Promise<Map<number, string[]>> {
    const before = await this.#lookups();
    await this.control('netdev-dummy/receive', `p${inPort}`, Buffer.from(packet).toString('hex'));
    for (let tries = 0; (await this.#lookups()) === before; tries++)
      if (tries > 1000) throw new Error(`a frame that came in at port ${inPort} was not looked at`);
    // The lookup is counted before the actions are done, in the same turn of the switch's main loop.
    await this.control('version');
    const out = new Map<number, string[]>();
    for (const port of this.#ports.values()) {
      const frames = this.#captured(port);
      if (frames.length > 0) out.set(port, frames);
    }
    return out;
  }

  /** How many packets the datapath has looked up. */
  async #lookups(): Promise<number> {
    const text = await this.control('dpctl/show', 'dummy@ovs-dummy');
    const [, hit, missed] = /lookups: hit:(\d+) missed:(\d+)/.exec(text) ?? [];
    return Number(hit) + Number(missed);
  }

  /** What a port sent since the last call. */
  #captured(port: number): string[] {
    const file = join(this.#dir, `p${port}.pcap`);
    if (!existsSync(file)) return [];
    const seen = this.#seen.get(port) ?? PCAP_FILE_HEADER;
    const { size } = statSync(file);
    if (size <= seen) return [];
    this.#seen.set(port, size);
    const bytes = readFileSync(file).subarray(seen);
    const frames: string[] = [];
    for (let at = 0; at + PCAP_RECORD_HEADER <= bytes.length; ) {
      const length = bytes.readUInt32LE(at + 8);
      frames.push(bytes.toString('hex', at + PCAP_RECORD_HEADER, at + PCAP_RECORD_HEADER + length));
      at += PCAP_RECORD_HEADER + length;
    }
    return frames;
  }

  /** The OpenFlow number of a datapath port. */
  openflowPort(datapath: number): number {
    return this.#ports.get(datapath) ?? -datapath;
  }

  /** Says how Open vSwitch ended, where it did so by itself. */
  get crash(): string | undefined {
    return this.#crash;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#socket?.destroy();
    for (const child of this.#children.reverse()) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill('SIGTERM')) await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function program(name: string): string {
  const dir = process.env.WEFT_OVS_DIR;
  return dir ? join(dir, 'bin', name) : name;
}

function schema(): string {
  const dir = process.env.WEFT_OVS_DIR;
  return join(dir ? `${dir}/share` : '/usr/share/openvswitch', 'vswitch.ovsschema');
}

async function appears(path: string): Promise<void> {
  for (let tries = 0; !existsSync(path); tries++) {
    if (tries > 500) throw new Error(`${path} did not appear`);
    await sleep(10);
  }
}

/** The end of the JSON object that `text` begins with; 0 when it is not all there. */
function objectEnd(text: string): number {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '\\') i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === '{') depth++;
    else if (c === '}' && --depth === 0) return i + 1;
  }
  return 0;
}
