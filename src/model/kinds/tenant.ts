import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';

export const tenantSchema = z.strictObject({
  description: z.string().max(1000).optional().describe('free text'),
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
