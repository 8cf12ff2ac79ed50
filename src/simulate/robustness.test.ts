import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Connections } from './connections.ts';
import { encodeFrame } from './encode-frame.ts';
import { readFrame } from './frame.ts';
import { simulateFrame } from './simulate.ts';
import { tellStory } from './story.ts';
import { packet, threeTier } from './three-tier.fixture.ts';
import { writeFrame } from './write-frame.ts';

/** DESIGN invariant 9, for traces: whatever bytes a frame has, there is a story about it, and bytes of what is delivered. */
test('any bytes have an outcome that can be told and written', () => {
  const model = threeTier();
  for (const { id } of [...model.all('port')])
    model.put({ ...model.get('port', id)!, portSecurity: false, groups: [] });
  const ways = [
    ['web-1', 'edge/web', { src: '10.0.1.11', dst: '10.0.2.100', ports: [40_000, 8000] }],
    ['web-2', 'edge/web', { src: '10.0.1.12', dst: '203.0.113.20', protocol: 'udp' }],
    ['client', 'edge/outside', { src: '203.0.113.200', dst: '203.0.113.80' }],
    ['client', 'edge/outside', { src: '203.0.113.200', dst: '203.0.113.10', protocol: 'icmp' }],
    ['web-1', 'edge/web', { src: '2001:db8:1::11', dst: '2001:db8:2::11', protocol: 'icmp' }],
  ] as const;
  const flips = fc.array(fc.tuple(fc.nat({ max: 90 }), fc.nat({ max: 255 })), { maxLength: 4 });
  fc.assert(
    fc.property(fc.constantFrom(...ways), flips, fc.nat({ max: 90 }), fc.boolean(), (way, changes, cut, isCut) => {
      const [port, via, fields] = way;
      const whole = encodeFrame(packet(model, port, via, fields));
      const bytes = isCut ? whole.slice(0, cut) : whole.slice();
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      const host = model.bindingOf(port)!.active!;
      for (const assume of [undefined, 'new', 'reply'] as const) {
        const outcome = simulateFrame(model, { port, host, bytes }, new Connections([], assume));
        assert.ok(tellStory(model, outcome).verdict.length > 0);
        for (const { frame } of outcome.deliveries) {
          const written = readFrame(writeFrame(bytes, frame, 0));
          if (!isCut && changes.length === 0) assert.deepEqual(written, frame);
        }
        for (const { frame } of outcome.anchored) writeFrame(bytes, frame, 0);
      }
    }),
    { numRuns: process.env.WEFT_CAMPAIGN === undefined ? 500 : 50_000 },
  );
});
