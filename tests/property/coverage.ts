import type { ModelIndex } from '../../src/model/model-index.ts';
import type { Rule } from '../../src/model/objects.ts';
import { extractFlowKey } from '../../src/packet/flow-key.ts';
import { type DropReason, FRAME_DROP_REASONS, type Outcome } from '../../src/simulate/outcome.ts';
import type { Entry, Scenario } from './scenario.ts';

/** What a run has to have met, so that its silence means something. */
const RULE_FIELDS: readonly (keyof Rule['match'])[] = [
  'etherType',
  'srcMac',
  'dstMac',
  'vlan',
  'src',
  'dst',
  'protocol',
  'srcPorts',
  'dstPorts',
  'icmpType',
  'icmpCode',
  'arpOp',
  'arpSender',
  'arpTarget',
];
const VLAN_MODES = ['none', 'access', 'trunk', 'trunk all', 'trunk with native', 'trunk all with native'] as const;
/** Only tunnel packets that no host of ours sent end so: tunnel.test.ts. */
const NOT_BY_FRAMES: readonly DropReason[] = ['tunnel-source', 'tunnel-key'];

const WANTED: readonly string[] = [
  'drop agent',
  ...(Object.keys(FRAME_DROP_REASONS) as DropReason[])
    .filter((r) => !NOT_BY_FRAMES.includes(r))
    .map((r) => `drop ${r}`),
  ...['arp', 'nd'].map((kind) => `answer ${kind}`),
  ...['dhcp', 'dhcp6', 'ra', 'dns'].map((service) => `agent ${service}`),
  ...['learns', 'activates', 'logs'],
  ...['on the same host', 'through geneve', 'through vxlan', 'through gre'].map((way) => `delivered ${way}`),
  ...['one', 'many', 'twice, moving'].map((count) => `delivered to ${count}`),
  ...['kept', 'added', 'removed', 'none'].map((tag) => `tag ${tag}`),
  ...VLAN_MODES.flatMap((mode) => [`sent from vlan ${mode}`, `delivered to vlan ${mode}`]),
  ...RULE_FIELDS.map((field) => `rule field ${field}`),
  ...['accept', 'drop', 'jump', 'return', 'log'].map((action) => `rule action ${action}`),
  ...['secured', 'unsecured', 'with pairs', 'bare'].map((kind) => `sent from a port ${kind}`),
  ...['active', 'moving here', 'left behind', 'early'].map((state) => `sent from an interface ${state}`),
  ...['untagged', 'tagged', 'twice tagged', 'first fragment', 'later fragment', 'cut or changed'].map(
    (f) => `frame ${f}`,
  ),
  ...['unicast', 'broadcast', 'multicast', 'unknown', 'learned', 'shared'].map((to) => `frame to ${to}`),
];

export class Coverage {
  readonly #counts = new Map<string, number>(WANTED.map((what) => [what, 0]));

  count(what: string): void {
    const known = this.#counts.get(what);
    if (known === undefined) throw new Error(`nobody asked for '${what}'`);
    this.#counts.set(what, known + 1);
  }

