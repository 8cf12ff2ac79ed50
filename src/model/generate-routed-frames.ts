import fc from 'fast-check';
import { cidrContains, type Ip, linkLocalOf, type Mac, parseCidr, parseIp, parseMac, plus } from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { echoRest } from '../packet/icmp.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import type { Layer4, Packet } from '../packet/packet.ts';
import { encodeSctp, SCTP_CHUNK, sctpInit } from '../packet/sctp.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { at } from './generated.ts';
import { isOne, listenerPorts } from './listener-ports.ts';
import type { LoadBalancer, RouterPort } from './objects.ts';
import { snatAddresses } from './snat.ts';
import { isUplink } from './uplinks.ts';
import type { ModelView } from './view.ts';

/** Random frames that leave their subnet, or are for a virtual address in it. As in generate-frames.ts all is indexes. */
export interface RoutedSketch {
  readonly kind: 'routed';
  readonly version: 4 | 6;
  /** Of the port's own addresses, then some that it does not own. */
  readonly src: number;
  /** Of `targetsOf`. */
  readonly dst: number;
  /** Of the routers on the switch, where the destination is elsewhere. */
  readonly gateway: number;
  readonly upper: RoutedUpper;
  /** To one of the listeners, where the destination is a VIP; of a range to a port within (its ends twice as often), or beside it. */
  readonly listener?: number | undefined;
  readonly inRange?: number | undefined;
  readonly ttl: number;
  readonly dscp: number;
  /** Bytes of payload. */
  readonly size: number;
  readonly mayCut: boolean;
}

export type RoutedUpper =
  | { readonly protocol: 6; readonly srcPort: number; readonly dstPort: number; readonly flags: number }
  | { readonly protocol: 17 | 132; readonly srcPort: number; readonly dstPort: number }
  /** An echo request, or another message. */
  | { readonly protocol: 1; readonly type: number; readonly id: number }
  | { readonly protocol: 47 };

const { syn: SYN, ack: ACK, rst: RST, fin: FIN } = TCP_FLAG;
const srcPort = fc.constantFrom(40000, 40001, 40002, 1024, 999, 80);
const dstPort = fc.constantFrom(80, 80, 443, 53, 8080, 22, 65535);
const upper: fc.Arbitrary<RoutedUpper> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      protocol: fc.constant(6),
      srcPort,
      dstPort,
      flags: fc.constantFrom(SYN, SYN, SYN, SYN, ACK, SYN | ACK, RST, FIN | ACK),
    }),
  },
  { weight: 4, arbitrary: fc.record({ protocol: fc.constantFrom<17 | 132>(17, 17, 17, 132), srcPort, dstPort }) },
  {
    weight: 3,
    arbitrary: fc.record({
      protocol: fc.constant(1),
      type: fc.constantFrom(8, 8, 8, 8, 0, 3, 13),
      id: fc.constantFrom(257, 258),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ protocol: 47 as const }) },
);

export const routedSketch: fc.Arbitrary<RoutedSketch> = fc.record({
  kind: fc.constant('routed'),
  version: fc.constantFrom<4 | 6>(4, 4, 6),
  src: fc.oneof({ weight: 15, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 7 }) }),
  dst: fc.nat({ max: 127 }),
  gateway: fc.nat({ max: 5 }),
  upper,
  listener: fc.option(fc.nat({ max: 2 }), { nil: undefined, freq: 5 }),
  inRange: fc.nat({ max: 6 }),
  ttl: fc.constantFrom(64, 64, 64, 64, 64, 2, 1, 0, 255),
  dscp: fc.constantFrom(0, 0, 46, 10),
  size: fc.constantFrom(0, 18, 18, 64, 600, 1340, 1420, 1420),
  mayCut: fc.boolean(),
});

interface Target {
  readonly ip: Ip;
  /** MAC of the router by which it is likely to be reached. */
  readonly via?: Mac;
  readonly balancer?: LoadBalancer;
}

