import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../base/random.ts';
import { createCompiler } from '../compile/compiler.ts';
import { PACKET_IN } from '../compile/tables.ts';
import type { Binding, LogicalPort, ScopeRecord } from '../model/objects.ts';
import type { Report } from '../server/protocol.ts';
import { AgentCore } from './core.ts';
import type { AgentEvent, Effect, LocalInterface, ScopeChange } from './events.ts';
import { NO_REGISTERS } from './registers.ts';

/** The core as `main.ts` drives it, with a switch that installs at once unless it is told to hold. */
class Rig {
  readonly core = new AgentCore(createCompiler(), { agentVersion: 'test', nowMs: 0, random: seededRandom(1) });
  readonly effects: Effect[] = [];
  readonly held: AgentEvent[] = [];
  holding = false;

  emit(event: AgentEvent): void {
    for (const effect of this.core.step(event, 1000)) {
      this.effects.push(effect);
      if (effect.kind === 'readBack') this.emit({ kind: 'readBack', flows: [] });
      if (effect.kind !== 'install') continue;
      const done: AgentEvent = { kind: 'installed', id: effect.id };
      if (this.holding) this.held.push(done);
      else this.emit(done);
    }
  }
  release(): void {
    this.holding = false;
    for (const event of this.held.splice(0)) this.emit(event);
  }
  take(): Effect[] {
    return this.effects.splice(0);
  }
  reports(): Report[] {
    return this.take().flatMap((effect) => (effect.kind === 'report' ? effect.reports : []));
  }
  marks(): boolean[] {
    return this.take().flatMap((effect) => (effect.kind === 'markInstalled' ? [effect.installed] : []));
  }
  scope(...records: ScopeRecord[]): void {
    this.emit({ kind: 'scope', revision: 10, changes: records.map((record): ScopeChange => ({ op: 'put', record })) });
  }
}

const ID = (n: number): string => `1a2b3c4d-0000-4000-8000-00000000000${n}`;
const common = { revision: 5, labels: {} };
const zone: ScopeRecord = { ...common, kind: 'tunnelZone', id: 'z', name: 'z', encap: 'vxlan' } as ScopeRecord;
const host = (id: string): ScopeRecord =>
  ({
    ...common,
    kind: 'host',
    id,
    name: id,
    zone: 'z',
    tunnelAddress: id === 'h1' ? '192.0.2.1' : '192.0.2.2',
  }) as ScopeRecord;
const sw: ScopeRecord = {
  ...{
    ...common,
    kind: 'switch',
    id: 's',
    name: 's',
    tenant: 't',
    key: 100,
    subnets: [],
    vlanAware: false,
    adminUp: true,
  },
} as unknown as ScopeRecord;
const port = (n: number): LogicalPort =>
  ({
    ...{
      ...common,
      kind: 'port',
      id: ID(n),
      name: `p${n}`,
      switch: 's',
      tenant: 't',
      key: n,
      mac: `02:00:00:00:00:0${n}`,
    },
    ...{ addresses: [], allowedPairs: [], groups: [], portSecurity: true, adminUp: true },
  }) as unknown as LogicalPort;
const binding = (n: number, active: string): Binding => ({
  ...{ kind: 'binding', id: ID(n), revision: 7, switch: 's', active },
  claims: ['h1', 'h2'].map((name) => ({ host: name, interface: 'tap', sinceMs: 0 })),
});
const tap = (ifaceId: string, more: Partial<LocalInterface> = {}): LocalInterface => ({
  ...{ uuid: 'u1', name: 'tap1', ofport: 7, ifaceId, markedInstalled: false },
  ...more,
});

function started(...records: ScopeRecord[]): Rig {
  const rig = new Rig();
  rig.emit({ kind: 'ovsdbReady', datapathType: 'netdev' });
  rig.emit({ kind: 'switchConnected', version: '3' });
  rig.emit({ kind: 'serverHello', host: 'h1', incarnation: 'i1' });
  rig.scope(zone, host('h1'), host('h2'), sw, ...records);
  return rig;
}

test('a port that is deleted and made again at once is marked in the end, whatever OVSDB has told by then', () => {
  const rig = started(port(1));
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  assert.deepEqual(rig.marks(), [true]);
  rig.emit({ kind: 'interfaces', put: [tap(ID(1), { markedInstalled: true })], gone: [] });
  rig.emit({ kind: 'scope', revision: 11, changes: [{ op: 'delete', record: { kind: 'port', id: ID(1) } }] });
  rig.scope(port(1));
  assert.deepEqual(rig.marks(), [false, true]);
});

