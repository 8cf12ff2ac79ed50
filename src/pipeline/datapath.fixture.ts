import { parseIp, parseMac } from '../base/addresses.ts';
import type { Item } from '../openflow/text/items.ts';
import { splitItems } from '../openflow/text/items.ts';
import { extractFlowKey, type FlowKey } from '../packet/flow-key.ts';

/** What of a packet is compared: its headers as Open vSwitch sees them, by the datapath's names. */
export type Headers = { readonly [field: string]: string };

export interface Delivered {
  /** An OpenFlow port, or `controller:<reason>`. */
  readonly to: string;
  readonly headers: Headers;
}

/** Open vSwitch's own number for a table-miss flow's packet-in, which is "no match" on the wire. */
const EXPLICIT_MISS = '6';

export function headersOf(bytes: Uint8Array): Headers {
  const key = extractFlowKey(bytes, 2);
  return {
    'eth.src': `${key.ethSrc}`,
    'eth.dst': `${key.ethDst}`,
    vlans: key.vlans.map((tag) => `${tag.tci & 0xfff}/${tag.tci >>> 13}`).join(' '),
    ...networkHeaders(key),
    ...transportHeaders(key),
  };
}

function networkHeaders(key: Readonly<FlowKey>): Headers {
  if (key.ethType === 0x0800)
    return {
      'ipv4.src': `${key.ipSrc}`,
      'ipv4.dst': `${key.ipDst}`,
      'ipv4.tos': `${key.ipTos}`,
      'ipv4.ttl': `${key.ipTtl}`,
    };
  if (key.ethType === 0x86dd)
    return {
      'ipv6.src': `${key.ipv6Src}`,
      'ipv6.dst': `${key.ipv6Dst}`,
      'ipv6.label': `${key.ipv6Label}`,
      'ipv6.tclass': `${key.ipTos}`,
      'ipv6.hlimit': `${key.ipTtl}`,
      'nd.target': `${key.ndTarget}`,
      'nd.sll': `${key.ndSll}`,
      'nd.tll': `${key.ndTll}`,
    };
  if (key.ethType === 0x0806)
    return {
      'arp.op': `${key.arpOp}`,
      'arp.sip': `${key.arpSpa}`,
      'arp.tip': `${key.arpTpa}`,
      'arp.sha': `${key.arpSha}`,
      'arp.tha': `${key.arpTha}`,
    };
  return {};
}

function transportHeaders(key: Readonly<FlowKey>): Headers {
  const name = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6' }[key.ipProto];
  if (!name) return {};
  const [a, b] = name.startsWith('icmp') ? ['type', 'code'] : ['src', 'dst'];
  return { [`${name}.${a}`]: `${key.tpSrc}`, [`${name}.${b}`]: `${key.tpDst}` };
}

/** Does what datapath actions say (`ovs-actions(7)`, odp syntax) to the headers of a packet. */
export function applyDatapath(
  actions: readonly Item[],
  bytes: Uint8Array,
  openflowPort: (datapath: number) => number,
): Delivered[] {
  const out: Delivered[] = [];
  run(actions, { ...headersOf(bytes) }, bytes.length, openflowPort, out);
  return out;
}

function run(
  actions: readonly Item[],
  start: { [field: string]: string },
  length: number,
  openflowPort: (datapath: number) => number,
  out: Delivered[],
): void {
  let headers = start;
  let size = length;
  for (const { key, value } of actions) {
    if (/^\d+$/.test(key)) out.push({ to: `${openflowPort(Number(key))}`, headers: { ...headers } });
    else if (key === 'set') headers = setHeaders(headers, value);
    else if (key === 'push_vlan') {
      const [, vid, pcp] = /vid=(\d+),pcp=(\d+)/.exec(value) ?? [];
      headers = { ...headers, vlans: `${vid}/${pcp}${headers.vlans === '' ? '' : ` ${headers.vlans}`}` };
      size += 4;
    } else if (key === 'pop_vlan') {
      headers = { ...headers, vlans: headers.vlans!.split(' ').slice(1).join(' ') };
      size -= 4;
    } else if (key === 'clone') run(splitItems(value), { ...headers }, size, openflowPort, out);
    else if (key === 'check_pkt_len') {
      const [, limit] = /size=(\d+)/.exec(value) ?? [];
      const branch = splitItems(value).find((item) => item.key === (size > Number(limit) ? 'gt' : 'le'));
      run(splitItems(branch!.value), { ...headers }, size, openflowPort, out);
    } else if (key === 'userspace') {
      const [, reason] = /reason=(\d+)/.exec(value) ?? [];
      out.push({ to: `controller:${reason === EXPLICIT_MISS ? 0 : reason}`, headers: { ...headers } });
    } else if (key !== 'drop') throw new Error(`datapath action ${key} is not understood`);
  }
}

/** `set(ipv4(src=…,ttl=63/255))`: a masked value changes the bits of its mask. */
export function setHeaders(headers: Headers, value: string): { [field: string]: string } {
  const out = { ...headers };
  for (const group of splitItems(value)) {
    if (/^(skb_priority|skb_mark|tunnel)$/.test(group.key)) continue;
    for (const item of splitItems(group.value)) {
      const name = `${group.key}.${item.key}`;
      const [text, mask] = item.value.split('/');
      const number = numberOf(text!);
      if (mask === undefined) out[name] = `${number}`;
      else {
        const bits = numberOf(mask);
        out[name] = `${(BigInt(headers[name] ?? 0) & ~bits) | (number & bits)}`;
      }
    }
  }
  return out;
}

function numberOf(text: string): bigint {
  const mac = parseMac(text);
  if (mac !== undefined) return BigInt(mac);
  const ip = parseIp(text);
  return ip ? BigInt(ip.value) : BigInt(text);
}
