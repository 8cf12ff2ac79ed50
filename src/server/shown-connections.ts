import { z } from 'zod';
import type { Connection, Zone } from '../simulate/connections.ts';
import { parseTuple, writeTuple } from '../simulate/tuple.ts';

/**
 * Connections as `/v1/trace` shows them and takes them: what an answer says was known after its packets can be given to the next question, about
 * another packet of the same connection, perhaps after a change of the rules.
 */

const tupleSchema = z.string().transform((text, context) => {
  const tuple = parseTuple(text);
  if (tuple) return tuple;
  context.addIssue({ code: 'custom', message: `${text}: as tcp 10.0.0.5:49152 → 10.0.1.5:80 is wanted` });
  return z.NEVER;
});

const range = z.number().int().min(0).max(0xffff);

const alone = {
  zone: z
    .string()
    .regex(
      /^(port|vip|self|router):[^@]+@[^@]+$/,
      'a zone is port:, vip:, self: (of a port) or router: with ID@HOST-ID',
    )
    .describe('who tracks it: a port or a router, by id, on a host, by id')
    .transform((text) => text as Zone),
  original: tupleSchema.describe('the direction that began it, before translation'),
  reply: tupleSchema.describe('what answers look like'),
  nat: z.enum(['src', 'dst']).optional().describe('which end is translated'),
  ranges: z
    .array(z.strictObject({ first: range, last: range }))
    .optional()
    .describe('of a source translated to leased ports: where one may have been found'),
  mark: z.number().int().min(0).max(3).default(0).describe('1: by a VIP chosen here; 2: by one from outside'),
  answered: z.boolean().default(true).describe('an answer was seen'),
  called: z.enum(['silent', 'speaks', 'heard']).default('heard').describe('of TCP: what was seen of the other end'),
  finished: z.number().int().min(0).max(15).default(0).describe('of TCP: which directions have ended'),
  helper: z.enum(['ftp', 'tftp']).optional(),
  judged: z.enum(['ingress', 'egress']).optional(),
};

export const connectionSchema = z.strictObject({
  ...alone,
  parent: z.strictObject(alone).optional().describe('the control connection on which a helper heard of this one'),
});

/** As it is written in JSON. */
export type ShownConnection = z.input<typeof connectionSchema>;

export function showConnection({ original, reply, parent, ...rest }: Connection): ShownConnection {
  const { ranges, ...others } = rest;
  return {
    ...{ ...others, original: writeTuple(original), reply: writeTuple(reply) },
    ...(ranges === undefined ? {} : { ranges: ranges.map(({ first, last }) => ({ first, last })) }),
    ...(parent === undefined ? {} : { parent: showConnection({ ...parent, parent: undefined }) }),
  };
}
