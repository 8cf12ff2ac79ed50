import type { Connection } from '../../flow-database/flow-store.ts';
import { movedText } from '../../model/moved-connections.ts';
import type { NatMove } from '../../model/objects.ts';
import type { Report } from '../../server/protocol.ts';
import type { Scope } from '../scope.ts';

/** Finds out, reading by reading, which connections of `natMove` records have ended: of ports that are active here. */
export class MovedWatch {
  readonly #scope: Scope;
  readonly #host: () => string | undefined;
  /** `<record>/<connection>` that the last reading has missed: one that was just being made may be missed once. */
  #missing: ReadonlySet<string> = new Set();

  constructor(scope: Scope, host: () => string | undefined) {
    this.#scope = scope;
    this.#host = host;
  }

  /**
   * What a reading has seen, all of it. Of ports and routers in `unread` there may be more: their records are left alone. Returns what is left of records
   * that have lost some.
   */
  judge(seen: Iterable<Connection>, unread: ReadonlySet<string>): Extract<Report, { type: 'natMove' }>[] {
    const here = [...this.#scope.all('natMove')].filter((move) => this.#isHere(move));
    if (here.length === 0) {
      this.#missing = new Set();
      return [];
    }
    const alive = new Set<string>();
    for (const { port, router, protocol, to, seenAs } of seen) {
      if (router === undefined || seenAs?.port === undefined || to.port === undefined) continue;
      if (protocol !== 'tcp' && protocol !== 'udp') continue;
      const text = movedText({ protocol, port: seenAs.port, remote: to.address, remotePort: to.port });
      alive.add(`${router}/${seenAs.address}/${port}/${text}`);
    }
    const missing = new Set<string>();
    const reports: Extract<Report, { type: 'natMove' }>[] = [];
    for (const { id, port, router, address, connections } of here) {
      const isRead = !unread.has(port) && !unread.has(router);
      const left = connections.filter((text) => {
        const name = `${id}/${text}`;
        if (alive.has(name)) return true;
        const wasMissing = this.#missing.has(name);
        if (isRead || wasMissing) missing.add(name);
        return !isRead || !wasMissing;
      });
      if (left.length < connections.length) reports.push({ type: 'natMove', port, router, address, connections: left });
    }
    this.#missing = missing;
    return reports;
  }

  #isHere({ port }: NatMove): boolean {
    const host = this.#host();
    return host !== undefined && this.#scope.binding(port)?.active === host;
  }
}
