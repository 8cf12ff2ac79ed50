import type { Mac } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { type Input, readerOf } from './input.ts';

/** EtherTypes (IEEE 802 numbers, IANA registry) that some part of Weft names. */
export const ETHER_TYPE = {
  ipv4: 0x0800,
  arp: 0x0806,
  rarp: 0x8035,
  /** 802.1Q customer tag. */
  vlan: 0x8100,
  ipv6: 0x86dd,
  mpls: 0x8847,
  mplsMulticast: 0x8848,
  /** 802.1ad service tag, the outer tag of QinQ. */
  serviceVlan: 0x88a8,
  lldp: 0x88cc,
} as const;

/** Smaller values in the type field are the length of an 802.3 frame (IEEE 802.3 §3.2.6). */
export const ETHER_TYPE_MIN = 0x0600;

/** Outermost first. `dei` is the drop eligible indicator, in 802.1Q-1998 the CFI. */
export interface VlanTag {
  readonly tpid: number;
  readonly vid: number;
  readonly pcp: number;
  readonly dei: boolean;
}

export interface EthernetHeader {
  readonly dst: Mac;
  readonly src: Mac;
  /** What follows the tags; below `ETHER_TYPE_MIN` the length of an 802.3 frame. */
  readonly etherType: number;
}

export interface EthernetStart {
  readonly ethernet: EthernetHeader;
  readonly vlans: readonly VlanTag[];
}

/** No sender nests deeper; a longer chain stays in the payload, with the type of the next tag as `etherType`. */
const VLAN_TAGS_MAX = 8;

export function isVlanType(etherType: number): boolean {
  return etherType === ETHER_TYPE.vlan || etherType === ETHER_TYPE.serviceVlan;
}

/**
 * Reads the header and all tags; the reader is left at the payload. IEEE 802.3 §3.2, 802.1Q §9.
 *
 *      0                 6                12       14
 *     +-----------------+-----------------+========+========+--------+---- - -
 *     |   destination   |     source      |  TPID  |  TCI   |  type  | payload
 *     +-----------------+-----------------+========+========+--------+---- - -
 *                                          0 to n tags
 *      15 13  12  11                    0
 *     +-----+----+-----------------------+
 *     | PCP | DEI|          VID          |  TCI
 *     +-----+----+-----------------------+
 */
export function decodeEthernet(input: Input): EthernetStart {
  const reader = readerOf(input);
  const dst = reader.u48('ethernet.dst') as Mac;
  const src = reader.u48('ethernet.src') as Mac;
  let etherType = reader.u16('ethernet.type');
  const vlans: VlanTag[] = [];
  while (isVlanType(etherType) && vlans.length < VLAN_TAGS_MAX) {
    const tci = reader.u16('vlan.tci');
    vlans.push({ tpid: etherType, vid: tci & 0xfff, pcp: tci >> 13, dei: (tci & 0x1000) !== 0 });
    etherType = reader.u16('vlan.type');
  }
  return { ethernet: { dst, src, etherType }, vlans };
}

/** Returns the bytes written (a view that lives until the writer is written to again). */
export function encodeEthernet(start: EthernetStart, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  writer.u48(start.ethernet.dst).u48(start.ethernet.src);
  for (const tag of start.vlans) writer.u16(tag.tpid).u16((tag.pcp << 13) | (tag.dei ? 0x1000 : 0) | tag.vid);
  writer.u16(start.ethernet.etherType);
  return writer.view(from);
}
