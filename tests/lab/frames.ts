import { parseIp, parseIpv4, parseIpv6, parseMac } from '../../src/base/addresses.ts';
import type { VlanTag } from '../../src/packet/ethernet.ts';
import { ipv4Header } from '../../src/packet/ipv4.ts';
import { ipv6Header } from '../../src/packet/ipv6.ts';
import type { NdMessage } from '../../src/packet/nd.ts';
import { encodePacket, type Layer3, type Layer4 } from '../../src/packet/packet.ts';

/** Whole frames from addresses as text, and a mark by which a capture knows them again. */

export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
export const ALL_NODES_MAC = '33:33:00:00:00:01';
export const NO_MAC = '00:00:00:00:00:00';

export interface Ends {
  readonly src: string;
  readonly dst: string;
  /** Outermost first: `[0x8100, 7]`. */
  readonly tags?: readonly (readonly [tpid: number, vid: number])[];
  /** Of IPv4 packets; 64 when not given. */
  readonly ttl?: number;
}

const MARK = new TextEncoder().encode('weft-mark:');
/** Without its checksum sequence; Ethernet cards pad to this. */
const SHORTEST = 60;

function whole(
  ends: Ends,
  etherType: number,
  l3: Layer3,
  l4: Layer4 | undefined,
  payload: Uint8Array = new Uint8Array(0),
) {
  const vlans = (ends.tags ?? []).map(([tpid, vid]): VlanTag => ({ tpid, vid, pcp: 0, dei: false }));
  const ethernet = { src: parseMac(ends.src)!, dst: parseMac(ends.dst)!, etherType };
  return encodePacket({ ethernet, vlans, l3, ...(l4 ? { l4 } : {}), payload });
}

export function arp(
  ends: Ends,
  op: number,
  sender: readonly [mac: string, ip: string],
  target: readonly [string, string],
) {
  const [sha, spa] = [parseMac(sender[0])!, parseIpv4(sender[1])!];
  const [tha, tpa] = [parseMac(target[0])!, parseIpv4(target[1])!];
  return whole(ends, 0x0806, { kind: 'arp', op, sha, spa, tha, tpa }, undefined);
}

/** Of either family: the addresses say which. */
export function udp(
  ends: Ends,
  addresses: readonly [src: string, dst: string],
  ports: readonly [src: number, dst: number],
  payload: Uint8Array = new Uint8Array(16),
): Uint8Array {
  const [from, to] = [parseIp(addresses[0])!, parseIp(addresses[1])!];
  const l4 = { kind: 'udp', srcPort: ports[0], dstPort: ports[1], noChecksum: from.version === 4 } as const;
  if (from.version === 4 && to.version === 4)
    return whole(
      ends,
      0x0800,
      { kind: 'ipv4', ...ipv4Header({ src: from.value, dst: to.value, protocol: 17, ttl: ends.ttl ?? 64 }) },
      l4,
      payload,
    );
  if (from.version === 6 && to.version === 6)
    return whole(
      ends,
      0x86dd,
      { kind: 'ipv6', ...ipv6Header({ src: from.value, dst: to.value, nextHeader: 17 }) },
      l4,
      payload,
    );
  throw new TypeError('addresses of two families');
}

/** Begins a TCP connection, over IPv4. */
export function syn(
  ends: Ends,
  addresses: readonly [src: string, dst: string],
  ports: readonly [src: number, dst: number],
): Uint8Array {
  const header = ipv4Header({ src: parseIpv4(addresses[0])!, dst: parseIpv4(addresses[1])!, protocol: 6 });
  const numbers = { sequence: 1, acknowledgement: 0, window: 1000, urgent: 0, options: new Uint8Array(0) };
  const l4 = { kind: 'tcp', srcPort: ports[0], dstPort: ports[1], flags: 2, ...numbers } as const;
  return whole(ends, 0x0800, { kind: 'ipv4', ...header }, l4);
}

