import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { WeftError } from '../../base/errors.ts';
import {
  type ConnectionFilter,
  DIRECTIONS,
  type Holder,
  type StoredConnection,
} from '../../flow-database/flow-store.ts';
import { describe, qualifiedName } from '../../model/describe.ts';
import { KIND_NAMES, type KindName } from '../../model/kind.ts';
import { cidrSchema, idSchema, ipSchema } from '../../model/kinds/common.ts';
import type { ModelIndex } from '../../model/model-index.ts';
import { problemsOfZod } from '../../model/parse.ts';
import { problemsError } from '../../model/problem.ts';
import { HEARTBEAT_MS } from '../agent-streams.ts';
import { allowers } from '../allowed-by.ts';
import type { ServerContext } from '../context.ts';
import { requireObject, requireWhole } from '../mutations.ts';
import { type ConnectionsReport, MOST_CONNECTIONS_IN_REPORT } from '../protocol.ts';
import { AGENT_ROUTE } from './agents.ts';
import { parseQuery } from './query.ts';

const numberSchema = z.coerce.number().int().min(0).max(65_535);
/** Those that Open vSwitch has names for (`ct_dpif_format_ipproto` of lib/ct-dpif.c) are stored by them, others by their number (IANA). */
const PROTOCOLS: Readonly<Record<string, number>> = {
  ...{ tcp: 6, udp: 17, icmp: 1, icmpv6: 58, sctp: 132, igmp: 2, udplite: 136, dccp: 33 },
};
const protocolSchema = z
  .string()
  .refine(isProtocol, `wanted is one of ${Object.keys(PROTOCOLS).join(', ')}, or another's number`);
export const flowWatchQuerySchema = z.object({
  /** By name, `tenant/name` or id. */
  port: z.string().optional(),
  tenant: z.string().optional(),
  host: z.string().optional(),
  /** Any of the connection's: as the workload sees it, or translated. */
  address: ipSchema.optional(),
  protocol: protocolSchema.optional(),
  /** A CIDR that has any of its addresses. */
  network: cidrSchema.optional(),
  /** That translates it: by name, `tenant/name` or id. */
  router: z.string().optional(),
  /** `established`, `syn-sent`, …; TCP and SCTP only. */
  state: z.string().max(32).optional(),
});
export const flowsQuerySchema = flowWatchQuerySchema.extend({
  limit: z.coerce.number().int().min(1).max(100_000).default(1000),
});
export const natQuerySchema = z.object({
  address: ipSchema,
  port: numberSchema.optional(),
  protocol: protocolSchema.optional(),
  /** Milliseconds since the epoch, or as in RFC 3339; default: now. */
  at: z.string().optional(),
});
export const refusedQuerySchema = z.object({ tenant: z.string().optional() });

const end = z.object({ address: ipSchema, port: numberSchema.optional() });
const count = z.number().min(0);
const reportSchema = z.object({
  epoch: count,
  put: z
    .array(
      z.object({
        key: z.string().min(1).max(300),
        port: idSchema,
        direction: z.enum(DIRECTIONS),
        protocol: z.string().min(1).max(16),
        ...{ from: end, to: end, seenAs: end.optional(), asked: end.optional(), router: idSchema.optional() },
        state: z.string().max(32).optional(),
        ...{ packets: count.optional(), bytes: count.optional(), sinceMs: count },
      }),
    )
    .max(MOST_CONNECTIONS_IN_REPORT),
  gone: z.array(z.string().max(300)).max(MOST_CONNECTIONS_IN_REPORT),
  isWhole: z.boolean().optional(),
});

function isProtocol(text: string): boolean {
  const isNumber = /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) <= 255;
  return Object.hasOwn(PROTOCOLS, text) || (isNumber && !Object.values(PROTOCOLS).includes(Number(text)));
}

/** A connection as people see it: what it refers to by name too. */
export type ShownConnection = StoredConnection & {
  /** The port that has the other end's address, where it is one of the same tenant. */
  readonly peer?: string;
  /** The rule of the port's security groups that allows it now (../allowed-by.ts); null: none does any more. Absent: it has no groups. */
  readonly allowedBy?: string | null;
};
export type FlowWatchMessage =
  | { readonly type: 'put'; readonly connection: ShownConnection }
  | { readonly type: 'gone'; readonly host: string; readonly key: string }
  /** The heartbeat. */
  | { readonly type: 'alive' };
export interface NatAnswer {
  readonly atMs: number;
  readonly holders: readonly Holder[];
  readonly sinceMs: number;
}
export interface RefusingRule {
  readonly rule: string;
  readonly action: string;
  readonly packets: number;
  readonly bytes: number;
}

/** Packets that ended on a host since its agent started. `about`: the object that has the limit or the check, where one has. */
export interface ShownDrop {
  readonly host: string;
  readonly reason: string;
  readonly about?: string;
  readonly packets: number;
  readonly bytes: number;
}

