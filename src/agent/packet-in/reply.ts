import type { Ipv4, Ipv6, Mac } from '../../base/addresses.ts';
import { ByteWriter } from '../../base/bytes.ts';
import { pseudoHeader4, pseudoHeader6 } from '../../packet/checksum.ts';
import { ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { encodeIpv4, ipv4Header } from '../../packet/ipv4.ts';
import { encodeIpv6, ipv6Header } from '../../packet/ipv6.ts';
import { encodeNd, type NdMessage } from '../../packet/nd.ts';
import { encodeUdp, UDP_HEADER_LENGTH } from '../../packet/udp.ts';
import type { Link } from './link.ts';

/** Frames that the agent sends to a workload, with the tag that the workload expects. */
export interface Envelope {
  readonly src: Mac;
  readonly dst: Mac;
  /** 0 for no tag. */
  readonly tag: number;
}

/** The tag of a frame of this VLAN at the port (docs/design/layer2.md, step 7). */
export function tagAt({ port, switch: sw }: Link, vlan: number): number {
  if (!sw.vlanAware || !port.vlan) return vlan;
  if ('access' in port.vlan) return 0;
  return port.vlan.native === vlan ? 0 : vlan;
}

function start(envelope: Envelope, etherType: number): ByteWriter {
  const writer = new ByteWriter(512);
  const vlans = envelope.tag === 0 ? [] : [{ tpid: ETHER_TYPE.vlan, vid: envelope.tag, pcp: 0, dei: false }];
  encodeEthernet({ ethernet: { dst: envelope.dst, src: envelope.src, etherType }, vlans }, writer);
  return writer;
}

export interface UdpEnds<Address> {
  readonly src: Address;
  readonly dst: Address;
  readonly srcPort: number;
  readonly dstPort: number;
}

export function udp4Frame(envelope: Envelope, ends: UdpEnds<Ipv4>, payload: Uint8Array): Uint8Array {
  const writer = start(envelope, ETHER_TYPE.ipv4);
  const length = UDP_HEADER_LENGTH + payload.length;
  encodeIpv4(ipv4Header({ src: ends.src, dst: ends.dst, protocol: IP_PROTO.udp }), length, writer);
  encodeUdp({ ...ends, noChecksum: false }, payload, (n) => pseudoHeader4(ends.src, ends.dst, IP_PROTO.udp, n), writer);
  return writer.finish();
}

export function udp6Frame(envelope: Envelope, ends: UdpEnds<Ipv6>, payload: Uint8Array): Uint8Array {
  const writer = start(envelope, ETHER_TYPE.ipv6);
  const length = UDP_HEADER_LENGTH + payload.length;
  encodeIpv6(ipv6Header({ src: ends.src, dst: ends.dst, nextHeader: IP_PROTO.udp }), length, writer);
  encodeUdp({ ...ends, noChecksum: false }, payload, (n) => pseudoHeader6(ends.src, ends.dst, IP_PROTO.udp, n), writer);
  return writer.finish();
}

/** A neighbour discovery message; it goes with hop limit 255 (RFC 4861 §3.1). */
export function ndFrame(envelope: Envelope, src: Ipv6, dst: Ipv6, message: NdMessage): Uint8Array {
  const bytes = encodeNd(message, (n) => pseudoHeader6(src, dst, IP_PROTO.icmpv6, n));
  const writer = start(envelope, ETHER_TYPE.ipv6);
  encodeIpv6(ipv6Header({ src, dst, nextHeader: IP_PROTO.icmpv6, hopLimit: 255 }), bytes.length, writer);
  return writer.raw(bytes).finish();
}
