/** What people should see of what happened, newest kept: a ring in memory, not a log file. */
export interface WeftEvent {
  readonly sequence: number;
  readonly atMs: number;
  readonly level: 'info' | 'warning' | 'error';
  readonly about: { readonly kind: string; readonly id: string };
  /** The host that reported it, as an id; absent: the server itself. */
  readonly host?: string;
  readonly text: string;
}

const CAPACITY = 2000;
const LONGEST_TEXT = 2000;

export class EventRing {
  #events: WeftEvent[] = [];
  #sequence = 0;

  add(event: Omit<WeftEvent, 'sequence'>): void {
    this.#events.push({ ...event, text: event.text.slice(0, LONGEST_TEXT), sequence: ++this.#sequence });
    if (this.#events.length > 2 * CAPACITY) this.#events = this.#events.slice(-CAPACITY);
  }

  /** In order; those after a sequence number, of a level, about an object. */
  list(wanted: {
    readonly after?: number;
    readonly level?: string;
    readonly id?: string;
    readonly limit?: number;
  }): readonly WeftEvent[] {
    const { after = 0, level, id, limit = CAPACITY } = wanted;
    return this.#events
      .filter(
        (e) =>
          e.sequence > after && (level === undefined || e.level === level) && (id === undefined || e.about.id === id),
      )
      .slice(-Math.min(limit, CAPACITY));
  }
}
