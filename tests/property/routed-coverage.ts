import { formatIp, type Ip } from '../../src/base/addresses.ts';
import { holds, isOne, listenerPorts, memberPorts } from '../../src/model/listener-ports.ts';
import type { Rule } from '../../src/model/objects.ts';
import { poolOf } from '../../src/model/snat.ts';
import { PROTOCOL_NAMES } from '../../src/model/texts.ts';
import type { ModelView } from '../../src/model/view.ts';
import { extractFlowKey } from '../../src/packet/flow-key.ts';
import type { Zone } from '../../src/simulate/connections.ts';
import { DROP_REASONS, type DropReason, PACKET_DROP_REASONS, type RequestService } from '../../src/simulate/outcome.ts';
import type { Message, MoveDone, StepSketch } from './conversation.ts';

/** What a run of conversations has to have met, so that its silence means something. */
const KINDS = [
  'securityGroup',
  'addressSet',
  'router',
  'routerPort',
  'floatingAddress',
  'loadBalancer',
  'natLease',
  'memberHealth',
  'keptClients',
  'neighbour',
  'learnedSet',
  'learnedRoutes',
] as const;
const RULE_FIELDS: readonly (keyof Rule['match'])[] = [
  ...(['srcSet', 'dstSet', 'srcGroup', 'dstGroup', 'tcpFlags', 'fragment', 'dscp', 'state', 'not'] as const),
];
const STATES = ['new', 'established', 'reply', 'related', 'invalid'] as const;
/** By tunnel packets that nobody sent, by more routers than a model has, by answers to an agent, or too seldom for a quick run. */
const NOT_MET: readonly DropReason[] = [
  ...(['tunnel-loop', 'too-many-hops', 'not-ip', 'no-ports', 'agent', 'unknown-connection', 'speaker'] as const),
  'connection-limit', // full-addresses.test.ts
];
const REQUESTS: readonly RequestService[] = [
  'unreachable',
  'ttl',
  'too-big',
  'port-unreachable',
  'reset',
  'reject',
  'resolve',
];
const COMMITS = ['port', 'vip', 'self', 'router'] as const;

const WANTED: readonly string[] = [
  ...KINDS.map((kind) => `kind ${kind}`),
  'delivers by one of several balancers of an address',
  ...['the same', 'one for all', 'as many others'].map(
    (ports) => `delivers by a range of ports that leads to ${ports}`,
  ),
  'delivers to the member that a client keeps',
  ...(Object.keys(PACKET_DROP_REASONS) as DropReason[]).filter((r) => !NOT_MET.includes(r)).map((r) => `drop ${r}`),
  ...REQUESTS.map((service) => `asks ${service}`),
  ...RULE_FIELDS.map((field) => `rule field ${field}`),
  ...STATES.map((state) => `rule state ${state}`),
  ...['accept', 'drop', 'reject', 'jump', 'return', 'log'].map((action) => `rule action ${action}`),
  ...COMMITS.map((zone) => `commits in a zone of ${zone}`),
  ...['src', 'dst', 'nothing'].map((nat) => `translates ${nat}`),
  'translates to an address of a pool',
  ...[1, 6, 17, 47, 58, 132].map((protocol) => `delivers protocol ${protocol}`),
  ...['IPv4', 'IPv6'].map((version) => `delivers over a router ${version}`),
  ...['a switch with an MTU', 'one without', 'an anchor'].map((where) => `too big for ${where}`),
  ...['send', 'reply', 'error', 'again'].map((kind) => `delivers after ${kind}`),
  ...['answered', 'closed'].map((how) => `a connection is ${how}`),
  ...['with connections', 'without connections'].map((how) => `moves ${how}`),
  ...(process.env.WEFT_CAMPAIGN ? ['moves with outside ports'] : []),
  ...['on the same host', 'on another host', 'through an anchor', 'back to the sender'].map(
    (how) => `delivered ${how}`,
  ),
];

/** What is told of a conversation, step by step. */
export type Coverage = Pick<RoutedCoverage, 'noteModel' | 'noteMove' | 'noteMessage'>;

/** What conversations with helpers have to have met. */
export class HelpedCoverage implements Coverage {
  readonly #missing = new Set<string>([
    'a connection is read',
    'a related one begins',
    '… by a router that translates',
  ]);

  noteModel(): void {}
  noteMove(): void {}

  noteMessage(_: ModelView, __: StepSketch, { outcome }: Message): void {
    for (const { helper, parent, zone } of outcome.commits) {
      if (helper !== undefined) this.#missing.delete('a connection is read');
      if (parent === undefined) continue;
      this.#missing.delete('a related one begins');
      if (zone.startsWith('router:')) this.#missing.delete('… by a router that translates');
    }
  }

  missing(): string[] {
    return [...this.#missing];
  }
}

/** What conversations by uplinks that ask for known connections have to have met. */
export class UplinkCoverage implements Coverage {
  readonly #missing = new Set<string>([
    ...['known: port', 'unknown: port', 'known: floatingAddress', 'unknown: floatingAddress', 'unknown: router'].map(
      (where) => `its connection is ${where}`,
    ),
    ...['new', 'known only'].map((how) => `let in as ${how}, and goes to another host`),
    'an answer is delivered that came by another uplink',
  ]);

  noteModel(): void {}
  noteMove(): void {}

  noteMessage(_: ModelView, { kind }: StepSketch, { entry, outcome, delivered }: Message): void {
    const known = outcome.steps.filter(({ text }) => text.startsWith('its connection is '));
    for (const { text, about } of known) this.#missing.delete(`${text}: ${about.kind}`);
    const isKnownOnly = outcome.steps.some(({ text }) => text.startsWith('accepted only as part'));
    if (outcome.deliveries.some(({ host }) => host !== entry.host))
      this.#missing.delete(`let in as ${isKnownOnly ? 'known only' : 'new'}, and goes to another host`);
    if (kind === 'around' && delivered && isKnownOnly)
      this.#missing.delete('an answer is delivered that came by another uplink');
  }

  missing(): string[] {
    return [...this.#missing];
  }
}

