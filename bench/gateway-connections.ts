import { type Bench, type BenchContext, compared, comparedRounds, type Figure, type Rounds } from './bench.ts';
import type { Cloud } from './cloud.ts';
import { switchSeconds } from './cloud-traffic.ts';
import { GATEWAY_OF, startOvnGateways } from './gateway-ovn.ts';
import { GATEWAYS, PLAIN_OF, pairsOf, WAYS, type Way } from './gateway-site.ts';
import { startWeftGateways } from './gateway-weft.ts';
import { countWay, type PathCounts } from './path-counts.ts';
import { listenAt, openConnections } from './traffic.ts';

/** What gateways cost connections: translated ones against plain ones, and both against OVN's gateway routers. */
export const gatewayConnections: Bench = {
  name: 'gateway-connections',
  about: 'connections by two gateways: routed, SNAT, floating address, VIP; Weft, OVN',
  needsRoot: true,
  isLong: true,
  run,
};

/** Of the issue: translated connections a second to plain ones. */
const PLAIN_BAR = 0.9;
const ROUND_MS = 1_000;
const WARM = 128;

interface Measured {
  readonly perSecond: number;
  /** Processor time of all switches per connection, without what they use anyway: the same whatever else the machine does. */
  readonly switchMicroseconds: number;
}
/** How long switches are watched without traffic. */
const IDLE_MS = 5_000;

async function run(context: BenchContext): Promise<Figure[]> {
  const weft = await startWeftGateways(context);
  const ovn = await startOvnGateways(context);
  for (const side of [weft, ovn]) await makeReady(context, side, side === ovn);
  const counts = new Map<Cloud, ReadonlyMap<Way, PathCounts>>();
  for (const side of [weft, ovn]) counts.set(side, await countAll(context, side));
  const idle = new Map<Cloud, number>();
  for (const side of [weft, ovn]) idle.set(side, await idleShare(context, side));
  const measured = await measureAll(context, [weft, ovn], idle);
  const valuesOf = (side: Cloud, way: Way, what: keyof Measured): readonly number[] =>
    measured
      .get(side)!
      .get(way)!
      .map((one) => one[what]);

  const figures: Figure[] = [];
  for (const [way, plain] of PLAIN_OF)
    for (const side of [weft, ovn]) {
      const roundsOf = (what: keyof Measured): Rounds => ({
        ours: valuesOf(side, way, what),
        peers: valuesOf(side, plain, what),
      });
      const want = side === weft ? { atLeast: PLAIN_BAR } : {};
      figures.push(
        comparedRounds(`${side.name}: connections, ${way}`, '/s', plain, roundsOf('perSecond'), want),
        comparedRounds(`${side.name}: ${COST}, ${way}`, 'µs', plain, roundsOf('switchMicroseconds')),
      );
    }
  for (const way of WAYS) {
    const rounds = { ours: valuesOf(weft, way, 'perSecond'), peers: valuesOf(ovn, way, 'perSecond') };
    figures.push(comparedRounds(`connections, ${way}`, '/s', ovn.name, rounds, { atLeast: 1 }));
  }
  for (const way of WAYS) {
    const [ours, peers] = [weft, ovn].map((side) => valuesOf(side, way, 'switchMicroseconds'));
    figures.push(comparedRounds(`${COST}, ${way}`, 'µs', ovn.name, { ours: ours!, peers: peers! }, { atMost: 1 }));
  }
  const [ours, peers] = [weft, ovn].map((side) => idle.get(side)! * 1000);
  figures.push(compared('the same in a second without traffic', ours!, 'ms', { name: ovn.name, value: peers! }));
  for (const way of WAYS)
    for (const [name, what, unit] of COUNTS) {
      const [ours, peers] = [weft, ovn].map((side) => counts.get(side)!.get(way)![name]);
      figures.push(compared(`${what}, ${way}`, ours!, unit, { name: ovn.name, value: peers! }));
    }
  return figures;
}

