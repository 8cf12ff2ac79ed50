import { formatIp } from '../base/addresses.ts';
import type { ModelView } from '../model/view.ts';
import type { Conversation, Passage, Wanted } from './conversation.ts';
import { nameOf } from './names.ts';
import type { ObjectRef, Outcome } from './outcome.ts';
import { describeDrop, type Story, tellStory } from './story.ts';
import { formatTuple, sameIp, type Tuple, tupleOf } from './tuple.ts';

/** A conversation told to a person. */
export interface ConversationStory {
  /** One sentence: does it work both ways, and what decides? */
  readonly verdict: string;
  readonly isGood: boolean;
  readonly out?: Story;
  readonly back?: Story;
}

export function tellConversation(model: ModelView, wanted: Wanted, conversation: Conversation): ConversationStory {
  const { out, back, verdict, reached } = conversation;
  const isAnother = wanted.meant !== undefined && reached !== undefined && reached !== wanted.meant;
  return {
    verdict: isAnother
      ? mistaken(model, wanted, { meant: wanted.meant, reached })
      : sentenceOf(model, wanted, conversation),
    isGood: verdict.kind === 'answered' && !isAnother,
    ...(out ? { out: tellStory(model, out.outcome) } : {}),
    ...(back ? { back: tellStory(model, back.outcome) } : {}),
  };
}

/** The address that was asked for is somebody else's where it leads from here. */
function mistaken(
  model: ModelView,
  wanted: Wanted,
  ports: { readonly meant: string; readonly reached: string },
): string {
  const [from, meant, reached] = [wanted.from, ports.meant, ports.reached].map((id) => {
    const tenant = model.get('port', id)?.tenant;
    const name = nameOf(model, { kind: 'port', id });
    return tenant === undefined ? name : `${nameOf(model, { kind: 'tenant', id: tenant })}/${name}`;
  });
  return `${from} does not reach ${meant}: from there, ${formatIp(wanted.to)} is ${reached}`;
}

function sentenceOf(model: ModelView, wanted: Wanted, conversation: Conversation): string {
  const { verdict, out, back, reached } = conversation;
  const from = nameOf(model, { kind: 'port', id: wanted.from });
  const towards = reached ?? out?.outcome.drops.find(({ to: port }) => port !== undefined)?.to;
  const to = towards === undefined ? formatIp(wanted.to) : nameOf(model, { kind: 'port', id: towards });
  const on = wanted.protocol === 'icmp' ? 'by ping' : `on ${wanted.protocol}/${wanted.port ?? 0}`;
  switch (verdict.kind) {
    case 'answered': {
      if (verdict.by === 'network') return `${from} reaches ${to} ${on}: ${answererOf(model, out!.outcome)} answers`;
      const ways = [...changesOf(wanted, out!), allowedBy(model, out!.outcome), ...readBy(out!.outcome)].join('; ');
      return `${from} reaches ${to} ${on} and is answered: ${ways}`;
    }
    case 'estranged':
      return `${from} reaches ${to} ${on}, but the answer comes as ${formatTuple(verdict.from)}, which ${from} does not expect`;
    case 'silence':
      return verdict.way === 'out'
        ? `${from} does not reach ${to} ${on}: ${verdict.text}`
        : `${from} reaches ${to} ${on}, but gets no answer: ${verdict.text}`;
    case 'lost':
      return verdict.way === 'out'
        ? `${from} does not reach ${to} ${on}: ${lossOf(model, out!.outcome)}`
        : `${from} reaches ${to} ${on}, but the answer is lost: ${lossOf(model, back!.outcome)}`;
  }
}

/** How the packet that arrived differs from the one that was sent. */
function changesOf(wanted: Wanted, { frame, outcome }: Passage): string[] {
  const sent = tupleOf(frame);
  const got = outcome.deliveries.map((delivery) => tupleOf(delivery.frame)).find((tuple) => tuple !== undefined);
  if (!sent || !got) return [];
  const end = (ip: Tuple['src'], port: number): string =>
    wanted.protocol === 'icmp' ? formatIp(ip) : `${formatIp(ip)} port ${port}`;
  return [
    ...(sameIp(sent.dst, got.dst) ? [] : [`${formatIp(sent.dst)} leads to ${end(got.dst, got.dstPort)}`]),
    ...(sameIp(sent.src, got.src) ? [] : [`it is seen as ${end(got.src, got.srcPort)}`]),
  ];
}

/** The rules that let it pass. */
function allowedBy(model: ModelView, { steps }: Outcome): string {
  const rules = steps.flatMap(({ about, text }) => {
    if (about.kind === 'securityGroup') return [`${text.replace(/ allows.*$/, '')} of group ${nameOf(model, about)}`];
    const rule = about.kind === 'rule' && text.endsWith('accept') ? model.get('rule', about.id) : undefined;
    return rule ? [`rule ${rule.name} of chain ${nameOf(model, { kind: 'chain', id: rule.chain })}`] : [];
  });
  return rules.length === 0 ? 'nothing filters it' : `allowed by ${rules.join(' and ')}`;
}

/** Which helpers read it, or the connection that it is related to. */
function readBy({ steps }: Outcome): string[] {
  const texts = steps.flatMap(({ text }) => {
    if (text.startsWith('helper ')) return [text];
    return text.startsWith('is related to ') ? [`it ${text}`] : [];
  });
  return [...new Set(texts)];
}

/** The router or balancer that said so. */
function answererOf(model: ModelView, { steps }: Outcome): string {
  const step = steps.find(({ text }) => text.startsWith('answers the ping'));
  const about: ObjectRef | undefined = step?.about;
  return about ? `${about.kind === 'router' ? 'router' : 'load balancer'} ${nameOf(model, about)}` : 'the network';
}

function lossOf(model: ModelView, { drops, requests, deliveries }: Outcome): string {
  const told = requests.find(({ isSilent, service }) => !isSilent && service !== 'resolve');
  const [drop] = drops;
  if (drop && deliveries.length === 0) return `${describeDrop(model, drop)}${told ? '; the sender is told so' : ''}`;
  const [delivery] = deliveries;
  if (!delivery) return 'nothing happens to it';
  const port = nameOf(model, { kind: 'port', id: delivery.port });
  return `it is handed to ${port}, which has another address: what is behind it is not known here`;
}
