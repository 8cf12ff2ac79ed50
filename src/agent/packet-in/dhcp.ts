import {
  BROADCAST_MAC,
  type Ipv4,
  networkOf,
  parseCidr,
  parseIpv4,
  parseMac,
  prefixMask4,
} from '../../base/addresses.ts';
import type { Subnet } from '../../model/objects.ts';
import {
  DHCP_FLAG,
  DHCP_MESSAGE,
  DHCP_OP,
  type DhcpMessage,
  decodeDhcp,
  dhcpOption,
  encodeDhcp,
} from '../../packet/dhcp.ts';
import type { DhcpOption, DhcpRoute } from '../../packet/dhcp-option.ts';
import { UDP_PORT } from '../../packet/udp.ts';
import {
  dnsServersOf,
  gateway4,
  type Link,
  mtuOf,
  type OwnSubnet,
  serviceAddress,
  serviceMac,
  subnetsOf,
} from './link.ts';
import { tagAt, udp4Frame } from './reply.ts';

const BROADCAST = 0xffff_ffff as Ipv4;
const NONE = 0 as Ipv4;

/**
 * DHCPv4 (RFC 2131 §4.3): the port's own address, always the same, so there is no lease to remember. `payload` is what
 * the UDP datagram carries. Nothing is answered to relays, to other hardware than the port's, or where the port has no
 * address in a subnet with DHCP.
 */
export function answerDhcp(link: Link, payload: Uint8Array, vlan: number): Uint8Array | undefined {
  const request = decodeDhcp(payload);
  if (request.op !== DHCP_OP.request || request.relayAddress !== NONE || request.clientMac !== parseMac(link.port.mac))
    return undefined;
  const own = subnetsOf(link, 4, vlan).find((candidate) => candidate.address !== undefined);
  if (!own) return undefined;
  const server = serviceAddress(link, own.subnet);
  const type = replyType(request, own.address!.value as Ipv4, server);
  if (type === undefined) return undefined;
  const reply = makeReply(link, request, own, server, type);
  const isBroadcast =
    type === DHCP_MESSAGE.nak || ((request.flags & DHCP_FLAG.broadcast) !== 0 && request.clientAddress === NONE);
  const dst = isBroadcast ? BROADCAST : request.clientAddress !== NONE ? request.clientAddress : reply.yourAddress;
  return udp4Frame(
    { src: serviceMac(link.switch), dst: isBroadcast ? BROADCAST_MAC : request.clientMac, tag: tagAt(link, vlan) },
    { src: server, dst, srcPort: UDP_PORT.dhcpServer, dstPort: UDP_PORT.dhcpClient },
    encodeDhcp(reply),
  );
}

function replyType(request: DhcpMessage, address: Ipv4, server: Ipv4): number | undefined {
  switch (dhcpOption(request, 'messageType')) {
    case DHCP_MESSAGE.discover:
      return DHCP_MESSAGE.offer;
    case DHCP_MESSAGE.request: {
      const chosen = dhcpOption(request, 'serverId');
      if (chosen !== undefined && chosen !== server) return undefined; // it took another server's offer
      const wanted = dhcpOption(request, 'requestedAddress') ?? request.clientAddress;
      return wanted === address ? DHCP_MESSAGE.ack : DHCP_MESSAGE.nak;
    }
    case DHCP_MESSAGE.inform:
      return DHCP_MESSAGE.ack;
    default:
      return undefined; // decline, release: the address stays the port's
  }
}

function makeReply(link: Link, request: DhcpMessage, own: OwnSubnet, server: Ipv4, type: number): DhcpMessage {
  const isNak = type === DHCP_MESSAGE.nak;
  const isInform = dhcpOption(request, 'messageType') === DHCP_MESSAGE.inform;
  const options: DhcpOption[] = [
    { kind: 'messageType', value: type },
    { kind: 'serverId', value: server },
  ];
  if (!isNak) {
    if (!isInform) options.push(...leaseTimes(own.subnet.dhcp.leaseSeconds));
    options.push(...settings(link, own));
  }
  return {
    op: DHCP_OP.reply,
    hops: 0,
    transactionId: request.transactionId,
    secs: 0,
    flags: request.flags,
    clientAddress: isNak ? NONE : request.clientAddress,
    yourAddress: isNak || isInform ? NONE : (own.address!.value as Ipv4),
    serverAddress: NONE,
    relayAddress: NONE,
    clientMac: request.clientMac,
    serverName: '',
    bootFile: '',
    options,
  };
}

/** RFC 2131 §4.4.5: renew at half, rebind at seven eighths. */
function leaseTimes(seconds: number): DhcpOption[] {
  return [
    { kind: 'leaseTimeS', value: seconds },
    { kind: 'renewalTimeS', value: Math.floor(seconds / 2) },
    { kind: 'rebindingTimeS', value: Math.floor((seconds * 7) / 8) },
  ];
}

function settings(link: Link, { subnet, cidr }: OwnSubnet): DhcpOption[] {
  const mask = prefixMask4(cidr.prefix);
  const options: DhcpOption[] = [{ kind: 'subnetMask', value: mask }];
  const network = networkOf(cidr).ip.value as Ipv4;
  if (cidr.prefix < 31) options.push({ kind: 'broadcastAddress', value: ((network | ~mask) >>> 0) as Ipv4 });
  const gateway = gateway4(link, subnet);
  if (gateway !== undefined) options.push({ kind: 'routers', value: [gateway] });
  const { ntp, domain } = subnet.dhcp;
  const dns = dnsServersOf(link, subnet);
  if (ipv4Of(dns).length > 0) options.push({ kind: 'dnsServers', value: ipv4Of(dns) });
  if (domain !== undefined) options.push({ kind: 'domainName', value: domain });
  if (ipv4Of(ntp).length > 0) options.push({ kind: 'ntpServers', value: ipv4Of(ntp) });
  const routes = routesOf(subnet, gateway);
  if (routes.length > 0) options.push({ kind: 'staticRoutes', value: routes });
  options.push({ kind: 'mtu', value: mtuOf(link) });
  return options;
}

/** A client that reads option 121 ignores the routers option (RFC 3442), so the default route stands in both. */
function routesOf(subnet: Subnet, gateway: Ipv4 | undefined): DhcpRoute[] {
  const routes = subnet.dhcp.routes.map(({ to, via }): DhcpRoute => {
    const cidr = parseCidr(to)!;
    return { destination: cidr.ip.value as Ipv4, prefixLength: cidr.prefix, gateway: parseIpv4(via)! };
  });
  if (routes.length > 0 && gateway !== undefined && !routes.some((route) => route.prefixLength === 0))
    routes.push({ destination: NONE, prefixLength: 0, gateway });
  return routes;
}

function ipv4Of(addresses: readonly string[]): Ipv4[] {
  return addresses.map((text) => parseIpv4(text)).filter((ip) => ip !== undefined);
}
