import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TrackingPacket } from '../../src/agent/connections/recreate.ts';
import { findOpenVswitch } from '../../src/lab/open-vswitch.ts';
import { connectOpenFlow, type OpenFlowConnection } from '../../src/openflow/connection.ts';
import { type Flow, OFPP } from '../../src/openflow/flow.ts';
import { FRAGMENTS } from '../../src/openflow/messages/features.ts';
import { ALL_TABLES, FLOW_COMMAND } from '../../src/openflow/messages/flow-mod.ts';
import { PACKET_IN_FORMAT } from '../../src/openflow/messages/nicira.ts';
import type { PacketIn } from '../../src/openflow/messages/packet-in.ts';
import { type UnixctlCommand, unixctl } from '../../src/ovsdb/unixctl.ts';
import { FIRST_OFPORT, TUNNEL_PORTS } from './scenario.ts';

/** What a sketch can have: generate.ts. */
export const HOSTS = 4;
export const INTERFACES = 20;
/** The name of the only port of the underlay's bridge, and the MAC of all tunnel ends. */
export const UNDERLAY_PORT = 'underlay';
const UNDERLAY_MAC = 'aa:00:00:00:00:01';
/** The bridge behind those of the hosts. */
const UNDERLAY = HOSTS;

/** As in generate-build.ts. */
function hostAddress(n: number): string {
  return `198.51.100.${n + 1}`;
}

/**
 * In a network namespace of its own (which ends with it): Open vSwitch reads the routes of its machine again whenever they change, as they do while
 * labs are made beside it, and forgets ours. Who may not make one has the machine's.
 */
const APART = process.getuid?.() === 0 ? ['unshare', '--net', '--'] : [];

export interface FarmOptions {
  /** With it, frames that leave are captured and packet-ins arrive: for packets that are really sent. */
  readonly onPacketIn?: (bridge: number, message: PacketIn) => void;
}

/** The name of a host's interface. */
export function interfaceName(bridge: number, ofport: number): string {
  return `p${bridge}-${ofport - FIRST_OFPORT}`;
}

/**
 * One real Open vSwitch with a bridge per host, for random models. Its datapath is a dummy, and so are the interfaces; tunnel ports
 * are real ones, told apart by their local address, and their packets have real headers.
 */
export class OpenVswitchFarm {
  readonly version: string;
  readonly #dir: string;
  readonly #children: ChildProcess[] = [];
  readonly #connections: OpenFlowConnection[] = [];
  /** Number in the datapath → interface of a host. */
  readonly #ports = new Map<number, { readonly bridge: number; readonly ofport: number }>();

  readonly #onPacketIn: FarmOptions['onPacketIn'];
  #isStopping = false;
  #crash: string | undefined;

  private constructor(version: string, dir: string, { onPacketIn }: FarmOptions) {
    this.version = version;
    this.#dir = dir;
    this.#onPacketIn = onPacketIn;
  }

