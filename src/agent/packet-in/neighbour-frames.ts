import {
  BROADCAST_MAC,
  type Ip,
  isMulticastMac,
  type Mac,
  multicastMacOf6,
  solicitedNodeOf,
} from '../../base/addresses.ts';
import { ByteWriter } from '../../base/bytes.ts';
import { DecodeError } from '../../base/errors.ts';
import { ARP_OP, decodeArp, encodeArp } from '../../packet/arp.ts';
import { decodeEthernet, ETHER_TYPE, encodeEthernet } from '../../packet/ethernet.ts';
import { readerOf } from '../../packet/input.ts';
import { IP_PROTO } from '../../packet/ip-protocol.ts';
import { decodeIpv6 } from '../../packet/ipv6.ts';
import { decodeNd, linkLayerOf } from '../../packet/nd.ts';
import { ndFrame } from './reply.ts';

/** Who asks for a neighbour's MAC: a router port. `ip` is of the version of what is asked for. */
export interface Asker {
  readonly mac: Mac;
  readonly ip: Ip;
}

/**
 * The question for the MAC of `target` (RFC 826, RFC 4861 §4.3): to all, or, where `known` was its MAC, to that alone (RFC 1122
 * §2.3.2.1 (2)). `tag`: the VLAN tag of the frame, 0 for none.
 */
export function neighbourQuestion(asker: Asker, target: Ip, tag: number, known?: Mac): Uint8Array {
  if (target.version === 4) {
    const writer = new ByteWriter(64);
    const vlans = tag === 0 ? [] : [{ tpid: ETHER_TYPE.vlan, vid: tag, pcp: 0, dei: false }];
    const ethernet = { dst: known ?? BROADCAST_MAC, src: asker.mac, etherType: ETHER_TYPE.arp };
    encodeEthernet({ ethernet, vlans }, writer);
    if (asker.ip.version !== 4) throw new TypeError('asker and target of different IP versions');
    encodeArp({ op: ARP_OP.request, sha: asker.mac, spa: asker.ip.value, tha: 0 as Mac, tpa: target.value }, writer);
    return writer.finish();
  }
  if (asker.ip.version !== 6) throw new TypeError('asker and target of different IP versions');
  const group = solicitedNodeOf(target.value);
  const dst = known ?? multicastMacOf6(group);
  return ndFrame({ src: asker.mac, dst, tag }, asker.ip.value, known === undefined ? group : target.value, {
    kind: 'neighborSolicit',
    target: target.value,
    options: [{ kind: 'sourceLinkLayer', mac: asker.mac }],
  });
}

/** Where an address is, as its owner says by ARP or in a neighbour advertisement. Undefined for anything else, and for groups. */
export function neighbourSaid(frame: Uint8Array): { readonly ip: Ip; readonly mac: Mac } | undefined {
  try {
    const reader = readerOf(frame);
    const { ethernet } = decodeEthernet(reader);
    if (ethernet.etherType === ETHER_TYPE.arp) {
      const { op, sha, spa } = decodeArp(reader);
      if (op > ARP_OP.reply || spa === 0 || isMulticastMac(sha) || sha === 0) return undefined;
      return { ip: { version: 4, value: spa }, mac: sha };
    }
    if (ethernet.etherType !== ETHER_TYPE.ipv6) return undefined;
    const { header, body } = decodeIpv6(reader);
    if (header.nextHeader !== IP_PROTO.icmpv6 || header.hopLimit !== 255) return undefined; // RFC 4861 §7.1.2
    const message = decodeNd(body.rest());
    if (message.kind !== 'neighborAdvert') return undefined;
    // Who is asked by unicast may leave its MAC out (RFC 4861 §4.4): then it is the frame's.
    const mac = linkLayerOf(message, 'targetLinkLayer') ?? ethernet.src;
    return isMulticastMac(mac) || mac === 0 ? undefined : { ip: { version: 6, value: message.target }, mac };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
