import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { ETHER_TYPE_NAMES, HELPER_PROTOCOLS, PROTOCOL_NAMES } from '../texts.ts';
import {
  addressOrCidrSchema,
  helperSchema,
  ipSchema,
  keySchema,
  maskedMacSchema,
  portRangeSchema,
  refSchema,
  vlanIdSchema,
} from './common.ts';

export const chainSchema = z.strictObject({
  /** What happens to a frame that no rule decided, where the chain hangs on a port. */
  policy: z.enum(['accept', 'drop']).default('accept').describe('for frames that no rule decided'),
  key: keySchema.optional(),
});

export const chainKind = {
  kind: 'chain',
  plural: 'chains',
  about: 'ordered filter rules for ports',
  tenantOwned: true,
  schema: chainSchema,
  references: [],
  allocated: ['key'],
  columns: ['policy'],
} as const satisfies KindDefinition;

/** What a rule looks at. Every field that is given must fit; none given fits every frame. */
export const ruleMatchSchema = z
  .strictObject({
    etherType: z.union([z.enum(['ipv4', 'arp', 'ipv6', 'rarp']), z.number().int().min(0x600).max(0xffff)]).optional(),
    srcMac: maskedMacSchema.optional(),
    dstMac: maskedMacSchema.optional(),
    vlan: vlanIdSchema.optional(),
    /** Addresses of the IP packet; the version follows from the text. */
    src: addressOrCidrSchema.optional(),
    dst: addressOrCidrSchema.optional(),
    protocol: z.union([z.enum(['icmp', 'tcp', 'udp', 'icmpv6', 'sctp']), z.number().int().min(0).max(255)]).optional(),
    srcPorts: portRangeSchema.optional(),
    dstPorts: portRangeSchema.optional(),
    icmpType: z.number().int().min(0).max(255).optional(),
    icmpCode: z.number().int().min(0).max(255).optional(),
    arpOp: z.number().int().min(1).max(65535).optional(),
    arpSender: ipSchema.optional(),
    arpTarget: ipSchema.optional(),
    srcSet: refSchema.optional().describe('the source is in this address set'),
    dstSet: refSchema.optional().describe('the destination is in this address set'),
    srcGroup: refSchema.optional().describe("the source is a port's of this security group"),
    dstGroup: refSchema.optional().describe("the destination is a port's of this security group"),
    tcpFlags: z
      .string()
      .regex(/^([+-](fin|syn|rst|psh|ack|urg|ece|cwr|ns))+$/, 'TCP flags look like +syn-ack')
      .optional(),
    fragment: z.enum(['no', 'first', 'later', 'any']).optional(),
    dscp: z.number().int().min(0).max(63).optional(),
    /** Of the connection, at a tracked port; any of these fits. */
    state: z
      .array(z.enum(['new', 'established', 'reply', 'related', 'invalid']))
      .min(1)
      .optional(),
    /** Fields of this match that must not fit. */
    not: z.array(z.string()).max(16).optional().describe('fields of this match that must not fit'),
  })
  .superRefine((match, context) => {
    const problem = (path: string, message: string): void =>
      void context.addIssue({ code: 'custom', path: [path], message });
    const ip4 = [match.src, match.dst].some((a) => a !== undefined && !a.includes(':'));
    const ip6 = [match.src, match.dst].some((a) => a?.includes(':'));
    if (ip4 && ip6) problem('dst', 'src and dst are of different IP versions');
    const type =
      typeof match.etherType === 'number' ? match.etherType : match.etherType && ETHER_TYPE_NAMES[match.etherType];
    if (type !== undefined && ip4 && type !== 0x0800)
      problem('etherType', 'IPv4 addresses need etherType ipv4 (or none)');
    if (type !== undefined && ip6 && type !== 0x86dd)
      problem('etherType', 'IPv6 addresses need etherType ipv6 (or none)');
    const isArp = match.arpOp !== undefined || match.arpSender !== undefined || match.arpTarget !== undefined;
    if (isArp && type !== undefined && type !== 0x0806) problem('etherType', 'arp fields need etherType arp (or none)');
    if (isArp && (ip4 || ip6 || match.protocol !== undefined)) problem('arpOp', 'a frame is either ARP or IP');
    for (const field of ['arpSender', 'arpTarget'] as const)
      if (match[field]?.includes(':')) problem(field, 'ARP carries IPv4 addresses');
    const protocol =
      typeof match.protocol === 'number' ? match.protocol : match.protocol && PROTOCOL_NAMES[match.protocol];
    if (protocol !== undefined && type !== undefined && type !== 0x0800 && type !== 0x86dd)
      problem('etherType', 'protocol needs etherType ipv4 or ipv6 (or none)');
    if ((match.srcPorts ?? match.dstPorts) !== undefined && ![6, 17, 132].includes(protocol ?? -1))
      problem('protocol', 'ports need protocol tcp, udp or sctp');
    if ((match.icmpType ?? match.icmpCode) !== undefined && ![1, 58].includes(protocol ?? -1))
      problem('protocol', 'icmpType and icmpCode need protocol icmp or icmpv6');
    const flags = match.tcpFlags?.match(/[a-z]+/g) ?? [];
    if (new Set(flags).size < flags.length) problem('tcpFlags', 'each flag is given once');
    if (match.tcpFlags !== undefined && protocol !== 6) problem('protocol', 'tcpFlags need protocol tcp');
    for (const field of match.not ?? [])
      if (field === 'not' || !(field in match) || match[field as keyof typeof match] === undefined)
        problem('not', `"${field}" is no other field of this match`);
    const needsIp =
      match.srcSet ?? match.dstSet ?? match.srcGroup ?? match.dstGroup ?? match.fragment ?? match.dscp ?? match.state;
    if (needsIp !== undefined && type !== undefined && type !== 0x0800 && type !== 0x86dd)
      problem('etherType', 'sets, groups, fragment, dscp and state need etherType ipv4 or ipv6 (or none)');
    if (protocol === 1 && (ip6 || type === 0x86dd)) problem('protocol', 'icmp belongs to IPv4; use icmpv6');
    if (protocol === 58 && (ip4 || type === 0x0800)) problem('protocol', 'icmpv6 belongs to IPv6; use icmp');
  });

