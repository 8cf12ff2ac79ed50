import type { Rule } from '../model/objects.ts';
import type { Helper } from '../model/texts.ts';
import type { Journey } from './journey.ts';
import type { ObjectRef } from './outcome.ts';
import type { Packet } from './packet.ts';
import { ruleFits } from './rule-match.ts';

/** What a chain says of a packet. Chains cannot jump in a circle: the model's rules see to that. */
type Decision = { readonly verdict: 'accept' | 'drop' | 'reject'; readonly rule: Rule } | undefined;

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
  const decision = walkChain(journey, packet, chain, hook.vlan);
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

function walkChain(journey: Journey, packet: Packet, chain: string, vlan: number): Decision {
  for (const rule of journey.model.rulesOfChain(chain)) {
    if (!ruleFits(journey.model, rule.match, packet, vlan)) continue;
    const about = { kind: 'rule', id: rule.id } as const;
    const say = (what: string): void => journey.step(packet.host, about, `rule ${rule.name} ${what}`);
    switch (rule.action) {
      case 'accept':
      case 'drop':
      case 'reject':
        say(`says ${rule.action}`);
        return { verdict: rule.action, rule };
      case 'return':
        say('returns');
        return undefined;
      case 'log':
        journey.log(rule.id);
        say('logs');
        break;
      case 'jump': {
        say('jumps');
        const decision = walkChain(journey, packet, rule.jumpTo!, vlan);
        if (decision) return decision;
        break;
      }
    }
  }
  return undefined;
}
