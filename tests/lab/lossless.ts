import assert from 'node:assert/strict';
import type { Lab } from '../../src/lab/lab.ts';
import { countingDrops, queueDrops, socketDrops } from '../../src/lab/machine-drops.ts';
import { type StreamOptions, type StreamReport, startStream } from '../../src/lab/packet-stream.ts';

/** Streams of which nothing may be lost, but for what the machine had no time for (`machine-drops.ts`). */
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

/** The result of a round in which the machine dropped nothing, the third whatever it dropped: for what counts packets exactly. */
export async function undropped<T>(lab: Lab, round: () => Promise<T>): Promise<T> {
  for (let left = 2; ; left--) {
    const drops = await countingDrops(lab);
    const result = await round();
    if (left === 0 || (await drops()) === 0) return result;
  }
}
