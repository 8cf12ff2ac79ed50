import { fileURLToPath } from 'node:url';
import { WeftError } from '../base/errors.ts';
import type { HeldReport, ServedReport } from './connection-crowd-end.ts';
import type { Lab } from './lab.ts';
import { ScriptEnd } from './script-end.ts';

export type CrowdOptions = {
  readonly from: string;
  /** The places that serve: one, or all members behind an address. */
  readonly to: string | readonly string[];
  /** Where they are reached: an address of the server, a floating address, a VIP. The first static address of the only server when not given. */
  readonly address?: string;
  /** 7,100 when not given. */
  readonly port?: number;
  /** Where the servers listen, if a balancer changes it; as `port` when not given. */
  readonly serverPort?: number;
  /** 1,000 when not given; up to some 25,000 to one address and port. */
  readonly connections?: number;
  /** How many are opened in a second; 2,000 when not given. */
  readonly perSecond?: number;
  /** How often each sends a number; every 5,000 ms when not given. */
  readonly intervalMs?: number;
  /** A connection whose oldest number has no answer for so long counts as stalled; 1,000 when not given. */
  readonly stallMs?: number;
  /** How long all of them may take to open beyond what `perSecond` asks for; 10,000 when not given. */
  readonly openTimeoutMs?: number;
};

export type CrowdReport = HeldReport & {
  /** Open connections at each server: how they are spread. */
  readonly at: Readonly<Record<string, number>>;
};

const END = fileURLToPath(new URL('./connection-crowd-end.ts', import.meta.url));
const PORT = 7100;

/**
 * Opens a number of TCP connections from one place, keeps them, and sends numbers on each. Returns when none is being
 * opened any more, whatever became of them: `report` says. Error: `refused` when an end cannot run.
 */
export async function startCrowd(lab: Lab, options: CrowdOptions): Promise<ConnectionCrowd> {
  const servers = typeof options.to === 'string' ? [options.to] : options.to;
  const address = options.address ?? lab.workload(servers[0] ?? '').addresses[0]?.split('/')[0];
  if (!address) throw new WeftError('invalid', `${servers[0]} has no static address: say which to connect to`);
  const port = options.port ?? PORT;
  const connections = options.connections ?? 1000;
  const perSecond = options.perSecond ?? 2000;
  const { intervalMs = 5000, stallMs = 1000, openTimeoutMs = 10_000, serverPort = port } = options;
  const settings = { address, port, connections, perSecond, intervalMs, stallMs };
  const start = async (place: string, role: string, changed: object = {}): Promise<ScriptEnd> => {
    const argv = ['nice', '-n', '-10', process.execPath, END, role, JSON.stringify({ ...settings, ...changed })];
    const end = new ScriptEnd(lab.spawn(place, argv), `connection crowd: ${place} (${role})`);
    await end.answer();
    return end;
  };
  const serving = new Map<string, ScriptEnd>();
  for (const place of servers) serving.set(place, await start(place, 'serve', { port: serverPort }));
  const crowd = new ConnectionCrowd(await start(options.from, 'hold'), serving);
  await crowd.report('opened', (connections / perSecond) * 1000 + openTimeoutMs);
  return crowd;
}

export class ConnectionCrowd {
  readonly #holder: ScriptEnd;
  readonly #servers: ReadonlyMap<string, ScriptEnd>;

  constructor(holder: ScriptEnd, servers: ReadonlyMap<string, ScriptEnd>) {
    this.#holder = holder;
    this.#servers = servers;
  }

  /**
   * How they are. With `answered` every one of them is asked for an answer first, and waited for up to `timeoutMs`:
   * those that stay without are stalled.
   */
  async report(wait?: 'opened' | 'answered', timeoutMs = 5000): Promise<CrowdReport> {
    const held = (await this.#holder.ask(JSON.stringify({ wait, timeoutMs }), 'established')) as HeldReport;
    const at: Record<string, number> = {};
    for (const [place, server] of this.#servers)
      if (server.isRunning) at[place] = ((await server.ask('', 'accepted')) as ServedReport).open;
    return { ...held, at };
  }

  /** Asks every connection for a last answer, reports, and ends them all. */
  async stop(timeoutMs = 5000): Promise<CrowdReport> {
    const report = await this.report('answered', timeoutMs);
    this.#holder.end();
    for (const server of this.#servers.values()) server.end();
    return report;
  }
}