test('an interface that becomes another port is not marked until the flows of that one are in', () => {
  const rig = started(port(1), port(2));
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  assert.deepEqual(rig.marks(), [true]);
  rig.holding = true;
  rig.emit({ kind: 'interfaces', put: [tap(ID(2), { markedInstalled: true })], gone: [] });
  assert.deepEqual(rig.marks(), [false]);
  rig.release();
  assert.deepEqual(rig.marks(), [true]);
});

test('an interface that is no port any more loses its mark', () => {
  const rig = started(port(1));
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  rig.take();
  const { ifaceId: _, ...bare } = tap('', { markedInstalled: true });
  rig.emit({ kind: 'interfaces', put: [bare], gone: [] });
  assert.deepEqual(rig.marks(), [false]);
});

test('a new incarnation is remembered only with the scope that belongs to it', () => {
  const rig = started();
  const persisted = (): unknown[] =>
    rig.take().flatMap((effect) => (effect.kind === 'persist' ? [[effect.host, effect.incarnation]] : []));
  assert.deepEqual(persisted(), [['h1', 'i1']]);
  rig.emit({ kind: 'serverLost', reason: 'restore' });
  rig.emit({ kind: 'serverHello', host: 'h9', incarnation: 'i2' });
  assert.deepEqual(persisted(), []);
  assert.equal(rig.core.host, 'h1');
  rig.scope();
  assert.deepEqual(persisted(), [['h9', 'i2']]);
  assert.equal(rig.core.host, 'h9');
});

function announce(rig: Rig): void {
  const packet = {
    ...NO_REGISTERS,
    class: PACKET_IN.announce,
    cookie: 0n,
    inPort: 7,
    portKey: 1,
    switchKey: 100,
    vlan: 0,
  };
  rig.emit({ kind: 'packetIn', packet: { ...packet, frame: new Uint8Array(60) } });
}
const activations = (rig: Rig): number => rig.reports().filter((report) => report.type === 'activate').length;

test('a workload that announced itself while the server was away is activated when it is back', () => {
  const rig = started(port(1), binding(1, 'h2'));
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  rig.emit({ kind: 'serverLost', reason: 'gone' });
  announce(rig);
  assert.equal(activations(rig), 0);
  assert.equal(rig.core.scope.binding(ID(1))?.active, 'h1');
  // The server does not take what we made of it for what it has.
  assert.notEqual(rig.core.scope.digest().binding?.[ID(1)], binding(1, 'h2').revision);
  rig.emit({ kind: 'serverHello', host: 'h1', incarnation: 'i1' });
  assert.equal(activations(rig), 1);
  rig.scope(binding(1, 'h2'));
  rig.scope(binding(1, 'h1'));
  rig.emit({ kind: 'serverHello', host: 'h1', incarnation: 'i1' });
  assert.equal(activations(rig), 0);
});

test('an activation that the server refuses is taken back', () => {
  const rig = started(port(1), binding(1, 'h2'));
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  announce(rig);
  assert.equal(activations(rig), 1);
  const report: Report = { type: 'activate', port: ID(1) };
  rig.emit({ kind: 'reportRefused', report, code: 'no-claim', message: 'no' });
  assert.equal(rig.core.scope.binding(ID(1))?.active, 'h2');
});

test('an address that its own port taught stays, also when the server forgot it while the agent was away', () => {
  const open = { ...port(1), portSecurity: false } as LogicalPort;
  const rig = started(open);
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  const frame = new Uint8Array(60);
  frame.set([2, 0, 0, 0, 0, 9], 6);
  const packet = {
    ...NO_REGISTERS,
    class: PACKET_IN.learn,
    cookie: 0n,
    inPort: 7,
    portKey: 1,
    switchKey: 100,
    vlan: 0,
    frame,
  };
  rig.emit({ kind: 'packetIn', packet });
  const id = 's/0/02:00:00:00:00:09';
  assert.ok(rig.core.scope.get('learned', id));
  rig.take();
  const forget: AgentEvent = {
    kind: 'scope',
    revision: 12,
    changes: [{ op: 'delete', record: { kind: 'learned', id } }],
  };
  rig.emit(forget);
  assert.ok(rig.core.scope.get('learned', id) && rig.core.learning.get(id));
  assert.equal(rig.reports().filter((report) => report.type === 'learned').length, 1);
  rig.scope(port(1));
  rig.emit(forget);
  assert.equal(rig.core.scope.get('learned', id), undefined);
  assert.equal(rig.core.learning.get(id), undefined);
});

