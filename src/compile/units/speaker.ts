import type { Ip } from '../../base/addresses.ts';
import type { Contribution } from '../../incremental/definitions.ts';
import type { LogicalPort } from '../../model/objects.ts';
import type { Action, Match } from '../../openflow/flow.ts';
import { type SwitchFacts, switchFacts } from '../facts.ts';
import { ARP, ARP_REPLY, ipOf, load, ND, neighbor, PROTO, UNTAGGED } from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, localPortsIndex, type Reader } from '../inputs.ts';
import { macOf } from '../owned.ts';
import { sendsHere } from '../placement.ts';
import { ownAddresses } from '../routers.ts';
import { CLASSIFY, downReason, senderKeys } from './classify.ts';

/**
 * The BGP daemon that has a router port's addresses too (docs/design/gateways.md, §3): what of the wire's frames is its, and what of its own
 * may go out. Before all else, so that no conntrack, no chain and no limit sees it; and only by the wire's own interface.
 */

const BGP_PORT = 179;
/** Single-hop control and echo (RFC 5881 §4), multihop control (RFC 5883 §5). */
const BFD_PORTS = [3784, 3785, 4784] as const;

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
    return [
      ...wires.flatMap((wire) => heard(reader, wire, facts, mac, addresses, output(ofport))),
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
  const onAsEver = { do: [toSpeaker, ...load(senderKeys(reader, port, onSwitch))], goto: 'learn' } as const;
  return [
    ...addresses.flatMap((ip) =>
      sessionFields(ip.version).map((fields) =>
        flow(
          'classify',
          CLASSIFY.speaker,
          { ...from, ...fields, ...address(ip, 'dst') },
          { do: [toSpeaker], drop: 'speaker' },
        ),
      ),
    ),
    flow('classify', CLASSIFY.speaker, { ...from, ...ARP_REPLY }, onAsEver),
    flow('classify', CLASSIFY.speaker, { ...from, ...neighbor(ND.advert) }, onAsEver),
  ];
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
    ...BFD_PORTS.map((port) => ({ ...ip, ip_proto: PROTO.udp, udp_dst: port })),
  ];
}

function address({ version, value }: Ip, end: 'src' | 'dst'): Match {
  return version === 4 ? { [`ip_${end}`]: value } : { [`ipv6_${end}`]: value };
}

function output(port: number): Action {
  return { kind: 'output', port };
}
