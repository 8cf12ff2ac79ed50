import type { Flow, Match } from '../openflow/flow.ts';
import { Conntrack } from './conntrack.ts';
import { Execution, Trail } from './execution.ts';
import { FlowTable } from './flow-table.ts';
import type { Group } from './group.ts';
import { type PacketInput, PacketState } from './packet-state.ts';
import type { Result } from './result.ts';

/*
 * src/pipeline: OpenFlow flows executed in software, as Open vSwitch executes them: for tests, for tracing, for
 * verification, and for a lab without root.
 *
 *   packet -> PacketState (bytes and key) -> Execution: FlowTable.lookup -> actions -> Result
 *                                              resubmit, goto, ct, clone ... ^---------'
 *
 * This folder owns lookup, actions, header rewriting, connection tracking and tunnels between several switches. It does
 * not own the vocabulary (src/openflow/flow.ts) or what Open vSwitch reads of a frame (src/packet/flow-key.ts).
 * `*.fixture.ts` is what the tests need: a real Open vSwitch to compare with, and random tables.
 *
 * Differences from Open vSwitch that are meant: `multipath`, `bundle`, select groups and NAT port ranges choose by
 * another hash; `NORMAL` is an output like any other; MPLS, PBB, NSH and `encap` end a run with `unsupported`.
 */

/** What identifies a flow for deletion. */
export interface FlowId {
  readonly table: number;
  readonly priority: number;
  readonly match: Match;
}

export interface PipelineOptions {
  readonly flows?: Iterable<Flow>;
  readonly groups?: Iterable<Group>;
  /** Whether a packet of so many bytes passes a meter; all pass when absent. */
  readonly meterPasses?: (meter: number, bytes: number) => boolean;
  /** The bridge's ports: what FLOOD reaches. When absent every port exists and FLOOD reaches none. */
  readonly ports?: Iterable<number>;
  /** Whether a port is up, for fast failover and bundles; all are when absent. */
  readonly isLive?: (port: number) => boolean;
  /** What flows see of a first fragment: no ports (Open vSwitch's default), or its ports (`nx-match`). */
  readonly fragments?: 'normal' | 'nxMatch';
  /** Connections; by default a tracker of this pipeline's own. */
  readonly conntrack?: Conntrack;
}

/** What execution asks of the switch that it runs in. */
export interface PipelineEnvironment {
  readonly conntrack: Conntrack;
  readonly fragments: 'normal' | 'nxMatch';
  /** States that successive `ct(table=…)` actions give, instead of tracking. */
  readonly ctStates: number[] | undefined;
  table(id: number): FlowTable | undefined;
  group(id: number): Group | undefined;
  ports(flood: boolean): Iterable<number>;
  hasPort(port: number): boolean;
  isLive(port: number): boolean;
  meterPasses(meter: number, bytes: number): boolean;
  learn(flow: Flow): void;
}

export interface RunInput extends PacketInput {
  /** Where to begin; 0 by default. */
  readonly table?: number;
  /** `ct_state` values that successive `ct(…,table=…)` actions give, in place of connection tracking. */
  readonly ctStates?: readonly number[];
}

/**
 * A switch in software: executes flows on packets as Open vSwitch does (`ovs-actions(7)`, `ovs-fields(7)`).
 *
 * Throws `WeftError('invalid')` for flows that test fields which are not modelled (`tun_metadata8` and up).
 */
export class Pipeline {
  readonly #tables: (FlowTable | undefined)[] = [];
  readonly #groups = new Map<number, Group>();
  readonly #ports: Set<number> | undefined;
  readonly #options: PipelineOptions;
  readonly conntrack: Conntrack;
  readonly #environment: PipelineEnvironment;

  constructor(options: PipelineOptions = {}) {
    this.#options = options;
    this.#ports = options.ports ? new Set(options.ports) : undefined;
    this.conntrack = options.conntrack ?? new Conntrack();
    this.#environment = this.#makeEnvironment();
    for (const flow of options.flows ?? []) this.#add(flow);
    for (const group of options.groups ?? []) this.#groups.set(group.group, group);
  }

  #add(flow: Flow): void {
    this.#tables[flow.table] ??= new FlowTable();
    this.#tables[flow.table]!.add(flow);
  }

  /** Takes flows away (by table, priority and match), then adds flows; an added one replaces its equal. */
  apply(adds: Iterable<Flow>, deletes: Iterable<FlowId> = []): void {
    for (const { table, match, priority } of deletes) this.#tables[table]?.delete(match, priority);
    for (const flow of adds) this.#add(flow);
  }

  setGroup(group: Group): void {
    this.#groups.set(group.group, group);
  }

  deleteGroup(id: number): void {
    this.#groups.delete(id);
  }

  /** Every flow, in no particular order. */
  *flows(): Iterable<Flow> {
    for (const table of this.#tables) if (table) yield* table.flows();
  }

  /** Runs one packet. Its bytes are not written to; outputs may share them. */
  run(input: RunInput): Result {
    const trail = new Trail();
    const env = input.ctStates ? { ...this.#environment, ctStates: [...input.ctStates] } : this.#environment;
    new Execution(env, trail, PacketState.from(input)).run(input.table ?? 0);
    return trail.result();
  }

  #makeEnvironment(): PipelineEnvironment {
    const options = this.#options;
    return {
      conntrack: this.conntrack,
      fragments: options.fragments ?? 'normal',
      ctStates: undefined,
      table: (id) => this.#tables[id],
      group: (id) => this.#groups.get(id),
      ports: () => this.#ports ?? [],
      hasPort: (port) => this.#ports?.has(port) ?? true,
      isLive: (port) => options.isLive?.(port) ?? this.#ports?.has(port) ?? true,
      meterPasses: (meter, bytes) => options.meterPasses?.(meter, bytes) ?? true,
      learn: (flow) => this.#add(flow),
    };
  }
}

export function createPipeline(options: PipelineOptions = {}): Pipeline {
  return new Pipeline(options);
}
