import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { CT_MARK, REGISTERS } from '../../src/compile/fields.ts';
import { TABLES, type TableName } from '../../src/compile/tables.ts';
import type { Action, Flow } from '../../src/openflow/flow.ts';
import {
  Conversation,
  type ConversationSketch,
  conversationSketch,
  helpedSketch,
  isMessage,
  uplinkedSketch,
} from './conversation.ts';
import {
  asks,
  changed,
  type FlowFault,
  hasAction,
  inTable,
  type OutcomeFault,
  without,
  withoutAction,
} from './faults.ts';
import { applyFlows, observePipeline, pipelineNetwork } from './in-pipeline.ts';
import { assertNoticed } from './noticed-by.ts';
import { differences, expected } from './observation.ts';
import { conversationRegressions } from './regressions.ts';

/** Is the comparison of conversations any good? As mutations.test.ts, for what layers 3 and 4 add. */
const CONVERSATIONS = 400;
const HELPED = 60;
const UPLINKED = 200;
const SEED = Number(process.env.WEFT_SEED ?? 2);
/** Of the cases of the usual seed, one each that notices it. */
const NOTICED_BY: Readonly<Record<string, number>> = {
  'in the flows: groups refuse nothing': 12,
  'in the flows: what a group refuses is judged by one side only': 22,
  'in the flows: answers are judged as what began': 19,
  'in the flows: senders forget connections': 17,
  'in the flows: receivers forget connections': 38,
  'in the flows: helpers read nothing': 403,
  'in the flows: what is related is judged as what began': 403,
  'in the flows: connections through a VIP are not marked': 29,
  'in the flows: connections are not marked as kept': 17,
  'in the flows: nobody is admitted to a floating address': 93,
  'in the flows: routers that are down work': 18,
  'in the flows: policies are not asked': 12,
  'in the flows: blackholes are none': 12,
  'in the flows: out-chains are not asked': 36,
  'in the flows: routers do not answer pings': 43,
  'in the flows: nobody asks for next hops': 127,
  'in the flows: sources are not translated': 171,
  'in the flows: anchors are not reached': 93,
  'in the flows: everything comes in from outside': 15,
  'in the flows: VIPs are not asked for by ranges of ports': 38,
  'in the flows: a port that is kept becomes another': 47,
  'in the flows: slots go to the wrong member': 43,
  'in the flows: answers of members keep their source': 27,
  'in the flows: nobody is told of a reject': 49,
  'in the flows: rules do not ask TCP flags': 241,
  'in the simulation: no route is called a blackhole': 27,
  'in the flows: the shortest prefix wins': 51,
  'in the flows: ECMP has one way': 37,
  'in the flows: in-chains are not asked': 25,
  'in the flows: outside ports do not ask the size': 19,
  'in the flows: a last hop is none': 18,
  'in the flows: routers route what is for them': 17,
  'in the flows: floating addresses are not translated': 36,
  'in the flows: what may only be known begins connections': 21,
  'in the flows: what may only be known is forgotten in tunnels': 118,
  'in the flows: uplinks let in nothing as known': 12,
  'in the flows: chains are asked aloud': 11,
  'in the flows: clients keep no members': 84,
};

const isCt = (action: Action): action is Extract<Action, { kind: 'ct' }> => action.kind === 'ct';
const commits = (action: Action): boolean => isCt(action) && action.commit === true;
const reads = (action: Action): boolean => isCt(action) && action.alg !== undefined;
const translates = (end: 'src' | 'dst') => (action: Action) => isCt(action) && action.nat?.kind === end;
/** Marks without the bit of those that are kept. */
const unkept = (exec: readonly Action[] = []): Action[] =>
  exec.map((action) =>
    action.kind === 'setField' && action.field === 'ct_mark'
      ? { ...action, value: Number(action.value) & ~CT_MARK.kept, mask: Number(action.mask) & ~CT_MARK.kept }
      : action,
  );