/** What a frame of the port may be for: virtual addresses, other switches' ports, routers, neighbours, and what is nowhere. */
export function targetsOf(model: ModelView, portId: string, version: 4 | 6): Target[] {
  const own = model.get('port', portId)!;
  const ips = (texts: Iterable<string>): Target[] => [...texts].map((text) => ({ ip: parseIp(text)! }));
  const vips = [...model.all('loadBalancer')].map((balancer) => ({ ip: parseIp(balancer.address)!, balancer }));
  const floating = ips([...model.all('floatingAddress')].map(({ address }) => address));
  const ports = [...model.all('port')];
  const others = ports.filter((port) => port.switch !== own.switch).flatMap(({ addresses }) => addresses);
  const near = ports
    .filter((port) => port.switch === own.switch && port.id !== portId)
    .flatMap(({ addresses }) => addresses);
  const routers = [...model.all('routerPort')].flatMap(({ addresses }) =>
    addresses.map((text) => ({ ip: parseCidr(text)!.ip })),
  );
  const snat = ips([...model.all('router')].flatMap((router) => [...snatAddresses(router)]));
  const neighbours = ips([...model.all('neighbour')].map(({ address }) => address));
  const subnets = [...model.all('switch')].flatMap((sw) => sw.subnets.map(({ cidr }) => parseCidr(cidr)!));
  const nobody = subnets.map(({ ip }) => ({ ip: plus(ip, 9) }));
  const far = ips(['198.18.0.1', '10.200.0.1', '203.0.113.5', '2001:db8:5001::1', '2001:db8:dead::1']);
  const linkLocal = [...model.routerPortsOfSwitch(own.switch)].map(({ mac }) => ({
    ip: { version: 6, value: linkLocalOf(parseMac(mac)!) } as const,
  }));
  const groups = ips(['224.0.0.251', '255.255.255.255', 'ff02::1', 'ff0e::5']);
  return [
    ...[...vips, ...floating, ...ips(others)],
    ...[...vips, ...routers, ...ips(others), ...snat, ...floating, ...neighbours, ...far],
    ...[...ips(near), ...linkLocal, ...nobody, ...groups.slice(0, 3)],
  ].filter(({ ip }) => ip.version === version);
}

/** What routers on the port's switch lead to: ports on their other switches and those of their peers, and what they translate. */
export function reachableFrom(model: ModelView, portId: string, version: 4 | 6): Target[] {
  const { switch: own } = model.get('port', portId)!;
  const targets: Target[] = [];
  for (const entry of model.routerPortsOfSwitch(own)) {
    const via = parseMac(entry.mac)!;
    const add = (texts: Iterable<string>): void => {
      for (const text of texts) targets.push({ ip: parseIp(text)!, via });
    };
    for (const balancer of model.loadBalancersOf(entry.router))
      targets.push({ ip: parseIp(balancer.address)!, balancer, via });
    for (const { address } of model.floatingAddressesOfRouter(entry.router)) add([address]);
    if (entry.outside) continue;
    // Beyond an uplink is nobody else.
    for (const port of model.all('routerPort'))
      if (port.switch !== own && isUplink(model, port))
        add([...model.neighboursOf(port.switch!)].map(({ address }) => address));
    if (isUplink(model, entry)) {
      for (const balancer of model.all('loadBalancer')) targets.push({ ip: parseIp(balancer.address)!, balancer, via });
      add([...model.all('floatingAddress')].map(({ address }) => address));
      add([...model.all('router')].flatMap((router) => [...snatAddresses(router)]));
    }
    const near = [entry.router, ...peerRoutersOf(model, entry.router)];
    for (const port of near.flatMap((router) => [...model.routerPortsOfRouter(router)])) {
      if (port.switch === undefined || port.switch === own) continue;
      for (const { addresses } of model.portsOfSwitch(port.switch)) add(addresses);
      for (const balancer of model.loadBalancersOf(port.switch))
        targets.push({ ip: parseIp(balancer.address)!, balancer, via });
    }
  }
  for (const balancer of model.loadBalancersOf(own)) targets.push({ ip: parseIp(balancer.address)!, balancer });
  return targets.filter(({ ip }) => ip.version === version);
}

