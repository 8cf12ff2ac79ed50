import type { CompiledFlow } from '../src/compile/flow-sink.ts';
import { type Bench, type BenchContext, bounded, type Figure, plain } from './bench.ts';
import { compileNetwork } from './compiled.ts';
import type { NetworkSize } from './network.ts';

/** How many flows one more port costs a host, by compiling networks that differ in nothing else. */
export const flowsPerHost: Bench = {
  name: 'flows-per-host',
  about: 'flows on a host per dual-stack local port and per remote address that it can reach',
  needsRoot: false,
  run,
};

const SWITCHES = 40;
const MORE = 10;
/** The first: 200 local ports over 40 switches. */
const BASE: NetworkSize = {
  switches: SWITCHES,
  ports: SWITCHES * 20,
  localPorts: SWITCHES * 5,
  localSwitches: SWITCHES,
};

async function run(context: BenchContext): Promise<Figure[]> {
  context.progress('compiling');
  const more = SWITCHES * MORE;
  const base = count(BASE);
  const local = count({ ...BASE, ports: BASE.ports + more, localPorts: BASE.localPorts + more });
  const remote = count({ ...BASE, ports: BASE.ports + more });
  return [
    bounded('flows per local port (one IPv4, one IPv6 address)', (local.needed - base.needed) / more, 'flows', 12),
    // A remote port has two addresses.
    bounded('flows per remote address', (remote.needed - base.needed) / more / 2, 'flows', 3),
    plain('more per local port, to keep a spray wide', (local.wide - base.wide) / more, 'flows'),
    plain('all flows, 200 local of 800 ports on 40 switches', base.needed + base.wide, 'flows'),
  ];
}

function count(size: NetworkSize): { readonly needed: number; readonly wide: number } {
  const { compiler } = compileNetwork(size);
  let wide = 0;
  for (const compiled of compiler.compiled()) if (keepsSprayWide(compiled)) wide++;
  return { needed: compiler.flowCount - wide, wide };
}

const ADDRESSES = ['eth_src', 'eth_dst', 'arp_spa', 'arp_sha', 'nd_sll', 'nd_tll', 'nd_target'] as const;

/**
 * A drop that looks at one bit of an address which all owned ones have the other way round: without it the frame would
 * be dropped all the same, by a megaflow of its own (docs/design/layer2.md, Cost).
 */
function keepsSprayWide({ match, reason }: CompiledFlow): boolean {
  if (reason === undefined) return false;
  return ADDRESSES.some((field) => {
    const entry = match[field];
    return typeof entry === 'object' && isOneBit(BigInt(entry.mask));
  });
}

function isOneBit(mask: bigint): boolean {
  return mask !== 0n && (mask & (mask - 1n)) === 0n;
}
