import { qualifiedName } from '../model/describe.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { Notice } from './bindings.ts';
import type { ReportedSession } from './protocol.ts';

/** Of a session that flaps it is told no more often that it ended. */
const AGAIN_MS = 60_000;
/** Who begins takes a moment. */
const BEGINNING_MS = 10_000;

interface Known {
  readonly host: string;
  readonly session: ReportedSession;
  /** When this server first heard of it. */
  readonly sinceMs: number;
  /** What people believe: it is up, or not; `nothing` was told of one that never was up. */
  readonly told: 'up' | 'down' | 'nothing';
  /** When it was told last that it is down, and that its peer tells a default route that is refused. */
  readonly toldMs: number;
  readonly toldDefaultMs: number;
}

/**
 * Events about BGP sessions: those that ended, came back after that was told, or do not come up, and default routes that are refused. One that flaps is told to have ended once a
 * minute at most, and what is so when the minute is over is told then. `nowMs`: by a clock that does not step.
 */
export class SessionNews {
  /** By host and peer. */
  readonly #known = new Map<string, Known>();

  /** All sessions of a host, as it says they are now. */
  take(index: ModelIndex, host: string, sessions: readonly ReportedSession[], nowMs: number): readonly Notice[] {
    const keys = new Set(sessions.map(({ peer }) => `${host} ${peer}`));
    for (const [key, known] of this.#known) if (known.host === host && !keys.has(key)) this.#known.delete(key);
    return sessions.flatMap((session) => {
      const key = `${host} ${session.peer}`;
      const before = this.#known.get(key);
      const told = session.state === 'established' ? 'up' : 'nothing';
      const never = Number.NEGATIVE_INFINITY;
      const known = before ?? { host, sinceMs: nowMs, told, toldMs: never, toldDefaultMs: never };
      const isDefaultNew =
        session.refusesDefault === true &&
        before !== undefined &&
        before.session.refusesDefault !== true &&
        nowMs - before.toldDefaultMs >= AGAIN_MS;
      const toldDefaultMs = isDefaultNew ? nowMs : known.toldDefaultMs;
      return [
        ...this.#judge(index, key, { ...known, session, toldDefaultMs }, nowMs),
        ...(isDefaultNew ? refusedDefault(index, host, session.peer) : []),
      ];
    });
  }

  /** Once a second: minutes are over. */
  tick(index: ModelIndex, nowMs: number): readonly Notice[] {
    return [...this.#known].flatMap(([key, known]) => this.#judge(index, key, known, nowMs));
  }

  #judge(index: ModelIndex, key: string, known: Known, nowMs: number): readonly Notice[] {
    const { host, session, sinceMs, told, toldMs } = known;
    this.#known.set(key, known);
    const peer = index.get('bgpPeer', session.peer);
    const isUp = session.state === 'established';
    if (!peer || !index.get('host', host)) {
      this.#known.delete(key);
      return [];
    }
    if (isUp) {
      this.#known.set(key, { ...known, told: 'up' });
      if (told !== 'down') return [];
    } else {
      const isTime = told === 'nothing' ? nowMs - sinceMs >= BEGINNING_MS : nowMs - toldMs >= AGAIN_MS;
      if (told === 'down' || !peer.adminUp || !isTime) return [];
      this.#known.set(key, { ...known, told: 'down', toldMs: nowMs });
    }
    const where = `session with ${qualifiedName(index, peer)} (${peer.address}) at ${index.get('host', host)?.name ?? host}`;
    const why = session.problem === undefined ? '' : `: ${session.problem}`;
    const text = isUp
      ? `the ${where} is up again`
      : told === 'nothing'
        ? `the ${where} does not come up${why}`
        : `the ${where} ended${why}`;
    return [{ level: isUp ? 'info' : 'warning', kind: 'bgpPeer', id: session.peer, text }];
  }
}

function refusedDefault(index: ModelIndex, host: string, id: string): readonly Notice[] {
  const peer = index.get('bgpPeer', id);
  if (!peer) return [];
  const where = index.get('host', host)?.name ?? host;
  const text = `${qualifiedName(index, peer)} (${peer.address}) tells a default route, which its accept refuses, at ${where}`;
  return [{ level: 'warning', kind: 'bgpPeer', id, text }];
}
