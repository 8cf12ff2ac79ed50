import { type Cidr, linkLocalOf, parseCidr, parseIp, parseMac } from '../base/addresses.ts';
import type { LogicalPort } from '../model/objects.ts';
import type { Fixed } from './bits.ts';
import type { SwitchFacts } from './facts.ts';
import { macsOf } from './inputs.ts';

/** What a port with port security may send from (docs/design/layer2.md, step 3). */
export interface Owned {
  readonly macs: readonly number[];
  /** Pairs of MAC and network (a single address is a network of its own). */
  readonly pairs: readonly { readonly mac: number; readonly cidr: Cidr }[];
  /** A bare layer-2 network: the port's MAC owns every address. */
  readonly everything: boolean;
}

export function ownedBy(port: LogicalPort, onSwitch: SwitchFacts): Owned {
  const macs = macsOf(port).map(macOf);
  const own = macs[0]!;
  const pairs = port.addresses.map((address) => ({ mac: own, cidr: cidrOf(address) }));
  for (const { mac, address } of port.allowedPairs)
    pairs.push({ mac: mac === undefined ? own : macOf(mac), cidr: cidrOf(address) });
  const everything = pairs.length === 0 && !onSwitch.hasSubnets;
  if (onSwitch.hasIpv6Subnet || pairs.some(({ cidr }) => cidr.ip.version === 6))
    for (const mac of macs) pairs.push({ mac, cidr: { ip: { version: 6, value: linkLocalOf(mac) }, prefix: 128 } });
  return { macs, pairs, everything };
}

/** The owned addresses of one IP version as bits that are fixed; none where everything is owned. */
export function fixedAddresses(owned: Owned, version: 4 | 6): Fixed[] {
  if (owned.everything) return [];
  const bits = version === 4 ? 32n : 128n;
  const fixed: Fixed[] = [];
  for (const { cidr } of owned.pairs) {
    if (cidr.ip.version !== version) continue;
    const host = bits - BigInt(cidr.prefix);
    const mask = ((1n << bits) - 1n) ^ ((1n << host) - 1n);
    fixed.push({ value: BigInt(cidr.ip.value) & mask, mask });
  }
  return fixed;
}

/** Text of a stored object: schemas have checked it. */
export function macOf(text: string): number {
  const mac = parseMac(text);
  if (mac === undefined) throw new TypeError(`'${text}' is no MAC address`);
  return mac;
}

/** An address stands for itself alone. */
export function cidrOf(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr !== undefined) return cidr;
  const ip = parseIp(text);
  if (ip === undefined) throw new TypeError(`'${text}' is no address or network`);
  return { ip, prefix: ip.version === 4 ? 32 : 128 };
}
