import { type Cidr, formatCidr, formatIp, type Ip, networkOf, parseCidr, parseIp } from '../base/addresses.ts';
import { lengthsOf, type PrefixEntry } from '../base/prefix-lists.ts';
import type { Family, SpeakerPeer } from './config.ts';

/**
 * What is taken from a peer and what it is told, as route maps and prefix lists of bgpd.
 *
 * Nobody becomes a way between our peers: what is learned gets `no-advertise`, and only routes that begin here (an empty AS path) pass outwards.
 * Neither list changes when networks do. A policy's name says what is in it: another content is another policy, which is made before its first
 * user and removed after its last, so that no route ever passes a half-made one.
 */
export type Policies = Map<string, readonly string[]>;

const WORD = { ipv4: 'ip', ipv6: 'ipv6' } as const;
const DEFAULT_ROUTE = { ipv4: '0.0.0.0/0', ipv6: '::/0' } as const;

/** Rules of a route map with `accept`, by their sequence numbers: `show route-map` counts what each was for. */
export const INWARDS = { accepted: 10, refusedDefault: 20, refused: 30 } as const;

/** The name of the route map, which is made in `policies`. */
export function inwards(peer: SpeakerPeer, family: Family, policies: Policies): string {
  const name = inwardsName(peer, family);
  const list = peer.accept && prefixList(peer.accept, family, policies);
  const accepted = [
    `route-map ${name} permit ${INWARDS.accepted}`,
    ...(list === undefined ? [] : [` match ${WORD[family]} address prefix-list ${list}`]),
    ' set community no-advertise additive',
    // The address of the peer and not its link-local one, where it tells both.
    ' set ipv6 next-hop prefer-global',
    'exit',
  ];
  if (list === undefined) policies.set(name, accepted);
  else {
    const byDefault = prefixList([{ network: DEFAULT_ROUTE[family] }], family, policies);
    policies.set(name, [
      ...accepted,
      `route-map ${name} deny ${INWARDS.refusedDefault}`,
      ` match ${WORD[family]} address prefix-list ${byDefault}`,
      'exit',
      `route-map ${name} deny ${INWARDS.refused}`,
      'exit',
    ]);
  }
  return name;
}

/** One for each peer with `accept`: what it refuses is counted for that peer. */
export function inwardsName({ address, accept }: SpeakerPeer, family: Family): string {
  return accept === undefined ? 'weft-in' : `weft-in-${family}-${nameOf([ip(address), ...textsOf(accept, family)])}`;
}

/** As `inwards`. */
export function outwards(peer: SpeakerPeer, family: Family, asn: number, policies: Policies): string {
  const { communities: given = [], isLeaving = false, advertise } = peer;
  const communities = isLeaving ? [...new Set([...given, 'graceful-shutdown'])] : given;
  const list = advertise && prefixList(advertise, family, policies);
  const start = isLeaving ? 'weft-leave' : 'weft-out';
  const words = list === undefined ? communities : [list, ...communities];
  const name = words.length === 0 ? start : `${start}-${nameOf(words)}`;
  policies.set(name, [
    `route-map ${name} permit 10`,
    ' match as-path weft-own',
    ...(list === undefined ? [] : [` match ${WORD[family]} address prefix-list ${list}`]),
    ...(communities.length > 0 ? [` set community ${communities.join(' ')}`] : []),
    // For who does not know that community.
    ...(isLeaving ? [` set as-path prepend ${asn} ${asn} ${asn}`] : []),
    'exit',
  ]);
  return name;
}

function prefixList(entries: readonly PrefixEntry[], family: Family, policies: Policies): string {
  const texts = textsOf(entries, family);
  const name = `weft-${family}-${nameOf(texts)}`;
  const start = `${WORD[family]} prefix-list ${name} seq`;
  // A list without entries permits everything in FRR.
  const lines =
    texts.length === 0 ? [`${start} 5 deny any`] : texts.map((t, i) => `${start} ${5 * (i + 1)} permit ${t}`);
  policies.set(name, lines);
  return name;
}

/** Those of the family, in FRR's words. */
function textsOf(entries: readonly PrefixEntry[], family: Family): string[] {
  return entries.flatMap((entry) => {
    const { network, least, most } = lengthsOf(entry);
    if ((network.ip.version === 6) !== (family === 'ipv6')) return [];
    const lengths = `${least > network.prefix ? ` ge ${least}` : ''}${most > network.prefix ? ` le ${most}` : ''}`;
    return `${formatCidr(networkOf(network))}${lengths}`;
  });
}

/** FNV-1a over the words, as 8 hex digits. */
function nameOf(words: readonly string[]): string {
  let hash = 0x811c_9dc5;
  for (const char of words.join(' ')) hash = Math.imul(hash ^ char.charCodeAt(0), 0x0100_0193) >>> 0;
  return hash.toString(16).padStart(8, '0');
}

export function isIpv6(text: string): boolean {
  return text.includes(':');
}

export function ip(text: string): string {
  return formatIp(parseIp(text) as Ip);
}

export function prefix(text: string): string {
  return formatCidr(networkOf(parseCidr(text) as Cidr));
}
