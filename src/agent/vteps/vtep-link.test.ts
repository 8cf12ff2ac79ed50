import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { connectOvsdb, type OvsdbClient } from '../../ovsdb/client.ts';
import {
  HARDWARE_VTEP_DB,
  McastMacsRemote,
  PhysicalLocator,
  PhysicalLocatorSet,
  PhysicalPort,
  PhysicalSwitch,
  UcastMacsLocal,
  UcastMacsRemote,
  VtepLogicalSwitch,
} from '../../ovsdb/hardware-vtep-tables.ts';
import { deleteRows, insert, mutate, type Operation, select } from '../../ovsdb/operations.ts';
import {
  freePort,
  makeCertificates,
  noOpenssl,
  noVtepSchema,
  OvsdbTestServer,
  VTEP_SCHEMA,
} from '../../ovsdb/ovsdb-server.test-support.ts';
import { watch } from '../../ovsdb/replica.ts';
import { defineTable } from '../../ovsdb/schema.ts';
import { mapOf, named, scalar, setOf, type Uuid } from '../../ovsdb/values.ts';
import type { AgentEvent } from '../events.ts';
import type { VtepBindingPlan, VtepPlan, VtepStates } from './plan.ts';
import { VtepLink } from './vtep-link.ts';

/** A real ovsdb-server with the schema of VTEPs, and what links of one host or two make of its database. */

const VTEP = 'aaaaaaaa-0000-4000-8000-000000000001';
const RED = 'bbbbbbbb-0000-4000-8000-000000000001';
const BLUE = 'bbbbbbbb-0000-4000-8000-000000000002';
const Global = defineTable('Global', { switches: setOf('uuid') });
const LogicalRouter = defineTable('Logical_Router', {
  name: scalar('string'),
  switch_binding: mapOf('string', 'uuid'),
});
const mac = (n: number): string =>
  `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`;
const nameOf = (binding: string): string => `weft-aaaaaaaa-${binding}`;

const red: VtepBindingPlan = {
  ...{ binding: RED, vni: 5000, physicalPorts: [{ port: 'p1', vlan: 100 }] },
  ...{ description: 'red', isActive: true },
};
const blue: VtepBindingPlan = { ...red, binding: BLUE, vni: 5001, physicalPorts: [{ port: 'p2', vlan: 0 }] };

let server: OvsdbTestServer;
let client: OvsdbClient;
/** Time goes so many times as fast: a host that leaves waits for five seconds. */
const PACE = 5;
/** And is later than it is. */
let aheadMs = 0;
const clock: Clock = {
  ...systemClock,
  monotonicMs: () => PACE * systemClock.monotonicMs() + aheadMs,
  sleep: (ms, signal) => systemClock.sleep(ms / PACE, signal),
};

/** A link as an agent has it, at its own address. */
class Host {
  readonly #ended = new AbortController();
  readonly link: VtepLink;
  readonly events: AgentEvent[] = [];
  readonly #address: string;
  #plans: readonly VtepPlan[] = [];

