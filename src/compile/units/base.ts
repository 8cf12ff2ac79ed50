import type { Contribution } from '../../incremental/definitions.ts';
import { once } from '../../incremental/definitions.ts';
import { OFPP } from '../../openflow/flow.ts';
import { sample, tunnelOfport } from '../facts.ts';
import {
  ARP,
  ARP_REQUEST,
  GROUP_ADDRESS,
  INNER_TAGGED,
  IPV4,
  IPV6,
  icmp6,
  load,
  match,
  move,
  moveMacToScratch,
  moveScratchToMac,
  ND,
  neighbor,
  REGISTERS,
  set,
  TAGGED,
  tagged,
  UDP4,
  UDP6,
} from '../fields.ts';
import { flow } from '../flow-sink.ts';
import { define, type Reader } from '../inputs.ts';
import { ANSWER } from './answer.ts';
import { CLASSIFY, SOURCE } from './classify.ts';
import { GUARD, LINK_LAYER, ND_TARGET, SERVICE } from './guard.ts';
import { LEARN } from './learn.ts';
import { prefilterBase } from './prefilter.ts';
import { askForMac, nextHopFrom4, nextHopFrom6, routerBase } from './router-base.ts';
import { TUNNEL } from './tunnel.ts';
import { verdictBase } from './verdict.ts';
import { VLAN } from './vlan.ts';

/** Flows that every host has, whatever its ports. */
export const baseUnit = define.unit({
  name: 'base',
  over: once,
  run: (reader) => [
    ...classifyBase(reader),
    ...guardBase(reader),
    ...serviceBase(reader),
    // In tunnels it has a meaning (units/uplink.ts), and it is nobody's.
    flow('learn', LEARN.group, { eth_src: GROUP_ADDRESS }, { drop: 'spoofed-mac' }),
    flow('tunnel', TUNNEL.group, { eth_src: GROUP_ADDRESS }, { drop: 'tunnel-key' }),
    flow('learn', 0, {}, { goto: 'vip' }),
    flow('vip', 0, {}, { goto: 'track' }),
    ...verdictBase(reader, 'fromVerdict', 'commit'),
    ...answerBase(),
    ...lookupBase(reader),
    ...routerBase(reader),
    ...prefilterBase(),
    ...verdictBase(reader, 'inVerdict', 'own'),
    ...verdictBase(reader, 'outVerdict', 'leave'),
    ...verdictBase(reader, 'toVerdict', 'toCommit'),
    flow('deliver', 0, {}, { do: [{ kind: 'outputReg', src: REGISTERS.outOfport }] }),
  ],
});

function classifyBase(reader: Reader): Contribution[] {
  // One for all ports: a packet-in tells the OpenFlow port, and so whose frame it was.
  const spoofedMac = { do: sample(reader), drop: 'spoofed-mac' } as const;
  return [
    flow('classify', CLASSIFY.spoofed, {}, spoofedMac),
    flow('source', SOURCE.spoofed, {}, spoofedMac),
    flow('classify', CLASSIFY.tagged, { vlan_vid: TAGGED }, { drop: 'tagged' }),
    flow('vlan', VLAN.noSuchId, { vlan_vid: tagged(0) }, { drop: 'vlan' }),
    flow('vlan', VLAN.noSuchId, { vlan_vid: tagged(0xfff) }, { drop: 'vlan' }),
  ];
}

const NOWHERE4 = 0;
const BROADCAST4 = 0xffff_ffff;
const NOWHERE6 = 0n;

function guardBase(reader: Reader): Contribution[] {
  const spoofedIp = { do: sample(reader), drop: 'spoofed-ip' } as const;
  return [
    ...INNER_TAGGED.map((what) => flow('guard', GUARD.spoofed, what, { drop: 'tagged' })),
    flow('guard', GUARD.probe, { ...ARP, arp_spa: NOWHERE4 }, { drop: 'probe' }),
    flow('guard', GUARD.probe, { ...neighbor(ND.solicit), ipv6_src: NOWHERE6 }, { drop: 'probe' }),
    flow(
      'guard',
      GUARD.exception,
      { ...UDP4, ip_src: NOWHERE4, ip_dst: BROADCAST4, udp_src: 68, udp_dst: 67 },
      { goto: 'service' },
    ),
    flow('guard', GUARD.exception, { ...icmp6(ND.routerSolicit), ipv6_src: NOWHERE6 }, { goto: 'service' }),
    flow('guard', GUARD.spoofed, ARP, { do: sample(reader), drop: 'spoofed-arp' }),
    flow('guard', GUARD.spoofed, IPV4, spoofedIp),
    flow('guard', GUARD.spoofed, IPV6, spoofedIp),
    flow('guard', 0, {}, { goto: 'vip' }),
  ];
}

