import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WeftError } from '../base/errors.ts';
import type { LogicalPort } from '../model/objects.ts';
import { createCertificate } from '../server/certificate.ts';
import { type Client, createClient } from '../server/client.ts';
import type { HostStatus, PortStatus } from '../server/present.ts';
import type { Lab } from './lab.ts';
import type { ManagedProcess } from './managed-process.ts';
import { INTEGRATION_BRIDGE } from './open-vswitch.ts';
import type { HostSpec } from './spec.ts';
import type { LabState } from './state.ts';
import { type Lease, requestLease } from './udhcpc.ts';
import { namespaceOf } from './underlay.ts';

/**
 * Weft inside a lab, as it runs in a datacentre: the server in its own place, reached over TLS on the underlay and over
 * a unix socket from this machine; an agent in every host's namespace, beside the host's Open vSwitch. All of them are
 * managed processes of the lab: `weft lab stop north agent` ends one as it would any other.
 */
export const SERVER_PROCESS = { place: 'server', name: 'server' } as const;
export const AGENT_PROCESS = 'agent';
/** The zone that the lab's hosts belong to. */
export const LAB_ZONE = 'underlay';

const SERVER_PORT = 7443;
const WEFT = fileURLToPath(new URL('../../bin/weft', import.meta.url));
const READY_TIMEOUT_MS = 60_000;

/** Where Weft's files are in a lab's folder. */
export class WeftFiles {
  readonly #state: LabState;

  constructor(state: LabState) {
    this.#state = state;
  }

