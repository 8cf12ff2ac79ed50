import { blocksOfRange, blocksOfSet } from '../base/aligned-blocks.ts';
import { isOne, listenerPorts, memberPorts, sizeOf } from './listener-ports.ts';
import type { GroupRule, LoadBalancer, LogicalPort, PolicyRoute, RuleMatch } from './objects.ts';
import { type PortRange, PROTOCOL_NAMES, parsePortRange } from './texts.ts';

/**
 * How many flows objects cost a switch, as far as what people write is multiplied there: a range of ports is as many flows as it has aligned
 * blocks (up to 30), times those of the other range, IP versions, and states of a connection (compile/rule-match.ts and its users; compared in the test).
 * What can fit nothing is counted as though it could.
 */

/** Of one rule, policy or mirror. Two wide ranges over both IP versions, as 1024-65535 from and to, are 72. */
export const MOST_RULE_FLOWS = 1_000;
/** Of all rules of a chain, policies of a router, or rules of a security group, and of a load balancer. */
export const MOST_OBJECT_FLOWS = 50_000;
/** Of a trunk port, on every host that its switch reaches. Every other VLAN of all, with one MAC, is 6,141. */
export const MOST_TRUNK_FLOWS = 10_000;

const known = new WeakMap<RuleMatch, number>();
export function flowsOfMatch(match: RuleMatch): number {
  const found = known.get(match);
  if (found !== undefined) return found;
  const count = countMatch(match);
  known.set(match, count);
  return count;
}

const SETS: ReadonlySet<string> = new Set(['srcSet', 'dstSet', 'srcGroup', 'dstGroup']);
const OF_IP = ['protocol', ...SETS, 'tcpFlags', 'fragment', 'dscp', 'state'] as const;
const OF_LAYER_4: ReadonlySet<string> = new Set(['srcPorts', 'dstPorts', 'icmpType', 'icmpCode', 'tcpFlags']);

/** What fits, and each inverted field by itself: that must not fit. */
function countMatch(match: RuleMatch): number {
  let count = countFitting(match, match.not ?? []);
  for (const field of new Set(match.not)) {
    const value = match[field as keyof RuleMatch];
    if (value === undefined || field === 'not' || SETS.has(field)) continue;
    count += countFitting({ [field]: value, ...(OF_LAYER_4.has(field) ? { protocol: match.protocol } : {}) }, []);
  }
  return count;
}

function countFitting(match: RuleMatch, inverted: readonly string[]): number {
  const blocksOf = (field: 'srcPorts' | 'dstPorts'): number =>
    match[field] === undefined || inverted.includes(field) ? 1 : sizeOfCover(parsePortRange(match[field])!);
  const states = match.state === undefined || inverted.includes('state') ? 1 : match.state.length;
  return versionsOf(match, inverted) * states * blocksOf('srcPorts') * blocksOf('dstPorts');
}

/** 2 for what both versions of IP have, and nothing says which. */
function versionsOf(match: RuleMatch, inverted: readonly string[]): 1 | 2 {
  if (OF_IP.every((field) => match[field as keyof RuleMatch] === undefined)) return 1;
  if ((match.src ?? match.dst) !== undefined) return 1;
  if (match.etherType !== undefined && !inverted.includes('etherType')) return 1;
  return isIcmp(match.protocol) && !inverted.includes('protocol') ? 1 : 2;
}

function isIcmp(protocol: RuleMatch['protocol']): boolean {
  const number = typeof protocol === 'string' ? PROTOCOL_NAMES[protocol] : protocol;
  return number === PROTOCOL_NAMES.icmp || number === PROTOCOL_NAMES.icmpv6;
}

/** A next hop is one for packets of its own version. */
export function flowsOfPolicy({ match, via }: Pick<PolicyRoute, 'match' | 'via'>): number {
  return via === undefined ? flowsOfMatch(match) : countMatch({ ...match, etherType: etherTypeOf(via.includes(':')) });
}

/** For the ports that have one set of groups; rules with a helper are asked by themselves once more. */
export function flowsOfGroupRule({ ipVersion, protocol, ports, cidr, helper }: GroupRule): number {
  const version = ipVersion === undefined ? {} : { etherType: etherTypeOf(ipVersion === 6) };
  return (helper === undefined ? 1 : 2) * countMatch({ protocol, dstPorts: ports, src: cidr, ...version });
}

function etherTypeOf(isV6: boolean): 'ipv4' | 'ipv6' {
  return isV6 ? 'ipv6' : 'ipv4';
}

/** Its listeners, and each member at each of the ports that these lead to. Some are in two tables. */
export function flowsOfBalancer({ listeners, members }: Pick<LoadBalancer, 'listeners' | 'members'>): number {
  let blocks = 0;
  const led = new Set<number | 'asked'>();
  for (const listener of listeners) {
    const [from, to] = [listenerPorts(listener), memberPorts(listener)];
    if (isOne(to)) led.add(to.first);
    else if (to.first === from.first) led.add('asked');
    else for (let port = to.first; port <= to.last; port++) led.add(port);
    blocks += isOne(to) || to.first === from.first ? sizeOfCover(from) : sizeOf(from);
  }
  return blocks + members.length * led.size;
}

/** A trunk's VLANs: where frames come in, and where each of its MACs is looked up and learned. None where they are not listed. */
export function flowsOfTrunk({ mac, allowedPairs, vlan }: Pick<LogicalPort, 'mac' | 'allowedPairs' | 'vlan'>): number {
  if (vlan === undefined || 'access' in vlan || vlan.trunk === 'all') return 0;
  const macs = new Set([mac, ...allowedPairs.flatMap((pair) => pair.mac ?? [])]);
  const vlans = vlan.native === undefined ? vlan.trunk : [...vlan.trunk, vlan.native];
  return blocksOfSet(vlans).length * (1 + 2 * macs.size);
}

function sizeOfCover({ first, last }: PortRange): number {
  return blocksOfRange(first, last).length;
}