function serviceBase(reader: Reader): Contribution[] {
  const dhcp = { do: sample(reader), drop: 'dhcp-server' } as const;
  const router = { do: sample(reader), drop: 'router' } as const;
  const spoofed = { do: sample(reader), drop: 'spoofed-nd' } as const;
  return [
    // Whatever the source port: many clients do not ask for that.
    flow('service', SERVICE.forbidden, { ...UDP4, udp_dst: 68 }, dhcp),
    flow('service', SERVICE.forbidden, { ...UDP6, udp_dst: 546 }, dhcp),
    flow('service', SERVICE.forbidden, icmp6(ND.routerAdvert), router),
    flow('service', SERVICE.forbidden, icmp6(ND.redirect), router),
    // What a first fragment shows that ends before its upper-layer header: it may be any of those.
    flow('service', SERVICE.forbidden, { ...UDP6, udp_src: 0, udp_dst: 0 }, dhcp),
    flow('service', SERVICE.forbidden, icmp6(0), router),
    flow('service', SERVICE.absent, { ...neighbor(ND.solicit), nd_sll: 0 }, { goto: 'ndTarget' }),
    flow('service', SERVICE.absent, { ...neighbor(ND.advert), nd_tll: 0 }, { goto: 'ndTarget' }),
    flow('service', SERVICE.present, neighbor(ND.solicit), { do: moveMacToScratch('nd_sll'), goto: 'linkLayer' }),
    flow('service', SERVICE.present, neighbor(ND.advert), { do: moveMacToScratch('nd_tll'), goto: 'linkLayer' }),
    // With a code other than 0 there are no fields to ask for.
    flow('service', SERVICE.unread, icmp6(ND.solicit), spoofed),
    flow('service', SERVICE.unread, icmp6(ND.advert), spoofed),
    flow('service', 0, {}, { goto: 'vip' }),
    flow('linkLayer', LINK_LAYER.spoofed, {}, spoofed),
    flow('ndTarget', ND_TARGET.solicit, neighbor(ND.solicit), { goto: 'vip' }),
    flow('ndTarget', 0, {}, spoofed),
  ];
}

/** In `respond`. */
const RESPOND = { unknown: 200, answer: 100 } as const;

/** R and S aside: solicited, override (RFC 4861 §4.4). */
const SOLICITED_OVERRIDE = 0x6000_0000;
const WHOLE_IP6 = { from: 0, bits: 128 } as const;

/** The question becomes its answer and goes back: the scratch MAC is the one asked for. */
function answerBase(): Contribution[] {
  const back = { kind: 'output', port: OFPP.inPort } as const;
  const turnEthernet = [
    move({ field: 'eth_src', from: 0, bits: 48 }, { field: 'eth_dst', from: 0, bits: 48 }),
    ...moveScratchToMac('eth_src'),
  ];
  return [
    flow('answer', ANSWER.ask, ARP_REQUEST, { do: [...nextHopFrom4('arp_tpa'), ...askForMac], goto: 'respond' }),
    flow('answer', ANSWER.probe, { ...neighbor(ND.solicit), ipv6_src: NOWHERE6 }, { goto: 'tag' }),
    flow('answer', ANSWER.ask, neighbor(ND.solicit), {
      do: [...nextHopFrom6('nd_target'), ...askForMac],
      goto: 'respond',
    }),
    flow('answer', 0, {}, { goto: 'tag' }),
    flow('respond', RESPOND.unknown, match({ scratchMacLow: 0, scratchMacHigh: 0 }), { goto: 'tag' }),
    flow('respond', RESPOND.answer, ARP, {
      do: [
        ...turnEthernet,
        set('arp_op', 2),
        move({ field: 'arp_sha', from: 0, bits: 48 }, { field: 'arp_tha', from: 0, bits: 48 }),
        ...moveScratchToMac('arp_sha'),
        move({ field: 'arp_tpa', from: 0, bits: 32 }, REGISTERS.scratchIp),
        move({ field: 'arp_spa', from: 0, bits: 32 }, { field: 'arp_tpa', from: 0, bits: 32 }),
        move(REGISTERS.scratchIp, { field: 'arp_spa', from: 0, bits: 32 }),
        back,
      ],
      drop: 'answered',
    }),
    // Fields of an advertisement can be set only where the match says that it is one: hence two tables.
    flow('respond', RESPOND.answer, neighbor(ND.solicit), {
      do: [
        ...turnEthernet,
        move({ field: 'ipv6_src', ...WHOLE_IP6 }, { field: 'ipv6_dst', ...WHOLE_IP6 }),
        move({ field: 'nd_target', ...WHOLE_IP6 }, { field: 'ipv6_src', ...WHOLE_IP6 }),
        set('ip_ttl', 255),
        set('icmpv6_type', ND.advert),
      ],
      goto: 'advertise',
    }),
    flow('advertise', 100, neighbor(ND.advert), {
      do: [
        set('nd_reserved', SOLICITED_OVERRIDE),
        // The source's option becomes the target's (types 1 and 2, RFC 4861 §4.6.1).
        set('nd_options_type', 2),
        ...moveScratchToMac('nd_tll'),
        back,
      ],
      drop: 'answered',
    }),
  ];
}

const WHOLE_VLAN = { field: 'vlan_vid', from: 0, bits: 12 } as const;
export const LOOKUP = {
  self: 1100,
  group: 1000,
  wide: 500,
  router: 310,
  owned: 300,
  learned: 200,
  unknown: 100,
} as const;
export const TUNNEL_OUT = { loop: 200, knownOnly: 150, out: 100 } as const;

function lookupBase(reader: Reader): Contribution[] {
  const tunnel = reader.derive(tunnelOfport, '');
  return [
    flow('tag', 100, match({ addTag: 1 }), {
      do: [{ kind: 'pushVlan', etherType: 0x8100 }, move(REGISTERS.vlan, WHOLE_VLAN), ...load({ addTag: 0 })],
      goto: 'lookup',
    }),
    flow('tag', 0, {}, { goto: 'lookup' }),
    flow('lookup', LOOKUP.group, { eth_dst: GROUP_ADDRESS }, { goto: 'flood' }),
    flow('lookup', 0, {}, { do: sample(reader, 'stray'), drop: 'unknown-mac' }),
    flow('flood', 0, {}, { goto: 'floodLocal' }),
    flow('floodLocal', 1, match({ unknown: 1 }), { drop: 'unknown-mac' }),
    flow('tunnelOut', TUNNEL_OUT.loop, match({ fromTunnel: 1 }), { drop: 'tunnel-loop' }),
    ...(tunnel === undefined
      ? []
      : [flow('tunnelOut', TUNNEL_OUT.out, {}, { do: [{ kind: 'output', port: tunnel }] })]),
  ];
}
