import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { formatMac, parseIp, parseMac } from '../../src/base/addresses.ts';
import type { Reason } from '../../src/compile/tables.ts';
import { findOpenVswitch } from '../../src/lab/open-vswitch.ts';
import type { LogicalPort } from '../../src/model/objects.ts';
import { encodeEthernet } from '../../src/packet/ethernet.ts';
import { arriveInOpenVswitch, installFlows } from './in-open-vswitch.ts';
import { observe, pipelineNetwork } from './in-pipeline.ts';
import type { Observation } from './observation.ts';
import { OpenVswitchFarm } from './open-vswitch-farm.ts';
import { buildScenario, type Entry, overIpv4, type Scenario, type ScenarioHost, scenarioSketch } from './scenario.ts';

/** Tunnel packets as somebody on the underlay might forge them: each is dropped for its reason, in the pipeline and in Open vSwitch. */
const CAMPAIGN = process.env.WEFT_CAMPAIGN !== undefined;
const RUNS = CAMPAIGN ? 1000 : 40;
const SEED = Number(process.env.WEFT_SEED ?? 1);
const noSwitch = await findOpenVswitch().then(
  () => false as const,
  (error: Error) => error.message,
);

interface Forged {
  readonly host: ScenarioHost;
  readonly source: string;
  readonly key: number;
  readonly dst: string;
  /** Undefined: an honest packet, which must arrive or end as frames do. */
  readonly reason?: Reason;
}

const STRANGERS = { 4: '198.51.100.200', 6: '2001:db8:ffff::200' } as const;
const FOREIGN_MAC = '06:00:00:00:00:99';
const UNUSED_KEY = 0x00be_ef;

function* forgeries({ model, hosts }: Scenario): Iterable<Forged> {
  for (const host of hosts) {
    const zone = model.get('host', host.id)!.zone;
    const others = hosts.filter((other) => other !== host);
    const friend = others.find(({ id }) => model.get('host', id)!.zone === zone)?.tunnelAddress;
    const alien = others.find(({ id }) => model.get('host', id)!.zone !== zone)?.tunnelAddress;
    // Hosts become known with the switches that they share.
    const isKnown = friend !== undefined && host.inputs.some((r) => r.kind === 'host' && r.tunnelAddress === friend);
    for (const portId of host.ports.values()) {
      const port = model.get('port', portId)!;
      const to = { host, key: port.key, dst: port.mac } as const;
      yield { ...to, source: STRANGERS[host.tunnelAddress.includes(':') ? 6 : 4], reason: 'tunnel-source' };
      yield { ...to, source: host.tunnelAddress, reason: 'tunnel-source' };
      if (alien !== undefined) yield { ...to, source: alien, reason: 'tunnel-source' };
      if (!isKnown) continue;
      const from = { ...to, source: friend };
      yield { ...from, key: UNUSED_KEY, reason: 'tunnel-key' };
      yield { ...from, dst: 'ff:ff:ff:ff:ff:ff', ...wrong(model.bindingOf(portId)?.active === host.id) };
      if (port.portSecurity)
        yield { ...from, dst: FOREIGN_MAC, ...wrong(isActive(model.bindingOf(portId), port, host)) };
      yield from;
      yield { ...from, key: model.get('switch', port.switch)!.key, dst: 'ff:ff:ff:ff:ff:ff' };
      yield { ...from, key: model.get('switch', port.switch)!.key, dst: FOREIGN_MAC };
    }
    for (const port of model.all('port')) {
      const isHere = [...host.ports.values()].includes(port.id);
      if (isKnown && !isHere) yield { host, source: friend, key: port.key, dst: port.mac, reason: 'tunnel-key' };
    }
  }
}

function isActive(binding: { readonly active?: string } | undefined, port: LogicalPort, host: ScenarioHost): boolean {
  return binding?.active === host.id || port.host === host.id;
}

/** A port that is not to get frames here has no key here either. */
function wrong(isHere: boolean): { readonly reason: Reason } | { readonly reason?: Reason } {
  return isHere ? { reason: 'tunnel-key' } : {};
}

function entryOf({ host, dst }: Forged): Entry {
  const ethernet = { src: parseMac(FOREIGN_MAC)!, dst: parseMac(dst)!, etherType: 0x9000 };
  const header = encodeEthernet({ ethernet, vlans: [] });
  const bytes = Uint8Array.of(...header, ...new Uint8Array(46));
  return { port: '', host: host.id, ofport: -1, bytes, early: false, sketch: undefined as never };
}

function check(forged: Forged, seen: Observation, crossings: number): void {
  const what = `from ${forged.source} with key ${forged.key} to ${formatMac(parseMac(forged.dst)!)} on ${forged.host.id}`;
  assert.equal(crossings, 0, `${what}: goes out again`);
  assert.ok(
    seen.delivered.every((line) => line.startsWith(forged.host.id)),
    what,
  );
  if (forged.reason === undefined) return;
  assert.deepEqual([seen.delivered, seen.answers, seen.packetIns], [[], [], []], what);
  assert.ok(
    seen.reasons?.has(forged.reason),
    `${what}: ${forged.reason}, but seen ${[...(seen.reasons ?? [])].join()}`,
  );
}

const models = scenarioSketch({ least: 1, most: 1 });

test('forged tunnel packets are dropped by the pipeline, and nothing leaves by a tunnel that came by one', () => {
  const reasons = new Map<string, number>();
  let delivered = 0;
  const property = fc.property(models, (sketch) => {
    const scenario = buildScenario(sketch);
    const network = pipelineNetwork(scenario);
    for (const forged of forgeries(scenario)) {
      const entry = entryOf(forged);
      const tunnel = {
        id: BigInt(forged.key),
        src: parseIp(forged.source)!.value,
        dst: parseIp(forged.host.tunnelAddress)!.value,
      };
      const journey = network.sendTunnelled(forged.host.id, forged.host.encap, tunnel, entry.bytes);
      const seen = observe(journey, scenario, entry);
      check(forged, seen, journey.crossings.length + journey.losses.length);
      reasons.set(forged.reason ?? 'none', (reasons.get(forged.reason ?? 'none') ?? 0) + 1);
      delivered += seen.delivered.length;
    }
  });
  fc.assert(property, { numRuns: RUNS, seed: SEED });
  if (CAMPAIGN) console.log(reasons, { delivered });
  for (const reason of ['tunnel-source', 'tunnel-key', 'none']) assert.ok(reasons.has(reason), reason);
  assert.ok(delivered > 0, 'honest ones arrive');
});

describe('forged tunnel packets in Open vSwitch', { skip: noSwitch }, () => {
  let farm: OpenVswitchFarm;
  before(async () => {
    farm = await OpenVswitchFarm.start();
  });
  after(() => farm.stop());

  test('are dropped for the same reasons', async () => {
    const property = fc.asyncProperty(models, async (sketch) => {
      const scenario = buildScenario(overIpv4(sketch));
      await installFlows(farm, scenario);
      for (const forged of forgeries(scenario)) {
        const tunnel = {
          key: forged.key,
          src: forged.source,
          dst: forged.host.tunnelAddress,
          encap: forged.host.encap,
        };
        const seen = await arriveInOpenVswitch(farm, scenario, entryOf(forged), tunnel);
        check(forged, seen, seen.crossings);
      }
    });
    await fc.assert(property, { numRuns: CAMPAIGN ? 300 : 15, seed: SEED });
  });
});
