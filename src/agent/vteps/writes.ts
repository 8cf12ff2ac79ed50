import {
  McastMacsLocal,
  McastMacsRemote,
  PhysicalLocator,
  PhysicalLocatorSet,
  PhysicalPort,
  UcastMacsLocal,
  UcastMacsRemote,
  VtepLogicalSwitch,
} from '../../ovsdb/hardware-vtep-tables.ts';
import { deleteRows, insert, mutate, type Operation, update } from '../../ovsdb/operations.ts';
import { type NamedUuid, named, type Uuid } from '../../ovsdb/values.ts';
import {
  type Database,
  ENCAPSULATION,
  type FoundBinding,
  logicalSwitchName,
  type PhysicalPlace,
  type PortRow,
} from './database.ts';

/** What is to be written into a VTEP's database, as operations of one transaction. Only rows of our own logical switches are touched. */

/** Where group frames and those to MACs that the VTEP does not know are sent. */
const UNKNOWN = 'unknown-dst';

/** The locator of this host: made with the first row that needs it, and gone with the last. */
export class OwnLocator {
  readonly #address: string;
  readonly #row: Uuid | undefined;
  #made: Operation | undefined;

  constructor(database: Database, address: string) {
    this.#address = address;
    for (const row of database.table('Physical_Locator').rows.values())
      if (row.encapsulation_type === ENCAPSULATION && row.dst_ip === address && row.tunnel_key === undefined)
        this.#row = row._uuid;
  }

  /** Is it this one? */
  is(id: Uuid): boolean {
    return id === this.#row;
  }
  get reference(): Uuid | NamedUuid {
    if (this.#row !== undefined) return this.#row;
    const row = { encapsulation_type: ENCAPSULATION, dst_ip: this.#address };
    this.#made ??= insert(PhysicalLocator, row, { name: 'own' });
    return named('own');
  }
  /** To stand before what refers to it. */
  get operations(): readonly Operation[] {
    return this.#made ? [this.#made] : [];
  }
}

/** To which logical switch MACs of a binding belong, also while it is only about to be made. */
function switchReference({ row, plan }: FoundBinding): Uuid | NamedUuid {
  return row?._uuid ?? named(symbolOf(plan.binding));
}

function symbolOf(binding: string): string {
  return `s${binding.replaceAll('-', '')}`;
}

/** The logical switch itself, what is bound to it, and where it floods. */
export function structure(database: Database, vtep: string, found: FoundBinding, own: OwnLocator): Operation[] {
  const { plan, row, places, bound } = found;
  const operations: Operation[] = [];
  const wanted = { tunnel_key: plan.vni, description: plan.description };
  if (!row)
    operations.push(
      insert(
        VtepLogicalSwitch,
        { name: logicalSwitchName(vtep, plan.binding), ...wanted },
        { name: symbolOf(plan.binding) },
      ),
    );
  else if (row.tunnel_key !== plan.vni || row.description !== plan.description)
    operations.push(update(VtepLogicalSwitch, [['_uuid', '==', row._uuid]], wanted));
  const isWanted = (one: PhysicalPlace): boolean =>
    places.some(({ port, vlan }) => port._uuid === one.port._uuid && vlan === one.vlan);
  const leave = bound.filter((each) => !isWanted(each));
  const take = places.filter(({ port, vlan }) => row === undefined || port.vlan_bindings.get(vlan) !== row._uuid);
  for (const { port, vlan } of leave)
    operations.push(mutate(PhysicalPort, [['_uuid', '==', port._uuid]], [['vlan_bindings', 'delete', [vlan]]]));
  for (const { port, vlan } of take) {
    const isThis = [['_uuid', '==', port._uuid]] as const;
    // Another binding of ours that has it until now goes first: inserting leaves what a map has.
    if (port.vlan_bindings.has(vlan))
      operations.push(mutate(PhysicalPort, isThis, [['vlan_bindings', 'delete', [vlan]]]));
    const entry = new Map([[vlan, switchReference(found)]]);
    operations.push(mutate(PhysicalPort, isThis, [['vlan_bindings', 'insert', entry]]));
  }
  return [...operations, ...flooding(database, found, own)];
}

/** One row says where the VTEP floods: to this host. */
function flooding(database: Database, found: FoundBinding, own: OwnLocator): Operation[] {
  const right = found.floods.find((each) => {
    const locators = database.table('Physical_Locator_Set').rows.get(each.locator_set)?.locators ?? [];
    return each.MAC === UNKNOWN && locators.length === 1 && own.is(locators[0]!);
  });
  const operations: Operation[] = found.floods
    .filter((each) => each !== right)
    .map((each) => deleteRows(McastMacsRemote, [['_uuid', '==', each._uuid]]));
  if (right) return operations;
  const set = `f${found.plan.binding.replaceAll('-', '')}`;
  operations.push(
    insert(PhysicalLocatorSet, { locators: [own.reference] }, { name: set }),
    insert(McastMacsRemote, {
      ...{ MAC: UNKNOWN, logical_switch: switchReference(found), locator_set: named(set), ipaddr: '' },
    }),
  );
  return operations;
}

/** The address to which the VTEP floods a logical switch, where it is one. */
export function floodsTo(database: Database, logicalSwitch: Uuid): string | undefined {
  for (const row of database.table('Mcast_Macs_Remote').rows.values()) {
    if (row.logical_switch !== logicalSwitch) continue;
    const [locator] = database.table('Physical_Locator_Set').rows.get(row.locator_set)?.locators ?? [];
    return locator === undefined ? undefined : database.table('Physical_Locator').rows.get(locator)?.dst_ip;
  }
  return undefined;
}

/** A logical switch of ours with all that refers to it, what the VTEP itself wrote for it included. */
export function removal(logicalSwitch: Uuid, ports: Iterable<PortRow>): Operation[] {
  const operations: Operation[] = [];
  for (const port of ports) {
    const vlans = [...port.vlan_bindings].flatMap(([vlan, to]) => (to === logicalSwitch ? [vlan] : []));
    if (vlans.length > 0)
      operations.push(mutate(PhysicalPort, [['_uuid', '==', port._uuid]], [['vlan_bindings', 'delete', vlans]]));
  }
  return [
    ...operations,
    deleteRows(UcastMacsRemote, [['logical_switch', '==', logicalSwitch]]),
    deleteRows(McastMacsRemote, [['logical_switch', '==', logicalSwitch]]),
    deleteRows(UcastMacsLocal, [['logical_switch', '==', logicalSwitch]]),
    deleteRows(McastMacsLocal, [['logical_switch', '==', logicalSwitch]]),
    deleteRows(VtepLogicalSwitch, [['_uuid', '==', logicalSwitch]]),
  ];
}

/** One MAC of a binding: `rows` are those that there are of it. */
export function macOperations(
  mac: string,
  isWanted: boolean,
  rows: ReadonlyMap<Uuid, Uuid>,
  found: FoundBinding,
  own: OwnLocator,
): Operation[] {
  const [first, ...more] = [...rows];
  const superfluous = isWanted ? more : [...rows];
  const operations: Operation[] = superfluous.map(([id]) => deleteRows(UcastMacsRemote, [['_uuid', '==', id]]));
  if (!isWanted) return operations;
  if (first === undefined) {
    const row = { MAC: mac, logical_switch: switchReference(found), locator: own.reference, ipaddr: '' };
    operations.push(insert(UcastMacsRemote, row));
  } else if (!own.is(first[1]))
    operations.push(update(UcastMacsRemote, [['_uuid', '==', first[0]]], { locator: own.reference }));
  return operations;
}
