import { ByteWriter } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { pausing } from '../compile/facts.ts';
import { load, NEXT_HOP, set } from '../compile/fields.ts';
import { COUNTED_DROPS, TABLES } from '../compile/tables.ts';
import { CLASSIFY } from '../compile/units/classify.ts';
import { canonicalMatch } from '../openflow/canonical.ts';
import { connectOpenFlow, type OpenFlowConnection, type Refusal } from '../openflow/connection.ts';
import { type Action, type Flow, type Match, OFPP } from '../openflow/flow.ts';
import { encodeFlowMod, writeBundleAdd } from '../openflow/message.ts';
import { FRAGMENTS } from '../openflow/messages/features.ts';
import type { FlowMod } from '../openflow/messages/flow-mod.ts';
import { ALL_TABLES, FLOW_COMMAND } from '../openflow/messages/flow-mod.ts';
import { BAND_TYPE, METER_COMMAND, METER_FLAG } from '../openflow/messages/meter.ts';
import { PACKET_IN_FORMAT } from '../openflow/messages/nicira.ts';
import type { PacketIn as OpenFlowPacketIn } from '../openflow/messages/packet-in.ts';
import { OF15 } from '../openflow/version.ts';
import type { TrackingPacket } from './connections/recreate.ts';
import type { AgentEvent, Effect, FlowChanges, InstalledFlow, PacketIn } from './events.ts';
import { flowBody, flowKey } from './flow-key.ts';
import { changesOf } from './installation.ts';
import { Lanes, shifted } from './lanes.ts';
import { meterConfig } from './meters.ts';
import type { PacketRegisters } from './registers.ts';

/** What a meter of the switch lets through to the agent. */
export interface PacketInMeter {
  readonly meter: number;
  readonly packetsPerSecond: number;
  readonly burst: number;
}

export interface SwitchLinkOptions {
  /** `unix:/…/br-int.mgmt`. */
  readonly address: string;
  readonly meters: readonly PacketInMeter[];
  /** The pipeline's registers in a packet-in. */
  readonly readRegisters: (match: Match) => PacketRegisters;
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

type SwitchEffect =
  | 'install'
  | 'readBack'
  | 'readCounters'
  | 'packetOut'
  | 'inject'
  | 'flushZones'
  | 'setMeters'
  | 'readReceived'
  | 'readPassing'
  | 'resume'
  | 'keepPausing';

/** A bundle is let go of when nothing is heard of it for 10 s: behind more flows than these it is begun when they are in. */
const MOST_BESIDE = 30_000;
const RETRY_MS = 250;
/** So long after it was told to forget zones the switch is asked whether it has. */
const FLUSH_ASKED_MS = 1_000;

/** The OpenFlow side of the agent: keeps a connection to the bridge, and carries effects and events. */
export class SwitchLink {
  readonly #options: SwitchLinkOptions;
  #connection: OpenFlowConnection | undefined;
  /** Of that connection. */
  #gone: AbortController | undefined;

  constructor(options: SwitchLinkOptions) {
    this.#options = options;
  }

  /** Connects, and connects again whenever the switch is gone, until the signal. */
  async run(): Promise<void> {
    const { address, signal, log, clock } = this.#options;
    let wasSilent = false;
    while (!signal.aborted) {
      try {
        const connection = await connectOpenFlow(address, { signal, log });
        wasSilent = false;
        try {
          await this.#serve(connection);
        } finally {
          this.#connection = undefined;
          connection.close();
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!wasSilent) log.warn('Open vSwitch does not answer; trying again', { address, error });
        wasSilent = true;
      }
      await clock.sleep(RETRY_MS, signal).catch(() => {});
    }
  }

  async #serve(connection: OpenFlowConnection): Promise<void> {
    const { emit } = this.#options;
    const gone = new Promise<WeftError>((resolve) => connection.on('disconnect', resolve));
    connection.on('packetIn', (message) => {
      const packet = this.#packetIn(message);
      if (packet) emit({ kind: 'packetIn', packet });
    });
    // A connection to the management socket gets packet-ins only once it asks for bytes of them. Flows have to see the
    // ports of first fragments: a workload could else answer DHCP, or pass a filter, in fragments.
    connection.send({ kind: 'setConfig', flags: FRAGMENTS.nxMatch, missSendLength: 0xffff });
    connection.send({ kind: 'setPacketInFormat', format: PACKET_IN_FORMAT.nxt2 });
    await this.#installMeters(connection);
    const { software } = await connection.multipart({ kind: 'desc' });
    this.#connection = connection;
    this.#gone = new AbortController();
    emit({ kind: 'switchConnected', version: software });
    const reason = await gone;
    this.#connection = undefined;
    this.#gone.abort(reason);
    emit({ kind: 'switchLost', reason: reason.message });
  }

