import type { Ipv4, Ipv6, Mac } from '../base/addresses.ts';
import type { Random } from '../base/random.ts';
import type { FieldName } from '../openflow/fields.ts';
import { type Action, type Flow, type Match, OFPP } from '../openflow/flow.ts';
import { GROUP_TYPE } from '../openflow/messages/group.ts';
import { ETHER_TYPE } from '../packet/ethernet.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import { encodePacket, type Packet } from '../packet/packet.ts';
import type { Group } from './group.ts';

/**
 * Random flow tables and packets over a handful of values, so that they often meet. Resubmits and gotos lead to later
 * tables only: every table ends.
 */
export const PORTS = 6;
const TABLES = 6;

export const MACS = [0x02_0000_000001, 0x02_0000_000002, 0x02_0000_000103, 0xffff_ffff_ffff] as Mac[];
export const IPS = [0x0a00_0001, 0x0a00_0002, 0x0a00_0102, 0xc0a8_0101] as Ipv4[];
export const IP6S = [0xfd00n << 112n, (0xfd00n << 112n) + 1n, (0xfe80n << 112n) + 0x200n] as Ipv6[];
const L4_PORTS = [80, 443, 1024, 53];
/** Last digits of priorities; 5 is for conjunctions. */
const UNITS = [1, 2, 3, 4, 6, 7, 8];
const VLANS = [0x1001, 0x1002, 0x3001];

export class Generator {
  readonly #random: Random;
  /** Versions of Open vSwitch differ in when a clone does the action set: tables have the one or the other. */
  readonly #writes: boolean;

  constructor(random: Random) {
    this.#random = random;
    this.#writes = random.below(2) === 0;
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!;
  }

