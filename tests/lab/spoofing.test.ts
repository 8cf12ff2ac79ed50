import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { formatIpv6, linkLocalOf, parseIpv4, parseIpv6, parseMac, solicitedNodeOf } from '../../src/base/addresses.ts';
import { startCapture } from '../../src/lab/capture.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { sendFramesOnce } from '../../src/lab/spray.ts';
import { findPort, type ShownPort } from '../../src/lab/weft.ts';
import { encodeDhcp } from '../../src/packet/dhcp.ts';
import { encodeDhcpv6 } from '../../src/packet/dhcpv6.ts';
import { NA_FLAG } from '../../src/packet/nd.ts';
import { type Datacentre, startDatacentre } from './datacentre.ts';
import {
  ALL_NODES_MAC,
  arp,
  BROADCAST,
  type Ends,
  gre,
  hidden6,
  marked,
  markOf,
  NO_MAC,
  nd,
  tunnelPayload,
  udp,
} from './frames.ts';
import { byAll, needsRoot } from './lab-name.ts';

type Encap = 'geneve' | 'vxlan' | 'gre';
/** What is sent, and what it is called when it arrives where it must not. */
type Attempt = readonly [name: string, frame: Uint8Array];

/** Two tenants of the same addresses: `r1` is the attacker, `r2` its neighbour across hosts, `r3` on its own host. */
const OBJECTS = ['red', 'blue'].flatMap((tenant) => [
  { kind: 'tenant', name: tenant },
  {
    kind: 'switch',
    tenant,
    name: 'net',
    subnets: [
      { cidr: '10.0.0.0/24', gateway: '10.0.0.1' },
      { cidr: 'fd00::/64', ipv6Mode: 'stateful' },
    ],
  },
  ...[1, 2, 3].map((n) => ({
    kind: 'port',
    tenant,
    switch: 'net',
    name: `p${n}`,
    addresses: [`10.0.0.1${n}`, `fd00::1${n}`],
  })),
]);
const WORKLOADS = [
  { name: 'r1', host: 'a', port: 'red/p1' },
  { name: 'r2', host: 'b', port: 'red/p2' },
  { name: 'r3', host: 'a', port: 'red/p3' },
  { name: 'b1', host: 'a', port: 'blue/p1' },
  { name: 'b2', host: 'b', port: 'blue/p2' },
].map((w) => ({ ...w, addresses: [`10.0.0.1${w.name[1]}/24`, `fd00::1${w.name[1]}/64`] }));
const VICTIMS = ['r2', 'r3', 'b1', 'b2'];
const STRANGER_MAC = '02:66:66:66:66:66';

/** Below the budget of a port: one that says so much that is not its own would be shut off, which proves something else. */
const PPS = 50;

/** Sends each attempt with its number, and tells by name what arrived at whom. */
async function arrivals(
  lab: Lab,
  place: string,
  device: string,
  attempts: readonly Attempt[],
  ears: readonly string[] = VICTIMS,
): Promise<Map<string, string[]>> {
  const captures = await Promise.all(ears.map((ear) => startCapture(lab, ear, 'eth0')));
  const frames = attempts.map(([, frame], number) => marked(frame, number));
  const report = await sendFramesOnce(lab, place, frames, { device, pps: PPS });
  assert.equal(report.sent, frames.length);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const arrived = new Map<string, string[]>();
  for (const [i, capture] of captures.entries()) {
    const result = await capture.stop();
    assert.equal(result.dropped, 0, 'the capture shows everything');
    for (const { bytes } of await result.frames()) {
      const number = markOf(bytes);
      if (number === undefined) continue;
      const name = attempts[number]![0];
      arrived.set(name, [...new Set([...(arrived.get(name) ?? []), ears[i]!])]);
    }
  }
  return arrived;
}

const local6 = (mac: string): string => formatIpv6(linkLocalOf(parseMac(mac)!));
const solicited = (ip: string): string => formatIpv6(solicitedNodeOf(parseIpv6(ip)!));

