import { type Ip, parseIp } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { LogicalPort } from '../../model/objects.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { type SwitchFacts, switchFacts } from '../facts.ts';
import { ARP, ARP_REPLY, ipOf, load, match, ND, neighbor, PROTO, UNTAGGED } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { bgpPeersIndex, define, localPortsIndex, type Reader } from '../inputs.ts';
import { bfdLimit } from '../meters.ts';
import { macOf } from '../owned.ts';
import { sendsHere } from '../placement.ts';
import { ownAddresses } from '../routers.ts';
import { CLASSIFY, downReason, senderKeys } from './classify.ts';
import { GUARD } from './guard.ts';
import { probedAt } from './next-hop-probe.ts';

/**
 * The BGP daemon that has a router port's addresses too (docs/design/gateways.md, §3): what of the wire's frames is its, and what of its own
 * may go out. Before all else, so that no conntrack and no chain sees it; and only by the wire's own interface.
 *
 *     classify ─┬─(BGP and BFD to the router port)─▶ guard ─┬─(from a peer)─▶ speaker
 *               │                                           └─(from others)─▶ learn, as to any address of a router
 *               └─(ARP replies, advertisements)─▶ speaker and learn
 *
 * The source is asked in `guard`, where nothing else of a wire comes: in `classify` there would be a megaflow for each source of whatever comes
 * for that address, translated connections too.
 */

const BGP_PORT = 179;
/** Single-hop control and echo (RFC 5881 §4), multihop control (RFC 5883 §5). */
const BFD_PORTS = { neighbour: [3784, 3785], multihop: [4784] } as const;
/** A neighbour sends BFD with the highest (RFC 5881 §5), and nobody further away can. */
const NEIGHBOUR_TTL = 255;

export const speakerUnit = define.unit({
  name: 'speaker',
  over: 'speaker',
  run(reader, id) {
    const ofport = reader.pick('speaker', id, 'ofport')!;
    const onSwitch = reader.pick('routerPort', id, 'switch');
    const facts = onSwitch === undefined ? undefined : reader.derive(switchFacts, onSwitch);
    const router = reader.pick('routerPort', id, 'router');
    const isUp = reader.pick('routerPort', id, 'adminUp') && router && reader.pick('router', router, 'adminUp');
    if (!isUp || facts === undefined || facts.vlanAware) return [];
    const wires = reader.ids(localPortsIndex, onSwitch!).flatMap((port) => wireOf(reader, port, facts) ?? []);
    if (wires.length === 0) return [];
    const mac = macOf(reader.pick('routerPort', id, 'mac')!);
    const addresses = reader.derive(ownAddresses, id);
    const said = wires.map((wire) => output(wire.ofport));
    const key = reader.pick('routerPort', id, 'key')!;
    const limits = { neighbour: bfdLimit(key, 'neighbour'), multihop: bfdLimit(key, 'multihop') };
    const peers = saidByPeers(reader, id);
    return [
      ...Object.values(limits).flatMap(({ meters }) => meters),
      ...wires.flatMap((wire) => heard(reader, wire, facts, mac, addresses, output(ofport))),
      ...wires.flatMap(({ port: { key: inPort } }) => [
        ...peers.map(({ fields, bfd }) =>
          flow('guard', GUARD.peer, match({ inPort }, { eth_dst: mac, ...fields }), {
            do: [...(bfd === undefined ? [] : limits[bfd].pass), output(ofport)],
            drop: 'speaker',
          }),
        ),
        flow('guard', GUARD.stranger, match({ inPort }), { goto: 'learn' }),
      ]),
      ...saidBy(mac, addresses).map((what) =>
        flow(
          'classify',
          CLASSIFY.speaker,
          { in_port: ofport, vlan_vid: UNTAGGED, eth_src: mac, ...what },
          { do: said },
        ),
      ),
    ];
  },
});

interface Wire {
  readonly port: LogicalPort;
  readonly ofport: number;
}

/** A port behind which the outside can be: without port security, and as able to send as any. */
function wireOf(reader: Reader, id: string, onSwitch: SwitchFacts): Wire | undefined {
  const port = reader.get('port', id);
  const ofport = reader.pick('interface', id, 'ofport');
  if (port === undefined || ofport === undefined || port.portSecurity) return undefined;
  if (downReason(reader, port, onSwitch) !== undefined || sendsHere(reader, id) !== 'active') return undefined;
  return { port, ofport };
}

