import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Cidr, type Ip, type Ipv4, type Ipv6, networkOf } from '../src/base/addresses.ts';
import { type Random, seededRandom } from '../src/base/random.ts';
import { Aggregate } from '../src/compile/aggregate.ts';
import { type Bench, type BenchContext, bounded, type Figure, median, plain } from './bench.ts';

/** The table of learned routes alone: what an agent does before any flow is made. */
export const aggregate: Bench = {
  name: 'aggregate',
  about: 'aggregation of 100,000 learned prefixes with four sets of next hops, IPv4 and IPv6: time, memory, one change',
  needsRoot: false,
  run,
};

const PREFIXES = 100_000;
const [BAR_BUILD_S, BAR_MB] = [1, 60];
/** As of full tables: most of 24 (48) bits, the rest shorter; the most specific ones mostly beside each other. */
const LENGTHS = {
  4: [24, 24, 24, 24, 24, 24, 23, 22, 22, 20, 19, 16],
  6: [48, 48, 48, 48, 44, 44, 40, 40, 36, 36],
} as const;

function prefixes(version: 4 | 6, random: Random): Cidr[] {
  const found = new Map<string, Cidr>();
  while (found.size < PREFIXES) {
    const lengths = LENGTHS[version];
    const prefix = lengths[random.below(lengths.length)]!;
    // Half of them beside each other.
    const low = random.below(2) ? random.below(2 ** 24) : random.below(2 ** 24) & 0x3f_ff00;
    const first = (1 + random.below(223)) * 2 ** 24 + low;
    const ip: Ip =
      version === 4
        ? { version, value: first as Ipv4 }
        : { version, value: ((0x2001n << 112n) | (BigInt(first) << 80n)) as Ipv6 };
    const to = networkOf({ ip, prefix });
    found.set(`${to.ip.value}/${prefix}`, to);
  }
  return [...found.values()];
}

/** One of four, the first for half of all. */
function setOf(random: Random): number {
  const number = random.below(8);
  return number < 4 ? 0 : number < 6 ? 1 : number < 7 ? 2 : 3;
}

async function run(context: BenchContext): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const version of [4, 6] as const) figures.push(...(await measure(context, version)));
  return figures;
}

async function measure(context: BenchContext, version: 4 | 6): Promise<Figure[]> {
  context.progress(`IPv${version}`);
  const random = seededRandom(version);
  const routes = prefixes(version, random).map((to) => ({ to, hops: setOf(random) }));
  const builds: number[] = [];
  let table = new Aggregate(1_000_000);
  const before = megabytes();
  for (let round = 0; round < (context.quick ? 2 : 5); round++) {
    table = new Aggregate(1_000_000);
    const from = process.cpuUsage();
    for (const { to, hops } of routes) table.put(to, hops);
    table.flush();
    builds.push(secondsSince(from));
    await context.sleep(0);
  }
  const memory = megabytes() - before;
  const count = [...table.routes()].length;
  const all: Cidr = { ip: routes[0]!.to.ip, prefix: 0 };
  table.put(all, 0);
  table.flush();
  const covered = [...table.routes()].length;
  const changes = 10_000;
  let from = process.cpuUsage();
  for (let i = 0; i < changes; i++) {
    table.put(routes[i * 7]!.to, setOf(random));
    table.flush();
  }
  const each = (secondsSince(from) / changes) * 1e6;
  from = process.cpuUsage();
  table.put(all, 1);
  table.flush();
  const what = `100,000 IPv${version} prefixes`;
  return [
    bounded(`${what}: processor time to take them all in`, median(builds), 's', BAR_BUILD_S),
    bounded(`${what}: memory`, memory, 'MB', BAR_MB),
    plain(`${what}: routes that remain`, count, 'routes'),
    plain(`${what}: with a default route like half of them`, covered, 'routes'),
    plain(`${what}: one of them changes`, each, 'µs'),
    plain(`${what}: the default route changes`, secondsSince(from) * 1000, 'ms'),
  ];
}

function secondsSince(from: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1e6;
}

function megabytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / 1e6;
}
