import { connect, createServer } from 'node:net';

/**
 * One end of many short TCP connections, run as a script inside a namespace:
 *
 *     node connection-end.ts serve PORT
 *     node connection-end.ts open ADDRESS,… PORT SIDE-BY-SIDE MILLISECONDS-OR-0 COUNT-OR-0 [OWN-ADDRESS,…]
 *
 * Each connection carries one byte there and one back, in turn to each of the addresses and from each of the own ones.
 * `open` prints how many were whole and how many failed.
 */
const [role, ...words] = process.argv.slice(2);
if (role === 'serve') serve(Number(words[0]));
else {
  const [port, sideBySide, forMs, count] = words.slice(1, 5).map(Number) as [number, number, number, number];
  open({ addresses: words[0]!.split(','), port, own: words[5]?.split(',') ?? [] }, sideBySide, forMs, count);
}

function serve(port: number): void {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('data', () => socket.end('x'));
    socket.on('error', () => {}); // the other end counts what fails
  });
  server.listen({ port, host: '0.0.0.0', backlog: 1024 }, () => process.stdout.write('ready\n'));
  process.stdin.resume().on('end', () => process.exit());
}

interface Way {
  readonly addresses: readonly string[];
  readonly port: number;
  /** The kernel chooses where there are none. */
  readonly own: readonly string[];
}

function open({ addresses, port, own }: Way, sideBySide: number, forMs: number, count: number): void {
  const startMs = performance.now();
  let [begun, whole, failed, running] = [0, 0, 0, 0];
  const isOver = (): boolean => (count > 0 ? begun >= count : performance.now() - startMs >= forMs);
  const next = (): void => {
    if (isOver()) {
      if (running === 0 && count > 0) finish();
      return;
    }
    const host = addresses[begun % addresses.length]!;
    // All pairs of both, where one number divides the other too.
    const from = own.length === 0 ? {} : { localAddress: own[Math.floor(begun / addresses.length) % own.length]! };
    begun++;
    running++;
    let answered = false;
    const socket = connect({ ...from, port, host, noDelay: true }, () => socket.write('x'));
    socket.setTimeout(5_000, () => socket.destroy());
    socket.on('data', () => {
      answered = true;
    });
    socket.on('error', () => {}); // counted when it closes
    socket.on('close', () => {
      running--;
      if (answered) whole++;
      else failed++;
      next();
    });
  };
  const finish = (): void => {
    process.stdout.write(`${JSON.stringify({ whole, failed, elapsedMs: performance.now() - startMs })}\n`, () =>
      process.exit(),
    );
  };
  // A rate is of what was whole in time: one connection that hangs on does not stretch the time.
  if (count === 0) setTimeout(finish, forMs);
  for (let i = 0; i < sideBySide; i++) next();
}
