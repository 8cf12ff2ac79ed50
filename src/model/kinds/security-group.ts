import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { HELPER_PROTOCOLS, PROTOCOL_NAMES } from '../texts.ts';
import { addressOrCidrSchema, helperSchema, keySchema, nameSchema, portRangeSchema, refSchema } from './common.ts';

/** One way in or out. Every field that is given must fit; none given fits every connection. */
export const groupRuleSchema = z
  .strictObject({
    name: nameSchema.optional().describe('what trace and flows call it: those name the rule that allows a connection'),
    ipVersion: z.union([z.literal(4), z.literal(6)]).optional(),
    protocol: z.union([z.enum(['icmp', 'tcp', 'udp', 'icmpv6', 'sctp']), z.number().int().min(0).max(255)]).optional(),
    ports: portRangeSchema.optional().describe('destination port or range'),
    icmpType: z.number().int().min(0).max(255).optional(),
    icmpCode: z.number().int().min(0).max(255).optional(),
    group: refSchema.optional().describe('the other end is a port of this group'),
    addressSet: refSchema.optional().describe('the other end is in this set'),
    cidr: addressOrCidrSchema.optional().describe('the other end is in this network'),
    helper: helperSchema.describe(
      'reads these connections as FTP or TFTP control connections: the data connections that they agree on are allowed too, in both directions',
    ),
  })
  .superRefine((rule, context) => {
    const problem = (path: string, message: string): void =>
      void context.addIssue({ code: 'custom', path: [path], message });
    const ends = (['group', 'addressSet', 'cidr'] as const).filter((field) => rule[field] !== undefined);
    if (ends.length > 1) problem(ends[1]!, `the other end is given twice: ${ends.join(' and ')}`);
    const protocol = typeof rule.protocol === 'string' ? PROTOCOL_NAMES[rule.protocol] : rule.protocol;
    if (rule.ports !== undefined && ![6, 17, 132].includes(protocol ?? -1))
      problem('protocol', 'ports need protocol tcp, udp or sctp');
    if ((rule.icmpType ?? rule.icmpCode) !== undefined && ![1, 58].includes(protocol ?? -1))
      problem('protocol', 'icmpType and icmpCode need protocol icmp or icmpv6');
    const version = rule.cidr === undefined ? rule.ipVersion : rule.cidr.includes(':') ? 6 : 4;
    if (rule.ipVersion !== undefined && version !== rule.ipVersion)
      problem('ipVersion', `${rule.cidr} is an IPv${version} network`);
    if (protocol === 1 && version === 6) problem('protocol', 'icmp belongs to IPv4; use icmpv6');
    if (protocol === 58 && version === 4) problem('protocol', 'icmpv6 belongs to IPv6; use icmp');
    if (rule.helper === undefined) return;
    const wanted = HELPER_PROTOCOLS[rule.helper];
    if (protocol !== PROTOCOL_NAMES[wanted])
      problem('protocol', `helper ${rule.helper} reads ${wanted}: protocol ${wanted}`);
    if (rule.ports === undefined)
      problem(
        'ports',
        `helper ${rule.helper} needs the ports of the control connection, as ports: ${rule.helper === 'ftp' ? 21 : 69}`,
      );
  });

export const securityGroupSchema = z.strictObject({
  ingress: z.array(groupRuleSchema).max(1000).default([]).describe('connections to its ports; none fits: refused'),
  egress: z
    .array(groupRuleSchema)
    .max(1000)
    .default(() => [{}])
    .describe('connections from its ports; default: all'),
  key: keySchema.optional().describe('allocated'),
});

export const securityGroupKind = {
  kind: 'securityGroup',
  plural: 'security-groups',
  about: 'ports that share a stateful filter: what is not allowed is refused',
  tenantOwned: true,
  schema: securityGroupSchema,
  references: [
    { path: 'ingress[].group', kind: 'securityGroup', sameTenant: true, onDelete: 'restrict' },
    { path: 'ingress[].addressSet', kind: 'addressSet', sameTenant: true, onDelete: 'restrict' },
    { path: 'egress[].group', kind: 'securityGroup', sameTenant: true, onDelete: 'restrict' },
    { path: 'egress[].addressSet', kind: 'addressSet', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: ['key'],
  columns: ['ingress.length', 'egress.length'],
} as const satisfies KindDefinition;

export const addressSetSchema = z.strictObject({
  addresses: z.array(addressOrCidrSchema).max(20_000).default([]).describe('addresses and networks'),
  key: keySchema.optional().describe('allocated'),
});

export const addressSetKind = {
  kind: 'addressSet',
  plural: 'address-sets',
  about: 'a named set of addresses and networks, for rules to match on',
  tenantOwned: true,
  schema: addressSetSchema,
  references: [],
  allocated: ['key'],
  columns: ['addresses.length'],
} as const satisfies KindDefinition;
