import type { Lab } from '../src/lab/lab.ts';
import { UNDERLAY_BRIDGE, UNDERLAY_INTERFACE } from '../src/lab/open-vswitch.ts';
import { forgetMegaflows, openConnections, type Pair } from './traffic.ts';

/**
 * What a way costs in things that can be counted, which stay the same however busy the machine is. A *pass* is one trip through the
 * datapath's flow tables: a packet makes one on each host that it crosses, one more where its tunnel header is taken off, and one more per
 * recirculation (after `ct`).
 */
export interface PathCounts {
  /** Passes on both hosts per packet of a TCP connection, there and back, first packets as later ones. */
  readonly passes: number;
  /** Datapath actions `ct` that these packets meet, per packet. */
  readonly tracked: number;
  /** OpenFlow tables that a packet is looked up in, on all its passes, when no cache knows it. */
  readonly lookups: number;
  /** Megaflows on both hosts after one connection, each of which is an upcall, and after a few hundred more. */
  readonly megaflows: number;
  readonly megaflowsAfterMany: number;
  /** Different masks of these, per port that packets come in by, and how many of them the datapath tried per pass. */
  readonly masks: number;
  readonly tries: number;
}

const MANY = 400;
/** Packets that open a way are not counted by the megaflow that they make: one each way. */
const STARTS = 2;

/** Opens TCP connections along a way that works already. */
export function countPath(lab: Lab, pair: Pair): Promise<PathCounts> {
  return countWay(lab, [pair]);
}

/** The same where a way has several pairs of ends: the first connection is one of the first pair, the others are shared out. */
export async function countWay(lab: Lab, pairs: readonly Pair[]): Promise<PathCounts> {
  const openAlong = async (count: number): Promise<void> => {
    for (const pair of pairs) await openConnections(lab, pair, { count: count / pairs.length });
  };
  await forgetMegaflows(lab);
  const tablesBefore = await lookupsOf(lab);
  await openConnections(lab, pairs[0]!, { count: 1 });
  const first = await megaflowsOf(lab);
  // What megaflows have seen is told to the flows at the latest when they go.
  await forgetMegaflows(lab);
  const lookups = ((await lookupsOf(lab)) - tablesBefore) / Math.max(1, tallyOf(first).packets + STARTS);

  await openAlong(8);
  const before = tallyOf(await megaflowsOf(lab));
  for (const { name } of lab.hosts) await lab.switchOf(name).appctl('dpif-netdev/pmd-stats-clear');
  await openAlong(MANY);
  const tries = await triesOf(lab);
  const many = await megaflowsOf(lab);
  const after = tallyOf(many);
  const packets = after.packets - before.packets;
  return {
    passes: (after.passes - before.passes) / packets,
    tracked: (after.tracked - before.tracked) / packets,
    lookups,
    megaflows: first.length,
    megaflowsAfterMany: many.length,
    masks: new Set(many.map(({ host, inPort, mask }) => `${host} ${inPort} ${mask}`)).size,
    tries,
  };
}

export interface Megaflow {
  readonly host: string;
  readonly inPort: string;
  readonly text: string;
  readonly actions: string;
  /** Which bits of which fields it looks at, without their values. */
  readonly mask: string;
  readonly packets: number;
  /** It begins at a workload: no recirculation, no tunnel. */
  readonly isStart: boolean;
}

/** The megaflows of workloads' traffic: what hosts themselves say over the underlay is left out, what opens tunnel packets is not. */
export async function megaflowsOf(lab: Lab): Promise<Megaflow[]> {
  const found: Megaflow[] = [];
  for (const { name } of lab.hosts) {
    const [ports, flows] = await lab.switchOf(name).appctlAll([['dpctl/show'], ['dpctl/dump-flows', '-m']]);
    const names = new Map([...ports!.matchAll(/port (\d+): (\S+)/g)].map((m) => [m[1]!, m[2]!]));
    for (const line of flows!.split('\n')) {
      const at = line.indexOf('actions:');
      if (at < 0) continue;
      const port = /in_port\(([^)]+)\)/.exec(line)?.[1] ?? '';
      const inPort = names.get(port) ?? port;
      const isUnderlay = inPort === UNDERLAY_BRIDGE || inPort === UNDERLAY_INTERFACE;
      const actions = line.slice(at + 'actions:'.length);
      if (isUnderlay && !actions.startsWith('tnl_pop')) continue;
      const key = line.slice(0, at);
      found.push({
        ...{ host: name, inPort, text: key, actions, mask: maskOf(key) },
        packets: Number(/packets:(\d+)/.exec(key)?.[1] ?? 0),
        isStart: key.includes('recirc_id(0)') && !isUnderlay && !key.includes('tun_id='),
      });
    }
  }
  return found;
}

/** `src=10.0.0.1/255.255.255.0` looks at some bits, `src=10.0.0.1` at all, `src=10.0.0.1/0.0.0.0` at none. */
function maskOf(key: string): string {
  const fields = key.replace(/ufid:\S+,\s*/, '').split(/, packets:/)[0]!;
  return fields
    .split(/(?<=\)),/)
    .map((field) => {
      const name = field.slice(0, field.indexOf('('));
      const inner = field.slice(field.indexOf('(') + 1, -1);
      const parts = inner.split(',').map((part) => {
        const equals = part.indexOf('=');
        const value = equals < 0 ? part : part.slice(equals + 1);
        const slash = value.indexOf('/');
        return `${equals < 0 ? '' : part.slice(0, equals)}/${slash < 0 ? '' : value.slice(slash + 1)}`;
      });
      return `${name}(${parts.filter((part) => !/\/(0x0+|0|0\.0\.0\.0|::|00:00:00:00:00:00)$/.test(part)).join()})`;
    })
    .filter((field) => !field.endsWith('()'))
    .join();
}

function tallyOf(megaflows: readonly Megaflow[]): { packets: number; passes: number; tracked: number } {
  let [packets, passes, tracked] = [0, 0, 0];
  for (const megaflow of megaflows) {
    passes += megaflow.packets;
    if (megaflow.isStart) packets += megaflow.packets;
    tracked += megaflow.packets * [...megaflow.actions.matchAll(/\bct\(/g)].length;
  }
  return { packets, passes, tracked };
}

/** Lookups in the OpenFlow tables of a host's bridges, as far as packets have been told of. */
async function lookupsOf(lab: Lab): Promise<number> {
  let sum = 0;
  for (const { name } of lab.hosts) {
    const text = await lab.switchOf(name).ofctl('dump-tables', 'br-int');
    for (const [, count] of text.matchAll(/lookup=(\d+)/g)) sum += Number(count);
  }
  return sum;
}

/** Masks tried per pass that the exact-match cache did not spare. */
async function triesOf(lab: Lab): Promise<number> {
  let [hits, tries] = [0, 0];
  for (const { name } of lab.hosts) {
    const text = await lab.switchOf(name).appctl('dpif-netdev/pmd-stats-show');
    const averages = [...text.matchAll(/avg\. subtable lookups per megaflow hit: ([\d.]+)/g)];
    for (const [i, [, count]] of [...text.matchAll(/megaflow hits: (\d+)/g)].entries()) {
      hits += Number(count);
      tries += Number(count) * Number(averages[i]![1]);
    }
  }
  return tries / hits;
}
