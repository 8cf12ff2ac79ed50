import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { TABLES, type TableName } from '../../src/compile/tables.ts';
import type { Flow } from '../../src/openflow/flow.ts';
import { simulateFrame } from '../../src/simulate/simulate.ts';
import {
  asks,
  changed,
  type FlowFault,
  forget,
  inTable,
  mapActions,
  type OutcomeFault,
  without,
  withoutAction,
} from './faults.ts';
import { observePipeline, pipelineNetwork } from './in-pipeline.ts';
import { assertNoticed } from './noticed-by.ts';
import { differences, expected } from './observation.ts';
import { regressions } from './regressions.ts';
import { buildScenario, type Scenario, scenarioSketch } from './scenario.ts';

/**
 * Is the comparison any good? Deliberate faults, in the compiled flows or in what `simulate` says: each has to be noticed within the
 * models of the quick run.
 */
const MODELS = 250;
const SEED = Number(process.env.WEFT_SEED ?? 1);
/** Of the cases of the usual seed, one each that notices it. */
const NOTICED_BY: Readonly<Record<string, number>> = {
  'in the flows: the target of an advertisement is not asked': 32,
  'in the flows: an owned address goes with any MAC': 13,
  'in the flows: a switch that is down works': 51,
  'in the flows: nobody hears of announcements': 67,
  'in the flows: policies accept': 11,
  'in the flows: two rules change places': 20,
  'in the flows: ports of rules are one too high': 41,
  'in the flows: ports of rules fit later fragments': 65,
  'in the flows: a return is no return': 63,
  'in the flows: ARP is not answered': 126,
  'in the flows: answers in any VLAN': 17,
  'in the flows: an answer keeps the target of the question': 16,
  'in the flows: advertisements have no flags': 21,
  'in the flows: ports probe and get an answer': 72,
  'in the flows: the agent is not asked for DHCP': 27,
  'in the flows: names are not asked of the agent': 19,
  'in the flows: solicitations of routers are flooded': 23,
  'in the flows: floods come back into the tunnel': 79,
  'in the flows: learned MACs win over held ones': 52,
  'in the flows: learned MACs are not known': 11,
  'in the flows: tunnels carry the wrong key': 13,
  'in the flows: the tunnel key of a port is not known': 13,
  'in the flows: a moving port gets one copy': 55,
  'in the simulation: an announcement is forgotten': 67,
  'in the simulation: the agent is asked for another thing': 27,
};

/** The priorities of two kinds of flows change places. */
function swapped(table: TableName, one: number, other: number): FlowFault {
  return changed(
    (flow) => inTable(flow, table) && (flow.priority === one || flow.priority === other),
    (flow) => ({ ...flow, priority: flow.priority === one ? other : one }),
  );
}

function shiftPort(flow: Flow, by: number): Flow {
  const match = Object.fromEntries(
    Object.entries(flow.match).map(([field, value]) =>
      /^(tcp|udp|sctp)_(src|dst)$/.test(field) && typeof value === 'number'
        ? [field, (value + by) & 0xffff]
        : [field, value],
    ),
  );
  return { ...flow, match };
}

