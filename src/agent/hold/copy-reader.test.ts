import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ManualClock } from '../../base/clock.ts';
import { WeftError } from '../../base/errors.ts';
import { silentLog } from '../../base/log.ts';
import type { ConnectionEntry } from '../../server/protocol.ts';
import type { AgentEvent } from '../events.ts';
import { CopyReader } from './copy-reader.ts';

const connection = (state: string): ConnectionEntry => {
  const [from, to] = [
    { address: '10.0.2.100', port: 4000 },
    { address: '198.51.100.200', port: 80 },
  ];
  const common = { owner: 'p', kind: 'own', protocol: 'tcp', state } as const;
  return { ...common, original: { from, to }, reply: { from: to, to: from } };
};

const udp = (isUnanswered: boolean): ConnectionEntry => {
  const { state: _, ...entry } = connection('');
  return { ...entry, protocol: 'udp', ...(isUnanswered ? { isUnanswered } : {}) };
};

test('after a port was read nothing is for twenty times as long; what fails is said, and others are read', async () => {
  const clock = new ManualClock();
  const events: AgentEvent[] = [];
  const reconciled: string[] = [];
  const reads: string[] = [];
  const reader = new CopyReader({
    read: async (port) => {
      reads.push(port);
      clock.advance(100);
      if (port === 'bad') throw new WeftError('full', 'too many');
      return [connection('established'), connection('time-wait'), udp(true), udp(false)];
    },
    link: {
      reconcile: (port, entries) =>
        reconciled.push(`${port} ${entries.map(({ protocol, state }) => `${protocol} ${state}`)}`),
      isFull: (port) => port === 'good',
    },
    ...{ emit: (event) => events.push(event), clock, log: silentLog, signal: new AbortController().signal },
  });
  const done = reader.read(['bad', 'good']);
  const rest = async (ms: number): Promise<void> => {
    await nextTurn();
    clock.advance(ms);
    await nextTurn();
  };
  await rest(1_999);
  assert.deepEqual(reads, ['bad']);
  await rest(1);
  assert.deepEqual(reads, ['bad', 'good']);
  await rest(1_999);
  await reader.read(['good']);
  assert.deepEqual(reads, ['bad', 'good'], 'it rests');
  await rest(1);
  await done;
  assert.deepEqual(reconciled, ['good tcp established,udp undefined'], 'neither what is over nor what goes one way');
  assert.deepEqual(events, [
    { kind: 'copiesRead', port: 'bad', problem: 'too many', isFull: false },
    { kind: 'copiesRead', port: 'good', problem: undefined, isFull: true },
  ]);
});
