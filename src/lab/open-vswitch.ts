import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cidrContains, networkOf, parseCidr, parseIp } from '../base/addresses.ts';
import { WeftError } from '../base/errors.ts';
import { type UnixctlCommand, unixctl } from '../ovsdb/unixctl.ts';
import { run, runOk } from './command.ts';
import { ManagedProcess } from './managed-process.ts';
import { scriptIn } from './namespaces.ts';
import type { HostSpec, LabSpec } from './spec.ts';
import { macFor } from './spec.ts';
import type { LabState } from './state.ts';

/** An Open vSwitch on this machine: the installed one, or the newer one that scripts/setup.sh unpacked privately. */
export type OpenVswitch = {
  readonly version: string;
  /** Private folder, or undefined for the installed programs. */
  readonly dir: string | undefined;
  readonly schema: string;
  program(name: string): string;
};

/** The first version whose userspace connection tracking does not abort under many short connections. */
const LEAST_VERSION = '3.1.3';

/** Chooses as scripts/setup.sh does: WEFT_OVS_DIR, the installed one when new enough, else a private one, else the installed one. */
export async function findOpenVswitch(): Promise<OpenVswitch> {
  const forced = process.env.WEFT_OVS_DIR;
  if (forced) {
    const version = await versionOf(join(forced, 'bin/ovs-vswitchd'));
    if (!version) throw new WeftError('not-found', `WEFT_OVS_DIR=${forced} holds no bin/ovs-vswitchd that runs`);
    return at(version, forced);
  }
  const installed = await versionOf('ovs-vswitchd');
  if (installed && compareVersions(installed, LEAST_VERSION) >= 0) return at(installed, undefined);
  for (const dir of privateDirs()) {
    const version = await versionOf(join(dir, 'bin/ovs-vswitchd'));
    if (version && compareVersions(version, LEAST_VERSION) >= 0) return at(version, dir);
  }
  if (!installed) throw new WeftError('not-found', 'no Open vSwitch on this machine: run scripts/setup.sh');
  return at(installed, undefined);
}

function at(version: string, dir: string | undefined): OpenVswitch {
  return {
    version,
    dir,
    schema: join(dir ? `${dir}/share` : '/usr/share/openvswitch', 'vswitch.ovsschema'),
    program: (name) => (dir ? join(dir, 'bin', name) : name),
  };
}

/** Newest first; under sudo the caller's own cache counts too. */
function privateDirs(): string[] {
  const caches = [process.env.XDG_CACHE_HOME, join(homedir(), '.cache')];
  if (process.env.SUDO_USER) caches.push(join('/home', process.env.SUDO_USER, '.cache'));
  const dirs: string[] = [];
  for (const cache of caches) {
    const weft = cache && join(cache, 'weft');
    if (!weft || !existsSync(weft)) continue;
    const names = readdirSync(weft).filter((name) => /^ovs-\d/.test(name));
    dirs.push(...names.sort((a, b) => compareVersions(b.slice(4), a.slice(4))).map((name) => join(weft, name)));
  }
  return dirs;
}