const COST = 'processor time of all switches per connection';
const COUNTS: readonly (readonly [keyof PathCounts, string, unit: string])[] = [
  ['passes', 'passes through the datapath', '/packet'],
  ['tracked', 'conntrack actions', '/packet'],
  ['megaflows', 'megaflows of a first connection', ''],
  ['megaflowsAfterMany', 'megaflows after 400 more', ''],
  ['tries', 'masks tried per pass', ''],
];

/** Returns when every way carries connections. */
async function makeReady(context: BenchContext, { lab, name }: Cloud, isByAddress: boolean): Promise<void> {
  if (isByAddress)
    for (const [address, i] of GATEWAY_OF) {
      const via = lab.spec.routers.find((router) => router.name === GATEWAYS[i]!.router)!.addresses[0]!.split('/')[0]!;
      await lab.execOk('client', ['ip', 'route', 'add', address, 'via', via]);
    }
  const ends = new Map(WAYS.flatMap(pairsOf).map((pair) => [pair.to, pair]));
  for (const pair of ends.values()) await listenAt(context, lab, pair);
  for (const way of WAYS)
    for (const pair of pairsOf(way))
      await context.until(
        `an answer, ${name}, ${way}, ${pair.from}`,
        async () => ((await openConnections(lab, pair, { count: 32 })).failed === 0 ? true : undefined),
        { timeoutMs: 60_000 },
      );
}

async function countAll(context: BenchContext, { lab, name }: Cloud): Promise<ReadonlyMap<Way, PathCounts>> {
  const counts = new Map<Way, PathCounts>();
  for (const way of WAYS) {
    counts.set(way, await countWay(lab, pairsOf(way)));
    context.progress(`${way}, ${name}: ${JSON.stringify(counts.get(way))}`);
  }
  return counts;
}

/** Processor seconds a second that the switches use when nobody says anything: probes of gateways, looks of agents. */
async function idleShare(context: BenchContext, { lab }: Cloud): Promise<number> {
  const [from, before] = [performance.now(), switchSeconds(lab)];
  await context.sleep(context.quick ? IDLE_MS / 5 : IDLE_MS);
  return (switchSeconds(lab) - before) / ((performance.now() - from) / 1000);
}

/** Rounds of all ways of all sides in turn, each round beginning with another side. */
async function measureAll(
  context: BenchContext,
  sides: readonly Cloud[],
  idle: ReadonlyMap<Cloud, number>,
): Promise<ReadonlyMap<Cloud, ReadonlyMap<Way, readonly Measured[]>>> {
  const measured = new Map(sides.map((side) => [side, new Map(WAYS.map((way) => [way, [] as Measured[]]))]));
  // The first round is for what is made at first: blocks of ports, processes' own code.
  const rounds = context.quick ? 1 : 25;
  for (let round = -1; round < rounds; round++)
    for (const side of round % 2 === 0 ? sides : sides.toReversed())
      for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
        context.signal.throwIfAborted();
        const value = await measure(side, way, idle.get(side)!);
        if (round >= 0) measured.get(side)!.get(way)!.push(value);
        context.progress(
          `round ${round}, ${side.name}, ${way}: ${value.perSecond.toFixed(0)} /s, ${value.switchMicroseconds.toFixed(0)} µs`,
        );
      }
  return measured;
}

async function measure({ lab }: Cloud, way: Way, idle: number): Promise<Measured> {
  const pairs = pairsOf(way);
  // Megaflows of the round before have ended by now (10 s): new ones are made on the first connections to or from each address.
  await Promise.all(pairs.map((pair) => openConnections(lab, pair, { count: WARM })));
  const [from, before] = [performance.now(), switchSeconds(lab)];
  const all = await Promise.all(pairs.map((pair) => openConnections(lab, pair, { ms: ROUND_MS })));
  const spent = switchSeconds(lab) - before - (idle * (performance.now() - from)) / 1000;
  const whole = all.reduce((sum, one) => sum + one.whole, 0);
  return {
    perSecond: all.reduce((sum, one) => sum + (one.whole / one.elapsedMs) * 1000, 0),
    switchMicroseconds: (spent * 1e6) / whole,
  };
}
