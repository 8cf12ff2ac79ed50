import { Lab, removeLab } from '../../src/lab/lab.ts';
import { plugIntoPort, type ShownPort, startWeftInLab, type WeftInLab, waitForPorts } from '../../src/lab/weft.ts';
import { labName } from './lab-name.ts';

/** What tests of whole Weft stand on: a lab with server and agents, a topology applied, workloads plugged in and ready. */
export interface Datacentre {
  readonly lab: Lab;
  readonly weft: WeftInLab;
  /** By the workload's name. */
  readonly ports: ReadonlyMap<string, ShownPort>;
  down(): Promise<void>;
}

export interface PlannedWorkload {
  readonly name: string;
  readonly host: string;
  /** `tenant/name` of its port. */
  readonly port: string;
  /** Set on the workload's interface, with prefix length; none where DHCP or advertisements give them. */
  readonly addresses?: readonly string[];
  /** Default routes. */
  readonly gateways?: readonly string[];
  /** Of both ends of its link; 1,400 where it is not given. */
  readonly mtu?: number;
}

export interface Plan {
  readonly prefix: string;
  readonly hosts: readonly string[];
  readonly encap?: 'geneve' | 'vxlan' | 'gre';
  /** The hosts' own network; an IPv4 one where it is not given. */
  readonly underlay?: string;
  readonly objects: readonly Record<string, unknown>[];
  readonly workloads: readonly PlannedWorkload[];
}

/** Applies, and waits until what is written is on every host. */
export async function applyEverywhere({ weft }: Pick<Datacentre, 'weft'>, objects: readonly object[]): Promise<void> {
  const { revision } = await weft.client.post<{ revision: number }>('/v1/apply', { objects });
  await weft.client.get('/v1/sync', { query: { revision: String(revision), timeoutMs: '20000' } });
}

export async function startDatacentre(plan: Plan): Promise<Datacentre> {
  const name = labName(plan.prefix);
  const lab = await Lab.start({
    name,
    encap: plan.encap ?? 'geneve',
    ...(plan.underlay === undefined ? {} : { underlay: { subnet: plan.underlay } }),
    hosts: plan.hosts.map((host) => ({ name: host })),
    workloads: plan.workloads.map(({ name: workload, host, addresses = [], gateways = [], mtu }) => ({
      name: workload,
      host,
      addresses: [...addresses],
      gateways: [...gateways],
      ...(mtu === undefined ? {} : { mtu }),
    })),
  });
  try {
    const weft = await startWeftInLab(lab);
    await weft.client.post('/v1/apply', { objects: plan.objects });
    const ports = new Map<string, ShownPort>();
    for (const workload of plan.workloads)
      ports.set(workload.name, await plugIntoPort(lab, weft.client, workload.name, workload.port));
    await waitForPorts(
      weft.client,
      [...ports.values()].map((port) => port.id),
    );
    return {
      lab,
      weft,
      ports,
      down: async () => {
        weft.client.close();
        await removeLab(name);
      },
    };
  } catch (error) {
    showLogs(lab);
    await removeLab(name);
    throw error;
  }
}

/** What server and agents said, which is gone with the lab: for who cannot start what is to be tested. */
export function showLogs(lab: Lab): void {
  for (const process of lab.processes())
    if (process.name !== 'ovsdb-server') console.error(`--- ${process.name}\n${process.log().slice(-3000)}`);
}

/** Does an address answer a ping from a workload? `size` is the payload; `dontFragment` as `ping -M do`. */
export async function pings(
  lab: Lab,
  from: string,
  address: string,
  size = 56,
  dontFragment = false,
): Promise<boolean> {
  const more = [...(dontFragment ? ['-M', 'do'] : []), '-s', String(size)];
  return (await lab.exec(from, ['ping', '-c', '2', '-i', '0.2', '-W', '1', ...more, address])).code === 0;
}

/** Does no ping from a workload to an address get an answer? An answer takes a few milliseconds; `size` as for `pings`. */
export async function isSilent(lab: Lab, from: string, address: string, size = 56): Promise<boolean> {
  const words = ['ping', '-c', '3', '-i', '0.1', '-W', '0.4', '-s', String(size), address];
  return (await lab.exec(from, words)).code !== 0;
}

/** Calls until it gives something, or fails with `what` after so long. */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  call: () => Promise<T | undefined | false>,
): Promise<T> {
  const until = performance.now() + timeoutMs;
  for (;;) {
    const value = await call();
    if (value !== undefined && value !== false) return value as T;
    if (performance.now() > until) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
