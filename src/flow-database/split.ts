import { WeftError } from '../base/errors.ts';
import type {
  ConnectionBatch,
  ConnectionFilter,
  ConnectionStore,
  FlowStore,
  HeldAnswer,
  HeldQuestion,
  Lease,
  StoredConnection,
  Written,
} from './flow-store.ts';

/**
 * Connections in one store, the log in another: Redis has the connections of many hosts in memory, and may be gone, slow or emptied at any time;
 * the log has to last 90 days. So the log is written first, and what the other store fails to take is missed there, not refused: hosts go on
 * telling what is new, and tell everything again when that store is well and says that it has to (`Written.isAgain`).
 */
export class SplitFlowStore implements FlowStore {
  readonly #connections: ConnectionStore;
  readonly #log: FlowStore;

  constructor(connections: ConnectionStore, log: FlowStore) {
    this.#connections = connections;
    this.#log = log;
  }

  /** Errors: those of the log. */
  async write(batch: ConnectionBatch): Promise<Written> {
    const log = await this.#log.write(batch);
    try {
      return { ...log, ...(await this.#connections.write(batch)) };
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      return log;
    }
  }

  list(filter: ConnectionFilter, limit: number): Promise<readonly StoredConnection[]> {
    return this.#connections.list(filter, limit);
  }
  setLease(lease: Lease): Promise<void> {
    return this.#log.setLease(lease);
  }
  leases(): Promise<readonly Lease[]> {
    return this.#log.leases();
  }
  whoHeld(question: HeldQuestion): Promise<HeldAnswer> {
    return this.#log.whoHeld(question);
  }

  async expire(nowMs: number): Promise<void> {
    await this.#log.expire(nowMs);
    // Where it is not well its keys expire by themselves.
    await this.#connections.expire(nowMs).catch((error: unknown) => {
      if (!(error instanceof WeftError)) throw error;
    });
  }

  async close(): Promise<void> {
    await Promise.all([this.#connections.close(), this.#log.close()]);
  }
}
