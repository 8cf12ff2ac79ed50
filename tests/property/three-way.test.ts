import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { simulateFrame } from '../../src/simulate/simulate.ts';
import { observePipeline, pipelineNetwork } from './in-pipeline.ts';
import { differences, expected, hex } from './observation.ts';
import { buildScenario, type ScenarioSketch, scenarioSketch } from './scenario.ts';

const CAMPAIGN = process.env.WEFT_CAMPAIGN !== undefined;
const SEED = Number(process.env.WEFT_SEED ?? 1);
const RUNS = CAMPAIGN ? 3000 : 150;

function compareInPipeline(sketch: ScenarioSketch): void {
  const scenario = buildScenario(sketch);
  const network = pipelineNetwork(scenario);
  for (const entry of scenario.entries) {
    const outcome = simulateFrame(scenario.model, entry);
    const found = differences(expected(entry, outcome), observePipeline(network, scenario, entry), outcome);
    assert.deepEqual(found, [], `frame ${hex(entry.bytes)} at ${entry.port} on ${entry.host}`);
  }
}

describe('simulate = compiled flows', () => {
  test('in the executable pipeline', () => {
    fc.assert(fc.property(scenarioSketch({ least: 4, most: 12 }), compareInPipeline), { numRuns: RUNS, seed: SEED });
  });
});