test('what the disk remembers is compared with the switch only once the server had a moment to say what is new', () => {
  const asked = (events: readonly AgentEvent[], nowMs = 100): boolean => {
    const core = new AgentCore(createCompiler(), { agentVersion: 'test', nowMs: 0, random: seededRandom(1) });
    const effects = events.flatMap((event) => core.step(event, nowMs));
    return effects.some((effect) => effect.kind === 'readBack');
  };
  const start: AgentEvent[] = [
    { kind: 'restored', records: [zone, host('h1')], host: 'h1' },
    { kind: 'ovsdbReady', datapathType: 'netdev' },
    { kind: 'switchConnected', version: '3.5.0' },
  ];
  assert.equal(asked(start), false);
  assert.equal(asked([...start, { kind: 'serverHello', incarnation: 'i', host: 'h1' }]), false);
  assert.equal(asked([...start, { kind: 'scope', revision: 9, changes: [] }]), true);
  assert.equal(asked([...start, { kind: 'serverLost', reason: 'nobody there' }]), true);
  assert.equal(asked([...start, { kind: 'tick' }]), false);
  assert.equal(asked([...start, { kind: 'tick' }], 2_000), true);
});

test('flows are said to be in once all are installed, changes under way or not, until the switch is gone', () => {
  const said = (rig: Rig): boolean[] => rig.take().flatMap((effect) => (effect.kind === 'flows' ? [effect.areIn] : []));
  const rig = new Rig();
  rig.holding = true;
  rig.emit({ kind: 'ovsdbReady', datapathType: 'netdev' });
  rig.emit({ kind: 'switchConnected', version: '3' });
  rig.emit({ kind: 'serverHello', host: 'h1', incarnation: 'i1' });
  rig.scope(zone, host('h1'), sw);
  assert.deepEqual(said(rig), []);
  rig.release();
  assert.deepEqual(said(rig), [true]);
  rig.holding = true;
  rig.scope(port(1));
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  assert.deepEqual(said(rig), []);
  rig.release();
  rig.emit({ kind: 'switchLost', reason: 'killed' });
  assert.deepEqual(said(rig), [false]);
  rig.emit({ kind: 'switchConnected', version: '3' });
  rig.emit({ kind: 'connectionsRestored', isAll: true });
  assert.deepEqual(said(rig), [true]);
});

const zones = (rig: Rig): string[] =>
  rig.take().flatMap((effect) => {
    if (effect.kind === 'flushZones') return [`flush ${effect.zones}`];
    if (effect.kind === 'markInstalled' && effect.installed) return [`mark ${effect.zone?.zone}`];
    return effect.kind === 'install' ? ['install'] : [];
  });

test('the zone of a port is flushed before its flows are installed, and kept with its mark; a restart keeps it', () => {
  const rig = started(port(1));
  rig.take();
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  assert.deepEqual(zones(rig), ['flush 4,5,6,7', 'install', 'mark 4']);
  const again = new Rig();
  const kept = { port: ID(1), zone: 8 };
  again.emit({ kind: 'interfaces', put: [tap(ID(1), { markedInstalled: true, zone: kept })], gone: [] });
  again.emit({ kind: 'ovsdbReady', datapathType: 'netdev' });
  again.emit({ kind: 'switchConnected', version: '3' });
  again.emit({ kind: 'serverHello', host: 'h1', incarnation: 'i1' });
  again.scope(zone, host('h1'), sw, port(1));
  assert.deepEqual(zones(again), ['install', 'mark 8']);
});

