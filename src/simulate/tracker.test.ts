import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TCP_FLAG } from '../packet/tcp.ts';
import { Connections, type Zone } from './connections.ts';
import type { Frame } from './frame.ts';
import { ip, type PacketFields, packet, threeTier } from './three-tier.fixture.ts';
import { type PacketState, Tracker } from './tracker.ts';

const { syn, ack, fin, rst } = TCP_FLAG;
const ZONE: Zone = 'port:web-1';
const model = threeTier();
const frame = (fields: Partial<PacketFields>): Frame =>
  packet(model, 'web-1', 'edge/web', { src: '10.0.1.11', dst: '10.0.2.11', ...fields });
const back = (fields: Partial<PacketFields>): Frame =>
  frame({ src: '10.0.2.11', dst: '10.0.1.11', ports: [80, 40_000], ...fields });

/** The states that a rule could ask for. */
function words(state: PacketState): string {
  const all = {
    new: state.isNew,
    est: state.isEstablished,
    rpl: state.isReply,
    rel: state.isRelated,
    inv: state.isInvalid,
  };
  return Object.entries(all)
    .flatMap(([word, isSo]) => (isSo ? [word] : []))
    .join(' ');
}

function states(frames: readonly Frame[]): string[] {
  const tracker = new Tracker(new Connections());
  return frames.map((each) => {
    const { state } = tracker.look(ZONE, each);
    if (state.isNew) tracker.commit(ZONE, each, 0);
    return words(state);
  });
}

describe('a connection', () => {
  test('is new until it is answered', () => {
    const udp = { protocol: 'udp' } as const;
    assert.deepEqual(states([frame(udp), frame(udp), back(udp), frame(udp)]), ['new', 'new', 'est rpl', 'est']);
    assert.deepEqual(states([frame({}), back({ flags: syn | ack }), frame({ flags: ack })]), ['new', 'est rpl', 'est']);
  });

  test('of TCP may be picked up in the middle, but not by an answer or by senseless flags', () => {
    assert.deepEqual(states([frame({ flags: ack })]), ['new']);
    for (const flags of [syn | ack, syn | fin, syn | rst, 0, fin])
      assert.deepEqual(states([frame({ flags })]), ['inv']);
  });

  test('of TCP that is over gives way to the next', () => {
    const answered = [frame({}), back({ flags: syn | ack })];
    assert.deepEqual(states([...answered, back({ flags: rst }), frame({})]).at(-1), 'new');
    const closed = [frame({ flags: fin | ack }), back({ flags: fin | ack }), frame({ flags: ack })];
    for (let n = 1; n <= closed.length; n++)
      assert.deepEqual(
        states([...answered, ...closed.slice(0, n), frame({})]).at(-1),
        n < closed.length ? 'est' : 'new',
      );
  });

  test('of TCP is opened by both ends at once with a SYN that is new and no reply, until the first has heard the other', () => {
    const open = [frame({}), back({})];
    assert.deepEqual(states([...open, frame({}), back({})]), ['new', 'new', 'new', 'new']);
    assert.deepEqual(states([...open, frame({ flags: syn | ack }), back({ flags: syn | ack })]).slice(2), [
      'est',
      'est rpl',
    ]);
    assert.deepEqual(states([...open, frame({ flags: ack }), back({})]).at(-1), 'est rpl');
    assert.deepEqual(states([...open, back({ flags: fin | ack }), back({})]).at(-1), 'est rpl');
    assert.deepEqual(states([frame({}), back({ flags: syn | ack }), back({})]).at(-1), 'new');
  });

  test('of pings is told apart by its identifier; only queries begin one', () => {
    const ping = (type: number, id: number): Partial<PacketFields> => ({
      protocol: 'icmp',
      icmp: { type, code: 0, id },
    });
    assert.deepEqual(states([frame(ping(8, 1)), back(ping(0, 1)), back(ping(0, 2))]), ['new', 'est rpl', 'inv']);
    assert.deepEqual(states([frame(ping(0, 1))]), ['inv']);
  });

  test('has errors about either of its directions', () => {
    const about = (src: string, dst: string, srcPort: number, dstPort: number): Frame['quoted'] => ({
      ...{ version: 4, protocol: 6, src: ip(src), dst: ip(dst), srcPort, dstPort, id: 0 },
    });
    const error = { protocol: 'icmp', icmp: { type: 3, code: 4, id: 0 } } as const;
    const forth = about('10.0.1.11', '10.0.2.11', 40_000, 80)!;
    const answer = about('10.0.2.11', '10.0.1.11', 80, 40_000)!;
    assert.deepEqual(
      states([frame({}), back({ ...error, quoted: forth }), frame({ ...error, quoted: answer }), frame(error)]),
      ['new', 'rpl rel', 'rel', 'inv'],
    );
  });
});

describe('given connections', () => {
  test('are found by both directions, in their zone alone, and stay as they were', () => {
    const first = new Tracker(new Connections());
    first.commit(ZONE, frame({}), 1);
    const given = new Connections(first.changed());
    const second = new Tracker(given);
    assert.equal(words(second.look('port:web-2', back({ flags: syn | ack })).state), 'inv');
    assert.deepEqual(second.changed(), []);
    assert.equal(words(second.look(ZONE, back({ flags: syn | ack })).state), 'est rpl');
    assert.deepEqual(
      [...given].map(({ answered, mark }) => [answered, mark]),
      [[false, 1]],
    );
    const after = [...given.with(second.changed())];
    assert.deepEqual(
      after.map(({ answered, mark }) => [answered, mark]),
      [[true, 1]],
    );
  });

  test('that are translated to one address get different ports', () => {
    const tracker = new Tracker(new Connections());
    const to = { end: 'src', address: ip('203.0.113.10') } as const;
    const made = ['10.0.1.11', '10.0.1.12'].map((src) => tracker.commit('router:edge@h1', frame({ src }), 0, to)!);
    assert.deepEqual(
      made.map((each) => each.frame.ports!.src),
      [40_000, 40_001],
    );
  });
});
