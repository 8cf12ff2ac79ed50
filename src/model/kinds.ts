import type { KindDefinition, KindName } from './kind.ts';
import { chainKind, ruleKind } from './kinds/chain.ts';
import { hostKind } from './kinds/host.ts';
import { portKind } from './kinds/port.ts';
import { switchKind } from './kinds/switch.ts';
import { tenantKind } from './kinds/tenant.ts';
import { tunnelZoneKind } from './kinds/tunnel-zone.ts';

/** All kinds, each after those that it refers to (so that creating in this order and deleting in reverse works). */
export const KINDS = {
  tenant: tenantKind,
  tunnelZone: tunnelZoneKind,
  host: hostKind,
  switch: switchKind,
  chain: chainKind,
  rule: ruleKind,
  port: portKind,
} as const satisfies Record<KindName, KindDefinition>;
