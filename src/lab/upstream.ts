import { WeftError } from '../base/errors.ts';
import { bridgeLines, type Cable, cut, restore } from './cable.ts';
import { INTERNET_INTERFACE, internetCable } from './internet.ts';
import { ipBatch, killAll, processesIn, scriptIn } from './namespaces.ts';
import { type HostSwitch, INTEGRATION_BRIDGE } from './open-vswitch.ts';
import { DAEMONS, type Daemon, RoutingDaemons } from './routing-daemons.ts';
import { type LabSpec, macFor } from './spec.ts';
import type { LabState } from './state.ts';
import { namespaceOf } from './underlay.ts';
import { upstreamTexts } from './upstream-configuration.ts';
import type { LinkSpec, RouterSpec } from './upstream-spec.ts';
import { interfaceName } from './workload.ts';

/** A link between an upstream router and a host as it is now. */
export interface UpstreamLink {
  readonly router: string;
  readonly name: string;
  readonly host: string;
  /** The host's end, for the integration bridge. */
  readonly interface: string;
  /** The logical port as which it is plugged in. */
  readonly port?: string | undefined;
}

/**
 * A router of a provider: a namespace that forwards, with FRR in it; links to gateway hosts, each plugged into the
 * host's integration bridge as a workload would be; and a place on the internet.
 */
export class UpstreamRouter {
  readonly spec: RouterSpec;
  readonly daemons: RoutingDaemons;
  readonly #lab: LabSpec;
  readonly #state: LabState;
  readonly #switchOf: (host: string) => HostSwitch;

  constructor(lab: LabSpec, state: LabState, name: string, switchOf: (host: string) => HostSwitch) {
    const spec = lab.routers.find((router) => router.name === name);
    if (!spec) throw new WeftError('not-found', `the lab ${lab.name} has no upstream router ${name}`);
    this.spec = spec;
    this.#lab = lab;
    this.#state = state;
    this.#switchOf = switchOf;
    this.daemons = new RoutingDaemons(state, name, namespaceOf(lab.name, name));
  }

  get name(): string {
    return this.spec.name;
  }
  get links(): readonly UpstreamLink[] {
    return this.spec.links.map((link) => this.link(link.name));
  }

  link(name: string): UpstreamLink {
    const link = this.spec.links.find((one) => one.name === name);
    if (!link) throw new WeftError('not-found', `the router ${this.name} has no link ${name}`);
    const made = { router: this.name, name, host: link.host, interface: hostInterface(this.name, link) };
    return this.#state.read<UpstreamLink>(recordOf(made)) ?? made;
  }

