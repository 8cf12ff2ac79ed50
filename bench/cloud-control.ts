import { WeftError } from '../src/base/errors.ts';
import { countingDrops } from '../src/lab/machine-drops.ts';
import { INTEGRATION_BRIDGE } from '../src/lab/open-vswitch.ts';
import { startStream } from '../src/lab/packet-stream.ts';
import type { WorkloadInput } from '../src/lab/spec.ts';
import { type BenchContext, median } from './bench.ts';
import { type Cloud, type CloudProcess, workloadBehind } from './cloud.ts';
import { FlowCount, lastChange } from './flow-count.ts';
import { FlowWatch } from './flow-watch.ts';
import { watchMarks } from './installed-marks.ts';
import { processorSeconds, residentMegabytes } from './process-usage.ts';
import { planTenantPort, planTenantPorts, type TenantPort, type TenantsSize } from './tenants.ts';

/**
 * What the control of a cloud costs, measured at its switches and the same for every make of cloud: by the names of
 * figures, in the order in which they are shown.
 */
export type ControlCosts = ReadonlyMap<string, Cost>;

export interface Cost {
  readonly value: number;
  readonly unit: string;
}

const PORT_ADDED = 'a port added';
const RULE_CHANGED = "a group's rule changed";
const medianOf = (metric: string): string => `${metric}: write to last flow, median`;

const ROLES: Readonly<Record<CloudProcess['role'], string>> = {
  agent: "a host's agent",
  central: 'all central processes',
  switch: "a host's Open vSwitch",
};
const memoryOf = (what: string): string => `memory (RSS) of ${what}`;

/** The figures that have a bar. */
export const METRIC = {
  bulk: 'bulk: write to last flow',
  flows: 'flows on a host, the most',
  agentMemory: memoryOf(ROLES.agent),
  centralMemory: memoryOf(ROLES.central),
  add: medianOf(PORT_ADDED),
  rule: medianOf(RULE_CHANGED),
  restart: 'agent restarted: start to the first change, median',
  lost: 'packets lost while agents restart',
  remove: 'everything deleted: write to last flow',
} as const;

export interface ControlPlan {
  readonly size: TenantsSize;
  readonly rounds: number;
  /** Changes that are not counted: clouds that have done this before, as in operation. */
  readonly warmUps: number;
  /** And of a rule, before all others: a server that is up for a day has done so many, and code that is compiled as it runs is done with that. */
  readonly warmRules: number;
  /** So long without a change means that there is no more to come; the slowest cloud's longest pause is shorter. */
  readonly quietMs: number;
  /** For the slowest step. */
  readonly timeoutMs: number;
}

/** After one small change: longer than the slowest cloud pauses within one, and short enough for processors to stay awake as in operation. */
const SMALL_QUIET_MS = 150;
const SMALL_TIMEOUT_MS = 30_000;
const FIRST_TCP_PORT = 2_000;
/** Memory is looked at when a process has had time to give back what a burst of work took. */
const SETTLE_MS = 6_000;
/** Processes are at rest when all together use less than this of a processor, for so many seconds on end. */
const CALM = 0.4;
const CALM_SECONDS = 3;

/** Two more ports of the first tenant, one on each host, that are in the cloud while a stream runs between them. */
const STREAM_PORTS = [planTenantPort(0, 0, 240, 0), planTenantPort(0, 0, 241, 1)] as const;
const STREAM_PPS = 5_000;
/** Before and after each restart. */
const STREAM_PAUSE_MS = 1_000;

/** What is to be plugged behind them before the cloud starts. */
export function streamWorkloads(): WorkloadInput[] {
  return STREAM_PORTS.map(workloadBehind);
}

/** Runs a cloud, started with `streamWorkloads` and empty, through everything. It is empty again afterwards. */
export async function measureControl(context: BenchContext, cloud: Cloud, plan: ControlPlan): Promise<ControlCosts> {
  return new ControlRun(context, cloud, plan).run();
}

