// Measures: runs in pairs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Datacentre, eventually, pings, sleep, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { awayMs, noneLost, pinged } from './pinged.ts';

/**
 * Two gateways with an uplink each, in real Open vSwitch: written routes share packets out over both. Eight addresses beyond are pinged all the
 * time; behind either upstream all of them answer.
 */
const PUBLIC = '198.51.100.0/24';
const TARGETS = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `198.51.100.${n}`);
const GATEWAYS = ['one', 'two'] as const;

const acme = (kind: string, name: string, more: object = {}): Record<string, unknown> => {
  return { kind, tenant: 'acme', name, ...more };
};
const uplink = (n: number): Record<string, unknown>[] => [
  acme('switch', `up${n}`),
  acme('port', `wire${n}`, { switch: `up${n}`, portSecurity: false }),
  acme('routerPort', `up${n}`, { router: 'core', switch: `up${n}`, addresses: [`192.0.${n}.2/30`] }),
];

describe('a gateway that dies', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const lostAt = async (host: string): Promise<string[]> => {
    const { status } = await dc.weft.client.get<{ status?: { problems?: string[] } }>(`/v1/hosts/${host}`);
    return (status?.problems ?? []).filter((text) => text.includes('does not answer'));
  };

  before(async () => {
    dc = await startDatacentre({
      prefix: 'gwd',
      hosts: ['north', ...GATEWAYS],
      objects: [
        { kind: 'tenant', name: 'acme' },
        acme('switch', 'inside', { subnets: [{ cidr: '10.0.1.0/24' }] }),
        acme('port', 'client', { switch: 'inside', addresses: ['10.0.1.11'] }),
        acme('router', 'core', { routes: [1, 2].map((n) => ({ to: PUBLIC, via: `192.0.${n}.1` })) }),
        acme('routerPort', 'inside', { router: 'core', switch: 'inside', addresses: ['10.0.1.1/24'] }),
        ...[1, 2].flatMap(uplink),
      ],
      workloads: [
        { name: 'client', host: 'north', port: 'acme/client', addresses: ['10.0.1.11/24'], gateways: ['10.0.1.1'] },
        ...GATEWAYS.map((host, i) => ({
          ...{ name: `up${i + 1}`, host, port: `acme/wire${i + 1}` },
          addresses: [`192.0.${i + 1}.1/30`],
          gateways: [`192.0.${i + 1}.2`],
        })),
      ],
    });
    for (const up of ['up1', 'up2'])
      for (const target of TARGETS) await dc.lab.execOk(up, ['ip', 'addr', 'add', `${target}/32`, 'dev', 'lo']);
    for (const target of TARGETS) await eventually(`${target} answers`, 10_000, () => pings(dc.lab, 'client', target));
  });
  after(() => dc?.down());

  test('takes no packet for longer than a second, whether its cable is cut or only silent; and none is lost when it is back', async () => {
    for (const how of ['cutLink', 'silenceLink'] as const) {
      const down = await pinged(dc.lab, 'client', TARGETS, async () => {
        await dc.lab[how]('one');
        await eventually('the host says so', 10_000, async () => (await lostAt('north')).length === 1);
      });
      const gaps = down.gapsMs;
      assert.ok(awayMs(gaps) > 150, `none of them went by this gateway: ${gaps}`);
      assert.ok(awayMs(gaps) < 1_000, `${how}: ${gaps}`);
      const up = await pinged(dc.lab, 'client', TARGETS, async () => {
        await dc.lab.restoreLink('one');
        await eventually('it is back', 15_000, async () => (await lostAt('north')).length === 0);
      });
      noneLost(up);
    }
  });

  test('of which only the agent dies costs no packet, and is not lost', async () => {
    const down = await pinged(dc.lab, 'client', TARGETS, async () => {
      await dc.weft.agent('two').kill({ wanted: true });
      await sleep(1_500); // one that is cut off is lost within one
      // For a moment a host that had no time to hear may have thought so; as long as the agent is dead it would not come back.
      await eventually('it is not lost', 10_000, async () => (await lostAt('north')).length === 0);
      await dc.weft.agent('two').start();
    });
    noneLost(down);
    assert.ok(awayMs(down.gapsMs) < 1_000, `${down.gapsMs}`);
  });

  test('an agent that starts while a gateway is dead leads no packet to it', async () => {
    await dc.lab.cutLink('one');
    await eventually('the host says so', 10_000, async () => (await lostAt('north')).length === 1);
    const restart = await pinged(dc.lab, 'client', TARGETS, async () => {
      await dc.weft.agent('north').kill({ wanted: true });
      await dc.weft.agent('north').start();
    });
    noneLost(restart);
    await dc.lab.restoreLink('one');
  });
});
