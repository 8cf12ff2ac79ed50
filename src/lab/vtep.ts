import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '../base/errors.ts';
import { runOk } from './command.ts';
import type { Lab } from './lab.ts';
import type { ManagedProcess } from './managed-process.ts';
import { ipBatch, scriptIn } from './namespaces.ts';
import { findOpenVswitch } from './open-vswitch.ts';

/** A machine behind a physical port of a VTEP, in a namespace of its own. */
export interface PhysicalMachine {
  readonly name: string;
  /** Of the VTEP. Several machines in one port are in VLANs of it. */
  readonly port: string;
  /** Its frames have this tag on the way to the VTEP; 0 for none. */
  readonly vlan?: number;
  /** With prefix length. */
  readonly addresses: readonly string[];
  readonly gateway?: string;
}

const PORT = 6640;
const EMULATOR = '/usr/share/openvswitch/scripts/ovs-vtep';
/** What is other in the copy that a lab runs: it looks five times a second, and leaves BFD alone, which takes it seconds each time and is not used. */
const CHANGES = [
  ['poller.timer_wait(1000)', 'poller.timer_wait(200)'],
  ['\n        run_bfd()\n', '\n'],
] as const;
const SCHEMA = '/usr/share/openvswitch/vtep.ovsschema';

/**
 * Open vSwitch's emulator of a hardware VTEP (Debian's `openvswitch-vtep`) on a machine of a lab that is no host of Weft's: a bridge with
 * physical ports, the database `hardware_vtep` in a server of its own, and the script between them.
 */
export class VtepEmulator {
  readonly #lab: Lab;
  readonly place: string;

  private constructor(lab: Lab, place: string) {
    this.#lab = lab;
    this.place = place;
  }