  get dir(): string {
    return join(this.#state.dir, 'server');
  }
  get socket(): string {
    return join(this.dir, 'weft.sock');
  }
  /** For the CLI and for `createClient`. */
  get serverUrl(): string {
    return `unix:${this.socket}`;
  }
  get certificate(): string {
    return join(this.dir, 'server.crt');
  }
  get key(): string {
    return join(this.dir, 'server.key');
  }
  get tokens(): string {
    return join(this.dir, 'tokens');
  }
  hostToken(host: string): string {
    return join(this.#state.hostDir(host), 'weft-token');
  }
  agentDir(host: string): string {
    return join(this.#state.hostDir(host), 'weft-agent');
  }
  controlSocket(host: string): string {
    return join(this.#state.hostDir(host), 'weft-agent.sock');
  }
}

export interface WeftInLab {
  readonly files: WeftFiles;
  /** Over the unix socket, with every right. Close it when done. */
  readonly client: Client;
  readonly server: ManagedProcess;
  agent(host: string): ManagedProcess;
}

export interface WeftOptions {
  /** Told what happens, for steps that take their time. */
  readonly tell?: (text: string) => void;
  /** Of server and agents; `info` when not given. */
  readonly logLevel?: string;
  /**
   * How agents reach the server: over TLS and the underlay, as in a datacentre (the default), or by its unix socket. Where the datapath is
   * the userspace one the underlay is a bridge of it, so that every message passes Open vSwitch twice.
   */
  readonly agentsReachBy?: 'underlay' | 'socket';
  /** Machines of the lab that are no hosts of Weft's: no agent runs there. */
  readonly strangers?: readonly string[];
}

/** Starts server and agents in a lab and returns when every agent is ready. Errors: those of `ManagedProcess.start`. */
export async function startWeftInLab(lab: Lab, options: WeftOptions = {}): Promise<WeftInLab> {
  const files = new WeftFiles(lab.state);
  const tell = options.tell ?? (() => {});
  const address = lab.spec.server.split('/')[0]!;
  writeSecrets(lab, files, address);
  const logLevel = options.logLevel ?? 'info';
  tell('starting the server');
  const server = await startServerProcess(lab, files, address, logLevel);
  const client = createClient({ url: files.serverUrl });
  const hosts = lab.hosts.filter(({ name }) => !options.strangers?.includes(name));
  await createHosts(lab, hosts, client);
  tell(`starting the agents of ${hosts.map((host) => host.name).join(', ')}`);
  const serverUrl = options.agentsReachBy === 'socket' ? files.serverUrl : urlAt(address);
  await Promise.all(hosts.map((host) => startAgentProcess(lab, files, host.name, serverUrl, logLevel)));
  return { files, client, server, agent: (host) => agentOf(lab, host) };
}

/** A lab's Weft that was started before. Error: `not-found` when it runs without. */
export function openWeftInLab(lab: Lab): WeftInLab {
  const files = new WeftFiles(lab.state);
  const server = lab.findProcess(SERVER_PROCESS.place, SERVER_PROCESS.name);
  if (!server) throw new WeftError('not-found', `the lab ${lab.name} runs without Weft`);
  return { files, client: createClient({ url: files.serverUrl }), server, agent: (host) => agentOf(lab, host) };
}

function agentOf(lab: Lab, host: string): ManagedProcess {
  const agent = lab.findProcess(host, AGENT_PROCESS);
  if (!agent) throw new WeftError('not-found', `there is no agent on ${host}`);
  return agent;
}

function urlAt(address: string): string {
  return `tls:${address.includes(':') ? `[${address}]` : address}:${SERVER_PORT}`;
}

/** A certificate for the server's address, and a token for each host. */
function writeSecrets(lab: Lab, files: WeftFiles, address: string): void {
  mkdirSync(files.dir, { recursive: true });
  const { cert, key } = createCertificate({ names: [address] });
  writeFileSync(files.certificate, cert);
  writeFileSync(files.key, key, { mode: 0o600 });
  const lines = lab.hosts.map(({ name }) => {
    const token = randomBytes(32).toString('base64url');
    writeFileSync(files.hostToken(name), token, { mode: 0o600 });
    return `${createHash('sha256').update(token).digest('hex')} host:${name}\n`;
  });
  writeFileSync(files.tokens, lines.join(''), { mode: 0o600 });
}

function startServerProcess(lab: Lab, files: WeftFiles, address: string, logLevel: string): Promise<ManagedProcess> {
  const argv = [
    ...[WEFT, 'server', 'run', '--state-dir', join(files.dir, 'state'), '--log-level', logLevel],
    ...['--listen', files.serverUrl, '--listen', urlAt(address)],
    ...['--tls-cert', files.certificate, '--tls-key', files.key, '--tokens', files.tokens],
  ];
  return lab.process(SERVER_PROCESS.place, SERVER_PROCESS.name, argv, {
    ready: { socket: files.socket },
    readyTimeoutMs: READY_TIMEOUT_MS,
  });
}

async function createHosts(lab: Lab, its: readonly HostSpec[], client: Client): Promise<void> {
  const zone = { kind: 'tunnelZone', name: LAB_ZONE, encap: lab.spec.encap };
  const hosts = its.map(({ name, address }) => ({
    kind: 'host',
    name,
    zone: LAB_ZONE,
    tunnelAddress: address,
    underlayMtu: lab.spec.underlay.mtu,
  }));
  await client.post('/v1/apply', { objects: [zone, ...hosts] });
}

function startAgentProcess(
  lab: Lab,
  files: WeftFiles,
  host: string,
  serverUrl: string,
  logLevel: string,
): Promise<ManagedProcess> {
  const ovs = lab.switchOf(host);
  const argv = [
    ...[WEFT, 'agent', 'run', '--host', host, '--server-url', serverUrl, '--log-level', logLevel],
    ...['--token-file', files.hostToken(host), '--ca-file', files.certificate],
    ...['--ovs-run-dir', ovs.dir, '--bridge', INTEGRATION_BRIDGE, '--datapath', ovs.datapath],
    ...['--state-dir', files.agentDir(host), '--control', files.controlSocket(host)],
    ...['--namespace-prefix', `${namespaceOf(lab.name, host)}-bgp-`],
  ];
  return lab.process(host, AGENT_PROCESS, argv, {
    ready: { line: /"message":"ready/ },
    readyTimeoutMs: READY_TIMEOUT_MS,
    sharesMounts: true, // a gateway's agent runs FRR in a namespace of its own
  });
}

/** A port as the server shows it with `names=true`. */
export type ShownPort = LogicalPort & { readonly status: PortStatus };

/** A port by `tenant/name`, name or id. Error: `not-found`. */
export function findPort(client: Client, text: string): Promise<ShownPort> {
  return client.get<ShownPort>(`/v1/ports/${encodeURIComponent(text)}`, { query: { names: true } });
}

/**
 * Plugs in as a port, which may be named `tenant/name`, a workload, which takes over the port's MAC, or `ROUTER/LINK`, an
 * upstream router's link.
 */
export async function plugIntoPort(lab: Lab, client: Client, what: string, port: string): Promise<ShownPort> {
  const found = await findPort(client, port);
  const [router, link] = what.split('/');
  if (link !== undefined) await lab.upstream(router!).plug(link, found.id);
  else await lab.plug(what, found.id, { mac: found.mac });
  return found;
}

/** Returns when the flows of these ports (ids) are in their hosts' switches. Error: `timeout`, naming those that are not. */
export async function waitForPorts(client: Client, ports: readonly string[], timeoutMs = 30_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  let left = [...ports];
  for (;;) {
    const shown = await Promise.all(left.map((id) => findPort(client, id)));
    left = shown.filter((port) => port.status.state !== 'installed').map((port) => port.id);
    if (left.length === 0) return;
    if (Date.now() > until) {
      const states = shown.map((port) => `${port.name}: ${port.status.state}`);
      throw new WeftError('timeout', `ports are not ready after ${timeoutMs} ms: ${states.join(', ')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Returns when all hosts report themselves well, with their ports, or after `timeoutMs`: agents report once a second. */
export async function waitForHealth(client: Client, timeoutMs = 5_000): Promise<void> {
  const until = Date.now() + timeoutMs;
  while (Date.now() < until) {
    const { hosts, ports, problems } = await client.get<{
      hosts: readonly HostStatus[];
      ports: Readonly<Record<string, number>>;
      problems: readonly unknown[];
    }>('/v1/status');
    const reported = hosts.reduce((sum, host) => sum + (host.health?.localPorts ?? 0), 0);
    if (problems.length === 0 && reported >= (ports.installed ?? 0)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs the DHCP client of every workload that has one; all at the same time. */
export function requestLeases(lab: Lab, workloads: readonly string[]): Promise<{ workload: string; lease: Lease }[]> {
  return Promise.all(workloads.map(async (workload) => ({ workload, lease: await requestLease(lab, workload) })));
}
