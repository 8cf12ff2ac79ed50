import { parseIp, parseMac } from '../../base/addresses.ts';
import type { LogicalPort } from '../../model/objects.ts';
import { type Ipv4Header, ipv4Header } from '../../packet/ipv4.ts';
import { ipv6Header } from '../../packet/ipv6.ts';
import { encodePacket, type Layer3, type Layer4, type Packet } from '../../packet/packet.ts';
import { TCP_FLAG } from '../../packet/tcp.ts';

/** Frames between ports of one switch, by their first address of a version. */
export type Ends = readonly [from: LogicalPort, to: LogicalPort];

const NO_BYTES = new Uint8Array(0);

export interface IpOptions {
  readonly version?: 4 | 6;
  /** Of the IPv4 header. */
  readonly header?: Partial<Ipv4Header>;
  readonly payload?: Uint8Array;
}

export const SYN = TCP_FLAG.syn;
export const SYN_ACK = TCP_FLAG.syn | TCP_FLAG.ack;
export const ACK = TCP_FLAG.ack;

export function tcp(
  ends: Ends,
  srcPort: number,
  dstPort: number,
  flags: number = SYN,
  options: IpOptions = {},
): Uint8Array {
  const header = {
    srcPort,
    dstPort,
    sequence: 1,
    acknowledgement: 0,
    flags,
    window: 1000,
    urgent: 0,
    options: NO_BYTES,
  };
  return ip(ends, 6, { kind: 'tcp', ...header }, options);
}

export function udp(ends: Ends, srcPort: number, dstPort: number, options: IpOptions = {}): Uint8Array {
  return ip(ends, 17, { kind: 'udp', srcPort, dstPort, noChecksum: false }, options);
}

/** `rest`: the 32 bits behind the checksum, of an echo identifier and sequence. */
export function icmp(ends: Ends, type: number, code = 0, rest = 0x10001, options: IpOptions = {}): Uint8Array {
  const isSix = options.version === 6;
  return ip(ends, isSix ? 58 : 1, { kind: isSix ? 'icmpv6' : 'icmp', type, code, rest }, options);
}

/** A payload without a layer-4 header that is read, such as that of a later fragment. */
export function bare(ends: Ends, protocol: number, options: IpOptions): Uint8Array {
  return ip(ends, protocol, undefined, options);
}

/** An IP packet without its Ethernet header, for an ICMP error to quote. */
export function quote(frame: Uint8Array): Uint8Array {
  return frame.slice(14);
}

function ip([from, to]: Ends, protocol: number, l4: Layer4 | undefined, options: IpOptions): Uint8Array {
  const version = options.version ?? 4;
  const address = (port: LogicalPort): never => {
    const found = port.addresses.map((text) => parseIp(text)!).find((one) => one.version === version);
    return found!.value as never;
  };
  const [src, dst] = [address(from), address(to)];
  const l3: Layer3 =
    version === 4
      ? { kind: 'ipv4', ...ipv4Header({ src, dst, protocol, ...options.header }) }
      : { kind: 'ipv6', ...ipv6Header({ src, dst, nextHeader: protocol }) };
  const packet: Packet = {
    ethernet: { src: parseMac(from.mac)!, dst: parseMac(to.mac)!, etherType: version === 4 ? 0x0800 : 0x86dd },
    vlans: [],
    l3,
    ...(l4 === undefined ? {} : { l4 }),
    payload: options.payload ?? NO_BYTES,
  };
  return encodePacket(packet);
}
