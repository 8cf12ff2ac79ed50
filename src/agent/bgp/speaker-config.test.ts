import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as ups from '../../compile/testing/uplinks.fixture.ts';
import type { BgpPeer } from '../../model/objects.ts';
import type { SpeakerPlan } from './plan.ts';
import { configOf } from './speaker-config.ts';

const plan: SpeakerPlan = {
  ...{ router: ups.core.id, asn: 64_512, routerId: '192.0.2.2', ports: [], peers: [], leftOut: [], bfd: [] },
  ...{ isLeaving: false, networks: ['203.0.113.0/24'], routes: [{ to: '203.0.113.9/32', via: '192.0.2.1' }] },
};
const peerOf = (more: Partial<BgpPeer>) =>
  configOf({ ...plan, peers: [ups.peer(1, ups.uplink, '192.0.2.1', more)] }).peers[0]!;

test('what a plan has is told to FRR', () => {
  const { asn, routerId, networks, routes } = configOf(plan);
  assert.deepEqual(
    { asn, routerId, networks, routes },
    {
      ...{ asn: plan.asn, routerId: plan.routerId, networks: plan.networks, routes: plan.routes },
    },
  );
});

test('what a peer has is told to FRR, and what it has not is left to its default', () => {
  const accept = [{ network: '0.0.0.0/0' }];
  const given = { accept, advertise: ['203.0.113.0/24'], gracefulRestart: true, multihop: 2, password: 'secret' };
  const { accept: taken, advertise, gracefulRestart, multihop, password } = peerOf(given);
  assert.deepEqual({ accept: taken, advertise, gracefulRestart, multihop, password }, given);
  const plain = peerOf({ bfd: false });
  for (const field of [...Object.keys(given), 'bfd']) assert.equal(field in plain, false, field);
  assert.deepEqual([plain.families, peerOf({ address: '2001:db8::1' }).families], [['ipv4'], ['ipv6']]);
  assert.deepEqual(peerOf({}).bfd, { multiplier: 3, intervalMs: 100 });
  assert.deepEqual(peerOf({ bfdFailures: 5, bfdIntervalMs: 300 }).bfd, { multiplier: 5, intervalMs: 300 });
});
