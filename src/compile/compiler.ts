/**
 * The model turned into OpenFlow entries for one host: what frames do is in docs/design/layer2.md, tables are in tables.ts,
 * register bits in fields.ts, units in units/. Not here: how flows get into a switch (`agent`), what a model may say (`model`).
 *
 *   workload ─▶ 0 classify ─┬───────────▶ 4 guard ─▶ 5 service ─▶ 6 linkLayer ─▶ 7 ndTarget ─┐
 *                  │        ├▶ 1 vlan ─▶ 3 source ─▲    (port security)                       │
 *                  │        └─────────────────────────────────────▶ 8 learn (without) ────────┤
 *                  │                                                                          ▼
 *                  │                        ┌──(tracked: units/track.ts)── 10 track ◀── 9 vip ◀┘
 *                  │                        ▼                             │
 *                  │            11 tracked, 12 fromGroup ─────────────▶ 14 fromPort ─▶ 17 fromVerdict ─▶ 18 commit, 19 unVip
 *                  │                 └▶ 13 group ◀─┐    25 set ◀─ 16 chain ⇄ 15 chainStart ◀┘                     │
 *                  │                               │                                  ▲                           │
 *                  │           ┌── 20 answer ◀─────┼──────────────────────────────────┼───────────────────────────┘
 *                  │           │      └─▶ 21 respond ─▶ 22 advertise ─▶ back to the workload
 *                  │           ▼                   │                                  │
 *                  │        23 tag ─▶ 24 lookup ─┬─▶ 26 flood ─▶ 27 floodLocal ─┐     │      30 to 50 routers: units/router-base.ts
 *                  ▼                     ▲       ├─▶ 29 tunnelOut ─▶ others     │     │
 *   tunnel ───▶ 2 tunnel ────────────────┴───────┴─────────────────────▶ 60 toPort ─▶ 61 toTracked, 62 toGroup, 63 toChain
 *                                                                           └────▶ 64 toVerdict ─▶ 65 toCommit, 66 fromVip ─▶ 68 deliver
 */
import type { Unit } from '../incremental/definitions.ts';
import { type Change, type DotFilter, Engine } from '../incremental/engine.ts';
import type { Diff } from '../incremental/slots.ts';
import type { Flow } from '../openflow/flow.ts';
import { Cookies, type Explanation } from './explain.ts';
import { type CompiledFlow, flowSink, nameOf } from './flow-sink.ts';
import type { InputKind, InputOfKind, InputRecord } from './inputs.ts';
import {
  type DestinationChanges,
  LearnedDestinations,
  type ReachChange,
  type RecordChange,
} from './learned-destinations.ts';
import { LearnedFlows, setFlowsSink, setFlowsUnit } from './learned-flows.ts';
import { reachSink, reachUnit } from './learned-routes.ts';
import { localPortSink, localPortsUnit } from './local-ports.ts';
import { localProfileSink, localProfilesUnit } from './local-profiles.ts';
import { LOCAL_SWITCH_KINDS, LOCAL_SWITCH_UNITS, localSwitchSink } from './local-switches.ts';
import { type Meter, meterSink } from './meters.ts';
import { problemSink } from './problem-sink.ts';
import { admissionUnit } from './units/admission.ts';
import { floatingInUnit, leasedAddressesUnit, leaseInUnit, movedPortUnit, natMoveUnit } from './units/anchor.ts';
import { agentAnswersUnit, ownProbesUnit } from './units/answer.ts';
import { keptClientsUnit, memberUnit, slotsUnit } from './units/balancer.ts';
import { baseUnit } from './units/base.ts';
import { chainUnit, quietRuleUnit, ruleUnit } from './units/chain.ts';
import { classifyUnit } from './units/classify.ts';
import { dnsUnit } from './units/dns.ts';
import { entryUnit, markUnit } from './units/entry.ts';
import { floodLocalUnit, floodRemoteUnit } from './units/flood.ts';
import { groupMemberUnit, groupRulesUnit, setMemberUnit } from './units/group.ts';
import { guardUnit } from './units/guard.ts';
import { handOffUnit } from './units/hand-off.ts';
import { heldBackUnit, heldTalkUnit } from './units/held-back.ts';
import { holdUnit } from './units/hold.ts';
import { importingUnit } from './units/importing.ts';
import { l2GatewayUnit } from './units/l2-gateway.ts';
import { learnedSourceUnit, learnPortUnit } from './units/learn.ts';
import { hopSetUnit, learnedRouteUnit } from './units/learned-route.ts';
import { leaveUnit, outChainUnit } from './units/leave.ts';
import { hairpinUnit, holdersUnit, learnedUnit, unknownUnit } from './units/lookup.ts';
import { mirrorUnit } from './units/mirror.ts';
import { neighbourAnswersUnit, neighbourMovesUnit } from './units/neighbour.ts';
import { nextHopProbeUnit } from './units/next-hop-probe.ts';
import {
  balancerPrefilterUnit,
  floatingPrefilterUnit,
  inboundLimitUnit,
  routerPrefilterUnit,
  switchPrefilterUnit,
} from './units/prefilter.ts';
import { probeUnit } from './units/probe.ts';
import { floatingAddressesUnit, snatAddressesUnit, vipAddressesUnit } from './units/public-addresses.ts';
import { floatingSourcesUnit, routerPortSourcesUnit, snatSourcesUnit, vipSourcesUnit } from './units/public-sources.ts';
import { neighboursUnit, portAddressesUnit, routerAddressesUnit } from './units/resolve.ts';
import { policiesUnit, routesUnit } from './units/route.ts';
import { ownUnit, routerInUnit, routerMacUnit, tunnelToRouterUnit } from './units/router-in.ts';
import { answersToSnatUnit, floatingOutUnit, snatRepliesUnit, snatUnit, vipRepliesUnit } from './units/snat.ts';
import { sourceCheckUnit } from './units/source-check.ts';
import { speakerUnit } from './units/speaker.ts';
import { fromChainUnit, toPortUnit } from './units/to-port.ts';
import { trackUnit } from './units/track.ts';
import { translationUnit } from './units/translation.ts';
import { tunnelSourcesUnit, tunnelToPortUnit, tunnelToSwitchUnit } from './units/tunnel.ts';
import { knownOnlyUnit, uplinkUnit } from './units/uplink.ts';
import { vipUnit } from './units/vip.ts';
import { vipInUnit } from './units/vip-in.ts';
import { vlanUnit } from './units/vlan.ts';
import { wideAddressesUnit, wideUnit } from './units/wide.ts';

