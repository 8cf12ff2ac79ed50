import type { FieldName } from '../openflow/fields.ts';
import type { Action, FieldRange, FieldValue, Masked, Match } from '../openflow/flow.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';

/**
 * Every register bit of the pipeline, declared once:
 *
 *          31            24 23 22 21 20 19 18 17 16 15          12 11                    0
 *   reg0   inPort    tunnel key of the port that the frame came from (0: from a tunnel)
 *   reg1   switch    key of the switch or (`router`) of the router where it is now
 *   reg2   outPort   tunnel key of the local port that it goes to
 *          enteredBy within a router: key of its port by which the packet came in
 *   reg3   |ho|er|qu|ko| chunk (of a flood) | outOfport: OpenFlow port of outPort    |
 *          until it is at a local port           |fromLarger|marks| dscp            |
 *   reg4   |ad|hand |fr|bi|mv|ju|ow|vv|sh|iv|ot|it|un|ad|tu|re|rl|es|ne| vlan     |
 *   reg5   chain     key of the chain that is being run, or of the set that it asks for; between chains
 *          | memberPort                 | natZone                       |kind|          (reg4 `un`: keepPort)
 *   reg6   |in|rv| slot, gate, walk|po|le|verd.| segment                            |
 *   reg7   profile   which security groups the port has that are asked (31 bits; |he| above them); within a router
 *          routerPort  as enteredBy, then of the port by which it leaves
 *   reg8..11 (xxreg2) nextHop: the address that is looked for; IPv4 in its lowest 32 bits (reg11)
 *   reg12  | outZone                    | inZone                             |
 *   reg13  scratchIp, or balancer: key of the load balancer; of a copy, mirror: key of the mirror
 *   reg14  scratchMacLow, or member: key of the member's port
 *   reg15  | hops: one bit per router crossed     | scratchMacHigh (16 bits)             |
 *
 * A packet-in shows the agent reg0 (which port), reg1 (which device), the low 12 bits of reg4 (which VLAN), and from within a router
 * enteredBy, routerPort and nextHop.
 */
