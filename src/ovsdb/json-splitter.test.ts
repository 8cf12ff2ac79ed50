import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../base/errors.ts';
import { JsonSplitter, type JsonSplitterLimits } from './json-splitter.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function split(chunks: readonly Uint8Array[], limits?: JsonSplitterLimits): unknown[] {
  const splitter = new JsonSplitter(limits);
  const messages: unknown[] = [];
  for (const chunk of chunks) splitter.push(chunk, (message) => void messages.push(message));
  return messages;
}

function failure(run: () => void): DecodeError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof DecodeError, String(error));
    return error;
  }
  return assert.fail('nothing thrown');
}

test('json-splitter: messages come out the same however the stream is cut', () => {
  const message = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 4 }));
  const space = fc.constantFrom('', ' ', '\n', '\r\n\t ');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(message, space), { maxLength: 5 }),
      fc.array(fc.nat(2_000), { maxLength: 20 }),
      (parts, cuts) => {
        const stream = bytes(parts.map(([one, gap]) => JSON.stringify(one) + gap).join(''));
        const places = [0, ...cuts.filter((cut) => cut < stream.length).sort((a, b) => a - b), stream.length];
        const chunks = places.slice(1).map((end, i) => stream.subarray(places[i], end));
        const want = parts.map(([one]) => JSON.parse(JSON.stringify(one)) as unknown);
        assert.deepEqual(split(chunks), want);
      },
    ),
  );
});

test('json-splitter: a stream that stops at any byte gives what is complete and no error', () => {
  const first = '{"id":1,"result":["set",["\\"}{\\\\",["uuid","x"]]],"error":null}';
  const stream = bytes(`${first}{"method":"echo","params":[],"id":"ü"}`);
  for (let end = 0; end <= stream.length; end++) {
    const messages = split([stream.subarray(0, end)]);
    assert.equal(messages.length, end === stream.length ? 2 : end >= first.length ? 1 : 0, `cut at ${end}`);
  }
});

test('json-splitter: what is no JSON object is an error at its offset, after the messages before it', () => {
  for (const [text, code, offset] of [
    ['{"a":1} x', 'bad-text', 8],
    ['{}[]', 'bad-text', 2],
    ['{"a":1]', 'bad-text', 0],
    ['{}{"a":tru}', 'bad-text', 2],
    ['{}{"a" "b"}', 'bad-text', 2],
  ] as const) {
    const splitter = new JsonSplitter();
    let messages = 0;
    const error = failure(() => splitter.push(bytes(text), () => messages++));
    assert.deepEqual([error.code, error.offset, messages], [code, offset, offset > 0 ? 1 : 0], text);
    // Nothing tells where a next message would start.
    assert.equal(
      failure(() => splitter.push(bytes('{}'), () => {})),
      error,
    );
  }
  const badUtf8 = Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d);
  assert.equal(failure(() => split([badUtf8])).code, 'bad-text');
});

test('json-splitter: size and depth of a message are bounded, also before it is complete', () => {
  const limits = { maxBytes: 20, maxDepth: 3 };
  assert.equal(split([bytes('{"a":"0123456789ab"}{"b":[[1]]}')], limits).length, 2);
  assert.equal(failure(() => split([bytes('{"a":"0123456789abc"}')], limits)).code, 'bad-length');
  assert.equal(failure(() => split([bytes('{"a":"012'), bytes('3456789abcdef')], limits)).code, 'bad-length');
  assert.equal(failure(() => split([bytes('{"a":[[[')], limits)).code, 'too-deep');
  assert.equal(failure(() => split([bytes('{"a":['.repeat(100))])).code, 'too-deep');
});
