import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ManualClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { createClient } from './client.ts';
import type { WeftEvent } from './events.ts';
import { FailBacks } from './fail-backs.ts';
import type { OutsideStatus } from './present.ts';
import type { Report } from './protocol.ts';
import { startServer } from './server.ts';

/** Each step: for how many seconds the place is well, then not. What it has to be well for behind each. */
function holds(steps: readonly (readonly [number, number])[]): number[] {
  const backs = new FailBacks();
  let nowMs = 0;
  backs.look('g', 'a', true, nowMs);
  return steps.map(([wellS, illS]) => {
    nowMs += 1000 * wellS;
    backs.look('g', 'a', false, nowMs);
    nowMs += 1000 * illS;
    backs.look('g', 'a', true, nowMs);
    return backs.leftMs('g', 'a', nowMs) / 1000;
  });
}

test('a place is gone back to at once the first time, then later and later, up to five minutes', () => {
  assert.deepEqual(holds(Array.from({ length: 10 }, () => [4, 1])), [0, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
});

test('a place that was well for ten minutes has not failed before', () => {
  assert.deepEqual(holds([[4, 1], [4, 1], [599, 1], [600, 3600], [60, 1]]), [0, 4, 8, 0, 4]); // biome-ignore format: a row
});

test('the time for which it has to be well is that since it came back, of this place of this gateway alone', () => {
  const backs = new FailBacks();
  for (const [n, isWell] of [true, false, true, false, true].entries())
    for (const host of ['a', 'b']) backs.look('g', host, isWell || host === 'b', 1000 * n);
  assert.deepEqual([backs.leftMs('g', 'a', 5_000), backs.leftMs('g', 'a', 8_000)], [3_000, 0]);
  assert.deepEqual([backs.leftMs('g', 'b', 5_000), backs.leftMs('other', 'a', 5_000)], [0, 0]);
  assert.deepEqual([backs.due(5_000), backs.due(9_000), backs.due(60_000)], [['g'], ['g'], []]);
  assert.deepEqual([backs.isNews('g', 'a'), backs.isNews('g', 'a'), backs.isNews('g', 'b')], [true, false, false]);
  backs.look('g', 'a', false, 9_000);
  backs.look('g', 'a', true, 9_000);
  assert.equal(backs.isNews('g', 'a'), true);
  backs.forget('g');
  assert.equal(backs.leftMs('g', 'a', 9_000), 0);
});

const PLACES = ['h1', 'h2'].map((host) => ({ host, interface: 'eth-out' }));
const NETWORK = [
  { kind: 'tenant', name: 'acme' },
  { kind: 'tunnelZone', name: 'dc' },
  ...PLACES.map(({ host, interface: name }, n) => ({
    ...{ kind: 'host', name: host, zone: 'dc', tunnelAddress: `10.9.0.${n + 1}`, gatewayInterfaces: [name] },
  })),
  { kind: 'switch', tenant: 'acme', name: 'lan', subnets: [{ cidr: '10.0.0.0/24' }] },
  { kind: 'port', tenant: 'acme', name: 'vlan', switch: 'lan', portSecurity: false, addresses: [] },
  { kind: 'l2Gateway', tenant: 'acme', name: 'vlan', port: 'vlan', vlan: 100, places: PLACES },
];

test('a first place whose link comes and goes all the time moves an L2 gateway there and back once', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'weft-fail-backs-'));
  const clock = new ManualClock(1_000_000_000);
  const url = `unix:${join(stateDir, 'weft.sock')}`;
  const server = await startServer({ stateDir, listen: [url], log: silentLog, clock });
  const client = createClient({ url });
  const texts = async (path: string): Promise<string[]> => {
    const answer = await client.get<{ problems?: { text: string }[]; items?: WeftEvent[] }>(path);
    return (answer.problems ?? answer.items)!.map(({ text }) => text);
  };
  const patience = async (path: string): Promise<string[]> =>
    (await texts(path)).filter((text) => text.includes('comes and goes'));
  try {
    await client.post('/v1/apply', { objects: NETWORK });
    const { id: gateway } = await client.get<{ id: string }>('/v1/l2-gateways/vlan');
    const { id: port } = await client.get<{ id: string }>('/v1/ports/vlan');
    const report = (host: string, ...reports: Report[]) => client.post(`/v1/hosts/${host}/reports`, { reports });
    const says = (host: string, state: 'up' | 'down', ...before: Report[]) =>
      report(host, ...before, { type: 'attachments', attachments: [{ gateway, state }] });
    const active = async (): Promise<string | undefined> =>
      (await client.get<{ status: OutsideStatus }>('/v1/l2-gateways/vlan')).status.active;
    for (const { host } of PLACES) await says(host, 'up', { type: 'claim', port, interface: 'l2' });
    clock.advance(11_000);
    for (const { host } of PLACES) await says(host, 'up');
    assert.equal(await active(), 'h1');

    const ways: (string | undefined)[] = [];
    for (let n = 0; n < 60; n++) {
      await says('h1', 'down');
      ways.push(await active());
      clock.advance(3_000); // the link is there again, and the agent takes its time
      await says('h1', 'up');
      ways.push(await active());
      clock.advance(2_000);
      await says('h2', 'up');
    }
    assert.deepEqual(ways.slice(0, 3), ['h2', 'h1', 'h2'], 'as quick as ever the first time');
    assert.deepEqual(new Set(ways.slice(2)), new Set(['h2']));
    const told = await patience('/v1/events');
    assert.equal(told.length, 8, told.join());
    const text = 'l2Gateway acme/vlan at h1: comes and goes: h2 forwards until it has been well for';
    assert.equal(told[0], `${text} 4 s (4 s to go); look at its link`);
    assert.equal(told.at(-1), `${text} 300 s (300 s to go); look at its link`);
    assert.match((await patience('/v1/status')).join(), /^L2 gateway vlan at h1: comes and goes: h2 .* 300 s \(298 s/);

    // The other place fails: nothing holds it up.
    await says('h2', 'down');
    assert.equal(await active(), 'h1');
    await says('h2', 'up');
    assert.equal(await active(), 'h1');
    await says('h1', 'down');
    await says('h1', 'up');
    assert.deepEqual([await active(), (await patience('/v1/status')).length], ['h2', 1]);
    // It stays well for long enough, and nobody has to say so again. Both agents live.
    for (let n = 0; n < 60; n++) {
      clock.advance(5_000);
      for (const { host } of PLACES) await report(host);
      if (n < 58) assert.equal(await active(), 'h2');
    }
    for (let n = 0; n < 100 && (await active()) !== 'h1'; n++) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual([await active(), await patience('/v1/status')], ['h1', []]);
  } finally {
    client.close();
    await server.close();
    rmSync(stateDir, { recursive: true });
  }
});
