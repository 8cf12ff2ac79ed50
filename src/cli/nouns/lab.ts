import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { startCapture } from '../../lab/capture.ts';
import { launch } from '../../lab/command.ts';
import { Lab, removeLab } from '../../lab/lab.ts';
import { inNamespace } from '../../lab/namespaces.ts';
import { readLabSpec } from '../../lab/spec.ts';
import { listLabs } from '../../lab/state.ts';
import { requestLease } from '../../lab/udhcpc.ts';
import { formatTable, green, print, printJson, red, say } from '../output.ts';

/** `weft lab`: a datacentre on this machine. Every command takes `--lab`; without it the only lab that is up is meant. */
export function register(program: Command): void {
  program.enablePositionalOptions(); // what follows `exec PLACE` belongs to that command
  const lab = program
    .command('lab')
    .description('a datacentre on this machine: hosts, underlay and workloads as network namespaces')
    .option('--lab <name>', 'which lab, where several are up')
    .enablePositionalOptions();
  const chosen = (): Promise<Lab> => openChosen(lab.opts<{ lab?: string }>().lab);

  registerLife(lab, chosen);
  registerHosts(lab, chosen);
  registerWorkloads(lab, chosen);
}

function registerLife(lab: Command, chosen: () => Promise<Lab>): void {
  lab
    .command('up <file>')
    .description('start a lab from its YAML file')
    .action(async (file: string) => {
      const started = performance.now();
      const up = await Lab.start(readLabSpec(readText(file)));
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      say(
        `lab ${up.name} is up after ${seconds} s: ${up.hosts.length} hosts, ${up.workloads.length} workloads, Open vSwitch ${up.ovsVersion}`,
      );
    });
  lab
    .command('down [name]')
    .description('remove a lab with all its processes, namespaces and files')
    .action(async (name: string | undefined) => {
      const wanted = name ?? lab.opts<{ lab?: string }>().lab ?? onlyLab();
      if (wanted) await removeLab(wanted);
      say(wanted ? `lab ${wanted} is removed` : 'no lab is up');
    });
  lab
    .command('list')
    .description('labs that are up')
    .action(() => print(listLabs().join('\n')));
  lab
    .command('status')
    .description('hosts, workloads and processes of a lab')
    .option('--json', 'for programs')
    .action(async (options: { json?: boolean }) => showStatus(await chosen(), options.json === true));
}

function registerHosts(lab: Command, chosen: () => Promise<Lab>): void {
  lab
    .command('stop <host> [process]')
    .description(
      'power a host off, or end one process on it (agent, ovs-vswitchd …); `stop server server` ends the server',
    )
    .action(async (place: string, name: string | undefined) => {
      const it = await chosen();
      await (name ? theProcess(it, place, name).stop() : it.stopHost(place));
    });
  lab
    .command('start <host> [process]')
    .description('power a host on again, or start one process on it')
    .action(async (place: string, name: string | undefined) => {
      const it = await chosen();
      if (name === 'ovs-vswitchd') await it.restartVswitchd(place);
      else await (name ? theProcess(it, place, name).start() : it.startHost(place));
    });
  lab
    .command('kill <host> <process>')
    .description('end a process as a crash would')
    .action(async (place: string, name: string) => theProcess(await chosen(), place, name).kill());
  lab
    .command('cut <host>')
    .description("pull a host's cable to the underlay (or the server's)")
    .action(async (place: string) => (await chosen()).cutLink(place));
  lab
    .command('mend <host>')
    .description('put the cable back')
    .action(async (place: string) => (await chosen()).restoreLink(place));
  lab
    .command('logs <place> [process]')
    .description('what the processes of a place have written')
    .action(async (place: string, name: string | undefined) => {
      for (const p of (await chosen()).processes()) if (p.place === place && (!name || p.name === name)) print(p.log());
    });
}

