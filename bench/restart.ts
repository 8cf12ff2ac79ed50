import { type StreamReport, startStream } from '../src/lab/packet-stream.ts';
import { type Bench, type BenchContext, bounded, type Figure, plain } from './bench.ts';
import { planPorts } from './network.ts';
import { startWeft, type WeftBench } from './weft.ts';

/** Packets lost while agents and the server are restarted, stopped and killed under a stream between two hosts. */
export const restart: Bench = {
  name: 'restart',
  about:
    'packets lost of 5,000 a second while an agent restarts, is killed, and while the server is stopped for a minute',
  needsRoot: true,
  run,
};

const PPS = 5_000;

async function run(context: BenchContext): Promise<Figure[]> {
  const size = { switches: 1, ports: 2, localPorts: 1, localSwitches: 1, others: 1 } as const;
  const weft = await startWeft(context, { size, workloads: ['weft-a', 'weft-b'] });
  const address = planPorts(size)[1]!.addresses[0];
  const serverAwayMs = context.quick ? 3_000 : 60_000;

  const under = async (metric: string, what: () => Promise<unknown>): Promise<Figure[]> => {
    context.progress(metric);
    const stream = await startStream(weft.lab, { from: 'weft-a', to: 'weft-b', address, pps: PPS });
    await context.sleep(1_000);
    await what();
    await context.sleep(1_000);
    return figuresOf(metric, await stream.stop());
  };
  const figures = [
    ...(await under('agents restarted', () => eachAgent(weft, (host) => weft.agent(host).restart()))),
    ...(await under('agents killed and started', () => eachAgent(weft, (host) => killAndStart(weft, host)))),
    ...(await under(`server stopped for ${serverAwayMs / 1000} s`, async () => {
      await weft.server.stop();
      for (let left = serverAwayMs; left > 0; left -= 5_000) {
        context.progress(`the server is away for ${left / 1000} s more`);
        await context.sleep(Math.min(left, 5_000));
      }
      await weft.server.start();
    })),
  ];
  return figures;
}

async function eachAgent(weft: WeftBench, what: (host: string) => Promise<unknown>): Promise<void> {
  for (const { name } of weft.lab.hosts) await what(name);
}

async function killAndStart(weft: WeftBench, host: string): Promise<void> {
  const agent = weft.agent(host);
  await agent.kill();
  await agent.start();
}

/** What a full socket at the receiver lost is not the network's. */
function figuresOf(metric: string, report: StreamReport): Figure[] {
  const lost = report.lost - report.lostAtReceiver;
  return [
    bounded(`${metric}: packets lost of ${report.sent.toLocaleString('en-US')}`, lost, 'packets', 0),
    plain(`${metric}: longest time without a packet`, report.longestGapMs, 'ms'),
  ];
}
