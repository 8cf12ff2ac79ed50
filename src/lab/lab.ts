import type { ChildProcess } from 'node:child_process';
import { WeftError } from '../base/errors.ts';
import { listNamespaces } from '../base/namespaces.ts';
import { forgetFolders } from '../frr/daemons.ts';
import { type Cable, cut, forwards, restore, silence } from './cable.ts';
import { type CommandResult, launch, type RunOptions, run, runOk } from './command.ts';
import { createInternet, internetCable, routeLines } from './internet.ts';
import { ManagedProcess, type ProcessOptions } from './managed-process.ts';
import { inNamespace, ipBatch, killAll, nameOf, processesIn, scriptIn } from './namespaces.ts';
import { findOpenVswitch, HostSwitch, type OpenVswitch } from './open-vswitch.ts';
import type { Daemon } from './routing-daemons.ts';
import {
  checkLabSpec,
  checkWorkload,
  type HostSpec,
  type LabSpec,
  type LabSpecInput,
  type WorkloadInput,
} from './spec.ts';
import { LabState } from './state.ts';
import { createUnderlay, namespaceOf, underlayCable } from './underlay.ts';
import { createRouters, internetLines, type UpstreamLink, UpstreamRouter } from './upstream.ts';
import {
  createWorkloads,
  gatewayLines,
  interfaceName,
  outsideLines,
  plugAll,
  relink,
  unplug,
  type Workload,
} from './workload.ts';

/**
 * A datacentre on this machine: hosts are network namespaces with an Open vSwitch each, workloads are namespaces
 * behind them, an underlay joins the hosts and a server's place. This folder owns namespaces, links, switches and the
 * life of processes within them; it knows nothing of what the server and the agents do.
 *
 * Everything is recorded on disk, so a lab outlives the process that started it: `openLab` goes on with it,
 * `removeLab` takes it away, also after a crash.
 */
export class Lab {
  readonly spec: LabSpec;
  readonly state: LabState;
  readonly #ovs: OpenVswitch;

  private constructor(spec: LabSpec, state: LabState, ovs: OpenVswitch) {
    this.spec = spec;
    this.state = state;
    this.#ovs = ovs;
  }

  /** Starts a lab; when it cannot be started whole, what was made of it is removed. Errors: `invalid`, `conflict`, `denied`, `refused`. */
  static async start(input: LabSpecInput | LabSpec): Promise<Lab> {
    const spec = 'server' in input ? input : checkLabSpec(input);
    requireRoot();
    const state = new LabState(spec.name);
    if (state.exists()) throw new WeftError('conflict', `the lab ${spec.name} is up already; remove it first`);
    const strangers = listNamespaces(namespaceOf(spec.name, ''));
    if (strangers.length > 0)
      throw new WeftError('conflict', `namespaces of another lab ${spec.name} are there: ${strangers.join(' ')}`);
    const lab = new Lab(spec, state, await findOpenVswitch());
    state.create(spec);
    try {
      await lab.#build();
    } catch (error) {
      await removeLab(spec.name);
      throw error;
    }
    return lab;
  }

  /** A lab that was started before, perhaps by another process. Error: `not-found`. */
  static async open(name: string): Promise<Lab> {
    const state = new LabState(name);
    const spec = state.readSpec();
    if (!spec) throw new WeftError('not-found', `no lab ${name} is up`);
    return new Lab(spec, state, await findOpenVswitch());
  }

  async #build(): Promise<void> {
    await createUnderlay(this.spec);
    const workloads = this.spec.workloads.map((w): Workload => this.#placed(w));
    await Promise.all([
      forwards(underlayCable(this.name, 'server', ...this.hosts.map((host) => host.name))),
      this.#buildUpstreams(),
      createWorkloads(workloads, (host) => this.namespace(host)),
      ...this.spec.hosts.map((host) => this.switchOf(host.name).start()),
    ]);
    for (const workload of workloads) this.#record(workload);
    const plugged = workloads.filter((w) => w.port !== undefined);
    await Promise.all(
      this.hosts.map((h) =>
        plugAll(
          this.switchOf(h.name),
          plugged.filter((w) => w.host === h.name),
        ),
      ),
    );
    for (const { name, links } of this.spec.routers)
      for (const link of links) if (link.port !== undefined) await this.upstream(name).plug(link.name, link.port);
  }

