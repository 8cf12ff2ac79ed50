import fc from 'fast-check';
import {
  type ChainSketch,
  type ModelSketch,
  perhaps,
  type RuleSketch,
  type SwitchSketch,
  seldom,
  small,
} from './generate.ts';
import {
  type BalancerSketch,
  type NetworkSketch,
  type RouterPortSketch,
  type RouterSketch,
  type RouteSketch,
  routedModelSketch,
  routedRule,
} from './generate-routed.ts';
import type { RuleMatch } from './objects.ts';

/**
 * Random models with uplinks that ask for known connections (docs/design/layer3.md, §5a), out of those of generate-routed.ts:
 *
 *     wires ── provider ─┬─ public (shared) ── tenant's router ── inner switch
 *                        └─ routed switch
 */
interface UplinkSketch {
  readonly host: number;
  readonly down: boolean;
  readonly neighbours: SwitchSketch['neighbours'];
  readonly hasChain: boolean;
  readonly outChain: number | undefined;
}

const uplink: fc.Arbitrary<UplinkSketch> = fc.record({
  host: small,
  down: seldom,
  neighbours: fc.constantFrom(
    [{ subnet: 0, mac: 0 }],
    [
      { subnet: 0, mac: 0 },
      { subnet: 1, mac: 1 },
    ],
  ),
  hasChain: fc.constantFrom(true, true, true, false),
  outChain: perhaps(small, 7),
});

/** What an uplink lets in: what is known, some of what is new, and whatever else. */
const uplinkChain: fc.Arbitrary<ChainSketch> = fc
  .record({
    policy: fc.constantFrom('drop', 'drop', 'drop', 'accept'),
    known: fc.constantFrom<NonNullable<RuleMatch['state']>>(
      ['established', 'related'],
      ['established', 'related'],
      ['reply', 'related'],
      ['reply'],
    ),
    begins: fc.constantFrom<RuleMatch>(
      { protocol: 'tcp', tcpFlags: '+syn-ack', state: ['new'] },
      { protocol: 'tcp', tcpFlags: '+syn-ack' },
      { protocol: 'tcp', dstPorts: '80', state: ['new'] },
      { protocol: 'tcp', dstPorts: '443' },
      { protocol: 'udp', dstPorts: '80' },
      { fragment: 'first' },
    ),
    rules: fc.array(routedRule, { maxLength: 2 }),
    isLate: fc.boolean(),
  })
  .map(({ policy, known, begins, rules, isLate }) => {
    const accepts = [{ state: known }, begins].map((match): RuleSketch => ({ match, action: 'accept', jump: 0 }));
    return { policy, rules: isLate ? [...rules, ...accepts] : [...accepts, ...rules] };
  });

const PLAIN = { outside: false, down: false, without: 0 } as const;
const BOTH_VERSIONS = [5, 6].map((pick) => ({ pick, dhcp: false, gateway: true }));
const DEFAULT_ROUTES = [0, 1] as const;
const LEASES = [
  { blocks: 2, bits: 6 },
  { blocks: 1, bits: 6 },
  { blocks: 1, bits: 6 },
];
/** Of nothing but IP, with workloads that may talk. */
const openly = (device: SwitchSketch, shared: boolean): SwitchSketch => ({
  ...device,
  ...{ vlanAware: false, down: false, shared, bare: false, mtu: undefined, prefilter: undefined },
  subnets: BOTH_VERSIONS,
});

export const uplinkedModelSketch: fc.Arbitrary<ModelSketch> = fc
  .record({
    model: routedModelSketch,
    uplinks: fc.array(uplink, { minLength: 2, maxLength: 3 }),
    chain: uplinkChain,
    /** Next hops of the provider: of its neighbours, others and nobodies. */
    hops: fc.tuple(small, small),
    floating: fc.tuple(small, small),
    balancer: fc.record({ members: fc.array(small, { minLength: 1, maxLength: 3 }), sticky: fc.boolean() }),
    isGuarded: fc.boolean(),
  })
  .map(({ model, uplinks, chain, hops, floating, balancer, isGuarded }) => {
    const network = model.network!;
    const [first, second = first, third = second] = model.switches.map((device) =>
      isGuarded ? device : withoutFilters(device),
    ) as [SwitchSketch, SwitchSketch?, SwitchSketch?];
    const switches = [openly(first, true), openly(second, false), openly(third, false)];
    const chains = [...model.chains, chain];
    const to = (kind: RouterPortSketch['to']['kind'], at: number): RouterPortSketch => ({ ...PLAIN, to: { kind, at } });
    const routeOf = (by: number, at: number): RouteSketch => ({
      ...{ to: by, action: 'via', via: [{ at, weight: 1 }], metric: 100 },
    });
    const ofTenant: RouterSketch = {
      ...{ down: false, ports: [to('any', 1), { ...to('any', 0), outside: true }], policies: [] },
      routes: DEFAULT_ROUTES.map((by) => routeOf(by, 0)),
      snat: [4, 6].map((version) => ({
        version: version as 4 | 6,
        from: version === 4 ? 0 : 1,
        own: true,
        leases: LEASES,
      })),
    };
    const provider: RouterSketch = {
      ...{ down: false, speaks: true, policies: [], snat: [] },
      ports: [
        ...uplinks.map(
          ({ hasChain, outChain }, u): RouterPortSketch => ({
            ...to('any', switches.length + u),
            ...(hasChain ? { inChain: chains.length - 1 } : {}),
            outChain,
          }),
        ),
        ...[to('any', 0), to('any', 2)],
      ],
      routes: DEFAULT_ROUTES.map((by, n) => routeOf(by, hops[n]!)),
    };
    const wires = uplinks.map(
      ({ host, down, neighbours }): SwitchSketch => ({
        ...{ vlanAware: false, down, learned: [], bare: true, neighbours, subnets: BOTH_VERSIONS },
        ports: [
          { ...{ unsecured: true, down: false, addresses: [], pairs: [], mac: 0 }, binding: { kind: 'one', host } },
        ],
      }),
    );
    const shared: BalancerSketch = {
      ...{ version: 4, on: { kind: 'router', at: 0 }, where: 'outside', onEmpty: 'drop', down: false },
      listeners: [
        { protocol: 'tcp', port: 80 },
        { protocol: 'udp', port: 80 },
      ],
      members: balancer.members.map((port) => ({ port, weight: 1, drain: false, down: false })),
      sticky: balancer.sticky ? 'source' : 'none',
    };
    const all: NetworkSketch = {
      ...network,
      routers: [ofTenant, provider],
      floating: floating.map((port, n) => ({ router: 0, port, version: n === 0 ? 4 : 6 })),
      balancers: [shared],
    };
    return { ...model, tenants: 1, chains, switches: [...switches, ...wires], network: all };
  });

function withoutFilters(device: SwitchSketch): SwitchSketch {
  return {
    ...device,
    ports: device.ports.map(({ fromChain: _, toChain: __, ...port }) => ({ ...port, groups: [], down: false })),
  };
}
