import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/**
 * Both ends of FTP (RFC 959, 2428) and TFTP (RFC 1350) as far as connection tracking sees them, run inside workloads:
 *
 *   transfer-end.ts serve                           FTP on ports 21 and 2121, and TFTP on port 69; prints `ready`
 *   transfer-end.ts get MODE ADDRESS TIMEOUT_MS [PORT]     one transfer; prints what came, or why nothing did and exit 1
 *   transfer-end.ts hold MODE ADDRESS               one that does not end: prints `received N`, every 100 ms
 *
 * MODE: `pasv` (to the address that the server names), `pasv-here` (to the one that was called, as most clients do today), `epsv`, `port`,
 * `eprt` (both with the client's own address), `tftp`.
 */
const CONTENT = 'what was asked for';

/** IPv4 on a socket for both families is ::ffff:10.0.0.1. */
function plain(address: string | undefined): string {
  return (address ?? '').replace('::ffff:', '');
}

function portWords(port: number): string {
  return `${port >> 8},${port & 255}`;
}

/** Lines of a control connection, one after the other. */
async function* linesOf(socket: Socket): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of socket) {
    const parts = (rest + String(chunk)).split('\r\n');
    rest = parts.pop()!;
    yield* parts;
  }
}

/** One session: `PASV` and `EPSV` open a port, `PORT` and `EPRT` name one, `RETR` sends. */
async function session(control: Socket): Promise<void> {
  control.on('error', () => control.destroy());
  const say = (text: string): void => void control.write(`${text}\r\n`);
  let data: (() => Promise<Socket>) | undefined;
  say('220 ready');
  for await (const line of linesOf(control)) {
    const [command, argument = ''] = line.split(' ') as [string, string?];
    if (command === 'PASV' || command === 'EPSV') {
      const server = createServer();
      server.listen(0, '::');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const arrival = once(server, 'connection') as Promise<[Socket]>;
      data = async () => {
        const [socket] = await arrival;
        server.close();
        return socket;
      };
      const own = plain(control.localAddress).replaceAll('.', ',');
      say(
        command === 'PASV'
          ? `227 Entering Passive Mode (${own},${portWords(port)}).`
          : `229 Entering Extended Passive Mode (|||${port}|)`,
      );
    } else if (command === 'PORT' || command === 'EPRT') {
      const words = argument.split(command === 'PORT' ? ',' : '|');
      const [host, port] =
        command === 'PORT'
          ? [words.slice(0, 4).join('.'), Number(words[4]) * 256 + Number(words[5])]
          : [words[2]!, Number(words[3])];
      data = async () => {
        const socket = connect({ host, port, localPort: 20 });
        socket.on('error', () => socket.destroy());
        await once(socket, 'connect');
        return socket;
      };
      say('200 OK');
    } else if (command === 'RETR' && data) {
      say('150 here it comes');
      const socket = await data();
      socket.on('error', () => socket.destroy());
      if (argument === 'endless') {
        const timer = setInterval(() => socket.write('x'), 50);
        socket.on('close', () => clearInterval(timer));
        continue;
      }
      socket.end(`${CONTENT} ${plain(socket.remoteAddress)}`);
      say('226 done');
    } else say('500 what?');
  }
}

function serveTftp(): Promise<unknown> {
  const socket = createSocket('udp6');
  socket.on('message', (_, from) => {
    // The answer comes from a port of its own (RFC 1350, §4).
    const answer = createSocket('udp6');
    const block = Buffer.concat([Buffer.from([0, 3, 0, 1]), Buffer.from(`${CONTENT} ${plain(from.address)}`)]);
    answer.on('error', () => answer.close());
    answer.once('message', () => answer.send(Buffer.from([0, 4, 0, 2]), from.port, from.address, () => answer.close()));
    answer.send(block, from.port, from.address);
  });
  socket.bind(69, '::');
  return once(socket, 'listening');
}

/** The transfer's content, and who the server saw. */
async function getTftp(address: string): Promise<string> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.send(Buffer.from('\0\x01file\0octet\0'), 69, address);
  const [block, from] = (await once(socket, 'message')) as [Buffer, { address: string; port: number }];
  // Their last word shows that the way from here to the new port is open too.
  socket.send(Buffer.from([0, 4, 0, 1]), from.port, from.address);
  await once(socket, 'message');
  return block.subarray(4).toString();
}

async function getFtp(mode: string, address: string, file = 'file', controlPort = 21): Promise<string> {
  const control = connect({ host: address, port: controlPort });
  control.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
  const lines = linesOf(control);
  const expect = async (code: string): Promise<string> => {
    for (;;) {
      const line = String((await lines.next()).value);
      if (line.startsWith(code)) return line;
      if (line.startsWith('5')) fail(`refused: ${line}`);
    }
  };
  const say = (text: string): void => void control.write(`${text}\r\n`);
  stage = 'control';
  await expect('220');
  let data: Socket;
  let text = '';
  if (mode === 'pasv' || mode === 'pasv-here' || mode === 'epsv') {
    say(mode === 'epsv' ? 'EPSV' : 'PASV');
    const answer = await expect(mode === 'epsv' ? '229' : '227');
    const words = /\(([^)]*)\)/.exec(answer)![1]!.split(mode === 'epsv' ? '|' : ',');
    const port = mode === 'epsv' ? Number(words[3]) : Number(words[4]) * 256 + Number(words[5]);
    const host = mode === 'pasv' ? words.slice(0, 4).join('.') : address;
    stage = `data to ${host}`;
    data = connect({ host, port });
    say(`RETR ${file}`);
  } else {
    const server = createServer();
    server.listen(0, '::');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const own = plain(control.localAddress);
    say(
      mode === 'port'
        ? `PORT ${own.replaceAll('.', ',')},${portWords(port)}`
        : `EPRT |${own.includes(':') ? 2 : 1}|${own}|${port}|`,
    );
    await expect('200');
    stage = 'data from the server';
    say(`RETR ${file}`);
    [data] = (await once(server, 'connection')) as [Socket];
  }
  data.on('error', (error: NodeJS.ErrnoException) => fail(`data: ${error.code ?? error.message}`));
  data.on('data', (chunk) => {
    text += String(chunk);
  });
  if (file === 'endless') setInterval(() => console.log(`received ${text.length}`), 100);
  await once(data, 'end');
  stage = 'the end of the control connection';
  await expect('226');
  return text;
}

/** What is waited for. */
let stage = 'connection';

function fail(why: string): never {
  console.log(why);
  process.exit(1);
}

const [what, mode, address, timeout, port] = process.argv.slice(2) as [string, string, string, string, string?];
if (what === 'serve') {
  const listening = [21, 2121].map((port) => {
    const server = createServer((control) => void session(control).catch(() => control.destroy()));
    server.listen(port, '::');
    return once(server, 'listening');
  });
  await Promise.all([...listening, serveTftp()]);
  console.log('ready');
} else if (what === 'hold') await getFtp(mode, address, 'endless');
else {
  setTimeout(() => fail(`timeout: ${stage}`), Number(timeout));
  console.log(await (mode === 'tftp' ? getTftp(address) : getFtp(mode, address, 'file', Number(port ?? 21))));
  process.exit(0);
}
