import { formatIp } from '../../base/addresses.ts';
import type { Host, Router } from '../../model/objects.ts';
import { decodePacket } from '../../packet/packet.ts';
import type { Site } from '../../pipeline/frames.fixture.ts';
import type { Journey } from '../../pipeline/network.fixture.ts';
import type { InputRecord } from '../inputs.ts';
import * as example from './example.ts';

/**
 * A router between two inside switches and the outside, for tests of address translation:
 *
 *   a .11, b .12 ── inside  10.0.1.0/24 ──┐
 *                                         middle ── uplink 203.0.113.1 ── outside ── x .254, the way to everywhere
 *   c .13 ───────── other   10.0.2.0/24 ──┘
 */
const subnets = (n: number): ReturnType<typeof example.subnet>[] => [
  example.subnet(`10.0.${n}.0/24`),
  example.subnet(`2001:db8:${n}::/64`),
];
export const inside = example.logicalSwitch(1, { subnets: subnets(1) });
export const other = example.logicalSwitch(2, { subnets: subnets(2) });
export const outside = example.logicalSwitch(3, { shared: true });

const at = (n: number, host: number): string[] => [`10.0.${n}.${host}`, `2001:db8:${n}::${host}`];
export const a = example.port(1, inside, { addresses: at(1, 11) });
export const b = example.port(2, inside, { addresses: at(1, 12) });
export const c = example.port(3, other, { addresses: at(2, 13) });
export const x = example.port(9, outside, { addresses: ['203.0.113.254', '2001:db8:ffff::254'], portSecurity: false });

export function middle(options: Partial<Router> = {}): Router {
  const routes = [
    example.route('0.0.0.0/0', { via: '203.0.113.254' }),
    example.route('::/0', { via: '2001:db8:ffff::254' }),
  ];
  return example.router(1, { routes, ...options });
}
export const plain = middle();
export const toInside = example.routerPort(1, plain, {
  switch: inside.id,
  addresses: ['10.0.1.1/24', '2001:db8:1::1/64'],
});
export const toOther = example.routerPort(2, plain, {
  switch: other.id,
  addresses: ['10.0.2.1/24', '2001:db8:2::1/64'],
});
export const uplink = example.routerPort(3, plain, {
  switch: outside.id,
  outside: true,
  addresses: ['203.0.113.1/24', '2001:db8:ffff::1/64'],
});

/** All but the router, which tests give as they want it. */
export const world: readonly InputRecord[] = [
  ...[inside, other, outside, toInside, toOther, uplink],
  example.natZone(plain, 400),
];

/** Where the workloads are. */
export function sitesOn(of: Readonly<Record<'a' | 'b' | 'c' | 'x', Host>>): Site[] {
  return [
    { port: a, on: [of.a], ofport: 1, zone: 4 },
    { port: b, on: [of.b], ofport: 2, zone: 8 },
    { port: c, on: [of.c], ofport: 3, zone: 12 },
    { port: x, on: [of.x], ofport: 4, zone: 16 },
  ];
}

/** What became of a frame: who got it, from where to where; what the agent was asked; why it ended. */
export function story({ delivered, answered, packetIns, reasons }: Journey): string {
  return [
    ...delivered.map(({ port, bytes }) => `${port}: ${ends(bytes)}`),
    ...answered.map((bytes) => `back: ${ends(bytes)}`),
    ...packetIns.map(({ userdata }) => `agent ${userdata[0]}`),
    ...reasons,
  ].join('; ');
}

/** `10.0.0.1:80 > 10.0.0.2:4000`, or without ports where there are none. Wrong checksums throw. */
export function ends(bytes: Uint8Array): string {
  const { l3, l4 } = decodePacket(bytes, { verifyChecksums: true });
  if (l3?.kind !== 'ipv4' && l3?.kind !== 'ipv6') return 'no IP';
  const version = l3.kind === 'ipv4' ? 4 : 6;
  const text = (value: number | bigint): string => formatIp({ version, value } as never);
  const [src, dst] = l4 !== undefined && 'srcPort' in l4 ? [`:${l4.srcPort}`, `:${l4.dstPort}`] : ['', ''];
  return `${text(l3.src)}${src} > ${text(l3.dst)}${dst}`;
}
