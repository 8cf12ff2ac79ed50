import fc from 'fast-check';
import type { Ipv4 } from '../../base/addresses.ts';
import type { DhcpMessage } from '../dhcp.ts';
import { DHCP_OPTION_CODE, type DhcpOption } from '../dhcp-option.ts';
import type { Dhcpv6Message, Duid } from '../dhcpv6.ts';
import { DHCPV6_OPTION_CODE, type Dhcpv6Option, type NtpServer } from '../dhcpv6-option.ts';
import { bytes, domainName, ipv4, ipv6, latin1, mac, u8, u16, u32 } from './arbitraries.ts';

const DHCP_KNOWN: readonly number[] = Object.values(DHCP_OPTION_CODE);
const route = fc.tuple(ipv4, fc.integer({ min: 0, max: 32 }), ipv4).map(([destination, prefixLength, gateway]) => {
  // Only whole bytes of the destination travel.
  const hidden = 32 - 8 * Math.ceil(prefixLength / 8);
  const kept = hidden === 32 ? 0 : ((destination >>> hidden) << hidden) >>> 0;
  return { destination: kept as Ipv4, prefixLength, gateway };
});

const dhcpOption: fc.Arbitrary<DhcpOption> = fc.oneof(
  fc.record({ kind: fc.constantFrom('subnetMask', 'broadcastAddress', 'requestedAddress', 'serverId'), value: ipv4 }),
  fc.record({
    kind: fc.constantFrom('routers', 'dnsServers', 'ntpServers'),
    value: fc.array(ipv4, { minLength: 1, maxLength: 70 }),
  }),
  fc.record({ kind: fc.constantFrom('hostName', 'domainName', 'message', 'vendorClass'), value: latin1(300) }),
  fc.record({ kind: fc.constant('messageType'), value: u8 }),
  fc.record({ kind: fc.constantFrom('mtu', 'maxMessageSize'), value: u16 }),
  fc.record({ kind: fc.constantFrom('leaseTimeS', 'renewalTimeS', 'rebindingTimeS'), value: u32 }),
  fc.record({ kind: fc.constantFrom('parameterList', 'clientId'), value: bytes(40) }),
  fc.record({ kind: fc.constant('staticRoutes'), value: fc.array(route, { maxLength: 60 }) }),
  fc.record({
    kind: fc.constant('relayAgent'),
    value: fc.array(fc.record({ code: u8, value: bytes(20) }), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('unknown'),
    code: fc.integer({ min: 1, max: 254 }).filter((n) => n !== 52 && !DHCP_KNOWN.includes(n)),
    value: bytes(600),
  }),
);

function codeOf(option: DhcpOption): number {
  return option.kind === 'unknown' ? option.code : DHCP_OPTION_CODE[option.kind];
}

export const dhcpMessage: fc.Arbitrary<DhcpMessage> = fc.record({
  op: u8,
  hops: u8,
  transactionId: u32,
  secs: u16,
  flags: u16,
  clientAddress: ipv4,
  yourAddress: ipv4,
  serverAddress: ipv4,
  relayAddress: ipv4,
  clientMac: mac,
  serverName: latin1(64, 1),
  bootFile: latin1(128, 1),
  options: fc.uniqueArray(dhcpOption, { selector: codeOf, maxLength: 12 }),
});

const DHCPV6_KNOWN: readonly number[] = Object.values(DHCPV6_OPTION_CODE);

const ntpServer: fc.Arbitrary<NtpServer> = fc.oneof(
  fc.record({ kind: fc.constantFrom('address', 'multicast'), address: ipv6 }),
  fc.record({ kind: fc.constant('name'), name: domainName }),
  fc.record({ kind: fc.constant('unknown'), code: fc.integer({ min: 4, max: 0xffff }), data: bytes(20) }),
);

const flatOption: fc.Arbitrary<Dhcpv6Option> = fc.oneof(
  fc.record({ kind: fc.constantFrom('clientId', 'serverId'), duid: bytes(20) }),
  fc.record({ kind: fc.constant('optionRequest'), codes: fc.array(u16, { maxLength: 8 }) }),
  fc.record({ kind: fc.constant('preference'), value: u8 }),
  fc.record({ kind: fc.constant('elapsedTime'), centiseconds: u16 }),
  fc.record({ kind: fc.constant('relayMessage'), message: bytes(60) }),
  fc.record({ kind: fc.constant('statusCode'), status: u16, text: latin1(30) }),
  fc.record({ kind: fc.constant('rapidCommit') }),
  fc.record({ kind: fc.constant('interfaceId'), id: bytes(20) }),
  fc.record({ kind: fc.constant('dnsServers'), servers: fc.array(ipv6, { maxLength: 4 }) }),
  fc.record({ kind: fc.constant('domainSearch'), domains: fc.array(domainName, { maxLength: 4 }) }),
  fc.record({ kind: fc.constant('ntpServers'), servers: fc.array(ntpServer, { maxLength: 4 }) }),
  fc.record({ kind: fc.constantFrom('informationRefreshTime', 'solMaxRt', 'infMaxRt'), seconds: u32 }),
  fc.record({
    kind: fc.constant('unknown'),
    code: u16.filter((n) => !DHCPV6_KNOWN.includes(n)),
    data: bytes(40),
  }),
);

const flatOptions = fc.array(flatOption, { maxLength: 3 });
const leaseOption: fc.Arbitrary<Dhcpv6Option> = fc.oneof(
  fc.record({ kind: fc.constant('address'), address: ipv6, preferredS: u32, validS: u32, options: flatOptions }),
  fc.record({
    kind: fc.constant('prefix'),
    prefix: ipv6,
    prefixLength: fc.integer({ min: 0, max: 128 }),
    preferredS: u32,
    validS: u32,
    options: flatOptions,
  }),
);
const leases = fc.array(fc.oneof(leaseOption, flatOption), { maxLength: 3 });

const dhcpv6Options: fc.Arbitrary<Dhcpv6Option[]> = fc.array(
  fc.oneof(
    flatOption,
    fc.record({
      kind: fc.constantFrom('addresses', 'prefixes'),
      iaid: u32,
      t1S: u32,
      t2S: u32,
      options: leases,
    }),
    fc.record({ kind: fc.constant('temporaryAddresses'), iaid: u32, options: leases }),
  ),
  { maxLength: 6 },
);

export const dhcpv6Message: fc.Arbitrary<Dhcpv6Message> = fc.oneof(
  fc.record({
    kind: fc.constant('message'),
    type: u8.filter((n) => n !== 12 && n !== 13),
    transactionId: fc.integer({ min: 0, max: 0xff_ffff }),
    options: dhcpv6Options,
  }),
  fc.record({
    kind: fc.constant('relay'),
    type: fc.constantFrom(12, 13),
    hopCount: u8,
    linkAddress: ipv6,
    peerAddress: ipv6,
    options: dhcpv6Options,
  }),
);

export const duid: fc.Arbitrary<Duid> = fc.oneof(
  fc.record({ kind: fc.constant('linkLayerTime'), hardware: u16, timeS: u32, address: bytes(10) }),
  fc.record({ kind: fc.constant('enterprise'), enterprise: u32, id: bytes(20) }),
  fc.record({ kind: fc.constant('linkLayer'), hardware: u16, address: bytes(10) }),
  fc.record({ kind: fc.constant('uuid'), uuid: bytes(16, 16) }),
  fc.record({ kind: fc.constant('unknown'), type: fc.integer({ min: 5, max: 0xffff }), data: bytes(20) }),
);
