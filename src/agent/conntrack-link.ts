import { readFile } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { type UnixctlCommand, unixctl } from '../ovsdb/unixctl.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import type { TrackingTexts } from './connections/reading.ts';
import type { EntryInZone } from './connections/recreate.ts';
import type { AgentEvent, Effect, ZoneUse } from './events.ts';
import type { FloatingEnd } from './floating-ends.ts';
import { SMALLEST_FRAGMENT } from './packet-in/fragments.ts';

export interface ConntrackLinkOptions {
  /** `system` for the kernel's datapath, `netdev` for the userspace one. */
  readonly datapathType: string;
  /** Control socket of ovs-vswitchd, looked up anew each time. */
  readonly control: () => string;
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Zones that come within this time are limited together. */
const GATHER_MS = 100;
const RETRY_MS = 5_000;
const LONGEST_LIMITING_MS = 2_000;
/** Arguments of one command. */
const ZONES_PER_COMMAND = 500;
const PROC = '/proc/sys/net/netfilter/nf_conntrack_';

/**
 * Sequence numbers are the workloads' own business: a host that takes a port again within TIME_WAIT is answered with a number from the former
 * connection and resets it (RFC 5961 §4), which conntrack would call invalid. With the kernel's datapath it is the machine's
 * `nf_conntrack_tcp_be_liberal`, which is not ours to set (LIMITS.md).
 *
 * Connection tracking of the datapath: limits of zones, and how much of it is used (ovs-vswitchd's `dpctl` commands). */
export class ConntrackLink implements TrackingTexts {
  readonly #options: ConntrackLinkOptions;
  /** Zone → which part of all connections it may hold. */
  readonly #unlimited = new Map<number, number>();
  #isLimiting = false;
  #isReading = false;

  constructor(options: ConntrackLinkOptions) {
    this.#options = options;
  }

  perform(effect: Extract<Effect, { kind: 'limitZones' | 'readConntrack' }>): void {
    if (effect.kind === 'readConntrack') return void this.#read();
    for (const zone of effect.zones) this.#unlimited.set(zone, effect.part);
    void this.#limit();
  }

  /** Zones that were to be limited are, or that takes too long. What is in a zone before it is limited is not counted there. */
  async limited(): Promise<void> {
    const { clock, signal } = this.#options;
    for (let ms = 0; this.#unlimited.size > 0 && ms < LONGEST_LIMITING_MS && !signal.aborted; ms += GATHER_MS)
      await clock.sleep(GATHER_MS, signal).catch(() => {});
  }

  get #datapath(): string {
    const { datapathType } = this.#options;
    return `${datapathType}@ovs-${datapathType}`;
  }

  #run(commands: readonly UnixctlCommand[]): Promise<string[]> {
    return unixctl(this.#options.control(), commands);
  }

  /** Connections that the datapath tracks; with the kernel's those of the whole machine. Errors: `WeftError`. */
  async count(): Promise<number> {
    if (this.#options.datapathType !== 'netdev') return numberIn(`${PROC}count`);
    const [text] = await this.#run([['dpctl/ct-get-nconns', this.#datapath]]);
    return Number(text);
  }

  async version(): Promise<string | undefined> {
    const [text = ''] = await this.#run([['version']]);
    return /Open vSwitch\) (\d+\.\d+\S*)/.exec(text)?.[1];
  }

  async uses(): Promise<readonly ZoneUse[]> {
    const [text = ''] = await this.#run([['dpctl/ct-get-limits', this.#datapath]]);
    return readLimits(text);
  }