function peerRoutersOf(model: ModelView, router: string): string[] {
  return [...model.routerPortsOfRouter(router)].flatMap(({ id, peer }) => [
    ...(peer === undefined ? [] : [model.get('routerPort', peer)?.router ?? router]),
    ...[...model.peersOf(id)].map((other) => other.router),
  ]);
}

/** What ARP or ND would tell the port of an address: or else the MAC of a router on its switch. */
export function nextMac(model: ModelView, portId: string, ip: Ip, gateway: number): Mac {
  const { switch: switchId } = model.get('port', portId)!;
  const is = (text: string): boolean => {
    const other = parseIp(text) ?? parseCidr(text)!.ip;
    return other.version === ip.version && other.value === ip.value;
  };
  if (ip.version === 4 && ip.value >>> 28 === 14) return (0x0100_5e00_0000 + (ip.value & 0x7f_ffff)) as Mac;
  if (ip.version === 4 && ip.value === 0xffff_ffff) return 0xffff_ffff_ffff as Mac;
  if (ip.version === 6 && ip.value >> 120n === 0xffn)
    return (0x3333_0000_0000 + Number(ip.value & 0xffff_ffffn)) as Mac;
  const routers = [...model.routerPortsOfSwitch(switchId)];
  for (const port of model.portsOfSwitch(switchId)) if (port.addresses.some(is)) return parseMac(port.mac)!;
  for (const port of routers) {
    if (port.addresses.some(is) || linkLocalOf(parseMac(port.mac)!) === ip.value) return parseMac(port.mac)!;
    if (isHeldAt(model, port, ip, is)) return parseMac(port.mac)!;
  }
  for (const { address, key } of model.loadBalancersOf(switchId))
    if (is(address)) return (0x0a57_4c00_0000 + key) as Mac;
  for (const { address, mac } of model.neighboursOf(switchId)) if (is(address)) return parseMac(mac)!;
  return routers.length > 0 ? parseMac(at(routers, gateway).mac)! : (0x0200_0000_00ee as Mac);
}

function isHeldAt(model: ModelView, port: RouterPort, ip: Ip, is: (text: string) => boolean): boolean {
  if (!port.addresses.some((text) => cidrContains(parseCidr(text)!, ip))) return false;
  const translated = [
    ...[...model.floatingAddressesOfRouter(port.router)].map(({ address }) => address),
    ...snatAddresses(model.get('router', port.router) ?? { snat: [] }),
  ];
  const vips = [...model.loadBalancersOf(port.router)].map(({ address }) => address);
  return (port.outside && translated.some(is)) || vips.some(is);
}

const STRANGERS = { 4: '192.0.2.99', 6: '2001:db8:bad::1' } as const;

