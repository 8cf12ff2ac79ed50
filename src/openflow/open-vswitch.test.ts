import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { formatHex } from '../base/bytes.ts';
import { canonicalInstructions, canonicalMatch } from './canonical.ts';
import { connectOpenFlow, type OpenFlowConnection, type Refusal } from './connection.ts';
import type { Action, Flow } from './flow.ts';
import { OFPP } from './flow.ts';
import { encodeMatch } from './match.ts';
import { encodeMessage } from './message.ts';
import { FLOW_COMMAND, type FlowMod } from './messages/flow-mod.ts';
import { GROUP_COMMAND, GROUP_TYPE } from './messages/group.ts';
import { BAND_TYPE, METER_COMMAND, METER_FLAG } from './messages/meter.ts';
import { PACKET_IN_FORMAT, TLV_COMMAND } from './messages/nicira.ts';
import type { PacketIn } from './messages/packet-in.ts';
import { noOpenVswitch, startSwitch, type TestSwitch } from './open-vswitch.fixture.ts';
import { NICIRA_ACTIONS } from './samples.fixture.ts';
import { formatVersion, OF10, OF13, OF14, OF15, type OpenFlowVersion } from './version.ts';

const frame = Uint8Array.from(Buffer.from(`${'ff'.repeat(6)}0200000000010806${'00'.repeat(46)}`, 'hex'));

function flow(table: number, priority: number, rest: Partial<Flow>): FlowMod {
  return { kind: 'flowMod', command: FLOW_COMMAND.add, table, priority, cookie: 7n, match: {}, actions: [], ...rest };
}

const clear: FlowMod = { ...flow(0xff, 0, {}), command: FLOW_COMMAND.delete, cookie: 0n };

/** Flow as it compares: canonical match and instructions as bytes. */
function fingerprint(flow: Flow, version: OpenFlowVersion): string {
  const match = canonicalMatch(flow.match);
  const { table, priority, cookie } = flow;
  const mod = { kind: 'flowMod', command: 0, table, priority, cookie, match } as const;
  const bytes = encodeMessage({ ...mod, ...canonicalInstructions(flow), version, xid: 0 });
  return `${formatHex(encodeMatch(match))} ${formatHex(bytes)}`;
}

/** A flow for each action, with the match that Open vSwitch wants for it. */
function actionFlows(): FlowMod[] {
  const unsupported = new Set(['sample', 'deleteField', 'enqueue']);
  const plain = NICIRA_ACTIONS.filter((a) => !unsupported.has(a.kind) && !(a.kind === 'controller' && a.meter));
  const alone = plain.filter((a) => a.kind === 'conjunction');
  const tracked = { value: 0x22, mask: 0x22 };
  const list: readonly Action[] = [
    ...plain.filter((a) => a.kind !== 'conjunction'),
    { kind: 'load', value: 5n, dst: { field: 'reg0', from: 4, bits: 16 } },
    { kind: 'load', value: 5n, dst: { field: 'reg0', from: 0, bits: 32 } },
    { kind: 'load', value: 5n, dst: { field: 'xxreg1', from: 70, bits: 20 } },
    { kind: 'load', value: 0, dst: { field: 'in_port', from: 0, bits: 16 } },
    { kind: 'setField', field: 'metadata', value: 5n, mask: 0xffn },
    { kind: 'setField', field: 'tun_id', value: 99n },
    { kind: 'setField', field: 'eth_dst', value: 0x0200_0000_0001 },
    { kind: 'move', src: { field: 'reg1', from: 3, bits: 5 }, dst: { field: 'reg2', from: 4, bits: 5 } },
    { kind: 'output', port: OFPP.controller, maxLen: 128 },
    { kind: 'output', port: OFPP.inPort },
  ];
  const fits = (action: Action): Partial<Flow> => {
    const six = action.kind === 'ct' && typeof action.nat?.ipMin === 'bigint';
    const match = six ? { eth_type: 0x86dd } : { eth_type: 0x0800, ip_proto: 6, ct_state: tracked };
    return { match, actions: [action] };
  };
  return [...list, ...alone].map((action, i) => flow(2, i + 1, fits(action)));
}

