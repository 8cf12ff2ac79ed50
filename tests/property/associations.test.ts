import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Ip, type Mac, parseIp, parseMac } from '../../src/base/addresses.ts';
import { findOpenVswitch } from '../../src/lab/open-vswitch.ts';
import type { ModelSketch, PortSketch } from '../../src/model/generate.ts';
import { ETHER_TYPE } from '../../src/packet/ethernet.ts';
import { IP_PROTO } from '../../src/packet/ip-protocol.ts';
import { ipv4Header } from '../../src/packet/ipv4.ts';
import { ipv6Header } from '../../src/packet/ipv6.ts';
import { decodePacket, encodePacket } from '../../src/packet/packet.ts';
import { encodeSctp, SCTP_CHUNK, type SctpChunk, sctpInit, withSctpChecksum } from '../../src/packet/sctp.ts';
import { Connections } from '../../src/simulate/connections.ts';
import { simulateFrame } from '../../src/simulate/simulate.ts';
import { installForPackets, observePackets } from './in-packets.ts';
import { differences, expected } from './observation.ts';
import { PacketFarm } from './packet-farm.ts';
import { buildScenario, type Entry, type Scenario } from './scenario.ts';

/**
 * Whole associations of SCTP to a virtual address whose members listen at another port, through real Open vSwitch: clients inside and outside, the member here and
 * behind a tunnel. Every packet has to arrive as `simulate` says, with a checksum that is right.
 */
const noSwitch = await findOpenVswitch().then(
  () => false as const,
  (error: Error) => error.message,
);

const [CLIENT_PORT, VIP_PORT, MEMBER_PORT] = [40_000, 3868, 3869];
const [CLIENT_TAG, SERVER_TAG] = [0x1111_1111, 0x2222_2222];
const NOTHING = new Uint8Array(0);
const COOKIE = Uint8Array.from({ length: 41 }, (_, i) => i);
/** Bytes 4 to 12: stream, number in it, protocol (RFC 9260 §3.3.1). */
const dataOf = (length: number): Uint8Array => Uint8Array.from({ length: 12 + length }, (_, i) => i * 3);
const chunk = (type: keyof typeof SCTP_CHUNK, value: Uint8Array = NOTHING): SctpChunk => ({
  type: SCTP_CHUNK[type],
  value,
});

const INIT = chunk('init', sctpInit(CLIENT_TAG));

/** Who says it, and what: set-up, data both ways, a heartbeat of the server's, and the end (RFC 9260 §5.1, §9.2). */
const ASSOCIATION: readonly (readonly ['client' | 'server', ...SctpChunk[]])[] = [
  ['client', INIT],
  ['server', chunk('initAck', sctpInit(SERVER_TAG, COOKIE))],
  ['client', chunk('cookieEcho', COOKIE), chunk('data', dataOf(5))],
  ['server', chunk('cookieAck'), chunk('sack', new Uint8Array(12))],
  ['client', chunk('data', dataOf(1)), chunk('data', dataOf(1000))],
  ['server', chunk('sack', new Uint8Array(12)), chunk('data', dataOf(66))],
  ['server', chunk('heartbeat', Uint8Array.of(0, 1, 0, 8, 1, 2, 3, 4))],
  ['client', chunk('heartbeatAck', Uint8Array.of(0, 1, 0, 8, 1, 2, 3, 4))],
  ['client', chunk('shutdown', new Uint8Array(4))],
  ['server', chunk('shutdownAck')],
  ['client', chunk('shutdownComplete')],
];

const port = (host: number): PortSketch => ({
  ...{ unsecured: false, down: false, addresses: [0, 1, 2], pairs: [], mac: 0, outside: false, groups: [] },
  binding: { kind: 'one', host },
});

