import { join } from 'node:path';
import type { Lab } from '../src/lab/lab.ts';
import type { ManagedProcess } from '../src/lab/managed-process.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import type { WorkloadInput } from '../src/lab/spec.ts';
import { type Client, createClient } from '../src/server/client.ts';
import type { BenchContext } from './bench.ts';
import { ENCAP, HOST_NAMES, type NetworkSize, networkObjects, type PlannedPort, planPorts } from './network.ts';

const WEFT = join(import.meta.dirname, '../bin/weft');
/** What the agent logs when its last flow is in. */
const AGENT_IS_READY = /ready: all flows are in/;

/**
 * Weft as its users run it, in a lab of two hosts: `weft server run`, and `weft agent run` on each host, joined by the
 * server's unix socket.
 */
export class WeftLab {
  readonly lab: Lab;
  readonly client: Client;
  readonly server: string;

  constructor(lab: Lab) {
    this.lab = lab;
    this.server = `unix:${join(lab.state.dir, 'server', 'weft.sock')}`;
    this.client = createClient({ url: this.server, timeoutMs: 120_000 });
  }

  startServer(): Promise<ManagedProcess> {
    const argv = [WEFT, 'server', 'run', '--state-dir', join(this.lab.state.dir, 'server'), '--listen', this.server];
    return this.lab.process('server', 'weft-server', argv, { ready: { socket: this.server.slice('unix:'.length) } });
  }

  /** Returns when its flows are in; with `wait: false` as soon as it runs. */
  startAgent(host: string, options: { readonly wait?: boolean } = {}): Promise<ManagedProcess> {
    const ovs = this.lab.switchOf(host);
    const argv = [
      ...[WEFT, 'agent', 'run', '--host', host, '--server-url', this.server],
      ...['--ovs-run-dir', ovs.dir, '--bridge', INTEGRATION_BRIDGE, '--datapath', ovs.datapath],
      ...['--state-dir', this.stateDir(host), '--control', join(ovs.dir, 'weft-agent.sock')],
    ];
    const ready = options.wait === false ? {} : { ready: { line: AGENT_IS_READY } };
    return this.lab.process(host, 'weft-agent', argv, { ...ready, readyTimeoutMs: 30_000 });
  }

  /** What an agent remembers; without it a start is a cold one. */
  stateDir(host: string): string {
    return join(this.lab.state.hostDir(host), 'weft-agent');
  }

  agent(host: string): ManagedProcess {
    return this.lab.findProcess(host, 'weft-agent')!;
  }

  /** Writes objects, as `weft apply` does; a large network in portions. */
  async apply(objects: readonly Record<string, unknown>[]): Promise<void> {
    for (let at = 0; at < objects.length; at += PORTION)
      await this.client.post('/v1/apply', { objects: objects.slice(at, at + PORTION) });
  }

  applyNetwork(size: NetworkSize): Promise<void> {
    const [one, two] = this.lab.hosts;
    return this.apply(networkObjects(size, [one!.address, two!.address]));
  }
}

const PORTION = 2_000;

/** A workload behind a planned port. */
export function workloadOf(port: PlannedPort, name: string): WorkloadInput {
  return {
    name,
    host: HOST_NAMES[port.host],
    port: port.id,
    mac: port.mac,
    addresses: [`${port.addresses[0]}/12`, `${port.addresses[1]}/64`],
  };
}

/**
 * A lab of two hosts, a server with a network of this size, and an agent on each host. Workloads go behind its ports, in
 * the order of `planPorts`; other workloads are there too, unplugged.
 */
export async function startWeft(
  context: BenchContext,
  options: {
    readonly size: NetworkSize;
    readonly workloads: readonly string[];
    readonly others?: readonly WorkloadInput[];
  },
): Promise<WeftLab> {
  context.progress('starting a lab of two hosts');
  const ports = planPorts(options.size);
  const lab = await context.lab({
    encap: ENCAP,
    hosts: HOST_NAMES.map((name) => ({ name })),
    workloads: [...options.workloads.map((name, i) => workloadOf(ports[i]!, name)), ...(options.others ?? [])],
  });
  const weft = new WeftLab(lab);
  context.defer(() => weft.client.close());
  await weft.startServer();
  context.progress(`writing ${options.size.ports} ports`);
  await weft.applyNetwork(options.size);
  context.progress('starting the agents');
  await Promise.all(HOST_NAMES.map((name) => weft.startAgent(name)));
  return weft;
}
