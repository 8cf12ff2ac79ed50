import { type Ipv6, type Mac, parseIpv6 } from '../../base/addresses.ts';
import { equalBytes } from '../../base/bytes.ts';
import {
  DHCPV6_MESSAGE,
  DHCPV6_STATUS,
  type Dhcpv6ClientMessage,
  decodeDhcpv6,
  dhcpv6Option,
  encodeDhcpv6,
  encodeDuid,
} from '../../packet/dhcpv6.ts';
import type { Dhcpv6Option } from '../../packet/dhcpv6-option.ts';
import { UDP_PORT } from '../../packet/udp.ts';
import { dnsServersOf, type Link, type OwnSubnet, serviceLinkLocal, serviceMac, subnetsOf } from './link.ts';
import { tagAt, udp6Frame } from './reply.ts';

/**
 * DHCPv6 (RFC 8415 §18.3): the port's own addresses in subnets of mode `stateful`, and DNS and NTP for everyone. As in
 * version 4 there is no lease to remember. `src` and `srcMac` are the client's, where the answer goes.
 */
export function answerDhcp6(
  link: Link,
  client: { readonly ip: Ipv6; readonly mac: Mac },
  payload: Uint8Array,
  vlan: number,
): Uint8Array | undefined {
  const request = decodeDhcpv6(payload);
  const clientId = request.kind === 'message' ? dhcpv6Option(request.options, 'clientId') : undefined;
  if (request.kind !== 'message') return undefined;
  const subnets = subnetsOf(link, 6, vlan);
  const serverId = encodeDuid({ kind: 'linkLayer', hardware: 1, address: macBytes(serviceMac(link.switch)) }).slice();
  const chosen = dhcpv6Option(request.options, 'serverId');
  if (chosen && !equalBytes(chosen.duid, serverId)) return undefined;
  const answer = answerOf(request, subnets);
  if (!answer) return undefined;
  const options: Dhcpv6Option[] = [
    ...(clientId ? [clientId] : []),
    { kind: 'serverId', duid: serverId },
    ...answer.options,
    ...settings(link, subnets),
  ];
  const reply: Dhcpv6ClientMessage = {
    kind: 'message',
    type: answer.type,
    transactionId: request.transactionId,
    options,
  };
  return udp6Frame(
    { src: serviceMac(link.switch), dst: client.mac, tag: tagAt(link, vlan) },
    {
      src: serviceLinkLocal(link.switch),
      dst: client.ip,
      srcPort: UDP_PORT.dhcpv6Server,
      dstPort: UDP_PORT.dhcpv6Client,
    },
    encodeDhcpv6(reply),
  );
}

interface Answer {
  readonly type: number;
  readonly options: readonly Dhcpv6Option[];
}

function answerOf(request: Dhcpv6ClientMessage, subnets: readonly OwnSubnet[]): Answer | undefined {
  const { reply, advertise } = DHCPV6_MESSAGE;
  const status = (code: number, text: string): Dhcpv6Option => ({ kind: 'statusCode', status: code, text });
  switch (request.type) {
    case DHCPV6_MESSAGE.solicit: {
      const isRapid = dhcpv6Option(request.options, 'rapidCommit') !== undefined;
      const given = associations(request, subnets);
      return isRapid
        ? { type: reply, options: [{ kind: 'rapidCommit' }, ...given] }
        : { type: advertise, options: given };
    }
    case DHCPV6_MESSAGE.request:
    case DHCPV6_MESSAGE.renew:
    case DHCPV6_MESSAGE.rebind:
      return { type: reply, options: associations(request, subnets) };
    case DHCPV6_MESSAGE.confirm: {
      const owned = new Set<bigint | number | undefined>(subnets.map(({ address }) => address?.value));
      const isOnLink = asked(request).every((ip) => owned.has(ip));
      return {
        type: reply,
        options: [
          isOnLink
            ? status(DHCPV6_STATUS.success, 'on link')
            : status(DHCPV6_STATUS.notOnLink, 'not your address here'),
        ],
      };
    }
    case DHCPV6_MESSAGE.release:
    case DHCPV6_MESSAGE.decline:
      return { type: reply, options: [status(DHCPV6_STATUS.success, 'noted')] };
    case DHCPV6_MESSAGE.informationRequest:
      return { type: reply, options: [] };
    default:
      return undefined;
  }
}

/** Each association that the client names gets the port's stateful addresses; prefixes are not delegated. */
function associations(request: Dhcpv6ClientMessage, subnets: readonly OwnSubnet[]): Dhcpv6Option[] {
  const stateful = subnets.filter(({ subnet, address }) => subnet.ipv6Mode === 'stateful' && address !== undefined);
  let isFirst = true;
  return request.options.flatMap((option): Dhcpv6Option[] => {
    if (option.kind === 'prefixes')
      return [
        {
          ...option,
          t1S: 0,
          t2S: 0,
          options: [{ kind: 'statusCode', status: DHCPV6_STATUS.noPrefixAvail, text: 'prefixes are not delegated' }],
        },
      ];
    if (option.kind !== 'addresses') return [];
    if (stateful.length === 0 || !isFirst)
      return [
        {
          ...option,
          t1S: 0,
          t2S: 0,
          options: [
            { kind: 'statusCode', status: DHCPV6_STATUS.noAddrsAvail, text: 'no further address for this port' },
          ],
        },
      ];
    isFirst = false;
    const seconds = Math.min(...stateful.map(({ subnet }) => subnet.dhcp.leaseSeconds));
    const given = stateful.map(
      ({ address }): Dhcpv6Option => ({
        kind: 'address',
        address: address!.value as Ipv6,
        preferredS: seconds,
        validS: seconds,
        options: [],
      }),
    );
    return [
      {
        kind: 'addresses',
        iaid: option.iaid,
        t1S: Math.floor(seconds / 2),
        t2S: Math.floor((seconds * 4) / 5),
        options: given,
      },
    ];
  });
}

function asked(request: Dhcpv6ClientMessage): bigint[] {
  return request.options.flatMap((option) =>
    option.kind === 'addresses'
      ? option.options.flatMap((inner) => (inner.kind === 'address' ? [inner.address as bigint] : []))
      : [],
  );
}

function settings(link: Link, subnets: readonly OwnSubnet[]): Dhcpv6Option[] {
  const options: Dhcpv6Option[] = [];
  const dns = unique(subnets.flatMap(({ subnet }) => dnsServersOf(link, subnet)));
  const ntp = unique(subnets.flatMap(({ subnet }) => subnet.dhcp.ntp));
  const domains = [
    ...new Set(subnets.flatMap(({ subnet }) => (subnet.dhcp.domain === undefined ? [] : [subnet.dhcp.domain]))),
  ];
  if (dns.length > 0) options.push({ kind: 'dnsServers', servers: dns });
  if (domains.length > 0) options.push({ kind: 'domainSearch', domains });
  if (ntp.length > 0)
    options.push({ kind: 'ntpServers', servers: ntp.map((address) => ({ kind: 'address', address })) });
  return options;
}

/** The IPv6 ones, each once. */
function unique(addresses: readonly string[]): Ipv6[] {
  return [...new Set(addresses)].map((text) => parseIpv6(text)).filter((ip) => ip !== undefined);
}

function macBytes(mac: number): Uint8Array {
  return Uint8Array.from({ length: 6 }, (_, i) => Math.floor(mac / 2 ** (8 * (5 - i))) % 256);
}