  static async start(options: FarmOptions = {}): Promise<OpenVswitchFarm> {
    const ovs = await findOpenVswitch();
    const farm = new OpenVswitchFarm(ovs.version, mkdtempSync(join(tmpdir(), 'weft-three-way-')), options);
    process.once('exit', farm.#kill);
    try {
      await farm.#start(ovs.program, ovs.schema);
      return farm;
    } catch (error) {
      await farm.stop();
      throw error;
    }
  }

  async #start(program: (name: string) => string, schema: string): Promise<void> {
    const at = (name: string): string => join(this.#dir, name);
    const env = { ...process.env, OVS_RUNDIR: this.#dir, OVS_LOGDIR: this.#dir, OVS_DBDIR: this.#dir };
    const run = (name: string, ...args: string[]): void => {
      const [command, ...words] = [...APART, program(name), ...args] as [string, ...string[]];
      const child = spawn(command, words, { env, stdio: 'ignore' });
      child.once('exit', (code, signal) => {
        if (!this.#isStopping) this.#crash = `${name} ${this.version} ended by ${signal ?? `itself (${code})`}`;
      });
      this.#children.push(child);
    };
    execFileSync(program('ovsdb-tool'), ['create', at('conf.db'), schema]);
    run('ovsdb-server', at('conf.db'), `--remote=punix:${at('db.sock')}`, `--unixctl=${at('db.ctl')}`);
    await appears(at('db.sock'));
    const vsctl = (...args: string[]): void => {
      execFileSync(program('ovs-vsctl'), [`--db=unix:${at('db.sock')}`, ...args], { env });
    };
    vsctl('--no-wait', 'init');
    const quiet = ['-vconsole:off', '-vsyslog:off', '-vfile:off'];
    run(
      'ovs-vswitchd',
      `unix:${at('db.sock')}`,
      `--unixctl=${at('switch.ctl')}`,
      '--enable-dummy',
      '--disable-system',
      ...quiet,
    );
    await appears(at('switch.ctl'));
    vsctl(...bridges(this.#onPacketIn ? (port) => this.captureOf(port) : undefined));
    // Tunnels as the kernel's datapath has them: metadata for the port, no routes and neighbours of the process's own.
    await this.#underlay(vsctl);
    for (let bridge = 0; bridge <= UNDERLAY; bridge++) {
      const onPacketIn = this.#onPacketIn;
      const events = onPacketIn ? { packetIn: (message: PacketIn) => onPacketIn(bridge, message) } : {};
      const connection = await connectOpenFlow(`unix:${at(`br${bridge}.mgmt`)}`, { events });
      connection.send({ kind: 'setConfig', flags: FRAGMENTS.nxMatch, missSendLength: 0xffff });
      connection.send({ kind: 'setPacketInFormat', format: PACKET_IN_FORMAT.nxt2 });
      this.#connections.push(connection);
    }
    await this.setFlows(UNDERLAY, [
      { table: 0, priority: 0, match: {}, cookie: 0n, actions: [{ kind: 'output', port: 1 }] },
      // What comes in is for the tunnels: their address is that of the bridge itself.
      { table: 0, priority: 1, match: { in_port: 1 }, cookie: 0n, actions: [{ kind: 'output', port: OFPP.local }] },
    ]);
    const [show] = await this.control(['dpif/show']);
    for (const [, bridge, ofport, datapath] of show!.matchAll(/ p(\d+)-\d+ (\d+)\/(\d+): \(dummy/g))
      this.#ports.set(Number(datapath), { bridge: Number(bridge), ofport: Number(ofport) });
  }

  /** A bridge whose address is that of every host, and where every host is a neighbour: so tunnel packets find their way. */
  async #underlay(vsctl: (...args: string[]) => void): Promise<void> {
    const bridge = `br${UNDERLAY}`;
    const port = [
      '--',
      'add-port',
      bridge,
      'underlay',
      '--',
      'set',
      'interface',
      'underlay',
      'type=dummy',
      'ofport_request=1',
      // Room for the outer headers of frames as large as any workload sends.
      'mtu_request=9000',
      `options:tx_pcap=${this.captureOf(UNDERLAY_PORT)}`,
    ];
    const settings = ['datapath_type=dummy', 'fail-mode=secure', `other-config:hwaddr=${UNDERLAY_MAC}`];
    vsctl('add-br', bridge, '--', 'set', 'bridge', bridge, ...settings, ...port);
    await this.findWays();
  }

  /** Tells Open vSwitch where the hosts are: it forgets whenever routes of its network namespace change. */
  async findWays(): Promise<void> {
    const bridge = `br${UNDERLAY}`;
    const hosts = Array.from({ length: HOSTS }, (_, n) => hostAddress(n));
    await this.control(
      ...hosts.map((ip): UnixctlCommand => ['netdev-dummy/ip4addr', bridge, `${ip}/24`]),
      ['ovs/route/add', `${hostAddress(-1)}/24`, bridge],
      ...hosts.map((ip): UnixctlCommand => ['tnl/neigh/set', bridge, ip, UNDERLAY_MAC]),
      ['tnl/neigh/aging', '3600'],
    );
  }

  /** Says how Open vSwitch ended, where it did so by itself. */
  get crash(): string | undefined {
    return this.#crash;
  }

  /** `ovs-appctl` commands. */
  control(...commands: UnixctlCommand[]): Promise<string[]> {
    return unixctl(join(this.#dir, 'switch.ctl'), commands);
  }

  /**
   * What `ofproto/trace` says of a frame on a bridge. Whenever routes of this machine change, Open vSwitch reads them all again and forgets
   * ours for a moment: then we tell it again.
   */
  async trace(bridge: number, metadata: string, frame: string): Promise<string> {
    for (let tries = 0; ; tries++) {
      const [text] = await this.control(['ofproto/trace', `br${bridge}`, metadata, frame]);
      if (!text!.includes('native tunnel routing failed') || tries === 20) return text!;
      await this.findWays();
      await sleep(50);
    }
  }

  /** Replaces all flows of a bridge in one bundle; but for their meters, which the bridges have none of. */
  async setFlows(bridge: number, flows: Iterable<Flow>): Promise<void> {
    const clear = { table: ALL_TABLES, priority: 0, match: {}, actions: [], cookie: 0n } as const;
    await this.#connections[bridge]!.transaction([
      { kind: 'flowMod', command: FLOW_COMMAND.delete, ...clear },
      ...[...flows].map((flow) => {
        const actions = flow.actions.filter(({ kind }) => kind !== 'meter');
        return { kind: 'flowMod', command: FLOW_COMMAND.add, ...flow, actions } as const;
      }),
    ]);
  }

  /** Runs packets through actions at a bridge, as its agent would. */
  async runThrough(bridge: number, packets: readonly TrackingPacket[]): Promise<void> {
    const connection = this.#connections[bridge]!;
    for (const { frame, actions } of packets)
      connection.send({ kind: 'packetOut', match: { in_port: OFPP.controller }, actions, frame });
    await connection.barrier();
  }

  /** Resolves when every packet-in of what was done before has been handed over. */
  async settled(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.barrier()));
  }

  /** Of the underlay's port: `UNDERLAY_PORT`. */
  captureOf(port: string): string {
    return join(this.#dir, `${port}.pcap`);
  }

  get controlSocket(): string {
    return join(this.#dir, 'switch.ctl');
  }

  /** The interface behind a number of the datapath; undefined for the underlay. */
  portOf(datapath: number): { readonly bridge: number; readonly ofport: number } | undefined {
    return this.#ports.get(datapath);
  }

  /** When this process goes without having stopped it. */
  readonly #kill = (): void => {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.#dir, { recursive: true, force: true });
  };

  async stop(): Promise<void> {
    this.#isStopping = true;
    process.off('exit', this.#kill);
    for (const connection of this.#connections) connection.close();
    for (const child of this.#children.reverse()) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function bridges(captureOf?: (port: string) => string): string[] {
  const args: string[] = [];
  const add = (bridge: number, port: string, ofport: number, ...settings: string[]): void => {
    args.push(
      '--',
      'add-port',
      `br${bridge}`,
      port,
      '--',
      'set',
      'interface',
      port,
      `ofport_request=${ofport}`,
      ...settings,
    );
  };
  for (let bridge = 0; bridge < HOSTS; bridge++) {
    args.push('--', 'add-br', `br${bridge}`);
    args.push('--', 'set', 'bridge', `br${bridge}`, 'datapath_type=dummy', 'fail-mode=secure');
    for (const [encap, ofport] of Object.entries(TUNNEL_PORTS))
      add(
        bridge,
        `${encap}${bridge}`,
        ofport,
        `type=${encap}`,
        'options:remote_ip=flow',
        'options:key=flow',
        `options:local_ip=${hostAddress(bridge)}`,
      );
    for (let n = 0; n < INTERFACES; n++) {
      const name = interfaceName(bridge, FIRST_OFPORT + n);
      const capture = captureOf ? [`options:tx_pcap=${captureOf(name)}`] : [];
      add(bridge, name, FIRST_OFPORT + n, 'type=dummy', ...capture);
    }
  }
  return args.slice(1);
}

async function appears(path: string): Promise<void> {
  for (let tries = 0; !existsSync(path); tries++) {
    if (tries > 1000) throw new Error(`${path} did not appear`);
    await sleep(10);
  }
}
