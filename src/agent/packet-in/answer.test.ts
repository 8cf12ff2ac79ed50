import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatIpv4,
  formatIpv6,
  type Ipv4,
  type Ipv6,
  linkLocalOf,
  type Mac,
  parseIpv4,
  parseIpv6,
  parseMac,
} from '../../base/addresses.ts';
import { seededRandom } from '../../base/random.ts';
import { PACKET_IN, type PacketInClass } from '../../compile/tables.ts';
import type { LogicalPort, LogicalSwitch, ScopeRecord } from '../../model/objects.ts';
import { DHCP_MESSAGE, type DhcpMessage, decodeDhcp, dhcpOption, encodeDhcp } from '../../packet/dhcp.ts';
import type { DhcpOption } from '../../packet/dhcp-option.ts';
import {
  DHCPV6_MESSAGE,
  type Dhcpv6ClientMessage,
  decodeDhcpv6,
  dhcpv6Option,
  encodeDhcpv6,
} from '../../packet/dhcpv6.ts';
import type { Dhcpv6Option } from '../../packet/dhcpv6-option.ts';
import { decodeEthernet } from '../../packet/ethernet.ts';
import { readerOf } from '../../packet/input.ts';
import { decodeIpv4 } from '../../packet/ipv4.ts';
import { decodeIpv6 } from '../../packet/ipv6.ts';
import { decodeNd, type NdMessage, RA_FLAG } from '../../packet/nd.ts';
import { decodeUdp } from '../../packet/udp.ts';
import type { PacketIn } from '../events.ts';
import { NO_REGISTERS } from '../registers.ts';
import { Scope } from '../scope.ts';
import { answerPacketIn } from './answer.ts';
import { dnsServersOf, type Link } from './link.ts';
import { udp4Frame, udp6Frame } from './reply.ts';

const MAC = parseMac('02:00:00:00:00:11') as Mac;
const dhcp = {
  enabled: true,
  dns: ['10.0.0.53', '2001:db8::53'],
  domain: 'a.example',
  ntp: ['10.0.0.123'],
  routes: [{ to: '192.0.2.0/24', via: '10.0.0.9' }],
  leaseSeconds: 3600,
};
const sw = {
  kind: 'switch',
  id: 's',
  name: 's',
  tenant: 't',
  revision: 1,
  key: 0x010203,
  vlanAware: false,
  adminUp: true,
  subnets: [
    { cidr: '10.0.0.0/24', gateway: '10.0.0.1', dhcp },
    { cidr: '2001:db8::/64', ipv6Mode: 'stateful', dhcp },
  ],
} as unknown as LogicalSwitch;
const port = {
  kind: 'port',
  id: 'p',
  name: 'p',
  tenant: 't',
  revision: 1,
  key: 7,
  switch: 's',
  mac: '02:00:00:00:00:11',
  addresses: ['10.0.0.17', '2001:db8::17'],
  allowedPairs: [],
  portSecurity: true,
  adminUp: true,
} as unknown as LogicalPort;

function linkWith(more: { switch?: Partial<LogicalSwitch>; port?: Partial<LogicalPort> } = {}): Link {
  const scope = new Scope();
  const records: ScopeRecord[] = [
    { kind: 'tunnelZone', id: 'z', name: 'z', revision: 1, encap: 'geneve' },
    {
      kind: 'host',
      id: 'h',
      name: 'h',
      revision: 1,
      zone: 'z',
      tunnelAddress: '172.31.0.11',
      underlayMtu: 1500,
      drain: false,
    },
    { ...sw, ...more.switch },
    { ...port, ...more.port },
  ];
  scope.apply(records.map((record) => ({ op: 'put', record })));
  return { port: scope.port('p')!, switch: scope.get('switch', 's')!, scope, host: 'h' };
}

function ask(link: Link, wanted: PacketInClass, frame: Uint8Array, vlan = 0): Uint8Array | undefined {
  const packet: PacketIn = {
    ...NO_REGISTERS,
    class: PACKET_IN[wanted],
    cookie: 0n,
    inPort: 1,
    portKey: 7,
    switchKey: sw.key,
    vlan,
    frame,
  };
  return answerPacketIn(packet, link);
}

