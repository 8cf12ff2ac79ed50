import { formatIp, parseCidr, parseIp, parseIpv4 } from '../base/addresses.ts';
import { WeftError } from '../base/errors.ts';
import type { PrefixEntry } from '../base/prefix-lists.ts';
import { inwards, ip, isIpv6, outwards, type Policies, prefix } from './policies.ts';

/** What a BGP speaker is to do: plain values, nothing of Weft's model. Addresses and prefixes are text. */
export type SpeakerConfig = {
  /** An IPv4 address that no other speaker of the network has. */
  readonly routerId: string;
  /** Changing it ends every session. */
  readonly asn: number;
  /** Where zebra finds the agent, at 127.0.0.1 in the speaker's namespace. */
  readonly fpmPort: number;
  /** Interfaces of the namespace, which exist already; `addresses` with their prefix length. */
  readonly interfaces: readonly SpeakerInterface[];
  readonly peers: readonly SpeakerPeer[];
  /** Prefixes of either family that every peer of that family is told: these, and nothing else. */
  readonly networks: readonly string[];
  /** Neighbours that only BFD is spoken with (RFC 5881). Without `peers` no bgpd runs, and `asn` and `routerId` mean nothing. */
  readonly bfdPeers?: readonly BfdPeer[];
  /** How peers that are more than a hop away are reached. */
  readonly routes: readonly { readonly to: string; readonly via: string }[];
};

export type SpeakerInterface = { readonly name: string; readonly addresses: readonly string[] };

/** `local`: our address, on `interface`. */
export type BfdPeer = {
  readonly address: string;
  readonly local: string;
  readonly interface: string;
  readonly multiplier: number;
  readonly intervalMs: number;
};

export type SpeakerPeer = {
  readonly address: string;
  readonly asn: number;
  /** The interface of a link-local address. */
  readonly interface?: string;
  /** TCP MD5 (RFC 2385): up to 80 printable characters, no space. Stands in bgpd's configuration only. */
  readonly password?: string;
  readonly bfd?: { readonly multiplier: number; readonly intervalMs: number };
  /** Most hops to a peer that is not on a network of ours; not given: it must be. */
  readonly multihop?: number;
  readonly keepaliveS: number;
  readonly holdS: number;
  /** More than so many prefixes of a family end the session; it is tried again after five minutes. */
  readonly maxPrefixes: number;
  readonly families: readonly Family[];
  /** False: the session is held down, `shutdown`. */
  readonly adminUp: boolean;
  /**
   * Whether either side keeps the other's routes over a restart (RFC 4724). Not given: only without BFD, since FRR keeps
   * them even where BFD says that the peer is gone (docs/design/bgp.md).
   */
  readonly gracefulRestart?: boolean;
  /** What is taken from this peer; not given: all. */
  readonly accept?: readonly PrefixEntry[];
  /** Which of the networks this peer is told; not given: all. */
  readonly advertise?: readonly PrefixEntry[];
  /** Communities (`65001:100`, `no-export` …) on all that this peer is told. */
  readonly communities?: readonly string[];
  /** What this peer is told is to be used last (RFC 8326): with the community graceful-shutdown, and a path that is longer. */
  readonly isLeaving?: boolean;
};

/** An IPv6 peer with `ipv4` has IPv4 routes with IPv6 next hops (RFC 8950, which was RFC 5549). */
export type Family = 'ipv4' | 'ipv6';
export const FAMILIES = ['ipv4', 'ipv6'] as const;
export const DEFAULT_BFD = { multiplier: 3, intervalMs: 100 } as const;

/** mgmtd is in FRR 9 and newer; there it has the routes that are staticd's before. */
export type DaemonName = 'mgmtd' | 'zebra' | 'bfdd' | 'staticd' | 'bgpd';
/** In the order in which they start. */
export const DAEMONS = ['mgmtd', 'zebra', 'bfdd', 'staticd', 'bgpd'] as const satisfies readonly DaemonName[];

/** Whether a peer's routes stay for a while when its session ends. */
export function outlivesRestart(peer: SpeakerPeer): boolean {
  return peer.gracefulRestart ?? !peer.bfd;
}

/** How long a peer that may keep our routes keeps them, in seconds: time for bgpd to come up again and read a full table. */
const RESTART_S = 30;
const MOST_WAYS = 64;
/** Who told more than `maxPrefixes` is let in again after so long. */
export const RETRY_AFTER_MAX_PREFIXES_MIN = 5;

/** No BGP at all, only BFD. */
export function isBfdAlone({ peers, bfdPeers = [] }: SpeakerConfig): boolean {
  return peers.length === 0 && bfdPeers.length > 0;
}

