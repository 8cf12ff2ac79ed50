import { formatIp, type Ip } from '../base/addresses.ts';
import { ARP_OP } from '../packet/arp.ts';
import type { Frame } from './frame.ts';
import { formatTuple, isIcmp, protocolName, tupleOf } from './tuple.ts';

/**
 * What a frame carries, as a person writes it: `tcp 10.0.0.5:49152 → 10.0.1.5:80`, `icmp 10.0.0.5 → 10.0.1.5 type 8 code 0`,
 * `udp 10.0.0.5 → 10.0.1.5, a later fragment`, `arp request 10.0.0.5 → 10.0.0.1`, `type 0x88cc`.
 */
export function formatFrame(frame: Frame): string {
  const { arp, ip, icmp, etherType } = frame;
  const tuple = tupleOf(frame);
  if (tuple) {
    const text = formatTuple(tuple);
    return icmp && isIcmp(tuple.protocol) ? `${text} type ${icmp.type} code ${icmp.code}` : text;
  }
  if (ip) return `${protocolName(ip.protocol)} ${formatIp(ip.src)} → ${formatIp(ip.dst)}, a later fragment`;
  if (arp) return `arp ${operation(arp.op)} ${arpAddress(arp.senderIp)} → ${arpAddress(arp.targetIp)}`;
  return `type 0x${etherType.toString(16).padStart(4, '0')}`;
}

function operation(op: number): string {
  if (op === ARP_OP.request) return 'request';
  return op === ARP_OP.reply ? 'reply' : `operation ${op}`;
}

function arpAddress(value: number): string {
  return formatIp({ version: 4, value } as Ip);
}
