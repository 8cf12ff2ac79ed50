import { ByteWriter } from '../../base/bytes.ts';
import { DecodeError } from '../../base/errors.ts';
import { decodeEthernet, ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import { readerOf } from '../../packet/input.ts';
import { decodeIpv4, decodeIpv4Options, encodeIpv4, encodeIpv4Options, IPV4_HEADER_LENGTH } from '../../packet/ipv4.ts';

/** Of the type of an option: it stands in every fragment. */
const COPIED = 0x80;
/** In bytes. Of those that are not the last, Open vSwitch's userspace datapath takes none that is smaller (conntrack-link.ts), and cannot be told of less. */
export const SMALLEST_FRAGMENT = 400;
/** Half of it is a fragment, whatever the options. */
const SMALLEST = 2 * SMALLEST_FRAGMENT + 60;

/**
 * The frame's IPv4 packet in as many as fit `mtu` (RFC 791 §3.2), or 860 bytes where that is less, of about one size: the frame itself where it
 * fits. Undefined for what may not be cut: DF is set, or it is no IPv4; and for what cannot be read.
 */
export function cutIpv4(frame: Uint8Array, mtu: number): Uint8Array[] | undefined {
  try {
    const reader = readerOf(frame);
    const start = decodeEthernet(reader);
    if (start.ethernet.etherType !== ETHER_TYPE.ipv4) return undefined;
    const { header, body } = decodeIpv4(reader);
    if (header.dontFragment) return undefined;
    const data = body.rest();
    const largest = Math.max(mtu, SMALLEST);
    if (IPV4_HEADER_LENGTH + header.options.length + data.length <= largest) return [frame];
    const copied = encodeIpv4Options(decodeIpv4Options(header.options).filter(({ type }) => (type & COPIED) !== 0));
    const room = largest - IPV4_HEADER_LENGTH - header.options.length;
    const count = Math.ceil(data.length / (room - (room % 8)));
    // All but the last are of whole eights.
    const size = 8 * Math.ceil(data.length / count / 8);
    const frames: Uint8Array[] = [];
    for (let at = 0; at < data.length; ) {
      const options = at === 0 ? header.options : copied;
      const part = data.subarray(at, at + size);
      const isLast = at + part.length === data.length;
      const [moreFragments, fragmentOffset] = [header.moreFragments || !isLast, header.fragmentOffset + at];
      const writer = new ByteWriter(frame.length);
      encodeEthernet(start, writer);
      encodeIpv4({ ...header, options, moreFragments, fragmentOffset }, part.length, writer);
      frames.push(writer.raw(part).finish());
      at += part.length;
    }
    return frames;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