/** GRE with a key (RFC 2890) around an Ethernet frame. */
export function gre(
  ends: Ends,
  addresses: readonly [src: string, dst: string],
  key: number,
  inner: Uint8Array,
): Uint8Array {
  const header = ipv4Header({ src: parseIpv4(addresses[0])!, dst: parseIpv4(addresses[1])!, protocol: 47 });
  const body = new Uint8Array(8 + inner.length);
  const view = new DataView(body.buffer);
  view.setUint16(0, 0x2000);
  view.setUint16(2, 0x6558);
  view.setUint32(4, key);
  body.set(inner, 8);
  return whole(ends, 0x0800, { kind: 'ipv4', ...header }, undefined, body);
}

/** The eight bytes of Geneve (RFC 8926 §3.4) or VXLAN (RFC 7348 §5) before the frame that they carry. */
export function tunnelPayload(encap: 'geneve' | 'vxlan', key: number, inner: Uint8Array): Uint8Array {
  const body = new Uint8Array(8 + inner.length);
  const view = new DataView(body.buffer);
  view.setUint32(0, encap === 'geneve' ? 0x0000_6558 : 0x0800_0000);
  view.setUint32(4, key * 256);
  body.set(inner, 8);
  return body;
}

/** The first of several fragments, filled with options so that the header of `protocol` is only in the next. */
export function hidden6(ends: Ends, addresses: readonly [src: string, dst: string], protocol: number): Uint8Array {
  const header = ipv6Header({
    src: parseIpv6(addresses[0])!,
    dst: parseIpv6(addresses[1])!,
    nextHeader: protocol,
    extensions: [
      { kind: 'fragment', offset: 0, more: true, id: 7 },
      { kind: 'destination', data: Uint8Array.of(1, 4, 0, 0, 0, 0) },
    ],
  });
  return whole(ends, 0x86dd, { kind: 'ipv6', ...header }, undefined);
}

/** An IPv6 packet without extension headers as fragments of so many bytes and less (a multiple of 8), in their order. */
export function fragments6(frame: Uint8Array, id: number, bytes = 1240): Uint8Array[] {
  const headers = 14 + 40;
  const payload = frame.subarray(headers);
  return Array.from({ length: Math.ceil(payload.length / bytes) }, (_, n) => {
    const part = payload.subarray(n * bytes, (n + 1) * bytes);
    const out = new Uint8Array(headers + 8 + part.length);
    out.set(frame.subarray(0, headers));
    out.set(part, headers + 8);
    const view = new DataView(out.buffer);
    view.setUint16(18, 8 + part.length);
    view.setUint8(20, 44);
    view.setUint8(headers, frame[20]!);
    view.setUint16(headers + 2, (n * bytes) | ((n + 1) * bytes < payload.length ? 1 : 0));
    view.setUint32(headers + 4, id);
    return out;
  });
}

export function nd(ends: Ends, addresses: readonly [src: string, dst: string], message: NdMessage): Uint8Array {
  const header = ipv6Header({
    src: parseIpv6(addresses[0])!,
    dst: parseIpv6(addresses[1])!,
    nextHeader: 58,
    hopLimit: 255,
  });
  return whole(ends, 0x86dd, { kind: 'ipv6', ...header }, { kind: 'nd', message });
}

/** The frame with a number behind what its headers account for: it travels along, and nobody reads it but us. */
export function marked(frame: Uint8Array, number: number): Uint8Array {
  const at = Math.max(frame.length, SHORTEST);
  const out = new Uint8Array(at + MARK.length + 2);
  out.set(frame);
  out.set(MARK, at);
  new DataView(out.buffer).setUint16(at + MARK.length, number);
  return out;
}

export function markOf(frame: Uint8Array): number | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
  const at = bytes.lastIndexOf(MARK);
  return at < 0 || at + MARK.length + 2 > bytes.length ? undefined : bytes.readUInt16BE(at + MARK.length);
}

/** As QEMU sends it for a guest that has moved (RFC 903). */
export function rarp(mac: string): Uint8Array {
  const own = parseMac(mac)!;
  const nowhere = parseIpv4('0.0.0.0')!;
  const l3 = { kind: 'arp', op: 3, sha: own, spa: nowhere, tha: own, tpa: nowhere } as const;
  return whole({ src: mac, dst: BROADCAST }, 0x8035, l3, undefined, new Uint8Array(18));
}
