/**
 * The dependency graph: who reads what. Nodes hold each other by reference (no ids, no lookups); the way back from a source
 * to its readers is one pointer for one reader, an array for a few, a set for many.
 */

/** Up to date. */
export const CLEAN = 0;
/** Something further up may have changed: the sources have to be asked. */
export const CHECK = 1;
/** Something that it reads has changed: it has to run. */
export const DIRTY = 2;
/** Gone. */
export const DEAD = 3;
export type State = typeof CLEAN | typeof CHECK | typeof DIRTY | typeof DEAD;

const MANY = 16;
const NONE: readonly Source[] = [];

/** Something that can be read: a record, a field, a group, a cell. */
export abstract class Source {
  readers: undefined | Observer | Observer[] | Set<Observer> = undefined;
  /** Scratch for marking sets of nodes without allocating them. */
  stamp = 0;
  abstract readonly label: string;
}

/** Something that reads: a cell or a unit. */
export abstract class Observer extends Source {
  /** What the last run read, in the order of first reading, each once. */
  sources: readonly Source[] = NONE;
  state: State = DIRTY;
  /** Being checked or run right now. */
  active = false;
  /** Whether it is brought up to date for its own sake (a unit), and not only when read (a cell). */
  abstract readonly isRoot: boolean;
}

export function hasReader(source: Source, isWanted: (reader: Observer) => boolean): boolean {
  const { readers } = source;
  if (readers === undefined) return false;
  if (readers instanceof Observer) return isWanted(readers);
  for (const reader of readers) if (isWanted(reader)) return true;
  return false;
}

export function forEachReader(source: Source, visit: (reader: Observer) => void): void {
  const { readers } = source;
  if (readers === undefined) return;
  if (readers instanceof Observer) visit(readers);
  else for (const reader of readers) visit(reader);
}

/** The reader must not be there yet. */
function addReader(source: Source, reader: Observer): void {
  const { readers } = source;
  if (readers === undefined) source.readers = reader;
  else if (readers instanceof Observer) source.readers = [readers, reader];
  else if (readers instanceof Set) readers.add(reader);
  // Not `push`: it would leave room for 17 more, in most of the arrays that there are.
  else if (readers.length < MANY) source.readers = readers.concat(reader);
  else source.readers = new Set(readers).add(reader);
}

function removeReader(source: Source, reader: Observer): void {
  const { readers } = source;
  if (readers === reader) source.readers = undefined;
  else if (readers instanceof Set) {
    readers.delete(reader);
    if (readers.size === 0) source.readers = undefined;
  } else if (Array.isArray(readers)) {
    const at = readers.indexOf(reader);
    if (at < 0) return;
    readers[at] = readers.at(-1)!;
    readers.pop();
    if (readers.length === 0) source.readers = undefined;
  }
}

export class Graph {
  /** The roots that are not clean. */
  readonly queue: Observer[] = [];
  /** Sources that lost a reader, and may be of no use any more. */
  readonly orphans: Source[] = [];
  #stamp = 0;

  nextStamp(): number {
    return ++this.#stamp;
  }

  /** A source changed: whoever reads it has to run, whoever reads those has to check. */
  changed(source: Source): void {
    forEachReader(source, (reader) => {
      if (reader.state === CLEAN) this.#spread(reader);
      if (reader.state !== DEAD) reader.state = DIRTY;
    });
  }

  /**
   * A cell changed while the graph is being brought up to date. Its readers were told to check when the change began; one
   * that is clean by now is in a cycle with the cell and has seen it fail.
   */
  recomputed(cell: Observer): void {
    forEachReader(cell, (reader) => {
      if (reader.state === CHECK) reader.state = DIRTY;
    });
  }

  /** The readers of a clean observer that is about to be none, all the way down; without recursion, chains may be long. */
  #spread(from: Observer): void {
    const pending = [from];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (next.isRoot) this.queue.push(next);
      forEachReader(next, (reader) => {
        if (reader.state !== CLEAN) return;
        reader.state = CHECK;
        pending.push(reader);
      });
    }
  }

  /** Replaces what an observer reads; `read` may name a source more than once. */
  link(observer: Observer, read: readonly Source[]): void {
    const before = observer.sources;
    if (sameSources(before, read)) return;
    const isRead = this.nextStamp();
    let distinct = 0;
    for (const source of read) {
      if (source.stamp === isRead) continue;
      source.stamp = isRead;
      distinct++;
    }
    const wasRead = this.nextStamp();
    for (const source of before) {
      if (source.stamp === isRead) source.stamp = wasRead;
      else this.#drop(source, observer);
    }
    const linked = this.nextStamp();
    const sources: Source[] = distinct === read.length ? (read as Source[]) : [];
    for (const source of read) {
      if (source.stamp === linked) continue;
      if (source.stamp !== wasRead) addReader(source, observer);
      source.stamp = linked;
      if (sources !== read) sources.push(source);
    }
    observer.sources = sources;
  }

  /** The observer is gone. */
  unlink(observer: Observer): void {
    for (const source of observer.sources) this.#drop(source, observer);
    observer.sources = NONE;
    observer.state = DEAD;
  }

  #drop(source: Source, reader: Observer): void {
    removeReader(source, reader);
    this.orphans.push(source);
  }
}

function sameSources(a: readonly Source[], b: readonly Source[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
