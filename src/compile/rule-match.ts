import { isSetField } from '../model/chain-steps.ts';
import type { RuleMatch } from '../model/objects.ts';
import type { FieldName } from '../openflow/fields.ts';
import type { FieldValue, Masked, Match } from '../openflow/flow.ts';
import { portCover, prefixMatch } from './bits.ts';
import { ETH, NOT_LATER_FRAGMENT, PROTO, type RegisterMatch } from './fields.ts';
import { cidrOf, macOf } from './owned.ts';
import type { Side } from './sets.ts';

/** What a rule looks at, as matches. */
export interface RuleFields {
  readonly fields: Match;
  /** VLAN and state of the connection are in registers. */
  readonly registers: RegisterMatch;
}

/** A set or group that an address has to be in, or not. */
export interface SetCondition {
  readonly set: string;
  readonly side: Side;
  readonly isIn: boolean;
}

/** What a rule fits: any of `matches`, none of `except`, and then all that is asked of sets. */
export interface RulePlan {
  readonly matches: readonly RuleFields[];
  readonly except: readonly RuleFields[];
  readonly sets: readonly SetCondition[];
}

type Field = Exclude<keyof RuleMatch, 'not'>;

/** Everything that a match may say. */
const FIELDS: Readonly<Record<keyof RuleMatch, true>> = {
  ...{ etherType: true, srcMac: true, dstMac: true, vlan: true, src: true, dst: true, protocol: true },
  ...{ srcPorts: true, dstPorts: true, icmpType: true, icmpCode: true, arpOp: true, arpSender: true, arpTarget: true },
  ...{ srcSet: true, dstSet: true, srcGroup: true, dstGroup: true, tcpFlags: true, fragment: true, dscp: true },
  ...{ state: true, not: true },
};
const STATES: Readonly<Record<NonNullable<RuleMatch['state']>[number], RegisterMatch>> = {
  new: { isNew: 1 },
  established: { isEstablished: 1 },
  related: { isRelated: 1 },
  reply: { isReply: 1 },
  invalid: { isInvalid: 1 },
};
/** Bit and mask of `ip_frag`: 1 a fragment, 2 not the first. */
const FRAGMENTS: Readonly<Record<NonNullable<RuleMatch['fragment']>, Masked>> = {
  no: { value: 0, mask: 3 },
  first: { value: 1, mask: 3 },
  later: { value: 3, mask: 3 },
  any: { value: 1, mask: 1 },
};
const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns'];

/** What a rule says that we do not know (a newer server sent it): without it the rule would fit more than it should. */
export function unknownIn(rule: RuleMatch): string | undefined {
  for (const field in rule) if (!Object.hasOwn(FIELDS, field)) return field;
  if (typeof rule.etherType === 'string' && !Object.hasOwn(ETH, rule.etherType)) return rule.etherType;
  if (typeof rule.protocol === 'string' && !Object.hasOwn(PROTO, rule.protocol)) return rule.protocol;
  if (rule.fragment !== undefined && !Object.hasOwn(FRAGMENTS, rule.fragment)) return rule.fragment;
  for (const flag of rule.tcpFlags?.split(/[+-]/).slice(1) ?? []) if (!TCP_FLAGS.includes(flag)) return flag;
  if (rule.tcpFlags !== undefined && !/^[+-]/.test(rule.tcpFlags)) return rule.tcpFlags;
  for (const field of rule.not ?? []) if (!Object.hasOwn(FIELDS, field)) return field;
  return rule.state?.find((state) => !Object.hasOwn(STATES, state));
}

/**
 * A rule as matches. `matches`: one, but for a port range (its prefixes), for several states, and for protocols that exist over both
 * versions of IP; none where the rule can fit nothing. What a field needs of the packet is in them also where the field is inverted.
 */
