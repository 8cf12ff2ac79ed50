import { z } from 'zod';
import { formatIp, parseIp } from '../base/addresses.ts';
import { append } from '../base/append.ts';
import type { Clock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import { qualifiedName } from '../model/describe.ts';
import type { Draft } from '../model/draft.ts';
import { idSchema, ipSchema, macSchema } from '../model/kinds/common.ts';
import { MOST_MEMBERS } from '../model/kinds/load-balancer.ts';
import { MOST_MOVED, parseMoved } from '../model/moved-connections.ts';
import type { Outside } from '../model/objects.ts';
import { countPacked } from '../model/packed-routes.ts';
import { problemsOfZod } from '../model/parse.ts';
import { isPortBlock } from '../model/port-blocks.ts';
import { problemsError } from '../model/problem.ts';
import type { AgentStreams } from './agent-streams.ts';
import { activatePort, claimPort, holdsClaim, type Notice, replaceClaims, unclaimPort } from './bindings.ts';
import type { DesiredState, RecordChange } from './desired-state.ts';
import type { EventRing } from './events.ts';
import { L2Gateways } from './l2-gateways.ts';
import type { TakenRoutes } from './learned-routes.ts';
import { dropOrphanedLeases, growLease, LEASE_REFUSALS, leaseAhead, moveLeases, shrinkLease } from './nat-leases.ts';
import { dropOrphanedMoves, MOVE_REFUSALS, setNatMove } from './nat-moves.ts';
import { NatShortages, shortage } from './nat-shortages.ts';
import { OverlapNews } from './overlap-news.ts';
import {
  MOST_BLOCKS_IN_REPORT,
  MOST_SETS_IN_REPORT,
  type Report,
  type ReportedClaim,
  type ReportsAnswer,
  type WRITTEN_REPORTS,
} from './protocol.ts';
import type { Runtime } from './runtime.ts';
import { SessionNews } from './session-news.ts';
import { VtepEnds } from './vtep-ends.ts';

/** What agents may report, as it arrives: an agent of another version, or something else altogether, is refused as a whole. */
const portId = idSchema;
const claim = { port: portId, interface: z.string().min(1).max(255), vm: z.string().max(255).optional() };
const address = { port: portId, vlan: z.number().int().min(0).max(4094), mac: macSchema };
const member = { loadBalancer: idSchema, port: portId };
const health = { ...member, up: z.boolean() };
const kept = {
  loadBalancer: idSchema,
  members: z
    .array(
      z.object({
        port: portId,
        clients: z.record(
          z.string().refine((text) => canonicalIp(text) === text, 'no address as Weft writes it'),
          z.number().int().min(0),
        ),
      }),
    )
    .max(MOST_MEMBERS),
};
const neighbourAt = { switch: idSchema, address: ipSchema };
const neighbour = { ...neighbourAt, mac: macSchema, port: portId };
const nextHopAt = { router: idSchema, address: ipSchema };
const nextHop = { ...nextHopAt, up: z.boolean(), sinceMs: z.number().min(0) };
const setNumber = z.string().regex(/^\d{1,15}$/);
const setOf = { router: idSchema, set: setNumber };
const told = z.number().int().min(0).optional();
const blockOf = { router: idSchema, block: z.string().regex(/^[0-9a-f]{2}$/) };
const packed = (version: 4 | 6) =>
  z
    .string()
    .max(8_000_000)
    .refine((text) => countPacked(text, version) !== undefined, 'no packed networks (docs/design/gateways.md)')
    .optional();
const learnedSets = z
  .array(
    z.object({
      ...setOf,
      via: z
        .array(z.object({ address: ipSchema, routerPort: idSchema, weight: z.number().int().min(1).max(100) }))
        .min(1)
        .max(64),
      ended: z.array(ipSchema).min(1).max(64).optional(),
      told,
    }),
  )
  .max(MOST_SETS_IN_REPORT);
const learnedBlocks = z
  .array(
    z
      .object({
        ...blockOf,
        routes: z.array(z.object({ set: setNumber, v4: packed(4), v6: packed(6) })).max(MOST_SETS_IN_REPORT),
        told,
      })
      .transform((block) => ({ ...block, count: countOf(block.routes) })),
  )
  .max(MOST_BLOCKS_IN_REPORT);

function countOf(routes: readonly { readonly v4?: string | undefined; readonly v6?: string | undefined }[]): number {
  return routes.reduce((sum, { v4, v6 }) => sum + (countPacked(v4 ?? '', 4) ?? 0) + (countPacked(v6 ?? '', 6) ?? 0), 0);
}
const movedSchema = z.string().max(100).refine(isMoved, 'no connection: tcp/1386/203.0.113.101/80 is one');
const count = z.number().min(0);
const portBlock = z
  .object({ first: z.number().int().min(0).max(65_535), size: z.number().int().min(1).max(65_536) })
  .refine(isPortBlock, 'no block of ports: its size is a power of two, and its first port a multiple of that');
const session = {
  peer: idSchema,
  state: z.string().min(1).max(32),
  sinceMs: count,
  accepted: count,
  sent: count,
  refused: count.optional(),
  refusesDefault: z.boolean().optional(),
  problem: z.string().max(2000).optional(),
};
const reportSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('claims'), claims: z.array(z.object(claim)).max(100_000) }),
  z.object({ type: z.literal('claim'), ...claim }),
  z.object({ type: z.literal('unclaim'), port: portId }),
  z.object({ type: z.literal('activate'), port: portId }),
  z.object({ type: z.literal('learnedAll'), addresses: z.array(z.object(address)).max(1_000_000) }),
  z.object({ type: z.literal('learned'), ...address }),
  z.object({ type: z.literal('forgotten'), ...address }),
  z.object({
    type: z.literal('natNeed'),
    router: idSchema,
    address: ipSchema,
    port: portId.optional(),
    have: z.number().int().min(0).optional(),
  }),
  z.object({
    type: z.literal('natReturn'),
    router: idSchema,
    address: ipSchema,
    port: portId.optional(),
    blocks: z.array(portBlock).max(1_000),
  }),
  z.object({
    type: z.literal('natMove'),
    port: portId,
    router: idSchema,
    address: ipSchema,
    connections: z.array(movedSchema).max(MOST_MOVED),
  }),
  z.object({ type: z.literal('memberHealthAll'), members: z.array(z.object(health)).max(1_000_000) }),
  z.object({ type: z.literal('memberHealth'), ...health }),
  z.object({ type: z.literal('memberHealthGone'), ...member }),
  z.object({ type: z.literal('keptClients'), ...kept }),
  z.object({ type: z.literal('keptClientsAll'), kept: z.array(z.object(kept)).max(10_000) }),
  z.object({ type: z.literal('neighbourAll'), neighbours: z.array(z.object(neighbour)).max(1_000_000) }),
  z.object({ type: z.literal('neighbour'), ...neighbour }),
  z.object({ type: z.literal('neighbourGone'), ...neighbourAt }),
  z.object({ type: z.literal('nextHopsAll'), hops: z.array(z.object(nextHop)).max(100_000) }),
  z.object({ type: z.literal('nextHop'), ...nextHop }),
  z.object({ type: z.literal('nextHopGone'), ...nextHopAt }),
  z.object({
    ...{ type: z.literal('learnedRoutesAll'), sets: learnedSets, blocks: learnedBlocks },
    isMore: z.boolean().optional(),
  }),
  z.object({
    ...{ type: z.literal('learnedRoutes'), sets: learnedSets, blocks: learnedBlocks },
    goneSets: z.array(z.object(setOf)).max(MOST_SETS_IN_REPORT),
    goneBlocks: z.array(z.object(blockOf)).max(256),
  }),
  z.object({ type: z.literal('bgp'), peers: z.array(z.object(session)).max(10_000) }),
  z.object({
    type: z.literal('attachments'),
    attachments: z
      .array(
        z.object({
          gateway: idSchema,
          state: z.enum(['up', 'silent', 'down', 'loop']),
          problem: z.string().max(2000).optional(),
        }),
      )
      .max(10_000),
  }),
  z.object({
    type: z.literal('vteps'),
    vteps: z
      .array(
        z.object({
          vtep: idSchema,
          state: z.enum(['connected', 'unreachable', 'wrong']),
          problem: z.string().max(2000).optional(),
          tunnelAddress: z.string().max(64).optional(),
        }),
      )
      .max(10_000),
  }),
  z.object({ type: z.literal('applied'), revision: z.number().int().min(0) }),
  z.object({
    type: z.literal('ports'),
    ports: z.record(
      z.string(),
      z.object({
        state: z.enum(['installed', 'pending', 'shut-off', 'no-port', 'gone']),
        problem: z.string().max(2000).optional(),
      }),
    ),
  }),
  z.object({
    type: z.literal('health'),
    health: z.object({
      agentVersion: z.string(),
      openvswitchVersion: z.string(),
      datapathType: z.string(),
      flows: count,
      localPorts: count,
      conntrack: z.object({ connections: count, most: count }).optional(),
      lost: z.array(z.string().max(255)).max(1000).optional(),
      full: z.array(z.string().max(255)).max(1000).optional(),
      problems: z.array(z.string()).max(1000),
    }),
  }),
  z.object({
    type: z.literal('counters'),
    epochMs: z.number(),
    rules: z.record(z.string(), z.object({ packets: count, bytes: count })),
    drops: z.record(z.string().max(300), z.object({ packets: count, bytes: count })).optional(),
  }),
  z.object({
    type: z.literal('event'),
    atMs: z.number(),
    level: z.enum(['info', 'warning', 'error']),
    about: z.object({ kind: z.string().max(64), id: z.string().max(200) }),
    text: z.string(),
  }),
]);
const reportsSchema = z.object({ reports: z.array(reportSchema).max(100_000) });

