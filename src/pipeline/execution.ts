import { type Action, type Flow, OFPP } from '../openflow/flow.ts';
import { actionSetList } from './action-set.ts';
import { trackPacket } from './ct-action.ts';
import { clearTracking, swapTuple } from './ct-fields.ts';
import { loadBits, moveBits, readRange, setField, widePort } from './field-actions.ts';
import { chooseBuckets } from './group.ts';
import { chooseLink, hashFields, highestWeight } from './hash.ts';
import { placeOf, readBits, readField, writeField } from './layout.ts';
import { learnedFlow } from './learn.ts';
import { type PacketState, readPort } from './packet-state.ts';
import type { PipelineEnvironment } from './pipeline.ts';
import type { Drop, DropReason, Output, PacketIn, Result, RunError, Step } from './result.ts';

/** Open vSwitch's limits (`ofproto-dpif-xlate`): depth of resubmits backwards, and lookups altogether. */
export const MAX_DEPTH = 64;
export const MAX_RESUBMITS = 64 * 64;
const MAX_STACK_BYTES = 65536;
/** The datapath's own limit on packets that come round again. */
export const MAX_RECIRCULATIONS = 6;

const REASON = { noMatch: 0, action: 1, invalidTtl: 2, actionSet: 3, group: 4 } as const;
const WHOLE = 0xffff;
const NO_USERDATA = new Uint8Array(0);

const IN_PORT = placeOf('in_port').word;
const IP_FRAG = placeOf('ip_frag').word;
const IP_TTL = placeOf('ip_ttl').word;
const ETH_TYPE = placeOf('eth_type').word;
const TP_SRC = placeOf('tcp_src').word;
const TP_DST = placeOf('tcp_dst').word;
const VLAN_TCI = placeOf('vlan_tci').word;
const TUN_ID = placeOf('tun_id');
const METADATA = placeOf('metadata');
const CT_STATE = placeOf('ct_state').word;
const SKB_PRIORITY = placeOf('skb_priority').word;

/** What one run collects; shared by all that the packet and its copies go through. */
export class Trail {
  readonly outputs: Output[] = [];
  readonly packetIns: PacketIn[] = [];
  readonly drops: Drop[] = [];
  readonly steps: Step[] = [];
  readonly learned: Flow[] = [];
  error: RunError | undefined;

  result(): Result {
    const { outputs, packetIns, drops, steps, learned, error } = this;
    if (error) return { outputs: [], packetIns: [], drops, steps, learned, error };
    return { outputs, packetIns, drops, steps, learned };
  }
}

/** What is left to do of an action list that a pause interrupted. */
interface Rest {
  readonly actions: readonly Action[];
  readonly table: number;
  readonly flow: Flow | undefined;
  /** The flow whose other instructions come after the list. */
  readonly instructions: Flow | undefined;
}

interface Popped {
  readonly value: bigint;
}

/** One pass of a packet through the tables: what Open vSwitch calls a translation. */
export class Execution {
  readonly env: PipelineEnvironment;
  readonly trail: Trail;
  packet: PacketState;
  /** Passes before this one. */
  readonly recirculations: number;
  #table = 0;
  #flow: Flow | undefined;
  #depth = 0;
  #resubmits = 0;
  /** Lookups that are under way. */
  #nesting = 0;
  #stack: Popped[] = [];
  #actionSet: Action[] = [];
  /** Translation ends: an `exit`, a pause, or an error. */
  #exit = false;
  #pausing: Rest[] | undefined;
  #inActionSet = false;
  /** The fields of connection tracking are there: where they are not, Open vSwitch clears nothing in the datapath either. */
  #isTracked = false;
  /** A meter has dropped the packet: nothing more of this copy comes out. */
  #policed = false;

  constructor(env: PipelineEnvironment, trail: Trail, packet: PacketState, recirculations = 0) {
    this.env = env;
    this.trail = trail;
    this.packet = packet;
    this.recirculations = recirculations;
    this.#isTracked = (packet.key[CT_STATE] ?? 0) !== 0;
  }

