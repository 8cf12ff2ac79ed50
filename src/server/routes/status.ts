import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { WeftError } from '../../base/errors.ts';
import { KIND_NAMES, type KindName } from '../../model/kind.ts';
import { isObject } from '../../model/relations.ts';
import { HEARTBEAT_MS } from '../agent-streams.ts';
import { bgpProblems, MOST_PROBLEMS } from '../bgp.ts';
import type { ServerContext } from '../context.ts';
import type { Commit } from '../desired-state.ts';
import { leaseTroubleText } from '../lease-log.ts';
import { nextHopProblems } from '../next-hops.ts';
import { outsideProblems } from '../outsides.ts';
import type { StatusProblem } from '../present.ts';
import { parseQuery } from './query.ts';

export const eventsQuerySchema = z.object({
  /** A sequence number. */
  after: z.coerce.number().int().min(0).optional(),
  level: z.enum(['info', 'warning', 'error']).optional(),
  /** Of the object that the event is about. */
  id: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(2000).optional(),
});
export const syncQuerySchema = z.object({
  /** Default: the newest. */
  revision: z.coerce.number().int().min(0).optional(),
  timeoutMs: z.coerce.number().int().min(0).max(600_000).default(30_000),
});
export const watchQuerySchema = z.object({
  /** With commas; default: all. */
  kinds: z.string().optional(),
  /** Begin behind this revision; absent: with all objects as they are. */
  after: z.coerce.number().int().min(0).optional(),
});

const MOST_BUFFERED_BYTES = 32 * 1024 * 1024;

/** What a watch of people says, a line each. */
export type PeopleWatchMessage =
  | { readonly type: 'put'; readonly revision: number; readonly object: Record<string, unknown> }
  | {
      readonly type: 'delete';
      readonly revision: number;
      readonly kind: KindName;
      readonly id: string;
      readonly name?: string;
    }
  /** Also the heartbeat. */
  | { readonly type: 'revision'; readonly revision: number };

/** Status, events, sync, and the watch for people. */
export function addStatusRoutes(app: FastifyInstance, context: ServerContext): void {
  const { state, events } = context;
  app.get('/v1/events', async (request) => {
    const query = parseQuery(eventsQuerySchema, request.query);
    const wanted = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
    return { items: events.list(wanted) };
  });
  app.get('/v1/status', async () => statusOf(context));
  app.get('/v1/sync', async (request, reply) => {
    const { revision = state.revision, timeoutMs } = parseQuery(syncQuerySchema, request.query);
    if (revision > state.revision)
      throw new WeftError('invalid', `revision ${revision} is not written yet; the newest is ${state.revision}`);
    const gone = new AbortController();
    reply.raw.on('close', () => gone.abort());
    return waitForSync(context, revision, timeoutMs, gone.signal);
  });
  app.get('/v1/watch', async (request, reply) => {
    const query = parseQuery(watchQuerySchema, request.query);
    const kinds = parseKinds(query.kinds);
    await streamToPeople(context, kinds, query.after, (head) => {
      reply.hijack();
      reply.raw.writeHead(200, head);
      return reply.raw;
    });
  });
}

function parseKinds(text: string | undefined): ReadonlySet<KindName> {
  if (text === undefined || text === '') return new Set(KIND_NAMES);
  const kinds = text.split(',');
  for (const kind of kinds)
    if (!KIND_NAMES.includes(kind as KindName))
      throw new WeftError('invalid', `there is no kind "${kind}"; one of ${KIND_NAMES.join(', ')}`);
  return new Set(kinds as KindName[]);
}

