import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HostFacts, judge } from './preflight.ts';

const FIT: HostFacts = {
  nodeVersion: 'v26.0.0',
  ovsVersion: '3.3.0',
  databaseReachable: true,
  kernelModule: 'loaded',
  bridge: undefined,
  links: [{ name: 'eth0', mtu: 1500, addresses: ['192.0.2.1'], kind: undefined, master: undefined }],
  udpPorts: [53],
  bridgeNetfilter: false,
  hasTcpdump: true,
  clockOffsetMs: 100,
};
const WANTED = { bridge: 'br-int', tunnelAddress: '192.0.2.1', underlayMtu: 1500 };

const levels = (change: Partial<HostFacts>): Record<string, string> =>
  Object.fromEntries(
    judge({ ...FIT, ...change }, WANTED).flatMap(({ check, level }) => (level === 'ok' ? [] : [[check, level]])),
  );

test('a fit host has nothing to mend', () => {
  assert.deepEqual(levels({}), {});
});

test('each thing that is wrong is found by its own check, with a way to mend it', () => {
  const [link] = FIT.links;
  assert.deepEqual(levels({ ovsVersion: undefined }), { 'Open vSwitch': 'error' });
  assert.deepEqual(levels({ ovsVersion: '3.1.0' }), { 'Open vSwitch': 'warning' });
  assert.deepEqual(levels({ ovsVersion: '2.9.1' }), { 'Open vSwitch': 'error' });
  assert.deepEqual(levels({ databaseReachable: false }), { 'Open vSwitch': 'error' });
  assert.deepEqual(levels({ kernelModule: 'absent' }), { datapath: 'error' });
  assert.deepEqual(levels({ links: [{ ...link!, mtu: 1400 }] }), { underlay: 'error' });
  assert.deepEqual(levels({ links: [{ ...link!, addresses: [] }] }), { underlay: 'error' });
  assert.deepEqual(levels({ links: [{ ...link!, kind: 'bridge' }], bridgeNetfilter: true }), { bridges: 'warning' });
  assert.deepEqual(levels({ udpPorts: [6081] }), { 'tunnel ports': 'warning' });
  assert.deepEqual(levels({ clockOffsetMs: 5_000 }), { clock: 'warning' });
  assert.deepEqual(levels({ clockOffsetMs: -60_000 }), { clock: 'error' });
  assert.deepEqual(levels({ hasTcpdump: false }), { tools: 'warning' });
  const bridge = {
    name: 'br-int',
    controllers: ['tcp:192.0.2.9:6653'],
    failMode: 'secure',
    datapathType: 'system',
    isWefts: false,
  };
  assert.deepEqual(levels({ bridge }), { 'integration bridge': 'error' });
  const userspace = { ...bridge, controllers: [], isWefts: true, datapathType: 'netdev' };
  assert.deepEqual(levels({ bridge: userspace }), { datapath: 'warning' });
  for (const finding of judge({ ...FIT, ovsVersion: undefined, kernelModule: 'absent' }, WANTED))
    if (finding.level === 'error') assert.ok(finding.hint);
});