const matchFlows: readonly FlowMod[] = [
  flow(3, 1, { match: { reg0: 1, reg1: { value: 2, mask: 0xff }, reg5: 7, metadata: { value: 1n, mask: 3n } } }),
  flow(3, 2, { match: { eth_type: 0x86dd, ipv6_src: { value: 1n << 127n, mask: 1n << 127n }, xxreg0: 5n } }),
  flow(3, 3, { match: { in_port: OFPP.local, vlan_vid: 0x1005, vlan_pcp: 3 } }),
  flow(3, 4, { match: { vlan_vid: 0 } }),
  flow(3, 5, { match: { eth_type: 0x0806, arp_op: 1, arp_tpa: 0x0a00_0001, arp_sha: 5 } }),
  flow(3, 6, { match: { eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 135, nd_target: 9n, nd_sll: 4 } }),
  flow(3, 7, { match: { tun_id: 5n, tun_src: 0x0a00_0001, tun_flags: { value: 1, mask: 1 } } }),
  flow(3, 8, { match: { eth_type: 0x0800, ip_proto: 17, udp_dst: { value: 0x40, mask: 0xffc0 }, ip_frag: 0 } }),
  flow(3, 9, { match: { ct_state: { value: 0x22, mask: 0x22 }, ct_mark: 3, ct_label: { value: 1n, mask: 1n } } }),
  flow(3, 10, { match: { conj_id: 5, pkt_mark: { value: 1, mask: 1 } }, gotoTable: 9 }),
  flow(3, 11, { writeMetadata: { value: 5n, mask: 0xffn }, actions: [{ kind: 'exit' }], gotoTable: 9 }),
  flow(3, 12, { clearActions: true, writeActions: [{ kind: 'output', port: OFPP.local }] }),
];

