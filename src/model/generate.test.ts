import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { frameSketch } from './frame-sketch.ts';
import { modelSketch } from './generate.ts';
import { buildModel } from './generate-build.ts';
import { buildFrame } from './generate-frames.ts';
import { routedModelSketch } from './generate-routed.ts';
import { KINDS } from './kinds.ts';
import { modelOf } from './model-index.ts';
import type { ProblemCode } from './problem.ts';
import { isObject } from './relations.ts';
import { checkRules } from './rules.ts';

/** What people are kept from although its meaning is plain: a model can come to be so, and is to be understood. */
const UNWISE: ReadonlySet<ProblemCode> = new Set(['next-hop', 'unreachable', 'ambiguous', 'route-circle']);

describe('generated models', () => {
  for (const [name, models] of Object.entries({ 'layer 2': modelSketch, 'layers 3 and 4': routedModelSketch }))
    test(`of ${name} keep the schemas and the rules`, () => {
      fc.assert(
        fc.property(models, (sketch) => {
          const { records } = buildModel(sketch);
          const changes = [];
          for (const record of records) {
            if (!isObject(record)) continue;
            const { kind, id, name: _name, tenant: _tenant, revision: _revision, ...fields } = record;
            assert.deepEqual(KINDS[kind].schema.parse(fields), fields);
            changes.push({ kind, id, after: record });
          }
          const problems = checkRules(modelOf(records), changes);
          assert.deepEqual(
            problems.filter(({ code }) => !UNWISE.has(code)),
            [],
          );
        }),
        { numRuns: 200, seed: 1 },
      );
    });

  test('have frames for every port', () => {
    fc.assert(
      fc.property(modelSketch, frameSketch, (sketch, frame) => {
        const model = modelOf(buildModel(sketch).records);
        for (const port of model.all('port')) assert.ok(buildFrame(frame, model, port.id).length >= 14);
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});
