import { defineTable } from '../src/ovsdb/schema.ts';
import { mapOf, optional, scalar, setOf } from '../src/ovsdb/values.ts';

/** The tables and columns of OVN's northbound database that the bench writes and reads (ovn-nb(5)). */

export const OVN_NORTHBOUND_DB = 'OVN_Northbound';

const strings = mapOf('string', 'string');

export const NbGlobal = defineTable('NB_Global', {
  /** Counted up by whoever wants to know … */
  nb_cfg: scalar('integer'),
  /** … when every ovn-controller has installed all that was written before. */
  hv_cfg: scalar('integer'),
  options: strings,
});

export const NbLogicalSwitch = defineTable('Logical_Switch', {
  name: scalar('string'),
  ports: setOf('uuid'),
  load_balancer: setOf('uuid'),
  other_config: strings,
});

export const NbSwitchPort = defineTable('Logical_Switch_Port', {
  name: scalar('string'),
  type: scalar('string'),
  options: strings,
  addresses: setOf('string'),
  port_security: setOf('string'),
  dhcpv4_options: optional('uuid'),
});

export const NbLogicalRouter = defineTable('Logical_Router', {
  name: scalar('string'),
  ports: setOf('uuid'),
  static_routes: setOf('uuid'),
  nat: setOf('uuid'),
  load_balancer: setOf('uuid'),
  /** `chassis`: it is a gateway router, all of it there. */
  options: strings,
});

export const NbRouterPort = defineTable('Logical_Router_Port', {
  name: scalar('string'),
  mac: scalar('string'),
  networks: setOf('string'),
  gateway_chassis: setOf('uuid'),
});

export const NbStaticRoute = defineTable('Logical_Router_Static_Route', {
  ip_prefix: scalar('string'),
  nexthop: scalar('string'),
  /** `src-ip`: `ip_prefix` is of the source. */
  policy: optional('string'),
});

export const NbGatewayChassis = defineTable('Gateway_Chassis', {
  name: scalar('string'),
  chassis_name: scalar('string'),
  priority: scalar('integer'),
});

export const NbNat = defineTable('NAT', {
  type: scalar('string'),
  external_ip: scalar('string'),
  logical_ip: scalar('string'),
});

export const NbLoadBalancer = defineTable('Load_Balancer', {
  name: scalar('string'),
  protocol: optional('string'),
  vips: strings,
  options: strings,
});

export const NbPortGroup = defineTable('Port_Group', {
  name: scalar('string'),
  ports: setOf('uuid'),
  acls: setOf('uuid'),
});

export const NbAcl = defineTable('ACL', {
  priority: scalar('integer'),
  direction: scalar('string'),
  match: scalar('string'),
  action: scalar('string'),
  external_ids: strings,
});

export const NbDhcpOptions = defineTable('DHCP_Options', {
  cidr: scalar('string'),
  options: strings,
});