  /** Lookup in `table`, all that follows, and the action set. */
  run(table: number): void {
    this.#lookup(readPort(this.packet.key), table, false);
    this.#finish();
  }

  /** The action set comes last, unless an `exit` or a pause came first. */
  #finish(): void {
    if (this.#exit) return;
    const list = actionSetList(this.#actionSet);
    this.#actionSet = [];
    if (list.length === 0) return;
    this.#inActionSet = true;
    this.perform(list);
    this.#inActionSet = false;
  }

  /** A pass of its own for a copy of the packet, at `table`, with the stack and action set of this one. */
  recirculate(packet: PacketState, table: number): void {
    if (this.recirculations + 1 > MAX_RECIRCULATIONS) {
      this.drop('recirculations');
      return;
    }
    const next = new Execution(this.env, this.trail, packet, this.recirculations + 1);
    next.#stack = [...this.#stack];
    next.#actionSet = [...this.#actionSet];
    next.#policed = this.#policed;
    next.run(table);
  }

  #fail(error: RunError): void {
    this.trail.error ??= error;
    this.#exit = true;
  }

  drop(reason: DropReason): void {
    this.trail.drops.push({ reason, table: this.#table, ...(this.#flow ? { flow: this.#flow } : {}) });
  }

  /** Looks up as though the packet had come in at `inPort`, and does what the flow says. */
  #lookup(inPort: number, table: number, goto: boolean, original = false): void {
    if (this.#depth >= MAX_DEPTH) return this.#fail('recursion');
    if (this.#resubmits >= MAX_RESUBMITS) return this.#fail('resubmits');
    if (this.#stack.length * 8 >= MAX_STACK_BYTES) return this.#fail('stack');
    const [oldTable, oldFlow] = [this.#table, this.#flow];
    const deepens = table <= oldTable && this.#nesting > 0 ? 1 : 0;
    const flow = this.#match(inPort, table, original);
    this.trail.steps.push(flow ? { table, flow, depth: this.#nesting } : { table, depth: this.#nesting });
    this.#table = table;
    this.#flow = flow;
    if (this.#nesting > 0) this.#resubmits++;
    this.#nesting++;
    this.#depth += deepens;
    if (flow) this.#follow(flow);
    else this.drop('no-match');
    this.#depth -= deepens;
    this.#nesting--;
    if (!goto) {
      this.#table = oldTable;
      this.#flow = oldFlow;
    }
  }

  #match(inPort: number, table: number, original: boolean): Flow | undefined {
    const { key } = this.packet;
    const flows = this.env.table(table);
    if (!flows) return undefined;
    const [port, src, dst] = [key[IN_PORT]!, key[TP_SRC]!, key[TP_DST]!];
    key[IN_PORT] = inPort;
    if (original) swapTuple(key);
    // In Open vSwitch's default mode ports of the first fragment are not looked at: all fragments meet the same flow.
    const fragment = key[IP_FRAG] !== 0 && this.env.fragments === 'normal';
    if (fragment) key[TP_SRC] = key[TP_DST] = 0;
    const flow = flows.lookup(key);
    if (original) swapTuple(key);
    key[IN_PORT] = port;
    if (fragment) [key[TP_SRC], key[TP_DST]] = [src, dst];
    return flow;
  }

  #follow(flow: Flow): void {
    if (flow.meter !== undefined) this.#meter(flow.meter);
    if (flow.actions.length > 0) {
      if (!this.perform(flow.actions, flow)) return;
    } else if (flow.gotoTable === undefined && !flow.writeActions) this.drop('drop');
    this.#instructions(flow);
  }

  /** What comes after a flow's applied actions. */
  #instructions(flow: Flow): void {
    if (this.#exit) return;
    if (flow.clearActions) this.#actionSet = [];
    if (flow.writeActions) this.#actionSet.push(...flow.writeActions);
    if (flow.writeMetadata) {
      const { value, mask } = flow.writeMetadata;
      const old = readField(this.packet.key, METADATA) as bigint;
      writeField(this.packet.key, METADATA, (old & ~mask) | (value & mask));
    }
    if (flow.gotoTable !== undefined) this.#lookup(readPort(this.packet.key), flow.gotoTable, true);
  }

  /** Does a list of actions; false when the list was broken off and its flow's other instructions do not count. */
  perform(actions: readonly Action[], flow?: Flow): boolean {
    for (let i = 0; i < actions.length; i++) {
      const action = actions[i]!;
      if (action.kind === 'checkPktLarger') {
        this.#checkLength(action, actions.slice(i + 1), flow);
        return false;
      }
      const outcome = this.#act(action);
      if (this.#pausing) {
        const rest = actions.slice(i + 1);
        this.#pausing.push({ actions: rest, table: this.#table, flow: this.#flow, instructions: flow });
        return false;
      }
      if (this.#exit) return false;
      if (outcome === 'stop') return false;
    }
    return true;
  }

  #act(action: Action): 'stop' | undefined {
    const { key } = this.packet;
    switch (action.kind) {
      case 'output':
        this.output(action.port, action.maxLen ?? WHOLE);
        return;
      case 'outputReg':
        this.output(
          widePort(readBits(key, placeOf(action.src.field), action.src.from, Math.min(32, action.src.bits))),
          WHOLE,
        );
        return;
      case 'outputTrunc':
        this.output(action.port, WHOLE, action.maxLen);
        return;
      case 'enqueue':
        this.output(action.port, WHOLE, undefined, action.queue);
        return;
      case 'load':
        loadBits(this.packet, action.dst, action.value);
        return;
      case 'setField':
        setField(this.packet, action.field, action.value, action.mask);
        return;
      case 'move':
        moveBits(this.packet, action.src, action.dst);
        return;
      case 'resubmit': {
        const port = action.port ?? readPort(key);
        this.#lookup(port, action.table ?? this.#table, false, action.ct === true);
        return;
      }
      case 'controller':
        this.#controller(action);
        return;
      case 'clone':
        this.#clone(() => this.perform(action.actions));
        return;
      case 'group':
        return this.#group(action.group);
      case 'ct':
        trackPacket(this, action);
        this.#isTracked = false;
        return;
      case 'ctClear':
        clearTracking(key);
        if (this.#isTracked) this.packet.tracked = undefined;
        this.#isTracked = false;
        return;
      case 'decTtl':
        return this.#decTtl(action.controllers ?? [0]);
      default:
        return this.#actRarely(action);
    }
  }

  #actRarely(action: Action): 'stop' | undefined {
    const { key } = this.packet;
    switch (action.kind) {
      case 'push':
        this.#stack.push({ value: readRange(key, action.range) });
        return;
      case 'pop': {
        const top = this.#stack.pop();
        if (top) loadBits(this.packet, action.range, top.value & ((1n << BigInt(action.range.bits)) - 1n));
        return;
      }
      case 'pushVlan':
        this.packet.pushVlan(action.etherType);
        return;
      case 'popVlan':
      case 'stripVlan':
        this.packet.popVlan();
        return;
      case 'setVlanVid':
        key[VLAN_TCI] = (key[VLAN_TCI]! & 0xe000) | 0x1000 | action.vid;
        this.packet.headerChanged('vlan_vid');
        return;
      case 'setVlanPcp':
        key[VLAN_TCI] = (key[VLAN_TCI]! & 0x1fff) | 0x1000 | (action.pcp << 13);
        this.packet.headerChanged('vlan_pcp');
        return;
      case 'setNwTtl':
        setField(this.packet, 'ip_ttl', action.ttl);
        return;
      case 'setTunnel':
        writeField(key, TUN_ID, action.id);
        return;
      case 'setQueue':
        key[SKB_PRIORITY] = action.queue;
        return;
      case 'popQueue':
        key[SKB_PRIORITY] = 0;
        return;
      case 'meter':
        this.#meter(action.meter);
        return;
      case 'multipath': {
        const hash = hashFields(key, action.fields, action.basis);
        loadBits(this.packet, action.dst, chooseLink(action.algorithm, hash, action.links, action.arg));
        return;
      }
      case 'bundle':
        this.#bundle(action);
        return;
      case 'learn': {
        const flow = learnedFlow(action, key);
        this.trail.learned.push(flow);
        this.env.learn(flow);
        return;
      }
      case 'exit':
        this.#exit = true;
        return;
      case 'conjunction':
      case 'note':
      case 'fin':
      case 'sample':
        return;
      default:
        this.#fail('unsupported');
        return;
    }
  }

  /** Outputs as `OFPP_*` says; never back to the port that it came in at, but for `IN_PORT`. */
  output(port: number, maxLen: number, truncate?: number, queue?: number): void {
    const inPort = readPort(this.packet.key);
    switch (port) {
      case OFPP.controller:
        this.#packetIn(this.#inActionSet ? REASON.actionSet : REASON.action, maxLen, 0);
        return;
      case OFPP.table:
        this.#lookup(inPort, 0, false);
        return;
      case OFPP.any:
        return;
      case OFPP.flood:
      case OFPP.all:
        for (const other of this.env.ports(port === OFPP.flood))
          if (other !== inPort) this.#emit(other, truncate, queue);
        return;
      case OFPP.inPort:
        this.#emit(inPort, truncate, queue);
        return;
      default:
        if (port === inPort) this.drop('to-in-port');
        else this.#emit(port, truncate, queue);
    }
  }

  #emit(port: number, truncate: number | undefined, queue: number | undefined): void {
    if (port !== OFPP.normal && !this.env.hasPort(port)) return this.drop('no-port');
    if (this.#policed) return;
    const { key } = this.packet;
    const bytes = this.packet.share();
    const v6 = readField(key, placeOf('tun_ipv6_dst')) as bigint;
    const queued = queue ?? key[SKB_PRIORITY]!;
    this.trail.outputs.push({
      port,
      bytes: truncate === undefined ? bytes : bytes.subarray(0, truncate),
      tunnel: {
        id: readField(key, TUN_ID) as bigint,
        src: v6 ? readField(key, placeOf('tun_ipv6_src')) : readField(key, placeOf('tun_src')),
        dst: v6 || readField(key, placeOf('tun_dst')),
      },
      ...(queued ? { queue: queued } : {}),
    });
  }

  #packetIn(reason: number, maxLen: number, controller: number, rest: Partial<PacketIn> = {}): void {
    if (this.#policed) return;
    this.trail.packetIns.push({
      reason: reason === REASON.action && isTableMiss(this.#flow) ? REASON.noMatch : reason,
      maxLen,
      controller,
      bytes: this.packet.share(),
      userdata: NO_USERDATA,
      table: this.#table,
      cookie: this.#flow?.cookie ?? 0n,
      state: this.packet.clone(),
      ...rest,
    });
  }

  #controller(action: Extract<Action, { kind: 'controller' }>): void {
    if (action.meter !== undefined && !this.env.meterPasses(action.meter, this.packet.bytes.length)) {
      this.drop('meter');
      return;
    }
    const rest = {
      ...(action.userdata ? { userdata: action.userdata } : {}),
      ...(action.meter !== undefined ? { meter: action.meter } : {}),
    };
    if (!action.pause) {
      this.#packetIn(action.reason, action.maxLen, action.controller, rest);
      return;
    }
    const frames: Rest[] = [];
    const frozen = this.packet.clone();
    const [stack, actionSet] = [[...this.#stack], [...this.#actionSet]];
    const resume = (): Result => {
      const next = new Execution(this.env, new Trail(), frozen.clone(), this.recirculations);
      next.#stack = [...stack];
      next.#actionSet = [...actionSet];
      next.#resume(frames);
      return next.trail.result();
    };
    this.#packetIn(action.reason, action.maxLen, action.controller, { ...rest, resume });
    this.#pausing = frames;
    this.#exit = true;
  }

  #resume(frames: readonly Rest[]): void {
    for (const [i, frame] of frames.entries()) {
      this.#table = frame.table;
      this.#flow = frame.flow;
      this.#nesting = 1;
      if (this.perform(frame.actions, frame.instructions) && frame.instructions) this.#instructions(frame.instructions);
      if (this.#pausing) this.#pausing.push(...frames.slice(i + 1));
      if (this.#exit) break;
    }
    this.#finish();
  }

  /**
   * The rest of the list is done on a copy, since Open vSwitch makes a branch of the datapath of it: whoever resubmitted
   * here goes on with the packet as it was before, and the action set is done at the end of the branch. It translates
   * the branch for larger packets first, which uses the action set up: the other begins with an empty one.
   */
  #checkLength(
    action: Extract<Action, { kind: 'checkPktLarger' }>,
    rest: readonly Action[],
    flow: Flow | undefined,
  ): void {
    this.#clone(() => {
      const larger = this.packet.bytes.length > action.length;
      if (!larger) this.#actionSet = [];
      loadBits(this.packet, action.dst, larger ? 1 : 0);
      if (this.perform(rest, flow) && flow) this.#instructions(flow);
    });
  }

  /** Does something to a copy: fields, stack and action set are as before afterwards. An `exit` ends all the same. */
  #clone(body: () => void): void {
    const { packet } = this;
    const [stack, actionSet, policed, isTracked] = [this.#stack, this.#actionSet, this.#policed, this.#isTracked];
    this.packet = packet.clone();
    this.#stack = [...stack];
    this.#actionSet = [...actionSet];
    body();
    this.#finish();
    this.packet = packet;
    this.#stack = stack;
    this.#actionSet = actionSet;
    this.#policed = policed;
    this.#isTracked = isTracked;
    if (this.#pausing) this.#endCopy();
  }

  /** What ended a copy does not end the packet, but for an error. */
  #endCopy(): void {
    this.#exit = this.trail.error !== undefined;
    this.#pausing = undefined;
  }

  #group(id: number): 'stop' | undefined {
    const group = this.env.group(id);
    if (!group) {
      this.drop('no-group');
      return 'stop';
    }
    const buckets = chooseBuckets(group, this.packet.key, (port) => this.env.isLive(port));
    if (buckets.length === 0) this.drop('no-bucket');
    for (const bucket of buckets) {
      const { packet } = this;
      const [policed, isTracked] = [this.#policed, this.#isTracked];
      this.packet = packet.clone();
      this.#depth++;
      this.perform(actionSetList(bucket.actions));
      this.#depth--;
      this.packet = packet;
      this.#policed = policed;
      this.#isTracked = isTracked;
      this.#endCopy();
      if (this.#exit) return;
    }
    return;
  }

  #bundle(action: Extract<Action, { kind: 'bundle' }>): void {
    const live = (index: number): boolean => this.env.isLive(action.members[index]!);
    const hash = hashFields(this.packet.key, action.fields, action.basis);
    const index =
      action.algorithm === 'hrw'
        ? highestWeight(hash, action.members.length, live)
        : action.members.findIndex((_, i) => live(i));
    const port = index >= 0 ? action.members[index]! : OFPP.any;
    if (action.dst) loadBits(this.packet, action.dst, port & 0xffff);
    else this.output(port, WHOLE);
  }

  /** A TTL of 0 or 1 goes to the controllers and ends this list, nothing else. */
  #decTtl(controllers: readonly number[]): 'stop' | undefined {
    const { key } = this.packet;
    const type = key[ETH_TYPE];
    if (type !== 0x0800 && type !== 0x86dd) return undefined;
    if (key[IP_TTL]! > 1) {
      key[IP_TTL]!--;
      this.packet.headerChanged('ip_ttl');
      return undefined;
    }
    for (const controller of controllers) this.#packetIn(REASON.invalidTtl, WHOLE, controller);
    this.drop('ttl');
    return 'stop';
  }

  #meter(meter: number): void {
    if (this.env.meterPasses(meter, this.packet.bytes.length)) return;
    this.drop('meter');
    this.#policed = true;
  }
}

/** OpenFlow 1.3.5 §5.4: the flow of priority 0 that matches everything. */
function isTableMiss(flow: Flow | undefined): boolean {
  if (flow?.priority !== 0) return false;
  for (const _ in flow.match) return false;
  return true;
}
