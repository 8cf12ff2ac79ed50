import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PACKET_IN } from '../compile/tables.ts';
import * as example from '../compile/testing/example.ts';
import type { PacketIn } from './events.ts';
import type { Ground } from './ground.ts';
import { NO_REGISTERS } from './registers.ts';
import { RuleLog } from './rule-log.ts';

const chain = example.chain(1);
const rules = [example.rule(1, chain, 1, 'log'), { ...example.rule(2, chain, 2, 'log'), limitPerSecond: 3 }];

function logger(): { readonly log: RuleLog; readonly texts: string[] } {
  const texts: string[] = [];
  const ground = {
    scope: { get: (_: string, id: string) => rules.find((rule) => rule.id === id) },
    report: (events: readonly { readonly text: string }[]) => {
      texts.push(...events.map(({ text }) => text));
      return [];
    },
  } as unknown as Ground;
  const log = new RuleLog(ground, (cookie) => ({
    units: [],
    objects: [{ kind: 'rule', id: rules[Number(cookie)]!.id }],
  }));
  return { log, texts };
}

const logged = (cookie: bigint): PacketIn =>
  ({ ...NO_REGISTERS, class: PACKET_IN.log, cookie, frame: new Uint8Array(60), inPort: 1 }) as PacketIn;

test('each rule logs within its own limit, ten a second unless it says otherwise', () => {
  const { log, texts } = logger();
  for (let i = 0; i < 100; i++) for (const cookie of [0n, 1n]) log.handle(logged(cookie), 1000);
  assert.deepEqual(
    [texts.filter((t) => t.includes('r1 ')).length, texts.filter((t) => t.includes('r2 ')).length],
    [10, 3],
  );
  for (let i = 0; i < 100; i++) log.handle(logged(1n), 2000);
  assert.equal(texts.filter((t) => t.includes('r2 ')).length, 6);
  assert.match(texts[0]!, /rule r1 logged a frame of 60 bytes from 00:00/);
});