/** Everything that `own` may not say, each towards a neighbour here, one elsewhere, and all. */
function spoofs(own: string, near: string, far: string): Attempt[] {
  const attempts: Attempt[] = [];
  const towards = (name: string, build: (dst: string) => Uint8Array): void => {
    for (const [to, dst] of [
      ['near', near],
      ['far', far],
      ['all', BROADCAST],
    ] as const)
      attempts.push([`${name}, to ${to}`, build(dst)]);
  };
  const mine = (dst: string): Ends => ({ src: own, dst });
  const someone = parseIpv6('fd00::13')!;

  for (const src of [near, far, STRANGER_MAC, `06${own.slice(2)}`]) {
    towards(`MAC ${src}`, (dst) => udp({ src, dst }, ['10.0.0.11', '10.0.0.12'], [1, 2]));
    towards(`MAC ${src} with IPv6`, (dst) => udp({ src, dst }, ['fd00::11', 'fd00::12'], [1, 2]));
  }
  for (const src of ['10.0.0.12', '10.0.0.1', '10.0.0.99', '192.0.2.1', '127.0.0.1', '0.0.0.0', '255.255.255.255'])
    towards(`IPv4 source ${src}`, (dst) => udp(mine(dst), [src, '10.0.0.12'], [1, 2]));
  for (const src of ['fd00::12', 'fd00::1', '2001:db8::1', local6(far), '::', '::1'])
    towards(`IPv6 source ${src}`, (dst) => udp(mine(dst), [src, 'fd00::12'], [1, 2]));

  for (const [what, sender] of [
    ['a neighbour', [own, '10.0.0.12']],
    ['the gateway', [own, '10.0.0.1']],
    ['nobody', [own, '10.0.0.77']],
    ['its owner', [far, '10.0.0.12']],
    ['itself by another MAC', [STRANGER_MAC, '10.0.0.11']],
  ] as const) {
    towards(`ARP request as ${what}`, (dst) => arp(mine(dst), 1, sender, [NO_MAC, '10.0.0.13']));
    towards(`ARP reply as ${what}`, (dst) => arp(mine(dst), 2, sender, [near, '10.0.0.13']));
    towards(`gratuitous ARP as ${what}`, (dst) => arp(mine(dst), 1, sender, [NO_MAC, sender[1]]));
    towards(`gratuitous ARP reply as ${what}`, (dst) => arp(mine(dst), 2, sender, [BROADCAST, sender[1]]));
  }
  towards('ARP probe', (dst) => arp(mine(dst), 1, [own, '0.0.0.0'], [NO_MAC, '10.0.0.13']));

  const linkLayer = (kind: 'sourceLinkLayer' | 'targetLinkLayer', mac: string) => [{ kind, mac: parseMac(mac)! }];
  const solicit = (option: string) =>
    ({ kind: 'neighborSolicit', target: someone, options: linkLayer('sourceLinkLayer', option) }) as const;
  for (const option of [far, STRANGER_MAC])
    towards(`NS with the link-layer address ${option}`, (dst) =>
      nd(mine(dst), ['fd00::11', solicited('fd00::13')], solicit(option)),
    );
  towards('NS from another address', (dst) => nd(mine(dst), ['fd00::12', solicited('fd00::13')], solicit(own)));
  towards('NS that probes', (dst) =>
    nd(mine(dst), ['::', solicited('fd00::13')], { kind: 'neighborSolicit', target: someone, options: [] }),
  );
  for (const flags of [NA_FLAG.override, NA_FLAG.solicited + NA_FLAG.override, NA_FLAG.router + NA_FLAG.override])
    for (const [target, option] of [
      ['fd00::12', own],
      ['fd00::1', own],
      [local6(far), own],
      ['fd00::11', far],
    ] as const)
      towards(`NA ${flags.toString(16)} for ${target} with ${option}`, (dst) =>
        nd(mine(dst), ['fd00::11', 'ff02::1'], {
          kind: 'neighborAdvert',
          flags,
          target: parseIpv6(target)!,
          options: linkLayer('targetLinkLayer', option),
        }),
      );

  const offer = encodeDhcp({
    op: 2,
    hops: 0,
    transactionId: 1,
    secs: 0,
    flags: 0,
    clientAddress: parseIpv4('0.0.0.0')!,
    yourAddress: parseIpv4('10.0.0.50')!,
    serverAddress: parseIpv4('10.0.0.11')!,
    relayAddress: parseIpv4('0.0.0.0')!,
    clientMac: parseMac(near)!,
    serverName: '',
    bootFile: '',
    options: [{ kind: 'messageType', value: 2 }],
  });
  const reply = encodeDhcpv6({ kind: 'message', type: 7, transactionId: 1, options: [] });
  towards('DHCP offer', (dst) => udp(mine(dst), ['10.0.0.11', '255.255.255.255'], [67, 68], offer));
  towards('DHCP offer to one', (dst) => udp(mine(dst), ['10.0.0.11', '10.0.0.13'], [67, 68], offer));
  towards('DHCPv6 reply', (dst) => udp(mine(dst), [local6(own), local6(near)], [547, 546], reply));
  const advert = {
    kind: 'routerAdvert',
    hopLimit: 64,
    flags: 0,
    lifetimeS: 1800,
    reachableMs: 0,
    retransmitMs: 0,
  } as const;
  for (const src of [local6(own), local6(far), 'fd00::11'])
    towards(`RA from ${src}`, (dst) => nd(mine(dst), [src, 'ff02::1'], { ...advert, options: [] }));
  for (const protocol of [58, 17])
    towards(`protocol ${protocol} behind a first fragment`, (dst) =>
      hidden6(mine(dst), [local6(own), 'ff02::1'], protocol),
    );
  towards('redirect', (dst) =>
    nd(mine(dst), [local6(own), 'fd00::13'], {
      kind: 'redirect',
      target: parseIpv6(local6(own))!,
      destination: someone,
      options: [],
    }),
  );

  for (const tags of [
    [[0x8100, 1]],
    [[0x8100, 0]],
    [[0x8100, 4095]],
    [[0x88a8, 7]],
    [
      [0x88a8, 7],
      [0x8100, 1],
    ],
    [
      [0x8100, 1],
      [0x8100, 2],
    ],
  ] as const)
    towards(`tagged ${JSON.stringify(tags)}`, (dst) => udp({ ...mine(dst), tags }, ['10.0.0.11', '10.0.0.12'], [1, 2]));
  return attempts;
}