export const REGISTERS = {
  inPort: { field: 'reg0', from: 0, bits: 32 },
  switch: { field: 'reg1', from: 0, bits: 32 },
  router: { field: 'reg1', from: 0, bits: 32 },
  outPort: { field: 'reg2', from: 0, bits: 32 },
  enteredBy: { field: 'reg2', from: 0, bits: 32 },
  outOfport: { field: 'reg3', from: 0, bits: 16 },
  chunk: { field: 'reg3', from: 16, bits: 12 },
  /** An uplink has let it in only as part of a known connection (units/uplink.ts). */
  knownOnly: { field: 'reg3', from: 28, bits: 1 },
  /** A chain is run to find out what it would say: it logs nothing, and what it drops is not counted. */
  quiet: { field: 'reg3', from: 29, bits: 1 },
  /** Where it came from causes too much work for the agent: it is not told of errors, or not asked for next hops (units/held-back.ts). */
  noErrors: { field: 'reg3', from: 30, bits: 1 },
  noHops: { field: 'reg3', from: 31, bits: 1 },
  /** At the entry: what the IP packets of the port are marked with, and whether they are. */
  dscp: { field: 'reg3', from: 0, bits: 6 },
  marks: { field: 'reg3', from: 6, bits: 1 },
  /** It came in where packets may be larger than tunnels take (sizes.ts): routers ask. */
  fromLarger: { field: 'reg3', from: 7, bits: 1 },
  /** 0 where the frame has no VLAN. */
  vlan: { field: 'reg4', from: 0, bits: 12 },
  /**
   * What the zone said that was asked last, the sender's or then the receiver's: a connection to commit, one that was answered, one that
   * belongs to another (or an ICMP error about one), the reply direction. They outlive `commit` and routers, which `ct_state` does not.
   */
  isNew: { field: 'reg4', from: 12, bits: 1 },
  isEstablished: { field: 'reg4', from: 13, bits: 1 },
  isRelated: { field: 'reg4', from: 14, bits: 1 },
  isReply: { field: 'reg4', from: 15, bits: 1 },
  fromTunnel: { field: 'reg4', from: 16, bits: 1 },
  /** The frame has a VLAN but no tag yet: it came from an access port, or in the native VLAN. */
  addTag: { field: 'reg4', from: 17, bits: 1 },
  /** The flood is for an unknown destination: only to ports without port security. */
  unknown: { field: 'reg4', from: 18, bits: 1 },
  /** Until the packet is in a switch: the members of the balancer serve at the port that was asked for. Nobody asks for `unknown` then. */
  keepPort: { field: 'reg4', from: 18, bits: 1 },
  /** The port that it came from, that it goes to, is tracked (docs/design/layer3.md, §2). */
  inTracked: { field: 'reg4', from: 19, bits: 1 },
  outTracked: { field: 'reg4', from: 20, bits: 1 },
  /** Conntrack cannot make sense of it; such packets get no further than into a router's chain. */
  isInvalid: { field: 'reg4', from: 21, bits: 1 },
  /** The limits and mirrors of the port that it came from are behind it. */
  shaped: { field: 'reg4', from: 22, bits: 1 },
  /** Its destination was a VIP, translated in the sender's zone. */
  viaVip: { field: 'reg4', from: 23, bits: 1 },
  /** A router made it: no chain, no source translation. */
  own: { field: 'reg4', from: 24, bits: 1 },
  /** Which rules the group table asks: 0 ingress, 1 egress. */
  judge: { field: 'reg4', from: 25, bits: 1 },
  /** Its destination was a VIP, translated at the member (its client is outside). */
  memberVip: { field: 'reg4', from: 26, bits: 1 },
  /** Larger than the next network takes. */
  tooBig: { field: 'reg4', from: 27, bits: 1 },
  /** It is for an address of the router itself. */
  forRouter: { field: 'reg4', from: 28, bits: 1 },
  /** A TCP packet to a VIP from outside, in mid-connection: a `HAND_OFF`. */
  handOff: { field: 'reg4', from: 29, bits: 2 },
  /** Somebody's share of connection tracking has room for its connection (units/admission.ts). */
  admitted: { field: 'reg4', from: 31, bits: 1 },
  chain: { field: 'reg5', from: 0, bits: 32 },
  /** Which part of the chain: a chain is cut behind every jump and log. */
  segment: { field: 'reg6', from: 0, bits: 16 },
  verdict: { field: 'reg6', from: 16, bits: 2 },
  /** A `return` left the chain. */
  left: { field: 'reg6', from: 18, bits: 1 },
  /** The policy of the chain that hangs on the port is to drop. */
  policyDrop: { field: 'reg6', from: 19, bits: 1 },
  /** Slot of a load balancer. */
  slot: { field: 'reg6', from: 20, bits: 10 },
  /** In the in-chain of an uplink: what it takes the packet for, a `WALK`. */
  walk: { field: 'reg6', from: 20, bits: 2 },
  /** At outside ports, before a slot is chosen: which pre-filters are still to be asked, a `GATE`. */
  gate: { field: 'reg6', from: 20, bits: 3 },
  /** The routes are asked for the way back to the source. */
  reverse: { field: 'reg6', from: 30, bits: 1 },
  /** The address is in the set that a rule asked for. */
  isIn: { field: 'reg6', from: 31, bits: 1 },
  /** While no chain is run: slot of an ECMP route; what it is still to be XORed with; and whether it is. */
  ecmpSlot: { field: 'reg6', from: 20, bits: 8 },
  ecmpOther: { field: 'reg6', from: 0, bits: 8 },
  ecmpMixing: { field: 'reg6', from: 28, bits: 1 },
  profile: { field: 'reg7', from: 0, bits: 32 },
  /** Above the profile's number: of a connection that begins, a rule with a helper is looked for, or was found (units/connection-helpers.ts). */
  helped: { field: 'reg7', from: 31, bits: 1 },
  inZone: { field: 'reg12', from: 0, bits: 16 },
  outZone: { field: 'reg12', from: 16, bits: 16 },
  /** While no chain is run: the zone in which an address is being translated; its last bits are a `ZONE_KIND`. */
  natZone: { field: 'reg5', from: 0, bits: 16 },
  natZoneKind: { field: 'reg5', from: 0, bits: 2 },
  /** While no chain is run: the port that the members of the balancer serve at (or `keepPort`). */
  memberPort: { field: 'reg5', from: 16, bits: 16 },
  balancer: { field: 'reg13', from: 0, bits: 32 },
  member: { field: 'reg14', from: 0, bits: 32 },
  mirror: { field: 'reg13', from: 0, bits: 32 },
  routerPort: { field: 'reg7', from: 0, bits: 32 },
  scratchIp: { field: 'reg13', from: 0, bits: 32 },
  scratchMacLow: { field: 'reg14', from: 0, bits: 32 },
  scratchMacHigh: { field: 'reg15', from: 0, bits: 16 },
  /** Routers entered so far, counted in ones from the lowest bit up: a move is all that it takes to add one. */
  hops: { field: 'reg15', from: 16, bits: 16 },
  /** Its first bit: a router has sent it on. */
  routed: { field: 'reg15', from: 16, bits: 1 },
  /** Its last: 16 routers are behind it. */
  hopsUsedUp: { field: 'reg15', from: 31, bits: 1 },
} as const satisfies Record<string, FieldRange>;
export type RegisterName = keyof typeof REGISTERS;
export type Registers = { readonly [R in RegisterName]?: number };
/** As `Registers`, for matches: some bits of a register will do. */
export type RegisterMatch = { readonly [R in RegisterName]?: number | Masked };