function heard(
  reader: Reader,
  { port, ofport }: Wire,
  onSwitch: SwitchFacts,
  mac: number,
  addresses: readonly Ip[],
  toSpeaker: Action,
): Contribution[] {
  const from: Match = { in_port: ofport, vlan_vid: UNTAGGED, eth_dst: mac };
  const keys = load(senderKeys(reader, port, onSwitch));
  const onAsEver = { do: [toSpeaker, ...keys], goto: 'learn' } as const;
  return [
    ...addresses.flatMap((ip) =>
      sessionFields(ip.version).map((fields) =>
        flow('classify', CLASSIFY.speaker, { ...from, ...fields, ...address(ip, 'dst') }, { do: keys, goto: 'guard' }),
      ),
    ),
    flow('classify', CLASSIFY.speaker, { ...from, ...ARP_REPLY }, onAsEver),
    flow('classify', CLASSIFY.speaker, { ...from, ...neighbor(ND.advert) }, onAsEver),
  ];
}

/** What a peer says to the daemon. */
interface Said {
  readonly fields: Match;
  /** Absent: it is BGP. */
  readonly bfd?: keyof typeof BFD_PORTS;
}

/**
 * Of all with whom the agent has the daemon speak (src/agent/bgp/plan.ts): peers, those that are held down too (it is the daemon that says so to them), and
 * next hops that are probed by BFD.
 */
function saidByPeers(reader: Reader, id: string): Said[] {
  const peers = reader.ids(bgpPeersIndex, id).flatMap((peer): Said[] => {
    const ip = parseIp(reader.pick('bgpPeer', peer, 'address')!)!;
    const bgp = { fields: { ...ipOf(ip.version), ip_proto: PROTO.tcp, ...address(ip, 'src') } };
    if (!reader.pick('bgpPeer', peer, 'bfd')) return [bgp];
    const isFar = (reader.pick('bgpPeer', peer, 'multihop') ?? 1) > 1;
    return [bgp, ...bfdOf(ip, 'neighbour'), ...(isFar ? bfdOf(ip, 'multihop') : [])];
  });
  const probed = reader.derive(probedAt, id).filter(({ type }) => type === 'bfd');
  return [...peers, ...probed.flatMap(({ hop }) => bfdOf(hop, 'neighbour'))];
}

function bfdOf(ip: Ip, bfd: keyof typeof BFD_PORTS): Said[] {
  const from = { ...ipOf(ip.version), ip_proto: PROTO.udp, ...address(ip, 'src') };
  const ttl = bfd === 'neighbour' ? { ip_ttl: NEIGHBOUR_TTL } : {};
  return BFD_PORTS[bfd].map((port) => ({ fields: { ...from, ...ttl, udp_dst: port }, bfd }));
}

/** What the daemon may say, as whom it is. */
function saidBy(mac: number, addresses: readonly Ip[]): Match[] {
  return addresses.flatMap((ip) => {
    const sessions = sessionFields(ip.version).map((fields) => ({ ...fields, ...address(ip, 'src') }));
    if (ip.version === 4) return [...sessions, { ...ARP, arp_spa: ip.value, arp_sha: mac }];
    return [
      ...sessions,
      { ...neighbor(ND.solicit), ipv6_src: ip.value, nd_sll: mac },
      { ...neighbor(ND.advert), ipv6_src: ip.value, nd_target: ip.value, nd_tll: mac },
    ];
  });
}

/** BGP either way, and BFD. */
function sessionFields(version: 4 | 6): Match[] {
  const ip = ipOf(version);
  return [
    { ...ip, ip_proto: PROTO.tcp, tcp_dst: BGP_PORT },
    { ...ip, ip_proto: PROTO.tcp, tcp_src: BGP_PORT },
    ...Object.values(BFD_PORTS)
      .flat()
      .map((port) => ({ ...ip, ip_proto: PROTO.udp, udp_dst: port })),
  ];
}

function address({ version, value }: Ip, end: 'src' | 'dst'): Match {
  return version === 4 ? { [`ip_${end}`]: value } : { [`ipv6_${end}`]: value };
}

function output(port: number): Action {
  return { kind: 'output', port };
}