function canonicalIp(text: string): string | undefined {
  const ip = parseIp(text);
  return ip && formatIp(ip);
}

/** Names a connection, with an address that is one. */
function isMoved(text: string): boolean {
  const moved = parseMoved(text);
  return moved !== undefined && parseIp(moved.remote) !== undefined;
}

/** Throws `invalid` with every problem. */
export function parseReports(body: unknown): readonly Report[] {
  const parsed = reportsSchema.safeParse(body);
  if (!parsed.success) throw problemsError(problemsOfZod(parsed.error, 'reports', ['reports']).slice(0, 50));
  return parsed.data.reports as readonly Report[];
}

/** Records that change by themselves are told agents in such chunks. */
export const MOST_AT_ONCE = 2_000;

/** The same thing is told no more often. */
const NEWS_MS = 60_000;

type Refused = ReportsAnswer['refused'][number];
type BindingReport = Extract<Report, { type: (typeof WRITTEN_REPORTS)[number] }>;

/** Takes agents' reports in: bindings into the store, everything else into the runtime state. */
export class Reports {
  readonly #state: DesiredState;
  readonly #runtime: Runtime;
  readonly #streams: AgentStreams;
  readonly #events: EventRing;
  readonly #clock: Clock;
  readonly gateways: L2Gateways;
  readonly shortages = new NatShortages();
  readonly vtepEnds: VtepEnds;
  /** What people were told of lately, with when, by the clock that does not step: agents ask again and again for what is not to be had. */
  readonly #toldMs = new Map<string, number>();
  readonly #sessions = new SessionNews();
  readonly #overlaps: OverlapNews;

