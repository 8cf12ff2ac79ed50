import { z } from 'zod';
import type { KindDefinition } from '../kind.ts';
import { doFit, doOverlap, isOne, listenerPorts, memberPorts, shiftedPorts, sizeOf } from '../listener-ports.ts';
import { parsePortRange } from '../texts.ts';
import { inboundLimitSchema, ipSchema, keySchema, prefilterSchema, refSchema } from './common.ts';

const l4PortSchema = z.number().int().min(1).max(65_535);

/** `80` or `8000-8099`, as rules have it, but that port 0 is nobody's: `0-65535` is `1-65535`. */
const portsSchema = z.union([l4PortSchema, z.string()]).transform((value, context): number | string => {
  if (typeof value === 'number') return value;
  const range = parsePortRange(value);
  if (range && (range.first > 0 || range.last === 65_535)) {
    const first = Math.max(1, range.first);
    return first === range.last ? first : `${first}-${range.last}`;
  }
  const message =
    range === undefined
      ? 'a port or a range is wanted, as 80 or 8000-8099, from low to high'
      : `port 0 is no port to connect to; ports are from 1 to 65535, in ${value} too`;
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

/** Of a balancer, and of all that share an address. */
export const MOST_MEMBERS = 1000;
/** Ports of a balancer's ranges that are shifted: each of them is a listener of its own in flows. */
export const MOST_SHIFTED = 64;

export const listenerSchema = z
  .strictObject({
    protocol: z.enum(['tcp', 'udp', 'sctp']),
    port: portsSchema.describe('of the VIP: 80, or a range as 8000-8099'),
    memberPort: portsSchema
      .optional()
      .describe('one for all, or for a range one as long: 9000-9099; absent: the port that was asked for'),
    adminUp: z
      .boolean()
      .optional()
      .describe('false: as though it were not there, for known connections too; absent: true'),
  })
  .superRefine((listener, context) => {
    if (doFit(listener)) return;
    const counts = [listenerPorts(listener), memberPorts(listener)].map((range) =>
      isOne(range) ? '1 port' : `${sizeOf(range)} ports`,
    );
    const message = `${listener.memberPort} is ${counts[1]} and ${listener.port} is ${counts[0]}: ports lead to one port, or to as many`;
    context.addIssue({ code: 'custom', path: ['memberPort'], message });
  });

export const memberSchema = z.strictObject({
  port: refSchema.describe('the port of the workload that serves'),
  weight: z.number().int().min(1).max(100).default(1),
  /** Keeps its connections and gets no new ones. */
  drain: z.boolean().default(false).describe('true: keeps its connections, gets no new ones'),
  adminUp: z.boolean().default(true),
});

export const healthSchema = z
  .strictObject({
    type: z
      .enum(['tcp', 'http', 'udp', 'icmp'])
      .describe('udp: silence is taken for well, an ICMP error (port unreachable) for a failure'),
    intervalMs: z.number().int().min(100).max(3_600_000).default(5000),
    timeoutMs: z
      .number()
      .int()
      .min(50)
      .max(60_000)
      .optional()
      .describe('at most intervalMs; absent: 2000, or intervalMs where that is less'),
    rise: z.number().int().min(1).max(100).default(2).describe('successes until a member serves again'),
    fall: z.number().int().min(1).max(100).default(3).describe('failures until a member is out'),
    path: z.string().startsWith('/').max(512).default('/').describe('for http: 2xx and 3xx are good'),
    port: l4PortSchema
      .optional()
      .describe(
        'absent: the member port of the first listener of the protocol of type that is up, of a range the first',
      ),
  })
  .superRefine(({ intervalMs, timeoutMs = 0 }, context) => {
    if (timeoutMs > intervalMs)
      context.addIssue({
        code: 'custom',
        path: ['timeoutMs'],
        message: `${timeoutMs} is more than intervalMs, ${intervalMs}: one probe ends before the next begins`,
      });
  });

export const loadBalancerSchema = z
  .strictObject({
    address: ipSchema.describe(
      'the virtual address (VIP); others of the router or switch may share it with other listeners',
    ),
    router: refSchema.optional().describe('where the VIP lives: a router'),
    switch: refSchema.optional().describe('or a switch'),
    listeners: z.array(listenerSchema).min(1, 'a VIP needs a listener: protocol and port').max(64),
    members: z.array(memberSchema).min(1, 'a VIP needs a member').max(MOST_MEMBERS),
    health: healthSchema.optional().describe('absent: members are taken to be well'),
    sticky: z.enum(['none', 'source']).default('none').describe('source: a client address says its member'),
    stickyS: z
      .number()
      .int()
      .min(1)
      .max(86_400)
      .optional()
      .describe(
        'with sticky: source: seconds for which a client keeps the member that it had, also where its address says another now; absent: it does not',
      ),
    onEmpty: z.enum(['reject', 'drop']).default('reject').describe('when no member serves'),
    /** Power of two; the share of a member is a number of slots. */
    slots: z
      .number()
      .int()
      .min(16)
      .max(1024)
      .refine((n) => (n & (n - 1)) === 0, 'a power of two is wanted, from 16 to 1024')
      .optional()
      .describe('allocated: 32 to 1024, as many as put every share within 5 % of its weight; more as members come'),
    prefilter: prefilterSchema.describe('chain for what comes to the address from outside, asked where that comes in'),
    inboundLimit: inboundLimitSchema.describe('most that comes to the address from outside, at each host'),
    adminUp: z.boolean().default(true).describe('false: nothing is balanced'),
    key: keySchema.optional().describe('allocated'),
  })
  .superRefine((balancer, context) => {
    if ((balancer.router === undefined) === (balancer.switch === undefined))
      context.addIssue({ code: 'custom', path: ['router'], message: 'a VIP lives on one of router and switch' });
    if (balancer.stickyS !== undefined && balancer.sticky !== 'source')
      context.addIssue({
        code: 'custom',
        path: ['stickyS'],
        message: `clients are kept for ${balancer.stickyS} s by their address: that needs sticky: source`,
      });
    for (const [at, { protocol, port, ...rest }] of balancer.listeners.entries()) {
      const ports = listenerPorts({ port, ...rest });
      for (const other of balancer.listeners.slice(0, at)) {
        if (other.protocol !== protocol || !doOverlap(ports, listenerPorts(other))) continue;
        const message =
          other.port === port
            ? `${protocol}/${port} is given twice`
            : `${protocol}/${port} overlaps ${protocol}/${other.port}, another listener`;
        context.addIssue({ code: 'custom', path: ['listeners', at, 'port'], message });
      }
    }
    const shifted = balancer.listeners.reduce((sum, listener) => sum + shiftedPorts(listener), 0);
    if (shifted > MOST_SHIFTED)
      context.addIssue({
        code: 'custom',
        path: ['listeners'],
        message: `${shifted} ports of ranges lead to other ports, each to its own, which is more than ${MOST_SHIFTED}: let members listen to the same ports (no memberPort), or all at one`,
      });
  });

export const loadBalancerKind = {
  kind: 'loadBalancer',
  plural: 'load-balancers',
  about: 'a virtual address whose connections are shared out to members',
  tenantOwned: true,
  schema: loadBalancerSchema,
  references: [
    { path: 'router', kind: 'router', sameTenant: true, onDelete: 'restrict' },
    { path: 'switch', kind: 'switch', sameTenant: true, onDelete: 'restrict' },
    { path: 'members[].port', kind: 'port', sameTenant: true, onDelete: 'restrict' },
    { path: 'prefilter', kind: 'chain', sameTenant: true, onDelete: 'restrict' },
  ],
  allocated: ['slots', 'key'],
  columns: ['address', 'router', 'switch', 'listeners[].port', 'members.length', 'status.healthy'],
} as const satisfies KindDefinition;
