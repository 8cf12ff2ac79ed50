import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { interfaceSchema, ipv4Schema, refSchema } from './common.ts';

/** A VLAN of physical interfaces as a port of a switch (docs/design/l2-gateways.md). */
export const l2GatewaySchema = z.strictObject({
  port: refSchema.describe('the port that the outside is on its switch; without port security; stays'),
  vlan: z
    .number()
    .int()
    .min(0)
    .max(4094)
    .optional()
    .describe('outside; 0: frames without a tag; absent: a trunk, all tags as they are'),
  places: z
    .array(z.strictObject({ host: refSchema, interface: interfaceSchema }))
    .min(1)
    .max(8)
    .describe('where the outside is, in order of preference: one forwards'),
  probe: ipv4Schema.optional().describe('an address outside that answers ARP: a sign of life where all else is silent'),
  silenceS: z.number().int().min(1).max(60).default(3).describe('so long without a frame, and the outside is silent'),
  failBack: z.boolean().default(true).describe('false: what forwards goes on where a place before it is well again'),
  secret: z
    .string()
    .min(16)
    .max(128)
    .optional()
    .describe('by which places know each other when they copy connections; made when there is none, and not shown'),
  adminUp: z.boolean().default(true).describe('false: not attached anywhere'),
});

export const l2GatewayKind = {
  kind: 'l2Gateway',
  plural: 'l2-gateways',
  about: 'a VLAN outside joined to a switch, by several hosts of which one forwards',
  tenantOwned: true,
  schema: l2GatewaySchema,
  references: [
    { path: 'port', kind: 'port', sameTenant: true, onDelete: 'restrict' },
    { path: 'places[].host', kind: 'host', sameTenant: false, onDelete: 'restrict' },
  ],
  allocated: ['secret'],
  secret: ['secret'],
  columns: ['port', 'vlan', 'places[].host', 'status.active', 'status.state', 'adminUp'],
} as const satisfies KindDefinition;
