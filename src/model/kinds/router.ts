import { z } from 'zod';
import { formatCidr, formatIp, parseCidr } from '../../base/addresses.ts';
import { addressCount, canonicalRange, firstInBoth, parseAddressRange, rangeProblem } from '../address-pool.ts';
import type { KindDefinition } from '../kind.ts';
import { MOST_IN_POOL } from '../snat.ts';
import { PROTOCOL_NAMES } from '../texts.ts';
import { bgpSchema } from './bgp.ts';
import {
  addressOrCidrSchema,
  cidrSchema,
  inboundLimitSchema,
  ipSchema,
  kbpsSchema,
  keySchema,
  portRangeSchema,
  prefilterSchema,
  refSchema,
  unicastMacSchema,
} from './common.ts';

/** Does the next hop answer? Defaults find silence within 0.6 s: (failures + 1) × intervalMs (docs/design/gateways.md, §7). */
const nextHopProbeSchema = z.strictObject({
  type: z
    .enum(['arp', 'ping', 'bfd'])
    .default('arp')
    .describe(
      'arp: ARP, or neighbour discovery for IPv6; ping: ICMP echo; bfd: single-hop BFD, the next hop speaks it too',
    ),
  intervalMs: z.number().int().min(50).max(60_000).default(150).describe('a probe each'),
  failures: z.number().int().min(1).max(20).default(3).describe('so many unanswered in a row: not used'),
  recoveries: z.number().int().min(1).max(20).default(3).describe('so many answered in a row: used again'),
});

/** Routes with the same `to`, `from` and `metric` and a `via` are one ECMP route (docs/design/layer3.md, §6.7). */
export const routeSchema = z
  .strictObject({
    to: cidrSchema.describe('destination network'),
    from: cidrSchema.optional().describe('only for these sources'),
    via: ipSchema.optional().describe('next hop'),
    action: z.enum(['blackhole', 'reject']).optional().describe('instead of via'),
    metric: z.number().int().min(1).max(65_535).default(100).describe('of equal networks the lowest wins'),
    weight: z.number().int().min(1).max(100).default(1).describe('share of this next hop among equal routes'),
    probe: nextHopProbeSchema
      .optional()
      .describe('is the next hop there? while it is silent others are used; {}: by ARP'),
  })
  .superRefine((route, context) => {
    if (route.probe !== undefined && route.via === undefined)
      context.addIssue({ code: 'custom', path: ['probe'], message: 'only a next hop (via) can be probed' });
    if ((route.via === undefined) === (route.action === undefined))
      context.addIssue({ code: 'custom', path: ['via'], message: 'a route has one of via (a next hop) and action' });
  });

export const policyMatchSchema = z
  .strictObject({
    src: addressOrCidrSchema.optional(),
    dst: addressOrCidrSchema.optional(),
    protocol: z.union([z.enum(['icmp', 'tcp', 'udp', 'icmpv6', 'sctp']), z.number().int().min(0).max(255)]).optional(),
    srcPorts: portRangeSchema.optional(),
    dstPorts: portRangeSchema.optional(),
  })
  .superRefine((match, context) => {
    const protocol = typeof match.protocol === 'string' ? PROTOCOL_NAMES[match.protocol] : match.protocol;
    if ((match.srcPorts ?? match.dstPorts) !== undefined && ![6, 17, 132].includes(protocol ?? -1))
      context.addIssue({ code: 'custom', path: ['protocol'], message: 'ports need protocol tcp, udp or sctp' });
    if (match.src !== undefined && match.dst !== undefined && match.src.includes(':') !== match.dst.includes(':'))
      context.addIssue({ code: 'custom', path: ['dst'], message: 'src and dst are of different IP versions' });
  });

export const policyRouteSchema = z
  .strictObject({
    position: z.number().int().min(1).max(10_000).describe('tried from the lowest up'),
    match: policyMatchSchema.default({}),
    action: z.enum(['reroute', 'allow', 'drop']).describe('allow: go on to the routes'),
    via: ipSchema.optional().describe('next hop, for reroute'),
  })
  .superRefine((policy, context) => {
    if ((policy.action === 'reroute') !== (policy.via !== undefined))
      context.addIssue({
        code: 'custom',
        path: ['via'],
        message: 'reroute needs via, a next hop; nothing else has one',
      });
  });

/** `203.0.113.10`, `203.0.113.10-203.0.113.17` or `203.0.113.16/29`. */
const poolEntrySchema = z
  .string()
  .superRefine((text, context) => {
    const message = rangeProblem(text);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  })
  .overwrite(canonicalRange);

export const snatSchema = z
  .strictObject({
    from: cidrSchema.describe('sources that are translated'),
    to: z
      .union([poolEntrySchema, z.array(poolEntrySchema).min(1)])
      .describe(
        `the address that the outside sees; or a pool of up to ${MOST_IN_POOL}, as a list of addresses, ranges (203.0.113.10-203.0.113.17) and networks: each source has one of it`,
      ),
  })
  .superRefine(({ from, to }, context) => {
    const entries = [to].flat().map(parseAddressRange);
    const complain = (at: number, message: string): void =>
      context.addIssue({ code: 'custom', path: typeof to === 'string' ? ['to'] : ['to', at], message });
    for (const [at, range] of entries.slice(0, MOST_IN_POOL).entries()) {
      if (!range) continue;
      if (from.includes(':') !== (range.first.version === 6)) complain(at, 'from and to are of different IP versions');
      for (const [twin, other] of entries.slice(0, at).entries()) {
        const both = other && firstInBoth(other, range);
        if (both) complain(at, `${formatIp(both)} is in to[${twin}] too`);
      }
    }
    const count = entries.reduce((sum, range) => sum + (range ? addressCount(range) : 0n), 0n);
    if (count > MOST_IN_POOL)
      context.addIssue({ code: 'custom', path: ['to'], message: `${count} addresses are more than ${MOST_IN_POOL}` });
  });

