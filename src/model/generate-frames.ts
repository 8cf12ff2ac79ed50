import {
  type Cidr,
  cidrContains,
  type Ip,
  type Ipv4,
  type Ipv6,
  linkLocalOf,
  type Mac,
  multicastMacOf6,
  parseCidr,
  parseIp,
  parseMac,
  solicitedNodeOf,
} from '../base/addresses.ts';
import { ByteWriter } from '../base/bytes.ts';
import { attachmentMac, helloGroup } from '../packet/attachment-hello.ts';
import type { VlanTag } from '../packet/ethernet.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { type Ipv6Extension, ipv6Header } from '../packet/ipv6.ts';
import type { NdMessage } from '../packet/nd.ts';
import type { NdOption } from '../packet/nd-option.ts';
import { encodePacket, type Layer4, type Packet } from '../packet/packet.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import type { BodySketch, FlatSketch, FrameSketch, MutationSketch, TagSketch, UpperSketch } from './frame-sketch.ts';
import { LEARNED_MACS, SHARED_MACS } from './generate.ts';
import { buildRouted, sctpInitPacket } from './generate-routed-frames.ts';
import { at } from './generated.ts';
import type { LogicalPort, Rule, RuleMatch } from './objects.ts';
import { PROTOCOL_NAMES, parseAddressOrCidr, parsePortRange } from './texts.ts';
import type { ModelView } from './view.ts';

/** What a frame of the port may name, what is the port's own first. */
interface Pools {
  readonly sources: readonly Mac[];
  readonly targets: readonly Mac[];
  readonly four: readonly Ipv4[];
  readonly six: readonly Ipv6[];
  /** Of others first. */
  readonly targets4: readonly Ipv4[];
  readonly targets6: readonly Ipv6[];
  /** Whom it may ask for names; some that have none to tell. */
  readonly gateways: readonly Ip[];
}

const macOf = (text: string): Mac => parseMac(text)!;
const UNKNOWN = macOf('02:00:00:00:00:ee');
const FAR = macOf('a4:77:33:91:0c:5e');
const ALL_NODES = (0xff02n << 112n) | 1n;
const ALL_ROUTERS = ALL_NODES + 1n;
const BROADCAST4 = 0xffff_ffff as Ipv4;

/** An address in the network: the network's own bits and a few more. */
function within({ ip, prefix }: Cidr): Ip {
  if (ip.version === 4) return { version: 4, value: (prefix === 32 ? ip.value : (ip.value | 5) >>> 0) as Ipv4 };
  return { version: 6, value: (prefix === 128 ? ip.value : ip.value | 5n) as Ipv6 };
}

function addressesOf(port: LogicalPort): Ip[] {
  return [
    ...port.addresses.map((text) => parseIp(text)!),
    ...port.allowedPairs.map(({ address }) => {
      const single = parseIp(address);
      return single ?? within(parseCidr(address)!);
    }),
  ];
}

function macsOf(port: LogicalPort): Mac[] {
  return [port.mac, ...port.allowedPairs.flatMap(({ mac }) => mac ?? [])].map(macOf);
}

