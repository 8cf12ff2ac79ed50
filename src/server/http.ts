import type { IncomingMessage } from 'node:http';
import fastify, { type FastifyError, type FastifyInstance, type FastifyRequest } from 'fastify';
import { WeftError } from '../base/errors.ts';
import { shown } from '../base/shown.ts';
import { findObject } from '../model/resolve.ts';
import type { AuthScope } from './auth.ts';
import type { ServerContext } from './context.ts';
import { openApiDocument } from './openapi.ts';
import { PROBLEM_CONTENT_TYPE, problemDetailsOf, statusOf } from './problem.ts';
import { addAgentRoutes } from './routes/agents.ts';
import { addBgpRoutes } from './routes/bgp.ts';
import { addFlowRoutes } from './routes/flows.ts';
import { addObjectRoutes } from './routes/objects.ts';
import { addStatusRoutes } from './routes/status.ts';
import { addTraceRoute } from './routes/trace.ts';

const LARGEST_BODY_BYTES = 64 * 1024 * 1024;
const WRITES: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

/**
 * The API without its listeners. `scopeOf` says who sent a request, by the listener it came in through; it throws
 * `denied` for nobody.
 */
export async function createApi(
  context: ServerContext,
  scopeOf: (request: IncomingMessage) => AuthScope,
): Promise<FastifyInstance> {
  const app = fastify({ logger: false, bodyLimit: LARGEST_BODY_BYTES, forceCloseConnections: true });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    ['application/json', 'application/merge-patch+json'],
    { parseAs: 'string' },
    async (_request: FastifyRequest, body: string) => parseJson(body),
  );
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const refusal = refusalOf(error);
    if (refusal === undefined)
      context.log.error('a request failed', { method: request.method, url: request.url, error, stack: error.stack });
    const shown = refusal ?? new WeftError('refused', 'the server failed at this request; its log says why');
    const status = refusal ? statusIn(shown) : 500;
    if (status === 401) reply.header('www-authenticate', 'Bearer');
    return reply.code(status).type(PROBLEM_CONTENT_TYPE).send(problemDetailsOf(shown, status));
  });
  const methodsAt = watchRoutes(app);
  app.setNotFoundHandler(({ method, url }, reply) => {
    const path = url.split('?')[0]!;
    const asked = `there is no ${method} ${shown(path)}`;
    const allowed = methodsAt(path);
    if (allowed.length === 0)
      throw new WeftError('not-found', `${asked}; /v1/openapi.json lists paths and their methods`);
    reply.header('allow', allowed.join(', '));
    throw new WeftError('invalid', `${asked}; this path has ${allowed.join(', ')}`, { details: { status: 405 } });
  });
  app.addHook('onRequest', async (request) => {
    const scope = scopeOf(request.raw);
    if (scope.type === 'host') checkHostScope(context, scope.host, request);
  });
  // Agents work on what is written while the disk confirms it; an answer to anybody else speaks of what stays, also one that refuses.
  app.addHook('onSend', async (request, reply) => {
    const hasWaited = WRITES.has(request.method) && reply.statusCode < 400;
    const saysThatStoreFailed = reply.statusCode === statusOf('full');
    if (!isAgentRoute(request) && !hasWaited && !saysThatStoreFailed) await context.state.durable();
  });
  addObjectRoutes(app, context);
  addAgentRoutes(app, context);
  addStatusRoutes(app, context);
  addBgpRoutes(app, context);
  addFlowRoutes(app, context);
  addTraceRoute(app, context);
  const document = openApiDocument();
  app.get('/v1/openapi.json', async () => document);
  await app.ready();
  return app;
}

/** Of the routes that are added from now on: which methods a path has; none where there is no such path. */
function watchRoutes(app: FastifyInstance): (path: string) => string[] {
  const routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+').replace('*', '.*');
    routes.push({ pattern: new RegExp(`^${pattern}$`), methods: [method].flat() });
  });
  return (path) => [...new Set(routes.flatMap(({ pattern, methods }) => (pattern.test(path) ? methods : [])))].sort();
}

/** A host's token opens what its agent needs, for this host. */
function checkHostScope({ state }: ServerContext, host: string, request: FastifyRequest): void {
  const { ref = '' } = request.params as { readonly ref?: string };
  const asked = findObject(state.index, 'host', ref, undefined, 'whole').object;
  if (!isAgentRoute(request) || !asked || (asked.name !== host && asked.id !== host))
    throw new WeftError('denied', `this token is for the agent of host ${host} only`);
}

function isAgentRoute(request: FastifyRequest): boolean {
  return (request.routeOptions.config as { readonly agent?: boolean }).agent === true;
}

/** Throws `protocol` with line and column. */
function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const at = Number(/position (\d+)/.exec(message)?.[1] ?? text.length);
    const before = text.slice(0, at).split('\n');
    const column = before.at(-1)!.length + 1;
    const what = message.replace(/ (in JSON )?at position.*$/s, '').replace(/, "[\s\S]*" is not valid JSON$/, '');
    throw new WeftError('protocol', `malformed JSON at line ${before.length}, column ${column}: ${what}`, {
      details: { line: before.length, column },
    });
  }
}

/** What the caller did wrong, or what an operator has to mend; undefined for a bug of ours. */
function refusalOf(error: FastifyError): WeftError | undefined {
  if (error instanceof WeftError) return error;
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new WeftError(
      'invalid',
      `the request is larger than ${LARGEST_BODY_BYTES / 2 ** 20} MiB: send it in parts`,
      {
        details: { status: 413 },
      },
    );
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new WeftError('invalid', 'wanted is application/json', { details: { status: 415 } });
  const { statusCode } = error;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new WeftError('invalid', error.message, { details: { status: statusCode } });
  return undefined;
}

function statusIn(error: WeftError): number {
  const { details } = error;
  if (typeof details === 'object' && details !== null && 'status' in details && typeof details.status === 'number')
    return details.status;
  return statusOf(error.code);
}