function dhcpRequest(type: number, options: DhcpOption[] = [], more: Partial<DhcpMessage> = {}): Uint8Array {
  const none = 0 as Ipv4;
  const message: DhcpMessage = {
    op: 1,
    hops: 0,
    transactionId: 0x1234,
    secs: 0,
    flags: 0,
    clientAddress: none,
    yourAddress: none,
    serverAddress: none,
    relayAddress: none,
    clientMac: MAC,
    serverName: '',
    bootFile: '',
    options: [{ kind: 'messageType', value: type }, ...options],
    ...more,
  };
  return udp4Frame(
    { src: MAC, dst: 0xffff_ffff_ffff as Mac, tag: 0 },
    { src: none, dst: 0xffff_ffff as Ipv4, srcPort: 68, dstPort: 67 },
    encodeDhcp(message),
  );
}

function readDhcp(frame: Uint8Array | undefined): { message: DhcpMessage; dst: string; tag: number | undefined } {
  assert.ok(frame, 'an answer was expected');
  const reader = readerOf(frame);
  const { vlans } = decodeEthernet(reader);
  const { header, body } = decodeIpv4(reader, true);
  return { message: decodeDhcp(decodeUdp(body).body.rest()), dst: formatIpv4(header.dst), tag: vlans[0]?.vid };
}

test('DHCP discover is answered with the port address and everything the subnet tells', () => {
  const { message } = readDhcp(ask(linkWith(), 'dhcp', dhcpRequest(DHCP_MESSAGE.discover)));
  assert.equal(dhcpOption(message, 'messageType'), DHCP_MESSAGE.offer);
  assert.equal(formatIpv4(message.yourAddress), '10.0.0.17');
  assert.equal(formatIpv4(dhcpOption(message, 'serverId')!), '10.0.0.1');
  assert.equal(formatIpv4(dhcpOption(message, 'subnetMask')!), '255.255.255.0');
  assert.deepEqual(dhcpOption(message, 'routers')?.map(formatIpv4), ['10.0.0.1']);
  assert.deepEqual(dhcpOption(message, 'dnsServers')?.map(formatIpv4), ['10.0.0.53']);
  assert.deepEqual(dhcpOption(message, 'ntpServers')?.map(formatIpv4), ['10.0.0.123']);
  assert.equal(dhcpOption(message, 'domainName'), 'a.example');
  assert.equal(dhcpOption(message, 'leaseTimeS'), 3600);
  assert.equal(dhcpOption(message, 'mtu'), 1450);
  // Clients that read option 121 ignore the routers option, so it holds the default route too (RFC 3442).
  assert.deepEqual(
    dhcpOption(message, 'staticRoutes')?.map(
      (r) => `${formatIpv4(r.destination)}/${r.prefixLength} ${formatIpv4(r.gateway)}`,
    ),
    ['192.0.2.0/24 10.0.0.9', '0.0.0.0/0 10.0.0.1'],
  );
});

test('DHCP request for the own address is acknowledged, for another refused', () => {
  const own: DhcpOption = { kind: 'requestedAddress', value: parseIpv4('10.0.0.17')! };
  const other: DhcpOption = { kind: 'requestedAddress', value: parseIpv4('10.0.0.18')! };
  assert.equal(
    dhcpOption(readDhcp(ask(linkWith(), 'dhcp', dhcpRequest(DHCP_MESSAGE.request, [own]))).message, 'messageType'),
    DHCP_MESSAGE.ack,
  );
  const refusal = readDhcp(ask(linkWith(), 'dhcp', dhcpRequest(DHCP_MESSAGE.request, [other])));
  assert.equal(dhcpOption(refusal.message, 'messageType'), DHCP_MESSAGE.nak);
  assert.equal(refusal.dst, '255.255.255.255');
});

test('DHCP is not answered for other hardware, relays, another server or a port without an address', () => {
  assert.equal(ask(linkWith(), 'dhcp', dhcpRequest(DHCP_MESSAGE.discover, [], { clientMac: 5 as Mac })), undefined);
  assert.equal(ask(linkWith(), 'dhcp', dhcpRequest(DHCP_MESSAGE.discover, [], { relayAddress: 1 as Ipv4 })), undefined);
  assert.equal(
    ask(linkWith(), 'dhcp', dhcpRequest(DHCP_MESSAGE.request, [{ kind: 'serverId', value: 9 as Ipv4 }])),
    undefined,
  );
  assert.equal(
    ask(linkWith({ port: { addresses: ['2001:db8::17'] } }), 'dhcp', dhcpRequest(DHCP_MESSAGE.discover)),
    undefined,
  );
  assert.equal(ask(linkWith(), 'dhcp', dhcpRequest(DHCP_MESSAGE.release)), undefined);
});