export const VERDICT = { none: 0, accept: 1, drop: 2, reject: 3 } as const;

/** Members that do not know the packet's connection may hand it to the others; or one of the others has got it so, and may not. */
export const HAND_OFF = { may: 1, was: 2 } as const;

/** Of a packet whose state nobody here knows: it begins a connection, or belongs to a known one (units/uplink.ts). */
export const WALK = { asNew: 1, asKnown: 2 } as const;

/** Pre-filters are asked in this order: of the switch, of the router, of the address. */
export const GATE = { switch: 1, router: 2, address: 3, passed: 4 } as const;

/** `ct_state`: its lowest bits, in the order of the registers isNew, isEstablished, isRelated, isReply. */
export const CT_FLAGS = { field: 'ct_state', from: 0, bits: 4 } as const satisfies FieldRange;
export const TRACKED_FLAGS = { field: 'reg4', from: 12, bits: 4 } as const satisfies FieldRange;
/** Bits of it (`ovs-fields(7)`). */
export const CT_STATE = { new: 0x01, reply: 0x08, invalid: 0x10, tracked: 0x20 } as const;
/** Conntrack knows what it is: without this no field of the original direction may be matched. */
export const VALID: Match = { ct_state: { value: CT_STATE.tracked, mask: CT_STATE.tracked | CT_STATE.invalid } };
export const INVALID: Match = { ct_state: { value: CT_STATE.invalid, mask: CT_STATE.invalid } };

/** 128 bits; IPv4 addresses stand in the lowest 32. Too wide for `load` and `match`: use it as a field. */
export const NEXT_HOP = { field: 'xxreg2', from: 0, bits: 128 } as const satisfies FieldRange;
export const NEXT_HOP_4 = { field: 'reg11', from: 0, bits: 32 } as const satisfies FieldRange;

/**
 * Bits of `ct_mark` in a port's zone: the connection came through a VIP, translated at the client, or here at the member; and one that all
 * connections have: a packet without it is of none, as the zone was full (units/admission.ts). In any zone
 * `copied`: another host was told of the connection, when it was first answered (units/hold.ts). `helped`: a helper reads it, `began`: and the port
 * of this zone began it. The data connections that the helper lets in have the same mark, and no other.
 */
export const CT_MARK = { viaVip: 1, memberVip: 2, kept: 4, copied: 8, helped: 16, began: 32 } as const;
/** In a router's zone, of connections of L2 gateways: the port that their source was given (units/hold.ts). */
export const SNAT_PORT_MARK = { field: 'ct_mark', from: 16, bits: 16 } as const satisfies FieldRange;

/** Match on registers and fields; registers that share a word become one masked field. */
export function match(registers: RegisterMatch, fields: Match = {}): Match {
  const words: Record<string, FieldValue | Masked> = {};
  for (const [field, { value, mask }] of wordsOf(registers)) {
    words[field] = mask === 0xffff_ffff ? value : { value, mask };
  }
  return { ...words, ...fields };
}

/** Actions that set registers: one per word. */
export function load(registers: Registers): Action[] {
  const actions: Action[] = [];
  for (const [field, { value, mask }] of wordsOf(registers)) {
    actions.push(mask === 0xffff_ffff ? { kind: 'setField', field, value } : { kind: 'setField', field, value, mask });
  }
  return actions;
}