export function poolsFor(model: ModelView, portId: string): Pools {
  const port = model.get('port', portId)!;
  const others = [...model.portsOfSwitch(port.switch)].filter((other) => other.id !== portId);
  const gateways = (model.get('switch', port.switch)?.subnets ?? []).flatMap((s) => s.gateway ?? []);
  const routers = [...model.routerPortsOfSwitch(port.switch)].flatMap(({ addresses }) => addresses);
  const mine = addressesOf(port);
  const theirs = [...others.flatMap(addressesOf), ...gateways.map((text) => parseIp(text)!)];
  const four = (ips: readonly Ip[]): Ipv4[] => ips.flatMap((ip) => (ip.version === 4 ? [ip.value] : []));
  const six = (ips: readonly Ip[]): Ipv6[] => ips.flatMap((ip) => (ip.version === 6 ? [ip.value] : []));
  const local = (macs: readonly Mac[]): Ipv6[] => macs.map(linkLocalOf);
  const stranger4 = 0xcb00_7109 as Ipv4,
    stranger6 = ((0x2001n << 112n) | 0xbad0n) as Ipv6;
  const own4 = four(mine),
    own6 = [...six(mine), ...local(macsOf(port))];
  const their4 = four(theirs),
    their6 = [...six(theirs), ...local(others.map((other) => macOf(other.mac)))];
  const shared = [...SHARED_MACS, ...LEARNED_MACS].map(macOf);
  const theirMacs = others.flatMap(macsOf);
  // Of another place of the same gateway.
  const places = model.outsideOfPort(portId) ? [attachmentMac(port.key, 1)] : [];
  const switchKey = model.get('switch', port.switch)?.key ?? 0;
  const groups = places.length > 0 ? [helloGroup(switchKey), helloGroup(switchKey + 1), ...places] : [];
  return {
    sources: [
      ...macsOf(port),
      ...places,
      macOf(LEARNED_MACS[0]),
      FAR,
      UNKNOWN,
      ...theirMacs,
      macOf('01:00:5e:00:00:01'),
    ],
    targets: [
      ...theirMacs.slice(0, 1),
      ...groups,
      ...theirMacs.slice(1),
      macOf('ff:ff:ff:ff:ff:ff'),
      ...macsOf(port),
      UNKNOWN,
      ...shared,
      FAR,
      macOf('01:00:5e:00:00:fb'),
    ],
    four: [...own4, 0 as Ipv4, ...their4, stranger4, 0x0a00_0042 as Ipv4],
    six: [...own6, 0n as Ipv6, ...their6, stranger6],
    targets4: [...their4, ...own4, stranger4, BROADCAST4, 0xe000_00fb as Ipv4],
    gateways: [
      ...gateways.map((text) => parseIp(text)!),
      ...routers.map((text) => parseCidr(text)!.ip),
      { version: 4, value: stranger4 },
    ],
    targets6: [...their6, ...own6, stranger6, ALL_NODES as Ipv6, ALL_ROUTERS as Ipv6],
  };
}

const PAYLOAD = new TextEncoder().encode('warp and weft, sixteen or more');
const ETHER = { arp: 0x0806, rarp: 0x8035, ipv4: 0x0800, ipv6: 0x86dd } as const;

/** The bytes of a sketch, for a port of a model. */
export function buildFrame(sketch: FrameSketch, model: ModelView, portId: string): Uint8Array {
  const pools = poolsFor(model, portId);
  const src = at(pools.sources, sketch.src);
  const rule = sketch.body.kind === 'rule' ? ruleNear(model, portId, sketch.body.rule) : undefined;
  const packet =
    sketch.body.kind === 'routed'
      ? buildRouted(sketch.body, model, portId)
      : rule
        ? fitting(rule.match, sketch, src, pools)
        : packetOf(sketch.dst, sketch.body, src, pools);
  const vlans = tagsFor(sketch, model, portId, rule?.match.vlan).map(
    ({ service, vid, pcp }): VlanTag => ({ tpid: service ? 0x88a8 : 0x8100, vid, pcp, dei: false }),
  );
  return mutate(encodePacket({ ...packet, vlans }), sketch.mutation);
}

function mutate(bytes: Uint8Array, mutation: MutationSketch): Uint8Array {
  if (mutation.kind === 'cut') return bytes.slice(0, mutation.length);
  const copy = bytes.slice();
  if (mutation.kind === 'flip' && mutation.offset < copy.length) copy[mutation.offset]! ^= mutation.bits;
  return copy;
}

type Frame = Omit<Packet, 'vlans'>;

