import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { ScopeRecord } from '../model/objects.ts';
import type { ScopeChange } from './events.ts';

/** What is appended is written within this time, all of it at once: the disk is not in the way of the flows of a change. */
const GATHER_MS = 10;
/** After a write that failed all is written again so often, whether anything changes or not. */
const RETRY_MS = 10_000;
/** Written first in the journal; a journal of another version is not read (the server sends everything again). */
const VERSION = 1;

type Line =
  | { readonly v: number; readonly incarnation?: string; readonly host?: string }
  | { readonly put: ScopeRecord }
  | { readonly del: [kind: string, id: string] }
  /** All lines since the last one of these belong together. */
  | { readonly commit: true };

const COMMIT = '{"commit":true}\n';

/**
 * The agent's memory across restarts: a journal of what the scope holds, rewritten when it has grown to twice what it
 * says. A torn tail (power loss) is cut at the last commit. Losing the file loses nothing but the ability to start
 * without the server.
 */
export class LocalState {
  readonly #path: string;
  #file: number | undefined;
  #lines = 0;
  #linesWhenWritten = 0;
  /** Transactions that are not written yet, and what the scope holds with them. */
  #due: (readonly ScopeChange[])[] = [];
  #dueLines = 0;
  #everything: () => Iterable<ScopeRecord> = () => [];
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  readonly #retryMs: number;
  readonly #setProblem: (problem: string | undefined) => void;
  incarnation: string | undefined;
  host: string | undefined;

  /** `setProblem`: what stopped the last write, if anything did. A full disk must not stop the network. */
  constructor(directory: string, setProblem: (problem: string | undefined) => void, retryMs = RETRY_MS) {
    this.#setProblem = setProblem;
    this.#retryMs = retryMs;
    mkdirSync(directory, { recursive: true, mode: 0o750 });
    this.#path = join(directory, 'scope.jsonl');
  }

  load(): ScopeRecord[] {
    this.flush();
    const records = new Map<string, ScopeRecord>();
    if (!existsSync(this.#path)) return [];
    let group: Line[] = [];
    for (const text of readFileSync(this.#path, 'utf8').split('\n')) {
      let line: Line;
      try {
        line = JSON.parse(text) as Line;
      } catch {
        break;
      }
      if (!isLine(line)) break;
      if ('v' in line) {
        if (line.v !== VERSION) return [];
        this.incarnation = line.incarnation ?? this.incarnation;
        this.host = line.host ?? this.host;
      } else if ('commit' in line) {
        for (const entry of group) {
          if ('put' in entry) records.set(`${entry.put.kind}/${entry.put.id}`, entry.put);
          else if ('del' in entry) records.delete(entry.del.join('/'));
        }
        group = [];
      } else group.push(line);
    }
    return [...records.values()];
  }

  /** Appends one transaction, in a moment; `everything` is asked for when the journal is rewritten. */
  append(changes: readonly ScopeChange[], everything: () => Iterable<ScopeRecord>): void {
    this.#due.push(changes);
    this.#dueLines += changes.length + 1;
    this.#everything = everything;
    this.#timer ??= setTimeout(() => this.flush(), GATHER_MS).unref();
  }

  /** Writes what was appended. */
  flush(): void {
    const [due, lines] = [this.#due, this.#dueLines];
    this.#forgetDue();
    if (due.length === 0) return;
    try {
      if (this.#file === undefined || this.#lines + lines > 1000 + 2 * this.#linesWhenWritten) {
        this.rewrite(this.#everything);
        return;
      }
      // All of it, or it throws: `writeSync` may write a part, as a disk that is just full takes it.
      writeFileSync(this.#file, due.flatMap((changes) => [...changes.map(lineOf), COMMIT]).join(''));
      this.#lines += lines;
      this.#setProblem(undefined);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** All that there is, at once: what was appended and is not written yet is among it. */
  rewrite(everything: () => Iterable<ScopeRecord>): void {
    this.#forgetDue();
    this.#everything = everything;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    try {
      const lines = [`${JSON.stringify({ v: VERSION, incarnation: this.incarnation, host: this.host })}\n`];
      for (const record of everything()) lines.push(`${JSON.stringify({ put: record })}\n`);
      lines.push(COMMIT);
      const temporary = `${this.#path}.new`;
      const file = openSync(temporary, 'w', 0o640);
      try {
        writeFileSync(file, lines.join(''));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, this.#path);
      this.#letGo();
      this.#file = openSync(this.#path, 'a');
      this.#lines = lines.length;
      this.#linesWhenWritten = lines.length;
      this.#setProblem(undefined);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Writes what was appended, and lets the file go. */
  close(): void {
    this.flush();
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#letGo();
  }

  #letGo(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) closeSync(file);
  }

  #forgetDue(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#due = [];
    this.#dueLines = 0;
  }

  #failed(error: unknown): void {
    this.#setProblem(`cannot write ${this.#path}: ${error instanceof Error ? error.message : String(error)}`);
    this.#letGo(); // the next append tries a whole rewrite, or the timer does
    this.#retry ??= setTimeout(() => this.rewrite(this.#everything), this.#retryMs).unref();
  }
}

/** A file that somebody else wrote to, or that a disk garbled, is read up to there. */
function isLine(line: unknown): line is Line {
  if (typeof line !== 'object' || line === null) return false;
  if ('v' in line || 'commit' in line) return true;
  if ('del' in line) return Array.isArray(line.del);
  if (!('put' in line) || typeof line.put !== 'object' || line.put === null) return false;
  const { kind, id } = line.put as Partial<ScopeRecord>;
  return typeof kind === 'string' && typeof id === 'string';
}

function lineOf(change: ScopeChange): string {
  return `${JSON.stringify(change.op === 'put' ? { put: change.record } : { del: [change.record.kind, change.record.id] })}\n`;
}
