import { cidrContains, formatCidr, formatIp, type Ip, networkOf, parseCidr, parseIp, plus } from '../base/addresses.ts';
import { LEARNED_MACS, type ModelSketch, type SwitchSketch } from './generate.ts';
import {
  type BalancerSketch,
  FAR_NETWORKS,
  type FloatingSketch,
  type MirrorSketch,
  type PolicySketch,
  type RouterPortSketch,
  type RouterSketch,
  type RouteSketch,
  type SnatSketch,
} from './generate-routed.ts';
import { at, generatedId, ofTenant } from './generated.ts';
import { doOverlap, listenerPorts } from './listener-ports.ts';
import type {
  Binding,
  LearnedHop,
  LoadBalancer,
  LogicalPort,
  LogicalSwitch,
  NatLease,
  PolicyRoute,
  Route,
  Router,
  RouterPort,
  ScopeRecord,
} from './objects.ts';
import { learnedRecords } from './packed-routes.ts';
import { poolOf } from './snat.ts';
import { subnetOf } from './subnets.ts';

/** The records that a `NetworkSketch` adds to those of layer 2. They keep the rules of rules.ts. */
export function buildNetwork(sketch: ModelSketch, records: ScopeRecord[]): void {
  const { network } = sketch;
  if (!network) return;
  new NetworkBuilder(sketch, records).build();
}

const SPEAKS: NonNullable<Router['bgp']> = {
  ...{ asn: 64_512, advertise: [], networks: [], summarise: [], maxRoutes: 1000 },
};
const FIRST_FLOATING = 100;
const FIRST_VIP = 200;
const FIRST_SNAT = 60;
const FIRST_POOLED = 70;
/** Of a router. */
const MOST_POOLED = 5;

interface BalancerPlace {
  readonly tenant: string;
  readonly address: string;
  /** Switches with its members; absent where any will do. */
  readonly inside: ReadonlySet<string> | undefined;
  readonly router?: string;
  readonly switch?: string;
}

class NetworkBuilder {
  readonly #sketch: ModelSketch;
  readonly #network: NonNullable<ModelSketch['network']>;
  readonly #records: ScopeRecord[];
  readonly #tenants: 1 | 2;
  readonly #switches: readonly LogicalSwitch[];
  readonly #ports: readonly LogicalPort[];
  readonly #routerPorts: RouterPort[] = [];
  /** Where floating addresses lead: two to one address would leave its own packets without a choice. */
  readonly #led = new Set<string>();
  /** Where balancers are, by their ids. */
  readonly #places = new Map<string, BalancerPlace>();
  #links = 0;

  constructor(sketch: ModelSketch, records: ScopeRecord[]) {
    this.#sketch = sketch;
    this.#network = sketch.network!;
    this.#records = records;
    this.#tenants = sketch.tenants ?? 2;
    this.#switches = records.filter((r): r is LogicalSwitch => r.kind === 'switch');
    this.#ports = records.filter((r): r is LogicalPort => r.kind === 'port');
  }