  #chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  packet(): Uint8Array {
    const vlans = this.#chance(30)
      ? [{ tpid: 0x8100, vid: this.#pick([1, 2]), pcp: this.#pick([0, 1]), dei: false }]
      : [];
    const ethernet = (etherType: number) => ({ dst: this.#pick(MACS), src: this.#pick(MACS), etherType });
    const payload = new Uint8Array(this.#random.below(60)).fill(0x55);
    const kind = this.#random.below(10);
    if (kind === 0) return copy({ ethernet: ethernet(0x88b5), vlans, payload });
    if (kind <= 2) {
      const arp = { kind: 'arp', op: this.#pick([1, 2]), sha: this.#pick(MACS), spa: this.#pick(IPS) } as const;
      const l3 = { ...arp, tha: this.#pick(MACS), tpa: this.#pick(IPS) };
      return copy({ ethernet: ethernet(ETHER_TYPE.arp), vlans, l3, payload: new Uint8Array(0) });
    }
    if (kind <= 6) return copy(this.#ipv4(ethernet(ETHER_TYPE.ipv4), vlans, payload));
    return copy(this.#ipv6(ethernet(ETHER_TYPE.ipv6), vlans, payload));
  }

  #upper(v6: boolean): { protocol: number; l4: NonNullable<Packet['l4']> } {
    const [srcPort, dstPort] = [this.#pick(L4_PORTS), this.#pick(L4_PORTS)];
    const kind = this.#random.below(3);
    const tcp = { sequence: 1, acknowledgement: 2, flags: this.#pick([2, 16, 18]), window: 9, urgent: 0 };
    if (kind === 0) return { protocol: 6, l4: { kind: 'tcp', srcPort, dstPort, ...tcp, options: new Uint8Array(0) } };
    if (kind === 1) return { protocol: 17, l4: { kind: 'udp', srcPort, dstPort, noChecksum: !v6 && this.#chance(20) } };
    if (!v6) return { protocol: 1, l4: { kind: 'icmp', type: this.#pick([8, 0]), code: 0, rest: 0x10002 } };
    if (this.#chance(30)) return { protocol: 58, l4: { kind: 'icmpv6', type: 128, code: 0, rest: 0x10002 } };
    const target = this.#pick(IP6S);
    const mac = this.#pick(MACS);
    return this.#chance(50)
      ? {
          protocol: 58,
          l4: { kind: 'nd', message: { kind: 'neighborSolicit', target, options: [{ kind: 'sourceLinkLayer', mac }] } },
        }
      : {
          protocol: 58,
          l4: {
            kind: 'nd',
            message: { kind: 'neighborAdvert', target, flags: 0, options: [{ kind: 'targetLinkLayer', mac }] },
          },
        };
  }

  #ipv4(ethernet: Packet['ethernet'], vlans: Packet['vlans'], payload: Uint8Array): Packet {
    const { protocol, l4 } = this.#upper(false);
    const fragment = this.#chance(10) ? { moreFragments: true, fragmentOffset: this.#pick([0, 64]) } : {};
    const header = ipv4Header({
      src: this.#pick(IPS),
      dst: this.#pick(IPS),
      protocol,
      ttl: this.#pick([1, 2, 64]),
      ...fragment,
    });
    const l3 = { kind: 'ipv4', ...header } as const;
    return { ethernet, vlans, l3, l4, payload };
  }

  #ipv6(ethernet: Packet['ethernet'], vlans: Packet['vlans'], payload: Uint8Array): Packet {
    const { protocol, l4 } = this.#upper(true);
    const header = ipv6Header({
      src: this.#pick(IP6S),
      dst: this.#pick(IP6S),
      nextHeader: protocol,
      hopLimit: this.#pick([1, 2, 64]),
    });
    return {
      ethernet,
      vlans,
      l3: { kind: 'ipv6', ...header },
      l4,
      payload: l4.kind === 'nd' ? new Uint8Array(0) : payload,
    };
  }

  #context(): Match {
    return this.#pick<Match>([
      {},
      {},
      { eth_type: 0x0806 },
      { eth_type: 0x0800 },
      { eth_type: 0x0800, ip_proto: 6 },
      { eth_type: 0x0800, ip_proto: 17 },
      { eth_type: 0x86dd },
      { eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 135, icmpv6_code: 0 },
      { eth_type: 0x86dd, ip_proto: 6 },
    ]);
  }

  match(): Match {
    const match: { [F in FieldName]?: Match[F] } = { ...this.#context() };
    if (this.#chance(30)) match.in_port = 1 + this.#random.below(PORTS);
    if (this.#chance(25)) match.eth_src = this.#pick(MACS);
    if (this.#chance(25))
      match.eth_dst = this.#chance(30) ? { value: 0x0100_0000_0000, mask: 0x0100_0000_0000 } : this.#pick(MACS);
    if (this.#chance(15)) match.vlan_vid = this.#pick([0, 0x1001, 0x1002]);
    if (this.#chance(30))
      match.reg0 = this.#chance(50) ? this.#random.below(4) : { value: this.#random.below(2), mask: 1 };
    if (this.#chance(15)) match.metadata = BigInt(this.#random.below(3));
    if (match.eth_type === 0x0800 && this.#chance(50))
      match.ip_src = { value: 0x0a00_0000, mask: this.#pick([0xff00_0000, 0xffff_ff00]) };
    if (match.eth_type === 0x0800 && this.#chance(30)) match.ip_dst = this.#pick(IPS);
    if (match.eth_type === 0x0806 && this.#chance(50)) match.arp_spa = this.#pick(IPS);
    if (match.eth_type === 0x86dd && this.#chance(50)) match.ipv6_dst = this.#pick(IP6S);
    if (match.ip_proto === 6 && this.#chance(50))
      match.tcp_dst = this.#chance(50) ? this.#pick(L4_PORTS) : { value: 0, mask: 0xfc00 };
    if (match.ip_proto === 17 && this.#chance(50)) match.udp_dst = this.#pick(L4_PORTS);
    if (match.icmpv6_type === 135 && this.#chance(50)) match.nd_target = this.#pick(IP6S);
    return match;
  }

  /** Actions that the prerequisites in `match` allow. */
  #action(match: Match, table: number, nested: boolean): Action {
    const later = table + 1 + this.#random.below(TABLES - table);
    const kind = this.#random.below(26);
    if (kind <= 5) return { kind: 'output', port: 1 + this.#random.below(PORTS) };
    if (kind <= 8) return { kind: 'load', value: this.#random.below(4), dst: { field: 'reg0', from: 0, bits: 2 } };
    if (kind <= 11)
      return this.#chance(20)
        ? { kind: 'resubmit', port: 1 + this.#random.below(PORTS), table: later }
        : { kind: 'resubmit', table: later };
    if (kind <= 13) return this.#headerAction(match);
    switch (kind) {
      case 14:
        return { kind: 'setField', field: 'eth_dst', value: this.#pick(MACS) };
      case 15:
        return {
          kind: 'move',
          src: { field: 'eth_dst', from: 0, bits: 48 },
          dst: { field: 'eth_src', from: 0, bits: 48 },
        };
      case 16:
        return this.#pick<Action>([
          { kind: 'output', port: OFPP.inPort },
          { kind: 'output', port: OFPP.controller },
        ]);
      case 17:
        return { kind: 'setField', field: 'in_port', value: this.#random.below(PORTS) };
      case 18:
        return this.#pick<Action>([
          { kind: 'pushVlan', etherType: 0x8100 },
          { kind: 'load', value: this.#pick(VLANS), dst: { field: 'vlan_tci', from: 0, bits: 16 } },
        ]);
      case 19:
        return { kind: 'load', value: 0, dst: { field: 'vlan_tci', from: 0, bits: 16 } };
      case 20:
        if (this.#writes) return { kind: 'output', port: OFPP.inPort };
        return { kind: 'checkPktLarger', length: 60, dst: { field: 'reg0', from: 1, bits: 1 } };
      case 21:
        return { kind: 'load', value: this.#random.below(PORTS + 1), dst: { field: 'reg2', from: 0, bits: 16 } };
      case 22:
        return { kind: 'outputReg', src: { field: 'reg2', from: 0, bits: 16 } };
      case 23:
        return this.#pick<Action>([
          { kind: 'push', range: { field: 'reg0', from: 0, bits: 32 } },
          { kind: 'pop', range: { field: 'reg0', from: 0, bits: 32 } },
        ]);
      case 24:
        return { kind: 'group', group: 1 + this.#random.below(3) };
      default:
        return nested || this.#writes ? { kind: 'exit' } : { kind: 'clone', actions: this.actions(match, table, true) };
    }
  }

  #headerAction(match: Match): Action {
    const type = match.eth_type;
    const plain: Action = { kind: 'setField', field: 'metadata', value: BigInt(this.#random.below(3)) };
    if (type === 0x0806)
      return this.#pick<Action>([
        { kind: 'setField', field: 'arp_op', value: 2 },
        { kind: 'setField', field: 'arp_spa', value: this.#pick(IPS) },
        { kind: 'move', src: { field: 'arp_sha', from: 0, bits: 48 }, dst: { field: 'arp_tha', from: 0, bits: 48 } },
      ]);
    const transport: Action[] = [];
    if (match.ip_proto === 6) transport.push({ kind: 'setField', field: 'tcp_dst', value: this.#pick(L4_PORTS) });
    if (match.ip_proto === 17) transport.push({ kind: 'setField', field: 'udp_src', value: this.#pick(L4_PORTS) });
    if (match.icmpv6_type === 135) transport.push({ kind: 'setField', field: 'nd_target', value: this.#pick(IP6S) });
    if (type === 0x0800)
      return this.#pick<Action>([
        ...transport,
        { kind: 'decTtl' },
        { kind: 'setField', field: 'ip_src', value: this.#pick(IPS) },
        { kind: 'setField', field: 'ip_dst', value: this.#pick(IPS) & 0xffff, mask: 0xffff },
        { kind: 'setField', field: 'ip_dscp', value: 10 },
      ]);
    if (type === 0x86dd)
      return this.#pick<Action>([
        ...transport,
        { kind: 'decTtl' },
        { kind: 'setField', field: 'ipv6_src', value: this.#pick(IP6S) },
        { kind: 'setField', field: 'ip_ttl', value: 5 },
      ]);
    return plain;
  }

  actions(match: Match, table: number, nested = false): Action[] {
    return Array.from({ length: this.#random.below(4) }, () => this.#action(match, table, nested)).map((action) =>
      action.kind === 'resubmit' && action.table! >= TABLES ? { kind: 'output', port: 1 } : action,
    );
  }

  groups(): Group[] {
    const bucket = (weight?: number) => ({
      ...(weight === undefined ? {} : { weight }),
      actions: [
        ...(this.#chance(50) ? [{ kind: 'setField', field: 'eth_src', value: this.#pick(MACS) } as const] : []),
        this.#chance(30)
          ? ({ kind: 'resubmit', table: TABLES - 1 } as const)
          : ({ kind: 'output', port: 1 + this.#random.below(PORTS) } as const),
      ],
    });
    return [
      { group: 1, type: GROUP_TYPE.all, buckets: [bucket(), bucket()] },
      { group: 2, type: GROUP_TYPE.indirect, buckets: [bucket()] },
      { group: 3, type: GROUP_TYPE.all, buckets: [bucket(), bucket(), bucket()] },
    ];
  }

  flows(): Flow[] {
    const byKey = new Map<string, Flow>();
    const add = (flow: Flow): void =>
      void byKey.set(JSON.stringify([flow.table, flow.priority, flow.match], text), flow);
    for (let table = 0; table < TABLES; table++) {
      // No two flows of a table have one priority: which of two that overlap would win is not defined.
      for (const unit of UNITS.slice(this.#random.below(4)))
        add(this.#flow(table, this.match(), this.#random.below(5) * 10 + unit));
      if (this.#chance(80)) add(this.#flow(table, {}, 0));
      if (this.#chance(40)) for (const flow of this.#conjunction(table)) add(flow);
    }
    return [...byKey.values()];
  }

  #flow(table: number, match: Match, priority: number): Flow {
    // Open vSwitch takes pop_vlan only in flows that match a tag.
    const pop: Action[] =
      typeof match.vlan_vid === 'number' && match.vlan_vid && this.#chance(50) ? [{ kind: 'popVlan' }] : [];
    const flow: Flow = { table, priority, match, cookie: 0n, actions: [...pop, ...this.#actionsFor(match, table)] };
    const goto =
      table + 1 < TABLES && this.#chance(60) ? { gotoTable: table + 1 + this.#random.below(TABLES - table - 1) } : {};
    const write =
      this.#writes && this.#chance(15)
        ? { writeActions: [{ kind: 'output', port: 1 + this.#random.below(PORTS) } as const] }
        : {};
    const metadata = this.#chance(10) ? { writeMetadata: { value: BigInt(this.#random.below(3)), mask: 3n } } : {};
    return { ...flow, ...write, ...metadata, ...goto };
  }

  /** Open vSwitch takes no push_vlan that makes three tags of those that the flow matches. */
  #actionsFor(match: Match, table: number): Action[] {
    const actions = this.actions(match, table);
    if (!match.vlan_vid) return actions;
    const pushes = (action: Action): boolean =>
      action.kind === 'pushVlan' || (action.kind === 'clone' && action.actions.some(pushes));
    return actions.filter((action) => !pushes(action));
  }

  #conjunction(table: number): Flow[] {
    const [id, priority] = [this.#random.below(3) + 1, this.#pick([5, 15, 25])];
    const part = (clause: number, match: Match): Flow => ({
      table,
      priority,
      match,
      cookie: 0n,
      actions: [{ kind: 'conjunction', id, clause, of: 2 }],
    });
    return [
      ...MACS.slice(0, 2).map((mac) => part(1, { eth_src: mac })),
      ...[1, 2, 3].map((port) => part(2, { in_port: port })),
      this.#flow(table, { conj_id: id }, priority),
    ];
  }
}

const text = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}n` : value);

function copy(packet: Packet): Uint8Array {
  return encodePacket(packet).slice();
}
