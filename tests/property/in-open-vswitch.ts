import { parseIpv4 } from '../../src/base/addresses.ts';
import { type Reason, TABLES, type Table, tableName } from '../../src/compile/tables.ts';
import type { Flow } from '../../src/openflow/flow.ts';
import { type Item, splitItems } from '../../src/openflow/text/items.ts';
import { type Headers, headersOf, setHeaders } from '../../src/pipeline/datapath.fixture.ts';
import { answerFromHeaders } from './answers.ts';
import { classOf, hex, isSample, type Observation } from './observation.ts';
import type { OpenVswitchFarm } from './open-vswitch-farm.ts';
import { type Entry, type Scenario, type ScenarioHost, TUNNEL_PORTS } from './scenario.ts';

/** A packet on its way between hosts, as its outer header says. */
interface Crossing {
  readonly key: number;
  readonly src: string;
  readonly dst: string;
  readonly encap: keyof typeof TUNNEL_PORTS;
  readonly bytes: Uint8Array;
}

/** `text` is what `ofproto/trace` printed; `crossings` counts the tunnel packets between hosts. */
export type Traced = Observation & { readonly text: string; readonly crossings: number };

interface Seen {
  readonly delivered: string[];
  readonly answers: string[];
  readonly packetIns: string[];
  readonly logs: string[];
  readonly reasons: Set<Reason>;
}

/** Installs the flows of all hosts; `mutate` may spoil a host's flows. */
export async function installFlows(
  farm: OpenVswitchFarm,
  { hosts }: Scenario,
  mutate: (flows: readonly Flow[], host: ScenarioHost) => readonly Flow[] = (flows) => flows,
): Promise<void> {
  await Promise.all(hosts.map((host, bridge) => farm.setFlows(bridge, mutate([...host.compiler.flows()], host))));
}

/** Asks `ofproto/trace` what becomes of a frame, on its host and on those that it is tunnelled to. */
export async function observeOpenVswitch(farm: OpenVswitchFarm, scenario: Scenario, entry: Entry): Promise<Traced> {
  const first = scenario.hosts.findIndex(({ id }) => id === entry.host);
  return follow(farm, scenario, entry, [{ bridge: first, metadata: `in_port=${entry.ofport}`, bytes: entry.bytes }]);
}

/** The same for a frame that a tunnel packet carries. */
export function arriveInOpenVswitch(
  farm: OpenVswitchFarm,
  scenario: Scenario,
  entry: Entry,
  tunnel: Omit<Crossing, 'bytes'>,
): Promise<Traced> {
  const bridge = scenario.hosts.findIndex(({ id }) => id === entry.host);
  return follow(farm, scenario, entry, [{ bridge, metadata: metadataOf(tunnel), bytes: entry.bytes }]);
}

function metadataOf({ encap, key, src, dst }: Omit<Crossing, 'bytes'>): string {
  return `in_port=${TUNNEL_PORTS[encap]},tun_id=${key},tun_src=${src},tun_dst=${dst}`;
}

async function follow(
  farm: OpenVswitchFarm,
  scenario: Scenario,
  entry: Entry,
  queue: { readonly bridge: number; readonly metadata: string; readonly bytes: Uint8Array }[],
): Promise<Traced> {
  const seen: Seen = { delivered: [], answers: [], packetIns: [], logs: [], reasons: new Set() };
  const texts: string[] = [];
  let crossings = 0;
  for (let step = 0; queue.length > 0; step++) {
    if (step > 50) throw new Error('the frame goes round and round');
    const { bridge, metadata, bytes } = queue.shift()!;
    const text = await farm.trace(bridge, metadata, hex(bytes));
    texts.push(text);
    const host = scenario.hosts[bridge]!;
    readStory(text, host, seen);
    const actions = [...text.matchAll(/^Datapath actions: (.*)$/gm)].at(-1)?.[1] ?? '';
    for (const output of outputsOf(splitItems(actions), bytes, farm)) {
      if ('crossing' in output) {
        const { crossing } = output;
        crossings++;
        const to = scenario.hosts.findIndex(({ tunnelAddress }) => tunnelAddress === crossing.dst);
        queue.push({ bridge: to, metadata: metadataOf(crossing), bytes: crossing.bytes });
      } else note(output, bridge, scenario, entry, seen);
    }
  }
  for (const list of [seen.delivered, seen.answers, seen.packetIns, seen.logs]) list.sort();
  return { ...seen, text: texts.join('\n'), crossings };
}