/** What the same workload may say, and which of `r2` and `r3` hear it. */
function honest(own: string, near: string, far: string): readonly (readonly [...Attempt, readonly string[]])[] {
  const mine = (dst: string): Ends => ({ src: own, dst });
  const both = ['r2', 'r3'];
  return [
    ['IPv4 across', udp(mine(far), ['10.0.0.11', '10.0.0.12'], [1, 2]), ['r2']],
    ['IPv4 beside', udp(mine(near), ['10.0.0.11', '10.0.0.13'], [1, 2]), ['r3']],
    ['IPv4 to all', udp(mine(BROADCAST), ['10.0.0.11', '10.0.0.255'], [1, 2]), both],
    ['IPv6 across', udp(mine(far), ['fd00::11', 'fd00::12'], [1, 2]), ['r2']],
    ['IPv6 of the link', udp(mine(near), [local6(own), local6(near)], [1, 2]), ['r3']],
    [
      'ARP request for an address that nobody has',
      arp(mine(BROADCAST), 1, [own, '10.0.0.11'], [NO_MAC, '10.0.0.77']),
      both,
    ],
    ['gratuitous ARP', arp(mine(BROADCAST), 2, [own, '10.0.0.11'], [BROADCAST, '10.0.0.11']), both],
    ['ARP reply', arp(mine(far), 2, [own, '10.0.0.11'], [far, '10.0.0.12']), ['r2']],
    [
      'NA',
      nd(mine(ALL_NODES_MAC), ['fd00::11', 'ff02::1'], {
        kind: 'neighborAdvert',
        flags: NA_FLAG.override,
        target: parseIpv6('fd00::11')!,
        options: [{ kind: 'targetLinkLayer', mac: parseMac(own)! }],
      }),
      both,
    ],
    ['UDP of the ports of tunnels', udp(mine(far), ['10.0.0.11', '10.0.0.12'], [4789, 6081]), ['r2']],
  ];
}

/** Tunnel packets by whoever reaches the underlay. */
function forged(
  encap: Encap,
  outer: Ends,
  addresses: readonly [string, string],
  key: number,
  inner: Uint8Array,
): Uint8Array {
  if (encap === 'gre') return gre(outer, addresses, key, inner);
  return udp(outer, addresses, [40_000, encap === 'geneve' ? 6081 : 4789], tunnelPayload(encap, key, inner));
}

