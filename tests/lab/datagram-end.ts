import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';

/**
 * An end that UDP datagrams of every size come to and go from, run as a script inside a workload:
 *
 *     node datagram-end.ts PORT
 *
 * Says `ready`, then of each datagram `got BYTES ADDRESS PORT whole|spoilt`. A line `ADDRESS PORT BYTES` has it send one. See datagrams.ts.
 */
export function datagramOf(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
}

if (process.argv[1] === import.meta.filename) {
  const socket = createSocket('udp6');
  socket.on('error', () => undefined);
  socket.on('message', (data, { address, port }) => {
    const state = data.equals(datagramOf(data.length)) ? 'whole' : 'spoilt';
    console.log(`got ${data.length} ${address.replace('::ffff:', '')} ${port} ${state}`);
  });
  socket.bind(Number(process.argv[2]), '::', () => console.log('ready'));
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const [address, port, bytes] = line.split(' ');
    const text = address!.includes(':') ? address! : `::ffff:${address}`;
    socket.send(datagramOf(Number(bytes)), Number(port), text, () => undefined);
  });
  lines.on('close', () => process.exit(0));
}
