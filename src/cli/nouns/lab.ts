import type { Command } from 'commander';
import { WeftError } from '../../base/errors.ts';
import { startCapture } from '../../lab/capture.ts';
import { launch } from '../../lab/command.ts';
import { Lab } from '../../lab/lab.ts';
import type { ManagedProcess } from '../../lab/managed-process.ts';
import { startMigration } from '../../lab/migration.ts';
import { inNamespace } from '../../lab/namespaces.ts';
import { listLabs } from '../../lab/state.ts';
import { requestLease } from '../../lab/udhcpc.ts';
import { AGENT_PROCESS, openWeftInLab, plugIntoPort, SERVER_PROCESS, WeftFiles, waitForPorts } from '../../lab/weft.ts';
import { UsageError } from '../exit-codes.ts';
import { labDown, labUp } from '../lab-up.ts';
import { isRouter, registerUpstreams, upstreamRows } from '../lab-upstreams.ts';
import { formatTable, green, outputOption, print, printJson, red, say } from '../output.ts';

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
  registerProcesses(lab, chosen);
  registerPlaces(lab, chosen);
  registerWorkloads(lab, chosen);
  registerUpstreams(lab, chosen);
}

function registerLife(lab: Command, chosen: () => Promise<Lab>): void {
  lab
    .command('up <file>')
    .description('start a lab from its YAML file: hosts, server, agents, the desired state, workloads')
    .option('--no-weft', 'hosts, underlay and workloads only')
    .action(async (file: string, options: { readonly weft: boolean }) => {
      const up = await labUp(file, { withWeft: options.weft });
      say(`next: 'weft status', 'weft show', 'weft lab exec ${up.workloads[0]?.name ?? up.hosts[0]!.name} ip addr'`);
    });
  lab
    .command('down [name]')
    .description('remove a lab with all its processes, namespaces and files')
    .action(async (name: string | undefined) => {
      const wanted = name ?? lab.opts<{ lab?: string }>().lab ?? onlyLab();
      if (!wanted) return say('no lab is up');
      const wasUp = listLabs().includes(wanted);
      await labDown(wanted);
      say(wasUp ? `lab ${wanted} is removed` : `no lab ${wanted} is up; what may have been left of one is removed`);
    });
  lab
    .command('list')
    .description('labs that are up')
    .action(() => {
      const labs = listLabs();
      if (labs.length === 0) say('no lab is up: weft lab up examples/demo.yaml');
      else print(labs.join('\n'));
    });
  lab
    .command('status')
    .description('hosts, workloads, upstream routers and processes of a lab')
    .addOption(outputOption(['table', 'json']))
    .action(async (options: { readonly output: string }) => showStatus(await chosen(), options.output === 'json'));
}

function registerProcesses(lab: Command, chosen: () => Promise<Lab>): void {
  const agent = lab.command('agent').description("a host's agent");
  onProcess(agent, chosen, (it, host) => theProcess(it, host, AGENT_PROCESS), '<host>');
  const server = lab.command('server').description("the lab's server");
  onProcess(server, chosen, (it) => theProcess(it, SERVER_PROCESS.place, SERVER_PROCESS.name), '');
  const vswitchd = lab.command('vswitchd').description("a host's ovs-vswitchd");
  onProcess(vswitchd, chosen, (it, host) => theProcess(it, host, 'ovs-vswitchd'), '<host>');
  lab
    .command('logs <place> [process]')
    .description('what the processes of a host (or of `server`) have written')
    .action(async (place: string, name: string | undefined) => {
      const it = await chosen();
      const found = it.processes().filter((p) => p.place === place);
      const wanted = found.filter((p) => !name || p.name === name);
      if (found.length === 0) throw new WeftError('not-found', `the lab ${it.name} has no processes at ${place}`);
      if (wanted.length === 0)
        throw new WeftError(
          'not-found',
          `${place} has no process ${name}, only ${found.map((p) => p.name).join(', ')}`,
        );
      for (const p of wanted) print(p.log());
    });
}

