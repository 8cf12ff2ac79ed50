import type { ServerResponse } from 'node:http';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { ModelIndex } from '../model/model-index.ts';
import type { ScopeKind } from '../model/objects.ts';
import type { RecordChange } from './desired-state.ts';
import { LEASED_KINDS, type LeasedKind } from './leased-records.ts';
import type { RelayedRequest, WatchMessage, WatchRequest } from './protocol.ts';
import type { Relay } from './relay.ts';
import type { Runtime } from './runtime.ts';
import { type HostScope, ScopeIndex, type ScopeStep } from './scope.ts';

/**
 * An agent that leaves so much unread is cut off; it resumes by digest, which costs only what differs. A hundred thousand learned routes are
 * 40 MB.
 */
const MOST_BUFFERED_BYTES = 64 * 1024 * 1024;
export const HEARTBEAT_MS = 5_000;
/**
 * So long after the server's start hosts are just coming back (agents try again every 5 s at least): what hosts reported (learned addresses,
 * health, neighbours), an agent still has and nobody reported again is left with it, and hosts that are not here yet count as live.
 */
const RELEARN_MS = 10_000;

interface AgentStream {
  readonly host: string;
  readonly scope: HostScope;
  readonly response: ServerResponse;
  readonly detachRelay: () => void;
  /** Commits that were sent and not reported as applied, oldest first. */
  unapplied: number[];
  /** The commit that it began with: all that the agent lacked, of whichever revisions. */
  readonly first: number;
  /** Leased records that the agent has and nobody reported yet. */
  readonly doubtful: Map<string, { readonly kind: LeasedKind; readonly id: string }>;
  /** Left unread beyond this, it is cut off: what it was sent at first does not count. */
  readonly mostBufferedBytes: number;
}

/** The watch streams of all agents: who is told what, and who has applied it. */
export class AgentStreams {
  readonly #index: ModelIndex;
  readonly #scopes: ScopeIndex;
  readonly #streams = new Map<string, AgentStream>();
  readonly #position: () => { readonly incarnation: string; readonly revision: number };
  readonly #runtime: Runtime;
  readonly #relay: Relay;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #startedMs: number;
  /** Hosts from before the server's start. */
  readonly #known: ReadonlySet<string>;
  #appliedWaiters = new Set<() => void>();

  constructor(
    index: ModelIndex,
    position: () => { readonly incarnation: string; readonly revision: number },
    runtime: Runtime,
    relay: Relay,
    clock: Clock,
    log: Log,
  ) {
    this.#index = index;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#known = new Set([...index.hosts()].map(({ id }) => id));
    this.#scopes = new ScopeIndex(index);
    this.#position = position;
    this.#runtime = runtime;
    this.#relay = relay;
    this.#log = log;
  }

  /** Answers a watch request: what the agent lacks at once, then every change. A former stream of the host ends. */
  open(hostId: string, request: WatchRequest, response: ServerResponse): void {
    this.#close(hostId);
    const { incarnation, revision } = this.#position();
    const scope = this.#scopes.attach(hostId);
    const have = request.have ?? {};
    const comparable = request.incarnation === incarnation;
    const lines = [line({ type: 'hello', incarnation, revision, host: hostId })];
    const wanted = new Set<string>();
    for (const record of scope.records()) {
      wanted.add(`${record.kind}/${record.id}`);
      if (!comparable || have[record.kind]?.[record.id] !== record.revision) lines.push(line({ type: 'put', record }));
    }
    const doubtful: AgentStream['doubtful'] = new Map();
    const isYoung = this.#isYoung;
    for (const [kind, ids] of Object.entries(have) as [ScopeKind, Readonly<Record<string, number>>][])
      for (const id of Object.keys(ids)) {
        if (wanted.has(`${kind}/${id}`)) continue;
        const isKnown = this.#index.get(kind, id) !== undefined;
        if (LEASED_KINDS.has(kind) && isYoung && !isKnown)
          doubtful.set(`${kind}/${id}`, { kind: kind as LeasedKind, id });
        else lines.push(line({ type: isKnown ? 'leave' : 'delete', kind, id }));
      }
    lines.push(line({ type: 'commit', revision }));
    const send = (message: RelayedRequest): void => void response.write(line(message));
    const detachRelay = this.#relay.attach(hostId, send);
    const text = lines.join('');
    const stream: AgentStream = {
      ...{ host: hostId, scope, response, detachRelay, unapplied: [revision], first: revision, doubtful },
      mostBufferedBytes: MOST_BUFFERED_BYTES + text.length,
    };
    this.#streams.set(hostId, stream);
    this.#runtime.connected(hostId);
    response.on('close', () => {
      if (this.#streams.get(hostId) === stream) this.#close(hostId);
    });
    response.on('error', () => response.destroy());
    response.write(text);
  }

  /** Tells every agent concerned of a transaction that the index holds already. */
  publish(revision: number, changes: readonly RecordChange[]): void {
    const texts = new Map<object, string>();
    for (const [scope, steps] of this.#scopes.apply(changes)) {
      const stream = this.#streams.get(scope.hostId);
      if (stream?.scope !== scope) continue;
      const lines = steps.map((step) => lineOf(step, texts));
      lines.push(line({ type: 'commit', revision }));
      // What hosts report by themselves is no transaction of the store: nobody waits for them to be applied.
      if (changes.some(({ kind }) => !LEASED_KINDS.has(kind))) stream.unapplied.push(revision);
      for (const step of steps)
        if (step.type === 'put') stream.doubtful.delete(`${step.record.kind}/${step.record.id}`);
      this.#send(stream, lines.join(''));
    }
    if (this.#appliedWaiters.size > 0) this.#wakeWaiters();
  }

  /** Every `HEARTBEAT_MS`. */
  heartbeat(): void {
    const { revision } = this.#position();
    const isYoung = this.#isYoung;
    for (const stream of this.#streams.values()) {
      if (!isYoung && stream.doubtful.size > 0) this.#settleDoubtful(stream, revision);
      this.#send(stream, line({ type: 'progress', revision }));
    }
    // Who is awaited no more tells nothing.
    this.#wakeWaiters();
  }

  get #isYoung(): boolean {
    return this.#clock.monotonicMs() - this.#startedMs < RELEARN_MS;
  }

  #settleDoubtful(stream: AgentStream, revision: number): void {
    const lines = [...stream.doubtful.values()].flatMap(({ kind, id }) => {
      const record = this.#index.get(kind, id);
      return record && stream.scope.contains(record) ? [] : [line({ type: 'delete', kind, id })];
    });
    stream.doubtful.clear();
    if (lines.length > 0) this.#send(stream, `${lines.join('')}${line({ type: 'commit', revision })}`);
  }

