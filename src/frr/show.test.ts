import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { md5Failures, parseBfd, parsePeers, parseRefused, TOO_MANY } from './show.ts';

// Cut from answers of FRR 8.4.4.

test('a session that is up tells since when, and its prefixes of all families', () => {
  const answer = JSON.stringify({
    vrfId: 0,
    '192.0.2.1': {
      remoteAs: 65002,
      bgpState: 'Established',
      bgpTimerUpMsec: 5_000,
      addressFamilyInfo: {
        ipv4Unicast: { acceptedPrefixCounter: 2, sentPrefixCounter: 3 },
        ipv6Unicast: { acceptedPrefixCounter: 1, sentPrefixCounter: 0 },
      },
      connectionsDropped: 1,
      lastResetTimerMsecs: 7_000,
      lastResetDueTo: 'No AFI/SAFI activated for peer',
    },
  });
  assert.deepEqual(parsePeers(answer, 105_000), [
    {
      address: '192.0.2.1',
      state: 'Established',
      established: true,
      upSince: 100_000,
      resetAt: 98_000,
      accepted: 3,
      sent: 3,
      drops: 1,
      problem: undefined,
    },
  ]);
});

test('a session that is not up says why', () => {
  const problem = (peer: object): string | undefined =>
    parsePeers(JSON.stringify({ '192.0.2.1': { bgpState: 'Idle', ...peer } }), 0)[0]!.problem;
  const bad = { lastErrorCodeSubcode: '0202', lastNotificationReason: 'OPEN Message Error/Bad Peer AS' };
  assert.match(problem({ ...bad, lastResetDueTo: 'BGP Notification send' })!, /^this side ended it: the AS number/);
  assert.match(problem({ ...bad, lastResetDueTo: 'BGP Notification received' })!, /^the peer ended it: the AS number/);
  const many = { lastErrorCodeSubcode: '0601', lastNotificationReason: 'Cease/Maximum Number of Prefixes Reached' };
  assert.equal(problem({ ...many, lastResetDueTo: 'BGP Notification send' }), TOO_MANY);
  assert.equal(
    problem({ ...many, lastResetDueTo: 'BGP Notification received' }),
    'the peer ended it: more prefixes than the maximum',
  );
  const unknown = {
    lastErrorCodeSubcode: '0305',
    lastNotificationReason: 'UPDATE Message Error/Attribute Length Error',
  };
  assert.equal(
    problem({ ...unknown, lastResetDueTo: 'BGP Notification send' }),
    'this side ended it: UPDATE Message Error/Attribute Length Error',
  );
  assert.match(problem({ lastResetDueTo: 'Waiting for peer OPEN' })!, /does not answer.*another password/);
  const changed = { lastErrorCodeSubcode: '0606', lastNotificationReason: 'Cease/Other Configuration Change' };
  assert.match(problem({ ...changed, lastResetDueTo: 'BGP Notification send' })!, /does not answer/);
  assert.match(problem({ ...changed, lastResetDueTo: 'BGP Notification received' })!, /^the peer ended it: Cease/);
  assert.equal(problem({ adminShutDown: true, lastResetDueTo: 'Admin. shutdown' }), 'held down by its configuration');
  assert.equal(problem({ lastResetDueTo: 'BFD down received' }), 'BFD down received');
});

test('a BFD session tells how long it waits for a peer', () => {
  const session = { peer: '192.0.2.1', status: 'up', diagnostic: 'ok', 'receive-interval': 100 };
  const agreed = { 'remote-transmit-interval': 300, 'remote-detect-multiplier': 3 };
  assert.deepEqual(parseBfd(JSON.stringify([{ ...session, ...agreed }])), [
    { peer: '192.0.2.1', up: true, diagnostic: undefined, detectionMs: 900 },
  ]);
});

test('what is no JSON is told as such', () => {
  assert.throws(
    () => parsePeers('% BGP instance not found', 0),
    (e) => e instanceof WeftError && e.code === 'protocol',
  );
  assert.throws(
    () => parseBfd('{}'),
    (e) => e instanceof WeftError && e.code === 'protocol',
  );
  assert.deepEqual(parsePeers('{}', 0), []);
});

test('segments with a wrong signature are counted', () => {
  const netstat =
    'TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure\nTcpExt: 0 1 2 5\nIpExt: A\nIpExt: 9\n';
  assert.equal(md5Failures(netstat), 8);
  assert.equal(md5Failures(''), 0);
});

test('what a policy refused is what its last rules were for, and whether a default route was in it', () => {
  const map = (...invoked: readonly number[]): object => ({
    invoked: 21,
    disabledOptimization: false,
    rules: invoked.map((count, n) => ({
      ...{ sequenceNumber: 10 * (n + 1), type: n === 0 ? 'permit' : 'deny', invoked: count },
      ...{ matchClauses: [], setClauses: [], action: 'Exit routemap' },
    })),
  });
  const answer = JSON.stringify({ BGP: { 'weft-in': map(21), some: map(15, 0, 6), more: map(15, 1, 5) } });
  assert.deepEqual(
    [...parseRefused(answer)],
    [
      ['weft-in', { prefixes: 0, hasDefault: false }],
      ['some', { prefixes: 6, hasDefault: false }],
      ['more', { prefixes: 6, hasDefault: true }],
    ],
  );
  assert.deepEqual([...parseRefused('{"BGP":{"x":{"rules":7}}}')], [['x', { prefixes: 0, hasDefault: false }]]);
  assert.throws(() => parseRefused('% Unknown command'), WeftError);
});