/**
 * The configuration file of every daemon. Lines are indented by depth and every section is closed, so that
 * `config-difference.ts` can read them back. Error: `invalid` where a value would not stand for itself in FRR's language.
 */
export function formatConfig(config: SpeakerConfig): Record<DaemonName, string> {
  check(config);
  const routes = text(
    config.routes.map(({ to, via }) => `${to.includes(':') ? 'ipv6' : 'ip'} route ${prefix(to)} ${ip(via)}`),
  );
  return {
    zebra: text([`fpm address 127.0.0.1 port ${config.fpmPort}`]),
    bgpd: text(bgpLines(config)),
    bfdd: text(bfdLines(config)),
    staticd: routes,
    mgmtd: routes,
  };
}

function text(lines: readonly string[]): string {
  return `${['frr defaults traditional', ...lines].join('\n')}\n`;
}

function bgpLines(config: SpeakerConfig): string[] {
  if (isBfdAlone(config)) return [];
  const policies: Policies = new Map();
  const router = [
    `router bgp ${config.asn}`,
    ` bgp router-id ${config.routerId}`,
    ' bgp log-neighbor-changes',
    ' no bgp default ipv4-unicast',
    ' no bgp network import-check',
    ' bgp bestpath as-path multipath-relax',
  ];
  // Else zebra resolves next hops a hop further only where the best of equal ways is one.
  if (config.peers.some((p) => (p.multihop ?? 1) > 1)) router.push(' bgp disable-ebgp-connected-route-check');
  if (config.peers.some(outlivesRestart))
    router.push(
      ' bgp graceful-restart',
      ' bgp graceful-restart preserve-fw-state',
      ` bgp graceful-restart restart-time ${RESTART_S}`,
    );
  // bgpd tells zebra after each whether any so far outlives a restart, and zebra drops what it kept over one where none does.
  const peers = [...config.peers].sort((a, b) => Number(outlivesRestart(b)) - Number(outlivesRestart(a)));
  for (const peer of peers) router.push(...peerLines(peer).map((line) => ` neighbor ${ip(peer.address)} ${line}`));
  for (const family of FAMILIES) router.push(...familyLines(config, family, policies));
  return ['bgp as-path access-list weft-own seq 5 permit ^$', ...[...policies.values()].flat(), ...router, 'exit'];
}

function peerLines(peer: SpeakerPeer): string[] {
  const lines = [`remote-as ${peer.asn}`];
  if (peer.interface !== undefined) lines.push(`interface ${peer.interface}`);
  if (peer.multihop !== undefined && peer.multihop > 1) lines.push(`ebgp-multihop ${peer.multihop}`);
  if (peer.password !== undefined) lines.push(`password ${peer.password}`);
  if (peer.bfd) lines.push('bfd', `bfd profile ${bfdProfile(peer.bfd)}`);
  if (!outlivesRestart(peer)) lines.push('graceful-restart-disable');
  lines.push(`timers ${peer.keepaliveS} ${peer.holdS}`, 'timers connect 5');
  if (isIpv6(peer.address) && peer.families.includes('ipv4')) lines.push('capability extended-nexthop');
  if (!peer.adminUp) lines.push('shutdown');
  return lines;
}

function familyLines(config: SpeakerConfig, family: Family, policies: Policies): string[] {
  const peers = config.peers.filter((peer) => peer.families.includes(family));
  if (peers.length === 0) return [];
  const networks = config.networks.map(prefix).filter((n) => isIpv6(n) === (family === 'ipv6'));
  const lines = [` address-family ${family} unicast`, `  maximum-paths ${MOST_WAYS}`];
  for (const network of [...new Set(networks)].sort()) lines.push(`  network ${network}`);
  for (const peer of peers) {
    const neighbor = `  neighbor ${ip(peer.address)}`;
    lines.push(
      `${neighbor} activate`,
      `${neighbor} route-map ${inwards(peer, family, policies)} in`,
      `${neighbor} route-map ${outwards(peer, family, config.asn, policies)} out`,
      `${neighbor} maximum-prefix ${peer.maxPrefixes} restart ${RETRY_AFTER_MAX_PREFIXES_MIN}`,
    );
  }
  return [...lines, ' exit-address-family'];
}

