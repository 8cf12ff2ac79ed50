import { formatIp, parseIp } from '../../base/addresses.ts';
import { addressesIn, parseAddressRange } from '../address-pool.ts';
import { holdsAddress } from '../address-uses.ts';
import { describe } from '../describe.ts';
import type { DraftChange } from '../draft.ts';
import type { ModelIndex } from '../model-index.ts';
import type { Router, RouterPort } from '../objects.ts';
import { textsAt } from '../paths.ts';
import type { Problem, ProblemCode } from '../problem.ts';
import { ecmpShares } from '../shares.ts';
import { checkHeldAddress } from './addresses.ts';
import type { Rule } from './rule.ts';
import { written } from './rule.ts';

/** Routes, policies and translations of a router are unambiguous and lead somewhere. */
export const checkRouters: Rule = (index, changes, report) => {
  const lost = networksLost(changes);
  const checked = new Set<string>();
  for (const { after } of written(changes, 'router')) {
    checked.add(after.id);
    checkRoutes(index, after, report);
    checkPolicies(index, after, report);
    checkTranslations(index, after, report);
  }
  for (const [id, ports] of lost) {
    const router = index.get('router', id);
    if (router && !checked.has(id)) checkLost(index, router, ports, report);
  }
  // What a router answers for can come to lie on another switch with its ports.
  for (const { after } of written(changes, 'routerPort')) {
    const router = index.get('router', after.router);
    if (!router || checked.has(router.id)) continue;
    checked.add(router.id);
    checkTranslations(index, router, report);
  }
};

type Report = (problem: Problem) => void;

function problemAt(index: ModelIndex, router: Router, report: Report) {
  const object = describe(index, router);
  return (path: string, code: ProblemCode, message: string, hint?: string): void =>
    report({ object, path, code, message, ...(hint === undefined ? {} : { hint }) });
}

function checkRoutes(index: ModelIndex, router: Router, report: Report): void {
  const problem = problemAt(index, router, report);
  const seen = new Map<string, { readonly at: number; readonly isEcmp: boolean; readonly vias: Set<string> }>();
  for (const [at, { to, from, via, metric }] of router.routes.entries()) {
    if (from !== undefined && versionOf(from) !== versionOf(to))
      problem(`routes[${at}].from`, 'ip-version', `${from} is of another IP version than ${to}`);
    // An IPv4 route may have an IPv6 next hop (RFC 8950); nothing carries IPv6 by an IPv4 one.
    if (via !== undefined && versionOf(via) < versionOf(to))
      problem(`routes[${at}].via`, 'ip-version', `${via} is of another IP version than ${to}`, 'an IPv6 next hop');
    else if (via !== undefined) checkNextHop(index, router, `routes[${at}].via`, via, report);
    const key = `${to} ${from ?? ''} ${metric}`;
    const twin = seen.get(key);
    if (!twin) seen.set(key, { at, isEcmp: via !== undefined, vias: new Set(via === undefined ? [] : [via]) });
    else if (via === undefined || !twin.isEcmp || twin.vias.has(via)) {
      const what =
        via === undefined || !twin.isEcmp ? 'only routes with a next hop can share a network' : `via ${via} twice`;
      problem(
        `routes[${at}]`,
        'ambiguous',
        `routes[${twin.at}] is for the same packets: ${what}`,
        'give it another metric',
      );
    } else twin.vias.add(via);
  }
  checkShares(router, problem);
}

/** Every next hop of an ECMP route gets packets. */
function checkShares({ routes }: Router, problem: ReturnType<typeof problemAt>): void {
  const ways = Map.groupBy([...routes.entries()], ([, { to, from, metric }]) => `${to} ${from ?? ''} ${metric}`);
  for (const equals of ways.values()) {
    const hops = equals.flatMap(([, { via, weight }]) => (via === undefined ? [] : [{ id: via, weight }]));
    // One that is given twice is told of already, and has no share of its own.
    if (hops.length < 2 || new Set(hops.map(({ id }) => id)).size < hops.length) continue;
    const owners = ecmpShares(hops);
    const used = new Set(owners);
    for (const [at, { via, weight }] of equals)
      if (via !== undefined && !used.has(via))
        problem(
          `routes[${at}].weight`,
          'slots',
          `weight ${weight} of ${hops.reduce((sum, hop) => sum + hop.weight, 0)} is none of the ${owners.length} slots that the next hops of ${routes[at]!.to} share`,
          'weights less far apart, or fewer next hops',
        );
  }
}

