import { BROADCAST_MAC, type Ip, type Ipv4, type Mac, multicastMacOf6, solicitedNodeOf } from '../base/addresses.ts';
import { ARP_OP } from '../packet/arp.ts';
import { DHCP_FLAG, DHCP_MESSAGE, DHCP_OP, encodeDhcp } from '../packet/dhcp.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { ICMP_TYPE } from '../packet/icmp.ts';
import { ICMPV6_TYPE } from '../packet/icmpv6.ts';
import { NO_BYTES } from '../packet/input.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import { encodePacket, type Layer4, type Packet } from '../packet/packet.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { UsageError } from './exit-codes.ts';

/** What kind of packet `weft trace` sends: `icmp`, `tcp/443`, `udp/53`, `sctp/5000`, `arp`, `nd` or `dhcp`. */
export type TracedProtocol =
  | { readonly kind: 'icmp' | 'arp' | 'nd' | 'dhcp' }
  | { readonly kind: 'tcp' | 'udp' | 'sctp'; readonly port: number };

/** Error `invalid` with what can be written. */
export function parseTracedProtocol(text: string): TracedProtocol {
  const match = /^(tcp|udp|sctp)\/(\d{1,5})$/.exec(text);
  if (match && Number(match[2]) <= 65535) return { kind: match[1] as 'tcp' | 'udp' | 'sctp', port: Number(match[2]) };
  if (text === 'icmp' || text === 'ping' || text === 'icmpv6') return { kind: 'icmp' };
  if (text === 'arp' || text === 'nd' || text === 'dhcp') return { kind: text };
  throw new UsageError(`${text}: tcp/443, udp/53, sctp/5000, icmp, arp, nd or dhcp is wanted`);
}

/** As `parseTracedProtocol` reads it. */
export function formatTracedProtocol(protocol: TracedProtocol): string {
  return 'port' in protocol ? `${protocol.kind}/${protocol.port}` : protocol.kind;
}

export interface TraceEnd {
  readonly mac: Mac;
  readonly ip?: Ip;
}

/** Ports and identifiers of a packet that nobody sent. */
const CLIENT_PORT = 49152;
const ZERO_IP = 0 as Ipv4;

/** The frame that a workload would send. Error `invalid` when the ends have no addresses for it. */
export function buildFrame(
  protocol: TracedProtocol,
  src: TraceEnd,
  dst: TraceEnd | undefined,
  vlan?: number,
): Uint8Array {
  return encodePacket(withVlan(packetOf(protocol, src, dst), vlan));
}

function withVlan(packet: Packet, vlan: number | undefined): Packet {
  return vlan === undefined ? packet : { ...packet, vlans: [{ tpid: ETHER_TYPE.vlan, vid: vlan, pcp: 0, dei: false }] };
}

function packetOf(protocol: TracedProtocol, src: TraceEnd, dst: TraceEnd | undefined): Packet {
  switch (protocol.kind) {
    case 'arp':
      return arpRequest(src, dst);
    case 'nd':
      return neighbourSolicitation(src, dst);
    case 'dhcp':
      return dhcpDiscover(src);
    default:
      return ipPacket(protocol, src, dst);
  }
}

function ipPacket(
  protocol: Exclude<TracedProtocol, { kind: 'arp' | 'nd' | 'dhcp' }>,
  src: TraceEnd,
  dst: TraceEnd | undefined,
): Packet {
  if (!dst) throw new UsageError(`${protocol.kind} needs a destination: a port, an address or a MAC`);
  if (!src.ip || !dst.ip || src.ip.version !== dst.ip.version)
    throw new UsageError(
      `${protocol.kind} needs an address of the same IP version at both ends; 'arp' or --frame needs none`,
    );
  const upper = layer4(protocol, src.ip.version);
  const common = { vlans: [], l4: upper.l4, payload: NO_BYTES };
  if (src.ip.version === 4 && dst.ip.version === 4)
    return {
      ethernet: { dst: dst.mac, src: src.mac, etherType: ETHER_TYPE.ipv4 },
      l3: { kind: 'ipv4', ...ipv4Header({ src: src.ip.value, dst: dst.ip.value, protocol: upper.number }) },
      ...common,
    };
  if (src.ip.version === 6 && dst.ip.version === 6)
    return {
      ethernet: { dst: dst.mac, src: src.mac, etherType: ETHER_TYPE.ipv6 },
      l3: { kind: 'ipv6', ...ipv6Header({ src: src.ip.value, dst: dst.ip.value, nextHeader: upper.number }) },
      ...common,
    };
  throw new UsageError('the ends are of different IP versions');
}

