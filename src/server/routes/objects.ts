import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { WeftError } from '../../base/errors.ts';
import type { KindName } from '../../model/kind.ts';
import { KINDS } from '../../model/kinds.ts';
import type { ModelIndex } from '../../model/model-index.ts';
import type { AnyObject } from '../../model/objects.ts';
import { applyObjects, parseApplyRequest } from '../apply.ts';
import { activatePort } from '../bindings.ts';
import type { ServerContext } from '../context.ts';
import type { Written } from '../desired-state.ts';
import {
  createObject,
  deleteObject,
  type Mutation,
  patchObject,
  replaceObject,
  requireObject,
  requireWhole,
} from '../mutations.ts';
import { parseQuery } from './query.ts';

const flag = z.enum(['true', 'false', '']).transform((text) => text !== 'false');
export const objectQuerySchema = z.object({
  tenant: z.string().optional(),
  /** References in the answer as names. */
  names: flag.default(false),
});
export const getQuerySchema = objectQuerySchema.extend({
  /** A name or a whole id only, as for what changes something. */
  whole: flag.default(false),
});
export const listQuerySchema = objectQuerySchema.extend({
  name: z.string().optional(),
  /** `key=value` or `key`; several with commas must all fit. */
  label: z.string().optional(),
  /** No limit: everything. */
  limit: z.coerce.number().int().min(1).max(100_000).optional(),
  /** `next` of the page before. */
  after: z.string().optional(),
});
type ListQuery = z.output<typeof listQuerySchema>;

interface ByReference {
  readonly Params: { readonly ref: string };
}

/** `/v1/<plural>` for every kind, `/v1/apply`, and activation. */
export function addObjectRoutes(app: FastifyInstance, context: ServerContext): void {
  for (const kind of Object.keys(KINDS) as KindName[]) addKind(app, context, kind);

  app.post('/v1/apply', async (request) => {
    const wanted = parseApplyRequest(request.body);
    const work = (mutation: Mutation) => applyObjects(mutation, wanted);
    const { result, revision } = await write(context, work, wanted.dryRun);
    return { revision, changes: result };
  });

  app.post<ByReference>('/v1/ports/:ref/activate', async (request) => {
    const { tenant } = parseQuery(objectQuerySchema, request.query);
    const body = activateSchema.safeParse(request.body);
    if (!body.success) throw new WeftError('invalid', 'wanted is {"host": "<name or id>"}');
    const { result, revision } = await context.state.write((draft) => {
      const port = requireWhole(draft.index, 'port', request.params.ref, tenant);
      const host = requireWhole(draft.index, 'host', body.data.host);
      if (activatePort(draft, host.id, port.id) === 'no-claim')
        throw new WeftError(
          'conflict',
          `host ${host.name} has no interface of port ${port.name}: plug it in there first`,
        );
      return port;
    });
    return { revision, ...context.present.show(context.state.index.get('port', result.id) ?? result, true) };
  });
}

const activateSchema = z.object({ host: z.string().min(1) });

