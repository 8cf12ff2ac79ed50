import { type Cidr, formatIp, type Ip } from '../base/addresses.ts';
import type { LogicalPort } from './objects.ts';
import { parseAddressOrCidr } from './texts.ts';

export type AllowedPair = LogicalPort['allowedPairs'][number];

/** The one address that a pair names; undefined for a network. */
export function singleOf(network: Cidr): Ip | undefined {
  return network.prefix === (network.ip.version === 4 ? 32 : 128) ? network.ip : undefined;
}

/** By what a pair is looked up: the address that it names, and its MAC. */
export function textsOfPair({ mac, address }: AllowedPair): readonly string[] {
  const single = address.includes('/') ? singleOf(parseAddressOrCidr(address)) : undefined;
  const named = address.includes('/') ? single && formatIp(single) : address;
  return [named, mac].filter((text) => text !== undefined);
}