  /** Errors: `not-found` where the package is not installed, `invalid` in a lab whose switches would find no way to it. */
  static async start(lab: Lab, place: string, machines: readonly PhysicalMachine[]): Promise<VtepEmulator> {
    if (!existsSync(EMULATOR))
      throw new WeftError('not-found', 'no emulator of VTEPs on this machine: run scripts/setup.sh');
    if (lab.switchOf(place).isToldRoutes)
      throw new WeftError('invalid', 'tunnels of a VTEP need the routes of the kernel: underlay: { routes: kernel }');
    const vtep = new VtepEmulator(lab, place);
    mkdirSync(vtep.#dir, { recursive: true });
    await vtep.#connect(machines);
    await vtep.#createDatabase();
    await vtep.startDatabase();
    await vtep.#describe();
    await vtep.startEmulator();
    return vtep;
  }

  /** Joins two VTEPs by a cable, at a physical port of this name of each. */
  static async cable(one: VtepEmulator, other: VtepEmulator, port: string): Promise<void> {
    const inside = ({ place }: VtepEmulator): string => one.#lab.namespace(place);
    await ipBatch([`link add ${port} netns ${inside(one)} type veth peer ${port} netns ${inside(other)}`]);
    for (const vtep of [one, other]) {
      await scriptIn(inside(vtep), up(port));
      await one.#lab.switchOf(vtep.place).vsctl(['--timeout=30', 'add-port', vtep.place, port]);
    }
  }

  /** For the VTEP's `management`. */
  get management(): string {
    return `tcp:${this.#lab.host(this.place).address}:${PORT}`;
  }

  get #dir(): string {
    return join(this.#lab.switchOf(this.place).dir, 'vtep');
  }
  get #socket(): string {
    return join(this.#dir, 'vtep.sock');
  }

  /** `vtep-ctl` on its database. */
  ctl(...args: string[]): Promise<string> {
    return runOk(['vtep-ctl', `--db=unix:${this.#socket}`, ...args]);
  }

  /** A veth pair for each physical port, or for each machine in a VLAN of it. */
  async #connect(machines: readonly PhysicalMachine[]): Promise<void> {
    const inside = this.#lab.namespace(this.place);
    const trunks = Map.groupBy(machines, ({ port }) => port);
    const segment = (port: string): string => `seg-${port}`;
    for (const [port, its] of trunks) {
      const far = its.length === 1 && !its[0]!.vlan ? its[0]!.name : undefined;
      const commands = its.map(({ name }) => `netns add ${this.#lab.namespace(name)}`);
      // Machines in VLANs share the port: what is between is a bridge of the same switch, as cheap as a cable.
      if (far === undefined) commands.push(`link add ${port} netns ${inside} type veth peer x-${port} netns ${inside}`);
      for (const { name } of its)
        commands.push(
          `link add eth0 netns ${this.#lab.namespace(name)} type veth peer ${far ? port : `m-${name}`} netns ${inside}`,
        );
      await ipBatch(commands);
      const ours = far ? [port] : [port, `x-${port}`, ...its.map(({ name }) => `m-${name}`)];
      await scriptIn(inside, ours.flatMap(up));
      for (const { name, addresses, gateway } of its)
        await scriptIn(this.#lab.namespace(name), [
          ...up('eth0'),
          'ip link set lo up',
          ...addresses.map((address) => `ip addr add ${address} dev eth0`),
          ...(gateway === undefined ? [] : [`ip route add default via ${gateway}`]),
        ]);
      if (far === undefined) {
        const ovs = this.#lab.switchOf(this.place);
        await ovs.vsctl([
          ...['--timeout=30', 'add-br', segment(port), '--', 'set', 'bridge', segment(port)],
          ...[`datapath_type=${ovs.datapath}`, '--', 'add-port', segment(port), `x-${port}`],
          ...its.flatMap(({ name, vlan }) => [
            ...['--', 'add-port', segment(port), `m-${name}`],
            ...(vlan ? [`tag=${vlan}`] : []),
          ]),
        ]);
      }
    }
    const ovs = this.#lab.switchOf(this.place);
    await ovs.vsctl([
      ...['--timeout=30', 'add-br', this.place, '--', 'set', 'bridge', this.place, `datapath_type=${ovs.datapath}`],
      ...[...trunks.keys()].flatMap((port) => ['--', 'add-port', this.place, port]),
    ]);
  }

  /** How many logical switches the emulator works with; it looks five times a second. */
  async logicalSwitches(): Promise<number> {
    const bridges = await this.#lab.switchOf(this.place).vsctl(['list-br']);
    return bridges.split('\n').filter((bridge) => bridge.includes('_vtep_ls')).length;
  }

  async #createDatabase(): Promise<void> {
    const ovs = await findOpenVswitch();
    await runOk([ovs.program('ovsdb-tool'), 'create', join(this.#dir, 'vtep.db'), SCHEMA]);
  }

  async startDatabase(): Promise<ManagedProcess> {
    const ovs = await findOpenVswitch();
    const argv = [
      ...[ovs.program('ovsdb-server'), join(this.#dir, 'vtep.db'), `--remote=punix:${this.#socket}`],
      ...[`--remote=ptcp:${PORT}`, `--unixctl=${join(this.#dir, 'ctl')}`, '--no-chdir', '-vsyslog:off', '-vfile:off'],
    ];
    return this.#lab.process(this.place, 'vtep-database', argv, { ready: { socket: this.#socket } });
  }

  get database(): ManagedProcess {
    return this.#lab.findProcess(this.place, 'vtep-database')!;
  }
  get emulator(): ManagedProcess {
    return this.#lab.findProcess(this.place, 'vtep-emulator')!;
  }

  /** Says what it is: what an administrator does once. */
  async #describe(): Promise<void> {
    const { address } = this.#lab.host(this.place);
    await this.ctl('add-ps', this.place, '--', 'set', 'Physical_Switch', this.place, `tunnel_ips=${address}`);
  }

  /** As though the switch were reset to how it came: both processes anew, on an empty database. */
  async wipe(): Promise<void> {
    const ports = await this.ctl('list-ports', this.place);
    await this.emulator.kill();
    await this.database.kill();
    rmSync(join(this.#dir, 'vtep.db'));
    await this.#createDatabase();
    await this.startDatabase();
    await this.#describe();
    await this.startEmulator();
    for (let waitedMs = 0; (await this.ctl('list-ports', this.place)) !== ports; waitedMs += 100) {
      if (waitedMs > 20_000) throw new WeftError('timeout', `the emulator of ${this.place} does not tell its ports`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** The script calls the tools of Open vSwitch by their names, and means those of this machine. */
  async startEmulator(): Promise<ManagedProcess> {
    const ovs = await findOpenVswitch();
    const host = this.#lab.switchOf(this.place);
    const bin = join(this.#dir, 'bin');
    mkdirSync(bin, { recursive: true });
    const tools = {
      'vtep-ctl': `vtep-ctl --db=unix:${this.#socket}`,
      'ovs-vsctl': `${ovs.program('ovs-vsctl')} --timeout=10 --db=unix:${host.database}`,
      'ovs-ofctl': ovs.program('ovs-ofctl'),
    };
    for (const [name, call] of Object.entries(tools)) {
      const own = call.startsWith(`${name} `) || call === name ? `PATH=\${PATH#*:} exec ${call}` : `exec ${call}`;
      writeFileSync(join(bin, name), `#!/bin/sh\n${own} "$@"\n`);
      chmodSync(join(bin, name), 0o755);
    }
    const script = join(this.#dir, 'ovs-vtep');
    writeFileSync(script, changed(readFileSync(EMULATOR, 'utf8')));
    const argv = ['/usr/bin/python3', script, '-vconsole:info', this.place];
    const env = { ...host.env, PATH: `${bin}:${process.env.PATH}` };
    return this.#lab.process(this.place, 'vtep-emulator', argv, { env });
  }
}

function changed(script: string): string {
  return CHANGES.reduce((text, [from, to]) => {
    if (!text.includes(from))
      throw new WeftError('refused', `${EMULATOR} is of another version: it has no ${from.trim()}`);
    return text.replace(from, to);
  }, script);
}

function up(device: string): string[] {
  return [
    `echo 1 > /proc/sys/net/ipv6/conf/${device}/disable_ipv6`,
    `ethtool -K ${device} tx off >/dev/null`,
    `ip link set ${device} up`,
  ];
}
