import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { UsageError } from '../exit-codes.ts';
import { entryOf } from '../kinds.ts';
import { say } from '../output.ts';
import { fetchObject } from '../requests.ts';
import { hostAgentPath, type Session, titleOf, withSession } from '../session.ts';

interface CaptureOptions {
  readonly count?: string;
  readonly write?: string;
  readonly host?: string;
}

export function register(program: Command): void {
  program
    .command('capture')
    .description('packets at a logical port, on whichever host it is, until ^C')
    .argument('<port>', 'name, tenant/name or id')
    .argument('[filter...]', "what is captured, in tcpdump's language")
    .option('-c, --count <number>', 'end after so many packets')
    .option('-w, --write <file>', 'keep them in a file (- for standard output) instead of printing them')
    .option('--host <name>', 'at the interface on this host, where more than one has it')
    .option('-t, --tenant <name>', 'tenant of the port')
    .addHelpText('after', '\nExamples:\n  weft capture web-1 -c 10 icmp\n  weft capture web-1 -w web-1.pcap\n')
    .action((port: string, filter: string[], options: CaptureOptions, command: Command) =>
      withSession(command, (session) => capture(port, filter.join(' '), options, session)),
    );
}

async function capture(name: string, filter: string, options: CaptureOptions, session: Session): Promise<void> {
  const port = await fetchObject(session, entryOf('port'), name);
  const host = options.host ?? hostOf(port.status);
  if (host === undefined)
    throw new WeftError(
      'not-found',
      `no host has the interface of ${titleOf(port)}: plug one in with external_ids:iface-id=${port.id}`,
    );
  if (options.count !== undefined && !/^[1-9]\d{0,8}$/.test(options.count))
    throw new UsageError(`-c ${options.count}: a number of packets is wanted`);
  const query = new URLSearchParams({
    port: port.id,
    ...(options.count === undefined ? {} : { count: options.count }),
    ...(filter === '' ? {} : { filter }),
  });
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const { body } = await session.client.download('GET', hostAgentPath(host, `/capture?${query}`), {
    signal: stop.signal,
  });
  say(`capturing at ${titleOf(port)} on host ${host}${options.count === undefined ? '; ^C ends it' : ''}`);
  try {
    if (options.write === '-') await pipeline(body, process.stdout, { end: false });
    else if (options.write !== undefined) await pipeline(body, createWriteStream(options.write));
    else await printWithTcpdump(body);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  if (options.write !== undefined && options.write !== '-')
    say(`written to ${options.write}; 'tcpdump -r ${options.write}' prints it`);
}

function hostOf(status: Readonly<Record<string, unknown>> | undefined): string | undefined {
  return typeof status?.host === 'string' ? status.host : undefined;
}

/** The local tcpdump turns packets into lines. */
async function printWithTcpdump(body: AsyncIterable<Uint8Array>): Promise<void> {
  const reader = spawn('tcpdump', ['-r', '-', '-n', '-l', '-e'], { stdio: ['pipe', 'inherit', 'ignore'] });
  const ended = new Promise<void>((resolve, reject) => {
    reader.on('close', () => resolve());
    reader.on('error', (cause) =>
      reject(
        new WeftError('not-found', `tcpdump is not installed here (${cause.message}); -w FILE keeps the packets`, {
          cause,
        }),
      ),
    );
  });
  await Promise.all([pipeline(body, reader.stdin), ended]);
}