async function versionOf(program: string): Promise<string | undefined> {
  try {
    const { stdout } = await run([program, '--version']);
    return /\(Open vSwitch\) (\d+(?:\.\d+)*)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Whether this machine's kernel has Open vSwitch's datapath. */
export function kernelHasDatapath(): boolean {
  return existsSync('/sys/module/openvswitch');
}

/** The bridge that carries a host's underlay interface, and its own address on the internal port of the same name. */
export const UNDERLAY_BRIDGE = 'br-underlay';
/** The bridge into which workloads are plugged. */
export const INTEGRATION_BRIDGE = 'br-int';
/** So long the switch may take to hear of an address. */
const HEARD_MS = 5_000;
/** A host's interface towards the underlay. */
export const UNDERLAY_INTERFACE = 'eth0';

/** The MAC with which a host (or `underlay`, as a router) is seen on the underlay. */
export function underlayMac(lab: string, place: string): string {
  return macFor(`${lab}/${place}/underlay`);
}

/**
 * Open vSwitch of one host: database server and switch as managed processes of the lab, in the host's namespace, with
 * a run directory of their own. The userspace datapath routes tunnel packets itself, from addresses on the internal
 * port of a bridge of the same datapath: hence `br-underlay`. The same shape works with the kernel datapath.
 */
export class HostSwitch {
  readonly host: HostSpec;
  readonly dir: string;
  readonly #state: LabState;
  readonly #spec: LabSpec;
  readonly #namespace: string;
  readonly #ovs: OpenVswitch;

  constructor(state: LabState, spec: LabSpec, host: HostSpec, namespace: string, ovs: OpenVswitch) {
    this.host = host;
    this.dir = state.hostDir(host.name);
    this.#state = state;
    this.#spec = spec;
    this.#namespace = namespace;
    this.#ovs = ovs;
  }

  /** The unix socket of the database. */
  get database(): string {
    return join(this.dir, 'db.sock');
  }

  /** What a program of Open vSwitch needs to find this host's sockets. */
  get env(): Record<string, string> {
    return { OVS_RUNDIR: this.dir, OVS_DBDIR: this.dir, OVS_LOGDIR: this.dir, OVS_SYSCONFDIR: this.dir };
  }

  get datapath(): 'netdev' | 'system' {
    return this.#spec.datapath === 'auto' ? (kernelHasDatapath() ? 'system' : 'netdev') : this.#spec.datapath;
  }

  /** Starts both processes on the database that there is, makes the bridges, and gives `br-underlay` the host's address. */
  async start(): Promise<void> {
    const file = join(this.dir, 'conf.db');
    if (!existsSync(file)) await runOk([this.#ovs.program('ovsdb-tool'), 'create', file, this.#ovs.schema]);
    await this.#databaseServer().start();
    const datapath = this.datapath;
    const bridge = (name: string) => [
      '--may-exist',
      'add-br',
      name,
      '--',
      'set',
      'bridge',
      name,
      `datapath_type=${datapath}`,
    ];
    await this.vsctl([
      ...['--no-wait', '--', 'init', '--', 'set', 'Open_vSwitch', '.'],
      ...[`external_ids:system-id=${this.host.name}`, `external_ids:hostname=${this.host.name}`, '--'],
      ...[...bridge(UNDERLAY_BRIDGE), `other_config:hwaddr="${this.mac}"`, '--'],
      ...['set', 'interface', UNDERLAY_BRIDGE, `mtu_request=${this.#spec.underlay.mtu}`, '--'],
      ...['--may-exist', 'add-port', UNDERLAY_BRIDGE, UNDERLAY_INTERFACE, '--'],
      ...[...bridge(INTEGRATION_BRIDGE), 'fail_mode=secure'],
    ]);
    await this.startVswitchd();
  }

  /** Starts the switch alone and waits until it has made its bridges; the addresses on its taps are lost with it and set again. */
  async startVswitchd(): Promise<void> {
    const args = [
      ...(this.isToldRoutes ? ['--disable-system-route'] : []),
      ...[`unix:${this.database}`, ...common(this.dir, 'ovs-vswitchd')],
    ];
    await this.#declare(
      'ovs-vswitchd',
      [this.#ovs.program('ovs-vswitchd'), ...args],
      join(this.dir, 'ovs-vswitchd.ctl'),
    ).start();
    // ovs-vsctl waits for the switch only when it changed something: the time of this start is a new value every time.
    await this.vsctl([
      '--timeout=15',
      'set',
      'Open_vSwitch',
      '.',
      `external_ids:weft-lab-started="${new Date().toISOString()}"`,
    ]);
    await this.#addressUnderlay();
    if (this.datapath === 'netdev') await this.#knowWays();
  }

  /**
   * Does the switch know routes from here only? It reads the kernel's otherwise, anew whenever any interface of the host changes, and until it has,
   * does not know its own tunnels: what a revalidator looks at just then goes to the kernel, 10 ms of packets now and then where a
   * port is plugged (lib/ovs-router.c, `ovs_router_flush`). Tunnel ports with `local_ip`, as VTEPs have, need the kernel's.
   */
  get isToldRoutes(): boolean {
    return this.datapath === 'netdev' && this.#spec.underlay.routes === 'given';
  }

  /**
   * Tells the switch where its tunnels go, and the MACs of all other hosts. The userspace datapath drops a tunnel packet whose neighbour it has to
   * ask for, where a kernel would hold it back, and it forgets after a quarter of an hour: between machines that have
   * long been up this is not what one wants to measure.
   */
  async #knowWays(): Promise<void> {
    const { address, prefix, gateway } = this.host;
    const peers = this.#spec.hosts.filter((peer) => peer.name !== this.host.name);
    const near = peers
      .filter((peer) => sameSubnet(address, peer.address, prefix))
      .map((peer) => [peer.address, underlayMac(this.#spec.name, peer.name)]);
    if (gateway) near.push([gateway, underlayMac(this.#spec.name, 'underlay')]);
    if (this.isToldRoutes) await this.#addRoutes();
    await this.appctlAll([
      ['tnl/neigh/aging', '3600'],
      ...near.map(([ip, mac]): UnixctlCommand => ['tnl/neigh/set', UNDERLAY_BRIDGE, ip!, mac!]),
    ]);
  }

  async #addRoutes(): Promise<void> {
    const { address, prefix, gateway } = this.host;
    const everywhere = address.includes(':') ? '::/0' : '0.0.0.0/0';
    const routes: UnixctlCommand[] = [['ovs/route/add', `${address}/${prefix}`, UNDERLAY_BRIDGE]];
    if (gateway) routes.push(['ovs/route/add', everywhere, UNDERLAY_BRIDGE, gateway]);
    // It refuses them until it has heard from the kernel of the address that they go from.
    for (const endMs = performance.now() + HEARD_MS; ; await delay(20)) {
      try {
        await this.appctlAll(routes);
        return;
      } catch (error) {
        if (!(error instanceof WeftError && error.code === 'refused') || performance.now() > endMs) throw error;
      }
    }
  }

  get vswitchd(): ManagedProcess | undefined {
    return ManagedProcess.find(this.#state, this.host.name, 'ovs-vswitchd');
  }

  /** Its MAC on the underlay: the same after every restart, so that neighbours stay right. */
  get mac(): string {
    return underlayMac(this.#spec.name, this.host.name);
  }

  /** Runs `ovs-vsctl` on this host's database; returns what it printed. Error: `refused` with what it said. */
  vsctl(args: readonly string[]): Promise<string> {
    return runOk([this.#ovs.program('ovs-vsctl'), `--db=unix:${this.database}`, ...args], { env: this.env });
  }

  /** Runs `ovs-ofctl` with this host's sockets: `ofctl('dump-flows', 'br-int')`. */
  ofctl(...args: string[]): Promise<string> {
    return runOk([this.#ovs.program('ovs-ofctl'), ...args], { env: this.env });
  }

  /** Runs a command of this host's switch, as `ovs-appctl` would: `appctl('dpctl/dump-flows')`. */
  async appctl(name: string, ...args: string[]): Promise<string> {
    return (await this.appctlAll([[name, ...args]]))[0]!;
  }

  /** Runs several, over one connection. */
  appctlAll(commands: readonly UnixctlCommand[]): Promise<string[]> {
    return unixctl(join(this.dir, 'ovs-vswitchd.ctl'), commands);
  }

  #databaseServer(): ManagedProcess {
    const args = [join(this.dir, 'conf.db'), `--remote=punix:${this.database}`, ...common(this.dir, 'ovsdb-server')];
    return this.#declare('ovsdb-server', [this.#ovs.program('ovsdb-server'), ...args], this.database);
  }

  #declare(name: string, argv: readonly string[], socket: string): ManagedProcess {
    // The priority that Debian's own start script gives both: they must not lose packets to a busy machine.
    return ManagedProcess.declare(this.#state, this.#namespace, this.host.name, name, ['nice', '-n', '-10', ...argv], {
      env: this.env,
      ready: { socket },
      cwd: this.dir,
    });
  }

  async #addressUnderlay(): Promise<void> {
    const { address, prefix, gateway } = this.host;
    const v6 = address.includes(':');
    await scriptIn(this.#namespace, [
      ...(v6 ? [`echo 0 > /proc/sys/net/ipv6/conf/${UNDERLAY_BRIDGE}/disable_ipv6`] : []),
      `ip addr replace ${address}/${prefix} ${v6 ? 'nodad' : 'brd +'} dev ${UNDERLAY_BRIDGE}`,
      `ip link set ${UNDERLAY_BRIDGE} up`,
      ...(gateway ? [`ip ${v6 ? '-6 ' : ''}route replace default via ${gateway} dev ${UNDERLAY_BRIDGE}`] : []),
    ]);
  }
}

/** Whether two addresses are in one subnet of this prefix length. */
function sameSubnet(a: string, b: string, prefix: number): boolean {
  const [first, second] = [parseCidr(`${a}/${prefix}`), parseIp(b)];
  return first !== undefined && second !== undefined && cidrContains(networkOf(first), second);
}

/** Logs go to the process's own log file, sockets and pid files to the host's folder. */
function common(dir: string, name: string): string[] {
  return [
    `--unixctl=${join(dir, `${name}.ctl`)}`,
    `--pidfile=${join(dir, `${name}.pid`)}`,
    '--no-chdir',
    '-vsyslog:off',
    '-vfile:off',
    '-vconsole:info',
  ];
}