class ControlRun {
  readonly #context: BenchContext;
  readonly #cloud: Cloud;
  readonly #plan: ControlPlan;
  readonly #costs = new Map<string, Cost>();
  readonly #counts: FlowCount[] = [];
  readonly #marks: ReadonlyMap<string, number>[] = [];
  #nextTcpPort = FIRST_TCP_PORT;

  constructor(context: BenchContext, cloud: Cloud, plan: ControlPlan) {
    this.#context = context;
    this.#cloud = cloud;
    this.#plan = plan;
  }

  async run(): Promise<ControlCosts> {
    const { hosts, lab } = this.#cloud;
    for (const host of hosts) {
      this.#counts.push(await FlowCount.of(this.#context, lab, host));
      this.#marks.push(await watchMarks(this.#context, lab, host, this.#cloud.installedMark));
    }
    const added = this.#portsToAdd();
    await this.#plug(added);
    await this.#create();
    const watches = await Promise.all(hosts.map((host) => FlowWatch.of(this.#context, lab, host)));
    this.#tell(`changing a rule ${this.#plan.warmRules} times`);
    for (let i = 0; i < this.#plan.warmRules; i++) await this.#timed(RULE_CHANGED, watches, () => this.#changeRule());
    await this.#addPorts(added, watches);
    await this.#inTurns(RULE_CHANGED, watches, () => this.#changeRule());
    for (const watch of watches) watch.stop();
    await this.#restart();
    await this.#restartUnderStream();
    await this.#delete();
    return this.#costs;
  }

  #portsToAdd(): TenantPort[] {
    const { size, rounds, warmUps } = this.#plan;
    // Over the tenants that have ports on the first host already.
    const local = new Set(
      planTenantPorts(size)
        .filter((port) => port.host === 0)
        .map((port) => port.tenant),
    );
    const tenants = [...local];
    return Array.from({ length: rounds + warmUps }, (_, i) => {
      const place = size.ports + Math.floor(i / tenants.length);
      return planTenantPort(tenants[i % tenants.length]!, i % size.switches, place, 0);
    });
  }

  /** Interfaces are there before anybody has heard of their ports: what Open vSwitch needs for them is not measured. */
  async #plug(added: readonly TenantPort[]): Promise<void> {
    const ports = [...planTenantPorts(this.#plan.size), ...added];
    for (const [i, host] of this.#cloud.hosts.entries()) {
      const own = ports.filter((port) => port.host === i);
      this.#tell(`plugging ${own.length} interfaces on ${host}`);
      const from = performance.now();
      for (let at = 0; at < own.length; at += 250) {
        const args = own
          .slice(at, at + 250)
          .flatMap(({ id, name }) => [
            ...['--', 'add-port', INTEGRATION_BRIDGE, name, '--', 'set', 'interface', name, 'type=internal'],
            `external_ids:iface-id=${id}`,
          ]);
        await this.#cloud.lab.switchOf(host).vsctl(['--timeout=600', ...args]);
      }
      this.#tell(`plugged in ${((performance.now() - from) / 1000).toFixed(1)} s`);
    }
    await this.#cloud.synced(this.#plan.timeoutMs);
    await this.#untilAtRest();
  }

  /** All processes that plugging keeps busy (Open vSwitch still looks at thousands of new interfaces) have done with it. */
  async #untilAtRest(): Promise<void> {
    const spent = (): number =>
      this.#cloud.processes().reduce((sum, { process }) => sum + processorSeconds(process), 0);
    const from = performance.now();
    for (let rest = 0, before = spent(); rest < CALM_SECONDS && performance.now() - from < this.#plan.timeoutMs; ) {
      await this.#context.sleep(1_000);
      const now = spent();
      rest = now - before < CALM ? rest + 1 : 0;
      before = now;
    }
    this.#tell(`at rest after ${((performance.now() - from) / 1000).toFixed(1)} s`);
  }

  async #create(): Promise<void> {
    const { size, timeoutMs } = this.#plan;
    const before = this.#measureProcesses();
    this.#tell('creating everything');
    const { seconds, counts } = await this.#untilQuiet(async () => {
      await this.#cloud.createAll(size);
      this.#tell('written');
      await this.#cloud.synced(timeoutMs);
      this.#tell('synced');
    });
    this.#keep(METRIC.bulk, seconds, 's');
    this.#checkMarks();
    this.#keep(METRIC.flows, Math.max(...counts), 'flows');
    await this.#context.sleep(SETTLE_MS);
    const after = this.#measureProcesses();
    for (const [what, { processor, memory }] of after) {
      this.#keep(`bulk: processor time of ${what}`, processor - before.get(what)!.processor, 's');
      this.#keep(memoryOf(what), memory, 'MB');
    }
  }

