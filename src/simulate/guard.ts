import type { Ip } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import { type Frame, hasInnerTag } from './frame.ts';
import type { DropReason } from './outcome.ts';
import { type Ownership, ownershipOf, ownsAddress, ownsPair, ownsSingle } from './ownership.ts';

const UDP = 17;
const ICMPV6 = 58;

/** May the port send this frame? The reason if not (docs/design/layer2.md, step 3). */
export function guard(port: LogicalPort, sw: LogicalSwitch, frame: Frame): DropReason | undefined {
  const ownership = ownershipOf(port, sw);
  if (!ownership.macs.has(frame.src)) return 'spoofed-mac';
  if (hasInnerTag(frame)) return 'tagged';
  if (frame.arp) {
    const { senderMac, senderIp } = frame.arp;
    if (senderIp === 0) return 'probe';
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
  const isUdp = ip!.protocol === UDP;
  const isRequest = isUdp && ports?.src === 68 && ports.dst === 67 && ip!.dst.value === 0xffff_ffff;
  if (!ownsPair(ownership, frame.src, ip!.src) && !(ip!.src.value === 0 && isRequest)) return 'spoofed-ip';
  return isUdp && ports?.dst === 68 ? 'dhcp-server' : undefined;
}

function guardIpv6(ownership: Ownership, frame: Frame): DropReason | undefined {
  const { ip, ports, icmp, nd } = frame;
  const type = ip!.protocol === ICMPV6 ? icmp?.type : undefined;
  if (ip!.src.value === 0n && type === 135 && nd) return 'probe';
  const asksForRouter = ip!.src.value === 0n && type === 133;
  if (!ownsPair(ownership, frame.src, ip!.src) && !asksForRouter) return 'spoofed-ip';
  // Zeros: a first fragment that ends before its upper-layer header hides what it is (RFC 8200 §4.5 forbids it).
  const isHidden = ports?.src === 0 && ports.dst === 0;
  if (ip!.protocol === UDP && (ports?.dst === 546 || isHidden)) return 'dhcp-server';
  if (type === 134 || type === 137 || type === 0) return 'router';
  // Hosts ignore those with a code other than 0 (RFC 4861 §7.1), and the switch does not read them.
  if ((type === 135 || type === 136) && !nd) return 'spoofed-nd';
  if (type === 135 && nd && nd.sourceMac !== 0 && !ownership.macs.has(nd.sourceMac)) return 'spoofed-nd';
  if (type === 136) {
    if (nd && nd.targetMac !== 0 && !ownership.macs.has(nd.targetMac)) return 'spoofed-nd';
    if (!nd || !ownsAddress(ownership, { version: 6, value: nd.target } as Ip)) return 'spoofed-nd';
  }
  return undefined;
}

/** Does the workload announce itself, so that a claim becomes the active one? (docs/design/layer2.md, step 1) */
export function isAnnouncement(port: LogicalPort, sw: LogicalSwitch, frame: Frame): boolean {
  const ownership = ownershipOf(port, sw);
  if (port.portSecurity && !ownership.macs.has(frame.src)) return false;
  if (frame.etherType === 0x8035) return true;
  if (frame.arp) {
    const { op, senderIp, targetIp } = frame.arp;
    const isRequestOrReply = op === 1 || op === 2;
    return isRequestOrReply && senderIp === targetIp && ownsSingle(ownership, { version: 4, value: senderIp } as Ip);
  }
  const isAdvertisement = frame.ip?.protocol === ICMPV6 && frame.icmp?.type === 136 && frame.nd !== undefined;
  // Those that nobody asked for go to all nodes (RFC 4861 §7.2.6).
  if (!isAdvertisement || frame.ip!.dst.value !== ALL_NODES) return false;
  return ownsSingle(ownership, { version: 6, value: frame.nd!.target } as Ip);
}

const ALL_NODES = 0xff02_0000_0000_0000_0000_0000_0000_0001n;
