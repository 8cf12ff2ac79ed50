import fc from 'fast-check';
import { type Mac, parseMac } from '../../src/base/addresses.ts';
import { type FrameSketch, frameSketch } from '../../src/model/frame-sketch.ts';
import type { BindingSketch, ModelSketch, PortSketch } from '../../src/model/generate.ts';
import { buildFrame } from '../../src/model/generate-frames.ts';
import { asideTo, errorAbout, furtherOf, replyTo } from '../../src/model/generate-replies.ts';
import { type GroupRuleSketch, type GroupSketch, routedModelSketch } from '../../src/model/generate-routed.ts';
import { routedSketch } from '../../src/model/generate-routed-frames.ts';
import { uplinkedModelSketch } from '../../src/model/generate-uplinks.ts';
import { at } from '../../src/model/generated.ts';
import type { ModelIndex } from '../../src/model/model-index.ts';
import type { GroupRule, NatMove, ScopeRecord, SecurityGroup } from '../../src/model/objects.ts';
import { isUplink } from '../../src/model/uplinks.ts';
import { extractFlowKey } from '../../src/packet/flow-key.ts';
import { Connections } from '../../src/simulate/connections.ts';
import type { Outcome } from '../../src/simulate/outcome.ts';
import { simulateFrame } from '../../src/simulate/simulate.ts';
import { writeFrame } from '../../src/simulate/write-frame.ts';
import { connectionsAfter, type Move, movesOf } from './moves.ts';
import { withOtherPools } from './other-pools.ts';
import { buildScenario, type Entry, type LostSketch, lostSketch, type Scenario } from './scenario.ts';

/**
 * Conversations: frames, answers to what was delivered, further frames, errors about them, and changes of the model in between. What connection
 * tracking keeps from one frame to the next is so compared too.
 */
export interface ConversationSketch {
  readonly model: ModelSketch;
  readonly steps: readonly StepSketch[];
  readonly lost?: LostSketch;
}

export type StepSketch =
  | { readonly kind: 'send'; readonly at: number; readonly frame: FrameSketch }
  /** To, about, or as one of the messages before: 0 is the last. `aside`: of those that a helper reads. */
  /** `around`: by another uplink than the one that it left by, where there is one. */
  | { readonly kind: 'reply' | 'around' | 'aside' | 'error' | 'again'; readonly to: number }
  /** Of a record; or a workload moves, if one can and `pick` is at least `MOVE`. */
  | { readonly kind: 'change'; readonly pick: number }
  /** Of all pools that addresses are translated to. */
  | { readonly kind: 'pools' };
const MOVE = 16;

/** Types of echo requests and replies, by protocol. */
const ECHOES: { readonly [proto: number]: readonly number[] } = { 1: [0, 8], 58: [128, 129] };

const ANSWERS = { reply: replyTo, around: replyTo, aside: asideTo, error: errorAbout } as const;

const plainFrame: FrameSketch = {
  ...{ src: 0, dst: 0, tags: [], carried: 0, mutation: { kind: 'none' } },
  body: { kind: 'rarp' },
};
/** ICMP belongs to one version of IP: over the other Open vSwitch's tracker half knows it, and nobody sends it. */
function isSane({ body }: FrameSketch): boolean {
  return body.kind !== 'ip' || body.upper.protocol !== (body.version === 4 ? 58 : 1);
}

export const send: fc.Arbitrary<StepSketch> = fc.record({
  kind: fc.constant('send'),
  at: fc.nat({ max: 23 }),
  frame: fc.oneof(
    { weight: 9, arbitrary: routedSketch.map((body): FrameSketch => ({ ...plainFrame, body })) },
    {
      weight: 1,
      arbitrary: frameSketch.map((frame): FrameSketch => ({ ...frame, mutation: { kind: 'none' } })).filter(isSane),
    },
  ),
});
export const step: fc.Arbitrary<StepSketch> = fc.oneof(
  { weight: 5, arbitrary: send },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('reply'), to: fc.constantFrom(0, 0, 0, 1, 2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('error'), to: fc.constantFrom(0, 0, 1, 2) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('again'), to: fc.nat({ max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('change'), pick: fc.nat({ max: 23 }) }) },
);

/** What a helper may read, an answer from another port, and an answer to that. */
const aside: fc.Arbitrary<readonly StepSketch[]> = fc
  .record({ at: fc.nat({ max: 23 }), body: routedSketch, srcPort: fc.constantFrom(40_000, 40_001, 1024) })
  .map(({ at: place, body, srcPort }) => [
    {
      kind: 'send',
      at: place,
      frame: { ...plainFrame, body: { ...body, src: 0, ttl: 64, upper: { protocol: 17, srcPort, dstPort: 53 } } },
    },
    { kind: 'aside', to: 0 },
    { kind: 'reply', to: 0 },
  ]);

