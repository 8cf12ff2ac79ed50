import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatIp, formatMac, parseIp } from '../base/addresses.ts';
import type { LoadBalancer, LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { VlanTag } from '../packet/ethernet.ts';
import { decodePacket, type Packet } from '../packet/packet.ts';
import { arp, BROADCAST, echo, frame, ip, ip6, mac, tcp, udp } from '../pipeline/frames.fixture.ts';
import type { Network } from '../pipeline/network.fixture.ts';
import { type ProbingVip, probeSource } from './probe.ts';
import { PACKET_IN } from './tables.ts';
import * as example from './testing/example.ts';
import { story } from './testing/outside-world.fixture.ts';
import { HOSTS, siteNetwork } from './testing/sites.fixture.ts';

// Health probes: whence members are asked, and where their answers go when the compiled flows are executed.

const aware = example.logicalSwitch(1, {
  vlanAware: true,
  subnets: [example.subnet('10.0.5.0/24', { vlan: 5 }), example.subnet('10.0.6.0/24', { vlan: 6 })],
});
const plain = example.logicalSwitch(2, { subnets: [example.subnet('10.0.1.0/24'), example.subnet('2001:db8:1::/64')] });
const bare = example.logicalSwitch(3, { vlanAware: true });
const FALLBACK = { 4: '169.254.87.70', 6: 'fe80::857:46ff:fe00' } as const;

describe('the source of probes', () => {
  const router = { id: 'rp', mac: '02:00:00:00:02:01', addresses: ['10.0.1.1/24', '2001:db8:1::1/64'] };
  const source = (
    on: LogicalSwitch,
    [address, vip]: readonly [string, string],
    { vlan, at = on.id, ports = [] }: { vlan?: LogicalPort['vlan']; at?: string; ports?: (typeof router)[] } = {},
  ): string => {
    const of: ProbingVip = { ip: parseIp(vip)!, switch: at, speakerKey: 0x501 };
    const found = probeSource({ address: parseIp(address)!, vlan, switch: on }, ports, of);
    return `${found.of} ${formatIp(found.ip)} ${formatMac(found.mac)} ${found.vlan}`;
  };
  const own = '0a:57:4c:00:05:01';
  const service = (on: LogicalSwitch): string => formatMac(0x0a57_4600_0000 + on.key);

  test('is a router port in whose network the member is, before all', () => {
    assert.equal(
      source(plain, ['10.0.1.11', '10.0.1.80'], { ports: [router] }),
      'routerPort 10.0.1.1 02:00:00:00:02:01 0',
    );
    const elsewhere = { ...router, addresses: ['10.7.0.1/24'] };
    assert.equal(source(plain, ['10.0.1.11', '10.0.1.80'], { ports: [elsewhere] }), `vip 10.0.1.80 ${own} 0`);
  });

  test('is the VIP where the switch has it in the subnet and VLAN of the member', () => {
    const fallback = `switch ${FALLBACK[4]}`;
    assert.equal(source(aware, ['10.0.5.11', '10.0.5.80']), `vip 10.0.5.80 ${own} 5`);
    assert.equal(source(aware, ['10.0.5.11', '10.0.6.80']), `${fallback} ${service(aware)} 5`);
    assert.equal(source(plain, ['10.0.1.11', '10.9.9.9']), `${fallback} ${service(plain)} 0`);
    assert.equal(source(plain, ['10.0.1.11', '10.0.1.80'], { at: 'r' }), `${fallback} ${service(plain)} 0`);
    assert.equal(source(bare, ['10.0.1.11', '10.0.1.80']), `vip 10.0.1.80 ${own} 0`);
    const vlan = { access: 7 };
    assert.equal(source(bare, ['10.0.1.11', '10.0.1.80'], { vlan }), `${fallback} ${service(bare)} 7`);
  });

  test('is a link-local address over IPv6, which everybody can answer', () => {
    const asked = source(plain, ['2001:db8:1::11', '2001:db8:1::80']);
    assert.ok(asked.startsWith(`switch ${FALLBACK[6]}`), asked);
  });
});

const health = { type: 'tcp', intervalMs: 1000, rise: 2, fall: 3, path: '/' } as const;
const a = example.port(1, plain, { addresses: ['10.0.1.11', '2001:db8:1::11'] });
const b = example.port(2, plain, { addresses: ['10.0.1.12', '2001:db8:1::12'] });
const vip = (options: Partial<LoadBalancer> = {}, address = '10.0.1.80'): LoadBalancer =>
  example.loadBalancer(1, address, [a], { switch: plain.id, health, ...options });
const networkWith = (...balancers: LoadBalancer[]): Network =>
  siteNetwork(
    [plain, ...balancers],
    [a, b].map((port, i) => ({ port, on: 0, ofport: i + 1 })),
  );

const VIP_MAC = '0a:57:4c:00:05:01';
const TAKEN = `agent ${PACKET_IN.probe}; agent`;
const SYN_ACK = 18;
const ACK = 16;
/** From the member to the VIP. */
const send = (net: Network, l4: NonNullable<Packet['l4']>, to = '10.0.1.80'): string =>
  story(net.send(HOSTS[0].id, 1, frame(a.mac, VIP_MAC, ip(a.addresses[to.includes(':') ? 1 : 0]!, to, l4))));

describe('answers to probes from a VIP', () => {
  test('go to the agent, by their kind; what comes from another port than was asked does not', () => {
    const listeners: LoadBalancer['listeners'] = [
      { protocol: 'udp', port: 53 },
      { protocol: 'tcp', port: 80, memberPort: 8080 },
    ];
    const asked = (type: 'tcp' | 'udp' | 'icmp', port?: number): Network =>
      networkWith(vip({ listeners, health: { ...health, type, ...(port === undefined ? {} : { port }) } }));
    assert.equal(send(asked('tcp'), tcp(8080, 61_440, SYN_ACK)), TAKEN);
    assert.equal(send(asked('tcp', 9000), tcp(9000, 65_535, SYN_ACK)), TAKEN);
    assert.equal(send(asked('udp'), udp(53, 61_500)), TAKEN);
    const closed = { kind: 'icmp', type: 3, code: 3, rest: 0 } as const;
    assert.equal(send(asked('udp'), closed), TAKEN);
    assert.equal(send(asked('icmp'), echo(4, true)), TAKEN);
    for (const l4 of [
      tcp(8080, 61_439, SYN_ACK),
      tcp(53, 61_500, SYN_ACK),
      tcp(9000, 61_500, SYN_ACK),
      udp(8080, 61_500),
    ])
      assert.doesNotMatch(send(asked('tcp'), l4), /agent/);
  });

  test('leave to a member that calls the VIP, from whatever port, what it answers itself', () => {
    const net = networkWith(vip());
    assert.equal(send(net, tcp(62_000, 80)), 'back: 10.0.1.80:62000 > 10.0.1.11:80');
    assert.equal(send(net, tcp(80, 61_999, SYN_ACK)), TAKEN);
    assert.equal(send(net, tcp(80, 62_000, SYN_ACK)), 'back: 10.0.1.80:80 > 10.0.1.11:62000');
    assert.equal(send(net, tcp(62_000, 80, ACK)), 'back: 10.0.1.80:62000 > 10.0.1.11:80');
  });

  test('leave to a member what it calls at ports of the VIP as those of probes', () => {
    for (const port of ['60000-65535', 62_000]) {
      const net = networkWith(vip({ listeners: [{ protocol: 'tcp', port: 80 }, { protocol: 'tcp', port, memberPort: 81 }] })); // biome-ignore format: short
      assert.equal(send(net, tcp(40_000, 62_000)), 'back: 10.0.1.80:40000 > 10.0.1.11:81');
      assert.equal(send(net, tcp(81, 40_000, SYN_ACK)), 'back: 10.0.1.80:62000 > 10.0.1.11:40000');
      assert.equal(send(net, tcp(62_000, 80)), 'back: 10.0.1.80:62000 > 10.0.1.11:80');
      for (const flags of [SYN_ACK, ACK])
        assert.equal(send(net, tcp(80, 62_000, flags)), 'back: 10.0.1.80:80 > 10.0.1.11:62000');
    }
  });

  test('are of each VIP that asks, and of no balancer that is down', () => {
    const second = example.loadBalancer(2, '10.0.1.81', [a], { switch: plain.id, health });
    for (const adminUp of [true, false]) {
      const net = networkWith(vip(), { ...second, adminUp });
      assert.equal(send(net, tcp(80, 61_500, SYN_ACK)), TAKEN);
      assert.equal(send(net, tcp(80, 61_500, SYN_ACK), '10.0.1.81') === TAKEN, adminUp);
    }
  });

  test('find their way: the VIP is told by ARP with the MAC that probes come from', () => {
    const net = networkWith(vip());
    const { answered } = net.send(HOSTS[0].id, 1, frame(a.mac, BROADCAST, arp(1, a.mac, a.addresses[0]!, '10.0.1.80')));
    assert.equal(formatMac(decodePacket(answered[0]!).ethernet.src), VIP_MAC);
  });
});

describe('the address that a switch has for probes', () => {
  const tagged = (vid: number, rest: Partial<Packet>): Partial<Packet> => ({
    ...rest,
    vlans: [{ tpid: 0x8100, vid, pcp: 0, dei: false } satisfies VlanTag],
  });
  test('is told to the member, in its VLAN, and to nobody else', () => {
    const trunk = example.port(1, aware, { addresses: ['10.0.5.11'], vlan: { trunk: 'all' } });
    const access = example.port(2, aware, { addresses: ['10.0.5.12'], vlan: { access: 5 } });
    const other = example.port(3, aware, { addresses: ['10.0.5.13'], vlan: { access: 5 } });
    const balancer = example.loadBalancer(1, '10.0.6.80', [trunk, access], { switch: aware.id, health });
    const sites = [trunk, access, other].map((port, i) => ({ port, on: 0 as const, ofport: i + 1 }));
    const net = siteNetwork([aware, balancer], sites);
    const answers = (from: LogicalPort, ofport: number, vid: number): number => {
      const asked = arp(1, from.mac, from.addresses[0]!, FALLBACK[4]);
      const bytes = frame(from.mac, BROADCAST, vid === 0 ? asked : tagged(vid, asked));
      return net.send(HOSTS[0].id, ofport, bytes).answered.length;
    };
    assert.deepEqual([answers(trunk, 1, 5), answers(access, 2, 0)], [1, 1]);
    assert.deepEqual([answers(trunk, 1, 6), answers(trunk, 1, 0), answers(other, 3, 0)], [0, 0, 0]);
    // A member of a VIP beside it is asked by that, and not from there.
    const near = siteNetwork([aware, { ...balancer, address: '10.0.5.80' }], sites);
    const bytes = frame(trunk.mac, BROADCAST, tagged(5, arp(1, trunk.mac, trunk.addresses[0]!, FALLBACK[4])));
    assert.equal(near.send(HOSTS[0].id, 1, bytes).answered.length, 0);
  });

  test('is told over IPv6 too, and answers there go to the agent', () => {
    const net = networkWith(vip({}, '2001:db8:1::80'));
    const address = `${FALLBACK[6]}:${plain.key.toString(16)}`;
    const options = [{ kind: 'sourceLinkLayer', mac: mac(a.mac) }] as const;
    const message = { kind: 'neighborSolicit', target: ip6(address), options } as const;
    const asked = ip(a.addresses[1]!, address, { kind: 'nd', message }, 255);
    assert.equal(net.send(HOSTS[0].id, 1, frame(a.mac, '33:33:ff:00:00:01', asked)).answered.length, 1);
    assert.equal(send(net, tcp(80, 61_500, SYN_ACK), address), TAKEN);
  });
});