  constructor(address: string) {
    this.#address = address;
    this.link = new VtepLink({
      ...{ clock, log: silentLog, signal: this.#ended.signal },
      emit: (event) => void this.events.push(event),
    });
  }

  serve(bindings: readonly VtepBindingPlan[] | undefined, isCurrent = true, more: Partial<VtepPlan> = {}): void {
    const plan: VtepPlan = {
      ...{ vtep: VTEP, name: 'tor', management: server.unix, ownAddress: this.#address, bindings: bindings ?? [] },
      ...more,
    };
    this.#plans = bindings ? [plan] : [];
    this.link.perform({ kind: 'serveVteps', plans: this.#plans, isCurrent });
  }
  macs(binding: string, put: readonly string[], gone: readonly string[] = [], isAll = false): void {
    this.link.perform({ kind: 'vtepMacs', vtep: VTEP, binding, put, gone, isAll });
  }
  get states(): VtepStates {
    const last = this.events.findLast(({ kind }) => kind === 'vteps');
    return last?.kind === 'vteps' ? last.states : { vteps: new Map(), bindings: new Map() };
  }
  get problem(): string | undefined {
    return this.states.vteps.get(VTEP)?.problem;
  }
  end(): void {
    this.#ended.abort();
  }
}

async function eventually<T>(what: string, call: () => Promise<T> | T, timeoutMs = 10_000): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await call();
    if (value) return value;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(10);
  }
}

const transact = <const Ops extends readonly Operation[]>(operations: Ops) =>
  client.transact(HARDWARE_VTEP_DB, operations);
async function rows() {
  const [switches, ports, ucast, mcast, sets, locators] = await transact([
    ...[select(VtepLogicalSwitch, []), select(PhysicalPort, []), select(UcastMacsRemote, [])],
    ...[select(McastMacsRemote, []), select(PhysicalLocatorSet, []), select(PhysicalLocator, [])],
  ] as const);
  const byId = new Map(switches.map((row) => [row._uuid, row.name]));
  const addressOf = (id: Uuid): string => locators.find((row) => row._uuid === id)?.dst_ip ?? '';
  return {
    switches: switches.map(({ name, tunnel_key: key }) => `${name} ${key}`).toSorted(),
    bindings: ports
      .flatMap(({ name, vlan_bindings: vlans }) => [...vlans].map(([vlan, id]) => `${name}/${vlan} ${byId.get(id)}`))
      .toSorted(),
    macs: ucast.map((row) => `${row.MAC} ${byId.get(row.logical_switch)} ${addressOf(row.locator)}`).toSorted(),
    floods: mcast
      .map((row) => {
        const [first] = sets.find(({ _uuid }) => _uuid === row.locator_set)!.locators;
        return `${row.MAC} ${byId.get(row.logical_switch)} ${addressOf(first!)}`;
      })
      .toSorted(),
  };
}

/** What an administrator says once, and what the switch says of itself. */
async function describeSwitch(): Promise<void> {
  await transact([
    insert(PhysicalPort, { name: 'p1' }, { name: 'p1' }),
    insert(PhysicalPort, { name: 'p2' }, { name: 'p2' }),
    insert(
      PhysicalSwitch,
      { name: 'tor', tunnel_ips: ['192.0.2.5'], ports: [named('p1'), named('p2')] },
      { name: 'tor' },
    ),
    insert(Global, { switches: [named('tor')] }),
  ]);
}
/** What the VTEP has learned. */
async function learns(address: string, binding: string): Promise<void> {
  const [all] = await transact([select(VtepLogicalSwitch, [['name', '==', nameOf(binding)]])]);
  await transact([
    insert(
      PhysicalLocator,
      { encapsulation_type: 'vxlan_over_ipv4', dst_ip: '192.0.2.5', tunnel_key: 1 },
      { name: 'l' },
    ),
    insert(UcastMacsLocal, { MAC: address, logical_switch: all[0]!._uuid, locator: named('l'), ipaddr: '' }),
  ]);
}
/** Another controller's logical switch. */
async function theirs(key: number, vlan?: number): Promise<void> {
  await transact([
    insert(VtepLogicalSwitch, { name: 'theirs', tunnel_key: key }, { name: 'ls' }),
    insert(PhysicalLocator, { encapsulation_type: 'vxlan_over_ipv4', dst_ip: '192.0.2.99' }, { name: 'l' }),
    insert(UcastMacsRemote, { MAC: mac(999), logical_switch: named('ls'), locator: named('l'), ipaddr: '' }),
    ...(vlan === undefined
      ? []
      : [mutate(PhysicalPort, [['name', '==', 'p1']], [['vlan_bindings', 'insert', new Map([[vlan, named('ls')]])]])]),
  ]);
}

describe('the link to VTEPs', { skip: noVtepSchema }, () => {
  let one: Host;
  let two: Host;
  before(async () => {
    server = await OvsdbTestServer.start({ schema: VTEP_SCHEMA });
  });
  after(() => server[Symbol.asyncDispose]());
  beforeEach(async () => {
    await server.wipe();
    client = connectOvsdb(server.unix, { log: silentLog, maxBackoffMs: 50 });
    await describeSwitch();
    aheadMs = 0;
    one = new Host('198.51.100.1');
    two = new Host('198.51.100.2');
  });
  afterEach(() => {
    one.end();
    two.end();
    client.close();
  });
  const own = (n: number, binding: string, at = '198.51.100.1'): string => `${mac(n)} ${nameOf(binding)} ${at}`;

  test('the active host writes what there should be, and only what changes', async () => {
    one.serve([red, blue]);
    one.macs(RED, [mac(1), mac(2)], [], true);
    one.macs(BLUE, [mac(3)], [], true);
    await eventually('all is there', async () => (await rows()).macs.length === 3);
    assert.deepEqual(await rows(), {
      switches: [`${nameOf(RED)} 5000`, `${nameOf(BLUE)} 5001`],
      bindings: [`p1/100 ${nameOf(RED)}`, `p2/0 ${nameOf(BLUE)}`],
      macs: [own(1, RED), own(2, RED), own(3, BLUE)],
      floods: [`unknown-dst ${nameOf(RED)} 198.51.100.1`, `unknown-dst ${nameOf(BLUE)} 198.51.100.1`],
    });
    assert.deepEqual(one.states.vteps.get(VTEP), { state: 'connected', tunnelAddress: '192.0.2.5' });
    assert.deepEqual(one.states.bindings.get(RED), { isUsable: true });
    const before = (await transact([select(UcastMacsRemote, [])]))[0];
    one.macs(RED, [mac(4)], [mac(1)]);
    await eventually(
      'changed',
      async () => (await rows()).macs.join() === [own(2, RED), own(3, BLUE), own(4, RED)].join(),
    );
    const left = (await transact([select(UcastMacsRemote, [])]))[0].map(({ _uuid }) => _uuid);
    assert.equal(before.filter(({ _uuid }) => left.includes(_uuid)).length, 2, 'rows that stay are the same rows');
  });

  test('VLANs, VNI and bindings that change or go are followed', async () => {
    one.serve([red, blue]);
    await eventually('made', async () => (await rows()).bindings.length === 2);
    one.serve([
      { ...red, vni: 6000, physicalPorts: [{ port: 'p2', vlan: 0 }] },
      { ...blue, physicalPorts: [{ port: 'p1', vlan: 100 }] },
    ]);
    const swapped = [`p1/100 ${nameOf(BLUE)}`, `p2/0 ${nameOf(RED)}`];
    await eventually('swapped', async () => (await rows()).bindings.join() === swapped.join());
    assert.deepEqual((await rows()).switches, [`${nameOf(RED)} 6000`, `${nameOf(BLUE)} 5001`]);
    await learns(mac(7), BLUE);
    one.serve([{ ...red, vni: 6000 }]);
    await eventually('gone', async () => (await rows()).switches.join() === `${nameOf(RED)} 6000`);
    await eventually('bound', async () => (await rows()).bindings.join() === `p1/100 ${nameOf(RED)}`);
  });

  test('a host that is not active writes nothing, and what it takes over is its own then', async () => {
    one.serve([red]);
    one.macs(RED, [mac(1), mac(2)], [], true);
    two.serve([{ ...red, isActive: false }]);
    two.macs(RED, [mac(1), mac(3)], [], true);
    await eventually('made', async () => (await rows()).macs.length === 2);
    await sleep(200);
    assert.deepEqual((await rows()).macs, [own(1, RED), own(2, RED)]);
    one.serve([{ ...red, isActive: false }]);
    two.serve([red]);
    const at = '198.51.100.2';
    await eventually('taken', async () => (await rows()).macs.join() === [own(1, RED, at), own(3, RED, at)].join());
    assert.deepEqual((await rows()).floods, [`unknown-dst ${nameOf(RED)} ${at}`]);
  });

  test('an active host without its server leaves it to another that is active, and mends what nobody else holds', async () => {
    one.serve([red]);
    one.macs(RED, [mac(1)], [], true);
    await eventually('made', async () => (await rows()).macs.length === 1);
    one.serve([red], false);
    two.macs(RED, [mac(1)], [], true);
    two.serve([red]);
    two.macs(RED, [mac(1)], [], true);
    await eventually('taken', async () => (await rows()).macs.join() === own(1, RED, '198.51.100.2'));
    one.macs(RED, [mac(2)]);
    await sleep(300);
    assert.deepEqual((await rows()).macs, [own(1, RED, '198.51.100.2')]);
    two.end();
    await transact([deleteRows(McastMacsRemote, []), deleteRows(UcastMacsRemote, [])]);
    await eventually('mended', async () => (await rows()).macs.length === 2);
    assert.deepEqual((await rows()).floods, [`unknown-dst ${nameOf(RED)} 198.51.100.1`]);
  });

  test('an active host without its server does not bring back what another took away', async () => {
    one.serve([red]);
    await eventually('made', async () => (await rows()).switches.length === 1);
    one.serve([red], false);
    two.serve([red]);
    await eventually('taken', async () => (await rows()).floods.join().includes('198.51.100.2'));
    two.serve([]);
    await eventually('gone', async () => (await rows()).switches.length === 0);
    one.macs(RED, [mac(1)]);
    await sleep(300);
    assert.deepEqual((await rows()).switches, []);
    one.serve([red]);
    await eventually('with the server there it is', async () => (await rows()).switches.length === 1);
  });

  test('what others wrote stays, and is a problem where it is in the way', async () => {
    await theirs(5000, 200);
    one.serve([
      red,
      { ...blue, physicalPorts: [{ port: 'p1', vlan: 200 }, ...blue.physicalPorts, { port: 'p9', vlan: 1 }] },
    ]);
    one.macs(BLUE, [mac(1)], [], true);
    await eventually('blue', async () => (await rows()).macs.length === 2);
    assert.deepEqual(one.states.bindings.get(RED), {
      isUsable: false,
      problem: 'its logical switch theirs, which is not ours, has VNI 5000',
    });
    assert.deepEqual(one.states.bindings.get(BLUE), {
      isUsable: true,
      problem: 'p1 with VLAN 200 is bound to theirs, which is not ours; it has no physical port p9 (there is p1, p2)',
    });
    assert.deepEqual((await rows()).switches, ['theirs 5000', `${nameOf(BLUE)} 5001`]);
    assert.deepEqual((await rows()).bindings, ['p1/200 theirs', `p2/0 ${nameOf(BLUE)}`]);
    one.serve([]);
    await eventually('only theirs is left', async () => (await rows()).switches.join() === 'theirs 5000');
    assert.deepEqual((await rows()).macs, [`${mac(999)} theirs 192.0.2.99`]);
  });

  test('a database that was emptied or meddled with is as it should be again', async () => {
    one.serve([red]);
    one.macs(RED, [mac(1), mac(2)], [], true);
    await eventually('made', async () => (await rows()).macs.length === 2);
    const good = await rows();
    await transact([deleteRows(UcastMacsRemote, [['MAC', '==', mac(1)]]), deleteRows(McastMacsRemote, [])]);
    await eventually('mended', async () => JSON.stringify(await rows()) === JSON.stringify(good));
    await server.wipe();
    await describeSwitch();
    await eventually('filled', async () => JSON.stringify(await rows()) === JSON.stringify(good));
    await server.kill('SIGKILL');
    await server.run();
    one.macs(RED, [mac(3)]);
    await eventually('reached again', async () => (await rows()).macs.length === 3);
  });

  test('MACs behind the VTEP are told as they come and go, and those of before', async () => {
    one.serve([red]);
    await eventually('made', async () => (await rows()).switches.length === 1);
    await learns(mac(7), RED);
    const told = (): string =>
      JSON.stringify(one.events.flatMap((e) => (e.kind === 'vtepMacs' ? [[e.seen, e.gone]] : [])));
    await eventually('seen', () => told() === JSON.stringify([[[mac(7)], []]]));
    two.serve([{ ...red, isActive: false }]);
    const first = await eventually('as before', () => two.events.find(({ kind }) => kind === 'vtepMacs'));
    assert.deepEqual(first, { kind: 'vtepMacs', vtep: VTEP, binding: RED, seen: [mac(7)], gone: [] });
    await transact([deleteRows(UcastMacsLocal, [])]);
    await eventually('gone', () => told().endsWith(JSON.stringify([[], [mac(7)]]).concat(']')));
  });

  test('logical switches that belong to no binding go when they have been strays for long, and the server is there', async () => {
    await transact([insert(VtepLogicalSwitch, { name: nameOf(BLUE), tunnel_key: 1 })]);
    one.serve([red]);
    await eventually('made', async () => (await rows()).switches.length === 2);
    one.serve([red], false);
    aheadMs = 11_000;
    await sleep(1_200 / PACE);
    assert.equal((await rows()).switches.length, 2);
    one.serve([red]);
    await eventually('gone', async () => (await rows()).switches.length === 1);
  });

  test('a host that talks to the VTEP no more takes along what no other host took over', async () => {
    one.serve([red, blue]);
    await eventually('made', async () => (await rows()).floods.length === 2);
    one.serve(undefined);
    two.serve([red]);
    await eventually('the other is gone', async () => (await rows()).switches.join() === `${nameOf(RED)} 5000`, 30_000);
    assert.deepEqual((await rows()).floods, [`unknown-dst ${nameOf(RED)} 198.51.100.2`]);
  });

  test('what is refused of one binding is told, and in the way of no other', async () => {
    one.serve([red, blue]);
    await eventually('made', async () => (await rows()).floods.length === 2);
    const [found] = await transact([select(VtepLogicalSwitch, [['name', '==', nameOf(BLUE)]])] as const);
    const router = { name: 'theirs', switch_binding: { '192.0.2.1/24': found[0]!._uuid } };
    await transact([insert(LogicalRouter, router)]);
    one.serve([red]);
    one.macs(RED, [mac(1)]);
    await eventually('the other goes on', async () => (await rows()).macs.length === 1);
    await eventually('told', () => one.problem?.startsWith('it refuses what should be written: '));
    assert.equal(one.states.vteps.get(VTEP)!.state, 'connected');
    await transact([deleteRows(LogicalRouter, [])]);
    await eventually('gone', async () => (await rows()).switches.length === 1);
    await eventually('well', () => one.problem === undefined);
  });

  test('hundreds of bindings are kept, and MACs of one write nothing of the others', async () => {
    const many = Array.from({ length: 200 }, (_, n): VtepBindingPlan => {
      const binding = `bbbbbbbb-0000-4000-8000-1${String(n).padStart(11, '0')}`;
      return { ...red, binding, vni: 6000 + n, physicalPorts: [{ port: 'p1', vlan: 1 + n }] };
    });
    one.serve(many);
    await eventually('all are there', async () => (await rows()).floods.length === many.length, 30_000);
    const tables: string[] = [];
    const monitor = await client.monitor(
      HARDWARE_VTEP_DB,
      [watch(UcastMacsRemote, ['MAC']), watch(McastMacsRemote, ['MAC']), watch(PhysicalPort, ['vlan_bindings'])],
      ({ cause, changes }) => void tables.push(...(cause === 'update' ? changes.map(({ table }) => table) : [])),
    );
    for (let n = 0; n < 20; n++) one.macs(many[n]!.binding, [mac(n)]);
    await eventually('MACs', async () => (await rows()).macs.length === 20);
    assert.deepEqual(
      tables,
      Array.from({ length: 20 }, () => 'Ucast_Macs_Remote'),
    );
    monitor.cancel();
  });

  test('thousands of MACs are written in parts, and one more is one row', async () => {
    const many = Array.from({ length: 9_000 }, (_, n) => mac(n));
    one.serve([red]);
    one.macs(RED, many, [], true);
    await eventually('all are there', async () => (await rows()).macs.length === many.length, 30_000);
    const changes: number[] = [];
    const monitor = await client.monitor(
      HARDWARE_VTEP_DB,
      [watch(UcastMacsRemote, ['MAC'])],
      (batch) => void changes.push(batch.changes.length),
    );
    one.macs(RED, [mac(9_500)]);
    await eventually('one more', async () => (await rows()).macs.length === many.length + 1);
    assert.deepEqual(changes.slice(1), [1]);
    monitor.cancel();
  });

  test('what is wrong with a database is told: nobody there, another database, no switch, many, no address', async () => {
    one.serve([red], true, { management: `unix:${join(server.folder, 'nobody')}` });
    aheadMs += 5_000;
    await eventually('unreachable', () => one.states.vteps.get(VTEP)?.state === 'unreachable');
    assert.match(one.problem!, /^cannot connect to unix:.*ENOENT/);
    const other = await OvsdbTestServer.start();
    two.serve([red], true, { management: other.unix });
    await eventually('another', () => two.problem?.startsWith('its server has no database hardware_vtep'));
    two.end();
    await other[Symbol.asyncDispose]();
    one.serve([red], true, { physicalSwitch: 'left' });
    await eventually('no such', () => one.problem === 'its database has no physical switch left (there is tor)');
    await transact([
      insert(PhysicalSwitch, { name: 'left' }, { name: 'l' }),
      mutate(Global, [], [['switches', 'insert', [named('l')]]]),
    ]);
    await eventually('no address', () => one.problem?.includes('names no IPv4 address for tunnels'));
    one.serve([red], true, { physicalSwitch: 'left', tunnelAddress: '192.0.2.7' });
    await eventually('connected', () => one.states.vteps.get(VTEP)?.state === 'connected');
    one.serve([red]);
    aheadMs += 5_000;
    await eventually(
      'many',
      () => one.problem?.includes('several switches (') && one.problem.includes('physicalSwitch'),
    );
  });

  test('over TLS with certificates of both', { skip: noOpenssl }, async () => {
    const port = await freePort();
    await using secure = await OvsdbTestServer.start({
      schema: VTEP_SCHEMA,
      args: (folder) => {
        makeCertificates(folder, 'ca', ['vtep', 'weft']);
        const file = (name: string): string => join(folder, `${name}.pem`);
        return [
          `--remote=pssl:${port}:127.0.0.1`,
          `--private-key=${file('vtep-key')}`,
          `--certificate=${file('vtep-cert')}`,
          `--ca-cert=${file('ca-cert')}`,
        ];
      },
    });
    const pem = (name: string): string => readFileSync(join(secure.folder, `${name}.pem`), 'utf8');
    const management = `ssl:127.0.0.1:${port}`;
    one.serve([red], true, { management, tls: { ca: pem('ca-cert') } });
    aheadMs += 5_000;
    await eventually('refused without ours', () => one.states.vteps.get(VTEP)?.state === 'unreachable');
    one.serve([red], true, {
      management,
      tls: { ca: pem('ca-cert'), certificate: pem('weft-cert'), privateKey: pem('weft-key') },
    });
    await eventually('connected', () => one.problem === 'its database has no physical switch yet');
    one.serve([red], true, { management, tls: { ca: 'nonsense' } });
    await eventually('told', () => one.problem?.includes('certificate'));
  });
});