type Choose = (lab: Lab, host: string) => ManagedProcess;

function onProcess(parent: Command, chosen: () => Promise<Lab>, choose: Choose, argument: string): void {
  const act = (name: string, about: string, work: (lab: Lab, process: ManagedProcess) => Promise<unknown>): void => {
    parent
      .command(`${name} ${argument}`.trim())
      .description(about)
      .action(async (host?: unknown) => {
        const it = await chosen();
        await work(it, choose(it, typeof host === 'string' ? host : ''));
      });
  };
  act('stop', 'end it', (_lab, process) => process.stop());
  act('kill', 'end it as a crash would', (_lab, process) => process.kill());
  act('start', 'start it again', (lab, process) =>
    process.name === 'ovs-vswitchd' ? lab.switchOf(process.place).startVswitchd() : process.start(),
  );
}

function registerPlaces(lab: Command, chosen: () => Promise<Lab>): void {
  const host = lab.command('host').description('power of a host or an upstream router');
  host
    .command('stop <host>')
    .description('power it off: every process of it is killed, its links go down')
    .action(async (name: string) => {
      const it = await chosen();
      await (isRouter(it, name) ? it.upstream(name).stop() : it.stopHost(name));
    });
  host
    .command('start <host>')
    .description('power it on again, with what ran before')
    .action(async (name: string) => {
      const it = await chosen();
      await (isRouter(it, name) ? it.upstream(name).start() : it.startHost(name));
    });
  const link = lab
    .command('link')
    .description('a cable: of a host, the server or a client outside; with a second place, of an upstream router')
    .addHelpText(
      'after',
      '\nThe second place is a host, a link of the router by its name, or `internet`: link cut up-1 gw-1',
    );
  const onLink = (name: string, about: string, work: (it: Lab, place: string, to?: string) => Promise<void>): void => {
    link
      .command(`${name} <place> [to]`)
      .description(about)
      .action(async (place: string, to?: string) => work(await chosen(), place, to));
  };
  onLink('cut', 'pull it out: both ends lose carrier', (it, place, to) => it.cutLink(place, to));
  onLink('silence', 'drop every frame on it; both ends keep carrier', (it, place, to) => it.silenceLink(place, to));
  onLink('restore', 'undo both', (it, place, to) => it.restoreLink(place, to));
  lab
    .command('exec <place> <command...>')
    .description('run a command in a workload, a host, an upstream router, a client outside, `server` or `underlay`')
    .passThroughOptions()
    .action(async (place: string, words: string[]) => {
      const it = await chosen();
      // `exec web -- ping` as with kubectl and docker, and without the dashes.
      const command = words[0] === '--' ? words.slice(1) : words;
      if (!it.has(place)) throw new WeftError('not-found', `the lab ${it.name} has no ${place}`);
      const child = launch(inNamespace(it.namespace(place), command), { stdio: 'inherit' });
      process.exitCode = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
    });
  lab
    .command('capture <place> [device] [filter...]')
    .description('frames at any interface of the lab until ^C; eth0 when no device is named')
    .option('--file <pcap>', 'keep them in this file (must end in .pcap)')
    .action(async (place: string, device: string | undefined, filter: string[], options: { file?: string }) =>
      capture(await chosen(), place, device ?? 'eth0', filter.join(' '), options.file),
    );
}

