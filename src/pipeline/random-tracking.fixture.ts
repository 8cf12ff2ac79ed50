import { parseIp } from '../base/addresses.ts';
import type { Random } from '../base/random.ts';
import { errorAbout, fragmentsOf, furtherOf, replyTo } from '../model/generate-replies.ts';
import { echoRest } from '../packet/icmp.ts';
import { ipv4Header } from '../packet/ipv4.ts';
import { ipv6Header } from '../packet/ipv6.ts';
import { encodePacket, type Layer4 } from '../packet/packet.ts';
import { TCP_FLAG } from '../packet/tcp.ts';

/**
 * Random tables that track and translate in several zones, one after the other, and traffic that makes conversations of it. What
 * leaves shows all that the tracker said, in the Ethernet addresses of its copies.
 */
const STAGES = 4;
export const SHOW = 9;
const STATES = ['+inv', '+rel', '+est+rpl', '+est-rpl', '+new', ''] as const;
/** Flows commit what they know to be new or established, as ours do; an ICMP error is asked about once. */
const COMMITTED: readonly string[] = ['+est+rpl', '+est-rpl', '+new'];
const ZONES = ['4', '5', 'NXM_NX_REG12[0..15]', 'NXM_NX_REG12[16..31]'] as const;
const SERVICE = { 4: '10.9.0.1', 6: '2001:db8:9::1' } as const;

export class TrackingTables {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!;
  }

  #chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  flows(): string[] {
    const zones = (port: number): string =>
      `set_field:${port === 1 ? 8 : 12}->reg12,set_field:0x${this.#pick(['40', '80', '120'])}0000/0xffff0000->reg12`;
    const flows = [1, 2].map(
      (port) => `in_port=${port} actions=${zones(port)},set_field:${3 - port}->reg3,resubmit(,1)`,
    );
    for (let stage = 1; stage <= STAGES; stage++)
      for (const version of [4, 6] as const) flows.push(...this.#stage(stage, version));
    return [...flows, ...show()];
  }

  #stage(stage: number, version: 4 | 6): string[] {
    const ip = version === 4 ? 'ip' : 'ipv6';
    const next = stage === STAGES ? SHOW : stage + 1;
    const flows = STATES.map((state, n) => {
      const match = state === '' ? '' : `,ct_state=${state}+trk`;
      return `table=${stage},priority=${10 + STATES.length - n},${ip}${match} actions=${state === '+rel' ? `resubmit(,${next})` : this.#actions(version, next, !COMMITTED.includes(state))}`;
    });
    return [...flows, `table=${stage},priority=1 actions=resubmit(,${SHOW})`];
  }

  #actions(version: 4 | 6, next: number, isToLook: boolean): string {
    const zone = `zone=${this.#pick(ZONES)}`;
    const nat = this.#chance(50) ? ',nat' : '';
    const mark = this.#chance(40) ? `,exec(set_field:${this.#pick(['1', '2/2', '4/0xc'])}->ct_mark)` : '';
    // Open vSwitch takes no flow that commits what is invalid.
    const kind = isToLook ? this.#pick([0, 8, 9]) : this.#random.below(10);
    if (kind <= 3) return `ct(${zone}${nat},table=${next})`;
    if (kind <= 5) return `ct(commit,${zone},nat(${this.#nat(version)}),table=${next}${mark})`;
    if (kind === 6) return `ct(commit,${zone}${mark}),resubmit(,${next})`;
    if (kind === 7) return `ct(commit,${zone}${mark},table=${next})`;
    if (kind === 8) return `ct_clear,resubmit(,${next})`;
    return `resubmit(,${next})`;
  }

  #nat(version: 4 | 6): string {
    const address = (host: number): string => (version === 4 ? `192.0.2.${host}` : `[2001:db8:77::${host}]`);
    return this.#pick([
      `src=${address(1)}`,
      `src=${address(2)}`,
      `dst=${version === 4 ? '10.8.0.1:8080' : '[2001:db8:8::1]:8080'}`,
      `dst=${version === 4 ? '10.8.0.2' : '[2001:db8:8::2]'}`,
    ]);
  }
}

