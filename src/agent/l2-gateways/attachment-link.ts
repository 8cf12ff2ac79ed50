import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { connectOvsdb, type OvsdbClient } from '../../ovsdb/client.ts';
import type { Monitor } from '../../ovsdb/monitor.ts';
import { Bridge, Interface, OPEN_VSWITCH_DB, OpenVswitch, Port } from '../../ovsdb/open-vswitch-tables.ts';
import { insert, mutate, type Operation } from '../../ovsdb/operations.ts';
import { type WatchedRow, watch } from '../../ovsdb/replica.ts';
import { named } from '../../ovsdb/values.ts';
import type { AgentEvent, AttachmentLinkState, AttachmentPlan, PhysicalPlan, TunnelPlan } from '../events.ts';

export interface AttachmentLinkOptions {
  /** Holds `db.sock`. */
  readonly ovsRunDir: string;
  /** The integration bridge. */
  readonly bridge: string;
  readonly datapathType: string;
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const WATCHED = [
  watch(Bridge, ['name', 'ports', 'external_ids']),
  watch(Port, ['name', 'interfaces', 'tag', 'external_ids']),
  watch(Interface, ['name', 'type', 'link_state', 'error', 'external_ids']),
] as const;
type Watches = (typeof WATCHED)[number];
type BridgeRow = WatchedRow<(typeof WATCHED)[0]>;
type PortRow = WatchedRow<(typeof WATCHED)[1]>;

/** On both patch ports, and on tunnels: the gateway's id and what they were made for. */
const ATTACHMENT_MARK = 'weft-l2-gateway';
const MADE_FOR = 'weft-l2-made-for';
/** On bridges of our own: the physical interface. */
const BRIDGE_MARK = 'weft-l2-interface';
const RETRY_MS = 1_000;

/**
 * The OVSDB side of L2 gateways: a bridge around each physical interface, and for each attachment a pair of patch ports between it and
 * the integration bridge, whose inner end is an interface of the port; and for each VTEP binding a tunnel that is one. Connected while there
 * are plans; what an earlier agent left goes.
 */
export class AttachmentLink {
  readonly #options: AttachmentLinkOptions;
  #client: OvsdbClient | undefined;
  #monitor: Monitor<Watches> | undefined;
  #plans: readonly AttachmentPlan[] = [];
  #isSettling = false;
  #isDirty = false;
  #told = '';

  constructor(options: AttachmentLinkOptions) {
    this.#options = options;
  }

