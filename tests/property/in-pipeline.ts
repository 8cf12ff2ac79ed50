import { parseIp } from '../../src/base/addresses.ts';
import type { Compiler } from '../../src/compile/compiler.ts';
import { REGISTERS } from '../../src/compile/fields.ts';
import { type Reason, TABLES, type Table, tableName } from '../../src/compile/tables.ts';
import type { FieldRange, Flow } from '../../src/openflow/flow.ts';
import { HostNetwork, type Journey } from '../../src/pipeline/host-network.ts';
import { placeOf, readBits } from '../../src/pipeline/layout.ts';
import type { PacketState } from '../../src/pipeline/packet-state.ts';
import { createPipeline } from '../../src/pipeline/pipeline.ts';
import type { Step } from '../../src/pipeline/result.ts';
import { answerFromBytes } from './answers.ts';
import { classOf, hex, isAnswer, isSample, type Observation, originOf, WITH_ORIGIN } from './observation.ts';
import { type Entry, type Scenario, type ScenarioHost, TUNNEL_PORTS } from './scenario.ts';

/** The compiled flows of all hosts in the executable pipeline, joined by tunnels. `mutate` may spoil a host's flows. */
export function pipelineNetwork(
  { hosts }: Scenario,
  mutate: (flows: readonly Flow[], host: ScenarioHost) => readonly Flow[] = (flows) => flows,
): HostNetwork {
  return new HostNetwork(
    hosts.map((host) => ({
      name: host.id,
      pipeline: createPipeline({ flows: mutate([...host.compiler.flows()], host), fragments: 'nxMatch' }),
      addresses: [parseIp(host.tunnelAddress)!.value],
      tunnels: (Object.keys(TUNNEL_PORTS) as (keyof typeof TUNNEL_PORTS)[]).map((encap) => ({
        encap,
        port: TUNNEL_PORTS[encap],
      })),
    })),
  );
}

/** The flows as they are now, in place of those from before; connections stay. */
export function applyFlows(
  network: HostNetwork,
  { hosts }: Scenario,
  mutate: (flows: readonly Flow[], host: ScenarioHost) => readonly Flow[] = (flows) => flows,
): void {
  for (const host of hosts) {
    const { pipeline } = network.host(host.id)!;
    pipeline.apply(mutate([...host.compiler.flows()], host), [...pipeline.flows()]);
  }
}

/** Sends one frame through and says what was seen. */
export function observePipeline(network: HostNetwork, scenario: Scenario, entry: Entry): Observation {
  const journey = network.send(entry.host, entry.ofport, entry.bytes);
  if (journey.losses.length > 0) throw new Error(`lost in the underlay: ${journey.losses[0]!.reason}`);
  return observe(journey, scenario, entry);
}

export function observe(journey: Journey, { hosts }: Scenario, entry: Entry): Observation {
  const hostOf = (id: string): ScenarioHost => hosts.find((host) => host.id === id)!;
  const delivered: string[] = [];
  const answers: string[] = [];
  for (const { host, port, bytes } of journey.deliveries) {
    // OFPP_IN_PORT is resolved to the port's number.
    if (host === entry.host && port === entry.ofport && isAnswer(entry.bytes, bytes))
      answers.push(answerFromBytes(entry.bytes, bytes));
    else delivered.push(`${host} ${hostOf(host).ports.get(port) ?? `port ${port}`} ${hex(bytes)}`);
  }
  const packetIns: string[] = [];
  const origins: string[] = [];
  const logs: string[] = [];
  for (const { host, userdata, cookie, state } of journey.packetIns) {
    const wanted = classOf(userdata);
    if (wanted === 'log')
      logs.push(
        ...hostOf(host)
          .compiler.explain(cookie)
          .objects.map(({ id }) => id),
      );
    else if (wanted && !isSample(wanted)) {
      packetIns.push(`${host} ${wanted}`);
      if (WITH_ORIGIN.has(wanted))
        origins.push(
          originOf(
            wanted,
            register(state, REGISTERS.inPort),
            register(state, REGISTERS.switch),
            register(state, REGISTERS.vlan),
          ),
        );
    }
  }
  const reasons = new Set<Reason>();
  for (const step of journey.steps) addReason(reasons, reasonOf(hostOf(step.host).compiler, step));
  // A copy of a flood for the sender itself.
  if (journey.drops.some(({ reason }) => reason === 'to-in-port')) reasons.add('hairpin');
  return {
    delivered: delivered.sort(),
    answers: answers.sort(),
    packetIns: packetIns.sort(),
    origins: origins.sort(),
    logs: logs.sort(),
    reasons,
    isCutOff: journey.drops.some(({ reason }) => reason === 'recirculations'),
  };
}

function register({ key }: PacketState, { field, from, bits }: FieldRange): number {
  return readBits(key, placeOf(field), from, bits);
}

/** Why a frame ends at this step, where it does: the flow's word, or that of the table that had none. */
export function reasonOf(compiler: Compiler, { flow, table }: Step): Reason | undefined {
  if (flow) return compiler.explain(flow.cookie).reason;
  const name = tableName(table);
  return name && (TABLES[name] as Table).missReason;
}

function addReason(reasons: Set<Reason>, reason: Reason | undefined): void {
  if (reason) reasons.add(reason);
}
