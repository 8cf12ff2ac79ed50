import { parseIp } from '../../base/addresses.ts';
import type { ClientConnection } from '../connections/clients-seen.ts';

interface Remembered {
  readonly slotBits: number;
  member: string;
  seenMs: number;
  /** At the last reading. */
  connections: ReadonlySet<string>;
  /** With the member, and not over by then. */
  isOpen: boolean;
  /** It was left for another member: the connections that it has still do not count, only one that is new does. */
  isLeft: boolean;
}

/** A client is with `member`, where a connection of it was seen at `seenMs`. */
export interface Client {
  readonly address: string;
  readonly member: string;
  readonly seenMs: number;
  /** The last bits of the address, as many as any balancer has for its slots. */
  readonly slotBits: number;
}

const MOST_SLOTS = 1024;

function slotBitsOf(address: string): number {
  return Number(BigInt(parseIp(address)!.value) % BigInt(MOST_SLOTS));
}

const NONE: ReadonlySet<string> = new Set();

/**
 * Which member each client of one balancer has, by the connections that this host keeps (docs/design/layer3.md, §8, "Kept clients"). Bounded: who was not
 * seen for longest is forgotten first.
 */
export class ClientMemory {
  /** Those seen last at the end. */
  readonly #clients = new Map<string, Remembered>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  /** As an earlier run of the agent had it. */
  adopt({ address, member, seenMs }: Omit<Client, 'slotBits'>): void {
    const slotBits = slotBitsOf(address);
    this.#clients.set(address, { slotBits, member, seenMs, connections: NONE, isOpen: false, isLeft: false });
  }

  /** What connections there are now. `may`: members that may keep clients; `keptAt`: the one that another host keeps a client at. */
  read(
    all: readonly ClientConnection[],
    nowMs: number,
    may: Pick<ReadonlySet<string>, 'has'>,
    keptAt: (client: string) => string | undefined,
  ): void {
    const byClient = Map.groupBy(all, ({ client }) => client);
    for (const [address, known] of this.#clients) {
      if (byClient.has(address)) continue;
      if (known.isLeft) this.#clients.delete(address);
      known.connections = NONE;
      known.isOpen = false;
    }
    for (const [address, connections] of byClient) {
      const known = this.#clients.get(address);
      const seenAt = whereSeen(
        known,
        connections.filter(({ member }) => may.has(member)),
      );
      const slotBits = known?.slotBits ?? slotBitsOf(address);
      const own = known?.isLeft === false ? known.member : undefined;
      const keys = new Set(connections.map(({ key }) => key));
      const isOpen = connections.some((connection) => connection.member === seenAt && !connection.isOver);
      const other = own === undefined ? keptAt(address) : undefined;
      const isOurs = (other ?? seenAt) === seenAt;
      if (seenAt !== undefined && (isOurs || !known)) {
        this.#clients.delete(address);
        const seen = { slotBits, member: seenAt, seenMs: nowMs, connections: keys, isOpen };
        // Not ours: it came here before this host knew of the other.
        this.#clients.set(address, { ...seen, isLeft: !isOurs });
      } else if (known) {
        known.connections = keys;
        known.isOpen = false;
      }
    }
    for (const address of this.#clients.keys()) {
      if (this.#clients.size <= this.#most) return;
      this.#clients.delete(address);
    }
  }

  /** These go by their slots, or are another host's: a new connection makes them clients again. */
  leave(isLeft: (client: Client) => boolean): void {
    for (const client of [...this.clients()]) {
      if (!isLeft(client)) continue;
      const known = this.#clients.get(client.address)!;
      if (known.connections.size === 0) this.#clients.delete(client.address);
      else known.isLeft = true;
    }
  }

  /** But for those that had a connection when it was looked for last: until the next look they have. */
  forgetBefore(ms: number): void {
    this.leave(({ address, seenMs }) => seenMs <= ms && !this.#clients.get(address)!.isOpen);
  }

  *clients(): Iterable<Client> {
    for (const [address, { isLeft, member, seenMs, slotBits }] of this.#clients)
      if (!isLeft) yield { address, member, seenMs, slotBits };
  }
}

/** The member where the connections show the client: of one that has a member only there. One that is over shows it once, at the first reading that has it. */
function whereSeen(known: Remembered | undefined, connections: readonly ClientConnection[]): string | undefined {
  const isNew = ({ key }: ClientConnection): boolean => !known?.connections.has(key);
  const counting = connections.filter((connection) =>
    known === undefined || known.isLeft
      ? isNew(connection)
      : connection.member === known.member && (!connection.isOver || isNew(connection)),
  );
  return (counting.find(({ isOver }) => !isOver) ?? counting[0])?.member;
}
