import { PACKET_IN, type PacketInClass, type Reason } from '../../src/compile/tables.ts';
import { extractFlowKey } from '../../src/packet/flow-key.ts';
import type { Outcome, RequestService } from '../../src/simulate/outcome.ts';
import { writeFrame } from '../../src/simulate/write-frame.ts';
import type { Entry, Scenario } from './scenario.ts';

/** What was seen to happen to one frame, however it was found out; lists are sorted. */
export interface Observation {
  /** `host port hex`. */
  readonly delivered: readonly string[];
  /** Frames that came back to the sender. */
  readonly answers: readonly string[];
  /** `host class`. */
  readonly packetIns: readonly string[];
  /** What the agent reads from the registers with each: class, keys of port and switch, VLAN of what it learns. Absent where they cannot be seen. */
  readonly origins?: readonly string[];
  /** Of `simulate`: packet-ins that there may be, as the agent answers nothing to them. */
  readonly silent?: readonly string[];
  /** Ids of the rules that logged. */
  readonly logs: readonly string[];
  /** Where the frame, or a copy, ended: reasons of the flows. Absent where they cannot be seen. */
  readonly reasons?: ReadonlySet<Reason>;
  /** It passed connection tracking more often than the datapath lets it. Absent where that cannot be seen. */
  readonly isCutOff?: boolean;
}

/** What `simulate` says, as one would see it. */
export function expected({ model }: Scenario, entry: Entry, outcome: Outcome): Observation {
  const port = model.get('port', entry.port)!;
  const keys = [port.key, model.get('switch', port.switch)!.key] as const;
  const packetIns: PacketInClass[] = [];
  if (outcome.activates) packetIns.push('announce');
  if (outcome.learns) packetIns.push('learn');
  if (outcome.agent) packetIns.push(outcome.agent === 'ra' ? 'routerSolicit' : outcome.agent);
  const requests = outcome.requests
    .filter(({ isSilent }) => !isSilent)
    .map(({ host, service }) => `${host} ${REQUESTS[service]}`);
  const silent = outcome.requests.filter(({ isSilent }) => isSilent).map((r) => `${r.host} ${REQUESTS[r.service]}`);
  return {
    delivered: [...outcome.deliveries, ...copiesIn(outcome)]
      .map(({ port, host, tag, frame }) => `${host} ${port} ${hex(writeFrame(entry.bytes, frame, tag))}`)
      .sort(),
    answers: outcome.answer ? [`${outcome.answer.kind} ${outcome.answer.address} ${outcome.answer.mac}`] : [],
    packetIns: [...packetIns.map((each) => `${entry.host} ${each}`), ...requests].sort(),
    origins: packetIns.map((each) => originOf(each, ...keys, outcome.learns?.vlan ?? 0)).sort(),
    silent,
    logs: [...outcome.logs].sort(),
  };
}

/** Copies that mirrors hand to ports. */
function copiesIn({ copies }: Outcome): Pick<Outcome['deliveries'][number], 'port' | 'host' | 'tag' | 'frame'>[] {
  return copies.flatMap(({ to, tag, frame }) => (to === undefined ? [] : [{ ...to, tag, frame }]));
}

/**
 * One line per difference; none where all is the same. Reasons are compared where the frame had a single way: the reason
 * that `simulate` gives has to be among those of the flows where it ended.
 */