function bfdLines(config: SpeakerConfig): string[] {
  const peers = config.bfdPeers ?? [];
  const all = [...config.peers.flatMap(({ bfd }) => bfd ?? []), ...peers];
  const profiles = new Map(all.map((bfd) => [bfdProfile(bfd), bfd] as const));
  if (profiles.size === 0) return [];
  const lines = [...profiles].flatMap(([name, bfd]) => [
    ` profile ${name}`,
    `  detect-multiplier ${bfd.multiplier}`,
    `  receive-interval ${bfd.intervalMs}`,
    `  transmit-interval ${bfd.intervalMs}`,
    ' exit',
  ]);
  const sessions = peers.flatMap((peer) => [
    ` peer ${ip(peer.address)} local-address ${ip(peer.local)} interface ${peer.interface}`,
    `  profile ${bfdProfile(peer)}`,
    ' exit',
  ]);
  return ['bfd', ...lines, ...sessions, 'exit'];
}

function bfdProfile(bfd: { readonly multiplier: number; readonly intervalMs: number }): string {
  return `weft-${bfd.multiplier}x${bfd.intervalMs}`;
}

/** Nothing that is written into a file of FRR's may be more than one word of it. */
function check(config: SpeakerConfig): void {
  const wrong: string[] = [];
  const need = (right: boolean, what: string): void => {
    if (!right) wrong.push(what);
  };
  const within = (n: number, least: number, most: number): boolean => Number.isInteger(n) && n >= least && n <= most;
  need(parseIpv4(config.routerId) !== undefined, `router id ${config.routerId}`);
  if (!isBfdAlone(config)) need(within(config.asn, 1, 0xffff_ffff), `AS ${config.asn}`);
  need(within(config.fpmPort, 1, 65_535), `port ${config.fpmPort}`);
  for (const { name, addresses } of config.interfaces) {
    need(isName(name), `interface ${JSON.stringify(name)}`);
    for (const address of addresses) need(parseCidr(address) !== undefined, `address ${address} of ${name}`);
  }
  for (const network of config.networks) need(parseCidr(network) !== undefined, `network ${network}`);
  for (const { to, via } of config.routes)
    need(parseCidr(to) !== undefined && parseIp(via) !== undefined, `route ${to} via ${via}`);
  const addresses = new Set<string>();
  for (const peer of config.peers) {
    const name = `peer ${peer.address}`;
    const address = parseIp(peer.address);
    need(address !== undefined && !addresses.has(formatIp(address)), name);
    if (address) addresses.add(formatIp(address));
    need(within(peer.asn, 1, 0xffff_ffff), `AS ${peer.asn} of ${name}`);
    need(peer.interface === undefined || isName(peer.interface), `interface of ${name}`);
    // Never the password itself.
    need(peer.password === undefined || /^[!-~]{1,80}$/.test(peer.password), `password of ${name}`);
    need(within(peer.keepaliveS, 0, 65_535) && within(peer.holdS, 0, 65_535), `timers of ${name}`);
    need(peer.multihop === undefined || within(peer.multihop, 1, 255), `multihop of ${name}`);
    need(within(peer.maxPrefixes, 1, 0xffff_ffff), `maximum of prefixes of ${name}`);
    need(
      !peer.bfd || (within(peer.bfd.multiplier, 2, 255) && within(peer.bfd.intervalMs, 10, 60_000)),
      `BFD of ${name}`,
    );
    for (const entry of [...(peer.accept ?? []), ...(peer.advertise ?? [])])
      need(isPrefixEntry(entry), `${JSON.stringify(entry)} of ${name}`);
    for (const community of peer.communities ?? [])
      need(
        /^(\d{1,5}:\d{1,5}|[a-z][a-z-]{0,40})$/.test(community),
        `community ${JSON.stringify(community)} of ${name}`,
      );
  }
  for (const peer of config.bfdPeers ?? []) {
    const name = `BFD with ${peer.address}`;
    need(parseIp(peer.address) !== undefined && parseIp(peer.local) !== undefined, name);
    need(isName(peer.interface), `interface of ${name}`);
    need(within(peer.multiplier, 2, 255) && within(peer.intervalMs, 10, 60_000), `intervals of ${name}`);
  }
  if (wrong.length > 0) throw new WeftError('invalid', `no BGP speaker can have: ${wrong.join('; ')}`);
}

function isPrefixEntry(entry: PrefixEntry): boolean {
  const { network, ge, le } = typeof entry === 'string' ? { network: entry } : entry;
  const cidr = parseCidr(network);
  if (cidr === undefined) return false;
  const lengths = [cidr.prefix, ...(ge === undefined ? [] : [ge]), ...(le === undefined ? [] : [le])];
  const longest = cidr.ip.version === 4 ? 32 : 128;
  return lengths.every((n, i) => Number.isInteger(n) && n >= (lengths[i - 1] ?? 0) && n <= longest);
}

function isName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}$/.test(name);
}
