import { NEXT_HOP, REGISTERS } from '../compile/fields.ts';
import type { FieldRange, FieldValue, Masked, Match } from '../openflow/flow.ts';

/** What the pipeline knew of a frame when it sent it to the agent. Keys are tunnel keys; 0 where not set. */
export interface PacketRegisters {
  /** The port that it came from; 0 where it came from a tunnel, or got not so far. */
  readonly portKey: number;
  /** The switch or router where it was. */
  readonly switchKey: number;
  /** In a switch: the port that it was to go to. In a router: the router port by which it came in. */
  readonly outPortKey: number;
  readonly vlan: number;
  readonly fromTunnel: boolean;
  /** It may only be of a known connection. */
  readonly knownOnly: boolean;
  /** It was for a virtual address, and came from outside: here at its member it was translated. */
  readonly memberVip: boolean;
  /** Of which load balancer that was; 0 where another host's member was asked before. */
  readonly balancerKey: number;
  /** The router port by which it came in or, behind the routes, by which it is to leave. */
  readonly routerPortKey: number;
  /** The address that is looked for: of version 4 in the lowest 32 bits. */
  readonly nextHop: bigint;
  /** What conntrack said last. */
  readonly isNew: boolean;
  readonly isEstablished: boolean;
  readonly isReply: boolean;
  readonly isRelated: boolean;
  readonly isInvalid: boolean;
}

/** Nothing was set. */
export const NO_REGISTERS: PacketRegisters = {
  portKey: 0,
  switchKey: 0,
  outPortKey: 0,
  vlan: 0,
  fromTunnel: false,
  knownOnly: false,
  memberVip: false,
  balancerKey: 0,
  routerPortKey: 0,
  nextHop: 0n,
  isNew: false,
  isEstablished: false,
  isReply: false,
  isRelated: false,
  isInvalid: false,
};

/** Registers of the packet-in. */
export function readRegisters(match: Match): PacketRegisters {
  const memberVip = isSet(match, REGISTERS.memberVip);
  return {
    portKey: read(match, REGISTERS.inPort),
    switchKey: read(match, REGISTERS.switch),
    outPortKey: read(match, REGISTERS.outPort),
    vlan: read(match, REGISTERS.vlan),
    fromTunnel: isSet(match, REGISTERS.fromTunnel),
    knownOnly: isSet(match, REGISTERS.knownOnly),
    memberVip,
    balancerKey: memberVip ? read(match, REGISTERS.balancer) : 0,
    routerPortKey: read(match, REGISTERS.routerPort),
    nextHop: nextHopOf(match),
    isNew: isSet(match, REGISTERS.isNew),
    isEstablished: isSet(match, REGISTERS.isEstablished),
    isReply: isSet(match, REGISTERS.isReply),
    isRelated: isSet(match, REGISTERS.isRelated),
    isInvalid: isSet(match, REGISTERS.isInvalid),
  };
}

/** Registers that are zero are not part of a packet-in. */
function read(match: Match, { field, from, bits }: FieldRange): number {
  return Math.floor(Number(numberOf(match[field])) / 2 ** from) % 2 ** bits;
}

function isSet(match: Match, bit: FieldRange): boolean {
  return read(match, bit) === 1;
}

/** Open vSwitch tells the wide register, or the four that it consists of. */
function nextHopOf(match: Match): bigint {
  const wide = numberOf(match[NEXT_HOP.field]);
  if (wide !== 0n) return wide;
  const words = [match.reg8, match.reg9, match.reg10, match.reg11];
  return words.reduce<bigint>((value, word) => (value << 32n) | numberOf(word), 0n);
}

function numberOf(entry: FieldValue | Masked | undefined): bigint {
  return BigInt((typeof entry === 'object' ? entry.value : entry) ?? 0);
}