function addKind(app: FastifyInstance, context: ServerContext, kind: KindName): void {
  const { index } = context.state;
  const collection = `/v1/${KINDS[kind].plural}`;
  const one = `${collection}/:ref`;

  app.get(collection, async (request) => {
    const query = parseQuery(listQuerySchema, request.query);
    const { items, next } = listObjects(index, kind, query);
    return {
      revision: context.state.revision,
      items: items.map((object) => context.present.show(object, query.names)),
      ...(next === undefined ? {} : { next }),
    };
  });

  app.get<ByReference>(one, async (request, reply) => {
    const query = parseQuery(getQuerySchema, request.query);
    const find = query.whole ? requireWhole : requireObject;
    const object = find(index, kind, request.params.ref, query.tenant);
    return send(reply, object.revision, context.present.show(object, query.names));
  });

  app.post(collection, async (request, reply) => {
    const query = parseQuery(objectQuerySchema, request.query);
    const written = await write(context, (mutation) => createObject(mutation, kind, request.body));
    reply.code(201).header('location', `${collection}/${written.result.id}`);
    return sendWritten(context, reply, written, query.names);
  });

  const change = async (
    request: FastifyRequest<ByReference>,
    reply: FastifyReply,
    how: (mutation: Mutation, before: AnyObject, body: unknown) => AnyObject,
  ): Promise<unknown> => {
    const query = parseQuery(objectQuerySchema, request.query);
    const written = await write(context, (mutation) => {
      const before = requireWhole(mutation.draft.index, kind, request.params.ref, query.tenant);
      checkIfMatch(request, before);
      return how(mutation, before, request.body);
    });
    return sendWritten(context, reply, written, query.names);
  };
  app.put<ByReference>(one, (request, reply) => change(request, reply, replaceObject));
  app.patch<ByReference>(one, (request, reply) => change(request, reply, patchObject));

  app.delete<ByReference>(one, async (request) => {
    const query = parseQuery(objectQuerySchema, request.query);
    const { result, revision } = await write(context, (mutation) => {
      const before = requireWhole(mutation.draft.index, kind, request.params.ref, query.tenant);
      checkIfMatch(request, before);
      deleteObject(mutation, before);
      return before;
    });
    return { revision, kind, id: result.id, name: result.name };
  });
}

function write<T>(context: ServerContext, work: (mutation: Mutation) => T, dryRun = false): Promise<Written<T>> {
  const { allocator } = context.state;
  return context.state.write((draft) => work({ draft, allocator }), { dryRun });
}

function sendWritten(
  context: ServerContext,
  reply: FastifyReply,
  { result, revision: last }: Written<AnyObject>,
  withNames: boolean,
): unknown {
  // A write that changed nothing leaves the object its revision.
  const revision = result.revision === 0 ? last : result.revision;
  return send(reply, revision, context.present.show({ ...result, revision }, withNames));
}

function send(reply: FastifyReply, revision: number, body: unknown): unknown {
  reply.header('etag', `"${revision}"`);
  return body;
}

function checkIfMatch(request: FastifyRequest, object: AnyObject): void {
  const header = request.headers['if-match'];
  if (header === undefined || header === '*') return;
  const revision = /^"(\d+)"$/.exec(header)?.[1];
  if (revision === undefined) throw new WeftError('invalid', `If-Match holds one revision, as "17", not ${header}`);
  if (Number(revision) !== object.revision)
    throw new WeftError('conflict', `${object.kind} ${object.name} was changed since revision ${revision}`, {
      details: { status: 412 },
    });
}

/** In the order of creation; `next` is the id of the page's last object. */
function listObjects(
  index: ModelIndex,
  kind: KindName,
  query: ListQuery,
): { readonly items: readonly AnyObject[]; readonly next?: string } {
  const tenant = query.tenant === undefined ? undefined : requireObject(index, 'tenant', query.tenant).id;
  const labels = (query.label ?? '').split(',').filter((text) => text !== '');
  const items: AnyObject[] = [];
  let isBehind = query.after === undefined;
  for (const object of index.all(kind)) {
    if (!isBehind) {
      isBehind = object.id === query.after;
      continue;
    }
    if (tenant !== undefined && KINDS[kind].tenantOwned && object.tenant !== tenant) continue;
    if (query.name !== undefined && object.name !== query.name) continue;
    if (!labels.every((wanted) => hasLabel(object, wanted))) continue;
    if (items.length === query.limit) return { items, next: items.at(-1)!.id };
    items.push(object);
  }
  if (!isBehind) throw new WeftError('invalid', 'the object that the page begins after is gone; begin anew');
  return { items };
}

function hasLabel(object: AnyObject, wanted: string): boolean {
  const equals = wanted.indexOf('=');
  const key = equals < 0 ? wanted : wanted.slice(0, equals);
  const value = object.labels?.[key];
  return value !== undefined && (equals < 0 || value === wanted.slice(equals + 1));
}
