import type { Ip } from '../base/addresses.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { extractFlowKey, type FlowKey, IP_FRAG } from '../packet/flow-key.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';

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
  readonly ip?: { readonly version: 4 | 6; readonly src: Ip; readonly dst: Ip; readonly protocol: number };
  /** Of TCP, UDP and SCTP; absent in later fragments, as is `icmp`: they have no such header. */
  readonly ports?: { readonly src: number; readonly dst: number };
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Of neighbour solicitations and advertisements, which have code 0; MACs are 0 where the option is absent. */
  readonly nd?: { readonly target: bigint; readonly sourceMac: number; readonly targetMac: number };
}

const WITH_PORTS: ReadonlySet<number> = new Set([IP_PROTO.tcp, IP_PROTO.udp, IP_PROTO.sctp]);

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
  if (key.ethType === ETHER_TYPE.ipv4)
    return {
      ...frame,
      ip: {
        version: 4,
        src: { version: 4, value: key.ipSrc },
        dst: { version: 4, value: key.ipDst },
        protocol: key.ipProto,
      },
      ...transportOf(key),
    };
  if (key.ethType === ETHER_TYPE.ipv6)
    return {
      ...frame,
      ip: {
        version: 6,
        src: { version: 6, value: key.ipv6Src },
        dst: { version: 6, value: key.ipv6Dst },
        protocol: key.ipProto,
      },
      ...transportOf(key),
    };
  return frame;
}

function transportOf(key: FlowKey): Pick<Frame, 'ports' | 'icmp' | 'nd'> {
  if (key.ipFrag & IP_FRAG.later) return {};
  if (WITH_PORTS.has(key.ipProto)) return { ports: { src: key.tpSrc, dst: key.tpDst } };
  const isIcmp = key.ethType === ETHER_TYPE.ipv4 ? key.ipProto === IP_PROTO.icmp : key.ipProto === IP_PROTO.icmpv6;
  if (!isIcmp) return {};
  const icmp = { type: key.tpSrc, code: key.tpDst };
  const isNd = key.ethType === ETHER_TYPE.ipv6 && (icmp.type === 135 || icmp.type === 136) && icmp.code === 0;
  return isNd ? { icmp, nd: { target: key.ndTarget, sourceMac: key.ndSll, targetMac: key.ndTll } } : { icmp };
}