  /** From now on these, all of them. */
  attach(plans: readonly AttachmentPlan[]): void {
    this.#plans = plans;
    if (this.#client) void this.#settle();
    else void this.#connect();
  }

  async #connect(): Promise<void> {
    const { ovsRunDir, log, clock, signal } = this.#options;
    const client = connectOvsdb(`unix:${ovsRunDir}/db.sock`, { signal, log, clock, maxBackoffMs: 1_000 });
    this.#client = client;
    for (let monitor: Monitor<Watches> | undefined; !monitor && !signal.aborted; this.#monitor = monitor)
      try {
        monitor = await client.monitor(OPEN_VSWITCH_DB, WATCHED, () => this.#changed(), { signal });
      } catch (error) {
        if (signal.aborted) return;
        log.warn('the interfaces of L2 gateways cannot be seen; trying again', { error });
        await clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    await this.#settle();
  }

  #changed(): void {
    if (!this.#monitor) return;
    this.#tell();
    void this.#settle();
  }

  async #settle(): Promise<void> {
    this.#isDirty = true;
    if (this.#isSettling || !this.#monitor) return;
    this.#isSettling = true;
    const { signal, clock, log } = this.#options;
    while (this.#isDirty && !signal.aborted) {
      this.#isDirty = false;
      let hasFailed = false;
      // Each by itself: what Open vSwitch refuses of one holds up no other.
      for (const [what, operations] of this.#changes()) {
        try {
          await this.#client!.transact(OPEN_VSWITCH_DB, operations, { signal });
        } catch (error) {
          if (signal.aborted) break;
          hasFailed = true;
          log.warn('an attachment of an L2 gateway is not as it should be; trying again', { of: what, error });
        }
      }
      if (!hasFailed || signal.aborted) continue;
      this.#isDirty = true;
      await clock.sleep(RETRY_MS, signal).catch(() => {});
    }
    this.#isSettling = false;
    this.#tell();
    // Most hosts are no gateway: they need not hear of every interface twice.
    if (this.#plans.length > 0) return;
    this.#client?.close();
    this.#client = undefined;
    this.#monitor = undefined;
  }

  *#ports(): Iterable<readonly [BridgeRow, PortRow]> {
    const { replica } = this.#monitor!;
    for (const bridge of replica.table('Bridge').rows.values())
      for (const id of bridge.ports) {
        const port = replica.table('Port').rows.get(id);
        if (port) yield [bridge, port];
      }
  }

  /** The bridge that has the physical interface. */
  #bridgeOf(name: string): BridgeRow | undefined {
    for (const [bridge, port] of this.#ports()) if (port.name === name) return bridge;
    return undefined;
  }

  /** The port with several interfaces of which it is one: Open vSwitch has each once. */
  #bondOf(name: string): PortRow | undefined {
    const { rows } = this.#monitor!.replica.table('Interface');
    for (const [, port] of this.#ports())
      if (port.name !== name && port.interfaces.some((id) => rows.get(id)?.name === name)) return port;
    return undefined;
  }

  /** By gateway (or interface) what is to be done for it, in one transaction; asked for the next when the one before is through. */
  *#changes(): Iterable<readonly [string, readonly Operation[]]> {
    for (const [gateway, operations] of Map.groupBy(this.#unwanted(), ([gateway]) => gateway)) {
      const plan = this.#plans.find((each) => each.gateway === gateway);
      yield [
        gateway,
        [
          ...operations.map(([, operation]) => operation),
          ...(plan && !this.#purposes().has(purpose(plan)) ? this.#addition(plan) : []),
        ],
      ];
    }
    const there = this.#purposes();
    for (const plan of this.#plans) {
      if (there.has(purpose(plan))) continue;
      const operations = [...this.#addition(plan)];
      if (operations.length > 0) yield [plan.gateway, operations];
    }
    const interfaces = new Set(this.#plans.flatMap((plan) => ('vni' in plan ? [] : [plan.interface])));
    for (const bridge of this.#monitor!.replica.table('Bridge').rows.values()) {
      const around = bridge.external_ids.get(BRIDGE_MARK);
      if (around !== undefined && !interfaces.has(around))
        yield [around, [mutate(OpenVswitch, [], [['bridges', 'delete', [bridge._uuid]]])]];
    }
  }

  /** By gateway what nobody wants, or what was made for something else. */
  *#unwanted(): Iterable<readonly [string, Operation]> {
    const plans = new Map(this.#plans.map((plan) => [plan.gateway, plan]));
    for (const [bridge, port] of this.#ports()) {
      const gateway = port.external_ids.get(ATTACHMENT_MARK);
      if (gateway === undefined || isFor(plans.get(gateway), port.external_ids.get(MADE_FOR))) continue;
      yield [gateway, mutate(Bridge, [['name', '==', bridge.name]], [['ports', 'delete', [port._uuid]]])];
    }
  }

  /** What the ports were made for that are there. */
  #purposes(): ReadonlySet<string | undefined> {
    return new Set(Array.from(this.#ports(), ([, port]) => port.external_ids.get(MADE_FOR)));
  }

  *#addition(plan: AttachmentPlan): Iterable<Operation> {
    if ('vni' in plan) {
      if (plan.remote !== undefined) yield* this.#tunnel(plan, plan.remote);
      return;
    }
    const existing = this.#bridgeOf(plan.interface)?.name;
    if (existing === this.#options.bridge || this.#bondOf(plan.interface) !== undefined) return;
    const bridge = existing ?? bridgeName(plan.interface);
    if (existing === undefined) yield* this.#bridge(bridge, plan.interface);
    yield* this.#pair(plan, bridge);
  }

  /** Ordinary switching, with nobody to ask. */
  *#bridge(name: string, around: string): Iterable<Operation> {
    const id = symbol(name);
    yield insert(Interface, { name, type: 'internal' }, { name: `i${id}` });
    yield insert(Port, { name, interfaces: [named(`i${id}`)] }, { name: `p${id}` });
    yield insert(Interface, { name: around }, { name: `j${id}` });
    yield insert(Port, { name: around, interfaces: [named(`j${id}`)] }, { name: `q${id}` });
    const row = { datapath_type: this.#options.datapathType, fail_mode: 'standalone' };
    const ports = [named(`p${id}`), named(`q${id}`)];
    yield insert(Bridge, { name, ...row, ports, external_ids: new Map([[BRIDGE_MARK, around]]) }, { name: `b${id}` });
    yield mutate(OpenVswitch, [], [['bridges', 'insert', [named(`b${id}`)]]]);
  }

  /** Packets of its VNI from the VTEP come in by it, whatever other tunnels there are: the narrower one is asked first. */
  *#tunnel(plan: TunnelPlan, remote: string): Iterable<Operation> {
    const name = `vt-${shortened(plan.gateway, 10)}`;
    const marks: readonly [string, string][] = [
      [ATTACHMENT_MARK, plan.gateway],
      [MADE_FOR, purpose(plan)],
    ];
    const options = new Map([
      ['remote_ip', remote],
      ['local_ip', plan.local],
      ['key', String(plan.vni)],
    ]);
    const external_ids = new Map([...marks, ['iface-id', plan.port]]);
    const id = symbol(name);
    yield insert(Interface, { name, type: 'vxlan', options, external_ids }, { name: `i${id}` });
    yield insert(Port, { name, interfaces: [named(`i${id}`)], external_ids: new Map(marks) }, { name: `p${id}` });
    yield mutate(Bridge, [['name', '==', this.#options.bridge]], [['ports', 'insert', [named(`p${id}`)]]]);
  }

  *#pair(plan: PhysicalPlan, bridge: string): Iterable<Operation> {
    const [inner, outer] = [patchName(plan.gateway, 'i'), patchName(plan.gateway, 'o')];
    const marks: readonly [string, string][] = [
      [ATTACHMENT_MARK, plan.gateway],
      [MADE_FOR, purpose(plan)],
    ];
    for (const [name, peer, onto, more, tag] of [
      [inner, outer, this.#options.bridge, [['iface-id', plan.port]], undefined],
      [outer, inner, bridge, [], plan.vlan],
    ] as readonly [string, string, string, [string, string][], number | undefined][]) {
      const id = symbol(name);
      const external_ids = new Map([...marks, ...more]);
      yield insert(
        Interface,
        { name, type: 'patch', options: new Map([['peer', peer]]), external_ids },
        { name: `i${id}` },
      );
      const access = tag === undefined ? {} : { tag, vlan_mode: 'access' };
      yield insert(
        Port,
        { name, interfaces: [named(`i${id}`)], external_ids: new Map(marks), ...access },
        { name: `p${id}` },
      );
      yield mutate(Bridge, [['name', '==', onto]], [['ports', 'insert', [named(`p${id}`)]]]);
    }
  }

  #tell(): void {
    if (!this.#monitor) return;
    const links = new Map(this.#plans.map((plan) => [plan.gateway, this.#linkOf(plan)]));
    const text = JSON.stringify([...links]);
    if (text === this.#told) return;
    this.#told = text;
    this.#options.emit({ kind: 'attachmentLinks', links });
  }

  #linkOf(plan: AttachmentPlan): AttachmentLinkState {
    const { replica } = this.#monitor!;
    const down = (problem: string): AttachmentLinkState => ({ isUp: false, problem });
    for (const [bridge, port] of this.#ports()) {
      if ('vni' in plan) {
        if (port.external_ids.get(ATTACHMENT_MARK) !== plan.gateway) continue;
        const error = port.interfaces.flatMap((id) => replica.table('Interface').rows.get(id)?.error ?? [])[0];
        return error === undefined ? { isUp: true } : down(`Open vSwitch makes no tunnel to the VTEP: ${error}`);
      }
      if (port.name !== plan.interface) continue;
      if (bridge.name === this.#options.bridge) return down(`${plan.interface} is on the integration bridge itself`);
      const rows = [...port.interfaces].flatMap((id) => replica.table('Interface').rows.get(id) ?? []);
      if (rows.some((row) => row.link_state === 'up')) return { isUp: true };
      return down(rows.find((row) => row.error)?.error ?? `${plan.interface} has no link`);
    }
    if ('vni' in plan) return down('there is no tunnel to the VTEP yet');
    const bond = this.#bondOf(plan.interface);
    if (bond) return down(`${plan.interface} is part of ${bond.name}: the gateway's place has to name that`);
    return down(`there is no ${plan.interface}`);
  }
}

function purpose(plan: AttachmentPlan): string {
  if ('vni' in plan) return `${plan.port} vxlan ${plan.vni} ${plan.local} ${plan.remote ?? ''}`;
  return `${plan.port} ${plan.interface} ${plan.vlan ?? 'all'}`;
}

/** While it is not known where a tunnel should lead, it stays as it is. */
function isFor(plan: AttachmentPlan | undefined, made: string | undefined): boolean {
  if (plan === undefined || made === undefined) return false;
  return 'vni' in plan && plan.remote === undefined ? made.startsWith(purpose(plan)) : made === purpose(plan);
}

/** The kernel takes 15 characters. */
function bridgeName(around: string): string {
  const name = `wg-${around}`;
  return name.length <= 15 ? name : `wg-${shortened(around, 12)}`;
}

function patchName(gateway: string, end: 'i' | 'o'): string {
  return `l2-${shortened(gateway, 10)}-${end}`;
}

/** Of the whole: ids that people choose may begin alike. */
function shortened(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}

/** As OVSDB takes names of rows. */
function symbol(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9]/g, '_');
}