  async #buildUpstreams(): Promise<void> {
    const { routers, outside } = this.spec;
    if (routers.length + outside.length === 0) return;
    await createRouters(this.spec);
    await createInternet(this.spec);
    await Promise.all(routers.map((router) => scriptIn(this.namespace(router.name), internetLines(router))));
    await Promise.all([
      forwards(internetCable(this.name, ...[...routers, ...outside].map(({ name }) => name))),
      ...this.upstreamLinks.map((link) => forwards(this.upstream(link.router).cable(link.name))),
      ...routers.map((router) => this.upstream(router.name).startDaemons()),
    ]);
  }

  get name(): string {
    return this.spec.name;
  }
  get ovsVersion(): string {
    return this.#ovs.version;
  }
  get hosts(): readonly HostSpec[] {
    return this.spec.hosts;
  }
  /** As they are now, those added later included. */
  get workloads(): readonly Workload[] {
    return this.state.readAll<Workload>('workloads');
  }

  /** Links between upstream routers and hosts as they are now. */
  get upstreamLinks(): readonly UpstreamLink[] {
    return this.spec.routers.flatMap(({ name }) => this.upstream(name).links);
  }

  /** An upstream router: its links, its daemons, its sessions. Error: `not-found`. */
  upstream(name: string): UpstreamRouter {
    return new UpstreamRouter(this.spec, this.state, name, (host) => this.switchOf(host));
  }

  host(name: string): HostSpec {
    const host = this.spec.hosts.find((h) => h.name === name);
    if (!host) throw new WeftError('not-found', `the lab ${this.name} has no host ${name}`);
    return host;
  }

  workload(name: string): Workload {
    const workload = this.state.read<Workload>(`workloads/${name}.json`);
    if (!workload) throw new WeftError('not-found', `the lab ${this.name} has no workload ${name}`);
    return workload;
  }

  /** The namespace of a place: a host, a workload, `underlay` or `server`. */
  namespace(place: string): string {
    return namespaceOf(this.name, place);
  }

  /** Whether there is such a place now. */
  has(place: string): boolean {
    const namespace = this.namespace(place);
    return listNamespaces(namespace).includes(namespace);
  }

  /** Open vSwitch of a host: its sockets, `vsctl`, `ofctl`, `appctl`. */
  switchOf(host: string): HostSwitch {
    return new HostSwitch(this.state, this.spec, this.host(host), this.namespace(host), this.#ovs);
  }

  /** Runs a command in a place to its end; a nonzero exit is a result, not an error. */
  exec(place: string, argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    return run(inNamespace(this.#known(place), argv), options);
  }

  /** Runs a command in a place that must succeed; returns its standard output. */
  execOk(place: string, argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return runOk(inNamespace(this.#known(place), argv), options);
  }

  /** Starts a command in a place with pipes to it. It ends with the lab at the latest. */
  spawn(place: string, argv: readonly string[]): ChildProcess {
    return launch(inNamespace(this.#known(place), argv), { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Starts a process that outlives the caller in a host's or the server's namespace, and waits until it is ready. */
  process(place: string, name: string, argv: readonly string[], options: ProcessOptions = {}): Promise<ManagedProcess> {
    return ManagedProcess.declare(this.state, this.#known(place), place, name, argv, options).start();
  }

  /** A process that was started before under this name, running or not. */
  findProcess(place: string, name: string): ManagedProcess | undefined {
    return ManagedProcess.find(this.state, place, name);
  }

  processes(): ManagedProcess[] {
    return ManagedProcess.all(this.state);
  }

  /** Adds a workload; plugged at once when it names a port. */
  async addWorkload(input: WorkloadInput): Promise<Workload> {
    const spec = checkWorkload(this.name, input);
    this.host(spec.host);
    if (this.has(spec.name)) throw new WeftError('conflict', `the lab ${this.name} has a ${spec.name} already`);
    const workload = this.#placed(spec);
    await createWorkloads([workload], (host) => this.namespace(host));
    this.#record(workload);
    if (workload.port !== undefined) await plugAll(this.switchOf(workload.host), [workload]);
    return workload;
  }

  async removeWorkload(name: string): Promise<void> {
    const workload = this.workload(name);
    await unplug(this.switchOf(workload.host), workload);
    await killAll(processesIn([workload.namespace]));
    await ipBatch([`netns del ${workload.namespace}`]);
    this.state.remove(`workloads/${name}.json`);
  }

  /**
   * Plugs a workload into its host's integration bridge as logical port `port` (an id), optionally taking over MAC and
   * addresses that the port was given meanwhile. Returns when Open vSwitch has given the interface a number.
   */
  async plug(
    name: string,
    port: string,
    settings: { readonly mac?: string; readonly addresses?: readonly string[] } = {},
  ): Promise<Workload> {
    const before = this.workload(name);
    const addresses = settings.addresses ?? before.addresses;
    const workload: Workload = { ...before, port, mac: settings.mac ?? before.mac, addresses: [...addresses] };
    const lines: string[] = [];
    const isNewMac = workload.mac !== before.mac;
    // Down and up, so that the kernel derives its link-local address anew; its other IPv6 addresses go with the link.
    if (isNewMac)
      lines.push('ip link set eth0 down', `ip link set eth0 address ${workload.mac}`, 'ip link set eth0 up');
    const fresh = addresses.filter((a) => !before.addresses.includes(a) || (isNewMac && a.includes(':')));
    lines.push(...fresh.map((a) => `ip addr replace ${a} dev eth0${a.includes(':') ? ' nodad' : ''}`));
    if (isNewMac) lines.push(...gatewayLines(workload));
    if (lines.length > 0) await scriptIn(workload.namespace, lines);
    this.#record(workload);
    await plugAll(this.switchOf(workload.host), [workload]);
    return workload;
  }

  /** Takes a workload's interface, or an upstream router's link (`ROUTER/LINK`), off the integration bridge; the cable stays. */
  async unplug(name: string): Promise<void> {
    const [router, link] = name.split('/');
    if (link !== undefined) return this.upstream(router!).unplug(link);
    const workload = this.workload(name);
    await unplug(this.switchOf(workload.host), workload);
    this.#record({ ...workload, port: undefined });
  }

  /** Moves a workload to another host, plugged there as it was before; it loses its link for the time between. */
  async moveWorkload(name: string, host: string): Promise<Workload> {
    const before = this.workload(name);
    this.host(host);
    await unplug(this.switchOf(before.host), before);
    const workload: Workload = { ...before, host };
    await relink(workload, this.namespace(host));
    this.#record(workload);
    if (workload.port !== undefined) await plugAll(this.switchOf(host), [workload]);
    return workload;
  }

  /**
   * The cable of a place: of a host or the server that into the underlay, of a client outside that into the internet.
   * With `to` that between two places: an upstream router and a host (or one of its links by name), or `internet`.
   */
  cable(place: string, to?: string): Cable {
    const isRouter = (name: string | undefined): boolean => this.spec.routers.some((router) => router.name === name);
    if (to !== undefined && isRouter(place)) return this.upstream(place).cable(to);
    if (to !== undefined && isRouter(to)) return this.upstream(to).cable(place);
    if (to !== undefined && to !== 'internet')
      throw new WeftError('not-found', `the lab ${this.name} has no upstream router ${place} or ${to}`);
    if (isRouter(place))
      throw new WeftError('invalid', `${place} has several cables: say to which host, or to the internet`);
    if (this.spec.outside.some((client) => client.name === place)) return internetCable(this.name, place);
    if (place !== 'server') this.host(place);
    return underlayCable(this.name, place);
  }

  /** Pulls a cable out; both ends lose carrier. */
  cutLink(place: string, to?: string): Promise<void> {
    return cut(this.cable(place, to));
  }

  /** Lets no frame through a cable, both carriers stay: what a broken switch in the middle does. */
  silenceLink(place: string, to?: string): Promise<void> {
    return silence(this.cable(place, to));
  }

  /** Undoes both. */
  restoreLink(place: string, to?: string): Promise<void> {
    return restore(this.cable(place, to));
  }

  /** Makes a client outside use these upstream routers, equally. */
  async sendVia(client: string, routers: readonly string[]): Promise<void> {
    if (!this.spec.outside.some(({ name }) => name === client))
      throw new WeftError('not-found', `the lab ${this.name} has no ${client} outside`);
    for (const router of routers) this.upstream(router);
    await scriptIn(this.namespace(client), routeLines(this.spec, routers));
  }

  /**
   * Powers a host off: every process of it is killed, its links lose carrier. What it has on disk stays; namespaces that
   * its agent made go, as they do when a machine loses power.
   */
  async stopHost(name: string): Promise<void> {
    this.host(name);
    const made = listNamespaces(`${this.namespace(name)}-bgp-`);
    const kill = async (): Promise<void> => {
      const own = this.processes().filter((p) => p.place === name && p.running);
      await Promise.all(own.map((p) => p.kill({ wanted: true })));
      await killAll(processesIn([this.namespace(name), ...made]));
    };
    await Promise.all([kill(), ...this.#cablesOf(name).map(cut)]);
    // A socket of a killed daemon keeps a namespace alive that has no name any more, but not its interfaces.
    await Promise.all(
      made.map((place) =>
        scriptIn(place, [
          'for link in /sys/class/net/bg*; do [ ! -e "$link" ] || ip link del "$(basename "$link")"; done',
        ]),
      ),
    );
    await ipBatch(made.map((namespace) => `netns del ${namespace}`));
    await this.#setWorkloadLinks(name, 'down');
  }

  /** Powers a host on: Open vSwitch first, then the processes that ran when it was powered off. */
  async startHost(name: string): Promise<void> {
    this.host(name);
    await Promise.all(this.#cablesOf(name).map(restore));
    await this.#setWorkloadLinks(name, 'up');
    await this.switchOf(name).start();
    for (const p of this.processes()) if (p.place === name && p.wanted) await p.start();
  }

  /** Ends `ovs-vswitchd` of a host (by SIGKILL with `crash`) and starts it again: flows are gone, ports come back. */
  async restartVswitchd(host: string, options: { readonly crash?: boolean } = {}): Promise<void> {
    const running = this.switchOf(host).vswitchd;
    await (options.crash ? running?.kill() : running?.stop());
    await this.switchOf(host).startVswitchd();
  }

  /**
   * Ends a daemon of FRR as a crash would: of an upstream router for good, of a gateway host (in the namespaces that its agent made) until the
   * agent starts it again. Error: `not-found` where none runs.
   */
  async killDaemon(place: string, daemon: Daemon): Promise<void> {
    if (this.spec.routers.some(({ name }) => name === place)) return this.upstream(place).killDaemon(daemon);
    this.host(place);
    const pids = processesIn(listNamespaces(`${this.namespace(place)}-bgp-`)).filter((pid) => nameOf(pid) === daemon);
    if (pids.length === 0)
      throw new WeftError('not-found', `no ${daemon} runs on ${place}: is it a gateway, with BGP peers?`);
    await killAll(pids);
  }

  /** Ends `ovs-vswitchd` of a host at once and leaves it so; `restartVswitchd` brings it back. */
  async killVswitchd(host: string): Promise<void> {
    await this.switchOf(host).vswitchd?.kill();
  }

  /** Removes the lab. */
  down(): Promise<void> {
    return removeLab(this.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  /** All cables that end at a host. */
  #cablesOf(host: string): Cable[] {
    const links = this.upstreamLinks.filter((link) => link.host === host);
    return [underlayCable(this.name, host), ...links.map((link) => this.upstream(link.router).cable(link.name))];
  }

  #known(place: string): string {
    if (!this.has(place)) throw new WeftError('not-found', `the lab ${this.name} has no ${place}`);
    return this.namespace(place);
  }

  #placed(spec: Omit<Workload, 'namespace' | 'interface'>): Workload {
    return { ...spec, namespace: this.namespace(spec.name), interface: interfaceName('v-', spec.name) };
  }

  #record(workload: Workload): void {
    this.state.write(`workloads/${workload.name}.json`, workload);
  }

  async #setWorkloadLinks(host: string, to: 'up' | 'down'): Promise<void> {
    const own = this.workloads.filter((w) => w.host === host);
    if (to === 'up') await scriptIn(this.namespace(host), outsideLines(own));
    else
      await scriptIn(
        this.namespace(host),
        own.map((w) => `ip link set ${w.interface} down`),
      );
  }
}

/**
 * Removes a lab and everything of it: processes by their ids (those recorded, and whatever else runs in its
 * namespaces), namespaces with their links, files. Does nothing when there is none; can be repeated after a crash.
 */
export async function removeLab(name: string): Promise<void> {
  const state = new LabState(name);
  const namespaces = listNamespaces(namespaceOf(name, ''));
  if (namespaces.length === 0 && !state.exists()) return;
  requireRoot();
  const recorded = ManagedProcess.all(state)
    .map((p) => p.pid)
    .filter((pid) => pid !== undefined);
  const left = await killAll([...new Set([...recorded, ...processesIn(namespaces)])]);
  await ipBatch(namespaces.map((namespace) => `netns del ${namespace}`));
  forgetFolders(namespaceOf(name, '')); // of its gateways' speakers
  state.removeAll();
  if (left.length > 0) throw new WeftError('busy', `processes of the lab ${name} did not end: ${left.join(' ')}`);
}

function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new WeftError('denied', 'a lab makes network namespaces: run this as root (sudo)');
}
