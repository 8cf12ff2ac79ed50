import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIpv4, formatIpv6, formatMac, type Ipv4, type Ipv6, type Mac } from '../base/addresses.ts';
import { DHCP_MESSAGE, encodeDhcp } from './dhcp.ts';
import { DHCPV6_MESSAGE, encodeDhcpv6, encodeDuid } from './dhcpv6.ts';
import { ETHER_TYPE } from './ethernet.ts';
import { IP_PROTO } from './ip-protocol.ts';
import { ipv4Header as header4 } from './ipv4.ts';
import { ipv6Header as header6 } from './ipv6.ts';
import { encodeLldp, LLDP_CHASSIS, LLDP_NEAREST_BRIDGE, LLDP_PORT } from './lldp.ts';
import { RA_FLAG } from './nd.ts';
import { PREFIX_FLAG } from './nd-option.ts';
import { encodePacket, type Layer4, type Packet } from './packet.ts';
import { packet } from './testing/arbitraries.ts';
import { withCaptureFile } from './testing/capture-file.ts';
import { UDP_PORT } from './udp.ts';

/** What Wireshark's dissectors read in each frame: for each field all its values, joined by commas. */
function dissect(frames: readonly Uint8Array[], fields: readonly string[]): string[][] | undefined {
  return withCaptureFile(frames, (path): string[][] | undefined => {
    const checked = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
    const columns = fields.flatMap((field) => ['-e', field]);
    const run = spawnSync('tshark', ['-n', '-r', path, ...checked, '-T', 'fields', ...columns], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    if (run.error) return undefined;
    assert.equal(run.status, 0, run.stderr);
    return run.stdout
      .split('\n')
      .slice(0, frames.length)
      .map((line) => line.split('\t'));
  });
}

const A4 = 0x0a00_0001 as Ipv4;
const B4 = 0x0a00_0002 as Ipv4;
const A6 = 0xfe80_0000_0000_0000_0000_0000_0000_0001n as Ipv6;
const B6 = 0xff02_0000_0000_0000_0000_0000_0000_0002n as Ipv6;
const MAC = 0x0200_0000_0001 as Mac;
const ETHERNET4 = { ethernet: { dst: 0x0200_0000_0002 as Mac, src: MAC, etherType: ETHER_TYPE.ipv4 }, vlans: [] };
const ETHERNET6 = { ...ETHERNET4, ethernet: { ...ETHERNET4.ethernet, etherType: ETHER_TYPE.ipv6 } };

function udp4(srcPort: number, dstPort: number, payload: Uint8Array): Uint8Array {
  const l3 = { kind: 'ipv4', ...header4({ src: A4, dst: B4, protocol: IP_PROTO.udp }) } as const;
  return encodePacket({ ...ETHERNET4, l3, l4: { kind: 'udp', srcPort, dstPort, noChecksum: false }, payload });
}

function over6(nextHeader: number, l4: Layer4, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const l3 = { kind: 'ipv6', ...header6({ src: A6, dst: B6, nextHeader, hopLimit: 255 }) } as const;
  return encodePacket({ ...ETHERNET6, l3, l4, payload });
}

const GOOD = '1';
const ADDRESSES = ['eth.src', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'tcp.srcport', 'udp.dstport'] as const;
const SUMS = ['ip', 'tcp', 'udp', 'icmp', 'icmpv6'].map((protocol) => `${protocol}.checksum.status`);

/** Whether tshark can be held to this frame: it does not check what a routing header redirects, nor dissect the odd. */
function isPlain(value: Packet): boolean {
  const { l3, l4 } = value;
  if (!l3 || l3.kind === 'arp' || !l4 || value.vlans.length > 1) return false;
  if (l4.kind === 'udp' || l4.kind === 'tcp' || l4.kind === 'icmp')
    return l3.kind === 'ipv4' || l3.extensions.length === 0;
  return l4.kind === 'nd' && l3.kind === 'ipv6' && l3.extensions.length === 0;
}

test('tshark reads the same addresses and ports, and finds every checksum right', (t) => {
  const values = fc.sample(packet, { numRuns: 2_000, seed: 9 }).filter(isPlain);
  assert.ok(values.length > 100, `${values.length} frames`);
  const rows = dissect(
    values.map((value) => encodePacket(value)),
    [...ADDRESSES, ...SUMS],
  );
  if (!rows) return t.skip('tshark does not run here');
  for (const [i, value] of values.entries()) {
    const row: readonly string[] = rows[i]!;
    const { l3, l4 } = value;
    assert.ok(l3 && l3.kind !== 'arp' && l4);
    const first = (field: string): string => row[[...ADDRESSES, ...SUMS].indexOf(field)]!.split(',')[0]!;
    assert.equal(first('eth.src'), formatMac(value.ethernet.src));
    assert.equal(
      first(`${l3.kind === 'ipv4' ? 'ip' : 'ipv6'}.src`),
      l3.kind === 'ipv4' ? formatIpv4(l3.src) : formatIpv6(l3.src),
    );
    if (l4.kind === 'tcp') assert.equal(first('tcp.srcport'), String(l4.srcPort));
    if (l4.kind === 'udp') assert.equal(first('udp.dstport'), String(l4.dstPort));
    if (l3.kind === 'ipv4') assert.equal(first('ip.checksum.status'), GOOD);
    const protocol = l4.kind === 'nd' ? 'icmpv6' : l4.kind;
    if (l4.kind !== 'udp' || !l4.noChecksum)
      assert.equal(first(`${protocol}.checksum.status`), GOOD, JSON.stringify(row));
  }
});

test('tshark reads the fields of ARP, DHCP, DHCPv6, RA and LLDP as we wrote them', (t) => {
  const expected: readonly (readonly [Uint8Array, Readonly<Record<string, string>>])[] = [
    [arpFrame(), { 'arp.opcode': '2', 'arp.src.hw_mac': formatMac(MAC), 'arp.dst.proto_ipv4': '10.0.0.2' }],
    [
      dhcpFrame(),
      {
        'dhcp.option.dhcp': '2',
        'dhcp.ip.your': '10.0.0.2',
        'dhcp.option.subnet_mask': '255.255.255.0',
        'dhcp.option.router': '10.0.0.1',
        'dhcp.option.domain_name_server': '10.0.0.1,10.0.0.2',
        'dhcp.option.interface_mtu': '1400',
        'dhcp.option.ip_address_lease_time': '3600',
      },
    ],
    [
      dhcpv6Frame(),
      {
        'dhcpv6.msgtype': '7',
        'dhcpv6.xid': '0x123456',
        'dhcpv6.iaaddr.ip': 'fe80::1',
        'dhcpv6.iaaddr.valid_lifetime': '7200',
        'dhcpv6.dns_server': 'fe80::1',
        'dhcpv6.search_list_entry': 'a.example.,b.example.',
        'dhcpv6.status_code': '0',
      },
    ],
    [
      routerAdvert(),
      {
        'icmpv6.nd.ra.router_lifetime': '1800',
        'icmpv6.opt.prefix': '2001:db8::,2001:db8::',
        'icmpv6.opt.mtu': '1400',
        'icmpv6.opt.rdnss': 'fe80::1',
        'icmpv6.opt.dnssl': 'a.example',
        'icmpv6.opt.route_lifetime': '900',
        'icmpv6.opt.linkaddr': formatMac(MAC),
      },
    ],
    [lldpFrame(), { 'lldp.time_to_live': '120', 'lldp.tlv.system.name': 'leaf-1', 'lldp.port.id': 'eth7' }],
  ];
  const fields = [...new Set(expected.flatMap(([, values]) => Object.keys(values)))];
  const rows = dissect(
    expected.map(([frame]) => frame),
    [...fields, '_ws.malformed'],
  );
  if (!rows) return t.skip('tshark does not run here');
  for (const [i, [, values]] of expected.entries()) {
    const row: readonly string[] = rows[i]!;
    const seen = Object.fromEntries(Object.keys(values).map((field) => [field, row[fields.indexOf(field)]]));
    assert.deepEqual(seen, values);
    assert.equal(row[fields.length], '', 'malformed');
  }
});

function arpFrame(): Uint8Array {
  const ethernet = { ...ETHERNET4.ethernet, etherType: ETHER_TYPE.arp };
  const l3 = { kind: 'arp', op: 2, sha: MAC, spa: A4, tha: 0x0200_0000_0002 as Mac, tpa: B4 } as const;
  return encodePacket({ ethernet, vlans: [], l3, payload: new Uint8Array(0) });
}

function dhcpFrame(): Uint8Array {
  const message = encodeDhcp({
    op: 2,
    hops: 0,
    transactionId: 7,
    secs: 0,
    flags: 0,
    clientAddress: 0 as Ipv4,
    yourAddress: B4,
    serverAddress: 0 as Ipv4,
    relayAddress: 0 as Ipv4,
    clientMac: MAC,
    serverName: '',
    bootFile: '',
    options: [
      { kind: 'messageType', value: DHCP_MESSAGE.offer },
      { kind: 'serverId', value: A4 },
      { kind: 'leaseTimeS', value: 3600 },
      { kind: 'subnetMask', value: 0xffff_ff00 as Ipv4 },
      { kind: 'routers', value: [A4] },
      { kind: 'dnsServers', value: [A4, B4] },
      { kind: 'mtu', value: 1400 },
      { kind: 'staticRoutes', value: [{ destination: 0x0a80_0000 as Ipv4, prefixLength: 9, gateway: A4 }] },
    ],
  });
  return udp4(UDP_PORT.dhcpServer, UDP_PORT.dhcpClient, message);
}

function dhcpv6Frame(): Uint8Array {
  const duid = encodeDuid({ kind: 'linkLayer', hardware: 1, address: Uint8Array.of(2, 0, 0, 0, 0, 1) });
  const address = { kind: 'address', address: A6, preferredS: 3600, validS: 7200, options: [] } as const;
  const status = { kind: 'statusCode', status: 0, text: 'ok' } as const;
  const message = encodeDhcpv6({
    kind: 'message',
    type: DHCPV6_MESSAGE.reply,
    transactionId: 0x12_3456,
    options: [
      { kind: 'clientId', duid },
      { kind: 'serverId', duid },
      { kind: 'addresses', iaid: 1, t1S: 1800, t2S: 2880, options: [address, status] },
      { kind: 'dnsServers', servers: [A6] },
      { kind: 'domainSearch', domains: ['a.example', 'b.example'] },
    ],
  });
  const l4 = {
    kind: 'udp',
    srcPort: UDP_PORT.dhcpv6Server,
    dstPort: UDP_PORT.dhcpv6Client,
    noChecksum: false,
  } as const;
  return over6(IP_PROTO.udp, l4, message);
}

function routerAdvert(): Uint8Array {
  const prefix = 0x2001_0db8_0000_0000_0000_0000_0000_0000n as Ipv6;
  return over6(IP_PROTO.icmpv6, {
    kind: 'nd',
    message: {
      kind: 'routerAdvert',
      hopLimit: 64,
      flags: RA_FLAG.managed,
      lifetimeS: 1800,
      reachableMs: 0,
      retransmitMs: 0,
      options: [
        { kind: 'sourceLinkLayer', mac: MAC },
        { kind: 'mtu', mtu: 1400 },
        { kind: 'prefix', prefix, prefixLength: 64, flags: PREFIX_FLAG.onLink, validS: 7200, preferredS: 3600 },
        { kind: 'route', prefix, prefixLength: 48, preference: 1, lifetimeS: 900 },
        { kind: 'dnsServers', lifetimeS: 600, servers: [A6] },
        { kind: 'dnsSearch', lifetimeS: 600, domains: ['a.example'] },
      ],
    },
  });
}

function lldpFrame(): Uint8Array {
  const payload = encodeLldp({
    chassis: { subtype: LLDP_CHASSIS.mac, id: Uint8Array.of(2, 0, 0, 0, 0, 1) },
    port: { subtype: LLDP_PORT.name, id: new TextEncoder().encode('eth7') },
    ttlS: 120,
    tlvs: [
      { kind: 'systemName', text: 'leaf-1' },
      { kind: 'capabilities', supported: 4, enabled: 4 },
    ],
  });
  const ethernet = { dst: LLDP_NEAREST_BRIDGE as Mac, src: MAC, etherType: ETHER_TYPE.lldp };
  return encodePacket({ ethernet, vlans: [], payload });
}