  /** What never happened. */
  missing(): string[] {
    return [...this.#counts].filter(([, count]) => count === 0).map(([what]) => what);
  }

  table(): string {
    return [...this.#counts].map(([what, count]) => `${String(count).padStart(8)}  ${what}`).join('\n');
  }

  note(scenario: Scenario, entry: Entry, outcome: Outcome): void {
    this.#noteSender(scenario.model, entry, outcome);
    this.#noteFrame(scenario.model, entry);
    for (const { reason } of outcome.drops) this.count(`drop ${reason}`);
    if (outcome.answer) this.count(`answer ${outcome.answer.kind}`);
    if (outcome.agent) this.count(`agent ${outcome.agent}`);
    if (outcome.learns) this.count('learns');
    if (outcome.activates) this.count('activates');
    if (outcome.logs.length > 0) this.count('logs');
    this.#noteDeliveries(scenario, entry, outcome);
    for (const { about } of outcome.steps) {
      const rule = about.kind === 'rule' ? scenario.model.get('rule', about.id) : undefined;
      if (!rule) continue;
      this.count(`rule action ${rule.action}`);
      for (const field of RULE_FIELDS) if (rule.match[field] !== undefined) this.count(`rule field ${field}`);
    }
  }

  #noteSender(model: ModelIndex, { port: portId, host, early }: Entry, outcome: Outcome): void {
    const port = model.get('port', portId)!;
    const sw = model.get('switch', port.switch)!;
    const active = model.bindingOf(portId)?.active === host;
    const state = early ? 'early' : active ? 'active' : port.host === host ? 'moving here' : 'left behind';
    this.count(`sent from an interface ${state}`);
    this.count(`sent from a port ${port.portSecurity ? 'secured' : 'unsecured'}`);
    if (port.allowedPairs.length > 0) this.count('sent from a port with pairs');
    if (port.addresses.length + port.allowedPairs.length + sw.subnets.length === 0) this.count('sent from a port bare');
    const isDropped = outcome.drops.some(({ reason }) => reason === 'vlan' || reason === 'tagged');
    if (sw.vlanAware && !isDropped) this.count(`sent from vlan ${vlanMode(model, portId)}`);
  }

  #noteFrame(model: ModelIndex, { port: portId, bytes, sketch }: Entry): void {
    const { vlans, ipFrag, ethDst } = extractFlowKey(bytes);
    this.count(`frame ${(['untagged', 'tagged', 'twice tagged'] as const)[sketch.tags.length]}`);
    if (ipFrag > 0) this.count(`frame ${ipFrag === 1 ? 'first' : 'later'} fragment`);
    if (sketch.mutation.kind !== 'none') this.count('frame cut or changed');
    const dst = ethDst
      .toString(16)
      .padStart(12, '0')
      .replace(/..(?!$)/g, '$&:');
    const { switch: switchId } = model.get('port', portId)!;
    const holders = [...model.portsOfSwitch(switchId)].filter(
      (port) => port.mac === dst || port.allowedPairs.some(({ mac }) => mac === dst),
    ).length;
    const isLearned = [...model.learnedOf(switchId)].some(
      ({ mac, vlan }) => mac === dst && vlan === ((vlans[0]?.tci ?? 0) & 0xfff),
    );
    if (dst === 'ff:ff:ff:ff:ff:ff') this.count('frame to broadcast');
    else if (Number.parseInt(dst.slice(0, 2), 16) & 1) this.count('frame to multicast');
    else if (holders > 0) this.count(`frame to ${holders > 1 ? 'shared' : 'unicast'}`);
    else this.count(`frame to ${isLearned ? 'learned' : 'unknown'}`);
  }

  #noteDeliveries({ model, hosts }: Scenario, entry: Entry, { deliveries }: Outcome): void {
    if (deliveries.length > 0) this.count(`delivered to ${deliveries.length === 1 ? 'one' : 'many'}`);
    if (new Set(deliveries.map(({ port }) => port)).size < deliveries.length) this.count('delivered to twice, moving');
    const tag = extractFlowKey(entry.bytes).vlans[0];
    for (const delivery of deliveries) {
      const { encap } = hosts.find(({ id }) => id === delivery.host)!;
      this.count(`delivered ${delivery.host === entry.host ? 'on the same host' : `through ${encap}`}`);
      if (tag) this.count(`tag ${delivery.tag === 0 ? 'removed' : 'kept'}`);
      else this.count(`tag ${delivery.tag === 0 ? 'none' : 'added'}`);
      const { switch: switchId } = model.get('port', delivery.port)!;
      if (model.get('switch', switchId)!.vlanAware) this.count(`delivered to vlan ${vlanMode(model, delivery.port)}`);
    }
  }
}

function vlanMode(model: ModelIndex, portId: string): (typeof VLAN_MODES)[number] {
  const { vlan } = model.get('port', portId)!;
  if (!vlan) return 'none';
  if ('access' in vlan) return 'access';
  const mode = vlan.trunk === 'all' ? 'trunk all' : 'trunk';
  return vlan.native === undefined ? mode : `${mode} with native`;
}
