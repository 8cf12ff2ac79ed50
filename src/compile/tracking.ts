import { type Cidr, cidrContains, parseCidr, parseIp } from '../base/addresses.ts';
import type { Registers } from './fields.ts';
import {
  balancersIndex,
  define,
  floatingIndex,
  peersIndex,
  portsOfRouterIndex,
  profileHash,
  profileName,
  profilesByHashIndex,
  type Reader,
  routerPortsIndex,
  rulesIndex,
  speakingRoutersIndex,
  wiresIndex,
} from './inputs.ts';

/** Who asks conntrack, and in which zone (docs/design/layer3.md, §2). */

/** Is it so of any rule of a chain, or of one that it jumps to? */
export function someRuleBehind(reader: Reader, chain: string, isSo: (rule: string) => boolean): boolean {
  const seen = new Set([chain]);
  for (const at of seen)
    for (const rule of reader.ids(rulesIndex, at)) {
      if (isSo(rule)) return true;
      const next = reader.pick('rule', rule, 'jumpTo');
      if (next !== undefined && reader.pick('rule', rule, 'action') === 'jump') seen.add(next);
    }
  return false;
}

/** Does a chain, or one that it jumps to, ask for the state of connections? */
const asksState = define.cell<boolean>({
  name: 'chainAsksState',
  run: (reader, chain) =>
    someRuleBehind(reader, chain, (rule) => reader.pick('rule', rule, 'match')?.state !== undefined),
});

function ask(reader: Reader, ...chains: readonly (string | undefined)[]): boolean {
  return chains.some((chain) => chain !== undefined && reader.derive(asksState, chain));
}

/** Does the router translate addresses? */
const routerTranslates = define.cell<boolean>({
  name: 'routerTranslates',
  run: (reader, router) =>
    (reader.pick('router', router, 'snat')?.length ?? 0) > 0 ||
    reader.ids(floatingIndex, router).length > 0 ||
    reader.ids(balancersIndex, router).length > 0,
});

/** Is there something at the router itself that needs to know connections, chains at its uplinks aside? */
const routerAsks = define.cell<boolean>({
  name: 'routerAsksState',
  run: (reader, router) =>
    reader.derive(routerTranslates, router) ||
    reader.ids(portsOfRouterIndex, router).some((port) => portAsks(reader, port) && !reader.derive(isUplink, port)),
});

function portAsks(reader: Reader, port: string): boolean {
  return ask(reader, reader.pick('routerPort', port, 'inChain'), reader.pick('routerPort', port, 'outChain'));
}

/** Is the router port an uplink (docs/design/gateways.md, §1)? Every host that has the router says the same, whatever it has of its peers. */
const isUplink = define.cell<boolean>({
  name: 'isUplink',
  run: (reader, port) => {
    const onSwitch = reader.pick('routerPort', port, 'switch');
    if (onSwitch === undefined || reader.pick('routerPort', port, 'outside')) return false;
    const router = reader.pick('routerPort', port, 'router')!;
    if (reader.pick('router', router, 'bgp') === undefined && !isProbedBy(reader, router, port)) return false;
    const kinds = reader.members(wiresIndex, onSwitch);
    return kinds.length === 1 && kinds[0] === 'wire';
  },
});

function isProbedBy(reader: Reader, router: string, port: string): boolean {
  const networks = (): Cidr[] => reader.pick('routerPort', port, 'addresses')!.map((text) => parseCidr(text)!);
  return (reader.pick('router', router, 'routes') ?? []).some(
    ({ via, probe }) => probe !== undefined && networks().some((network) => cidrContains(network, parseIp(via!)!)),
  );
}

/** What comes in by the port without a state is judged as new, or else as known, and its anchor knows (units/uplink.ts). */
export const judgesWithoutState = define.cell<boolean>({
  name: 'judgesWithoutState',
  run: (reader, port) => ask(reader, reader.pick('routerPort', port, 'inChain')) && reader.derive(isUplink, port),
});

/** Do chains at uplinks of the router ask for connections, which are then known to the ports behind it? */
export const routerAsksAtUplinks = define.cell<boolean>({
  name: 'routerAsksAtUplinks',
  run: (reader, router) =>
    reader.ids(portsOfRouterIndex, router).some((port) => portAsks(reader, port) && reader.derive(isUplink, port)),
});

/** Is there such a router, and may packets have come in so? */
const uplinksAsk = define.cell<boolean>({
  name: 'uplinksAsk',
  run: (reader) => reader.ids(speakingRoutersIndex, '').some((router) => reader.derive(routerAsksAtUplinks, router)),
});

/** Has packets that may only be of a known connection, on this host or from another. */
export function meetsKnownOnly(reader: Reader): boolean {
  return reader.derive(uplinksAsk, '');
}

/** Routers that a router is linked to, by a peer or a switch that is not shared and that neither faces by an outside port. */
export const linkedRouters = define.cell<readonly string[]>({
  name: 'linkedRouters',
  run: (reader, router) => linksOf(reader, router, false),
});