const UNITS: readonly Unit<InputOfKind>[] = [
  baseUnit,
  trackUnit,
  groupRulesUnit,
  groupMemberUnit,
  setMemberUnit,
  classifyUnit,
  speakerUnit,
  l2GatewayUnit,
  vlanUnit,
  wideUnit,
  wideAddressesUnit,
  guardUnit,
  learnPortUnit,
  learnedSourceUnit,
  markUnit,
  entryUnit,
  importingUnit,
  mirrorUnit,
  fromChainUnit,
  chainUnit,
  ruleUnit,
  quietRuleUnit,
  uplinkUnit,
  knownOnlyUnit,
  ownProbesUnit,
  agentAnswersUnit,
  dnsUnit,
  holdersUnit,
  learnedUnit,
  unknownUnit,
  hairpinUnit,
  floodRemoteUnit,
  floodLocalUnit,
  tunnelSourcesUnit,
  tunnelToPortUnit,
  tunnelToSwitchUnit,
  toPortUnit,
  routerMacUnit,
  tunnelToRouterUnit,
  routerInUnit,
  sourceCheckUnit,
  heldBackUnit,
  heldTalkUnit,
  switchPrefilterUnit,
  routerPrefilterUnit,
  floatingPrefilterUnit,
  balancerPrefilterUnit,
  inboundLimitUnit,
  ownUnit,
  policiesUnit,
  routesUnit,
  learnedRouteUnit,
  hopSetUnit,
  setFlowsUnit,
  outChainUnit,
  leaveUnit,
  portAddressesUnit,
  routerAddressesUnit,
  neighboursUnit,
  neighbourAnswersUnit,
  neighbourMovesUnit,
  probeUnit,
  nextHopProbeUnit,
  translationUnit,
  vipUnit,
  slotsUnit,
  keptClientsUnit,
  memberUnit,
  floatingInUnit,
  leaseInUnit,
  leasedAddressesUnit,
  natMoveUnit,
  movedPortUnit,
  vipInUnit,
  handOffUnit,
  admissionUnit,
  holdUnit,
  floatingOutUnit,
  snatUnit,
  snatRepliesUnit,
  vipRepliesUnit,
  answersToSnatUnit,
  floatingAddressesUnit,
  snatAddressesUnit,
  vipAddressesUnit,
  routerPortSourcesUnit,
  snatSourcesUnit,
  floatingSourcesUnit,
  vipSourcesUnit,
];

