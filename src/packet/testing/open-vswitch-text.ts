import { formatIpv4, formatIpv6, formatMac } from '../../base/addresses.ts';
import { ETHER_TYPE } from '../ethernet.ts';
import { type FlowKey, IP_FRAG } from '../flow-key.ts';
import { ICMPV6_TYPE } from '../icmpv6.ts';
import { IP_PROTO } from '../ip-protocol.ts';
import { isNd } from '../nd.ts';

/**
 * A flow key as `ovs-ofctl parse-pcap` prints it, so that Open vSwitch can be asked what it sees in a frame. It reads
 * up to two tags.
 */
export function openVswitchText(key: Readonly<FlowKey>): string {
  const parts = [...shortName(key), 'in_port=ANY', ...tagParts(key)];
  parts.push(`dl_src=${formatMac(key.ethSrc)}`, `dl_dst=${formatMac(key.ethDst)}`);
  if (shortName(key).length === 0) parts.push(`dl_type=0x${key.ethType.toString(16).padStart(4, '0')}`);
  switch (key.ethType) {
    case ETHER_TYPE.ipv4:
    case ETHER_TYPE.ipv6:
      parts.push(...ipParts(key));
      break;
    case ETHER_TYPE.arp:
    case ETHER_TYPE.rarp:
      parts.push(`arp_spa=${formatIpv4(key.arpSpa)}`, `arp_tpa=${formatIpv4(key.arpTpa)}`, `arp_op=${key.arpOp}`);
      parts.push(`arp_sha=${formatMac(key.arpSha)}`, `arp_tha=${formatMac(key.arpTha)}`);
      break;
    case ETHER_TYPE.mpls:
    case ETHER_TYPE.mplsMulticast:
      parts.push(...mplsParts(key.mpls));
      break;
  }
  return parts.join(',');
}

const SHORT = new Map<number, string>([
  [ETHER_TYPE.ipv4, 'ip'],
  [ETHER_TYPE.ipv6, 'ipv6'],
  [ETHER_TYPE.arp, 'arp'],
  [ETHER_TYPE.rarp, 'rarp'],
  [ETHER_TYPE.mpls, 'mpls'],
  [ETHER_TYPE.mplsMulticast, 'mplsm'],
]);
const SHORT4 = new Map<number, string>([
  [IP_PROTO.icmp, 'icmp'],
  [IP_PROTO.tcp, 'tcp'],
  [IP_PROTO.udp, 'udp'],
  [IP_PROTO.sctp, 'sctp'],
]);
const SHORT6 = new Map<number, string>([
  [IP_PROTO.icmpv6, 'icmp6'],
  [IP_PROTO.tcp, 'tcp6'],
  [IP_PROTO.udp, 'udp6'],
  [IP_PROTO.sctp, 'sctp6'],
]);

function protocolName(key: Readonly<FlowKey>): string | undefined {
  if (key.ethType === ETHER_TYPE.ipv4) return SHORT4.get(key.ipProto);
  return key.ethType === ETHER_TYPE.ipv6 ? SHORT6.get(key.ipProto) : undefined;
}

function shortName(key: Readonly<FlowKey>): string[] {
  const name = protocolName(key) ?? SHORT.get(key.ethType);
  return name === undefined ? [] : [name];
}

/** Tags as `dl_vlan`, `dl_vlan1`; the first that is not there as `vlan_tci`. */
function tagParts(key: Readonly<FlowKey>): string[] {
  const parts: string[] = [];
  for (let i = 0; i < 2; i++) {
    const suffix = i === 0 ? '' : `${i}`;
    const tag = key.vlans[i];
    if (!tag) {
      parts.push(`vlan_tci${suffix}=0x0000`);
      break;
    }
    parts.push(`dl_vlan${suffix}=${tag.tci & 0xfff}`, `dl_vlan_pcp${suffix}=${tag.tci >> 13}`);
  }
  return parts;
}

function ipParts(key: Readonly<FlowKey>): string[] {
  const parts: string[] = [];
  if (key.ethType === ETHER_TYPE.ipv4) parts.push(`nw_src=${formatIpv4(key.ipSrc)}`, `nw_dst=${formatIpv4(key.ipDst)}`);
  else {
    parts.push(`ipv6_src=${formatIpv6(key.ipv6Src)}`, `ipv6_dst=${formatIpv6(key.ipv6Dst)}`);
    parts.push(`ipv6_label=0x${key.ipv6Label.toString(16).padStart(5, '0')}`);
  }
  if (protocolName(key) === undefined) parts.push(`nw_proto=${key.ipProto}`);
  parts.push(`nw_tos=${key.ipTos & 0xfc}`, `nw_ecn=${key.ipTos & 3}`, `nw_ttl=${key.ipTtl}`);
  const frag = key.ipFrag === 0 ? 'no' : key.ipFrag & IP_FRAG.later ? 'later' : 'first';
  parts.push(`nw_frag=${frag}`);
  if (!(key.ipFrag & IP_FRAG.later)) parts.push(...transportParts(key));
  return parts;
}

const TCP_FLAG_NAMES = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr', 'ns', '[200]', '[400]', '[800]'];

function transportParts(key: Readonly<FlowKey>): string[] {
  const ports = [`tp_src=${key.tpSrc}`, `tp_dst=${key.tpDst}`];
  const typeAndCode = [`icmp_type=${key.tpSrc}`, `icmp_code=${key.tpDst}`];
  switch (key.ipProto) {
    case IP_PROTO.tcp:
      return [...ports, `tcp_flags=${TCP_FLAG_NAMES.filter((_, i) => key.tcpFlags & (1 << i)).join('|') || '0'}`];
    case IP_PROTO.udp:
    case IP_PROTO.sctp:
    case IP_PROTO.igmp:
      return ports;
    case IP_PROTO.icmp:
      return key.ethType === ETHER_TYPE.ipv4 ? typeAndCode : ports;
    case IP_PROTO.icmpv6:
      return key.ethType === ETHER_TYPE.ipv6 ? [...typeAndCode, ...ndParts(key)] : ports;
  }
  return [];
}

function ndParts(key: Readonly<FlowKey>): string[] {
  if (!isNd(key.tpSrc, key.tpDst)) return [];
  if (key.tpSrc !== ICMPV6_TYPE.neighborSolicit && key.tpSrc !== ICMPV6_TYPE.neighborAdvert) return [];
  return [`nd_target=${formatIpv6(key.ndTarget)}`, `nd_sll=${formatMac(key.ndSll)}`, `nd_tll=${formatMac(key.ndTll)}`];
}

/** Without a bottom of stack all three entries that Open vSwitch keeps are printed. */
function mplsParts(entries: readonly number[]): string[] {
  const whole = entries.some((entry) => entry & 0x100) ? entries : [...entries, 0, 0, 0].slice(0, 3);
  const [first = 0, ...others] = whole;
  const parts = [`mpls_label=${first >>> 12}`, `mpls_tc=${(first >>> 9) & 7}`];
  parts.push(`mpls_ttl=${first & 0xff}`, `mpls_bos=${(first >>> 8) & 1}`);
  for (const [i, entry] of others.entries()) parts.push(`mpls_lse${i + 1}=${entry}`);
  return parts;
}
