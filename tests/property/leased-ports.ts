import { formatIp, type Ip } from '../../src/base/addresses.ts';
import type { ModelView } from '../../src/model/view.ts';
import { extractFlowKey, type FlowKey } from '../../src/packet/flow-key.ts';
import { setField } from '../../src/pipeline/field-actions.ts';
import { PacketState } from '../../src/pipeline/packet-state.ts';
import { hex } from './observation.ts';

const ERRORS: Readonly<Record<number, readonly number[]>> = { 1: [3, 4, 5, 11, 12], 58: [1, 2, 3, 4] };

/**
 * Which port of a leased block a connection gets is the switch's to choose: `simulate` names one that may be it. Here the choices of a real switch
 * are learned from what it delivers, and compared without; answers go to the port that was chosen.
 */
export class LeasedPorts {
  /** `address protocol port of simulate` → port of the switch. */
  readonly #chosen = new Map<string, number>();
  readonly #leased: ReadonlySet<string>;

  constructor(model: ModelView) {
    this.#leased = new Set([...model.all('natLease')].map(({ address }) => address));
  }

  /** What `simulate` says is delivered, where the frame went to the port that the switch has chosen (a mirror's copy of it): as `adapt` sent it. */
  adaptLine(line: string): string {
    const [host, port, text] = line.split(' ');
    const bytes = this.adapt(Uint8Array.from(Buffer.from(text!, 'hex')));
    return bytes === undefined ? line : `${host} ${port} ${hex(bytes)}`;
  }

  /** What is delivered, without what the switch may choose. */
  canonical(line: string): string {
    const [host, port, text] = line.split(' ');
    const bytes = Uint8Array.from(Buffer.from(text!, 'hex'));
    const key = extractFlowKey(bytes);
    const end = bytes.length;
    const l4 = upperOf(bytes, key);
    if (key.ethType === 0x86dd && key.ipProto === 58 && ERRORS[58]!.includes(key.tpSrc)) {
      // Where Open vSwitch's userspace datapath (3.5, nat_packet_ipv6) translates an ICMPv6 error it takes it for a packet of the protocol that it
      // quotes, and mends a checksum where TCP and UDP would have theirs; what it spoils there goes into the quoted checksum.
      for (const [first, last] of [
        [2, 8],
        [16, 18],
        [54, 56],
        [64, 66],
      ] as const)
        bytes.fill(0, l4 + first, l4 + last);
    }
    if (!this.#leased.has(formatIp(source(key)))) return `${host} ${port} ${hex(bytes)}`;
    if (ERRORS[key.ipProto]?.includes(key.tpSrc)) bytes.fill(0, l4 + 2, end);
    if (key.ipProto === 6) bytes.fill(0, l4 + 16, l4 + 18);
    if (key.ipProto === 17) bytes.fill(0, l4 + 6, l4 + 8);
    if (key.ipProto === 6 || key.ipProto === 17) bytes.fill(0, l4, l4 + 2);
    return `${host} ${port} ${hex(bytes)}`;
  }

  /** Takes note of the ports with which frames came that are the same but for that. */
  learn(wanted: readonly string[], seen: readonly string[]): void {
    const pairs = new Map(wanted.map((line) => [this.canonical(line), line]));
    for (const line of seen) {
      const twin = pairs.get(this.canonical(line));
      if (twin === undefined || twin === line) continue;
      const [ours, theirs] = [keyOf(twin), keyOf(line)];
      this.#chosen.set(`${formatIp(source(ours))} ${ours.ipProto} ${ours.tpSrc}`, theirs.tpSrc);
    }
  }

  /** The frame as its sender sends it to this switch; undefined where it quotes what only `simulate` has seen. */
  adapt(bytes: Uint8Array): Uint8Array | undefined {
    const key = extractFlowKey(bytes);
    const to = formatIp(destination(key));
    if (!this.#leased.has(to) || this.#chosen.size === 0) return bytes;
    if (ERRORS[key.ipProto]?.includes(key.tpSrc)) return undefined;
    const port = this.#chosen.get(`${to} ${key.ipProto} ${key.tpDst}`);
    if (port === undefined || (key.ipProto !== 6 && key.ipProto !== 17)) return bytes;
    const packet = PacketState.from({ bytes, inPort: 0 });
    setField(packet, key.ipProto === 6 ? 'tcp_dst' : 'udp_dst', port);
    return packet.bytes;
  }
}

function keyOf(line: string): Readonly<FlowKey> {
  return { ...extractFlowKey(Uint8Array.from(Buffer.from(line.split(' ')[2]!, 'hex'))) };
}

function source(key: Readonly<FlowKey>): Ip {
  return key.ethType === 0x86dd ? { version: 6, value: key.ipv6Src } : { version: 4, value: key.ipSrc };
}

function destination(key: Readonly<FlowKey>): Ip {
  return key.ethType === 0x86dd ? { version: 6, value: key.ipv6Dst } : { version: 4, value: key.ipDst };
}

function upperOf(bytes: Uint8Array, key: Readonly<FlowKey>): number {
  const l3 = 14 + 4 * key.vlans.length;
  return l3 + (key.ethType === 0x86dd ? 40 : (bytes[l3]! & 15) * 4);
}