/** A record put or deleted; a delete needs its kind and id only, in either form. */
export type CompilerChange =
  | { readonly op: 'put'; readonly record: InputRecord }
  | { readonly op: 'delete'; readonly kind: InputKind; readonly id: string }
  | { readonly op: 'put' | 'delete'; readonly record: InputRecord | { readonly kind: InputKind; readonly id: string } };

/** What could not be compiled as it was meant. `unit` is the unit's name, or that of what is in conflict. */
export interface CompileProblem {
  readonly unit: string;
  readonly message: string;
  readonly objects: readonly ObjectName[];
}
export interface ObjectName {
  readonly kind: string;
  readonly id: string;
}

export interface CompileResult {
  /** New or changed: put into the switch, each replaces the one with the same table, priority and match. */
  readonly add: readonly Flow[];
  /** Gone: to be deleted strictly. */
  readonly remove: readonly Flow[];
  /** What those of `add` were before that were otherwise; undefined where it is not known (learned routes). */
  readonly replaced: readonly Flow[] | undefined;
  /** New or changed: before the flows of `add`, some of which name them. */
  readonly meters: readonly Meter[];
  /** No flow names them any more once those of `remove` are gone. */
  readonly goneMeters: readonly number[];
  /** All problems that there are now. */
  readonly problems: readonly CompileProblem[];
}

export interface Compiler {
  /** All changes at once; of several for one record the last holds. */
  update(changes: Iterable<CompilerChange>): CompileResult;
  /** All flows, by table, then as they are named; those of learned routes last. */
  flows(): Iterable<Flow>;
  /** All flows with the units behind them. */
  compiled(): Iterable<CompiledFlow>;
  /** All meters that flows name, but for those of packet-ins, by their ids. */
  meters(): ReadonlyMap<number, Meter>;
  readonly flowCount: number;
  /** Where a flow with this cookie comes from; empty lists for a cookie that is none of ours. */
  explain(cookie: bigint): Explanation;
  /** The dependency graph in Graphviz' language. */
  toDot(filter?: DotFilter): string;
}

export function createCompiler(): Compiler {
  const engine = new Engine<InputOfKind>(UNITS);
  // Its outputs are inputs of the other.
  const localSwitches = new Engine<InputOfKind>(HERE_UNITS);
  const destinations = new LearnedDestinations();
  const learnedFlows = new LearnedFlows(destinations);
  const cookies = new Cookies();
  const meters = new Map<number, Meter>();
  let flowCount = 0;
  let hasProblems = false;

  const problems = (): CompileProblem[] => {
    const found: CompileProblem[] = engine
      .problems()
      .map(({ name, message, units }) => ({ unit: name, message, objects: cookies.objectsOf(units) }));
    for (const [about, messages] of engine.outputs(problemSink)) {
      const objects = cookies.objectsOf(engine.ownersOf(problemSink, about));
      for (const message of messages) found.push({ unit: about, message, objects });
    }
    return found;
  };

  return {
    update(changes) {
      const { learned, all } = withoutLearned(staged(changes));
      const here = localSwitches.update(all.filter(({ kind }) => LOCAL_SWITCH_KINDS.has(kind)));
      const routes = destinations.take(learned, reachChanges(here));
      const diff = engine.update([...all, ...hereChanges(here), ...learnedChanges(routes)]);
      const { added, changed, removed } = diff.of(flowSink);
      const sets = diff.of(setFlowsSink);
      const plain = learnedFlows.update(routes, sets);
      for (const { before } of removed) cookies.delete(before);
      for (const { before } of changed) cookies.delete(before);
      const add: CompiledFlow[] = [];
      for (const { after } of added) add.push(after);
      for (const { after } of changed) add.push(after);
      for (const after of add) cookies.add(after);
      // All flows of a router's sets have one cookie.
      for (const { after } of [...sets.added, ...sets.changed]) cookies.add(after);
      for (const { before } of [...sets.removed, ...sets.changed]) cookies.delete(before);
      for (const flow of plain.add) add.push(flow);
      let remove: CompiledFlow[] = removed.map(({ before }) => before);
      for (const flow of plain.remove) remove.push(flow);
      // A network that other routes are for now, or are no more: its flow is another's.
      if (routes.beside.length > 0) {
        const names = new Set(add.map(nameOf));
        remove = remove.filter((flow) => !names.has(nameOf(flow)));
      }
      flowCount += added.length - removed.length;
      const limits = diff.of(meterSink);
      const put = [...limits.added, ...limits.changed].map(({ after }) => after);
      for (const meter of put) meters.set(meter.meter, meter);
      const goneMeters = limits.removed.map(({ before }) => before.meter);
      for (const meter of goneMeters) meters.delete(meter);
      const reported = diff.of(problemSink);
      const news =
        diff.problems.length +
        diff.solved.length +
        reported.added.length +
        reported.changed.length +
        reported.removed.length;
      const now = hasProblems || news > 0 ? problems() : [];
      hasProblems = now.length > 0;
      const replaced = plain.add.length + routes.beside.length > 0 ? undefined : changed.map(({ before }) => before);
      return { add, remove, replaced, meters: put, goneMeters, problems: now };
    },
    *flows() {
      yield* this.compiled();
    },
    *compiled() {
      for (const [, compiled] of engine.outputs(flowSink)) yield compiled;
      yield* learnedFlows.flows();
    },
    meters: () => meters,
    get flowCount() {
      return flowCount + learnedFlows.count;
    },
    explain: (cookie) => cookies.explain(cookie),
    toDot: (filter) => engine.toDot(filter),
  };
}