/** An outside with a client on each host, and a switch with the member and a client on each. */
function modelWith(version: 4 | 6): ModelSketch {
  const subnets = [5, 6].map((pick) => ({ pick, dhcp: false, gateway: false }));
  const device = { vlanAware: false, down: false, subnets, learned: [], neighbours: [], shared: false };
  const link = { down: false, without: 0 };
  return {
    ...{ encaps: ['geneve'], hosts: [0, 0], underlay: 4, chains: [], tenants: 1 },
    switches: [
      { ...device, ports: [port(0), port(1)] },
      { ...device, ports: [port(0), port(0), port(1)] },
    ],
    network: {
      ...{ groups: [], sets: [], floating: [], mirrors: [] },
      routers: [
        {
          ...{ down: false, routes: [], policies: [], snat: [] },
          ports: [
            { ...link, to: { kind: 'switch', at: 0 }, outside: true },
            { ...link, to: { kind: 'switch', at: 1 }, outside: false },
          ],
        },
      ],
      balancers: [
        {
          ...{ version, on: { kind: 'router', at: 0 }, where: 'outside' },
          listeners: [{ protocol: 'sctp', port: VIP_PORT, memberPort: MEMBER_PORT }],
          members: [{ port: 0, weight: 1, drain: false, down: false }],
          ...{ sticky: 'none', onEmpty: 'reject', down: false },
        },
      ],
    },
  };
}

/** An end of the association: where it is, and whom it talks to. */
interface End {
  readonly at: string;
  readonly mac: Mac;
  readonly ip: Ip;
  readonly port: number;
  readonly peer: { readonly mac: Mac; readonly ip: Ip; readonly port: number };
}

function frameOf({ mac, ip, port: srcPort, peer }: End, tag: number, chunks: readonly SctpChunk[]): Uint8Array {
  return frameWith(mac, peer.mac, ip, peer.ip, encodeSctp({ srcPort, dstPort: peer.port, tag }, chunks));
}

function frameWith(src: Mac, dst: Mac, from: Ip, to: Ip, payload: Uint8Array): Uint8Array {
  if (from.version === 4 && to.version === 4) {
    const l3 = { kind: 'ipv4', ...ipv4Header({ src: from.value, dst: to.value, protocol: IP_PROTO.sctp }) } as const;
    return encodePacket({ ethernet: { src, dst, etherType: ETHER_TYPE.ipv4 }, vlans: [], l3, payload }).slice();
  }
  assert.ok(from.version === 6 && to.version === 6);
  const l3 = { kind: 'ipv6', ...ipv6Header({ src: from.value, dst: to.value, nextHeader: IP_PROTO.sctp }) } as const;
  return encodePacket({ ethernet: { src, dst, etherType: ETHER_TYPE.ipv6 }, vlans: [], l3, payload }).slice();
}

/** As the receiver reads it: who it is then, with the sender for its peer. */
function read(bytes: Uint8Array): { readonly payload: Uint8Array } & Pick<End, 'port' | 'peer'> {
  const { l3, payload, ethernet } = decodePacket(bytes);
  assert.ok(l3 && l3.kind !== 'arp');
  const ip: Ip = l3.kind === 'ipv4' ? { version: 4, value: l3.src } : { version: 6, value: l3.src };
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  return { payload, port: view.getUint16(2), peer: { mac: ethernet.src, ip, port: view.getUint16(0) } };
}

/** A model, its connections as `simulate` knows them, and the switch that it is in. */
class Stage {
  readonly scenario: Scenario;
  readonly #farm: PacketFarm;
  #connections = new Connections();

  private constructor(farm: PacketFarm, version: 4 | 6) {
    this.#farm = farm;
    this.scenario = buildScenario({ model: modelWith(version), frames: [] });
  }

  static async on(farm: PacketFarm, version: 4 | 6): Promise<Stage> {
    const stage = new Stage(farm, version);
    await farm.farm.findWays();
    await installForPackets(farm, stage.scenario);
    return stage;
  }

  /** A workload with an address of the VIP's version; its peer is the VIP, to which its router leads. */
  end(onSwitch: number, n: number): End {
    const { model } = this.scenario;
    const vip = parseIp([...model.all('loadBalancer')][0]!.address)!;
    const at = [...model.portsOfSwitch([...model.all('switch')][onSwitch]!.id)][n]!;
    const gateway = [...model.all('routerPort')].find((each) => each.switch === at.switch)!;
    const ip = at.addresses.map((text) => parseIp(text)!).find(({ version }) => version === vip.version)!;
    const peer = { mac: parseMac(gateway.mac)!, ip: vip, port: VIP_PORT };
    return { at: at.id, mac: parseMac(at.mac)!, ip, port: CLIENT_PORT, peer };
  }

