import type { CompiledFlow } from '../src/compile/flow-sink.ts';
import type { InputRecord } from '../src/compile/inputs.ts';
import type { SecurityGroup } from '../src/model/objects.ts';
import { type Bench, type BenchContext, bounded, type Figure, plain } from './bench.ts';
import { compileNetwork } from './compiled.ts';
import type { NetworkSize } from './network.ts';

/** How many flows one more port costs a host, by compiling networks that differ in nothing else. */
export const flowsPerHost: Bench = {
  name: 'flows-per-host',
  about:
    'flows on a host per local port and per remote address that it can reach, dual-stack, and IPv4 with a security group',
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
  const groupBase = count(BASE, ipv4Grouped);
  const groupLocal = count({ ...BASE, ports: BASE.ports + more, localPorts: BASE.localPorts + more }, ipv4Grouped);
  const groupRemote = count({ ...BASE, ports: BASE.ports + more }, ipv4Grouped);
  return [
    bounded(
      'flows per local port (IPv4, security group, wide ones included)',
      (groupLocal.all - groupBase.all) / more,
      'flows',
      8,
    ),
    bounded(
      'flows per remote port (IPv4, in the group that is asked for)',
      (groupRemote.all - groupBase.all) / more,
      'flows',
      3,
    ),
    bounded('flows per local port (one IPv4, one IPv6 address)', (local.needed - base.needed) / more, 'flows', 12),
    // A remote port has two addresses.
    bounded('flows per remote address', (remote.needed - base.needed) / more / 2, 'flows', 3),
    plain('more per local port, to keep a spray wide', (local.wide - base.wide) / more, 'flows'),
    plain('all flows, 200 local of 800 ports on 40 switches', base.needed + base.wide, 'flows'),
  ];
}

/** Every port with its IPv4 address alone, and in one group whose members may talk to each other. */
function ipv4Grouped(record: InputRecord): InputRecord {
  const isIpv4 = (text: string): boolean => !text.includes(':');
  if (record.kind === 'port') return { ...record, addresses: record.addresses.filter(isIpv4), groups: [GROUP.id] };
  if (record.kind === 'switch') return { ...record, subnets: record.subnets.filter(({ cidr }) => isIpv4(cidr)) };
  return record.kind === 'interface' ? { ...record, zone: 4 } : record;
}

function count(
  size: NetworkSize,
  adapt?: (record: InputRecord) => InputRecord,
): { readonly needed: number; readonly wide: number; readonly all: number } {
  const { compiler } = compileNetwork(size, adapt);
  if (adapt !== undefined) compiler.update([{ op: 'put', record: GROUP }]);
  let wide = 0;
  for (const compiled of compiler.compiled()) if (keepsSprayWide(compiled)) wide++;
  return { needed: compiler.flowCount - wide, wide, all: compiler.flowCount };
}

const GROUP_ID = '00000000-0000-4000-8000-00000000beef';
const GROUP: SecurityGroup = {
  ...{ kind: 'securityGroup', id: GROUP_ID, name: 'members', tenant: GROUP_ID, revision: 1, key: 0xffffff },
  ...{ ingress: [{ group: GROUP_ID }, { protocol: 'tcp', ports: '22' }], egress: [{}] },
};

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
