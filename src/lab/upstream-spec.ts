import { z } from 'zod';
import { formatCidr, formatIp, networkOf, parseCidr } from '../base/addresses.ts';
import { address, addressWithPrefix, mtu, placeName, plus } from './spec-fields.ts';

/**
 * What lies outside of the datacentre: upstream routers that speak BGP, links from them to gateway hosts, a small
 * internet on which the routers meet, and clients on it. In a lab's file:
 *
 *     internet: { subnets: [198.51.100.0/24], peering: true }
 *     routers:
 *       - name: up-1
 *         asn: 64601
 *         links:
 *           - { host: gw-1, port: provider/up-1-wire, addresses: [192.0.2.1/30], peers: [{ address: 192.0.2.2, asn: 64512, bfd: true }] }
 *     outside: [{ name: client, via: [up-1] }]
 */
const asn = z.int().min(1).max(4_294_967_295);

const peerSchema = z.strictObject({
  address,
  asn,
  /** TCP MD5. */
  password: z
    .string()
    .regex(/^\S{1,80}$/, 'a password is 1 to 80 characters, no spaces')
    .optional(),
  /** 3 × 100 ms. */
  bfd: z.boolean().default(false),
  /** Whether it asks for graceful restart and grants it; it does neither when not given. */
  gracefulRestart: z.boolean().default(false),
  /** How many hops away it may be (eBGP multihop). */
  multihop: z.int().min(1).max(255).optional(),
  keepaliveS: z.int().min(1).max(65_535).default(3),
  holdS: z.int().min(3).max(65_535).default(9),
});

const linkSchema = z.strictObject({
  host: z.string(),
  /** Tells the links of one router apart; the host's name when not given. */
  name: placeName.optional(),
  /** Of the host's end. */
  interface: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,14}$/i, 'not the name of an interface')
    .optional(),
  /** The logical port as which it is plugged into the host: an id, or (where Weft runs in the lab) `tenant/name`. */
  port: z.string().min(1).optional(),
  /** Of the router's end, with prefix length. */
  addresses: z.array(addressWithPrefix).min(1),
  peers: z.array(peerSchema).default([]),
  mtu: mtu.default(1500),
});

const routerSchema = z.strictObject({
  name: placeName,
  asn,
  /** Addresses of its own, advertised. */
  loopbacks: z.array(addressWithPrefix).default([]),
  /** What it advertises besides loopbacks and the internet's subnets, whether it knows a way there or not. */
  networks: z.array(addressWithPrefix).default(['0.0.0.0/0', '::/0']),
  /** Static routes, for sites without BGP. */
  routes: z.array(z.strictObject({ to: addressWithPrefix, via: address })).default([]),
  links: z.array(linkSchema).default([]),
  /** Further lines of bgpd's configuration, for what this description has no words for. */
  config: z.array(z.string()).default([]),
});

const outsideSchema = z.strictObject({
  name: placeName,
  /** On the internet, with prefix length; the next of each of its subnets when none are given. */
  addresses: z.array(addressWithPrefix).default([]),
  /** The routers that are its gateways, equally used; all of them when not given. */
  via: z.array(z.string()).optional(),
  mtu: mtu.default(1500),
});

const internetSchema = z.strictObject({
  /** One of each version at most. Routers have the addresses from 1 on, clients those from 11 on. */
  subnets: z.array(addressWithPrefix).min(1).default(['198.51.100.0/24', '2001:db8:ffff::/64']),
  /** Whether the routers peer with one another over it: what one has no way to, it sends to another that has. */
  peering: z.boolean().default(true),
});

export const upstreamFields = {
  internet: internetSchema.prefault({}),
  routers: z.array(routerSchema).default([]),
  outside: z.array(outsideSchema).default([]),
};

export type InternetSpec = z.output<typeof internetSchema>;
export type PeerSpec = z.output<typeof peerSchema>;
export type LinkSpec = z.output<typeof linkSchema> & { readonly name: string };
export type RouterSpec = Omit<z.output<typeof routerSchema>, 'links'> & {
  readonly links: readonly LinkSpec[];
  /** On the internet, with prefix length. */
  readonly addresses: readonly string[];
};
export type OutsideSpec = z.output<typeof outsideSchema> & { readonly via: readonly string[] };

type Upstreams = {
  readonly internet: InternetSpec;
  readonly routers: readonly RouterSpec[];
  readonly outside: readonly OutsideSpec[];
};

const FIRST_ROUTER = 1;
const FIRST_CLIENT = 11;

/** Gives addresses, names of links and gateways where there are none, and names every problem. */
export function completeUpstreams(
  spec: {
    readonly internet: InternetSpec;
    readonly routers: readonly z.output<typeof routerSchema>[];
    readonly outside: readonly z.output<typeof outsideSchema>[];
  },
  hosts: readonly string[],
  problems: string[],
): Upstreams {
  const subnets = spec.internet.subnets.map((text) => parseCidr(text)!);
  if (new Set(subnets.map(({ ip }) => ip.version)).size < subnets.length)
    problems.push('internet: one subnet of each version at most');
  const addressesAt = (n: number): string[] =>
    subnets.map((subnet) => formatCidr({ ip: plus(networkOf(subnet).ip, n), prefix: subnet.prefix }));
  const routers = spec.routers.map(
    (router, index): RouterSpec => ({
      ...router,
      addresses: addressesAt(FIRST_ROUTER + index),
      networks: router.networks.map((text) => formatCidr(networkOf(parseCidr(text)!))),
      links: router.links.map((link) => ({ ...link, name: link.name ?? link.host })),
    }),
  );
  const known = routers.map((router) => router.name);
  if (routers.length >= FIRST_CLIENT - FIRST_ROUTER) problems.push('routers: nine at most');
  for (const router of routers) {
    const names = router.links.map((link) => link.name);
    for (const name of new Set(names.filter((name, i) => names.indexOf(name) !== i)))
      problems.push(`router ${router.name}: the link ${name} is there twice`);
    for (const { host } of router.links)
      if (!hosts.includes(host)) problems.push(`router ${router.name}: there is no host ${host}`);
  }
  const outside = spec.outside.map(
    (client, index): OutsideSpec => ({
      ...client,
      addresses: client.addresses.length > 0 ? client.addresses : addressesAt(FIRST_CLIENT + index),
      via: client.via ?? known,
    }),
  );
  for (const { name, via } of outside)
    for (const router of via)
      if (!known.includes(router)) problems.push(`outside ${name}: there is no router ${router}`);
  return { internet: spec.internet, routers, outside };
}

/** An address without its prefix length. */
export function bare(cidr: string): string {
  return formatIp(parseCidr(cidr)!.ip);
}
