import { formatMac, parseMac } from '../../base/addresses.ts';
import type { RowChange } from '../../ovsdb/replica.ts';
import type { Uuid } from '../../ovsdb/values.ts';
import type { Watches } from './database.ts';

/** MACs that a database has, by logical switch, kept up with its changes. */
export class MacRows {
  /** Logical switch → MAC → row → its locator. */
  readonly remote = new Map<Uuid, Map<string, Map<Uuid, Uuid>>>();
  /** Logical switch → MAC → rows. */
  readonly local = new Map<Uuid, Map<string, Set<Uuid>>>();

  /** Gives the MACs whose rows differ, by logical switch. */
  take(changes: readonly RowChange<Watches>[]): {
    readonly remote: ReadonlyMap<Uuid, ReadonlySet<string>>;
    readonly local: ReadonlyMap<Uuid, ReadonlySet<string>>;
  } {
    const touched = { remote: new Map<Uuid, Set<string>>(), local: new Map<Uuid, Set<string>>() };
    for (const change of changes) {
      if (change.table === 'Ucast_Macs_Remote') {
        if (change.kind !== 'insert') {
          const { MAC, logical_switch: on } = change.old;
          const rows = this.remote.get(on)?.get(plain(MAC));
          rows?.delete(change.uuid);
          if (rows?.size === 0) this.remote.get(on)?.delete(plain(MAC));
          touch(touched.remote, on, plain(MAC));
        }
        if (change.kind !== 'delete') {
          const { MAC, logical_switch: on, locator } = change.row;
          within(
            within(this.remote, on, () => new Map<string, Map<Uuid, Uuid>>()),
            plain(MAC),
            () => new Map(),
          ).set(change.uuid, locator);
          touch(touched.remote, on, plain(MAC));
        }
      }
      if (change.table === 'Ucast_Macs_Local') {
        if (change.kind !== 'insert') {
          const { MAC, logical_switch: on } = change.old;
          const rows = this.local.get(on)?.get(plain(MAC));
          rows?.delete(change.uuid);
          if (rows?.size === 0) this.local.get(on)?.delete(plain(MAC));
          touch(touched.local, on, plain(MAC));
        }
        if (change.kind !== 'delete') {
          const { MAC, logical_switch: on } = change.row;
          within(
            within(this.local, on, () => new Map<string, Set<Uuid>>()),
            plain(MAC),
            () => new Set(),
          ).add(change.uuid);
          touch(touched.local, on, plain(MAC));
        }
      }
    }
    return touched;
  }
}

/** As we write it; what is none stays as it is, and is nobody's. */
function plain(text: string): string {
  const mac = parseMac(text);
  return mac === undefined ? text : formatMac(mac);
}

function touch(touched: Map<Uuid, Set<string>>, on: Uuid, mac: string): void {
  within(touched, on, () => new Set<string>()).add(mac);
}

function within<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const fresh = make();
  map.set(key, fresh);
  return fresh;
}