/** Several copies, each with other words of what the tracker knows as its Ethernet addresses. */
export function show(): string[] {
  const copies = (pairs: readonly (readonly [string, string])[]): string =>
    pairs
      .map(
        ([a, b]) =>
          `move:${a}->NXM_NX_REG10[0..31],move:${b}->NXM_NX_REG11[0..31],move:NXM_NX_XXREG2[0..31]->NXM_OF_ETH_SRC[0..31],move:NXM_NX_XXREG2[32..63]->NXM_OF_ETH_DST[0..31],output:NXM_NX_REG3[0..15]`,
      )
      .join(',');
  const state = ['NXM_NX_CT_STATE[]', 'NXM_NX_CT_MARK[]'] as const;
  const ports =
    'set_field:0->reg8,move:NXM_NX_CT_TP_SRC[]->NXM_NX_REG8[0..15],move:NXM_NX_CT_TP_DST[]->NXM_NX_REG8[16..31]';
  const more =
    'set_field:0->reg9,move:NXM_NX_CT_ZONE[]->NXM_NX_REG9[0..15],move:NXM_NX_CT_NW_PROTO[]->NXM_NX_REG9[16..23]';
  const rest = ['NXM_NX_REG8[]', 'NXM_NX_REG9[]'] as const;
  return [
    `table=${SHOW},priority=2,ct_state=+trk-inv,ip actions=${ports},${more},${copies([state, rest, ['NXM_NX_CT_NW_SRC[]', 'NXM_NX_CT_NW_DST[]']])}`,
    `table=${SHOW},priority=2,ct_state=+trk-inv,ipv6 actions=${ports},${more},${copies([state, rest, ['NXM_NX_CT_IPV6_SRC[0..31]', 'NXM_NX_CT_IPV6_DST[0..31]']])}`,
    `table=${SHOW},priority=1 actions=${copies([state])}`,
  ];
}

export interface Sent {
  readonly inPort: number;
  readonly bytes: Uint8Array;
}

/** Clients at port 1 and servers at port 2 that talk to each other; the tables decide by which addresses. */
export class Traffic {
  readonly #random: Random;
  readonly #seen: Sent[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!;
  }

  /** A frame came out at a port: whoever is there may answer. */
  note(port: number, bytes: Uint8Array): void {
    this.#seen.push({ inPort: port, bytes });
    if (this.#seen.length > 12) this.#seen.shift();
  }

  /** What is sent next: one frame, or the fragments of one. */
  next(): readonly Sent[] {
    const kind = this.#random.below(10);
    const last = this.#seen.length > 0 ? this.#pick(this.#seen) : undefined;
    if (last && kind <= 4) {
      const answer = kind === 4 && last.bytes[12] === 0x08 ? errorAbout(last.bytes) : replyTo(last.bytes);
      if (answer) return this.#perhapsCut({ inPort: last.inPort, bytes: answer });
    }
    if (last && kind === 5) return [{ inPort: 3 - last.inPort, bytes: furtherOf(last.bytes) }];
    return this.#perhapsCut(this.#fresh());
  }

  #perhapsCut({ inPort, bytes }: Sent): readonly Sent[] {
    return fragmentsOf(bytes).map((part) => ({ inPort, bytes: part }));
  }

  #fresh(): Sent {
    const version = this.#pick([4, 6] as const);
    const client = this.#random.below(3);
    const src = parseIp(version === 4 ? `10.0.0.${client + 1}` : `2001:db8::${client + 1}`)!;
    const dst = parseIp(SERVICE[version])!;
    const { protocol, l4 } = this.#upper(version, 1000 + 10 * client + this.#random.below(2));
    const payload = new Uint8Array(this.#pick([0, 9, 9, 40, 1400])).fill(0x33);
    const ethernet = {
      dst: 0x0200_0000_0002 as never,
      src: 0x0200_0000_0001 as never,
      etherType: version === 4 ? 0x0800 : 0x86dd,
    };
    const common = { ethernet, vlans: [], l4, payload };
    if (src.version === 4 && dst.version === 4) {
      const l3 = {
        kind: 'ipv4',
        ...ipv4Header({ src: src.value, dst: dst.value, protocol, id: this.#random.below(65536) }),
      } as const;
      return { inPort: 1, bytes: encodePacket({ ...common, l3 }).slice() };
    }
    const six = { src: src.value as never, dst: dst.value as never };
    return {
      inPort: 1,
      bytes: encodePacket({ ...common, l3: { kind: 'ipv6', ...ipv6Header({ ...six, nextHeader: protocol }) } }).slice(),
    };
  }

  #upper(version: 4 | 6, srcPort: number): { protocol: number; l4: Layer4 } {
    const { syn, ack, fin } = TCP_FLAG;
    const kind = this.#random.below(4);
    const dstPort = this.#pick([80, 443]);
    if (kind === 0) return { protocol: 17, l4: { kind: 'udp', srcPort, dstPort, noChecksum: false } };
    if (kind === 1) {
      const rest = echoRest(srcPort, 1);
      return version === 4
        ? { protocol: 1, l4: { kind: 'icmp', type: 8, code: 0, rest } }
        : { protocol: 58, l4: { kind: 'icmpv6', type: 128, code: 0, rest } };
    }
    const flags = this.#pick([syn, syn, syn, ack, syn | ack, fin | ack]);
    const tcp = {
      sequence: 1,
      acknowledgement: flags & ack ? 1 : 0,
      flags,
      window: 9000,
      urgent: 0,
      options: new Uint8Array(0),
    };
    return { protocol: 6, l4: { kind: 'tcp', srcPort, dstPort, ...tcp } };
  }
}
