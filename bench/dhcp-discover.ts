import type { Ipv4, Mac } from '../src/base/addresses.ts';
import { DHCP_FLAG, DHCP_MESSAGE, DHCP_OP, type DhcpMessage } from '../src/packet/dhcp.ts';

const NONE = 0 as Ipv4;

/** What a client sends first (RFC 2131 §4.4.1); it wants its offer by broadcast. */
export function discoverOf(clientMac: Mac, transactionId: number): DhcpMessage {
  return {
    op: DHCP_OP.request,
    hops: 0,
    transactionId,
    secs: 0,
    flags: DHCP_FLAG.broadcast,
    clientAddress: NONE,
    yourAddress: NONE,
    serverAddress: NONE,
    relayAddress: NONE,
    clientMac,
    serverName: '',
    bootFile: '',
    options: [
      { kind: 'messageType', value: DHCP_MESSAGE.discover },
      { kind: 'parameterList', value: Uint8Array.of(1, 3, 6, 15, 26, 42, 121) },
    ],
  };
}
