import { z } from 'zod';
import { parseCidr } from '../../base/addresses.ts';
import type { KindDefinition } from '../kind.ts';
import { cidrSchema, ipSchema, ipv4Schema, refSchema } from './common.ts';

/** What a router says to the outside, and to whom (docs/design/gateways.md). */

/** RFC 6793; 0 is nobody's (RFC 7607). */
const asnSchema = z.number().int().min(1).max(4_294_967_295);

/** RFC 1997, and those that have names: RFC 1997, 3765, 7999, 8326. */
const NAMED_COMMUNITIES = ['no-export', 'no-advertise', 'no-peer', 'blackhole', 'graceful-shutdown'];
const communitySchema = z.string().refine((text) => NAMED_COMMUNITIES.includes(text) || isCommunity(text), {
  error: `a community is two numbers up to 65535, as in 65001:100, or one of ${NAMED_COMMUNITIES.join(', ')}`,
});

function isCommunity(text: string): boolean {
  return /^(0|[1-9]\d{0,4}):(0|[1-9]\d{0,4})$/.test(text) && text.split(':').every((half) => Number(half) <= 65_535);
}

/** What of its own a router can advertise. */
export const ADVERTISED = ['floating', 'vips', 'snat', 'connected', 'static'] as const;

export const bgpSchema = z.strictObject({
  asn: asnSchema.describe('autonomous system of the router'),
  routerId: ipv4Schema.optional().describe('absent: at each gateway its first IPv4 address there'),
  advertise: z
    .array(z.enum(ADVERTISED))
    .default(['floating', 'vips', 'snat'])
    .overwrite((kinds) => ADVERTISED.filter((kind) => kinds.includes(kind)))
    .describe(
      'floating, vips, snat: addresses of all routers with an outside port on its switches; connected: networks of its ports; static: of its routes with a next hop, but for default routes',
    ),
  networks: z.array(cidrSchema).max(1000).default([]).describe('advertised as they are'),
  summarise: z
    .array(cidrSchema)
    .max(1000)
    .overwrite((networks) => [...new Set(networks)])
    .optional()
    .describe('advertised in place of all within them, while something is'),
  maxRoutes: z.number().int().min(1).max(1_000_000).default(100_000).describe('further learned routes are not used'),
});

/** A line of a prefix list. */
const prefixSchema = z
  .union([
    cidrSchema,
    z.strictObject({
      network: cidrSchema,
      ge: z.number().int().min(0).max(128).optional().describe('only prefixes that are at least so long'),
      le: z.number().int().min(0).max(128).optional().describe('and at most so long; absent: with ge any'),
    }),
  ])
  .superRefine((entry, context) => {
    if (typeof entry === 'string') return;
    const { network, ge, le } = entry;
    const { ip, prefix } = parseCidr(network) ?? {};
    if (ip === undefined || prefix === undefined) return;
    const longest = ip.version === 4 ? 32 : 128;
    const problem = (path: 'ge' | 'le', least: number): void =>
      context.addIssue({ code: 'custom', path: [path], message: `${network} takes ${least} to ${longest} here` });
    if (ge !== undefined && (ge < prefix || ge > longest)) problem('ge', prefix);
    if (le !== undefined && (le < Math.max(prefix, ge ?? 0) || le > longest)) problem('le', Math.max(prefix, ge ?? 0));
  });

const prefixesSchema = z
  .array(prefixSchema)
  .max(1000)
  .overwrite((entries) => [...new Map(entries.map((entry) => [JSON.stringify(entry), entry])).values()]);

/** What answers show in place of a password, and what leaves it as it is when it is written back. */
export const HIDDEN = '***';

