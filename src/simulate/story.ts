import type { ModelView } from '../model/view.ts';
import { nameOf } from './names.ts';
import {
  type AgentRequest,
  DROP_REASONS,
  type Drop,
  type ObjectRef,
  type Outcome,
  type RequestService,
} from './outcome.ts';

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
    lines.push(`  ${kindText(step.about)} ${nameOf(model, step.about)}: ${step.text}`);
  }
  for (const request of outcome.requests)
    lines.push(`  the agent of ${nameOf(model, { kind: 'host', id: request.host })} ${requestText(request)}`);
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
    return `answered by the host's agent (${{ dhcp: 'DHCP', dhcp6: 'DHCPv6', ra: 'router advertisement', dns: 'names of workloads' }[outcome.agent]})`;
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
    drop.by.kind === 'rule'
      ? `rule ${ruleName(model, drop.by.id)}`
      : `${kindText(drop.by)} ${by}: ${(drop.by.kind === 'routerPort' && AT_ROUTERS[drop.reason]) || DROP_REASONS[drop.reason]}`;
  const to =
    drop.to === undefined || drop.by.id === drop.to
      ? ''
      : `, on its way to ${nameOf(model, { kind: 'port', id: drop.to })}`;
  return `dropped (${drop.reason}) by ${what}${to}, on host ${nameOf(model, { kind: 'host', id: drop.host })}`;
}

/** What a reason means where a router drops. */
const AT_ROUTERS: Readonly<Partial<Record<Drop['reason'], string>>> = {
  'spoofed-ip':
    "into another tenant's switch go only sources that the router has there: translate it (snat, or a floating address)",
};

/** `routerPort` as people say it. */
function kindText({ kind }: ObjectRef): string {
  return kind.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

const REQUEST_TEXTS: Readonly<Record<RequestService, string>> = {
  unreachable: 'tells the sender that the network is unreachable',
  ttl: 'tells the sender that the time to live ran out',
  'too-big': 'tells the sender what fits, or cuts what may be cut',
  'port-unreachable': 'tells the sender that the port is unreachable',
  reset: 'resets the connection',
  reject: 'tells the sender that it is refused',
  resolve: 'asks the neighbourhood',
  neighbour: 'notes where the neighbour is',
  health: 'notes that the member is well',
  'next-hop': 'notes that the next hop answers',
  hello: 'hears who is outside by another L2 gateway',
};

function requestText({ service, address, isSilent }: AgentRequest): string {
  if (isSilent) return 'says nothing: an error, a later fragment, or from or to a group is not answered';
  return address === undefined ? REQUEST_TEXTS[service] : `${REQUEST_TEXTS[service]} who has ${address}`;
}

function ruleName(model: ModelView, id: string): string {
  const rule = model.get('rule', id);
  return rule
    ? `${rule.name} of chain ${nameOf(model, { kind: 'chain', id: rule.chain })} (position ${rule.position})`
    : id;
}
