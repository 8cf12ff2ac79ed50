import { readFileSync } from 'node:fs';
import type { Lab } from './lab.ts';

/**
 * What the machine had no time for, to be told apart from what a network lost: the userspace datapath reads packets from
 * sockets, and a socket that overflows while the switch waits for the processor counts what it dropped; so does the kernel
 * of what comes by a cable to a processor whose queue is full (that count is the whole machine's). On a machine with time
 * to spare all of these are zero.
 */

/** Gives what the machine has dropped since. */
export async function countingDrops(lab: Lab): Promise<() => Promise<number>> {
  const before = await machineDrops(lab);
  return async () => (await machineDrops(lab)) - before;
}

/** All that the machine has dropped for want of time, so far. */
async function machineDrops(lab: Lab): Promise<number> {
  return (await socketDrops(lab)) + queueDrops();
}

/** What packet sockets in the hosts' namespaces have dropped for want of room, so far. */
export async function socketDrops(lab: Lab): Promise<number> {
  const told = await Promise.all(lab.hosts.map(({ name }) => lab.execOk(name, ['ss', '-0', '-n', '-m', '-H'])));
  return told.flatMap((text) => [...text.matchAll(/,d(\d+)\)/g)]).reduce((sum, match) => sum + Number(match[1]), 0);
}

/** What the machine's processors had no room for in their queues (`netdev_max_backlog`), so far: /proc/net/softnet_stat, second column. */
export function queueDrops(): number {
  const lines = readFileSync('/proc/net/softnet_stat', 'utf8').trimEnd().split('\n');
  return lines.reduce((sum, line) => sum + Number.parseInt(line.split(/\s+/)[1]!, 16), 0);
}
