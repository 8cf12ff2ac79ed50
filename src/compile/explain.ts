import type { ObjectName } from './compiler.ts';
import type { CompiledFlow } from './flow-sink.ts';
import type { Reason } from './tables.ts';

/** What is behind a cookie. */
export interface Explanation {
  /** Units (`family/key`), sorted. */
  readonly units: readonly string[];
  /** The objects that the units are about. */
  readonly objects: readonly ObjectName[];
  /** Why frames end at flows with this cookie, where they do. */
  readonly reason?: Reason;
}

type Behind = Pick<CompiledFlow, 'cookie' | 'units' | 'reason'>;

interface Entry {
  readonly units: readonly string[];
  readonly reason: Reason | undefined;
  flows: number;
}

/** What the key of a unit family names. */
const ABOUT: Readonly<Record<string, string>> = {
  classify: 'port',
  vlan: 'port',
  guard: 'port',
  learn: 'port',
  learned: 'learned',
  learnedLookup: 'learned',
  fromChain: 'port',
  toPort: 'port',
  entry: 'port',
  mirror: 'mirror',
  hairpin: 'port',
  ownProbes: 'port',
  nextHopProbe: 'port',
  tunnelToPort: 'port',
  portAddresses: 'port',
  chain: 'chain',
  rule: 'rule',
  wideAddresses: 'switch',
  groupRules: 'securityGroup',
  groupMember: 'securityGroup',
  setMember: 'addressSet',
  agentAnswers: 'switch',
  holders: 'switch',
  unknown: 'switch',
  floodRemote: 'switch',
  floodLocal: 'switch',
  tunnelToSwitch: 'switch',
  routerMac: 'routerPort',
  tunnelToRouter: 'routerPort',
  routerIn: 'routerPort',
  uplink: 'routerPort',
  own: 'routerPort',
  outChain: 'routerPort',
  leave: 'routerPort',
  routerAddresses: 'routerPort',
  policies: 'router',
  speaker: 'routerPort',
  routes: 'router',
  learnedRoute: 'router',
  hopSet: 'router',
  neighbours: 'neighbour',
  vip: 'loadBalancer',
  slots: 'loadBalancer',
  member: 'loadBalancer',
  vipIn: 'loadBalancer',
  vipAddresses: 'loadBalancer',
  floatingIn: 'floatingAddress',
  floatingOut: 'floatingAddress',
  floatingAddresses: 'floatingAddress',
  leasesIn: 'router',
  snat: 'router',
  snatReplies: 'router',
  answersToSnat: 'router',
  snatAddresses: 'router',
};

/** Families whose keys begin with the id and go on with something else, behind a slash or a comma. */
const KEYED_BY_MORE: ReadonlySet<string> = new Set([
  'holders',
  'groupRules',
  'groupMember',
  'setMember',
  'member',
  'learnedRoute',
  'hopSet',
]);

/** Cookies in use and what is behind them. */
export class Cookies {
  readonly #entries = new Map<bigint, Entry>();

  add({ cookie, units, reason }: Behind): void {
    const entry = this.#entries.get(cookie);
    if (entry === undefined) this.#entries.set(cookie, { units, reason, flows: 1 });
    else entry.flows++;
  }

  delete({ cookie }: Behind): void {
    const entry = this.#entries.get(cookie);
    if (entry !== undefined && --entry.flows === 0) this.#entries.delete(cookie);
  }

  explain(cookie: bigint): Explanation {
    const entry = this.#entries.get(cookie);
    if (entry === undefined) return { units: [], objects: [] };
    const { units, reason } = entry;
    return { units, objects: this.objectsOf(units), ...(reason === undefined ? {} : { reason }) };
  }

  /** The objects that units are about, each once. */
  objectsOf(units: readonly string[]): ObjectName[] {
    const objects = new Map<string, ObjectName>();
    for (const unit of units) {
      const slash = unit.indexOf('/');
      const family = unit.slice(0, slash);
      const kind = ABOUT[family];
      if (kind === undefined) continue;
      const key = unit.slice(slash + 1);
      const id = KEYED_BY_MORE.has(family) ? key.split(/[/,]/, 1)[0]! : key;
      objects.set(`${kind}/${id}`, { kind, id });
    }
    return [...objects.values()];
  }
}
