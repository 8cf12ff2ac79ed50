import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { WeftError } from '../base/errors.ts';
import { Lab, removeLab } from '../lab/lab.ts';
import { type LabSpec, readLabSpec } from '../lab/spec.ts';
import {
  plugIntoPort,
  requestLeases,
  startWeftInLab,
  type WeftInLab,
  waitForHealth,
  waitForPorts,
} from '../lab/weft.ts';
import { applyFiles } from './applying.ts';
import { readContexts, writeContexts } from './contexts.ts';
import { dim, say } from './output.ts';
import { summaryOf } from './plan.ts';

/** `weft lab up`: the datacentre, Weft in it, the desired state that the file names, and the workloads plugged in. */
export async function labUp(file: string, options: { readonly withWeft: boolean }): Promise<Lab> {
  const started = performance.now();
  const tell = (text: string): void =>
    say(dim(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}`));
  const spec = readLabSpec(readText(file));
  const upstream = spec.routers.length > 0 ? `, ${spec.routers.length} upstream routers` : '';
  const places = `${spec.hosts.length} hosts and ${spec.workloads.length} workloads${upstream}`;
  tell(`starting lab ${spec.name}: ${places}, an Open vSwitch on every host`);
  const lab = await Lab.start(options.withWeft ? withoutPorts(spec) : spec);
  if (!options.withWeft) return lab;
  try {
    const weft = await startWeftInLab(lab, { tell });
    try {
      await fill(lab, weft, spec, dirname(resolve(file)), tell);
      await waitForHealth(weft.client);
    } finally {
      weft.client.close();
    }
  } catch (error) {
    tell('that did not work; removing what there is of the lab');
    await labDown(spec.name);
    throw error;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  say(`lab ${spec.name} is up after ${seconds} s; commands go to its server (context lab-${spec.name})`);
  return lab;
}

/** Weft plugs them in once the ports exist: the file names ports by `tenant/name`, interfaces by id. */
function withoutPorts(spec: LabSpec): LabSpec {
  return {
    ...spec,
    workloads: spec.workloads.map(({ port: _port, ...workload }) => workload),
    routers: spec.routers.map((router) => ({ ...router, links: router.links.map(({ port: _port, ...link }) => link) })),
  };
}

async function fill(
  lab: Lab,
  weft: WeftInLab,
  spec: LabSpec,
  folder: string,
  tell: (text: string) => void,
): Promise<void> {
  const { client, files } = weft;
  useContext(`lab-${spec.name}`, files.serverUrl);
  if (spec.topology.length > 0) {
    tell(`applying ${spec.topology.join(', ')}`);
    const session = { client, context: { server: files.serverUrl }, tenant: undefined, isTenantTyped: false };
    const plan = await applyFiles(session, { files: spec.topology.map((name) => resolve(folder, name)) });
    tell(`  ${summaryOf(plan)}`);
  }
  const plugged = spec.workloads.filter((workload) => workload.port !== undefined);
  const wires = spec.routers.flatMap(({ name, links }) =>
    links.flatMap((link) => (link.port === undefined ? [] : [{ name: `${name}/${link.name}`, port: link.port }])),
  );
  if (plugged.length + wires.length === 0) return;
  tell(`plugging in ${[...plugged, ...wires].map(({ name }) => name).join(', ')}`);
  const ports = await Promise.all([
    ...plugged.map(({ name, port }) => plugIntoPort(lab, client, name, port!)),
    ...wires.map(({ name, port }) => plugIntoPort(lab, client, name, port)),
  ]);
  await waitForPorts(
    client,
    ports.map((port) => port.id),
  );
  const askers = plugged.filter((workload) => workload.dhcp).map((workload) => workload.name);
  if (askers.length === 0) return;
  tell('asking for addresses by DHCP (udhcpc)');
  for (const { workload, lease } of await requestLeases(lab, askers))
    tell(
      `  ${workload}: ${lease.address}/${lease.prefix}, MTU ${lease.mtu ?? '-'}, after ${Math.round(lease.elapsedMs)} ms`,
    );
}

export async function labDown(name: string): Promise<void> {
  await removeLab(name);
  forgetContext(`lab-${name}`);
}

function useContext(name: string, server: string): void {
  const file = readContexts();
  writeContexts({ contexts: { ...file.contexts, [name]: { server } }, current: name });
}

function forgetContext(name: string): void {
  const { current, contexts } = readContexts();
  if (!contexts[name]) return;
  const { [name]: _removed, ...rest } = contexts;
  writeContexts({ contexts: rest, ...(current === undefined || current === name ? {} : { current }) });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new WeftError('not-found', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}
