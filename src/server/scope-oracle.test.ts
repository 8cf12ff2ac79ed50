import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildModel } from '../model/generate-build.ts';
import { routedModelSketch } from '../model/generate-routed.ts';
import { peersAt } from '../model/generated.ts';
import { type ModelIndex, modelOf } from '../model/model-index.ts';
import type { LogicalPort, ScopeRecord } from '../model/objects.ts';
import { ScopeIndex } from './scope.ts';

/** What docs/design/layer3.md §10 says of a host's scope, written down sentence by sentence with no thought of cost. */
class Oracle {
  readonly #model: ModelIndex;
  readonly #records = new Set<ScopeRecord>();

  constructor(model: ModelIndex, hostId: string) {
    this.#model = model;
    const local = [...model.all('port')].filter(
      (port) => port.host === hostId || model.bindingOf(port.id)?.claims.some(({ host }) => host === hostId),
    );
    if (local.some((port) => model.get('switch', port.switch)?.shared))
      for (const { id } of model.hosts()) this.#host(id);
    this.#host(hostId);
    for (const gateway of model.all('l2Gateway'))
      if (gateway.places.some(({ host }) => host === hostId)) this.#add(gateway);
    for (const vtep of model.all('vtep')) {
      if (!vtep.places.some(({ host }) => host === hostId)) continue;
      this.#add(vtep);
      for (const binding of model.all('vtepBinding')) if (binding.vtep === vtep.id) this.#add(binding);
    }
    for (const port of local) this.#localPort(port);
    const switches = new Set(local.map((port) => port.switch));
    for (const peer of model.all('bgpPeer')) {
      const onSwitch = model.get('routerPort', peer.routerPort)?.switch;
      if (onSwitch !== undefined && switches.has(onSwitch)) this.#add(peer);
    }
    this.#devices(switches);
  }

