import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * One end of a crowd of TCP connections, run as a script inside a namespace:
 *
 *     node connection-crowd-end.ts serve|hold '{"address":…,"port":…,"connections":…,"perSecond":…,"intervalMs":…}'
 *
 * `hold` opens the connections and keeps them; on each it sends the next number, four bytes, every `intervalMs`.
 * `serve` sends back whatever comes. Both print a line of JSON when they are ready, and a report for each line that
 * comes on their standard input; with `end` on it `hold` first asks every connection for a last answer.
 */
type Settings = {
  readonly address: string;
  readonly port: number;
  readonly connections: number;
  readonly perSecond: number;
  readonly intervalMs: number;
  readonly stallMs: number;
};

export type ServedReport = { readonly open: number; readonly accepted: number };
export type HeldReport = {
  readonly established: number;
  /** Could not be opened at all. */
  readonly failed: number;
  /** Were established and ended, whoever ended them. */
  readonly died: number;
  /** Established, and the oldest number without an answer is older than `stallMs`; where all were asked, a number up to that question. */
  readonly stalled: number;
  readonly answers: number;
  /** What came back is not what was sent. */
  readonly wrong: number;
  /** From a number to its answer, since the last report. */
  readonly answerMs: { readonly median: number; readonly p99: number; readonly max: number };
  /** Whatever happened to the first hundred that failed, died or stall: `1234 died: ECONNRESET`, by local port. */
  readonly troubles: readonly string[];
  readonly openedInMs: number;
};

const TROUBLES = 100;
/** Numbers on their way on one connection: one that gets no answers sends no more. */
const LARGEST_WINDOW = 8;
const NUMBER_BYTES = 4;
const TICK_MS = 5;
/** How fast all are asked for an answer: a burst of them overruns the queues of a switch, and then so do the repeats. */
const ASKED_PER_SECOND = 5000;
/** After a pause of this script no more than what belongs to so many ticks goes out at once. */
const LARGEST_PAUSE_TICKS = 4;
/** Latencies are counted by whole milliseconds up to this, so that a report costs the same however long it took. */
const LONGEST_MS = 60_000;

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Calls back with each line of the standard input; ends the script at its end, when whoever started this is gone. */
function onLine(then: (line: string) => void): void {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', then);
  lines.on('close', () => process.exit(0));
}

function serve(settings: Settings): void {
  let accepted = 0;
  let open = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    accepted++;
    open++;
    socket.on('data', (bytes) => socket.write(bytes));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open--);
  });
  server.listen({ port: settings.port, host: '::', backlog: 4096 }, () => say({ ready: true }));
  onLine(() => say({ open, accepted } satisfies ServedReport));
}

/** One connection. Times are whole milliseconds of the monotonic clock. */
class Held {
  readonly socket: Socket;
  state: 'opening' | 'established' | 'failed' | 'died' = 'opening';
  why = '';
  port = 0;
  /** When each of the numbers without an answer was sent, the oldest first. */
  readonly waiting: number[] = [];
  next = 0;
  #expected = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.socket = socket;
  }

  send(now: number): void {
    if (this.state !== 'established' || this.waiting.length >= LARGEST_WINDOW) return;
    const bytes = Buffer.alloc(NUMBER_BYTES);
    bytes.writeUInt32BE(this.next++);
    this.waiting.push(now);
    this.socket.write(bytes);
  }

  /** Gives the time that each answer in these bytes took; `undefined` for one that is not what was sent. */
  *answers(bytes: Buffer, now: number): Generator<number | undefined> {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (; rest.length >= NUMBER_BYTES; rest = rest.subarray(NUMBER_BYTES)) {
      const sentAt = this.waiting.shift();
      yield sentAt !== undefined && rest.readUInt32BE() === this.#expected++ ? now - sentAt : undefined;
    }
    this.#rest = Buffer.from(rest);
  }
}

