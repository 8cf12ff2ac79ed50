import { cidrContains, type Ip } from '../base/addresses.ts';
import type { GroupRule, LogicalPort } from '../model/objects.ts';
import { type Helper, parseAddressOrCidr } from '../model/texts.ts';
import type { ModelView } from '../model/view.ts';
import type { Journey } from './journey.ts';
import { nameOf } from './names.ts';
import type { Packet } from './packet.ts';
import { isInGroup, isInRange, isInSet, protocolFits } from './rule-match.ts';
import { formatTuple, type Tuple } from './tuple.ts';

/**
 * The security groups of a port on a packet that it sends or receives. Not the packet is judged but its connection, as it began: by `egress`, with the
 * destination as the other end, if the port began it; by `ingress`, with the source, if another did (docs/design/layer3.md, §3 and §4).
 */
export function groupsAllow(journey: Journey, packet: Packet, port: LogicalPort, way: 'sends' | 'receives'): boolean {
  const { model } = journey;
  const { isReply, isRelated, judged, original } = packet.state!;
  if (port.groups.length === 0 || !original) return true;
  // What a helper let in is judged as the connection that it read, whoever begins it.
  const direction = isRelated && judged ? judged : (way === 'sends') !== isReply ? 'egress' : 'ingress';
  const allowing = allowingRule(model, port, direction, original);
  if (allowing) {
    const what =
      isRelated && judged
        ? 'allows the connection that it is related to'
        : isReply
          ? 'allows the connection that it answers'
          : 'allows it';
    journey.step(packet.host, { kind: 'securityGroup', id: allowing.group }, `rule ${allowing.name} ${what}`);
    return true;
  }
  const names = port.groups.map((id) => nameOf(model, { kind: 'securityGroup', id })).join(', ');
  const about = { kind: 'port', id: port.id } as const;
  journey.step(packet.host, about, `no ${direction} rule of ${names} allows ${formatTuple(original)}`);
  const to = way === 'receives' ? port.id : undefined;
  journey.drop('group', packet.host, about, to);
  return false;
}

/**
 * The first rule of the port's groups that allows a connection, given as it began: of `egress` where the port begins it. `name` says what it
 * is too: `https (tcp/443 from anywhere)`.
 */
export function allowingRule(
  model: ModelView,
  port: LogicalPort,
  direction: 'ingress' | 'egress',
  original: Tuple,
): { readonly group: string; readonly name: string } | undefined {
  const other = direction === 'egress' ? original.dst : original.src;
  for (const id of port.groups) {
    const group = model.get('securityGroup', id);
    const at = group?.[direction].findIndex((rule) => ruleFits(model, rule, original, other)) ?? -1;
    if (!group || at < 0) continue;
    const rule = group[direction][at]!;
    return { group: id, name: `${rule.name ?? `${direction}[${at}]`} (${describe(model, rule, direction)})` };
  }
  return undefined;
}

/** The helper that the port's groups have for a connection that they allow: that of the first such rule. */
export function helperOfGroups(
  model: ModelView,
  port: LogicalPort,
  direction: 'ingress' | 'egress',
  original: Tuple,
): Helper | undefined {
  const other = direction === 'egress' ? original.dst : original.src;
  for (const id of port.groups)
    for (const rule of model.get('securityGroup', id)?.[direction] ?? [])
      if (rule.helper !== undefined && ruleFits(model, rule, original, other)) return rule.helper;
  return undefined;
}

/**
 * A rule whose helper may have let in what no rule allows by itself: one for the other end, whoever began the control connection. Which of
 * several it was is not kept.
 */
export function helpingRule(
  model: ModelView,
  port: LogicalPort,
  other: Ip,
  protocol: number,
): { readonly group: string; readonly name: string } | undefined {
  for (const id of port.groups)
    for (const direction of ['ingress', 'egress'] as const)
      for (const [at, rule] of (model.get('securityGroup', id)?.[direction] ?? []).entries()) {
        if (rule.helper === undefined) continue;
        const control = { version: other.version, protocol, src: other, dst: other, srcPort: 0, id: 0 };
        const dstPort = Number(rule.ports!.split('-')[0]);
        if (ruleFits(model, rule, { ...control, dstPort }, other))
          return { group: id, name: `${rule.name ?? `${direction}[${at}]`} (${describe(model, rule, direction)})` };
      }
  return undefined;
}

/** `tcp/5432 from group app`. */
function describe(model: ModelView, rule: GroupRule, direction: 'ingress' | 'egress'): string {
  const version = rule.ipVersion === undefined ? '' : `IPv${rule.ipVersion} `;
  const icmp = [rule.icmpType, rule.icmpCode].filter((part) => part !== undefined).join('/');
  const details = rule.ports ?? icmp;
  const what = `${rule.protocol ?? 'anything'}${details === '' ? '' : `/${details}`}`;
  const other =
    rule.group !== undefined
      ? `group ${nameOf(model, { kind: 'securityGroup', id: rule.group })}`
      : rule.addressSet !== undefined
        ? `set ${nameOf(model, { kind: 'addressSet', id: rule.addressSet })}`
        : (rule.cidr ?? 'anywhere');
  return `${version}${what} ${direction === 'ingress' ? 'from' : 'to'} ${other}`;
}

function ruleFits(model: ModelView, rule: GroupRule, original: Tuple, other: Ip): boolean {
  const { version, srcPort, dstPort } = original;
  if (rule.ipVersion !== undefined && rule.ipVersion !== version) return false;
  if (rule.protocol !== undefined && !protocolFits(rule.protocol, original)) return false;
  if (rule.ports !== undefined && !isInRange(rule.ports, dstPort)) return false;
  if (rule.icmpType !== undefined && rule.icmpType !== srcPort) return false;
  if (rule.icmpCode !== undefined && rule.icmpCode !== dstPort) return false;
  if (rule.cidr !== undefined && !cidrContains(parseAddressOrCidr(rule.cidr), other)) return false;
  if (rule.addressSet !== undefined && !isInSet(model, rule.addressSet, other)) return false;
  return rule.group === undefined || isInGroup(model, rule.group, other);
}