const { field: MARKED, from: MARK_AT } = REGISTERS.fromLarger;
const marksLarger = (action: Action): boolean =>
  action.kind === 'setField' && action.field === MARKED && ((Number(action.mask) >> MARK_AT) & 1) === 1;
const leadsTo =
  (table: TableName) =>
  ({ gotoTable, actions }: Flow): boolean => {
    const { number } = TABLES[table];
    return gotoTable === number || actions.some((action) => action.kind === 'resubmit' && action.table === number);
  };
const sets =
  (field: string) =>
  (action: Action): boolean =>
    action.kind === 'setField' && action.field === field;

const asksRange = ({ match }: Flow): boolean =>
  [match.tcp_dst, match.udp_dst, match.sctp_dst].some((ports) => typeof ports === 'object');
/** Where a translation says nothing of ports. */
const toPort1 = (action: Action): Action =>
  isCt(action) && action.nat?.kind === 'dst' && action.nat.portMin === undefined
    ? { ...action, nat: { ...action.nat, portMin: 1 } }
    : action;

const FLOW_FAULTS: Readonly<Record<string, FlowFault>> = {
  'groups refuse nothing': without((_, reason) => reason === 'group'),
  'what a group refuses is judged by one side only': without(
    (flow, reason) => inTable(flow, 'toChain') && reason === 'group',
  ),
  'answers are judged as what began': without((flow) => inTable(flow, 'fromGroup', 'toGroup') && flow.priority === 100),
  'invalid packets pass': without((flow, reason) => inTable(flow, 'tracked', 'toTracked') && reason === 'invalid'),
  'senders forget connections': changed((flow) => inTable(flow, 'commit'), withoutAction(commits)),
  'receivers forget connections': changed((flow) => inTable(flow, 'toCommit'), withoutAction(commits)),
  'helpers read nothing': changed(
    (flow) => inTable(flow, 'commit', 'toCommit') && hasAction(flow, reads),
    (flow) => ({ ...flow, actions: flow.actions.map((a) => (isCt(a) ? { ...a, alg: 0 } : a)) }),
  ),
  'what is related is judged as what began': without(
    (flow) => inTable(flow, 'fromGroup', 'toGroup') && flow.priority === 150,
  ),
  'connections through a VIP are not marked': changed(
    (flow) => inTable(flow, 'commit', 'toCommit'),
    (flow) => ({ ...flow, actions: flow.actions.map((a) => (isCt(a) ? { ...a, exec: [] } : a)) }),
  ),
  'connections are not marked as kept': changed(
    (flow) => inTable(flow, 'commit'),
    (flow) => ({ ...flow, actions: flow.actions.map((a) => (isCt(a) ? { ...a, exec: unkept(a.exec) } : a)) }),
  ),
  'nobody is admitted to a floating address': changed(
    (flow) => inTable(flow, 'anchored'),
    (flow) => ({ ...flow, actions: flow.actions.map((a) => (isCt(a) ? { ...a, exec: unkept(a.exec) } : a)) }),
  ),
  'routers that are down work': without((_, reason) => reason === 'router-down'),
  'the hop limit stays': changed(
    (flow) => inTable(flow, 'ttl'),
    withoutAction(({ kind }) => kind === 'decTtl'),
  ),
  'a last hop is none': without((_, reason) => reason === 'ttl'),
  'the shortest prefix wins': changed(
    (flow) => inTable(flow, 'route') && flow.priority > 0,
    (flow) => ({ ...flow, priority: 20_000 - flow.priority }),
  ),
  'policies are not asked': without((flow) => inTable(flow, 'policy') && flow.priority > 0),
  'blackholes are none': without((_, reason) => reason === 'blackhole'),
  'ECMP has one way': without((flow) => inTable(flow, 'ecmp')),
  'in-chains are not asked': without((flow) => inTable(flow, 'inChain') && flow.priority > 0),
  'out-chains are not asked': changed(
    (flow) => inTable(flow, 'outChain') && flow.priority === 100,
    withoutAction(({ kind }) => kind === 'resubmit'),
  ),
  'routers do not answer pings': without((flow) => inTable(flow, 'own') && asks(flow, 'icmp_type')),
  'routers route what is for them': without((flow) => inTable(flow, 'own') && flow.priority === 100),
  'the MTU is not asked': changed(
    (flow) => inTable(flow, 'outChain'),
    withoutAction(({ kind }) => kind === 'checkPktLarger'),
  ),
  'wires bring no larger packets': changed((flow) => inTable(flow, 'classify'), withoutAction(marksLarger)),
  'outside ports do not ask the size': changed(
    (flow) => inTable(flow, 'routerIn'),
    withoutAction(({ kind }) => kind === 'checkPktLarger'),
  ),
  'routers keep the source MAC': changed((flow) => inTable(flow, 'leave'), withoutAction(sets('eth_src'))),
  'next hops are not known': without((flow) => inTable(flow, 'resolve') && flow.priority === 300),
  'nobody asks for next hops': changed(
    (flow) => inTable(flow, 'arrive'),
    withoutAction(({ kind }) => kind === 'controller'),
  ),
  'sources are not translated': without((flow) => inTable(flow, 'snat') && hasAction(flow, translates('src'))),
  'floating addresses are not translated': without(
    (flow) => inTable(flow, 'anchor') && hasAction(flow, translates('dst')),
  ),
  'anchors are not reached': without((flow) => inTable(flow, 'anchor') && hasAction(flow, sets('tun_dst'))),
  'everything comes in from outside': without((_, reason) => reason === 'not-translated'),
  'a router port has no key': without((flow) => inTable(flow, 'tunnel') && flow.priority === 300),
  'VIPs are not translated': without((flow) => inTable(flow, 'vip') && flow.priority > 0),
  'VIPs are not asked for by ranges of ports': without((flow) => inTable(flow, 'vip', 'anchor') && asksRange(flow)),
  'a port that is kept becomes another': changed(
    (flow) => inTable(flow, 'member') && hasAction(flow, translates('dst')),
    (flow) => ({ ...flow, actions: flow.actions.map(toPort1) }),
  ),
  'slots go to the wrong member': (flows) => {
    const slots = flows.filter((flow) => inTable(flow, 'slot'));
    return flows.map((flow) => {
      const at = slots.indexOf(flow);
      return at < 0 ? flow : { ...flow, actions: slots[(at + 1) % slots.length]!.actions };
    });
  },
  'clients keep no members': without((flow) => inTable(flow, 'slot') && flow.priority === 400),
  'answers of members keep their source': without((flow) => inTable(flow, 'unVip', 'fromVip') && hasAction(flow, isCt)),
  'nobody is told of a reject': changed(
    (flow) => inTable(flow, 'fromVerdict', 'toVerdict', 'inVerdict', 'outVerdict'),
    withoutAction(({ kind }) => kind === 'controller'),
  ),
  'rules do not ask the state': changed(
    (flow) => inTable(flow, 'chain') && asks(flow, 'reg4'),
    ({ match: { reg4: _, ...match }, ...flow }) => ({ ...flow, match }),
  ),
  'rules do not ask TCP flags': changed(
    (flow) => inTable(flow, 'chain') && asks(flow, 'tcp_flags'),
    ({ match: { tcp_flags: _, ...match }, ...flow }) => ({ ...flow, match }),
  ),
};