function layer4(
  protocol: { readonly kind: 'icmp' } | { readonly kind: 'tcp' | 'udp'; readonly port: number } | TracedProtocol,
  version: 4 | 6,
): { readonly l4: Layer4; readonly number: number } {
  if (protocol.kind === 'tcp')
    return {
      number: IP_PROTO.tcp,
      l4: {
        kind: 'tcp',
        srcPort: CLIENT_PORT,
        dstPort: protocol.port,
        sequence: 1,
        acknowledgement: 0,
        flags: TCP_FLAG.syn,
        window: 65535,
        urgent: 0,
        options: NO_BYTES,
      },
    };
  if (protocol.kind === 'udp')
    return {
      number: IP_PROTO.udp,
      l4: { kind: 'udp', srcPort: CLIENT_PORT, dstPort: protocol.port, noChecksum: false },
    };
  if (protocol.kind === 'sctp') throw new UsageError('sctp: name a port or an address, without --src-mac and --vlan');
  return version === 4
    ? { number: IP_PROTO.icmp, l4: { kind: 'icmp', type: ICMP_TYPE.echoRequest, code: 0, rest: 0x0001_0001 } }
    : { number: IP_PROTO.icmpv6, l4: { kind: 'icmpv6', type: ICMPV6_TYPE.echoRequest, code: 0, rest: 0x0001_0001 } };
}

function arpRequest(src: TraceEnd, dst: TraceEnd | undefined): Packet {
  if (src.ip?.version !== 4 || dst?.ip?.version !== 4) throw new UsageError('arp needs an IPv4 address at both ends');
  return {
    ethernet: { dst: BROADCAST_MAC, src: src.mac, etherType: ETHER_TYPE.arp },
    vlans: [],
    l3: { kind: 'arp', op: ARP_OP.request, sha: src.mac, spa: src.ip.value, tha: 0 as Mac, tpa: dst.ip.value },
    payload: NO_BYTES,
  };
}

function neighbourSolicitation(src: TraceEnd, dst: TraceEnd | undefined): Packet {
  if (src.ip?.version !== 6 || dst?.ip?.version !== 6) throw new UsageError('nd needs an IPv6 address at both ends');
  const group = solicitedNodeOf(dst.ip.value);
  return {
    ethernet: { dst: multicastMacOf6(group), src: src.mac, etherType: ETHER_TYPE.ipv6 },
    vlans: [],
    l3: { kind: 'ipv6', ...ipv6Header({ src: src.ip.value, dst: group, nextHeader: IP_PROTO.icmpv6, hopLimit: 255 }) },
    l4: {
      kind: 'nd',
      message: { kind: 'neighborSolicit', target: dst.ip.value, options: [{ kind: 'sourceLinkLayer', mac: src.mac }] },
    },
    payload: NO_BYTES,
  };
}

function dhcpDiscover(src: TraceEnd): Packet {
  const payload = encodeDhcp({
    op: DHCP_OP.request,
    hops: 0,
    transactionId: 1,
    secs: 0,
    flags: DHCP_FLAG.broadcast,
    clientAddress: ZERO_IP,
    yourAddress: ZERO_IP,
    serverAddress: ZERO_IP,
    relayAddress: ZERO_IP,
    clientMac: src.mac,
    serverName: '',
    bootFile: '',
    options: [{ kind: 'messageType', value: DHCP_MESSAGE.discover }],
  });
  return {
    ethernet: { dst: BROADCAST_MAC, src: src.mac, etherType: ETHER_TYPE.ipv4 },
    vlans: [],
    l3: { kind: 'ipv4', ...ipv4Header({ src: ZERO_IP, dst: 0xffff_ffff as Ipv4, protocol: IP_PROTO.udp }) },
    l4: { kind: 'udp', srcPort: 68, dstPort: 67, noChecksum: false },
    payload,
  };
}