const FLOW_FAULTS: Readonly<Record<string, FlowFault>> = {
  'spoofed IP sources pass': without((flow, reason) => inTable(flow, 'guard') && reason === 'spoofed-ip'),
  'spoofed ARP passes': without((flow, reason) => inTable(flow, 'guard') && reason === 'spoofed-arp'),
  'probes pass': without((flow, reason) => inTable(flow, 'guard') && reason === 'probe'),
  'workloads may answer DHCP': without((_, reason) => reason === 'dhcp-server'),
  'workloads may send router advertisements': without((_, reason) => reason === 'router'),
  'the link-layer address of ND is not asked': without((flow) => inTable(flow, 'service') && asks(flow, 'icmpv6_type')),
  'the target of an advertisement is not asked': changed(
    (flow) => inTable(flow, 'ndTarget') && flow.gotoTable === undefined,
    (flow) => ({ ...flow, gotoTable: TABLES.fromPort.number }),
  ),
  'the ARP sender MAC is not asked': changed(
    (flow) => inTable(flow, 'guard') && asks(flow, 'arp_sha'),
    forget('arp_sha'),
  ),
  'an owned address goes with any MAC': changed(
    (flow) => inTable(flow, 'guard') && asks(flow, 'ip_src'),
    forget('eth_src'),
  ),
  'foreign MACs pass': changed((flow) => inTable(flow, 'classify') && asks(flow, 'eth_src'), forget('eth_src')),
  'tagged frames pass': without((_, reason) => reason === 'tagged'),
  'a port that is down sends': without((flow, reason) => inTable(flow, 'classify') && reason === 'port-down'),
  'a port that is down receives': without((flow, reason) => inTable(flow, 'toPort') && reason === 'port-down'),
  'a switch that is down works': without((_, reason) => reason === 'switch-down'),
  'a port left behind sends': without((_, reason) => reason === 'not-active'),
  'nobody hears of announcements': changed(
    (flow) => inTable(flow, 'classify'),
    withoutAction((action) => action.kind === 'controller'),
  ),
  'nothing is learned': without(
    (flow) => inTable(flow, 'learn') && flow.actions.some(({ kind }) => kind === 'controller'),
  ),
  'held MACs are learned': without((flow) => inTable(flow, 'learn') && flow.priority >= 200 && flow.priority < 300),
  'from-chains are not asked': without((flow) => inTable(flow, 'fromPort') && flow.priority > 0),
  'to-chains are not asked': without((flow) => inTable(flow, 'toPort') && flow.gotoTable === TABLES.toVerdict.number),
  'policies accept': without((_, reason) => reason === 'policy'),
  'two rules change places': (flows) => {
    const rules = flows.filter((flow) => inTable(flow, 'chain')).map(({ priority }) => priority);
    return flows.map((flow) =>
      inTable(flow, 'chain') ? { ...flow, priority: Math.min(...rules) + Math.max(...rules) - flow.priority } : flow,
    );
  },
  'ports of rules are one too high': changed(
    (flow) => inTable(flow, 'chain'),
    (flow) => shiftPort(flow, 1),
  ),
  'ports of rules fit later fragments': changed((flow) => inTable(flow, 'chain'), forget('ip_frag')),
  'rules do not ask the VLAN': changed((flow) => inTable(flow, 'chain') && asks(flow, 'reg4'), forget('reg4')),
  'a return is no return': changed(
    (flow) => inTable(flow, 'chain'),
    (flow) => ({
      ...flow,
      actions: flow.actions.filter((a) => !(a.kind === 'setField' && a.field === 'reg6' && a.value === 1 << 18)),
    }),
  ),
  'a chain ends behind its first jump or log': changed(
    (flow) => inTable(flow, 'chainStart'),
    (flow) => ({
      ...flow,
      actions: flow.actions.slice(0, 1 + flow.actions.findIndex(({ kind }) => kind === 'resubmit')),
    }),
  ),
  'ARP is not answered': without((flow) => inTable(flow, 'answer') && asks(flow, 'arp_tpa')),
  'answers in any VLAN': changed((flow) => inTable(flow, 'answer') && asks(flow, 'reg4'), forget('reg4')),
  'an answer keeps the target of the question': changed(
    (flow) => inTable(flow, 'respond') && asks(flow, 'eth_type'),
    (flow) => ({ ...flow, actions: flow.actions.filter((a) => !(a.kind === 'move' && a.dst.field === 'arp_tpa')) }),
  ),
  'advertisements have no flags': changed(
    (flow) => inTable(flow, 'advertise'),
    withoutAction((action) => action.kind === 'setField' && action.field === 'nd_reserved'),
  ),
  'ports probe and get an answer': without((flow) => inTable(flow, 'answer') && flow.priority === 400),
  'the agent is not asked for DHCP': without((flow) => inTable(flow, 'answer') && asks(flow, 'udp_src')),
  'names are not asked of the agent': without((flow) => inTable(flow, 'answer') && flow.match.udp_dst === 53),
  'solicitations of routers are flooded': without((flow) => inTable(flow, 'answer') && flow.match.icmpv6_type === 133),
  'frames of a VLAN have no tag': changed(
    (flow) => inTable(flow, 'tag'),
    withoutAction(({ kind }) => kind === 'pushVlan'),
  ),
  'tags are not taken off': without((flow) => inTable(flow, 'deliver') && flow.priority > 0),
  'a flood loses its last copy': changed(
    (flow) => inTable(flow, 'floodLocal') && flow.actions.length > 1,
    (flow) => ({ ...flow, actions: flow.actions.slice(0, -1) }),
  ),
  'a flood stays on its host': without((flow) => inTable(flow, 'flood') && flow.priority > 0),
  'floods come back into the tunnel': (flows) =>
    flows
      .filter((flow) => !(inTable(flow, 'tunnelOut') && flow.priority === 200))
      .map((flow) => (inTable(flow, 'flood') ? forget('reg4')(flow) : flow)),
  'unknown MACs go to ports with port security': changed(
    (flow) => inTable(flow, 'lookup'),
    withoutAction((action) => action.kind === 'setField' && action.field === 'reg4'),
  ),
  'a MAC is known in every VLAN': changed((flow) => inTable(flow, 'lookup') && asks(flow, 'eth_dst'), forget('reg4')),
  'learned MACs win over held ones': swapped('lookup', 300, 200),
  'learned MACs are not known': without((flow) => inTable(flow, 'lookup') && flow.priority === 200),
  'the agent does not learn the VLAN': changed(
    (flow) => inTable(flow, 'vlan'),
    withoutAction((action) => action.kind === 'move' || (action.kind === 'setField' && action.field === 'reg4')),
  ),
  'tunnels carry the wrong key': changed(
    (flow) => inTable(flow, 'lookup'),
    (flow) => ({
      ...flow,
      actions: mapActions(flow.actions, (action) =>
        action.kind === 'setField' && action.field === 'tun_id'
          ? [{ ...action, value: BigInt(action.value) + 1n }]
          : [action],
      ),
    }),
  ),
  'the tunnel key of a port is not known': without(
    (flow) => inTable(flow, 'tunnel') && flow.gotoTable === TABLES.toPort.number,
  ),
  'the tag does not tell the VLAN behind a tunnel': changed(
    (flow) => inTable(flow, 'tunnel'),
    withoutAction(({ kind }) => kind === 'move'),
  ),
  'a moving port gets one copy': changed(
    (flow) => inTable(flow, 'lookup') && flow.actions.some(({ kind }) => kind === 'clone'),
    (flow) => ({ ...flow, actions: flow.actions.filter(({ kind }) => kind !== 'clone') }),
  ),
};

