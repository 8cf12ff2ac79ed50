import {
  McastMacsRemote,
  PhysicalLocator,
  PhysicalLocatorSet,
  PhysicalPort,
  PhysicalSwitch,
  UcastMacsLocal,
  UcastMacsRemote,
  VtepLogicalSwitch,
} from '../../ovsdb/hardware-vtep-tables.ts';
import type { Monitor } from '../../ovsdb/monitor.ts';
import { type WatchedRow, watch } from '../../ovsdb/replica.ts';
import type { Uuid } from '../../ovsdb/values.ts';
import type { VtepBindingPlan, VtepBindingState, VtepPlan, VtepState } from './plan.ts';

/** What is watched of a VTEP's database, and what it says of a plan. */

export const WATCHED = [
  watch(PhysicalSwitch, ['name', 'ports', 'tunnel_ips']),
  watch(PhysicalPort, ['name', 'vlan_bindings']),
  watch(VtepLogicalSwitch, ['name', 'description', 'tunnel_key']),
  watch(UcastMacsLocal, ['MAC', 'logical_switch']),
  watch(UcastMacsRemote, ['MAC', 'logical_switch', 'locator']),
  watch(McastMacsRemote, ['MAC', 'logical_switch', 'locator_set']),
  watch(PhysicalLocatorSet, ['locators']),
  watch(PhysicalLocator, ['encapsulation_type', 'dst_ip', 'tunnel_key']),
] as const;
export type Watches = (typeof WATCHED)[number];
export type Database = Monitor<Watches>['replica'];
export type PortRow = WatchedRow<(typeof WATCHED)[1]>;
type SwitchRow = WatchedRow<(typeof WATCHED)[2]>;
type FloodRow = WatchedRow<(typeof WATCHED)[5]>;

export const ENCAPSULATION = 'vxlan_over_ipv4';

/** The name of a binding's logical switch: whose it is can be told by it, also when the binding is gone. */
export function logicalSwitchName(vtep: string, binding: string): string {
  return `${namePrefix(vtep)}${binding}`;
}
/** Only logical switches whose name begins so are ours. */
export function namePrefix(vtep: string): string {
  return `weft-${vtep.slice(0, 8)}-`;
}

export interface Found {
  readonly state: VtepState;
  readonly bindings: ReadonlyMap<string, FoundBinding>;
}

export interface PhysicalPlace {
  readonly port: PortRow;
  readonly vlan: number;
}

export interface FoundBinding {
  readonly plan: VtepBindingPlan;
  readonly state: VtepBindingState;
  /** The logical switch, once it is made. */
  readonly row: SwitchRow | undefined;
  /** VLANs of physical ports that are the binding's, or free to be. */
  readonly places: readonly PhysicalPlace[];
  /** Those that the logical switch has now. */
  readonly bound: readonly PhysicalPlace[];
  /** To where group and unknown frames of the logical switch go now. */
  readonly floods: readonly FloodRow[];
}

/** Compares a plan with a VTEP's database. Pure. */
export function look(database: Database, plan: VtepPlan): Found {
  const nothing = (problem: string): Found => ({
    state: { state: 'wrong', problem },
    bindings: new Map(),
  });
  const switches = [...database.table('Physical_Switch').rows.values()];
  const named = switches.filter(({ name }) => plan.physicalSwitch === undefined || name === plan.physicalSwitch);
  const names = switches.map(({ name }) => name).join(', ');
  if (named.length === 0)
    return nothing(
      plan.physicalSwitch === undefined
        ? 'its database has no physical switch yet'
        : `its database has no physical switch ${plan.physicalSwitch} (there is ${names || 'none'})`,
    );
  if (named.length > 1) return nothing(`its database has several switches (${names}): name one in physicalSwitch`);
  const device = named[0]!;
  const tunnelAddress = plan.tunnelAddress ?? [...device.tunnel_ips].find((ip) => /^\d+(\.\d+){3}$/.test(ip));
  if (tunnelAddress === undefined)
    return nothing('its database names no IPv4 address for tunnels (tunnel_ips); tunnelAddress can say it');
  const ports = new Map<string, PortRow>();
  const bound = new Map<Uuid, PhysicalPlace[]>();
  for (const id of device.ports) {
    const port = database.table('Physical_Port').rows.get(id);
    if (!port) continue;
    ports.set(port.name, port);
    for (const [vlan, to] of port.vlan_bindings) addTo(bound, to, { port, vlan });
  }
  const floods = new Map<Uuid, FloodRow[]>();
  for (const row of database.table('Mcast_Macs_Remote').rows.values()) addTo(floods, row.logical_switch, row);
  const prefix = namePrefix(plan.vtep);
  const isOurs = (id: Uuid): boolean => database.table('Logical_Switch').rows.get(id)?.name.startsWith(prefix) === true;
  const byName = new Map<string, SwitchRow>();
  const strangers = new Map<number, SwitchRow>();
  for (const row of database.table('Logical_Switch').rows.values()) {
    byName.set(row.name, row);
    if (row.tunnel_key !== undefined && !row.name.startsWith(prefix)) strangers.set(row.tunnel_key, row);
  }
  const bindings = new Map<string, FoundBinding>();
  for (const each of plan.bindings) {
    const row = byName.get(logicalSwitchName(plan.vtep, each.binding));
    const rival = strangers.get(each.vni);
    const places: PhysicalPlace[] = [];
    const problems: string[] = [];
    for (const { port: portName, vlan } of each.physicalPorts) {
      const port = ports.get(portName);
      const to = port?.vlan_bindings.get(vlan);
      if (!port) {
        const known = [...ports.keys()].toSorted();
        const some = known.length > 8 ? `${known.slice(0, 8).join(', ')}, …` : known.join(', ');
        problems.push(`it has no physical port ${portName} (there is ${some || 'none'})`);
      } else if (to !== undefined && !isOurs(to)) {
        const whose = database.table('Logical_Switch').rows.get(to)?.name ?? to;
        problems.push(
          `${portName} ${vlan === 0 ? 'without a tag' : `with VLAN ${vlan}`} is bound to ${whose}, which is not ours`,
        );
      } else places.push({ port, vlan });
    }
    if (rival) problems.unshift(`its logical switch ${rival.name}, which is not ours, has VNI ${each.vni}`);
    const isUsable = !rival && places.length > 0;
    const problem = problems.length === 0 ? {} : { problem: problems.join('; ') };
    bindings.set(each.binding, {
      ...{ plan: each, state: { isUsable, ...problem }, row, places },
      bound: (row && bound.get(row._uuid)) ?? [],
      floods: (row && floods.get(row._uuid)) ?? [],
    });
  }
  return { state: { state: 'connected', tunnelAddress }, bindings };
}

function addTo<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}
