import { PACKET_IN } from '../compile/tables.ts';
import type { LogicalPort } from '../model/objects.ts';
import { BUDGET, Budgets } from './budget.ts';
import type { Effect, PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { Novelty, sampleKey } from './novelty.ts';

/** Shuts ports off, as a whole and for a while, whose frames take too much of the agent's time: they harm only themselves. */
export class SprayGuard {
  readonly #ground: Ground;
  readonly #budgets = new Budgets();
  readonly #novelty = new Novelty();
  readonly #shutOff = new Set<string>();

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  isShutOff(port: string): boolean {
    return this.#shutOff.has(port);
  }

  /** Takes one packet-in of the port: undefined if it may be looked at, otherwise what is done instead. */
  stops(packet: PacketIn, port: LogicalPort, nowMs: number): Effect[] | undefined {
    // A sample tells of a spray only by what is new in it: one wrong address, however often, is no spray.
    const isSample = packet.class === PACKET_IN.guard || packet.class === PACKET_IN.stray;
    if (isSample && !this.#novelty.isNew(port.id, sampleKey(packet))) return [];
    const verdict = this.#budgets.take(port.id, nowMs);
    if (verdict === 'ok') return isSample ? [] : undefined;
    return verdict === 'ignored' ? [] : this.#shut(port, nowMs);
  }

  #shut({ id, name }: LogicalPort, nowMs: number): Effect[] {
    this.#shutOff.add(id);
    const seconds = Math.round(this.#budgets.shutOffMs(id, nowMs) / 1000);
    const text = `port ${name} sprays packets that need the agent (more than ${BUDGET.perSecond} a second); it is shut off for ${seconds} s`;
    return [
      ...this.#ground.compile([{ op: 'put', record: { kind: 'shutOff', id } }]),
      ...this.#ground.reportStates({ [id]: { state: 'shut-off', problem: text } }),
      ...this.#ground.report([{ type: 'event', atMs: nowMs, level: 'warning', about: { kind: 'port', id }, text }]),
      { kind: 'log', level: 'warn', message: text, fields: { port: id } },
    ];
  }

  /** Ports whose time is over send again. */
  tick(nowMs: number): Effect[] {
    const released = this.#budgets.released(nowMs, this.#shutOff);
    if (released.length === 0) return [];
    for (const port of released) this.#shutOff.delete(port);
    return [
      ...this.#ground.compile(released.map((id) => ({ op: 'delete', kind: 'shutOff', id }))),
      ...this.#ground.reportStates(Object.fromEntries(released.map((port) => [port, { state: 'installed' }]))),
    ];
  }

  forget(port: string): void {
    this.#shutOff.delete(port);
    this.#budgets.forget(port);
    this.#novelty.forget(port);
  }
}