/** What follows from the ports that are here taken together, as records. */
const HERE = {
  localSwitch: localSwitchSink,
  localProfile: localProfileSink,
  localPort: localPortSink,
} as const;
const HERE_UNITS = [...LOCAL_SWITCH_UNITS, localProfilesUnit, localPortsUnit, reachUnit] as const;

function* hereChanges(diff: Diff): Iterable<Change<InputOfKind>> {
  for (const kind of Object.keys(HERE) as (keyof typeof HERE)[]) {
    const { added, changed, removed } = diff.of<never, InputOfKind[typeof kind]>(HERE[kind] as never);
    for (const { slot, after } of [...added, ...changed])
      yield { op: 'put', kind, id: slot, value: after } as Change<InputOfKind>;
    for (const { slot } of removed) yield { op: 'delete', kind, id: slot };
  }
}

function reachChanges(here: Diff): ReachChange[] {
  const { added, changed, removed } = here.of(reachSink);
  return [
    ...[...added, ...changed].map(({ slot, after }) => ({ router: slot, networks: after })),
    ...removed.map(({ slot }) => ({ router: slot, networks: [] })),
  ];
}

function* learnedChanges({ beside, appeared, vanished }: DestinationChanges): Iterable<Change<InputOfKind>> {
  for (const { router, to, set: hops } of beside) {
    const [kind, id] = ['learnedDestination', `${router}/${to}`] as const;
    if (hops === undefined) yield { op: 'delete', kind, id };
    else yield { op: 'put', kind, id, value: { kind, id, router, to, hops } };
  }
  for (const id of appeared) yield { op: 'put', kind: 'plainSet', id, value: { kind: 'plainSet', id } };
  for (const id of vanished) yield { op: 'delete', kind: 'plainSet', id };
}

/** Learned routes are known to the engine by what they come to only; that depends on the other routes of their routers. */
function withoutLearned(changes: Iterable<Change<InputOfKind>>): {
  readonly all: Change<InputOfKind>[];
  readonly learned: RecordChange[];
} {
  const all: Change<InputOfKind>[] = [];
  const learned: RecordChange[] = [];
  for (const change of changes) {
    const { kind, id } = change;
    if (kind !== 'learnedRoutes') all.push(change);
    if (kind === 'learnedRoutes' || kind === 'learnedSet' || kind === 'router' || kind === 'routerPort')
      learned.push({ kind, id, record: change.op === 'put' ? change.value : undefined } as RecordChange);
  }
  return { all, learned };
}

function* staged(changes: Iterable<CompilerChange>): Iterable<Change<InputOfKind>> {
  for (const change of changes) {
    const { kind, id } = 'record' in change ? change.record : change;
    const isThere = change.op === 'put' && !isSwitchedOff(change.record as InputRecord);
    yield (isThere ? { op: 'put', kind, id, value: change.record } : { op: 'delete', kind, id }) as Change<InputOfKind>;
  }
}

/** What is administratively down and is then as though it were not there. */
function isSwitchedOff(record: InputRecord): boolean {
  return (record.kind === 'floatingAddress' || record.kind === 'mirror') && record.adminUp === false;
}
