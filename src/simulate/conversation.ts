import {
  BROADCAST_MAC,
  cidrContains,
  formatIp,
  type Ip,
  linkLocalOf,
  multicastMacOf6,
  parseCidr,
  parseIp,
  parseMac,
  solicitedNodeOf,
} from '../base/addresses.ts';
import { isWire } from '../model/mtu.ts';
import type { LogicalPort, LogicalSwitch, Subnet } from '../model/objects.ts';
import { routerOf, subnetOf } from '../model/subnets.ts';
import type { ModelView } from '../model/view.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';
import { TCP_FLAG } from '../packet/tcp.ts';
import { firstAddress } from './addresses.ts';
import { Connections } from './connections.ts';
import { type Frame, WITH_PORTS } from './frame.ts';
import type { Delivery, Outcome } from './outcome.ts';
import { ownershipOf, ownsAddress } from './ownership.ts';
import { resolve } from './resolve.ts';
import { walkFrame } from './simulate.ts';
import { keyOfTuple, type Tuple, tupleOf, turned } from './tuple.ts';

/** What one workload says to another end, as a person asks about it. */
export interface Wanted {
  /** The sender's port, a port's id. */
  readonly from: string;
  /** Where the sender's interface is; absent: where its port is active. */
  readonly host?: string;
  readonly to: Ip;
  /** The port that a person named, whose address `to` is: another one may have the same address in the sender's network. */
  readonly meant?: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp' | 'icmp';
  /** Of the other end; for all but icmp. */
  readonly port?: number;
  /** Absent: the port's first of the version of `to`. */
  readonly source?: Ip;
  readonly sourcePort?: number;
  /** It is no first packet and its answer, but later ones of a connection that is given. */
  readonly isRunning?: boolean;
}

/** One packet of a conversation and what became of it. */
export interface Passage {
  readonly port: string;
  readonly host: string;
  readonly frame: Frame;
  readonly outcome: Outcome;
}

/** How it ended. `silence`: what the packet needed first was not to be had; the text says what. */
export type Verdict =
  | { readonly kind: 'answered'; readonly by: 'workload' | 'network' }
  | { readonly kind: 'lost'; readonly way: 'out' | 'back' }
  /** The answer came from another address or port than was called: the caller does not take it for one. */
  | { readonly kind: 'estranged'; readonly from: Tuple }
  | { readonly kind: 'silence'; readonly way: 'out' | 'back'; readonly text: string };

export interface Conversation {
  readonly verdict: Verdict;
  readonly out?: Passage;
  /** Absent where nobody got the first packet, or the network answered by itself. */
  readonly back?: Passage;
  /** The port whose workload got the first packet. */
  readonly reached?: string;
}

const CLIENT_PORT = 49_152;
const PROTOCOLS = { tcp: IP_PROTO.tcp, udp: IP_PROTO.udp, sctp: IP_PROTO.sctp } as const;
/** Bytes of a small packet: no MTU stops it. */
const SMALL = 60;

/**
 * The first packet of a conversation as its workload would send it (ARP or ND for the next hop first), and the answer of whoever gets it, with the
 * connections that the first packet made. Changes nothing; `connections`: what there was before.
 */
export function simulateConnection(
  model: ModelView,
  wanted: Wanted,
  connections: Connections = new Connections(),
): Conversation {
  const caller = model.get('port', wanted.from);
  const host = wanted.host ?? model.bindingOf(wanted.from)?.active;
  if (!caller || host === undefined)
    return { verdict: { kind: 'silence', way: 'out', text: `${caller?.name ?? wanted.from} is on no host` } };
  const source = wanted.source ?? firstAddress(caller, wanted.to.version);
  if (!source) {
    const text = `${caller.name} has no IPv${wanted.to.version} address to call ${formatIp(wanted.to)} from`;
    return { verdict: { kind: 'silence', way: 'out', text } };
  }
  const first = callOf(wanted, source);
  const [calls, answers] = wanted.isRunning
    ? [TCP_FLAG.ack, TCP_FLAG.ack]
    : [TCP_FLAG.syn, TCP_FLAG.syn | TCP_FLAG.ack];
  const sent = send(model, caller, host, first, calls, connections);
  if ('text' in sent) return { verdict: { kind: 'silence', way: 'out', text: sent.text } };
  const out = sent;
  const echo = out.outcome.deliveries.find(({ port, frame }) => port === caller.id && isAnswer(frame, first));
  if (echo) return { verdict: { kind: 'answered', by: 'network' }, out };
  const receiver = receiverOf(model, out.outcome);
  const port = receiver && model.get('port', receiver.port);
  const tuple = receiver && tupleOf(receiver.frame);
  if (!receiver || !port || !tuple) return { verdict: { kind: 'lost', way: 'out' }, out };
  const known = connections.with(out.outcome.commits);
  const back = send(model, port, receiver.host, turned(tuple), answers, known, receiver.frame.dst);
  const reached = port.id;
  if ('text' in back) return { verdict: { kind: 'silence', way: 'back', text: back.text }, out, reached };
  const home =
    back.outcome.deliveries.find(({ port: id }) => id === caller.id) ?? byAnother(model, caller, back.outcome);
  if (!home) return { verdict: { kind: 'lost', way: 'back' }, out, back, reached };
  if (isAnswer(home.frame, first)) return { verdict: { kind: 'answered', by: 'workload' }, out, back, reached };
  return { verdict: { kind: 'estranged', from: tupleOf(home.frame)! }, out, back, reached };
}