test('answers to a trunk carry the tag of the VLAN, to an access port none', () => {
  const subnets = [{ ...sw.subnets[0]!, vlan: 30 }];
  const trunk = linkWith({ switch: { vlanAware: true, subnets }, port: { vlan: { trunk: 'all' } } });
  const access = linkWith({ switch: { vlanAware: true, subnets }, port: { vlan: { access: 30 } } });
  assert.equal(readDhcp(ask(trunk, 'dhcp', dhcpRequest(DHCP_MESSAGE.discover), 30)).tag, 30);
  assert.equal(readDhcp(ask(access, 'dhcp', dhcpRequest(DHCP_MESSAGE.discover), 30)).tag, undefined);
  assert.equal(ask(access, 'dhcp', dhcpRequest(DHCP_MESSAGE.discover), 31), undefined);
});

function ask6(link: Link, type: number, options: Dhcpv6Option[]): Dhcpv6ClientMessage | undefined {
  const src = linkLocalOf(MAC);
  const payload = encodeDhcpv6({ kind: 'message', type, transactionId: 0xabcdef, options });
  const frame = udp6Frame(
    { src: MAC, dst: 0x3333_0001_0002 as Mac, tag: 0 },
    { src, dst: parseIpv6('ff02::1:2')!, srcPort: 546, dstPort: 547 },
    payload,
  );
  const answer = ask(link, 'dhcp6', frame);
  if (!answer) return undefined;
  const reader = readerOf(answer);
  decodeEthernet(reader);
  const { header, body } = decodeIpv6(reader);
  assert.equal(header.dst, src);
  return decodeDhcpv6(decodeUdp(body).body.rest()) as Dhcpv6ClientMessage;
}

const client: Dhcpv6Option = { kind: 'clientId', duid: new Uint8Array([0, 3, 0, 1, 2, 0, 0, 0, 0, 0x11]) };
test('where hosts answer names the gateway is told as the first DNS server: the one that the subnet names, or a router port', () => {
  const link = linkWith();
  const named = { ...link, switch: { ...link.switch, dns: true } };
  const { message } = readDhcp(ask(named, 'dhcp', dhcpRequest(DHCP_MESSAGE.discover)));
  assert.deepEqual(dhcpOption(message, 'dnsServers')?.map(formatIpv4), ['10.0.0.1', '10.0.0.53']);
  const [, six] = sw.subnets;
  assert.deepEqual(dnsServersOf(named, six!), dhcp.dns, 'without a gateway nobody answers there');
  named.scope.apply([
    {
      op: 'put',
      record: {
        ...{ kind: 'routerPort', id: 'r1', name: 'r1', tenant: 't', revision: 1, router: 'r', key: 9, switch: 's' },
        ...{ mac: '02:00:00:00:00:99', addresses: ['2001:db8::1/64'], outside: false, adminUp: true },
      },
    },
  ]);
  assert.deepEqual(dnsServersOf(named, six!), ['2001:db8::1', ...dhcp.dns]);
});

const association: Dhcpv6Option = { kind: 'addresses', iaid: 77, t1S: 0, t2S: 0, options: [] };

test('DHCPv6 solicit is answered with the stateful address, with rapid commit at once', () => {
  const offer = ask6(linkWith(), DHCPV6_MESSAGE.solicit, [client, association]);
  assert.equal(offer?.type, DHCPV6_MESSAGE.advertise);
  const given = dhcpv6Option(offer!.options, 'addresses');
  assert.equal(given?.iaid, 77);
  const address = given?.options[0];
  assert.ok(address?.kind === 'address');
  assert.equal(formatIpv6(address.address), '2001:db8::17');
  assert.deepEqual(dhcpv6Option(offer!.options, 'dnsServers')?.servers.map(formatIpv6), ['2001:db8::53']);
  assert.equal(
    ask6(linkWith(), DHCPV6_MESSAGE.solicit, [client, association, { kind: 'rapidCommit' }])?.type,
    DHCPV6_MESSAGE.reply,
  );
});

