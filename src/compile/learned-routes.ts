import { createHash } from 'node:crypto';
import { type Ip, parseIp } from '../base/addresses.ts';
import { contribute, defineSink } from '../incremental/definitions.ts';
import type { LearnedHop as ReportedHop } from '../model/objects.ts';
import { define, type LearnedDestination } from './inputs.ts';
import { withoutLost } from './lost-hosts.ts';
import { connectedNetworks, portTowards } from './routers.ts';

/**
 * Routes that gateways learned (docs/design/gateways.md, §2): many networks, few sets of next hops. Which set a network has is worked out
 * beside the local switches, so that a route that comes or goes is one record more or less of the other engine.
 */
export const learnedDestinationSink = defineSink<
  { readonly router: string; readonly to: string; readonly host: string; readonly via: readonly ReportedHop[] },
  LearnedDestination
>({
  name: 'learnedDestination',
  merge: (contributions) => {
    const { router, to } = contributions[0]!.value;
    const isV6 = to.includes(':');
    const hops = contributions.flatMap(({ value: { host, via } }) =>
      via.filter(({ address }) => address.includes(':') === isV6).map((hop) => `${host} ${hop.address} ${hop.weight}`),
    );
    if (hops.length === 0) return undefined;
    return { kind: 'learnedDestination', id: '', router, to, hops: [router, ...new Set(hops.sort())].join(',') };
  },
});

export const learnedDestinationsUnit = define.unit({
  name: 'learnedDestinations',
  over: 'learnedRoute',
  run(reader, id) {
    const { router, to, host, via } = reader.get('learnedRoute', id)!;
    return [contribute(learnedDestinationSink, `${router}/${to}`, { router, to, host, via })];
  },
});

export interface LearnedHop {
  readonly via: string;
  readonly hop: Ip;
  /** Key of the router port that leads there. */
  readonly port: number;
  readonly weight: number;
  /** Hosts that learned it. */
  readonly toldBy: readonly string[];
}

/** Next hops of a set that a network of the router holds, each once with its highest weight. */
export const knownHops = define.cell<readonly LearnedHop[]>({
  name: 'knownHops',
  run: (reader, name) => {
    const [router, ...hops] = name.split(',');
    const networks = reader.derive(connectedNetworks, router!);
    const found = new Map<string, LearnedHop>();
    for (const each of hops) {
      const [host, via, weight] = each.split(' ') as [string, string, string];
      const hop = parseIp(via)!;
      const port = portTowards(networks, hop);
      if (port === undefined) continue;
      const { weight: former = 0, toldBy = [] } = found.get(via) ?? {};
      found.set(via, { via, hop, port, weight: Math.max(Number(weight), former), toldBy: [...toldBy, host] });
    }
    return [...found.values()];
  },
});

/** Those of them to which packets go now. */
export const usableHops = define.cell<readonly LearnedHop[]>({
  name: 'usableHops',
  run: (reader, name) => {
    const router = name.slice(0, name.indexOf(','));
    return withoutLost(reader, reader.derive(connectedNetworks, router), reader.derive(knownHops, name));
  },
});

/** What routes need of their set: its number, and whether packets have to be shared out as long as all hosts live. */
export interface HopSetFacts {
  readonly id: bigint;
  readonly isShared: boolean;
  /** A set without a next hop is as though its routes were not there. */
  readonly isUsable: boolean;
}

export const hopSetFacts = define.cell<HopSetFacts>({
  name: 'hopSetFacts',
  run: (reader, name) => {
    const [, ...hops] = name.split(',');
    const addresses = new Set(hops.map((each) => each.split(' ')[1]));
    return {
      id: hopSetId(name),
      isShared: addresses.size > 1,
      isUsable: reader.derive(knownHops, name).length > 0,
    };
  },
});

/** The number of a set, where a next hop would stand: it begins with ff, as no next hop does (RFC 4291 §2.7). */
export function hopSetId(name: string): bigint {
  const digest = createHash('sha256').update(name).digest('hex');
  return BigInt(`0xff${digest.slice(0, 30)}`);
}
