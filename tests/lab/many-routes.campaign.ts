// Measures: runs alone.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { after, before, describe, type TestContext, test } from 'node:test';
import { TABLES } from '../../src/compile/tables.ts';
import { connectOpenFlow, type OpenFlowConnection } from '../../src/openflow/connection.ts';
import type { Pattern } from '../frr/bgp-messages.ts';
import { eventually, sleep } from './datacentre.ts';
import { tellFigure } from './figures.ts';
import { needsRoot } from './lab-name.ts';
import { type SpeakingEnds, startSpeakingEnds, UPSTREAMS, type UpstreamName } from './speaking-ends.ts';

/**
 * A full table from two upstreams: how long until it is in use on the gateway and on another host, what it costs each process, and how
 * long packets are lost when one of the sessions ends. Time depends on what else the machine does, processor time hardly does.
 */
const PREFIXES = Number(process.env.WEFT_PREFIXES ?? 100_000);
const [BAR_IN_USE_S, BAR_MB, BAR_WITHDRAWN_S] = [5, 300, 1];
/** Within the first prefix of `apart`: the low bits decide by which upstream they go. */
const TARGETS = Array.from({ length: 16 }, (_, n) => `20.0.0.${16 + n}`);

const WATCHED = ['gw', 'east'] as const;
type Watched = (typeof WATCHED)[number];

interface Use {
  readonly cpuS: number;
  readonly mb: number;
}