  constructor(state: DesiredState, runtime: Runtime, streams: AgentStreams, events: EventRing, clock: Clock) {
    this.#state = state;
    this.#runtime = runtime;
    this.#streams = streams;
    this.#events = events;
    this.#clock = clock;
    this.gateways = new L2Gateways(state, runtime, clock);
    this.#overlaps = new OverlapNews(state.index);
    this.vtepEnds = new VtepEnds(state.index);
    state.onCommit(({ changes }) => this.#overlaps.committed(changes));
    state.amendWrites((draft) => this.#claimCreatedPorts(draft));
    state.amendWrites(leaseAhead);
    state.amendWrites(dropOrphanedLeases);
    state.amendWrites(moveLeases);
    state.amendWrites(dropOrphanedMoves);
    state.amendWrites((draft) => this.vtepEnds.check(draft));
  }

  /** All reports of a request, in order; what concerns bindings is one transaction. */
  async take(hostId: string, reports: readonly Report[]): Promise<ReportsAnswer> {
    this.#runtime.seen(hostId);
    const refused: Refused[] = [];
    const bindings: { readonly index: number; readonly report: BindingReport }[] = [];
    const learned: RecordChange[] = [];
    for (const [index, report] of reports.entries()) {
      switch (report.type) {
        case 'claims':
          // A new connection: the states that still hold follow.
          this.#runtime.seen(hostId).ports.clear();
          this.#runtime.connected(hostId);
          this.#runtime.learnedRoutes.forgetComing(hostId);
          bindings.push({ index, report });
          break;
        case 'claim':
        case 'unclaim':
        case 'activate':
        case 'natNeed':
        case 'natReturn':
        case 'natMove':
          bindings.push({ index, report });
          break;
        default:
          if (!this.#takeRuntime(hostId, report, learned))
            refused.push({
              index,
              code: 'no-port',
              message: 'no port, member, next hop or uplink of this id is there for it',
            });
          // Other requests have their turn between chunks of thousands.
          if (learned.length >= MOST_AT_ONCE) {
            this.#streams.publish(this.#state.revision, learned.splice(0));
            await new Promise((resolve) => setImmediate(resolve));
            if (!this.#state.index.get('host', hostId)) throw new WeftError('not-found', `host ${hostId} was deleted`);
          }
      }
    }
    // At once: an address that moved must not wait for the disk.
    if (learned.length > 0) this.#streams.publish(this.#state.revision, learned);
    if (bindings.length > 0)
      append(refused, await this.#takeBindings(hostId, bindings).catch(refusedForRoom(bindings)));
    const attachments = [...reports.entries()].flatMap(([index, { type }]) =>
      type === 'attachments' ? [{ index }] : [],
    );
    if (attachments.length > 0) {
      const judged = this.judgeGateways(this.#state.index.outsidesAt(hostId));
      append(refused, await judged.then(() => [], refusedForRoom(attachments)));
    }
    return { refused: refused.toSorted((a, b) => a.index - b.index) };
  }

  /** Something that decides where L2 gateways and VTEP bindings are active is different. */
  async judgeGateways(gateways: Iterable<Outside>): Promise<void> {
    this.#tell(await this.gateways.judge(gateways));
  }

  /** A port whose interface is there already is bound by the transaction that creates it. */
  #claimCreatedPorts(draft: Draft): void {
    for (const { kind, id, before } of draft.changes()) {
      if (kind !== 'port' || before) continue;
      for (const { host, claim } of this.#runtime.awaitedClaims(id))
        if (draft.index.get('host', host)) claimPort(draft, host, claim, this.#clock.now(), () => {});
    }
  }

  /** A port was created: interfaces that waited for it are its claims now, those that came since the write too. */
  async portCreated(portId: string): Promise<void> {
    const { index } = this.#state;
    const waiting = this.#runtime.takeAwaited(portId).filter(({ host, claim }) => !holdsClaim(index, host, claim));
    if (waiting.length === 0) return;
    const notices: Notice[] = [];
    await this.#state.write((draft) => {
      notices.length = 0;
      for (const { host, claim } of waiting)
        if (draft.index.get('host', host))
          claimPort(draft, host, claim, this.#clock.now(), (notice) => notices.push(notice));
    });
    this.#tell(notices);
  }

  async #takeBindings(
    hostId: string,
    reports: readonly { readonly index: number; readonly report: BindingReport }[],
  ): Promise<readonly Refused[]> {
    const notices: Notice[] = [];
    const notify = (notice: Notice): void => void notices.push(notice);
    const { result } = await this.#state.write((draft) => {
      notices.length = 0;
      const refused: Refused[] = [];
      const awaited: ReportedClaim[] = [];
      // Deleted while these reports waited for their turn: a claim of it would never go.
      if (!draft.index.get('host', hostId)) throw new WeftError('not-found', `host ${hostId} was deleted`);
      for (const { index, report } of reports) {
        const unknown = (port: string): void =>
          void refused.push({
            index,
            code: 'no-port',
            message: `there is no port ${port}; it counts once it is created`,
          });
        if (report.type === 'claims') {
          for (const lost of replaceClaims(draft, hostId, report.claims, this.#clock.now(), notify)) {
            awaited.push(lost);
            unknown(lost.port);
          }
        } else if (report.type === 'claim') {
          if (claimPort(draft, hostId, report, this.#clock.now(), notify) === 'no-port') {
            awaited.push(report);
            unknown(report.port);
          }
        } else if (report.type === 'unclaim') unclaimPort(draft, hostId, report.port);
        else if (report.type === 'natNeed') {
          const outcome = growLease(draft, hostId, report, this.#streams.routersBehind(hostId).has(report.router));
          if (outcome !== 'granted') refused.push({ index, code: outcome, message: LEASE_REFUSALS[outcome] });
          if (outcome !== 'no-ports' && outcome !== 'no-room') continue;
          this.shortages.refused(hostId, report, this.#clock.monotonicMs());
          const router = draft.index.get('router', report.router);
          if (router && this.#isNews(`${hostId} ${report.router} ${report.address}`)) {
            const text = `router ${qualifiedName(draft.index, router)}: ${shortage(draft.index, hostId, report)}`;
            notify({ level: 'warning', kind: 'router', id: report.router, text });
          }
        } else if (report.type === 'natReturn') shrinkLease(draft, hostId, report);
        else if (report.type === 'natMove') {
          const outcome = setNatMove(draft, hostId, report, (...place) => this.#streams.isBehind(...place));
          if (outcome !== 'held') refused.push({ index, code: outcome, message: MOVE_REFUSALS[outcome] });
        } else {
          const outcome = activatePort(draft, hostId, report.port);
          if (outcome === 'no-port') unknown(report.port);
          if (outcome === 'no-claim')
            refused.push({ index, code: 'no-claim', message: `this host has no claim of port ${report.port}` });
        }
      }
      return { refused, awaited };
    });
    for (const { report } of reports) {
      if (report.type === 'unclaim') this.#runtime.notAwaited(hostId, report.port);
      if (report.type !== 'claims') continue;
      for (const port of [...(this.#runtime.host(hostId)?.pendingClaims.keys() ?? [])])
        this.#runtime.notAwaited(hostId, port);
    }
    for (const { port, interface: name, vm } of result.awaited) {
      this.#runtime.awaitPort(hostId, { port, interface: name, ...(vm === undefined ? {} : { vm }) });
      // Created in the very moment: nobody else will notice that the claim waits.
      if (this.#state.index.get('port', port)) await this.portCreated(port);
    }
    this.#tell(notices);
    return result.refused;
  }

  /** False: refused. */
  #takeRuntime(hostId: string, report: Exclude<Report, BindingReport>, changes: RecordChange[]): boolean {
    const host = this.#runtime.seen(hostId);
    switch (report.type) {
      case 'learnedAll':
        append(changes, this.#runtime.replaceLearned(hostId, report.addresses));
        return true;
      case 'learned': {
        const learned = this.#runtime.learn(hostId, report);
        append(changes, learned ?? []);
        return learned !== undefined;
      }
      case 'forgotten':
        append(changes, this.#runtime.forget(hostId, report));
        return true;
      case 'memberHealthAll':
        append(changes, this.#runtime.tellMemberHealth(hostId, report.members));
        return true;
      case 'memberHealth': {
        const health = this.#runtime.setMemberHealth(hostId, report);
        append(changes, health ?? []);
        return health !== undefined;
      }
      case 'memberHealthGone':
        append(changes, this.#runtime.endMemberHealth(hostId, report.loadBalancer, report.port));
        return true;
      case 'keptClients': {
        const kept = this.#runtime.setKeptClients(hostId, report);
        append(changes, kept ?? []);
        return kept !== undefined;
      }
      case 'keptClientsAll':
        append(changes, this.#runtime.replaceKeptClients(hostId, report.kept));
        return true;
      case 'neighbourAll':
        append(changes, this.#runtime.replaceNeighbours(hostId, report.neighbours));
        return true;
      case 'neighbour': {
        const neighbour = this.#runtime.setNeighbour(hostId, report);
        append(changes, neighbour ?? []);
        return neighbour !== undefined;
      }
      case 'neighbourGone':
        append(changes, this.#runtime.endNeighbour(hostId, report.switch, report.address));
        return true;
      case 'nextHopsAll':
        append(changes, this.#runtime.replaceNextHops(hostId, report.hops));
        return true;
      case 'nextHop': {
        const state = this.#runtime.setNextHop(hostId, report);
        append(changes, state ?? []);
        return state !== undefined;
      }
      case 'nextHopGone':
        append(changes, this.#runtime.endNextHop(hostId, report.router, report.address));
        return true;
      case 'learnedRoutesAll':
        return this.#takeRoutes(
          hostId,
          this.#runtime.learnedRoutes.replace(hostId, report.sets, report.blocks, report.isMore ?? false),
          changes,
        );
      case 'learnedRoutes':
        return this.#takeRoutes(hostId, this.#runtime.learnedRoutes.take(hostId, report), changes);
      case 'bgp':
        this.#tell(this.#sessions.take(this.#state.index, hostId, report.peers, this.#clock.monotonicMs()));
        host.sessions = new Map(
          report.peers.flatMap((peer) => (this.#state.index.get('bgpPeer', peer.peer) ? [[peer.peer, peer]] : [])),
        );
        return true;
      case 'attachments':
        host.attachments = new Map(
          report.attachments.flatMap((each) =>
            (['l2Gateway', 'vtepBinding'] as const).some((kind) => this.#state.index.get(kind, each.gateway))
              ? [[each.gateway, each]]
              : [],
          ),
        );
        return true;
      case 'vteps':
        this.#tell(this.vtepEnds.take(report.vteps));
        host.vteps = new Map(
          report.vteps.flatMap((each) => (this.#state.index.get('vtep', each.vtep) ? [[each.vtep, each]] : [])),
        );
        return true;
      case 'applied':
        host.applied = report.revision;
        this.#streams.applied(hostId, report.revision);
        return true;
      case 'ports':
        for (const [port, state] of Object.entries(report.ports)) {
          if (state.state === 'gone' || !this.#state.index.get('port', port)) host.ports.delete(port);
          else host.ports.set(port, state);
        }
        return true;
      case 'health':
        host.health = report.health;
        this.#runtime.setLost(hostId, report.health.lost ?? []);
        this.#state.index.setLost(hostId, report.health.lost ?? []);
        this.#state.index.setFull(hostId, report.health.full ?? []);
        return true;
      case 'counters':
        this.#runtime.setCounters(hostId, report);
        return true;
      case 'event':
        this.#events.add({ ...report, host: hostId });
        return true;
    }
  }

  #takeRoutes(hostId: string, { changes, strange, excess }: TakenRoutes, all: RecordChange[]): boolean {
    append(all, changes);
    const { index } = this.#state;
    for (const { router: id, of, most } of excess) {
      const router = index.get('router', id);
      if (!router || !this.#isNews(`${hostId} ${id} ${of}`)) continue;
      const where = index.get('host', hostId)?.name ?? hostId;
      const text = `router ${router.name} learned more than ${most} ${of} at ${where}; further ones are not used (bgp.maxRoutes)`;
      this.#tell([{ level: 'warning', kind: 'router', id, text }]);
    }
    return strange.size === 0;
  }

  /** Once a second. */
  tick(): void {
    const { index } = this.#state;
    const steadyMs = this.#clock.monotonicMs();
    this.#tell([...this.#sessions.tick(index, steadyMs), ...this.#overlaps.tick(index, steadyMs)]);
  }

  #isNews(about: string): boolean {
    const now = this.#clock.monotonicMs();
    // The oldest first: each is noted once.
    for (const [each, atMs] of this.#toldMs) {
      if (now - atMs < NEWS_MS) break;
      this.#toldMs.delete(each);
    }
    if (this.#toldMs.has(about)) return false;
    this.#toldMs.set(about, now);
    return true;
  }

  #tell(notices: readonly Notice[]): void {
    for (const { level, kind, id, text } of notices)
      this.#events.add({ atMs: this.#clock.now(), level, about: { kind, id }, text });
  }
}

/** A full disk is no reason to lose what else came along, nor for the agent to tell all of it again: it tells these again, after a while. */
function refusedForRoom(reports: readonly { readonly index: number }[]): (error: unknown) => Refused[] {
  return (error) => {
    if (!(error instanceof WeftError) || error.code !== 'full') throw error;
    return reports.map(({ index }) => ({ index, code: error.code, message: error.message }));
  };
}
