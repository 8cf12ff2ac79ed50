import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { findOpenVswitch } from '../../src/lab/open-vswitch.ts';
import { simulateFrame } from '../../src/simulate/simulate.ts';
import { Coverage } from './coverage.ts';
import { installFlows, observeOpenVswitch } from './in-open-vswitch.ts';
import { observePipeline, pipelineNetwork } from './in-pipeline.ts';
import { differences, expected, hex } from './observation.ts';
import { OpenVswitchFarm } from './open-vswitch-farm.ts';
import { regressions } from './regressions.ts';
import { buildScenario, overIpv4, type ScenarioSketch, scenarioSketch } from './scenario.ts';

/**
 * DESIGN invariant 3: compiled flows mean what `simulate` says. Random models and frames go through `simulate`, through the
 * flows in the executable pipeline, and through the flows in a real Open vSwitch; all three have to agree.
 *
 * A failure prints its seed and, shrunk, the sketch of model and frames: WEFT_SEED=… runs the seed again; the sketch, put into a file of
 * tests/property/regressions/, is tried by every later run. WEFT_CAMPAIGN=1 runs thousands of models and prints the coverage.
 */
const CAMPAIGN = process.env.WEFT_CAMPAIGN !== undefined;
/** One whose models meet everything that is wanted (coverage.ts). */
const USUAL_SEED = 1;
const SEED = Number(process.env.WEFT_SEED ?? USUAL_SEED);
const IN_PIPELINE = CAMPAIGN ? 20_000 : 250;
const IN_OPEN_VSWITCH = CAMPAIGN ? 3_000 : 120;
const noSwitch = await findOpenVswitch().then(
  () => false as const,
  (error: Error) => error.message,
);

function compareInPipeline(sketch: ScenarioSketch, coverage?: Coverage): void {
  const scenario = buildScenario(sketch);
  const network = pipelineNetwork(scenario);
  for (const [n, entry] of scenario.entries.entries()) {
    const outcome = simulateFrame(scenario.model, entry);
    coverage?.note(scenario, entry, outcome);
    const found = differences(expected(scenario, entry, outcome), observePipeline(network, scenario, entry), outcome);
    assert.deepEqual(found, [], `frame ${n}: ${hex(entry.bytes)} at ${entry.port} on ${entry.host}`);
  }
}

async function compareInOpenVswitch(farm: OpenVswitchFarm, sketch: ScenarioSketch): Promise<void> {
  const scenario = buildScenario(overIpv4(sketch));
  await installFlows(farm, scenario);
  for (const [n, entry] of scenario.entries.entries()) {
    const outcome = simulateFrame(scenario.model, entry);
    const { text, ...seen } = await observeOpenVswitch(farm, scenario, entry);
    const found = differences(expected(scenario, entry, outcome), seen, outcome);
    assert.deepEqual(found, [], `frame ${n}: ${hex(entry.bytes)} at ${entry.port} on ${entry.host}\n${text}`);
  }
}

/** Tells how to keep the case that fast-check found. */
function report(details: fc.RunDetails<[ScenarioSketch]>): void {
  if (!details.failed) return;
  const cause = details.errorInstance instanceof Error ? details.errorInstance.message : '';
  throw new Error(
    `seed ${details.seed} (WEFT_SEED), after ${details.numRuns} models and ${details.numShrinks} shrinks: ${cause}\n` +
      `for tests/property/regressions/: ${JSON.stringify(details.counterexample?.[0])}`,
  );
}

describe('simulate = compiled flows in the executable pipeline', () => {
  for (const [name, sketch] of regressions) test(`once wrong: ${name}`, () => compareInPipeline(sketch));

  test('for random models and frames, of every kind', () => {
    const coverage = new Coverage();
    const property = fc.property(scenarioSketch({ least: 6, most: 14 }), (sketch) =>
      compareInPipeline(sketch, coverage),
    );
    fc.assert(property, { numRuns: IN_PIPELINE, seed: SEED, reporter: report });
    if (CAMPAIGN) console.log(coverage.table());
    // So few models need not meet everything, whatever the seed.
    if (CAMPAIGN || SEED === USUAL_SEED) assert.deepEqual(coverage.missing(), [], 'never met in this run');
  });
});

describe('simulate = compiled flows in real Open vSwitch', { skip: noSwitch }, () => {
  let farm: OpenVswitchFarm;
  before(async () => {
    farm = await OpenVswitchFarm.start();
  });
  after(() => farm.stop());

  for (const [name, sketch] of regressions) test(`once wrong: ${name}`, () => compareInOpenVswitch(farm, sketch));

  test('for random models and frames', async () => {
    const property = fc.asyncProperty(scenarioSketch({ least: 6, most: 14 }), (sketch) =>
      compareInOpenVswitch(farm, sketch),
    );
    await fc.assert(property, { numRuns: IN_OPEN_VSWITCH, seed: SEED + 1, reporter: report });
  });
});
