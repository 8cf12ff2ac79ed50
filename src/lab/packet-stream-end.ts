import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * One end of a packet stream, run as a script inside a namespace:
 *
 *     node packet-stream-end.ts send|receive '{"address":…,"port":…,"pps":…,"payloadBytes":…}'
 *
 * It prints a line of JSON when it is ready and another, its report, when a line comes on its standard input. Before
 * that the sender only says hello until it is told to go, and the receiver prints a line when the first hello comes:
 * neighbours are known then, and what is lost later is lost by the network under test.
 *
 *      0        4        8                16               24
 *     +--------+--------+----------------+----------------+--- - -
 *     | "weft" | number | sent at (ms)   | zero           | filling
 *     +--------+--------+----------------+----------------+--- - -
 */
type Settings = {
  readonly address: string;
  readonly port: number;
  readonly pps: number;
  readonly payloadBytes: number;
};
export type SenderReport = { readonly sent: number; readonly refused: number; readonly elapsedMs: number };
export type ReceiverReport = {
  readonly received: number;
  readonly duplicates: number;
  readonly reordered: number;
  readonly longestGapMs: number;
  readonly longestGapAt: number;
  readonly socketDrops: number;
  readonly lostRanges: [number, number][];
  readonly latencyMs: { median: number; p99: number; max: number };
};

const MAGIC = 0x77656674;
/** The number of a packet that is not counted. */
const HELLO = 0xffffffff;
const HELLO_INTERVAL_MS = 20;
/** After a pause of the sender this many packets at most go out at once, or it would overrun queues that the network never would. */
const LARGEST_BURST = 64;
const RECEIVE_BUFFER = 16 * 1024 * 1024;
const LOST_RANGES = 100;

/** Milliseconds of the machine's monotonic clock: the same in every process. */
function nowMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Calls back with each line of the standard input; `undefined` at its end, when whoever started this is gone. */
function onLine(then: (line: string | undefined) => void): void {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', then);
  lines.on('close', () => then(undefined));
}

function packetOf(settings: Settings, number: number): Buffer {
  const packet = Buffer.alloc(settings.payloadBytes);
  packet.writeUInt32BE(MAGIC, 0);
  packet.writeUInt32BE(number, 4);
  packet.writeDoubleBE(nowMs(), 8);
  return packet;
}

function send(settings: Settings): void {
  const socket = createSocket(settings.address.includes(':') ? 'udp6' : 'udp4');
  let refused = 0;
  let sent = 0;
  socket.on('error', () => {}); // an unreachable receiver is what the report is about
  socket.connect(settings.port, settings.address, () => {
    let from = 0;
    let due = 0;
    let timer = setInterval(() => socket.send(packetOf(settings, HELLO), () => {}), HELLO_INTERVAL_MS);
    const tick = (): void => {
      const now = nowMs();
      // What is overdue beyond one burst is not sent later at a higher rate: the clock is moved on instead.
      due = Math.max(due, now - (LARGEST_BURST * 1000) / settings.pps);
      while (due <= now) {
        socket.send(packetOf(settings, sent++), (error) => {
          if (error) refused++;
        });
        due += 1000 / settings.pps;
      }
    };
    say({ ready: true });
    onLine((line) => {
      if (line === undefined) process.exit(0);
      clearInterval(timer);
      if (line === 'go') {
        from = due = nowMs();
        timer = setInterval(tick, 1);
        say({ going: true });
        return;
      }
      const elapsedMs = nowMs() - from;
      // Packets on their way through the socket's own queue have been counted as sent: let them leave.
      setTimeout(() => say({ sent, refused, elapsedMs } satisfies SenderReport), 50);
    });
  });
}

function receive(settings: Settings): void {
  let times = new Uint8Array(1 << 20); // how often each number came
  const latencies: number[] = [];
  let greeted = false;
  let received = 0;
  let duplicates = 0;
  let reordered = 0;
  let highest = -1;
  let lastAt = 0;
  let longestGapMs = 0;
  let longestGapAt = 0;
  const socket = createSocket({
    type: settings.address.includes(':') ? 'udp6' : 'udp4',
    recvBufferSize: RECEIVE_BUFFER,
  });
  socket.on('message', (packet) => {
    if (packet.length < 24 || packet.readUInt32BE(0) !== MAGIC) return;
    const now = nowMs();
    const number = packet.readUInt32BE(4);
    if (number === HELLO) {
      if (!greeted) say({ greeted: true });
      greeted = true;
      return;
    }
    if (number >= times.length) {
      const wider = new Uint8Array(times.length * 2);
      wider.set(times);
      times = wider;
    }
    if (times[number] !== 0) {
      duplicates++;
      return;
    }
    times[number] = 1;
    received++;
    if (number < highest) reordered++;
    highest = Math.max(highest, number);
    if (received > 1 && now - lastAt > longestGapMs) {
      longestGapMs = now - lastAt;
      longestGapAt = number;
    }
    lastAt = now;
    latencies.push(now - packet.readDoubleBE(8));
  });
  socket.bind(settings.port, () => {
    say({ ready: true });
    onLine((line) => {
      if (line === undefined) process.exit(0);
      const socketDrops = dropsOf(socket);
      latencies.sort((a, b) => a - b);
      const at = (share: number) =>
        latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
      const lostRanges = missing(times, Number(line));
      const latencyMs = { median: at(0.5), p99: at(0.99), max: at(1) };
      say({
        received,
        duplicates,
        reordered,
        longestGapMs,
        longestGapAt,
        socketDrops,
        lostRanges,
        latencyMs,
      } satisfies ReceiverReport);
    });
  });
}

function missing(times: Uint8Array, sent: number): [number, number][] {
  const ranges: [number, number][] = [];
  for (let i = 0; i < sent && ranges.length < LOST_RANGES; i++) {
    if ((times[i] ?? 0) !== 0) continue;
    const first = i;
    while (i + 1 < sent && (times[i + 1] ?? 0) === 0) i++;
    ranges.push([first, i]);
  }
  return ranges;
}

/** What the kernel threw away because the socket was full: the last column of /proc/net/udp, by local port. */
function dropsOf(socket: Socket): number {
  const port = socket.address().port.toString(16).toUpperCase().padStart(4, '0');
  let drops = 0;
  for (const file of ['/proc/net/udp', '/proc/net/udp6']) {
    for (const line of readFileSync(file, 'utf8').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[1]?.endsWith(`:${port}`)) drops += Number(fields.at(-1));
    }
  }
  return drops;
}

const [role, settings] = process.argv.slice(2);
if (role === 'send') send(JSON.parse(settings ?? '{}') as Settings);
else if (role === 'receive') receive(JSON.parse(settings ?? '{}') as Settings);
else process.exitCode = 2;