  /** Meters are no part of bundles; they come before the flows that name them. */
  async #installMeters(connection: OpenFlowConnection): Promise<void> {
    for (const { meter, packetsPerSecond, burst } of this.#options.meters) {
      const mod = {
        kind: 'meterMod',
        flags: METER_FLAG.packets | METER_FLAG.burst | METER_FLAG.stats,
        meter,
        bands: [{ type: BAND_TYPE.drop, rate: packetsPerSecond, burst }],
      } as const;
      // One of both fails: a meter that is there cannot be added, one that is not cannot be modified.
      connection.send({ ...mod, command: METER_COMMAND.add });
      connection.send({ ...mod, command: METER_COMMAND.modify });
    }
    await connection.barrier();
  }

  /** Runs packets through actions and forgets them: what they do to connection tracking stays. Before what is sent after it. */
  runThrough(packets: readonly TrackingPacket[]): void {
    const connection = this.#connection;
    if (!connection || connection.closed) return;
    const match = { in_port: OFPP.controller };
    for (const { frame, actions } of packets) connection.send({ kind: 'packetOut', match, actions, frame });
  }

  /** The effects that are for the switch. */
  perform(effect: Extract<Effect, { kind: SwitchEffect }>): void {
    const connection = this.#connection;
    if (!connection || connection.closed) return;
    switch (effect.kind) {
      case 'install':
        void this.#install(connection, effect);
        break;
      case 'readBack':
        void this.#readBack(connection);
        break;
      case 'readCounters':
        void this.#readCounters(connection);
        break;
      case 'readReceived':
        void this.#readReceived(connection, effect.ofports);
        break;
      case 'readPassing':
        void this.#readPassing(connection, effect.ofports);
        break;
      case 'packetOut':
        connection.send({
          kind: 'packetOut',
          match: { in_port: OFPP.controller },
          actions: [{ kind: 'output', port: effect.toOfport }],
          frame: effect.frame,
        });
        break;
      case 'inject':
        connection.send({
          kind: 'packetOut',
          match: { in_port: OFPP.controller },
          actions: injection(effect),
          frame: effect.frame,
        });
        break;
      case 'resume':
        connection.send({ kind: 'resume', ...effect.paused });
        break;
      case 'keepPausing':
        connection.send(addition(pausing()));
        break;
      case 'setMeters':
        setMeters(connection, effect);
        break;
      case 'flushZones':
        void this.#flush(connection, effect.zones);
        break;
    }
  }

  async #flush(connection: OpenFlowConnection, zones: readonly number[]): Promise<void> {
    for (const zone of zones) connection.send({ kind: 'ctFlushZone', zone });
    // Not at once: flows that wait for nothing else go behind it.
    await this.#options.clock.sleep(FLUSH_ASKED_MS, this.#options.signal).catch(() => {});
    // A switch that is slow to answer has it in its queue all the same.
    await connection.barrier(this.#options.signal).catch(() => {});
    if (!connection.closed) this.#options.emit({ kind: 'flushed', zones });
  }

  async #install(connection: OpenFlowConnection, effect: Extract<Effect, { kind: 'install' }>): Promise<void> {
    const { emit, signal, clock, log } = this.#options;
    const mods: FlowMod[] = [];
    for (const { op, flow } of changesOf(effect)) mods.push(op === 'add' ? addition(flow) : deletion(flow));
    const ahead = countOf(effect.ahead);
    const behind = countOf(effect.behind);
    const startedMs = clock.monotonicMs();
    try {
      await this.#carry(connection, mods, ahead, mods.length - behind);
      log.debug('bundle', {
        ...{ add: effect.add.length, remove: effect.remove.length, ahead, behind },
        ms: clock.monotonicMs() - startedMs,
      });
      emit({ kind: 'installed', id: effect.id });
    } catch (error) {
      if (signal.aborted) return;
      const unfit =
        error instanceof WeftError && error.code === 'invalid' ? mods.findIndex((mod) => !fitsMessage(mod)) : -1;
      if (unfit >= 0) {
        emit({ kind: 'refused', id: effect.id, error: 'it is longer than a message can be', index: unfit });
        return;
      }
      if (!(error instanceof WeftError) || error.code !== 'refused') {
        // What the switch has now is not known (a commit that took too long): with a new connection all is compared again.
        log.error('a bundle failed', { error });
        connection.close(error instanceof WeftError ? error : undefined);
        return;
      }
      const index = (error.details as Refusal | undefined)?.index;
      emit({ kind: 'refused', id: effect.id, error: error.message, ...(index === undefined ? {} : { index }) });
    }
  }

  /** Those before `from` and those from `to` on by lanes, in between one bundle. What is refused stays out and the rest goes in: as the core would have it on a second try. */
  async #carry(connection: OpenFlowConnection, mods: readonly FlowMod[], from: number, to: number): Promise<void> {
    const { address, log, signal } = this.#options;
    if (from === 0 && to === mods.length) return connection.transactionOfAccepted(mods, { signal });
    // What is left of it when the switch is gone is not for the one that comes.
    const beside = { log, signal: AbortSignal.any([signal, this.#gone!.signal]) };
    const lanes = new Lanes(address, Math.max(from, mods.length - to), beside);
    try {
      // Meters were sent on this connection, and the flows that name them go by others.
      await connection.barrier(signal);
      const ahead = shifted(lanes.carry(mods.slice(0, from)), 0);
      if (from > MOST_BESIDE) await ahead.catch(() => {}); // whoever waits below is told
      // The switch takes both at once, and makes the bundle true when what stands ahead of it is in.
      const bundle = connection.transactionOfAccepted(mods.slice(from, to), { signal, after: ahead });
      for (const part of await Promise.allSettled([ahead, shifted(bundle, from)]))
        if (part.status === 'rejected') throw part.reason;
      await shifted(lanes.carry(mods.slice(to)), to);
    } finally {
      lanes.close();
    }
  }

  /** All flows of the bridge, reduced to what the comparison needs. */
  async readFlows(table = ALL_TABLES): Promise<InstalledFlow[]> {
    const connection = this.#connection;
    if (!connection) throw new WeftError('unreachable', 'Open vSwitch does not answer');
    const { flows } = await connection.multipart({ kind: 'flow', table, match: {} }, this.#options.signal);
    // What is not compiled, and ends by itself, is nobody's to compare.
    const compiled = flows.filter((flow) => flow.table !== TABLES.pause.number);
    return compiled.map((flow) => ({
      key: flowKey(flow),
      body: flowBody(flow),
      flow: { ...flow, match: canonicalMatch(flow.match) },
    }));
  }

  async #readBack(connection: OpenFlowConnection): Promise<void> {
    try {
      const [flows, { meters }] = await Promise.all([
        this.readFlows(),
        connection.multipart({ kind: 'meterConfig' }, this.#options.signal),
      ]);
      this.#options.emit({ kind: 'readBack', flows, meters });
    } catch (error) {
      // Without knowing what is there nothing may be changed: start over.
      if (!connection.closed) connection.close(error instanceof WeftError ? error : undefined);
    }
  }

  /** Of the tables whose flows are counted for people (rules, drops) or for ageing (learned addresses), and what meters have dropped. */
  async #readCounters(connection: OpenFlowConnection): Promise<void> {
    try {
      const { signal } = this.#options;
      const tables = (['chain', 'learn', ...COUNTED_DROPS] as const).map((name) => TABLES[name].number);
      const [meters, ...replies] = await Promise.all([
        connection.multipart({ kind: 'meter' }, signal),
        ...tables.map((table) => connection.multipart({ kind: 'flow', table, match: {} }, signal)),
      ]);
      const flows = replies.flatMap((reply) => reply.flows);
      this.#options.emit({
        kind: 'counters',
        flows: flows.map(({ table, cookie, packets, bytes }) => ({
          table,
          cookie,
          packets: Number(packets ?? 0n),
          bytes: Number(bytes ?? 0n),
        })),
        meters: new Map(
          meters.meters.map(({ meter, bands: [band] }) => [
            meter,
            { packets: Number(band?.packets ?? 0n), bytes: Number(band?.bytes ?? 0n) },
          ]),
        ),
      });
    } catch (error) {
      this.#options.log.debug('counters were not read', { error });
    }
  }

  async #readReceived(connection: OpenFlowConnection, ofports: readonly number[]): Promise<void> {
    try {
      const { signal } = this.#options;
      const replies = await Promise.all(
        ofports.map((port) => connection.multipart({ kind: 'port', port }, signal).catch(() => undefined)),
      );
      const received = replies.flatMap((reply) => reply?.ports ?? []);
      this.#options.emit({
        kind: 'received',
        received: new Map(received.map(({ port, rxPackets }) => [port, Number(rxPackets)])),
      });
    } catch (error) {
      this.#options.log.debug('counters of ports were not read', { error });
    }
  }

  /** What is of no session is in the flow of the port itself, behind those of the speaker. */
  async #readPassing(connection: OpenFlowConnection, ofports: readonly number[]): Promise<void> {
    try {
      const { signal } = this.#options;
      const table = TABLES.classify.number;
      const replies = await Promise.all(
        ofports.map((port) => connection.multipart({ kind: 'flow', table, match: { in_port: port } }, signal)),
      );
      const passing = replies.flatMap(({ flows }) => flows.filter(({ priority }) => priority === CLASSIFY.unsecured));
      const packets = passing.reduce((sum, flow) => sum + Number(flow.packets ?? 0n), 0);
      this.#options.emit({ kind: 'passing', packets });
    } catch (error) {
      this.#options.log.debug('counters of wires were not read', { error });
    }
  }

  #packetIn(message: OpenFlowPacketIn): PacketIn | undefined {
    const wanted = message.userdata?.[0];
    if (wanted === undefined) return undefined;
    const { in_port } = message.match;
    return {
      class: wanted,
      cookie: message.cookie ?? 0n,
      inPort: Number(typeof in_port === 'object' ? in_port.value : (in_port ?? 0)),
      ...this.#options.readRegisters(message.match),
      frame: message.frame,
      ...(message.continuation && {
        paused: { frame: message.frame, match: message.match, continuation: message.continuation },
      }),
    };
  }
}

