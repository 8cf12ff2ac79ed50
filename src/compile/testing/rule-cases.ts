import type { RuleMatch } from '../../model/objects.ts';
import * as example from './example.ts';
import { ACK, bare, icmp, SYN, SYN_ACK, tcp, udp } from './frames.ts';

/** Everything that a rule of a chain may ask, and which of some frames fit it. */
export const net = example.logicalSwitch(1, {
  subnets: [example.subnet('10.0.0.0/24'), example.subnet('2001:db8::/64')],
});
export const friends = example.addressSet(1, ['10.0.0.1', '2001:db8::/64', '192.0.2.0/24']);
export const strangers = example.addressSet(2, ['10.0.0.9', '10.0.0.128/25']);
export const group = example.securityGroup(1, { ingress: [{}] });
export const from = example.port(1, net, {
  addresses: ['10.0.0.1', '2001:db8::1'],
  allowedPairs: [{ address: '10.0.0.200' }],
});
export const to = example.port(2, net, { addresses: ['10.0.0.2', '2001:db8::2'] });
export const member = example.port(3, net, { addresses: ['10.0.0.2'], groups: [group.id] });
const ends = [from, to] as const;
const dscp = (value: number): { header: { tos: number } } => ({ header: { tos: value << 2 } });

export const FRAMES = {
  syn: tcp(ends, 1000, 80, SYN),
  synAck: tcp(ends, 1000, 81, SYN_ACK),
  ack: tcp(ends, 1000, 443, ACK),
  syn6: tcp(ends, 1000, 80, SYN, { version: 6 }),
  udp: udp(ends, 1000, 80, dscp(46)),
  echo: icmp(ends, 8),
  first: bare(ends, 6, { header: { moreFragments: true }, payload: tcp(ends, 1000, 80, SYN).slice(34) }),
  later: bare(ends, 6, { header: { fragmentOffset: 64 }, payload: new Uint8Array(16) }),
  other: tcp([{ ...from, addresses: ['10.0.0.200'] }, to], 1000, 80, SYN),
  arp: Uint8Array.from(
    Buffer.from('020000000002020000000001080600010800060400020200000000010a0000010200000000020a000002', 'hex'),
  ),
} as const;
export type Name = keyof typeof FRAMES;
export const ALL = Object.keys(FRAMES) as Name[];
const but = (...names: Name[]): Name[] => ALL.filter((name) => !names.includes(name));
const IP = but('arp');

/** A rule, and the frames that fit it. */
export const CASES: readonly [RuleMatch, readonly Name[]][] = [
  [{}, ALL],
  [{ tcpFlags: '+syn-ack', protocol: 'tcp' }, ['syn', 'syn6', 'first', 'other']],
  [{ tcpFlags: '+syn-ack', protocol: 'tcp', not: ['tcpFlags'] }, ['synAck', 'ack']],
  [{ fragment: 'no' }, but('arp', 'first', 'later')],
  [{ fragment: 'first' }, ['first']],
  [{ fragment: 'later' }, ['later']],
  [{ fragment: 'any' }, ['first', 'later']],
  [{ fragment: 'any', not: ['fragment'] }, but('arp', 'first', 'later')],
  [{ fragment: 'any', protocol: 'tcp', dstPorts: '80' }, ['first']],
  [{ fragment: 'later', protocol: 'tcp', dstPorts: '80' }, []],
  [{ dscp: 46 }, ['udp']],
  [{ dscp: 46, not: ['dscp'] }, but('arp', 'udp')],
  [{ srcSet: friends.id }, but('arp', 'other')],
  [{ srcSet: friends.id, not: ['srcSet'] }, ['other']],
  [{ srcSet: friends.id, protocol: 'tcp', dstPorts: '80' }, ['syn', 'syn6', 'first']],
  [{ srcSet: strangers.id }, ['other']],
  [{ srcSet: strangers.id, dstSet: friends.id }, []],
  [{ srcSet: friends.id, dstGroup: group.id }, but('arp', 'other', 'syn6')],
  [{ srcSet: friends.id, dstGroup: group.id, not: ['dstGroup'] }, ['syn6']],
  [{ srcSet: friends.id, dstGroup: group.id, not: ['dstGroup', 'srcSet'] }, []],
  [{ dstGroup: group.id }, but('arp', 'syn6')],
  [{ src: '10.0.0.0/25', not: ['src'] }, ['other']],
  [{ src: '2001:db8::/64', not: ['src'] }, []],
  [{ protocol: 'tcp', not: ['protocol'] }, ['udp', 'echo']],
  [{ protocol: 'icmp', not: ['protocol'] }, but('arp', 'echo')],
  [{ protocol: 'tcp', dstPorts: '80-100', not: ['dstPorts'] }, ['ack']],
  [{ protocol: 'tcp', dstPorts: '80', srcPorts: '1000', not: ['dstPorts'] }, ['synAck', 'ack']],
  [{ protocol: 'tcp', dstPorts: '80', not: ['protocol'] }, []],
  [{ etherType: 'ipv4', not: ['etherType'] }, ['syn6', 'arp']],
  [{ etherType: 'ipv4', src: '10.0.0.1', not: ['etherType'] }, []],
  [{ arpOp: 1, not: ['arpOp'] }, ['arp']],
  [{ srcMac: from.mac, not: ['srcMac'] }, []],
  [{ vlan: 7, not: ['vlan'] }, ALL],
  [{ state: ['new'] }, IP],
  [{ state: ['established', 'reply'] }, []],
  [{ state: ['established', 'reply'], not: ['state'] }, IP],
  [{ state: ['new', 'related'], protocol: 'tcp' }, ['syn', 'ack', 'syn6', 'first', 'later', 'other']],
];
