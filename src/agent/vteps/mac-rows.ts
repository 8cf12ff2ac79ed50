import { formatMac, parseMac } from '../../base/addresses.ts';
import type { RowChange } from '../../ovsdb/replica.ts';
import type { Uuid } from '../../ovsdb/values.ts';
import type { Watches } from './database.ts';

/** Logical switch → MAC → row → what is kept of it. What would be empty is not there. */
type Rows<V> = Map<Uuid, Map<string, Map<Uuid, V>>>;
type Touched = Map<Uuid, Set<string>>;
interface Place {
  readonly MAC: string;
  readonly logical_switch: Uuid;
}

/** MACs that a database has, by logical switch, kept up with its changes. */
export class MacRows {
  /** With their locators. */
  readonly remote: Rows<Uuid> = new Map();
  readonly local: Rows<true> = new Map();

  /** Gives the MACs whose rows differ, by logical switch. */
  take(changes: readonly RowChange<Watches>[]): {
    readonly remote: ReadonlyMap<Uuid, ReadonlySet<string>>;
    readonly local: ReadonlyMap<Uuid, ReadonlySet<string>>;
  } {
    const [remote, local]: [Touched, Touched] = [new Map(), new Map()];
    for (const change of changes) {
      const { table, kind, uuid } = change;
      if (table === 'Ucast_Macs_Remote') {
        if (kind !== 'insert') drop(this.remote, change.old, uuid, remote);
        if (kind !== 'delete') put(this.remote, change.row, uuid, change.row.locator, remote);
      }
      if (table === 'Ucast_Macs_Local') {
        if (kind !== 'insert') drop(this.local, change.old, uuid, local);
        if (kind !== 'delete') put(this.local, change.row, uuid, true, local);
      }
    }
    return { remote, local };
  }
}

function put<V>(rows: Rows<V>, { MAC, logical_switch: on }: Place, row: Uuid, kept: V, touched: Touched): void {
  const mac = plain(MAC);
  const macs = within(rows, on, () => new Map<string, Map<Uuid, V>>());
  within(macs, mac, () => new Map<Uuid, V>()).set(row, kept);
  within(touched, on, () => new Set<string>()).add(mac);
}

function drop(rows: Rows<unknown>, { MAC, logical_switch: on }: Place, row: Uuid, touched: Touched): void {
  const mac = plain(MAC);
  const macs = rows.get(on);
  const ofMac = macs?.get(mac);
  ofMac?.delete(row);
  if (ofMac?.size === 0) macs!.delete(mac);
  if (macs?.size === 0) rows.delete(on);
  within(touched, on, () => new Set<string>()).add(mac);
}

/** As we write it; what is none stays as it is, and is nobody's. */
function plain(text: string): string {
  const mac = parseMac(text);
  return mac === undefined ? text : formatMac(mac);
}

function within<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const fresh = make();
  map.set(key, fresh);
  return fresh;
}
