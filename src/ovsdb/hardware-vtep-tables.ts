import { defineTable } from './schema.ts';
import { mapOf, optional, scalar, setOf } from './values.ts';

/** The tables and columns of the `hardware_vtep` database that Weft uses (vtep(5) of Open vSwitch, schema 1.3 and newer). */

export const HARDWARE_VTEP_DB = 'hardware_vtep';

export const PhysicalSwitch = defineTable('Physical_Switch', {
  name: scalar('string'),
  description: scalar('string'),
  ports: setOf('uuid'),
  management_ips: setOf('string'),
  /** Where its tunnels end. */
  tunnel_ips: setOf('string'),
});

export const PhysicalPort = defineTable('Physical_Port', {
  name: scalar('string'),
  description: scalar('string'),
  /** VLAN (0: no tag) → logical switch. */
  vlan_bindings: mapOf('integer', 'uuid'),
});

export const VtepLogicalSwitch = defineTable('Logical_Switch', {
  name: scalar('string'),
  description: scalar('string'),
  /** The VNI. */
  tunnel_key: optional('integer'),
});

/** MACs behind the VTEP, written by it. */
export const UcastMacsLocal = defineTable('Ucast_Macs_Local', {
  MAC: scalar('string'),
  logical_switch: scalar('uuid'),
  locator: scalar('uuid'),
  ipaddr: scalar('string'),
});

/** MACs elsewhere, written by us. */
export const UcastMacsRemote = defineTable('Ucast_Macs_Remote', {
  MAC: scalar('string'),
  logical_switch: scalar('uuid'),
  locator: scalar('uuid'),
  ipaddr: scalar('string'),
});

export const McastMacsLocal = defineTable('Mcast_Macs_Local', {
  MAC: scalar('string'),
  logical_switch: scalar('uuid'),
  locator_set: scalar('uuid'),
  ipaddr: scalar('string'),
});

/** Where group and unknown frames (`unknown-dst`) go, written by us. */
export const McastMacsRemote = defineTable('Mcast_Macs_Remote', {
  MAC: scalar('string'),
  logical_switch: scalar('uuid'),
  locator_set: scalar('uuid'),
  ipaddr: scalar('string'),
});

/** Never changed, only made. */
export const PhysicalLocatorSet = defineTable('Physical_Locator_Set', { locators: setOf('uuid') });

export const PhysicalLocator = defineTable('Physical_Locator', {
  encapsulation_type: scalar('string'),
  dst_ip: scalar('string'),
  tunnel_key: optional('integer'),
});
