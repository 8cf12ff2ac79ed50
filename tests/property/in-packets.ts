import { answerFromBytes } from './answers.ts';
import { classOf, hex, isAnswer, isSample, type Observation } from './observation.ts';
import type { PacketFarm } from './packet-farm.ts';
import type { Entry, Scenario } from './scenario.ts';

/** The flows of all hosts into the farm's bridges; no connections, no caches. */
export async function installForPackets(farm: PacketFarm, { hosts }: Scenario): Promise<void> {
  await farm.install(hosts.map(({ compiler }) => [...compiler.flows()]));
}

/** Sends a frame really, and says what was seen. */
export async function observePackets(farm: PacketFarm, { hosts }: Scenario, entry: Entry): Promise<Observation> {
  const bridge = hosts.findIndex(({ id }) => id === entry.host);
  const { frames, packetIns } = await farm.send(bridge, entry.ofport, entry.bytes);
  const seen = { delivered: [] as string[], answers: [] as string[], packetIns: [] as string[], logs: [] as string[] };
  for (const { bridge: at, ofport, bytes } of frames) {
    const host = hosts[at]!;
    if (at === bridge && ofport === entry.ofport && isAnswer(entry.bytes, bytes))
      seen.answers.push(answerFromBytes(entry.bytes, bytes));
    else seen.delivered.push(`${host.id} ${host.ports.get(ofport) ?? `port ${ofport}`} ${hex(bytes)}`);
  }
  for (const { bridge: at, message } of packetIns) {
    const host = hosts[at]!;
    const wanted = classOf(message.userdata ?? new Uint8Array());
    if (wanted === 'log') seen.logs.push(...host.compiler.explain(message.cookie ?? 0n).objects.map(({ id }) => id));
    else if (!isSample(wanted)) seen.packetIns.push(`${host.id} ${wanted}`);
  }
  for (const list of Object.values(seen)) list.sort();
  return seen;
}