/** Everything at a glance: the verdict is the list of problems, empty when all is well. */
function statusOf({ state, present, reports, flows, startedMs, clock }: ServerContext): object {
  const { index } = state;
  const hosts = [...index.hosts()].map((host) => ({
    ...{ id: host.id, name: host.name, ...present.hostStatus(host) },
    ...(host.drain ? { drain: true } : {}),
  }));
  const ports: Record<string, number> = {};
  const problems: StatusProblem[] = [];
  for (const host of hosts) {
    const about = { kind: 'host', id: host.id, name: host.name };
    if (host.state === 'unknown') problems.push({ about, text: `host ${host.name}: no agent has connected` });
    for (const text of host.problems) problems.push({ about, text: `host ${host.name}: ${text}` });
  }
  for (const port of index.all('port')) {
    const status = present.portStatus(port);
    ports[status.state] = (ports[status.state] ?? 0) + 1;
    for (const text of status.problems)
      if (problems.length < 1000)
        problems.push({ about: { kind: 'port', id: port.id, name: port.name }, text: `port ${port.name}: ${text}` });
  }
  problems.push(...bgpProblems(index, present, clock.now()).slice(0, MOST_PROBLEMS));
  problems.push(...nextHopProblems(index, present.deadHosts()).slice(0, 1000));
  problems.push(...reports.shortages.problems(index, clock.monotonicMs()).slice(0, 1000));
  problems.push(...outsideProblems(index, present));
  problems.push(...reports.gateways.problems().slice(0, 1000));
  problems.push(...reports.vtepEnds.problems().slice(0, 1000));
  const { trouble } = flows.leases;
  for (const text of [...flows.problems, ...(trouble === undefined ? [] : [leaseTroubleText(trouble)])])
    problems.push({ about: { kind: 'server', id: 'flows', name: 'flow database' }, text });
  const objects = Object.fromEntries(KIND_NAMES.map((kind) => [kind, index.count(kind)]));
  return {
    server: {
      incarnation: state.store.incarnation,
      revision: state.revision,
      uptimeMs: Math.round(clock.monotonicMs() - startedMs),
      /** Hosts compare their clocks with it. */
      nowMs: clock.now(),
      memoryBytes: process.memoryUsage().rss,
      node: process.version,
    },
    objects,
    hosts,
    ports,
    problems,
  };
}

/** Waits until every live host that the transactions up to `revision` concern has applied them, also those that are just coming back. */
async function waitForSync(
  { state, runtime, streams, signal }: ServerContext,
  revision: number,
  timeoutMs: number,
  gone: AbortSignal,
): Promise<object> {
  const deadline = AbortSignal.any([AbortSignal.timeout(timeoutMs), signal, gone]);
  for (;;) {
    const behind = [...state.index.hosts()].filter(
      ({ id }) => (runtime.host(id)?.isAlive || streams.isAwaited(id)) && streams.appliedRevision(id) < revision,
    );
    const waitingFor = behind.map((host) => host.name);
    if (behind.length === 0 || deadline.aborted) return { revision, isSynced: behind.length === 0, waitingFor };
    await streams.nextApplied(deadline);
  }
}

async function streamToPeople(
  context: ServerContext,
  kinds: ReadonlySet<KindName>,
  after: number | undefined,
  begin: (head: Record<string, string>) => ServerResponse,
): Promise<void> {
  const { state, present, signal } = context;
  const lines: string[] = [];
  const say = (message: PeopleWatchMessage): void => void lines.push(`${JSON.stringify(message)}\n`);
  const tell = ({ revision, changes }: Commit): void => {
    for (const { kind, id, before, after: now } of changes) {
      if (!kinds.has(kind as KindName)) continue;
      if (now && isObject(now)) say({ type: 'put', revision, object: present.show(now, true) });
      else if (!now) {
        const name = before && 'name' in before ? { name: before.name } : {};
        say({ type: 'delete', revision, kind: kind as KindName, id, ...name });
      }
    }
    say({ type: 'revision', revision });
  };
  if (after === undefined) {
    for (const kind of KIND_NAMES)
      if (kinds.has(kind))
        for (const object of state.index.all(kind))
          say({ type: 'put', revision: object.revision, object: present.show(object, true) });
    say({ type: 'revision', revision: state.revision });
  } else {
    if (after > state.revision)
      throw new WeftError(
        'compacted',
        `revision ${after} is not of this store, whose newest is ${state.revision} (was it restored?): list everything again`,
      );
    for (const commit of await state.replay(after)) tell(commit);
  }
  const response = begin({ 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  let mostBufferedBytes: number | undefined;
  // Once it is durable: what a crash took back is not in the log of which a later watch with `after` is told.
  const flush = (): void => {
    const text = lines.splice(0).join('');
    state.durable().then(
      () => {
        if (response.writableEnded || response.destroyed) return;
        response.write(text);
        // Somebody who stopped reading (a suspended terminal) resumes with `after`. What is told at first does not count.
        mostBufferedBytes ??= MOST_BUFFERED_BYTES + Buffer.byteLength(text);
        if (response.writableLength > mostBufferedBytes) response.destroy();
      },
      () => response.destroy(),
    );
  };
  flush();
  const stop = state.onCommit((commit) => {
    tell(commit);
    flush();
  });
  const beat = setInterval(() => {
    say({ type: 'revision', revision: state.revision });
    flush();
  }, HEARTBEAT_MS);
  const end = (): void => {
    stop();
    clearInterval(beat);
    response.end();
  };
  signal.addEventListener('abort', end, { once: true });
  response.on('close', () => {
    signal.removeEventListener('abort', end);
    end();
  });
}
