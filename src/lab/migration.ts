import { runOk } from './command.ts';
import type { Lab } from './lab.ts';
import { ipBatch, scriptIn } from './namespaces.ts';
import { INTEGRATION_BRIDGE } from './open-vswitch.ts';
import { sendFramesOnce } from './spray.ts';
import { interfaceName, outsideLines, plugAll, unplug, WORKLOAD_INTERFACE, type Workload } from './workload.ts';

/** The workload's end of the link to its new host, until it takes over the name of the old. */
const INCOMING = 'incoming';
const OUTGOING = 'outgoing';

/** What `ip -j` says of an interface's addresses and routes; only what is carried over. */
type Address = { readonly family: string; readonly local: string; readonly prefixlen: number; readonly scope: string };
type Neighbour = { readonly dst: string; readonly lladdr?: string };
type Route = { readonly dst: string; readonly gateway?: string; readonly protocol?: string };

/**
 * A live migration as a hypervisor does it: the workload has an interface with the same port id on both hosts (two
 * claims); at a moment of its own it goes on at the new one with all its addresses, routes and open sockets, and
 * announces itself; then the old interface is removed.
 */
export async function startMigration(lab: Lab, name: string, host: string): Promise<Migration> {
  const from = lab.workload(name);
  lab.host(host);
  // The interface's name differs from the old one's: the workload may come back to a host that still has that.
  const to: Workload = { ...from, host, interface: interfaceName(from.interface.startsWith('v-') ? 'm-' : 'v-', name) };
  const inside = `${INCOMING} netns ${from.namespace} address ${from.mac} mtu ${from.mtu}`;
  await ipBatch([`link add ${inside} type veth peer ${to.interface} netns ${lab.namespace(host)} mtu ${from.mtu}`]);
  await scriptIn(from.namespace, [
    `ethtool -K ${INCOMING} tx off >/dev/null`,
    // The workload has proved its addresses to be its own long ago.
    `echo 0 > /proc/sys/net/ipv6/conf/${INCOMING}/accept_dad`,
  ]);
  await scriptIn(lab.namespace(host), outsideLines([to]));
  if (to.port !== undefined) await plugAll(lab.switchOf(host), [to]);
  return new Migration(lab, from, to);
}

export class Migration {
  readonly #lab: Lab;
  readonly #from: Workload;
  readonly #to: Workload;

  constructor(lab: Lab, from: Workload, to: Workload) {
    this.#lab = lab;
    this.#from = from;
    this.#to = to;
  }

  /**
   * The workload goes on at the new host, within some ten milliseconds, and announces itself: `garp` at once by its own
   * kernel (with unsolicited neighbour advertisements), `rarp` as QEMU does for it, some 70 ms later. Tells for how long it was nowhere at most.
   */
  async activate(options: { readonly announce?: 'rarp' | 'garp' | 'none' } = {}): Promise<{ readonly awayMs: number }> {
    const { namespace, mac } = this.#from;
    const announce = options.announce ?? 'rarp';
    if (announce === 'garp')
      await scriptIn(namespace, [
        `echo 1 > /proc/sys/net/ipv4/conf/${INCOMING}/arp_notify`,
        `echo 1 > /proc/sys/net/ipv6/conf/${INCOMING}/ndisc_notify`,
      ]);
    const carried = await this.#carried();
    const lines = [
      `link set ${WORKLOAD_INTERFACE} down`,
      `link set ${WORKLOAD_INTERFACE} name ${OUTGOING}`,
      // An address leaves with its interface: or the workload would have each twice.
      `addr flush dev ${OUTGOING}`,
      `link set ${INCOMING} name ${WORKLOAD_INTERFACE}`,
      // Before it is up: what the kernel announces then are the addresses that there are.
      ...carried.addresses,
      `link set ${WORKLOAD_INTERFACE} up`,
      ...carried.routes,
      ...carried.neighbours,
    ];
    const leftMs = performance.now();
    await runOk(['ip', '-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` });
    const awayMs = performance.now() - leftMs;
    this.#lab.state.write(`workloads/${this.#to.name}.json`, this.#to);
    if (announce === 'rarp') await sendFramesOnce(this.#lab, this.#to.name, [rarp(mac)]);
    return { awayMs };
  }

  /** What a workload takes with it in its memory, as `ip` lines that restore it. */
  async #carried(): Promise<{ addresses: string[]; routes: string[]; neighbours: string[] }> {
    const dev = `dev ${WORKLOAD_INTERFACE}`;
    const [links, routes4, routes6, neighbours] = await Promise.all([
      this.#show<{ addr_info: Address[] }>('addr', 'show', 'dev', WORKLOAD_INTERFACE),
      this.#show<Route>('-4', 'route', 'show', 'dev', WORKLOAD_INTERFACE),
      this.#show<Route>('-6', 'route', 'show', 'dev', WORKLOAD_INTERFACE),
      this.#show<Neighbour>('neigh', 'show', 'dev', WORKLOAD_INTERFACE),
    ]);
    return {
      addresses: (links[0]?.addr_info ?? [])
        .filter((a) => a.scope !== 'link') // the kernel gives the new interface its own, of the same MAC
        .map((a) => `addr add ${a.local}/${a.prefixlen} ${dev}${a.family === 'inet6' ? ' nodad' : ''}`),
      routes: [...routes4, ...routes6]
        .filter((r) => r.gateway) // those of the link itself come with the addresses
        .map((r) => `route replace ${r.dst} via ${r.gateway} ${dev} onlink`),
      neighbours: neighbours
        .filter((n) => n.lladdr)
        .map((n) => `neigh replace ${n.dst} lladdr ${n.lladdr} ${dev} nud stale`),
    };
  }

  /** The old host lets go. */
  async finish(): Promise<void> {
    await unplug(this.#lab.switchOf(this.#from.host), this.#from);
    await runOk(['ip', '-n', this.#lab.namespace(this.#from.host), 'link', 'del', this.#from.interface]);
  }

  /** The migration is given up before `activate`: the new host lets go. */
  async abort(): Promise<void> {
    await this.#lab.switchOf(this.#to.host).vsctl(['--if-exists', 'del-port', INTEGRATION_BRIDGE, this.#to.interface]);
    await runOk(['ip', '-n', this.#lab.namespace(this.#to.host), 'link', 'del', this.#to.interface]);
  }

  async #show<T>(...argv: string[]): Promise<T[]> {
    return JSON.parse((await runOk(['ip', '-j', '-n', this.#from.namespace, ...argv])) || '[]') as T[];
  }
}

/*
 * RARP (RFC 903), a request for its own address as QEMU sends it:
 *
 *      0          6        12     14                                    20      22     28     32     38     42
 *     +----------+--------+------+-------------------------------------+-------+------+------+------+------+
 *     | ff…      | own    | 8035 | hardware 1, protocol 0800, sizes 6 4 | 3     | own  | 0    | own  | 0    |
 *     +----------+--------+------+-------------------------------------+-------+------+------+------+------+
 */
function rarp(mac: string): Uint8Array {
  const own = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const frame = new Uint8Array(60);
  frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...own, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3, ...own]);
  frame.set(own, 32);
  return frame;
}
