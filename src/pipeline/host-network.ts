import type { Tunnel } from './packet-state.ts';
import type { Pipeline } from './pipeline.ts';
import type { Drop, PacketIn, Step } from './result.ts';

/** A tunnel port of a host: what goes out there is carried to the host that `tun_dst` names. */
export interface TunnelPort {
  readonly port: number;
  readonly encap: 'gre' | 'vxlan' | 'geneve';
}

export interface NetworkHost {
  readonly name: string;
  readonly pipeline: Pipeline;
  /** Underlay addresses: IPv4 as number, IPv6 as bigint. The first of a family is the source where flows set none. */
  readonly addresses: readonly (number | bigint)[];
  readonly tunnels: readonly TunnelPort[];
}

/** A frame that left a host at an ordinary port. */
export interface Delivery {
  readonly host: string;
  readonly port: number;
  readonly bytes: Uint8Array;
}

export interface HostPacketIn extends PacketIn {
  readonly host: string;
}

export type LossReason =
  /** `tun_dst` is no host's address. */
  | 'unknown-host'
  /** The receiver has no tunnel port of that encapsulation. */
  | 'no-tunnel'
  /** `reaches` said no. */
  | 'unreachable'
  /** Went from host to host more often than `MAX_HOPS`. */
  | 'loop';

/** What became of a frame in the whole network. */
export interface Journey {
  readonly deliveries: readonly Delivery[];
  readonly packetIns: readonly HostPacketIn[];
  readonly drops: readonly (Drop & { readonly host: string })[];
  readonly losses: readonly { readonly host: string; readonly reason: LossReason; readonly tunnel: Tunnel }[];
  /** Frames that crossed the underlay. */
  readonly crossings: readonly Crossing[];
  readonly steps: readonly (Step & { readonly host: string })[];
}

export interface Crossing {
  readonly from: string;
  readonly to: string;
  readonly tunnel: Tunnel;
  readonly bytes: Uint8Array;
}

export interface HostNetworkOptions {
  /** Whether the underlay carries packets from one host to another; always when absent. */
  readonly reaches?: (from: string, to: string) => boolean;
}

/** How often a frame and its copies may cross the underlay before that counts as a loop. */
export const MAX_HOPS = 16;
/** GRE, VXLAN and Geneve all carry keys of 24 bits (GRE would carry 32). */
const KEY_MASK = 0xff_ffffn;

interface Arrival {
  readonly host: NetworkHost;
  readonly inPort: number;
  readonly bytes: Uint8Array;
  readonly tunnel: Tunnel | undefined;
  readonly hops: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };

/**
 * Several pipelines joined by their tunnel ports: an output there with `tun_dst` X arrives at host X's tunnel port of
 * the same encapsulation, with the sender's address as `tun_src`. Frames are carried one after the other, in the order
 * in which they were sent.
 */
export class HostNetwork {
  readonly #hosts = new Map<string, NetworkHost>();
  readonly #byAddress = new Map<string, NetworkHost>();
  readonly #options: HostNetworkOptions;

  constructor(hosts: Iterable<NetworkHost> = [], options: HostNetworkOptions = {}) {
    this.#options = options;
    for (const host of hosts) this.add(host);
  }

  /** Adds a host, or replaces the one of that name. */
  add(host: NetworkHost): void {
    this.remove(host.name);
    this.#hosts.set(host.name, host);
    for (const address of host.addresses) this.#byAddress.set(addressKey(address), host);
  }

  remove(name: string): void {
    const host = this.#hosts.get(name);
    if (!host) return;
    this.#hosts.delete(name);
    for (const address of host.addresses) this.#byAddress.delete(addressKey(address));
  }

  host(name: string): NetworkHost | undefined {
    return this.#hosts.get(name);
  }

  /** Sends a frame into a port of a host and follows it, and all its copies, to the end. */
  send(host: string, inPort: number, bytes: Uint8Array): Journey {
    const start = this.#hosts.get(host);
    const journey = emptyJourney();
    if (start) this.#carry([{ host: start, inPort, bytes, tunnel: undefined, hops: 0 }], journey);
    return journey;
  }

  /** Has a frame arrive from the underlay, as from a peer that need not be one of the hosts. */
  sendTunnelled(host: string, encap: TunnelPort['encap'], tunnel: Tunnel, bytes: Uint8Array): Journey {
    const start = this.#hosts.get(host);
    const port = start?.tunnels.find((one) => one.encap === encap);
    const journey = emptyJourney();
    if (start && port) this.#carry([{ host: start, inPort: port.port, bytes, tunnel, hops: 1 }], journey);
    return journey;
  }

  #carry(queue: Arrival[], journey: Mutable<Journey>): void {
    for (let arrival = queue.shift(); arrival; arrival = queue.shift()) {
      const { host, inPort, bytes, tunnel, hops } = arrival;
      const result = host.pipeline.run({ bytes, inPort, ...(tunnel ? { tunnel } : {}) });
      const { name } = host;
      for (const step of result.steps) journey.steps.push({ ...step, host: name });
      for (const drop of result.drops) journey.drops.push({ ...drop, host: name });
      for (const packetIn of result.packetIns) journey.packetIns.push({ ...packetIn, host: name });
      for (const output of result.outputs) {
        const via = host.tunnels.find((one) => one.port === output.port);
        if (via) this.#cross(host, via, output, hops + 1, queue, journey);
        else journey.deliveries.push({ host: name, port: output.port, bytes: output.bytes });
      }
    }
  }

  #cross(
    from: NetworkHost,
    via: TunnelPort,
    output: { readonly bytes: Uint8Array; readonly tunnel: Tunnel },
    hops: number,
    queue: Arrival[],
    journey: Mutable<Journey>,
  ): void {
    const { dst } = output.tunnel;
    // A tunnel port without `local_ip=flow` sends from its host, also what came in by it from elsewhere.
    const src = from.addresses.find((one) => typeof one === typeof dst) ?? output.tunnel.src;
    const tunnel: Tunnel = { id: output.tunnel.id & KEY_MASK, src, dst };
    const lose = (reason: LossReason): void => void journey.losses.push({ host: from.name, reason, tunnel });
    const to = this.#byAddress.get(addressKey(dst));
    if (!to) return lose('unknown-host');
    if (!(this.#options.reaches?.(from.name, to.name) ?? true)) return lose('unreachable');
    const port = to.tunnels.find((one) => one.encap === via.encap);
    if (!port) return lose('no-tunnel');
    if (hops > MAX_HOPS) return lose('loop');
    journey.crossings.push({ from: from.name, to: to.name, tunnel, bytes: output.bytes });
    queue.push({ host: to, inPort: port.port, bytes: output.bytes, tunnel, hops });
  }
}

function emptyJourney(): Mutable<Journey> {
  return { deliveries: [], packetIns: [], drops: [], losses: [], crossings: [], steps: [] };
}

/** IPv4 and IPv6 addresses of equal value differ. */
function addressKey(address: number | bigint): string {
  return `${typeof address}:${address}`;
}
