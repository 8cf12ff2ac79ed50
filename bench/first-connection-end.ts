import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Times one TCP connection, run as a script inside a namespace:
 *
 *     node first-connection-end.ts ADDRESS PORT
 *
 * It prints a line of JSON when it is ready, and another with the milliseconds from the first packet to its answer, which the far end's
 * kernel gives, when a line comes on its standard input. Before that it connects to itself: what is timed is the network, not code that has not run yet.
 */
const WARM_UPS = 300;
const TIMEOUT_MS = 5_000;

const [host, port] = [process.argv[2]!, Number(process.argv[3])];
const own = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
await once(own, 'listening');
for (let i = 0; i < WARM_UPS; i++) await timed('127.0.0.1', (own.address() as AddressInfo).port);
own.close();
process.stdout.write('{"ready":true}\n');
const [line] = await Promise.race([
  once(createInterface({ input: process.stdin }), 'line'),
  once(process.stdin, 'end').then(() => []),
]);
if (line !== undefined) process.stdout.write(`${JSON.stringify({ ms: await timed(host, port) })}\n`);
process.exit();

async function timed(host: string, port: number): Promise<number> {
  const from = performance.now();
  const socket = connect({ host, port });
  const timer = setTimeout(() => socket.destroy(new Error(`no answer from ${host} in ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
  await once(socket, 'connect');
  const ms = performance.now() - from;
  clearTimeout(timer);
  socket.destroy();
  return ms;
}