  /** Every port that is there has its flows: else the time to the last flow would be that of something unfinished. */
  #checkMarks(): void {
    const ports = planTenantPorts(this.#plan.size);
    for (const [i, marks] of this.#marks.entries()) {
      const missing = ports.filter((port) => port.host === i && !marks.has(port.name));
      if (missing.length > 0)
        throw new WeftError(
          'timeout',
          `${this.#cloud.name}: ${missing.length} ports have no flows, ${missing[0]!.name} first`,
        );
    }
  }

  /** By role: all central processes together, of those on hosts the first host's. */
  #measureProcesses(): Map<string, { readonly processor: number; readonly memory: number }> {
    const sums = new Map<string, { processor: number; memory: number }>();
    for (const { role, process } of this.#cloud.processes()) {
      if (role !== 'central' && process.place !== this.#cloud.hosts[0]) continue;
      const sum = sums.get(ROLES[role]) ?? { processor: 0, memory: 0 };
      sum.processor += processorSeconds(process);
      sum.memory += residentMegabytes(process).now;
      sums.set(ROLES[role], sum);
    }
    return sums;
  }

  async #addPorts(added: readonly TenantPort[], watches: readonly FlowWatch[]): Promise<void> {
    const begun: number[] = [];
    await this.#inTurns(PORT_ADDED, watches, (i) => {
      begun.push(performance.now());
      return this.#cloud.addPort(added[i]!);
    });
    const times = added.map((port, i) => (this.#marks[0]!.get(port.name) ?? Number.NaN) - begun[i]!);
    this.#keep(`a port added: write to the interface's mark, median`, median(times.slice(this.#plan.warmUps)), 'ms');
  }

  /** One small change after the other, each until the last flow of it is heard of. */
  async #inTurns(
    metric: string,
    watches: readonly FlowWatch[],
    change: (round: number) => Promise<void>,
  ): Promise<void> {
    const times: number[] = [];
    const { rounds, warmUps } = this.#plan;
    for (let round = 0; round < rounds + warmUps; round++) {
      const ms = await this.#timed(metric, watches, () => change(round));
      if (round >= warmUps) times.push(ms);
      this.#tell(`${metric}: ${ms.toFixed(1)} ms`);
    }
    this.#keep(medianOf(metric), median(times), 'ms');
    this.#keep(`${metric}: the slowest`, Math.max(...times), 'ms');
  }

  async #timed(what: string, watches: readonly FlowWatch[], change: () => Promise<void>): Promise<number> {
    for (const watch of watches) watch.reset();
    const from = performance.now();
    await change();
    const lastMs = await this.#context.until(`flow after ${what}`, () => quietSince(watches), {
      timeoutMs: SMALL_TIMEOUT_MS,
    });
    return lastMs - from;
  }

  #changeRule(): Promise<void> {
    return this.#cloud.changeRule(0, this.#nextTcpPort++);
  }

  /** A rule is changed while an agent starts: it is in the switch when the agent is back at work. */
  async #restart(): Promise<void> {
    const host = this.#cloud.hosts[0]!;
    const times: number[] = [];
    for (let round = 0; round < Math.min(3, this.#plan.rounds); round++) {
      await this.#cloud.stopAgent(host);
      const tcpPort = this.#nextTcpPort++;
      const match = this.#cloud.ruleMatch(tcpPort);
      const from = performance.now();
      await Promise.all([this.#cloud.startAgent(host), this.#cloud.changeRule(0, tcpPort)]);
      await this.#context.until(
        'flow of the changed rule',
        async () => (await this.#counts[0]!.within(match)) > 0 || undefined,
        { timeoutMs: this.#plan.timeoutMs, everyMs: 20 },
      );
      times.push((performance.now() - from) / 1000);
      this.#tell(`an agent restarted: ${times.at(-1)!.toFixed(2)} s`);
      await this.#cloud.synced(this.#plan.timeoutMs);
    }
    this.#keep(METRIC.restart, median(times), 's');
  }

  /** As above, at one end of a stream and then at the other. It is not timed: to be asked for its flows keeps a switch from its packets. */
  async #restartUnderStream(): Promise<void> {
    const { hosts, lab } = this.#cloud;
    const { timeoutMs } = this.#plan;
    for (const port of STREAM_PORTS) await this.#cloud.addPort(port);
    await this.#cloud.synced(timeoutMs);
    const drops = await countingDrops(lab);
    const [from, to] = STREAM_PORTS.map(({ name }) => name) as [string, string];
    const stream = await startStream(lab, { from, to, pps: STREAM_PPS, warmUpMs: SMALL_TIMEOUT_MS });
    for (const host of hosts) {
      await this.#context.sleep(STREAM_PAUSE_MS);
      await this.#cloud.stopAgent(host);
      await Promise.all([this.#cloud.startAgent(host), this.#changeRule()]);
      await this.#cloud.synced(timeoutMs);
      await this.#context.sleep(STREAM_PAUSE_MS);
    }
    const report = await stream.stop();
    const dropped = await drops();
    this.#tell(`under a stream: ${JSON.stringify({ ...report, dropped })}`);
    this.#keep(METRIC.lost, Math.max(0, report.lost - report.lostAtReceiver - dropped), 'packets');
    this.#keep('packets sent meanwhile', report.sent, 'packets');
    this.#keep('packets dropped meanwhile by full sockets', dropped, 'packets');
    this.#keep('longest time without a packet meanwhile', report.longestGapMs, 'ms');
    const match = this.#cloud.ruleMatch(this.#nextTcpPort - 1);
    for (const [i, host] of hosts.entries())
      if ((await this.#counts[i]!.within(match)) === 0)
        throw new WeftError(
          'timeout',
          `${this.#cloud.name}: the agent of ${host} restarted and did not take up a changed rule`,
        );
    for (const port of STREAM_PORTS) await this.#cloud.removePort(port);
    await this.#cloud.synced(timeoutMs);
  }

  async #delete(): Promise<void> {
    this.#tell('deleting everything');
    const { seconds, counts } = await this.#untilQuiet(async () => {
      await this.#cloud.deleteAll();
      await this.#cloud.synced(this.#plan.timeoutMs);
    });
    this.#keep(METRIC.remove, seconds, 's');
    this.#keep('flows that are left', Math.max(...counts), 'flows');
  }

  /** Seconds from the call to the last change in any switch, and what they have then. */
  async #untilQuiet(
    change: () => Promise<void>,
  ): Promise<{ readonly seconds: number; readonly counts: readonly number[] }> {
    const { quietMs, timeoutMs } = this.#plan;
    const from = performance.now();
    const { atMs, counts } = await lastChange(this.#context, this.#counts, { quietMs, timeoutMs, during: change() });
    return { seconds: (atMs - from) / 1000, counts };
  }

  #keep(metric: string, value: number, unit: string): void {
    this.#costs.set(metric, { value, unit });
    this.#tell(`${metric}: ${value.toFixed(2)} ${unit}`);
  }

  #tell(text: string): void {
    this.#context.progress(`${this.#cloud.name}: ${text}`);
  }
}

/** When the last flow was heard of, once the first switch has changed and none has for a while. */
function quietSince(watches: readonly FlowWatch[]): number | undefined {
  const lastMs = Math.max(...watches.map((watch) => watch.lastMs));
  return watches[0]!.changes > 0 && performance.now() - lastMs >= SMALL_QUIET_MS ? lastMs : undefined;
}