  /** Plugs a link into its host's integration bridge as logical port `port` (an id). */
  async plug(name: string, port: string): Promise<UpstreamLink> {
    const link: UpstreamLink = { ...this.link(name), port };
    await this.#switchOf(link.host).vsctl([
      ...['--timeout=30', '--may-exist', 'add-port', INTEGRATION_BRIDGE, link.interface, '--'],
      ...['set', 'interface', link.interface, `external_ids:iface-id="${port}"`, 'external_ids:iface-status=active'],
    ]);
    this.#state.write(recordOf(link), link);
    return link;
  }

  async unplug(name: string): Promise<void> {
    const link = this.link(name);
    await this.#switchOf(link.host).vsctl(['--timeout=30', '--if-exists', 'del-port', link.interface]);
    this.#state.remove(recordOf(link));
  }

  /** The cable of a link, or with `internet` that to the internet. */
  cable(to: string): Cable {
    if (to === 'internet') return internetCable(this.#lab.name, this.name);
    const { name } = this.link(to);
    return { namespace: namespaceOf(this.#lab.name, 'cables'), ports: cablePorts(this.name, name) };
  }

  async startDaemons(): Promise<void> {
    await this.daemons.start(upstreamTexts(this.#lab, this.spec));
  }

  /** Ends a daemon as a crash would; `start` of it brings it back. */
  killDaemon(name: Daemon): Promise<void> {
    return this.daemons.daemon(name).kill();
  }

  async startDaemon(name: Daemon): Promise<void> {
    await this.daemons.daemon(name).start();
  }

  /** Closes a session from this side until it is opened again; the link stays as it is. */
  async shutSession(peer: string): Promise<void> {
    await this.#configureBgp(`neighbor ${peer} shutdown`);
  }

  async openSession(peer: string): Promise<void> {
    await this.#configureBgp(`no neighbor ${peer} shutdown`);
  }

  /** Powers it off: its processes are killed, all of its cables lose carrier. */
  async stop(): Promise<void> {
    const kill = async (): Promise<void> => {
      for (const daemon of DAEMONS) await this.daemons.daemon(daemon).kill({ wanted: true });
      await killAll(processesIn([namespaceOf(this.#lab.name, this.name)]));
    };
    await Promise.all([kill(), ...this.#cables().map(cut)]);
  }

  /** Powers it on again, with the daemons that ran before. */
  async start(): Promise<void> {
    await Promise.all(this.#cables().map(restore));
    for (const daemon of DAEMONS) {
      const found = this.daemons.daemon(daemon);
      if (found.wanted) await found.start();
    }
  }

  #cables(): Cable[] {
    return ['internet', ...this.spec.links.map((link) => link.name)].map((to) => this.cable(to));
  }

  async #configureBgp(line: string): Promise<void> {
    await this.daemons.vtysh('configure terminal', `router bgp ${this.spec.asn}`, line);
  }
}

function recordOf(link: UpstreamLink): string {
  return `links/${link.router}.${link.name}.json`;
}

/** Both ports of a link's cable: the router's side and the host's. */
function cablePorts(router: string, link: string): [string, string] {
  return [interfaceName('r-', `${router}.${link}`), interfaceName('h-', `${router}.${link}`)];
}

function routerInterface(link: LinkSpec): string {
  return interfaceName('to-', link.name);
}

function hostInterface(router: string, link: LinkSpec): string {
  return link.interface ?? interfaceName('u-', link.name === link.host ? router : `${router}.${link.name}`);
}

/** Makes the routers' namespaces and their links to hosts, whose namespaces must be there. */
export async function createRouters(spec: LabSpec): Promise<void> {
  const inside = (place: string): string => namespaceOf(spec.name, place);
  const links = spec.routers.flatMap((router) => router.links.map((link) => ({ router: router.name, link })));
  await ipBatch([
    `netns add ${inside('cables')}`,
    ...spec.routers.map(({ name }) => `netns add ${inside(name)}`),
    ...links.flatMap(({ router, link }) => {
      const [near, far] = cablePorts(router, link.name);
      const end = (port: string): string => `${port} netns ${inside('cables')} mtu ${link.mtu}`;
      const mac = macFor(`${spec.name}/${router}/${link.name}/link`);
      const own = `${routerInterface(link)} netns ${inside(router)} address ${mac} mtu ${link.mtu}`;
      const host = `${hostInterface(router, link)} netns ${inside(link.host)} mtu ${link.mtu}`;
      return [`link add ${own} type veth peer ${end(near)}`, `link add ${host} type veth peer ${end(far)}`];
    }),
  ]);
  await Promise.all([
    scriptIn(inside('cables'), [
      'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
      ...links.flatMap(({ router, link }) =>
        bridgeLines(interfaceName('c-', `${router}.${link.name}`), `mtu ${link.mtu}`, cablePorts(router, link.name)),
      ),
    ]),
    ...spec.hosts.map((host) =>
      scriptIn(
        inside(host.name),
        links
          .filter(({ link }) => link.host === host.name)
          .flatMap(({ router, link }) => up(hostInterface(router, link))),
      ),
    ),
    ...spec.routers.map((router) => scriptIn(inside(router.name), forwardingLines(router))),
  ]);
}

/** Shell lines for what is a router's own; its interface on the internet is made later. */
function forwardingLines(router: RouterSpec): string[] {
  return [
    'echo 1 > /proc/sys/net/ipv4/ip_forward',
    'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding',
    // Ways are not the same in both directions.
    'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter',
    'echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter',
    'echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy',
    'echo 1 > /proc/sys/net/ipv6/fib_multipath_hash_policy',
    // A cable that is put back finds the interface with the addresses that it had.
    'echo 1 > /proc/sys/net/ipv6/conf/all/keep_addr_on_down',
    'echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad',
    'ip link set lo up',
    ...router.loopbacks.map((a) => `ip addr add ${a} dev lo`),
    ...router.links.flatMap((link) => [...facing(routerInterface(link), link.addresses)]),
  ];
}

/** Shell lines for a router's interface on the internet. */
export function internetLines(router: RouterSpec): string[] {
  return facing(INTERNET_INTERFACE, router.addresses);
}

function up(device: string): string[] {
  return [`ethtool -K ${device} tx off >/dev/null`, `ip link set ${device} up`];
}

/** Shell lines for an interface of a router. Its link-local address counts at once: bgpd waits for it with every session of IPv6. */
function facing(device: string, addresses: readonly string[]): string[] {
  return [
    `echo 0 > /proc/sys/net/ipv6/conf/${device}/accept_dad`,
    ...up(device),
    ...addresses.map((a) => `ip addr add ${a} dev ${device}${a.includes(':') ? ' nodad' : ''}`),
  ];
}