function wordsOf(registers: RegisterMatch): Map<FieldName, { value: number; mask: number }> {
  const words = new Map<FieldName, { value: number; mask: number }>();
  for (const name in registers) {
    const { field, from, bits } = REGISTERS[name as RegisterName];
    const given = registers[name as RegisterName]!;
    const value = typeof given === 'object' ? Number(given.value) : given;
    const all = bits === 32 ? 0xffff_ffff : (1 << bits) - 1;
    const ones = typeof given === 'object' ? Number(given.mask) & all : all;
    const word = words.get(field);
    if (word === undefined) words.set(field, { value: (value << from) >>> 0, mask: (ones << from) >>> 0 });
    else {
      word.value = (word.value | (value << from)) >>> 0;
      word.mask = (word.mask | (ones << from)) >>> 0;
    }
  }
  return words;
}

/** Copies a whole field (or bits of it) into a register, or back. */
export function move(src: FieldRange, dst: FieldRange): Action {
  return { kind: 'move', src, dst };
}

export function set(field: FieldName, value: FieldValue): Action {
  return { kind: 'setField', field, value };
}

/** A 48-bit field into the scratch registers, and back. */
export function moveMacToScratch(field: FieldName): Action[] {
  return [
    move({ field, from: 0, bits: 32 }, REGISTERS.scratchMacLow),
    move({ field, from: 32, bits: 16 }, REGISTERS.scratchMacHigh),
  ];
}

export function moveScratchToMac(field: FieldName): Action[] {
  return [
    move(REGISTERS.scratchMacLow, { field, from: 0, bits: 32 }),
    move(REGISTERS.scratchMacHigh, { field, from: 32, bits: 16 }),
  ];
}

/** A MAC as the two scratch registers hold it. */
export function scratchMac(mac: number): Registers {
  return { scratchMacLow: mac % 0x1_0000_0000, scratchMacHigh: Math.floor(mac / 0x1_0000_0000) };
}

// Ethernet and IP as the pipeline asks for them; prerequisites included.
export const ETH = { ipv4: 0x0800, arp: 0x0806, rarp: 0x8035, ipv6: 0x86dd } as const;
export const PROTO = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
export const ND = { solicit: 135, advert: 136, routerSolicit: 133, routerAdvert: 134, redirect: 137 } as const;

/** Behind the outer VLAN tag, which alone is read (Open vSwitch's `vlan-limit`), another: nothing tells what is in there. */
export const INNER_TAGGED: readonly Match[] = [{ eth_type: ETHER_TYPE.vlan }, { eth_type: ETHER_TYPE.serviceVlan }];
export const IPV4: Match = { eth_type: ETH.ipv4 };
export const IPV6: Match = { eth_type: ETH.ipv6 };
/** IP of this version. */
export function ipOf(version: 4 | 6): Match {
  return version === 4 ? IPV4 : IPV6;
}
export const ARP: Match = { eth_type: ETH.arp };
export const ARP_REQUEST: Match = { eth_type: ETH.arp, arp_op: 1 };
export const ARP_REPLY: Match = { eth_type: ETH.arp, arp_op: 2 };
export const UDP4: Match = { eth_type: ETH.ipv4, ip_proto: PROTO.udp };
export const UDP6: Match = { eth_type: ETH.ipv6, ip_proto: PROTO.udp };
export const DNS_PORT = 53;

export function icmp6(type: number): Match {
  return { eth_type: ETH.ipv6, ip_proto: PROTO.icmpv6, icmpv6_type: type };
}

/**
 * Neighbour solicitations and advertisements. Only with code 0 Open vSwitch takes them for such and reads their fields; a match that
 * leaves the code open gives a megaflow without these fields, and then one frame with another code opens the way for forged ones.
 */
export function neighbor(type: typeof ND.solicit | typeof ND.advert): Match {
  return { ...icmp6(type), icmpv6_code: 0 };
}

/** What somebody says of his own address. */
export const NEIGHBOUR_ANSWERS: readonly Match[] = [ARP_REPLY, neighbor(ND.advert)];

/** Later fragments have no layer-4 header; Open vSwitch shows them with zeros, which are nobody's. */
export const NOT_LATER_FRAGMENT = { ip_frag: { value: 0, mask: 2 } } as const satisfies Match;

/** 802.1Q as `vlan_vid` has it: bit 12 says that there is a tag. */
export const TAGGED: Masked = { value: 0x1000, mask: 0x1000 };
export const UNTAGGED = 0;
export function tagged(vlan: number): number {
  return 0x1000 | vlan;
}

export const GROUP_ADDRESS: Masked = { value: 0x0100_0000_0000, mask: 0x0100_0000_0000 };
export const UNICAST_ADDRESS: Masked = { value: 0, mask: 0x0100_0000_0000 };
