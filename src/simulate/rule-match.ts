import { cidrContains, formatIp, type Ip, parseIp, parseMac } from '../base/addresses.ts';
import type { RuleMatch } from '../model/objects.ts';
import { ETHER_TYPE_NAMES, PROTOCOL_NAMES, parseAddressOrCidr, parsePortRange } from '../model/texts.ts';
import type { ModelView } from '../model/view.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import type { Frame } from './frame.ts';
import type { Packet } from './packet.ts';
import type { PacketState } from './tracker.ts';

/** What rules are walked with: the whole model, or what a host has of it. */
export type RuleView = Pick<ModelView, 'get' | 'rulesOfChain' | 'portsOfGroup'>;

type Field = Exclude<keyof RuleMatch, 'not'>;

/** What a rule looks at in a packet. */
export type Judged = Pick<Packet, 'frame' | 'state'>;

/** Of each field: is there in the packet what it asks about (that must be so also under `not`), and does it fit? */
type Test = (model: RuleView, match: RuleMatch, packet: Judged, vlan: number) => boolean | 'absent';

const TESTS: { readonly [K in Field]: Test } = {
  etherType: (_, match, { frame }) => {
    const wanted = match.etherType!;
    return frame.etherType === (typeof wanted === 'number' ? wanted : ETHER_TYPE_NAMES[wanted]);
  },
  srcMac: (_, match, { frame }) => macFits(match.srcMac!, frame.src),
  dstMac: (_, match, { frame }) => macFits(match.dstMac!, frame.dst),
  vlan: (_, match, __, vlan) => match.vlan === vlan,
  src: (_, match, { frame }) => networkFits(match.src!, frame.ip?.src),
  dst: (_, match, { frame }) => networkFits(match.dst!, frame.ip?.dst),
  protocol: (_, match, { frame }) => (frame.ip ? protocolFits(match.protocol!, frame.ip) : 'absent'),
  srcPorts: (_, match, { frame }) => portFits(match, match.srcPorts!, frame, frame.ports?.src),
  dstPorts: (_, match, { frame }) => portFits(match, match.dstPorts!, frame, frame.ports?.dst),
  icmpType: (_, match, { frame }) => icmpFits(match, match.icmpType!, frame, frame.icmp?.type),
  icmpCode: (_, match, { frame }) => icmpFits(match, match.icmpCode!, frame, frame.icmp?.code),
  arpOp: (_, match, { frame }) => (frame.arp ? frame.arp.op === match.arpOp : 'absent'),
  arpSender: (_, match, { frame }) => (frame.arp ? parseIp(match.arpSender!)?.value === frame.arp.senderIp : 'absent'),
  arpTarget: (_, match, { frame }) => (frame.arp ? parseIp(match.arpTarget!)?.value === frame.arp.targetIp : 'absent'),
  srcSet: (model, match, { frame }) => (frame.ip ? isInSet(model, match.srcSet!, frame.ip.src) : 'absent'),
  dstSet: (model, match, { frame }) => (frame.ip ? isInSet(model, match.dstSet!, frame.ip.dst) : 'absent'),
  srcGroup: (model, match, { frame }) => (frame.ip ? isInGroup(model, match.srcGroup!, frame.ip.src) : 'absent'),
  dstGroup: (model, match, { frame }) => (frame.ip ? isInGroup(model, match.dstGroup!, frame.ip.dst) : 'absent'),
  tcpFlags: (_, match, { frame }) =>
    frame.tcpFlags === undefined ? 'absent' : flagsFit(match.tcpFlags!, frame.tcpFlags),
  fragment: (_, match, { frame }) => {
    if (!frame.ip) return 'absent';
    return match.fragment === 'any' ? frame.ip.fragment !== 'no' : frame.ip.fragment === match.fragment;
  },
  dscp: (_, match, { frame }) => (frame.ip ? frame.ip.dscp === match.dscp : 'absent'),
  state: (_, match, { frame, state }) => (frame.ip ? match.state!.some((each) => stateFits(each, state)) : 'absent'),
};

/** Does every field that is given fit? (docs/design/layer2.md step 4, docs/design/layer3.md §5) */
export function ruleFits(model: RuleView, match: RuleMatch, packet: Judged, vlan: number): boolean {
  for (const field of Object.keys(match) as (keyof RuleMatch)[]) {
    if (field === 'not' || match[field] === undefined) continue;
    const fits = TESTS[field](model, match, packet, vlan);
    if (fits === 'absent' || fits === (match.not?.includes(field) ?? false)) return false;
  }
  return true;
}

