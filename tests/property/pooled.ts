import fc from 'fast-check';
import { formatIp, parseIp } from '../../src/base/addresses.ts';
import type { ModelSketch } from '../../src/model/generate.ts';
import { routedModelSketch, type SnatSketch } from '../../src/model/generate-routed.ts';
import { pooledAddress, poolOf, snatRuleFor } from '../../src/model/snat.ts';
import type { ModelView } from '../../src/model/view.ts';
import { readFrame } from '../../src/simulate/frame.ts';
import { type ConversationSketch, type Length, type Message, type StepSketch, send, step } from './conversation.ts';
import type { Coverage } from './routed-coverage.ts';

/** Conversations behind pools of addresses that grow and shrink meanwhile. */
export function pooledSketch({ least, most }: Length): fc.Arbitrary<ConversationSketch> {
  const parts = fc.oneof(
    step.map((one): readonly StepSketch[] => [one]),
    send.map((one): readonly StepSketch[] => [one, POOLS, { kind: 'again', to: 0 }, { kind: 'reply', to: 0 }, POOLS]),
  );
  return fc
    .tuple(fc.array(parts, { minLength: least, maxLength: most }), routedModelSketch)
    .map(([more, model]) => ({ model: withPools(model), steps: [POOLS, ...more.flat()] }));
}
const POOLS: StepSketch = { kind: 'pools' };

/** Routers translate everything, to three addresses, of which most hosts have ports. */
function withPools(model: ModelSketch): ModelSketch {
  const leases = [1, 1, 0, 1].map((blocks) => ({ blocks, bits: 6 }));
  const snat = [4, 6].map((version) => ({ version, from: 0, own: true, more: 2, leases }) as SnatSketch);
  const { network } = model;
  return network
    ? { ...model, network: { ...network, routers: network.routers.map((each) => ({ ...each, snat })) } }
    : model;
}

const KEPT = 'a known connection has an address that its source would get no more';
const KEPT_ALONE = '… and its host has no ports of the one that it would get';

/** What they have to have met. */
export class PooledCoverage implements Coverage {
  readonly #missing = new Set<string>([KEPT, KEPT_ALONE]);

  noteModel(): void {}
  noteMove(): void {}

  noteMessage(model: ModelView, { kind }: StepSketch, { entry, delivered }: Message): void {
    const source = kind === 'again' ? readFrame(entry.bytes).ip?.src : undefined;
    const seen = delivered && readFrame(delivered.bytes).ip?.src;
    if (!source || !seen) return;
    for (const router of model.all('router')) {
      const rule = snatRuleFor(router, source);
      if (!rule || !poolOf(rule).includes(formatIp(seen))) continue;
      const address = pooledAddress(rule, source);
      if (parseIp(address)!.value === seen.value) continue;
      this.#missing.delete(KEPT);
      if (!model.get('natLease', `${router.id}/${address}/${entry.host}`)) this.#missing.delete(KEPT_ALONE);
    }
  }

  missing(): string[] {
    return [...this.#missing];
  }
}
