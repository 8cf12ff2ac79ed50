import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { suite, test } from 'node:test';
import { WeftError } from '../base/errors.ts';
import { connectOpenFlow, OpenFlowConnection, type OpenFlowOptions, type Refusal } from './connection.ts';
import { FrameReader } from './framing.ts';
import { decodeMessage, encodeMessage, type Message, type MessageBody } from './message.ts';
import type { FlowMod } from './messages/flow-mod.ts';
import { OF10, OF13, OF15 } from './version.ts';

/** A switch of a few lines: keeps what it hears, answers as `reply` says. */
class FakeSwitch {
  readonly heard: Message[] = [];
  readonly #stream: Duplex;
  readonly #version: number;
  writes = 0;

  constructor(stream: Duplex, version: number, reply: (message: Message) => MessageBody[] = answer) {
    this.#stream = stream;
    this.#version = version;
    const frames = new FrameReader();
    stream.on('data', (chunk: Uint8Array) => {
      this.writes++;
      frames.push(chunk, (frame) => {
        const message = decodeMessage(frame);
        this.heard.push(message);
        if (message.kind !== 'hello') for (const body of reply(message)) this.send(body, message.xid);
      });
    });
  }
  send(body: MessageBody, xid = 0): void {
    this.raw(encodeMessage({ ...body, version: this.#version, xid }));
  }
  raw(bytes: Uint8Array): void {
    this.#stream.write(bytes);
  }
  end(): void {
    this.#stream.destroy();
  }
}

function answer(message: Message): MessageBody[] {
  if (message.kind === 'barrierRequest') return [{ kind: 'barrierReply' }];
  if (message.kind === 'bundleControl') return [{ ...message, type: message.type + 1 }];
  if (message.kind === 'echoRequest') return [{ kind: 'echoReply', data: message.data }];
  return [];
}

async function pair(
  options: OpenFlowOptions = {},
  version = OF15,
  reply?: (message: Message) => MessageBody[],
): Promise<{ connection: OpenFlowConnection; peer: FakeSwitch }> {
  const [ours, theirs] = duplexPair();
  const peer = new FakeSwitch(theirs, version, reply);
  peer.send({ kind: 'hello', versions: [version] });
  const connection = await OpenFlowConnection.open(ours, { echoIntervalMs: 0, ...options });
  return { connection, peer };
}

const flowMod: FlowMod = { kind: 'flowMod', command: 0, table: 1, priority: 5, match: {}, cookie: 0n, actions: [] };

function isWeftError(code: string) {
  return (error: unknown): boolean => error instanceof WeftError && error.code === code;
}

suite('OpenFlow connection', () => {
  test('the highest common version is taken', async () => {
    const { connection } = await pair({ versions: [OF10, OF13, OF15] }, OF13);
    assert.equal(connection.version, OF13);
    connection.close();
  });

  test('messages right behind the hello are not lost', async () => {
    const [ours, theirs] = duplexPair();
    const port = { number: 1, mac: 2, name: 'p', config: 0, state: 0 };
    const status = encodeMessage({ kind: 'portStatus', reason: 0, port, version: OF15, xid: 0 });
    const hello = encodeMessage({ kind: 'hello', versions: [OF15], version: OF15, xid: 0 });
    let seen = 0;
    theirs.write(Buffer.concat([hello, status, status.subarray(0, 20)]));
    theirs.write(status.subarray(20));
    theirs.write(status);
    const events = { portStatus: () => void seen++ };
    const connection = await OpenFlowConnection.open(ours, { echoIntervalMs: 0, events });
    while (seen < 3) await new Promise(setImmediate);
    connection.close();
  });

  test('no common version is refused with an error to the peer', async () => {
    const [ours, theirs] = duplexPair();
    const peer = new FakeSwitch(theirs, OF10);
    peer.send({ kind: 'hello' });
    await assert.rejects(OpenFlowConnection.open(ours, { versions: [OF15] }), isWeftError('protocol'));
    assert.deepEqual(
      peer.heard.map((m) => m.kind),
      ['hello', 'error'],
    );
  });

  test('replies find their requests by xid, in any order', async () => {
    const waiting: Message[] = [];
    const { connection, peer } = await pair({}, OF15, (message) => {
      waiting.push(message);
      return [];
    });
    const first = connection.request({ kind: 'barrierRequest' });
    const second = connection.request({ kind: 'getConfigRequest' });
    while (waiting.length < 2) await new Promise(setImmediate);
    peer.send({ kind: 'getConfigReply', flags: 1, missSendLength: 2 }, waiting[1]!.xid);
    peer.send({ kind: 'barrierReply' }, waiting[0]!.xid);
    assert.equal((await second).kind, 'getConfigReply');
    assert.equal((await first).kind, 'barrierReply');
    connection.close();
  });

  test('the parts of a multipart reply are put together', async () => {
    const part = (table: number, more: boolean): MessageBody => ({
      kind: 'multipartReply',
      more,
      body: { kind: 'table', tables: [{ table, active: 1, lookups: 2n, matched: 3n }] },
    });
    const { connection } = await pair({}, OF15, () => [part(0, true), part(1, true), part(2, false)]);
    const reply = await connection.multipart({ kind: 'table' });
    assert.deepEqual(
      reply.tables.map((t) => t.table),
      [0, 1, 2],
    );
    connection.close();
  });

  test('an error that answers a request rejects it by name', async () => {
    const { connection } = await pair({}, OF15, () => [
      { kind: 'error', type: 1, code: 5, name: '', data: new Uint8Array(0) },
    ]);
    await assert.rejects(connection.barrier(), /OFPBRC_EPERM/);
    connection.close();
  });

  test('echo requests are answered, silence is noticed', async () => {
    const { connection, peer } = await pair({ echoIntervalMs: 20 }, OF15, () => []);
    peer.send({ kind: 'echoRequest', data: new Uint8Array([7]) }, 99);
    const reason = await new Promise<WeftError>((resolve) => connection.on('disconnect', resolve));
    assert.equal(reason.code, 'timeout');
    const reply = peer.heard.find((m) => m.kind === 'echoReply');
    assert.equal(reply?.xid, 99);
    assert.ok(peer.heard.some((m) => m.kind === 'echoRequest'));
  });

  test('events go to their listeners', async () => {
    const seen: string[] = [];
    const { connection, peer } = await pair({
      events: {
        packetIn: (m) => seen.push(m.kind),
        flowRemoved: (m) => seen.push(m.kind),
        portStatus: (m) => seen.push(m.kind),
        error: (m) => seen.push(m.name),
        message: (m) => seen.push(m.kind),
      },
    });
    const port = { number: 1, mac: 2, name: 'p', config: 0, state: 0 };
    peer.send({ kind: 'packetIn', form: 'nxt2', totalLength: 0, reason: 1, match: {}, frame: new Uint8Array(0) });
    peer.send({ kind: 'portStatus', reason: 0, port });
    peer.send({ kind: 'error', type: 5, code: 1, name: '', data: new Uint8Array(0) }, 77);
    peer.send({ kind: 'roleStatus', role: 3, reason: 0, generation: 0n });
    await connection.barrier();
    assert.deepEqual(seen, ['packetIn', 'portStatus', 'OFPFMFC_TABLE_FULL', 'roleStatus']);
    connection.close();
  });

  test('garbage closes that connection, and is counted', async () => {
    const { connection, peer } = await pair();
    const waiting = connection.request({ kind: 'getConfigRequest' });
    peer.raw(new Uint8Array([6, 10, 0, 9, 0, 0, 0, 1, 0xff]));
    await assert.rejects(waiting, isWeftError('protocol'));
    assert.equal(connection.counters.decodeErrors, 1);
    assert.throws(() => connection.send({ kind: 'barrierRequest' }), isWeftError('protocol'));
  });

  test('a message of another version closes the connection', async () => {
    const { connection, peer } = await pair();
    const gone = new Promise<WeftError>((resolve) => connection.on('disconnect', resolve));
    peer.raw(encodeMessage({ kind: 'barrierReply', version: OF13, xid: 1 }));
    assert.equal((await gone).code, 'protocol');
  });

  test('a lost connection rejects who waits', async () => {
    const { connection, peer } = await pair({}, OF15, () => []);
    const waiting = connection.barrier();
    peer.end();
    await assert.rejects(waiting, isWeftError('closed'));
    await assert.rejects(connection.barrier(), isWeftError('closed'));
  });

  test('a request ends with its signal or its time', async () => {
    const { connection } = await pair({ requestTimeoutMs: 20 }, OF15, () => []);
    await assert.rejects(connection.barrier(), isWeftError('timeout'));
    await assert.rejects(connection.barrier(AbortSignal.abort()), isWeftError('aborted'));
    connection.close();
  });

  test('a signal ends the connection', async () => {
    const controller = new AbortController();
    const { connection } = await pair({ signal: controller.signal });
    controller.abort();
    assert.ok(connection.closed);
  });

  test('connecting to nothing is unreachable, and a bad address invalid', async () => {
    await assert.rejects(connectOpenFlow('unix:/nonexistent/socket'), isWeftError('unreachable'));
    await assert.rejects(connectOpenFlow('br0'), isWeftError('invalid'));
  });
});

suite('transactions', () => {
  test('a bundle is opened, filled, closed and committed, in few writes', async () => {
    const { connection, peer } = await pair();
    await connection.transaction(Array.from({ length: 1000 }, (_, i) => ({ ...flowMod, priority: i })));
    const kinds = peer.heard.map((m) => (m.kind === 'bundleControl' ? `control ${m.type}` : m.kind));
    assert.deepEqual([...new Set(kinds)], ['hello', 'control 0', 'bundleAdd', 'control 2', 'control 4']);
    const adds = peer.heard.filter((m) => m.kind === 'bundleAdd');
    assert.equal(adds.length, 1000);
    for (const add of adds) assert.equal(decodeMessage(add.message).xid, add.xid);
    assert.ok(peer.writes < 20, `${peer.writes} writes`);
    connection.close();
  });

  test('a refused add discards the bundle and names the message', async () => {
    const { connection, peer } = await pair({}, OF15, (message) =>
      message.kind === 'bundleAdd' && decodeMessage(message.message).xid === message.xid && message.xid % 10 === 3
        ? [{ kind: 'error', type: 4, code: 9, name: '', data: new Uint8Array(0) }]
        : answer(message),
    );
    const failed = connection.transaction(Array.from({ length: 10 }, (_, i) => ({ ...flowMod, priority: i })));
    const error = await failed.then(
      () => assert.fail('accepted'),
      (e: unknown) => e as WeftError,
    );
    assert.match(error.message, /flow mod table=1,priority=\d.*OFPBMC_BAD_PREREQ/);
    const { index, message } = error.details as Refusal;
    assert.equal((message as FlowMod).priority, index);
    const controls = peer.heard.filter((m) => m.kind === 'bundleControl').map((m) => m.type);
    assert.deepEqual(controls, [0, 2, 6]);
    connection.close();
  });

  test('a refused commit names the message that the switch blames', async () => {
    let lastAdd = 0;
    const { connection, peer } = await pair({}, OF15, (message) => {
      if (message.kind === 'bundleAdd') lastAdd = message.xid;
      if (message.kind !== 'bundleControl' || message.type !== 4) return answer(message);
      peer.send({ kind: 'error', type: 5, code: 1, name: '', data: new Uint8Array(0) }, lastAdd);
      return [{ kind: 'error', type: 17, code: 13, name: '', data: new Uint8Array(0) }];
    });
    await assert.rejects(connection.transaction([flowMod, { ...flowMod, priority: 9 }]), /priority=9.*TABLE_FULL/);
    connection.close();
  });

  test('what cannot be encoded is invalid and leaves no bundle', async () => {
    const { connection, peer } = await pair();
    const bad = { ...flowMod, match: { skb_priority: 1 } };
    await assert.rejects(connection.transaction([flowMod, bad]), isWeftError('invalid'));
    const controls = peer.heard.filter((m) => m.kind === 'bundleControl').map((m) => m.type);
    assert.deepEqual(controls, [0, 6]);
    connection.close();
  });

  test('in 1.3 bundles are the ONF extension, in 1.0 there is a barrier', async () => {
    const of13 = await pair({ versions: [OF13] }, OF13);
    await of13.connection.transaction([flowMod]);
    assert.ok(of13.peer.heard.some((m) => m.kind === 'bundleAdd' && m.version === OF13));
    of13.connection.close();
    const of10 = await pair({ versions: [OF10] }, OF10);
    await of10.connection.transaction([flowMod]);
    assert.deepEqual(
      of10.peer.heard.map((m) => m.kind),
      ['hello', 'flowMod', 'barrierRequest'],
    );
    of10.connection.close();
  });
});