for (const encap of ['geneve', 'vxlan', 'gre'] as const)
  describe(`spoofing over ${encap}`, { skip: needsRoot || (encap !== 'geneve' && byAll) }, () => {
    let dc: Datacentre;
    const port = (name: string): ShownPort => dc.ports.get(name)!;
    before(async () => {
      dc = await startDatacentre({
        prefix: `s${encap[0]}`,
        hosts: ['a', 'b'],
        encap,
        objects: OBJECTS,
        workloads: WORKLOADS,
      });
    });
    after(() => dc?.down());

    if (encap === 'geneve') {
      test('nothing that is not a workload’s to say arrives anywhere', async () => {
        const attempts = spoofs(port('r1').mac, port('r3').mac, port('r2').mac);
        assert.deepEqual(await arrivals(dc.lab, 'r1', 'eth0', attempts), new Map());
        const { status } = await findPort(dc.weft.client, port('r1').id);
        assert.equal(status.state, 'installed', 'the port was heard out, not shut off');
      });

      test('and what is its to say arrives, at whom it concerns', async () => {
        const list = honest(port('r1').mac, port('r3').mac, port('r2').mac);
        const arrived = await arrivals(
          dc.lab,
          'r1',
          'eth0',
          list.map(([name, frame]) => [name, frame]),
        );
        for (const [name, , who] of list) assert.deepEqual(arrived.get(name), who, name);
      });
    }

    test('a tunnel packet that a workload makes up goes nowhere', async () => {
      const { mac: src, key } = port('r1');
      const inner = udp({ src: port('b2').mac, dst: port('b1').mac }, ['10.0.0.12', '10.0.0.11'], [1, 2]);
      const attempts = (['geneve', 'vxlan', 'gre'] as const).flatMap((kind) =>
        ['a', 'b'].flatMap((host) => {
          const address = dc.lab.host(host).address;
          const from = dc.lab.host(host === 'a' ? 'b' : 'a').address;
          const dst = dc.lab.switchOf(host).mac;
          return [key, port('b1').key, port('b2').key].flatMap((guess): Attempt[] => [
            [`${kind} to ${host}`, forged(kind, { src, dst }, ['10.0.0.11', address], guess, inner)],
            [`${kind} to ${host} as the other host`, forged(kind, { src, dst }, [from, address], guess, inner)],
          ]);
        }),
      );
      assert.deepEqual(await arrivals(dc.lab, 'r1', 'eth0', attempts, ['r2', 'r3', 'b1', 'b2']), new Map());
    });

    test('a stranger on the underlay reaches no workload, whatever key it guesses', async () => {
      const sw = await dc.weft.client.get<{ key: number }>('/v1/switches/red%2Fnet');
      const [host, other] = ['b', 'a'].map((name) => dc.lab.host(name).address) as [string, string];
      const outer = { src: STRANGER_MAC, dst: dc.lab.switchOf('b').mac };
      const [near, far] = [port('r1'), port('r2')];
      const inner = udp({ src: near.mac, dst: far.mac }, ['10.0.0.11', '10.0.0.12'], [1, 2]);
      const toAll = udp({ src: near.mac, dst: BROADCAST }, ['10.0.0.11', '10.0.0.255'], [1, 2]);
      const keys = [far.key, sw.key, port('b2').key, 0, 1, 0xff_ffff];
      const stranger = '172.31.0.99';
      const attempts = [
        ...(['geneve', 'vxlan', 'gre'] as const).flatMap((kind) =>
          keys.flatMap((key): Attempt[] => [
            [`${kind} with key ${key}`, forged(kind, outer, [stranger, host], key, inner)],
            [`${kind} with key ${key} to all`, forged(kind, outer, [stranger, host], key, toAll)],
          ]),
        ),
        // From an address that is in the zone: the key and the inner destination must agree.
        ...[far.key, port('b2').key].flatMap((key): Attempt[] =>
          [near.mac, STRANGER_MAC, BROADCAST, key === far.key ? port('b2').mac : far.mac].map((dst) => [
            `key ${key} with the inner destination ${dst}`,
            forged(encap, outer, [other, host], key, udp({ src: near.mac, dst }, ['10.0.0.11', '10.0.0.12'], [1, 2])),
          ]),
        ),
        // A key of a port that is not there.
        [
          'key of a port elsewhere',
          forged(
            encap,
            outer,
            [other, host],
            port('r3').key,
            udp({ src: near.mac, dst: port('r3').mac }, ['10.0.0.11', '10.0.0.13'], [1, 2]),
          ),
        ],
        ...(['geneve', 'vxlan', 'gre'] as const)
          .filter((kind) => kind !== encap)
          .map(
            (kind): Attempt => [`${kind} from a host of the zone`, forged(kind, outer, [other, host], far.key, inner)],
          ),
      ] satisfies Attempt[];
      const ears = ['r1', ...VICTIMS];
      assert.deepEqual(await arrivals(dc.lab, 'underlay', 'br0', attempts, ears), new Map());
      // The same packet from where it should come from arrives: the forgery above is a good one.
      const right: Attempt = ['right', forged(encap, outer, [other, host], far.key, inner)];
      assert.deepEqual(await arrivals(dc.lab, 'underlay', 'br0', [right], ears), new Map([['right', ['r2']]]));
    });
  });