  /** Sends really; each that gets it, with what it gets, and what is not as `simulate` says. */
  async send(from: string, bytes: Uint8Array): Promise<{ got: [at: string, bytes: Uint8Array][]; wrong: string[] }> {
    const host = this.scenario.hosts.find(({ ports }) => [...ports.values()].includes(from))!;
    const [ofport] = [...host.ports].find(([, id]) => id === from)!;
    const entry: Entry = { port: from, host: host.id, ofport, bytes, early: false, sketch: undefined as never };
    const outcome = simulateFrame(this.scenario.model, entry, this.#connections);
    this.#connections = this.#connections.with(outcome.commits);
    const seen = await observePackets(this.#farm, this.scenario, entry);
    const got = seen.delivered.map((line): [string, Uint8Array] => {
      const [, at, hex] = line.split(' ');
      return [at!, Uint8Array.from(Buffer.from(hex!, 'hex'))];
    });
    return { got, wrong: differences(expected(this.scenario, entry, outcome), seen, outcome) };
  }
}

const [OUTSIDE, INSIDE] = [0, 1];

describe('SCTP to a virtual address with another port, through real Open vSwitch', { skip: noSwitch }, () => {
  let farm: PacketFarm;
  before(async () => {
    farm = await PacketFarm.start();
  });
  after(() => farm.stop());

  /** The association from its first packet to its last. */
  async function associate(version: 4 | 6, onSwitch: number, n: number): Promise<void> {
    const stage = await Stage.on(farm, version);
    const client = stage.end(onSwitch, n);
    let server = stage.end(INSIDE, 0);
    for (const [step, [who, ...chunks]] of ASSOCIATION.entries()) {
      const [from, to] = who === 'client' ? [client, server] : [server, client];
      const tag = step === 0 ? 0 : who === 'client' ? SERVER_TAG : CLIENT_TAG;
      const { got, wrong } = await stage.send(from.at, frameOf(from, tag, chunks));
      assert.deepEqual(wrong, [], `step ${step}`);
      assert.deepEqual(
        got.map(([at]) => at),
        [to.at],
        `step ${step}`,
      );
      const { payload, port, peer } = read(got[0]![1]);
      const wanted = who === 'client' ? [CLIENT_PORT, MEMBER_PORT] : [VIP_PORT, CLIENT_PORT];
      assert.deepEqual([peer.port, port], wanted, `step ${step}: ports`);
      const sent = encodeSctp({ srcPort: peer.port, dstPort: port, tag }, chunks);
      assert.deepEqual(payload, sent, `step ${step}: the chunks, with the checksum of a packet between these ports`);
      if (who === 'client') server = { ...server, port, peer };
    }
  }

  for (const version of [4, 6] as const)
    for (const [where, onSwitch] of [
      ['inside', INSIDE],
      ['outside', OUTSIDE],
    ] as const)
      for (const [which, n] of [
        ["on the member's host", 0],
        ['on another host', 1],
      ] as const)
        test(`an association over IPv${version} of a client ${where}, ${which}`, () =>
          associate(version, onSwitch, onSwitch === INSIDE ? n + 1 : n));

  test('what has no right checksum, or chunks that do not fill it, is invalid to Open vSwitch', async () => {
    const stage = await Stage.on(farm, 4);
    const client = stage.end(INSIDE, 1);
    const packet = encodeSctp({ srcPort: CLIENT_PORT, dstPort: VIP_PORT, tag: 0 }, [INIT]);
    const send = (payload: Uint8Array) =>
      stage.send(client.at, frameWith(client.mac, client.peer.mac, client.ip, client.peer.ip, payload));
    const spoiled = packet.slice();
    spoiled[8]! ^= 1;
    const longer = withSctpChecksum(Uint8Array.of(...packet, 0));
    for (const payload of [spoiled, longer]) assert.deepEqual((await send(payload)).got, []);
    assert.equal((await send(packet)).got.length, 1);
  });
});