describe(`${PREFIXES} prefixes from two upstreams`, { skip: needsRoot }, () => {
  let site: SpeakingEnds;
  let pids: ReadonlyMap<string, number>;
  let switches: Readonly<Record<Watched, OpenFlowConnection>>;
  before(async () => {
    site = await startSpeakingEnds('many', {
      addresses: TARGETS.map((a) => `${a}/32`),
      router: { maxRoutes: 1_000_000 },
    });
    pids = pidsOf(site);
    const connect = (host: Watched): Promise<OpenFlowConnection> =>
      connectOpenFlow(`unix:${site.lab.switchOf(host).dir}/br-int.mgmt`);
    switches = { gw: await connect('gw'), east: await connect('east') };
    // Zebra of FRR 8.4 connects to its agent 3 s after it was started, whatever is told before: one prefix shows that the whole way is there.
    const few = await flowsOf('east', TABLES.route.number);
    const has = (more: number) => async () => (await flowsOf('east', TABLES.route.number)) === few + more || undefined;
    tellSome('up-1', 'apart', 1);
    await eventually('a first prefix in use', 20_000, has(1));
    tellSome('up-1', 'apart', 1, false);
    await eventually('it is gone', 20_000, has(0));
  });
  after(async () => {
    for (const each of Object.values(switches ?? {})) each.close();
    await site?.down();
  });

  /** By a counter of the table: a look at each of its flows would hold the switch up. */
  const flowsOf = async (host: Watched, table: number): Promise<number> => {
    const { tables } = await switches[host].multipart({ kind: 'table' });
    return tables.find((each) => each.table === table)!.active;
  };
  const use = (): ReadonlyMap<string, Use> => new Map([...pids].map(([name, pid]) => [name, useOf(pid)]));
  const busy = (): number => {
    const now = use();
    return ['gw agent', 'east agent', 'zebra', 'bgpd', 'server'].reduce((sum, name) => sum + now.get(name)!.cpuS, 0);
  };
  const tell = (end: UpstreamName, pattern: Pattern, isAnnounced = true): void =>
    tellSome(end, pattern, PREFIXES, isAnnounced);
  const tellSome = (end: UpstreamName, pattern: Pattern, to: number, isAnnounced = true): void =>
    site.ends[end].do({
      ...{ do: 'tell', pattern, from: 0, to },
      ...(isAnnounced ? { path: [UPSTREAMS.find(({ name }) => name === end)!.asn] } : {}),
    });

  /** When nothing more changes in the switches of both hosts, and how many flows of routes there are. */
  async function settled(
    t: TestContext,
    what: string,
  ): Promise<{ readonly s: number; readonly flows: Record<string, number> }> {
    const begin = performance.now();
    const [before, flows, changedAt] = [use(), {} as Record<string, number>, { gw: begin, east: begin }];
    let [spent, quietSince] = [busy(), begin];
    await eventually('quiet', 240_000, async () => {
      for (const host of WATCHED) {
        const now = await flowsOf(host, TABLES.route.number);
        if (flows[host] !== now) changedAt[host] = performance.now();
        flows[host] = now;
      }
      // Whoever still works on it uses more than a tenth of a processor.
      const now = busy();
      if (now - spent > (0.1 * (performance.now() - quietSince)) / 1000) [spent, quietSince] = [now, performance.now()];
      return performance.now() - Math.max(quietSince, changedAt.gw, changedAt.east) > 4000 ? true : undefined;
    });
    const seconds = (host: 'gw' | 'east'): number => (changedAt[host] - begin) / 1000;
    const costs = [...use()].map(([name, { cpuS, mb }]) => {
      return `${name} ${(cpuS - before.get(name)!.cpuS).toFixed(1)} s ${mb.toFixed(0)} MB`;
    });
    t.diagnostic(
      `${what}: gw after ${seconds('gw').toFixed(1)} s, east after ${seconds('east').toFixed(1)} s; flows ${JSON.stringify(flows)}; load ${loadavg()[0]!.toFixed(0)}`,
    );
    t.diagnostic(`  processor time and memory: ${costs.join(', ')}`);
    return { s: Math.max(seconds('gw'), seconds('east')), flows };
  }
  const gatewayMb = (): number => {
    const now = use();
    return ['gw agent', 'zebra', 'bgpd', 'bfdd'].reduce((sum, name) => sum + (now.get(name)?.mb ?? 0), 0);
  };

  for (const pattern of ['apart', 'mixed', 'beside'] as const)
    test(`${pattern}: within ${BAR_MB} MB, re-routed within ${BAR_WITHDRAWN_S} s`, async (t) => {
      const few = await flowsOf('east', TABLES.route.number);
      for (const { name } of UPSTREAMS) tell(name, pattern);
      const { s, flows } = await settled(t, `${pattern}: both told`);
      if (pattern === 'apart') for (const host of WATCHED) assert.ok(flows[host]! >= PREFIXES, host);
      const inUseMb = gatewayMb();
      // How long it took says as much of the machine: it is told, and held to no bar here.
      tellFigure(t, `100,000 prefixes, ${pattern}: in use on both hosts`, s, 's', BAR_IN_USE_S);
      tellFigure(t, `100,000 prefixes, ${pattern}: agent and FRR`, inUseMb, 'MB', BAR_MB);
      // FRR keeps something of the tables before.
      if (pattern === 'apart') assert.ok(inUseMb <= BAR_MB, `${inUseMb} MB in use`);
      const pings = TARGETS.map((target) => site.lab.exec('web', ['ping', '-q', '-i', '0.02', '-w', '6', target]));
      await sleep(1500);
      site.ends['up-1'].stop();
      const lost = (await Promise.all(pings)).map(({ stdout }) => {
        const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(stdout)!;
        return (Number(sent) - Number(received)) / 50;
      });
      if (pattern === 'apart')
        tellFigure(t, 'a session of 100,000 prefixes ends: lost for', Math.max(...lost), 's', BAR_WITHDRAWN_S);
      await settled(t, `${pattern}: one withdrawn`);
      await site.speak('up-1');
      await site.established('up-1');
      tell('up-1', pattern);
      await settled(t, `${pattern}: it is back`);
      for (const { name } of UPSTREAMS) tell(name, pattern, false);
      await settled(t, `${pattern}: none`);
      assert.equal(await flowsOf('east', TABLES.route.number), few);
      assert.ok(gatewayMb() <= BAR_MB, `${gatewayMb()} MB`);
      if (pattern === 'apart') assert.ok(Math.max(...lost) <= BAR_WITHDRAWN_S, `${lost}`);
    });
});

function pidsOf({ lab, weft }: SpeakingEnds): Map<string, number> {
  const pids = new Map<string, number>();
  for (const host of WATCHED) {
    pids.set(`${host} agent`, weft.agent(host).pid!);
    pids.set(`${host} vswitchd`, lab.findProcess(host, 'ovs-vswitchd')!.pid!);
  }
  pids.set('server', weft.server.pid!);
  for (const dir of readdirSync('/var/run/frr'))
    if (dir.startsWith(`${lab.namespace('gw')}-bgp-`))
      for (const daemon of ['zebra', 'bgpd', 'bfdd'])
        pids.set(daemon, Number(readFileSync(`/var/run/frr/${dir}/${daemon}.pid`, 'utf8')));
  return pids;
}

function useOf(pid: number): Use {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
  return { cpuS: (Number(fields[11]) + Number(fields[12])) / 100, mb: (Number(rss) * 1024) / 1e6 };
}
