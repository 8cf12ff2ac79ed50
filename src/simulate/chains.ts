import type { Rule } from '../model/objects.ts';
import type { Helper } from '../model/texts.ts';
import type { Journey } from './journey.ts';
import type { ObjectRef } from './outcome.ts';
import type { Packet } from './packet.ts';
import { type Judged, type RuleView, ruleFits } from './rule-match.ts';

/** What a chain says of a packet. Chains cannot jump in a circle: the model's rules see to that. */
export type Decision = { readonly verdict: 'accept' | 'drop' | 'reject'; readonly rule: Rule } | undefined;

/** What a chain hangs on, and the VLAN of the frame there (0 on routers). */
export interface Hook {
  readonly at: ObjectRef;
  readonly vlan: number;
  /** The port that the packet is on its way to, at its to-chain. */
  readonly to?: string;
  /** A pre-filter: what it drops is named so. */
  readonly isPrefilter?: true;
}

/** A packet goes on; `helper`: what the rule that let it has for the connection that it begins. */
export interface Passed {
  readonly helper?: Helper | undefined;
}

/** Does the packet go on behind the chain? If not, the journey knows why. */
export function passes(journey: Journey, packet: Packet, chain: string, hook: Hook): Passed | undefined {
  const decision = walkChain(journey.model, packet, { chain, vlan: hook.vlan }, (rule) => {
    journey.step(packet.host, { kind: 'rule', id: rule.id }, `rule ${rule.name} ${SAID[rule.action]}`);
    if (rule.action === 'log') journey.log(rule.id);
  });
  if (!decision) {
    if (journey.model.get('chain', chain)?.policy !== 'drop') return {};
    journey.drop(hook.isPrefilter ? 'prefilter' : 'policy', packet.host, { kind: 'chain', id: chain }, hook.to);
    return undefined;
  }
  if (decision.verdict === 'accept') return { helper: decision.rule.helper };
  const rule = { kind: 'rule', id: decision.rule.id } as const;
  if (hook.isPrefilter) {
    journey.drop('prefilter', packet.host, rule);
    return undefined;
  }
  journey.drop(decision.verdict === 'reject' ? 'rejected' : 'rule', packet.host, rule, hook.to);
  if (decision.verdict === 'reject') journey.ask('reject', packet, hook.at);
  return undefined;
}

/** What a trace says of a rule that fits. */
const SAID = {
  ...{ accept: 'says accept', drop: 'says drop', reject: 'says reject' },
  ...{ return: 'returns', log: 'logs', jump: 'jumps' },
} as const satisfies { readonly [A in Rule['action']]: string };

/** `met` is told of each rule that fits, in the order in which they are walked. */
export function walkChain(
  model: RuleView,
  packet: Judged,
  { chain, vlan }: { readonly chain: string; readonly vlan: number },
  met: (rule: Rule) => void,
): Decision {
  for (const rule of model.rulesOfChain(chain)) {
    if (!ruleFits(model, rule.match, packet, vlan)) continue;
    met(rule);
    switch (rule.action) {
      case 'accept':
      case 'drop':
      case 'reject':
        return { verdict: rule.action, rule };
      case 'return':
        return undefined;
      case 'log':
        break;
      case 'jump': {
        const decision = walkChain(model, packet, { chain: rule.jumpTo!, vlan }, met);
        if (decision) return decision;
        break;
      }
    }
  }
  return undefined;
}
