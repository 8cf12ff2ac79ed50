import { z } from 'zod';
import { type Ip, parseCidr, parseIp } from '../base/addresses.ts';

/** Fields that the parts of a lab's description share. */

/** Names that a lab gives to places of its own. */
const RESERVED = ['underlay', 'server', 'internet', 'cables'];

export const placeName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$/, 'a name is 1 to 24 of a-z, 0-9 and dashes within')
  .refine((name) => !RESERVED.includes(name), 'this name is used by the lab itself');
export const address = z.string().refine((text) => parseIp(text) !== undefined, 'not an IP address');
export const addressWithPrefix = z
  .string()
  .refine((text) => parseCidr(text) !== undefined, 'not an address with prefix length');
export const mtu = z.int().min(576).max(9216);

/** The address `n` further on. */
export function plus(ip: Ip, n: number): Ip {
  return ip.version === 4
    ? { version: 4, value: (ip.value + n) as typeof ip.value }
    : { version: 6, value: (ip.value + BigInt(n)) as typeof ip.value };
}
