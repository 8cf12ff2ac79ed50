import { z } from 'zod';
import { KIND_NAMES, type KindName } from '../model/kind.ts';
import { idSchema } from '../model/kinds/common.ts';
import { KINDS } from '../model/kinds.ts';
import { envelopeSchema } from '../model/parse.ts';
import { applyRequestSchema } from './apply.ts';
import { PROBLEM_CONTENT_TYPE } from './problem.ts';
import { bgpQuerySchema, bgpRoutesQuerySchema } from './routes/bgp.ts';
import { flowsQuerySchema, flowWatchQuerySchema, natQuerySchema, refusedQuerySchema } from './routes/flows.ts';
import { getQuerySchema, listQuerySchema, objectQuerySchema } from './routes/objects.ts';
import { eventsQuerySchema, syncQuerySchema, watchQuerySchema } from './routes/status.ts';
import { traceRequestSchema } from './routes/trace.ts';

type Json = Record<string, unknown>;

/** The API's description, made from the schemas that check the requests: it cannot say anything else than they do. */
export function openApiDocument(): Json {
  const schemas: Json = { Problem: PROBLEM, ApplyRequest: jsonSchema(applyRequestSchema) };
  const paths: Json = {
    '/v1/apply': { post: operation('apply', 'Bring objects into the given state', { body: ref('ApplyRequest') }) },
    '/v1/status': { get: operation('status', 'Server, hosts, ports and problems at a glance') },
    '/v1/events': { get: operation('events', 'What happened, newest last', { query: eventsQuerySchema }) },
    '/v1/bgp': { get: operation('bgp', 'BGP: peers, what routers advertise', { query: bgpQuerySchema }) },
    '/v1/bgp/routes': {
      get: operation('bgpRoutes', 'Routes that a router learned, and why one is not used', {
        query: bgpRoutesQuerySchema,
      }),
    },
    '/v1/flows': { get: operation('flows', 'Connections of workloads, as they are now', { query: flowsQuerySchema }) },
    '/v1/flows/watch': {
      get: operation('watchFlows', 'Connections as agents tell of them, JSON lines', { query: flowWatchQuerySchema }),
    },
    '/v1/flows/nat': {
      get: operation('natHolders', 'Who held an outside address and port at a time', { query: natQuerySchema }),
    },
    '/v1/flows/refused': {
      get: operation('refusingRules', 'Rules that dropped or rejected packets', {
        query: refusedQuerySchema,
      }),
    },
    '/v1/flows/drops': { get: operation('drops', 'What hosts dropped, by reason, since their agents started') },
    '/v1/sync': { get: operation('sync', 'Wait until hosts have applied a revision', { query: syncQuerySchema }) },
    '/v1/watch': { get: operation('watch', 'Objects as they change, JSON lines', { query: watchQuerySchema }) },
    '/v1/trace': {
      post: operation('trace', 'What would happen to a frame that a port sends', {
        body: jsonSchema(traceRequestSchema),
      }),
    },
    '/v1/ports/{ref}/activate': {
      post: operation('activatePort', 'Send the traffic of a port to one of the hosts that have it', {
        ref: true,
        body: { type: 'object', required: ['host'], properties: { host: { type: 'string' } } },
      }),
    },
  };
  for (const kind of KIND_NAMES) {
    const name = kind[0]!.toUpperCase() + kind.slice(1);
    schemas[name] = objectSchema(kind, false);
    schemas[`New${name}`] = objectSchema(kind, true);
    Object.assign(paths, pathsOf(kind, name));
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Weft', version: 'v1', description: 'Desired state of a Weft network.' },
    paths,
    components: { schemas, securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{}, { token: [] }],
  };
}

