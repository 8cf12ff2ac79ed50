import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { WeftError } from '../../base/errors.ts';
import { KIND_NAMES } from '../../model/kind.ts';
import { problemsOfZod } from '../../model/parse.ts';
import { problemsError } from '../../model/problem.ts';
import { RUNTIME_KINDS } from '../../model/relations.ts';
import type { ServerContext } from '../context.ts';
import { importFrom } from '../imports.ts';
import { requireObject, requireWhole } from '../mutations.ts';
import type { WatchRequest } from '../protocol.ts';
import { parseReports } from '../reports.ts';

interface OfHost {
  readonly Params: { readonly ref: string };
}
interface OfAnswer {
  readonly Params: { readonly ref: string; readonly request: string };
}
interface OfImport {
  readonly Params: { readonly ref: string; readonly port: string };
  readonly Querystring: { readonly from?: string };
}
interface OfAgent {
  readonly Params: { readonly ref: string; readonly '*': string };
}

const watchRequestSchema = z.object({
  incarnation: z.string().optional(),
  revision: z.number().optional(),
  have: z.partialRecord(z.enum([...KIND_NAMES, ...RUNTIME_KINDS]), z.record(z.string(), z.number())),
});

/** Set on routes that a token of `host:<name>` opens, for that host alone. */
export const AGENT_ROUTE = { agent: true } as const;

/** What agents call (`../protocol.ts`), and what is relayed to them. */
export function addAgentRoutes(app: FastifyInstance, context: ServerContext): void {
  const { index } = context.state;

  app.post<OfHost>('/v1/hosts/:ref/watch', { config: AGENT_ROUTE }, async (request, reply) => {
    const host = requireWhole(index, 'host', request.params.ref);
    const wanted = watchRequestSchema.safeParse(request.body ?? { have: {} });
    if (!wanted.success) throw problemsError(problemsOfZod(wanted.error, 'watch request', ['incarnation', 'have']));
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    context.streams.open(host.id, wanted.data as WatchRequest, reply.raw);
  });

  app.post<OfHost>('/v1/hosts/:ref/reports', { config: AGENT_ROUTE }, async (request) => {
    const host = requireWhole(index, 'host', request.params.ref);
    return context.reports.take(host.id, parseReports(request.body));
  });

  // The body is a stream here: an answer may be a capture that goes on for hours.
  void app.register(async (raw) => {
    raw.removeAllContentTypeParsers();
    raw.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    raw.post<OfAnswer>('/v1/hosts/:ref/answers/:request', { config: AGENT_ROUTE }, async (request, reply) => {
      const host = requireWhole(index, 'host', request.params.ref);
      const answer = {
        status: Number(request.headers['x-weft-status'] ?? 200),
        type: String(request.headers['x-weft-type'] ?? 'application/octet-stream'),
        body: request.raw,
      };
      if (!context.relay.answer(host.id, request.params.request, answer))
        throw new WeftError('not-found', 'nobody waits for this answer');
      await new Promise((resolve) => request.raw.on('close', resolve));
      return reply.code(204).send();
    });
  });

  // A port's connections, from the host where it was: asked by a host that has an interface of it.
  app.get<OfImport>('/v1/hosts/:ref/imports/:port', { config: AGENT_ROUTE }, async (request, reply) => {
    const host = requireWhole(index, 'host', request.params.ref);
    const { port } = request.params;
    const from = requireWhole(index, 'host', request.query.from ?? '');
    const gone = new AbortController();
    reply.raw.on('close', () => gone.abort());
    const told = await importFrom(context, host.id, port, from.id, gone.signal);
    if ('connections' in told) return told;
    reply.raw.on('close', () => told.body.destroy());
    return reply.code(told.status).type(told.type).send(told.body);
  });

  const relayed = async (host: string, method: 'GET' | 'POST', path: string, body: unknown, signal: AbortSignal) =>
    context.relay.ask(host, { method, path, body: method === 'GET' ? '' : JSON.stringify(body ?? {}) }, signal);
  for (const method of ['GET', 'POST'] as const)
    app.route<OfAgent>({
      method,
      url: '/v1/hosts/:ref/agent/*',
      handler: async (request, reply) => {
        // A question may name a host as people do; what is posted may change something there.
        const find = method === 'GET' ? requireObject : requireWhole;
        const host = find(index, 'host', request.params.ref);
        const gone = new AbortController();
        reply.raw.on('close', () => gone.abort());
        const query = request.url.includes('?') ? request.url.slice(request.url.indexOf('?')) : '';
        const answer = await relayed(host.id, method, `/${request.params['*']}${query}`, request.body, gone.signal);
        reply.raw.on('close', () => answer.body.destroy());
        return reply.code(answer.status).type(answer.type).send(answer.body);
      },
    });
}