  keys(): readonly string[] {
    return [...this.#records].map(({ kind, id }) => `${kind}/${id}`).toSorted();
  }

  #add(record: ScopeRecord | undefined): void {
    if (record) this.#records.add(record);
  }
  #host(id: string): void {
    const host = this.#model.get('host', id);
    this.#add(host);
    if (host) this.#add(this.#model.get('tunnelZone', host.zone));
  }
  #localPort(port: LogicalPort): void {
    this.#mirrors(port);
    for (const chain of [port.fromChain, port.toChain]) this.#chain(chain);
    for (const id of port.groups) {
      const group = this.#model.get('securityGroup', id)!;
      this.#add(group);
      for (const rule of [...group.ingress, ...group.egress]) {
        this.#members(rule.group);
        if (rule.addressSet !== undefined) this.#add(this.#model.get('addressSet', rule.addressSet));
      }
    }
  }
  #mirrors(port: LogicalPort): void {
    for (const mirror of this.#model.all('mirror')) {
      const { ports, switch: onSwitch, to } = mirror;
      if (![...ports, onSwitch, to.port].some((place) => place === port.id || place === port.switch)) continue;
      this.#add(mirror);
      if (to.port !== undefined) this.#portWithBinding(to.port);
      if (to.port !== port.id) continue;
      for (const source of ports) this.#portWithBinding(source);
      for (const binding of this.#model.all('binding'))
        if (binding.switch === onSwitch) for (const { host } of binding.claims) this.#host(host);
    }
  }
  #members(group: string | undefined): void {
    if (group === undefined) return;
    this.#add(this.#model.get('securityGroup', group));
    for (const port of this.#model.all('port')) if (port.groups.includes(group)) this.#add(port);
  }
  #chain(id: string | undefined): void {
    const chain = id === undefined ? undefined : this.#model.get('chain', id);
    if (!chain || this.#records.has(chain)) return;
    this.#add(chain);
    for (const rule of this.#model.rulesOfChain(chain.id)) {
      this.#add(rule);
      this.#chain(rule.jumpTo);
      for (const set of [rule.match.srcSet, rule.match.dstSet])
        if (set !== undefined) this.#add(this.#model.get('addressSet', set));
      for (const group of [rule.match.srcGroup, rule.match.dstGroup]) this.#members(group);
    }
  }
  #portWithBinding(id: string): void {
    this.#add(this.#model.get('port', id));
    const binding = this.#model.bindingOf(id);
    this.#add(binding);
    for (const { host } of binding?.claims ?? []) this.#host(host);
  }

  #devices(reached: Set<string>): void {
    const all = [...this.#model.all('routerPort')];
    for (const id of reached) {
      const device = this.#model.get('switch', id);
      if (device) {
        this.#switch(id);
        for (const port of all)
          if (port.switch === id) {
            if (device.shared && port.outside) {
              this.#facade(port.router);
              this.#chain(port.inChain);
            } else reached.add(port.router);
          }
        continue;
      }
      this.#facade(id);
      for (const kind of ['learnedSet', 'learnedRoutes'] as const)
        for (const record of this.#model.all(kind)) if (record.router === id) this.#add(record);
      for (const port of all) {
        const peer = port.peer === undefined ? undefined : this.#model.get('routerPort', port.peer);
        if (peer?.router === id) reached.add(port.router);
        if (port.router !== id) continue;
        this.#add(port);
        this.#chain(port.inChain);
        this.#chain(port.outChain);
        if (port.switch !== undefined) reached.add(port.switch);
        if (peer) reached.add(peer.router);
      }
    }
  }
  #switch(id: string): void {
    const device = this.#model.get('switch', id)!;
    this.#add(device);
    this.#chain(device.prefilter);
    this.#add(this.#model.get('tenant', device.tenant));
    for (const port of this.#model.all('port')) if (port.switch === id) this.#portWithBinding(port.id);
    for (const kind of ['learned', 'neighbour', 'routerPort'] as const)
      for (const record of this.#model.all(kind)) if (record.switch === id) this.#add(record);
    this.#balancersOf(id);
  }
  #facade(id: string): void {
    const router = this.#model.get('router', id)!;
    this.#add(router);
    this.#chain(router.prefilter);
    this.#add(this.#model.get('tenant', router.tenant));
    for (const floating of this.#model.all('floatingAddress'))
      if (floating.router === id) {
        this.#add(floating);
        this.#chain(floating.prefilter);
        this.#portWithBinding(floating.port);
      }
    for (const lease of this.#model.all('natLease'))
      if (lease.router === id) {
        this.#add(lease);
        this.#host(lease.host);
      }
    for (const move of this.#model.all('natMove'))
      if (move.router === id) {
        this.#add(move);
        this.#portWithBinding(move.port);
      }
    this.#balancersOf(id);
  }
  #balancersOf(device: string): void {
    for (const balancer of this.#model.all('loadBalancer')) {
      if ((balancer.router ?? balancer.switch) !== device) continue;
      this.#add(balancer);
      this.#chain(balancer.prefilter);
      for (const { port } of balancer.members) this.#portWithBinding(port);
      for (const health of this.#model.all('memberHealth')) if (health.loadBalancer === balancer.id) this.#add(health);
      for (const kept of this.#model.all('keptClients')) if (kept.loadBalancer === balancer.id) this.#add(kept);
    }
  }
}

test('the scope of every host of any routed network is what its contract says', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(routedModelSketch, (sketch) => {
      const { records } = buildModel(sketch);
      const model = modelOf([...records, ...records.flatMap(peersAt)]);
      const scopes = new ScopeIndex(model);
      for (const { id } of model.hosts()) {
        const records = [...scopes.attach(id).records()];
        const keys = records.map((record) => `${record.kind}/${record.id}`).toSorted();
        assert.deepEqual(keys, new Oracle(model, id).keys());
        for (const { kind } of records) seen.set(kind, (seen.get(kind) ?? 0) + 1);
      }
    }),
    { numRuns: process.env.WEFT_CAMPAIGN ? 3000 : 150 },
  );
  for (const kind of [
    'natLease',
    'memberHealth',
    'keptClients',
    'neighbour',
    'loadBalancer',
    'floatingAddress',
    'addressSet',
    'learnedSet',
    'learnedRoutes',
    'bgpPeer',
  ])
    assert.ok(seen.has(kind), `no ${kind} in any scope`);
});
