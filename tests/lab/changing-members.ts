import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import { sleep } from './datacentre.ts';
import { type TwoGateways, WEBS } from './two-gateways.ts';

export interface ChangingMembers {
  /** The balancer with these members. */
  readonly balancer: (members: readonly object[]) => object;
  /** At its VIP, begun when there are three members. */
  readonly crowd: Omit<CrowdOptions, 'from' | 'to' | 'connections'> & { readonly connections: number };
  /** Of others that there may be: asked when the third member is there. */
  readonly joined?: () => Promise<unknown>;
  /** While the third member is drained. */
  readonly drained?: () => Promise<unknown>;
}

/**
 * web-3 joins web-1 and web-2, is drained, and loses its interface: of the crowd its own connections are lost then, no others before or after.
 * Returns how far the share of a member was from a third at most, as a part of it.
 */
export async function memberComesAndGoes(
  t: TestContext,
  { lab, weft }: TwoGateways,
  { balancer, crowd: options, joined, drained }: ChangingMembers,
): Promise<number> {
  const put = async (...members: object[]): Promise<void> => {
    await weft.client.post('/v1/apply', { objects: [balancer(members)] });
    await weft.client.get('/v1/sync');
  };
  const [one, two, three] = WEBS.map((port) => ({ port }));
  await put(one!, two!, three!);
  await joined?.();
  const crowd = await startCrowd(lab, { ...options, from: 'client', to: WEBS });
  const { at } = await crowd.report('answered', 30_000);
  t.diagnostic(`${options.connections} over three members: ${JSON.stringify(at)}`);
  await put(one!, two!, { ...three!, drain: true });
  await sleep(500);
  await drained?.();
  const { established, stalled, died, at: still } = await crowd.report('answered', 30_000);
  assert.deepEqual({ established, stalled, died }, { established: options.connections, stalled: 0, died: 0 });
  assert.deepEqual(still, at);
  await lab.unplug('web-3');
  await sleep(1500);
  const killed = await crowd.report('answered', 30_000);
  t.diagnostic(`killed: ${JSON.stringify({ ...killed, troubles: killed.troubles.length })}`);
  assert.equal(killed.stalled + killed.died, at['web-3']);
  await crowd.stop(1);
  await put(one!, two!);
  return Math.max(...Object.values(at).map((n) => Math.abs((3 * n) / options.connections - 1)));
}