function isShared(model: ModelView, id: string): boolean {
  const balancer = model.get('loadBalancer', id)!;
  const others = [...model.loadBalancersOf((balancer.router ?? balancer.switch)!)];
  return others.some((other) => other.id !== id && other.adminUp && other.address === balancer.address);
}

function isPooled(model: ModelView, zone: Zone, address: Ip): boolean {
  const router = model.get('router', zone.slice('router:'.length, zone.indexOf('@')));
  const pools = (router?.snat ?? []).map(poolOf).filter(({ length }) => length > 1);
  return pools.some((pool) => pool.includes(formatIp(address)));
}

export class RoutedCoverage {
  noteMove({ brought, moved }: MoveDone): void {
    this.#count(brought > 0 ? 'moves with connections' : 'moves without connections');
    if (moved.length > 0) this.#count('moves with outside ports');
  }

  readonly #counts = new Map<string, number>(WANTED.map((what) => [what, 0]));

  #count(what: string): void {
    const known = this.#counts.get(what);
    if (known !== undefined) this.#counts.set(what, known + 1);
  }

  /** What never happened. */
  missing(): string[] {
    return [...this.#counts].filter(([, count]) => count === 0).map(([what]) => what);
  }

  table(): string {
    return [...this.#counts].map(([what, count]) => `${String(count).padStart(8)}  ${what}`).join('\n');
  }

  noteModel(model: ModelView): void {
    for (const kind of KINDS) if (model.count(kind) > 0) this.#count(`kind ${kind}`);
  }

  noteMessage(model: ModelView, { kind }: StepSketch, { entry, outcome, delivered }: Message): void {
    for (const { reason, by } of outcome.drops) {
      if (reason in DROP_REASONS) this.#count(`drop ${reason}`);
      if (reason !== 'too-big') continue;
      const sw = model.get('switch', by.id);
      this.#count(
        `too big for ${sw === undefined ? 'an anchor' : sw.mtu === undefined ? 'one without' : 'a switch with an MTU'}`,
      );
    }
    for (const { service } of outcome.requests) this.#count(`asks ${service}`);
    for (const { zone, nat, reply, answered, finished } of outcome.commits) {
      this.#count(`commits in a zone of ${zone.slice(0, zone.indexOf(':'))}`);
      this.#count(`translates ${nat ?? 'nothing'}`);
      if (nat === 'src' && isPooled(model, zone, reply.dst)) this.#count('translates to an address of a pool');
      if (answered) this.#count('a connection is answered');
      if (finished > 0) this.#count('a connection is closed');
    }
    this.#noteRules(model, outcome.steps);
    if (delivered && outcome.steps.some(({ about }) => about.kind === 'loadBalancer' && isShared(model, about.id)))
      this.#count('delivers by one of several balancers of an address');
    if (delivered) this.#noteRange(model, entry, outcome);
    if (delivered && outcome.steps.some(({ about, text }) => about.kind === 'loadBalancer' && text.includes(' keeps ')))
      this.#count('delivers to the member that a client keeps');
    if (outcome.anchored.length > 0 && delivered) this.#count('delivered through an anchor');
    for (const { host, port, frame } of outcome.deliveries) {
      const isBack = host === entry.host && port === entry.port;
      this.#count(
        `delivered ${isBack ? 'back to the sender' : host === entry.host ? 'on the same host' : 'on another host'}`,
      );
      if (!frame.ip) continue;
      this.#count(`delivers after ${kind}`);
      this.#count(`delivers protocol ${frame.ip.protocol}`);
      if (frame.ip.ttl < extractFlowKey(entry.bytes).ipTtl)
        this.#count(`delivers over a router IPv${frame.ip.version}`);
    }
  }

  #noteRange(model: ModelView, { bytes }: Message['entry'], { steps }: Message['outcome']): void {
    const { ipProto, tpDst } = extractFlowKey(bytes);
    for (const { about } of steps) {
      const balancer = about.kind === 'loadBalancer' ? model.get('loadBalancer', about.id) : undefined;
      for (const listener of balancer?.listeners ?? []) {
        const [asked, led] = [listenerPorts(listener), memberPorts(listener)];
        if (PROTOCOL_NAMES[listener.protocol] !== ipProto || isOne(asked) || !holds(asked, tpDst)) continue;
        const to = isOne(led) ? 'one for all' : led.first === asked.first ? 'the same' : 'as many others';
        this.#count(`delivers by a range of ports that leads to ${to}`);
      }
    }
  }

  #noteRules(model: ModelView, steps: Message['outcome']['steps']): void {
    for (const { about } of steps) {
      const rule = about.kind === 'rule' ? model.get('rule', about.id) : undefined;
      if (!rule) continue;
      this.#count(`rule action ${rule.action}`);
      for (const field of RULE_FIELDS) if (rule.match[field] !== undefined) this.#count(`rule field ${field}`);
      for (const state of rule.match.state ?? []) this.#count(`rule state ${state}`);
    }
  }
}
