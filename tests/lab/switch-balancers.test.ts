// A scenario: runs by --all.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { formatIp, parseIp, parseMac } from '../../src/base/addresses.ts';
import { startCapture } from '../../src/lab/capture.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { ETHER_TYPE } from '../../src/packet/ethernet.ts';
import { IP_PROTO } from '../../src/packet/ip-protocol.ts';
import { ipv4Header } from '../../src/packet/ipv4.ts';
import { ipv6Header } from '../../src/packet/ipv6.ts';
import { decodePacket, encodePacket } from '../../src/packet/packet.ts';
import { encodeSctp, SCTP_CHUNK, sctpInit, withSctpChecksum } from '../../src/packet/sctp.ts';
import { applyEverywhere, type Datacentre, eventually, isSilent, pings, startDatacentre } from './datacentre.ts';
import { needsRoot } from './lab-name.ts';
import { ask, type HeldConnection, hold, serveAll, tally, unanswered } from './services.ts';
import { acme, workload } from './tenancy.ts';

/**
 * Virtual addresses of a switch that no router joins: clients and members, on two hosts, have nothing but the switch (`balancing.test.ts` has routers).
 * SCTP goes by hand: the kernels of these machines have none.
 */
const VIPS = { 4: '10.0.2.200', 6: 'fd00:2::200' } as const;
const MEMBERS = { b1: 'east', b2: 'west' } as const;
const CLIENTS = { b3: 'west', b4: 'east' } as const;
const SCTP = { vip: 3868, member: 3869, client: 40_000 } as const;
const versions = [4, 6] as const;
const addressOf = (name: string, version: 4 | 6): string =>
  version === 4 ? `10.0.2.1${name[1]}` : `fd00:2::1${name[1]}`;
const both = [{ port: 'b1' }, { port: 'b2' }];

const balancers = (more: object = {}): Record<string, unknown>[] =>
  versions.map((version) =>
    acme('loadBalancer', `vip${version}`, {
      ...{ address: VIPS[version], switch: 'b', members: both },
      listeners: [
        { protocol: 'tcp', port: 80, memberPort: 8080 },
        { protocol: 'udp', port: 53, memberPort: 5353 },
        { protocol: 'sctp', port: SCTP.vip, memberPort: SCTP.member },
      ],
      ...more,
    }),
  );

