import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { NAMESPACES_DIR } from '../base/namespaces.ts';
import { runOk } from './command.ts';

/** The command line that runs `argv` inside a network namespace. The process keeps its pid: `ip` replaces itself. */
export function inNamespace(namespace: string, argv: readonly string[]): string[] {
  return ['ip', 'netns', 'exec', namespace, ...argv];
}

/**
 * As `inNamespace`, but the process shares the mounts of the machine: a namespace that it makes itself (`ip netns add`)
 * is there for everybody, where one made inside `ip netns exec` is not. `/sys/class/net` is the machine's then.
 */
export function inNetworkOf(namespace: string, argv: readonly string[]): string[] {
  return ['nsenter', `--net=${NAMESPACES_DIR}/${namespace}`, ...argv];
}

/** Runs a shell script inside a namespace; any line that fails fails the whole. */
export function scriptIn(namespace: string, lines: readonly string[]): Promise<string> {
  return runOk(inNamespace(namespace, ['sh', '-e']), { input: `${lines.join('\n')}\n` });
}

/** Many `ip` commands in one process, in the root namespace. */
export async function ipBatch(lines: readonly string[]): Promise<void> {
  if (lines.length > 0) await runOk(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/** Ids of all processes whose network namespace is one of these, whoever started them. */
export function processesIn(namespaces: readonly string[]): number[] {
  const inodes = new Set<string>();
  for (const name of namespaces) {
    try {
      inodes.add(`net:[${statSync(`${NAMESPACES_DIR}/${name}`).ino}]`);
    } catch {
      // removed meanwhile
    }
  }
  const pids: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (inodes.has(readlinkSync(`/proc/${entry}/ns/net`))) pids.push(Number(entry));
    } catch {
      // ended meanwhile, or a zombie
    }
  }
  return pids;
}

/**
 * When a process started, in clock ticks since boot (proc(5), stat field 22): with the pid it names a process for
 * good, where a pid alone may have been given to another since. Undefined when the process has ended.
 */
export function startTicksOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the name in parentheses, which may itself contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

/** The name of a process (proc(5), comm: 15 characters at most). Undefined when it has ended. */
export function nameOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
  } catch {
    return undefined;
  }
}

/** Ends processes by their ids and waits until they are gone. Returns those that were still there at the time limit. */
export async function killAll(pids: readonly number[], timeoutMs = 5_000): Promise<number[]> {
  let left = pids.filter((pid) => startTicksOf(pid) !== undefined);
  const until = Date.now() + timeoutMs;
  for (const pid of left) sendSignal(pid, 'SIGKILL');
  while (left.length > 0 && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    left = left.filter((pid) => startTicksOf(pid) !== undefined);
  }
  return left;
}

/** Sends a signal; false when the process is gone. */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