function packetOf(dstIndex: number, body: FlatSketch, src: Mac, pools: Pools): Frame {
  const dst = at(pools.targets, dstIndex);
  switch (body.kind) {
    case 'arp': {
      const spa = at(pools.four, body.spa);
      const sha = at([src, ...pools.sources], body.sha);
      return arp(src, dst, ETHER.arp, { op: body.op, sha, spa, tha: 0 as Mac, tpa: at(pools.targets4, body.tpa) });
    }
    case 'garp': {
      const spa = at(pools.four, body.own);
      return arp(src, macOf('ff:ff:ff:ff:ff:ff'), ETHER.arp, { op: body.op, sha: src, spa, tha: 0 as Mac, tpa: spa });
    }
    case 'rarp': {
      const nowhere = 0 as Ipv4;
      return arp(src, dst, ETHER.rarp, { op: 3, sha: src, spa: nowhere, tha: src, tpa: nowhere });
    }
    case 'ip':
      return body.version === 4 ? ip4(body, src, dst, pools) : ip6(body, src, dst, pools);
    case 'dhcp':
      return body.version === 4 ? dhcp4(body, src, dst, pools) : dhcp6(body, src, dst, pools);
    case 'nd':
      return nd(body, src, dst, pools);
    case 'rule':
      return ip4({ ...PLAIN, src: body.src, dst: body.dst }, src, dst, pools);
    case 'other':
      return { ethernet: { src, dst, etherType: body.etherType }, payload: PAYLOAD };
    case 'name':
      return question(src, dst, at(pools.gateways, dstIndex), pools);
  }
}

const PLAIN: IpBody = {
  kind: 'ip',
  version: 4,
  src: 0,
  dst: 0,
  upper: { protocol: 6, srcPort: 80, dstPort: 80 },
  fragment: 'whole',
  extension: false,
};

/** A rule that frames of the port may meet: of its own chain or of one that frames for another port of the switch pass. */
function ruleNear(model: ModelView, portId: string, index: number): Rule | undefined {
  const port = model.get('port', portId)!;
  const chains = [port.fromChain, ...[...model.portsOfSwitch(port.switch)].map(({ toChain }) => toChain)];
  const rules = chains.flatMap((chain) => (chain === undefined ? [] : model.rulesOfChain(chain)));
  const jumpedTo = rules.flatMap(({ jumpTo }) => (jumpTo === undefined ? [] : model.rulesOfChain(jumpTo)));
  const all = [...rules, ...jumpedTo];
  return all.length === 0 ? undefined : at(all, index);
}

/** Tags that the sketch asks for, or else such as the port carries; `wanted` is the VLAN of a rule. */
function tagsFor(sketch: FrameSketch, model: ModelView, portId: string, wanted?: number): readonly TagSketch[] {
  const { vlan, switch: switchId } = model.get('port', portId)!;
  if (sketch.tags.length > 0 || !model.get('switch', switchId)!.vlanAware || (vlan && 'access' in vlan))
    return sketch.tags;
  const listed = vlan && vlan.trunk !== 'all' ? vlan.trunk : [10, 20];
  const vid = wanted ?? [undefined, undefined, ...listed][sketch.carried];
  return vid === undefined ? [] : [{ service: false, vid, pcp: 0 }];
}

