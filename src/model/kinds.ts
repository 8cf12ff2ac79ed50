import type { KindDefinition, KindName } from './kind.ts';
import { bgpPeerKind } from './kinds/bgp.ts';
import { chainKind, ruleKind } from './kinds/chain.ts';
import { hostKind } from './kinds/host.ts';
import { l2GatewayKind } from './kinds/l2-gateway.ts';
import { loadBalancerKind } from './kinds/load-balancer.ts';
import { mirrorKind } from './kinds/mirror.ts';
import { portKind } from './kinds/port.ts';
import { floatingAddressKind, routerKind, routerPortKind } from './kinds/router.ts';
import { addressSetKind, securityGroupKind } from './kinds/security-group.ts';
import { switchKind } from './kinds/switch.ts';
import { tenantKind } from './kinds/tenant.ts';
import { tunnelZoneKind } from './kinds/tunnel-zone.ts';
import { vtepBindingKind, vtepKind } from './kinds/vtep.ts';

/** All kinds, each after those that it refers to (so that creating in this order and deleting in reverse works). */
export const KINDS = {
  tenant: tenantKind,
  tunnelZone: tunnelZoneKind,
  host: hostKind,
  addressSet: addressSetKind,
  securityGroup: securityGroupKind,
  chain: chainKind,
  rule: ruleKind,
  switch: switchKind,
  port: portKind,
  router: routerKind,
  routerPort: routerPortKind,
  floatingAddress: floatingAddressKind,
  loadBalancer: loadBalancerKind,
  mirror: mirrorKind,
  bgpPeer: bgpPeerKind,
  l2Gateway: l2GatewayKind,
  vtep: vtepKind,
  vtepBinding: vtepBindingKind,
} as const satisfies Record<KindName, KindDefinition>;