export const ruleSchema = z
  .strictObject({
    chain: refSchema.describe('the chain that it is a line of'),
    /** Rules are tried from the lowest position up; leave gaps. */
    position: z.number().int().min(1).max(60_000).describe('rules are tried from the lowest up; leave gaps'),
    match: ruleMatchSchema.default({}).describe('every field given must fit; none fits every frame'),
    /** `log` notes the frame and goes on with the next rule. */
    action: z.enum(['accept', 'drop', 'reject', 'jump', 'return', 'log']).describe('what happens to a frame that fits'),
    limitPerSecond: z.number().int().min(1).max(1000).optional().describe('of log; default 10'),
    jumpTo: refSchema.optional().describe('the chain to walk, for a jump'),
    helper: helperSchema.describe(
      'of accept: new connections that it accepts are read as FTP or TFTP control connections, and the data connections that they agree on are `related`',
    ),
  })
  .superRefine((rule, context) => {
    if (rule.action !== 'log' && rule.limitPerSecond !== undefined)
      context.addIssue({ code: 'custom', path: ['limitPerSecond'], message: 'only log has a limit' });
    if (rule.action === 'jump' && rule.jumpTo === undefined)
      context.addIssue({ code: 'custom', path: ['jumpTo'], message: 'a jump needs jumpTo, a chain' });
    if (rule.action !== 'jump' && rule.jumpTo !== undefined)
      context.addIssue({ code: 'custom', path: ['jumpTo'], message: 'only a jump has jumpTo' });
    const { helper, match } = rule;
    if (helper === undefined) return;
    const problem = (path: (string | number)[], message: string): void =>
      void context.addIssue({ code: 'custom', path, message });
    const isGiven = (field: 'protocol' | 'dstPorts' | 'state'): boolean =>
      match[field] !== undefined && match.not?.includes(field) !== true;
    if (rule.action !== 'accept')
      problem(['helper'], 'a helper belongs to connections that a rule accepts: action accept');
    const protocol = HELPER_PROTOCOLS[helper];
    const number = typeof match.protocol === 'string' ? PROTOCOL_NAMES[match.protocol] : match.protocol;
    if (number !== PROTOCOL_NAMES[protocol] || !isGiven('protocol'))
      problem(['match', 'protocol'], `helper ${helper} reads ${protocol}: match protocol ${protocol}`);
    if (!isGiven('dstPorts'))
      problem(['match', 'dstPorts'], `helper ${helper} needs the ports of the control connection: match dstPorts`);
    if (!isGiven('state') || !match.state!.includes('new'))
      problem(
        ['match', 'state'],
        'a helper is given to a connection when it begins, in a stateful chain: match state [new] (and let state [established, related] in by a rule before it)',
      );
  });

export const ruleKind = {
  kind: 'rule',
  plural: 'rules',
  about: 'one line of a chain',
  tenantOwned: true,
  nameWithin: 'chain',
  schema: ruleSchema,
  references: [
    { path: 'chain', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
    { path: 'jumpTo', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
    { path: 'match.srcSet', kind: 'addressSet', sameTenant: true, onDelete: 'restrict' },
    { path: 'match.dstSet', kind: 'addressSet', sameTenant: true, onDelete: 'restrict' },
    { path: 'match.srcGroup', kind: 'securityGroup', sameTenant: true, onDelete: 'restrict' },
    { path: 'match.dstGroup', kind: 'securityGroup', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: [],
  columns: ['chain', 'position', 'action', 'match', 'status.packets'],
} as const satisfies KindDefinition;
