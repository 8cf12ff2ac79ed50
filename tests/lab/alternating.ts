import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { TABLES } from '../../src/compile/tables.ts';
import {
  type ConnectionCrowd,
  type CrowdOptions,
  type CrowdReport,
  startCrowd,
} from '../../src/lab/connection-crowd.ts';
import { socketDrops } from '../../src/lab/machine-drops.ts';
import { scriptIn } from '../../src/lab/namespaces.ts';
import { INTEGRATION_BRIDGE } from '../../src/lab/open-vswitch.ts';
import { eventually, sleep } from './datacentre.ts';
import { type TwoGateways, UPLINKS, WEBS } from './two-gateways.ts';

/**
 * Sends each packet of a connection by the other gateway than the one before it, in both directions, strictly:
 *
 * - inwards the client's packet filter counts (`numgen inc mod 2`), and its routing follows the mark;
 * - outwards the workload's packet filter counts and writes the DSCP, which flows of this test alone, in front of those that choose by addresses in
 *   `ecmp`, take the next hop by. The packets keep the mark, so that it can be seen outside which way each was sent.
 *
 * What passes the routers outside is counted there, by the wire of which gateway it came or went.
 */
export interface Alternation {
  /** Packets of TCP and UDP between the client and the cloud by each gateway, in the order of `UPLINKS`, since the last call, or the beginning. */
  counts(): Promise<{ readonly in: readonly number[]; readonly out: readonly number[] }>;
  stop(): Promise<void>;
}

/** DSCP (RFC 2474, class selectors) of what the workloads send by the first and by the second gateway. */
const CLASSES = [8, 16] as const;
const MARK_BASE = 101;
/** Above everything that the agent writes in `ecmp`. */
const PRIORITY = 40_000;
const COOKIE = '0x7e57a17e';

/** Words of `nft`, `ip` and flows for the IP version of the site's client. */
function wordsOf({ client }: TwoGateways): { ip: 'ip' | 'ip6'; version: '-4' | '-6'; ofproto: 'ip' | 'ipv6' } {
  return client.includes(':')
    ? { ip: 'ip6', version: '-6', ofproto: 'ipv6' }
    : { ip: 'ip', version: '-4', ofproto: 'ip' };
}

/** `workloads`: those whose packets take turns. */
export async function alternate(site: TwoGateways, workloads: readonly string[] = WEBS): Promise<Alternation> {
  const { lab, client } = site;
  const { ip, version } = wordsOf(site);
  const hosts = lab.hosts.map(({ name }) => name).filter((name) => !UPLINKS.some(({ gateway }) => gateway === name));
  const ways = lab.spec.routers.map(({ addresses }) => addresses[0]!.split('/')[0]!);
  await scriptIn(lab.namespace('client'), [
    `nft add table ${ip} alternate`,
    `nft add chain ${ip} alternate out "{ type route hook output priority mangle; }"`,
    `nft add rule ${ip} alternate out meta l4proto { tcp, udp } meta mark set numgen inc mod 2 offset ${MARK_BASE}`,
    ...ways.flatMap((via, i) => [
      `ip ${version} route add default via ${via} table ${MARK_BASE + i}`,
      `ip ${version} rule add fwmark ${MARK_BASE + i} table ${MARK_BASE + i} priority ${MARK_BASE + i}`,
    ]),
  ]);
  for (const web of workloads)
    await scriptIn(lab.namespace(web), [
      `nft add table ${ip} alternate`,
      `nft add chain ${ip} alternate out "{ type filter hook postrouting priority mangle; }"`,
      `nft add rule ${ip} alternate out meta l4proto { tcp, udp } ${ip} daddr ${client} meta mark set numgen inc mod 2 offset ${MARK_BASE}`,
      ...CLASSES.map((dscp, i) => `nft add rule ${ip} alternate out meta mark ${MARK_BASE + i} ${ip} dscp set ${dscp}`),
    ]);
  for (const { router } of UPLINKS) await countAt(site, router);
  for (const host of hosts) await steer(site, host);

  const counts: Alternation['counts'] = async () => {
    const counted = await Promise.all(UPLINKS.map(({ router }) => countsOf(site, router)));
    return { in: counted.map((each) => each.in), out: counted.map((each) => each.out) };
  };
  await counts(); // from now on, when all of it takes turns
  return {
    counts,
    stop: async () => {
      for (const host of hosts) await lab.switchOf(host).ofctl('del-flows', INTEGRATION_BRIDGE, `cookie=${COOKIE}/-1`);
      for (const place of ['client', ...workloads, ...UPLINKS.map(({ router }) => router)])
        await lab.execOk(place, ['nft', 'delete', 'table', ip, 'alternate']);
      await scriptIn(
        lab.namespace('client'),
        ways.flatMap((_, i) => [
          `ip ${version} rule del priority ${MARK_BASE + i}`,
          `ip ${version} route flush table ${MARK_BASE + i}`,
        ]),
      );
    },
  };
}

/** Packets of a connection that lived, by each gateway and each way, and its answers. */
const ENOUGH = 100;

/** One connection lives while its packets take turns. */
export async function livesByHalves(
  t: TestContext,
  site: TwoGateways,
  alternation: Alternation,
  options: CrowdOptions,
): Promise<void> {
  await sleep(500); // the connection before has ended by then
  await alternation.counts();
  const dropped = await socketDrops(site.lab);
  const crowd = await startCrowd(site.lab, { ...options, connections: 1, intervalMs: 5 });
  await enoughOf(crowd);
  assertOneLived(await crowd.stop());
  await sawHalves(t, site, alternation, dropped);
}

