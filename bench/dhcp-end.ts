import { createSocket } from 'node:dgram';
import type { Mac } from '../src/base/addresses.ts';
import { DHCP_MESSAGE, decodeDhcp, dhcpOption, encodeDhcp } from '../src/packet/dhcp.ts';
import { UDP_PORT } from '../src/packet/udp.ts';
import { discoverOf } from './dhcp-discover.ts';

/**
 * A DHCP client that only ever discovers, run as a script in a workload's namespace:
 *
 *     node dhcp-end.ts MAC-AS-NUMBER PER-SECOND MILLISECONDS
 *
 * It prints when it can send, begins when a line comes on its standard input, and prints how many offers came and when:
 * milliseconds from each discover to its offer.
 */
const [mac, perSecond, forMs] = process.argv.slice(2).map(Number) as [number, number, number];
const socket = createSocket('udp4');
const sentAtMs = new Map<number, number>();
const latenciesMs: number[] = [];
/** Late offers are waited for this long. */
const DRAIN_MS = 500;

socket.on('message', (bytes) => {
  const message = decodeDhcp(bytes);
  const from = sentAtMs.get(message.transactionId);
  if (from === undefined || dhcpOption(message, 'messageType') !== DHCP_MESSAGE.offer) return;
  sentAtMs.delete(message.transactionId);
  latenciesMs.push(performance.now() - from);
});

function begin(): void {
  const from = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - from;
    if (elapsedMs >= forMs) {
      clearInterval(timer);
      setTimeout(() => {
        process.stdout.write(`${JSON.stringify({ sent, latenciesMs })}\n`, () => process.exit());
      }, DRAIN_MS);
      return;
    }
    for (const due = Math.floor((elapsedMs * perSecond) / 1000); sent < due; sent++) {
      sentAtMs.set(sent + 1, performance.now());
      socket.send(encodeDhcp(discoverOf(mac as Mac, sent + 1)), UDP_PORT.dhcpServer, '255.255.255.255');
    }
  }, 5);
}

socket.bind(UDP_PORT.dhcpClient, () => {
  socket.setBroadcast(true);
  process.stdin.once('data', begin);
  process.stdout.write('ready\n');
});