  /** The host's agent says that everything up to the revision is in its switch. */
  applied(hostId: string, revision: number): void {
    const stream = this.#streams.get(hostId);
    if (stream) stream.unapplied = stream.unapplied.filter((sent) => sent > revision);
    this.#wakeWaiters();
  }

  /** Routers that the ports of a host, connected or not, are behind. */
  routersBehind(hostId: string): ReadonlySet<string> {
    return this.#scopes.routersBehind(hostId);
  }

  /** Is the router one that what is on the switch reaches in full? */
  isBehind(router: string, switchId: string): boolean {
    return this.#scopes.routersBeyond([switchId]).has(router);
  }

  /** The server is just back, and the host's agent, which it knows from before, has had no time to come back to it. */
  isAwaited(hostId: string): boolean {
    return this.#isYoung && this.#known.has(hostId) && this.#runtime.host(hostId) === undefined;
  }

  isConnected(hostId: string): boolean {
    return this.#streams.has(hostId);
  }

  /** The host's switch is as the model was at this revision. */
  appliedRevision(hostId: string): number {
    const stream = this.#streams.get(hostId);
    const reported = this.#runtime.host(hostId)?.applied ?? 0;
    if (!stream) return reported;
    const [oldest] = stream.unapplied;
    // Nothing outstanding: nothing since concerned the host.
    if (oldest === undefined) return this.#position().revision;
    return oldest === stream.first ? reported : Math.max(reported, oldest - 1);
  }

  /** Resolves whenever a host applied something or left, and on abort. */
  nextApplied(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#appliedWaiters.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#appliedWaiters.add(wake);
      signal.addEventListener('abort', wake, { once: true });
      if (signal.aborted) wake();
    });
  }

  closeHost(hostId: string): void {
    this.#close(hostId);
  }

  closeAll(): void {
    for (const hostId of [...this.#streams.keys()]) this.#close(hostId);
  }

  #wakeWaiters(): void {
    const waiters = this.#appliedWaiters;
    this.#appliedWaiters = new Set();
    for (const wake of waiters) wake();
  }

  #send(stream: AgentStream, text: string): void {
    stream.response.write(text);
    if (stream.response.writableLength <= stream.mostBufferedBytes) return;
    this.#log.warn('an agent does not read its stream; cut off, so that it resumes', { host: stream.host });
    this.#close(stream.host);
  }

  #close(hostId: string): void {
    const stream = this.#streams.get(hostId);
    if (!stream) return;
    this.#streams.delete(hostId);
    this.#scopes.detach(hostId);
    stream.detachRelay();
    stream.response.destroy();
    this.#wakeWaiters();
  }
}

function line(message: WatchMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/** The same record goes to many hosts: it is put into text once. */
function lineOf(step: ScopeStep, texts: Map<object, string>): string {
  if (step.type !== 'put') return line(step);
  const known = texts.get(step.record);
  if (known !== undefined) return known;
  const text = line(step);
  texts.set(step.record, text);
  return text;
}
