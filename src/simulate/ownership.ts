import { type Cidr, cidrContains, type Ip, linkLocalOf, parseIp, parseMac } from '../base/addresses.ts';
import type { LogicalPort, LogicalSwitch } from '../model/objects.ts';
import { parseAddressOrCidr } from '../model/texts.ts';

/** What a port with port security may use: pairs of a MAC and a network (docs/design/layer2.md, step 3). */
export interface Ownership {
  /** A bare layer-2 network: the port's MAC owns every address. */
  readonly ownsEverything: boolean;
  readonly pairs: readonly { readonly mac: number; readonly network: Cidr }[];
  readonly macs: ReadonlySet<number>;
}

export function ownershipOf(port: LogicalPort, sw: LogicalSwitch): Ownership {
  const own = parseMac(port.mac)!;
  const pairs = port.addresses.map((address) => ({ mac: own, network: parseAddressOrCidr(address) }));
  for (const pair of port.allowedPairs)
    pairs.push({ mac: pair.mac === undefined ? own : parseMac(pair.mac)!, network: parseAddressOrCidr(pair.address) });
  const macs = new Set([own, ...pairs.map((pair) => pair.mac)]);
  const usesIpv6 = pairs.some((pair) => pair.network.ip.version === 6) || sw.subnets.some((s) => s.cidr.includes(':'));
  if (usesIpv6)
    for (const mac of macs) pairs.push({ mac, network: { ip: { version: 6, value: linkLocalOf(mac) }, prefix: 128 } });
  return {
    ownsEverything: port.addresses.length === 0 && port.allowedPairs.length === 0 && sw.subnets.length === 0,
    pairs,
    macs,
  };
}

export function ownsPair(ownership: Ownership, mac: number, ip: Ip): boolean {
  if (ownership.ownsEverything) return ownership.macs.has(mac);
  return ownership.pairs.some((pair) => pair.mac === mac && cidrContains(pair.network, ip));
}

/** With any of its MACs. */
export function ownsAddress(ownership: Ownership, ip: Ip): boolean {
  return ownership.ownsEverything || ownership.pairs.some((pair) => cidrContains(pair.network, ip));
}

/** As an address of its own, not as one of a network. */
export function ownsSingle(ownership: Ownership, { version, value }: Ip): boolean {
  const whole = version === 4 ? 32 : 128;
  return ownership.pairs.some(
    ({ network: { ip, prefix } }) => ip.version === version && prefix === whole && ip.value === value,
  );
}

/** MACs that frames for the port carry: its own and those of its allowed pairs. */
export function macsOf(port: LogicalPort): number[] {
  return [
    ...new Set([port.mac, ...port.allowedPairs.flatMap((pair) => (pair.mac === undefined ? [] : [pair.mac]))]),
  ].map((mac) => parseMac(mac)!);
}

/** The port's own addresses as values. */
export function addressesOf(port: LogicalPort): Ip[] {
  return port.addresses.map((address) => parseIp(address)!);
}
