import { parseMoved } from '../model/moved-connections.ts';
import type { NatLease } from '../model/objects.ts';
import {
  commonBlocks,
  FIRST_SIZE,
  halves,
  largestPowerIn,
  type PortBlock,
  portCount,
  withoutBlocks,
} from '../model/port-blocks.ts';
import type { PortsInUse, TranslatedPlace } from './connections/used-ports.ts';
import type { Effect, ScopeChange } from './events.ts';
import type { Ground } from './ground.ts';
import type { Installation } from './installation.ts';
import type { Zones } from './zones.ts';

/** So long at most a quarter of a lease was in use. */
const QUIET_MS = 3_600_000;
/** Until then the server has done with what was given back, or never heard of it. */
const RETURN_MS = 60_000;

interface Watched {
  /** Since when, and how many ports at most were in use since then. */
  sinceMs: number;
  most: number;
  /** Ports that nothing new gets. */
  resting: readonly PortBlock[];
  /** Readings since the flows say so; undefined: they do not yet. */
  readings: number | undefined;
  /** Of the resting ones those that nothing had at the last reading. */
  unused: readonly PortBlock[];
  returned?: { readonly blocks: readonly PortBlock[]; readonly atMs: number };
}

/**
 * Ports of SNAT addresses that a flood, or a busy day, left this host with go back (docs/design/layer3.md, §7). What was not needed for an hour **rests**:
 * new connections get none of it, those that have one keep it. Once the flows say so, and two whole readings in a row found nothing in a block, it is the server's.
 */
export class NatReturns {
  readonly #ground: Ground;
  readonly #zones: Zones;
  readonly #installation: Pick<Installation, 'whenInstalled'>;
  /** By lease. */
  readonly #watched = new Map<string, Watched>();

  constructor(ground: Ground, zones: Zones, installation: Pick<Installation, 'whenInstalled'>) {
    this.#ground = ground;
    this.#zones = zones;
    this.#installation = installation;
  }

  /** Of which it should be told what ports are in use. */
  *places(): Iterable<TranslatedPlace> {
    for (const { router, address, blocks } of this.#own()) {
      const zone = this.#zones.of(router);
      if (zone !== undefined && portCount(blocks) > FIRST_SIZE) yield { router, zone, address };
    }
  }

