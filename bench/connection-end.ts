import { connect, createServer } from 'node:net';

/**
 * One end of many short TCP connections, run as a script inside a namespace:
 *
 *     node connection-end.ts serve PORT
 *     node connection-end.ts open ADDRESS PORT SIDE-BY-SIDE MILLISECONDS-OR-0 COUNT-OR-0
 *
 * Each connection carries one byte there and one back. `open` prints how many were whole and how many failed.
 */
const [role, ...words] = process.argv.slice(2);
if (role === 'serve') serve(Number(words[0]));
else open(words[0]!, ...(words.slice(1).map(Number) as [number, number, number, number]));

function serve(port: number): void {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('data', () => socket.end('x'));
    socket.on('error', () => {}); // the other end counts what fails
  });
  server.listen({ port, host: '0.0.0.0', backlog: 1024 }, () => process.stdout.write('ready\n'));
  process.stdin.resume().on('end', () => process.exit());
}

function open(address: string, port: number, sideBySide: number, forMs: number, count: number): void {
  const from = performance.now();
  let [begun, whole, failed, running] = [0, 0, 0, 0];
  const isOver = (): boolean => (count > 0 ? begun >= count : performance.now() - from >= forMs);
  const next = (): void => {
    if (isOver()) {
      if (running === 0 && count > 0) finish();
      return;
    }
    begun++;
    running++;
    let answered = false;
    const socket = connect({ port, host: address, noDelay: true }, () => socket.write('x'));
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
    process.stdout.write(`${JSON.stringify({ whole, failed, elapsedMs: performance.now() - from })}\n`, () =>
      process.exit(),
    );
  };
  // A rate is of what was whole in time: one connection that hangs on does not stretch the time.
  if (count === 0) setTimeout(finish, forMs);
  for (let i = 0; i < sideBySide; i++) next();
}
