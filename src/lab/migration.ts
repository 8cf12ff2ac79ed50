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
  await scriptIn(from.namespace, [`ethtool -K ${INCOMING} tx off >/dev/null`]);
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

  /** The workload goes on at the new host, within a few milliseconds; announced as QEMU does (`rarp`), by `garp`, or not at all. */
  async activate(options: { readonly announce?: 'rarp' | 'garp' | 'none' } = {}): Promise<void> {
    const { namespace, mac } = this.#from;
    const lines = [
      `link set ${WORKLOAD_INTERFACE} down`,
      `link set ${WORKLOAD_INTERFACE} name ${OUTGOING}`,
      `link set ${INCOMING} name ${WORKLOAD_INTERFACE}`,
      `link set ${WORKLOAD_INTERFACE} up`,
    ];
    const addresses =
      (await this.#show<{ addr_info: Address[] }>('addr', 'show', 'dev', WORKLOAD_INTERFACE))[0]?.addr_info ?? [];
    for (const a of addresses) {
      if (a.scope === 'link') continue; // the kernel gives the new interface its own, of the same MAC
      lines.push(`addr add ${a.local}/${a.prefixlen} dev ${WORKLOAD_INTERFACE}${a.family === 'inet6' ? ' nodad' : ''}`);
    }
    for (const family of ['-4', '-6']) {
      for (const route of await this.#show<Route>(family, 'route', 'show', 'dev', WORKLOAD_INTERFACE)) {
        if (!route.gateway) continue;
        lines.push(`route replace ${route.dst} via ${route.gateway} dev ${WORKLOAD_INTERFACE} onlink`);
      }
    }
    // An address leaves with its interface: the old one keeps none, or the workload would have each twice.
    lines.splice(2, 0, `addr flush dev ${OUTGOING}`);
    await runOk(['ip', '-n', namespace, '-batch', '-'], { input: `${lines.join('\n')}\n` });
    this.#lab.state.write(`workloads/${this.#to.name}.json`, this.#to);
    const ipv4 = addresses.find((a) => a.family === 'inet')?.local;
    const frame = announcement(options.announce ?? 'rarp', mac, ipv4);
    if (frame) await sendFramesOnce(this.#lab, this.#to.name, [frame]);
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
 * RARP (RFC 903) and gratuitous ARP (RFC 5227) differ in Ethernet type, operation and the addresses they hold:
 *
 *      0          6        12     14                                    20      22     28     32     38     42
 *     +----------+--------+------+-------------------------------------+-------+------+------+------+------+
 *     | ff…      | own    | type | hardware 1, protocol 0800, sizes 6 4 | op    | own  | IPv4 | mac  | IPv4 |
 *     +----------+--------+------+-------------------------------------+-------+------+------+------+------+
 */
function announcement(kind: 'rarp' | 'garp' | 'none', mac: string, ipv4: string | undefined): Uint8Array | undefined {
  if (kind === 'none' || (kind === 'garp' && !ipv4)) return undefined;
  const own = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const address = kind === 'garp' ? ipv4!.split('.').map(Number) : [0, 0, 0, 0];
  const frame = new Uint8Array(60);
  frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...own, ...(kind === 'rarp' ? [0x80, 0x35] : [0x08, 0x06])]);
  frame.set([0, 1, 8, 0, 6, 4, 0, kind === 'rarp' ? 3 : 1, ...own, ...address], 14);
  frame.set([...(kind === 'rarp' ? own : [0, 0, 0, 0, 0, 0]), ...address], 32);
  return frame;
}