export interface Length {
  readonly least: number;
  readonly most: number;
}

export function conversationSketch({ least, most }: Length): fc.Arbitrary<ConversationSketch> {
  const steps = fc.array(step, { minLength: least, maxLength: most });
  return fc.record({ model: routedModelSketch, steps, lost: lostSketch });
}

/** Conversations that helpers read: rules of all groups have some. Apart from the others, whose seeds are chosen for what they meet. */
export function helpedSketch({ least, most }: Length): fc.Arbitrary<ConversationSketch> {
  const parts = fc.oneof(
    { weight: 2, arbitrary: step.map((one): readonly StepSketch[] => [one]) },
    { weight: 1, arbitrary: aside },
  );
  return fc
    .tuple(aside, fc.array(parts, { minLength: least - 1, maxLength: most - 1 }), routedModelSketch)
    .map(([first, more, model]) => ({ model, steps: [...first, ...more.flat()] }));
}

/** Conversations with what is behind uplinks that ask for known connections: they are often answered, by another uplink. */
export function uplinkedSketch({ least, most }: Length): fc.Arbitrary<ConversationSketch> {
  const around = fc.record({ kind: fc.constant('around' as const), to: fc.constantFrom(0, 0, 0, 1, 2) });
  const further = fc.record({ kind: fc.constant('again' as const), to: fc.constantFrom(0, 1, 2) });
  const steps = fc.array(
    fc.oneof({ weight: 3, arbitrary: step }, { weight: 2, arbitrary: around }, { weight: 1, arbitrary: further }),
    {
      minLength: least,
      maxLength: most,
    },
  );
  return fc.record({ model: uplinkedModelSketch, steps });
}

/** A frame of a conversation, and what `simulate` says of it. */
export interface Message {
  readonly entry: Entry;
  readonly outcome: Outcome;
  /** What the first receiver gets: the sender itself where nobody else does. */
  readonly delivered: { readonly port: string; readonly host: string; readonly bytes: Uint8Array } | undefined;
}

/** What a step has done: a frame was sent, records have changed, a workload has moved. */
export type Done = Message | { readonly changed: readonly ScopeRecord[] } | MoveDone;
export interface MoveDone {
  readonly move: Move;
  /** Connections that are known at the new host now. */
  readonly brought: number;
  readonly moved: readonly NatMove[];
}

export function isMessage(done: Done): done is Message {
  return 'outcome' in done;
}

/** One conversation, step by step, in the words of `simulate`. */
export class Conversation {
  readonly scenario: Scenario;
  readonly #messages: Message[] = [];
  #connections = new Connections();

  constructor(sketch: ConversationSketch) {
    const moves = sketch.steps.some((step) => step.kind === 'change' && step.pick >= MOVE);
    const helped = sketch.steps.some(({ kind }) => kind === 'aside') ? withHelpers(sketch.model) : sketch.model;
    this.scenario = buildScenario({
      model: moves ? withTwoHomes(helped) : helped,
      frames: [],
      lost: sketch.lost ?? [],
    });
  }

