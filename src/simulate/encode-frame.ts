import type { Ip, Ipv4, Ipv6, Mac } from '../base/addresses.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { NO_BYTES } from '../packet/input.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import { encodePacket, type Layer3, type Layer4, type Packet } from '../packet/packet.ts';
import type { Frame } from './frame.ts';

/** Bytes of a frame that only this simulation sent (ARP, neighbour solicitations, and whole packets of TCP, UDP, SCTP, ICMP), to show or to give to a switch. */
export function encodeFrame(frame: Frame): Uint8Array {
  const { tag } = frame;
  const upper = upperOf(frame);
  const packet: Packet = {
    ethernet: { dst: frame.dst as Mac, src: frame.src as Mac, etherType: frame.etherType },
    vlans: tag === undefined ? [] : [{ tpid: ETHER_TYPE.vlan, vid: tag, pcp: 0, dei: false }],
    ...(frame.ip || frame.arp ? { l3: networkOf(frame) } : {}),
    ...(upper ? { l4: upper } : {}),
    payload: frame.ports && !upper ? sctpHeader(frame.ports) : NO_BYTES,
  };
  return encodePacket(packet);
}

function networkOf({ src: mac, arp, ip }: Frame): Layer3 {
  if (arp)
    return {
      ...{ kind: 'arp', op: arp.op, sha: mac as Mac, tha: 0 as Mac },
      ...{ spa: arp.senderIp as Ipv4, tpa: arp.targetIp as Ipv4 },
    };
  const { version, src, dst, protocol, ttl } = ip!;
  const value = <T extends Ipv4 | Ipv6>({ value: number }: Ip): T => number as T;
  if (version === 4)
    return {
      kind: 'ipv4',
      ...ipv4Header({ src: value<Ipv4>(src), dst: value<Ipv4>(dst), protocol, ttl }),
    };
  const header = { src: value<Ipv6>(src), dst: value<Ipv6>(dst), nextHeader: protocol, hopLimit: ttl };
  return { kind: 'ipv6', ...ipv6Header(header) };
}

function upperOf({ ip, ports, tcpFlags, icmp, nd }: Frame): Layer4 | undefined {
  if (nd) {
    const options = [{ kind: 'sourceLinkLayer', mac: nd.sourceMac as Mac }] as const;
    return { kind: 'nd', message: { kind: 'neighborSolicit', target: nd.target as Ipv6, options } };
  }
  if (icmp) {
    const kind = ip!.version === 4 ? 'icmp' : 'icmpv6';
    return { kind, type: icmp.type, code: icmp.code, rest: (icmp.id << 16) >>> 0 };
  }
  if (!ports) return undefined;
  const [srcPort, dstPort] = [ports.src, ports.dst];
  if (ip!.protocol === IP_PROTO.udp) return { kind: 'udp', srcPort, dstPort, noChecksum: false };
  if (ip!.protocol !== IP_PROTO.tcp) return undefined;
  return {
    ...{ kind: 'tcp', srcPort, dstPort, sequence: 1, acknowledgement: 0 },
    ...{ flags: tcpFlags ?? 0, window: 65_535, urgent: 0, options: NO_BYTES },
  };
}

/** Without a chunk: enough to be known by. */
function sctpHeader({ src, dst }: NonNullable<Frame['ports']>): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, src);
  view.setUint16(2, dst);
  return bytes;
}
