import { z } from 'zod';
import { formatCidr, formatIp, networkOf, parseCidr, parseIp, parseMac } from '../../base/addresses.ts';
import { parsePortRange } from '../texts.ts';

/** Text forms that several kinds share. Every message says how to mend the value. */
export const nameSchema = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/,
    'a name is 1 to 63 of a-z, 0-9, dot, dash, underscore, beginning and ending with a letter or digit',
  );

export const idSchema = z
  .string()
  .regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, 'an id is a UUID in lower case');

/** A reference as written: a name (of the same tenant), `tenant/name`, or an id. The server stores the id. */
export const refSchema = z.string().min(1).max(160);

export const macSchema = z
  .string()
  .transform((text) => text.toLowerCase())
  .refine((text) => parseMac(text) !== undefined, 'a MAC address looks like 02:00:00:00:00:01');

export const unicastMacSchema = macSchema.refine(
  (text) => (Number.parseInt(text.slice(0, 2), 16) & 1) === 0 && text !== '00:00:00:00:00:00',
  'a unicast MAC address is wanted (the first byte is even, and not all zero)',
);

/** As the kernel takes it. */
export const interfaceSchema = z
  .string()
  .regex(/^(?!\.{1,2}$)[^\s/:]{1,15}$/, 'a name of an interface is 1 to 15 characters, no space, slash or colon');

/** MAC with an optional mask: `02:00:00:00:00:00/ff:00:00:00:00:00`. */
export const maskedMacSchema = z
  .string()
  .transform((text) => text.toLowerCase())
  .refine((text) => {
    const [mac, mask, more] = text.split('/');
    return (
      more === undefined && parseMac(mac ?? '') !== undefined && (mask === undefined || parseMac(mask) !== undefined)
    );
  }, 'a MAC address with an optional mask looks like 02:00:00:00:00:00/ff:ff:ff:00:00:00');

/** Addresses come out in one spelling (RFC 5952), so that equal addresses are equal text. */
export const ipSchema = z
  .string()
  .refine((text) => parseIp(text) !== undefined, 'an IPv4 or IPv6 address is wanted')
  .overwrite(canonicalAddress);
export const ipv4Schema = z.string().refine((text) => parseIp(text)?.version === 4, 'an IPv4 address is wanted');

function canonicalAddress(text: string): string {
  const cidr = parseCidr(text);
  if (cidr) return formatCidr(cidr);
  const ip = parseIp(text);
  return ip ? formatIp(ip) : text;
}

/** A network: host bits must be zero. */
export const cidrSchema = z
  .string()
  .superRefine((text, context) => {
    const cidr = parseCidr(text);
    if (!cidr)
      return context.addIssue({ code: 'custom', message: 'a network looks like 10.0.0.0/24 or 2001:db8::/64' });
    const network = networkOf(cidr);
    if (network.ip.value !== cidr.ip.value)
      context.addIssue({ code: 'custom', message: `host bits are set in ${text}; write ${formatCidr(network)}` });
  })
  .overwrite(canonicalAddress);

/** An address or a network; an address stands for itself alone. */
export const addressOrCidrSchema = z
  .string()
  .refine(
    (text) => parseIp(text) !== undefined || parseCidr(text) !== undefined,
    'an address or a network is wanted, as 10.0.0.5 or 10.0.0.0/24',
  )
  .overwrite(canonicalAddress);

export const helperSchema = z.enum(['ftp', 'tftp']).optional();

/** `80` or `8000-8080`. */
export const portRangeSchema = z
  .union([z.number().int().min(0).max(65535), z.string()])
  .transform((value) => String(value))
  .refine(
    (text) => parsePortRange(text) !== undefined,
    'a port or a range is wanted, as 80 or 8000-8080, from low to high',
  );

/** A chain without `state` and `reject` (rules/protection.ts): it is asked where no connection is known, before any work. */
export const prefilterSchema = refSchema.optional();

/** Kilobits a second, in thousands of bits. */
export const kbpsSchema = z.number().int().min(8).max(400_000_000);
/** Most that comes in from outside, at each host where it does (docs/design/gateways.md, §8). */
export const inboundLimitSchema = z
  .strictObject({
    kbps: kbpsSchema.optional().describe('thousands of bits a second'),
    pps: z.number().int().min(1).max(10_000_000).optional().describe('packets a second'),
    newPerSecond: z
      .number()
      .int()
      .min(1)
      .max(10_000_000)
      .optional()
      .describe('connections begun a second, by TCP and UDP'),
    connections: z.number().int().min(1).max(10_000_000).optional().describe('connections at a time'),
  })
  .refine(
    (limit) => Object.values(limit).some((value) => value !== undefined),
    'one of kbps, pps, newPerSecond and connections',
  )
  .optional();

/** The upper six bits of the traffic class (RFC 2474). */
export const dscpSchema = z.number().int().min(0).max(63);
export const vlanIdSchema = z.number().int().min(1).max(4094);
/** 24-bit tunnel key; 0 is never used. */
export const keySchema = z.number().int().min(1).max(0xff_ffff);