function note(output: PortOutput, bridge: number, { hosts }: Scenario, entry: Entry, seen: Seen): void {
  const { port, bytes, headers } = output;
  const host = hosts[bridge]!;
  const isBack = host.id === entry.host && port?.ofport === entry.ofport;
  if (isBack) seen.answers.push(answerFromHeaders(entry.bytes, headers ?? headersOf(bytes)));
  else {
    const frame = headers ? `rewritten: ${JSON.stringify(headers)}` : hex(bytes);
    const name = port?.bridge === bridge ? host.ports.get(port.ofport) : undefined;
    seen.delivered.push(`${host.id} ${name ?? `port ${JSON.stringify(port)}`} ${frame}`);
  }
}

/** What the lines of a trace tell: which flows were met (by cookie), and what they said to the agent. */
function readStory(text: string, { id, compiler }: ScenarioHost, seen: Seen): void {
  let cookie = 0n;
  for (const line of text.split('\n')) {
    const step = /^\s*(\d+)\. (.*)$/.exec(line);
    if (step?.[2] === 'No match.') {
      const name = tableName(Number(step[1]));
      const reason = name && (TABLES[name] as Table).missReason;
      if (reason) seen.reasons.add(reason);
    } else if (step) {
      cookie = BigInt(/cookie (0x[0-9a-f]+)/.exec(step[2]!)?.[1] ?? 0);
      const { reason } = compiler.explain(cookie);
      if (reason) seen.reasons.add(reason);
    }
    if (line.includes('skipping output to input port')) seen.reasons.add('hairpin');
    const userdata = /^\s*controller\(.*userdata=([0-9a-f]+)/.exec(line)?.[1];
    if (userdata === undefined) continue;
    const wanted = classOf(Buffer.from(userdata, 'hex'));
    if (wanted === 'log') seen.logs.push(...compiler.explain(cookie).objects.map((object) => object.id));
    else if (!isSample(wanted)) seen.packetIns.push(`${id} ${wanted}`);
  }
}

interface PortOutput {
  readonly port: { readonly bridge: number; readonly ofport: number } | undefined;
  readonly bytes: Uint8Array;
  /** Set where headers other than tags were rewritten; `bytes` are those from before. */
  readonly headers?: Headers;
}
type Output = PortOutput | { readonly crossing: Crossing };

/** Does what datapath actions say to the bytes of a frame (`ovs-actions(7)`, odp syntax). */
function outputsOf(actions: readonly Item[], frame: Uint8Array, farm: OpenVswitchFarm): Output[] {
  const outputs: Output[] = [];
  let bytes = frame;
  let headers: Headers | undefined;
  let tunnel: Omit<Crossing, 'bytes'> | undefined;
  for (const { key, value } of actions) {
    if (/^\d+$/.test(key)) {
      if (tunnel) outputs.push({ crossing: { ...tunnel, bytes } });
      else outputs.push({ port: farm.portOf(Number(key)), bytes, ...(headers ? { headers } : {}) });
    } else if (key === 'clone') outputs.push(...outputsOf(splitItems(value), bytes, farm));
    else if (key === 'push_vlan') {
      const [, vid, pcp] = /vid=(\d+),pcp=(\d+)/.exec(value)!;
      const tpid = Number(/tpid=(0x[0-9a-f]+)/.exec(value)?.[1] ?? 0x8100);
      const tci = (Number(pcp) << 13) | Number(vid);
      const tag = [tpid >> 8, tpid & 0xff, tci >> 8, tci & 0xff];
      bytes = Uint8Array.of(...bytes.subarray(0, 12), ...tag, ...bytes.subarray(12));
    } else if (key === 'pop_vlan') bytes = Uint8Array.of(...bytes.subarray(0, 12), ...bytes.subarray(16));
    else if (key === 'set') headers = setHeaders(headers ?? headersOf(bytes), value);
    else if (key === 'tnl_push') tunnel = outerOf(value);
    else if (key !== 'userspace' && key !== 'drop') throw new Error(`datapath action ${key} is not understood`);
  }
  return outputs;
}

/** The outer header of `tnl_push`: `ipv4(src=…,dst=…),…geneve(vni=0x64)`, `vxlan(…vni=…)` or `gre((…),key=…)`. */
function outerOf(text: string): Omit<Crossing, 'bytes'> {
  const [, src, dst] = /ipv4\(src=([\d.]+),dst=([\d.]+)/.exec(text)!;
  const [, encap, key] = /(geneve|vxlan|gre)\(.*?(?:vni|key)=(0x[0-9a-f]+)/.exec(text)!;
  if (parseIpv4(dst!) === undefined) throw new Error(`no outer address in ${text}`);
  return { key: Number(key), src: src!, dst: dst!, encap: encap as Crossing['encap'] };
}