export function buildRouted(sketch: RoutedSketch, model: ModelView, portId: string): Omit<Packet, 'vlans'> {
  const port = model.get('port', portId)!;
  const own = port.addresses.map((text) => parseIp(text)!);
  // The other version where the port has no address of the one.
  const version = own.every((ip) => ip.version !== sketch.version) && own[0] ? own[0].version : sketch.version;
  const mine = own.filter((ip) => ip.version === version);
  const src = at([...mine, parseIp(STRANGERS[version])!], sketch.src);
  const likely = reachableFrom(model, portId, version);
  // Three of four lead somewhere.
  const targets = likely.length > 0 && sketch.dst % 4 > 0 ? likely : targetsOf(model, portId, version);
  const {
    ip: dst,
    balancer,
    via,
  } = targets.length > 0 ? at(targets, sketch.dst >> 2) : { ip: parseIp(STRANGERS[version])! };
  const ethernet = {
    src: parseMac(port.mac)!,
    dst: via ?? nextMac(model, portId, dst, sketch.gateway),
    etherType: version === 4 ? 0x0800 : 0x86dd,
  };
  const wanted = balancer && sketch.listener !== undefined ? at(balancer.listeners, sketch.listener) : undefined;
  const given = sketch.upper;
  const ports = 'srcPort' in given ? given : { srcPort: 40000 };
  const upper: RoutedUpper = wanted
    ? wanted.protocol === 'tcp'
      ? {
          protocol: 6,
          flags: SYN,
          ...(given.protocol === 6 ? given : {}),
          srcPort: ports.srcPort,
          dstPort: portOf(wanted, sketch.inRange),
        }
      : {
          protocol: wanted.protocol === 'udp' ? 17 : 132,
          srcPort: ports.srcPort,
          dstPort: portOf(wanted, sketch.inRange),
        }
    : given;
  const { l4, payload, protocol } = transportOf(upper, version, sketch.size);
  const common = { ethernet, ...(l4 ? { l4 } : {}), payload };
  if (src.version === 4 && dst.version === 4)
    return {
      ...common,
      l3: {
        kind: 'ipv4',
        ...ipv4Header({
          src: src.value,
          dst: dst.value,
          protocol,
          ttl: sketch.ttl,
          tos: sketch.dscp << 2,
          dontFragment: !sketch.mayCut,
          id: 7,
        }),
      },
    };
  const six = (ip: Ip) => (ip.version === 6 ? ip.value : (0n as never));
  return {
    ...common,
    l3: {
      kind: 'ipv6',
      ...ipv6Header({
        src: six(src),
        dst: six(dst),
        nextHeader: protocol,
        hopLimit: sketch.ttl,
        trafficClass: sketch.dscp << 2,
      }),
    },
  };
}

/** A port that a listener is for, the only one where it is for one; seldom one that is just beside its range. */
function portOf(listener: LoadBalancer['listeners'][number], inRange = 0): number {
  const ports = listenerPorts(listener);
  const { first, last } = ports;
  if (isOne(ports)) return first;
  const choices = [first, last, first + ((last - first) >> 1), first, last, last + 1, first - 1];
  return Math.min(0xffff, at(choices, inRange));
}

function transportOf(
  upper: RoutedUpper,
  version: 4 | 6,
  size: number,
): { readonly l4?: Layer4; readonly payload: Uint8Array; readonly protocol: number } {
  const payload = new Uint8Array(size).map((_, i) => i * 7);
  const { protocol } = upper;
  switch (protocol) {
    case 6: {
      const { srcPort, dstPort, flags } = upper;
      const tcp = { sequence: 1000, acknowledgement: flags & ACK ? 2000 : 0, flags, window: 8000, urgent: 0 };
      return { protocol, l4: { kind: 'tcp', srcPort, dstPort, ...tcp, options: new Uint8Array(0) }, payload };
    }
    case 17:
      return {
        protocol,
        l4: { kind: 'udp', srcPort: upper.srcPort, dstPort: upper.dstPort, noChecksum: false },
        payload,
      };
    case 132:
      return { protocol, payload: sctpInitPacket(upper.srcPort, upper.dstPort) };
    case 1: {
      const rest = echoRest(upper.id, 1);
      if (version === 4) return { protocol, l4: { kind: 'icmp', type: upper.type, code: 0, rest }, payload };
      const type = { 8: 128, 0: 129, 3: 1 }[upper.type] ?? 128;
      return { protocol: 58, l4: { kind: 'icmpv6', type, code: 0, rest }, payload };
    }
    case 47:
      // Eight bytes behind the IP header at least: so much an ICMP error quotes.
      return { protocol, payload: new ByteWriter().u16(0).u16(0x0800).u32(0).raw(payload).finish() };
  }
}

/** The first packet of an association. */
export function sctpInitPacket(srcPort: number, dstPort: number): Uint8Array {
  return encodeSctp({ srcPort, dstPort, tag: 0 }, [{ type: SCTP_CHUNK.init, value: sctpInit(0x1234) }]);
}
