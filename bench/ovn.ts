import { join } from 'node:path';
import { WeftError } from '../src/base/errors.ts';
import { silentLog } from '../src/base/log.ts';
import { runOk } from '../src/lab/command.ts';
import type { Lab } from '../src/lab/lab.ts';
import { findOpenVswitch } from '../src/lab/open-vswitch.ts';
import type { WorkloadInput } from '../src/lab/spec.ts';
import type { Match } from '../src/openflow/flow.ts';
import { connectOvsdb, type OvsdbClient } from '../src/ovsdb/client.ts';
import { mutate, type Operation, select } from '../src/ovsdb/operations.ts';
import { unixctl } from '../src/ovsdb/unixctl.ts';
import type { Uuid } from '../src/ovsdb/values.ts';
import { ETHER_TYPE } from '../src/packet/ethernet.ts';
import { IP_PROTO } from '../src/packet/ip-protocol.ts';
import type { BenchContext } from './bench.ts';
import { type Cloud, type CloudProcess, type CloudSite, cloudLab, twoHosts } from './cloud.ts';
import { ENCAP } from './network.ts';
import {
  addPort,
  changeRule,
  createNetwork,
  deleteNetwork,
  dhcpName,
  PHYSICAL_NETWORK,
  removePort,
} from './ovn-network.ts';
import { NbDhcpOptions, NbGlobal, OVN_NORTHBOUND_DB } from './ovn-tables.ts';
import type { TenantPort, TenantsSize } from './tenants.ts';

/**
 * OVN as its users run it, in a lab of two hosts: both databases and ovn-northd in the server's place, an
 * ovn-controller beside each host's Open vSwitch, all of Debian's packages and with default settings. They talk over
 * unix sockets, which costs them nothing that they would not pay elsewhere.
 */
const PLACE = 'server';
const CONTROLLER = 'ovn-controller';
/** Joins a host to the networks outside. */
export const EXTERNAL_BRIDGE = 'br-ex';
const WRITE_TIMEOUT_MS = 120_000;

/** Fetches OVN if it is not there and gives its folder and version. Error: `refused` where it cannot be had. */
export async function findOvn(): Promise<{ readonly dir: string; readonly version: string }> {
  const setup = join(import.meta.dirname, '../scripts/setup.sh');
  const dir = (await runOk([setup, 'ovn'], { timeoutMs: 300_000 })).trim();
  const said = await runOk([join(dir, 'bin/ovn-northd'), '--version']);
  const version = /ovn-northd (\d+(?:\.\d+)*)/.exec(said)?.[1];
  if (version === undefined) throw new WeftError('refused', `no version in what ovn-northd says: ${said}`);
  return { dir, version };
}

/** Starts a lab with an empty OVN in it; workloads are plugged already. */
export function startOvn(context: BenchContext, workloads: readonly WorkloadInput[] = []): Promise<Ovn> {
  return startOvnAt(context, twoHosts(workloads));
}

/** The same on any number of hosts, with what is outside of them. */
export async function startOvnAt(context: BenchContext, site: CloudSite): Promise<Ovn> {
  const { dir, version } = await findOvn();
  context.progress(`starting OVN ${version} on ${site.hosts!.length} hosts`);
  const lab = await cloudLab(context, site);
  const ovn = new Ovn(lab, dir, `OVN ${version}`);
  await ovn.start();
  context.defer(() => ovn.stop());
  return ovn;
}

export class Ovn implements Cloud {
  readonly name: string;
  readonly lab: Lab;
  readonly hosts: readonly string[];
  readonly installedMark = 'ovn-installed';
  readonly #dir: string;
  /** The ids of rows that ports refer to, by the names that they were written with. */
  readonly #dhcpOptions = new Map<string, Uuid>();
  /** The rows of ports that were added one by one, by their names. */
  readonly #added = new Map<string, Uuid>();
  #north: OvsdbClient | undefined;

  constructor(lab: Lab, dir: string, name: string) {
    this.lab = lab;
    this.hosts = lab.hosts.map(({ name }) => name);
    this.name = name;
    this.#dir = dir;
  }

  async start(): Promise<void> {
    await Promise.all([this.#startDatabase('nb'), this.#startDatabase('sb')]);
    await this.#startProcess(PLACE, 'ovn-northd', [
      `--ovnnb-db=unix:${this.#socket('nb')}`,
      `--ovnsb-db=unix:${this.#socket('sb')}`,
    ]);
    this.#north = connectOvsdb(`unix:${this.#socket('nb')}`, { log: silentLog, probeMs: 0 });
    for (const host of this.lab.hosts) {
      const ovs = this.lab.switchOf(host.name);
      await ovs.vsctl([
        ...['add-br', EXTERNAL_BRIDGE, '--', 'set', 'bridge', EXTERNAL_BRIDGE, `datapath_type=${ovs.datapath}`, '--'],
        ...['set', 'Open_vSwitch', '.', `external_ids:ovn-remote=unix:${this.#socket('sb')}`],
        ...[`external_ids:ovn-encap-type=${ENCAP}`, `external_ids:ovn-encap-ip=${host.address}`],
        `external_ids:ovn-bridge-mappings=${PHYSICAL_NETWORK}:${EXTERNAL_BRIDGE}`,
      ]);
      await this.startAgent(host.name);
    }
    await this.synced(30_000);
  }

