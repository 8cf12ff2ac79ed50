import { formatIp, type Ip, parseIp } from '../base/addresses.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { extractFlowKey } from '../packet/flow-key.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import type { Frame } from './frame.ts';

/**
 * One direction of a connection as its packets look. ICMP and ICMPv6 have their type as `srcPort`, the code as `dstPort`, and are told
 * apart by `id`, as in Open vSwitch; protocols without ports have zeros.
 */
export interface Tuple {
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly src: Ip;
  readonly dst: Ip;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly id: number;
}

/** Queries and their answers. */
const ICMP_ANSWERS: { readonly [protocol: number]: { readonly [query: number]: number } } = {
  [IP_PROTO.icmp]: { 8: 0, 13: 14, 15: 16 },
  [IP_PROTO.icmpv6]: { 128: 129 },
};

export function isIcmp(protocol: number): boolean {
  return protocol === IP_PROTO.icmp || protocol === IP_PROTO.icmpv6;
}

/** May an ICMP message of this type begin a connection? */
export function isQuery(protocol: number, type: number): boolean {
  return ICMP_ANSWERS[protocol]?.[type] !== undefined;
}

/** Absent for what has none: other than IP, and later fragments, which have no ports to know them by. */
export function tupleOf({ ip, ports, icmp }: Frame): Tuple | undefined {
  if (!ip || ip.fragment === 'later') return undefined;
  const { version, protocol, src, dst } = ip;
  return {
    ...{ version, protocol, src, dst },
    srcPort: ports?.src ?? icmp?.type ?? 0,
    dstPort: ports?.dst ?? icmp?.code ?? 0,
    id: icmp?.id ?? 0,
  };
}

/** What answers to it look like. */
export function turned(t: Tuple): Tuple {
  if (!isIcmp(t.protocol)) return { ...t, src: t.dst, dst: t.src, srcPort: t.dstPort, dstPort: t.srcPort };
  const pairs = ICMP_ANSWERS[t.protocol]!;
  const query = Object.keys(pairs).find((type) => pairs[Number(type)] === t.srcPort);
  return { ...t, src: t.dst, dst: t.src, srcPort: pairs[t.srcPort] ?? Number(query ?? t.srcPort) };
}

export function sameIp(a: Ip, b: Ip): boolean {
  return a.version === b.version && a.value === b.value;
}

export function keyOfTuple(t: Tuple): string {
  return `${t.protocol} ${formatIp(t.src)} ${t.srcPort} ${formatIp(t.dst)} ${t.dstPort} ${t.id}`;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6', 132: 'sctp' };

export function protocolName(protocol: number): string {
  return PROTOCOLS[protocol] ?? `protocol ${protocol}`;
}

/** As a person writes it: `tcp 10.0.0.5:49152 → 10.0.1.5:80`. */
export function formatTuple(t: Tuple): string {
  const end = (ip: Ip, port: number): string =>
    isIcmp(t.protocol) ? formatIp(ip) : ip.version === 4 ? `${formatIp(ip)}:${port}` : `[${formatIp(ip)}]:${port}`;
  return `${protocolName(t.protocol)} ${end(t.src, t.srcPort)} → ${end(t.dst, t.dstPort)}`;
}

/** As `formatTuple`, with all that ICMP has besides: `icmp 10.0.0.5 → 10.0.1.5 type 8 code 0 id 7`. */
export function writeTuple(t: Tuple): string {
  return isIcmp(t.protocol) ? `${formatTuple(t)} type ${t.srcPort} code ${t.dstPort} id ${t.id}` : formatTuple(t);
}

/** Of `writeTuple`'s text. Undefined for what is none. */
export function parseTuple(text: string): Tuple | undefined {
  const [, name, from, to, type, code, id] =
    /^(protocol \d{1,3}|[a-z]\w*) (\S+) (?:→|->) (\S+?)(?: type (\d+) code (\d+) id (\d+))?$/.exec(text) ?? [];
  if (name === undefined) return undefined;
  const protocol = name.startsWith('protocol ')
    ? Number(name.slice('protocol '.length))
    : Number(Object.keys(PROTOCOLS).find((number) => PROTOCOLS[Number(number)] === name) ?? Number.NaN);
  const hasPorts = type === undefined;
  const [src, dst] = [from!, to!].map((end) => parseEnd(end, hasPorts));
  if (!src || !dst || src.ip.version !== dst.ip.version || !(protocol <= 255) || isIcmp(protocol) === hasPorts)
    return undefined;
  const [srcPort, dstPort, number] = hasPorts ? [src.port, dst.port, 0] : [type, code, id].map(Number);
  if (![srcPort, dstPort, number].every((value) => value! <= 0xffff)) return undefined;
  return {
    ...{ version: src.ip.version, protocol, src: src.ip, dst: dst.ip },
    ...{ srcPort: srcPort!, dstPort: dstPort!, id: number! },
  };
}

function parseEnd(text: string, hasPort: boolean): { readonly ip: Ip; readonly port: number } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const ip = parseIp(hasPort ? (bracketed ?? plain ?? '') : text);
  return ip && { ip, port: Number(port ?? 0) };
}

/** The tuple of a packet that an ICMP error quotes, from its IP header on: cut short, eight bytes behind that header at least. */
export function quotedTuple(quoted: Uint8Array, version: 4 | 6): Tuple | undefined {
  const headerLength = version === 6 ? 40 : ((quoted[0] ?? 0) & 15) * 4;
  if (quoted.length < headerLength + 8) return undefined;
  // Lengths are mended so that the headers read as those of a whole packet; a TCP header may be there in part.
  const frame = new Uint8Array(14 + Math.max(quoted.length, headerLength + 20));
  const view = new DataView(frame.buffer);
  view.setUint16(12, version === 6 ? ETHER_TYPE.ipv6 : ETHER_TYPE.ipv4);
  frame.set(quoted, 14);
  view.setUint16(14 + (version === 6 ? 4 : 2), frame.length - 14 - (version === 6 ? 40 : 0));
  if (quoted[version === 6 ? 6 : 9] === IP_PROTO.tcp) frame[14 + headerLength + 12] = 0x50;
  const key = extractFlowKey(frame);
  if (key.ipFrag & 2) return undefined;
  return {
    version,
    protocol: key.ipProto,
    src: version === 6 ? { version, value: key.ipv6Src } : { version, value: key.ipSrc },
    dst: version === 6 ? { version, value: key.ipv6Dst } : { version, value: key.ipDst },
    srcPort: key.tpSrc,
    dstPort: key.tpDst,
    id: isIcmp(key.ipProto) ? view.getUint16(14 + headerLength + 4) : 0,
  };
}