/** A frame that the rule fits or nearly fits; what the rule does not ask is the port's own. */
function fitting(match: RuleMatch, sketch: FrameSketch, ownMac: Mac, pools: Pools): Frame {
  const { edge, src: srcIndex, dst: dstIndex, fragment } = sketch.body as Extract<BodySketch, { kind: 'rule' }>;
  const src = fittingMac(match.srcMac, ownMac);
  const dst = fittingMac(match.dstMac, at(pools.targets, sketch.dst));
  const four = (text: string | undefined, otherwise: Ipv4): Ipv4 =>
    fittingAddress(text, { version: 4, value: otherwise }).value as Ipv4;
  if (match.etherType === 'arp' || match.arpOp !== undefined || (match.arpSender ?? match.arpTarget) !== undefined) {
    const spa = four(match.arpSender, at(pools.four, srcIndex));
    const tpa = four(match.arpTarget, at(pools.targets4, dstIndex));
    return arp(src, dst, ETHER.arp, { op: match.arpOp ?? 1, sha: src, spa, tha: 0 as Mac, tpa });
  }
  if (match.etherType === 'rarp') return packetOf(sketch.dst, { kind: 'rarp' }, src, pools);
  if (typeof match.etherType === 'number' && match.etherType !== ETHER.ipv4)
    return { ethernet: { src, dst, etherType: match.etherType }, payload: PAYLOAD };
  const isSix =
    match.etherType === 'ipv6' ||
    (match.src ?? match.dst)?.includes(':') ||
    [58, 'icmpv6'].includes(match.protocol ?? '');
  const upper = upperFor(match, edge);
  const body: IpBody = { ...PLAIN, version: isSix ? 6 : 4, upper, fragment, src: srcIndex, dst: dstIndex };
  const frame = isSix ? ip6(body, src, dst, pools) : ip4(body, src, dst, pools);
  const l3 = frame.l3!;
  if (l3.kind === 'ipv4')
    return { ...frame, l3: { ...l3, src: four(match.src, l3.src), dst: four(match.dst, l3.dst) } };
  const six = (text: string | undefined, otherwise: Ipv6): Ipv6 =>
    fittingAddress(text, { version: 6, value: otherwise }).value as Ipv6;
  return l3.kind === 'ipv6'
    ? { ...frame, l3: { ...l3, src: six(match.src, l3.src), dst: six(match.dst, l3.dst) } }
    : frame;
}

/** The address, if it is in the network (or there is none to be in), or else one that is. */
function fittingAddress(text: string | undefined, ip: Ip): Ip {
  const network = text === undefined ? undefined : parseAddressOrCidr(text);
  return network === undefined || network.ip.version !== ip.version || cidrContains(network, ip) ? ip : within(network);
}

function fittingMac(text: string | undefined, mac: Mac): Mac {
  const [value, mask] = text?.split('/').map((part) => BigInt(macOf(part))) ?? [];
  if (value === undefined || (BigInt(mac) & (mask ?? 0xffff_ffff_ffffn)) === value) return mac;
  return Number(value) as Mac;
}

function upperFor(match: RuleMatch, edge: number): UpperSketch {
  const number = typeof match.protocol === 'string' ? PROTOCOL_NAMES[match.protocol] : match.protocol;
  if (number === 1 || number === 58)
    return { protocol: number, type: match.icmpType ?? (number === 1 ? 8 : 128), code: match.icmpCode ?? 0 };
  if (number !== undefined && number !== 6 && number !== 17 && number !== 132) return { protocol: 47 };
  const port = (range: string | undefined): number => {
    if (range === undefined) return 80;
    const { first, last } = parsePortRange(range)!;
    return Math.min(0xffff, Math.max(0, [first, last, first - 1, last + 1][edge]!));
  };
  return { protocol: number ?? 6, srcPort: port(match.srcPorts), dstPort: port(match.dstPorts) };
}

interface ArpFields {
  readonly op: number;
  readonly sha: Mac;
  readonly spa: Ipv4;
  readonly tha: Mac;
  readonly tpa: Ipv4;
}

function arp(src: Mac, dst: Mac, etherType: number, fields: ArpFields): Frame {
  // Padded to Ethernet's minimum, as cards do.
  return {
    ethernet: { src, dst, etherType },
    l3: { kind: 'arp', ...fields },
    payload: new Uint8Array(0),
    trailer: new Uint8Array(18),
  };
}

type IpBody = Extract<BodySketch, { kind: 'ip' }>;

