import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { ipSchema, keySchema, refSchema } from './common.ts';
import { policyMatchSchema } from './router.ts';

/** Copies of what ports send and receive (docs/design/layer3.md, §11). */
export const mirrorSchema = z
  .strictObject({
    ports: z.array(refSchema).max(1000).default([]).describe('whose frames are copied'),
    switch: refSchema.optional().describe('all its ports, but the one that gets the copies'),
    direction: z.enum(['both', 'from', 'to']).default('both').describe('what workloads send (from), receive (to)'),
    match: policyMatchSchema.default({}).describe('only these packets; none given fits every frame'),
    to: z
      .strictObject(
        {
          port: refSchema
            .optional()
            .describe('a port of the tenant, on whatever host: copies pass none of its filters'),
          collector: z
            .strictObject({ address: ipSchema, key: keySchema })
            .optional()
            .describe('an address of the underlay, and the tunnel key that the copies carry'),
        },
        {
          error: ({ input }) =>
            input === undefined ? 'is missing: say where the copies go, to a port or a collector' : undefined,
        },
      )
      .superRefine((to, context) => {
        if ((to.port === undefined) === (to.collector === undefined))
          context.addIssue({ code: 'custom', path: ['port'], message: 'copies go to one of port and collector' });
      })
      .describe('where the copies go'),
    adminUp: z.boolean().default(true).describe('false: no copies'),
    key: keySchema.optional().describe('tunnel key of copies to a port; allocated'),
  })
  .superRefine((mirror, context) => {
    if (mirror.ports.length === 0 && mirror.switch === undefined)
      context.addIssue({ code: 'custom', path: ['ports'], message: 'a mirror needs ports, a switch, or both' });
  });

export const mirrorKind = {
  kind: 'mirror',
  plural: 'mirrors',
  about: 'copies of what ports send or receive, to a port or a collector',
  tenantOwned: true,
  schema: mirrorSchema,
  references: [
    { path: 'ports[]', kind: 'port', sameTenant: true, onDelete: 'restrict' },
    { path: 'switch', kind: 'switch', sameTenant: true, onDelete: 'restrict' },
    { path: 'to.port', kind: 'port', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: ['key'],
  columns: ['ports', 'switch', 'direction', 'to.port', 'to.collector.address', 'adminUp'],
} as const satisfies KindDefinition;
