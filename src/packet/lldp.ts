import { type ByteReader, ByteWriter } from '../base/bytes.ts';
import { type Input, readerOf } from './input.ts';

/*
 * Link layer discovery (IEEE 802.1AB-2016 §8): the payload of EtherType 0x88cc.
 */

/** Where bridges do not forward to: the nearest one keeps the frame (§7.1). */
export const LLDP_NEAREST_BRIDGE = 0x0180_c200_000e;

/** Subtypes of a chassis id (§8.5.2.2) and of a port id (§8.5.3.2). */
export const LLDP_CHASSIS = { component: 1, alias: 2, port: 3, mac: 4, network: 5, name: 6, local: 7 } as const;
export const LLDP_PORT = { alias: 1, component: 2, mac: 3, network: 4, name: 5, circuit: 6, local: 7 } as const;

export interface LldpId {
  readonly subtype: number;
  readonly id: Uint8Array;
}

export interface LldpMessage {
  readonly chassis: LldpId;
  readonly port: LldpId;
  /** How long the neighbour is remembered, in seconds; 0: forget it. */
  readonly ttlS: number;
  readonly tlvs: readonly LldpTlv[];
}

/** Text has one character a byte. */
export type LldpTlv =
  | { readonly kind: 'portDescription' | 'systemName' | 'systemDescription'; readonly text: string }
  | { readonly kind: 'capabilities'; readonly supported: number; readonly enabled: number }
  | { readonly kind: 'organization'; readonly oui: number; readonly subtype: number; readonly data: Uint8Array }
  | { readonly kind: 'unknown'; readonly type: number; readonly data: Uint8Array };

const TYPE = {
  end: 0,
  chassis: 1,
  port: 2,
  ttl: 3,
  portDescription: 4,
  systemName: 5,
  systemDescription: 6,
  capabilities: 7,
  organization: 127,
} as const;
const VALUE_MAX = 511;
const ID_MAX = 255;

/**
 * Chassis, port and time to live come first and in this order (§8.2); the end TLV and what follows it are passed over.
 *
 *      0        7             16
 *     +--------+-------------+------------- - -
 *     |  type  |   length    | value               repeated
 *     +--------+-------------+------------- - -
 *
 * Errors: `truncated`, `bad-length`, `bad-type` (another TLV where one of the three has to be).
 */
export function decodeLldp(input: Input): LldpMessage {
  const reader = readerOf(input);
  const chassis = decodeId(expectTlv(reader, TYPE.chassis, 'lldp.chassis'), 'lldp.chassis');
  const port = decodeId(expectTlv(reader, TYPE.port, 'lldp.port'), 'lldp.port');
  const ttl = expectTlv(reader, TYPE.ttl, 'lldp.ttl');
  const ttlS = ttl.u16('lldp.ttl');
  const tlvs: LldpTlv[] = [];
  while (reader.remaining > 0) {
    const { type, value } = readTlv(reader);
    if (type === TYPE.end) break;
    tlvs.push(decodeTlv(type, value));
  }
  return { chassis, port, ttlS, tlvs };
}

function readTlv(reader: ByteReader): { readonly type: number; readonly value: ByteReader } {
  const head = reader.u16('lldp.tlv');
  return { type: head >> 9, value: reader.sub(head & VALUE_MAX, 'lldp.tlv') };
}

function expectTlv(reader: ByteReader, wanted: number, field: string): ByteReader {
  const { type, value } = readTlv(reader);
  if (type !== wanted) value.fail('bad-type', field, `TLV of type ${type}`);
  return value;
}

function decodeId(value: ByteReader, field: string): LldpId {
  const subtype = value.u8(field);
  if (value.remaining === 0 || value.remaining > ID_MAX) value.fail('bad-length', field, `${value.remaining} bytes`);
  return { subtype, id: value.rest() };
}

function decodeTlv(type: number, value: ByteReader): LldpTlv {
  switch (type) {
    case TYPE.portDescription:
      return { kind: 'portDescription', text: textOf(value) };
    case TYPE.systemName:
      return { kind: 'systemName', text: textOf(value) };
    case TYPE.systemDescription:
      return { kind: 'systemDescription', text: textOf(value) };
    case TYPE.capabilities:
      return {
        kind: 'capabilities',
        supported: value.u16('lldp.capabilities'),
        enabled: value.u16('lldp.capabilities'),
      };
    case TYPE.organization:
      return {
        kind: 'organization',
        oui: value.u24('lldp.organization'),
        subtype: value.u8('lldp.organization'),
        data: value.rest(),
      };
  }
  return { kind: 'unknown', type, data: value.rest() };
}

function textOf(value: ByteReader): string {
  return Buffer.from(value.rest()).toString('latin1');
}

/** With the end TLV. Error: `RangeError` for a value of more than 511 bytes. */
export function encodeLldp(message: LldpMessage, writer = new ByteWriter()): Uint8Array {
  const from = writer.length;
  tlv(writer, TYPE.chassis, () => writer.u8(message.chassis.subtype).raw(message.chassis.id));
  tlv(writer, TYPE.port, () => writer.u8(message.port.subtype).raw(message.port.id));
  tlv(writer, TYPE.ttl, () => writer.u16(message.ttlS));
  for (const entry of message.tlvs) {
    switch (entry.kind) {
      case 'portDescription':
      case 'systemName':
      case 'systemDescription':
        tlv(writer, TYPE[entry.kind], () => writer.raw(Buffer.from(entry.text, 'latin1')));
        break;
      case 'capabilities':
        tlv(writer, TYPE.capabilities, () => writer.u16(entry.supported).u16(entry.enabled));
        break;
      case 'organization':
        tlv(writer, TYPE.organization, () => writer.u24(entry.oui).u8(entry.subtype).raw(entry.data));
        break;
      case 'unknown':
        tlv(writer, entry.type, () => writer.raw(entry.data));
        break;
    }
  }
  tlv(writer, TYPE.end, () => writer);
  return writer.view(from);
}

function tlv(writer: ByteWriter, type: number, value: () => ByteWriter): void {
  const at = writer.length;
  writer.u16(0);
  value();
  const length = writer.length - at - 2;
  if (length > VALUE_MAX) throw new RangeError(`an LLDP value of ${length} bytes: at most ${VALUE_MAX}`);
  writer.patchU16(at, (type << 9) | length);
}
