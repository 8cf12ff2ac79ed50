import { cidrContains, parseIp, parseMac } from '../base/addresses.ts';
import { ETHER_TYPE_NAMES, PROTOCOL_NAMES } from '../model/kinds/chain.ts';
import { parseAddressOrCidr, parsePortRange } from '../model/kinds/common.ts';
import type { Rule, RuleMatch } from '../model/objects.ts';
import type { Frame } from './frame.ts';
import type { Journey } from './journey.ts';

/** What a chain says of a frame. Chains cannot jump in a circle: the model's rules see to that. */
export type Decision = { readonly verdict: 'accept' | 'drop'; readonly rule: Rule } | undefined;

export function walkChain(journey: Journey, chainId: string, host: string, vlan: number): Decision {
  for (const rule of journey.model.rulesOfChain(chainId)) {
    if (!ruleFits(rule.match, journey.frame, vlan)) continue;
    const about = { kind: 'rule', id: rule.id } as const;
    switch (rule.action) {
      case 'accept':
      case 'drop':
        journey.step(host, about, `rule ${rule.name} says ${rule.action}`);
        return { verdict: rule.action, rule };
      case 'return':
        journey.step(host, about, `rule ${rule.name} returns`);
        return undefined;
      case 'log':
        journey.log(rule.id);
        journey.step(host, about, `rule ${rule.name} logs`);
        break;
      case 'jump': {
        journey.step(host, about, `rule ${rule.name} jumps`);
        const decision = walkChain(journey, rule.jumpTo!, host, vlan);
        if (decision) return decision;
        break;
      }
    }
  }
  return undefined;
}

export function ruleFits(match: RuleMatch, frame: Frame, vlan: number): boolean {
  const { ip, arp } = frame;
  if (
    match.etherType !== undefined &&
    frame.etherType !== (typeof match.etherType === 'number' ? match.etherType : ETHER_TYPE_NAMES[match.etherType])
  )
    return false;
  if (match.srcMac !== undefined && !macFits(match.srcMac, frame.src)) return false;
  if (match.dstMac !== undefined && !macFits(match.dstMac, frame.dst)) return false;
  if (match.vlan !== undefined && match.vlan !== vlan) return false;
  if (match.src !== undefined && !(ip && cidrContains(parseAddressOrCidr(match.src), ip.src))) return false;
  if (match.dst !== undefined && !(ip && cidrContains(parseAddressOrCidr(match.dst), ip.dst))) return false;
  if (match.protocol !== undefined && !protocolFits(match.protocol, frame)) return false;
  if (match.srcPorts !== undefined && !portFits(match.srcPorts, frame.ports?.src)) return false;
  if (match.dstPorts !== undefined && !portFits(match.dstPorts, frame.ports?.dst)) return false;
  if (match.icmpType !== undefined && match.icmpType !== frame.icmp?.type) return false;
  if (match.icmpCode !== undefined && match.icmpCode !== frame.icmp?.code) return false;
  if (match.arpOp !== undefined && match.arpOp !== arp?.op) return false;
  if (match.arpSender !== undefined && !(arp && parseIp(match.arpSender)?.value === arp.senderIp)) return false;
  return match.arpTarget === undefined || (arp !== undefined && parseIp(match.arpTarget)?.value === arp.targetIp);
}

function protocolFits(wanted: NonNullable<RuleMatch['protocol']>, frame: Frame): boolean {
  if (!frame.ip) return false;
  const protocol = typeof wanted === 'number' ? wanted : PROTOCOL_NAMES[wanted];
  // ICMP is the protocol of IPv4, ICMPv6 that of IPv6, also when written as a number.
  if (protocol === PROTOCOL_NAMES.icmp && frame.ip.version !== 4) return false;
  if (protocol === PROTOCOL_NAMES.icmpv6 && frame.ip.version !== 6) return false;
  return frame.ip.protocol === protocol;
}

function portFits(text: string, port: number | undefined): boolean {
  const range = parsePortRange(text)!;
  return port !== undefined && port >= range.first && port <= range.last;
}

function macFits(text: string, mac: number): boolean {
  const [value, mask] = text.split('/');
  if (mask === undefined) return parseMac(value!) === mac;
  const bits = BigInt(parseMac(mask)!);
  return (BigInt(parseMac(value!)!) & bits) === (BigInt(mac) & bits);
}