export function protocolFits(
  wanted: NonNullable<RuleMatch['protocol']>,
  ip: { readonly version: 4 | 6; readonly protocol: number } | undefined,
): boolean {
  if (!ip) return false;
  const protocol = typeof wanted === 'number' ? wanted : PROTOCOL_NAMES[wanted];
  // ICMP is the protocol of IPv4, ICMPv6 that of IPv6, also when written as a number.
  if (protocol === PROTOCOL_NAMES.icmp && ip.version !== 4) return false;
  if (protocol === PROTOCOL_NAMES.icmpv6 && ip.version !== 6) return false;
  return ip.protocol === protocol;
}

export function isInRange(text: string, port: number): boolean {
  const range = parsePortRange(text)!;
  return port >= range.first && port <= range.last;
}

/** Networks of one prefix length, each as the number that its prefix is. */
interface Prefixes {
  readonly version: 4 | 6;
  readonly hostBits: bigint;
  readonly values: Set<bigint>;
}

/** Sets that were read: one may have thousands of addresses, and is asked for every packet that a rule logs. */
const read = new WeakMap<readonly string[], readonly Prefixes[]>();

function prefixesOf(addresses: readonly string[]): readonly Prefixes[] {
  const known = read.get(addresses);
  if (known !== undefined) return known;
  const byLength = new Map<string, Prefixes>();
  for (const { ip, prefix } of addresses.map(parseAddressOrCidr)) {
    const key = `${ip.version}/${prefix}`;
    const hostBits = BigInt((ip.version === 4 ? 32 : 128) - prefix);
    const prefixes = byLength.get(key) ?? { version: ip.version, hostBits, values: new Set() };
    prefixes.values.add(BigInt(ip.value) >> hostBits);
    byLength.set(key, prefixes);
  }
  const prefixes = [...byLength.values()];
  read.set(addresses, prefixes);
  return prefixes;
}

/** In the address set? */
export function isInSet(model: RuleView, set: string, ip: Ip): boolean {
  const addresses = model.get('addressSet', set)?.addresses ?? [];
  return prefixesOf(addresses).some(
    ({ version, hostBits, values }) => version === ip.version && values.has(BigInt(ip.value) >> hostBits),
  );
}

/** An own address of a port of the group? Ports have their addresses as `formatIp` writes them. */
export function isInGroup(model: RuleView, group: string, ip: Ip): boolean {
  const text = formatIp(ip);
  for (const port of model.portsOfGroup(group)) if (port.addresses.includes(text)) return true;
  return false;
}

/** An IPv6 packet has no IPv4 source: such a field fits it neither as it is nor under `not`. */
function networkFits(text: string, ip: Ip | undefined): boolean | 'absent' {
  const network = parseAddressOrCidr(text);
  return ip?.version === network.ip.version ? cidrContains(network, ip) : 'absent';
}

/** The protocol that ports belong to is asked for as it stands, whatever `not` says of it. */
function portFits(match: RuleMatch, text: string, frame: Frame, port: number | undefined): boolean | 'absent' {
  return port !== undefined && protocolFits(match.protocol!, frame.ip) ? isInRange(text, port) : 'absent';
}

function icmpFits(match: RuleMatch, wanted: number, frame: Frame, value: number | undefined): boolean | 'absent' {
  return value !== undefined && protocolFits(match.protocol!, frame.ip) ? value === wanted : 'absent';
}

const FLAG_BITS: Readonly<Record<string, number>> = { ...TCP_FLAG, ns: 0x100 };

function flagsFit(text: string, flags: number): boolean {
  for (const [, sign, name] of text.matchAll(/([+-])([a-z]+)/g))
    if (((flags & FLAG_BITS[name!]!) !== 0) !== (sign === '+')) return false;
  return true;
}

function stateFits(wanted: NonNullable<RuleMatch['state']>[number], state: PacketState | undefined): boolean {
  if (!state) return false;
  switch (wanted) {
    case 'new':
      return state.isNew;
    case 'established':
      return state.isEstablished;
    case 'reply':
      return state.isReply;
    case 'related':
      return state.isRelated;
    case 'invalid':
      return state.isInvalid;
  }
}

function macFits(text: string, mac: number): boolean {
  const [value, mask] = text.split('/');
  if (mask === undefined) return parseMac(value!) === mac;
  const bits = BigInt(parseMac(mask)!);
  return (BigInt(parseMac(value!)!) & bits) === (BigInt(mac) & bits);
}
