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
  const any = step.map((one): readonly StepSketch[] => [one]);
  const kept = send.map((one): readonly StepSketch[] => [one, POOLS, ...GO_ON, POOLS]);
  const some = fc.oneof({ weight: 1, arbitrary: any }, { weight: 2, arbitrary: kept });
  return fc
    .tuple(fc.array(some, { minLength: least, maxLength: most }), routedModelSketch)
    .map(([more, model]) => ({ model: withPools(model), steps: [POOLS, ...more.flat()] }));
}
const POOLS: StepSketch = { kind: 'pools' };
const GO_ON: readonly StepSketch[] = [
  { kind: 'again', to: 0 },
  { kind: 'reply', to: 0 },
];

/** Routers translate everything that leaves by every other port, to three addresses, of each of which every other host has ports. */
function withPools(model: ModelSketch): ModelSketch {
  if (!model.network) return model;
  const leases = [1, 0, 1, 0].map((blocks) => ({ blocks, bits: 6 }));
  const snat = [4, 6].map((version) => ({ version, from: 0, own: true, more: 2, leases }) as SnatSketch);
  const routers = model.network.routers.map((router) => ({
    ...router,
    ports: router.ports.map((port, p) => ({ ...port, outside: p % 2 === 1 })),
    snat,
  }));
  return { ...model, network: { ...model.network, routers } };
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