function ip4(body: IpBody, src: Mac, dst: Mac, pools: Pools): Frame {
  const { l4, payload } = transport(body.upper);
  const header = ipv4Header({
    src: at(pools.four, body.src),
    dst: at(pools.targets4, body.dst),
    protocol: body.upper.protocol,
    moreFragments: body.fragment === 'first',
    fragmentOffset: body.fragment === 'later' ? 64 : 0,
    options: body.extension ? Uint8Array.of(1, 1, 1, 0) : new Uint8Array(0),
  });
  const ethernet = { src, dst, etherType: ETHER.ipv4 };
  if (body.fragment === 'whole' && l4) return { ethernet, l3: { kind: 'ipv4', ...header }, l4, payload: PAYLOAD };
  return { ethernet, l3: { kind: 'ipv4', ...header }, payload };
}

function ip6(body: IpBody, src: Mac, dst: Mac, pools: Pools): Frame {
  const { l4, payload } = transport(body.upper);
  const extensions: Ipv6Extension[] = body.extension ? [{ kind: 'hopByHop', data: new Uint8Array(6) }] : [];
  if (body.fragment !== 'whole')
    extensions.push({ kind: 'fragment', offset: body.fragment === 'later' ? 64 : 0, more: true, id: 7 });
  const header = ipv6Header({
    src: at(pools.six, body.src),
    dst: at(pools.targets6, body.dst),
    nextHeader: body.upper.protocol,
    extensions,
  });
  const ethernet = { src, dst, etherType: ETHER.ipv6 };
  if (body.fragment === 'whole' && l4) return { ethernet, l3: { kind: 'ipv6', ...header }, l4, payload: PAYLOAD };
  return { ethernet, l3: { kind: 'ipv6', ...header }, payload };
}

/** The layer as a packet has it, where we have a codec, and its bytes for fragments and for SCTP. */
function transport(upper: UpperSketch): { readonly l4?: Layer4; readonly payload: Uint8Array } {
  const writer = new ByteWriter();
  if (!('srcPort' in upper) && !('type' in upper)) return { payload: writer.u16(0).u16(0x0800).raw(PAYLOAD).finish() };
  if ('type' in upper) {
    const { type, code } = upper;
    const payload = writer.u8(type).u8(code).u16(0).u32(0).raw(PAYLOAD).finish();
    // Neighbour discovery has frames of its own; here the types come with a body that is none.
    if (upper.protocol === 58 && type >= 133 && type <= 137) return { payload };
    return { l4: { kind: upper.protocol === 1 ? 'icmp' : 'icmpv6', type, code, rest: 0 }, payload };
  }
  const { srcPort, dstPort } = upper;
  if (upper.protocol === 132) return { payload: sctpInitPacket(srcPort, dstPort) };
  const payload = writer.u16(srcPort).u16(dstPort).u32(0).u32(0).u32(0x5000_0000).u32(0).raw(PAYLOAD).finish();
  if (upper.protocol === 17) return { l4: { kind: 'udp', srcPort, dstPort, noChecksum: false }, payload };
  const tcp = { sequence: 1, acknowledgement: 0, flags: TCP_FLAG.syn, window: 1000, urgent: 0 };
  return { l4: { kind: 'tcp', srcPort, dstPort, ...tcp, options: new Uint8Array(0) }, payload };
}

type DhcpBody = Extract<BodySketch, { kind: 'dhcp' }>;

/** Ports are what counts: the payload is none of DHCP. */
function question(src: Mac, dst: Mac, to: Ip, pools: Pools): Frame {
  const l4 = { kind: 'udp', srcPort: 40000, dstPort: 53, noChecksum: false } as const;
  if (to.version === 4) {
    const header = ipv4Header({ src: at(pools.four, 0), dst: to.value, protocol: 17 });
    return {
      ...{ ethernet: { src, dst, etherType: ETHER.ipv4 }, l3: { kind: 'ipv4', ...header } },
      ...{ l4, payload: PAYLOAD },
    };
  }
  const header = ipv6Header({ src: at(pools.six, 0), dst: to.value, nextHeader: 17 });
  return {
    ...{ ethernet: { src, dst, etherType: ETHER.ipv6 }, l3: { kind: 'ipv6', ...header } },
    ...{ l4, payload: PAYLOAD },
  };
}