test('a zone given while no switch is connected is flushed when one is, before its limits, what is restored, and what is read back', () => {
  const first = (rig: Rig): string[] => rig.take().map((effect) => effect.kind);
  const rig = new Rig();
  rig.emit({ kind: 'ovsdbReady', datapathType: 'netdev' });
  rig.emit({ kind: 'serverHello', host: 'h1', incarnation: 'i1' });
  rig.scope(zone, host('h1'), sw, port(1));
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  rig.take();
  rig.emit({ kind: 'switchConnected', version: '3' });
  assert.deepEqual(first(rig).slice(0, 3), ['flushZones', 'limitZones', 'readBack']);
  // That one was lost before it had heard of it.
  rig.emit({ kind: 'switchLost', reason: 'killed' });
  rig.take();
  rig.emit({ kind: 'switchConnected', version: '3' });
  assert.deepEqual(
    first(rig).filter((kind) => kind === 'flushZones' || kind === 'restoreConnections'),
    ['flushZones', 'restoreConnections'],
  );
  rig.emit({ kind: 'flushed', zones: [4, 5, 6, 7] });
  rig.emit({ kind: 'switchLost', reason: 'killed' });
  rig.emit({ kind: 'switchConnected', version: '3' });
  assert.deepEqual(zones(rig), [], 'connections that were made again since stay');
});

const router = (): ScopeRecord =>
  ({ ...common, kind: 'router', id: 'r', name: 'r', tenant: 't', key: 200, routes: [], policies: [], snat: [], adminUp: true }) as ScopeRecord; // biome-ignore format: a row
const routerPort = (): ScopeRecord =>
  ({
    ...{ ...common, kind: 'routerPort', id: 'rp', name: 'rp', tenant: 't', router: 'r', switch: 's', key: 201 },
    ...{ mac: '02:00:00:00:02:01', addresses: ['10.0.0.1/24'], outside: false, adminUp: true },
  }) as unknown as ScopeRecord;
const addressed = (n: number): LogicalPort => ({ ...port(n), addresses: [`10.0.0.1${n}`], groups: [] }) as LogicalPort;

test('a packet whose next hop is unknown goes on when the server has told it, behind the flows', () => {
  const rig = started(addressed(1), router(), routerPort());
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  rig.take();
  const frame = new Uint8Array(60);
  const packet = { ...NO_REGISTERS, class: PACKET_IN.resolve, cookie: 0n, inPort: 7, portKey: 1, frame };
  rig.emit({ kind: 'packetIn', packet: { ...packet, switchKey: 100, routerPortKey: 201, nextHop: 0x0a00_0063n } });
  const injected = (): string[] => rig.take().flatMap((effect) => (effect.kind === 'inject' ? [effect.at] : []));
  assert.deepEqual(injected(), ['flood']);
  rig.holding = true;
  const at = { kind: 'neighbour', id: 's/10.0.0.99', revision: 1, switch: 's', address: '10.0.0.99' } as const;
  rig.scope({ ...at, mac: '02:00:00:00:00:99', port: 'far', host: 'h2' });
  assert.deepEqual(injected(), []);
  rig.release();
  assert.deepEqual(injected(), ['next']);
});

test('a member here is probed when its time comes, until its interface is gone', () => {
  const health = { type: 'tcp', intervalMs: 1000, timeoutMs: 300, rise: 1, fall: 1, path: '/' };
  const balancer = {
    ...{
      ...common,
      kind: 'loadBalancer',
      id: 'lb',
      name: 'lb',
      tenant: 't',
      key: 300,
      address: '10.0.9.9',
      router: 'r',
    },
    ...{ slots: 16, sticky: 'none', onEmpty: 'reject', adminUp: true, health },
    listeners: [{ protocol: 'tcp', port: 80 }],
    members: [{ port: ID(1), weight: 1, drain: false, adminUp: true }],
  } as unknown as ScopeRecord;
  const rig = started(addressed(1), router(), routerPort(), balancer);
  rig.emit({ kind: 'interfaces', put: [tap(ID(1))], gone: [] });
  const wake = rig.take().find((effect) => effect.kind === 'wake');
  assert.ok(wake && wake.inMs <= 100);
  const probes = (): number => rig.take().filter((effect) => effect.kind === 'packetOut').length;
  const wakeAt = (nowMs: number): void => void rig.effects.push(...rig.core.step({ kind: 'wake' }, nowMs));
  wakeAt(1000 + wake.inMs);
  assert.equal(probes(), 1);
  rig.emit({ kind: 'interfaces', put: [], gone: ['u1'] });
  rig.take();
  wakeAt(9000);
  assert.equal(probes(), 0);
});