  told(used: PortsInUse, nowMs: number): Effect[] {
    return [...this.#own()].flatMap((lease) => {
      const ports = used.get(`${lease.router}/${lease.address}`);
      if (ports) return this.#judge(lease, [...ports, ...this.#movedPorts(lease)], nowMs);
      // Nothing is known of this hour.
      const watched = this.#watched.get(lease.id);
      if (watched) Object.assign(watched, { sinceMs: nowMs, most: 0, unused: [] });
      return [];
    });
  }

  /** A packet found no port: what rests is used again. Nothing: there is none. */
  wake(leaseId: string, nowMs: number): Effect[] {
    const watched = this.#watched.get(leaseId);
    if (!watched || watched.resting.length === 0) return [];
    const { returned } = watched;
    const gone = returned && nowMs - returned.atMs < RETURN_MS ? commonBlocks(watched.resting, returned.blocks) : [];
    if (portCount(gone) === portCount(watched.resting)) return [];
    Object.assign(watched, { sinceMs: nowMs, most: 0 });
    return this.#rest(leaseId, watched, gone);
  }

  scopeChanged(changes: readonly ScopeChange[], nowMs: number): Effect[] {
    return changes.flatMap(({ record: { kind, id } }) => {
      const watched = kind === 'natLease' ? this.#watched.get(id) : undefined;
      if (!watched) return [];
      const lease = this.#ground.scope.get('natLease', id);
      if (lease?.host !== this.#ground.host) {
        this.#watched.delete(id);
        return this.#rest(id, watched, []);
      }
      Object.assign(watched, { sinceMs: nowMs, most: 0 });
      const resting = commonBlocks(watched.resting, lease!.blocks);
      return portCount(resting) === portCount(watched.resting) ? [] : this.#rest(id, watched, resting);
    });
  }

  #judge(lease: NatLease, ports: readonly number[], nowMs: number): Effect[] {
    const { id, blocks } = lease;
    const watched: Watched = this.#watched.get(id) ?? startingAt(nowMs);
    this.#watched.set(id, watched);
    if (watched.resting.length > 0) return this.#giveBack(lease, watched, ports, nowMs);
    const inUse = ports.filter((port) => blocks.some((block) => holds(block, port)));
    watched.most = Math.max(watched.most, inUse.length);
    if (nowMs - watched.sinceMs < QUIET_MS) return [];
    // Twice what was needed.
    const enough = Math.max(FIRST_SIZE, 2 ** Math.ceil(Math.log2(2 * watched.most)));
    const isQuiet = enough <= portCount(blocks) / 2;
    Object.assign(watched, { sinceMs: nowMs, most: 0 });
    return isQuiet ? this.#rest(id, watched, withoutBlocks(blocks, kept(blocks, enough, inUse))) : [];
  }

  #giveBack(lease: NatLease, watched: Watched, ports: readonly number[], nowMs: number): Effect[] {
    if (watched.readings === undefined)
      return this.#installation.whenInstalled(() => {
        watched.readings ??= 0;
        return [];
      });
    // The first may have begun before the flows were there.
    if (watched.readings++ === 0) return [];
    const unused = watched.resting.flatMap((block) => unusedIn(block, ports));
    const twice = commonBlocks(unused, watched.unused);
    watched.unused = unused;
    if (twice.length === 0 || !this.#ground.serverConnected) return [];
    watched.returned = { blocks: twice, atMs: nowMs };
    const { router, address, port } = lease;
    return this.#ground.report([
      { type: 'natReturn', router, address, ...(port === undefined ? {} : { port }), blocks: twice },
    ]);
  }

  #rest(id: string, watched: Watched, resting: readonly PortBlock[]): Effect[] {
    const isMore = withoutBlocks(resting, watched.resting).length > 0;
    watched.resting = resting;
    if (isMore) Object.assign(watched, { readings: undefined, unused: [] });
    return this.#ground.compile([
      resting.length === 0
        ? { op: 'delete', kind: 'restingPorts', id }
        : { op: 'put', record: { kind: 'restingPorts', id, blocks: resting } },
    ]);
  }

  /** Leases that are used here. */
  *#own(): Iterable<NatLease> {
    const { scope, host } = this.#ground;
    for (const lease of scope.all('natLease')) if (lease.host === host) yield lease;
  }

  /** Of connections that went elsewhere with their workload, and may come back. */
  #movedPorts({ router, address }: NatLease): readonly number[] {
    return [...this.#ground.scope.all('natMove')].flatMap((move) =>
      move.router === router && move.address === address ? move.connections.map((text) => parseMoved(text)!.port) : [],
    );
  }
}

function holds({ first, size }: PortBlock, port: number): boolean {
  return port >= first && port < first + size;
}

function startingAt(nowMs: number): Watched {
  return { sinceMs: nowMs, most: 0, resting: [], readings: undefined, unused: [] };
}

/** So many ports of these blocks, in few aligned blocks, and of most of these. */
function kept(blocks: readonly PortBlock[], enough: number, ports: readonly number[]): readonly PortBlock[] {
  const some: PortBlock[] = [];
  while (portCount(some) < enough)
    some.push(busiest(withoutBlocks(blocks, some), largestPowerIn(enough - portCount(some)), ports));
  return some;
}

/** Of the aligned blocks of this size the one with the most of these ports; the largest there is, if they are smaller. */
function busiest(blocks: readonly PortBlock[], size: number, ports: readonly number[]): PortBlock {
  const most = (some: readonly PortBlock[]): PortBlock => {
    const counts = some.map((block) => ports.filter((port) => holds(block, port)).length);
    return some[counts.indexOf(Math.max(...counts))]!;
  };
  const largest = Math.max(...blocks.map((block) => block.size));
  const parts = (block: PortBlock): readonly PortBlock[] =>
    block.size > size ? halves(block).flatMap(parts) : [block];
  return most(blocks.flatMap(parts).filter((block) => block.size === Math.min(size, largest)));
}

/** The largest aligned parts without any of these ports: 512 at least, or the block itself. */
function unusedIn(block: PortBlock, ports: readonly number[]): readonly PortBlock[] {
  const here = ports.filter((port) => holds(block, port));
  if (here.length === 0) return [block];
  return block.size < 2 * FIRST_SIZE ? [] : halves(block).flatMap((half) => unusedIn(half, here));
}
