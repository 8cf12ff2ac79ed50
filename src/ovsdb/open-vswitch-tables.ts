import { defineTable } from './schema.ts';
import { mapOf, optional, scalar, setOf } from './values.ts';

/** The tables and columns of the `Open_vSwitch` database that Weft uses (ovs-vswitchd.conf.db(5)). */

export const OPEN_VSWITCH_DB = 'Open_vSwitch';

/** One row: the root, which refers to all that exists. */
export const OpenVswitch = defineTable('Open_vSwitch', {
  bridges: setOf('uuid'),
  manager_options: setOf('uuid'),
  ssl: optional('uuid'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
  /** Counted up by whoever changes the configuration … */
  next_cfg: scalar('integer'),
  /** … and followed by ovs-vswitchd when it has been carried out. */
  cur_cfg: scalar('integer'),
  ovs_version: optional('string'),
  db_version: optional('string'),
  system_type: optional('string'),
  system_version: optional('string'),
  datapath_types: setOf('string'),
  iface_types: setOf('string'),
});

export const Bridge = defineTable('Bridge', {
  name: scalar('string'),
  datapath_type: scalar('string'),
  datapath_version: scalar('string'),
  datapath_id: optional('string'),
  ports: setOf('uuid'),
  mirrors: setOf('uuid'),
  controller: setOf('uuid'),
  protocols: setOf('string'),
  /** `standalone` or `secure`. */
  fail_mode: optional('string'),
  stp_enable: scalar('boolean'),
  rstp_enable: scalar('boolean'),
  mcast_snooping_enable: scalar('boolean'),
  flow_tables: mapOf('integer', 'uuid'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
});

export const Port = defineTable('Port', {
  name: scalar('string'),
  interfaces: setOf('uuid'),
  tag: optional('integer'),
  trunks: setOf('integer'),
  vlan_mode: optional('string'),
  qos: optional('uuid'),
  mac: optional('string'),
  bond_mode: optional('string'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
});

export const Interface = defineTable('Interface', {
  name: scalar('string'),
  type: scalar('string'),
  options: mapOf('string', 'string'),
  /** OpenFlow port number; -1 when the interface could not be made. */
  ofport: optional('integer'),
  ofport_request: optional('integer'),
  mac: optional('string'),
  mac_in_use: optional('string'),
  ifindex: optional('integer'),
  mtu: optional('integer'),
  mtu_request: optional('integer'),
  admin_state: optional('string'),
  link_state: optional('string'),
  link_speed: optional('integer'),
  error: optional('string'),
  ingress_policing_rate: scalar('integer'),
  ingress_policing_burst: scalar('integer'),
  bfd: mapOf('string', 'string'),
  bfd_status: mapOf('string', 'string'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
  status: mapOf('string', 'string'),
  statistics: mapOf('string', 'integer'),
});

export const Controller = defineTable('Controller', {
  /** `primary` or `service`. */
  type: optional('string'),
  target: scalar('string'),
  connection_mode: optional('string'),
  max_backoff: optional('integer'),
  inactivity_probe: optional('integer'),
  controller_queue_size: optional('integer'),
  controller_rate_limit: optional('integer'),
  controller_burst_limit: optional('integer'),
  enable_async_messages: optional('boolean'),
  is_connected: scalar('boolean'),
  role: optional('string'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
  status: mapOf('string', 'string'),
});

export const OvsdbManager = defineTable('Manager', {
  target: scalar('string'),
  connection_mode: optional('string'),
  max_backoff: optional('integer'),
  inactivity_probe: optional('integer'),
  is_connected: scalar('boolean'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
  status: mapOf('string', 'string'),
});

export const Qos = defineTable('QoS', {
  type: scalar('string'),
  queues: mapOf('integer', 'uuid'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
});

export const Queue = defineTable('Queue', {
  dscp: optional('integer'),
  other_config: mapOf('string', 'string'),
  external_ids: mapOf('string', 'string'),
});

export const Mirror = defineTable('Mirror', {
  name: scalar('string'),
  select_all: scalar('boolean'),
  select_src_port: setOf('uuid'),
  select_dst_port: setOf('uuid'),
  select_vlan: setOf('integer'),
  output_port: optional('uuid'),
  output_vlan: optional('integer'),
  snaplen: optional('integer'),
  statistics: mapOf('string', 'integer'),
  external_ids: mapOf('string', 'string'),
});

export const FlowTable = defineTable('Flow_Table', {
  name: optional('string'),
  flow_limit: optional('integer'),
  /** `refuse` or `evict`. */
  overflow_policy: optional('string'),
  groups: setOf('string'),
  prefixes: setOf('string'),
  external_ids: mapOf('string', 'string'),
});

export const Ssl = defineTable('SSL', {
  private_key: scalar('string'),
  certificate: scalar('string'),
  ca_cert: scalar('string'),
  bootstrap_ca_cert: scalar('boolean'),
  external_ids: mapOf('string', 'string'),
});

export const OPEN_VSWITCH_TABLES = [
  OpenVswitch,
  Bridge,
  Port,
  Interface,
  Controller,
  OvsdbManager,
  Qos,
  Queue,
  Mirror,
  FlowTable,
  Ssl,
] as const;
