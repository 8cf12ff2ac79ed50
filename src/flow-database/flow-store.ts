import { cidrContains, parseCidr, parseIp } from '../base/addresses.ts';

/**
 * The flow database: connections that agents tell of, and who held an outside address and port when
 * (docs/design/flow-database.md). Owned by `src/flow-database`: keeping and finding them. Not here: names of objects and who may
 * tell what (`server`), and desired state (`store`), from which it is kept apart: it may be slow, full or lost.
 *
 * Implementations: `sqlite.ts`, in a file (`file.ts`); `split.ts`, with the connections in Redis or Valkey (`redis.ts`) and the log in SQLite; either behind a
 * worker thread (`worker-store.ts`). `contract.ts` is what all must do.
 */
export interface FlowStore extends ConnectionStore {
  /** From `atMs` on the host has exactly these ports of the address. The same again changes nothing. */
  setLease(lease: Lease): Promise<void>;
  /** Leases that hold at the moment. */
  leases(): Promise<readonly Lease[]>;
  /** Who held the address and port at the time: connections first, those that cover the time before those near it; then leases. */
  whoHeld(question: HeldQuestion): Promise<HeldAnswer>;
}

/** The part of it that knows the connections there are. */
export interface ConnectionStore {
  /** In one step; an error: nothing of it was taken. Errors: `full` (the disk). */
  write(batch: ConnectionBatch): Promise<Written>;
  /** In no particular order, at most `limit`. */
  list(filter: ConnectionFilter, limit: number): Promise<readonly StoredConnection[]>;
  /** Ends the connections of hosts that were silent, and forgets what is too old or too much. `nowMs`: by the clock of `heardMs`. */
  expire(nowMs: number): Promise<void>;
  close(): Promise<void>;
}

export interface Written {
  /** The batch's epoch is not whole here: the host has to tell everything in a new one. While it is being told this means nothing. */
  readonly isAgain?: boolean;
  /** As many connections as there may be are there: new ones were left out. What ends and what is translated was taken all the same. */
  readonly isFull?: boolean;
}

/** What keeps a store from its work as a whole, for people; undefined: nothing does. Told at each change. */
export type TroubleListener = (trouble: string | undefined) => void;

/** The same of each part of it: the connections alone (in Redis), and the file. */
export interface Troubles {
  readonly connections?: string | undefined;
  readonly file?: string | undefined;
}

export interface Endpoint {
  readonly address: string;
  /** Absent where the protocol has none. */
  readonly port?: number;
}

export const DIRECTIONS = ['out', 'in'] as const;

/** A tracked connection as the workload of one port sees it; all addresses in the direction in which it began. */
export interface Connection {
  /** The same for as long as the connection lasts; unique on its host. */
  readonly key: string;
  /** The port's id. */
  readonly port: string;
  /** Did the workload of the port begin it? */
  readonly direction: (typeof DIRECTIONS)[number];
  /** `tcp`, `udp`, `icmp`, … or a number. */
  readonly protocol: string;
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** What the other end sees instead of `from`. */
  readonly seenAs?: Endpoint;
  /** What the client addressed instead of `to`. */
  readonly asked?: Endpoint;
  /** The router that translates; its id. */
  readonly router?: string;
  readonly state?: string;
  readonly packets?: number;
  readonly bytes?: number;
  /** When it was first seen, in milliseconds since the epoch. */
  readonly sinceMs: number;
}

export interface StoredConnection extends Connection {
  readonly host: string;
  /** Of the port. */
  readonly tenant: string;
  /** As they were when it was told: the log outlives them. */
  readonly names: { readonly host: string; readonly port: string; readonly router?: string };
}

export interface ConnectionBatch {
  readonly host: string;
  /** Rises each time the host tells everything anew. */
  readonly epoch: number;
  /** By the wall clock: the log is asked by it. */
  readonly atMs: number;
  /** When the host was heard, by a clock that does not step (`SteadyClock`): silence is counted by it, within one run of the server. */
  readonly heardMs: number;
  readonly put: readonly StoredConnection[];
  /** Keys of connections that ended. */
  readonly gone: readonly string[];
  /** Everything of this epoch is told: what it did not name has ended. */
  readonly isWhole?: boolean;
}

export interface ConnectionFilter {
  readonly port?: string | undefined;
  readonly tenant?: string | undefined;
  /** Any of the connection's. */
  readonly address?: string | undefined;
  readonly protocol?: string | undefined;
  readonly state?: string | undefined;
  readonly host?: string | undefined;
  /** A CIDR that has any of the connection's addresses. */
  readonly network?: string | undefined;
  /** The router that translates. */
  readonly router?: string | undefined;
}

export interface Lease {
  readonly router: string;
  readonly address: string;
  readonly host: string;
  readonly names: { readonly host: string; readonly router: string };
  readonly blocks: readonly { readonly first: number; readonly size: number }[];
  readonly atMs: number;
}

export interface HeldQuestion {
  readonly address: string;
  readonly port?: number | undefined;
  readonly protocol?: string | undefined;
  readonly atMs: number;
}

export interface HeldAnswer {
  readonly holders: readonly Holder[];
  /** Translations before this time are not known. */
  readonly sinceMs: number;
}

export interface Holder {
  /** `lease`: all that is known is whose ports they were. */
  readonly by: 'connection' | 'lease';
  readonly host: string;
  readonly router?: string;
  readonly names: StoredConnection['names'] | Lease['names'];
  readonly fromMs: number;
  /** Absent: still. */
  readonly toMs?: number;
  /** Of connections: the port's id, the workload's own address, and the other end. */
  readonly port?: string;
  readonly protocol?: string;
  readonly workload?: Endpoint;
  readonly other?: Endpoint;
}

/** A host silent for so long has no connections any more. */
export const SILENCE_MS = 60_000;
export const KEPT_MS = 90 * 86_400_000;
/** Connections are read every some seconds: one may have begun so long before it was first seen. */
export const SLACK_MS = 15_000;

/** The public ends that a connection holds: what a log has to answer for. */
export function heldBy({ direction, seenAs, asked }: Connection): readonly Endpoint[] {
  if (direction === 'out') return seenAs ? [seenAs] : [];
  return asked ? [asked] : [];
}

export function fits(connection: StoredConnection, filter: ConnectionFilter): boolean {
  const { port, tenant, address, protocol, state, host, network, router } = filter;
  const is = (wanted: string | undefined, value: string | undefined): boolean =>
    wanted === undefined || wanted === value;
  return (
    is(port, connection.port) &&
    is(tenant, connection.tenant) &&
    is(protocol, connection.protocol) &&
    is(state, connection.state) &&
    is(host, connection.host) &&
    is(router, connection.router) &&
    (network === undefined || isIn(network, connection)) &&
    (address === undefined || addressesOf(connection).includes(address))
  );
}

function isIn(network: string, connection: Connection): boolean {
  const cidr = parseCidr(network);
  return addressesOf(connection).some((address) => {
    const ip = parseIp(address);
    return cidr !== undefined && ip !== undefined && cidrContains(cidr, ip);
  });
}

export function addressesOf({ from, to, seenAs, asked }: Connection): readonly string[] {
  return [from, to, seenAs, asked].flatMap((end) => (end ? [end.address] : []));
}
