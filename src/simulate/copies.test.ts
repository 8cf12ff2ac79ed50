import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Mirror } from '../model/objects.ts';
import type { Outcome } from './outcome.ts';
import { tellStory } from './story.ts';
import { change, gist, packet, send, threeTier } from './three-tier.fixture.ts';

const mirror = (fields: Partial<Mirror>): Mirror => ({
  ...{ kind: 'mirror', id: 'tap', name: 'tap', tenant: 'acme', revision: 1, key: 900, adminUp: true },
  ...{ ports: ['app-1'], direction: 'both', match: {}, to: { port: 'web-2' } },
  ...fields,
});
const toDb = { src: '10.0.2.11', dst: '10.0.3.11', ports: [40_000, 5432] } as const;
const copiesOf = ({ copies }: Outcome): string[] =>
  copies.map(
    ({ from, port, to, collector }) => `${port}@${from} → ${to ? `${to.port}@${to.host}` : collector?.address}`,
  );

/** app-1 (h1) to db-1 (h2). */
function copied(...mirrors: readonly Mirror[]): string[] {
  const model = threeTier(...mirrors);
  const outcome = send(model, 'app-1', packet(model, 'app-1', 'edge/app', toDb));
  assert.match(gist(outcome)[0]!, /^db-1/);
  return copiesOf(outcome);
}

test('a mirror copies what its ports send and receive, by direction, to where the tap is', () => {
  assert.deepEqual(copied(mirror({})), ['app-1@h1 → web-2@h2']);
  assert.deepEqual(copied(mirror({ direction: 'to' })), []);
  assert.deepEqual(copied(mirror({ ports: ['db-1'], direction: 'to' })), ['db-1@h2 → web-2@h2']);
  assert.deepEqual(copied(mirror({ adminUp: false })), []);
  assert.deepEqual(copied(mirror({ to: { collector: { address: '192.0.2.1', key: 7 } } })), ['app-1@h1 → 192.0.2.1']);
});

test('a mirror of a switch leaves the tap out, and its match is for IP', () => {
  assert.deepEqual(copied(mirror({ ports: [], switch: 'db', to: { port: 'db-1' } })), []);
  const fits = (match: Mirror['match']): number => copied(mirror({ ports: [], switch: 'app', match })).length;
  assert.deepEqual([fits({}), fits({ protocol: 'tcp', dstPorts: '5432' }), fits({ protocol: 'udp' })], [1, 1, 0]);
});

test("a packet that is dropped behind the guard is copied all the same; a port's own mark goes before its switch's", () => {
  const model = threeTier(mirror({}));
  change(model, 'switch', 'app', { dscp: 10 });
  const at = (): Outcome =>
    send(model, 'app-1', packet(model, 'app-1', 'edge/app', { ...toDb, ports: [40_000, 9999] }));
  assert.deepEqual(gist(at()), ['drop group']);
  assert.equal(at().copies[0]!.frame.ip!.dscp, 10);
  change(model, 'port', 'app-1', { dscp: 46, limits: { sendKbps: 2000 } });
  const outcome = at();
  assert.equal(outcome.copies[0]!.frame.ip!.dscp, 46);
  const story = tellStory(model, outcome).lines.join('\n');
  assert.match(story, /marks it with DSCP 46/);
  assert.match(story, /within 2000 kbit\/s/);
  assert.match(story, /mirror tap: a copy to web-2/);
});

test('a floating address that is down is as though it were not there', () => {
  const model = threeTier();
  const ping = (): string[] =>
    gist(
      send(
        model,
        'client',
        packet(model, 'client', 'edge/outside', { src: '203.0.113.200', dst: '203.0.113.20', protocol: 'icmp' }),
      ),
    );
  assert.match(ping()[0]!, /^web-1/);
  change(model, 'floatingAddress', 'public-web', { adminUp: false });
  assert.deepEqual(ping(), ['drop not-translated']);
});
