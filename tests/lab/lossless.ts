import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Lab } from '../../src/lab/lab.ts';
import { type StreamOptions, type StreamReport, startStream } from '../../src/lab/packet-stream.ts';

/**
 * Streams of which nothing may be lost. What the machine had no time for is told apart from what the network lost: the
 * userspace datapath reads packets from sockets, and a socket that overflows while the switch waits for the processor
 * counts what it dropped; so does the kernel of what comes by a cable to a processor whose queue is full (that count is the whole machine's).
 * On a machine with time to spare all of these are zero.
 */
export interface LosslessStreams {
  /** Ends the streams. Fails where a packet is missing that no full socket or queue accounts for; duplicates are the caller's to judge. */
  stop(what: string): Promise<readonly StreamReport[]>;
}

export async function startLossless(lab: Lab, options: readonly StreamOptions[]): Promise<LosslessStreams> {
  const [inSwitchesBefore, inQueuesBefore] = [await socketDrops(lab), queueDrops()];
  const streams = await Promise.all(options.map((each, i) => startStream(lab, { port: 7000 + i, ...each })));
  return {
    async stop(what) {
      const reports = await Promise.all(streams.map((stream) => stream.stop()));
      const inSwitches = (await socketDrops(lab)) - inSwitchesBefore;
      const inQueues = queueDrops() - inQueuesBefore;
      const sum = (of: (report: StreamReport) => number): number => reports.reduce((n, report) => n + of(report), 0);
      const lost = sum((report) => report.lost - report.lostAtReceiver);
      const about = `${what}: ${JSON.stringify(reports)}, ${inSwitches} in sockets of the switches, ${inQueues} in queues of the machine`;
      assert.ok(sum((report) => report.sent) > 1000, about);
      assert.ok(lost <= inSwitches + inQueues, about);
      return reports;
    },
  };
}

/** What packet sockets in the hosts' namespaces have dropped for want of room, so far. */
export async function socketDrops(lab: Lab): Promise<number> {
  const told = await Promise.all(lab.hosts.map(({ name }) => lab.execOk(name, ['ss', '-0', '-n', '-m', '-H'])));
  return told.flatMap((text) => [...text.matchAll(/,d(\d+)\)/g)]).reduce((sum, match) => sum + Number(match[1]), 0);
}

/** All that the machine has dropped for want of time, so far. */
async function machineDrops(lab: Lab): Promise<number> {
  return (await socketDrops(lab)) + queueDrops();
}

/** Gives what the machine has dropped since. */
export async function countingDrops(lab: Lab): Promise<() => Promise<number>> {
  const before = await machineDrops(lab);
  return async () => (await machineDrops(lab)) - before;
}

/** The result of a round in which the machine dropped nothing, the third whatever it dropped: for what counts packets exactly. */
export async function undropped<T>(lab: Lab, round: () => Promise<T>): Promise<T> {
  for (let left = 2; ; left--) {
    const drops = await countingDrops(lab);
    const result = await round();
    if (left === 0 || (await drops()) === 0) return result;
  }
}

/** What the machine's processors had no room for in their queues (`netdev_max_backlog`), so far: /proc/net/softnet_stat, second column. */
function queueDrops(): number {
  const lines = readFileSync('/proc/net/softnet_stat', 'utf8').trimEnd().split('\n');
  return lines.reduce((sum, line) => sum + Number.parseInt(line.split(/\s+/)[1]!, 16), 0);
}