/** By both gateways together more than `ENOUGH` by each. */
export const enoughOf = (crowd: ConnectionCrowd): Promise<boolean> =>
  eventually('packets enough', 20_000, async () => (await crowd.report()).answers > 2.5 * ENOUGH);

export function assertOneLived({ established, failed, died, stalled, wrong, answers }: CrowdReport): void {
  assert.deepEqual(
    { established, failed, died, stalled, wrong },
    { established: 1, failed: 0, died: 0, stalled: 0, wrong: 0 },
  );
  assert.ok(answers > ENOUGH, `${answers} answers`);
}

/**
 * In each direction both have as many, give or take one; and all came by the gateway that they were sent by. What full sockets dropped of one
 * half since there were `dropped` of them is the machine's.
 */
export async function sawHalves(
  t: TestContext,
  site: TwoGateways,
  alternation: Alternation,
  dropped: number,
): Promise<void> {
  await sleep(500); // for the last packets of its end
  const counts = await alternation.counts();
  const drops = (await socketDrops(site.lab)) - dropped;
  t.diagnostic(JSON.stringify({ ...counts, drops }));
  for (const [direction, [first, second]] of Object.entries(counts)) {
    assert.ok(first! > ENOUGH, `${direction}: ${first}`);
    assert.ok(Math.abs(first! - second!) <= 1 + drops, `${direction}: ${first} and ${second}, ${drops} dropped`);
  }
}

/** Connection tracking of the gateways has no entry for the client outside. */
export async function gatewaysKnowNothing(site: TwoGateways): Promise<void> {
  for (const { gateway } of UPLINKS) {
    const entries = await site.lab.switchOf(gateway).appctl('dpctl/dump-conntrack');
    assert.equal(entries.match(new RegExp(`=${site.client.replaceAll('.', '\\.')}[,)]`, 'g')), null, entries);
  }
}

/** Outwards only what carries the class of this gateway's router counts: what came another way than it was sent by is missing. */
async function countAt(site: TwoGateways, router: string): Promise<void> {
  const { lab, client } = site;
  const { ip } = wordsOf(site);
  const own = CLASSES[UPLINKS.findIndex((uplink) => uplink.router === router)]!;
  const { gateway } = UPLINKS.find((uplink) => uplink.router === router)!;
  const wire = `to-${gateway}`;
  await scriptIn(lab.namespace(router), [
    `nft add table ${ip} alternate`,
    `nft add counter ${ip} alternate in`,
    `nft add counter ${ip} alternate out`,
    `nft add chain ${ip} alternate forward "{ type filter hook forward priority 0; }"`,
    `nft add rule ${ip} alternate forward oifname ${wire} meta l4proto { tcp, udp } ${ip} saddr ${client} counter name in`,
    `nft add rule ${ip} alternate forward iifname ${wire} meta l4proto { tcp, udp } ${ip} daddr ${client} ${ip} dscp ${own} counter name out`,
  ]);
}

async function countsOf(site: TwoGateways, router: string): Promise<{ in: number; out: number }> {
  const text = await site.lab.execOk(router, ['nft', 'reset', 'counters', 'table', wordsOf(site).ip, 'alternate']);
  const of = (name: string): number =>
    Number(new RegExp(`counter ${name} \\{\\s*packets (\\d+)`).exec(text)?.[1] ?? Number.NaN);
  return { in: of('in'), out: of('out') };
}

/** Of each set of two next hops in `ecmp` the first is for the first class, whatever the slot: the order of both is that of the gateways. */
async function steer(site: TwoGateways, host: string): Promise<void> {
  const ovs = site.lab.switchOf(host);
  const dumped = await ovs.ofctl('dump-flows', INTEGRATION_BRIDGE, `table=${TABLES.ecmp.number}`, '--no-stats');
  const bySet = new Map<string, Map<string, string>>();
  for (const line of dumped.split('\n')) {
    const [, text, actions] = /^\s*cookie=\S+, (?:table=\d+, )?priority=\d+,(\S+) actions=(.*)$/.exec(line) ?? [];
    if (text === undefined || actions === undefined) continue;
    const set = /(?:^|,)(xxreg2=[^,]+|reg8=[^,]+,reg9=[^,]+,reg10=[^,]+,reg11=[^,]+)/.exec(text)?.[1];
    if (set === undefined || !/(^|,)reg6=/.test(text)) continue;
    const hops = bySet.get(set) ?? new Map<string, string>();
    bySet.set(set, hops.set(actions, text));
  }
  const flows = [...bySet].flatMap(([set, hops]) => {
    if (hops.size !== UPLINKS.length) return [];
    return CLASSES.map((dscp, i) => {
      const actions = [...hops.keys()].toSorted((a, b) => hopOf(a) - hopOf(b))[i]!;
      return `table=${TABLES.ecmp.number},cookie=${COOKIE},priority=${PRIORITY},${wordsOf(site).ofproto},nw_tos=${dscp << 2},${set},reg6=0/0x10000000,actions=${actions}`;
    });
  });
  assert.ok(flows.length > 0, `no set of two next hops on ${host}:\n${dumped}`);
  for (const flow of flows) await ovs.ofctl('add-flow', INTEGRATION_BRIDGE, flow);
}

/** The end of the next hop, an address of 192.0.2.0/24 or 2001:db8:2::/48, that the actions write. */
function hopOf(actions: string): number {
  const [, last] = /0x(?:c00002|20010db80002)([0-9a-f]+)/.exec(actions) ?? [];
  assert.ok(last !== undefined, actions);
  return Number.parseInt(last, 16);
}
