import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { ipv4Schema, keySchema, refSchema } from './common.ts';

/** Hardware switches with tunnels of their own, and what of them is joined to switches of ours (docs/design/hardware-vteps.md). */

const MANAGEMENT = /^(tcp|ssl):(\[[0-9a-fA-F:.]+\]|[^\s:[\]/]+):(\d{1,5})$/;
export const managementSchema = z
  .string()
  .max(300)
  .refine((text) => {
    const port = Number(MANAGEMENT.exec(text)?.[3]);
    return port >= 1 && port <= 65_535;
  }, 'where its OVSDB server listens looks like tcp:192.0.2.5:6640, ssl:tor-1.example:6640 or tcp:[2001:db8::5]:6640');

/** As the switch calls it. */
const physicalPortSchema = z
  .string()
  .min(1)
  .max(255)
  .regex(/^[\x21-\x7e]+$/, 'a name of a physical port is printable ASCII without spaces');
const pemSchema = (what: string) =>
  z
    .string()
    .max(65_536)
    .refine((text) => text.includes('-----BEGIN '), `${what} in PEM is wanted: -----BEGIN …`);

export const vtepSchema = z
  .strictObject({
    management: managementSchema.describe('where its OVSDB server listens: tcp:192.0.2.5:6640, or ssl:…'),
    physicalSwitch: z
      .string()
      .min(1)
      .max(255)
      .optional()
      .describe('which Physical_Switch of its database; absent: the only one'),
    physicalPorts: z
      .array(physicalPortSchema)
      .max(1024)
      .overwrite((ports) => [...new Set(ports)])
      .describe('physical ports that bindings may use'),
    places: z
      .array(
        z.strictObject({
          host: refSchema,
          address: ipv4Schema
            .optional()
            .describe("where the VTEP sends tunnel packets to it; absent: the host's tunnelAddress"),
        }),
      )
      .min(1)
      .max(8)
      .describe('hosts that talk to it, in order of preference: for each binding one forwards'),
    tunnelAddress: ipv4Schema.optional().describe('where its tunnels end; absent: as its database says'),
    ca: pemSchema('the certificate').optional().describe('of ssl: whom its certificate must come from'),
    certificate: pemSchema('our certificate').optional().describe('of ssl: ours, where it asks for one'),
    privateKey: z
      .string()
      .max(65_536)
      .refine((text) => text === '***' || text.includes('-----BEGIN '), 'the key in PEM is wanted: -----BEGIN …')
      .optional()
      .describe('of our certificate; never shown'),
    failBack: z.boolean().default(true).describe('false: what forwards goes on where a place before it is well again'),
  })
  .superRefine((vtep, context) => {
    const problem = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: [path], message });
    if (vtep.management.startsWith('ssl:') && vtep.ca === undefined)
      problem('ca', 'is missing: ssl needs the certificate of whom the VTEP has its own from');
    if ((vtep.certificate === undefined) !== (vtep.privateKey === undefined))
      problem(
        vtep.certificate === undefined ? 'certificate' : 'privateKey',
        'is missing: a certificate and its private key go together',
      );
  });

export const vtepBindingSchema = z.strictObject({
  port: refSchema.describe('the port that the outside is on its switch; without port security; stays'),
  vtep: refSchema.describe('stays'),
  physicalPorts: z
    .array(
      z.strictObject({
        port: physicalPortSchema,
        vlan: z.number().int().min(0).max(4094).default(0).describe('0: frames without a tag'),
      }),
    )
    .min(1)
    .max(1024)
    .describe('what is behind them is one network, that of the switch'),
  vni: keySchema.optional().describe("of the tunnels between hosts and VTEP; absent: the port's tunnel key"),
  adminUp: z.boolean().default(true).describe('false: not joined'),
});

export const vtepKind = {
  kind: 'vtep',
  plural: 'vteps',
  about: 'a hardware switch that is managed by the OVSDB hardware_vtep schema',
  tenantOwned: false,
  schema: vtepSchema,
  references: [{ path: 'places[].host', kind: 'host', sameTenant: false, onDelete: 'restrict' }],
  allocated: [],
  secret: ['privateKey'],
  columns: ['management', 'places[].host', 'status.state', 'status.tunnelAddress'],
} as const satisfies KindDefinition;

export const vtepBindingKind = {
  kind: 'vtepBinding',
  plural: 'vtep-bindings',
  about: 'VLANs of physical ports of a VTEP joined to a switch',
  tenantOwned: true,
  schema: vtepBindingSchema,
  references: [
    { path: 'port', kind: 'port', sameTenant: true, onDelete: 'restrict' },
    { path: 'vtep', kind: 'vtep', sameTenant: false, onDelete: 'restrict' },
  ],
  allocated: ['vni'],
  columns: ['port', 'vtep', 'physicalPorts[].port', 'vni', 'status.active', 'status.state', 'adminUp'],
} as const satisfies KindDefinition;
