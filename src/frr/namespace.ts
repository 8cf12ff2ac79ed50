import { spawn } from 'node:child_process';
import type { Server } from 'node:net';
import { formatCidr, parseCidr } from '../base/addresses.ts';
import { WeftError } from '../base/errors.ts';
import { run } from './commands.ts';
import type { SpeakerInterface } from './config.ts';

/** The part of `ip -j addr show` that is needed here. */
export type InterfaceNow = {
  readonly ifname: string;
  readonly ifindex: number;
  readonly flags: readonly string[];
  readonly addr_info: readonly { readonly local?: string; readonly prefixlen?: number; readonly scope?: string }[];
};

/** Lines for `ip -batch` that give interfaces their addresses and no others; link-local ones are the kernel's. */
export function planInterfaces(now: readonly InterfaceNow[], wanted: readonly SpeakerInterface[]): string[] {
  const lines: string[] = [];
  if (!now.find((i) => i.ifname === 'lo')?.flags.includes('UP')) lines.push('link set lo up');
  for (const { name, addresses } of wanted) {
    const interfaceNow = now.find((i) => i.ifname === name);
    if (!interfaceNow) continue; // told by `applyInterfaces`
    const has = new Set(
      interfaceNow.addr_info.filter((a) => a.scope !== 'link').map((a) => `${a.local}/${a.prefixlen}`),
    );
    const shall = new Set(addresses.map((address) => formatCidr(parseCidr(address)!)));
    for (const address of has) if (!shall.has(address)) lines.push(`addr del ${address} dev ${name}`);
    // The network behind is not ours to ask whether somebody else has this address: the router port has it too.
    for (const address of shall)
      if (!has.has(address)) lines.push(`addr add ${address} dev ${name}${address.includes(':') ? ' nodad' : ''}`);
    if (!interfaceNow.flags.includes('UP')) lines.push(`link set ${name} up`);
  }
  return lines;
}

/** Error: `not-found` where the namespace or an interface is missing. Returns the index of every interface by its name. */
export async function applyInterfaces(
  namespace: string,
  wanted: readonly SpeakerInterface[],
): Promise<ReadonlyMap<string, number>> {
  const now = await interfacesOf(namespace);
  const missing = wanted.filter((w) => !now.some((i) => i.ifname === w.name)).map((w) => w.name);
  if (missing.length > 0) throw new WeftError('not-found', `no interface ${missing.join(', ')} in ${namespace}`);
  const lines = planInterfaces(now, wanted);
  if (lines.length > 0) await run(['ip', '-n', namespace, '-batch', '-'], `${lines.join('\n')}\n`);
  return new Map(now.map((i) => [i.ifname, i.ifindex]));
}

async function interfacesOf(namespace: string): Promise<readonly InterfaceNow[]> {
  return JSON.parse(await run(['ip', '-n', namespace, '-j', 'addr', 'show'])) as InterfaceNow[];
}

/**
 * The namespace forwards nothing, and takes no default route from a router's advertisement: an upstream sends those to
 * whoever speaks RFC 8950 with it. It does not ask whether its addresses are taken either: the router port has them too.
 */
export async function calmNamespace(namespace: string): Promise<void> {
  const settings = [
    'net.ipv4.ip_forward=0',
    'net.ipv6.conf.all.forwarding=0',
    'net.ipv6.conf.all.accept_ra=0',
    'net.ipv6.conf.default.accept_ra=0',
    'net.ipv6.conf.*.accept_ra=0',
    'net.ipv6.conf.default.accept_dad=0',
    'net.ipv6.conf.*.accept_dad=0',
  ];
  const script = settings.map((s) => {
    const [name, value] = s.split('=') as [string, string];
    return `for f in /proc/sys/${name.replaceAll('.', '/')}; do echo ${value} > $f 2>/dev/null; done`;
  });
  await run(['ip', 'netns', 'exec', namespace, 'sh', '-c', `${script.join('; ')}; true`]);
}

/**
 * A TCP server at 127.0.0.1 *inside* a namespace, in this process. Node cannot enter a namespace, but a socket stays in
 * the one where it was made: a child makes it there, hands it over and ends (cmsg SCM_RIGHTS, Node's IPC channel).
 * Errors: `conflict` where the port is taken, `refused`, `timeout`.
 */
export function listenInNamespace(namespace: string, port: number): Promise<Server> {
  const program = `${import.meta.dirname}/listening-socket.ts`;
  const child = spawn('ip', ['netns', 'exec', namespace, process.execPath, program, String(port)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    let said = '';
    let server: Server | undefined;
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new WeftError('timeout', `no listening socket from ${namespace}`));
    }, 20_000);
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
    child.on('error', (cause) => reject(new WeftError('refused', `cannot run ip: ${cause.message}`, { cause })));
    child.on('message', (message: { readonly failed?: string }, handle) => {
      if (message.failed !== undefined) said = message.failed;
      else server = handle as Server;
    });
    child.on('close', () => {
      clearTimeout(timer);
      if (server) return resolve(server);
      const code = said.includes('EADDRINUSE') ? 'conflict' : 'refused';
      reject(new WeftError(code, `port ${port} in ${namespace}: ${said.trim() || 'no socket came'}`));
    });
  });
}
