import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';

/**
 * Both ends of small conversations, run inside workloads:
 *
 *   service-end.ts serve NAME tcp/PORT|udp/PORT…     answers with NAME and the client's address and port, then with every line that it gets (TCP)
 *   service-end.ts ask tcp|udp ADDRESS PORT TIMEOUT_MS [SOURCE_PORT]       prints who answers; exit 1 and the reason where nobody does
 *   service-end.ts tally ADDRESS PORT TIMEOUT_MS COUNT      asks so often by TCP, one connection after another; a line for each, as `ask` prints it
 *   service-end.ts large ADDRESS PORT BYTES COUNT FIRST      one UDP conversation: a question of FIRST bytes, then so many of BYTES, each when the one before is answered, or a second on; prints a line for each answer, as `ask`
 *   service-end.ts stream PORT                 to whoever sends it one UDP packet: 200 a second, for good
 *   service-end.ts listen ADDRESS PORT         sends that packet, prints `received N`
 *   service-end.ts hold ADDRESS PORT           keeps one TCP connection, a line every 100 ms; prints `echoes N` per echo, `closed` at its end
 */
/** IPv4 on a socket for both families shows as ::ffff:10.0.0.1. */
function greeting(name: string, address: string | undefined, port: number | undefined): string {
  return `${name} ${address?.replace('::ffff:', '')} ${port}`;
}

/** What a service says, or the reason why none does. */
async function ask(
  protocol: string,
  address: string,
  port: number,
  timeoutMs: number,
  localPort: number,
): Promise<{ readonly text: string; readonly isAnswer: boolean }> {
  const { promise, resolve } = Promise.withResolvers<{ text: string; isAnswer: boolean }>();
  const timer = setTimeout(() => resolve({ text: 'timeout', isAnswer: false }), timeoutMs);
  const answered = (text: unknown): void => resolve({ text: String(text).trim(), isAnswer: true });
  const failed = (error: NodeJS.ErrnoException): void =>
    resolve({ text: error.code ?? error.message, isAnswer: false });
  let end: () => void;
  if (protocol === 'udp') {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', answered).on('error', failed);
    // Connected, so that ICMP errors are heard.
    socket.bind(localPort, () => socket.connect(port, address, () => socket.send('who?')));
    end = () => socket.close();
  } else {
    const socket = connect({ host: address, port, localPort });
    socket.on('error', failed).once('data', answered);
    end = () => socket.destroy();
  }
  const told = await promise;
  clearTimeout(timer);
  end();
  return told;
}

const [mode, ...rest] = process.argv.slice(2);

if (mode === 'serve') {
  const [name, ...services] = rest as [string, ...string[]];
  for (const service of services) {
    const [protocol, port] = service.split('/');
    if (protocol === 'udp') {
      // Both families on one socket.
      const socket = createSocket('udp6');
      socket.on('message', (_, from) => socket.send(greeting(name, from.address, from.port), from.port, from.address));
      socket.bind(Number(port), '::', () => console.log('ready'));
    } else {
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.write(`${greeting(name, socket.remoteAddress, socket.remotePort)}\n`);
        socket.pipe(socket);
      });
      server.listen(Number(port), '::', () => console.log('ready'));
    }
  }
} else if (mode === 'ask') {
  const [protocol, address, port, timeout, source = '0'] = rest as [string, string, string, string, string?];
  const { text, isAnswer } = await ask(protocol, address, Number(port), Number(timeout), Number(source));
  console.log(text);
  process.exit(isAnswer ? 0 : 1);
} else if (mode === 'tally') {
  const [address, port, timeout, count] = rest as [string, string, string, string];
  for (let n = 0; n < Number(count); n++)
    console.log((await ask('tcp', address, Number(port), Number(timeout), 0)).text);
} else if (mode === 'large') {
  const [address, port, bytes, count, first] = rest as [string, string, string, string, string];
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  let answered: () => void;
  socket.on('error', () => undefined);
  socket.on('message', (answer) => {
    console.log(String(answer));
    answered();
  });
  socket.connect(Number(port), address, async () => {
    for (let n = 0; n <= Number(count); n++) {
      await new Promise<void>((resolve) => {
        answered = resolve;
        setTimeout(resolve, 1_000);
        socket.send(Buffer.alloc(Number(n === 0 ? first : bytes), n));
      });
    }
    process.exit(0);
  });
} else if (mode === 'stream') {
  const socket = createSocket('udp6');
  let timer: NodeJS.Timeout | undefined;
  socket.on('error', () => undefined);
  socket.on('message', (_, from) => {
    clearInterval(timer);
    timer = setInterval(() => socket.send('more', from.port, from.address), 5);
  });
  socket.bind(Number(rest[0]), '::', () => console.log('ready'));
} else if (mode === 'listen') {
  const [address, port] = rest as [string, string];
  const socket = createSocket('udp4');
  let received = 0;
  socket.on('message', () => received++);
  socket.send('begin', Number(port), address);
  setInterval(() => console.log(`received ${received}`), 100);
} else if (mode === 'hold') {
  const [address, port] = rest as [string, string];
  const socket = connect({ host: address, port: Number(port) });
  let echoes = 0;
  let timer: NodeJS.Timeout | undefined;
  socket.once('data', (name) => {
    console.log(`open ${String(name).trim()}`);
    socket.on('data', (text) => {
      echoes += String(text).split('\n').length - 1;
      console.log(`echoes ${echoes}`);
    });
    timer = setInterval(() => socket.write('x\n'), 100);
  });
  const end = (): never => {
    clearInterval(timer);
    console.log('closed');
    process.exit(0);
  };
  socket.on('error', end);
  socket.on('close', end);
} else {
  console.error('serve, ask, tally, large, stream, listen or hold is wanted');
  process.exit(2);
}