describe('a load balancer of a switch', { skip: needsRoot }, () => {
  let dc: Datacentre;
  const apply = (...objects: object[]): Promise<void> => applyEverywhere(dc, objects);

  before(async () => {
    const places = { ...MEMBERS, ...CLIENTS };
    const port = (name: string) =>
      acme('port', name, { switch: 'b', addresses: versions.map((version) => addressOf(name, version)) });
    dc = await startDatacentre({
      prefix: 'slb',
      hosts: ['east', 'west'],
      objects: [
        { kind: 'tenant', name: 'acme' },
        acme('switch', 'b', { subnets: [{ cidr: '10.0.2.0/24' }, { cidr: 'fd00:2::/64', ipv6Mode: 'stateful' }] }),
        ...Object.keys(places).map(port),
        ...balancers(),
      ],
      workloads: Object.entries(places).map(([name, host]) => {
        const { gateways: _, ...planned } = workload(name, host);
        return planned;
      }),
    });
    await serveAll(dc.lab, Object.keys(MEMBERS), 'tcp/8080', 'udp/5353');
    for (const from of Object.keys(CLIENTS))
      for (const version of versions)
        await eventually(`${from} is answered`, 10_000, () => pings(dc.lab, from, VIPS[version]));
  });
  after(() => dc?.down());

  /** Who answers so many questions by UDP, each from another port. */
  async function udpTally(from: string, address: string, count = 10): Promise<Map<string, number>> {
    const by = new Map<string, number>();
    for (let n = 0; n < count; n++) {
      const answer = await ask(dc.lab, from, 'udp', address, 53);
      const who = answer.by ?? answer.why!;
      by.set(who, (by.get(who) ?? 0) + 1);
    }
    return by;
  }
  const names = (by: ReadonlyMap<string, number>): string[] => [...by.keys()].sort();

  for (const version of versions) {
    const vip = VIPS[version];

    test(`IPv${version}: shares TCP and UDP out, from every host, and members see who calls`, async () => {
      for (const from of Object.keys(CLIENTS)) {
        assert.deepEqual(names(await tally(dc.lab, from, vip, 80, 24)), ['b1', 'b2'], from);
        assert.deepEqual(names(await udpTally(from, vip, 12)), ['b1', 'b2'], from);
        for (const protocol of ['tcp', 'udp'] as const) {
          const { seen } = await ask(dc.lab, from, protocol, vip, protocol === 'tcp' ? 80 : 53);
          assert.equal(seen, addressOf(from, version), `${from}, ${protocol}`);
        }
        assert.ok(await pings(dc.lab, from, vip), from);
        assert.equal((await ask(dc.lab, from, 'tcp', vip, 81)).by, undefined, 'what it does not offer');
      }
    });

    test(`IPv${version}: members may call it, themselves too`, async () => {
      for (const from of Object.keys(MEMBERS))
        assert.deepEqual(names(await tally(dc.lab, from, vip, 80, 24)), ['b1', 'b2'], from);
    });

    test(`IPv${version}: connections of a drained member go on, new ones go elsewhere`, async () => {
      const held: HeldConnection[] = [];
      const holders = (): string[] => [...new Set(held.map(({ by }) => by))].sort();
      try {
        for (let n = 0; n < 4 || (holders().length < 2 && n < 24); n++)
          held.push(await hold(dc.lab, Object.keys(CLIENTS)[n % 2]!, vip, 80));
        assert.deepEqual(holders(), ['b1', 'b2']);
        await apply(...balancers({ members: [{ port: 'b1', drain: true }, { port: 'b2' }] }));
        for (const from of Object.keys(CLIENTS)) {
          assert.deepEqual(names(await tally(dc.lab, from, vip, 80, 12)), ['b2'], from);
          assert.deepEqual(names(await udpTally(from, vip)), ['b2'], from);
        }
        const before = held.map((each) => each.echoes());
        await eventually('connections go on', 3000, async () =>
          held.every((each, n) => each.isOpen() && each.echoes() > before[n]! + 2),
        );
        await apply(...balancers());
        for (const from of Object.keys(CLIENTS))
          assert.deepEqual(names(await tally(dc.lab, from, vip, 80, 24)), ['b1', 'b2'], from);
      } finally {
        for (const each of held) each.stop();
      }
    });

    test(`IPv${version}: keeps a client at its member where it is to stick, as long as that serves`, async () => {
      await apply(...balancers({ sticky: 'source' }));
      for (const from of Object.keys(CLIENTS)) {
        const [first] = names(await tally(dc.lab, from, vip, 80, 12));
        assert.deepEqual(names(await tally(dc.lab, from, vip, 80, 12)), [first], from);
        assert.deepEqual(names(await udpTally(from, vip)), [first], `${from}, UDP`);
        const other = first === 'b1' ? 'b2' : 'b1';
        await apply(...balancers({ sticky: 'source', members: [{ port: first, drain: true }, { port: other }] }));
        assert.deepEqual(names(await tally(dc.lab, from, vip, 80, 12)), [other], from);
        await apply(...balancers({ sticky: 'source' }));
        assert.deepEqual(names(await tally(dc.lab, from, vip, 80, 12)), [first], `${from}, back`);
      }
      await apply(...balancers());
    });

    test(`IPv${version}: says so, or says nothing, where nobody serves`, async () => {
      const members = both.map((each) => ({ ...each, adminUp: false }));
      for (const nobody of [members, [{ port: 'b1', drain: true }, members[1]!]]) {
        await apply(...balancers({ members: nobody }));
        for (const from of Object.keys(CLIENTS)) {
          assert.equal((await ask(dc.lab, from, 'tcp', vip, 80)).why, 'ECONNREFUSED', from);
          assert.match((await ask(dc.lab, from, 'udp', vip, 53)).why!, /EHOSTUNREACH|EACCES|ECONNREFUSED/, from);
        }
        await apply(...balancers({ members: nobody, onEmpty: 'drop' }));
        for (const from of Object.keys(CLIENTS)) {
          assert.ok(await unanswered(dc.lab, from, 'tcp', vip, 80), from);
          assert.ok(await unanswered(dc.lab, from, 'udp', vip, 53), from);
        }
      }
      await apply(...balancers({ adminUp: false }));
      assert.ok(await isSilent(dc.lab, 'b3', vip), 'it is down');
      await apply(...balancers());
      assert.match((await ask(dc.lab, 'b3', 'tcp', vip, 80)).by ?? 'nobody', /^b[12]$/);
    });

    test(`IPv${version}: leads SCTP to a member's port and back, with right checksums`, async () => {
      for (const [n, client] of Object.keys(CLIENTS).entries()) {
        const header = { srcPort: SCTP.client + n, dstPort: SCTP.vip, tag: 0 };
        const init = encodeSctp(header, [{ type: SCTP_CHUNK.init, value: sctpInit(0x1111_1111) }]);
        // A switch answers for its VIP with a MAC of the switch's own.
        const neighbours = await dc.lab.execOk(client, ['ip', 'neigh', 'show', vip]);
        const mac = /lladdr (\S+)/.exec(neighbours)![1]!;
        const ears = await Promise.all(
          Object.keys(MEMBERS).map(async (name) => ({
            name,
            ear: await startCapture(dc.lab, name, 'eth0', { filter: sctpTo }),
          })),
        );
        await sendFramesOnce(dc.lab, client, [
          framed(dc.ports.get(client)!.mac, mac, [addressOf(client, version), vip], init),
        ]);
        await Promise.race(ears.map(({ ear }) => ear.reaches(1)));
        const got = await Promise.all(
          ears.map(async ({ name, ear }) => ({ name, frames: await (await ear.stop()).frames() })),
        );
        const [{ name: by, frames }] = got.filter((each) => each.frames.length > 0) as [(typeof got)[number]];
        assert.equal(got.flatMap((each) => each.frames).length, 1, 'one member');
        const asked = sctpIn(frames[0]!.bytes);
        assert.deepEqual(asked, { ports: [header.srcPort, SCTP.member], isRight: true });
        const answer = encodeSctp({ srcPort: SCTP.member, dstPort: header.srcPort, tag: 0x1111_1111 }, [
          { type: SCTP_CHUNK.initAck, value: sctpInit(0x2222_2222, new Uint8Array(12)) },
        ]);
        const ear = await startCapture(dc.lab, client, 'eth0', { filter: sctpTo });
        const [from, to] = [dc.ports.get(by)!.mac, dc.ports.get(client)!.mac];
        await sendFramesOnce(dc.lab, by, [
          framed(from, to, [addressOf(by, version), addressOf(client, version)], answer),
        ]);
        await ear.reaches(1);
        const back = await (await ear.stop()).frames();
        assert.deepEqual(
          back.map(({ bytes }) => ({ ...sctpIn(bytes), from: sourceOf(bytes) })),
          [{ ports: [SCTP.vip, header.srcPort], isRight: true, from: vip }],
          client,
        );
      }
    });
  }
});