function hold(settings: Settings): void {
  const all: Held[] = [];
  let counts = new Uint32Array(LONGEST_MS + 1);
  let answers = 0;
  let wrong = 0;
  let openedInMs = 0;
  const begun = performance.now();

  const open = (): void => {
    const socket = connect({ host: settings.address, port: settings.port, noDelay: true });
    const held = new Held(socket);
    all.push(held);
    socket.on('connect', () => {
      held.state = 'established';
      held.port = socket.localPort ?? 0;
      openedInMs = performance.now() - begun;
      held.send(performance.now());
    });
    socket.on('data', (bytes) => {
      for (const ms of held.answers(bytes as Buffer, performance.now())) {
        if (ms === undefined) wrong++;
        else {
          answers++;
          counts[Math.min(LONGEST_MS, Math.round(ms))]!++;
        }
      }
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      held.why = error.code ?? error.message;
    });
    socket.on('close', () => {
      held.state = held.state === 'opening' ? 'failed' : 'died';
      held.why ||= 'closed by the other end';
    });
  };

  // Each tick opens its share of the connections, and sends on its share of them; each remainder is carried over.
  const owed = { opens: 0, sends: 0, asks: 0 };
  let turn = 0;
  let asked: Held[] = [];
  let lastAskedAt = 0;
  let lastAt = performance.now();
  setInterval(() => {
    const now = performance.now();
    const seconds = Math.min(now - lastAt, LARGEST_PAUSE_TICKS * TICK_MS) / 1000;
    lastAt = now;
    for (owed.opens += seconds * settings.perSecond; owed.opens >= 1; owed.opens--)
      if (all.length < settings.connections) open();
    for (owed.sends += (seconds * all.length * 1000) / settings.intervalMs; owed.sends >= 1; owed.sends--)
      all[turn++ % all.length]!.send(now);
    for (owed.asks += seconds * ASKED_PER_SECOND; owed.asks >= 1; owed.asks--) {
      if (asked.length > 0) lastAskedAt = now;
      asked.pop()?.send(now);
    }
  }, TICK_MS);

  // Numbers that were sent after the question are no part of it, however late their answers are.
  const isUnanswered = (held: Held, until: number): boolean =>
    held.state === 'established' && (held.waiting[0] ?? Number.POSITIVE_INFINITY) <= until;
  const report = (wasAsked: boolean): HeldReport => {
    const slow = performance.now() - settings.stallMs;
    const isStalled = (held: Held): boolean => isUnanswered(held, wasAsked ? Math.min(slow, lastAskedAt) : slow);
    const troubled = all.filter((held) => held.state === 'failed' || held.state === 'died' || isStalled(held));
    const result: HeldReport = {
      established: all.filter((held) => held.state === 'established').length,
      failed: all.filter((held) => held.state === 'failed').length,
      died: all.filter((held) => held.state === 'died').length,
      stalled: all.filter(isStalled).length,
      answers,
      wrong,
      answerMs: quantiles(counts),
      troubles: troubled
        .slice(0, TROUBLES)
        .map((held) => `${held.port} ${isStalled(held) ? 'stalled' : `${held.state}: ${held.why}`}`),
      openedInMs: Math.round(openedInMs),
    };
    counts = new Uint32Array(LONGEST_MS + 1);
    return result;
  };

  say({ ready: true });
  onLine((line) => {
    const word = JSON.parse(line) as { readonly wait?: 'opened' | 'answered'; readonly timeoutMs?: number };
    const until = performance.now() + (word.timeoutMs ?? 0);
    if (word.wait === 'answered') asked = [...all];
    const isSettled = (): boolean => {
      if (word.wait === 'opened')
        return all.length === settings.connections && !all.some((held) => held.state === 'opening');
      if (word.wait !== 'answered') return true;
      return asked.length === 0 && !all.some((held) => isUnanswered(held, lastAskedAt));
    };
    const look = (): void => {
      if (isSettled() || performance.now() > until) say(report(word.wait === 'answered'));
      else setTimeout(look, TICK_MS);
    };
    look();
  });
}

function quantiles(counts: Uint32Array): HeldReport['answerMs'] {
  const total = counts.reduce((sum, n) => sum + n, 0);
  const at = (share: number): number => {
    let left = Math.ceil(total * share);
    for (let ms = 0; ms < counts.length; ms++) {
      left -= counts[ms]!;
      if (left <= 0 && total > 0) return ms;
    }
    return 0;
  };
  return { median: at(0.5), p99: at(0.99), max: at(1) };
}

const [role, settings] = process.argv.slice(2);
if (role === 'serve') serve(JSON.parse(settings ?? '{}') as Settings);
else if (role === 'hold') hold(JSON.parse(settings ?? '{}') as Settings);
else process.exitCode = 2;