/** For conversations by uplinks that ask for known connections. */
const UPLINK_FAULTS: Readonly<Record<string, FlowFault>> = {
  'what may only be known begins connections': without(leadsTo('unknown')),
  'what may only be known is forgotten in tunnels': changed(
    (flow) => inTable(flow, 'tunnelOut'),
    withoutAction(sets('eth_src')),
  ),
  'uplinks let in nothing as known': without((flow) => inTable(flow, 'uplink') && flow.priority === 100),
  'chains are asked aloud': changed((flow) => inTable(flow, 'inChain'), withoutAction(sets(REGISTERS.quiet.field))),
};

const OUTCOME_FAULTS: Readonly<Record<string, OutcomeFault>> = {
  'a hop is forgotten': (outcome) => ({
    ...outcome,
    deliveries: outcome.deliveries.map((d) => ({
      ...d,
      frame: d.frame.ip ? { ...d.frame, ip: { ...d.frame.ip, ttl: d.frame.ip.ttl + 1 } } : d.frame,
    })),
  }),
  'a request to the agent is forgotten': (outcome) => ({ ...outcome, requests: [] }),
  'translation of ports is forgotten': (outcome) => ({
    ...outcome,
    deliveries: outcome.deliveries.map((d) =>
      d.frame.ports ? { ...d, frame: { ...d.frame, ports: { src: 1, dst: d.frame.ports.dst } } } : d,
    ),
  }),
  'no route is called a blackhole': (outcome) => ({
    ...outcome,
    drops: outcome.drops.map((drop) => (drop.reason === 'no-route' ? { ...drop, reason: 'blackhole' } : drop)),
  }),
};