  async dump(zones?: readonly number[]): Promise<string> {
    const dump = ['dpctl/dump-conntrack', '-s', this.#datapath] as const;
    return (await this.#run(zones?.map((zone) => [...dump, `zone=${zone}`] as const) ?? [dump])).join('\n');
  }

  /** As `dump`, of these zones only, one after the other. Error `full` where one of them holds more than `most`: a reading holds packets up. */
  async dumpZones(zones: readonly number[], most: number): Promise<string> {
    const asked = new Set(zones);
    const held = (await this.uses()).filter(({ zone }) => asked.has(zone)).map(({ connections }) => connections);
    const largest = Math.max(0, ...held);
    if (largest > most)
      throw new WeftError('full', `${largest} connections in a zone of the port or its routers, more than ${most}`);
    return this.dump(zones);
  }

  /**
   * Takes these out, in their order; what is gone already is as good. Errors: `WeftError`, but for what Open vSwitch refuses: it says no more of an entry that
   * it does not find.
   */
  async flush(entries: readonly EntryInZone[]): Promise<void> {
    const commands = entries.map(
      ({ entry, zone }) => ['dpctl/flush-conntrack', this.#datapath, `zone=${zone}`, flushText(entry)] as const,
    );
    const run = (some: readonly UnixctlCommand[]): Promise<boolean> =>
      this.#run(some).then(
        () => true,
        (error: unknown) => {
          if (error instanceof WeftError && error.code === 'refused') return false;
          throw error;
        },
      );
    for (let at = 0; at < commands.length; at += ZONES_PER_COMMAND) {
      const some = commands.slice(at, at + ZONES_PER_COMMAND);
      // What is behind one that is refused is not run.
      if (!(await run(some))) for (const command of some) await run([command]);
    }
  }

  /** Takes out what was begun to these addresses, and what was answered at them. Errors: `WeftError`. */
  async end(ends: readonly FloatingEnd[]): Promise<void> {
    const commands = ends.flatMap(({ zone, address }): UnixctlCommand[] => {
      const to = `${ipField(address)}_dst=${address}`;
      const flush = ['dpctl/flush-conntrack', this.#datapath, `zone=${zone}`] as const;
      return [
        [...flush, to],
        [...flush, '', to],
      ];
    });
    for (let at = 0; at < commands.length; at += ZONES_PER_COMMAND)
      await this.#run(commands.slice(at, at + ZONES_PER_COMMAND));
  }

  /** Sequence numbers are not asked for from now on, whatever may come before zones are limited. Errors: `WeftError`. */
  async disregardSequences(): Promise<void> {
    await this.#run(this.#settings());
  }

  /**
   * Fragments that are cut again (packet-in/fragments.ts) are smaller than what the userspace datapath takes for an attack if it is not told. Over IPv6
   * nobody cuts again, but some senders cut into equal parts.
   */
  #settings(): UnixctlCommand[] {
    if (this.#options.datapathType !== 'netdev') return [];
    return [
      ['dpctl/ct-disable-tcp-seq-chk', this.#datapath],
      ...['v4', 'v6'].map(
        (version) => ['dpctl/ipf-set-min-frag', this.#datapath, version, String(SMALLEST_FRAGMENT)] as const,
      ),
    ];
  }

  async #limit(): Promise<void> {
    if (this.#isLimiting) return;
    this.#isLimiting = true;
    const { signal, clock, log } = this.#options;
    let wasWarned = false;
    while (this.#unlimited.size > 0 && !signal.aborted) {
      await clock.sleep(GATHER_MS, signal).catch(() => {});
      const zones = [...this.#unlimited].slice(0, ZONES_PER_COMMAND);
      try {
        const most = await this.#most();
        const limit = (part: number): number => Math.max(1, Math.floor(most / part));
        await this.#run([
          ['dpctl/ct-set-limits', this.#datapath, ...zones.map(([zone, part]) => `zone=${zone},limit=${limit(part)}`)],
          ...this.#settings(),
        ]);
        for (const [zone, part] of zones) if (this.#unlimited.get(zone) === part) this.#unlimited.delete(zone);
      } catch (error) {
        if (!(error instanceof WeftError)) throw error;
        if (!wasWarned && !signal.aborted) log.warn('conntrack zones are not limited; trying again', { error });
        wasWarned = true;
        await clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    }
    this.#isLimiting = false;
  }

  /** How many connections the datapath holds at most. The kernel's limit is the machine's, and not told by Open vSwitch. */
  async #most(): Promise<number> {
    if (this.#options.datapathType !== 'netdev') return numberIn(`${PROC}max`);
    const [text] = await this.#run([['dpctl/ct-get-maxconns', this.#datapath]]);
    return Number(text);
  }

  async #read(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const zones = await this.uses();
      const connections = await this.count();
      this.#options.emit({ kind: 'conntrack', connections, most: await this.#most(), zones });
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      this.#options.log.debug('connection tracking was not read', { error });
    } finally {
      this.#isReading = false;
    }
  }
}

const NUMBERS: Readonly<Record<string, number>> = { tcp: IP_PROTO.tcp, udp: IP_PROTO.udp };

/** As `dpctl/flush-conntrack` takes an entry of TCP or UDP: how it began. */
function flushText({ protocol, original: { from, to } }: EntryInZone['entry']): string {
  const ip = ipField(from.address);
  const ends = [`${ip}_src=${from.address}`, `${ip}_dst=${to.address}`, `ct_nw_proto=${NUMBERS[protocol]}`];
  return [...ends, `ct_tp_src=${from.port}`, `ct_tp_dst=${to.port}`].join();
}

/** How names of a tuple's addresses begin. */
function ipField(address: string): string {
  return address.includes(':') ? 'ct_ipv6' : 'ct_nw';
}

/** `zone=4,limit=20,count=1`, a line each. */
export function readLimits(text: string): ZoneUse[] {
  return [...text.matchAll(/^zone=(\d+),limit=(\d+),count=(\d+)$/gm)].map(([, zone, limit, count]) => ({
    zone: Number(zone),
    limit: Number(limit),
    connections: Number(count),
  }));
}

async function numberIn(path: string): Promise<number> {
  try {
    return Number((await readFile(path, 'utf8')).trim());
  } catch (cause) {
    throw new WeftError('not-found', `${path}: this kernel tracks no connections`, { cause });
  }
}