const OUTCOME_FAULTS: Readonly<Record<string, OutcomeFault>> = {
  'a delivery is forgotten': (outcome) => ({ ...outcome, deliveries: outcome.deliveries.slice(1) }),
  'the tag is forgotten': (outcome) => ({ ...outcome, deliveries: outcome.deliveries.map((d) => ({ ...d, tag: 0 })) }),
  'a log is forgotten': (outcome) => ({ ...outcome, logs: outcome.logs.slice(1) }),
  'an announcement is forgotten': (outcome) => ({ ...outcome, activates: false }),
  'an answer has another MAC': (outcome) =>
    outcome.answer ? { ...outcome, answer: { ...outcome.answer, mac: '02:00:00:00:00:fe' } } : outcome,
  'the agent is asked for another thing': (outcome) => (outcome.agent ? { ...outcome, agent: 'ra' } : outcome),
  'learning is forgotten': ({ learns: _, ...outcome }) => outcome,
  'a rule is called a policy': (outcome) => ({
    ...outcome,
    drops: outcome.drops.map((drop) => (drop.reason === 'rule' ? { ...drop, reason: 'policy' } : drop)),
  }),
  'a spoofed MAC is called a spoofed address': (outcome) => ({
    ...outcome,
    drops: outcome.drops.map((drop) => (drop.reason === 'spoofed-mac' ? { ...drop, reason: 'spoofed-ip' } : drop)),
  }),
};

describe('a fault is noticed', () => {
  let scenarios: readonly Scenario[];
  before(() => {
    const sketches = fc.sample(scenarioSketch({ least: 6, most: 14 }), { numRuns: MODELS, seed: SEED });
    scenarios = [...sketches, ...regressions.map(([, sketch]) => sketch)].map(buildScenario);
  });

  for (const [name, fault] of Object.entries(FLOW_FAULTS))
    test(`in the flows: ${name}`, (t) => {
      assertNoticed(t, scenarios, NOTICED_BY[t.name], (scenario) => {
        let isChanged = false;
        const network = pipelineNetwork(scenario, (flows, host) => {
          const spoiled = fault(flows, host);
          isChanged ||= spoiled.length !== flows.length || spoiled.some((flow, i) => flow !== flows[i]);
          return spoiled;
        });
        return isChanged && isNoticed(scenario, (entry) => observePipeline(network, scenario, entry));
      });
    });

  for (const [name, fault] of Object.entries(OUTCOME_FAULTS))
    test(`in the simulation: ${name}`, (t) => {
      assertNoticed(t, scenarios, NOTICED_BY[t.name], (scenario) => {
        const network = pipelineNetwork(scenario);
        return isNoticed(scenario, (entry) => observePipeline(network, scenario, entry), fault);
      });
    });
});

function isNoticed(
  scenario: Scenario,
  observe: (entry: Scenario['entries'][number]) => ReturnType<typeof observePipeline>,
  fault: OutcomeFault = (outcome) => outcome,
): boolean {
  return scenario.entries.some((entry) => {
    const outcome = fault(simulateFrame(scenario.model, entry));
    try {
      return differences(expected(scenario, entry, outcome), observe(entry), outcome).length > 0;
    } catch {
      return true; // lost in the underlay, or no frame any more
    }
  });
}
