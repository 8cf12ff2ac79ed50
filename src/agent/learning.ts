import type { LearnedAddress, ScopeRecord } from '../model/objects.ts';
import type { ReportedAddress } from '../server/protocol.ts';

/** How long an address behind a port without port security may be silent before it is forgotten. */
export const LEARNED_IDLE_MS = 300_000;
/** Addresses that one port may teach; more are dropped until some age out. */
export const LEARNED_PER_PORT = 256;
/** The same for the outside of an L2 gateway, which is a network. */
export const LEARNED_OUTSIDE = 8_192;

interface Entry {
  readonly record: LearnedAddress;
  lastSeenMs: number;
  packets: number;
  /** Somebody else sees to it that it goes when it should. */
  isKept: boolean;
}

/** The addresses that this host's ports taught it. What other hosts learned is part of the scope, not of this. */
export class Learning {
  readonly #own = new Map<string, Entry>();
  readonly #perPort = new Map<string, number>();

  /** The record to use from now on, or undefined when the port may teach no more or nothing is new. */
  learn(
    switchId: string,
    port: string,
    host: string,
    vlan: number,
    mac: string,
    nowMs: number,
    most = LEARNED_PER_PORT,
  ): LearnedAddress | undefined {
    const id = `${switchId}/${vlan}/${mac}`;
    const before = this.#own.get(id);
    if (before?.record.port === port) {
      before.lastSeenMs = nowMs;
      return undefined;
    }
    if ((this.#perPort.get(port) ?? 0) >= most) return undefined;
    if (before) this.#count(before.record.port, -1);
    const record: LearnedAddress = { kind: 'learned', id, revision: 0, switch: switchId, port, host, mac, vlan };
    this.#own.set(id, { record, lastSeenMs: nowMs, packets: 0, isKept: false });
    this.#count(port, 1);
    return record;
  }

  /** What the disk kept of this host's addresses from the last run. */
  adopt(records: readonly ScopeRecord[], host: string | undefined, nowMs: number): void {
    for (const record of records)
      if (record.kind === 'learned' && record.host === host)
        this.learn(record.switch, record.port, record.host, record.vlan, record.mac, nowMs, LEARNED_OUTSIDE);
  }

  /** Loses the addresses of ports that are not here (any more), and gives their records. */
  loseAbsent(isHere: (port: string) => boolean): LearnedAddress[] {
    const absent = [...this.#own.values()].map((entry) => entry.record).filter((record) => !isHere(record.port));
    for (const { id } of absent) this.lose(id);
    return absent;
  }

  /** Kept, the address does not age, however silent it is. */
  keep(id: string, isKept: boolean, nowMs: number): void {
    const entry = this.#own.get(id);
    if (!entry) return;
    entry.isKept = isKept;
    entry.lastSeenMs = nowMs;
  }

  /** Another host (or port) has the address now. */
  lose(id: string): void {
    const entry = this.#own.get(id);
    if (!entry) return;
    this.#own.delete(id);
    this.#count(entry.record.port, -1);
  }

  get(id: string): LearnedAddress | undefined {
    return this.#own.get(id)?.record;
  }

  ofPort(port: string): LearnedAddress[] {
    return [...this.#own.values()].filter((entry) => entry.record.port === port).map((entry) => entry.record);
  }

  all(): ReportedAddress[] {
    return [...this.#own.values()].map((entry) => reported(entry.record));
  }

  /** The flow's packet counter: if it moved, the address was heard. */
  heard(id: string, packets: number, nowMs: number): void {
    const entry = this.#own.get(id);
    if (!entry || entry.packets === packets) return;
    entry.packets = packets;
    entry.lastSeenMs = nowMs;
  }

  idle(nowMs: number): LearnedAddress[] {
    return [...this.#own.values()]
      .filter((entry) => !entry.isKept && nowMs - entry.lastSeenMs > LEARNED_IDLE_MS)
      .map((entry) => entry.record);
  }

  #count(port: string, by: number): void {
    const count = (this.#perPort.get(port) ?? 0) + by;
    if (count <= 0) this.#perPort.delete(port);
    else this.#perPort.set(port, count);
  }
}

export function reported(record: LearnedAddress): ReportedAddress {
  return { port: record.port, vlan: record.vlan, mac: record.mac };
}