function registerWorkloads(lab: Command, chosen: () => Promise<Lab>): void {
  lab
    .command('plug <workload> <port>')
    .description(
      'plug a workload (or ROUTER/LINK) in as a logical port (tenant/name or id); a workload takes over its MAC',
    )
    .action(async (workload: string, port: string) => {
      const it = await chosen();
      const { client } = openWeftInLab(it);
      try {
        const found = await plugIntoPort(it, client, workload, port);
        await waitForPorts(client, [found.id]);
        say(
          `${workload} is port ${port}${workload.includes('/') ? '' : `; 'weft lab dhcp ${workload}' asks for its address`}`,
        );
      } finally {
        client.close();
      }
    });
  lab
    .command('unplug <workload>')
    .description("take a workload's (or ROUTER/LINK's) interface off the switch")
    .action(async (workload: string) => (await chosen()).unplug(workload));
  lab
    .command('move <workload> <host>')
    .description('migrate a running workload to another host, as a hypervisor does')
    .action(async (workload: string, host: string) => {
      const it = await chosen();
      const { port, host: from } = it.workload(workload);
      if (it.host(host).name === from) return say(`${workload} runs on ${host} already`);
      // Half a move is hard to undo.
      for (const place of [from, host])
        if (!theProcess(it, place, 'ovs-vswitchd').running)
          throw new WeftError(
            'refused',
            `ovs-vswitchd of ${place} does not run; start it: weft lab vswitchd start ${place}`,
          );
      if (port !== undefined) await declareMove(it, port, host);
      const migration = await startMigration(it, workload, host);
      await migration.activate();
      await migration.finish();
      say(`${workload} runs on ${host} now`);
    });
  lab
    .command('dhcp <workload>')
    .description('run a real DHCP client in a workload and print its lease')
    .action(async (workload: string) => {
      const { raw: _raw, ...lease } = await requestLease(await chosen(), workload);
      printJson(lease);
    });
}

/** Tells the server where the workload will be, as whoever plans a migration does: then nothing is lost on the way. */
async function declareMove(lab: Lab, port: string, host: string): Promise<void> {
  const { client } = openWeftInLab(lab);
  try {
    await client.request('PATCH', `/v1/ports/${port}`, { body: { host } });
  } finally {
    client.close();
  }
}

async function capture(
  lab: Lab,
  place: string,
  device: string,
  filter: string,
  file: string | undefined,
): Promise<void> {
  const running = await startCapture(lab, place, device, { filter, ...(file ? { file } : {}) });
  say('capturing; ^C ends it');
  await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()));
  const result = await running.stop();
  for (const line of await result.lines()) print(line);
  const lost = result.dropped ? `, ${result.dropped} lost by the capture` : '';
  say(`${result.captured} frames${lost}${file ? ` in ${file}` : ''}`);
}

function showStatus(lab: Lab, asJson: boolean): void {
  const processes = lab.processes();
  if (asJson) {
    const running = processes.map((p) => ({ place: p.place, name: p.name, pid: p.pid ?? null, log: p.logFile }));
    const { name, spec, hosts, workloads } = lab;
    const server = new WeftFiles(lab.state).serverUrl;
    printJson({
      name,
      encap: spec.encap,
      ovs: lab.ovsVersion,
      underlay: spec.server,
      server,
      hosts,
      workloads,
      routers: spec.routers,
      links: lab.upstreamLinks,
      outside: spec.outside,
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
    ...lab.spec.routers.map((r) => [r.name, `(AS ${r.asn})`, ofPlace(r.name)]),
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
  const upstreams = upstreamRows(lab);
  if (upstreams.length === 0) return;
  print('');
  print(formatTable(['UPSTREAM', 'TO', 'PORT', 'ADDRESSES'], upstreams));
}

function theProcess(lab: Lab, place: string, name: string): ManagedProcess {
  const found = lab.findProcess(place, name);
  if (found) return found;
  if (!lab.has(place)) throw new WeftError('not-found', `the lab ${lab.name} has no ${place}`);
  throw new WeftError('not-found', `${place} has no process ${name}: the lab was started without Weft`);
}

function onlyLab(): string | undefined {
  const labs = listLabs();
  if (labs.length > 1) throw new UsageError(`several labs are up (${labs.join(', ')}): say which with --lab`);
  return labs[0];
}

function openChosen(name: string | undefined): Promise<Lab> {
  const wanted = name ?? onlyLab();
  if (!wanted) throw new WeftError('not-found', 'no lab is up: weft lab up examples/demo.yaml');
  return Lab.open(wanted);
}
