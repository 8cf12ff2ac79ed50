import type { FieldName } from '../openflow/fields.ts';
import { extractFlowKey, type FlowTag } from '../packet/flow-key.ts';
import type { Tracked } from './conntrack.ts';
import { KEY_WORDS, placeOf, readBits, writeBits, writeField } from './layout.ts';
import { rewriteHeader } from './rewrite.ts';

/** What a packet brings with it besides its bytes; what is absent is zero. */
export interface PacketInput {
  readonly bytes: Uint8Array;
  /** OpenFlow port number (32 bit). */
  readonly inPort: number;
  /** Of a packet that came out of a tunnel: key and outer addresses (IPv4 as number, IPv6 as bigint). */
  readonly tunnel?: Tunnel;
  /** Metadata to begin with, by field: registers, ct_state, pkt_mark and the like. */
  readonly fields?: { readonly [F in FieldName]?: number | bigint };
}

export interface Tunnel {
  readonly id: bigint;
  readonly src: number | bigint;
  readonly dst: number | bigint;
}

const ETH_SRC = placeOf('eth_src').word;
const ETH_DST = placeOf('eth_dst').word;
const ETH_TYPE = placeOf('eth_type').word;
const VLAN_TCI = placeOf('vlan_tci').word;
const MPLS = placeOf('mpls_label').word;
const IP_SRC = placeOf('ip_src').word;
const IP_DST = placeOf('ip_dst').word;
const IPV6_SRC = placeOf('ipv6_src');
const IPV6_DST = placeOf('ipv6_dst');
const IPV6_LABEL = placeOf('ipv6_label').word;
const IP_PROTO = placeOf('ip_proto').word;
const IP_TOS = placeOf('nw_tos').word;
const IP_TTL = placeOf('ip_ttl').word;
const IP_FRAG = placeOf('ip_frag').word;
const TP_SRC = placeOf('tcp_src').word;
const TP_DST = placeOf('tcp_dst').word;
const TCP_FLAGS = placeOf('tcp_flags').word;
const ARP_OP = placeOf('arp_op').word;
const ARP_SPA = placeOf('arp_spa').word;
const ARP_TPA = placeOf('arp_tpa').word;
const ARP_SHA = placeOf('arp_sha');
const ARP_THA = placeOf('arp_tha');
const ND_TARGET = placeOf('nd_target');
const ND_SLL = placeOf('nd_sll');
const ND_TLL = placeOf('nd_tll');
const ND_RESERVED = placeOf('nd_reserved').word;
const ND_OPTIONS_TYPE = placeOf('nd_options_type').word;
const IN_PORT = placeOf('in_port').word;

/** Where these change, the datapath forgets which connection it found (`packet_set_ipv4_addr` and the like). */
const ENDS: ReadonlySet<FieldName> = new Set<FieldName>([
  ...(['ip_src', 'ip_dst', 'ipv6_src', 'ipv6_dst', 'tcp_src', 'tcp_dst', 'udp_src', 'udp_dst'] as const),
  ...(['sctp_src', 'sctp_dst', 'icmp_type', 'icmp_code', 'icmpv6_type', 'icmpv6_code'] as const),
]);
/** Shorter frames have no header to change. */
const ETHERNET_LENGTH = 14;
const VLAN_PRESENT = 0x1000;
const VLAN_TPID = 0x8100;
/** Open vSwitch knows no more tags than this: a further one pushes the innermost out of the packet. */
const MAX_TAGS = 2;

/** A packet on its way through the tables: its bytes, and the key that flows match and actions change. */
export class PacketState {
  readonly key = new Uint32Array(KEY_WORDS);
  bytes: Uint8Array;
  /** What connection tracking said last. The datapath keeps it, also where the fields of the key were cleared. */
  tracked: Tracked | undefined;
  /** Whether `bytes` is ours to write to. */
  #owned = false;
  /** Tags of the key, outermost first; the first one is `vlan_tci`. */
  #tags: readonly FlowTag[] = [];

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  static from(input: PacketInput): PacketState {
    const packet = new PacketState(input.bytes);
    const { key } = packet;
    packet.parse();
    key[IN_PORT] = input.inPort;
    if (input.tunnel) setTunnel(key, input.tunnel);
    for (const name in input.fields) {
      const value = input.fields[name as FieldName];
      if (value !== undefined) writeField(key, placeOf(name as FieldName), value);
    }
    return packet;
  }

  /** Reads the headers anew, as the datapath does with a packet that begins or comes round again. */
  parse(): void {
    const { key } = this;
    const fields = extractFlowKey(this.bytes);
    this.#tags = fields.vlans;
    key[ETH_SRC] = Math.floor(fields.ethSrc / 0x1_0000_0000);
    key[ETH_SRC + 1] = fields.ethSrc % 0x1_0000_0000;
    key[ETH_DST] = Math.floor(fields.ethDst / 0x1_0000_0000);
    key[ETH_DST + 1] = fields.ethDst % 0x1_0000_0000;
    key[ETH_TYPE] = fields.ethType;
    key[VLAN_TCI] = fields.vlans[0]?.tci ?? 0;
    key[MPLS] = fields.mpls[0] ?? 0;
    key[IP_SRC] = fields.ipSrc;
    key[IP_DST] = fields.ipDst;
    writeField(key, IPV6_SRC, fields.ipv6Src);
    writeField(key, IPV6_DST, fields.ipv6Dst);
    key[IPV6_LABEL] = fields.ipv6Label;
    key[IP_PROTO] = fields.ipProto;
    key[IP_TOS] = fields.ipTos;
    key[IP_TTL] = fields.ipTtl;
    key[IP_FRAG] = fields.ipFrag;
    key[TP_SRC] = fields.tpSrc;
    key[TP_DST] = fields.tpDst;
    key[TCP_FLAGS] = fields.tcpFlags;
    key[ARP_OP] = fields.arpOp;
    key[ARP_SPA] = fields.arpSpa;
    key[ARP_TPA] = fields.arpTpa;
    writeField(key, ARP_SHA, fields.arpSha);
    writeField(key, ARP_THA, fields.arpTha);
    writeField(key, ND_TARGET, fields.ndTarget);
    writeField(key, ND_SLL, fields.ndSll);
    writeField(key, ND_TLL, fields.ndTll);
    key[ND_RESERVED] = fields.ndReserved;
    key[ND_OPTIONS_TYPE] = fields.ndOptionsType;
  }

