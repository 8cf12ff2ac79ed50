import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseDump, type Tracked } from '../../src/agent/connections/dump.ts';
import type { TrackingPacket } from '../../src/agent/connections/recreate.ts';
import { WeftError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import type { Flow } from '../../src/openflow/flow.ts';
import type { PacketIn } from '../../src/openflow/messages/packet-in.ts';
import { openOvsdbStream } from '../../src/ovsdb/address.ts';
import { JsonRpcConnection } from '../../src/ovsdb/json-rpc.ts';
import type { UnixctlCommand } from '../../src/ovsdb/unixctl.ts';
import { HOSTS, INTERFACES, interfaceName, OpenVswitchFarm, UNDERLAY_PORT } from './open-vswitch-farm.ts';
import { FIRST_OFPORT } from './scenario.ts';

export interface LandedFrame {
  readonly bridge: number;
  readonly ofport: number;
  readonly bytes: Uint8Array;
}

interface Arrived {
  readonly bridge: number;
  readonly message: PacketIn;
}

/** What became of one frame that was really sent. */
export interface Landed {
  readonly frames: readonly LandedFrame[];
  readonly packetIns: readonly Arrived[];
  /** Tunnel packets between hosts. */
  readonly crossings: number;
}

const PCAP_FILE_HEADER = 24;
const PCAP_RECORD_HEADER = 16;
const MOST_CROSSINGS = 50;

/**
 * The farm of real bridges, with real packets: what enters at an interface goes through datapath, connection tracking, real tunnel
 * headers and the bridge of the other host. All hosts share one datapath and so one connection tracker: their zones must differ.
 */
export class PacketFarm {
  readonly farm: OpenVswitchFarm;
  readonly #control: JsonRpcConnection;
  readonly #captures: readonly Capture[];
  readonly #underlay: Capture;
  readonly #packetIns: Arrived[];

  private constructor(farm: OpenVswitchFarm, control: JsonRpcConnection, packetIns: Arrived[]) {
    this.farm = farm;
    this.#control = control;
    this.#packetIns = packetIns;
    this.#captures = Array.from({ length: HOSTS * INTERFACES }, (_, n) => {
      const [bridge, ofport] = [Math.floor(n / INTERFACES), FIRST_OFPORT + (n % INTERFACES)];
      return new Capture(farm.captureOf(interfaceName(bridge, ofport)), bridge, ofport);
    });
    this.#underlay = new Capture(farm.captureOf(UNDERLAY_PORT), -1, -1);
  }

  static async start(): Promise<PacketFarm> {
    const packetIns: Arrived[] = [];
    const farm = await OpenVswitchFarm.start({ onPacketIn: (bridge, message) => packetIns.push({ bridge, message }) });
    const stream = await openOvsdbStream(
      { kind: 'unix', path: farm.controlSocket },
      {
        ...{ timeoutMs: 5000, signal: AbortSignal.timeout(5000) },
      },
    );
    const control = new JsonRpcConnection(stream, {
      ...{ log: silentLog, limits: { maxBytes: 1 << 24 }, probeMs: 0, onNotification: () => {}, onClose: () => {} },
    });
    const packets = new PacketFarm(farm, control, packetIns);
    // Sequence numbers of generated segments mean nothing.
    await packets.command('dpctl/ct-disable-tcp-seq-chk', 'dummy@ovs-dummy');
    return packets;
  }

  command(...[method, ...params]: UnixctlCommand): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#control.request(method, params, (reply) => {
        if (reply instanceof WeftError) reject(reply);
        else if (reply.error !== null) reject(new WeftError('refused', `${method}: ${String(reply.error)}`));
        else resolve(String(reply.result ?? ''));
      });
    });
  }

  /** New flows on every bridge, no connections, empty caches. */
  async install(flows: readonly (readonly Flow[])[]): Promise<void> {
    await Promise.all(flows.map((own, bridge) => this.farm.setFlows(bridge, own)));
    await this.command('dpctl/flush-conntrack', 'dummy@ovs-dummy');
    await this.command('revalidator/purge');
    await this.farm.settled();
    this.#packetIns.length = 0;
    for (const capture of [...this.#captures, this.#underlay]) capture.take();
  }

  /** Other flows on a bridge; connections stay. */
  async change(bridge: number, flows: readonly Flow[]): Promise<void> {
    await this.farm.setFlows(bridge, flows);
    await this.command('revalidator/purge');
  }

  /** All connections of all bridges: they have one tracker. */
  async tracked(): Promise<Tracked[]> {
    return parseDump(await this.command('dpctl/dump-conntrack', '-s', 'dummy@ovs-dummy'));
  }

  runThrough(bridge: number, packets: readonly TrackingPacket[]): Promise<void> {
    return this.farm.runThrough(bridge, packets);
  }

  async send(bridge: number, ofport: number, bytes: Uint8Array): Promise<Landed> {
    await this.#receive(interfaceName(bridge, ofport), bytes);
    let crossings = 0;
    for (let more = this.#underlay.take(); more.length > 0; more = this.#underlay.take())
      for (const outer of more) {
        if (++crossings > MOST_CROSSINGS) throw new Error('the frame goes round and round');
        await this.#receive(UNDERLAY_PORT, outer);
      }
    await this.farm.settled();
    const frames = this.#captures.flatMap((capture) =>
      capture.take().map((frame) => ({ bridge: capture.bridge, ofport: capture.ofport, bytes: frame })),
    );
    return { frames, packetIns: this.#packetIns.splice(0), crossings };
  }

  async #receive(port: string, bytes: Uint8Array): Promise<void> {
    const before = await this.#lookups();
    await this.command('netdev-dummy/receive', port, Buffer.from(bytes).toString('hex'));
    for (let tries = 0; (await this.#lookups()) === before; tries++) {
      if (tries > 1000) throw new Error(`a frame that came in at ${port} was not looked at`);
      if (tries > 20) await sleep(1);
    }
    // The lookup is counted before the actions are done, in the same turn of the switch's main loop.
    await this.command('version');
  }

  async #lookups(): Promise<number> {
    const text = await this.command('dpctl/show', 'dummy@ovs-dummy');
    const [, hit, missed] = /lookups: hit:(\d+) missed:(\d+)/.exec(text) ?? [];
    return Number(hit) + Number(missed);
  }

  async stop(): Promise<void> {
    this.#control.close();
    for (const capture of [...this.#captures, this.#underlay]) capture.close();
    await this.farm.stop();
  }
}

/** What a port sent, from its capture file. */
class Capture {
  readonly bridge: number;
  readonly ofport: number;
  readonly #file: string;
  #fd: number | undefined;
  #seen = PCAP_FILE_HEADER;

  constructor(file: string, bridge: number, ofport: number) {
    this.#file = file;
    this.bridge = bridge;
    this.ofport = ofport;
  }

  /** The frames since the last call. */
  take(): Uint8Array[] {
    if (this.#fd === undefined) {
      if (!existsSync(this.#file)) return [];
      this.#fd = openSync(this.#file, 'r');
    }
    const { size } = fstatSync(this.#fd);
    if (size <= this.#seen) return [];
    const bytes = Buffer.alloc(size - this.#seen);
    readSync(this.#fd, bytes, 0, bytes.length, this.#seen);
    this.#seen = size;
    const frames: Uint8Array[] = [];
    for (let at = 0; at + PCAP_RECORD_HEADER <= bytes.length; ) {
      const length = bytes.readUInt32LE(at + 8);
      frames.push(Uint8Array.from(bytes.subarray(at + PCAP_RECORD_HEADER, at + PCAP_RECORD_HEADER + length)));
      at += PCAP_RECORD_HEADER + length;
    }
    return frames;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}