export const bgpPeerSchema = z
  .strictObject({
    router: refSchema.describe('the router that speaks; stays'),
    routerPort: refSchema.describe('the port of it by which the upstream is reached, as router/port'),
    address: ipSchema.describe("the upstream router's"),
    asn: asnSchema.describe("the upstream router's autonomous system"),
    families: z
      .array(z.enum(['ipv4', 'ipv6']))
      .min(1)
      .overwrite((families) => [...new Set(families)].sort())
      .optional()
      .describe('whose routes are exchanged; absent: those of its address. IPv4 over an IPv6 session: RFC 8950'),
    password: z
      .string()
      .min(1)
      .max(80)
      // It stands in a line of the configuration of a daemon.
      .regex(/^[\x21-\x7e]+$/, 'a password is printable ASCII without spaces')
      .optional()
      .describe('of TCP MD5 signatures; never shown'),
    bfd: z.boolean().default(false).describe('true: a session that is silent for bfdFailures × bfdIntervalMs is down'),
    bfdIntervalMs: z
      .number()
      .int()
      .min(50)
      .max(60_000)
      .optional()
      .describe('a BFD packet each, 100 where absent; the peer may want fewer'),
    bfdFailures: z.number().int().min(2).max(50).optional().describe('so many missing in a row: down; 3 where absent'),
    multihop: z
      .number()
      .int()
      .min(1)
      .max(255)
      .optional()
      .describe('the upstream is so many hops away; from 2 on a static route leads to it'),
    gracefulRestart: z
      .boolean()
      .optional()
      .describe('whether either side keeps routes of the other over a restart; absent: only without bfd'),
    keepaliveS: z.number().int().min(1).max(21_845).default(3),
    holdS: z.number().int().min(3).max(65_535).default(9),
    maxPrefixes: z.number().int().min(1).max(1_000_000).default(200_000).describe('more, and the session ends'),
    accept: prefixesSchema
      .optional()
      .describe('taken from this peer: networks, each with those within it, or {network, ge, le}; absent: all'),
    advertise: prefixesSchema
      .optional()
      .describe('of what the router advertises this peer is told this, in the manner of accept; absent: all'),
    communities: z
      .array(communitySchema)
      .max(32)
      .overwrite((communities) => [...new Set(communities)])
      .default([])
      .describe('on all that this peer is told: 65001:100, no-export …'),
    adminUp: z.boolean().default(true).describe('false: no session'),
  })
  .superRefine((peer, context) => {
    if (peer.holdS <= peer.keepaliveS)
      context.addIssue({ code: 'custom', path: ['holdS'], message: 'must be more than keepaliveS' });
    const version = peer.address.includes(':') ? 6 : 4;
    if (version === 4 && peer.families?.includes('ipv6'))
      context.addIssue({
        ...{ code: 'custom', path: ['families'] },
        message: `IPv6 is not exchanged with ${peer.address}: it would have IPv4 next hops; give the peer's IPv6 address`,
      });
    const families = peer.families ?? [`ipv${version}`];
    for (const list of ['accept', 'advertise'] as const)
      for (const [n, entry] of (peer[list] ?? []).entries()) {
        const network = typeof entry === 'string' ? entry : entry.network;
        if (families.includes(network.includes(':') ? 'ipv6' : 'ipv4')) continue;
        context.addIssue({
          ...{ code: 'custom', path: [list, n] },
          message: `${network}: networks of ${families.map((family) => family.replace('ipv', 'IPv')).join(' and ')} are exchanged with this peer`,
        });
      }
  });

export const bgpPeerKind = {
  kind: 'bgpPeer',
  plural: 'bgp-peers',
  about: 'a router outside that a router of ours exchanges routes with',
  tenantOwned: true,
  nameWithin: 'router',
  schema: bgpPeerSchema,
  references: [
    { path: 'router', kind: 'router', sameTenant: true, onDelete: 'restrict' },
    { path: 'routerPort', kind: 'routerPort', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: [],
  secret: ['password'],
  columns: ['router', 'routerPort', 'address', 'asn', 'bfd', 'adminUp'],
} as const satisfies KindDefinition;