  /** Does a step. Undefined where there is nothing to do it with. */
  do(sketch: StepSketch): Done | undefined {
    if (sketch.kind === 'change')
      return (sketch.pick >= MOVE ? this.#move(sketch.pick) : undefined) ?? this.#change(sketch.pick);
    if (sketch.kind === 'pools') return this.#changePools();
    const entry = this.#entryOf(sketch);
    if (!entry) return undefined;
    const outcome = simulateFrame(this.scenario.model, entry, this.#connections);
    this.#connections = this.#connections.with(outcome.commits);
    const { deliveries } = outcome;
    const first = deliveries.find(({ port, host }) => port !== entry.port || host !== entry.host) ?? deliveries[0];
    const delivered = first && { ...first, bytes: writeFrame(entry.bytes, first.frame, first.tag) };
    const message: Message = { entry, outcome, delivered };
    this.#messages.unshift(message);
    return message;
  }

  #entryOf(sketch: Exclude<StepSketch, { kind: 'change' | 'pools' }>): Entry | undefined {
    if (sketch.kind === 'send') {
      const places = this.scenario.hosts.flatMap(({ id, ports }) =>
        [...ports].map(([ofport, port]) => ({ host: id, ofport, port })),
      );
      if (places.length === 0) return undefined;
      const { model } = this.scenario;
      // Others may say little: the frames of layer 2 try them.
      const open = places.filter(
        ({ host, port }) => model.bindingOf(port)?.active === host && model.get('port', port)!.adminUp,
      );
      const place = at(open.length > 0 ? open : places, sketch.at);
      const bytes = buildFrame(sketch.frame, this.scenario.model, place.port);
      return isNoOnes(bytes) ? undefined : entryAt(place, bytes);
    }
    const messages = sketch.kind === 'aside' ? this.#messages.filter((each) => this.#isRead(each)) : this.#messages;
    if (messages.length === 0) return undefined;
    const { entry, delivered } = at(messages, sketch.to);
    if (sketch.kind === 'again') return { ...entry, bytes: furtherOf(entry.bytes) };
    if (!delivered) return undefined;
    const bytes = ANSWERS[sketch.kind](delivered.bytes);
    const around = bytes && sketch.kind === 'around' ? this.#byAnotherUplink(delivered.port, bytes) : undefined;
    if (around) return around;
    const ports = this.scenario.hosts.find(({ id }) => id === delivered.host)!.ports;
    const ofport = [...ports].find(([, port]) => port === delivered.port)?.[0];
    return bytes && ofport !== undefined ? entryAt({ ...delivered, ofport }, bytes) : undefined;
  }

  /** What would come in by the wire, in by another one of the same router. */
  #byAnotherUplink(wire: string, bytes: Uint8Array): Entry | undefined {
    const { model, hosts } = this.scenario;
    for (const left of model.routerPortsOfSwitch(model.get('port', wire)!.switch)) {
      if (!isUplink(model, left)) continue;
      for (const entered of model.routerPortsOfRouter(left.router)) {
        if (entered.id === left.id || !isUplink(model, entered)) continue;
        for (const { id } of model.portsOfSwitch(entered.switch!)) {
          const host = hosts.find((each) => each.id === model.bindingOf(id)?.active);
          const ofport = host && [...host.ports].find(([, port]) => port === id)?.[0];
          if (ofport !== undefined)
            return entryAt({ port: id, host: host!.id, ofport }, setDestination(bytes, parseMac(entered.mac)!));
        }
      }
    }
    return undefined;
  }

  /** Over IPv6 Open vSwitch's userspace helpers (3.5) read nothing in frames with a VLAN tag. */
  #isRead({ entry, outcome, delivered }: Message): boolean {
    if (!delivered || outcome.commits.every(({ helper }) => helper === undefined)) return false;
    const { model } = this.scenario;
    const isTagged = [entry, delivered].some(({ port }) => {
      const of = model.get('port', port);
      return of !== undefined && model.get('switch', of.switch)?.vlanAware === true;
    });
    return !isTagged || extractFlowKey(delivered.bytes).ethType === 0x0800;
  }

  #move(pick: number): MoveDone | undefined {
    const possible = movesOf(this.scenario);
    if (possible.length === 0) return undefined;
    const before = [...this.#connections].length;
    const all = possible.map((move) => {
      const after = connectionsAfter(move, this.#connections);
      return { move, ...after, brought: [...after.all].length - before };
    });
    // Most have nothing to bring.
    const worth = [all.filter(({ moved }) => moved.length > 0), all.filter(({ brought }) => brought > 0), all];
    const { move, moved, brought, all: connections } = at(worth.find(({ length }) => length > 0)!, pick);
    this.#connections = connections;
    const { model } = this.scenario;
    this.put({ ...model.bindingOf(move.port)!, active: move.to.id });
    const ids = new Set(moved.map(({ id }) => id));
    for (const { id } of [...model.all('natMove')]) {
      const known = model.get('natMove', id)!;
      if (known.port === move.port && !ids.has(id)) this.put({ ...known, connections: [] });
    }
    for (const record of moved) this.put(record);
    return { move, brought, moved };
  }

  /** The record is so from now on, in the model and wherever it is known. */
  put(record: ScopeRecord): void {
    this.scenario.model.put(record);
    for (const { compiler, inputs } of this.scenario.hosts) {
      const isKnown = inputs.some(
        ({ kind, id }) =>
          (kind === record.kind && id === record.id) ||
          (record.kind === 'natMove' && kind === 'router' && id === record.router),
      );
      if (isKnown) compiler.update([{ op: 'put', record }]);
    }
  }

  #changePools(): Done {
    const { model } = this.scenario;
    const changed = [...model.all('router')].map((router) => withOtherPools(model, router));
    for (const record of changed) this.put(record);
    return { changed };
  }

  #change(pick: number): Done | undefined {
    const possible = changesOf(this.scenario.model);
    if (possible.length === 0) return undefined;
    const record = at(possible, pick);
    this.put(record);
    return { changed: [record] };
  }
}

