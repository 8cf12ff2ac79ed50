import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { WeftError } from '../base/errors.ts';

/** A script at one end of a conversation between two places; it answers with lines of JSON. */
export class ScriptEnd {
  readonly #child: ChildProcess;
  readonly #what: string;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(child: ChildProcess, what: string) {
    this.#child = child;
    this.#what = what;
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
    child.stdin!.on('error', () => {}); // it has ended: its next answer says so
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** Whether it can still be asked. */
  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async answer(): Promise<object> {
    const { value, done } = await this.#lines.next();
    if (done) throw new WeftError('refused', `${this.#what} ended: ${this.#errors.trim()}`);
    return JSON.parse(value) as object;
  }

  /** Whether it answers in time; the answer itself says no more. */
  async answerWithin(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    });
    const inTime = await Promise.race([this.answer().then(() => true), late]);
    clearTimeout(timer);
    return inTime;
  }

  /** Tells it something; gives the first answer that has this member. */
  async ask(line: string, member: string): Promise<object> {
    this.#child.stdin!.write(`${line}\n`);
    for (;;) {
      const answer = await this.answer();
      if (member in answer) return answer;
    }
  }

  /** Its standard input ends, and so does it. */
  end(): void {
    this.#child.stdin!.end();
  }
}
