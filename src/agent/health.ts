import type { Flow } from '../openflow/flow.ts';
import type { HostHealth, PortState } from '../server/protocol.ts';
import type { Interfaces } from './interfaces.ts';
import { LIVENESS_PORT } from './liveness/message.ts';

/** Problems that are reported one by one. */
const MOST_PROBLEMS = 100;
/** Addresses that the server is told of, and hosts. */
const MOST_TOLD = 1_000;

/** What the agent knows about how well it does. */
export interface HealthFacts {
  readonly agentVersion: string;
  readonly openvswitchVersion: string;
  readonly datapathType: string;
  readonly flows: number;
  readonly interfaces: Interfaces;
  readonly portStates: ReadonlyMap<string, PortState>;
  readonly refused: Iterable<{ readonly flow: Flow; readonly error: string }>;
  readonly problems: Iterable<string>;
  readonly conntrack: HostHealth['conntrack'];
  /** Hosts with next hops or members of balancers that do not answer. */
  readonly lost: readonly string[];
  /** Addresses with as many connections here as they may have. */
  readonly full: readonly string[];
  readonly nameOf: (host: string) => string;
  readonly isSwitchConnected: boolean;
  readonly isOvsdbConnected: boolean;
}

/** The host's health as people see it in `weft status`: what stops everything comes first. */
export function describeHealth(facts: HealthFacts): HostHealth {
  const problems = [...problemsOf(facts)];
  const more = problems.length - MOST_PROBLEMS;
  return {
    agentVersion: facts.agentVersion,
    openvswitchVersion: facts.openvswitchVersion,
    datapathType: facts.datapathType,
    flows: facts.flows,
    localPorts: facts.interfaces.bound().size,
    ...(facts.conntrack === undefined ? {} : { conntrack: facts.conntrack }),
    ...(facts.lost.length === 0 ? {} : { lost: facts.lost.slice(0, MOST_TOLD) }),
    ...(facts.full.length === 0 ? {} : { full: facts.full.slice(0, MOST_TOLD) }),
    problems: more <= 0 ? problems : [...problems.slice(0, MOST_PROBLEMS), `and ${more} problems more`],
  };
}

function* problemsOf(facts: HealthFacts): Iterable<string> {
  if (!facts.isSwitchConnected) yield 'Open vSwitch does not answer';
  if (!facts.isOvsdbConnected) yield 'the database of Open vSwitch does not answer';
  for (const host of facts.lost)
    yield `host ${facts.nameOf(host)} does not answer (UDP and TCP port ${LIVENESS_PORT} of its tunnel address): its next hops are used only where there is no other, members of balancers there not at all`;
  yield* facts.problems;
  for (const [port, { state }] of facts.portStates)
    if (state === 'no-port')
      yield `interface ${facts.interfaces.get(port)?.name} names port ${port}, which does not exist`;
  for (const { error, flow } of facts.refused) yield `the switch refused a flow of table ${flow.table}: ${error}`;
}
