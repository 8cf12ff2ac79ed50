import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ModelIndex } from '../model/model-index.ts';
import type { ScopeRecord } from '../model/objects.ts';
import type { Helper } from '../model/texts.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { Connections } from './connections.ts';
import { simulateConnection, simulateDataConnection, type Wanted } from './conversation.ts';
import { tellConversation } from './conversation-story.ts';
import type { Outcome } from './outcome.ts';
import { change, gist, group, ip, packet, send, threeTier } from './three-tier.fixture.ts';

/** A file server, db-1, behind groups that let no data connection through by themselves, either way. */
function files(...more: readonly ScopeRecord[]): ModelIndex {
  const ftp = { name: 'ftp', protocol: 'tcp', ports: '21', helper: 'ftp' } as const;
  const tftp = { name: 'tftp', protocol: 'udp', ports: '69', helper: 'tftp' } as const;
  const model = threeTier(
    group('files', [ftp, tftp], [{ protocol: 'udp', ports: '53' }]),
    group('reader', [], [ftp, tftp]),
    ...more,
  );
  change(model, 'port', 'db-1', { groups: ['files'] });
  change(model, 'port', 'app-1', { groups: ['reader'] });
  return model;
}

const SYN_ACK = TCP_FLAG.syn | TCP_FLAG.ack;
const [CLIENT, SERVER] = ['10.0.2.11', '10.0.3.11'] as const;
type Fields = Parameters<typeof packet>[3];
const fromClient = (model: ModelIndex, fields: Partial<Fields>, known?: Connections): Outcome =>
  send(model, 'app-1', packet(model, 'app-1', 'edge/app', { src: CLIENT, dst: SERVER, ...fields }), known);
const fromServer = (model: ModelIndex, fields: Partial<Fields>, known?: Connections): Outcome =>
  send(model, 'db-1', packet(model, 'db-1', 'edge/db', { src: SERVER, dst: CLIENT, ...fields }), known);

/** A control connection, answered; and what helpers hear on it. */
function control(model: ModelIndex, isReply: boolean, port: number): Connections {
  const call = fromClient(model, { ports: [40_000, 21] });
  const answer = fromServer(model, { ports: [21, 40_000], flags: SYN_ACK }, new Connections(call.commits));
  const known = new Connections().with(call.commits).with(answer.commits);
  return known.expecting(...[...known].map((parent) => ({ parent, isReply, port })));
}