function checkPolicies(index: ModelIndex, router: Router, report: Report): void {
  const problem = problemAt(index, router, report);
  const positions = new Map<number, number>();
  for (const [at, { position, match, via }] of router.policies.entries()) {
    const twin = positions.get(position);
    if (twin !== undefined)
      problem(`policies[${at}].position`, 'duplicate-position', `policies[${twin}] has position ${position} too`);
    positions.set(position, at);
    if (via === undefined) continue;
    const matched = match.src ?? match.dst;
    if (matched !== undefined && versionOf(matched) !== versionOf(via))
      problem(`policies[${at}].via`, 'ip-version', `${via} is of another IP version than ${matched}`);
    else checkNextHop(index, router, `policies[${at}].via`, via, report);
  }
}

/** A router without ports yet may have its routes already. */
function checkNextHop(index: ModelIndex, router: Router, path: string, via: string, report: Report): void {
  const problem = problemAt(index, router, report);
  const ports = [...index.routerPortsOfRouter(router.id)].filter((port) =>
    port.addresses.some((text) => versionOf(text) === versionOf(via)),
  );
  if (ports.length === 0) return;
  const holding = ports.find((port) => holdsAddress(port, parseIp(via)!));
  if (!holding) {
    const networks = ports.flatMap(({ addresses }) => addresses).join(', ');
    problem(path, 'next-hop', `${via} is in no network of the router (${networks})`);
  } else if (holding.addresses.some((text) => text.startsWith(`${via}/`)))
    problem(path, 'next-hop', `${via} is the router's own address`);
}

function checkTranslations(index: ModelIndex, router: Router, report: Report): void {
  const problem = problemAt(index, router, report);
  const froms = new Map<string, number>();
  const checked = new Set<string>();
  for (const [at, { from, to }] of router.snat.entries()) {
    const twin = froms.get(from);
    if (twin !== undefined) problem(`snat[${at}].from`, 'ambiguous', `snat[${twin}] translates ${from} too`);
    froms.set(from, at);
    for (const { path, text } of textsAt({ to }, typeof to === 'string' ? 'to' : 'to[]'))
      for (const ip of addressesIn(parseAddressRange(text)!)) {
        const address = formatIp(ip);
        if (!checked.has(address)) checkHeldAddress(index, router, `snat[${at}].${path}`, address, report);
        checked.add(address);
      }
  }
}

/** Router → ports (as they were) that lost networks. */
function networksLost(changes: readonly DraftChange[]): Map<string, RouterPort[]> {
  const lost = new Map<string, RouterPort[]>();
  for (const { before, after } of changes) {
    if (before?.kind !== 'routerPort') continue;
    const kept = after?.kind === 'routerPort' ? after.addresses : [];
    if (before.addresses.every((text) => kept.includes(text))) continue;
    lost.set(before.router, [...(lost.get(before.router) ?? []), before]);
  }
  return lost;
}

/** No route that led somewhere may be left without a way. */
function checkLost(index: ModelIndex, router: Router, former: readonly RouterPort[], report: Report): void {
  const problem = problemAt(index, router, report);
  const ports = [...index.routerPortsOfRouter(router.id)];
  const check = (path: string, via: string): void => {
    const ip = parseIp(via)!;
    const was = former.find((port) => holdsAddress(port, ip));
    if (was && !ports.some((port) => holdsAddress(port, ip)))
      problem(path, 'next-hop', `${via} is reached by port ${was.name}`, 'change or take away the route first');
  };
  for (const [at, { via }] of router.routes.entries()) if (via !== undefined) check(`routes[${at}].via`, via);
  for (const [at, { via }] of router.policies.entries()) if (via !== undefined) check(`policies[${at}].via`, via);
}

function versionOf(text: string): number {
  return text.includes(':') ? 6 : 4;
}