suite('a real Open vSwitch', { skip: noOpenVswitch }, () => {
  let ovs: TestSwitch;
  const open: OpenFlowConnection[] = [];
  before(async () => {
    ovs = await startSwitch();
  });
  after(async () => {
    for (const connection of open) connection.close();
    await ovs.stop();
  });
  async function connect(version: OpenFlowVersion): Promise<OpenFlowConnection> {
    const connection = await connectOpenFlow(ovs.address, { versions: [version] });
    open.push(connection);
    return connection;
  }
  async function installed(connection: OpenFlowConnection): Promise<readonly Flow[]> {
    return (await connection.multipart({ kind: 'flow' })).flows;
  }

  for (const version of [OF13, OF14, OF15] as const)
    test(`flows installed in a bundle of OpenFlow ${formatVersion(version)} are read back equal`, async () => {
      const connection = await connect(version);
      assert.equal(connection.version, version);
      const flows = [...actionFlows(), ...matchFlows];
      await connection.transaction([clear, ...flows]);
      const back = await installed(connection);
      assert.deepEqual(
        back.map((f) => fingerprint(f, version)).sort(),
        flows.map((f) => fingerprint(f, version)).sort(),
      );
      await connection.transaction([clear]);
      assert.deepEqual(await installed(connection), []);
    });

  test('OpenFlow 1.0 installs and reads back', async () => {
    const connection = await connect(OF10);
    const match = { in_port: 1, eth_type: 0x0800, ip_proto: 6, ip_src: { value: 0x0a00_0000, mask: 0xff00_0000 } };
    const mod = flow(0, 5, { match, actions: [{ kind: 'output', port: 2 }], idleTimeout: 60 });
    await connection.transaction([mod]);
    const [back] = (await connection.multipart({ kind: 'flow', match: {} })).flows;
    assert.deepEqual(back?.match, match);
    assert.deepEqual(back?.actions, mod.actions);
    await connection.transaction([{ ...clear, table: 0 }]);
  });

  for (const version of [OF10, OF15] as const)
    test(`what ${formatVersion(version)} sends to be applied after something else is applied then, or never`, async () => {
      const connection = await connect(version);
      const held = Promise.withResolvers<void>();
      const applied = connection.transactionOfAccepted([flow(0, 1, {})], { after: held.promise });
      await connection.barrier();
      assert.deepEqual(await installed(connection), []);
      held.resolve();
      await applied;
      assert.equal((await installed(connection)).length, 1);
      const error = new Error('the other thing failed');
      const never = connection.transactionOfAccepted([flow(0, 2, {})], { after: Promise.reject(error) });
      await assert.rejects(never, error);
      assert.equal((await installed(connection)).length, 1);
      await connection.transactionOfAccepted([{ ...clear, table: 0 }]);
      assert.deepEqual(await installed(connection), []);
    });

  for (const version of [OF13, OF15] as const)
    test(`a bundle of ${formatVersion(version)} with one bad flow installs nothing and says why`, async () => {
      const connection = await connect(version);
      const good = flow(1, 1, {});
      const badMatch = flow(1, 2, { match: { ip_src: 5 } });
      const badGroup = flow(1, 3, { actions: [{ kind: 'group', group: 99 }] });
      for (const [bad, name] of [
        [badMatch, 'OFPBMC_BAD_PREREQ'],
        [badGroup, 'OFPBAC_BAD_OUT_GROUP'],
      ] as const) {
        await assert.rejects(connection.transaction([good, bad, good]), (error: Error & { details?: unknown }) => {
          const { index, error: refused } = error.details as Refusal;
          assert.equal(index, 1);
          assert.equal(refused.name, name);
          assert.match(error.message, new RegExp(`table=1,priority=${bad.priority}.*${name}`));
          return true;
        });
        assert.deepEqual(await installed(connection), []);
      }
      await connection.transaction([good]);
      assert.equal((await installed(connection)).length, 1);
      await connection.transaction([clear]);
    });

  test('groups and meters come back as they went', async () => {
    const connection = await connect(OF15);
    const buckets = [{ id: 3, weight: 5, actions: [{ kind: 'output', port: OFPP.local }] }] as const;
    const selection = { selectionMethod: 'hash', selectionFields: { eth_type: 0, ip_src: 0xffff_ffff } } as const;
    const group = { kind: 'groupMod', type: GROUP_TYPE.select, group: 5, buckets, ...selection } as const;
    const withoutType = { ...group, selectionFields: { ip_src: 0xffff_ffff } };
    await connection.transaction([{ ...withoutType, command: GROUP_COMMAND.add }]);
    const { groups } = await connection.multipart({ kind: 'groupDesc' });
    assert.deepEqual(groups[0]?.buckets, buckets);
    assert.equal(groups[0]?.selectionMethod, 'hash');
    const bands = [{ type: BAND_TYPE.drop, rate: 100, burst: 50 }];
    const flags = METER_FLAG.packets | METER_FLAG.burst | METER_FLAG.stats;
    connection.send({ kind: 'meterMod', command: METER_COMMAND.add, flags, meter: 4, bands });
    const { meters } = await connection.multipart({ kind: 'meterConfig' });
    assert.deepEqual(meters, [{ meter: 4, flags, bands }]);
    assert.equal((await connection.multipart({ kind: 'meter' })).meters[0]?.meter, 4);
    assert.ok((await connection.multipart({ kind: 'meterFeatures' })).maxMeter > 0);
    assert.equal((await connection.multipart({ kind: 'group' })).groups[0]?.group, 5);
  });

  for (const version of [OF10, OF13, OF14, OF15] as const)
    test(`every description of OpenFlow ${formatVersion(version)} is understood`, async () => {
      const connection = await connect(version);
      const kinds = ['desc', 'aggregate', 'table', 'port', 'portDesc', 'queue'] as const;
      for (const kind of kinds) assert.equal((await connection.multipart({ kind })).kind, kind);
      assert.equal((await connection.multipart({ kind: 'desc' })).manufacturer, 'Nicira, Inc.');
      assert.equal((await connection.multipart({ kind: 'portDesc' })).ports[0]?.name, 'br0');
      assert.equal((await connection.request({ kind: 'featuresRequest' })).kind, 'featuresReply');
      assert.equal((await connection.request({ kind: 'getConfigRequest' })).kind, 'getConfigReply');
      if (version === OF10) return;
      const features = await connection.multipart({ kind: 'tableFeatures', tables: [] });
      assert.ok(features.tables.length > 200);
      assert.equal((await connection.multipart({ kind: 'groupFeatures' })).types, 15);
      assert.equal((await connection.request({ kind: 'getAsyncRequest' })).kind, 'getAsyncReply');
      const role = await connection.request({ kind: 'roleRequest', role: 0, generation: 0n });
      assert.equal(role.kind === 'roleReply' && role.role, 1);
    });

  test('a paused packet comes in with its userdata and goes on when resumed', { timeout: 10_000 }, async () => {
    const connection = await connect(OF15);
    // A management connection gets no events until it says how much of a packet it wants.
    connection.send({ kind: 'setConfig', flags: 0, missSendLength: 0xffff });
    connection.send({ kind: 'setPacketInFormat', format: PACKET_IN_FORMAT.nxt2 });
    const userdata = new Uint8Array([1, 2, 3]);
    const pause = { kind: 'controller', maxLen: 0xffff, reason: 1, controller: 0, userdata, pause: true } as const;
    const load = { kind: 'load', value: 9n, dst: { field: 'reg3', from: 0, bits: 32 } } as const;
    const told = { kind: 'controller', maxLen: 0xffff, reason: 1, controller: 0, userdata: userdata.slice(1) } as const;
    await connection.transaction([flow(0, 1, { actions: [load, pause, { kind: 'resubmit', table: 1 }] })]);
    await connection.transaction([flow(1, 1, { actions: [told] })]);
    const next = (): Promise<PacketIn> =>
      new Promise((resolve) => {
        const off = connection.on('packetIn', (message) => {
          off();
          resolve(message);
        });
      });
    const paused = next();
    const table = { kind: 'output', port: OFPP.table } as const;
    connection.send({ kind: 'packetOut', match: { in_port: OFPP.local }, actions: [table], frame });
    const first = await paused;
    assert.equal(first.form, 'nxt2');
    assert.deepEqual(first.userdata, userdata);
    assert.deepEqual(first.frame, frame);
    assert.equal(first.match.reg3, 9);
    const resumed = next();
    const { match, continuation } = first;
    connection.send({ kind: 'resume', frame, match: { ...match, reg3: 10 }, continuation: continuation! });
    const second = await resumed;
    assert.deepEqual(second.userdata, userdata.slice(1));
    assert.equal(second.match.reg3, 10);
    await connection.transaction([clear]);
  });

  test('a removed flow is announced, and tunnel options are mapped', { timeout: 10_000 }, async () => {
    const connection = await connect(OF15);
    connection.send({ kind: 'setConfig', flags: 0, missSendLength: 0xffff });
    const removed = new Promise<bigint>((resolve) => connection.on('flowRemoved', (m) => resolve(m.cookie)));
    await connection.transaction([flow(1, 1, { flags: 1, cookie: 0x55n })]);
    await connection.transaction([clear]);
    assert.equal(await removed, 0x55n);
    const maps = [{ optionClass: 0x0102, optionType: 0x80, optionLength: 8, index: 0 }];
    connection.send({ kind: 'tlvTableMod', command: TLV_COMMAND.add, maps });
    const table = await connection.request({ kind: 'tlvTableRequest' });
    assert.deepEqual(table.kind === 'tlvTableReply' && table.maps, maps);
    const mod = flow(1, 1, { match: { tun_metadata0: { value: 5n, mask: 0xffn } } });
    await connection.transaction([mod]);
    const [back] = await installed(connection);
    assert.equal(fingerprint(back!, OF15), fingerprint(mod, OF15));
    await connection.transaction([clear]);
  });

  test('20,000 flows go in one bundle and come back in one reply', async () => {
    const connection = await connect(OF15);
    const flows = Array.from({ length: 20_000 }, (_, i) => flow(5, 10, { match: { reg0: i }, cookie: BigInt(i) }));
    await connection.transaction(flows);
    assert.equal((await installed(connection)).length, flows.length);
    await connection.transaction([clear]);
  });
});