  async createAll(size: TenantsSize): Promise<void> {
    const operations = createNetwork(size, this.hosts);
    const ids = await this.write(operations);
    for (const [i, { wire }] of operations.entries())
      if (wire.table === NbDhcpOptions.name) this.#dhcpOptions.set(String(wire['uuid-name']), ids[i] as Uuid);
  }

  async addPort(port: TenantPort): Promise<void> {
    const options = this.#dhcpOptions.get(dhcpName(port.tenant, port.switchIndex));
    if (options === undefined) throw new WeftError('not-found', `no switch for ${port.name}`);
    const [row] = await this.write(addPort(port, options));
    this.#added.set(port.name, row as Uuid);
  }

  async removePort(port: TenantPort): Promise<void> {
    const row = this.#added.get(port.name);
    if (row === undefined) throw new WeftError('not-found', `${port.name} was not added`);
    await this.write([removePort(port, row)]);
    this.#added.delete(port.name);
  }

  async changeRule(tenant: number, tcpPort: number): Promise<void> {
    const [changed] = await this.write(changeRule(tenant, tcpPort));
    if (changed !== 1) throw new WeftError('not-found', `no rule of tenant ${tenant} to change`);
  }

  ruleMatch(tcpPort: number): Match {
    return { eth_type: ETHER_TYPE.ipv4, ip_proto: IP_PROTO.tcp, tcp_dst: tcpPort };
  }

  async deleteAll(): Promise<void> {
    await this.write(deleteNetwork());
  }

  /** As `ovn-nbctl --wait=hv sync`. */
  async synced(timeoutMs: number): Promise<void> {
    const client = this.#client();
    const untilMs = performance.now() + timeoutMs;
    const bump = mutate(NbGlobal, [], [['nb_cfg', '+=', 1]]);
    const read = select(NbGlobal, [], ['nb_cfg', 'hv_cfg']);
    const [, written] = await client.transact(OVN_NORTHBOUND_DB, [bump, read]);
    for (;;) {
      const [rows] = await client.transact(OVN_NORTHBOUND_DB, [read]);
      const wanted = written[0]?.nb_cfg;
      if (wanted !== undefined && (rows[0]?.hv_cfg ?? -1) >= wanted) return;
      if (performance.now() > untilMs) throw new WeftError('timeout', `${this.name}: not synced in ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  processes(): readonly CloudProcess[] {
    return this.lab.processes().map((process) => {
      if (process.place === PLACE) return { role: 'central', process };
      return { role: process.name === CONTROLLER ? 'agent' : 'switch', process };
    });
  }

  async stopAgent(host: string): Promise<void> {
    // With `--restart` it leaves its flows, and what it wrote to the database, as they are. By its default it takes the flows away when it
    // starts again, before it has computed them anew (`ovn-ofctrl-wait-before-clear`).
    await unixctl(this.#control(host, CONTROLLER), [['exit', '--restart']]);
    await this.lab.findProcess(host, CONTROLLER)?.stop();
  }

  async startAgent(host: string): Promise<void> {
    const ovs = this.lab.switchOf(host);
    await this.#startProcess(host, CONTROLLER, [`unix:${ovs.database}`], ovs.env);
  }

  async stop(): Promise<void> {
    this.#north?.close();
    await this.lab.down();
  }

  async #startDatabase(name: 'nb' | 'sb'): Promise<void> {
    const ovs = await findOpenVswitch();
    const file = join(this.#folder(PLACE), `${name}.db`);
    await runOk([ovs.program('ovsdb-tool'), 'create', file, join(this.#dir, 'share', `ovn-${name}.ovsschema`)]);
    const argv = [ovs.program('ovsdb-server'), file, `--remote=punix:${this.#socket(name)}`];
    await this.lab.process(PLACE, `ovsdb-${name}`, [...argv, ...this.#common(PLACE, `ovsdb-${name}`)], {
      ready: { socket: this.#socket(name) },
    });
  }

  async #startProcess(
    place: string,
    name: string,
    args: readonly string[],
    env: Record<string, string> = {},
  ): Promise<void> {
    await this.lab.process(place, name, [join(this.#dir, 'bin', name), ...args, ...this.#common(place, name)], {
      ready: { socket: this.#control(place, name) },
      env,
    });
  }

  #common(place: string, name: string): string[] {
    const quiet = ['-vsyslog:off', '-vfile:off', '-vconsole:info'];
    return [`--unixctl=${this.#control(place, name)}`, '--no-chdir', ...quiet];
  }

  #control(place: string, name: string): string {
    return join(this.#folder(place), `${name}.ctl`);
  }

  #socket(database: 'nb' | 'sb'): string {
    return join(this.#folder(PLACE), `${database}.sock`);
  }

  #folder(place: string): string {
    return place === PLACE ? join(this.lab.state.dir, PLACE) : this.lab.state.hostDir(place);
  }

  #client(): OvsdbClient {
    if (!this.#north) throw new WeftError('closed', `${this.name} does not run`);
    return this.#north;
  }

  /** One transaction of the northbound database. */
  write(operations: readonly Operation[]): Promise<readonly unknown[]> {
    return this.#client().transact(OVN_NORTHBOUND_DB, operations, { timeoutMs: WRITE_TIMEOUT_MS });
  }
}