/** Messages are taken in order: those about meters before the bundle that comes behind them. */
function setMeters(connection: OpenFlowConnection, { put, gone }: Extract<Effect, { kind: 'setMeters' }>): void {
  for (const meter of put) {
    const mod = { kind: 'meterMod', ...meterConfig(meter) } as const;
    // One of both fails: a meter that is there cannot be added, one that is not cannot be modified.
    connection.send({ ...mod, command: METER_COMMAND.add });
    connection.send({ ...mod, command: METER_COMMAND.modify });
  }
  for (const meter of gone)
    connection.send({ kind: 'meterMod', command: METER_COMMAND.delete, flags: 0, meter, bands: [] });
}

function injection({ at, registers, nextHop }: Extract<Effect, { kind: 'inject' }>): Action[] {
  return [
    ...load(registers),
    ...(nextHop === undefined ? [] : [set(NEXT_HOP.field, BigInt(nextHop.value))]),
    { kind: 'resubmit', table: TABLES[at].number },
  ];
}

/** Messages end at 65,535 bytes. */
function fitsMessage(mod: FlowMod): boolean {
  try {
    writeBundleAdd(new ByteWriter(), OF15, 1, 0, 0, (inner) => encodeFlowMod(inner, OF15, mod, 1));
    return true;
  } catch {
    return false;
  }
}

/** By what it is found by: what it does is read, and refused, by switches all the same. */
function deletion({ table, priority, match, cookie }: Flow): FlowMod {
  return { kind: 'flowMod', command: FLOW_COMMAND.deleteStrict, table, priority, match, cookie, actions: [] };
}

function addition(flow: Flow): FlowMod {
  return { ...flow, kind: 'flowMod', command: FLOW_COMMAND.add };
}

function countOf({ add, remove }: FlowChanges): number {
  return add.length + remove.length;
}