/** Rules of groups for some or all of UDP have a helper: what answers from another port may be let in. */
function withHelpers(model: ModelSketch): ModelSketch {
  if (!model.network) return model;
  const read = (rules: readonly GroupRuleSketch[], ports: string): GroupRuleSketch[] => [
    ...rules.map((rule, n) => ({ ...rule, match: n === 0 ? { ...UDP, ports } : rule.match })),
    { match: { ...UDP, ports: '53' } },
  ];
  // Ports of two in four groups send no datagrams by themselves: theirs are answers, or let in. (Every second group is another tenant's.)
  const given = [...model.network.groups, NO_RULES, NO_RULES, NO_RULES, NO_RULES].slice(0, 4);
  const groups = given.map(({ ingress, egress }, n) => ({
    ingress: read(ingress, '0-65535'),
    egress: n < 2 ? [{ match: { protocol: 'tcp' as const } }] : egress && read(egress, '1-1023'),
  }));
  const switches = model.switches.map((device) => ({
    ...device,
    ports: device.ports.map((port, p) => ({ ...port, groups: port.groups?.length ? port.groups : [p % 2] })),
  }));
  return { ...model, switches, network: { ...model.network, groups } };
}
const NO_RULES: GroupSketch = { ingress: [] };
const UDP = { protocol: 'udp', helper: 'tftp' } as const;

/** Every workload has an interface on a second host: it may move there. */
function withTwoHomes(model: ModelSketch): ModelSketch {
  const twice = ({ binding }: PortSketch): BindingSketch =>
    binding.kind === 'one' ? { kind: 'two', host: binding.host, other: binding.host + 1 } : binding;
  const switches = model.switches.map((device) => ({
    ...device,
    ports: device.ports.map((port) => ({ ...port, binding: twice(port) })),
  }));
  return { ...model, switches };
}

/** Nobody is at port 0, and nobody sends an echo with a code: the userspace datapath's tracker calls both invalid, the kernel's does not. */
function isNoOnes(bytes: Uint8Array): boolean {
  const { ipProto, ipFrag, tpSrc, tpDst } = extractFlowKey(bytes);
  if (ipFrag >= 2) return false;
  if ([6, 17, 132].includes(ipProto)) return tpSrc === 0 || tpDst === 0;
  return (ECHOES[ipProto] ?? []).includes(tpSrc) && tpDst !== 0;
}

function setDestination(frame: Uint8Array, mac: Mac): Uint8Array {
  const bytes = frame.slice();
  for (let at = 0; at < 6; at++) bytes[at] = Math.floor(mac / 2 ** (8 * (5 - at))) % 256;
  return bytes;
}

function entryAt({ port, host, ofport }: Pick<Entry, 'port' | 'host' | 'ofport'>, bytes: Uint8Array): Entry {
  return { port, host, ofport, bytes, early: false, sketch: plainFrame };
}

/** Where the last rule with a helper goes, hosts forget that what it let in is judged as its control connection (docs/design/layer3.md, §4a). */
const HELPING: GroupRule[] = [{ protocol: 'tcp', ports: '7', helper: 'ftp' }];

/** Changes that say something to what goes on: each takes back or turns what a record says. */
function changesOf(model: ModelIndex): ScopeRecord[] {
  const changed: ScopeRecord[] = [];
  for (const group of model.all('securityGroup')) {
    const kept = ({ ingress, egress }: SecurityGroup): GroupRule[] =>
      [...ingress, ...egress].some(({ helper }) => helper !== undefined) ? HELPING : [];
    changed.push({ ...group, ingress: group.ingress.length > kept(group).length ? kept(group) : [{}, ...kept(group)] });
    changed.push({ ...group, egress: group.egress.length > kept(group).length ? kept(group) : [{}, ...kept(group)] });
  }
  for (const chain of model.all('chain'))
    changed.push({ ...chain, policy: chain.policy === 'drop' ? 'accept' : 'drop' });
  for (const rule of model.all('rule'))
    if (rule.action === 'accept' || rule.action === 'drop')
      changed.push({ ...rule, action: rule.action === 'drop' ? 'accept' : 'drop' });
  for (const balancer of model.all('loadBalancer'))
    changed.push({ ...balancer, members: balancer.members.map((member) => ({ ...member, drain: !member.drain })) });
  for (const health of model.all('memberHealth')) changed.push({ ...health, up: !health.up });
  for (const kept of model.all('keptClients')) changed.push({ ...kept, members: kept.members.slice(1) });
  for (const set of model.all('learnedSet'))
    changed.push(
      { ...set, via: set.via.slice(0, -1) },
      { ...set, ended: set.via.slice(0, 1).map(({ address }) => address) },
    );
  for (const router of model.all('router')) changed.push({ ...router, routes: router.routes.slice(1) });
  return changed;
}