/** What comes in at an interface; a capture hears what its own workload sends too. */
const sctpTo = '(ip proto 132 or ip6 proto 132) and (dst port 3869 or dst portrange 40000-40001)';

function framed(src: string, dst: string, [from, to]: readonly [string, string], payload: Uint8Array): Uint8Array {
  const [source, target] = [parseIp(from)!, parseIp(to)!];
  const ends = { src: parseMac(src)!, dst: parseMac(dst)! };
  if (source.version === 4 && target.version === 4) {
    const header = ipv4Header({ src: source.value, dst: target.value, protocol: IP_PROTO.sctp });
    return encodePacket({
      ethernet: { ...ends, etherType: ETHER_TYPE.ipv4 },
      vlans: [],
      l3: { kind: 'ipv4', ...header },
      payload,
    });
  }
  if (source.version === 6 && target.version === 6) {
    const header = ipv6Header({ src: source.value, dst: target.value, nextHeader: IP_PROTO.sctp });
    return encodePacket({
      ethernet: { ...ends, etherType: ETHER_TYPE.ipv6 },
      vlans: [],
      l3: { kind: 'ipv6', ...header },
      payload,
    });
  }
  throw new TypeError('addresses of two families');
}

function sctpIn(bytes: Uint8Array): { readonly ports: readonly [number, number]; readonly isRight: boolean } {
  const { payload } = decodePacket(bytes);
  const view = new DataView(payload.buffer, payload.byteOffset);
  return {
    ports: [view.getUint16(0), view.getUint16(2)],
    isRight: Buffer.from(withSctpChecksum(payload)).equals(payload),
  };
}

function sourceOf(bytes: Uint8Array): string {
  const { l3 } = decodePacket(bytes);
  if (l3?.kind === 'ipv4') return formatIp({ version: 4, value: l3.src });
  if (l3?.kind === 'ipv6') return formatIp({ version: 6, value: l3.src });
  throw new TypeError('no IP');
}