export function planOf(rule: RuleMatch): RulePlan {
  const inverted = new Set<string>(rule.not ?? []);
  const given = (Object.keys(rule) as (keyof RuleMatch)[]).filter((field) => rule[field] !== undefined);
  const except = given.flatMap((field): RuleFields[] => {
    if (field === 'not' || isSetField(field) || !inverted.has(field)) return [];
    // Its protocol has to be there for a port to mean something.
    const alone: RuleMatch = NEEDS_PROTOCOL.has(field)
      ? { [field]: rule[field], protocol: rule.protocol }
      : { [field]: rule[field] };
    return ruleMatches(alone);
  });
  const sets = given.flatMap((field): SetCondition[] => {
    if (!isSetField(field)) return [];
    const side: Side = field === 'srcSet' || field === 'srcGroup' ? 'src' : 'dst';
    return [{ set: rule[field] as string, side, isIn: !inverted.has(field) }];
  });
  return { matches: ruleMatches(rule, inverted), except, sets };
}

const NOTHING: ReadonlySet<string> = new Set();
const NEEDS_PROTOCOL: ReadonlySet<string> = new Set(['srcPorts', 'dstPorts', 'icmpType', 'icmpCode', 'tcpFlags']);

/** What fits the fields that are not inverted (all of them, usually), and has what the inverted ones ask about; sets are not asked. */
export function ruleMatches(rule: RuleMatch, inverted = NOTHING): RuleFields[] {
  const value = <F extends Field>(field: F): RuleMatch[F] | undefined =>
    inverted.has(field) ? undefined : rule[field];
  const protocol = protocolOf(rule);
  if (inverted.has('protocol') && [...NEEDS_PROTOCOL].some((field) => rule[field as Field] !== undefined)) return [];
  const base: Fields = {};
  addMac(base, 'eth_src', value('srcMac'));
  addMac(base, 'eth_dst', value('dstMac'));
  const vlan = value('vlan');
  const states = value('state')?.map((state) => STATES[state]) ?? [{}];
  return etherTypes(rule, inverted).flatMap((type) => {
    const fields: Fields = { ...base };
    if (type !== undefined) fields.eth_type = type;
    if (!addArp(fields, value('arpOp'), value('arpSender'), value('arpTarget'))) return [];
    addAddress(fields, type, 'src', value('src'));
    addAddress(fields, type, 'dst', value('dst'));
    const dscp = value('dscp');
    if (dscp !== undefined) fields.ip_dscp = dscp;
    if (protocol !== undefined && !inverted.has('protocol') && isIp(type)) fields.ip_proto = protocol;
    const fragment = fragments(rule, value('fragment'));
    if (fragment === 'none') return [];
    if (fragment !== undefined) fields.ip_frag = fragment;
    return layer4(protocol, value).flatMap((l4) =>
      states.map((state) => ({
        fields: { ...fields, ...l4 },
        registers: { ...state, ...(vlan === undefined ? {} : { vlan }) },
      })),
    );
  });
}

type Fields = Partial<Record<FieldName, FieldValue | Masked>>;

const ETHER_TYPES: Readonly<Record<string, number>> = ETH;
const PROTOCOLS: Readonly<Record<string, number>> = PROTO;
const ARP_FIELDS = ['arpOp', 'arpSender', 'arpTarget'] as const;
const IP_FIELDS = ['srcSet', 'dstSet', 'srcGroup', 'dstGroup', 'tcpFlags', 'fragment', 'dscp', 'state'] as const;

function isIp(type: number | undefined): boolean {
  return type === ETH.ipv4 || type === ETH.ipv6;
}

/** The Ethernet types that everything agrees on that the rule asks about; [undefined] for any. */
function etherTypes(rule: RuleMatch, inverted: ReadonlySet<string>): (number | undefined)[] {
  let types: number[] | undefined;
  const only = (...some: number[]): void => {
    types = types === undefined ? some : types.filter((type) => some.includes(type));
  };
  if (rule.etherType !== undefined && !inverted.has('etherType'))
    only(typeof rule.etherType === 'number' ? rule.etherType : ETHER_TYPES[rule.etherType]!);
  for (const address of [rule.src, rule.dst])
    if (address !== undefined) only(address.includes(':') ? ETH.ipv6 : ETH.ipv4);
  if (ARP_FIELDS.some((field) => rule[field] !== undefined)) only(ETH.arp);
  const protocol = protocolOf(rule);
  if (protocol === PROTO.icmp && !inverted.has('protocol')) only(ETH.ipv4);
  else if (protocol === PROTO.icmpv6 && !inverted.has('protocol')) only(ETH.ipv6);
  else if (protocol !== undefined) only(ETH.ipv4, ETH.ipv6);
  if (IP_FIELDS.some((field) => rule[field] !== undefined)) only(ETH.ipv4, ETH.ipv6);
  return types ?? [undefined];
}

