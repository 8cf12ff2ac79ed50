import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Flow } from '../openflow/flow.ts';
import type { Effect, InstalledFlow } from './events.ts';
import { flowBody, flowKey } from './flow-key.ts';
import { Installation } from './installation.ts';

/**
 * `Installation` against a model of a switch, under any order of events: what is desired changes, bundles are applied,
 * refused for one flow or as a whole, the connection breaks before or after a bundle took effect, and the switch may
 * have lost its flows or got strange ones meanwhile.
 */
type Step =
  | { readonly kind: 'desire'; readonly match: number; readonly to: number | undefined }
  | { readonly kind: 'answer' }
  | { readonly kind: 'refuseAll' }
  | { readonly kind: 'lose'; readonly applied: boolean; readonly wiped: boolean; readonly strange: number | undefined }
  | { readonly kind: 'readBack' }
  | { readonly kind: 'await' };

const flow = (match: number, to: number): Flow => ({
  table: 0,
  priority: 100,
  match: { in_port: match },
  cookie: 1n,
  actions: [{ kind: 'output', port: to }],
});
/** The model switch refuses flows to this port. */
const REFUSED = 3;

const match = fc.integer({ min: 1, max: 5 });
const to = fc.integer({ min: 1, max: 3 });
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('desire'), match, to: fc.option(to, { nil: undefined }) }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'answer' }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'refuseAll' }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('lose'),
      applied: fc.boolean(),
      wiped: fc.boolean(),
      strange: fc.option(match, { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'readBack' }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'await' }) },
) as fc.Arbitrary<Step>;

type Install = Extract<Effect, { kind: 'install' }>;

class World {
  readonly installation = new Installation();
  readonly desired = new Map<number, Flow>();
  readonly switch = new Map<string, Flow>();
  pending: Install | undefined;
  /** Keys of what was desired otherwise at some time since the last read-back. */
  readonly changed = new Set<string>();

  take(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind !== 'install') continue;
      assert.equal(this.pending, undefined, 'one bundle at a time');
      for (const added of effect.add) {
        const there = this.switch.get(flowKey(added));
        const isRight = there !== undefined && flowBody(there) === flowBody(added);
        assert.ok(!isRight || this.changed.has(flowKey(added)), 'a right flow is touched');
      }
      for (const removed of effect.remove)
        assert.ok(!effect.add.some((added) => flowKey(added) === flowKey(removed)), 'not both removed and added');
      this.pending = effect;
    }
  }

  apply({ add, remove }: Install): void {
    for (const added of add) this.switch.set(flowKey(added), added);
    for (const removed of remove) this.switch.delete(flowKey(removed));
  }

  run(step: Step): void {
    const { pending } = this;
    switch (step.kind) {
      case 'desire': {
        const before = this.desired.get(step.match);
        const after = step.to === undefined ? undefined : flow(step.match, step.to);
        if (before && after && flowBody(before) === flowBody(after)) return;
        if (after) this.desired.set(step.match, after);
        else this.desired.delete(step.match);
        this.changed.add(flowKey(flow(step.match, 1)));
        return this.take(this.installation.change(after ? [after] : [], before && !after ? [before] : []));
      }
      case 'answer': {
        if (!pending) return;
        this.pending = undefined;
        const index = pending.add.findIndex((added) => flowBody(added) === flowBody(flow(1, REFUSED)));
        if (index >= 0) return this.take(this.installation.refusedBundle(pending.id, 'OFPBAC_BAD_OUT_PORT', index));
        this.apply(pending);
        return this.take(this.installation.installed(pending.id));
      }
      case 'refuseAll':
        if (!pending) return;
        this.pending = undefined;
        return this.take(this.installation.refusedBundle(pending.id, 'OFPBFC_MSG_FAILED', undefined));
      case 'lose':
        if (pending && step.applied && !pending.add.some((added) => flowBody(added) === flowBody(flow(1, REFUSED))))
          this.apply(pending);
        this.pending = undefined;
        if (step.wiped) this.switch.clear();
        if (step.strange !== undefined) this.switch.set(flowKey(flow(step.strange, 9)), flow(step.strange, 9));
        return this.installation.lost();
      case 'readBack': {
        if (this.installation.synced) return;
        const flows = [...this.switch.values()].map(
          (there): InstalledFlow => ({ key: flowKey(there), body: flowBody(there), flow: there }),
        );
        this.changed.clear();
        return this.take(this.installation.readBack(flows, this.desired.values()));
      }
      case 'await': {
        const wanted = [...this.desired.values()];
        this.take(
          this.installation.whenInstalled(() => {
            for (const one of wanted) {
              // What changed since is no longer owed.
              if (this.desired.get(Number(one.match.in_port)) !== one || flowBody(one) === flowBody(flow(1, REFUSED)))
                continue;
              assert.deepEqual(this.switch.get(flowKey(one)), one, 'called back before it was installed');
            }
            return [];
          }),
        );
      }
    }
  }
}

test('an installation converges to what is desired from any history, and never touches a right flow', () => {
  fc.assert(
    fc.property(fc.array(stepArbitrary, { maxLength: 40 }), (steps) => {
      const world = new World();
      for (const step of steps) world.run(step);
      world.run({ kind: 'readBack' });
      for (let turn = 0; world.pending && turn < 20; turn++) world.run({ kind: 'answer' });
      assert.ok(world.installation.synced && world.installation.idle);
      const refused = [...world.desired.values()].filter((one) => flowBody(one) === flowBody(flow(1, REFUSED)));
      assert.deepEqual([...world.installation.refused.keys()].sort(), refused.map(flowKey).sort());
      for (const one of world.desired.values())
        if (!refused.includes(one)) assert.deepEqual(world.switch.get(flowKey(one)), one);
      const keys = new Set([...world.desired.values()].map(flowKey));
      for (const key of world.switch.keys()) assert.ok(keys.has(key), 'a flow that nobody wants');
    }),
    { numRuns: process.env.WEFT_CAMPAIGN === '1' ? 20_000 : 500 },
  );
});
