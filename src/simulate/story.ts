import type { ModelView } from '../model/view.ts';
import { nameOf } from './names.ts';
import { DROP_REASONS, type Drop, type Outcome } from './outcome.ts';

/** An outcome told to a person: the verdict and what decided it first, then the way. */
export interface Story {
  /** One sentence. */
  readonly verdict: string;
  /** Did the frame arrive anywhere, or was it answered? */
  readonly isGood: boolean;
  readonly lines: readonly string[];
}

export function tellStory(model: ModelView, outcome: Outcome): Story {
  const lines: string[] = [];
  let host: string | undefined;
  for (const step of outcome.steps) {
    if (step.host !== host) lines.push(`on host ${nameOf(model, { kind: 'host', id: step.host })}`);
    host = step.host;
    lines.push(`  ${step.about.kind} ${nameOf(model, step.about)}: ${step.text}`);
  }
  for (const drop of outcome.drops) lines.push(`  ${describeDrop(model, drop)}`);
  if (outcome.learns) lines.push(`  teaches the switch that ${outcome.learns.mac} is behind the port`);
  if (outcome.activates) lines.push("  announces the workload: the port's traffic moves to this host");
  return { verdict: verdictOf(model, outcome), isGood: isGood(outcome), lines };
}

function isGood(outcome: Outcome): boolean {
  return outcome.deliveries.length > 0 || outcome.answer !== undefined || outcome.agent !== undefined;
}

function verdictOf(model: ModelView, outcome: Outcome): string {
  if (outcome.answer) {
    const { kind, address, mac } = outcome.answer;
    return `answered by the host: ${address} is at ${mac} (${kind === 'arp' ? 'ARP' : 'neighbour discovery'})`;
  }
  if (outcome.agent)
    return `answered by the host's agent (${{ dhcp: 'DHCP', dhcp6: 'DHCPv6', ra: 'router advertisement' }[outcome.agent]})`;
  const delivered = outcome.deliveries.map(
    (d) => `${nameOf(model, { kind: 'port', id: d.port })} on host ${nameOf(model, { kind: 'host', id: d.host })}`,
  );
  const dropped = outcome.drops.map((drop) => describeDrop(model, drop));
  if (delivered.length === 0) return dropped[0] ?? 'nothing happens: the port or its switch is not there';
  const first =
    delivered.length <= 3
      ? delivered.join(', ')
      : `${delivered.slice(0, 3).join(', ')} and ${delivered.length - 3} more`;
  return `delivered to ${first}${dropped.length > 0 ? `; not everywhere: ${dropped[0]}${dropped.length > 1 ? ` and ${dropped.length - 1} more` : ''}` : ''}`;
}

export function describeDrop(model: ModelView, drop: Drop): string {
  const by = nameOf(model, drop.by);
  const what =
    drop.reason === 'rule'
      ? `rule ${ruleName(model, drop.by.id)}`
      : `${drop.by.kind} ${by}: ${DROP_REASONS[drop.reason]}`;
  const to =
    drop.to === undefined || drop.by.id === drop.to
      ? ''
      : `, on its way to ${nameOf(model, { kind: 'port', id: drop.to })}`;
  return `dropped (${drop.reason}) by ${what}${to}, on host ${nameOf(model, { kind: 'host', id: drop.host })}`;
}

function ruleName(model: ModelView, id: string): string {
  const rule = model.get('rule', id);
  return rule
    ? `${rule.name} of chain ${nameOf(model, { kind: 'chain', id: rule.chain })} (position ${rule.position})`
    : id;
}
