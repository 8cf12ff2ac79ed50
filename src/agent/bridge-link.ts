import type { Clock } from '../base/clock.ts';
import { WeftError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { WANTED_PREFIXES } from '../compile/tables.ts';
import type { Encap } from '../model/objects.ts';
import { connectOvsdb, type OvsdbClient } from '../ovsdb/client.ts';
import type { Monitor } from '../ovsdb/monitor.ts';
import { Bridge, FlowTable, Interface, OPEN_VSWITCH_DB, OpenVswitch, Port } from '../ovsdb/open-vswitch-tables.ts';
import { insert, mutate, type Operation, update } from '../ovsdb/operations.ts';
import { type RowChange, type WatchedRow, watch } from '../ovsdb/replica.ts';
import { named, type Uuid } from '../ovsdb/values.ts';
import type { AgentEvent, Effect, LocalInterface } from './events.ts';
import { formatKeptZone, type KeptZone, parseKeptZone, parseZone } from './zones.ts';

export interface BridgeLinkOptions {
  /** Holds `db.sock`. */
  readonly ovsRunDir: string;
  readonly bridge: string;
  readonly datapathType: string;
  readonly emit: (event: AgentEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}

const WATCHED = [
  watch(Bridge, ['name', 'ports', 'datapath_type', 'fail_mode', 'flow_tables', 'other_config', 'external_ids']),
  watch(Port, ['name', 'interfaces']),
  watch(Interface, ['name', 'type', 'ofport', 'ifindex', 'external_ids']),
] as const;
type Watches = (typeof WATCHED)[number];
type InterfaceRow = WatchedRow<(typeof WATCHED)[2]>;
type Change = RowChange<Watches>;
type InterfaceChange = Extract<Change, { readonly table: 'Interface'; readonly kind: 'modify' }>;

const ENCAP_MARK = 'weft-encap';
const INSTALLED_MARK = 'weft-installed';
/** On the interface of a BGP speaker: the router port that it shares addresses with. */
const SPEAKER_MARK = 'weft-speaker';
/** A port's conntrack zone, as `formatKeptZone` writes it. */
const ZONE_KEY = 'weft-zone';
/** On the bridge, with the router's id behind it. */
const NAT_ZONE_KEY = 'weft-nat-zone-';
/** How many packet-ins wait (100 where it is not set), and the most that is taken: vswitchd/vswitch.xml, Bridge. */
const QUEUE_KEY = 'controller-queue-size';
const QUEUE_MOST = '512';
const RETRY_MS = 1_000;

/** The OVSDB side of the agent: the bridge and its tunnel ports, interfaces and their marks. */
export class BridgeLink {
  readonly #options: BridgeLinkOptions;
  #client: OvsdbClient | undefined;
  #monitor: Monitor<Watches> | undefined;
  /** What was told of each interface of the bridge. */
  readonly #told = new Map<Uuid, LocalInterface>();
  #toldTunnels = '';
  #toldSpeakers = '';
  readonly #making = new Set<Encap>();
  /** Marks to set or to take off, that OVSDB does not have yet. */
  readonly #marks = new Map<Uuid, Mark>();
  /** Zones of routers to keep, or (undefined) to forget, likewise. */
  readonly #natZones = new Map<string, number | undefined>();
  #isWriting = false;

  constructor(options: BridgeLinkOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { signal, log, clock, ovsRunDir } = this.#options;
    const client = connectOvsdb(`unix:${ovsRunDir}/db.sock`, { signal, log, clock, maxBackoffMs: 1_000 });
    this.#client = client;
    client.onConnected((connected) => this.#options.emit({ kind: 'ovsdbConnection', connected }));
    for (let isReady = false; !isReady && !signal.aborted; ) {
      try {
        this.#monitor = await client.monitor(OPEN_VSWITCH_DB, WATCHED, ({ changes }) => this.#changed(changes), {
          signal,
        });
        await this.#ensureBridge();
        isReady = true;
      } catch (error) {
        if (signal.aborted) return;
        log.warn('the bridge cannot be made ready; trying again', { error });
        await clock.sleep(RETRY_MS, signal).catch(() => {});
      }
    }
    if (signal.aborted) return;
    this.#changed();
    this.#tellReady();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  #tellReady(): void {
    const bridge = this.#bridge();
    const natZones = new Map<string, number>();
    for (const [key, text] of bridge?.external_ids ?? []) {
      const zone = key.startsWith(NAT_ZONE_KEY) ? parseZone(text) : undefined;
      if (zone !== undefined) natZones.set(key.slice(NAT_ZONE_KEY.length), zone);
    }
    this.#options.emit({ kind: 'ovsdbReady', datapathType: bridge?.datapath_type || 'system', natZones });
  }

  #bridge(): WatchedRow<(typeof WATCHED)[0]> | undefined {
    for (const row of this.#monitor?.replica.table('Bridge').rows.values() ?? [])
      if (row.name === this.#options.bridge) return row;
    return undefined;
  }

  /** Interfaces of our bridge; others are none of ours. */
  *#interfaces(): Iterable<InterfaceRow> {
    const replica = this.#monitor!.replica;
    for (const portId of this.#bridge()?.ports ?? []) {
      for (const interfaceId of replica.table('Port').rows.get(portId)?.interfaces ?? []) {
        const row = replica.table('Interface').rows.get(interfaceId);
        if (row) yield row;
      }
    }
  }

  /** Tells the core what is different now from what it was told. `changes`: where nothing else can be. */
  #changed(changes?: readonly Change[]): void {
    if (!this.#monitor) return;
    const put: LocalInterface[] = [];
    if (changes?.every((change): change is InterfaceChange => this.#isOfTold(change))) {
      for (const { row } of changes) this.#tell(row, put);
      if (put.length > 0) this.#options.emit({ kind: 'interfaces', put, gone: [] });
      return;
    }
    const gone = new Set<string>(this.#told.keys());
    const tunnels: Partial<Record<Encap, number>> = {};
    const speakers = new Map<string, number>();
    for (const row of this.#interfaces()) {
      gone.delete(row._uuid);
      const encap = row.external_ids.get(ENCAP_MARK) as Encap | undefined;
      if (encap !== undefined) {
        if (row.ofport !== undefined && row.ofport > 0) tunnels[encap] = row.ofport;
        continue;
      }
      const speaksFor = row.external_ids.get(SPEAKER_MARK);
      if (speaksFor !== undefined) {
        const ofport = ofportOf(row);
        if (ofport !== undefined && ofport > 0) speakers.set(speaksFor, ofport);
        continue;
      }
      this.#tell(row, put);
    }
    for (const uuid of gone) this.#told.delete(uuid as Uuid);
    if (put.length + gone.size > 0) this.#options.emit({ kind: 'interfaces', put, gone: [...gone] });
    const speakerText = JSON.stringify([...speakers]);
    if (speakerText !== this.#toldSpeakers && (speakers.size > 0 || this.#toldSpeakers !== '')) {
      this.#toldSpeakers = speakerText;
      this.#options.emit({ kind: 'speakerPorts', ofports: speakers });
    }
    const tunnelText = JSON.stringify(tunnels);
    if (tunnelText === this.#toldTunnels) return;
    this.#toldTunnels = tunnelText;
    this.#options.emit({ kind: 'tunnels', ofports: tunnels });
  }

  /** No interface came, went, or became one of another kind: the change is of those that the core knows. */
  #isOfTold(change: Change): change is InterfaceChange {
    return (
      change.kind === 'modify' &&
      change.table === 'Interface' &&
      this.#told.has(change.uuid) &&
      !change.row.external_ids.has(ENCAP_MARK) &&
      !change.row.external_ids.has(SPEAKER_MARK)
    );
  }

  #tell(row: InterfaceRow, put: LocalInterface[]): void {
    const before = this.#told.get(row._uuid);
    if (before && isTold(before, row)) return;
    const entry = localInterface(row);
    this.#told.set(row._uuid, entry);
    put.push(entry);
  }

  perform(effect: Extract<Effect, { kind: 'markInstalled' | 'ensureTunnel' | 'keepNatZones' }>): void {
    switch (effect.kind) {
      case 'ensureTunnel':
        void this.#ensureTunnel(effect.encap);
        break;
      case 'markInstalled':
        this.#marks.set(effect.uuid as Uuid, effect);
        void this.#write();
        break;
      case 'keepNatZones':
        for (const [router, zone] of effect.put) this.#natZones.set(router, zone);
        for (const router of effect.gone) this.#natZones.set(router, undefined);
        void this.#write();
        break;
    }
  }

  /** What is asked for is written for certain, in the order asked: OVSDB may be away for a while. */
  async #write(): Promise<void> {
    if (this.#isWriting) return;
    const { signal, clock, bridge } = this.#options;
    this.#isWriting = true;
    while (this.#marks.size + this.#natZones.size > 0 && !signal.aborted) {
      const marks = [...this.#marks];
      const natZones = [...this.#natZones];
      this.#marks.clear();
      this.#natZones.clear();
      const operations = [
        ...marks.flatMap(([uuid, mark]) => markOperations(uuid, mark)),
        ...natZoneOperations(bridge, natZones),
      ];
      if (await this.#transact(operations, 'mark interfaces')) continue;
      for (const [uuid, mark] of marks) if (!this.#marks.has(uuid)) this.#marks.set(uuid, mark);
      for (const [router, zone] of natZones) if (!this.#natZones.has(router)) this.#natZones.set(router, zone);
      await clock.sleep(RETRY_MS, signal).catch(() => {});
    }
    this.#isWriting = false;
  }

  /** The bridge as Weft needs it; what others configured on it stays. */
  async #ensureBridge(): Promise<void> {
    const { bridge: name, datapathType, log } = this.#options;
    const existing = this.#bridge();
    if (!existing) {
      log.info('creating the integration bridge', { bridge: name, datapathType });
      await this.#client!.transact(OPEN_VSWITCH_DB, [
        insert(Interface, { name, type: 'internal' }, { name: 'iface' }),
        insert(Port, { name, interfaces: [named('iface')] }, { name: 'port' }),
        insert(
          Bridge,
          { name, datapath_type: datapathType, fail_mode: 'secure', ports: [named('port')] },
          { name: 'bridge' },
        ),
        mutate(OpenVswitch, [], [['bridges', 'insert', [named('bridge')]]]),
      ]);
    } else {
      if ((existing.datapath_type || 'system') !== datapathType)
        log.warn('the bridge has another datapath type than was asked for; it is left so', {
          bridge: name,
          has: existing.datapath_type,
          wanted: datapathType,
        });
      // Without `secure` Open vSwitch would switch by itself while no controller is connected.
      if (existing.fail_mode !== 'secure')
        await this.#client!.transact(OPEN_VSWITCH_DB, [
          update(Bridge, [['name', '==', name]], { fail_mode: 'secure' }),
        ]);
    }
    await this.#ensureQueue();
    await this.#ensurePrefixes();
  }

  /** While the agent does something else, packet-ins wait in a queue for all ports; what an operator has set stays. */
  async #ensureQueue(): Promise<void> {
    const { bridge: name } = this.#options;
    if (this.#bridge()?.other_config.has(QUEUE_KEY)) return;
    await this.#client!.transact(OPEN_VSWITCH_DB, [
      mutate(Bridge, [['name', '==', name]], [['other_config', 'insert', new Map([[QUEUE_KEY, QUEUE_MOST]])]]),
    ]);
  }

  /** Address prefixes per table, so that frames from addresses that nobody owns cost few megaflows. */
  async #ensurePrefixes(): Promise<void> {
    const { bridge: name, log } = this.#options;
    const missing = [...WANTED_PREFIXES].filter(([table]) => !this.#bridge()?.flow_tables.has(table));
    if (missing.length === 0) return;
    const operations = missing.flatMap(([table, prefixes]): Operation[] => [
      insert(FlowTable, { prefixes: [...prefixes] }, { name: `table${table}` }),
      mutate(Bridge, [['name', '==', name]], [['flow_tables', 'insert', new Map([[table, named(`table${table}`)]])]]),
    ]);
    await this.#client!.transact(OPEN_VSWITCH_DB, operations).catch((error: unknown) =>
      log.warn('Open vSwitch does not take table prefixes; drops may be narrow', { error }),
    );
  }

  /** One flow-based tunnel port per encapsulation: the far address and the key come from flows. */
  async #ensureTunnel(encap: Encap): Promise<void> {
    if (this.#making.has(encap)) return;
    this.#making.add(encap);
    const { bridge } = this.#options;
    const port = `weft-${encap}`;
    const isThere = [...this.#interfaces()].some((row) => row.external_ids.get(ENCAP_MARK) === encap);
    if (!isThere) {
      await this.#transact(
        [
          insert(
            Interface,
            {
              name: port,
              type: encap,
              options: new Map([
                ['remote_ip', 'flow'],
                ['key', 'flow'],
              ]),
              external_ids: new Map([[ENCAP_MARK, encap]]),
            },
            { name: 'iface' },
          ),
          insert(Port, { name: port, interfaces: [named('iface')] }, { name: 'port' }),
          mutate(Bridge, [['name', '==', bridge]], [['ports', 'insert', [named('port')]]]),
        ],
        `create the tunnel port ${port}`,
      );
    }
    this.#making.delete(encap);
  }

  /** Interface → router port: what the bridge has of speakers afterwards. Gives whether that is news. Errors: OVSDB's. */
  async setSpeakerPorts(wanted: ReadonlyMap<string, string>): Promise<boolean> {
    if (!this.#monitor) throw new WeftError('unreachable', 'OVSDB has not told what there is');
    const { bridge } = this.#options;
    const there = new Map<string, string | undefined>();
    for (const { name, external_ids: ids } of this.#interfaces())
      if (ids.has(SPEAKER_MARK) || wanted.has(name)) there.set(name, ids.get(SPEAKER_MARK));
    const operations: Operation[] = [];
    for (const [name, routerPort] of wanted) {
      if (there.get(name) === routerPort) continue;
      const marks = new Map([[SPEAKER_MARK, routerPort]]);
      if (there.has(name)) operations.push(update(Interface, [['name', '==', name]], { external_ids: marks }));
      else
        operations.push(
          insert(Interface, { name, external_ids: marks }, { name: `i${name}` }),
          insert(Port, { name, interfaces: [named(`i${name}`)] }, { name: `p${name}` }),
          mutate(Bridge, [['name', '==', bridge]], [['ports', 'insert', [named(`p${name}`)]]]),
        );
    }
    const ports = this.#monitor.replica.table('Port').rows;
    for (const name of there.keys())
      if (!wanted.has(name))
        for (const [uuid, row] of ports)
          if (row.name === name)
            operations.push(mutate(Bridge, [['name', '==', bridge]], [['ports', 'delete', [uuid]]]));
    if (operations.length > 0)
      await this.#client!.transact(OPEN_VSWITCH_DB, operations, { signal: this.#options.signal });
    return operations.length > 0;
  }

  /** False where OVSDB did not do it, or may not have. */
  async #transact(operations: readonly Operation[], what: string): Promise<boolean> {
    try {
      await this.#client!.transact(OPEN_VSWITCH_DB, operations, { signal: this.#options.signal });
      return true;
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      if (!this.#options.signal.aborted) this.#options.log.warn(`OVSDB: cannot ${what}`, { error });
      return false;
    }
  }
}

interface Mark {
  readonly installed: boolean;
  readonly zone?: KeptZone;
}

/** Of an interface that is gone meanwhile nothing is changed. A mark that is taken off leaves the zone: the port may return. */
function markOperations(uuid: Uuid, { installed, zone }: Mark): Operation[] {
  const row = [['_uuid', '==', uuid]] as const;
  const written = new Map<string, string>();
  if (installed) written.set(INSTALLED_MARK, 'true');
  if (zone) written.set(ZONE_KEY, formatKeptZone(zone));
  const stale = [...new Set([INSTALLED_MARK, ...written.keys()])];
  const removal = mutate(Interface, row, [['external_ids', 'delete', stale]]);
  return written.size === 0 ? [removal] : [removal, mutate(Interface, row, [['external_ids', 'insert', written]])];
}

function natZoneOperations(
  bridge: string,
  zones: readonly (readonly [router: string, zone: number | undefined])[],
): Operation[] {
  if (zones.length === 0) return [];
  const row = [['name', '==', bridge]] as const;
  const keys = zones.map(([router]) => `${NAT_ZONE_KEY}${router}`);
  const written = new Map<string, string>();
  for (const [router, zone] of zones) if (zone !== undefined) written.set(`${NAT_ZONE_KEY}${router}`, String(zone));
  return [
    mutate(Bridge, row, [['external_ids', 'delete', keys]]),
    mutate(Bridge, row, [['external_ids', 'insert', written]]),
  ];
}

function localInterface(row: InterfaceRow): LocalInterface {
  const ids = row.external_ids;
  const vm = ids.get('vm-id') ?? ids.get('vm-uuid');
  const ifaceId = ids.get('iface-id');
  const attachedMac = ids.get('attached-mac');
  const ofport = ofportOf(row);
  const zone = parseKeptZone(ids.get(ZONE_KEY));
  return {
    uuid: row._uuid,
    name: row.name,
    ...(ofport === undefined ? {} : { ofport }),
    ...(ifaceId === undefined ? {} : { ifaceId }),
    ...(attachedMac === undefined ? {} : { attachedMac }),
    ...(vm === undefined ? {} : { vm }),
    markedInstalled: ids.get(INSTALLED_MARK) === 'true',
    ...(zone === undefined ? {} : { zone }),
  };
}

/** The userspace datapath keeps the number of a device that is gone from the machine; what tells is its index. */
function ofportOf(row: InterfaceRow): number | undefined {
  const isGone = row.ifindex === 0 && (row.type === '' || row.type === 'system');
  return isGone ? undefined : row.ofport;
}

function isTold(before: LocalInterface, row: InterfaceRow): boolean {
  const ids = row.external_ids;
  return (
    before.name === row.name &&
    before.ofport === ofportOf(row) &&
    before.ifaceId === ids.get('iface-id') &&
    before.attachedMac === ids.get('attached-mac') &&
    before.vm === (ids.get('vm-id') ?? ids.get('vm-uuid')) &&
    before.markedInstalled === (ids.get(INSTALLED_MARK) === 'true') &&
    (before.zone && formatKeptZone(before.zone)) === ids.get(ZONE_KEY)
  );
}
