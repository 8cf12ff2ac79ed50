import type { Ip } from '../base/addresses.ts';
import { ETHER_TYPE, isVlanType } from '../packet/ethernet.ts';
import { extractFlowKey, type FlowKey, IP_FRAG } from '../packet/flow-key.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { locateIp } from './locate.ts';
import { quotedTuple, type Tuple } from './tuple.ts';

/**
 * What a frame says, as far as Weft looks at it. Read as Open vSwitch reads it (`extractFlowKey`): headers that are cut
 * short or contradict themselves give zeros, so that the simulation means the same frame as the switch.
 */
export interface Frame {
  readonly src: number;
  readonly dst: number;
  /** Behind the outer VLAN tag. */
  readonly etherType: number;
  /** VLAN id of the outer tag; absent without one. */
  readonly tag?: number;
  readonly arp?: {
    readonly op: number;
    readonly senderIp: number;
    readonly targetIp: number;
    readonly senderMac: number;
  };
  readonly ip?: IpPart;
  /** Of TCP, UDP and SCTP; absent in later fragments, as is `icmp`: they have no such header. */
  readonly ports?: { readonly src: number; readonly dst: number };
  /** Twelve bits; of TCP, where `ports` are there. */
  readonly tcpFlags?: number;
  /** `id`: of an echo or another query. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
  /** Of an ICMP error: the packet that it is about, as far as it is quoted. */
  readonly quoted?: Tuple;
  /** Of neighbour solicitations and advertisements, which have code 0; MACs are 0 where the option is absent. */
  readonly nd?: { readonly target: bigint; readonly sourceMac: number; readonly targetMac: number };
}

export interface IpPart {
  readonly version: 4 | 6;
  readonly src: Ip;
  readonly dst: Ip;
  readonly protocol: number;
  /** Time to live, hop limit. */
  readonly ttl: number;
  /** The upper six bits of the traffic class. */
  readonly dscp: number;
  readonly fragment: 'no' | 'first' | 'later';
  /** Bytes from the IP header on, as it says. */
  readonly length: number;
}

/** Another VLAN tag behind the outer one: what is behind that is not read. */
export function hasInnerTag({ etherType }: Frame): boolean {
  return isVlanType(etherType);
}

/** Ports are looked at in these. */
export const WITH_PORTS: ReadonlySet<number> = new Set([IP_PROTO.tcp, IP_PROTO.udp, IP_PROTO.sctp]);

export function readFrame(bytes: Uint8Array): Frame {
  const key = extractFlowKey(bytes);
  const tag = key.vlans[0];
  const frame = {
    src: key.ethSrc,
    dst: key.ethDst,
    etherType: key.ethType,
    ...(tag === undefined ? {} : { tag: tag.tci & 0xfff }),
  };
  if (key.ethType === ETHER_TYPE.arp)
    return { ...frame, arp: { op: key.arpOp, senderIp: key.arpSpa, targetIp: key.arpTpa, senderMac: key.arpSha } };
  const ip = ipOf(bytes, key);
  return ip ? { ...frame, ip, ...transportOf(bytes, key) } : frame;
}

function ipOf(bytes: Uint8Array, key: FlowKey): IpPart | undefined {
  const { length } = locateIp(bytes, key);
  const common = {
    protocol: key.ipProto,
    ttl: key.ipTtl,
    dscp: key.ipTos >> 2,
    fragment: key.ipFrag & IP_FRAG.later ? 'later' : key.ipFrag ? 'first' : 'no',
    length,
  } as const;
  if (key.ethType === ETHER_TYPE.ipv4)
    return {
      version: 4,
      src: { version: 4, value: key.ipSrc },
      dst: { version: 4, value: key.ipDst },
      ...common,
    };
  if (key.ethType === ETHER_TYPE.ipv6)
    return {
      version: 6,
      src: { version: 6, value: key.ipv6Src },
      dst: { version: 6, value: key.ipv6Dst },
      ...common,
    };
  return undefined;
}

function transportOf(bytes: Uint8Array, key: FlowKey): Pick<Frame, 'ports' | 'tcpFlags' | 'icmp' | 'quoted' | 'nd'> {
  if (key.ipFrag & IP_FRAG.later) return {};
  if (WITH_PORTS.has(key.ipProto)) {
    const ports = { src: key.tpSrc, dst: key.tpDst };
    return key.ipProto === IP_PROTO.tcp ? { ports, tcpFlags: key.tcpFlags } : { ports };
  }
  const isIcmp = key.ethType === ETHER_TYPE.ipv4 ? key.ipProto === IP_PROTO.icmp : key.ipProto === IP_PROTO.icmpv6;
  if (!isIcmp) return {};
  const { upper } = locateIp(bytes, key);
  const id = upper !== undefined && upper + 6 <= bytes.length ? (bytes[upper + 4]! << 8) | bytes[upper + 5]! : 0;
  const icmp = { type: key.tpSrc, code: key.tpDst, id };
  const version = key.ethType === ETHER_TYPE.ipv6 ? 6 : 4;
  const isNd = version === 6 && (icmp.type === 135 || icmp.type === 136) && icmp.code === 0;
  if (isNd) return { icmp, nd: { target: key.ndTarget, sourceMac: key.ndSll, targetMac: key.ndTll } };
  if (!isErrorType(version, icmp.type) || upper === undefined) return { icmp };
  const quoted = quotedTuple(bytes.subarray(upper + 8), version);
  return quoted ? { icmp, quoted } : { icmp };
}

/** RFC 792, RFC 4443: unreachable, quench, redirect, time exceeded, parameter problem; of version 6 all below 128. */
function isErrorType(version: 4 | 6, type: number): boolean {
  return version === 4 ? [3, 4, 5, 11, 12].includes(type) : type >= 1 && type <= 4;
}

export function isIcmpError({ ip, icmp }: Frame): boolean {
  return ip !== undefined && icmp !== undefined && isErrorType(ip.version, icmp.type);
}