/** Over shared switches too. */
const widelyLinkedRouters = define.cell<readonly string[]>({
  name: 'widelyLinkedRouters',
  run: (reader, router) => linksOf(reader, router, true),
});

function linksOf(reader: Reader, router: string, widely: boolean): readonly string[] {
  const linked = new Set<string>();
  for (const port of reader.ids(portsOfRouterIndex, router)) {
    const peer = reader.pick('routerPort', port, 'peer');
    const onSwitch = reader.pick('routerPort', port, 'switch');
    const others = [
      ...(peer === undefined ? [] : [peer]),
      ...reader.ids(peersIndex, port),
      ...(onSwitch === undefined ||
      reader.pick('routerPort', port, 'outside') ||
      (!widely && reader.pick('switch', onSwitch, 'shared') !== false)
        ? []
        : reader.ids(routerPortsIndex, onSwitch).filter((other) => !reader.pick('routerPort', other, 'outside'))),
    ];
    for (const other of others) {
      const owner = reader.pick('routerPort', other, 'router');
      if (owner !== undefined) linked.add(owner);
    }
  }
  linked.delete(router);
  return [...linked].sort();
}

/** By the router or one that it is linked to; chains at uplinks aside, which ask nothing of wires: no gateway keeps connections. */
const wiresTracked = define.cell<boolean>({
  name: 'wiresTracked',
  run: (reader, router) => isOneBehind(reader, router, linkedRouters, routerAsks),
});

const routerTracked = define.cell<boolean>({
  name: 'routerTracked',
  run: (reader, router) =>
    reader.derive(wiresTracked, router) ||
    (meetsKnownOnly(reader) && isOneBehind(reader, router, widelyLinkedRouters, routerAsksAtUplinks)),
});

/** Is it so of the router, or of one that a way over links leads to? */
function isOneBehind(reader: Reader, router: string, links: typeof linkedRouters, isSo: typeof routerAsks): boolean {
  const seen = new Set([router]);
  for (const at of seen) {
    if (reader.derive(isSo, at)) return true;
    for (const next of reader.derive(links, at)) seen.add(next);
  }
  return false;
}

export const switchTracked = define.cell<boolean>({
  name: 'switchTracked',
  run: (reader, onSwitch) =>
    reader.ids(balancersIndex, onSwitch).length > 0 ||
    reader.ids(routerPortsIndex, onSwitch).some((port) => {
      const router = reader.pick('routerPort', port, 'router');
      if (router === undefined || reader.derive(judgesWithoutState, port)) return false;
      // Of a router that the switch faces no more counts there, and where it is shared no more is known.
      if (reader.pick('routerPort', port, 'outside'))
        return reader.derive(routerTranslates, router) || ask(reader, reader.pick('routerPort', port, 'inChain'));
      return reader.derive(reader.derive(isUplink, port) ? wiresTracked : routerTracked, router);
    }),
});

export const portTracked = define.cell<boolean>({
  name: 'portTracked',
  run: (reader, port) => {
    const onSwitch = reader.pick('port', port, 'switch');
    if (onSwitch === undefined) return false;
    if (reader.pick('port', port, 'groups')!.length > 0) return true;
    if (ask(reader, reader.pick('port', port, 'fromChain'), reader.pick('port', port, 'toChain'))) return true;
    return reader.derive(switchTracked, onSwitch);
  },
});

/** Profiles with the same hash that are told apart. */
const MOST_ALIKE = 16;

/** A number for a set of groups, the same after a restart; profiles whose hashes are equal are numbered in order. */
export const profileNumber = define.cell<number>({
  name: 'profileNumber',
  run: (reader, profile) => {
    const hash = profileHash(profile);
    const rank = reader.ids(profilesByHashIndex, `${hash}`).indexOf(profile);
    if (rank >= MOST_ALIKE) throw new RangeError(`${MOST_ALIKE} sets of security groups have the hash ${hash}`);
    return hash * MOST_ALIKE + Math.max(rank, 0);
  },
});

/** Which security groups a local port has, as the register has it: 31 bits, 0 without groups. */
export function profileOf(reader: Reader, port: string): number {
  const profile = profileName(reader.pick('port', port, 'groups') ?? []);
  return profile === undefined ? 0 : reader.derive(profileNumber, profile);
}

/**
 * The conntrack zone of a port here; undefined for one that is not tracked, 0 while it has none yet: its IP is then dropped, since
 * what its groups and chains would say is not known.
 */
export function zoneOf(reader: Reader, port: string): number | undefined {
  return reader.derive(portTracked, port) ? (reader.pick('interface', port, 'zone') ?? 0) : undefined;
}

/** What the pipeline has to know of the port that a frame comes from. */
export function senderRegisters(reader: Reader, port: string): Registers {
  const inZone = zoneOf(reader, port);
  return inZone === undefined ? {} : { inZone, inTracked: 1, profile: profileOf(reader, port) };
}

/** Of the local port that it goes to. */
export function receiverRegisters(reader: Reader, port: string): Registers {
  const outZone = zoneOf(reader, port);
  return outZone === undefined ? {} : { outZone, outTracked: 1, profile: profileOf(reader, port) };
}
