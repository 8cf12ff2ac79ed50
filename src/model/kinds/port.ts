import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import {
  addressOrCidrSchema,
  dscpSchema,
  ipSchema,
  kbpsSchema,
  keySchema,
  refSchema,
  unicastMacSchema,
  vlanIdSchema,
} from './common.ts';

/** On a VLAN-aware switch: `access` frames have no tag at the workload; `trunk` frames keep theirs. */
export const portVlanSchema = z.union([
  z.strictObject({ access: vlanIdSchema }),
  z.strictObject({
    trunk: z.union([z.literal('all'), z.array(vlanIdSchema).min(1).max(4094)]),
    native: vlanIdSchema.optional(),
  }),
]);

/** Kilobits (1,000 bits) and packets a second; what is above is dropped (docs/design/layer3.md, §11). */
export const limitsSchema = z
  .strictObject({
    sendKbps: kbpsSchema.optional(),
    receiveKbps: kbpsSchema.optional(),
    sendPps: z.number().int().min(1).max(10_000_000).optional(),
    receivePps: z.number().int().min(1).max(10_000_000).optional(),
    burstKb: z.number().int().min(1).max(10_000_000).optional().describe('kilobits above the rate at once'),
  })
  .superRefine((limits, context) => {
    if (limits.burstKb !== undefined && limits.sendKbps === undefined && limits.receiveKbps === undefined)
      context.addIssue({ code: 'custom', path: ['burstKb'], message: 'a burst is one of sendKbps or receiveKbps' });
  });

export const portSchema = z.strictObject({
  switch: refSchema.describe('the switch that it belongs to; stays'),
  mac: unicastMacSchema.optional().describe('allocated when not given'),
  /** Addresses that the workload owns. Absent: one of every subnet of the switch that has room. */
  addresses: z.array(ipSchema).max(64).optional().describe('the workload owns them; absent: one of every subnet'),
  /** What the workload may use beside its own: `mac` absent means the port's MAC. */
  allowedPairs: z
    .array(z.strictObject({ mac: unicastMacSchema.optional(), address: addressOrCidrSchema }))
    .max(64)
    .default([])
    .describe('what it may use beside its own: address or network, with a MAC'),
  /** Off: the workload may send from any address, and its addresses are learned. */
  portSecurity: z.boolean().default(true).describe('false: any source address, and addresses are learned'),
  adminUp: z.boolean().default(true).describe('false: nothing passes'),
  /** Where the workload should be (the requested binding). */
  host: refSchema.optional().describe('where the workload should be'),
  vlan: portVlanSchema.optional().describe('on a VLAN-aware switch: access, or trunk and native'),
  /** Filters for frames that the workload sends (`from`) and receives (`to`). */
  fromChain: refSchema.optional().describe('filter for what the workload sends'),
  toChain: refSchema.optional().describe('filter for what the workload receives'),
  /** Stateful filters: with any group, what no rule of its groups allows is refused. */
  groups: z.array(refSchema).max(16).default([]).describe('security groups: stateful, refused by default'),
  limits: limitsSchema.optional().describe('most that the workload may send and receive'),
  dscp: dscpSchema.optional().describe("DSCP of the IP packets that it sends; absent: its switch's"),
  key: keySchema.optional().describe('tunnel key; allocated'),
});

export const portKind = {
  kind: 'port',
  plural: 'ports',
  about: 'where a workload meets its switch (logical port)',
  tenantOwned: true,
  schema: portSchema,
  references: [
    { path: 'switch', kind: 'switch', sameTenant: true, onDelete: 'restrict' },
    { path: 'host', kind: 'host', sameTenant: false, onDelete: 'restrict' },
    { path: 'fromChain', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
    { path: 'toChain', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
    { path: 'groups[]', kind: 'securityGroup', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: ['mac', 'addresses', 'key'],
  columns: ['switch', 'mac', 'addresses', 'status.binding', 'status.state'],
} as const satisfies KindDefinition;
