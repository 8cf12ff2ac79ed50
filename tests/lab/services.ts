import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Lab } from '../../src/lab/lab.ts';
import { eventually } from './datacentre.ts';

/** Services in workloads and clients that talk to them (service-end.ts), for tests of whole connections. */
const END = fileURLToPath(new URL('service-end.ts', import.meta.url));

/** How long an answer is waited for: two attempts of TCP; where none is to come, one, which takes a few milliseconds. */
const ASK_MS = 1_500;
const NONE_MS = 700;
const PATIENT_MS = 5_000;

export type Protocol = 'tcp' | 'udp';

/** A service that answers with its name; it ends with the lab, or by `stop`. */
export async function serve(
  lab: Lab,
  place: string,
  protocol: Protocol,
  port: number,
  name = place,
): Promise<{ stop(): Promise<void> }> {
  const child = await startServices(lab, place, name, [`${protocol}/${port}`]);
  return {
    stop: async () => {
      const gone = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** Such services in each of these places, for good: `tcp/80`, `udp/53`, …. */
export async function serveAll(
  lab: Lab,
  places: readonly string[],
  ...services: readonly `${Protocol}/${number}`[]
): Promise<void> {
  await Promise.all(places.map((place) => startServices(lab, place, place, services)));
}

async function startServices(
  lab: Lab,
  place: string,
  name: string,
  services: readonly string[],
): Promise<ChildProcess> {
  const child = lab.spawn(place, [process.execPath, END, 'serve', name, ...services]);
  let said = '';
  child.stdout?.on('data', (text) => {
    said += String(text);
  });
  await eventually(
    `${name} to serve ${services.join()}`,
    10_000,
    async () => said.match(/ready/g)?.length === services.length,
  );
  return child;
}

export interface Asked {
  /** Who answered; undefined where nobody did. */
  readonly by?: string;
  /** The client as the service saw it. */
  readonly seen?: string;
  readonly seenPort?: number;
  /** `timeout`, `ECONNREFUSED`, `EHOSTUNREACH`, … where nobody did. */
  readonly why?: string;
}

/** Whether a question stays without any answer, be it a refusal. */
export async function unanswered(...[lab, from, protocol, address, port]: Parameters<typeof ask>): Promise<boolean> {
  return (await ask(lab, from, protocol, address, port, { timeoutMs: NONE_MS })).why === 'timeout';
}

export async function ask(
  lab: Lab,
  from: string,
  protocol: Protocol,
  address: string,
  port: number,
  options: { readonly timeoutMs?: number; readonly sourcePort?: number } = {},
): Promise<Asked> {
  const words = [END, 'ask', protocol, address, String(port), String(options.timeoutMs ?? ASK_MS)];
  if (options.sourcePort !== undefined) words.push(String(options.sourcePort));
  const { code, stdout } = await lab.exec(from, [process.execPath, ...words]);
  const text = stdout.trim();
  const [by, seen, seenPort] = text.split(' ');
  return code === 0 ? { by: by!, seen: seen!, seenPort: Number(seenPort) } : { why: text };
}

/** Who is asked from where, and who is to answer, or why nobody (as `Asked.why`). */
export type Question = readonly [from: string, protocol: Protocol, address: string, port: number, wanted: string];

/** Asks all of these at once, each with the answer that is wanted of it. */
export async function askAll(lab: Lab, ...questions: readonly Question[]): Promise<void> {
  const answers = await Promise.all(
    questions.map(async ([from, protocol, address, port, wanted]) => {
      // Whom an answer is wanted of has time for it: all of these start at once.
      const { by, why } = await ask(lab, from, protocol, address, port, {
        timeoutMs: wanted === 'timeout' ? NONE_MS : PATIENT_MS,
      });
      return [from, protocol, address, port, by ?? why!] as const;
    }),
  );
  assert.deepEqual(answers, questions);
}

/** Who answers so many TCP connections, each begun when the one before has ended, and how often; the reason where nobody does. */
export async function tally(
  lab: Lab,
  from: string,
  address: string,
  port: number,
  count: number,
): Promise<Map<string, number>> {
  const words = [END, 'tally', address, String(port), String(ASK_MS), String(count)];
  const text = await lab.execOk(from, [process.execPath, ...words]);
  const by = new Map<string, number>();
  for (const line of text.trim().split('\n')) {
    const who = line.split(' ')[0]!;
    by.set(who, (by.get(who) ?? 0) + 1);
  }
  return by;
}

/** Answers to a datagram of `first` bytes and to so many of `bytes` behind it, one after the other, of one conversation. */
export async function askLarge(
  lab: Lab,
  from: string,
  address: string,
  port: number,
  { bytes, count, first }: { readonly bytes: number; readonly count: number; readonly first: number },
): Promise<readonly Asked[]> {
  const words = [END, 'large', address, String(port), String(bytes), String(count), String(first)];
  const text = await lab.execOk(from, [process.execPath, ...words]);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [by, seen, seenPort] = line.split(' ');
      return { by: by!, seen: seen!, seenPort: Number(seenPort) };
    });
}

/** One long TCP connection that says something ten times a second. */
export interface HeldConnection {
  /** Who is at the other end. */
  readonly by: string;
  echoes(): number;
  isOpen(): boolean;
  stop(): void;
}

export async function hold(lab: Lab, from: string, address: string, port: number): Promise<HeldConnection> {
  const child = lab.spawn(from, [process.execPath, END, 'hold', address, String(port)]);
  let said = '';
  child.stdout?.on('data', (text) => {
    said += String(text);
  });
  const by = await eventually(`a connection to ${address}:${port}`, 8000, async () => /^open (\S+)/m.exec(said)?.[1]);
  return {
    by,
    echoes: () => Number([...said.matchAll(/^echoes (\d+)$/gm)].at(-1)?.[1] ?? 0),
    isOpen: () => !said.includes('closed'),
    stop: () => void child.kill('SIGKILL'),
  };
}

/** A stream that flows one way only: `to` asks for it with one packet, and never says anything again. */
export async function streamBack(
  lab: Lab,
  from: string,
  to: string,
  address: string,
  port: number,
): Promise<{ received(): number; stop(): void }> {
  const source = lab.spawn(from, [process.execPath, END, 'stream', String(port)]);
  let ready = '';
  source.stdout?.on('data', (text) => {
    ready += String(text);
  });
  await eventually('the source of the stream', 8000, async () => ready.includes('ready'));
  const sink = lab.spawn(to, [process.execPath, END, 'listen', address, String(port)]);
  let said = '';
  sink.stdout?.on('data', (text) => {
    said += String(text);
  });
  return {
    received: () => Number([...said.matchAll(/^received (\d+)$/gm)].at(-1)?.[1] ?? 0),
    stop: () => {
      source.kill('SIGKILL');
      sink.kill('SIGKILL');
    },
  };
}
