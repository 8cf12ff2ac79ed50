import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ModelIndex } from '../../model/model-index.ts';
import { problemsOfZod } from '../../model/parse.ts';
import { problemsError } from '../../model/problem.ts';
import type { ServerContext } from '../context.ts';
import { requireObject } from '../mutations.ts';
import { connectionSchema } from '../shown-connections.ts';
import { traceFrame } from '../trace.ts';
import { traceConversation } from '../trace-conversation.ts';

export const traceRequestSchema = z
  .strictObject({
    port: z.string().min(1).describe('name with tenant (acme/web-1), or id'),
    host: z.string().min(1).optional().describe('where it enters; absent: where the port is active'),
    frame: z
      .string()
      .regex(/^([0-9a-fA-F]{2})+$/, 'a frame is an even number of hexadecimal digits')
      .optional()
      .describe('one whole frame'),
    assume: z
      .enum(['new', 'reply'])
      .optional()
      .describe('of a frame: begins a connection, also in its middle, or answers one'),
    to: z
      .string()
      .min(1)
      .optional()
      .describe('or a conversation: an IP address, or the name of a port, floating address or load balancer'),
    protocol: z.string().optional().describe('of the conversation: tcp/443, udp/53, sctp/5000 or icmp'),
    source: z.string().optional().describe("of the conversation: from another address than the port's own"),
    dataOf: z
      .string()
      .optional()
      .describe(
        'of the conversation: it is a data connection of FTP or TFTP, of the control connection to tcp/21 or udp/69',
      ),
    connections: z
      .array(connectionSchema)
      .max(1000)
      .optional()
      .describe('what conntrack knows, as an earlier answer says: the conversation is one that runs'),
  })
  .superRefine((request, context) => {
    if ((request.frame === undefined) === (request.to === undefined))
      context.addIssue({ code: 'custom', path: ['to'], message: 'one of frame and to is wanted' });
    if (request.frame !== undefined && (request.protocol ?? request.source ?? request.dataOf) !== undefined)
      context.addIssue({ code: 'custom', path: ['frame'], message: 'a frame says its protocol and source itself' });
    if (request.dataOf !== undefined && request.connections !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['connections'],
        message: 'a data connection is traced with its control connection, both from their beginning',
      });
    if (request.frame === undefined && request.assume !== undefined)
      context.addIssue({
        code: 'custom',
        path: ['assume'],
        message: 'a conversation begins anew; only of a frame can that be assumed',
      });
  });

/** `POST /v1/trace`: one frame, or the first packet of a conversation and its answer, through the model as it is now. Changes nothing. */
export function addTraceRoute(app: FastifyInstance, { state }: ServerContext): void {
  app.post('/v1/trace', async (request) => {
    const parsed = traceRequestSchema.safeParse(request.body);
    if (!parsed.success)
      throw problemsError(problemsOfZod(parsed.error, 'trace request', Object.keys(traceRequestSchema.shape)));
    const story = traceThrough(state.index, parsed.data);
    await state.durable(); // it reads, as a GET does
    return story;
  });
}

function traceThrough(index: ModelIndex, request: z.output<typeof traceRequestSchema>): object {
  const { port, host, frame, to, protocol = 'icmp', source, dataOf, assume, connections } = request;
  const entry = {
    port: requireObject(index, 'port', port).id,
    ...(host === undefined ? {} : { host: requireObject(index, 'host', host).id }),
  };
  const known = connections === undefined ? {} : { connections };
  if (frame !== undefined)
    return traceFrame(index, { ...entry, ...known, frame, ...(assume === undefined ? {} : { assume }) });
  const ends = { to: to!, protocol, ...(source === undefined ? {} : { source }) };
  return traceConversation(index, { ...entry, ...known, ...ends, ...(dataOf === undefined ? {} : { dataOf }) });
}