test('DHCPv6 gives no address where the subnet is not stateful, and says so', () => {
  const link = linkWith({ switch: { subnets: [{ ...sw.subnets[1]!, ipv6Mode: 'slaac' }] } });
  const reply = ask6(link, DHCPV6_MESSAGE.request, [client, association]);
  assert.equal(dhcpv6Option(dhcpv6Option(reply!.options, 'addresses')!.options, 'statusCode')?.status, 2);
});

test('router solicitation is answered with prefix, flags, DNS and no default router where there is none', () => {
  const frame = ask(linkWith(), 'routerSolicit', new Uint8Array(60));
  const reader = readerOf(frame!);
  decodeEthernet(reader);
  const { header, body } = decodeIpv6(reader);
  assert.equal(header.hopLimit, 255);
  const advert = decodeNd(body) as Extract<NdMessage, { kind: 'routerAdvert' }>;
  assert.equal(advert.kind, 'routerAdvert');
  assert.equal(advert.lifetimeS, 0);
  assert.equal(advert.flags, RA_FLAG.managed | RA_FLAG.other);
  const prefix = advert.options.find((option) => option.kind === 'prefix');
  assert.ok(prefix);
  assert.equal(formatIpv6(prefix.prefix as Ipv6), '2001:db8::');
  assert.equal(prefix.flags & 0x40, 0);
});

const routerPort = (more: object = {}): ScopeRecord =>
  ({
    ...{
      kind: 'routerPort',
      id: 'rp',
      name: 'rp',
      tenant: sw.tenant,
      revision: 1,
      key: 90,
      router: 'r',
      switch: 's',
      adminUp: true,
      outside: false,
    },
    ...{ mac: '02:00:00:00:02:01', addresses: ['10.0.0.254/24', '2001:db8::fe/64'], ...more },
  }) as unknown as ScopeRecord;
const bare = { switch: { subnets: sw.subnets.map(({ gateway: _, ...subnet }) => subnet) } };

test('where a subnet names no gateway, the router port of the switch is told as one: DHCP, classless routes and advertisements', () => {
  const link = linkWith(bare);
  (link.scope as Scope).apply([{ op: 'put', record: routerPort() }]);
  const { message } = readDhcp(ask(link, 'dhcp', dhcpRequest(DHCP_MESSAGE.discover)));
  assert.deepEqual(dhcpOption(message, 'routers')?.map(formatIpv4), ['10.0.0.254']);
  assert.equal(formatIpv4(dhcpOption(message, 'serverId')!), '10.0.0.254');
  const standard = dhcpOption(message, 'staticRoutes')?.find(({ prefixLength }) => prefixLength === 0);
  assert.equal(standard && formatIpv4(standard.gateway), '10.0.0.254');
  const reader = readerOf(ask(link, 'routerSolicit', new Uint8Array(60))!);
  assert.equal(decodeEthernet(reader).ethernet.src, parseMac('02:00:00:00:02:01'));
  const { header, body } = decodeIpv6(reader);
  assert.equal(formatIpv6(header.src), 'fe80::ff:fe00:201');
  const advert = decodeNd(body) as Extract<NdMessage, { kind: 'routerAdvert' }>;
  assert.equal(advert.lifetimeS, 1800);
  assert.deepEqual(advert.options[0], { kind: 'sourceLinkLayer', mac: parseMac('02:00:00:00:02:01') });
});

test('a router port that faces outside, is down, or belongs to another tenant is no gateway', () => {
  for (const more of [{ outside: true }, { adminUp: false }, { tenant: 'another' }]) {
    const link = linkWith(bare);
    (link.scope as Scope).apply([{ op: 'put', record: routerPort(more) }]);
    const { message } = readDhcp(ask(link, 'dhcp', dhcpRequest(DHCP_MESSAGE.discover)));
    assert.equal(dhcpOption(message, 'routers'), undefined);
  }
});

test('bytes that are no DHCP are not answered and do no harm', () => {
  const random = seededRandom(1);
  const link = linkWith();
  const whole = dhcpRequest(DHCP_MESSAGE.discover);
  for (let i = 0; i < 3000; i++) {
    const bytes = whole.slice(0, random.below(whole.length + 1));
    for (let flips = random.below(8); flips > 0 && bytes.length > 0; flips--)
      bytes[random.below(bytes.length)] = random.below(256);
    for (const wanted of ['dhcp', 'dhcp6', 'routerSolicit'] as const) ask(link, wanted, bytes);
  }
});
