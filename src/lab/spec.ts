import { createHash } from 'node:crypto';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { formatCidr, formatIp, formatMac, networkOf, parseCidr, parseMac } from '../base/addresses.ts';
import { WeftError } from '../base/errors.ts';
import { address, addressWithPrefix, mtu, placeName, plus } from './spec-fields.ts';
import {
  completeUpstreams,
  type InternetSpec,
  type OutsideSpec,
  type RouterSpec,
  upstreamFields,
} from './upstream-spec.ts';

/**
 * The file that describes a lab. Example:
 *
 *     name: demo
 *     encap: geneve
 *     underlay: { subnet: 172.31.0.0/24, mtu: 1500 }
 *     hosts: [{ name: east }, { name: west, address: 172.31.0.20 }]
 *     workloads:
 *       - { name: web-1, host: east, port: web-1, dhcp: true }
 */

/** No dash in the name of a lab: namespaces are weft-LAB-PLACE, and no lab may have a prefix of another's. */
const labName = z.string().regex(/^[a-z][a-z0-9]{0,11}$/, 'a name is 1 to 12 of a-z and 0-9, a letter first');
const mac = z.string().refine((text) => parseMac(text) !== undefined, 'not a MAC address');

const workloadSchema = z.strictObject({
  name: placeName,
  host: z.string(),
  /**
   * The logical port behind which it is: the id that goes into `external_ids:iface-id`, or (where Weft runs in the lab)
   * `tenant/name`. Without it the interface stays unplugged.
   */
  port: z.string().min(1).optional(),
  mac: mac.optional(),
  /** Static addresses with prefix length; none where DHCP or router advertisements give them. */
  addresses: z.array(addressWithPrefix).default([]),
  /** Default routes to add. */
  gateways: z.array(address).default([]),
  /** Asks a DHCP server for an address once it is plugged. */
  dhcp: z.boolean().default(false),
  /** Room for any of the encapsulations within an underlay of 1500. */
  mtu: mtu.default(1400),
});

const hostSchema = z.strictObject({
  name: placeName,
  /** Its tunnel endpoint; the next free address of the underlay's subnet when not given. */
  address: address.optional(),
  /** The underlay answers at this address and routes between subnets; for hosts outside the underlay's subnet. */
  gateway: address.optional(),
  /** Of the host's own subnet; that of the underlay when not given. */
  prefix: z.int().min(8).max(127).optional(),
});

const labSchema = z.strictObject({
  name: labName,
  encap: z.enum(['geneve', 'vxlan', 'gre']).default('geneve'),
  underlay: z
    .strictObject({
      subnet: addressWithPrefix.default('172.31.0.0/24'),
      mtu: mtu.default(1500),
      /** Whose routes tunnels of the userspace datapath go by: those of the lab's description, or the hosts' kernels' (`HostSwitch`). */
      routes: z.enum(['given', 'kernel']).default('given'),
    })
    .prefault({}),
  /** `auto` is the kernel's datapath where the machine has it, else the userspace one. */
  datapath: z.enum(['auto', 'netdev', 'system']).default('auto'),
  hosts: z.array(hostSchema).min(1),
  workloads: z.array(workloadSchema).default([]),
  ...upstreamFields,
  /** Files of desired state, beside the lab's own file, that `weft lab up` applies before it plugs workloads in. */
  topology: z.array(z.string().min(1)).default([]),
});

export type LabSpecInput = z.input<typeof labSchema>;
export type WorkloadInput = z.input<typeof workloadSchema>;
export type WorkloadSpec = z.output<typeof workloadSchema> & { readonly mac: string };
export type HostSpec = {
  readonly name: string;
  readonly address: string;
  readonly prefix: number;
  readonly gateway?: string;
};
export type LabSpec = Omit<z.output<typeof labSchema>, 'hosts' | 'workloads' | 'internet' | 'routers' | 'outside'> & {
  readonly hosts: readonly HostSpec[];
  readonly workloads: readonly WorkloadSpec[];
  readonly internet: InternetSpec;
  readonly routers: readonly RouterSpec[];
  readonly outside: readonly OutsideSpec[];
  /** Where the server is reached, with prefix length: the first address of the underlay. */
  readonly server: string;
};

/** Reads a lab's YAML. Error: `invalid`, with every problem and where it is. */
export function readLabSpec(text: string): LabSpec {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
    throw new WeftError('invalid', `not YAML: ${error.message}`, { cause: error });
  }
  return checkLabSpec(value as LabSpecInput);
}

/** Checks a lab's description, gives addresses and MACs where it has none. Error: `invalid`, with every problem at once. */
export function checkLabSpec(input: LabSpecInput): LabSpec {
  const parsed = labSchema.safeParse(input);
  if (!parsed.success) throw invalid(parsed.error.issues.map((i) => `${i.path.join('.') || 'lab'}: ${i.message}`));
  const spec = parsed.data;
  const problems: string[] = [];
  const subnet = parseCidr(spec.underlay.subnet)!;
  const base = networkOf(subnet).ip;
  const hosts = spec.hosts.map((host, index): HostSpec => {
    const chosen = host.address ?? formatIp(plus(base, 11 + index));
    return {
      name: host.name,
      address: chosen,
      prefix: host.prefix ?? subnet.prefix,
      ...(host.gateway ? { gateway: host.gateway } : {}),
    };
  });
  const workloads = spec.workloads.map((w) => completeWorkload(spec.name, w));
  const upstreams = completeUpstreams(
    spec,
    hosts.map((h) => h.name),
    problems,
  );
  const { routers, outside } = upstreams;
  for (const name of duplicates([...hosts, ...workloads, ...routers, ...outside].map((p) => p.name)))
    problems.push(`the name ${name} is used twice`);
  for (const a of duplicates(hosts.map((h) => h.address))) problems.push(`the address ${a} is used by two hosts`);
  for (const m of duplicates(workloads.map((w) => w.mac))) problems.push(`the MAC ${m} is used by two workloads`);
  for (const w of workloads)
    if (!hosts.some((h) => h.name === w.host)) problems.push(`workload ${w.name}: there is no host ${w.host}`);
  if (problems.length > 0) throw invalid(problems);
  return { ...spec, ...upstreams, hosts, workloads, server: formatCidr({ ip: plus(base, 1), prefix: subnet.prefix }) };
}

/** One workload's description, checked and completed. Error: `invalid`. */
export function checkWorkload(lab: string, input: WorkloadInput): WorkloadSpec {
  const parsed = workloadSchema.safeParse(input);
  if (!parsed.success) throw invalid(parsed.error.issues.map((i) => `${i.path.join('.') || 'workload'}: ${i.message}`));
  return completeWorkload(lab, parsed.data);
}

function completeWorkload(lab: string, workload: z.output<typeof workloadSchema>): WorkloadSpec {
  return { ...workload, mac: workload.mac ? formatMac(parseMac(workload.mac)!) : macFor(`${lab}/${workload.name}`) };
}

/** A locally administered unicast MAC, the same for the same text every time. */
export function macFor(text: string): string {
  const digest = createHash('sha256').update(text).digest();
  return `02:${[...digest.subarray(0, 5)].map((b) => b.toString(16).padStart(2, '0')).join(':')}`;
}

function duplicates(values: readonly string[]): string[] {
  return [...new Set(values.filter((v, i) => values.indexOf(v) !== i))];
}

function invalid(problems: readonly string[]): WeftError {
  return new WeftError('invalid', `the lab's description is not valid:\n${problems.map((p) => `  ${p}`).join('\n')}`, {
    details: problems,
  });
}
