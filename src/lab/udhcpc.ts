import { fileURLToPath } from 'node:url';
import { WeftError } from '../base/errors.ts';
import type { Lab } from './lab.ts';
import { scriptIn } from './namespaces.ts';
import { WORKLOAD_INTERFACE, type Workload } from './workload.ts';

/** What a real client (busybox udhcpc) was given, and configured. */
export type Lease = {
  readonly address: string;
  readonly prefix: number;
  readonly routers: readonly string[];
  readonly dns: readonly string[];
  readonly domain: string | undefined;
  readonly ntp: readonly string[];
  readonly mtu: number | undefined;
  readonly leaseSeconds: number;
  readonly server: string;
  /** Option 121 (RFC 3442). */
  readonly staticRoutes: readonly { readonly to: string; readonly via: string }[];
  /** From the start of the client to the lease. */
  readonly elapsedMs: number;
  /** All that the client told its script, by its names. */
  readonly raw: Readonly<Record<string, string>>;
};

export type LeaseOptions = {
  /** Tries of one second each; 5 when not given. */
  readonly tries?: number;
  readonly hostname?: string;
  /** Asks for this address. */
  readonly request?: string;
  /** Gives the lease back at once; the address is taken off again. */
  readonly release?: boolean;
};

const SCRIPT = fileURLToPath(new URL('./udhcpc-script.sh', import.meta.url));
/** Asked for beyond the client's own list. */
const OPTIONS = ['staticroutes', 'ntpsrv', 'mtu', 'domain', 'search'];

/**
 * Runs udhcpc once in a workload: address, routes and MTU are set as it is told. For a client that stays and renews,
 * start one with `lab.process(workload, 'udhcpc', udhcpcCommand())`. Error: `timeout` when nobody offers a lease.
 */
export async function requestLease(lab: Lab, workload: string, options: LeaseOptions = {}): Promise<Lease> {
  const from = performance.now();
  const tries = options.tries ?? 5;
  const argv = [...udhcpcCommand(), '-n', '-q', '-t', String(tries), '-T', '1'];
  if (options.hostname) argv.push('-x', `hostname:${options.hostname}`);
  if (options.request) argv.push('-r', options.request);
  if (options.release) argv.push('-R');
  const { stdout, stderr, code } = await lab.exec(workload, argv, { timeoutMs: (tries + 10) * 1_000 });
  const elapsedMs = performance.now() - from;
  if (code !== 0) throw new WeftError('timeout', `${workload}: no lease after ${tries} tries: ${stderr.trim()}`);
  const raw: Record<string, string> = {};
  for (const line of stdout.split('\n')) {
    const match = /^lease (\w+)=(.*)$/.exec(line);
    if (match) raw[match[1]!] = match[2]!;
  }
  const lease = readLease(raw, elapsedMs);
  if (lease.mtu !== undefined && lease.mtu !== lab.workload(workload).mtu) await widen(lab, workload, lease.mtu);
  return lease;
}

/** The host's end takes as large a frame as the workload was told to send: a veth drops what is larger than its other end's MTU. */
async function widen(lab: Lab, name: string, mtu: number): Promise<void> {
  const workload: Workload = { ...lab.workload(name), mtu };
  await scriptIn(lab.namespace(workload.host), [`ip link set ${workload.interface} mtu ${mtu}`]);
  lab.state.write(`workloads/${name}.json`, workload);
}

/** The client in the foreground with the lab's script. */
export function udhcpcCommand(): string[] {
  return [
    'busybox',
    'udhcpc',
    '-f',
    '-i',
    WORKLOAD_INTERFACE,
    '-s',
    SCRIPT,
    ...OPTIONS.flatMap((name) => ['-O', name]),
  ];
}

function readLease(raw: Record<string, string>, elapsedMs: number): Lease {
  const words = (name: string): string[] => (raw[name] ?? '').split(/\s+/).filter((word) => word !== '');
  const routes = words('staticroutes');
  return {
    address: raw.ip ?? '',
    prefix: Number(raw.mask ?? 32),
    routers: words('router'),
    dns: words('dns'),
    domain: raw.domain,
    ntp: words('ntpsrv'),
    mtu: raw.mtu === undefined ? undefined : Number(raw.mtu),
    leaseSeconds: Number(raw.lease),
    server: raw.serverid ?? '',
    staticRoutes: routes.flatMap((to, i) => (i % 2 === 0 && routes[i + 1] ? [{ to, via: routes[i + 1]! }] : [])),
    elapsedMs,
    raw,
  };
}
