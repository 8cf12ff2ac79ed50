import { type Ipv4, type Ipv6, type Mac, parseIpv4, parseIpv6, parseMac } from '../base/addresses.ts';
import type { InputRecord } from '../compile/inputs.ts';
import * as example from '../compile/testing/example.ts';
import type { Host, LogicalPort } from '../model/objects.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import { encodePacket, type Layer4, type Packet } from '../packet/packet.ts';
import { type Journey, Network, TUNNEL_OFPORT } from './network.fixture.ts';

/** Networks of the example's hosts, and the frames that tests send through them. */

export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
export const mac = (text: string): Mac => parseMac(text)!;
export const ip4 = (text: string): Ipv4 => parseIpv4(text)!;
export const ip6 = (text: string): Ipv6 => parseIpv6(text)!;

/** Where a port's interface is: its active host first. */
export interface Site {
  readonly port: LogicalPort;
  readonly on: readonly Host[];
  readonly ofport: number;
  /** Its conntrack zone, where it has one. */
  readonly zone?: number;
}

export function networkOf(hosts: readonly Host[], records: readonly InputRecord[], sites: readonly Site[]): Network {
  const bindings = sites.filter(({ on }) => on.length > 0).map(({ port, on }) => example.binding(port, ...on));
  const common = [example.zone(), ...hosts, ...records, ...sites.map(({ port }) => port), ...bindings];
  const ends = hosts.map((host) => ({
    id: host.id,
    tunnelAddress: host.tunnelAddress,
    interfaces: new Map(sites.filter(({ on }) => on.includes(host)).map(({ port, ofport }) => [ofport, port.name])),
  }));
  return new Network(ends, ({ id }) => {
    const host = hosts.find((each) => each.id === id)!;
    return [
      ...common,
      example.self(host, { tunnelPorts: { geneve: TUNNEL_OFPORT }, meters: { packetIn: 1, sample: 2, handOff: 6 } }),
      ...sites
        .filter(({ on }) => on.includes(host))
        .map(({ port, ofport, zone }) => ({
          ...example.boundInterface(port, ofport),
          ...(zone === undefined ? {} : { zone }),
        })),
    ];
  });
}

export function frame(src: string, dst: string, rest: Partial<Packet> = {}): Uint8Array {
  const etherType = rest.l3?.kind === 'arp' ? 0x0806 : rest.l3?.kind === 'ipv6' ? 0x86dd : 0x0800;
  return encodePacket({
    vlans: [],
    payload: new Uint8Array(0),
    ...rest,
    ethernet: { src: mac(src), dst: mac(dst), etherType },
  });
}

const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, nd: 58 } as const;

/** An IP packet of either version, by the form of its addresses. */
export function ip(src: string, dst: string, l4: Layer4, ttl = 64): Partial<Packet> {
  const protocol = PROTOCOLS[l4.kind];
  return src.includes(':')
    ? { l3: { kind: 'ipv6', ...ipv6Header({ src: ip6(src), dst: ip6(dst), nextHeader: protocol, hopLimit: ttl }) }, l4 }
    : { l3: { kind: 'ipv4', ...ipv4Header({ src: ip4(src), dst: ip4(dst), protocol, ttl }) }, l4 };
}

export const udp = (srcPort: number, dstPort: number): Layer4 => ({ kind: 'udp', srcPort, dstPort, noChecksum: false });

export function tcp(srcPort: number, dstPort: number, flags = 2): Layer4 {
  const numbers = { sequence: 1, acknowledgement: 0, window: 1000, urgent: 0 };
  return { kind: 'tcp', srcPort, dstPort, flags, options: new Uint8Array(0), ...numbers };
}

/** An echo request or reply of either version. */
export function echo(version: 4 | 6, isReply = false): Layer4 {
  const rest = 0x0007_0001;
  return version === 4
    ? { kind: 'icmp', type: isReply ? 0 : 8, code: 0, rest }
    : { kind: 'icmpv6', type: isReply ? 129 : 128, code: 0, rest };
}

export function arp(op: number, sha: string, spa: string, tpa: string): Partial<Packet> {
  return { l3: { kind: 'arp', op, sha: mac(sha), spa: ip4(spa), tha: mac('00:00:00:00:00:00'), tpa: ip4(tpa) } };
}

/** Names of the ports that a frame reached, sorted. */
export function reached({ delivered }: Journey): string[] {
  return delivered.map(({ port }) => port).sort();
}

/** Classes of its packet-ins. */
export function classes({ packetIns }: Journey): number[] {
  return packetIns.map(({ userdata }) => userdata[0]!);
}