function pathsOf(kind: KindName, name: string): Json {
  const { plural, about } = KINDS[kind];
  const body = ref(`New${name}`);
  const answer = ref(name);
  const list = {
    type: 'object',
    required: ['revision', 'items'],
    properties: { revision: { type: 'integer' }, items: { type: 'array', items: answer }, next: { type: 'string' } },
  };
  const query = objectQuerySchema;
  return {
    [`/v1/${plural}`]: {
      get: operation(`list${name}`, `List: ${about}`, { query: listQuerySchema, answer: list }),
      post: operation(`create${name}`, `Create: ${about}`, { query, body, answer, status: '201' }),
    },
    [`/v1/${plural}/{ref}`]: {
      get: operation(`get${name}`, `Get by id, name or the beginning of an id: ${about}`, {
        ref: true,
        query: getQuerySchema,
        answer,
      }),
      put: operation(`replace${name}`, `Replace, by id or name: ${about}`, { ref: true, query, body, answer }),
      patch: operation(`change${name}`, `Change by JSON merge patch (RFC 7396): ${about}`, {
        ref: true,
        query,
        body: { type: 'object' },
        answer,
        type: 'application/merge-patch+json',
      }),
      delete: operation(`delete${name}`, `Delete, by id or name: ${about}`, { ref: true, query }),
    },
  };
}

interface OperationParts {
  readonly ref?: boolean;
  readonly query?: z.ZodObject;
  readonly body?: Json;
  readonly answer?: Json;
  readonly status?: string;
  readonly type?: string;
}

function operation(operationId: string, summary: string, parts: OperationParts = {}): Json {
  const { query, body, answer = { type: 'object' }, status = '200', type = 'application/json' } = parts;
  const parameters: Json[] = [];
  if (parts.ref) parameters.push({ name: 'ref', in: 'path', required: true, schema: { type: 'string' } });
  if (query) {
    const { properties = {} } = jsonSchema(query) as { readonly properties?: Record<string, Json> };
    for (const [name, schema] of Object.entries(properties)) parameters.push({ name, in: 'query', schema });
  }
  const isChange = parts.ref && (body || operationId.startsWith('delete'));
  if (isChange) parameters.push({ name: 'If-Match', in: 'header', schema: { type: 'string', pattern: '^"\\d+"$' } });
  return {
    operationId,
    summary,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body ? { requestBody: { required: true, content: { [type]: { schema: body } } } } : {}),
    responses: {
      [status]: { description: 'done', content: { 'application/json': { schema: answer } } },
      default: { description: 'refused', content: { [PROBLEM_CONTENT_TYPE]: { schema: ref('Problem') } } },
    },
  };
}

/** One kind as it is written (`isNew`) or answered: envelope and fields in one object. */
function objectSchema(kind: KindName, isNew: boolean): Json {
  const envelope = jsonSchema(envelopeSchema) as { properties: Json; required?: string[] };
  const fields = jsonSchema(KINDS[kind].schema) as { properties?: Json; required?: string[]; description?: string };
  const { tenant, ...others } = envelope.properties;
  const owner = KINDS[kind].tenantOwned ? { tenant } : {};
  const answered = {
    id: jsonSchema(idSchema),
    revision: { type: 'integer' },
    applySet: { type: 'string' },
    status: { type: 'object' },
  };
  const required = [
    ...(envelope.required ?? []),
    ...(KINDS[kind].tenantOwned ? ['tenant'] : []),
    ...(fields.required ?? []),
  ];
  return {
    type: 'object',
    description: KINDS[kind].about,
    properties: { kind: { const: kind }, ...others, ...owner, ...fields.properties, ...(isNew ? {} : answered) },
    required: isNew ? required : ['kind', 'id', 'revision', ...required],
    additionalProperties: false,
  };
}

function jsonSchema(schema: z.ZodType): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return rest;
}

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

const PROBLEM: Json = {
  type: 'object',
  description: 'RFC 9457 problem details',
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string' },
    problems: {
      type: 'array',
      items: {
        type: 'object',
        required: ['object', 'path', 'code', 'message'],
        properties: {
          object: { type: 'string' },
          path: { type: 'string' },
          code: { type: 'string' },
          message: { type: 'string' },
          hint: { type: 'string' },
        },
      },
    },
  },
};
