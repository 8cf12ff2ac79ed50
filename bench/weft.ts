import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Lab } from '../src/lab/lab.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import type { WorkloadInput } from '../src/lab/spec.ts';
import { LAB_ZONE, startWeftInLab, type WeftInLab, waitForPorts } from '../src/lab/weft.ts';
import type { BenchContext } from './bench.ts';
import {
  ENCAP,
  FAR_HOST,
  HOST_NAMES,
  type NetworkSize,
  networkObjects,
  type PlannedPort,
  planPorts,
} from './network.ts';

/** Weft as its users run it, in a lab of two hosts, with a network that a bench planned. */
export interface WeftBench extends WeftInLab {
  readonly lab: Lab;
}

/**
 * Starts lab, server and agents, then writes a network. Workloads go behind its ports, in the order of `planPorts`;
 * `others` are there too, unplugged. Ports on the far host are bound: the bench claims them in its place.
 */
export async function startWeft(
  context: BenchContext,
  options: {
    readonly size: NetworkSize;
    readonly workloads?: readonly string[];
    readonly others?: readonly WorkloadInput[];
  },
): Promise<WeftBench> {
  context.progress('starting a lab of two hosts');
  const ports = planPorts(options.size);
  const workloads = options.workloads ?? [];
  const lab = await context.lab({
    encap: ENCAP,
    hosts: HOST_NAMES.map((name) => ({ name })),
    workloads: [...workloads.map((name, i) => workloadOf(ports[i]!, name)), ...(options.others ?? [])],
  });
  const running = await startWeftInLab(lab, { tell: (text) => context.progress(text) });
  const weft: WeftBench = { ...running, lab };
  context.defer(() => stopWeft(weft));
  context.progress(`writing ${ports.length} ports`);
  await apply(weft, networkObjects(options.size, LAB_ZONE));
  await claimFar(weft, ports);
  await waitForPorts(
    weft.client,
    workloads.map((_, i) => ports[i]!.id),
  );
  return weft;
}

/** Ends agents and server as a person would, so that what they write at their end (a profile) is whole. */
async function stopWeft(weft: WeftBench): Promise<void> {
  weft.client.close();
  if (!weft.lab.state.exists()) return; // removed already
  await Promise.all([...weft.lab.hosts.map(({ name }) => weft.agent(name).stop()), weft.server.stop()]);
}

/** A workload behind a planned port. */
export function workloadOf(port: PlannedPort, name: string): WorkloadInput {
  return {
    name,
    host: HOST_NAMES[port.host as 0 | 1],
    port: port.id,
    mac: port.mac,
    addresses: [`${port.addresses[0]}/12`, `${port.addresses[1]}/64`],
  };
}

const PORTION = 2_000;

/** Writes objects, as `weft apply` does; a large network in portions. */
export async function apply(weft: WeftBench, objects: readonly Record<string, unknown>[]): Promise<void> {
  for (let at = 0; at < objects.length; at += PORTION)
    await weft.client.post('/v1/apply', { objects: objects.slice(at, at + PORTION) }, { timeoutMs: 60_000 });
}

/** Reports, as the far host's agent would, that the ports planned there have their interfaces. */
async function claimFar(weft: WeftBench, ports: readonly PlannedPort[]): Promise<void> {
  const claims = ports.filter((port) => port.host === 2).map(({ id, name }) => ({ port: id, interface: name }));
  if (claims.length === 0) return;
  const reports = [{ type: 'claims', claims }];
  await weft.client.post(`/v1/hosts/${FAR_HOST}/reports`, { reports }, { timeoutMs: 60_000 });
}

/** Makes interfaces on a host's integration bridge that name these ports, in one transaction. */
export async function plugInternal(lab: Lab, host: string, ports: readonly PlannedPort[]): Promise<void> {
  const args = ports.flatMap(({ id, name }) => [
    ...['--', 'add-port', INTEGRATION_BRIDGE, name, '--', 'set', 'interface', name, 'type=internal'],
    `external_ids:iface-id=${id}`,
  ]);
  await lab.switchOf(host).vsctl(['--timeout=60', ...args]);
}

/** Stops an agent and takes away all that it left: what it remembers, its flows, its marks. The next start is a cold one. */
export async function makeCold(weft: WeftBench, host: string, ports: readonly PlannedPort[]): Promise<void> {
  await weft.agent(host).stop();
  rmSync(weft.files.agentDir(host), { recursive: true, force: true });
  const ovs = weft.lab.switchOf(host);
  await ovs.ofctl('-OOpenFlow15', 'del-flows', INTEGRATION_BRIDGE);
  const marks = ports.flatMap(({ name }) => ['--', 'remove', 'interface', name, 'external_ids', 'weft-installed']);
  await ovs.vsctl(['--timeout=60', ...marks]);
  await delay(300); // what the switch still has to do for this is not the start's
}
