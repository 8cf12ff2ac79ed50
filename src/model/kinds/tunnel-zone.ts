import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';

export const ENCAPS = ['geneve', 'vxlan', 'gre'] as const;

export const tunnelZoneSchema = z.strictObject({
  /** How frames travel between the hosts of the zone. */
  encap: z.enum(ENCAPS).default('geneve').describe('how frames travel between the hosts of the zone'),
});

export const tunnelZoneKind = {
  kind: 'tunnelZone',
  plural: 'tunnel-zones',
  about: 'hosts that reach each other by one encapsulation',
  tenantOwned: false,
  schema: tunnelZoneSchema,
  references: [],
  allocated: [],
  columns: ['encap'],
} as const satisfies KindDefinition;