function registerWorkloads(lab: Command, chosen: () => Promise<Lab>): void {
  lab
    .command('exec <place> <command...>')
    .description('run a command in a workload, a host, `server` or `underlay`')
    .passThroughOptions()
    .action(async (place: string, command: string[]) => {
      const it = await chosen();
      if (!it.has(place)) throw new WeftError('not-found', `the lab ${it.name} has no ${place}`);
      const child = launch(inNamespace(it.namespace(place), command), { stdio: 'inherit' });
      process.exitCode = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
    });
  lab
    .command('plug <workload> <port>')
    .description('plug a workload in as a logical port (its id)')
    .action(async (workload: string, port: string) => void (await (await chosen()).plug(workload, port)));
  lab
    .command('unplug <workload>')
    .description("take a workload's interface off the switch")
    .action(async (workload: string) => (await chosen()).unplug(workload));
  lab
    .command('dhcp <workload>')
    .description('run a real DHCP client in a workload and print its lease')
    .action(async (workload: string) => printJson(await requestLease(await chosen(), workload)));
  lab
    .command('capture <place> [device] [filter...]')
    .description('frames at any interface of the lab until ^C; eth0 when no device is named')
    .option('--file <pcap>', 'keep them in this file (must end in .pcap)')
    .action(async (place: string, device: string | undefined, filter: string[], options: { file?: string }) => {
      const settings = { filter: filter.join(' '), ...(options.file ? { file: options.file } : {}) };
      const capture = await startCapture(await chosen(), place, device ?? 'eth0', settings);
      say('capturing; ^C ends it');
      await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()));
      const result = await capture.stop();
      for (const line of await result.lines()) print(line);
      say(
        `${result.captured} frames${result.dropped ? `, ${result.dropped} lost by the capture` : ''}${options.file ? ` in ${options.file}` : ''}`,
      );
    });
}

function showStatus(lab: Lab, asJson: boolean): void {
  const processes = lab.processes();
  if (asJson) {
    const running = processes.map((p) => ({ place: p.place, name: p.name, pid: p.pid ?? null, log: p.logFile }));
    printJson({
      name: lab.name,
      encap: lab.spec.encap,
      ovs: lab.ovsVersion,
      server: lab.spec.server,
      hosts: lab.hosts,
      workloads: lab.workloads,
      processes: running,
    });
    return;
  }
  const ofPlace = (place: string): string => {
    const own = processes.filter((p) => p.place === place);
    return own.map((p) => (p.running ? green(p.name) : red(`${p.name} (ended)`))).join(' ');
  };
  const hosts = [
    ['server', lab.spec.server, ofPlace('server')],
    ...lab.hosts.map((h) => [h.name, `${h.address}/${h.prefix}`, ofPlace(h.name)]),
  ];
  print(formatTable(['HOST', 'UNDERLAY', 'PROCESSES'], hosts));
  print('');
  const workloads = lab.workloads.map((w) => [
    w.name,
    w.host,
    w.port ?? '(unplugged)',
    w.mac,
    w.addresses.join(' ') || (w.dhcp ? '(DHCP)' : ''),
  ]);
  print(formatTable(['WORKLOAD', 'HOST', 'PORT', 'MAC', 'ADDRESSES'], workloads));
}

function theProcess(lab: Lab, place: string, name: string) {
  const found = lab.findProcess(place, name);
  if (found) return found;
  const known = lab
    .processes()
    .filter((p) => p.place === place)
    .map((p) => p.name);
  throw new WeftError(
    'not-found',
    `${place} has no process ${name}${known.length > 0 ? `; it has ${known.join(', ')}` : ''}`,
  );
}

function onlyLab(): string | undefined {
  const labs = listLabs();
  if (labs.length > 1) throw new WeftError('invalid', `several labs are up (${labs.join(', ')}): say which with --lab`);
  return labs[0];
}

function openChosen(name: string | undefined): Promise<Lab> {
  const wanted = name ?? onlyLab();
  if (!wanted) throw new WeftError('not-found', 'no lab is up: weft lab up examples/demo.yaml');
  return Lab.open(wanted);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new WeftError('not-found', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}
