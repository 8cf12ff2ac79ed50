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
export type SwitchRow = WatchedRow<(typeof WATCHED)[2]>;

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
  /** Physical ports of the switch. */
  readonly ports: readonly PortRow[];
}

export interface FoundBinding {
  readonly plan: VtepBindingPlan;
  readonly state: VtepBindingState;
  /** The logical switch, once it is made. */
  readonly row: SwitchRow | undefined;
  /** VLANs of physical ports that are the binding's, or free to be. */
  readonly places: readonly { readonly port: PortRow; readonly vlan: number }[];
}

/** Compares a plan with a VTEP's database. Pure. */
export function look(database: Database, plan: VtepPlan): Found {
  const nothing = (problem: string): Found => ({
    state: { state: 'wrong', problem },
    bindings: new Map(),
    ports: [],
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
  const ports = [...device.ports].flatMap((id) => database.table('Physical_Port').rows.get(id) ?? []);
  const rows = [...database.table('Logical_Switch').rows.values()];
  const prefix = namePrefix(plan.vtep);
  const isOurs = (id: Uuid): boolean => database.table('Logical_Switch').rows.get(id)?.name.startsWith(prefix) === true;
  const bindings = new Map<string, FoundBinding>();
  for (const each of plan.bindings) {
    const name = logicalSwitchName(plan.vtep, each.binding);
    const row = rows.find((one) => one.name === name);
    const rival = rows.find((one) => one.tunnel_key === each.vni && !one.name.startsWith(prefix));
    const places: { port: PortRow; vlan: number }[] = [];
    const problems: string[] = [];
    for (const { port: portName, vlan } of each.physicalPorts) {
      const port = ports.find((one) => one.name === portName);
      const bound = port?.vlan_bindings.get(vlan);
      if (!port) {
        const known = ports.map((one) => one.name).toSorted();
        const some = known.length > 8 ? `${known.slice(0, 8).join(', ')}, …` : known.join(', ');
        problems.push(`it has no physical port ${portName} (there is ${some || 'none'})`);
      } else if (bound !== undefined && !isOurs(bound)) {
        const whose = database.table('Logical_Switch').rows.get(bound)?.name ?? bound;
        problems.push(
          `${portName} ${vlan === 0 ? 'without a tag' : `with VLAN ${vlan}`} is bound to ${whose}, which is not ours`,
        );
      } else places.push({ port, vlan });
    }
    if (rival) problems.unshift(`its logical switch ${rival.name}, which is not ours, has VNI ${each.vni}`);
    const isUsable = !rival && places.length > 0;
    const problem = problems.length === 0 ? {} : { problem: problems.join('; ') };
    bindings.set(each.binding, { plan: each, state: { isUsable, ...problem }, row, places });
  }
  return { state: { state: 'connected', tunnelAddress }, bindings, ports };
}
