import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { inboundLimitSchema } from './common.ts';

export const tenantSchema = z.strictObject({
  description: z.string().max(1000).optional().describe('free text'),
  inboundLimit: inboundLimitSchema.describe('most that comes in by outside ports of its routers, at each host'),
});

export const tenantKind = {
  kind: 'tenant',
  plural: 'tenants',
  about: 'owner of switches, ports and chains',
  tenantOwned: false,
  schema: tenantSchema,
  references: [],
  allocated: [],
  columns: ['description'],
} as const satisfies KindDefinition;