export const routerSchema = z.strictObject({
  routes: z
    .array(routeSchema)
    .max(1000)
    .default([])
    .describe('static routes; networks of its ports are known by themselves'),
  policies: z.array(policyRouteSchema).max(1000).default([]).describe('before the routes: by source, protocol, port'),
  snat: z.array(snatSchema).max(64).default([]).describe('source translation at outside ports'),
  bgp: bgpSchema.optional().describe('what it tells its bgp-peers'),
  prefilter: prefilterSchema.describe('chain for what comes in by its outside ports, before all work'),
  inboundLimit: inboundLimitSchema.describe('most that comes in by its outside ports, at each host'),
  adminUp: z.boolean().default(true).describe('false: nothing passes'),
  key: keySchema.optional().describe('allocated'),
});

export const routerKind = {
  kind: 'router',
  plural: 'routers',
  about: 'joins switches at layer 3 (logical router)',
  tenantOwned: true,
  schema: routerSchema,
  references: [{ path: 'prefilter', kind: 'chain', sameTenant: true, onDelete: 'restrict' }],
  allocated: ['key'],
  columns: ['routes[].to', 'snat[].to', 'adminUp'],
} as const satisfies KindDefinition;

/** Reverse path filtering (RFC 3704 §2); absent: `own` where a BGP peer is, else `off`. */
const SOURCE_CHECKS = ['off', 'own', 'loose', 'strict'] as const;

/** `10.0.1.1/24`: an address of a host with the length of its network's prefix. */
const interfaceAddressSchema = z
  .string()
  .refine((text) => parseCidr(text) !== undefined, 'an address with its prefix length is wanted, as 10.0.1.1/24')
  .overwrite((text) => {
    const cidr = parseCidr(text);
    return cidr ? formatCidr(cidr) : text;
  });

export const routerPortSchema = z
  .strictObject({
    router: refSchema.describe('the router that it belongs to; stays'),
    switch: refSchema.optional().describe('the switch that it joins'),
    peer: refSchema.optional().describe("another router's port with neither switch nor peer, as router/port"),
    mac: unicastMacSchema.optional().describe('allocated when not given'),
    addresses: z.array(interfaceAddressSchema).max(16).default([]).describe('with prefix length, as 10.0.1.1/24'),
    /** Address translation happens here, and only what is translated comes in. */
    outside: z.boolean().default(false).describe('true: faces the outside; NAT happens here'),
    /** Of what ports of its switch send into the router (docs/design/gateways.md, §8). */
    sourceCheck: z
      .enum(SOURCE_CHECKS)
      .optional()
      .describe('sources that may come in here: all but ours (own), routed ones (loose), those routed here (strict)'),
    inChain: refSchema
      .optional()
      .describe(
        'filter for what enters the router here; at uplinks rules for known connections are true of those that workloads know',
      ),
    outChain: refSchema.optional().describe('filter for what leaves the router here'),
    adminUp: z.boolean().default(true).describe('false: nothing passes'),
    key: keySchema.optional().describe('allocated'),
  })
  .superRefine((port, context) => {
    if (port.switch !== undefined && port.peer !== undefined)
      context.addIssue({ code: 'custom', path: ['peer'], message: 'a router port joins a switch or a peer, not both' });
  });

export const routerPortKind = {
  kind: 'routerPort',
  plural: 'router-ports',
  about: 'where a router meets a switch or another router',
  tenantOwned: true,
  nameWithin: 'router',
  schema: routerPortSchema,
  references: [
    { path: 'router', kind: 'router', sameTenant: true, onDelete: 'restrict' },
    { path: 'switch', kind: 'switch', sameTenant: false, onDelete: 'restrict' },
    { path: 'peer', kind: 'routerPort', sameTenant: true, onDelete: 'restrict' },
    { path: 'inChain', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
    { path: 'outChain', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: ['mac', 'key'],
  columns: ['router', 'switch', 'peer', 'addresses', 'mac', 'outside'],
} as const satisfies KindDefinition;

export const floatingAddressSchema = z.strictObject({
  address: ipSchema.describe('as the outside sees it'),
  router: refSchema.describe('the router that translates it'),
  port: refSchema.describe('whose workload it leads to'),
  fixed: ipSchema.optional().describe("which of the port's addresses; absent: its first of the same IP version"),
  limit: z.strictObject({ kbps: kbpsSchema }).optional().describe('most that passes by it each way'),
  prefilter: prefilterSchema.describe('chain for what comes to it, asked where that comes in'),
  inboundLimit: inboundLimitSchema.describe('most that comes to it, at each host where it comes in'),
  adminUp: z.boolean().default(true).describe('false: as though it were not there'),
});

export const floatingAddressKind = {
  kind: 'floatingAddress',
  plural: 'floating-addresses',
  about: 'an address of the outside that leads to one workload, both ways',
  tenantOwned: true,
  schema: floatingAddressSchema,
  references: [
    { path: 'router', kind: 'router', sameTenant: true, onDelete: 'restrict' },
    { path: 'port', kind: 'port', sameTenant: true, onDelete: 'restrict' },
    { path: 'prefilter', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: [],
  columns: ['address', 'router', 'port'],
} as const satisfies KindDefinition;
