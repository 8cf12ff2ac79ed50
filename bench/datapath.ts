import type { Lab } from '../src/lab/lab.ts';
import {
  alternate,
  type Bench,
  type BenchContext,
  bounded,
  comparedRounds,
  type Figure,
  plain,
  type Rounds,
} from './bench.ts';
import { ENCAP, HOST_NAMES, planPorts } from './network.ts';
import { joinStatically, STATIC_WORKLOADS } from './static-pair.ts';
import {
  countMegaflows,
  forgetMegaflows,
  knowNeighbours,
  listenAt,
  openConnections,
  type Pair,
  packetRate,
  pingOnce,
  tcpThroughput,
} from './traffic.ts';
import { startWeft } from './weft.ts';

/** What the pipeline costs packets: Weft's flows against two static ones, in the same Open vSwitch, in turns. */
export const datapath: Bench = {
  name: 'datapath',
  about:
    'throughput, packet and connection rate, first packet and megaflows between two hosts; against two static flows',
  needsRoot: true,
  run,
};

async function run(context: BenchContext): Promise<Figure[]> {
  context.progress('starting two hosts');
  const { lab, pair } = await startPair(context);
  const peer = await joinStatically(lab, ENCAP);
  for (const side of [pair, peer]) {
    await knowNeighbours(lab, side);
    await listenAt(context, lab, side);
    await context.until('an answer', () => pingOnce(lab, side).catch(() => undefined));
  }
  const rounds = context.quick ? 1 : 8;
  const inTurns = (metric: string, measure: (side: Pair) => Promise<number>, times = rounds): Promise<Rounds> => {
    let run = 0;
    const told = (side: Pair): Promise<number> => {
      context.progress(`${metric}: run ${++run} of ${2 * times}`);
      return measure(side);
    };
    return alternate(
      context,
      times,
      () => told(pair),
      () => told(peer),
    );
  };
  const throughput = await inTurns(
    'TCP throughput',
    async (side) => (await tcpThroughput(lab, side, 1)).bitsPerSecond / 1e6,
  );
  const rate = await inTurns('packet rate', (side) => packetRate(context, lab, side, 1_000));
  const opened = await inTurns('connection rate', async (side) => {
    const { whole, elapsedMs } = await openConnections(lab, side, { ms: 1_000 });
    return (whole / elapsedMs) * 1000;
  });
  const firstPacket = async (side: Pair): Promise<number> => {
    await forgetMegaflows(lab);
    return pingOnce(lab, side);
  };
  const first = await inTurns('first packet', firstPacket, context.quick ? 3 : 15);
  return [
    comparedRounds('TCP throughput, one connection', 'Mbit/s', PEER, throughput, { atLeast: 0.95 }),
    comparedRounds('UDP packet rate, 64-byte frames', 'packets/s', PEER, rate, { atLeast: 0.95 }),
    comparedRounds('TCP connections opened and closed', '/s', PEER, opened),
    comparedRounds('first ping after the cache is emptied', 'ms', PEER, first),
    ...(await megaflows(context, lab, pair, peer)),
  ];
}

const CONNECTIONS = 1000;
const PEER = 'two static flows';

async function megaflows(context: BenchContext, lab: Lab, pair: Pair, peer: Pair): Promise<Figure[]> {
  context.progress(`megaflows for ${CONNECTIONS} connections`);
  const most = async (side: Pair): Promise<number> => {
    await forgetMegaflows(lab);
    await openConnections(lab, side, { count: CONNECTIONS });
    return Math.max(...(await countMegaflows(lab)));
  };
  return [
    bounded(`megaflows per host for ${CONNECTIONS} TCP connections`, await most(pair), '', 10),
    plain('the same with two static flows', await most(peer), ''),
  ];
}

/** Two workloads on two hosts behind Weft, and two beside them for `joinStatically`. */
async function startPair(context: BenchContext): Promise<{ lab: Lab; pair: Pair }> {
  const size = { switches: 1, ports: 2, localPorts: 1, localSwitches: 1, others: 1 } as const;
  const others = STATIC_WORKLOADS.map(({ name, address }, i) => ({
    name,
    host: HOST_NAMES[i]!,
    addresses: [`${address}/24`],
  }));
  const { lab } = await startWeft(context, { size, workloads: ['weft-a', 'weft-b'], others });
  const [from, to] = planPorts(size).map((port) => port.addresses[0]);
  return { lab, pair: { from: 'weft-a', to: 'weft-b', fromAddress: from!, toAddress: to! } };
}
