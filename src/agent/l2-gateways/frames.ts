import { BROADCAST_MAC, type Ipv4, type Mac, parseIpv4, parseMac } from '../../base/addresses.ts';
import type { L2Gateway, LogicalPort, LogicalSwitch } from '../../model/objects.ts';
import { ARP_OP, encodeArp } from '../../packet/arp.ts';
import { attachmentMac, encodeHello, HELLO_ETHER_TYPE, helloGroup } from '../../packet/attachment-hello.ts';
import { ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import type { Scope } from '../scope.ts';

/** What an agent sends out by an attachment of an L2 gateway (docs/design/l2-gateways.md, §2 and §3). */

const SHORTEST = 60;
const NOBODY = 0 as Mac & Ipv4;

function frame(src: Mac, dst: Mac, etherType: number, payload: Uint8Array, vlan = 0): Uint8Array {
  const vlans = vlan === 0 ? [] : [{ tpid: ETHER_TYPE.vlan, vid: vlan, pcp: 0, dei: false }];
  const head = encodeEthernet({ ethernet: { src, dst, etherType }, vlans });
  const bytes = new Uint8Array(Math.max(SHORTEST, head.length + payload.length));
  bytes.set(head);
  bytes.set(payload, head.length);
  return bytes;
}

export function helloFrame(sw: LogicalSwitch, port: LogicalPort, place: number, sinceMs: number): Uint8Array {
  const hello = encodeHello({ switch: sw.key, port: port.key, place, sinceMs });
  return frame(attachmentMac(port.key, place), helloGroup(sw.key), HELLO_ETHER_TYPE, hello);
}

/** Asks without an address of its own (RFC 5227 §2.1.1), so that nobody outside notes one. */
export function probeFrame(port: LogicalPort, place: number, probe: string): Uint8Array {
  const sha = attachmentMac(port.key, place);
  const arp = encodeArp({ op: ARP_OP.request, sha, spa: NOBODY, tha: NOBODY, tpa: parseIpv4(probe)! });
  return frame(sha, BROADCAST_MAC, ETHER_TYPE.arp, arp);
}

/** Tells switches outside that a MAC is here now, as a hypervisor does after a migration. */
function announcement(mac: Mac, vlan: number): Uint8Array {
  const rarp = encodeArp({ op: ARP_OP.rarpRequest, sha: mac, spa: NOBODY, tha: mac, tpa: NOBODY });
  return frame(mac, BROADCAST_MAC, ETHER_TYPE.rarp, rarp, vlan);
}

/** More are left to what they send themselves. */
const MOST_ANNOUNCED = 4_096;

/** One for each MAC that is on this side of the attachment. */
export function announcements(scope: Scope, gateway: L2Gateway, outside: LogicalPort): Uint8Array[] {
  const frames = new Map<string, Uint8Array>();
  const isTrunk = gateway.vlan === undefined;
  const add = (text: string, vlan: number): void => {
    const mac = parseMac(text);
    if (mac !== undefined && frames.size < MOST_ANNOUNCED) frames.set(`${text}/${vlan}`, announcement(mac, vlan));
  };
  for (const port of scope.all('port'))
    if (port.switch === outside.switch && port.id !== outside.id) add(port.mac, isTrunk ? untaggedVlan(port) : 0);
  for (const port of scope.all('routerPort')) if (port.switch === outside.switch) add(port.mac, 0);
  for (const learned of scope.all('learned'))
    if (learned.switch === outside.switch && learned.port !== outside.id) add(learned.mac, isTrunk ? learned.vlan : 0);
  return [...frames.values()];
}

/** The VLAN of frames that the workload sends without a tag. */
function untaggedVlan({ vlan }: LogicalPort): number {
  if (vlan === undefined) return 0;
  return 'access' in vlan ? vlan.access : (vlan.native ?? 0);
}