describe('a data connection', () => {
  test('passes where a helper heard of it, at both ends and both ways, judged as its control connection', () => {
    const model = files();
    assert.deepEqual(gist(fromClient(model, { ports: [3000, 50_000] })), ['drop group']);
    const passive = fromClient(model, { ports: [3000, 50_000] }, control(model, true, 50_000));
    assert.deepEqual(gist(passive), ['db-1: 10.0.2.11:3000 → 10.0.3.11:50000 ttl 63']);
    assert.ok(
      passive.steps.some(
        ({ text }) => text === 'is related to tcp 10.0.2.11:40000 → 10.0.3.11:21, which a helper reads',
      ),
    );
    const active = fromServer(model, { ports: [20, 50_000] }, control(model, false, 50_000));
    assert.deepEqual(gist(active), ['app-1: 10.0.3.11:20 → 10.0.2.11:50000 ttl 63']);
    const known = control(model, false, 50_000).with(active.commits);
    assert.deepEqual(gist(fromClient(model, { ports: [50_000, 20], flags: SYN_ACK }, known)), [
      'db-1: 10.0.2.11:50000 → 10.0.3.11:20 ttl 63',
    ]);
    assert.deepEqual(gist(fromClient(model, { ports: [3000, 50_001] }, control(model, true, 50_000))), ['drop group']);
  });

  test('is cut with the rule of its control connection', () => {
    const model = files();
    const begun = fromServer(model, { ports: [20, 50_000] }, control(model, false, 50_000));
    const known = control(model, false, 50_000).with(begun.commits);
    change(model, 'securityGroup', 'files', { ingress: [] });
    assert.deepEqual(gist(fromServer(model, { ports: [20, 50_000] }, known)), ['drop group']);
    assert.deepEqual(gist(fromClient(model, { ports: [50_000, 20], flags: SYN_ACK }, known)), ['drop group']);
  });

  test('of TFTP is the answer from another port', () => {
    const model = files();
    const asked = fromClient(model, { protocol: 'udp', ports: [40_000, 69] });
    const answer = { protocol: 'udp', ports: [5000, 40_000] } as const;
    assert.deepEqual(gist(fromServer(model, answer)), ['drop group']);
    assert.deepEqual(gist(fromServer(model, answer, new Connections(asked.commits))), [
      'app-1: 10.0.3.11:5000 → 10.0.2.11:40000 ttl 63',
    ]);
  });

  test('of a rule of a chain passes where another rule lets related connections in', () => {
    const chain = {
      kind: 'chain',
      id: 'guard',
      name: 'guard',
      tenant: 'acme',
      revision: 1,
      key: 900,
      policy: 'drop',
    } as const;
    const rule = (position: number, match: object, helper?: Helper): ScopeRecord => ({
      ...{ kind: 'rule', id: `r${position}`, name: `r${position}`, tenant: 'acme', revision: 1, chain: 'guard' },
      ...{ position, match, action: 'accept', ...(helper === undefined ? {} : { helper }) },
    });
    const model = files(
      chain,
      rule(10, { state: ['established', 'related'] }),
      rule(20, { protocol: 'tcp', dstPorts: '21', state: ['new'] }, 'ftp'),
    );
    change(model, 'port', 'db-1', { groups: [], toChain: 'guard' });
    assert.deepEqual(gist(fromClient(model, { ports: [3000, 50_000] }, control(model, true, 50_000))), [
      'db-1: 10.0.2.11:3000 → 10.0.3.11:50000 ttl 63',
    ]);
    change(model, 'rule', 'r20', { helper: undefined });
    assert.deepEqual(gist(fromClient(model, { ports: [3000, 50_000] }, control(model, true, 50_000))), ['drop policy']);
  });

  test('is translated as its control connection, where a floating address leads to the server', () => {
    const model = files();
    change(model, 'floatingAddress', 'public-web', { port: 'db-1' });
    change(model, 'port', 'client', { groups: [] });
    const call = { src: '203.0.113.200', dst: '203.0.113.20' } as const;
    const first = send(model, 'client', packet(model, 'client', 'edge/outside', { ...call, ports: [40_000, 21] }));
    const known = new Connections(first.commits);
    const heard = (isReply: boolean): Connections =>
      known.expecting(...[...known].map((parent) => ({ parent, isReply, port: 50_000 })));
    const passive = packet(model, 'client', 'edge/outside', { ...call, ports: [3000, 50_000] });
    assert.deepEqual(gist(send(model, 'client', passive, heard(true))), [
      'db-1: 203.0.113.200:3000 → 10.0.3.11:50000 ttl 63',
    ]);
    const active = { src: SERVER, dst: '203.0.113.200', ports: [20, 50_000] } as const;
    assert.deepEqual(gist(fromServer(model, active, heard(false))), [
      'client: 203.0.113.20:20 → 203.0.113.200:50000 ttl 63',
    ]);
  });
});

describe('told to a person', () => {
  const model = files();
  const wanted = (from: string, to: string, meant: string, protocol: 'tcp' | 'udp', port: number): Wanted => ({
    ...{ from, to: ip(to), meant, protocol, port },
  });

  test('a control connection is read, a data connection is related to it', () => {
    const ask = wanted('app-1', SERVER, 'db-1', 'tcp', 21);
    assert.match(
      tellConversation(model, ask, simulateConnection(model, ask)).verdict,
      /^app-1 reaches db-1 on tcp\/21 and is answered: allowed by .*; helper ftp reads it: the data connections agreed on there are let through as related$/,
    );
    for (const [control, data] of [
      [{ protocol: 'tcp', port: 21 }, wanted('app-1', SERVER, 'db-1', 'tcp', 50_000)],
      [{ protocol: 'tcp', port: 21 }, wanted('db-1', CLIENT, 'app-1', 'tcp', 50_000)],
      [{ protocol: 'udp', port: 69 }, wanted('db-1', CLIENT, 'app-1', 'udp', 50_000)],
    ] as const) {
      const { verdict, isGood } = tellConversation(model, data, simulateDataConnection(model, data, control));
      assert.ok(isGood, verdict);
      assert.match(
        verdict,
        /allowed by rule t?ftp \((tcp|udp)\/\d+ (from|to) anywhere\) of group .*; it is related to (tcp|udp) 10\.0\.2\.11:\d+ → 10\.0\.3\.11:(21|69), which a helper reads$/,
      );
    }
  });

  test('where no helper reads it, it is a connection like any other', () => {
    const data = wanted('app-2', SERVER, 'db-1', 'tcp', 50_000);
    const plain = files();
    change(plain, 'securityGroup', 'files', { ingress: [{ protocol: 'tcp', ports: '21' }] });
    const { verdict, isGood } = tellConversation(
      plain,
      data,
      simulateDataConnection(plain, data, { protocol: 'tcp', port: 21 }),
    );
    assert.ok(!isGood);
    assert.match(verdict, /^app-2 does not reach db-1 on tcp\/50000: .*no rule/);
  });
});