/**
 * As `simulateConnection`, of a data connection: `control` is what the helpers of FTP and TFTP read it on. That was begun by the same end (FTP, passive), or
 * by the other, where that is a port that a person named (FTP, active; TFTP). Where no helper reads it, it is a connection like any other.
 */
export function simulateDataConnection(
  model: ModelView,
  wanted: Wanted,
  control: Pick<Wanted, 'protocol' | 'port'>,
): Conversation {
  const caller = model.get('port', wanted.from);
  const source = wanted.source ?? (caller && firstAddress(caller, wanted.to.version));
  const { host: _, meant, ...rest } = wanted;
  // TFTP answers to the very port that asked.
  const asked = control.protocol === 'udp' && wanted.port !== undefined ? { sourcePort: wanted.port } : {};
  const begun = [
    { isReply: true, by: { ...wanted, ...control } },
    ...(meant === undefined || !source
      ? []
      : [{ isReply: false, by: { ...rest, from: meant, to: source, source: wanted.to, ...control, ...asked } }]),
  ];
  for (const { isReply, by } of begun) {
    const { out, back, verdict } = simulateConnection(model, by);
    const made = new Connections().with(out?.outcome.commits ?? []).with(back?.outcome.commits ?? []);
    const read = [...made].filter(({ helper }) => helper !== undefined);
    if (verdict.kind !== 'answered' || read.length === 0) continue;
    return simulateConnection(
      model,
      wanted,
      made.expecting(...read.map((parent) => ({ parent, isReply, port: wanted.port ?? 0 }))),
    );
  }
  return simulateConnection(model, wanted);
}

/** Behind a wire is the world: an answer gets there by another wire too. */
function byAnother(model: ModelView, caller: LogicalPort, outcome: Outcome): Delivery | undefined {
  return isWire(caller) ? receiverOf(model, outcome) : undefined;
}

function isAnswer(frame: Frame, call: Tuple): boolean {
  const tuple = tupleOf(frame);
  return tuple !== undefined && keyOfTuple(tuple) === keyOfTuple(turned(call));
}

/** Of several that get it (a virtual MAC, a flood): who has the address. */
function receiverOf(model: ModelView, { deliveries }: Outcome): Delivery | undefined {
  return deliveries.find(({ port: id, frame }) => {
    const port = model.get('port', id);
    const sw = port && model.get('switch', port.switch);
    return sw && frame.ip && ownsAddress(ownershipOf(port, sw), frame.ip.dst);
  });
}

function callOf(wanted: Wanted, src: Ip): Tuple {
  const { to: dst, protocol } = wanted;
  const { version } = dst;
  if (protocol === 'icmp') {
    const [number, type] = version === 4 ? [IP_PROTO.icmp, 8] : [IP_PROTO.icmpv6, 128];
    return { version, protocol: number, src, dst, srcPort: type, dstPort: 0, id: 1 };
  }
  return {
    ...{ version, src, dst },
    protocol: PROTOCOLS[protocol],
    srcPort: wanted.sourcePort ?? CLIENT_PORT,
    dstPort: wanted.port ?? 0,
    id: 0,
  };
}

/** Sends the packet as the workload would. Text: why it cannot. */
function send(
  model: ModelView,
  port: LogicalPort,
  host: string,
  tuple: Tuple,
  tcpFlags: number,
  connections: Connections,
  mac: number = parseMac(port.mac)!,
): Passage | { readonly text: string } {
  const sw = model.get('switch', port.switch);
  if (!sw) return { text: `the switch of ${port.name} is not there` };
  const nextHop = nextHopOf(model, sw, port, tuple);
  if (!nextHop) return { text: `${port.name} has no gateway on the way to ${formatIp(tuple.dst)}` };
  const tag = tagOf(sw, port, tuple.src);
  const entry = { port: port.id, host };
  const question = { ...questionFor(port, mac, firstAddress(port, nextHop.version) ?? tuple.src, nextHop), ...tag };
  const asked = walkFrame(model, { ...entry, frame: question }, connections);
  const found = asked.answer ? parseMac(asked.answer.mac)! : listening(model, sw, asked, nextHop);
  if (found === undefined) {
    // What stops the question would stop the packet too, and says more.
    if (asked.deliveries.length === 0 && asked.drops.some(({ to }) => to === undefined))
      return { ...entry, frame: question, outcome: asked };
    return { text: `nobody on switch ${sw.name} has ${formatIp(nextHop)}, which ${port.name} asks for` };
  }
  const frame = { ...packetOf(tuple, tcpFlags), ...tag, src: mac, dst: found };
  return { ...entry, frame, outcome: walkFrame(model, { ...entry, frame }, connections) };
}