/** Runs a conversation; is there a step after which the two differ? `isChanged` tells whether the fault had anything to spoil. */
function isNoticed(
  sketch: ConversationSketch,
  { flows: fault, outcome: bend = (o) => o }: { flows?: FlowFault; outcome?: OutcomeFault },
): boolean {
  const conversation = new Conversation(sketch);
  const { scenario } = conversation;
  let isChanged = fault === undefined;
  const spoil: FlowFault = (flows, host) => {
    const spoiled = fault ? fault(flows, host) : flows;
    isChanged ||= spoiled.length !== flows.length || spoiled.some((flow, i) => flow !== flows[i]);
    return spoiled;
  };
  const network = pipelineNetwork(scenario, spoil);
  for (const step of sketch.steps) {
    const done = conversation.do(step);
    if (!done) continue;
    if (!isMessage(done)) {
      applyFlows(network, scenario, spoil);
      continue;
    }
    if (!isChanged) continue;
    const outcome = bend(done.outcome);
    try {
      const seen = observePipeline(network, scenario, done.entry);
      if (differences(expected(scenario, done.entry, outcome), seen, outcome).length > 0) return true;
    } catch {
      return true; // lost in the underlay, or no frame any more
    }
  }
  return false;
}

/** Noticed, and it is the fault's doing. */
function isBlamed(sketch: ConversationSketch, fault: Parameters<typeof isNoticed>[1]): boolean {
  return isNoticed(sketch, fault) && !isNoticed(sketch, {});
}

describe('a fault in a conversation is noticed', () => {
  let sketches: readonly ConversationSketch[];
  let uplinked: readonly ConversationSketch[];
  before(() => {
    const random = fc.sample(conversationSketch({ least: 5, most: 12 }), { numRuns: CONVERSATIONS, seed: SEED });
    const helped = fc.sample(helpedSketch({ least: 3, most: 10 }), { numRuns: HELPED, seed: SEED });
    uplinked = fc.sample(uplinkedSketch({ least: 5, most: 12 }), { numRuns: UPLINKED, seed: SEED });
    sketches = [...random, ...helped, ...conversationRegressions.map(([, sketch]) => sketch)];
  });

  for (const [name, fault] of Object.entries(FLOW_FAULTS))
    test(`in the flows: ${name}`, (t) =>
      assertNoticed(t, sketches, NOTICED_BY[t.name], (sketch) => isBlamed(sketch, { flows: fault })));

  for (const [name, fault] of Object.entries(UPLINK_FAULTS))
    test(`in the flows: ${name}`, (t) =>
      assertNoticed(t, uplinked, NOTICED_BY[t.name], (sketch) => isBlamed(sketch, { flows: fault })));

  for (const [name, fault] of Object.entries(OUTCOME_FAULTS))
    test(`in the simulation: ${name}`, (t) =>
      assertNoticed(t, sketches, NOTICED_BY[t.name], (sketch) => isBlamed(sketch, { outcome: fault })));
});
