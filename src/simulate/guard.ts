import { BROADCAST_MAC, type Ip } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import type { Frame } from './frame.ts';
import type { DropReason } from './outcome.ts';
import { type Ownership, ownershipOf, ownsAddress, ownsPair } from './ownership.ts';

const UDP = 17;
const ICMPV6 = 58;

/** May the port send this frame? The reason if not (docs/design/layer2.md, step 3). */
export function guard(port: LogicalPort, sw: LogicalSwitch, frame: Frame): DropReason | undefined {
  const ownership = ownershipOf(port, sw);
  if (!ownership.macs.has(frame.src)) return 'spoofed-mac';
  if (frame.arp) {
    const { senderMac, senderIp } = frame.arp;
    if (senderIp === 0 && senderMac === frame.src) return 'probe';
    return senderMac === frame.src && ownsPair(ownership, senderMac, { version: 4, value: senderIp } as Ip)
      ? undefined
      : 'spoofed-arp';
  }
  if (frame.ip?.version === 4) return guardIpv4(ownership, frame);
  if (frame.ip?.version === 6) return guardIpv6(ownership, frame);
  return undefined;
}

function guardIpv4(ownership: Ownership, frame: Frame): DropReason | undefined {
  const { ip, ports } = frame;
  if (ip!.protocol === UDP && ports?.src === 67 && ports.dst === 68) return 'dhcp-server';
  if (ip!.src.value === 0) {
    const isRequest = ip!.protocol === UDP && ports?.src === 68 && ports.dst === 67 && ip!.dst.value === 0xffff_ffff;
    return isRequest ? undefined : 'spoofed-ip';
  }
  return ownsPair(ownership, frame.src, ip!.src) ? undefined : 'spoofed-ip';
}

function guardIpv6(ownership: Ownership, frame: Frame): DropReason | undefined {
  const { ip, ports, icmp, nd } = frame;
  if (ip!.protocol === UDP && ports?.src === 547 && ports.dst === 546) return 'dhcp-server';
  const type = ip!.protocol === ICMPV6 ? icmp?.type : undefined;
  if (type === 134 || type === 137) return 'router';
  if (ip!.src.value === 0n) return type === 133 ? undefined : type === 135 ? 'probe' : 'spoofed-ip';
  if (!ownsPair(ownership, frame.src, ip!.src)) return 'spoofed-ip';
  if (type === 135 && nd && nd.sourceMac !== 0 && !ownership.macs.has(nd.sourceMac)) return 'spoofed-nd';
  if (type === 136) {
    if (nd && nd.targetMac !== 0 && !ownership.macs.has(nd.targetMac)) return 'spoofed-nd';
    if (!nd || !ownsAddress(ownership, { version: 6, value: nd.target } as Ip)) return 'spoofed-nd';
  }
  return undefined;
}

/** Does the workload announce itself, so that a claim becomes the active one? */
export function isAnnouncement(port: LogicalPort, sw: LogicalSwitch, frame: Frame): boolean {
  if (frame.etherType === 0x8035) return true;
  if (frame.arp) return frame.arp.senderIp === frame.arp.targetIp && frame.arp.senderIp !== 0;
  if (frame.ip?.protocol !== ICMPV6 || frame.icmp?.type !== 136 || !frame.nd || frame.dst === BROADCAST_MAC)
    return false;
  // Unsolicited ones go to all nodes (RFC 4861 §7.2.6).
  return (
    frame.ip.dst.value === ALL_NODES && ownsAddress(ownershipOf(port, sw), { version: 6, value: frame.nd.target } as Ip)
  );
}

const ALL_NODES = 0xff02_0000_0000_0000_0000_0000_0000_0001n;
