import { z } from 'zod';
import { DEFAULT_DRAIN_WAIT_S } from '../gateways.ts';
import type { KindDefinition } from '../kind.ts';
import { interfaceSchema, ipSchema, refSchema } from './common.ts';

export const hostSchema = z.strictObject({
  zone: refSchema.describe('the tunnel zone'),
  /** The host's own address in the underlay: where its tunnels end. */
  tunnelAddress: ipSchema.describe("the host's address in the underlay, where its tunnels end"),
  /** Largest IP packet of the underlay; workloads get this less the encapsulation. */
  underlayMtu: z.number().int().min(1280).max(65535).default(1500).describe('largest IP packet of the underlay'),
  /** For tools that set no `iface-id` (Proxmox): interfaces whose name matches bind by `{port}` in the pattern, such as `tap-{port}`. */
  interfacePattern: z
    .string()
    .max(100)
    .refine((text) => text.split('{port}').length === 2, 'the pattern names the port once, as in tap-{port}')
    .optional()
    .describe('for tools that set no iface-id: interface names, with {port} for the first digits of the port id'),
  /** As a gateway: docs/design/gateways.md, §6. */
  drain: z
    .boolean()
    .default(false)
    .describe('true: as a gateway it advertises nothing, and others are used for what goes out'),
  drainWaitS: z
    .number()
    .int()
    .min(0)
    .max(3600)
    .optional()
    .describe(
      `so many seconds at most its BGP peers are told that others go before it, before it advertises nothing (default ${DEFAULT_DRAIN_WAIT_S})`,
    ),
  gatewayInterfaces: z
    .array(interfaceSchema)
    .max(64)
    .optional()
    .describe('physical interfaces that L2 gateways may use'),
});

export const hostKind = {
  kind: 'host',
  plural: 'hosts',
  about: 'a machine with Open vSwitch and a Weft agent',
  tenantOwned: false,
  schema: hostSchema,
  references: [{ path: 'zone', kind: 'tunnelZone', sameTenant: false, onDelete: 'restrict' }],
  allocated: [],
  columns: ['zone', 'tunnelAddress', 'status.state', 'status.applied'],
} as const satisfies KindDefinition;
