import type { RuleMatch } from '../model/objects.ts';
import type { FieldName } from '../openflow/fields.ts';
import type { FieldValue, Masked, Match } from '../openflow/flow.ts';
import { prefixCover, prefixMatch } from './bits.ts';
import { ETH, NOT_LATER_FRAGMENT, PROTO } from './fields.ts';
import { cidrOf, macOf } from './owned.ts';

/** What a rule looks at, as matches. */
export interface RuleFields {
  readonly fields: Match;
  /** A VLAN is matched in its register. */
  readonly vlan?: number;
}

/** Everything that a match may say. */
const FIELDS: Readonly<Partial<Record<keyof RuleMatch, true>>> = {
  ...{ etherType: true, srcMac: true, dstMac: true, vlan: true, src: true, dst: true, protocol: true },
  ...{ srcPorts: true, dstPorts: true, icmpType: true, icmpCode: true, arpOp: true, arpSender: true, arpTarget: true },
};

/** What a rule says that we do not know (a newer server sent it): without it the rule would fit more than it should. */
export function unknownIn(rule: RuleMatch): string | undefined {
  for (const field in rule) if (!Object.hasOwn(FIELDS, field)) return field;
  if (typeof rule.etherType === 'string' && !Object.hasOwn(ETH, rule.etherType)) return rule.etherType;
  if (typeof rule.protocol === 'string' && !Object.hasOwn(PROTO, rule.protocol)) return rule.protocol;
  return undefined;
}

/**
 * All the matches that together fit what the rule fits: one, but for a port range (its prefixes) and for protocols that exist
 * over both versions of IP. None where the rule can fit nothing.
 */
export function ruleMatches(rule: RuleMatch): RuleFields[] {
  const base: Record<string, FieldValue | Masked> = {};
  if (rule.srcMac !== undefined) addMac(base, 'eth_src', rule.srcMac);
  if (rule.dstMac !== undefined) addMac(base, 'eth_dst', rule.dstMac);
  const vlan = rule.vlan === undefined ? {} : { vlan: rule.vlan };
  return etherTypes(rule).flatMap((type) => {
    const fields: Record<string, FieldValue | Masked> = { ...base };
    if (type !== undefined) fields.eth_type = type;
    if (!addArp(fields, rule)) return [];
    addAddress(fields, type, 'src', rule.src);
    addAddress(fields, type, 'dst', rule.dst);
    return layer4(rule, type).map((l4) => ({ fields: { ...fields, ...l4 }, ...vlan }));
  });
}

const ETHER_TYPES: Readonly<Record<string, number>> = ETH;
const PROTOCOLS: Readonly<Record<string, number>> = PROTO;

/** The Ethernet types that the rule fits; [undefined] for any. */
function etherTypes(rule: RuleMatch): (number | undefined)[] {
  const address = rule.src ?? rule.dst;
  if (typeof rule.etherType === 'number') return [rule.etherType];
  if (rule.etherType !== undefined) return [ETHER_TYPES[rule.etherType]!];
  if (address !== undefined) return [address.includes(':') ? ETH.ipv6 : ETH.ipv4];
  if (rule.arpOp !== undefined || rule.arpSender !== undefined || rule.arpTarget !== undefined) return [ETH.arp];
  const protocol = protocolOf(rule);
  if (protocol === undefined) return [undefined];
  if (protocol === PROTO.icmp) return [ETH.ipv4];
  return protocol === PROTO.icmpv6 ? [ETH.ipv6] : [ETH.ipv4, ETH.ipv6];
}

function protocolOf(rule: RuleMatch): number | undefined {
  return typeof rule.protocol === 'string' ? PROTOCOLS[rule.protocol] : rule.protocol;
}

function addMac(fields: Record<string, FieldValue | Masked>, field: 'eth_src' | 'eth_dst', text: string): void {
  const [mac, mask] = text.split('/').map(macOf) as [number, number | undefined];
  if (mask === undefined || mask === 0xffff_ffff_ffff) fields[field] = mac;
  else if (mask !== 0) fields[field] = { value: Number(BigInt(mac) & BigInt(mask)), mask };
}

function addAddress(
  fields: Record<string, FieldValue | Masked>,
  type: number | undefined,
  side: 'src' | 'dst',
  text: string | undefined,
): void {
  if (text === undefined) return;
  const { ip, prefix } = cidrOf(text);
  const value = prefixMatch(ip.value, prefix, type === ETH.ipv4 ? 32 : 128);
  if (value !== undefined) fields[type === ETH.ipv4 ? `ip_${side}` : `ipv6_${side}`] = value;
}

/** Operations are one byte in Open vSwitch, where ARP has two: higher ones fit nothing (false). */
function addArp(fields: Record<string, FieldValue | Masked>, rule: RuleMatch): boolean {
  if (rule.arpOp !== undefined) {
    if (rule.arpOp > 0xff) return false;
    fields.arp_op = rule.arpOp;
  }
  if (rule.arpSender !== undefined) fields.arp_spa = cidrOf(rule.arpSender).ip.value;
  if (rule.arpTarget !== undefined) fields.arp_tpa = cidrOf(rule.arpTarget).ip.value;
  return true;
}

const PORT_FIELDS: Readonly<Record<number, string>> = { [PROTO.tcp]: 'tcp', [PROTO.udp]: 'udp', [PROTO.sctp]: 'sctp' };

function layer4(rule: RuleMatch, type: number | undefined): Match[] {
  const protocol = protocolOf(rule);
  if (protocol === undefined || type === undefined) return [{}];
  const base: Match = { ip_proto: protocol };
  const name = PORT_FIELDS[protocol];
  if (name !== undefined && (rule.srcPorts ?? rule.dstPorts) !== undefined) {
    const sources = portMatches(`${name}_src` as FieldName, rule.srcPorts);
    const targets = portMatches(`${name}_dst` as FieldName, rule.dstPorts);
    return sources.flatMap((source) =>
      targets.map((target) => ({ ...base, ...NOT_LATER_FRAGMENT, ...source, ...target })),
    );
  }
  if (rule.icmpType === undefined && rule.icmpCode === undefined) return [base];
  const prefix = protocol === PROTO.icmp ? 'icmp' : 'icmpv6';
  return [
    {
      ...base,
      ...NOT_LATER_FRAGMENT,
      ...(rule.icmpType === undefined ? {} : { [`${prefix}_type`]: rule.icmpType }),
      ...(rule.icmpCode === undefined ? {} : { [`${prefix}_code`]: rule.icmpCode }),
    },
  ];
}

function portMatches(field: FieldName, range: string | undefined): Match[] {
  if (range === undefined) return [{}];
  const [first, last] = range.split('-').map(Number) as [number, number | undefined];
  return prefixCover(first, last ?? first, 16).map(({ value, mask }) => {
    if (mask === 0xffff) return { [field]: value };
    return mask === 0 ? {} : { [field]: { value, mask } };
  });
}
