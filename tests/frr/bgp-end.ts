import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { endOfTable, keepalive, manyPrefixes, message, open, type Pattern, Type, updates } from './bgp-messages.ts';

/**
 * A small BGP speaker (RFC 4271) that tells what it is told to, right or wrong: `bgp-end.ts PEER ASN ROUTER-ID`. It connects until it is let in, and
 * again when it is thrown out. Orders are lines of JSON on its input; it ends with that. It writes `established`, `closed`,
 * `notification CODE SUBCODE`, and `done` behind an order that has been sent.
 */
export type Order =
  /** Many prefixes, `from` to `to` of the pattern's; `path` is what stands in AS_PATH, undefined withdraws them. */
  | {
      readonly do: 'tell';
      readonly pattern: Pattern;
      readonly from: number;
      readonly to: number;
      readonly path?: readonly number[];
    }
  /** These bytes, so often. */
  | { readonly do: 'send'; readonly hex: string; readonly times?: number }
  /** Ends the connection, without a word, so often, with so many milliseconds between. */
  | { readonly do: 'flap'; readonly times: number; readonly everyMs: number };

const [peer, asn, routerId] = process.argv.slice(2) as [string, string, string];

let current: Socket | undefined;
let retryMs = 200;

function speak(): void {
  const socket = connect(179, peer);
  let rest = Buffer.alloc(0);
  socket.on('connect', () => socket.write(open(Number(asn), routerId)));
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 19 && rest.length >= rest.readUInt16BE(16)) {
      const length = rest.readUInt16BE(16);
      const type = rest[18];
      if (type === Type.notification) console.log(`notification ${rest[19]} ${rest[20]}`);
      rest = rest.subarray(length);
      if (type === Type.open) socket.write(keepalive);
      else if (type === Type.keepalive && current !== socket) {
        current = socket;
        console.log('established');
      }
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    if (current === socket) console.log('closed');
    current = undefined;
    setTimeout(speak, retryMs);
  });
}

async function obey(order: Order): Promise<void> {
  const socket = current;
  if (order.do === 'flap') {
    retryMs = order.everyMs / 2;
    for (let n = 0; n < order.times; n++) {
      current?.destroy();
      await new Promise((resolve) => setTimeout(resolve, order.everyMs));
    }
    retryMs = 200;
  } else if (socket !== undefined && order.do === 'send') {
    const bytes = Buffer.from(order.hex, 'hex');
    for (let n = 0; n < (order.times ?? 1) && !socket.destroyed; n++) if (!socket.write(bytes)) await drained(socket);
  } else if (socket !== undefined && order.do === 'tell') {
    const prefixes = manyPrefixes(order.pattern, order.to).slice(order.from);
    for (const each of updates(prefixes, order.path, socket.localAddress!)) {
      if (socket.destroyed) break;
      if (!socket.write(each)) await drained(socket);
    }
    if (order.path !== undefined) socket.write(endOfTable);
  }
  console.log('done');
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('drain', resolve);
    socket.once('close', () => resolve());
  });
}

speak();
setInterval(() => current?.write(keepalive), 1_000);
let last = Promise.resolve();
createInterface({ input: process.stdin })
  .on('line', (line) => (last = last.then(() => obey(JSON.parse(line) as Order))))
  .on('close', () => {
    // As a router that shuts down says it: Cease (RFC 4271 §6.7).
    current?.end(message(Type.notification, Uint8Array.of(6, 2)));
    setTimeout(() => process.exit(0), 50);
  });
