import { ETHER_TYPE } from '../packet/ethernet.ts';
import type { FlowKey } from '../packet/flow-key.ts';
import { IP_PROTO } from '../packet/ip-protocol.ts';

/** Where the headers of a frame begin: for the few fields that a flow key does not have, and to rewrite them. */
export interface IpPlace {
  /** Offset of the IP header. */
  readonly network: number;
  /** Offset of what follows the last extension header; absent where that is not in the frame. */
  readonly upper?: number;
  /** Bytes from the IP header on, as it says; 0 where the header is not whole. */
  readonly length: number;
}

/** `key`: of these bytes. Never throws; for what is not IP the lengths are 0. */
export function locateIp(bytes: Uint8Array, key: FlowKey): IpPlace {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let network = 14 + 4 * key.vlans.length;
  // An 802.3 frame with a SNAP header has its type eight bytes later.
  if (network <= bytes.length && view.getUint16(network - 2) < 0x600) network += 8;
  if (key.ethType === ETHER_TYPE.ipv4 && bytes.length >= network + 20) {
    const upper = network + (bytes[network]! & 15) * 4;
    return {
      network,
      length: view.getUint16(network + 2),
      ...(upper < bytes.length ? { upper } : {}),
    };
  }
  if (key.ethType === ETHER_TYPE.ipv6 && bytes.length >= network + 40) {
    const upper = behindExtensions(view, network);
    return {
      network,
      length: 40 + view.getUint16(network + 4),
      ...(upper === undefined ? {} : { upper }),
    };
  }
  return { network, length: 0 };
}

function behindExtensions(view: DataView, network: number): number | undefined {
  let at = network + 40;
  let protocol = view.getUint8(network + 6);
  for (;;) {
    const isAuthentication = protocol === IP_PROTO.authentication;
    const isSized =
      protocol === IP_PROTO.hopByHop || protocol === IP_PROTO.routing || protocol === IP_PROTO.destination;
    if (!isAuthentication && !isSized && protocol !== IP_PROTO.fragment) break;
    if (at + 8 > view.byteLength) return undefined;
    if (protocol === IP_PROTO.fragment && view.getUint16(at + 2) & 0xfff8) return undefined;
    const next = view.getUint8(at);
    if (isSized) at += (view.getUint8(at + 1) + 1) * 8;
    else at += isAuthentication ? (view.getUint8(at + 1) + 2) * 4 : 8;
    protocol = next;
  }
  return at < view.byteLength ? at : undefined;
}