function dhcp4({ server, src: from }: DhcpBody, src: Mac, dst: Mac, pools: Pools): Frame {
  const [srcPort, dstPort] = server ? [67, 68] : [68, 67];
  const ip = ipv4Header({
    src: at(server ? pools.four : [0 as Ipv4, ...pools.four], from),
    dst: from === 9 ? at(pools.targets4, 0) : BROADCAST4,
    protocol: 17,
  });
  return {
    ethernet: { src, dst: from === 9 ? dst : macOf('ff:ff:ff:ff:ff:ff'), etherType: ETHER.ipv4 },
    l3: { kind: 'ipv4', ...ip },
    l4: { kind: 'udp', srcPort, dstPort, noChecksum: false },
    payload: PAYLOAD,
  };
}

function dhcp6({ server, src: from }: DhcpBody, src: Mac, dst: Mac, pools: Pools): Frame {
  const [srcPort, dstPort] = server ? [547, 546] : [546, 547];
  const all = ((0xff02n << 112n) | 0x1_0002n) as Ipv6;
  return {
    ethernet: { src, dst: from === 9 ? dst : multicastMacOf6(all), etherType: ETHER.ipv6 },
    l3: { kind: 'ipv6', ...ipv6Header({ src: at([linkLocalOf(src), ...pools.six], from), dst: all, nextHeader: 17 }) },
    l4: { kind: 'udp', srcPort, dstPort, noChecksum: false },
    payload: PAYLOAD,
  };
}

type NdBody = Extract<BodySketch, { kind: 'nd' }>;

function nd(body: NdBody, src: Mac, dst: Mac, pools: Pools): Frame {
  const six = [...pools.six];
  const from = at(body.type === 'rs' ? [0n as Ipv6, ...six] : six, body.src);
  const target = at(body.type === 'na' ? pools.six : pools.targets6, body.target);
  const toAll = body.toAll ? (ALL_NODES as Ipv6) : undefined;
  const to =
    toAll ??
    {
      ns: solicitedNodeOf(target),
      na: at(pools.targets6, 0),
      rs: ALL_ROUTERS as Ipv6,
      ra: ALL_NODES as Ipv6,
      redirect: at(pools.targets6, 0),
    }[body.type];
  const isGroup = to >> 120n === 0xffn;
  const message = ndMessage(body, src, target, pools);
  return {
    ethernet: { src, dst: isGroup ? multicastMacOf6(to) : dst, etherType: ETHER.ipv6 },
    l3: { kind: 'ipv6', ...ipv6Header({ src: from, dst: to, nextHeader: 58, hopLimit: 255 }) },
    l4: { kind: 'nd', message },
    payload: new Uint8Array(0),
  };
}

function ndMessage({ type, option, toAll }: NdBody, src: Mac, target: Ipv6, pools: Pools): NdMessage {
  const mac = at([src, src, src, pools.sources.at(-2)!], option);
  const link = (kind: 'sourceLinkLayer' | 'targetLinkLayer'): NdOption[] =>
    option === 1
      ? []
      : option === 2
        ? [
            { kind: 'mtu', mtu: 1400 },
            { kind, mac },
          ]
        : [{ kind, mac }];
  switch (type) {
    case 'ns':
      return { kind: 'neighborSolicit', target, options: link('sourceLinkLayer') };
    case 'na':
      return {
        kind: 'neighborAdvert',
        flags: toAll ? 0x2000_0000 : 0x6000_0000,
        target,
        options: link('targetLinkLayer'),
      };
    case 'rs':
      return { kind: 'routerSolicit', options: link('sourceLinkLayer') };
    case 'ra':
      return {
        kind: 'routerAdvert',
        hopLimit: 64,
        flags: 0,
        lifetimeS: 1800,
        reachableMs: 0,
        retransmitMs: 0,
        options: [],
      };
    case 'redirect':
      return { kind: 'redirect', target, destination: target, options: [] };
  }
}