function protocolOf(rule: RuleMatch): number | undefined {
  return typeof rule.protocol === 'string' ? PROTOCOLS[rule.protocol] : rule.protocol;
}

function addMac(fields: Fields, field: 'eth_src' | 'eth_dst', text: string | undefined): void {
  if (text === undefined) return;
  const [mac, mask] = text.split('/').map(macOf) as [number, number | undefined];
  if (mask === undefined || mask === 0xffff_ffff_ffff) fields[field] = mac;
  else if (mask !== 0) fields[field] = { value: Number(BigInt(mac) & BigInt(mask)), mask };
}

function addAddress(fields: Fields, type: number | undefined, side: 'src' | 'dst', text: string | undefined): void {
  if (text === undefined) return;
  const { ip, prefix } = cidrOf(text);
  const value = prefixMatch(ip.value, prefix, type === ETH.ipv4 ? 32 : 128);
  if (value !== undefined) fields[`${type === ETH.ipv4 ? 'ip' : 'ipv6'}_${side}` as FieldName] = value;
}

/** Operations are one byte in Open vSwitch, where ARP has two: higher ones fit nothing (false). */
function addArp(
  fields: Fields,
  op: number | undefined,
  sender: string | undefined,
  target: string | undefined,
): boolean {
  if (op !== undefined) {
    if (op > 0xff) return false;
    fields.arp_op = op;
  }
  if (sender !== undefined) fields.arp_spa = cidrOf(sender).ip.value;
  if (target !== undefined) fields.arp_tpa = cidrOf(target).ip.value;
  return true;
}

/** Which fragments fit: those that the rule names, and later ones never where it asks for a layer-4 header. */
function fragments(rule: RuleMatch, wanted: RuleMatch['fragment']): Masked | 'none' | undefined {
  const named = wanted === undefined ? undefined : FRAGMENTS[wanted];
  if (![...NEEDS_PROTOCOL].some((field) => rule[field as Field] !== undefined)) return named;
  if (named === undefined) return NOT_LATER_FRAGMENT.ip_frag;
  if (wanted === 'later') return 'none';
  return { value: named.value, mask: 3 };
}

const PORT_FIELDS: Readonly<Record<number, string>> = { [PROTO.tcp]: 'tcp', [PROTO.udp]: 'udp', [PROTO.sctp]: 'sctp' };

function layer4(protocol: number | undefined, value: <F extends Field>(field: F) => RuleMatch[F] | undefined): Match[] {
  const name = protocol === undefined ? undefined : PORT_FIELDS[protocol];
  if (name !== undefined) {
    const flags = value('tcpFlags');
    const base: Match = flags === undefined ? {} : { tcp_flags: flagsOf(flags) };
    const sources = portMatches(`${name}_src` as FieldName, value('srcPorts'));
    const targets = portMatches(`${name}_dst` as FieldName, value('dstPorts'));
    return sources.flatMap((source) => targets.map((target) => ({ ...base, ...source, ...target })));
  }
  const [type, code] = [value('icmpType'), value('icmpCode')];
  const prefix = protocol === PROTO.icmp ? 'icmp' : 'icmpv6';
  return [
    {
      ...(type === undefined ? {} : { [`${prefix}_type`]: type }),
      ...(code === undefined ? {} : { [`${prefix}_code`]: code }),
    },
  ];
}

/** `+syn-ack`: these bits set, those not. */
function flagsOf(text: string): Masked {
  let value = 0;
  let mask = 0;
  for (const [, sign, flag] of text.matchAll(/([+-])([a-z]+)/g)) {
    const bit = 1 << TCP_FLAGS.indexOf(flag!);
    mask |= bit;
    value = sign === '+' ? value | bit : value & ~bit;
  }
  return { value, mask };
}

function portMatches(field: FieldName, range: string | undefined): Match[] {
  if (range === undefined) return [{}];
  const [first, last] = range.split('-').map(Number) as [number, number | undefined];
  return portCover(first, last ?? first).map((ports) =>
    typeof ports === 'object' && ports.mask === 0 ? {} : { [field]: ports },
  );
}