/** The flow database: what agents tell, and what people ask. */
export function addFlowRoutes(app: FastifyInstance, context: ServerContext): void {
  const { state, flows } = context;
  const { index } = state;

  app.post<{ Params: { ref: string } }>('/v1/hosts/:ref/connections', { config: AGENT_ROUTE }, async (request) => {
    const host = requireWhole(index, 'host', request.params.ref);
    const parsed = reportSchema.safeParse(request.body);
    if (!parsed.success)
      throw problemsError(problemsOfZod(parsed.error, 'connections', Object.keys(reportSchema.shape)).slice(0, 50));
    return await flows.take(host.id, parsed.data as ConnectionsReport);
  });

  app.get('/v1/flows', async (request) => {
    const { limit, ...wanted } = parseQuery(flowsQuerySchema, request.query);
    const found = await flows.list(filterOf(index, wanted), limit + 1);
    const items = found.slice(0, limit).map(shower(index));
    return { items, isMore: found.length > limit };
  });
  app.get('/v1/flows/watch', async (request, reply) => {
    const filter = filterOf(index, parseQuery(flowWatchQuerySchema, request.query));
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    follow(context, filter, reply.raw);
  });
  app.get('/v1/flows/nat', async (request) => {
    const { at, ...question } = parseQuery(natQuerySchema, request.query);
    const atMs = at === undefined ? context.clock.now() : parseTime(at);
    return { atMs, ...(await flows.whoHeld({ ...question, atMs })) } satisfies NatAnswer;
  });
  app.get('/v1/flows/refused', async (request) => {
    const { tenant } = parseQuery(refusedQuerySchema, request.query);
    const owner = tenant === undefined ? undefined : requireObject(index, 'tenant', tenant).id;
    const items: RefusingRule[] = [];
    for (const rule of index.all('rule')) {
      if ((rule.action !== 'drop' && rule.action !== 'reject') || (owner !== undefined && rule.tenant !== owner))
        continue;
      const { packets, bytes } = context.runtime.ruleTotals(rule.id);
      if (packets > 0) items.push({ rule: qualifiedName(index, rule), action: rule.action, packets, bytes });
    }
    return { items: items.sort((a, b) => b.packets - a.packets) };
  });
  app.get('/v1/flows/drops', async () => {
    const items = [...index.hosts()].flatMap(({ id, name }) =>
      Object.entries(context.runtime.dropsAt(id)).flatMap(([what, count]): ShownDrop[] => {
        const [reason, named] = what.split(' ') as [string, string | undefined];
        const [kind, about] = named?.split('/') ?? [];
        const object = KIND_NAMES.some((each) => each === kind) ? index.get(kind as KindName, about!) : undefined;
        return [{ host: name, reason, ...(object === undefined ? {} : { about: describe(index, object) }), ...count }];
      }),
    );
    return { items: items.sort((a, b) => b.packets - a.packets) };
  });
}

/** Names become ids. Throws `not-found`. */
function filterOf(index: ModelIndex, wanted: z.output<typeof flowWatchQuerySchema>): ConnectionFilter {
  const { port, tenant, host, router, ...others } = wanted;
  return {
    ...others,
    ...(port === undefined ? {} : { port: requireObject(index, 'port', port, tenant).id }),
    ...(tenant === undefined ? {} : { tenant: requireObject(index, 'tenant', tenant).id }),
    ...(router === undefined
      ? {}
      : { router: requireObject(index, 'router', router, router.includes('/') ? undefined : tenant).id }),
    ...(host === undefined ? {} : { host: requireObject(index, 'host', host).id }),
  };
}

/** Shows connections, with what the other end is called and what allows them. */
function shower(index: ModelIndex): (connection: StoredConnection) => ShownConnection {
  const switches = new Map<string, readonly string[]>();
  const switchesOf = (tenant: string): readonly string[] => {
    const known = switches.get(tenant);
    if (known) return known;
    const own = [...index.all('switch')].flatMap(({ id, tenant: owner }) => (owner === tenant ? [id] : []));
    switches.set(tenant, own);
    return own;
  };
  const allowedBy = allowers(index);
  return (connection) => {
    const { direction, from, to, tenant, port } = connection;
    const { address } = direction === 'out' ? to : from;
    const found = switchesOf(tenant).flatMap((id) => [...index.portsWithAddress(id, address)]);
    const [peer, another] = found.filter(({ id, tenant: owner }) => id !== port && owner === tenant);
    const allowing = allowedBy(connection);
    return {
      ...connection,
      ...(peer && !another ? { peer: qualifiedName(index, peer) } : {}),
      ...(allowing === undefined ? {} : { allowedBy: allowing }),
    };
  };
}

function parseTime(text: string): number {
  const atMs = /^\d{1,16}$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isNaN(atMs)) throw new WeftError('invalid', `at=${text}: a time looks like 2026-11-29T22:00:00Z`);
  return atMs;
}

function follow({ state, flows, signal }: ServerContext, filter: ConnectionFilter, response: ServerResponse): void {
  const say = (messages: readonly FlowWatchMessage[]): void => {
    response.write(messages.map((message) => `${JSON.stringify(message)}\n`).join(''));
    // Somebody who stopped reading.
    if (response.writableLength > 32 * 1024 * 1024) response.destroy();
  };
  say([{ type: 'alive' }]);
  const stop = flows.follow(filter, (news) => {
    const show = shower(state.index);
    say(
      news.type === 'put'
        ? news.connections.map((connection) => ({ type: 'put', connection: show(connection) }))
        : news.keys.map((key) => ({ type: 'gone', host: news.host, key })),
    );
  });
  const beat = setInterval(() => say([{ type: 'alive' }]), HEARTBEAT_MS);
  const finish = (): void => {
    stop();
    clearInterval(beat);
    response.end();
  };
  signal.addEventListener('abort', finish, { once: true });
  response.on('close', () => {
    signal.removeEventListener('abort', finish);
    finish();
  });
}