/** The other end where it is a neighbour, else the router that workloads of the subnet are told that the packet is sent from. */
function nextHopOf(model: ModelView, sw: LogicalSwitch, port: LogicalPort, { src, dst }: Tuple): Ip | undefined {
  if (sw.subnets.length === 0) return routerBeyond(model, sw, dst) ?? dst;
  const home = subnetOf(sw, src) ?? subnetOf(sw, firstAddress(port, src.version) ?? src);
  if (home === undefined || cidrContains(parseCidr(home.cidr)!, dst)) return home && dst;
  // DHCP tells that of the subnet, advertisements the first of all subnets of the link.
  const isTold = src.version === 6 && home.dhcp.enabled;
  for (const subnet of isTold ? advertisedWith(sw, home) : [home]) {
    const gateway = gatewayOf(model, sw, subnet);
    if (gateway) return gateway;
  }
  return undefined;
}

/** The IPv6 subnets that are advertised together. */
function advertisedWith(sw: LogicalSwitch, { vlan }: Subnet): readonly Subnet[] {
  return sw.subnets.filter(
    ({ cidr, dhcp, vlan: other }) =>
      dhcp.enabled && parseCidr(cidr)!.ip.version === 6 && (!sw.vlanAware || (other ?? 0) === (vlan ?? 0)),
  );
}

/** The one that it names, else the router port of the switch in this network. */
function gatewayOf(model: ModelView, { id, tenant }: LogicalSwitch, subnet: Subnet): Ip | undefined {
  if (subnet.gateway !== undefined) return parseIp(subnet.gateway);
  const ports = [...model.routerPortsOfSwitch(id)].filter(
    ({ router }) => model.get('router', router)?.adminUp !== false,
  );
  return routerOf(subnet, tenant, ports)?.ip;
}

/** On a switch without subnets (an uplink) the networks of its router ports are all that tells a neighbour. */
function routerBeyond(model: ModelView, sw: LogicalSwitch, dst: Ip): Ip | undefined {
  const networks = [...model.routerPortsOfSwitch(sw.id)]
    .flatMap(({ addresses }) => addresses.map((text) => parseCidr(text)!))
    .filter(({ ip }) => ip.version === dst.version);
  return networks.some((network) => cidrContains(network, dst)) ? undefined : networks[0]?.ip;
}

/** On a VLAN-aware switch a trunk's workload tags what it sends, unless for the native VLAN. */
function tagOf(sw: LogicalSwitch, port: LogicalPort, src: Ip): Pick<Frame, 'tag'> {
  const vlan = sw.vlanAware ? (subnetOf(sw, src)?.vlan ?? 0) : 0;
  const isUntagged = vlan === 0 || (port.vlan && ('access' in port.vlan || port.vlan.native === vlan));
  return isUntagged ? {} : { tag: vlan };
}

/** A workload that got the question and owns the address answers itself. */
function listening(model: ModelView, sw: LogicalSwitch, { deliveries }: Outcome, ip: Ip): number | undefined {
  for (const { port: id } of deliveries) {
    const port = model.get('port', id);
    if (port && ownershipOf(port, sw).pairs.some(({ network }) => network.prefix > 0 && cidrContains(network, ip)))
      return parseMac(port.mac);
  }
  return resolve(model, sw, ip)?.mac;
}

/** ARP request or neighbour solicitation. */
function questionFor(port: LogicalPort, mac: number, src: Ip, wanted: Ip): Frame {
  if (src.version === 4 && wanted.version === 4)
    return {
      src: mac,
      dst: BROADCAST_MAC,
      etherType: ETHER_TYPE.arp,
      arp: { op: 1, senderIp: src.value, targetIp: wanted.value, senderMac: mac },
    };
  const target = wanted.value as bigint;
  const group = solicitedNodeOf(target);
  const own = src.version === 6 ? src : ({ version: 6, value: linkLocalOf(parseMac(port.mac)!) } as const);
  return {
    src: mac,
    dst: multicastMacOf6(group),
    etherType: ETHER_TYPE.ipv6,
    ip: {
      ...{ version: 6, src: own, dst: { version: 6, value: group }, protocol: IP_PROTO.icmpv6 },
      ...{ ttl: 255, dscp: 0, fragment: 'no', length: 72 },
    },
    icmp: { type: 135, code: 0, id: 0 },
    nd: { target, sourceMac: mac, targetMac: 0 },
  };
}

function packetOf(tuple: Tuple, tcpFlags: number): Omit<Frame, 'src' | 'dst'> {
  const { version, protocol, src, dst, srcPort, dstPort, id } = tuple;
  const ip = {
    version,
    src,
    dst,
    protocol,
    ttl: 64,
    dscp: 0,
    fragment: 'no',
    length: SMALL,
  } as const;
  const etherType = version === 4 ? ETHER_TYPE.ipv4 : ETHER_TYPE.ipv6;
  if (!WITH_PORTS.has(protocol)) return { etherType, ip, icmp: { type: srcPort, code: dstPort, id } };
  const ports = { src: srcPort, dst: dstPort };
  return { etherType, ip, ports, ...(protocol === IP_PROTO.tcp ? { tcpFlags } : {}) };
}