  /** An independent copy; the bytes are shared until one of the two writes. */
  clone(): PacketState {
    const copy = new PacketState(this.bytes);
    copy.key.set(this.key);
    copy.#tags = this.#tags;
    copy.tracked = this.tracked;
    this.#owned = false;
    return copy;
  }

  /** The bytes as they are now, for keeping: later writes go to a copy. */
  share(): Uint8Array {
    this.#owned = false;
    return this.bytes;
  }

  /** To be called after a header field of the key was written: puts it into the bytes, checksums included. */
  headerChanged(name: FieldName): void {
    if (this.bytes.length < ETHERNET_LENGTH) return;
    if (this.tracked?.known && ENDS.has(name)) this.tracked = { ...this.tracked, known: undefined };
    if (name === 'vlan_tci' || name === 'vlan_vid' || name === 'vlan_pcp') this.#tagChanged(name);
    else rewriteHeader(this.writable(), this.key, name, this.#networkOffset());
  }

  /** Past the tags that were read, and past the SNAP header of an 802.3 frame. */
  #networkOffset(): number {
    const type = 12 + 4 * this.#tags.length;
    const snap = this.bytes[type]! * 256 + this.bytes[type + 1]! < 0x600;
    return type + (snap ? 10 : 2);
  }

  writable(): Uint8Array {
    if (!this.#owned) {
      this.bytes = this.bytes.slice();
      this.#owned = true;
    }
    return this.bytes;
  }

  get tagged(): boolean {
    return this.#tags.length > 0;
  }

  /** A new outermost tag, with VLAN id and priority 0, as Open vSwitch pushes it. */
  pushVlan(tpid: number): void {
    if (this.bytes.length < ETHERNET_LENGTH) return;
    this.#insertTag({ tpid, tci: VLAN_PRESENT });
    this.key[VLAN_TCI] = VLAN_PRESENT;
  }

  popVlan(): void {
    if (this.#tags.length === 0) return;
    this.#removeTag(0);
    this.key[VLAN_TCI] = this.#tags[0]?.tci ?? 0;
  }

  #removeTag(index: number): void {
    const { bytes } = this;
    const at = 12 + 4 * index;
    const shorter = new Uint8Array(bytes.length - 4);
    shorter.set(bytes.subarray(0, at));
    shorter.set(bytes.subarray(at + 4), at);
    this.bytes = shorter;
    this.#owned = true;
    this.#tags = this.#tags.toSpliced(index, 1);
  }

  #insertTag(tag: FlowTag): void {
    if (this.#tags.length === MAX_TAGS) this.#removeTag(MAX_TAGS - 1);
    const { bytes } = this;
    const longer = new Uint8Array(bytes.length + 4);
    longer.set(bytes.subarray(0, 12));
    longer.set([tag.tpid >>> 8, tag.tpid & 0xff, (tag.tci >>> 8) & 0xef, tag.tci & 0xff], 12);
    longer.set(bytes.subarray(12), 16);
    this.bytes = longer;
    this.#owned = true;
    this.#tags = [tag, ...this.#tags];
  }

  /** Without its "present" bit there is no tag, and none behind it either; setting a priority makes one. */
  #tagChanged(name: FieldName): void {
    const { key } = this;
    if (name === 'vlan_pcp') key[VLAN_TCI]! |= VLAN_PRESENT;
    const tci = key[VLAN_TCI]!;
    if (!(tci & VLAN_PRESENT)) {
      while (this.#tags.length > 0) this.#removeTag(0);
      return;
    }
    if (this.#tags.length === 0) this.#insertTag({ tpid: VLAN_TPID, tci });
    else {
      const bytes = this.writable();
      bytes[14] = (tci >>> 8) & 0xef;
      bytes[15] = tci & 0xff;
      this.#tags = [{ tpid: this.#tags[0]!.tpid, tci }, ...this.#tags.slice(1)];
    }
  }
}

export function setTunnel(key: Uint32Array, tunnel: Tunnel): void {
  writeField(key, placeOf('tun_id'), tunnel.id);
  if (typeof tunnel.src === 'bigint') writeField(key, placeOf('tun_ipv6_src'), tunnel.src);
  else writeField(key, placeOf('tun_src'), tunnel.src);
  if (typeof tunnel.dst === 'bigint') writeField(key, placeOf('tun_ipv6_dst'), tunnel.dst);
  else writeField(key, placeOf('tun_dst'), tunnel.dst);
}

export function readPort(key: Uint32Array): number {
  return readBits(key, placeOf('in_port'), 0, 32);
}

export function writePort(key: Uint32Array, port: number): void {
  writeBits(key, placeOf('in_port'), 0, 32, port);
}
