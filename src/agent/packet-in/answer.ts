import type { Mac } from '../../base/addresses.ts';
import { DecodeError } from '../../base/errors.ts';
import { PACKET_IN } from '../../compile/tables.ts';
import { decodeEthernet } from '../../packet/ethernet.ts';
import { readerOf } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { decodeIpv4, isFragment } from '../../packet/ipv4.ts';
import { decodeIpv6, fragmentOf } from '../../packet/ipv6.ts';
import { decodeUdp } from '../../packet/udp.ts';
import type { PacketIn } from '../events.ts';
import { answerDhcp } from './dhcp.ts';
import { answerDhcp6 } from './dhcp6.ts';
import type { Link } from './link.ts';
import { routerAdvert } from './router-advert.ts';

/** The frame to send back to the workload, if there is one. Bad bytes are not answered: they cost their sender only. */
export function answerPacketIn(packet: PacketIn, link: Link): Uint8Array | undefined {
  try {
    if (packet.class === PACKET_IN.routerSolicit) return routerAdvert(link, packet.vlan);
    const reader = readerOf(packet.frame);
    const { ethernet } = decodeEthernet(reader);
    if (packet.class === PACKET_IN.dhcp) {
      const { header, body } = decodeIpv4(reader);
      if (header.protocol !== IP_PROTO.udp || isFragment(header)) return undefined;
      return answerDhcp(link, decodeUdp(body).body.rest(), packet.vlan);
    }
    if (packet.class === PACKET_IN.dhcp6) {
      const { header, body } = decodeIpv6(reader);
      if (header.nextHeader !== IP_PROTO.udp || fragmentOf(header)) return undefined;
      return answerDhcp6(link, { ip: header.src, mac: ethernet.src as Mac }, decodeUdp(body).body.rest(), packet.vlan);
    }
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
  return undefined;
}
