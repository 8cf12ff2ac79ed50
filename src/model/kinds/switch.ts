import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { cidrSchema, dscpSchema, ipSchema, ipv4Schema, keySchema, prefilterSchema, vlanIdSchema } from './common.ts';

const dnsNameSchema = z
  .string()
  .regex(
    /^(?=.{1,253}$)[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?)*$/,
    'a domain name is wanted',
  );

/** What DHCP (v4 or v6) and router advertisements tell workloads of a subnet. */
export const dhcpSchema = z.strictObject({
  enabled: z.boolean().default(true),
  dns: z.array(ipSchema).max(8).default([]),
  domain: dnsNameSchema.optional(),
  ntp: z.array(ipSchema).max(8).default([]),
  /** Classless static routes (option 121, RFC 3442); IPv4 only. */
  routes: z
    .array(z.strictObject({ to: cidrSchema, via: ipv4Schema }))
    .max(32)
    .default([]),
  leaseSeconds: z.number().int().min(60).max(0xffff_fffe).default(86_400),
});

export const subnetSchema = z.strictObject({
  cidr: cidrSchema,
  /** Told to workloads as the default gateway; no workload gets this address. */
  gateway: ipSchema.optional(),
  /** On a VLAN-aware switch: the VLAN that the subnet lives in; absent for frames without a tag. */
  vlan: vlanIdSchema.optional(),
  dhcp: dhcpSchema.default(() => dhcpSchema.parse({})),
  /** IPv6 only: how workloads get their address. `slaac` derives it from their MAC, `stateful` uses DHCPv6. */
  ipv6Mode: z.enum(['slaac', 'stateful']).optional(),
});

export const switchSchema = z.strictObject({
  subnets: z.array(subnetSchema).max(64).default([]).describe('networks with their DHCP options'),
  /** Frames may carry 802.1Q tags, and ports have a `vlan`. Otherwise a tagged frame is dropped. */
  vlanAware: z.boolean().default(false).describe('frames may carry 802.1Q tags'),
  /** Told to workloads; absent: what the underlay leaves after encapsulation. */
  mtu: z.number().int().min(576).max(9216).optional().describe('told to workloads; absent: what the underlay leaves'),
  adminUp: z.boolean().default(true).describe('false: nothing passes'),
  /** Other tenants' routers may have a port here: the only way from one tenant to another. */
  shared: z.boolean().default(false).describe("true: other tenants' routers may join it"),
  /** Workloads ask their gateway for names of others: `db-1`, `db-1.back.acme.weft`. */
  dns: z.boolean().optional().describe('true: hosts answer names of workloads'),
  dscp: dscpSchema.optional().describe('DSCP of the IP packets that workloads send; a port may have its own'),
  prefilter: prefilterSchema.describe('chain for what comes in by outside ports on it, whosever, before all else'),
  key: keySchema.optional().describe('tunnel key; allocated'),
});

export const switchKind = {
  kind: 'switch',
  plural: 'switches',
  about: 'a private layer-2 network (logical switch)',
  tenantOwned: true,
  schema: switchSchema,
  references: [{ path: 'prefilter', kind: 'chain', sameTenant: true, onDelete: 'restrict' }],
  allocated: ['key'],
  columns: ['subnets[].cidr', 'vlanAware', 'adminUp'],
} as const satisfies KindDefinition;
