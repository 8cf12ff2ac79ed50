import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { problemsOfZod } from '../../model/parse.ts';
import { problemsError } from '../../model/problem.ts';
import type { ServerContext } from '../context.ts';
import { requireObject } from '../mutations.ts';
import { type TraceRequest, traceFrame } from '../trace.ts';

export const traceRequestSchema = z.strictObject({
  /** Name with tenant (`acme/web-1`), or id. */
  port: z.string().min(1),
  host: z.string().min(1).optional(),
  frame: z.string().regex(/^([0-9a-fA-F]{2})+$/, 'a frame is an even number of hexadecimal digits'),
});

/** `POST /v1/trace`: one frame through the model as it is now. Changes nothing. */
export function addTraceRoute(app: FastifyInstance, { state }: ServerContext): void {
  app.post('/v1/trace', async (request) => {
    const parsed = traceRequestSchema.safeParse(request.body);
    if (!parsed.success)
      throw problemsError(problemsOfZod(parsed.error, 'trace request', Object.keys(traceRequestSchema.shape)));
    const { port, host, frame } = parsed.data;
    const wanted: TraceRequest = {
      port: requireObject(state.index, 'port', port).id,
      frame,
      ...(host === undefined ? {} : { host: requireObject(state.index, 'host', host).id }),
    };
    return traceFrame(state.index, wanted);
  });
}
