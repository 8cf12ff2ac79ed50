// Measures: runs alone.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type ConnectionCrowd, type CrowdOptions, startCrowd } from '../../src/lab/connection-crowd.ts';
import { sleep } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { CLIENT, FLOATING, startTwoGateways, type TwoGateways, VIP } from './two-gateways.ts';

/** MidoNet's scenarios 40 to 42: there a connection broke that said nothing for 90 s, and state was gone where agents had been away for 120 s. */
const IDLE_MS = 130_000;
const CONNECTIONS = 200;
const CROWDS: Readonly<Record<string, CrowdOptions>> = {
  'out by SNAT': { from: 'web-2', to: 'client', address: CLIENT, port: 7101 },
  'in by a floating address': { from: 'client', to: 'web-1', address: FLOATING, port: 7102 },
  'in by a VIP': { from: 'client', to: ['web-1', 'web-2'], address: VIP, port: 7100 },
};

describe('connections that say nothing for two minutes', { skip: needsRoot, timeout: 600_000 }, () => {
  let site: TwoGateways;
  const crowds = new Map<string, ConnectionCrowd>();

  before(async () => {
    site = await startTwoGateways('idl');
    await site.established('up-1', 'up-2');
  });
  after(async () => {
    for (const crowd of crowds.values()) await crowd.stop(1).catch(() => {});
    await site?.down();
  });

  const begin = async (): Promise<void> => {
    // One number when they are opened, and then none until they are asked.
    for (const [way, options] of Object.entries(CROWDS))
      crowds.set(way, await startCrowd(site.lab, { ...options, connections: CONNECTIONS, intervalMs: 1e12 }));
  };
  const allAnswer = async (): Promise<void> => {
    for (const [way, crowd] of crowds) {
      const { established, failed, died, stalled, wrong, answers } = await crowd.report('answered', 20_000);
      assert.deepEqual(
        { established, failed, died, stalled, wrong, answers },
        { established: CONNECTIONS, failed: 0, died: 0, stalled: 0, wrong: 0, answers: 2 * CONNECTIONS },
        way,
      );
    }
  };

  test('live on, though every agent and the server were away meanwhile, and live when they are back', async () => {
    await begin();
    const hosts = site.lab.hosts.map(({ name }) => name);
    await Promise.all([site.weft.server.kill(), ...hosts.map((host) => site.weft.agent(host).kill())]);
    await sleep(IDLE_MS);
    await allAnswer();
    await site.weft.server.start();
    await Promise.all(hosts.map((host) => site.weft.agent(host).start()));
    await site.established('up-1', 'up-2');
    for (const [way, crowd] of crowds) {
      const { established, died, stalled } = await crowd.report('answered', 20_000);
      assert.deepEqual({ established, died, stalled }, { established: CONNECTIONS, died: 0, stalled: 0 }, way);
    }
  });
});