  build(): void {
    const { routers, floating, balancers } = this.#network;
    for (const [n, router] of routers.entries()) this.#joinSwitches(n, router);
    for (const [n, router] of routers.entries()) this.#joinPeers(n, router);
    for (const [n, router] of routers.entries()) this.#buildRouter(n, router);
    this.#records.push(...this.#routerPorts);
    for (const [n, each] of floating.entries()) this.#buildFloating(n, each);
    for (const [n, each] of balancers.entries()) this.#buildBalancer(n, each);
    for (const [n, each] of (this.#network.mirrors ?? []).entries()) this.#buildMirror(n, each);
  }

  #buildMirror(n: number, { ports, wholeSwitch, direction, match, to }: MirrorSketch): void {
    if (this.#ports.length === 0) return;
    const target = at(this.#ports, to);
    const { tenant } = target;
    const sources = ports.map((index) => at(this.#ports, index)).filter((p) => p.tenant === tenant && p !== target);
    const [first] = sources;
    if (first === undefined) return;
    this.#records.push({
      ...{ kind: 'mirror', id: generatedId('mirror', n), name: `mirror-${n}`, tenant, revision: 1, key: 9000 + n },
      ...{ direction, match, adminUp: true, to: { port: target.id } },
      ports: [...new Set(sources.map(({ id }) => id))],
      ...(wholeSwitch ? { switch: first.switch } : {}),
    });
  }

  #tenantOf(n: number): string {
    return generatedId('tenant', n % this.#tenants);
  }

  #joinSwitches(n: number, { ports }: RouterSketch): void {
    const free = this.#switches.filter((sw) => sw.tenant === this.#tenantOf(n) || sw.shared);
    const taken = new Set<string>();
    for (const port of ports) {
      if (port.to.kind === 'any') {
        const sw = this.#switches[port.to.at]!;
        this.#addPort(n, port, { switch: sw.id, addresses: this.#addressesOn(sw, port) });
        continue;
      }
      if (port.to.kind !== 'switch' || free.length === 0) continue;
      // One that it has not joined yet, while there is one.
      const open = free.filter(({ id }) => !taken.has(id));
      const sw = at(open.length > 0 ? open : free, port.to.at);
      const addresses = this.#addressesOn(sw, port);
      if (taken.has(sw.id) || addresses.length === 0) continue;
      taken.add(sw.id);
      // The first switch is the provider's: most routers face it.
      const outside = port.outside || (sw === this.#switches[0] && n % 2 === 0);
      this.#addPort(n, { ...port, outside }, { switch: sw.id, addresses });
    }
  }

  /** The first addresses of the subnets that no router has yet. */
  #addressesOn(sw: LogicalSwitch, { without }: RouterPortSketch): string[] {
    const others = this.#routerPorts.filter((port) => port.switch === sw.id).length;
    if (others > 7) return [];
    return sw.subnets
      .filter((_, s) => !(without & (1 << s)))
      .map(({ cidr }) => {
        const network = parseCidr(cidr)!;
        return formatCidr({ ...network, ip: plus(network.ip, 1 + others) });
      });
  }

  #joinPeers(n: number, { ports }: RouterSketch): void {
    const others = this.#network.routers.flatMap((_, r) =>
      r !== n && r % this.#tenants === n % this.#tenants ? [r] : [],
    );
    for (const port of ports) {
      if (port.to.kind !== 'peer' || others.length === 0) continue;
      const other = at(others, port.to.at);
      const link = this.#links++;
      const [four, six] = [`172.16.${link}.`, `2001:db8:f${link.toString(16)}00::`];
      const far = this.#addPort(
        other,
        { ...port, outside: false, inChain: undefined, outChain: undefined },
        { addresses: [`${four}1/30`, `${six}1/126`] },
      );
      this.#addPort(n, port, { peer: far.id, addresses: [`${four}2/30`, `${six}2/126`] });
    }
  }

  #addPort(
    n: number,
    { outside, down, inChain, outChain, sourceCheck }: RouterPortSketch,
    rest: Pick<RouterPort, 'switch' | 'peer' | 'addresses'>,
  ): RouterPort {
    const index = this.#routerPorts.length;
    const [inside, out] = [this.#chain(n, inChain), this.#chain(n, outChain)];
    const port: RouterPort = {
      kind: 'routerPort',
      id: generatedId('routerPort', index),
      name: `link-${index}`,
      tenant: this.#tenantOf(n),
      revision: 1,
      router: generatedId('router', n),
      mac: `02:77:00:00:00:${(index + 1).toString(16).padStart(2, '0')}`,
      outside,
      adminUp: !down,
      key: 3000 + index,
      ...(sourceCheck === undefined || outside || rest.switch === undefined ? {} : { sourceCheck }),
      ...rest,
      ...(inside === undefined ? {} : { inChain: inside }),
      ...(out === undefined ? {} : { outChain: out }),
    };
    this.#routerPorts.push(port);
    return port;
  }

  #chain(n: number, index: number | undefined): string | undefined {
    const chain = ofTenant(this.#tenants, this.#sketch.chains.length, n % this.#tenants, index);
    return chain === undefined ? undefined : generatedId('chain', chain);
  }

  #portsOf(n: number): RouterPort[] {
    return this.#routerPorts.filter(({ router }) => router === generatedId('router', n));
  }

  #buildRouter(n: number, sketch: RouterSketch): void {
    const router: Router = {
      kind: 'router',
      id: generatedId('router', n),
      name: `router-${n}`,
      tenant: this.#tenantOf(n),
      revision: 1,
      routes: sketch.routes.flatMap((route) => this.#routes(n, route)),
      policies: sketch.policies.map((policy, p) => this.#policy(n, p, policy)),
      snat: sketch.snat.flatMap((snat) => this.#snat(n, snat)),
      ...prefilterOf(this.#records, this.#tenantOf(n), sketch.prefilter),
      ...(sketch.speaks ? { bgp: SPEAKS } : {}),
      adminUp: !sketch.down,
      key: 2000 + n,
    };
    const froms = new Set<string>();
    const snat = router.snat.filter(({ from }) => !froms.has(from) && froms.add(from));
    this.#records.push({ ...router, snat });
    this.#buildLearned(n, sketch);
    for (const [s, rule] of snat.entries())
      for (const [a, address] of poolOf(rule).entries()) {
        const { leases } = sketch.snat[s]!;
        // Not every host has ports of every address.
        this.#lease(router.id, address, { leases: [...leases.slice(a), ...leases.slice(0, a)] });
      }
  }

  /** Networks that routes and rules may name. */
  #networks(version?: 4 | 6): string[] {
    const own = this.#switches.flatMap(({ subnets }) => subnets.map(({ cidr }) => cidr));
    const links = this.#routerPorts.filter(({ peer }) => peer !== undefined).flatMap(({ addresses }) => addresses);
    const all = [...FAR_NETWORKS, ...own, ...links.map((text) => formatCidr(networkOf(parseCidr(text)!)))];
    return [...new Set(all)].filter((text) => version === undefined || text.includes(':') === (version === 6));
  }

  /** Next hops: other routers first, then workloads, neighbours, somebody unknown, and one that no network of the router holds. */
  #nextHops(n: number, version: 4 | 6): string[] {
    const own = this.#portsOf(n);
    const networks = own.flatMap(({ addresses }) => addresses.map((text) => parseCidr(text)!));
    const holds = (ip: Ip): boolean => networks.some((network) => cidrContains(network, ip));
    const others = this.#routerPorts
      .filter((port) => !own.includes(port))
      .flatMap(({ addresses }) => addresses.map((text) => parseCidr(text)!.ip));
    const workloads = this.#ports.flatMap(({ addresses }) => addresses.map((text) => parseIp(text)!));
    const unknown = networks
      .filter(({ prefix, ip }) => prefix < (ip.version === 4 ? 30 : 126))
      .map(({ ip }) => plus(ip, 240));
    const near = [...others, ...workloads.slice(0, 2), ...unknown].filter((ip) => ip.version === version && holds(ip));
    return [...near.map(formatIp), version === 4 ? '203.0.113.77' : '2001:db8:dead::77'];
  }

  #routes(n: number, { to, from, action, via, metric }: RouteSketch): Route[] {
    const network = at(this.#networks(), to);
    const version = network.includes(':') ? 6 : 4;
    const source = from === undefined ? {} : { from: at(this.#networks(version), from) };
    if (metric === 'learned') return [];
    const common = { to: network, ...source, metric };
    if (action !== 'via') return [{ ...common, action, weight: 1 }];
    const hops = new Map(via.map((each) => [at(this.#nextHops(n, each.six ? 6 : version), each.at), each.weight]));
    return [...hops].map(([hop, weight]) => ({ ...common, via: hop, weight }));
  }

  /** The records of each host that learned a network. */
  #buildLearned(n: number, { routes }: RouterSketch): void {
    const router = generatedId('router', n);
    const learned = new Map<string, Map<string, readonly LearnedHop[]>>();
    const [by] = this.#portsOf(n);
    if (!by) return;
    for (const { to: index, via, metric } of routes) {
      if (metric !== 'learned') continue;
      const to = at(this.#networks(), index);
      for (const [v, { at: hop, weight, six }] of via.entries())
        for (const h of weight === 2 ? [v, v + 1] : [v]) {
          const host = generatedId('host', h % this.#sketch.hosts.length);
          const own = learned.get(host) ?? new Map<string, readonly LearnedHop[]>();
          learned.set(host, own);
          const hops = this.#nextHops(n, six || to.includes(':') ? 6 : 4);
          const next = { address: at(hops, hop), routerPort: by.id, weight: weight + h };
          own.set(to, [...(own.get(to) ?? []), next]);
        }
    }
    for (const [host, own] of learned)
      this.#records.push(
        ...learnedRecords(
          router,
          host,
          [...own].map(([to, via]) => ({ to, via })),
        ),
      );
  }

  #policy(n: number, p: number, { src, dst, upper, action, via }: PolicySketch): PolicyRoute {
    const network = (index: number | undefined): string | undefined =>
      index === undefined ? undefined : at(this.#networks(), index);
    const from = network(src);
    const version = (from ?? network(dst) ?? '').includes(':') ? 6 : 4;
    const to = dst === undefined ? undefined : at(this.#networks(version), dst);
    const icmp = upper.protocol === 'icmp' && version === 6;
    return {
      position: (p + 1) * 10,
      match: { ...(from ? { src: from } : {}), ...(to ? { dst: to } : {}), ...(icmp ? { protocol: 'icmpv6' } : upper) },
      action,
      ...(action === 'reroute' ? { via: at(this.#nextHops(n, version), via) } : {}),
    };
  }

  /** The networks of the router's outside ports. */
  #outside(n: number, version: 4 | 6): { readonly network: Ip; readonly own: Ip } | undefined {
    for (const { outside, addresses } of this.#portsOf(n)) {
      if (!outside) continue;
      const cidr = addresses.map((text) => parseCidr(text)!).find(({ ip }) => ip.version === version);
      if (cidr && cidr.prefix <= (version === 4 ? 24 : 120)) return { network: networkOf(cidr).ip, own: cidr.ip };
    }
    return undefined;
  }

  #snat(n: number, { version, from, own, more = 0 }: SnatSketch): Router['snat'] {
    const outside = this.#outside(n, version);
    if (!outside) return [];
    const to = own ? plus(outside.network, FIRST_SNAT + n) : outside.own;
    const first = plus(outside.network, FIRST_POOLED + MOST_POOLED * n);
    const pool = `${formatIp(first)}-${formatIp(plus(first, more - 1))}`;
    return [{ from: at(this.#networks(version), from), to: more === 0 ? formatIp(to) : [formatIp(to), pool] }];
  }

  /** Blocks of different hosts do not meet: each host has 4,096 ports to take them from. */
  #lease(router: string, address: string, { leases }: Pick<SnatSketch, 'leases'>): void {
    const near = this.#hostsNear(router);
    for (const [h, { blocks, bits }] of leases.slice(0, this.#sketch.hosts.length).entries()) {
      const host = generatedId('host', h);
      if (!near.has(host)) continue;
      const id = `${router}/${address}/${host}`;
      if (blocks === 0 || this.#records.some((record) => record.id === id)) continue;
      const size = 2 ** bits;
      const all = Array.from({ length: blocks }, (_, b) => ({ first: 4096 * (h + 1) + 256 * b, size }));
      const lease: NatLease = { kind: 'natLease', id, revision: 1, router, address, host, blocks: all };
      this.#records.push(lease);
    }
    this.#leasesOfGateways(router, address, near);
  }

  /** Ports of L2 gateways have their own, behind those of all hosts, and where they are active. */
  #leasesOfGateways(router: string, address: string, near: ReadonlySet<string>): void {
    const ports = this.#records.flatMap((record) => (record.kind === 'l2Gateway' ? [record.port] : []));
    for (const [n, port] of ports.entries()) {
      const id = `${router}/${address}/${port}`;
      const host = this.#records.find((r): r is Binding => r.kind === 'binding' && r.id === port)?.active;
      if (host === undefined || !near.has(host) || this.#records.some((record) => record.id === id)) continue;
      const blocks = [{ first: 53_248 + 64 * n, size: 64 }];
      this.#records.push({ kind: 'natLease', id, revision: 1, router, address, host, port, blocks });
    }
  }

  /** Hosts with a port on one of the router's switches: only such ask for ports. */
  #hostsNear(router: string): ReadonlySet<string> {
    const switches = new Set(this.#routerPorts.flatMap((port) => (port.router === router ? (port.switch ?? []) : [])));
    return new Set(
      this.#records.flatMap((r) =>
        r.kind === 'binding' && switches.has(r.switch) ? r.claims.map(({ host }) => host) : [],
      ),
    );
  }

  #buildFloating(n: number, { router: index, port: portIndex, version, fixed, prefilter }: FloatingSketch): void {
    const routers = this.#network.routers.flatMap((_, r) => (this.#outside(r, version) ? [r] : []));
    if (routers.length === 0) return;
    const router = at(routers, index);
    const ofVersion = ({ addresses }: LogicalPort): string[] =>
      addresses.filter((a) => a.includes(':') === (version === 6));
    const inside = this.#insideOf(router);
    const ports = this.#ports.filter(
      (p) => p.tenant === this.#tenantOf(router) && inside.has(p.switch) && ofVersion(p).length > 0,
    );
    if (ports.length === 0) return;
    const port = at(ports, portIndex);
    const lead = `${router} ${at(ofVersion(port), fixed ?? 0)}`;
    if (this.#led.has(lead)) return;
    this.#led.add(lead);
    this.#records.push({
      kind: 'floatingAddress',
      id: generatedId('floatingAddress', n),
      name: `floating-${n}`,
      tenant: this.#tenantOf(router),
      revision: 1,
      address: formatIp(plus(this.#outside(router, version)!.network, FIRST_FLOATING + n)),
      router: generatedId('router', router),
      port: port.id,
      adminUp: true,
      ...prefilterOf(this.#records, this.#tenantOf(router), prefilter),
      ...(fixed === undefined ? {} : { fixed: at(ofVersion(port), fixed) }),
    });
  }

  #buildBalancer(n: number, sketch: BalancerSketch): void {
    const sharers = this.#sharers(sketch);
    const place = sharers[0]
      ? this.#places.get(sharers[0].id)
      : sketch.on.kind === 'router'
        ? this.#onRouter(n, sketch)
        : this.#onSwitch(n, sketch);
    if (!place) return;
    const { tenant, address, inside, ...on } = place;
    const version = address.includes(':') ? 6 : 4;
    const taken = sharers.flatMap(({ listeners }) => listeners);
    const listeners: Listener[] = [];
    for (const listener of sketch.listeners)
      if (![...taken, ...listeners].some((each) => isForTheSame(each, listener))) listeners.push(listener);
    if (listeners.length === 0) return;
    const ports = this.#ports.filter(
      (p) =>
        p.tenant === tenant &&
        (inside?.has(p.switch) ?? true) &&
        !this.#isMoving(p) &&
        p.addresses.some((a) => a.includes(':') === (version === 6)),
    );
    if (ports.length === 0) return;
    const members = new Map(sketch.members.map((member) => [at(ports, member.port).id, member]));
    const balancer: LoadBalancer = {
      kind: 'loadBalancer',
      id: generatedId('loadBalancer', n),
      name: `balancer-${n}`,
      tenant,
      revision: 1,
      address,
      ...on,
      listeners: listeners.map((listener) => ({ ...listener })),
      members: [...members].map(([port, { weight, drain, down }]) => ({ port, weight, drain, adminUp: !down })),
      sticky: sketch.sticky,
      ...(sketch.sticky === 'source' && sketch.kept ? { stickyS: 60 } : {}),
      onEmpty: sketch.onEmpty,
      slots: members.size > 2 ? 64 : members.size > 1 ? 32 : 16,
      ...this.#prefilterOf(place, sharers, sketch),
      adminUp: !sketch.down,
      key: 4200 + n,
    };
    this.#records.push(balancer);
    this.#places.set(balancer.id, place);
    this.#buildKept(balancer, sketch.kept ?? []);
    for (const [port, { health }] of members) {
      const host = this.#records.find((r) => r.kind === 'binding' && r.id === port && r.active !== undefined);
      if (health === undefined || host?.kind !== 'binding') continue;
      const id = `${balancer.id}/${port}`;
      this.#records.push({
        kind: 'memberHealth',
        id,
        revision: 1,
        loadBalancer: balancer.id,
        port,
        host: host.active!,
        up: health,
      });
    }
  }

  /** Two of three ports, whether they are its clients or not, at members by turns. */
  #buildKept({ id: loadBalancer, address, members, stickyS }: LoadBalancer, kept: readonly number[]): void {
    const hosts = this.#records.flatMap((r) => (r.kind === 'binding' && r.active !== undefined ? [r.active] : []));
    if (stickyS === undefined || hosts.length === 0) return;
    const clients = this.#ports.flatMap((port) =>
      port.addresses.filter((a) => a.includes(':') === address.includes(':')),
    );
    for (const n of kept) {
      const host = at(hosts, n);
      const id = `${loadBalancer}/${host}`;
      if (this.#records.some((r) => r.kind === 'keptClients' && r.id === id)) continue;
      const told = [...new Set(clients)].filter((_, c) => (c + n) % 3 !== 0);
      const saidAt = members.map(({ port }, m) => ({
        port,
        clients: Object.fromEntries(
          told.flatMap((client, c) => ((c + n) % members.length === m ? [[client, 1_000 + ((c * n) % 4)]] : [])),
        ),
      }));
      this.#records.push({ kind: 'keptClients', id, revision: 1, loadBalancer, host, members: saidAt });
    }
  }

  /** Those whose address it has, too. */
  #sharers({ beside }: BalancerSketch): LoadBalancer[] {
    const known = this.#records.filter((r): r is LoadBalancer => r.kind === 'loadBalancer');
    if (beside === undefined || known.length === 0) return [];
    const { address, router, switch: on } = at(known, beside);
    return known.filter((each) => each.address === address && each.router === router && each.switch === on);
  }

  /** It is for the whole address. */
  #prefilterOf({ tenant, router }: BalancerPlace, sharers: readonly LoadBalancer[], sketch: BalancerSketch) {
    if (!sharers[0]) return router === undefined ? {} : prefilterOf(this.#records, tenant, sketch.prefilter);
    const { prefilter } = sharers[0];
    return prefilter === undefined ? {} : { prefilter };
  }

  /** Switches that the router joins, but for those outside. */
  #insideOf(router: number): ReadonlySet<string> {
    return new Set(this.#portsOf(router).flatMap((port) => (port.outside ? [] : (port.switch ?? []))));
  }

  /** Of a member that moves both halves would answer, where it calls its own VIP. */
  #isMoving(port: LogicalPort): boolean {
    return this.#records.some((r) => r.kind === 'binding' && r.id === port.id && r.claims.length > 1);
  }

  #onRouter(n: number, { version, on, where }: BalancerSketch): BalancerPlace {
    const router = at([...this.#network.routers.keys()], on.at);
    const inside = this.#portsOf(router).flatMap(({ outside, switch: sw, addresses }) =>
      outside || sw === undefined
        ? []
        : addresses.map((text) => parseCidr(text)!).filter(({ ip }) => ip.version === version),
    );
    const network =
      where === 'outside' ? this.#outside(router, version)?.network : inside[0] && networkOf(inside[0]).ip;
    const nowhere = version === 4 ? `10.250.0.${n + 1}` : `2001:db8:250::${n + 1}`;
    const isFree = where === 'nowhere' || network === undefined;
    const address = isFree ? nowhere : formatIp(plus(network, FIRST_VIP + n));
    const id = generatedId('router', router);
    return { tenant: this.#tenantOf(router), address, inside: this.#insideOf(router), router: id };
  }

  #onSwitch(n: number, { version, on }: BalancerSketch): BalancerPlace | undefined {
    const fit = this.#switches.flatMap((sw) => {
      const subnet = sw.subnets.find(({ cidr }) => cidr.includes(':') === (version === 6) && isWide(cidr));
      return subnet ? [{ sw, network: parseCidr(subnet.cidr)!.ip }] : [];
    });
    if (fit.length === 0) return undefined;
    const { sw, network } = at(fit, on.at);
    return { tenant: sw.tenant, address: formatIp(plus(network, FIRST_VIP + n)), inside: undefined, switch: sw.id };
  }
}

/** Of the tenant's chains one that neither asks for states nor answers, nor leads to one that does. */
export function prefilterOf(
  records: readonly ScopeRecord[],
  tenant: string,
  index: number | undefined,
): { readonly prefilter?: string } {
  const canBe = (chain: string): boolean =>
    records.every(
      (r) =>
        r.kind !== 'rule' ||
        r.chain !== chain ||
        (r.match.state === undefined && r.action !== 'reject' && (r.jumpTo === undefined || canBe(r.jumpTo))),
    );
  const fit = records.filter((r) => r.kind === 'chain' && r.tenant === tenant && canBe(r.id));
  return index === undefined || fit.length === 0 ? {} : { prefilter: at(fit, index).id };
}

type Listener = BalancerSketch['listeners'][number];

function isForTheSame(one: Listener, other: Listener): boolean {
  return one.protocol === other.protocol && doOverlap(listenerPorts(one), listenerPorts(other));
}

/** Is there room for the numbers that we give away? */
function isWide(cidr: string): boolean {
  const { prefix, ip } = parseCidr(cidr)!;
  return prefix <= (ip.version === 4 ? 24 : 120);
}

/** Addresses that are known by ARP or ND, behind the switch's ports without port security (or whatever port there is). */
export function buildNeighbours(
  { neighbours }: SwitchSketch,
  sw: LogicalSwitch,
  ports: readonly LogicalPort[],
  records: ScopeRecord[],
): void {
  const behind = ports.find(({ portSecurity }) => !portSecurity) ?? ports[0];
  const binding = records.find((r) => r.kind === 'binding' && r.id === behind?.id);
  if (!behind || binding?.kind !== 'binding' || binding.active === undefined) return;
  for (const [n, { subnet, mac }] of (neighbours ?? []).entries()) {
    const cidr = sw.subnets[subnet]?.cidr;
    if (cidr === undefined || !isWide(cidr)) continue;
    const address = formatIp(plus(parseCidr(cidr)!.ip, 241 + n));
    if (!subnetOf(sw, parseIp(address)!)) continue;
    const id = `${sw.id}/${address}`;
    records.push({
      kind: 'neighbour',
      id,
      revision: 1,
      switch: sw.id,
      address,
      mac: at(LEARNED_MACS, mac),
      port: behind.id,
      host: binding.active,
    });
  }
}