export function differences(wanted: Observation, given: Observation, outcome: Outcome): string[] {
  const lines: string[] = [];
  const { silent = [] } = wanted;
  const seen = {
    ...given,
    packetIns: given.packetIns.filter((each) => !silent.includes(each)),
    logs: mayEndSooner(given, outcome) && isPartOf(given.logs, wanted.logs) ? wanted.logs : given.logs,
  };
  for (const what of ['delivered', 'answers', 'packetIns', 'logs'] as const)
    if (wanted[what].join() !== seen[what].join())
      lines.push(`${what}: simulate says [${wanted[what].join(', ')}], seen [${seen[what].join(', ')}]`);
  if (seen.origins && wanted.origins!.join() !== seen.origins.join())
    lines.push(`origins: simulate says [${wanted.origins!.join(', ')}], seen [${seen.origins.join(', ')}]`);
  const [drop, ...more] = outcome.drops;
  const isComparable = drop && more.length === 0 && outcome.deliveries.length === 0;
  if (seen.reasons && isComparable && !(seen.isCutOff && mayEndSooner(given, outcome))) {
    const isSenders = drop.reason === 'port-down' && drop.to === undefined;
    const isNowhere = !isSenders && (NOWHERE as readonly Reason[]).includes(drop.reason);
    const words: readonly Reason[] = isNowhere ? NOWHERE : [drop.reason];
    if (!words.some((word) => seen.reasons!.has(word)))
      lines.push(`drop: simulate says ${drop.reason}, seen [${[...seen.reasons].join(', ')}]`);
  }
  return lines;
}

/** A loop in which a packet is translated again and again ends in the datapath before its hops are used up (layer3.md, §6.1): fewer rules log it. */
function mayEndSooner({ isCutOff }: Observation, { drops }: Outcome): boolean {
  return isCutOff !== false && drops.some(({ reason }) => reason === 'too-many-hops');
}

function isPartOf(some: readonly string[], all: readonly string[]): boolean {
  const rest = [...all];
  return some.every((each) => {
    const at = rest.indexOf(each);
    if (at >= 0) rest.splice(at, 1);
    return at >= 0;
  });
}

/** There is no place for the frame. Which word it is differs: flows see their own host, and a flood's copy for its sender. */
const NOWHERE = ['nobody', 'unknown-mac', 'hairpin', 'not-bound', 'port-down', 'no-tunnel'] as const satisfies Reason[];

/** How `origins` are written. */
export function originOf(wanted: PacketInClass, portKey: number, switchKey: number, vlan: number): string {
  return `${wanted} port ${portKey} switch ${switchKey}${wanted === 'learn' ? ` vlan ${vlan}` : ''}`;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Is a frame that came back to the sender an answer of its host to ARP or neighbour discovery, and not its own that went round? */
export function isAnswer(question: Uint8Array, bytes: Uint8Array): boolean {
  const [asked, said] = [extractFlowKey(question), extractFlowKey(bytes)];
  if (asked.ethType === 0x0806) return asked.arpOp === 1 && said.arpOp === 2;
  return asked.ethType === 0x86dd && asked.ipProto === 58 && asked.tpSrc === 135 && said.tpSrc === 136;
}

const REQUESTS: Readonly<Record<RequestService, PacketInClass>> = {
  unreachable: 'unreachable',
  ttl: 'ttl',
  'too-big': 'tooBig',
  'port-unreachable': 'portUnreachable',
  reset: 'reset',
  reject: 'reject',
  resolve: 'resolve',
  neighbour: 'neighbour',
  hello: 'hello',
  health: 'probe',
  'next-hop': 'nextHop',
};

/** What `origins` tells of: the others come from within routers. */
export const WITH_ORIGIN: ReadonlySet<PacketInClass> = new Set<PacketInClass>([
  'announce',
  'learn',
  'dhcp',
  'dhcp6',
  'routerSolicit',
  'dns',
]);

const CLASSES = new Map(Object.entries(PACKET_IN).map(([name, code]) => [code as number, name as PacketInClass]));

/** What a flow wants of the agent. */
export function classOf(userdata: Uint8Array): PacketInClass | undefined {
  return CLASSES.get(userdata[0] ?? 0);
}

/** Tells the agent of what happens, and asks for no answer: sprays, and blocks of ports that run out. */
export function isSample(wanted: PacketInClass | undefined): boolean {
  return wanted === 'guard' || wanted === 'stray' || wanted === 'noPorts';
}
